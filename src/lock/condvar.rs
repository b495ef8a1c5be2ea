//! Waiting, with a mutex, for a change of what it guards.

#![allow(unsafe_code, reason = "says which state is made of atomics")]

use super::joint::Joint;
use super::{LockError, WaitGuard};
use crate::Result;
use crate::layout::Plan;
use crate::raw::condvar::RawCondvar;
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sys::time;
use crate::wait::{NEVER, WaitStrategy};
use std::fmt;
use std::time::{Duration, Instant};

// SAFETY: made of atomics.
unsafe impl Shared for RawCondvar {}

/// Whether a timed wait on a [`Condvar`] ended because its time was over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitTimeoutResult {
    timed_out: bool,
}

impl WaitTimeoutResult {
    /// Whether the time was over, and nobody had notified.
    pub fn timed_out(self) -> bool {
        self.timed_out
    }
}

/// Where the holders of a [`Mutex`](super::Mutex) wait for somebody to change what it guards.
///
/// Works with any mutex of this crate, also a [`RecursiveMutex`](super::RecursiveMutex) or a
/// [`LockedArray`](super::LockedArray), in any process, and with one mutex at a time: a waiter and its
/// notifier have to mean the same one. Notifying waits for nobody, whatever has happened to the
/// waiters, and makes no system call where nobody has waited since the last notification.
///
/// # Spurious wakes
/// A wait may end without a notification, or with one that was meant for another waiter: check what
/// was waited for, or have [`Condvar::wait_while`] check it.
///
/// # When a process dies
/// - The holder of the mutex: `wait` ends with [`LockError::OwnerDied`] when it has the lock back,
///   without it, as [`Mutex::lock`](super::Mutex::lock) does. (Where the caller has other guards of a
///   `RecursiveMutex`, it keeps the lock for these, and when the last is dropped the lock is
///   [`LockError::Poisoned`].) Who repairs the value should
///   [`notify_all`](Condvar::notify_all), since the dead may have been about to.
/// - A waiter: it leaves nothing behind. Was it woken and is killed before it has the mutex back,
///   its notification goes to another waiter: at once while it had not come to the mutex yet, and
///   within 100 ms after that, for then the kernel watches the mutex for it.
/// - A notifier between its notification and the wake: the kernel wakes a waiter, which wakes the
///   others. A process that dies after the change, and before it notifies, notifies nobody: give a
///   wait a deadline where that matters.
///
/// # Differences from `std::sync::Condvar`
/// - Waiters look for a notification that was lost each 100 ms. After a `notify_one`, others that
///   wait may therefore wake, too, in that time.
///
/// # Examples
/// ```
/// use commons::{Condvar, Mutex, Process};
///
/// let (ready, changed) = (Mutex::new(false)?, Condvar::new()?);
/// let child = Process::spawn({
///     let (ready, changed) = (ready.clone(), changed.clone());
///     move || {
///         *ready.lock().expect("nobody dies here") = true;
///         changed.notify_one().expect("it is there");
///     }
/// })?;
/// let ready = changed.wait_while(ready.lock()?, |ready| !*ready)?;
/// assert!(*ready);
/// drop(ready);
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Condvar {
    joint: Joint<RawCondvar>,
}

impl Condvar {
    fn over(attachment: Attachment) -> Result<Self> {
        Ok(Condvar { joint: Joint::new(attachment, RawCondvar::is_sound)? })
    }

    fn make(location: Location<'_>) -> Result<Self> {
        let mut plan = Plan::new();
        let offset = plan.place::<RawCondvar>()?;
        Self::over(location.make(ObjectInfo::of::<()>(Kind::Condvar, 1), plan, |blank| {
            blank.put(offset, RawCondvar::new());
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<()>(Kind::Condvar, 1))?)
    }

    /// Makes a condition variable without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`](crate::Error::NoSpace).
    pub fn new() -> Result<Self> {
        Self::make(Location::Unnamed)
    }

    constructors!("a condition variable",);

    /// Lets go of the mutex, waits to be notified, and acquires it again. Between the first two no
    /// notification is missed.
    ///
    /// # Errors
    /// As [`Mutex::lock`](super::Mutex::lock), from acquiring it again: then the caller does not have
    /// it any more.
    ///
    /// # Blocking
    /// Until somebody notifies, and then until the mutex is free.
    ///
    /// # Examples
    /// Nobody waits without the lock:
    /// ```compile_fail,E0277
    /// let (ready, changed) = (commons::Mutex::new(0u64)?, commons::Condvar::new()?);
    /// changed.wait(&ready)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait<G: WaitGuard>(&self, guard: G) -> Result<G, LockError> {
        Ok(self.wait_until(guard, NEVER)?.0)
    }

    /// [`Condvar::wait`], for at most `timeout`.
    ///
    /// # Errors
    /// As [`Condvar::wait`]. That the time is over is none.
    ///
    /// # Blocking
    /// As [`Condvar::wait`]; when the time is over, only until the mutex is free.
    pub fn wait_timeout<G: WaitGuard>(
        &self,
        guard: G,
        timeout: Duration,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        self.wait_until(guard, time::after(timeout))
    }

    /// [`Condvar::wait`], until `deadline` at most.
    ///
    /// # Errors
    /// As [`Condvar::wait`]. That the deadline has passed is none.
    ///
    /// # Blocking
    /// As [`Condvar::wait_timeout`].
    pub fn wait_deadline<G: WaitGuard>(
        &self,
        guard: G,
        deadline: Instant,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        self.wait_until(guard, time::at(deadline))
    }

    /// Waits while `condition` of the value holds. It is asked at the start, and whenever the wait
    /// has ended, with the mutex held.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// # Blocking
    /// As [`Condvar::wait`], again and again.
    pub fn wait_while<G: WaitGuard>(
        &self,
        mut guard: G,
        mut condition: impl FnMut(&mut G::Value) -> bool,
    ) -> Result<G, LockError> {
        while guard.look(&mut condition) {
            guard = self.wait(guard)?;
        }
        Ok(guard)
    }

    /// [`Condvar::wait_while`], for at most `timeout` in all. It has
    /// [timed out](WaitTimeoutResult::timed_out) where the condition still held then.
    ///
    /// # Errors
    /// As [`Condvar::wait`].
    ///
    /// # Blocking
    /// As [`Condvar::wait_timeout`].
    pub fn wait_timeout_while<G: WaitGuard>(
        &self,
        mut guard: G,
        timeout: Duration,
        mut condition: impl FnMut(&mut G::Value) -> bool,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        let deadline = time::after(timeout);
        let mut timed_out = false;
        while guard.look(&mut condition) {
            if timed_out {
                return Ok((guard, WaitTimeoutResult { timed_out }));
            }
            let waited = self.wait_until(guard, deadline)?;
            (guard, timed_out) = (waited.0, waited.1.timed_out);
        }
        Ok((guard, WaitTimeoutResult { timed_out: false }))
    }

    fn wait_until<G: WaitGuard>(
        &self,
        guard: G,
        deadline: u64,
    ) -> Result<(G, WaitTimeoutResult), LockError> {
        let condvar = self.joint.settled()?;
        let token = condvar.announce();
        let rest = guard.pause()?;
        let timed_out = !condvar.wait(token, self.joint.strategy, deadline);
        Ok((G::resume(rest)?, WaitTimeoutResult { timed_out }))
    }

    /// Wakes one waiter, if there is one.
    ///
    /// Call it with the mutex held, or after the change was made with it held.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn notify_one(&self) -> Result<()> {
        self.joint.settled()?.notify_one();
        Ok(())
    }

    /// Wakes all waiters.
    ///
    /// Call it with the mutex held, or after the change was made with it held.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn notify_all(&self) -> Result<()> {
        self.joint.settled()?.notify_all();
        Ok(())
    }

    /// What this handle does while it waits.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.joint.strategy
    }

    /// Sets what this handle does while it waits, and the handles cloned from it.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.joint.strategy = strategy;
    }
}

impl Clone for Condvar {
    /// # Panics
    /// In a forked process that inherited the handle after its condition variable was gone.
    fn clone(&self) -> Self {
        Condvar { joint: self.joint.again() }
    }
}

travels!([] Condvar, Shared, |this| (this.joint.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar")
            .field("name", &self.joint.name())
            .field("may_be_awaited", &self.joint.state().is_awaited())
            .finish_non_exhaustive()
    }
}
