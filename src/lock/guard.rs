//! What the owner of a mutex has.

#![allow(unsafe_code, reason = "refers to the value in shared memory")]

use super::hold::{Hold, Repair};
use super::wait_guard::{Paused, WaitGuard};
use super::{LockError, Mutex};
use bytemuck::{CheckedBitPattern, NoUninit};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

/// The right to the value of a [`Mutex`]; dropped, it releases the lock.
///
/// Belongs to the thread that acquired it. A copy in a forked child does nothing when dropped.
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// let mutex = commons::Mutex::new(0u64).unwrap();
/// is_send(mutex.lock().unwrap());
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// The mutex's. Known before it is acquired, so that nothing waits for it then.
    value: NonNull<T>,
    hold: Hold<'a>,
}

impl<'a, T> MutexGuard<'a, T> {
    #[inline(always)]
    pub(super) fn new(mutex: &'a Mutex<T>, value: NonNull<T>, hold: Hold<'a>) -> Self {
        MutexGuard { mutex, value, hold }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a value, as was seen when it was acquired, which is the owner's.
        unsafe { self.value.as_ref() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.value.as_mut() }
    }
}

impl<'a, T: NoUninit + CheckedBitPattern> Paused for MutexGuard<'a, T> {
    type Rest = &'a Mutex<T>;

    fn pause(self) -> Result<Self::Rest, LockError> {
        self.hold.pause()?;
        Ok(self.mutex)
    }

    fn resume(mutex: Self::Rest) -> Result<Self, LockError> {
        mutex.lock()
    }
}

impl<T: NoUninit + CheckedBitPattern> WaitGuard for MutexGuard<'_, T> {
    type Value = T;

    fn look<R>(&mut self, look: impl FnOnce(&mut T) -> R) -> R {
        look(self)
    }
}

impl<T: fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to look at what the last owner of a [`Mutex`] left. Dropped, it releases the lock and
/// leaves it as it was found.
///
/// # When a process dies
/// A repairer that dies is told of as [`LockError::OwnerDied`](super::LockError) in its turn.
#[must_use = "the lock is released, and not repaired, when the guard is dropped"]
pub struct RecoveryGuard<'a, T> {
    mutex: &'a Mutex<T>,
    repair: Repair<'a>,
}

impl<'a, T> RecoveryGuard<'a, T> {
    pub(super) fn new(mutex: &'a Mutex<T>, repair: Repair<'a>) -> Self {
        RecoveryGuard { mutex, repair }
    }

    /// Whether the last owner died or panicked inside.
    pub fn is_damaged(&self) -> bool {
        self.repair.is_damaged()
    }

    /// Says that the value is consistent, and goes on as its owner.
    pub fn mark_consistent(self) -> MutexGuard<'a, T> {
        MutexGuard::new(self.mutex, self.mutex.value(), self.repair.done())
    }
}

impl<T> Deref for RecoveryGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a value, as was seen when it was acquired, which is the owner's.
        unsafe { self.mutex.value().as_ref() }
    }
}

impl<T> DerefMut for RecoveryGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.mutex.value().as_mut() }
    }
}

impl<T: fmt::Debug> fmt::Debug for RecoveryGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
