//! A lock that is held: what guards of a [`RawMutex`] are made of, whatever it guards.

#![allow(unsafe_code, reason = "acquires and releases the raw lock")]

use super::LockError;
use super::handle::Handle;
use super::mutex::NO_VALUE;
use crate::raw::mutex::{Condition, RawMutex, Rest};
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
        let raw: &RawMutex = self;
        // Whatever is in the way, there is one way out.
        let at_once = self.settled_list().and_then(|list| {
            // SAFETY: as in `acquire`.
            let slot = unsafe { raw.lock_at_once(list) }?;
            Some((list, slot))
        });
        let (list, slot) = match at_once {
            Some(acquired) => acquired,
            None => self.acquire_slowly(deadline)?,
        };
        look(raw, list, slot, is_valid)?;
        Ok(Hold::new(raw, list, slot))
    }

    /// Acquires the lock if it is free.
    #[inline(always)]
    pub(super) fn try_hold(&self, is_valid: impl FnOnce() -> bool) -> Result<Hold<'_>, LockError> {
        let list = self.list()?;
        // SAFETY: as in `acquire`.
        let slot = unsafe { self.try_lock(list) }.map_err(LockError::of_try)?;
        look(self, list, slot, is_valid)?;
        Ok(Hold::new(self, list, slot))
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
        Ok(Repair { raw: self, list, slot, epoch, found, thread: PhantomData })
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

    #[cold]
    #[inline(never)]
    fn acquire_slowly(&self, deadline: u64) -> Result<(List, Slot), LockError> {
        self.acquire(deadline)
    }

    fn acquire(&self, deadline: u64) -> Result<(List, Slot), LockError> {
        let list = self.list()?;
        // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
        // lock is linked, for as long as that.
        let slot = unsafe { self.lock(list, deadline) }.map_err(LockError::of)?;
        Ok((list, slot))
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
    fn release(&self, list: List, slot: Slot) {
        release(self, list, slot);
    }
}

/// The owner's look at what it found. What is no good it releases.
#[inline(always)]
fn look(
    raw: &RawMutex,
    list: List,
    slot: Slot,
    is_valid: impl FnOnce() -> bool,
) -> Result<(), LockError> {
    let found = raw.enter(list);
    if found == Condition::Clean {
        if is_valid() {
            return Ok(());
        }
        raw.leave();
    }
    Err(refuse(raw, list, slot, found))
}

#[cold]
#[inline(never)]
fn refuse(raw: &RawMutex, list: List, slot: Slot, found: Condition) -> LockError {
    release(raw, list, slot);
    LockError::of_condition(found).unwrap_or(LockError::Corrupted(NO_VALUE))
}

/// Releases the lock, which the calling thread has acquired in this process by its handle.
#[inline(always)]
fn release(raw: &RawMutex, list: List, slot: Slot) {
    // SAFETY: as the caller says. Where it stays linked it stays mapped: the handle sees to it.
    let _ = unsafe { raw.unlock(list, slot) };
}

/// The right to what a lock guards; dropped, it releases the lock. A copy of it in a forked child
/// does nothing.
pub(super) struct Hold<'a> {
    /// The handle's.
    raw: &'a RawMutex,
    /// Of the thread that acquired it.
    list: List,
    /// The fork epoch in which it was acquired; inverted, where the thread was panicking by then: that
    /// it does when it releases the lock says nothing.
    epoch: u32,
    slot: Slot,
    thread: NotSend,
}

impl<'a> Hold<'a> {
    #[inline(always)]
    fn new(raw: &'a RawMutex, list: List, slot: Slot) -> Self {
        let mut epoch = list.epoch();
        if panicking() {
            epoch = !epoch;
        }
        Hold { raw, list, epoch, slot, thread: PhantomData }
    }

    /// Releases the lock, of the process that acquired it.
    pub(super) fn pause(self) -> Result<(), LockError> {
        if self.list().is_none() {
            return Err(LockError::Forked);
        }
        drop(self);
        Ok(())
    }
}

/// Elements that the owner may have left half changed without a panic.
impl Hold<'_> {
    /// Whether the calling process is the one that acquired the lock.
    #[cfg(feature = "serde")]
    pub(super) fn is_ours(&self) -> bool {
        self.list().is_some()
    }

    /// Releases the lock, and leaves it as an owner that panicked does.
    pub(super) fn release_poisoned(self) {
        let this = ManuallyDrop::new(self);
        if let Some(list) = this.list() {
            this.raw.leave_poisoned();
            release(this.raw, list, this.slot);
        }
    }

    /// The owner's list, in the process that acquired the lock.
    fn list(&self) -> Option<List> {
        self.list.in_epoch(self.epoch).or_else(|| self.list.in_epoch(!self.epoch))
    }
}

/// Does what is left of a release; all of it, if nothing is said: in a thread that panics, or did when
/// it acquired the lock, or nothing at all in a forked child.
#[cold]
#[inline(never)]
fn release_rest(raw: &RawMutex, list: List, epoch: u32, slot: Slot, rest: Option<Rest>) {
    if let Some(rest) = rest {
        // SAFETY: as in `release`.
        let _ = unsafe { raw.unlock_rest(list, slot, rest) };
    } else if let Some(list) = list.in_epoch(epoch) {
        raw.leave_poisoned();
        release(raw, list, slot);
    } else if let Some(list) = list.in_epoch(!epoch) {
        raw.leave();
        release(raw, list, slot);
    }
}

impl Drop for Hold<'_> {
    // One call for all that is out of the way, and small: so that it is inlined where guards are
    // dropped.
    #[inline(always)]
    fn drop(&mut self) {
        let &mut Hold { raw, list, epoch, slot, .. } = self;
        let mut rest = None;
        if let Some(list) = list.in_epoch(epoch)
            && !panicking()
        {
            raw.leave();
            // SAFETY: as in `release`.
            match unsafe { raw.unlock_at_once(list, slot) } {
                Ok(()) => return,
                Err(left) => rest = Some(left),
            }
        }
        release_rest(raw, list, epoch, slot, rest);
    }
}

/// The right to look at what the last owner left; dropped, it releases the lock and leaves it as it
/// was found.
pub(super) struct Repair<'a> {
    raw: &'a RawMutex,
    list: List,
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
        let Repair { raw, list, slot, epoch, .. } = *this;
        match list.in_epoch(epoch) {
            Some(list) => {
                raw.end_repair(list);
                Hold::new(raw, list, slot)
            }
            None => Hold { raw, list, epoch, slot, thread: PhantomData },
        }
    }
}

impl Drop for Repair<'_> {
    fn drop(&mut self) {
        if let Some(list) = self.list.in_epoch(self.epoch) {
            if self.found == 0 && panicking() {
                self.raw.leave_poisoned();
            } else {
                self.raw.relinquish(self.found);
            }
            release(self.raw, list, self.slot);
        }
    }
}
