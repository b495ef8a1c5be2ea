//! A mutex around a value in shared memory.

#![allow(unsafe_code, reason = "acquires the raw lock")]

use super::handle::Handle;
use super::{LockError, MutexGuard, RecoveryGuard};
use crate::layout::Plan;
use crate::raw::mutex::{Condition, RawMutex};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sys::time;
use crate::wait::NEVER;
use crate::{Error, Result};
use bytemuck::{CheckedBitPattern, NoUninit};
use std::fmt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

// SAFETY: made of atomics.
unsafe impl Shared for RawMutex {}

/// A value that one thread of all processes has at a time.
///
/// An uncontended lock and unlock is a dozen loads and stores and two compare-and-swaps: no system
/// call, no allocation. Cloning gives another handle to the same mutex. The value lies in the cache
/// line of the lock if it is small.
///
/// `T` is a type whose values are bytes without padding or pointers: numbers, arrays of them, and
/// `#[repr(C)]` structs that derive [`bytemuck::NoUninit`] and [`bytemuck::AnyBitPattern`] or
/// [`bytemuck::CheckedBitPattern`]. What is no value of `T` by the time the lock is acquired is
/// [`LockError::Corrupted`].
///
/// # When a process dies
/// The kernel releases what a dying thread holds, and wakes one waiter at once. If the owner was
/// inside, [`Mutex::lock`] answers [`LockError::OwnerDied`] to everybody until somebody has looked at
/// the value and said that it is consistent: [`Mutex::lock_or_repair`], or [`Mutex::recover`]. If
/// the repairer dies, too, its death is told in turn. A death in the middle of `lock` or of the
/// release is nobody's concern. Killed at any instruction, nobody leaves others asleep on a lock
/// that is free.
///
/// A thread that ends while it holds a lock (by a leaked guard) is like a process that dies.
///
/// # Fork
/// A lock belongs to the thread that acquired it. A forked child has a copy of the guard that does
/// nothing; [`Process::spawn`](crate::Process::spawn) refuses to start a child from a thread that
/// holds a lock.
///
/// # Differences from `std::sync::Mutex`
/// - A lock that the calling thread holds is [`LockError::Deadlock`], not a hang.
/// - A thread can hold 1,024 locks at a time, then [`LockError::TooManyLocks`].
/// - A leaked guard keeps its mutex locked and in memory for as long as its thread lives.
/// - Not for signal handlers.
///
/// # Trust
/// Who shares the memory is trusted to keep to the protocol, and to write the value under the lock
/// only. Thread ids name the owner, so all of its users are in one pid namespace.
///
/// # Examples
/// ```
/// use commons::{Mutex, Process};
///
/// let count = Mutex::new(0u64)?;
/// let in_child = count.clone();
/// let child = Process::spawn(move || {
///     for _ in 0..1000 {
///         *in_child.lock().expect("nobody dies here") += 1;
///     }
/// })?;
/// for _ in 0..1000 {
///     *count.lock()? += 1;
/// }
/// child.join()?;
/// assert_eq!(*count.lock()?, 2000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Mutex<T> {
    handle: Handle<RawMutex>,
    value: NonNull<T>,
}

// SAFETY: the value is reached under the lock alone, and is the object's for as long as the handle.
unsafe impl<T: Send> Send for Mutex<T> {}
// SAFETY: as above: the lock gives it to one thread at a time.
unsafe impl<T: Send> Sync for Mutex<T> {}

/// Where the lock and the value are in the object.
pub(super) fn plan<T>() -> Result<(Plan, u64)> {
    let mut plan = Plan::new();
    plan.place::<RawMutex>()?;
    let value = plan.place::<T>()?;
    Ok((plan, value))
}

impl<T: NoUninit + CheckedBitPattern> Mutex<T> {
    fn over(attachment: Attachment) -> Result<Self, Error> {
        let handle = Handle::<RawMutex>::new(attachment)?;
        let offset = plan::<T>()?.1;
        let value = handle.held().at(offset, size_of::<T>() as u64, align_of::<T>() as u64)?;
        Ok(Mutex { value: value.cast(), handle })
    }

    fn make(location: Location<'_>, value: T) -> Result<Self> {
        let (plan, offset) = plan::<T>()?;
        Self::over(location.make(ObjectInfo::of::<T>(Kind::Mutex, 1), plan, |blank| {
            blank.put(0, RawMutex::new());
            blank.put_bytes(offset, bytemuck::bytes_of(&value));
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::Mutex, 1))?)
    }

    /// Makes a mutex without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::TooLarge`].
    pub fn new(value: T) -> Result<Self> {
        Self::make(Location::Unnamed, value)
    }

    constructors!("a mutex", value: T);

    /// Acquires the lock.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] and [`LockError::Poisoned`] until the value was repaired;
    /// [`LockError::Deadlock`], [`LockError::TooManyLocks`], [`LockError::Forked`],
    /// [`LockError::OtherPidNamespace`], [`LockError::NoRobustList`], [`LockError::Corrupted`].
    ///
    /// # Blocking
    /// Until the owner lets go or dies. Spins for about 13 us, then sleeps.
    #[inline]
    pub fn lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        self.lock_until(NEVER)
    }

    /// Acquires the lock if it is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] where it is held, by the calling thread, too; otherwise as
    /// [`Mutex::lock`], without `Deadlock`.
    #[inline]
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, LockError> {
        let value = self.value;
        Ok(MutexGuard::new(self, value, self.handle.try_hold(|| self.is_valid())?))
    }

    /// Acquires the lock, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`Mutex::lock`].
    ///
    /// # Blocking
    /// As [`Mutex::lock`], until the time is over. A timeout of zero does not wait.
    pub fn lock_timeout(&self, timeout: Duration) -> Result<MutexGuard<'_, T>, LockError> {
        self.lock_until(time::after(timeout))
    }

    /// Acquires the lock, waiting until `deadline` at most.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`Mutex::lock`].
    ///
    /// # Blocking
    /// As [`Mutex::lock_timeout`].
    pub fn lock_deadline(&self, deadline: Instant) -> Result<MutexGuard<'_, T>, LockError> {
        self.lock_until(time::at(deadline))
    }

    /// Acquires the lock, and has `repair` look at the value first if its last owner died or
    /// panicked inside. When `repair` returns, the value is consistent again; if it panics, or dies,
    /// it is not.
    ///
    /// # Errors
    /// As [`Mutex::lock`], without `OwnerDied` and `Poisoned`.
    ///
    /// # Blocking
    /// As [`Mutex::lock`].
    ///
    /// # Examples
    /// ```
    /// use commons::{Mutex, Process};
    ///
    /// let pair = Mutex::new([1u64, 1])?;
    /// let in_child = pair.clone();
    /// let child = Process::<()>::spawn(move || {
    ///     let mut pair = in_child.lock().expect("it is free");
    ///     pair[0] = 7;
    ///     std::process::abort(); // before the other half is written
    /// })?;
    /// assert!(child.join().is_err());
    /// assert!(matches!(pair.lock(), Err(commons::LockError::OwnerDied { .. })));
    /// let pair = pair.lock_or_repair(|pair| pair[1] = pair[0])?;
    /// assert_eq!(*pair, [7, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_or_repair(
        &self,
        repair: impl FnOnce(&mut T),
    ) -> Result<MutexGuard<'_, T>, LockError> {
        match self.lock() {
            Err(LockError::OwnerDied { .. } | LockError::Poisoned) => {}
            other => return other,
        }
        let mut guard = self.recover()?;
        // Somebody may have been faster.
        if guard.is_damaged() {
            repair(&mut guard);
        }
        Ok(guard.mark_consistent())
    }

    /// Acquires the lock whatever its last owner left, to look at it. Until
    /// [`RecoveryGuard::mark_consistent`] it stays as it was found for everybody else.
    ///
    /// # Errors
    /// As [`Mutex::lock`], without `OwnerDied` and `Poisoned`.
    ///
    /// # Blocking
    /// As [`Mutex::lock`].
    pub fn recover(&self) -> Result<RecoveryGuard<'_, T>, LockError> {
        Ok(RecoveryGuard::new(self, self.handle.repair(|| self.is_valid())?))
    }

    /// Acquires the lock and puts a new value in, whatever was there: also where it was
    /// [`LockError::Corrupted`] because it is no value of the type.
    ///
    /// # Errors
    /// As [`Mutex::recover`].
    ///
    /// # Blocking
    /// As [`Mutex::lock`].
    pub fn reset(&self, value: T) -> Result<MutexGuard<'_, T>, LockError> {
        // SAFETY: the object's place for a `T`, which is the owner's.
        let hold = self.handle.renew(|| unsafe { self.value.write(value) })?;
        Ok(MutexGuard::new(self, self.value, hold))
    }

    /// Says that a value is consistent although a thread panicked over it. (Not if one died.)
    ///
    /// # Errors
    /// As [`Mutex::recover`].
    ///
    /// # Blocking
    /// As [`Mutex::lock`].
    pub fn clear_poison(&self) -> Result<(), LockError> {
        self.handle.forgive()
    }

    #[inline(always)]
    pub(super) fn lock_until(&self, deadline: u64) -> Result<MutexGuard<'_, T>, LockError> {
        let value = self.value;
        Ok(MutexGuard::new(self, value, self.handle.hold(deadline, || self.is_valid())?))
    }

    /// Whether the bytes are a value. Nothing to do for most types.
    #[inline(always)]
    fn is_valid(&self) -> bool {
        // SAFETY: the object's place for a `T`, which is the owner's; its bits are valid for `Bits`,
        // which has the same layout.
        T::is_valid_bit_pattern(unsafe { self.value.cast::<T::Bits>().as_ref() })
    }
}

/// What is wrong with bytes that are no value.
pub(super) const NO_VALUE: &str = "the bytes are no value of its type; put one in with `reset`";

impl<T> Mutex<T> {
    /// Whether a thread holds it. Stale by the time the caller looks at it.
    pub fn is_locked(&self) -> bool {
        self.handle.owner_thread().is_some()
    }

    pub(super) fn value(&self) -> NonNull<T> {
        self.value
    }

    /// Releases the lock of a guard that was forgotten. False: the calling thread does not have it.
    #[cfg(feature = "raw_sync")]
    pub(super) fn release_forgotten(&self) -> Result<bool, LockError> {
        self.handle.release_forgotten()
    }
}

travels!([T: NoUninit + CheckedBitPattern] Mutex<T>, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Mutex");
        show(&mut shown, &self.handle);
        shown.finish_non_exhaustive()
    }
}

/// Shows who has a lock, without acquiring it.
pub(super) fn show(shown: &mut fmt::DebugStruct<'_, '_>, handle: &Handle<RawMutex>) {
    shown.field("name", &handle.held().attachment().name());
    match (handle.owner_thread(), handle.condition()) {
        (Some(thread), Condition::OwnerDied { pid }) => {
            shown.field("owner", &format_args!("process {pid}, thread {thread}"))
        }
        (Some(thread), _) => shown.field("owner", &format_args!("thread {thread}")),
        (None, Condition::Clean) => shown.field("owner", &None::<u32>),
        (None, Condition::Poisoned) => shown.field("owner", &format_args!("none, poisoned")),
        (None, Condition::OwnerDied { pid }) => {
            shown.field("owner", &format_args!("none, process {pid} died inside"))
        }
    };
}

impl<T: NoUninit + CheckedBitPattern> Clone for Mutex<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its mutex was gone.
    fn clone(&self) -> Self {
        let handle = self.handle.again().expect("a handle holds its mutex");
        Mutex { handle, value: self.value }
    }
}
