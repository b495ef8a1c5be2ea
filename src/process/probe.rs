//! Whether a value is an `Err`, asked through its serialisation: of a type that is only known to
//! serialise, there is no other way to ask.

use serde::Serialize;
use serde::ser::{Impossible, Serializer};
use std::fmt;

/// Whether this is an `Err`. Looks at the outermost part of the value alone.
pub(super) fn is_err<T: Serialize>(value: &T) -> bool {
    value.serialize(Probe).unwrap_or(false)
}

/// Answers for variants, and is an error where there are parts that would have to be looked at.
struct Probe;

type Parts = Impossible<bool, fmt::Error>;
type Answer<T = bool> = Result<T, fmt::Error>;

macro_rules! no {
    ($($name:ident($($type:ty),*);)*) => {
        $(fn $name(self, $(_: $type),*) -> Answer { Ok(false) })*
    };
}

macro_rules! parts {
    ($($name:ident($($type:ty),*);)*) => {
        $(fn $name(self, $(_: $type),*) -> Answer<Parts> { Err(fmt::Error) })*
    };
}

impl Serializer for Probe {
    type Ok = bool;
    type Error = fmt::Error;
    type SerializeSeq = Parts;
    type SerializeTuple = Parts;
    type SerializeTupleStruct = Parts;
    type SerializeTupleVariant = Parts;
    type SerializeMap = Parts;
    type SerializeStruct = Parts;
    type SerializeStructVariant = Parts;

    no! {
        serialize_bool(bool);
        serialize_i8(i8);
        serialize_i16(i16);
        serialize_i32(i32);
        serialize_i64(i64);
        serialize_u8(u8);
        serialize_u16(u16);
        serialize_u32(u32);
        serialize_u64(u64);
        serialize_f32(f32);
        serialize_f64(f64);
        serialize_char(char);
        serialize_str(&str);
        serialize_bytes(&[u8]);
        serialize_none();
        serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    parts! {
        serialize_seq(Option<usize>);
        serialize_tuple(usize);
        serialize_tuple_struct(&'static str, usize);
        serialize_tuple_variant(&'static str, u32, &'static str, usize);
        serialize_map(Option<usize>);
        serialize_struct(&'static str, usize);
        serialize_struct_variant(&'static str, u32, &'static str, usize);
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Answer {
        Ok(false)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Answer {
        Ok(false)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        _: &T,
    ) -> Answer {
        Ok(name == "Result" && variant == "Err")
    }
}

#[cfg(test)]
mod tests {
    use super::is_err;

    #[test]
    fn an_err_is_found_and_nothing_else_is() {
        assert!(is_err(&Err::<u8, _>("no")));
        assert!(is_err(&Box::new(Err::<Vec<u8>, _>(vec![1]))));
        assert!(!is_err(&Ok::<_, String>(1)));
        assert!(!is_err(&Ok::<_, String>(Err::<u8, _>(2))));
        assert!(!is_err(&Some(Err::<u8, _>(2))));
        assert!(!is_err(&[Err::<u8, _>(2)]));
        assert!(!is_err(&(1, "Err")) && !is_err(&()) && !is_err(&"Err"));
    }
}
