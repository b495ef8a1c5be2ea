//! A flag that lets everybody through while it is set.
//!
//! | bits | meaning |
//! |---|---|
//! | 0, `S` | set |
//! | 1, `W` | somebody may sleep; never with `S` |
//! | 2.. | how often it was set |
//!
//! A waiter is through when it sees `S`, or another number of sets than at its first look: so a set
//! releases everybody who waited, however soon the reset follows. All is one word, so a set knows in
//! one instruction whether it owes a wake.
//!
//! Deaths: set and reset are one exchange each. A setter that may have to wake has its bell armed;
//! the sleeper for which it rings wakes the others ([`crate::wait`]), and has its own bell armed
//! until it has done so.
//!
//! A waiter that sleeps through 2^30 sets, without one of their wakes or a look at the word each
//! 100 ms, would not notice.

use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{bell, const_fn, futex};
use crate::wait::{Sleeper, WaitStrategy, block_shared, sleep_on};

const SET: u32 = 1;
const WAITERS: u32 = 2;
/// One in the number of sets.
const ONE: u32 = 4;

/// The state.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawEvent {
    /// `S`, `W` and the number of sets. Written by everybody, by exchanges only: so what is released
    /// by one set is acquired by whoever sees any later word.
    word: AtomicU32,
    /// Always 0: what the kernel rings.
    bell: AtomicU32,
}

impl RawEvent {
    const_fn! {
        /// Not set.
        pub(crate) const fn new() -> Self {
            RawEvent { word: AtomicU32::new(0), bell: AtomicU32::new(0) }
        }
    }

    /// Sets it.
    #[inline(always)]
    pub(crate) fn set(&self) {
        self.advance(SET);
    }

    /// Lets everybody through who waits, and leaves it as it is.
    pub(crate) fn pulse(&self) {
        self.advance(0);
    }

    #[inline(always)]
    fn advance(&self, flag: u32) {
        // Relaxed: the exchange decides.
        let mut seen = self.word.load(Relaxed);
        while seen & WAITERS == 0 {
            // Release: what was written before, to those who are let through; also where it is set.
            let next = if seen & SET != 0 { seen } else { seen.wrapping_add(ONE) | flag };
            match self.word.compare_exchange_weak(seen, next, Release, Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
        self.advance_slow(flag);
    }

    #[cold]
    #[inline(never)]
    fn advance_slow(&self, flag: u32) {
        let armed = bell::arm(&self.bell);
        let mut seen = self.word.load(Relaxed);
        loop {
            let next =
                if seen & SET != 0 { seen } else { (seen & !WAITERS).wrapping_add(ONE) | flag };
            // Release: as in `advance`.
            match self.word.compare_exchange(seen, next, Release, Relaxed) {
                Ok(_) => break,
                Err(other) => seen = other,
            }
        }
        if seen & WAITERS != 0 {
            point(Point::SignalChanged);
            futex::wake(&self.word, u32::MAX);
        }
        bell::disarm(armed);
    }

    /// Makes it not set.
    #[inline(always)]
    pub(crate) fn reset(&self) {
        // Relaxed: it tells nobody anything.
        self.word.fetch_and(!SET, Relaxed);
    }

    /// Whether it is set.
    #[inline(always)]
    pub(crate) fn is_set(&self) -> bool {
        // Acquire: pairs with the Release of the set.
        self.word.load(Acquire) & SET != 0
    }

    /// Waits until it is set, or was after this was called. False: `deadline` has passed.
    #[inline]
    pub(crate) fn wait(&self, strategy: WaitStrategy, deadline: u64) -> bool {
        self.is_set() || self.wait_since(self.sets(), strategy, deadline)
    }

    /// How often it was set.
    pub(crate) fn sets(&self) -> u32 {
        // Relaxed: only a later word lets through.
        self.word.load(Relaxed) / ONE
    }

    /// The same, where [`RawEvent::sets`] at the first look was `sets`.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait_since(&self, sets: u32, strategy: WaitStrategy, deadline: u64) -> bool {
        block_shared(&mut Pass { event: self, sets }, &self.bell, strategy, deadline).is_some()
    }

    /// [`RawEvent::sets`], for who then looks at what a set announces.
    pub(crate) fn sets_before_a_look(&self) -> u32 {
        // Acquire: pairs with the Release of the set: who sees it sees what it announces.
        self.word.load(Acquire) / ONE
    }

    /// Says that somebody is about to sleep until the next set, and gives the word to sleep on with
    /// its value; `None`: it is set, or was since it had been `sets` times.
    pub(crate) fn announce(&self, sets: u32) -> Option<(&AtomicU32, u32)> {
        // Relaxed: the caller looks at what is announced when it is awake.
        let seen = self.word.load(Relaxed);
        let asleep = seen | WAITERS;
        let same = seen & SET == 0 && seen / ONE == sets;
        let ours = same
            && (seen == asleep
                || self.word.compare_exchange(seen, asleep, Relaxed, Relaxed).is_ok());
        ours.then_some((&self.word, asleep))
    }

    /// Wakes everybody who sleeps here, to look again.
    pub(crate) fn pass_on(&self) {
        futex::wake(&self.word, u32::MAX);
    }

    /// The word that the kernel rings.
    pub(crate) fn bell(&self) -> &AtomicU32 {
        &self.bell
    }

    /// Whether somebody may sleep.
    pub(crate) fn is_awaited(&self) -> bool {
        self.word.load(Relaxed) & WAITERS != 0
    }

    /// Whether the words are ones that this protocol writes.
    pub(crate) fn is_sound(&self) -> bool {
        self.bell.load(Relaxed) == 0 && self.word.load(Relaxed) & (SET | WAITERS) != SET | WAITERS
    }
}

struct Pass<'a> {
    event: &'a RawEvent,
    /// The number of sets at the first look.
    sets: u32,
}

impl Pass<'_> {
    fn is_through(&self, seen: u32) -> bool {
        seen & SET != 0 || seen / ONE != self.sets
    }
}

impl Sleeper for Pass<'_> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        // Acquire: pairs with the Release of the set.
        self.is_through(self.event.word.load(Acquire)).then_some(())
    }

    fn sleep(&mut self, until: u64) {
        let RawEvent { word, bell } = self.event;
        // Relaxed: `poll` acquires.
        let seen = word.load(Relaxed);
        let asleep = seen | WAITERS;
        let ours = !self.is_through(seen)
            && (seen == asleep || word.compare_exchange(seen, asleep, Relaxed, Relaxed).is_ok());
        if ours {
            sleep_on(word, asleep, bell, until);
        }
    }
}
