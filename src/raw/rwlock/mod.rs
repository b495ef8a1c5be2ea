//! A readers-writer lock whose shares come back when their holders die.
//!
//! Each reader has a slot of its own, a robust word in a line of its own, as in the "big reader"
//! locks (Wilson Hsieh, William Weihl, "Scalable Reader-Writer Locks for Parallel Systems", 1992).
//! The order in which readers and writers go is phase-fair (Björn Brandenburg, James Anderson,
//! "Reader-Writer Synchronization for Shared-Memory Multiprocessor Real-Time Systems", 2009): readers
//! and writers take turns, so a reader waits for one writer and a writer for the readers that came
//! before it. What is added is that every claim is a word that the kernel releases.
//!
//! A writer has the *door*, a [`RawMutex`], and then a *phase*: it makes the number of phases odd,
//! waits for the shares that others have, and makes it even when it is done. A reader claims a slot
//! and then looks at the number:
//! - even: it reads.
//! - odd: it yields to the writer of that phase. It says so in its slot, waits until the number is
//!   another one, and then reads without looking any further, since the next writer waits for it.
//!
//! | word of a slot | meaning |
//! |---|---|
//! | `0` | free |
//! | *tid* | reads, or looks whether it may |
//! | *tid* `Y` | yields to the writer of the phase in [`YIELDED`], or did so and reads by now |
//! | `W` beside them | a writer sleeps on it |
//! | `D`, `W` `D` | free: the reader died (written by the kernel) |
//! | [`BROKEN`] | free for ever: its links were damaged |
//!
//! `Y` is the kernel's `D` beside an owner. The claim and the beginning of a phase are exchanges
//! followed by a look at the other's word, all SeqCst: a reader that saw an even number is seen by the
//! writer. Only the owner of the door sleeps on slots, so one wake reaches whoever does.
//!
//! A reader that finds no free slot reads as the owner of the door, without beginning a phase.
//!
//! | who dies | what follows |
//! |---|---|
//! | a reader | the kernel frees its slot, and wakes the writer that sleeps on it |
//! | a reader between its release and its wake | it has the slot *pending*: the same |
//! | a reader that waits | its slot is free; see [`Phase`] |
//! | a writer that has not begun | the door is free |
//! | a writer in its phase | who waits for the end of the phase ends it |
//!
//! Whether it died *inside*, and left something torn, is said by the state of the door.

#![allow(unsafe_code, reason = "links words into the thread's robust list")]

mod reader;
mod writer;

use super::mutex::{BROKEN, RawMutex};
use super::phase::Phase;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};
use crate::sync::const_fn;
use crate::sync::robust::{List, OWNER, OWNER_DIED, RobustWord, Slot};

/// Slots, and so readers that read at a time, but for one more.
pub(crate) const SLOTS: usize = if cfg!(all(test, loom)) { 2 } else { 64 };
/// The index of a share that is the door.
const DOOR: usize = SLOTS;
/// Beside an owner: it yields.
const YIELDS: u32 = OWNER_DIED;
/// The notes of a slot. The phase that its owner yields to; written before `Y` is.
const YIELDED: usize = 0;
/// How many shares its owner has beside the first. Written by the owner.
const DEPTH: usize = 1;
/// Pauses of a writer before it sleeps, as in the mutex.
const SPINS: u32 = if cfg!(all(test, loom)) { 0 } else { 1024 };
const LONGEST_PAUSE: u32 = 32;

#[repr(C, align(64))]
#[derive(Debug)]
struct ReaderSlot {
    robust: RobustWord,
}

/// The state, in front of the data it guards.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct RawRwLock {
    door: RawMutex,
    /// Odd: a writer is inside, or waits for the readers before it.
    phase: Phase,
    /// The slots that were ever claimed, by bits: the ones a writer looks at. Written by readers.
    used: AtomicU64,
    slots: [ReaderSlot; SLOTS],
}

/// A reader's right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    index: usize,
    slot: Slot,
}

/// The slot that a thread tries first: neighbouring threads are two lines apart, since processors
/// fetch lines in pairs.
#[inline(always)]
fn home(list: List) -> usize {
    let id = list.id() as usize;
    (id << 1 | id >> 5 & 1) % SLOTS
}

impl RawRwLock {
    const_fn! {
        /// Free.
        pub(crate) const fn new() -> Self {
            #[cfg(not(all(test, loom)))]
            let slots = [const { ReaderSlot { robust: RobustWord::new() } }; SLOTS];
            #[cfg(all(test, loom))]
            let slots = std::array::from_fn(|_| ReaderSlot { robust: RobustWord::new() });
            RawRwLock {
                door: RawMutex::new(),
                phase: Phase::new(),
                used: AtomicU64::new(0),
                slots,
            }
        }
    }

    /// The writer's lock, with the state of the value.
    #[inline(always)]
    pub(crate) fn door(&self) -> &RawMutex {
        &self.door
    }

    /// A slot, but for that one, which the calling thread has.
    fn others_of(&self, list: List, but: Option<usize>) -> Option<usize> {
        self.used().filter(|&index| Some(index) != but).find(|&index| {
            // Relaxed: only the thread itself writes its id there.
            self.slots[index].robust.word.load(Relaxed) & OWNER == list.id()
        })
    }

    /// The slots that were ever claimed.
    #[inline(always)]
    fn used(&self) -> impl Iterator<Item = usize> {
        // SeqCst: as in `claim`.
        let mut left = self.used.load(SeqCst);
        std::iter::from_fn(move || {
            let index = left.trailing_zeros() as usize;
            (index < SLOTS).then(|| {
                left &= left - 1;
                index
            })
        })
    }

    /// Whether a writer has to wait for the owner of a slot. `number`: but for those who yield to this
    /// phase.
    #[inline(always)]
    fn is_any_taken(&self, number: Option<u32>) -> bool {
        self.used().any(|index| self.is_taken(index, number).is_some())
    }

    /// The same of one slot, with its word.
    #[inline(always)]
    fn is_taken(&self, index: usize, number: Option<u32>) -> Option<u32> {
        let robust = &self.slots[index].robust;
        // SeqCst: after the phase was begun, as in `claim`. And an Acquire of the Release in `release`
        // and of the note.
        let seen = robust.word.load(SeqCst);
        let yields = seen & YIELDS != 0
            // Relaxed: written before `Y`.
            && Some(robust.notes[YIELDED].load(Relaxed)) == number;
        let reads = seen & OWNER != 0 && seen & OWNER != BROKEN && !yields;
        reads.then_some(seen)
    }

    /// How many read, and how many wait for a writer. Stale by the time the caller looks.
    pub(crate) fn readers(&self) -> (usize, usize) {
        let phase = Some(self.phase.number()).filter(|number| !number.is_multiple_of(2));
        let owned = |&index: &usize| {
            // Acquire: the note.
            let owner = self.slots[index].robust.word.load(Acquire) & OWNER;
            owner != 0 && owner != BROKEN
        };
        let all = self.used().filter(owned).count();
        let read = self.used().filter(|&index| self.is_taken(index, phase).is_some()).count();
        let at_the_door = self.door.owner_thread().is_some() && phase.is_none();
        (read.min(all) + usize::from(at_the_door), all.saturating_sub(read))
    }

    /// Whether a writer is inside, or waits for readers. Stale by the time the caller looks.
    pub(crate) fn is_writing(&self) -> bool {
        self.phase.is_begun() && self.door.owner_thread().is_some()
    }
}
