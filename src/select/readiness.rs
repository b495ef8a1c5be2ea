//! A descriptor that says whether an end is ready.

use crate::sys::descriptor::Bell;
use crate::wait::{Readable, Source, Watched, Writable};
use crate::{Error, Result};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::sync::Arc;

/// A descriptor that is readable while an end of a channel may be ready, or an event set: for `poll`,
/// `epoll` and what is built on them.
///
/// It becomes readable when there is something to receive, or space to send, or nobody any more who
/// could bring it, and stays so until [`Readiness::reset`]. So: wait until it is readable, use the `try_`
/// form of the operation until that finds nothing, reset it. It is a hint: where several receive from one
/// queue, another may have been faster.
///
/// # What it costs
/// Nothing where nobody has one. The first that a process makes starts a thread that sleeps on the words
/// that blocked operations sleep on, and rings the descriptors of its own process; so a change costs the
/// one who makes it what a blocked receiver costs, one `FUTEX_WAKE` where the descriptor was not readable,
/// and nothing where it was. The thread handles no signals and serves up to 63 of these; for more there
/// are more threads. They stay until the process ends.
///
/// # When a process dies
/// As at a blocked operation: the descriptor becomes readable, and the operation tells.
///
/// # Forks
/// The thread is the process's that made this. In a forked child the descriptor is that of the parent:
/// [`Readiness::reset`] answers [`Error::Forked`]; make another.
///
/// # Examples
/// ```
/// use commons::{ChannelError, Readiness, spsc};
///
/// let (mut producer, mut consumer) = spsc::ring::<u64>(8)?;
/// let readiness = Readiness::recv(&consumer)?;
/// let child = commons::Process::spawn(move || (0..100).try_for_each(|i| producer.push(i)).is_ok())?;
/// let mut received = 0;
/// 'all: loop {
///     // What any poller does with the descriptor:
///     commons::wait_any(&[&readiness], None)?;
///     loop {
///         match consumer.try_pop() {
///             Ok(_) => received += 1,
///             Err(ChannelError::Empty) => break,
///             Err(_) => break 'all,
///         }
///     }
///     readiness.reset()?;
/// }
/// assert_eq!(received, 100);
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Readiness {
    bell: Arc<Bell>,
    watched: Watched,
}

impl Readiness {
    /// Of a receiving end, or of an event.
    ///
    /// # Errors
    /// [`Error::Closed`] of a handle that was closed; [`Error::Forked`]; [`Error::Os`] and
    /// [`Error::Process`] where the system gives no descriptor or no thread.
    pub fn recv(end: &(impl Readable + ?Sized)) -> Result<Self> {
        Self::of(end.read_source()?)
    }

    /// Of a sending end.
    ///
    /// # Errors
    /// As [`Readiness::recv`].
    pub fn send(end: &(impl Writable + ?Sized)) -> Result<Self> {
        Self::of(end.write_source()?)
    }

    pub(crate) fn of(source: Box<dyn Source>) -> Result<Self> {
        let bell = Arc::new(Bell::new().map_err(Error::os("eventfd", "a readiness"))?);
        let watched = Watched::new(source, bell.clone()).map_err(|(_, error)| error)?;
        let readiness = Readiness { bell, watched };
        readiness.arm();
        Ok(readiness)
    }

    /// Whether the end is ready, by a look at it and not at the descriptor. Stale by the time the caller
    /// looks at it.
    pub fn is_ready(&self) -> bool {
        self.watched.source().is_ready()
    }

    /// Makes the descriptor not readable until the end is ready: at once, if it is, which it says.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn reset(&self) -> Result<bool> {
        if !self.watched.is_ours() {
            return Err(Error::Forked);
        }
        self.bell.still();
        Ok(self.arm())
    }

    fn arm(&self) -> bool {
        self.watched.source().begin();
        let ready = self.is_ready();
        if ready {
            // A ring for what came before is of no use.
            self.watched.disarm();
            self.bell.ring();
        } else {
            self.watched.arm();
        }
        ready
    }
}

impl AsFd for Readiness {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl AsRawFd for Readiness {
    fn as_raw_fd(&self) -> RawFd {
        self.bell.as_fd().as_raw_fd()
    }
}
