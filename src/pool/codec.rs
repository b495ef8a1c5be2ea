//! Arguments and results as bytes, one after another.
//!
//! Numbers are copied as they are; everything else is what serde makes of it.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;

/// What can be an argument or a result: everything that serde can take there and back.
pub trait Portable: Serialize + DeserializeOwned + 'static {}

impl<T: Serialize + DeserializeOwned + 'static> Portable for T {}

/// Has serialisation append to a buffer.
struct Append<'a>(&'a mut Vec<u8>);

impl Flavor for Append<'_> {
    type Output = ();

    #[inline(always)]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline(always)]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Runs `$each` for the types that are copied as they are. Which one `T` is, the compiler knows.
macro_rules! for_numbers {
    ($number:ident => $each:block) => {
        for_numbers!(@ $number $each u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64)
    };
    (@ $number:ident $each:block $($type:ty)*) => {
        $({ type $number = $type; $each })*
    };
}

/// Appends a value. On an error nothing is appended.
#[inline]
pub(super) fn put<T: Portable>(value: &T, to: &mut Vec<u8>) -> Result<(), String> {
    for_numbers!(Number => {
        if let Some(number) = (value as &dyn Any).downcast_ref::<Number>() {
            to.extend_from_slice(&number.to_le_bytes());
            return Ok(());
        }
    });
    let before = to.len();
    postcard::serialize_with_flavor(value, Append(to)).map_err(|error| {
        to.truncate(before);
        error.to_string()
    })
}

/// Takes the value at the front.
#[inline]
pub(super) fn take<T: Portable>(from: &mut &[u8]) -> Result<T, String> {
    for_numbers!(Number => {
        let mut found: Option<Number> = None;
        if let Some(found) = (&mut found as &mut dyn Any).downcast_mut::<Option<T>>() {
            let Some((bytes, rest)) = from.split_first_chunk() else {
                return Err("there are too few bytes".to_owned());
            };
            *from = rest;
            // The same type, by another name.
            if let Some(slot) = (found as &mut dyn Any).downcast_mut::<Option<Number>>() {
                *slot = Some(Number::from_le_bytes(*bytes));
            }
            return found.take().ok_or_else(String::new);
        }
    });
    let (value, rest) = postcard::take_from_bytes(from).map_err(|error| error.to_string())?;
    *from = rest;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_is_taken_in_order() {
        let mut bytes = Vec::new();
        put(&7u64, &mut bytes).unwrap();
        put(&-1.5f32, &mut bytes).unwrap();
        put(&("text".to_owned(), Some(3u8)), &mut bytes).unwrap();
        put(&u128::MAX, &mut bytes).unwrap();
        let mut from = &bytes[..];
        assert_eq!(take::<u64>(&mut from), Ok(7));
        assert_eq!(take::<f32>(&mut from), Ok(-1.5));
        assert_eq!(take::<(String, Option<u8>)>(&mut from), Ok(("text".to_owned(), Some(3))));
        assert_eq!(take::<u128>(&mut from), Ok(u128::MAX));
        assert!(from.is_empty());
    }

    #[test]
    fn too_few_bytes_are_an_error() {
        for length in 0..8 {
            assert!(take::<u64>(&mut &[0u8; 8][..length]).is_err());
        }
        assert!(take::<String>(&mut &[200u8, 1][..]).is_err());
    }
}
