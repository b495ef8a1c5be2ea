//! What a child is to have of its own: standard input, directory, environment, priority, limits.
//!
//! The child sets all that itself, before it is let go; what the kernel refuses comes back to the
//! parent, which then has started nothing.

use crate::sys::setup::{self, Environment, Processors};
use crate::{Error, Result};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

pub use crate::sys::setup::Resource;

#[derive(Debug, Default)]
pub(super) enum Input {
    #[default]
    Null,
    Inherited,
    From(OwnedFd),
}

#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) input: Input,
    pub(super) directory: Option<PathBuf>,
    /// Whether the environment of this process is forgotten first.
    pub(super) clear: bool,
    pub(super) variables: Vec<(OsString, Option<OsString>)>,
    pub(super) niceness: Option<i32>,
    pub(super) affinity: Option<Vec<usize>>,
    pub(super) limits: Vec<(Resource, u64)>,
    /// Whether no signal is handled or blocked.
    pub(super) default_signals: bool,
}

/// What a step of [`Ready::apply`] does, by its number.
const STEPS: [&str; 5] = [
    "setting the child's standard input",
    "setting the child's directory",
    "setting the child's niceness",
    "setting the child's affinity",
    "limiting the child's resources",
];

/// The error of a child whose step failed.
pub(super) fn failure(step: u32, code: u32) -> Error {
    let what = STEPS.get(step as usize).copied().unwrap_or("setting up the child");
    Error::Process { what, source: io::Error::from_raw_os_error(code.cast_signed()) }
}

/// A setup for whose use no lock, no check and no memory is needed any more.
#[derive(Debug)]
pub(super) struct Ready {
    input: Input,
    directory: Option<CString>,
    niceness: Option<i32>,
    affinity: Option<Processors>,
    limits: Vec<(Resource, u64)>,
    default_signals: bool,
    /// Whether everything is to stay as it is.
    is_nothing: bool,
}

type Variables = Vec<(OsString, OsString)>;

impl Setup {
    /// Whether nothing can fail in the child.
    pub(super) fn is_plain(&self) -> bool {
        !matches!(self.input, Input::From(_))
            && self.directory.is_none()
            && self.niceness.is_none()
            && self.affinity.is_none()
            && !self.default_signals
            && self.limits.is_empty()
    }

    /// In the parent, before the fork: the environment, where it is to be another one.
    pub(super) fn environment(&self) -> Result<Option<Environment>> {
        if !self.clear && self.variables.is_empty() {
            return Ok(None);
        }
        let variables = self.variables()?.into_iter().map(|(key, value)| {
            let text = [key.as_bytes(), b"=", value.as_bytes()].concat();
            CString::new(text).map_err(|_| has_nul(&key))
        });
        Ok(Some(Environment::new(variables.collect::<Result<_>>()?)))
    }

    /// All variables of the child.
    pub(super) fn variables(&self) -> Result<Variables> {
        let mut all: Variables =
            if self.clear { Vec::new() } else { std::env::vars_os().collect() };
        for (key, value) in &self.variables {
            all.retain(|(other, _)| other != key);
            all.extend(value.clone().map(|value| (key.clone(), value)));
            if key.is_empty() || key.as_bytes().contains(&b'=') {
                return Err(invalid(format!("{} is no name of a variable", key.display())));
            }
            let value = value.as_ref().map_or(&[][..], |value| value.as_bytes());
            if key.as_bytes().contains(&0) || value.contains(&0) {
                return Err(has_nul(key));
            }
        }
        Ok(all)
    }

    /// In the parent, before the fork.
    pub(super) fn prepare(self) -> Result<Ready> {
        let is_plain = self.is_plain();
        let directory = self.directory.map(|path| {
            CString::new(path.into_os_string().into_vec())
                .map_err(|_| Error::Process { what: STEPS[1], source: nul("its path") })
        });
        let input = match self.input {
            // Asked here, where it costs less than in the child.
            Input::Null if setup::has_no_standard_input() => Input::Inherited,
            input => input,
        };
        Ok(Ready {
            is_nothing: is_plain && matches!(input, Input::Inherited),
            input,
            directory: directory.transpose()?,
            niceness: self.niceness,
            affinity: self.affinity.map(Processors::from_iter),
            limits: self.limits,
            default_signals: self.default_signals,
        })
    }
}

fn nul(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, format!("{what} contains a NUL"))
}

fn has_nul(key: &OsStr) -> Error {
    Error::Process { what: "setting the child's environment", source: nul(key.display()) }
}

fn invalid(problem: String) -> Error {
    let source = io::Error::new(io::ErrorKind::InvalidInput, problem);
    Error::Process { what: "setting the child's environment", source }
}

impl Ready {
    /// In the child: sets everything. The error has the number of the step. Allocates nothing.
    #[inline(always)]
    pub(super) fn apply(&self) -> Result<(), (u32, io::Error)> {
        if self.is_nothing { Ok(()) } else { self.apply_all() }
    }

    fn apply_all(&self) -> Result<(), (u32, io::Error)> {
        match &self.input {
            Input::Null => setup::set_no_standard_input().map_err(|e| (0, e))?,
            Input::Inherited => {}
            Input::From(fd) => setup::set_standard_input(fd.as_fd()).map_err(|e| (0, e))?,
        }
        if let Some(directory) = &self.directory {
            setup::set_directory(directory).map_err(|e| (1, e))?;
        }
        if let Some(niceness) = self.niceness {
            setup::set_niceness(niceness).map_err(|e| (2, e))?;
        }
        if let Some(processors) = &self.affinity {
            setup::set_affinity(processors).map_err(|e| (3, e))?;
        }
        for (resource, amount) in &self.limits {
            setup::set_limit(*resource, *amount).map_err(|e| (4, e))?;
        }
        if self.default_signals {
            setup::set_default_signals();
        }
        Ok(())
    }
}
