//! Rings of bytes as streams.

use super::{Consumer, Producer};
use crate::channel::{ChannelError, Departure};
use std::io::{self, BufRead, Read, Write};

/// Bytes become visible to the consumer with each `write`, which waits while the ring is full;
/// `flush` has nothing to do, and does not wait until they are received.
///
/// Where there is no space and the consumer is gone, the error is [`io::ErrorKind::BrokenPipe`].
///
/// # Examples
/// ```
/// use std::io::{Read, Write};
/// let (mut producer, mut consumer) = commons::spsc::ring::<u8>(4096)?;
/// producer.write_all(b"to the other side")?;
/// drop(producer);
/// let mut text = String::new();
/// consumer.read_to_string(&mut text)?;
/// assert_eq!(text, "to the other side");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl Write for Producer<u8> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(self.push_slice(bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An end of the stream that was not meant is an error ([`io::ErrorKind::UnexpectedEof`]), not an
/// end of the file: the producer died, or abandoned the ring.
fn end_of_stream<R: Default>(error: ChannelError) -> io::Result<R> {
    match error {
        ChannelError::Disconnected(Departure::Closed) => Ok(R::default()),
        ChannelError::Disconnected(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, error)),
        other => Err(other.into()),
    }
}

impl Read for Consumer<u8> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        self.pop_slice(bytes).or_else(end_of_stream)
    }
}

impl BufRead for Consumer<u8> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        match self.published() {
            Ok(bytes) => Ok(bytes),
            Err(error) => end_of_stream(error),
        }
    }

    fn consume(&mut self, count: usize) {
        self.release(count);
    }
}
