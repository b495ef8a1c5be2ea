//! A queue of records of any length, for many producers and many consumers.
//!
//! The two-lock queue of Michael and Scott ("Simple, Fast, and Practical Non-Blocking and Blocking
//! Concurrent Queue Algorithms", PODC 1996) over a ring of grains ([`super::record`]): producers take
//! turns by one lock, consumers by another, and each side has one word that says where it is. Changed
//! here: the locks are given back by the kernel when their owners die ([`super::mutex`]), and a
//! message that was taken out has an *entry* until its consumer is done with it, so that one that
//! dies with its consumer is counted, or comes again.
//!
//! The word of a side is a [`Place`]: how many grains and how many messages went by. Storing it is the
//! only commitment, so position and count can never disagree, and nothing needs a repair after the
//! death of a producer. It is stored by the owner of the side's lock alone.
//!
//! | entry | meaning | may become |
//! |---|---|---|
//! | `FREE` | nobody's | `RESERVED`, `HELD` by the owner of the read lock |
//! | `RESERVED` | a consumer puts a long message together | `HELD`; `FREE` |
//! | `HELD` | a consumer has the message that was at `before`, or is about to: as long as the read side is at that very place, the message is still in the ring | `FREE`, `WAITING` |
//! | `WAITING` | the message is kept and comes again | `AGAIN` |
//! | `AGAIN` | a consumer has it once more | `FREE`, `WAITING` |
//!
//! What survives a death. A producer's: all that was published. A consumer's before it stores its
//! place: the message is still there, and the next owner of the lock, who is told of the death, frees
//! the entry. After it: the entry has the dead one's stamp, and whoever finds it frees it and counts a
//! loss, in the same word and so exactly once, or lets the message come again.

mod in_flight;

pub(crate) use in_flight::Entry;

use super::mutex::RawMutex;
use super::ring::{Contradiction, Span};
use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{barrier, const_fn};

/// The most messages that a queue can hold.
pub(crate) const MOST_MESSAGES: u64 = (1 << 24) - 1;
/// The most grains.
pub(crate) const MOST_GRAINS: u64 = 1 << 38;
/// The length of a message that is not kept.
pub(crate) const NOT_KEPT: u64 = u64::MAX;

const COUNT_SHIFT: u32 = 40;
const GRAINS: u64 = (1 << COUNT_SHIFT) - 1;

/// How much went by: grains in the lower 40 bits, messages in the upper 24. Both wrap; a queue never
/// holds so many that they could be mistaken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(u64);

impl Place {
    const fn on(self, grains: u64, messages: u64) -> Self {
        let count = (self.0 >> COUNT_SHIFT).wrapping_add(messages);
        Place(count << COUNT_SHIFT | self.0.wrapping_add(grains) & GRAINS)
    }

    /// Grains and messages from `earlier` to here.
    const fn since(self, earlier: Place) -> (u64, u64) {
        let grains = self.0.wrapping_sub(earlier.0) & GRAINS;
        let messages = (self.0 >> COUNT_SHIFT).wrapping_sub(earlier.0 >> COUNT_SHIFT);
        (grains, messages & MOST_MESSAGES)
    }
}

/// What the owners of one lock write.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) lock: RawMutex,
    /// A [`Place`]: what was published, or released. Read by everybody.
    at: AtomicU64,
    /// The other side's place when it was last looked at: the real one is this or later.
    seen: AtomicU64,
    /// Messages that went by in all, or one less if an owner died.
    total: AtomicU64,
}

/// The part of a queue at its beginning.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Shared {
    /// Consumers sleep here for messages.
    pub(crate) items: WaitCell,
    /// Producers sleep here for space.
    pub(crate) space: WaitCell,
    /// Consumers sleep here for an entry.
    pub(crate) freed: WaitCell,
    /// Who waits until nothing is unfinished sleeps here.
    pub(crate) idle: WaitCell,
    /// Counts ends that came and went.
    pub(crate) changes: AtomicU32,
    /// What is known of the ends that there were, and how the queue is to be.
    pub(crate) facts: AtomicU32,
    /// How many messages it holds at most. Written by who made it, like the next three.
    pub(crate) limit: AtomicU32,
    /// How many entries there are.
    pub(crate) in_flight: AtomicU32,
    /// Bytes that can be kept of a message in flight.
    pub(crate) keep: AtomicU32,
    /// The most bytes of a message.
    pub(crate) longest: AtomicU64,
    /// The packed stamp of a producer in the middle of a long message. By the owner of the write lock.
    pub(crate) writer: AtomicU64,
    /// The packed stamp of a consumer in the middle of a long message. By the owner of the read lock;
    /// read by those who wait for their turn without waiting at the lock.
    pub(crate) reader: AtomicU64,
    /// The send for which room is kept, if there is any: a packed stamp, and a number above it. Advice, by
    /// whoever sends.
    pub(crate) turn: AtomicU64,
    /// How many grains that needs. By who has the turn.
    pub(crate) turn_grains: AtomicU64,
    /// 1: messages wait to come again. A hint: who lets one wait says so after it, and may die in
    /// between; who is about to sleep looks for itself.
    pub(crate) waiting: AtomicU32,
    pub(crate) write: Side,
    pub(crate) read: Side,
}

impl Side {
    const_fn! {
        const fn new() -> Self {
            Side {
                lock: RawMutex::new(),
                at: AtomicU64::new(0),
                seen: AtomicU64::new(0),
                total: AtomicU64::new(0),
            }
        }
    }

    /// The place, for the owner of the lock: nobody else writes it.
    fn mine(&self) -> Place {
        Place(self.at.load(Relaxed))
    }

    /// Messages that went by in all, for the owner of the lock.
    fn total(&self) -> u64 {
        let total = self.total.load(Relaxed);
        // An owner that died may have stored its place and not this.
        total.wrapping_add((self.mine().0 >> COUNT_SHIFT).wrapping_sub(total) & MOST_MESSAGES)
    }

    /// Stores the place, and then the number that goes with it.
    fn advance(&self, grains: u64, messages: u64) {
        let total = self.total();
        point(Point::Written);
        // Release: what was written, or that it was read, to the Acquire of the other side.
        self.at.store(self.mine().on(grains, messages).0, Release);
        point(Point::Published);
        self.total.store(total.wrapping_add(messages), Relaxed);
    }
}

impl Shared {
    const_fn! {
        pub(crate) const fn new(limit: u32, in_flight: u32, keep: u32, longest: u64, facts: u32) -> Self {
            Shared {
                items: WaitCell::new(),
                space: WaitCell::new(),
                freed: WaitCell::new(),
                idle: WaitCell::new(),
                changes: AtomicU32::new(0),
                facts: AtomicU32::new(facts),
                limit: AtomicU32::new(limit),
                in_flight: AtomicU32::new(in_flight),
                keep: AtomicU32::new(keep),
                longest: AtomicU64::new(longest),
                writer: AtomicU64::new(0),
                reader: AtomicU64::new(0),
                turn: AtomicU64::new(0),
                turn_grains: AtomicU64::new(0),
                waiting: AtomicU32::new(0),
                write: Side::new(),
                read: Side::new(),
            }
        }
    }
}

/// A queue, wherever its parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Exchange<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) entries: &'a [Entry],
    /// Grains, a power of two. Private to the process, like the next: checked when it attached.
    pub(crate) capacity: u64,
    pub(crate) limit: u64,
}

impl Exchange<'_> {
    // ---- anybody ----

    /// Grains and messages that are published and not released. Stale by the time it is read.
    pub(crate) fn fill(&self) -> (u64, u64) {
        // The read side first: the other, read after it, is never behind it if all are sound.
        let read = Place(self.shared.read.at.load(Acquire));
        let (grains, messages) = Place(self.shared.write.at.load(Acquire)).since(read);
        (grains.min(self.capacity), messages.min(self.limit))
    }

    /// Where the senders are. Stale by the time it is read.
    pub(crate) fn written(&self) -> Place {
        Place(self.shared.write.at.load(Relaxed))
    }

    /// Whether a whole queue of grains was sent since then.
    pub(crate) fn is_overtaken(&self, since: Place) -> bool {
        self.written().since(since).0 >= self.capacity
    }

    /// Whether there is something to read. Stale by the time it is read.
    pub(crate) fn is_readable(&self) -> bool {
        self.fill().0 > 0
    }

    /// Whether one more message has room that needs so many grains from a slot on. Stale by the time it
    /// is read.
    pub(crate) fn has_room(&self, needed: impl Fn(u64) -> u64) -> bool {
        // As in `fill`.
        let read = Place(self.shared.read.at.load(Acquire));
        let write = Place(self.shared.write.at.load(Acquire));
        let (used, messages) = write.since(read);
        let free = self.capacity.saturating_sub(used);
        messages < self.limit && free >= needed(self.slot(write))
    }

    const fn slot(&self, place: Place) -> u64 {
        place.0 & GRAINS & (self.capacity - 1)
    }

    /// Whether no message is in the ring or with a consumer or waits to come again.
    pub(crate) fn is_finished(&self) -> bool {
        let before = self.shared.write.at.load(Acquire);
        if self.fill().1 > 0 || self.in_flight() > 0 {
            return false;
        }
        // A consumer that was seen with nothing may have sent something before it finished.
        self.shared.write.at.load(Acquire) == before && self.fill().1 == 0
    }

    /// Wakes who sleeps at a cell, after a change.
    #[inline(always)]
    pub(crate) fn notify(cell: &WaitCell, registered: bool) {
        barrier::light(registered);
        if cell.is_announced() {
            cell.wake();
        }
    }

    // ---- the owner of the write lock ----

    /// The free grains from the next message on; none where the queue holds as many messages as it
    /// may. Looks at the other side only where fewer than `wanted` are known.
    pub(crate) fn free(&self, wanted: u64) -> Result<Span, Contradiction> {
        let Side { seen, .. } = &self.shared.write;
        let at = self.shared.write.mine();
        // Relaxed: the lock's owners alone write it, and what it speaks of is acquired below.
        let (mut used, mut messages) = at.since(Place(seen.load(Relaxed)));
        if used > self.capacity || self.capacity - used < wanted || messages >= self.limit {
            // Acquire: the consumers are done with what they released.
            let read = self.shared.read.at.load(Acquire);
            seen.store(read, Relaxed);
            (used, messages) = at.since(Place(read));
        }
        if used > self.capacity || messages > self.limit {
            return Err(Contradiction);
        }
        let slot = self.slot(at);
        let count = if messages < self.limit { self.capacity - used } else { 0 };
        Ok(Span { slot, count })
    }

    /// Publishes the next grains, which end so many messages.
    pub(crate) fn publish(&self, grains: u64, messages: u64) {
        self.shared.write.advance(grains, messages);
    }

    // ---- the owner of the read lock ----

    /// The published grains, from the oldest message on.
    pub(crate) fn available(&self) -> Result<Span, Contradiction> {
        let Side { seen, .. } = &self.shared.read;
        let at = self.shared.read.mine();
        // Relaxed: as in `free`.
        let mut count = Place(seen.load(Relaxed)).since(at).0;
        if count == 0 || count > self.capacity {
            // Acquire: what the producers published.
            let written = self.shared.write.at.load(Acquire);
            seen.store(written, Relaxed);
            count = Place(written).since(at).0;
        }
        if count > self.capacity {
            return Err(Contradiction);
        }
        Ok(Span { slot: self.slot(at), count })
    }

    /// Gives grains that ended so many messages back to the producers.
    pub(crate) fn release(&self, grains: u64, messages: u64) {
        self.shared.read.advance(grains, messages);
    }
}
