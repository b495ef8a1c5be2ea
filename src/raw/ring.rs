//! The bounded single-producer single-consumer ring: positions, not slots.
//!
//! Lamport's ring ("Proving the Correctness of Multiprocess Programs", 1977) with the cached
//! opposite index of FastForward and MCRingBuffer (Giacomoni, Moseley, Vachharajani 2008; Lee, Bu,
//! Chandranmenon 2010). Positions are 64-bit counts that never wrap: `tail` items were published,
//! `head` of them released. Slot `p mod capacity` of position *p* belongs to the consumer while
//! `head <= p < tail` and to the producer otherwise. Where the slots are and what is in them is the
//! caller's business.
//!
//! Changed here: an item of at most 16 bytes that is published by itself also travels in the cache
//! line of `tail` (the *express copy*). A consumer that waits for it polls that line, so it gets
//! position and item in one transfer instead of two. The copy is guarded by `open`, a sequence lock
//! of its own: the producer announces there the position it is about to copy, the consumer checks
//! that nothing newer was announced. A consumer that comes late reads the slot.
//!
//! A successor withdraws an announcement that was not followed by its publication. A consumer that
//! falls behind a stream on purpose says so ([`Ring::set_streaming`]), and gets no express copies:
//! they are of no use to it, and each store to the contended line is one that the producer waits for.
//!
//! What survives a death. The producer's only commitment is the store to `tail`: before it nothing
//! happened, after it the item is published. The consumer's is the store to `head`. A successor
//! reads both and goes on. Nothing is ever half done, so there is nothing to repair.
//!
//! What a stream waits for is the queue of the producer's stores, which it leaves in order while line
//! after line comes back from the other processor. So the producer makes two stores an item and no
//! third: it keeps no position of its own, but reads `tail` back, from a line that only it writes.
//! Every slot is checked against the capacity and the opposite position, so no value that a peer
//! writes leads out of the slots.

use super::role::Role;
use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::barrier;
use crate::sync::const_fn;
use crate::sync::crash::{Point, point};

/// Words of an express copy.
pub(crate) const EXPRESS_WORDS: usize = 2;

/// What the producer writes and a waiting consumer polls. Half a cache line, so that the two lanes
/// of a pair of rings in opposite directions fit into one: then a reply is written into the line
/// that the request has just brought.
#[repr(C, align(32))]
#[derive(Debug)]
pub(crate) struct Lane {
    /// Items published. Written by the producer, read by both.
    tail: AtomicU64,
    /// One above the position whose express copy is complete or being written; 0: none. By the
    /// producer.
    open: AtomicU64,
    /// The express copy. Written by the producer.
    express: [AtomicU64; EXPRESS_WORDS],
}

/// What the consumer writes and a producer short of space reads.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Head {
    /// Items released. Written by the consumer.
    head: AtomicU64,
}

/// What is rarely written, and so stays in everybody's cache.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Control {
    /// The consumer sleeps here for items.
    pub(crate) items: WaitCell,
    /// The producer sleeps here for space.
    pub(crate) space: WaitCell,
    pub(crate) producer: Role,
    pub(crate) consumer: Role,
    /// 1: the consumer has no use for express copies. A hint. Written by the consumer.
    streaming: AtomicU32,
}

impl Lane {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Lane {
                tail: AtomicU64::new(0),
                open: AtomicU64::new(0),
                express: [AtomicU64::new(0), AtomicU64::new(0)],
            }
        }
    }
}

impl Head {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Head { head: AtomicU64::new(0) }
        }
    }
}

impl Control {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Control {
                items: WaitCell::new(),
                space: WaitCell::new(),
                producer: Role::new(),
                consumer: Role::new(),
                streaming: AtomicU32::new(0),
            }
        }
    }
}

/// The opposite position contradicts this one: more than a capacity apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

/// One ring, wherever its parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'a> {
    pub(crate) lane: &'a Lane,
    pub(crate) head: &'a Head,
    pub(crate) control: &'a Control,
    /// Slots. Private to the process: checked when it attached.
    pub(crate) capacity: u64,
}

impl Ring<'_> {
    /// Items published and not released. Stale by the time it is read, and not checked.
    pub(crate) fn fill(&self) -> u64 {
        // Head first: the tail read after it is never behind it, if the peers are sound.
        let head = self.head.head.load(Acquire);
        let tail = self.lane.tail.load(Acquire);
        tail.wrapping_sub(head).min(self.capacity)
    }

    /// Whether express copies are of no use.
    #[inline(always)]
    pub(crate) fn is_streaming(&self) -> bool {
        // Relaxed: either answer is right.
        self.control.streaming.load(Relaxed) != 0
    }

    /// Says whether they are. By the consumer.
    pub(crate) fn set_streaming(&self, streaming: bool) {
        if self.is_streaming() != streaming {
            self.control.streaming.store(u32::from(streaming), Relaxed);
        }
    }
}

/// Slots in turn that are one side's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// The first.
    pub(crate) slot: u64,
    /// How many; they go on at slot 0 behind the last slot.
    pub(crate) count: u64,
}

/// What the producer knows. Its position is `tail` itself, whose line it can read at any time: the
/// consumer only reads it, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteCursor {
    /// The position of slot 0 in this lap: what turns positions into slots without a division.
    lap: u64,
    /// The slots of this lap below this one are known to be free, from `tail` on. At most a capacity.
    free_below: u64,
    /// A capacity above the last head seen, which is at most the real one.
    limit: u64,
}

impl WriteCursor {
    /// Goes on where the last producer stopped.
    pub(crate) fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        // Acquire: the claim of the role was; the last producer's stores are visible.
        let tail = ring.lane.tail.load(Acquire);
        let head = ring.head.head.load(Acquire);
        if tail.wrapping_sub(head) > ring.capacity {
            return Err(Contradiction);
        }
        // An express copy that the last producer began and did not publish is half written, and the
        // next item at its position may come without one.
        if ring.lane.open.load(Relaxed) != tail {
            // Relaxed: the next store to `tail` releases it. No position that a consumer looks for is 0.
            ring.lane.open.store(0, Relaxed);
        }
        let limit = head.wrapping_add(ring.capacity);
        Ok(WriteCursor { lap: tail - tail % ring.capacity, free_below: 0, limit })
    }

    /// The first free slot, if one is known in this lap.
    #[inline(always)]
    pub(crate) fn one(&self, ring: Ring<'_>) -> Option<u64> {
        // Relaxed: this side's own store.
        let slot = ring.lane.tail.load(Relaxed).wrapping_sub(self.lap);
        (slot < self.free_below).then_some(slot)
    }

    /// The free slots; looks at the consumer's position only where those known to be free are fewer
    /// than `wanted`.
    #[inline(always)]
    pub(crate) fn free(&mut self, ring: Ring<'_>, wanted: u64) -> Result<Span, Contradiction> {
        // Relaxed: this side's own store.
        let tail = ring.lane.tail.load(Relaxed);
        let mut slot = tail.wrapping_sub(self.lap);
        if slot >= ring.capacity {
            self.lap = self.lap.wrapping_add(ring.capacity);
            slot -= ring.capacity;
        }
        let mut count = self.limit.wrapping_sub(tail);
        if count < wanted {
            // Acquire: the consumer is done with the slots it released.
            self.limit = ring.head.head.load(Acquire).wrapping_add(ring.capacity);
            count = self.limit.wrapping_sub(tail);
        }
        if count > ring.capacity || slot >= ring.capacity {
            self.free_below = 0;
            return Err(Contradiction);
        }
        self.free_below = ring.capacity.min(slot + count);
        Ok(Span { slot, count })
    }

    /// Publishes `count` slots from `slot` on: the first free ones, written.
    #[inline(always)]
    pub(crate) fn publish(&mut self, ring: Ring<'_>, slot: u64, count: u64) {
        point(Point::Written);
        // Release: the slots, to the Acquire in `ReadCursor::available`.
        ring.lane.tail.store(self.lap.wrapping_add(slot + count), Release);
        point(Point::Published);
    }

    /// Publishes `slot`, the first free one, with an express copy of what was written into it.
    #[inline(always)]
    pub(crate) fn publish_express(
        &mut self,
        ring: Ring<'_>,
        slot: u64,
        copy: [u64; EXPRESS_WORDS],
    ) {
        point(Point::Written);
        let lane = ring.lane;
        let tail = self.lap.wrapping_add(slot + 1);
        // Relaxed: each store to `express` below releases it.
        lane.open.store(tail, Relaxed);
        point(Point::ExpressOpen);
        for (word, copy) in lane.express.iter().zip(copy) {
            // Release: a consumer that reads this word then reads at least this `open`.
            word.store(copy, Release);
        }
        // Release: slot and copy, to the Acquire in `ReadCursor::available`.
        lane.tail.store(tail, Release);
        point(Point::Published);
    }

    /// Wakes a consumer that sleeps, after a publication.
    #[inline(always)]
    pub(crate) fn notify(ring: Ring<'_>, registered: bool) {
        barrier::light(registered);
        if ring.control.items.is_announced() {
            ring.control.items.wake();
        }
    }
}

/// What the consumer knows. It keeps its position: to read back from `head` what it has just stored
/// there takes longer than an item.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadCursor {
    /// The position of slot 0 in this lap.
    lap: u64,
    /// The oldest slot; up to a capacity too high before a new lap is begun.
    slot: u64,
    /// The slots of this lap below this one are known to be published, and not to be the newest: so
    /// there is no express copy of them. At most a capacity.
    plain_below: u64,
    /// The last tail seen: at most the real one.
    tail_seen: u64,
}

impl ReadCursor {
    /// Goes on where the last consumer stopped.
    pub(crate) fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        // Acquire: as in `WriteCursor::at`.
        let head = ring.head.head.load(Acquire);
        let tail_seen = ring.lane.tail.load(Acquire);
        if tail_seen.wrapping_sub(head) > ring.capacity {
            return Err(Contradiction);
        }
        let slot = head % ring.capacity;
        Ok(ReadCursor { lap: head - slot, slot, plain_below: 0, tail_seen })
    }

    /// The oldest published slot, if one is known in this lap and it is not the newest.
    #[inline(always)]
    pub(crate) fn one(&self) -> Option<u64> {
        (self.slot < self.plain_below).then_some(self.slot)
    }

    /// The published slots; looks at the producer's position only where those known of are fewer
    /// than `wanted`.
    #[inline(always)]
    pub(crate) fn available(&mut self, ring: Ring<'_>, wanted: u64) -> Result<Span, Contradiction> {
        if self.slot >= ring.capacity {
            self.lap = self.lap.wrapping_add(ring.capacity);
            self.slot -= ring.capacity;
        }
        let (slot, head) = (self.slot, self.lap.wrapping_add(self.slot));
        let mut count = self.tail_seen.wrapping_sub(head);
        if count < wanted {
            // Acquire: the slots that the producer published.
            let tail = ring.lane.tail.load(Acquire);
            count = tail.wrapping_sub(head);
            if count > ring.capacity {
                return Err(Contradiction);
            }
            self.tail_seen = tail;
        }
        self.plain_below = ring.capacity.min(slot + count.saturating_sub(1));
        Ok(Span { slot, count })
    }

    /// The express copy of the oldest slot, if it is the newest too and its copy is there.
    #[inline(always)]
    pub(crate) fn express(&self, ring: Ring<'_>) -> Option<[u64; EXPRESS_WORDS]> {
        if self.tail_seen != self.lap.wrapping_add(self.slot + 1) {
            return None;
        }
        // Acquire: the look at `open` below comes after these, and sees the position of whatever
        // was read here.
        let copy = [ring.lane.express[0].load(Acquire), ring.lane.express[1].load(Acquire)];
        (ring.lane.open.load(Relaxed) == self.tail_seen).then_some(copy)
    }

    /// Gives the next `count` slots, at most what was available, back to the producer.
    #[inline(always)]
    pub(crate) fn release(&mut self, ring: Ring<'_>, count: u64) {
        self.slot += count;
        // Release: this side is done with the slots, to the Acquire in `WriteCursor::free`.
        ring.head.head.store(self.lap.wrapping_add(self.slot), Release);
        point(Point::Published);
    }

    /// Wakes a producer that sleeps, after a release.
    #[inline(always)]
    pub(crate) fn notify(ring: Ring<'_>, registered: bool) {
        barrier::light(registered);
        if ring.control.space.is_announced() {
            ring.control.space.wake();
        }
    }
}
