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
//! A successor withdraws an announcement that was not followed by its publication.
//!
//! What survives a death. The producer's only commitment is the store to `tail`: before it nothing
//! happened, after it the item is published. The consumer's is the store to `head`. A successor
//! reads both and goes on. Nothing is ever half done, so there is nothing to repair.
//!
//! A cursor keeps its own position privately and checks the opposite one before it uses it: a
//! difference, modulo 2^64, of at most a capacity. So no value a peer writes leads out of the slots.

use super::role::Role;
use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU64,
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
}

/// The producer's private position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteCursor {
    tail: u64,
    /// `tail mod capacity`.
    slot: u64,
    /// The last head seen: at most the real one.
    head_seen: u64,
}

impl WriteCursor {
    /// Goes on where the last producer stopped.
    pub(crate) fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        // Acquire: the claim of the role was; the last producer's stores are visible.
        let tail = ring.lane.tail.load(Acquire);
        let head_seen = ring.head.head.load(Acquire);
        if tail.wrapping_sub(head_seen) > ring.capacity {
            return Err(Contradiction);
        }
        // An express copy that the last producer began and did not publish is half written, and the
        // next item at its position may come without one.
        if ring.lane.open.load(Relaxed) != tail {
            // Relaxed: the next store to `tail` releases it. No position that a consumer looks for is 0.
            ring.lane.open.store(0, Relaxed);
        }
        Ok(WriteCursor { tail, slot: tail % ring.capacity, head_seen })
    }

    /// The first free slot.
    #[inline(always)]
    pub(crate) fn slot(&self) -> u64 {
        self.slot
    }

    /// How many slots are known to be free from [`WriteCursor::slot`] on.
    #[inline(always)]
    pub(crate) fn known_free(&self, ring: Ring<'_>) -> u64 {
        ring.capacity - self.tail.wrapping_sub(self.head_seen)
    }

    /// How many slots are free from [`WriteCursor::slot`] on; looks at the consumer's position only
    /// where those known to be free are fewer than `wanted`.
    #[inline(always)]
    pub(crate) fn free(&mut self, ring: Ring<'_>, wanted: u64) -> Result<u64, Contradiction> {
        let free = self.known_free(ring);
        if free >= wanted {
            return Ok(free);
        }
        // Acquire: the consumer is done with the slots it released.
        let head = ring.head.head.load(Acquire);
        let used = self.tail.wrapping_sub(head);
        if used > ring.capacity {
            return Err(Contradiction);
        }
        self.head_seen = head;
        Ok(ring.capacity - used)
    }

    #[inline(always)]
    fn advance(&mut self, ring: Ring<'_>, count: u64) {
        self.tail = self.tail.wrapping_add(count);
        self.slot += count;
        if self.slot >= ring.capacity {
            self.slot -= ring.capacity;
        }
        point(Point::Written);
    }

    /// Publishes the next `count` slots, which are written and at most what was free.
    #[inline(always)]
    pub(crate) fn publish(&mut self, ring: Ring<'_>, count: u64) {
        self.advance(ring, count);
        // Release: the slots, to the Acquire in `ReadCursor::available`.
        ring.lane.tail.store(self.tail, Release);
        point(Point::Published);
    }

    /// Publishes the next slot with an express copy of what is in it.
    #[inline(always)]
    pub(crate) fn publish_express(&mut self, ring: Ring<'_>, copy: [u64; EXPRESS_WORDS]) {
        self.advance(ring, 1);
        let lane = ring.lane;
        // Relaxed: each store to `express` below releases it.
        lane.open.store(self.tail, Relaxed);
        point(Point::ExpressOpen);
        for (word, copy) in lane.express.iter().zip(copy) {
            // Release: a consumer that reads this word then reads at least this `open`.
            word.store(copy, Release);
        }
        // Release: slot and copy, to the Acquire in `ReadCursor::available`.
        lane.tail.store(self.tail, Release);
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

/// The consumer's private position.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadCursor {
    head: u64,
    /// `head mod capacity`.
    slot: u64,
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
        Ok(ReadCursor { head, slot: head % ring.capacity, tail_seen })
    }

    /// The oldest published slot.
    #[inline(always)]
    pub(crate) fn slot(&self) -> u64 {
        self.slot
    }

    /// How many slots are known to be published from [`ReadCursor::slot`] on.
    #[inline(always)]
    pub(crate) fn known_available(&self) -> u64 {
        self.tail_seen.wrapping_sub(self.head)
    }

    /// How many slots are published from [`ReadCursor::slot`] on; looks at the producer's position
    /// only where those known of are fewer than `wanted`.
    #[inline(always)]
    pub(crate) fn available(&mut self, ring: Ring<'_>, wanted: u64) -> Result<u64, Contradiction> {
        let known = self.known_available();
        if known >= wanted {
            return Ok(known);
        }
        // Acquire: the slots that the producer published.
        let tail = ring.lane.tail.load(Acquire);
        let known = tail.wrapping_sub(self.head);
        if known > ring.capacity {
            return Err(Contradiction);
        }
        self.tail_seen = tail;
        Ok(known)
    }

    /// The express copy of the oldest slot, if it is the newest too and its copy is there.
    #[inline(always)]
    pub(crate) fn express(&self, ring: Ring<'_>) -> Option<[u64; EXPRESS_WORDS]> {
        if self.tail_seen != self.head.wrapping_add(1) {
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
        self.head = self.head.wrapping_add(count);
        self.slot += count;
        if self.slot >= ring.capacity {
            self.slot -= ring.capacity;
        }
        // Release: this side is done with the slots, to the Acquire in `WriteCursor::free`.
        ring.head.head.store(self.head, Release);
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
