//! What a handle to a readers-writer lock knows of the guards it gave out.

#![allow(unsafe_code, reason = "releases the raw lock")]

use super::{LockError, RwLock};
use crate::raw::rwlock::{RawRwLock, Share};
use crate::sync::local::{AtomicU32, Ordering::Relaxed};
use crate::sync::robust::{List, Slot};
use crate::sys::fork;
use std::ptr::NonNull;

/// What a handle knows of the guards it gave out for one share, so that it keeps the lock mapped for
/// those that were leaked. Written by the thread that has the share, in a line of its own.
#[repr(align(64))]
#[derive(Debug)]
pub(super) struct Held {
    /// The fork epoch in which they were given out.
    epoch: AtomicU32,
    guards: AtomicU32,
}

impl Held {
    pub(super) const fn none() -> Self {
        Held { epoch: AtomicU32::new(0), guards: AtomicU32::new(0) }
    }
}

impl<T> RwLock<T> {
    pub(super) fn raw(&self) -> &RawRwLock {
        &self.handle
    }

    pub(super) fn value(&self) -> NonNull<T> {
        self.value
    }

    /// Notes that the calling thread has one more guard of that share by this handle.
    #[inline(always)]
    pub(super) fn note(&self, list: List, share: Share) {
        let held = &self.shares[share.index()];
        // Relaxed: whoever has the share wrote them; the share passes them on.
        let others = held.guards.load(Relaxed);
        let others = if self.raw().is_nested(share) { others } else { 0 };
        held.epoch.store(list.epoch(), Relaxed);
        held.guards.store(others + 1, Relaxed);
    }

    /// Gives back a share that the calling thread has acquired in this process by this handle.
    #[inline(always)]
    pub(super) fn stop_reading(&self, list: List, share: Share) {
        let guards = &self.shares[share.index()].guards;
        let others = guards.load(Relaxed).saturating_sub(1);
        guards.store(others, Relaxed);
        // SAFETY: as the caller says.
        if !unsafe { self.handle.stop_reading(list, share) } {
            // Linked for as long as the thread lives, and so mapped.
            self.handle.keep();
        }
    }

    /// Gives back the lock, which the calling thread has acquired in this process by this handle.
    #[inline(always)]
    pub(super) fn stop_writing(&self, list: List, slot: Slot) {
        self.handle.releases();
        // SAFETY: as the caller says.
        if !unsafe { self.handle.stop_writing(list, slot) } {
            self.handle.keep();
        }
    }

    /// Turns the lock, which the calling thread has acquired in this process by this handle, into a
    /// share of it.
    pub(super) fn downgrade(&self, list: List, slot: Slot) -> Result<Share, LockError> {
        // SAFETY: as the caller says.
        match unsafe { self.handle.downgrade(list, slot) } {
            Ok(share) => {
                self.note(list, share);
                self.handle.releases();
                Ok(share)
            }
            Err(refusal) => {
                self.handle.keep();
                Err(LockError::of(refusal))
            }
        }
    }
}

impl<T> Drop for RwLock<T> {
    fn drop(&mut self) {
        let epoch = fork::epoch();
        let is_leaked =
            |held: &mut Held| *held.guards.get_mut() != 0 && *held.epoch.get_mut() == epoch;
        if self.shares.iter_mut().any(is_leaked) {
            self.handle.keep();
        }
    }
}
