//! Giving back what a handle to a readers-writer lock has acquired.

#![allow(unsafe_code, reason = "releases the raw lock")]

use super::{LockError, RwLock};
use crate::raw::rwlock::{RawRwLock, Share};
use crate::sync::robust::{List, Slot};
use std::ptr::NonNull;

impl<T> RwLock<T> {
    pub(super) fn raw(&self) -> &RawRwLock {
        &self.handle
    }

    pub(super) fn value(&self) -> NonNull<T> {
        self.value
    }

    /// Gives back a share that the calling thread has acquired in this process by this handle.
    #[inline(always)]
    pub(super) fn stop_reading(&self, list: List, share: Share) {
        // SAFETY: as the caller says. Where it stays linked it stays mapped: the handle sees to it.
        let _ = unsafe { self.handle.stop_reading(list, share) };
    }

    /// Gives back the lock, which the calling thread has acquired in this process by this handle.
    #[inline(always)]
    pub(super) fn stop_writing(&self, list: List, slot: Slot) {
        // SAFETY: as in `stop_reading`.
        let _ = unsafe { self.handle.stop_writing(list, slot) };
    }

    /// Turns the lock, which the calling thread has acquired in this process by this handle, into a
    /// share of it.
    pub(super) fn downgrade(&self, list: List, slot: Slot) -> Result<Share, LockError> {
        // SAFETY: as the caller says.
        unsafe { self.handle.downgrade(list, slot) }.map_err(LockError::of)
    }
}
