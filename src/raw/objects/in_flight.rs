//! Messages that consumers have and have not finished.

use super::{Exchange, NOT_KEPT};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::const_fn;
use crate::sync::crash::{Point, point};

const STATE_SHIFT: u32 = 48;
const STATE: u64 = 7 << STATE_SHIFT;
const STAMP: u64 = (1 << STATE_SHIFT) - 1;
const LOST_SHIFT: u32 = 51;
const MOST_LOST: u64 = (1 << 13) - 1;

const FREE: u64 = 0;
const RESERVED: u64 = 1 << STATE_SHIFT;
const HELD: u64 = 2 << STATE_SHIFT;
const WAITING: u64 = 3 << STATE_SHIFT;
const AGAIN: u64 = 4 << STATE_SHIFT;

/// A message in flight.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct Entry {
    /// Stamp of who has it in bits 0 to 47, state in 48 to 50, losses so far in 51 to 63.
    word: AtomicU64,
    /// The place of the read side before the message. By who reserves or holds it.
    before: AtomicU64,
    /// Number of the message, counted from the making of the queue on.
    pub(crate) number: AtomicU64,
    /// Bytes of it that are kept, or [`NOT_KEPT`].
    pub(crate) length: AtomicU64,
    /// 1: its consumer finishes it by saying that it has finished one, and not by a handle.
    pub(crate) loose: AtomicU32,
    /// Number of the message that was lost last. By whoever counts it.
    last_lost: AtomicU64,
}

impl Entry {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Entry {
                word: AtomicU64::new(0),
                before: AtomicU64::new(0),
                number: AtomicU64::new(0),
                length: AtomicU64::new(NOT_KEPT),
                loose: AtomicU32::new(0),
                last_lost: AtomicU64::new(0),
            }
        }
    }

    /// Whose it is, if it is a dead or living consumer's.
    pub(crate) fn holder(&self) -> Option<u64> {
        // Acquire: the entry as its holder made it.
        let word = self.word.load(Acquire);
        (word & STAMP != 0).then_some(word & STAMP)
    }

    /// Goes from one state to another if it still is that stamp's, and says whether it was.
    fn change(&self, from: &[u64], stamp: u64, to: impl Fn(u64) -> u64) -> bool {
        let mut seen = self.word.load(Acquire);
        loop {
            if seen & STAMP != stamp || !from.contains(&(seen & STATE)) {
                return false;
            }
            let next = to(seen & !(STATE | STAMP));
            // AcqRel: what the last one did with it, to the next.
            match self.word.compare_exchange(seen, next, AcqRel, Acquire) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
    }

    fn is_kept(&self) -> bool {
        self.length.load(Relaxed) != NOT_KEPT
    }
}

/// The losses of a word, one more.
const fn one_more_lost(losses: u64) -> u64 {
    let lost = losses >> LOST_SHIFT;
    (if lost < MOST_LOST { lost + 1 } else { lost }) << LOST_SHIFT
}

impl Exchange<'_> {
    // ---- anybody ----

    /// Messages that consumers have, or that wait to come again.
    pub(crate) fn in_flight(&self) -> u64 {
        let at = |entry: &Entry| match entry.word.load(Acquire) & STATE {
            HELD => u64::from(!self.is_still_there(entry)),
            WAITING | AGAIN => 1,
            _ => 0,
        };
        self.entries.iter().map(at).sum()
    }

    /// Whether the message of a held entry is still in the ring.
    fn is_still_there(&self, entry: &Entry) -> bool {
        // Acquire: who has taken it since has first freed the entry.
        entry.before.load(Relaxed) == self.shared.read.at.load(Acquire)
    }

    /// Messages that were lost with their consumers, and the number of the last one of each entry.
    pub(crate) fn lost(&self, mut each: impl FnMut(u64)) -> u64 {
        let mut all = 0;
        for entry in self.entries {
            let lost = entry.word.load(Acquire) >> LOST_SHIFT;
            if lost > 0 {
                all += lost;
                each(entry.last_lost.load(Relaxed));
            }
        }
        all
    }

    // ---- the owner of the read lock ----

    /// The next owner after a death: the message that the dead one was about to take stays.
    pub(crate) fn repair(&self) {
        let at = self.shared.read.mine().0;
        for entry in self.entries {
            let word = entry.word.load(Acquire);
            if word & STATE == HELD && entry.before.load(Relaxed) == at {
                entry.change(&[HELD], word & STAMP, |losses| losses | FREE);
            }
        }
    }

    /// A free entry, near `first`: it stays so until the owner of the lock takes it.
    pub(crate) fn free_entry(&self, first: usize) -> Option<usize> {
        let count = self.entries.len();
        let mut places = (0..count).map(|i| (first + i) % count);
        // Acquire: its last holder is done with it.
        places.find(|&index| self.entries[index].word.load(Acquire) & (STATE | STAMP) == FREE)
    }

    /// Says in a free or reserved entry that the caller is about to take the next message: it has it
    /// from the next [`Exchange::release`] of a message on. `length` is what is kept of it.
    pub(crate) fn hold(&self, index: usize, stamp: u64, length: u64) {
        let entry = &self.entries[index];
        let read = &self.shared.read;
        // Relaxed: published by the store that follows.
        entry.before.store(read.mine().0, Relaxed);
        entry.number.store(read.total(), Relaxed);
        entry.length.store(length, Relaxed);
        entry.loose.store(0, Relaxed);
        let losses = entry.word.load(Relaxed) & !(STATE | STAMP);
        // Release: all of that, to who sweeps. A free entry is changed by the lock's owner alone, a
        // reserved one by who reserved it.
        entry.word.store(losses | HELD | stamp, Release);
        point(Point::Claimed);
    }

    /// Keeps a free entry for a message that is not complete yet.
    pub(crate) fn reserve(&self, index: usize, stamp: u64) {
        let word = &self.entries[index].word;
        // Relaxed: nothing goes with it.
        word.store(word.load(Relaxed) & !(STATE | STAMP) | RESERVED | stamp, Relaxed);
    }

    /// A reserved entry that is not needed.
    pub(crate) fn unreserve(&self, index: usize, stamp: u64) {
        self.entries[index].change(&[RESERVED], stamp, |losses| losses | FREE);
    }

    // ---- who has a message ----

    /// Takes a message that comes again.
    pub(crate) fn take_again(&self, stamp: u64) -> Option<usize> {
        // Acquire: the entries that wait.
        if self.shared.waiting.load(Acquire) == 0 {
            return None;
        }
        // AcqRel: the entries that wait by now are seen; who lets one wait later says so again.
        self.shared.waiting.swap(0, AcqRel);
        let mut entries = self.entries.iter();
        let taken = entries.position(|e| e.change(&[WAITING], 0, |l| l | AGAIN | stamp))?;
        // There may be more.
        self.shared.waiting.store(1, Release);
        Some(taken)
    }

    /// Is done with a message that no other thread finishes.
    pub(crate) fn finish(&self, index: usize) {
        let word = &self.entries[index].word;
        // Release: the holder's accesses, to who takes the entry. Nobody else changes it while the
        // holder lives.
        word.store(word.load(Relaxed) & !(STATE | STAMP) | FREE, Release);
        point(Point::Published);
    }

    /// Leaves a message to [`Exchange::finish_loose`].
    pub(crate) fn leave_loose(&self, index: usize) {
        // Release: the entry, to who finishes it.
        self.entries[index].loose.store(1, Release);
    }

    /// Is done with the oldest message that a consumer has loosely. False: it has none.
    pub(crate) fn finish_loose(&self, stamp: u64) -> bool {
        loop {
            let loose = |entry: &&Entry| {
                entry.holder() == Some(stamp)
                    && matches!(entry.word.load(Acquire) & STATE, HELD | AGAIN)
                    && entry.loose.load(Acquire) != 0
            };
            let oldest = self.entries.iter().filter(loose);
            let Some(entry) = oldest.min_by_key(|entry| entry.number.load(Relaxed)) else {
                return false;
            };
            // Of two threads that finish the same one, one looks for the next.
            if entry.loose.swap(0, AcqRel) != 0 {
                entry.change(&[HELD, AGAIN], stamp, |losses| losses | FREE);
                point(Point::Published);
                return true;
            }
        }
    }

    /// Does without a message: it comes again if it is kept, and is lost otherwise.
    pub(crate) fn give_up(&self, index: usize, stamp: u64) {
        let entry = &self.entries[index];
        if entry.is_kept() {
            entry.change(&[HELD, AGAIN], stamp, |losses| losses | WAITING);
            point(Point::Published);
            // Release: after the entry. Where somebody dies in between, `has_forgotten` finds it.
            self.shared.waiting.store(1, Release);
        } else {
            let number = entry.number.load(Relaxed);
            entry.last_lost.store(number, Relaxed);
            entry.change(&[HELD, AGAIN], stamp, |losses| one_more_lost(losses) | FREE);
        }
    }

    /// Whether a message waits to come again and nobody was told of it. Tells them.
    pub(crate) fn has_forgotten(&self) -> bool {
        let waits = |entry: &Entry| entry.word.load(Acquire) & (STATE | STAMP) == WAITING;
        let forgotten = self.shared.waiting.load(Acquire) == 0 && self.entries.iter().any(waits);
        if forgotten {
            // Release: as in `give_up`.
            self.shared.waiting.store(1, Release);
        }
        forgotten
    }

    /// Ends what a consumer had that is gone. Says whether it had anything.
    pub(crate) fn sweep(&self, dead: u64) -> bool {
        let mut found = false;
        for (index, entry) in self.entries.iter().enumerate() {
            let word = entry.word.load(Acquire);
            if word & STAMP != dead {
                continue;
            }
            match word & STATE {
                // The next owner of the lock frees it.
                HELD if self.is_still_there(entry) => {}
                HELD | AGAIN => {
                    self.give_up(index, dead);
                    found = true;
                }
                // Reserved, or what only damage makes of it.
                other => found |= entry.change(&[other], dead, |losses| losses | FREE),
            }
        }
        if found {
            self.shared.waiting.store(1, Release);
        }
        found
    }
}
