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
