//! Queues of tasks that are finished.

use super::builder::Builder;
use super::codec::{decode, with_buffer};
use super::end::{End, NOW};
use super::parts::{Shape, make};
use super::transfer::{self, Taken};
use super::wait::{AllDone, until};
use crate::Result;
use crate::channel::ChannelError;
use crate::channel::queue::members::Ends;
use crate::segment::{Kind, Location, ObjectInfo, constructors, travels};
use crate::sync::local::{AtomicU64, Ordering::Relaxed};
use crate::sys::{fork, time};
use crate::wait::NEVER;
use serde::de::DeserializeOwned;
use std::fmt;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// A queue of objects of which each is a task: sent, taken by a worker, and finished; and one can wait
/// until nothing is unfinished. Cloning gives another handle.
///
/// What `multiprocessing.JoinableQueue` is, but that a task belongs to its worker until it is
/// finished. [`JoinableQueue::recv`] gives a [`Task`], which is finished by [`Task::done`].
/// [`JoinableQueue::get`] gives the object alone, and [`JoinableQueue::task_done`] finishes the oldest
/// one that this process has taken so.
///
/// # When a process dies
/// As with [`ObjectQueue`](super::ObjectQueue), and a worker's tasks that it has not finished *fail*:
/// they are counted, and the next [`JoinableQueue::join`] says so. So do those of a process that gives its
/// last handle up. Where the queue is built to
/// [`redeliver`](Builder::redeliver), they come again. A worker can have as many tasks as it likes
/// ([`Builder::in_flight`]), for as long as it likes: they are in nobody's way.
///
/// # Examples
/// ```
/// use commons::{JoinableQueue, Process};
///
/// let tasks = JoinableQueue::new(4096)?;
/// let theirs = tasks.clone();
/// let worker = Process::spawn(move || {
///     let mut lengths = 0;
///     loop {
///         let task: commons::objects::Task<'_, String> = theirs.recv().expect("a task");
///         if task.is_empty() {
///             task.done();
///             return lengths;
///         }
///         lengths += task.len();
///         task.done();
///     }
/// })?;
/// for task in ["some", "words", ""] {
///     tasks.send(&task.to_owned())?;
/// }
/// tasks.join()?;
/// assert_eq!(worker.join()?, 9);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct JoinableQueue<T> {
    pub(super) end: End,
    /// Failures that a join by this handle has told of, or that were before it.
    told: AtomicU64,
    object: PhantomData<fn(&T) -> T>,
}

impl<T> JoinableQueue<T> {
    fn over(end: End) -> Self {
        let told = AtomicU64::new(end.exchange().lost(|_| {}));
        JoinableQueue { end, told, object: PhantomData }
    }

    pub(super) fn build(location: Location<'_>, shape: &Shape) -> Result<Self> {
        let attachment = make::<T>(Kind::JoinableQueue, location, shape)?;
        Ok(Self::over(End::new(attachment, Ends::BOTH)?))
    }

    fn make(location: Location<'_>, bytes: usize) -> Result<Self> {
        Self::build(location, &Builder::new(bytes).in_flight(IN_FLIGHT).shape())
    }

    fn find(location: Location<'_>) -> Result<Self> {
        let attachment = location.open(ObjectInfo::of::<T>(Kind::JoinableQueue, 0))?;
        Ok(Self::over(End::new(attachment, Ends::BOTH)?))
    }

    /// Makes a queue of `bytes` bytes without a name, of which 1,024 tasks can be with workers at a
    /// time.
    ///
    /// # Errors
    /// As [`bounded`](super::bounded).
    pub fn new(bytes: usize) -> Result<Self> {
        Self::make(Location::Unnamed, bytes)
    }

    constructors!("a queue of `bytes` bytes for tasks", bytes: usize);

    /// Finishes the oldest task that this process has taken by [`JoinableQueue::get`], whichever of
    /// its threads and handles took it.
    ///
    /// # Errors
    /// [`ChannelError::NoTask`] where it has none; [`ChannelError::Closed`],
    /// [`ChannelError::Forked`].
    pub fn task_done(&self) -> Result<(), ChannelError> {
        let stamp = self.end.me()?;
        if !self.end.exchange().finish_loose(stamp) {
            return Err(ChannelError::NoTask);
        }
        transfer::finished(&self.end);
        Ok(())
    }

    /// How many tasks were sent and are not finished. Stale by the time the caller looks at it.
    pub fn unfinished(&self) -> u64 {
        self.end.exchange().fill().1 + self.end.exchange().in_flight()
    }

    /// Waits until every task that was sent is finished, or has failed.
    ///
    /// # Errors
    /// [`ChannelError::TasksFailed`] where some have failed since this handle's last join, or since
    /// there is this handle; [`ChannelError::Disconnected`] where tasks are left and every other
    /// process that had the queue is gone; [`ChannelError::Closed`], [`ChannelError::Forked`],
    /// [`ChannelError::Corrupted`].
    ///
    /// # Blocking
    /// While tasks are unfinished and somebody is there to finish them. A worker that dies is noticed
    /// at once. A process whose own threads are the workers is not told that they are gone.
    pub fn join(&self) -> Result<(), ChannelError> {
        self.join_until(NEVER)
    }

    /// As [`JoinableQueue::join`], for `timeout` at most.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`JoinableQueue::join`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<(), ChannelError> {
        self.join_until(time::after(timeout))
    }

    /// As [`JoinableQueue::join`], until `deadline` at most.
    ///
    /// # Errors
    /// As [`JoinableQueue::join_timeout`].
    pub fn join_deadline(&self, deadline: Instant) -> Result<(), ChannelError> {
        self.join_until(time::at(deadline))
    }

    fn join_until(&self, deadline: u64) -> Result<(), ChannelError> {
        self.end.me()?;
        until(&self.end, AllDone, deadline)?;
        // Relaxed: a number of this handle's.
        let failed = self.end.exchange().lost(|_| {});
        let count = failed.saturating_sub(self.told.swap(failed, Relaxed));
        if count == 0 { Ok(()) } else { Err(ChannelError::TasksFailed { count }) }
    }
}

/// Tasks that can be with workers at a time, where nothing else is said.
const IN_FLIGHT: usize = 1024;

impl<T: DeserializeOwned> JoinableQueue<T> {
    /// Takes a task, waiting for one.
    ///
    /// # Errors
    /// As [`ObjectQueue::recv`](super::ObjectQueue::recv). A task that is no value of `T` is
    /// finished.
    ///
    /// # Blocking
    /// As [`ObjectQueue::recv`](super::ObjectQueue::recv), and while as many tasks are unfinished as
    /// can be in flight.
    pub fn recv(&self) -> Result<Task<'_, T>, ChannelError> {
        self.take(NEVER)
    }

    /// Takes a task if there is one.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`JoinableQueue::recv`].
    pub fn try_recv(&self) -> Result<Task<'_, T>, ChannelError> {
        self.take(NOW)
    }

    /// Takes a task, waiting for one until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`JoinableQueue::recv`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Task<'_, T>, ChannelError> {
        self.take(time::after(timeout))
    }

    /// Takes a task, waiting for one until `deadline`.
    ///
    /// # Errors
    /// As [`JoinableQueue::recv_timeout`].
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Task<'_, T>, ChannelError> {
        self.take(time::at(deadline))
    }

    /// Takes a task, waiting for one, and leaves it to [`JoinableQueue::task_done`] to finish it.
    ///
    /// # Errors
    /// As [`JoinableQueue::recv`].
    ///
    /// # Blocking
    /// As [`JoinableQueue::recv`].
    pub fn get(&self) -> Result<T, ChannelError> {
        Ok(self.recv()?.leave())
    }

    /// As [`JoinableQueue::get`], if there is a task.
    ///
    /// # Errors
    /// As [`JoinableQueue::try_recv`].
    pub fn try_get(&self) -> Result<T, ChannelError> {
        Ok(self.try_recv()?.leave())
    }

    /// As [`JoinableQueue::get`], waiting until `timeout` has passed.
    ///
    /// # Errors
    /// As [`JoinableQueue::recv_timeout`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, ChannelError> {
        Ok(self.recv_timeout(timeout)?.leave())
    }

    fn take(&self, deadline: u64) -> Result<Task<'_, T>, ChannelError> {
        let end = &self.end;
        with_buffer(|buffer| {
            let taken = transfer::take(end, buffer, deadline)?;
            let mut right = Right { end, taken, epoch: fork::epoch() };
            match decode(buffer) {
                Ok(object) => Ok(Task { right, object }),
                Err(error) => {
                    right.finish();
                    Err(error)
                }
            }
        })
    }
}

travels!([T] JoinableQueue<T>, Shared,
|this| {
    let closed = u64::from(this.end.is_closed());
    (this.end.attachment(), this.told.load(Relaxed) << 1 | closed)
},
|used| {
    let queue = Self::find(Location::Handed(used))?;
    queue.told.store(used.detail() >> 1, Relaxed);
    if used.detail() & 1 != 0 {
        queue.end.close();
    }
    Ok(queue)
});

impl<T> Clone for JoinableQueue<T> {
    /// Gives another handle to the same queue. A clone of a closed handle is not closed.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its queue was gone, and beyond 60,000
    /// handles of a process.
    fn clone(&self) -> Self {
        Self::over(self.end.again(Ends::BOTH).expect("a handle holds its queue"))
    }
}

/// The right to finish a task.
struct Right<'a> {
    end: &'a End,
    taken: Taken,
    /// The fork epoch in which it was taken; 0: it is over.
    epoch: u32,
}

impl Right<'_> {
    /// Whether it is this process's, for the last time.
    fn ends(&mut self) -> bool {
        std::mem::take(&mut self.epoch) == fork::epoch()
    }

    fn finish(&mut self) {
        if self.ends() {
            transfer::finish(self.end, self.taken);
        }
    }
}

impl Drop for Right<'_> {
    fn drop(&mut self) {
        if self.ends() {
            transfer::give_up(self.end, self.taken);
        }
    }
}

/// A task that was taken.
///
/// [`Task::done`] finishes it. One that is dropped, by a panic, too, comes again if the queue is built to
/// [`redeliver`](Builder::redeliver) it, and has failed otherwise. One that is leaked is unfinished until
/// its process ends. In the copy that a fork made of it nothing happens.
#[must_use = "a task that is dropped is not finished"]
pub struct Task<'a, T> {
    right: Right<'a>,
    object: T,
}

impl<T> Task<'_, T> {
    /// Finishes the task, and gives the object.
    pub fn done(mut self) -> T {
        self.right.finish();
        self.object
    }

    /// Whether it was given to a worker before, that died or dropped it.
    pub fn is_redelivered(&self) -> bool {
        self.right.taken.again
    }

    /// The number of the task: how many were sent before, from the making of the queue on.
    pub fn number(&self) -> u64 {
        self.right.end.exchange().entries[self.right.taken.entry].number.load(Relaxed)
    }

    /// Leaves the task to [`JoinableQueue::task_done`].
    fn leave(mut self) -> T {
        if self.right.ends() {
            self.right.end.exchange().leave_loose(self.right.taken.entry);
        }
        self.object
    }
}

impl<T> Deref for Task<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.object
    }
}

impl<T: fmt::Debug> fmt::Debug for Task<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task").field("object", &self.object).finish_non_exhaustive()
    }
}
