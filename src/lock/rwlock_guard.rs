//! What readers and writers of a readers-writer lock have.

#![allow(unsafe_code, reason = "refers to the value in shared memory")]

use super::{LockError, RwLock};
use crate::raw::rwlock::Share;
use crate::sync::robust::{List, Slot};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::thread::panicking;

/// Makes a guard its thread's, and of the process in which it was acquired.
#[derive(Clone, Copy)]
struct Here {
    /// The fork epoch.
    epoch: u32,
    not_send: PhantomData<*mut ()>,
}

impl Here {
    #[inline(always)]
    fn of(list: List) -> Self {
        Here { epoch: list.epoch(), not_send: PhantomData }
    }

    /// The thread's list, but in a child that has a copy of the guard.
    #[inline(always)]
    fn list(self) -> Option<List> {
        List::of_epoch(self.epoch)
    }
}

/// The right to read the value of an [`RwLock`]; dropped, it gives its share back.
///
/// Belongs to the thread that acquired it. A copy in a forked child does nothing when dropped.
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// let lock = commons::RwLock::new(0u64).unwrap();
/// is_send(lock.read().unwrap());
/// ```
#[must_use = "the share is given back when the guard is dropped"]
pub struct RwLockReadGuard<'a, T> {
    lock: &'a RwLock<T>,
    share: Share,
    here: Here,
}

impl<'a, T> RwLockReadGuard<'a, T> {
    #[inline(always)]
    pub(super) fn new(lock: &'a RwLock<T>, list: List, share: Share) -> Self {
        RwLockReadGuard { lock, share, here: Here::of(list) }
    }
}

impl<T> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a value, as was seen when the share was acquired, which nobody writes meanwhile.
        unsafe { self.lock.value().as_ref() }
    }
}

impl<T> Drop for RwLockReadGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(list) = self.here.list() {
            self.lock.stop_reading(list, self.share);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to the value of an [`RwLock`]; dropped, it releases the lock.
///
/// Belongs to the thread that acquired it. A copy in a forked child does nothing when dropped.
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// let lock = commons::RwLock::new(0u64).unwrap();
/// is_send(lock.write().unwrap());
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct RwLockWriteGuard<'a, T> {
    lock: &'a RwLock<T>,
    slot: Slot,
    here: Here,
    /// The thread was panicking when it acquired the lock: then that it does says nothing.
    panicking: bool,
}

impl<'a, T> RwLockWriteGuard<'a, T> {
    #[inline(always)]
    pub(super) fn new(lock: &'a RwLock<T>, list: List, slot: Slot) -> Self {
        RwLockWriteGuard { lock, slot, here: Here::of(list), panicking: panicking() }
    }

    /// Goes on as a reader. No writer comes in between; readers that wait may read at once.
    ///
    /// # Errors
    /// [`LockError::Forked`] of a guard that was copied by a fork; [`LockError::Corrupted`]. The lock
    /// is released then.
    ///
    /// # Examples
    /// ```
    /// use commons::{RwLock, RwLockWriteGuard};
    ///
    /// let lock = RwLock::new(1u64)?;
    /// let mut writer = lock.write()?;
    /// *writer += 1;
    /// let reader = RwLockWriteGuard::downgrade(writer)?;
    /// assert_eq!((*reader, *lock.read()?), (2, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn downgrade(this: Self) -> Result<RwLockReadGuard<'a, T>, LockError> {
        let this = ManuallyDrop::new(this);
        let list = this.here.list().ok_or(LockError::Forked)?;
        this.leave();
        let share = this.lock.downgrade(list, this.slot)?;
        Ok(RwLockReadGuard::new(this.lock, list, share))
    }

    /// The last look at the value is over.
    #[inline(always)]
    fn leave(&self) {
        let door = self.lock.raw().door();
        if !self.panicking && panicking() {
            door.leave_poisoned();
        } else {
            door.leave();
        }
    }
}

impl<T> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: a value, as was seen when the lock was acquired, which is the writer's.
        unsafe { self.lock.value().as_ref() }
    }
}

impl<T> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.lock.value().as_mut() }
    }
}

impl<T> Drop for RwLockWriteGuard<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(list) = self.here.list() {
            self.leave();
            self.lock.stop_writing(list, self.slot);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: fmt::Display> fmt::Display for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The right to look at what the last writer of an [`RwLock`] left. Dropped, it releases the lock and
/// leaves it as it was found.
///
/// # When a process dies
/// A repairer that dies is told of as [`LockError::OwnerDied`] in its turn.
#[must_use = "the lock is released, and not repaired, when the guard is dropped"]
pub struct RwLockRecoveryGuard<'a, T> {
    lock: &'a RwLock<T>,
    slot: Slot,
    here: Here,
    /// The state as it was found.
    found: u32,
}

impl<'a, T> RwLockRecoveryGuard<'a, T> {
    pub(super) fn new(lock: &'a RwLock<T>, list: List, slot: Slot) -> Self {
        let found = lock.raw().door().begin_repair(list);
        RwLockRecoveryGuard { lock, slot, here: Here::of(list), found }
    }

    /// Whether the last writer died or panicked inside.
    pub fn is_damaged(&self) -> bool {
        self.found != 0
    }

    /// Says that the value is consistent, and goes on as its writer.
    pub fn mark_consistent(self) -> RwLockWriteGuard<'a, T> {
        let this = ManuallyDrop::new(self);
        if let Some(list) = this.here.list() {
            this.lock.raw().door().end_repair(list);
        }
        let RwLockRecoveryGuard { lock, slot, here, .. } = *this;
        RwLockWriteGuard { lock, slot, here, panicking: panicking() }
    }
}

impl<T> Deref for RwLockRecoveryGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: a value, as was seen when the lock was acquired, which is the writer's.
        unsafe { self.lock.value().as_ref() }
    }
}

impl<T> DerefMut for RwLockRecoveryGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { self.lock.value().as_mut() }
    }
}

impl<T> Drop for RwLockRecoveryGuard<'_, T> {
    fn drop(&mut self) {
        if let Some(list) = self.here.list() {
            let door = self.lock.raw().door();
            if self.found == 0 && panicking() {
                door.leave_poisoned();
            } else {
                door.relinquish(self.found);
            }
            self.lock.stop_writing(list, self.slot);
        }
    }
}

impl<T: fmt::Debug> fmt::Debug for RwLockRecoveryGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
