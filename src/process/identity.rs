//! Who a process is: its name, whether it is a daemon, and who started it.
//!
//! A child is told little, and works out the rest when somebody asks: what is written for each start costs
//! more than what is read by few.

#![allow(unsafe_code, reason = "a forked child takes what its parent made for it")]

use crate::sys::per_process::PerProcess;
use crate::sys::{process, task, time};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::sync::Arc;
use std::time::Duration;

/// Who this process is.
static SELF: PerProcess<Own> = PerProcess::new();

#[derive(Debug, Default)]
struct Own {
    /// What it was told; `None`: it is the first of its family.
    identity: Option<Identity>,
    /// What its children are told of it, once that was asked for. Its name is that of this process.
    as_parent: Option<Arc<Parent>>,
    /// Children that were built, started or not.
    children: u32,
}

impl Own {
    fn as_parent(&mut self) -> &Arc<Parent> {
        self.as_parent.get_or_insert_with(|| {
            let (name, path) = match &self.identity {
                Some(identity) => (identity.name(), identity.path()),
                None => ("MainProcess".to_owned(), Vec::new()),
            };
            Arc::new(Parent { pid: std::process::id(), name, path, started: 0 })
        })
    }

    /// Changes what children are told from now on.
    fn describe(&mut self, change: impl FnOnce(&mut Parent)) {
        let mut parent = Parent::clone(self.as_parent());
        change(&mut parent);
        self.as_parent = Some(Arc::new(parent));
    }
}

/// What a child is told that it is.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Identity {
    name: Option<String>,
    /// What it is called without a name, with the numbers of its line of descent.
    #[cfg_attr(feature = "serde", serde(skip))]
    kind: &'static str,
    /// Its number among its parent's children.
    number: u32,
    daemon: bool,
    #[cfg_attr(feature = "serde", serde(with = "parent_in_letter"))]
    parent: Arc<Parent>,
}

impl Identity {
    /// What the calling process tells a child that it starts.
    pub(super) fn of_child(
        name: Option<String>,
        (kind, number): (&'static str, u32),
        daemon: bool,
    ) -> Self {
        let mut own = SELF.lock();
        if own.as_parent().started == 0 {
            let started = task::start_time(own.as_parent().pid).unwrap_or(0);
            own.describe(|parent| parent.started = started);
        }
        let parent = own.as_parent().clone();
        Identity { name, kind, number, daemon, parent }
    }

    pub(super) fn name(&self) -> String {
        self.name.clone().unwrap_or_else(|| default_name(self.kind, &self.path()))
    }

    /// The same for a process that knows nothing of kinds.
    #[cfg(feature = "serde")]
    pub(super) fn spelled_out(&self) -> Self {
        Identity { name: Some(self.name()), ..self.clone() }
    }

    pub(super) fn is_daemon(&self) -> bool {
        self.daemon
    }

    /// The process id of its parent.
    #[cfg(feature = "serde")]
    pub(super) fn parent_pid(&self) -> u32 {
        self.parent.pid
    }

    /// The numbers of its line of descent: its own is the last.
    fn path(&self) -> Vec<u32> {
        self.parent.path.iter().copied().chain([self.number]).collect()
    }

    /// In the child: is this from now on.
    #[cfg(feature = "serde")]
    pub(super) fn assume(self) {
        *SELF.lock() = Own { identity: Some(self), ..Own::default() };
    }
}

/// In a child that was just forked, before it has a second thread: is this from now on. `epoch` is the
/// child's.
///
/// # Safety
/// What `identity` refers to is neither dropped nor used by anybody else in this process.
#[inline(always)]
pub(super) unsafe fn assume_at_fork(identity: &Identity, epoch: u32) {
    // Not moved out of where it is: that would be written to.
    // SAFETY: nobody else has it, as the caller says.
    let identity = unsafe { std::ptr::read(identity) };
    SELF.begin_with(Own { identity: Some(identity), as_parent: None, children: 0 }, epoch);
}

/// The number of the next child that is built.
pub(super) fn next_number() -> u32 {
    let mut own = SELF.lock();
    own.children += 1;
    own.children
}

/// The name of the next child of this number, where it is given none.
pub(super) fn name_of_child(kind: &str, number: u32) -> String {
    let mut path = SELF.lock().as_parent().path.clone();
    path.push(number);
    default_name(kind, &path)
}

fn default_name(kind: &str, path: &[u32]) -> String {
    let numbers: Vec<_> = path.iter().map(u32::to_string).collect();
    format!("{kind}-{}", numbers.join(":"))
}

/// Whether the calling process is a daemon.
pub(super) fn is_daemon() -> bool {
    SELF.lock().identity.as_ref().is_some_and(|identity| identity.daemon)
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
    let mut own = SELF.lock();
    let name = own.as_parent().name.clone();
    let (daemon, parent) = match &own.identity {
        Some(identity) => (identity.daemon, Some(identity.parent.clone())),
        None => (false, None),
    };
    Current { pid: std::process::id(), name, daemon, parent }
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
    SELF.lock().identity.as_ref().map(|identity| identity.parent.clone())
}

/// Gives the calling process another name. Its parent keeps the one that it knows.
pub fn rename(name: impl Into<String>) {
    SELF.lock().describe(|parent| parent.name = name.into());
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

    pub(super) fn serialize<S: Serializer>(parent: &Arc<Parent>, to: S) -> Result<S::Ok, S::Error> {
        let Parent { pid, name, path, started } = &**parent;
        (pid, name, path, started).serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<Parent>, D::Error> {
        let (pid, name, path, started) = Deserialize::deserialize(from)?;
        Ok(Arc::new(Parent { pid, name, path, started }))
    }
}

/// The process that started the calling one.
#[derive(Clone, Debug)]
pub struct Parent {
    pid: u32,
    name: String,
    /// The numbers of its line of descent.
    path: Vec<u32>,
    /// When it started, in clock ticks since boot, once it has started others; 0: not asked, or unknown.
    started: u64,
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
        // An orphan has another parent. Who is told of by another process than its child is known by when it
        // started; a child in a pid namespace of its own cannot see its parent.
        let is_there = || {
            task::start_time(self.pid) == Some(self.started)
                && !task::runs_no_more(self.pid, self.started)
        };
        [self.pid, 0].contains(&parent_id()) || self.started != 0 && is_there()
    }

    /// Waits for it to end.
    ///
    /// # Errors
    /// What the kernel says: where there is no descriptor to be had, and in another pid namespace than the
    /// parent's.
    ///
    /// # Blocking
    /// Until it has ended.
    pub fn join(&self) -> io::Result<()> {
        self.join_timeout(Duration::MAX).map(drop)
    }

    /// Waits for it to end, for at most `timeout`; false: it still runs.
    ///
    /// # Errors
    /// As [`Parent::join`].
    pub fn join_timeout(&self, timeout: Duration) -> io::Result<bool> {
        match self.descriptor()? {
            None => Ok(true),
            Some(pidfd) => process::wait_readable(pidfd.as_fd(), time::after(timeout)),
        }
    }

    /// A descriptor of it; `None`: it has ended.
    fn descriptor(&self) -> io::Result<Option<OwnedFd>> {
        let pidfd = process::open(self.pid);
        // Who is alive still had its id when it was opened.
        if self.is_alive() { pidfd.map(Some) } else { Ok(None) }
    }
}
