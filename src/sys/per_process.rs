//! State of one process, made anew in each forked child.
//!
//! A child's copy of its parent's state may be locked by a thread that the child does not have, or half
//! made, and speaks of things that are the parent's. So it is never looked at: the child begins with a new
//! one in the same place, which its parent's epoch does not fit.

#![allow(unsafe_code, reason = "what is not of this epoch is not looked at")]

use super::hot::Hot;
use super::{fork, process};
use crate::sync::local::{AtomicU64, Ordering};
use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A `T` behind a lock, for a static.
pub(crate) struct PerProcess<T: 'static>(Hot<Place<T>>);

struct Place<T> {
    /// Twice the epoch in which the state was made, and one more once it is there; 0: never.
    made: AtomicU64,
    state: UnsafeCell<MaybeUninit<Mutex<T>>>,
}

// SAFETY: of the state, threads have a reference to the mutex alone, once it is there.
unsafe impl<T: Send> Sync for Place<T> {}

fn ready(epoch: u32) -> u64 {
    u64::from(epoch) << 1 | 1
}

impl<T: Default + Send> PerProcess<T> {
    pub(crate) const fn new() -> Self {
        // SAFETY: zeros are an atomic, and what need not be initialised.
        PerProcess(unsafe { Hot::new() })
    }

    /// Locks the state of this process.
    pub(crate) fn lock(&'static self) -> MutexGuard<'static, T> {
        let (place, ready) = (self.0.placed(), ready(fork::epoch()));
        // Acquire: pairs with the Release in `make`.
        if place.made.load(Ordering::Acquire) != ready {
            place.make(ready);
        }
        place.lock()
    }

    /// Whether this process has no state yet, as far as can be said without its epoch, for which a child
    /// would take a fault.
    #[inline(always)]
    pub(crate) fn is_new(&'static self) -> bool {
        self.0.if_placed().is_none_or(|place| place.made.load(Ordering::Relaxed) == 0)
    }

    /// Locks the state of this process, if it has any yet.
    pub(crate) fn lock_if_any(&'static self) -> Option<MutexGuard<'static, T>> {
        if self.is_new() {
            return None;
        }
        let place = self.0.placed();
        // Acquire: as above.
        (place.made.load(Ordering::Acquire) == ready(fork::epoch())).then(|| place.lock())
    }

    /// In a child that was just forked, before it has a second thread: begins with this. `epoch` is the
    /// child's. Its parent has [locked](Self::lock) its own.
    #[inline(always)]
    pub(crate) fn begin_with(&'static self, value: T, epoch: u32) {
        let place = self.0.placed();
        // SAFETY: there is no other thread, and what was there is the parent's.
        unsafe { (*place.state.get()).write(Mutex::new(value)) };
        // Release: as in `make`.
        place.made.store(ready(epoch), Ordering::Release);
    }

    /// The same with nothing: what is there is not the child's, which would be found out in any case, but
    /// only with the epoch.
    #[inline(always)]
    pub(crate) fn begin_with_none(&'static self) {
        if let Some(place) = self.0.if_placed() {
            // Relaxed: no data.
            place.made.store(0, Ordering::Relaxed);
        }
    }
}

impl<T: Default> Place<T> {
    fn lock(&'static self) -> MutexGuard<'static, T> {
        // SAFETY: made in this epoch, as the callers have found, and never taken away in it.
        let state = unsafe { &*self.state.get().cast::<Mutex<T>>() };
        state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cold]
    fn make(&'static self, ready: u64) {
        let making = ready - 1;
        loop {
            let seen = self.made.load(Ordering::Acquire);
            if seen == ready {
                return;
            }
            if seen == making {
                process::yield_now();
                continue;
            }
            let (done, lost) = (Ordering::Acquire, Ordering::Relaxed);
            if self.made.compare_exchange(seen, making, done, lost).is_ok() {
                // SAFETY: this thread alone makes the state of this epoch, and what was there is another's.
                unsafe { (*self.state.get()).write(Mutex::default()) };
                // Release: the state, to the Acquire in `lock`.
                self.made.store(ready, Ordering::Release);
                return;
            }
        }
    }
}
