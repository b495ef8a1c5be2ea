//! A lock that is held: what guards of a [`RawMutex`] are made of, whatever it guards.

#![allow(unsafe_code, reason = "acquires and releases the raw lock")]

use super::LockError;
use super::handle::Handle;
use super::mutex::NO_VALUE;
use crate::raw::mutex::{Condition, RawMutex};
use crate::sync::robust::{List, Slot};
use crate::wait::NEVER;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::thread::panicking;

/// Makes a guard its thread's.
type NotSend = PhantomData<*mut ()>;

impl Handle<RawMutex> {
    /// Acquires the lock, waiting for it until `deadline`. `is_valid` says whether what it guards is
    /// made of values.
    #[inline(always)]
    pub(super) fn hold(
        &self,
        deadline: u64,
        is_valid: impl FnOnce() -> bool,
    ) -> Result<Hold<'_>, LockError> {
        let (list, slot) = self.acquire(deadline)?;
        self.look(list, slot, is_valid)
    }

    /// Acquires the lock if it is free.
    #[inline(always)]
    pub(super) fn try_hold(&self, is_valid: impl FnOnce() -> bool) -> Result<Hold<'_>, LockError> {
        let list = self.list()?;
        // SAFETY: as in `acquire`.
        let slot = unsafe { self.try_lock(list) }.map_err(LockError::of_try)?;
        self.look(list, slot, is_valid)
    }

    /// Acquires the lock whatever its last owner left.
    pub(super) fn repair(&self, is_valid: impl FnOnce() -> bool) -> Result<Repair<'_>, LockError> {
        let (list, slot) = self.acquire(NEVER)?;
        if !is_valid() {
            self.release(list, slot);
            return Err(LockError::Corrupted(NO_VALUE));
        }
        let found = self.begin_repair(list);
        let epoch = list.epoch();
        Ok(Repair { handle: self, slot, epoch, found, thread: PhantomData })
    }

    /// Acquires the lock and has `put` make what it guards anew, whatever was there.
    pub(super) fn renew(&self, put: impl FnOnce()) -> Result<Hold<'_>, LockError> {
        let (list, slot) = self.acquire(NEVER)?;
        self.begin_repair(list);
        put();
        self.end_repair(list);
        Ok(Hold::new(self, list, slot))
    }

    /// Takes the mark of a panic away.
    pub(super) fn forgive(&self) -> Result<(), LockError> {
        let (list, slot) = self.acquire(NEVER)?;
        self.clear_poison();
        self.release(list, slot);
        Ok(())
    }

    #[inline(always)]
    fn acquire(&self, deadline: u64) -> Result<(List, Slot), LockError> {
        let list = self.list()?;
        // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
        // lock is linked, for as long as that.
        let slot = unsafe { self.lock(list, deadline) }.map_err(LockError::of)?;
        Ok((list, slot))
    }

    /// The owner's look at what it found.
    #[inline(always)]
    fn look(
        &self,
        list: List,
        slot: Slot,
        is_valid: impl FnOnce() -> bool,
    ) -> Result<Hold<'_>, LockError> {
        let found = self.enter(list);
        if found == Condition::Clean {
            if is_valid() {
                return Ok(Hold::new(self, list, slot));
            }
            self.leave();
        }
        Err(self.refuse(list, slot, found))
    }

    #[cold]
    #[inline(never)]
    fn refuse(&self, list: List, slot: Slot, found: Condition) -> LockError {
        self.release(list, slot);
        LockError::of_condition(found).unwrap_or(LockError::Corrupted(NO_VALUE))
    }

    /// Releases the lock of a hold that was forgotten. False: the calling thread does not have it.
    #[cfg(feature = "raw_sync")]
    pub(super) fn release_forgotten(&self) -> Result<bool, LockError> {
        let list = self.list()?;
        let Some(slot) = self.slot(list) else { return Ok(false) };
        if panicking() {
            self.leave_poisoned();
        } else {
            self.leave();
        }
        self.release(list, slot);
        Ok(true)
    }

    /// Releases the lock, which the calling thread has acquired in this process by this handle.
    #[inline(always)]
    fn release(&self, list: List, slot: Slot) {
        // SAFETY: as the caller says. Where it stays linked it stays mapped: the handle sees to it.
        let _ = unsafe { self.unlock(list, slot) };
    }
}

/// The right to what a lock guards; dropped, it releases the lock. A copy of it in a forked child
/// does nothing.
pub(super) struct Hold<'a> {
    handle: &'a Handle<RawMutex>,
    /// The fork epoch in which it was acquired; inverted, where the thread was panicking by then: that
    /// it does when it releases the lock says nothing.
    epoch: u32,
    slot: Slot,
    thread: NotSend,
}

impl<'a> Hold<'a> {
    #[inline(always)]
    fn new(handle: &'a Handle<RawMutex>, list: List, slot: Slot) -> Self {
        let mut epoch = list.epoch();
        if panicking() {
            epoch = !epoch;
        }
        Hold { handle, epoch, slot, thread: PhantomData }
    }

    /// Releases the lock, of the process that acquired it.
    pub(super) fn pause(self) -> Result<(), LockError> {
        if !self.is_ours() {
            return Err(LockError::Forked);
        }
        drop(self);
        Ok(())
    }
}

/// Elements that the owner may have left half changed without a panic.
impl Hold<'_> {
    /// Whether the calling process is the one that acquired the lock.
    pub(super) fn is_ours(&self) -> bool {
        List::of_epoch(self.epoch).or_else(|| List::of_epoch(!self.epoch)).is_some()
    }

    /// Releases the lock, and leaves it as an owner that panicked does.
    pub(super) fn release_poisoned(self) {
        let Hold { handle, epoch, slot, .. } = *ManuallyDrop::new(self);
        if let Some(list) = List::of_epoch(epoch).or_else(|| List::of_epoch(!epoch)) {
            handle.leave_poisoned();
            handle.release(list, slot);
        }
    }
}

/// Lets go in a thread that panics, or did when it acquired the lock, or not at all in a forked child.
#[cold]
#[inline(never)]
fn release_slowly(handle: &Handle<RawMutex>, epoch: u32, slot: Slot) {
    if let Some(list) = List::of_epoch(epoch) {
        handle.leave_poisoned();
        handle.release(list, slot);
    } else if let Some(list) = List::of_epoch(!epoch) {
        handle.leave();
        handle.release(list, slot);
    }
}

impl Drop for Hold<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        match List::of_epoch(self.epoch) {
            Some(list) if !panicking() => {
                self.handle.leave();
                self.handle.release(list, self.slot);
            }
            _ => release_slowly(self.handle, self.epoch, self.slot),
        }
    }
}

/// The right to look at what the last owner left; dropped, it releases the lock and leaves it as it
/// was found.
pub(super) struct Repair<'a> {
    handle: &'a Handle<RawMutex>,
    slot: Slot,
    /// The fork epoch in which it was acquired.
    epoch: u32,
    /// The state as it was found.
    found: u32,
    thread: NotSend,
}

impl<'a> Repair<'a> {
    /// Whether the last owner died or panicked inside.
    pub(super) fn is_damaged(&self) -> bool {
        self.found != 0
    }

    /// Says that what is guarded is consistent, and goes on as its owner.
    pub(super) fn done(self) -> Hold<'a> {
        let this = ManuallyDrop::new(self);
        let Repair { handle, slot, epoch, .. } = *this;
        match List::of_epoch(epoch) {
            Some(list) => {
                handle.end_repair(list);
                Hold::new(handle, list, slot)
            }
            None => Hold { handle, epoch, slot, thread: PhantomData },
        }
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        if let Some(list) = List::of_epoch(self.epoch) {
            if self.found == 0 && panicking() {
                self.handle.leave_poisoned();
            } else {
                self.handle.relinquish(self.found);
            }
            self.handle.release(list, self.slot);
        }
    }
}
