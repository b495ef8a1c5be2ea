//! Asking after a process before going to sleep for its sake.

use super::{Participant, Stamp, Table};
use crate::Result;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed},
};
use crate::sys::robust::{OWNER, OWNER_DIED, WAITERS};

/// Longest sleep before a participant is asked after although nothing happened: what bounds the
/// news of several deaths at the same moment, where each could have told of the other.
pub(crate) const SLICE: u64 = 100_000_000;
/// The same where there is no beacon to watch.
const SLICE_WITHOUT_BEACON: u64 = 5_000_000;
/// The first pause after a beacon said that its thread is dead and the process was not found so.
const FIRST_DOUBT: u64 = 50_000;

/// What to watch, beside the word one waits for, while one sleeps; and for how long at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Watch<'a> {
    /// A beacon and the value it has while its process lives.
    pub(crate) beacon: Option<(&'a AtomicU32, u32)>,
    /// Nanoseconds.
    pub(crate) slice: u64,
}

impl Watch<'_> {
    /// Nobody to ask after.
    pub(crate) const NOBODY: Watch<'static> = Watch { beacon: None, slice: SLICE };
}

/// What one waiter remembers between two questions after the same process.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Doubt {
    pause: u64,
}

impl Participant {
    /// Whether it is worth asking after the process of a stamp whose place this is.
    #[inline]
    pub(crate) fn is_suspect(&self, stamp: Stamp) -> bool {
        let beacon = self.beacon.word.load(Acquire);
        self.generation.load(Relaxed) != stamp.generation
            || beacon & OWNER_DIED != 0
            || beacon & OWNER == 0
    }
}

impl<'a> Table<'a> {
    /// Whether it is worth asking after a process: two loads, for those who poll.
    pub(crate) fn is_suspect(&self, stamp: Stamp) -> bool {
        self.entry(stamp.index).is_none_or(|entry| entry.is_suspect(stamp))
    }

    /// How to sleep so that the death of `stamp` ends the sleep; `None`: it runs no more.
    ///
    /// `ask` says that time has passed and the beacon alone is not to be believed.
    pub(crate) fn watch(
        &self,
        stamp: Stamp,
        ask: bool,
        doubt: &mut Doubt,
    ) -> Result<Option<Watch<'a>>> {
        let Some(entry) = self.entry(stamp.index) else { return Ok(None) };
        if entry.generation.load(Acquire) != stamp.generation {
            return Ok(None);
        }
        let word = &entry.beacon.word;
        let value = word.load(Acquire);
        let died = value & OWNER_DIED != 0;
        let owned = value & OWNER != 0 && !died;
        if died && self.runs_no_more(stamp)? || (ask || !owned) && self.is_gone(stamp)? {
            return Ok(None);
        }
        if !owned {
            doubt.pause = match doubt.pause {
                _ if !died => SLICE_WITHOUT_BEACON,
                0 => FIRST_DOUBT,
                pause => (2 * pause).min(SLICE_WITHOUT_BEACON),
            };
            return Ok(Some(Watch { beacon: None, slice: doubt.pause }));
        }
        doubt.pause = 0;
        // The kernel wakes only where it finds WAITERS. Relaxed: if the exchange fails the word
        // has changed, which the caller's sleep finds out.
        let asleep = value | WAITERS;
        if value != asleep && word.compare_exchange(value, asleep, Relaxed, Relaxed).is_err() {
            return Ok(Some(Watch { beacon: None, slice: 0 }));
        }
        Ok(Some(Watch { beacon: Some((word, asleep)), slice: SLICE }))
    }

    /// Passes the news of a death on: the kernel wakes one sleeper of a beacon, who wakes the rest.
    pub(crate) fn pass_on(&self, stamp: Stamp) {
        if let Some(entry) = self.entry(stamp.index) {
            crate::sync::futex::wake(&entry.beacon.word, u32::MAX);
        }
    }
}
