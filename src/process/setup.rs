//! What a child is to have of its own: standard input and output, directory, environment, priority,
//! limits.
//!
//! The child sets all that itself, before it is let go; what the kernel refuses comes back to the
//! parent, which then has started nothing.

use crate::sys::setup::{self, Environment, Kind, Processors};
use crate::{Error, Result};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

pub use crate::sys::setup::Resource;

/// What a standard stream of the child is.
#[derive(Debug)]
pub(super) enum Stream {
    /// The null device.
    Null,
    Inherited,
    From(OwnedFd),
}

/// Standard input, output and error, by their descriptors.
#[derive(Debug)]
pub(super) struct Streams(pub(super) [Stream; 3]);

impl Default for Streams {
    fn default() -> Self {
        Streams([Stream::Null, Stream::Inherited, Stream::Inherited])
    }
}

/// Which processes get signals of a terminal with the child.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Group {
    #[default]
    Inherited,
    /// 0: a new one.
    Process(u32),
    NewSession,
}

#[derive(Debug, Default)]
pub(super) struct Setup {
    pub(super) streams: Streams,
    pub(super) directory: Option<PathBuf>,
    /// Whether the environment of this process is forgotten first.
    pub(super) clear: bool,
    pub(super) variables: Vec<(OsString, Option<OsString>)>,
    pub(super) niceness: Option<i32>,
    pub(super) affinity: Option<Vec<usize>>,
    pub(super) limits: Vec<(Resource, u64, Kind)>,
    pub(super) group: Group,
    pub(super) umask: Option<u32>,
    /// Whether no signal is handled or blocked.
    pub(super) default_signals: bool,
}

/// What a step of [`Ready::apply`] does, by its number: that of a stream is its descriptor's.
const STEPS: [&str; 9] = [
    "setting the child's standard input",
    "setting the child's standard output",
    "setting the child's standard error",
    "setting the child's directory",
    "setting the child's niceness",
    "setting the child's affinity",
    "limiting the child's resources",
    "setting the child's process group",
    "beginning a session of the child's",
];

/// What a child says that fails before any step.
#[cfg(feature = "serde")]
pub(super) const NO_STEP: u32 = STEPS.len() as u32;
const DIRECTORY: u32 = 3;
const NICENESS: u32 = 4;
const AFFINITY: u32 = 5;
const LIMITS: u32 = 6;
const GROUP: u32 = 7;
const SESSION: u32 = 8;

/// The error of a child whose step failed.
pub(super) fn failure(step: u32, code: u32) -> Error {
    let what = STEPS.get(step as usize).copied().unwrap_or("setting up the child");
    Error::Process { what, source: io::Error::from_raw_os_error(code.cast_signed()) }
}

/// A setup for whose use no lock, no check and no memory is needed any more.
#[derive(Debug)]
pub(super) struct Ready {
    streams: [Stream; 3],
    /// What was given for a stream and has the number of one.
    _low: Vec<OwnedFd>,
    directory: Option<CString>,
    niceness: Option<i32>,
    affinity: Option<Processors>,
    limits: Vec<(Resource, u64, Kind)>,
    group: Group,
    umask: Option<u32>,
    default_signals: bool,
    /// Whether everything is to stay as it is.
    is_nothing: bool,
}

type Variables = Vec<(OsString, OsString)>;

impl Setup {
    /// Whether nothing can fail in the child.
    pub(super) fn is_plain(&self) -> bool {
        // The null device as input has something that takes its place.
        matches!(
            self.streams.0,
            [Stream::Null | Stream::Inherited, Stream::Inherited, Stream::Inherited]
        ) && self.directory.is_none()
            && self.niceness.is_none()
            && self.affinity.is_none()
            && !self.default_signals
            && self.limits.is_empty()
            && self.group == Group::Inherited
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
            CString::new(path.into_os_string().into_vec()).map_err(|_| Error::Process {
                what: STEPS[DIRECTORY as usize],
                source: nul("its path"),
            })
        });
        let mut low = Vec::new();
        let mut streams = self.streams.0;
        for (stream, what) in streams.iter_mut().zip(STEPS) {
            if let Stream::From(fd) = stream
                && fd.as_raw_fd() <= 2
            {
                // Where setting another stream does not overwrite it. Its number stays taken until the
                // child has been started: what is opened meanwhile would be overwritten there.
                let higher = fd.try_clone().map_err(|source| Error::Process { what, source })?;
                low.push(std::mem::replace(fd, higher));
            }
        }
        // Asked here, where it costs less than in the child.
        if matches!(streams[0], Stream::Null) && setup::has_no_standard_input() {
            streams[0] = Stream::Inherited;
        }
        Ok(Ready {
            is_nothing: is_plain && self.umask.is_none() && matches!(streams[0], Stream::Inherited),
            streams,
            _low: low,
            directory: directory.transpose()?,
            niceness: self.niceness,
            affinity: self.affinity.map(Processors::from_iter),
            limits: self.limits,
            group: self.group,
            umask: self.umask,
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
        for (number, stream) in self.streams.iter().enumerate() {
            let set = match stream {
                Stream::Null => setup::set_null_stream(number),
                Stream::Inherited => Ok(()),
                Stream::From(fd) => setup::set_stream(number, fd.as_fd()),
            };
            set.map_err(|e| (number as u32, e))?;
        }
        if let Some(directory) = &self.directory {
            setup::set_directory(directory).map_err(|e| (DIRECTORY, e))?;
        }
        if let Some(niceness) = self.niceness {
            setup::set_niceness(niceness).map_err(|e| (NICENESS, e))?;
        }
        if let Some(processors) = &self.affinity {
            setup::set_affinity(processors).map_err(|e| (AFFINITY, e))?;
        }
        match self.group {
            Group::Inherited => {}
            Group::Process(id) => setup::set_process_group(id).map_err(|e| (GROUP, e))?,
            Group::NewSession => setup::begin_session().map_err(|e| (SESSION, e))?,
        }
        if let Some(mask) = self.umask {
            setup::set_umask(mask);
        }
        for (resource, amount, kind) in &self.limits {
            setup::set_limit(*resource, *amount, *kind).map_err(|e| (LIMITS, e))?;
        }
        if self.default_signals {
            setup::set_default_signals();
        }
        Ok(())
    }
}
