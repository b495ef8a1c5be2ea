//! Pipes: two ends that send each other objects and bytes.
//!
//! A [`Connection`] sends and receives messages: objects of a [serde](https://serde.rs) type, or bytes of
//! any length. The boundaries between messages are kept. A one-way pipe has a [`Writer`] and a [`Reader`],
//! and a connection can be [split](Connection::split) into one of each.
//!
//! | to get | call |
//! |---|---|
//! | both ends of a pipe, to move one into a child process | [`pipe()`] |
//! | the ends of a one-way pipe | [`simplex`] |
//! | the same with other than 64 KiB of room each way | [`with_capacity`], [`simplex_with_capacity`] |
//! | a pipe that unrelated processes find by name, or in a [`Segment`](crate::Segment) | [`Pipe`] |
//!
//! Underneath are [rings of records](crate::records), both in one object: a message of up to 12 bytes
//! travels in the cache line that the last one brought, and there and back is one transfer each. A message
//! that takes more than half of the room goes through in pieces and is received whole or not at all.
//!
//! # Descriptors
//! [`Writer::send_fd`] gives the other end an open file, socket or pipe, which [`Reader::recv_fd`] takes.
//!
//! # Handles
//! [`Writer::send_handle`] gives the other end an end of a pipe, a queue or a ring, a lock, a cell: whatever
//! of this crate may be the argument of a child. [`Reader::recv_handle`] takes it. So whom a process talks to
//! need not be settled when it is started.
//!
//! # End of file
//! When the other end is dropped, closed or its process dies, at whatever instruction, what it had sent is
//! received first, and then every receive answers
//! [`Disconnected`](crate::ChannelError::Disconnected) at once; [`PipeError::is_end_of_file`] tells it
//! from other errors. A send answers it at once, too. There is one copy of each end in all processes, so
//! none is left open by accident: moving one into a child is all that has to be done.
//!
//! # When a process dies
//! A message is sent at one instant, so it is there whole or not at all; the first pieces of a long one
//! whose sender died are discarded. A receiver that dies takes with it the message that it was copying, or
//! leaves it to the next holder of a named pipe's end: that is the one that comes again.
//!
//! # Trust
//! Everything is copied before it is looked at, and checked: whatever a hostile peer writes, the answers
//! are objects that are valid for their type, bytes, or errors. What a received handle leads to is trusted as if
//! it had been opened by a name: see [`Segment`](crate::Segment#trust).
//!
//! # Examples
//! ```
//! # #[cfg(feature = "serde")] {
//! let (mut here, mut there) = commons::pipe::<(String, Vec<u32>)>()?;
//! let child = commons::Process::spawn(move || {
//!     while let Ok((name, numbers)) = there.recv() {
//!         let sum = numbers.iter().sum();
//!         there.send(&(name, vec![sum])).expect("the parent waits for it");
//!     }
//! })?;
//! here.send(&("total".to_owned(), vec![1, 2, 3]))?;
//! assert_eq!(here.recv()?, ("total".to_owned(), vec![6]));
//! drop(here);
//! child.join()?;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connection;
mod descriptor;
mod error;
mod handle;
mod meeting;
mod named;
mod object;
mod reader;
mod writer;

pub use connection::Connection;
pub use error::{PipeError, Undelivered};
pub use named::Pipe;
pub use reader::Reader;
pub use writer::Writer;

use crate::Result;
use crate::channel::records;
use crate::segment::Location;

/// Bytes of room each way, unless somebody asks for another number.
const CAPACITY: usize = 64 << 10;

/// Makes a pipe and gives both its ends, one to keep and one to move into a child process or another
/// thread. What one end sends, the other receives.
///
/// `T` is the type of the objects; the bytes of [`Connection::send_bytes`] are independent of it. The pipe
/// has no name and goes with its ends. It has room for 64 KiB each way.
///
/// # Errors
/// [`Error::NoSpace`](crate::Error::NoSpace).
///
/// # Examples
/// ```
/// let (mut here, mut there) = commons::pipe::<()>()?;
/// here.send_bytes(b"ping")?;
/// assert_eq!(there.recv_bytes()?, b"ping");
/// there.send_bytes(b"pong")?;
/// assert_eq!(here.recv_bytes()?, b"pong");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn pipe<T>() -> Result<(Connection<T>, Connection<T>)> {
    with_capacity(CAPACITY)
}

/// Makes a pipe with room for `bytes` each way.
///
/// # Errors
/// [`Error::Zero`](crate::Error::Zero), [`Error::TooLarge`](crate::Error::TooLarge),
/// [`Error::NoSpace`](crate::Error::NoSpace).
pub fn with_capacity<T>(bytes: usize) -> Result<(Connection<T>, Connection<T>)> {
    let pipe = Pipe::make(Location::Unnamed, bytes)?;
    Ok((pipe.first()?, pipe.second()?))
}

/// Makes a one-way pipe: what the writer sends, the reader receives. Otherwise as [`pipe()`].
///
/// # Errors
/// [`Error::NoSpace`](crate::Error::NoSpace).
///
/// # Examples
/// ```
/// # #[cfg(feature = "serde")] {
/// let (mut reader, mut writer) = commons::pipe::simplex::<Option<f64>>()?;
/// writer.send(&Some(0.5))?;
/// drop(writer);
/// assert_eq!(reader.recv()?, Some(0.5));
/// assert!(reader.recv().unwrap_err().is_end_of_file());
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn simplex<T>() -> Result<(Reader<T>, Writer<T>)> {
    simplex_with_capacity(CAPACITY)
}

/// Makes a one-way pipe with room for `bytes`.
///
/// # Errors
/// As [`with_capacity`].
pub fn simplex_with_capacity<T>(bytes: usize) -> Result<(Reader<T>, Writer<T>)> {
    let (producer, consumer) = records::ring(bytes)?;
    Ok((Reader::new(consumer), Writer::new(producer)))
}
