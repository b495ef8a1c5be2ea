//! Objects as bytes.

use crate::channel::ChannelError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;

/// The longest buffer that a thread keeps.
const LONGEST: usize = 1 << 20;

thread_local! {
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Lends the calling thread's buffer, empty. (Another one where a value sends others while it is
/// serialised.)
pub(super) fn with_buffer<R>(f: impl FnOnce(&mut Vec<u8>) -> R) -> R {
    // At the end of a thread there is none any more.
    let mut buffer = BUFFER.try_with(Cell::take).unwrap_or_default();
    buffer.clear();
    let result = f(&mut buffer);
    if buffer.capacity() <= LONGEST {
        let _ = BUFFER.try_with(|kept| kept.set(buffer));
    }
    result
}

/// Serialises a value into a buffer.
pub(super) fn encode<T: Serialize>(value: &T, buffer: &mut Vec<u8>) -> Result<(), ChannelError> {
    let into = core::mem::take(buffer);
    let encoded = postcard::to_extend(value, into);
    *buffer = encoded.map_err(|error| ChannelError::Serialize(error.to_string()))?;
    Ok(())
}

/// Makes a value of bytes.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ChannelError> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok(_) => Err(ChannelError::Deserialize("there are bytes left over".to_owned())),
        Err(error) => Err(ChannelError::Deserialize(error.to_string())),
    }
}
