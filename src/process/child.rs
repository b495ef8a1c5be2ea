//! What a process knows of a child of its own: who it is, whether it runs, how it ended.
//!
//! A child is waited for at its pidfd, which takes nothing; whoever finds it ended takes its status
//! from the kernel, once, under a lock, and keeps it for all who ask. Children are listed here until
//! that has happened, whatever becomes of their handles, and every start looks at all of them: so
//! none stays a zombie.

use super::carrier::Carrier;
use crate::sys::per_process::PerProcess;
use crate::sys::process::{self, Ended, signals};
use crate::sys::tether::Tether;
use crate::sys::{fork, time};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Children that have not been reaped.
static CHILDREN: PerProcess<Vec<Arc<Record>>> = PerProcess::new();

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

#[derive(Debug)]
struct Record {
    pid: u32,
    pidfd: OwnedFd,
    /// The process that started it, and its epoch.
    parent: u32,
    epoch: u32,
    /// What ends a daemon when this process ends.
    tether: Option<Tether>,
    name: Mutex<String>,
    end: Mutex<Option<End>>,
    /// It is this child's as long as that may write to it.
    carrier: Mutex<Option<Carrier>>,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Known(ExitStatus),
    /// Somebody else's wait took the status, and the kernel does not remember.
    Unknown,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a child that was just forked: it has no children yet.
#[inline]
pub(super) fn begin_without_children() {
    CHILDREN.begin_with_none();
}

/// A child process, without its result: what [`Process`](super::Process) and [`active_children`]
/// give.
///
/// Clones stand for the same child, and any thread may wait with one: all are told the same. A handle
/// that went to another process can send signals, and tell whether the child runs; how it ended, only
/// its parent learns.
#[derive(Clone)]
pub struct Child(Arc<Record>);

/// The children of this process that have not ended. Those that have are reaped.
///
/// # Examples
/// ```
/// let child = commons::Process::spawn(|| ())?;
/// child.wait()?;
/// assert!(commons::process::active_children().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[inline]
pub fn active_children() -> Vec<Child> {
    CHILDREN.lock_if_any().map_or_else(Vec::new, look_at_all)
}

fn look_at_all(children: MutexGuard<'_, Vec<Arc<Record>>>) -> Vec<Child> {
    // Not under the lock: who ends is taken from the list.
    let all: Vec<_> = children.iter().cloned().map(Child).collect();
    drop(children);
    all.into_iter().filter(Child::is_alive).collect()
}

impl Child {
    /// Makes a child that was just started known.
    pub(super) fn register(
        pid: u32,
        pidfd: OwnedFd,
        name: String,
        tether: Option<Tether>,
        carrier: Carrier,
    ) -> Self {
        let child = Child(Arc::new(Record {
            pid,
            pidfd,
            parent: std::process::id(),
            epoch: fork::epoch(),
            tether,
            name: Mutex::new(name),
            end: Mutex::new(None),
            carrier: Mutex::new(Some(carrier)),
        }));
        CHILDREN.lock().push(Arc::clone(&child.0));
        child
    }

    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.0.pid
    }

    /// The child's name, as this process knows it.
    pub fn name(&self) -> String {
        locked(&self.0.name).clone()
    }

    /// Gives the child another name. It keeps the one that it knows.
    pub fn set_name(&self, name: impl Into<String>) {
        *locked(&self.0.name) = name.into();
    }

    /// Whether it is a daemon (see [`Builder::daemon`](super::Builder::daemon)).
    pub fn is_daemon(&self) -> bool {
        self.0.tether.is_some()
    }

    /// Whether the child still runs.
    pub fn is_alive(&self) -> bool {
        if self.is_ours() {
            matches!(self.look(), Ok(None))
        } else {
            matches!(process::wait_readable(self.as_fd(), 0), Ok(false))
        }
    }

    /// Waits for the child to end.
    ///
    /// # Errors
    /// In a process that is not its parent; where its status was taken by a `wait` of another
    /// library's, and the kernel (before Linux 6.15) does not remember it.
    ///
    /// # Blocking
    /// Until the child has ended. A signal does not end the wait.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        let ended = self.wait_until(u64::MAX)?;
        ended.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Waits for the child to end, for at most `timeout`; `None`: it still runs.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        self.wait_until(time::after(timeout))
    }

    /// Waits for the child to end, until `deadline`; `None`: it still runs.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn wait_deadline(&self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.wait_until(time::at(deadline))
    }

    /// How the child ended; `None`: it still runs.
    ///
    /// # Errors
    /// As [`Child::wait`].
    pub fn exit_status(&self) -> io::Result<Option<ExitStatus>> {
        self.look()
    }

    /// The child's exit code, or minus the number of the signal that ended it; `None` while it runs,
    /// and where [`Child::exit_status`] is an error.
    pub fn exit_code(&self) -> Option<i32> {
        self.look().ok().flatten().map(ExitStatus::code)
    }

    /// Ends the child at once (SIGKILL). What it had of this crate's objects is found dead by those
    /// who share them. Its own children live on, but for daemons.
    ///
    /// # Errors
    /// What the kernel says. A child that has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(signals::KILL)
    }

    /// Asks the child to end (SIGTERM), and does not wait until it has.
    ///
    /// # Errors
    /// As [`Child::kill`].
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(signals::TERM)
    }

    /// Interrupts the child (SIGINT), as Ctrl-C does.
    ///
    /// # Errors
    /// As [`Child::kill`].
    pub fn interrupt(&self) -> io::Result<()> {
        self.signal(signals::INT)
    }

    /// Sends the child a signal, by its number.
    ///
    /// # Errors
    /// As [`Child::kill`]; a number that is no signal's.
    pub fn signal(&self, number: i32) -> io::Result<()> {
        /// Where the child was reaped already.
        const NO_SUCH_PROCESS: i32 = 3;
        match process::signal(self.as_fd(), number) {
            Err(e) if e.raw_os_error() == Some(NO_SUCH_PROCESS) => Ok(()),
            other => other,
        }
    }

    /// Whether the calling process started it.
    pub(super) fn is_ours(&self) -> bool {
        self.0.epoch == fork::epoch()
    }

    /// The end, if it has come and nothing took it away.
    fn look(&self) -> io::Result<Option<ExitStatus>> {
        self.wait_until(0)
    }

    fn wait_until(&self, deadline: u64) -> io::Result<Option<ExitStatus>> {
        if !self.is_ours() {
            return Err(io::Error::other("only the process that started a child can wait for it"));
        }
        let known = *locked(&self.0.end);
        let end = match known {
            Some(end) => end,
            None if !process::wait_readable(self.as_fd(), deadline)? => return Ok(None),
            None => self.reap()?,
        };
        match end {
            End::Known(status) => Ok(Some(status)),
            End::Unknown => Err(io::Error::other("another wait of this process took its status")),
        }
    }

    /// Takes the status of a child that has ended, unless another thread did.
    fn reap(&self) -> io::Result<End> {
        /// There is no such child, or no longer.
        const NO_CHILD: i32 = 10;
        let mut end = locked(&self.0.end);
        if let Some(end) = *end {
            return Ok(end);
        }
        let found = match process::wait(self.as_fd(), true) {
            Ok(ended) => ended,
            Err(e) if e.raw_os_error() == Some(NO_CHILD) => process::ended_unwaited(self.as_fd()),
            Err(e) => return Err(e),
        };
        let found = found.map_or(End::Unknown, |ended| End::Known(ended.into()));
        *end = Some(found);
        drop(end);
        locked(&self.0.carrier).take();
        CHILDREN.lock().retain(|child| !Arc::ptr_eq(child, &self.0));
        Ok(found)
    }
}

impl AsFd for Child {
    /// The pidfd, which is readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.pidfd.as_fd()
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Record { pid, parent, .. } = &*self.0;
        write!(f, "<Process name='{}' pid={pid} parent={parent} ", self.name())?;
        if !self.is_ours() {
            f.write_str("unknown")?;
        } else {
            match self.look() {
                Ok(None) => f.write_str("started")?,
                Ok(Some(status)) => write!(f, "stopped exitcode={status}")?,
                Err(_) => f.write_str("stopped")?,
            }
        }
        f.write_str(if self.is_daemon() { " daemon>" } else { ">" })
    }
}

impl fmt::Debug for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
