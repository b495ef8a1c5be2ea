//! A word on which one side of an object sleeps and which the other side looks at after each change.
//!
//! | bit 0 | bits 1.. | meaning |
//! |---|---|---|
//! | 0 | n | nobody sleeps since wake *n* |
//! | 1 | n | somebody announced a sleep after wake *n* |
//!
//! Sleeper: [`WaitCell::announce`], heavy barrier, look at the state once more, sleep while the word
//! is the token. Waker: change the state, light barrier, [`WaitCell::is_announced`], if so
//! [`WaitCell::wake`]. The two barriers ([`crate::sync::barrier`]) make one see the other.
//!
//! A waker killed between its change and its wake leaves the sleeper asleep: so a sleeper also
//! watches the beacon of every process that could wake it.

use crate::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Relaxed},
};
use crate::sync::crash::{Point, point};
use crate::sync::{const_fn, futex};

/// Somebody may sleep.
const ANNOUNCED: u32 = 1;

/// The word. Written by both sides, but by the waker only to wake.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct WaitCell {
    word: AtomicU32,
}

impl WaitCell {
    const_fn! {
        /// Nobody sleeps.
        pub(crate) const fn new() -> Self {
            WaitCell { word: AtomicU32::new(0) }
        }
    }

    /// Says that the caller is about to sleep, and returns the token to sleep by.
    pub(crate) fn announce(&self) -> u32 {
        // Relaxed: the heavy barrier that follows orders it before the look at the state.
        self.word.fetch_or(ANNOUNCED, Relaxed) | ANNOUNCED
    }

    /// Whether somebody may sleep.
    #[inline(always)]
    pub(crate) fn is_announced(&self) -> bool {
        // Relaxed: the light barrier before it orders it behind the change of state.
        self.word.load(Relaxed) & ANNOUNCED != 0
    }

    /// Wakes whoever sleeps.
    #[cold]
    #[inline(never)]
    pub(crate) fn wake(&self) {
        // AcqRel: the word is only a bell; a chain of wakes is kept in order for readers of traces.
        // Adding one to an announced word clears the bit and counts the wake, so that a sleeper with
        // an old token does not fall asleep.
        let announced =
            self.word.fetch_update(AcqRel, Relaxed, |w| (w & 1 != 0).then(|| w.wrapping_add(1)));
        point(Point::FlagTaken);
        if announced.is_ok() {
            futex::wake(&self.word, u32::MAX);
        }
    }

    /// Wakes whoever sleeps, also where a waker died after it had taken the announcement down.
    #[cfg(any(feature = "serde", all(test, loom)))]
    pub(crate) fn rouse(&self) {
        // AcqRel: as in `wake`.
        let _ =
            self.word.fetch_update(AcqRel, Relaxed, |w| (w & 1 != 0).then(|| w.wrapping_add(1)));
        futex::wake(&self.word, u32::MAX);
    }

    /// Wakes some of those who sleep, where one thread at a time does so: the announcement stays for
    /// those who sleep on.
    #[cfg(any(feature = "serde", all(test, loom)))]
    #[cold]
    #[inline(never)]
    pub(crate) fn wake_some(&self, count: u32) {
        // AcqRel: as in `wake`. Who announces from now on finds another word.
        let announced =
            self.word.fetch_update(AcqRel, Relaxed, |w| (w & 1 != 0).then(|| w.wrapping_add(1)));
        point(Point::FlagTaken);
        if announced.is_ok() && futex::wake(&self.word, count) >= count {
            // Relaxed: read by the same waker, or by one that came after it.
            self.word.fetch_or(ANNOUNCED, Relaxed);
        }
    }

    /// The word itself, to sleep on.
    pub(crate) fn word(&self) -> &AtomicU32 {
        &self.word
    }
}
