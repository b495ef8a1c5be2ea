//! Why the command did not do what it was asked, and the code it exits with.

use commons::{ChannelError, Error};
use std::fmt;
use std::process::ExitCode;

/// What every exit code means, for the help.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  the operating system refused, or another error
  2  wrong usage
  3  the other side died or left before the end
  4  that end of the ring is taken
  5  there is nothing of that name
  6  it is of another type, not of commons, or corrupted";

/// The kinds of failures that a script may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    Failed = 1,
    Usage = 2,
    Unfinished = 3,
    Taken = 4,
    Missing = 5,
    Foreign = 6,
}

/// A failure and what to say of it.
#[derive(Debug)]
pub(crate) struct Failure {
    code: Code,
    message: String,
}

impl Failure {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Failure { code, message: message.into() }
    }

    /// A failure of the ring of that name.
    pub(crate) fn of_channel(name: &str, error: &ChannelError) -> Self {
        let code = match error {
            ChannelError::Corrupted(_) => Code::Foreign,
            ChannelError::Disconnected(_) => Code::Unfinished,
            _ => Code::Failed,
        };
        Failure::new(code, format!("`{name}`: {error}"))
    }

    pub(crate) fn code(&self) -> ExitCode {
        ExitCode::from(self.code as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::InvalidName { .. } | Error::Zero { .. } | Error::TooLarge { .. } => Code::Usage,
            Error::NameTaken { .. } | Error::RoleTaken { .. } => Code::Taken,
            Error::NotFound { .. } => Code::Missing,
            Error::TypeMismatch { .. }
            | Error::NotOurs { .. }
            | Error::Version { .. }
            | Error::Corrupted { .. } => Code::Foreign,
            _ => Code::Failed,
        };
        Failure::new(code, error.to_string())
    }
}
