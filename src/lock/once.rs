//! Something that is done once by all processes.

#![allow(unsafe_code, reason = "acquires the raw lock")]

use super::LockError;
use super::handle::Handle;
use crate::Result;
use crate::layout::Plan;
use crate::raw::mutex::Refusal;
use crate::raw::once::RawOnce;
use crate::segment::{Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::robust::{List, Slot};
use crate::sys::time;
use crate::wait::NEVER;
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

// SAFETY: made of atomics.
unsafe impl Shared for RawOnce {}

/// Something that one of all processes does, once.
///
/// Once it is done, [`Once::call_once`] and [`Once::is_completed`] are a load.
///
/// # When a process dies
/// If who is at it dies, or panics, it is not done, and the next caller of [`Once::call_once`] does
/// it: one that waits for its turn is woken at once. What the dead one had done of it is there, so the
/// closure is one that may begin anew.
///
/// # Fork
/// As with [`Mutex`](crate::Mutex).
///
/// # Differences from `std::sync::Once`
/// - A panic does not poison it.
/// - To call it from its own closure is [`LockError::Deadlock`].
///
/// # Examples
/// ```
/// use commons::{AtomicU64, Once, Process};
/// use std::sync::atomic::Ordering::Relaxed;
///
/// let (once, count) = (Once::new()?, AtomicU64::new(0)?);
/// let (in_child, its_count) = (once.clone(), count.clone());
/// let child = Process::spawn(move || {
///     let add = || drop(its_count.fetch_add(1, Relaxed));
///     in_child.call_once(add).expect("it may be first");
/// })?;
/// once.call_once(|| drop(count.fetch_add(1, Relaxed)))?;
/// child.join()?;
/// assert!(once.is_completed());
/// assert_eq!(count.load(Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Once {
    handle: Handle<RawOnce>,
}

impl Once {
    fn make(location: Location<'_>) -> Result<Self> {
        let mut plan = Plan::new();
        plan.place::<RawOnce>()?;
        let attachment = location.make(ObjectInfo::of::<()>(Kind::Once, 1), plan, |blank| {
            blank.put(0, RawOnce::new());
            Ok(())
        })?;
        Ok(Once { handle: Handle::new(attachment)? })
    }

    fn find(location: Location<'_>) -> Result<Self> {
        let attachment = location.open(ObjectInfo::of::<()>(Kind::Once, 1))?;
        Ok(Once { handle: Handle::new(attachment)? })
    }

    /// Makes one without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`](crate::Error::NoSpace).
    pub fn new() -> Result<Self> {
        Self::make(Location::Unnamed)
    }

    constructors!("a once",);

    /// Runs `f` if nobody has done so to the end, and returns when it is done, by whomever.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] within its own closure; [`LockError::TooManyLocks`],
    /// [`LockError::Forked`], [`LockError::OtherPidNamespace`], [`LockError::NoRobustList`],
    /// [`LockError::Corrupted`].
    ///
    /// # Blocking
    /// While somebody is at it.
    #[inline]
    pub fn call_once(&self, f: impl FnOnce()) -> Result<(), LockError> {
        if self.is_completed() {
            return Ok(());
        }
        match begin(&self.handle, NEVER).map_err(LockError::of)?? {
            None => Ok(()),
            Some(turn) => {
                f();
                turn.complete();
                Ok(())
            }
        }
    }

    /// Whether it is done. Then everything that was done is seen.
    #[inline]
    pub fn is_completed(&self) -> bool {
        self.handle.is_done()
    }

    /// Waits until somebody has done it.
    ///
    /// # Errors
    /// As [`Once::call_once`].
    ///
    /// # Blocking
    /// Until it is done, however many die over it.
    pub fn wait(&self) -> Result<(), LockError> {
        wait(&self.handle, NEVER)
    }

    /// Waits until somebody has done it, for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`Once::call_once`].
    ///
    /// # Blocking
    /// As [`Once::wait`], until the time is over. A timeout of zero does not wait.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<(), LockError> {
        wait(&self.handle, time::after(timeout))
    }

    /// Waits until somebody has done it, until `deadline` at most.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`Once::call_once`].
    ///
    /// # Blocking
    /// As [`Once::wait_timeout`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<(), LockError> {
        wait(&self.handle, time::at(deadline))
    }
}

travels!([] Once, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for Once {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once")
            .field("name", &self.handle.held().attachment().name())
            .field("completed", &self.handle.is_done())
            .field("thread_at_it", &self.handle.worker())
            .finish_non_exhaustive()
    }
}

impl Clone for Once {
    /// # Panics
    /// In a forked process that inherited the handle after its object was gone.
    fn clone(&self) -> Self {
        Once { handle: self.handle.again().expect("a handle holds its object") }
    }
}

/// Whose turn it is. Dropped without being completed, by a panic, it is the next one's.
pub(super) struct Turn<'a> {
    handle: &'a Handle<RawOnce>,
    /// The fork epoch in which it was begun.
    epoch: u32,
    slot: Slot,
    thread: PhantomData<*mut ()>,
}

/// Begins it; `None`: it is done.
#[cold]
#[inline(never)]
pub(super) fn begin(
    handle: &Handle<RawOnce>,
    deadline: u64,
) -> Result<Result<Option<Turn<'_>>, LockError>, Refusal> {
    let list = match handle.list() {
        Ok(list) => list,
        Err(error) => return Ok(Err(error)),
    };
    // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
    // lock is linked, for as long as that.
    let slot = unsafe { handle.begin(list, deadline) }?;
    Ok(Ok(slot.map(|slot| Turn { handle, epoch: list.epoch(), slot, thread: PhantomData })))
}

pub(super) fn wait(handle: &Handle<RawOnce>, deadline: u64) -> Result<(), LockError> {
    if handle.is_done() {
        return Ok(());
    }
    let list = handle.list()?;
    handle.wait(list, deadline).map_err(LockError::of)
}

impl Turn<'_> {
    pub(super) fn complete(self) {
        // SAFETY: begun by this thread; in this process, as `end` says.
        self.end(|list, slot| unsafe { self.handle.complete(list, slot) });
        std::mem::forget(self);
    }

    /// Ends it, but in a child that was forked meanwhile.
    fn end(&self, how: impl FnOnce(List, Slot) -> bool) {
        if let Some(list) = List::of_epoch(self.epoch) {
            // Where it stays linked it stays mapped: the handle sees to it.
            how(list, self.slot);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // SAFETY: as in `complete`.
        self.end(|list, slot| unsafe { self.handle.abandon(list, slot) });
    }
}
