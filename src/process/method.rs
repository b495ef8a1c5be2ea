//! How functions with an argument are started.

use super::builder::Builder;
use crate::sys::per_process::PerProcess;
use std::fmt;
use std::str::FromStr;

/// How a child comes to be that calls a function: see [`Process::call`](super::Process::call).
///
/// # Examples
/// ```
/// use commons::process::StartMethod;
///
/// assert_eq!("exec".parse(), Ok(StartMethod::Exec));
/// assert!("thread".parse::<StartMethod>().is_err());
/// ```
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum StartMethod {
    /// As a copy of the calling thread and of all memory. Fast; what other threads have locked in other
    /// libraries stays locked in the child.
    #[default]
    Fork,
    /// As a new run of the same program, which begins with nothing but what it is given. Takes about as
    /// long as starting a program does, and is right with any number of threads.
    Exec,
}

/// The method that was chosen for this process.
static CHOSEN: PerProcess<Option<StartMethod>> = PerProcess::new();

/// Why there is no such method, or no other one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StartMethodError {
    /// There is none of this name.
    #[error("there is no start method `{name}`; the methods are `fork` and `exec`")]
    Unknown {
        /// The name.
        name: String,
    },
    /// The method of this process was chosen before.
    #[error(
        "the start method of this process is `{chosen}`; it is chosen once, before children are started by it"
    )]
    Chosen {
        /// What was chosen.
        chosen: StartMethod,
    },
}

impl StartMethod {
    /// All of them, the default one first.
    pub const ALL: [StartMethod; 2] = [StartMethod::Fork, StartMethod::Exec];

    /// What a child is to be that is started by this method, whatever that of the process is.
    pub fn builder(self) -> Builder {
        Builder::new().start_method(self)
    }

    /// Its name: `fork` or `exec`.
    pub fn name(self) -> &'static str {
        match self {
            StartMethod::Fork => "fork",
            StartMethod::Exec => "exec",
        }
    }
}

impl fmt::Display for StartMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for StartMethod {
    type Err = StartMethodError;

    fn from_str(name: &str) -> Result<Self, StartMethodError> {
        let unknown = || StartMethodError::Unknown { name: name.to_owned() };
        Self::ALL.into_iter().find(|method| method.name() == name).ok_or_else(unknown)
    }
}

/// By which method [`Process::call`](super::Process::call) starts children of this process: the one
/// that was chosen, in a child the one by which it was started itself, and otherwise the default.
pub fn start_method() -> StartMethod {
    CHOSEN.lock().unwrap_or_default()
}

/// Chooses the method of this process and of the children that it starts. It is chosen once.
///
/// # Errors
/// [`StartMethodError::Chosen`].
pub fn set_start_method(method: StartMethod) -> Result<(), StartMethodError> {
    let mut place = CHOSEN.lock();
    match *place {
        Some(chosen) => Err(StartMethodError::Chosen { chosen }),
        None => {
            *place = Some(method);
            Ok(())
        }
    }
}

/// In a parent, before it forks: see [`PerProcess::begin_with`].
pub(super) fn before_fork() {
    drop(CHOSEN.lock());
}

/// In a child that was just forked, whose epoch this is.
#[inline(always)]
pub(super) fn begin_at_fork(epoch: u32) {
    CHOSEN.begin_with(Some(StartMethod::Fork), epoch);
}

/// Chooses the method anew, or (`None`) goes back to the default, which can be chosen from once more.
pub fn force_start_method(method: impl Into<Option<StartMethod>>) {
    *CHOSEN.lock() = method.into();
}
