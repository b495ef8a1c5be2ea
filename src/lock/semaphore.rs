//! Permits that are counted and belong to nobody.

#![allow(unsafe_code, reason = "says which state is made of atomics")]

use super::joint::Joint;
use crate::layout::Plan;
use crate::raw::semaphore::{MOST, RawSemaphore};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sys::time;
use crate::wait::{NEVER, WaitStrategy};
use crate::{Error, Result};
use std::fmt;
use std::time::{Duration, Instant};

/// The state in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct SemaphoreState {
    permits: RawSemaphore,
    /// The most permits there can be. Written once.
    max: AtomicU32,
    reserved: AtomicU32,
}

// SAFETY: made of atomics.
unsafe impl Shared for SemaphoreState {}

/// A number of permits that are taken and given back, by whomever.
///
/// A permit is a count: nothing says who took it, and any process may give one back, also one that
/// took none. So `Semaphore::new(1)` is a lock that one process acquires and another releases. What
/// was done before a release is seen by whoever takes the permit.
///
/// Acquiring a permit that is there and releasing one that nobody waits for is one compare-and-swap
/// each, without a system call.
///
/// # When a process dies
/// Each operation has happened or not. Wakes are not lost: who is killed between a release and the
/// wake it owes, or between its wake and the permit, has the kernel wake somebody else at once;
/// where the kernel cannot, all waiters look again within 100 ms.
///
/// Permits that the dead had taken are *not* given back, since nobody knows whose they were. A
/// [`PermitPool`](super::PermitPool) knows.
///
/// # Limit
/// A named semaphore, and one in a segment, is made with the most permits it can have:
/// [`Semaphore::MAX_PERMITS`] is no limit of its own. One that is opened keeps its permits and its
/// limit.
///
/// # Signal handlers
/// [`Semaphore::release`], [`Semaphore::try_acquire`] and [`Semaphore::value`] are
/// async-signal-safe. (In a forked child, from the first use of the handle outside of one.)
///
/// # Fork
/// As for an [`Event`](super::Event).
///
/// # Examples
/// ```
/// use commons::{Process, Semaphore};
///
/// let items = Semaphore::new(0)?;
/// let in_child = items.clone();
/// let child = Process::spawn(move || (0..3).all(|_| in_child.acquire().is_ok()))?;
/// items.release(3)?;
/// assert!(child.join()?);
/// assert_eq!(items.value(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphore {
    joint: Joint<SemaphoreState>,
    max: u32,
}

impl Semaphore {
    /// The most permits that a semaphore can have.
    pub const MAX_PERMITS: u32 = MOST;

    fn over(attachment: Attachment) -> Result<Self> {
        let joint = Joint::<SemaphoreState>::new(attachment, |state| {
            let max = state.max.load(Relaxed);
            (1..=MOST).contains(&max) && state.permits.is_sound(max)
        })?;
        let max = joint.state().max.load(Relaxed).min(MOST);
        Ok(Semaphore { joint, max })
    }

    fn make(location: Location<'_>, permits: u32, max: u32) -> Result<Self> {
        if max == 0 {
            return Err(Error::Zero { what: "the most permits of a semaphore" });
        }
        if max > MOST || permits > max {
            let (asked, limit) = (u64::from(permits.max(max)), u64::from(max.min(MOST)));
            return Err(Error::TooLarge { what: "a number of permits", asked, limit });
        }
        let mut plan = Plan::new();
        let offset = plan.place::<SemaphoreState>()?;
        let info = ObjectInfo::of::<()>(Kind::Semaphore, u64::from(max));
        Self::over(location.make(info, plan, |blank| {
            blank.put(
                offset,
                SemaphoreState {
                    permits: RawSemaphore::new(permits),
                    max: AtomicU32::new(max),
                    reserved: AtomicU32::new(0),
                },
            );
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<()>(Kind::Semaphore, 1))?)
    }

    /// Makes a semaphore without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than [`Semaphore::MAX_PERMITS`]; [`Error::NoSpace`].
    pub fn new(permits: u32) -> Result<Self> {
        Self::make(Location::Unnamed, permits, MOST)
    }

    /// The same with a limit: a release beyond `max` is an error.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where `permits` is more than `max`, or that more than
    /// [`Semaphore::MAX_PERMITS`]; [`Error::Zero`] for a `max` of 0; [`Error::NoSpace`].
    ///
    /// # Examples
    /// ```
    /// let slots = commons::Semaphore::bounded(2, 2)?;
    /// assert!(slots.release(1).is_err());
    /// assert_eq!(slots.value(), 2);
    /// # Ok::<(), commons::Error>(())
    /// ```
    pub fn bounded(permits: u32, max: u32) -> Result<Self> {
        Self::make(Location::Unnamed, permits, max)
    }

    constructors!("a semaphore", permits: u32, max: u32);

    /// Takes a permit.
    ///
    /// # Errors
    /// [`Error::Forked`].
    ///
    /// # Blocking
    /// Until there is one, as the [`WaitStrategy`] of the handle says.
    #[inline]
    pub fn acquire(&self) -> Result<()> {
        self.acquire_until(NEVER).map(|_| ())
    }

    /// Takes a permit if there is one; says whether it did.
    ///
    /// # Errors
    /// [`Error::Forked`].
    #[inline]
    pub fn try_acquire(&self) -> Result<bool> {
        Ok(self.joint.settled()?.permits.try_acquire())
    }

    /// Takes a permit, waiting for at most `timeout`; says whether it did.
    ///
    /// # Errors
    /// [`Error::Forked`].
    ///
    /// # Blocking
    /// As [`Semaphore::acquire`], until the time is over.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<bool> {
        self.acquire_until(time::after(timeout))
    }

    /// Takes a permit, waiting until `deadline` at most; says whether it did.
    ///
    /// # Errors
    /// [`Error::Forked`].
    ///
    /// # Blocking
    /// As [`Semaphore::acquire_timeout`].
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<bool> {
        self.acquire_until(time::at(deadline))
    }

    #[inline(always)]
    fn acquire_until(&self, deadline: u64) -> Result<bool> {
        Ok(self.joint.settled()?.permits.acquire(self.joint.strategy, deadline))
    }

    /// Adds permits, and wakes as many waiters.
    ///
    /// # Errors
    /// [`Error::TooLarge`] where there would be more than [`Semaphore::max`], with how many there
    /// would be; then there are as many as before. [`Error::Forked`].
    #[inline]
    pub fn release(&self, permits: u32) -> Result<()> {
        match self.joint.settled()?.permits.release(permits, self.max) {
            Ok(()) => Ok(()),
            Err(count) => Err(self.too_many(count, permits)),
        }
    }

    #[cold]
    fn too_many(&self, count: u32, permits: u32) -> Error {
        let (asked, limit) = (u64::from(count) + u64::from(permits), u64::from(self.max));
        Error::TooLarge { what: "a number of permits", asked, limit }
    }

    /// How many permits there are. Stale by the time the caller looks at it.
    pub fn value(&self) -> u32 {
        self.joint.state().permits.value()
    }

    /// The most permits there can be.
    pub fn max(&self) -> u32 {
        self.max
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

impl Clone for Semaphore {
    /// # Panics
    /// In a forked process that inherited the handle after its semaphore was gone.
    fn clone(&self) -> Self {
        Semaphore { joint: self.joint.again(), max: self.max }
    }
}

travels!([] Semaphore, Shared, |this| (this.joint.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("name", &self.joint.name())
            .field("permits", &self.value())
            .field("max", &self.max)
            .field("may_be_awaited", &self.joint.state().permits.is_awaited())
            .finish_non_exhaustive()
    }
}
