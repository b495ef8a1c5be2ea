//! State of one process, made anew in each forked child.
//!
//! A child's copy of its parent's state may be locked by a thread that the child does not have, and
//! speaks of things that are the parent's. So it is left alone, and the child begins with nothing.

#![allow(unsafe_code, reason = "the state is behind an atomic pointer")]

use super::fork;
use crate::sync::local::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

struct Tagged<T> {
    epoch: u32,
    value: Mutex<T>,
}

/// State that a parent makes for a child that it is about to fork, so that the child touches neither
/// memory nor its epoch for it.
pub(crate) struct Preset<T: 'static> {
    of: &'static PerProcess<T>,
    state: Box<Tagged<T>>,
}

impl<T: Default> Preset<T> {
    /// In the child, before it has a second thread: is the state of this process from now on.
    pub(crate) fn put_in_place(self) {
        // Release: pairs with the Acquire in `current`. What was there is the parent's.
        self.of.0.store(Box::into_raw(self.state), Ordering::Release);
    }
}

/// A `T` behind a lock, for a static.
pub(crate) struct PerProcess<T>(AtomicPtr<Tagged<T>>);

impl<T: Default> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        PerProcess(AtomicPtr::new(core::ptr::null_mut()))
    }

    /// Locks the state of this process.
    pub(crate) fn lock(&'static self) -> MutexGuard<'static, T> {
        self.current().value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Locks the state of this process, if it has any yet.
    #[inline]
    pub(crate) fn lock_if_any(&'static self) -> Option<MutexGuard<'static, T>> {
        // Acquire: pairs with the exchange that published the state.
        let state = self.0.load(Ordering::Acquire);
        if state.is_null() { None } else { self.lock_if_ours(state) }
    }

    fn lock_if_ours(&'static self, state: *mut Tagged<T>) -> Option<MutexGuard<'static, T>> {
        // SAFETY: a box that was leaked for good.
        let state = unsafe { state.as_ref() }.filter(|tagged| tagged.epoch == fork::epoch())?;
        Some(state.value.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A child's state, for [`Preset::put_in_place`].
    pub(crate) fn preset(&'static self, value: T) -> Preset<T> {
        // This process has its epoch from here on: that of a child would be another else.
        fork::epoch();
        let (epoch, value) = (fork::epoch_of_child(), Mutex::new(value));
        Preset { of: self, state: Box::new(Tagged { epoch, value }) }
    }

    /// In a child that was just forked, before it has a second thread: what its parent has is not its
    /// own, which would be found out in any case, but only with the epoch.
    pub(crate) fn begin_with_none(&'static self) {
        // Relaxed: no data.
        self.0.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    fn current(&'static self) -> &'static Tagged<T> {
        let epoch = fork::epoch();
        // Acquire: pairs with the exchange that published the state.
        let mut old = self.0.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a box that was leaked for good.
            let current = unsafe { old.as_ref() }.filter(|tagged| tagged.epoch == epoch);
            if let Some(current) = current {
                return current;
            }
            let new = Box::into_raw(Box::new(Tagged { epoch, value: Mutex::default() }));
            match self.0.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire) {
                // SAFETY: just leaked.
                Ok(_) => return unsafe { &*new },
                Err(other) => {
                    // SAFETY: ours, and nobody has seen it.
                    drop(unsafe { Box::from_raw(new) });
                    old = other;
                }
            }
        }
    }
}
