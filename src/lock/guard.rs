//! What the owner of a mutex has.

#![allow(unsafe_code, reason = "refers to the value in shared memory")]

use super::Mutex;
use crate::sync::robust::{List, Slot};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::thread::panicking;

/// Makes a guard its thread's.
type NotSend = PhantomData<*mut ()>;

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
    slot: Slot,
    /// The thread was panicking when it acquired the lock: then that it does says nothing.
    panicking: bool,
    thread: NotSend,
}

impl<'a, T> MutexGuard<'a, T> {
    #[inline(always)]
    pub(super) fn new(mutex: &'a Mutex<T>, slot: Slot) -> Self {
        MutexGuard { mutex, slot, panicking: panicking(), thread: PhantomData }
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a value, as was seen when it was acquired, which is the owner's.
        unsafe { self.mutex.value().as_ref() }
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.mutex.value().as_mut() }
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        let handle = self.mutex.handle();
        if let Some(list) = handle.owner() {
            if !self.panicking && panicking() {
                handle.leave_poisoned();
            } else {
                handle.leave();
            }
            self.mutex.release(list, self.slot);
        }
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
    slot: Slot,
    /// The state as it was found.
    found: u32,
    thread: NotSend,
}

impl<'a, T> RecoveryGuard<'a, T> {
    pub(super) fn new(mutex: &'a Mutex<T>, list: List, slot: Slot) -> Self {
        let found = mutex.handle().begin_repair(list);
        RecoveryGuard { mutex, slot, found, thread: PhantomData }
    }

    /// Whether the last owner died or panicked inside.
    pub fn is_damaged(&self) -> bool {
        self.found != 0
    }

    /// Says that the value is consistent, and goes on as its owner.
    pub fn mark_consistent(self) -> MutexGuard<'a, T> {
        let this = ManuallyDrop::new(self);
        if let Some(list) = this.mutex.handle().owner() {
            this.mutex.handle().end_repair(list);
        }
        MutexGuard::new(this.mutex, this.slot)
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

impl<T> Drop for RecoveryGuard<'_, T> {
    fn drop(&mut self) {
        let handle = self.mutex.handle();
        if let Some(list) = handle.owner() {
            if self.found == 0 && panicking() {
                handle.leave_poisoned();
            } else {
                handle.relinquish(self.found);
            }
            self.mutex.release(list, self.slot);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for RecoveryGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
