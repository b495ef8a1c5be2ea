//! Why an operation on a channel did not happen, with the value it was to send.

use crate::Error;
use crate::lock::LockError;
use crate::member::Departure;
use std::fmt;
use std::io;

/// Why an operation on a channel did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// There is no space; only from `try_` forms.
    #[error("the channel is full")]
    Full,
    /// There is nothing; only from `try_` forms.
    #[error("the channel is empty")]
    Empty,
    /// The deadline passed; only from timed forms.
    #[error("timed out")]
    TimedOut,
    /// The other end is gone, and, for a receiving end, everything it published has been received.
    #[error("the other end is gone: {0}")]
    Disconnected(Departure),
    /// This receiver was too slow; only from broadcasts. The next receive goes on behind what is gone.
    #[error("the receiver was too slow: {0} messages were overwritten")]
    Lagged(u64),
    /// It never fits; nothing of it was sent.
    #[error("{bytes} bytes are more than the channel takes here: at most {limit}")]
    TooLarge {
        /// What was to be sent.
        bytes: u64,
        /// The most that can be.
        limit: u64,
    },
    /// This handle was closed.
    #[error("this handle was closed")]
    Closed,
    /// This end belongs to the parent process.
    #[error(
        "this end belongs to the parent process; move it into the closure of `Process::spawn` to hand it over"
    )]
    Forked,
    /// The value cannot be serialised; nothing was sent.
    #[error("the value cannot be serialised: {0}")]
    Serialize(String),
    /// A message is no value of its type. It is gone.
    #[error("a message cannot be made a value of its type: {0}")]
    Deserialize(String),
    /// Tasks failed: their workers died, or dropped them.
    #[error("{count} tasks were not finished: their workers died or dropped them")]
    TasksFailed {
        /// How many.
        count: u64,
    },
    /// This process has taken no task that it has not finished.
    #[error("this process has no task to finish: `get` takes one")]
    NoTask,
    /// The locks of the channel cannot be used here.
    #[error("the channel has locks inside, and {0}")]
    Lock(LockError),
    /// The shared memory contradicts itself: a process wrote where it must not.
    #[error("the channel is corrupted: {0}")]
    Corrupted(&'static str),
}

impl From<Error> for ChannelError {
    fn from(error: Error) -> Self {
        match error {
            Error::Corrupted { problem, .. } => ChannelError::Corrupted(problem),
            Error::Forked => ChannelError::Forked,
            Error::Closed { .. } => ChannelError::Closed,
            _ => ChannelError::Corrupted("the operating system refused to tell who is alive"),
        }
    }
}

impl From<LockError> for ChannelError {
    fn from(error: LockError) -> Self {
        match error {
            LockError::TimedOut => ChannelError::TimedOut,
            LockError::Forked => ChannelError::Forked,
            LockError::Corrupted(problem) => ChannelError::Corrupted(problem),
            other => ChannelError::Lock(other),
        }
    }
}

impl From<ChannelError> for io::Error {
    fn from(error: ChannelError) -> Self {
        let kind = match error {
            ChannelError::Full | ChannelError::Empty => io::ErrorKind::WouldBlock,
            ChannelError::TimedOut => io::ErrorKind::TimedOut,
            ChannelError::Disconnected(_) => io::ErrorKind::BrokenPipe,
            ChannelError::TooLarge { .. } => io::ErrorKind::InvalidInput,
            ChannelError::Closed => io::ErrorKind::NotConnected,
            ChannelError::Forked => io::ErrorKind::PermissionDenied,
            ChannelError::Serialize(_) | ChannelError::NoTask => io::ErrorKind::InvalidInput,
            ChannelError::Lock(_) | ChannelError::TasksFailed { .. } | ChannelError::Lagged(_) => {
                io::ErrorKind::Other
            }
            ChannelError::Deserialize(_) | ChannelError::Corrupted(_) => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// A value that was not sent, and why.
#[derive(Clone, PartialEq, Eq)]
pub struct Rejected<T> {
    /// The value, as it was given.
    pub value: T,
    /// Why it was not sent.
    pub reason: ChannelError,
}

impl<T> fmt::Debug for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl<T> fmt::Display for Rejected<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not sent: {}", self.reason)
    }
}

impl<T> std::error::Error for Rejected<T> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.reason)
    }
}

impl<T> From<Rejected<T>> for ChannelError {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.reason
    }
}

impl<T> From<Rejected<T>> for io::Error {
    fn from(rejected: Rejected<T>) -> Self {
        rejected.reason.into()
    }
}

/// How far an operation on many values came, and why no further.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("stopped after {done}: {reason}")]
pub struct Partial {
    /// How many were done.
    pub done: usize,
    /// Why the next was not.
    #[source]
    pub reason: ChannelError,
}

impl From<Partial> for ChannelError {
    fn from(partial: Partial) -> Self {
        partial.reason
    }
}
