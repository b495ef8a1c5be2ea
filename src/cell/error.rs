//! Why an operation on a cell did not happen.

use crate::Error;
use crate::member::Departure;
use std::io;

/// Why an operation on a cell did not happen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CellError {
    /// Elements beyond the end of an array.
    #[error("elements {first} to {end} (exclusive) of an array of {len}; ask for ones below {len}")]
    OutOfRange {
        /// The first element asked for.
        first: usize,
        /// One above the last.
        end: usize,
        /// How many there are.
        len: usize,
    },
    /// The deadline passed; only from timed forms.
    #[error("timed out")]
    TimedOut,
    /// The publisher is gone and nothing newer will come from it.
    #[error("the publisher is gone: {0}")]
    Gone(Departure),
    /// The handle is a copy that came into this process by a fork and was not handed over to it.
    #[error(
        "this handle belongs to the parent process; move it into the closure of `Process::spawn` to hand it over"
    )]
    Forked,
    /// This process cannot take part.
    #[error("this process cannot take part: {0}")]
    Refused(&'static str),
    /// The shared memory contradicts itself: a process wrote where it must not.
    #[error("the cell is corrupted: {0}")]
    Corrupted(&'static str),
}

impl From<Error> for CellError {
    fn from(error: Error) -> Self {
        match error {
            Error::Corrupted { problem, .. } => CellError::Corrupted(problem),
            Error::Forked => CellError::Forked,
            Error::TableFull { .. } => {
                CellError::Refused("all places for participants of the segment are taken")
            }
            _ => CellError::Refused("the operating system did not tell who is alive"),
        }
    }
}

impl From<CellError> for io::Error {
    fn from(error: CellError) -> Self {
        let kind = match error {
            CellError::OutOfRange { .. } => io::ErrorKind::InvalidInput,
            CellError::TimedOut => io::ErrorKind::TimedOut,
            CellError::Gone(_) => io::ErrorKind::BrokenPipe,
            CellError::Forked | CellError::Refused(_) => io::ErrorKind::PermissionDenied,
            CellError::Corrupted(_) => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }
}

/// What an operation answers that found bytes which are no value of the type.
pub(super) const NOT_A_VALUE: CellError =
    CellError::Corrupted("its bytes are no value of its type");
