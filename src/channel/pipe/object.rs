//! Objects as bytes.

#![cfg(feature = "serde")]

use super::PipeError;
use crate::segment;
use serde::{Serialize, de::DeserializeOwned};

/// Bytes of an object that are tried before memory is allocated.
const SMALL: usize = 256;

/// Gives the bytes of an object to `f`.
#[inline]
pub(super) fn with_bytes<T: Serialize, R>(
    object: &T,
    f: impl FnOnce(&[u8]) -> Result<R, PipeError>,
) -> Result<R, PipeError> {
    let mut small = [0; SMALL];
    match postcard::to_slice(object, &mut small) {
        Ok(bytes) => f(bytes),
        Err(postcard::Error::SerializeBufferFull) => f(&all_bytes(object)?),
        Err(error) => Err(PipeError::NotSerialised(segment::problem(error))),
    }
}

#[cold]
fn all_bytes<T: Serialize>(object: &T) -> Result<Vec<u8>, PipeError> {
    postcard::to_stdvec(object).map_err(|error| PipeError::NotSerialised(segment::problem(error)))
}

/// The object that the bytes are, all of them.
#[inline]
pub(super) fn of_bytes<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, PipeError> {
    match postcard::take_from_bytes(bytes) {
        Ok((object, [])) => Ok(object),
        Ok((_, rest)) => {
            Err(PipeError::NotDeserialised(format!("{} bytes are left over", rest.len())))
        }
        Err(error) => Err(PipeError::NotDeserialised(error.to_string())),
    }
}
