//! Who a process is: its name, whether it is a daemon, and who started it.

use super::child::ExitStatus;
use crate::sys::per_process::{PerProcess, Preset};
use crate::sys::process;
use crate::sys::time;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Who this process is. One that this crate did not start is the first of its family.
static SELF: PerProcess<Identity> = PerProcess::new();

#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Identity {
    pub(super) name: String,
    /// The numbers of its line of descent: a child's own among its parent's children is the last.
    pub(super) path: Vec<u32>,
    pub(super) daemon: bool,
    #[cfg_attr(feature = "serde", serde(with = "parent_in_letter"))]
    pub(super) parent: Option<Arc<Parent>>,
    /// Children that were built, started or not.
    children: u32,
}

impl Default for Identity {
    fn default() -> Self {
        Identity {
            name: "MainProcess".to_owned(),
            path: Vec::new(),
            daemon: false,
            parent: None,
            children: 0,
        }
    }
}

impl Identity {
    /// What the calling process tells a child that it starts.
    pub(super) fn of_child(name: String, path: Vec<u32>, daemon: bool) -> Self {
        let (pid, own) = (std::process::id(), SELF.lock().name.clone());
        let parent = Some(Arc::new(Parent { pid, name: own }));
        Identity { name, path, daemon, parent, children: 0 }
    }

    /// In the child: is this from now on.
    #[cfg(feature = "serde")]
    pub(super) fn assume(self) {
        *SELF.lock() = self;
    }

    /// In the parent: what a child is to be.
    pub(super) fn preset(self) -> Preset<Identity> {
        SELF.preset(self)
    }
}

/// The line of descent of the next child.
pub(super) fn next_path() -> Vec<u32> {
    let mut own = SELF.lock();
    own.children += 1;
    own.path.iter().copied().chain([own.children]).collect()
}

/// The default name of the process with this line of descent.
pub(super) fn default_name(kind: &str, path: &[u32]) -> String {
    let numbers: Vec<_> = path.iter().map(u32::to_string).collect();
    format!("{kind}-{}", numbers.join(":"))
}

/// The calling process, as it was when it was asked for.
///
/// # Examples
/// ```
/// use commons::process;
///
/// assert_eq!(process::current().name(), "MainProcess");
/// let child = process::Process::spawn(|| process::current().name().to_owned())?;
/// assert_eq!(child.name(), "Process-1");
/// assert_eq!(child.join()?, "Process-1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Current {
    pid: u32,
    name: String,
    daemon: bool,
    parent: Option<Arc<Parent>>,
}

/// The calling process: its name, and what it was started as.
///
/// The first process of a family, and any that was not started by this crate, is `MainProcess`.
pub fn current() -> Current {
    let own = SELF.lock();
    Current {
        pid: std::process::id(),
        name: own.name.clone(),
        daemon: own.daemon,
        parent: own.parent.clone(),
    }
}

/// The process that started this one; `None` in one that this crate did not start.
///
/// # Examples
/// ```
/// use commons::process::{self, Process};
///
/// assert!(process::parent().is_none());
/// let child = Process::spawn(|| process::parent().is_some_and(|parent| parent.is_alive()))?;
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn parent() -> Option<Arc<Parent>> {
    SELF.lock().parent.clone()
}

/// Gives the calling process another name. Its parent keeps the one that it knows.
pub fn rename(name: impl Into<String>) {
    SELF.lock().name = name.into();
}

impl Current {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it is a daemon (see [`Builder::daemon`](super::Builder::daemon)).
    pub fn is_daemon(&self) -> bool {
        self.daemon
    }
}

impl fmt::Display for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<Process name='{}'", self.name)?;
        if let Some(parent) = &self.parent {
            write!(f, " parent={}", parent.pid)?;
        }
        f.write_str(if self.daemon { " started daemon>" } else { " started>" })
    }
}

/// How a child that is started by exec is told of its parent.
#[cfg(feature = "serde")]
mod parent_in_letter {
    use super::{Arc, Parent};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(
        parent: &Option<Arc<Parent>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        parent.as_ref().map(|parent| (parent.pid, &parent.name)).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Parent>>, D::Error> {
        let parent = Option::<(u32, String)>::deserialize(deserializer)?;
        Ok(parent.map(|(pid, name)| Arc::new(Parent { pid, name })))
    }
}

/// The process that started the calling one.
#[derive(Debug)]
pub struct Parent {
    pid: u32,
    name: String,
}

impl Parent {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The name it had when it started this process.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        matches!(self.join_timeout(Duration::ZERO), Ok(false))
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// What the kernel says.
    ///
    /// # Blocking
    /// Until it has ended.
    pub fn join(&self) -> io::Result<()> {
        self.join_timeout(Duration::MAX).map(drop)
    }

    /// Waits for it to end, for at most `timeout`; false: it still runs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<bool> {
        match self.descriptor()? {
            None => Ok(true),
            Some(pidfd) => process::wait_readable(pidfd.as_fd(), time::after(timeout)),
        }
    }

    /// A descriptor of it; `None`: it has ended.
    fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        let pidfd = process::open(self.pid);
        // An orphan has another parent. So one that is ours still had its id when it was opened.
        if std::os::unix::process::parent_id() != self.pid {
            return Ok(None);
        }
        pidfd.map(Some)
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitStatus::Exited(code) => write!(f, "{code}"),
            ExitStatus::Signaled(signal) => write!(f, "-{}", process::signal_name(*signal)),
        }
    }
}
