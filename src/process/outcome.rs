//! How a child ended, and what it had to say.

use crate::sys::process::{Ended, signal_name};
#[cfg(feature = "serde")]
use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::io;

/// What a child process can return: with feature `serde`, everything that serde can take there and
/// back; without it, `()` alone.
///
/// Vectors of numbers go there and back as they lie in memory, everything else as its serialisation.
pub trait Outcome: Sized {
    /// The value as bytes.
    ///
    /// # Errors
    /// What the value's own serialisation says.
    fn encode(&self) -> Result<Cow<'_, [u8]>, String>;

    /// Whether the child is to end with exit code 1 for it: an `Err` is a failure.
    fn is_failure(&self) -> bool {
        false
    }

    /// The value that `bytes` are.
    ///
    /// # Errors
    /// What the type's own deserialisation says.
    fn decode(bytes: Vec<u8>) -> Result<Self, String>;
}

/// Vectors of numbers, which need no serialisation.
#[cfg(feature = "serde")]
macro_rules! as_they_are {
    ($($number:ty)*) => {
        /// The bytes of a value that goes as it is.
        fn raw<R: 'static>(value: &R) -> Option<&[u8]> {
            let value: &dyn Any = value;
            $(if let Some(numbers) = value.downcast_ref::<Vec<$number>>() {
                return Some(bytemuck::cast_slice(numbers));
            })*
            None
        }

        /// Such a value of its bytes; `Err`: it is none, and here are the bytes.
        fn of_raw<R: 'static>(bytes: Vec<u8>) -> Result<Result<R, String>, Vec<u8>> {
            let mut made: Option<R> = None;
            let place: &mut dyn Any = &mut made;
            if let Some(place) = place.downcast_mut::<Option<Vec<u8>>>() {
                *place = Some(bytes);
            }
            $(else if let Some(place) = place.downcast_mut::<Option<Vec<$number>>>() {
                let mut numbers = vec![<$number>::default(); bytes.len() / size_of::<$number>()];
                let room: &mut [u8] = bytemuck::cast_slice_mut(&mut numbers);
                if room.len() == bytes.len() {
                    room.copy_from_slice(&bytes);
                    *place = Some(numbers);
                }
            })*
            else {
                return Err(bytes);
            }
            Ok(made.ok_or_else(|| "it ends in the middle of a number".to_owned()))
        }
    };
}

#[cfg(feature = "serde")]
as_they_are!(u8 i8 u16 i16 u32 i32 u64 i64 u128 i128 usize isize f32 f64);

#[cfg(feature = "serde")]
impl<R: serde::Serialize + serde::de::DeserializeOwned + 'static> Outcome for R {
    fn encode(&self) -> Result<Cow<'_, [u8]>, String> {
        match raw(self) {
            Some(bytes) => Ok(bytes.into()),
            None => postcard::to_stdvec(self).map(Cow::from).map_err(|e| e.to_string()),
        }
    }

    fn is_failure(&self) -> bool {
        super::probe::is_err(self)
    }

    fn decode(bytes: Vec<u8>) -> Result<Self, String> {
        of_raw(bytes)
            .unwrap_or_else(|bytes| postcard::from_bytes(&bytes).map_err(|e| e.to_string()))
    }
}

#[cfg(not(feature = "serde"))]
impl Outcome for () {
    fn encode(&self) -> Result<Cow<'_, [u8]>, String> {
        Ok(Cow::default())
    }

    fn decode(_: Vec<u8>) -> Result<Self, String> {
        Ok(())
    }
}

/// How a process ended. Its text is that of [`ExitStatus::code`] with the signal's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl ExitStatus {
    /// The exit code, or minus the number of the signal.
    pub fn code(self) -> i32 {
        match self {
            ExitStatus::Exited(code) => code,
            ExitStatus::Signaled(signal) => -signal,
        }
    }
}

impl From<Ended> for ExitStatus {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(code) => ExitStatus::Exited(code),
            Ended::Signaled(signal) => ExitStatus::Signaled(signal),
        }
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "{code}"),
            ExitStatus::Signaled(signal) => write!(f, "-{}", signal_name(*signal)),
        }
    }
}

/// Why a child has no result.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// Its closure panicked.
    #[error("the child panicked at {}: {message}", if location.is_empty() { "an unknown place" } else { location })]
    Panicked {
        /// What the panic said.
        message: String,
        /// The file, line and column; empty where a panic hook of the child's own took the place of
        /// this crate's.
        location: String,
        /// How it came there; empty where the location is.
        backtrace: String,
    },
    /// It ended with this exit code before its closure returned.
    #[error("the child exited with code {code} and no result")]
    Exited {
        /// The code.
        code: i32,
    },
    /// A signal ended it before its closure returned.
    #[error("the child was ended by signal {signal}")]
    Signaled {
        /// The signal's number.
        signal: i32,
    },
    /// Its result could not be carried over.
    #[error("the result of the child could not be carried over: {problem}")]
    Result {
        /// What serialisation said.
        problem: String,
    },
    /// What its function was to be called with could not be made of what came.
    #[error("the argument of the child could not be carried over: {problem}")]
    Argument {
        /// What deserialisation said.
        problem: String,
    },
    /// The operating system would not say. A [`WaitError`] may be inside.
    #[error("waiting for the child failed: {0}")]
    Os(#[from] io::Error),
}

/// Why a process cannot be told how a child ended. It is what an [`io::Error`] of waiting has inside.
///
/// # Examples
/// ```
/// use commons::process::{Child, Process, WaitError};
///
/// let first = Process::spawn(|| ())?;
/// let sibling = Child::clone(&first);
/// let second = Process::spawn(move || {
///     let error = sibling.wait().unwrap_err();
///     error.downcast::<WaitError>().is_ok_and(|error| error == WaitError::NotParent)
/// })?;
/// assert!(second.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// The calling process did not start it ([`io::ErrorKind::PermissionDenied`]).
    #[error("only the process that started a child can wait for it")]
    NotParent,
    /// The child has ended, and a wait of another library's took its status
    /// ([`io::ErrorKind::NotFound`]).
    #[error("another wait of this process took its status")]
    StatusTaken,
}

impl From<WaitError> for io::Error {
    fn from(error: WaitError) -> Self {
        let kind = match error {
            WaitError::NotParent => io::ErrorKind::PermissionDenied,
            WaitError::StatusTaken => io::ErrorKind::NotFound,
        };
        io::Error::new(kind, error)
    }
}

#[cfg(all(test, feature = "serde"))]
mod tests {
    use super::Outcome;

    fn round<R: Outcome + PartialEq + std::fmt::Debug>(value: R, bytes: usize) {
        let encoded = value.encode().unwrap().into_owned();
        assert_eq!(encoded.len(), bytes);
        assert_eq!(R::decode(encoded).unwrap(), value);
    }

    #[test]
    fn vectors_of_numbers_go_as_they_are_and_others_as_they_are_serialised() {
        round(vec![1u8, 2, 255], 3);
        round(vec![-1i64; 5], 40);
        round(vec![f64::MAX, 0.5], 16);
        round(Vec::<u128>::new(), 0);
        round(vec![Some(1u8)], 3);
        round(vec![vec![1u64]], 3);
        round("text".to_owned(), 5);
        assert!(Vec::<u32>::decode(vec![0; 7]).is_err());
        assert!(String::decode(vec![9]).is_err());
    }
}
