//! Making a thing in place, and saying that it is complete.
//!
//! | state | meaning | may become |
//! |---|---|---|
//! | never begun | zeroed memory | building |
//! | building *n* | the *n*-th thing is being made; its maker holds a claim, or is dead | live *n*, building *n* + 1 |
//! | live *n* | the *n*-th thing is complete | building *n* + 1, when nobody has it |
//!
//! A maker that dies leaves a thing that never was.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};

const BUILDING: u64 = 1;
const LIVE: u64 = 2;

/// The word: serial number in the upper half, state in the lower. Written by the maker.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Publication {
    word: AtomicU64,
}

impl Publication {
    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        Publication { word: AtomicU64::new(0) }
    }

    /// Says that the thing with this serial number is being made.
    pub(crate) fn begin(&self, serial: u32) {
        // Release: whoever reads this serial sees that the last holder let go.
        self.word.store(u64::from(serial) << 32 | BUILDING, Release);
    }

    /// Says that it is complete.
    pub(crate) fn publish(&self, serial: u32) {
        // Release: the thing, to the Acquire in `read`.
        self.word.store(u64::from(serial) << 32 | LIVE, Release);
    }

    /// The serial number, and whether the thing is complete.
    pub(crate) fn read(&self) -> (u32, bool) {
        // Acquire: pairs with `publish`.
        let word = self.word.load(Acquire);
        ((word >> 32) as u32, word & 0xffff_ffff == LIVE)
    }
}
