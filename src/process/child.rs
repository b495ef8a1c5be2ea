//! What a process knows of a child of its own: who it is, whether it runs, how it ended.
//!
//! A child is waited for by its pidfd. Its status is taken from the kernel once, under a lock, and kept for
//! all who ask: by the first thread that waits without an end, which has the lock meanwhile, or by whoever
//! finds the child ended. Children are listed here until
//! that has happened, whatever becomes of their handles, and every start looks at all of them: so
//! none stays a zombie.

use super::few::Few;
use super::identity::Identity;
use super::outcome::{ExitStatus, WaitError};
#[cfg(feature = "serde")]
use super::passed::Known;
use super::report::Report;
use crate::Result;
use crate::sys::per_process::PerProcess;
use crate::sys::process::{self, signals};
use crate::sys::tether::Tether;
use crate::sys::{fork, time};
use std::fmt;
use std::io;
#[cfg(feature = "serde")]
use std::os::fd::AsRawFd;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

/// Children that have not been reaped.
static CHILDREN: PerProcess<Few<Arc<Record>>> = PerProcess::new();

/// What a child had of which nobody has a handle any more, for the next one.
static SPARE: PerProcess<Option<Arc<Record>>> = PerProcess::new();

#[derive(Debug)]
struct Record {
    started: OnceLock<Started>,
    /// The process that started it, and its epoch.
    parent: u32,
    epoch: u32,
    /// What ends a daemon when this process ends.
    tether: Option<Tether>,
    /// What the child was told that it is.
    identity: Identity,
    /// Another name that it was given here since.
    renamed: Mutex<Option<String>>,
    end: Mutex<Option<End>>,
    /// `None`: another process started it, whose handle came here.
    report: Option<Report>,
}

/// What a process has once it runs.
#[derive(Debug)]
struct Started {
    pid: u32,
    pidfd: OwnedFd,
}

#[derive(Clone, Copy, Debug)]
enum End {
    Known(ExitStatus),
    /// Somebody else's wait took the status, and the kernel does not remember.
    Unknown,
}

/// There is no such child, or no longer.
const NO_CHILD: i32 = 10;

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// In a child that was just forked: it has no children yet.
#[inline]
pub(super) fn begin_without_children() {
    CHILDREN.begin_with_none();
}

/// Whether this process has had no children, as far as can be said at once.
#[inline(always)]
pub(super) fn never_had_children() -> bool {
    CHILDREN.is_new()
}

/// A child process, without its result: what [`Process`](super::Process) and [`active_children`]
/// give.
///
/// Clones stand for the same child, and any thread may wait with one: all are told the same.
///
/// Handles go to children of either kind: captured by a closure, or in the argument of
/// [`Process::call`](super::Process::call). In another process than its parent, a handle can send
/// signals, tell whether the child runs, and be waited for in a [`Select`](crate::Select); how it ended,
/// only its parent learns ([`WaitError::NotParent`]). A process has no handle of itself.
///
/// # Examples
/// ```
/// use commons::process::{Child, Process};
///
/// let worker = Process::spawn(|| std::thread::park())?;
/// let stops = |worker: Child| worker.terminate().is_ok();
/// assert!(Process::call(stops, Child::clone(&worker))?.join()?);
/// assert_eq!(worker.wait()?.code(), -15);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Child(Arc<Record>);

impl Record {
    fn started(&self) -> &Started {
        self.started.get().expect("it was started: there are handles of it")
    }

    fn report(&self) -> &Report {
        self.report.as_ref().expect("it was started here, or in a process that forked this one")
    }
}

/// A child that is about to be started. All memory that it takes is there already: what its parent writes
/// after a fork, the kernel copies page by page.
#[derive(Debug)]
pub(super) struct Unborn(Arc<Record>);

impl Unborn {
    pub(super) fn new(identity: Identity, tether: Option<Tether>) -> Result<Self> {
        let spare = SPARE.lock().take();
        if let Some(mut spare) = spare
            && let Some(record) = Arc::get_mut(&mut spare)
        {
            record.report.as_mut().map_or(Ok(()), Report::renew)?;
            record.identity = identity;
            record.tether = tether;
            return Ok(Unborn(spare));
        }
        Ok(Unborn(Arc::new(Record {
            started: OnceLock::new(),
            parent: std::process::id(),
            epoch: fork::epoch(),
            tether,
            identity,
            renamed: Mutex::default(),
            end: Mutex::default(),
            report: Some(Report::new()?),
        })))
    }

    /// What it is to be.
    pub(super) fn identity(&self) -> &Identity {
        &self.0.identity
    }

    /// What it is going to report through.
    pub(super) fn report(&self) -> &Report {
        self.0.report()
    }

    /// It runs, as this process: makes it known.
    pub(super) fn born(self, pid: u32, pidfd: OwnedFd) -> Child {
        let _ = self.0.started.set(Started { pid, pidfd });
        CHILDREN.lock().push(Arc::clone(&self.0));
        Child(Arc::clone(&self.0))
    }
}

impl Drop for Unborn {
    fn drop(&mut self) {
        if self.0.started.get().is_none()
            && let Some(record) = Arc::get_mut(&mut self.0)
        {
            record.tether.take();
            SPARE.lock().replace(Arc::clone(&self.0));
        }
    }
}

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
    if CHILDREN.is_new() { Vec::new() } else { look_at_all() }
}

fn look_at_all() -> Vec<Child> {
    let Some(children) = CHILDREN.lock_if_any() else { return Vec::new() };
    // Not under the lock: who ends is taken from the list.
    let mut all: Vec<_> = children.iter().cloned().map(Child).collect();
    drop(children);
    // Where none has ended, that is one question and not one for each.
    if !all.is_empty() && process::has_any_ended() {
        all.retain(Child::is_alive);
    }
    all
}

impl Child {
    /// The child's process id.
    pub fn pid(&self) -> u32 {
        self.0.started().pid
    }

    /// The child's name, as this process knows it.
    pub fn name(&self) -> String {
        let renamed = locked(&self.0.renamed).clone();
        renamed.unwrap_or_else(|| self.0.identity.name())
    }

    /// Gives the child another name. It keeps the one that it knows.
    pub fn set_name(&self, name: impl Into<String>) {
        *locked(&self.0.renamed) = Some(name.into());
    }

    /// Whether it is a daemon (see [`Builder::daemon`](super::Builder::daemon)).
    pub fn is_daemon(&self) -> bool {
        self.0.identity.is_daemon()
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
    /// [`WaitError::NotParent`] in a process that is not its parent; [`WaitError::StatusTaken`] where a
    /// `wait` of another library's took its status, and the kernel (before Linux 6.15) does not
    /// remember it; both inside an [`io::Error`]. What the kernel says.
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

    pub(super) fn report(&self) -> &Report {
        self.0.report()
    }

    /// What another process is told of it.
    #[cfg(feature = "serde")]
    pub(super) fn known(&self) -> Known {
        Known {
            pid: self.pid(),
            pidfd: self.as_fd().as_raw_fd(),
            identity: self.0.identity.spelled_out(),
            renamed: locked(&self.0.renamed).clone(),
        }
    }

    /// In another process than started it.
    #[cfg(feature = "serde")]
    pub(super) fn of_another(pidfd: OwnedFd, known: Known) -> Self {
        /// Nobody's epoch.
        const NO_EPOCH: u32 = 0;
        Child(Arc::new(Record {
            started: Started { pid: known.pid, pidfd }.into(),
            parent: known.identity.parent_pid(),
            epoch: NO_EPOCH,
            tether: None,
            identity: known.identity,
            renamed: Mutex::new(known.renamed),
            end: Mutex::default(),
            report: None,
        }))
    }

    /// Whether the two are clones of one handle.
    #[cfg(feature = "serde")]
    pub(super) fn is_same(&self, other: &Child) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Nobody is going to ask for the outcome: reaps one that has ended, and leaves what it had to the next
    /// child.
    pub(super) fn forget_outcome(&mut self) {
        if !self.is_ours() || !matches!(self.look(), Ok(Some(_))) {
            return;
        }
        if let Some(record) = Arc::get_mut(&mut self.0) {
            // Descriptors are given back at once.
            record.started.take();
            record.tether.take();
            record.renamed = Mutex::default();
            record.end = Mutex::default();
            SPARE.lock().replace(Arc::clone(&self.0));
        } else {
            self.0.report().close_file();
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
            return Err(WaitError::NotParent.into());
        }
        /// How long a child that has ended is left alone, in nanoseconds, before its status is asked for
        /// once more: a debugger has it first.
        const PAUSE: u64 = 1_000_000;
        let mut end = self.end(deadline == u64::MAX)?;
        while end.is_none() {
            if !process::wait_readable(self.as_fd(), deadline)? {
                return Ok(None);
            }
            end = self.end(false)?;
            if end.is_none() {
                let now = time::now();
                if now >= deadline {
                    return Ok(None);
                }
                std::thread::sleep(Duration::from_nanos(PAUSE.min(deadline - now)));
            }
        }
        match end {
            Some(End::Known(status)) => Ok(Some(status)),
            _ => Err(WaitError::StatusTaken.into()),
        }
    }

    /// The end, if it has come, or else (`block`) when it comes.
    fn end(&self, block: bool) -> io::Result<Option<End>> {
        match self.0.end.try_lock() {
            Ok(mut end) => {
                if end.is_none() {
                    *end = self.reap(block)?;
                }
                Ok(*end)
            }
            // Another thread waits without an end, or has this moment found it.
            Err(_) => match process::look(self.as_fd()) {
                Err(e) if e.raw_os_error() == Some(NO_CHILD) => Ok(*locked(&self.0.end)),
                found => Ok(found?.map(|ended| End::Known(ended.into()))),
            },
        }
    }

    /// Takes the status of the child, if it has ended, or else (`block`) when it has. The caller has the
    /// lock on its end.
    fn reap(&self, block: bool) -> io::Result<Option<End>> {
        let found = match process::wait(self.as_fd(), block) {
            Ok(None) => return Ok(None),
            Ok(ended) => ended,
            // Where nobody is to wait for children, there is none as soon as it has ended.
            Err(e) if e.raw_os_error() == Some(NO_CHILD) => process::ended_unwaited(self.as_fd()),
            Err(e) => return Err(e),
        };
        CHILDREN.lock().retain(|child| !Arc::ptr_eq(child, &self.0));
        Ok(Some(found.map_or(End::Unknown, |ended| End::Known(ended.into()))))
    }
}

impl AsFd for Child {
    /// The pidfd, which is readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.started().pidfd.as_fd()
    }
}

impl fmt::Display for Child {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (pid, parent) = (self.pid(), self.0.parent);
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
