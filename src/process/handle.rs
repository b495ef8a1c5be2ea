//! The handle of a child process and its result.

use super::builder::{Builder, Runnable};
use super::child::{Child, ExitStatus};
use super::launch::Report;
use super::outcome::{JoinError, Outcome};
use crate::Result;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A child process that runs a closure and may return a value.
///
/// What it is and how it is, and signals to it, are the methods of [`Child`], which it dereferences
/// to; a clone of that is for other threads. Dropping the handle leaves the child running; it is
/// reaped when it has ended.
///
/// # Examples
/// ```
/// let child = commons::Process::spawn(|| 6 * 7)?;
/// assert_eq!(child.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Process<R> {
    child: Child,
    report: Report,
    result: PhantomData<fn() -> R>,
}

impl Process<()> {
    /// What a child is to be, to be started by [`Builder::spawn`].
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<R: Outcome> Process<R> {
    /// Starts a child process that runs `f`, by fork.
    ///
    /// What `f` captures becomes the child's: an end of a channel moved into it is the child's alone,
    /// with no moment in which it is nobody's. The parent's copy is dropped without closing anything.
    /// Values of other crates are copied and dropped in both processes.
    ///
    /// The child ends when `f` returns, with code 0, or panics, with code 1. It runs no destructors
    /// of the parent's other values and no exit handlers. A panic is a line on standard error, and comes
    /// back in the [`JoinError`]; panic hooks of the parent's do not run. Then, and at any other orderly end (a return
    /// from `main`, [`exit`](super::exit), [`std::process::exit`]), a process waits for the children it
    /// has left, unless they are [daemons](Builder::daemon).
    ///
    /// # Threads
    /// The child has only the calling thread. If other threads of the parent held a lock at that
    /// instant, in a library or of your own, it stays locked in the child for ever. Locks of this
    /// crate, of the allocator and of standard output and error are taken care of. Start children
    /// before threads where you can.
    ///
    /// # Errors
    /// [`Error::Process`](crate::Error::Process) where the kernel refuses another process, or what
    /// the builder asks for;
    /// [`Error::Holding`](crate::Error::Holding) while the calling thread holds a lock of this crate;
    /// [`Error::Daemon`](crate::Error::Daemon) in a daemon;
    /// [`Error::NoSpace`](crate::Error::NoSpace), [`Error::TableFull`](crate::Error::TableFull),
    /// [`Error::Os`](crate::Error::Os). Nothing is started then.
    pub fn spawn<F>(f: F) -> Result<Self>
    where
        F: FnOnce() -> R + Send + 'static,
    {
        Builder::new().spawn(f)
    }

    /// Starts a child process that runs `work`, and has its type's name where another is called
    /// `Process`.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn run<W: Runnable<Output = R>>(work: W) -> Result<Self> {
        Builder::new().run(work)
    }

    /// Waits for the child to end and gives what its closure returned.
    ///
    /// A result that was complete before a signal ended the child is given, too.
    ///
    /// # Errors
    /// [`JoinError`] says how it ended instead.
    ///
    /// # Blocking
    /// Until the child has ended.
    pub fn join(self) -> Result<R, JoinError> {
        self.result(self.child.wait())
    }

    /// Waits for the child to end, for at most `timeout`, and gives what its closure returned;
    /// `None`: it still runs. May be asked again, also after the end.
    ///
    /// # Errors
    /// As [`Process::join`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, JoinError> {
        match self.child.wait_timeout(timeout).transpose() {
            None => Ok(None),
            Some(ended) => self.result(ended).map(Some),
        }
    }

    /// What came of a child that has ended like this.
    fn result(&self, ended: io::Result<ExitStatus>) -> Result<R, JoinError> {
        let ended = match ended {
            Err(error) if self.child.is_alive() => return Err(error.into()),
            ended => ended,
        };
        match self.report.read()? {
            Some(outcome) => outcome.and_then(|bytes| {
                R::decode(&bytes).map_err(|problem| JoinError::Result { problem })
            }),
            None => Err(match ended? {
                ExitStatus::Exited(code) => JoinError::Exited { code },
                ExitStatus::Signaled(signal) => JoinError::Signaled { signal },
            }),
        }
    }
}

impl<R> Process<R> {
    pub(super) fn new(child: Child, report: Report) -> Self {
        Process { child, report, result: PhantomData }
    }
}

impl<R> Deref for Process<R> {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl<R> AsFd for Process<R> {
    /// The pidfd, which is readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }
}

impl<R> fmt::Display for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.child.fmt(f)
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.child.fmt(f)
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        // Reaps one that has ended.
        self.child.is_alive();
    }
}
