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
    /// The operating system refused what handing over a descriptor needs.
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
            | PipeError::NotADescriptor => io::ErrorKind::InvalidData,
            PipeError::DescriptorLost => io::ErrorKind::NotFound,
            PipeError::DescriptorRefused => io::ErrorKind::ConnectionRefused,
            PipeError::Os { errno, .. } => io::Error::from_raw_os_error(errno).kind(),
            PipeError::TooLong { .. } => io::ErrorKind::FileTooLarge,
        };
        io::Error::new(kind, error)
    }
}
