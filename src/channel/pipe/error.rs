//! Why an operation on a pipe did not happen.

use crate::channel::ChannelError;
use std::fmt;
use std::io;

/// Why an operation on a pipe did not happen.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PipeError {
    /// What can go wrong with any channel.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The object cannot be serialised; nothing was sent.
    #[error("the object cannot be serialised, nothing was sent: {0}")]
    NotSerialised(String),
    /// The message is no object of the type; it is received all the same.
    #[error("the message is no object of the type that was asked for: {0}")]
    NotDeserialised(String),
    /// The message is longer than the buffer, which is left as it was; here is the message.
    #[error("the message of {} bytes does not fit into the buffer", .0.len())]
    BufferTooShort(Vec<u8>),
    /// The message is longer than is allowed. Sent: nothing of it was. Received: the end receives
    /// nothing more.
    #[error("a message of {length} bytes is longer than the {limit} that are allowed")]
    TooLong {
        /// Bytes of the message.
        length: usize,
        /// The most that is allowed.
        limit: usize,
    },
    /// A part of a buffer was meant that is not within it; nothing was sent or received.
    #[error("from {start} to {end} is not within the buffer of {length} bytes")]
    OutOfRange {
        /// Where the part begins.
        start: usize,
        /// Where it ends.
        end: usize,
        /// Bytes of the buffer.
        length: usize,
    },
    /// A descriptor was asked for, and the next message is none. It is still there.
    #[error("the next message is data and no descriptor; it is still there to receive")]
    NotADescriptor,
    /// The message of a descriptor leads nowhere: the one who sent it has died or given up since, or is in
    /// another network namespace.
    #[error(
        "the sender of this descriptor died, gave up, or is in another network namespace; the message is gone"
    )]
    DescriptorLost,
    /// The other end received the message of a descriptor, and did not take the descriptor: it received
    /// bytes, or is in another network namespace.
    #[error(
        "the other end did not take the descriptor: it received bytes, or is in another network namespace"
    )]
    DescriptorRefused,
    /// A handle was asked for, and the next message is none. It is still there.
    #[error(
        "the next message is data, or a descriptor, and no handle; it is still there to receive"
    )]
    NotAHandle,
    /// A handle was asked for, and the next one has another type. It is still there.
    #[error(
        "the next handle is a {found}, and a {wanted} was asked for; it is still there to receive"
    )]
    OtherHandle {
        /// The type that was sent.
        found: String,
        /// The type that was asked for.
        wanted: &'static str,
    },
    /// The message of a handle leads nowhere: the one who sent it has died or given up since, or is in
    /// another network namespace.
    #[error(
        "the sender of this handle died, gave up, or is in another network namespace; the message is gone"
    )]
    HandleLost,
    /// The other end received the message of a handle, and did not take the handle.
    #[error("the other end did not take the handle: {0}")]
    HandleRefused(String),
    /// The operating system refused what handing over a descriptor or a handle needs.
    #[error("{call} failed: {}", io::Error::from_raw_os_error(*.errno))]
    Os {
        /// The system call.
        call: &'static str,
        /// Its error, as the system counts them.
        errno: i32,
    },
}

impl PipeError {
    /// Whether the other end is gone and everything it sent has been received.
    pub fn is_end_of_file(&self) -> bool {
        matches!(self, PipeError::Channel(ChannelError::Disconnected(_)))
    }
}

impl fmt::Debug for PipeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PipeError::Channel(error) => error.fmt(f),
            // Not the message itself.
            other => write!(f, "PipeError({other})"),
        }
    }
}

impl From<PipeError> for io::Error {
    fn from(error: PipeError) -> Self {
        let kind = match error {
            PipeError::Channel(error) => return error.into(),
            PipeError::NotSerialised(_) | PipeError::OutOfRange { .. } => {
                io::ErrorKind::InvalidInput
            }
            PipeError::NotDeserialised(_)
            | PipeError::BufferTooShort(_)
            | PipeError::NotADescriptor
            | PipeError::NotAHandle
            | PipeError::OtherHandle { .. } => io::ErrorKind::InvalidData,
            PipeError::DescriptorLost | PipeError::HandleLost => io::ErrorKind::NotFound,
            PipeError::DescriptorRefused | PipeError::HandleRefused(_) => {
                io::ErrorKind::ConnectionRefused
            }
            PipeError::Os { errno, .. } => io::Error::from_raw_os_error(errno).kind(),
            PipeError::TooLong { .. } => io::ErrorKind::FileTooLarge,
        };
        io::Error::new(kind, error)
    }
}

/// A handle that was not given away, and why.
#[derive(Clone, PartialEq, Eq)]
pub struct Undelivered<H> {
    /// The handle, as it was.
    pub value: H,
    /// Why it was not given.
    pub reason: PipeError,
}

impl<H> fmt::Debug for Undelivered<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undelivered").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<H> fmt::Display for Undelivered<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not given: {}", self.reason)
    }
}

impl<H> std::error::Error for Undelivered<H> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl<H> From<Undelivered<H>> for PipeError {
    fn from(undelivered: Undelivered<H>) -> Self {
        undelivered.reason
    }
}

impl<H> From<Undelivered<H>> for io::Error {
    fn from(undelivered: Undelivered<H>) -> Self {
        undelivered.reason.into()
    }
}
