//! How a child ended, and what it had to say.

use std::io;

/// What a child process can return: with feature `serde`, everything that serde can take there and
/// back; without it, `()` alone.
pub trait Outcome: Sized {
    /// The value as bytes.
    ///
    /// # Errors
    /// What the value's own serialisation says.
    fn encode(&self) -> Result<Vec<u8>, String>;

    /// Whether the child is to end with exit code 1 for it: an `Err` is a failure.
    fn is_failure(&self) -> bool {
        false
    }

    /// The value that `bytes` are.
    ///
    /// # Errors
    /// What the type's own deserialisation says.
    fn decode(bytes: &[u8]) -> Result<Self, String>;
}

#[cfg(feature = "serde")]
impl<R: serde::Serialize + serde::de::DeserializeOwned> Outcome for R {
    fn encode(&self) -> Result<Vec<u8>, String> {
        postcard::to_stdvec(self).map_err(|e| e.to_string())
    }

    fn is_failure(&self) -> bool {
        super::probe::is_err(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        postcard::from_bytes(bytes).map_err(|e| e.to_string())
    }
}

#[cfg(not(feature = "serde"))]
impl Outcome for () {
    fn encode(&self) -> Result<Vec<u8>, String> {
        Ok(Vec::new())
    }

    fn decode(_: &[u8]) -> Result<Self, String> {
        Ok(())
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
    /// The operating system would not say.
    #[error("waiting for the child failed: {0}")]
    Os(#[from] io::Error),
}
