//! A counting semaphore: also the event that lets one waiter through at each set, with one permit.
//!
//! Count and "somebody may sleep" are one word, so a release knows in one instruction whether it
//! owes a wake. (The word is that of Ulrich Drepper, "Futexes Are Tricky", with a flag in place of
//! the count of waiters, which nobody could repair after a death.)
//!
//! | bits | meaning |
//! |---|---|
//! | 0..30 | permits |
//! | 30, `D` | `W` is in doubt: who is about to sleep takes `D` away |
//! | 31, `W` | somebody may sleep |
//!
//! - acquire: take one where there is one, keeping `W` and `D`. Otherwise make the word `W` and
//!   sleep while it is that.
//! - release without `W`: add. With it: add, and wake as many as there are new permits. If fewer
//!   slept, `W` may be idle: set `D`, wake all, and drop both if nobody has taken `D` away.
//!
//! Nobody is asleep without a wake on the way when `W` and `D` are dropped: who sleeps fell asleep
//! before `D` was last set, and who set it wakes all, or dies and has the bell rung.
//!
//! Deaths: a release is one exchange; before it nothing has happened, after it the permits are there
//! for everybody who looks. What is owed then is a wake, for which the releaser has its bell armed.
//! A waiter takes a permit in one exchange, and is woken for one that it may not live to take: for
//! that it has its bell armed. One wake for each permit is enough, since who is not woken sleeps on
//! a word that says `W`.

use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{bell, const_fn, futex};
use crate::wait::{Sleeper, WaitStrategy, block_shared, sleep_on};

/// The most permits that a word can count.
pub(crate) const MOST: u32 = (1 << 30) - 1;
const DOUBT: u32 = 1 << 30;
const WAITERS: u32 = 1 << 31;

/// The state.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawSemaphore {
    /// Permits, `D` and `W`. Written by everybody.
    word: AtomicU32,
    /// Always 0: what the kernel rings.
    bell: AtomicU32,
}

impl RawSemaphore {
    const_fn! {
        /// With this many permits, [`MOST`] at most.
        pub(crate) const fn new(permits: u32) -> Self {
            RawSemaphore { word: AtomicU32::new(permits & MOST), bell: AtomicU32::new(0) }
        }
    }

    /// Takes a permit if there is one.
    #[inline(always)]
    pub(crate) fn try_acquire(&self) -> bool {
        // Relaxed: the exchange decides.
        let mut seen = self.word.load(Relaxed);
        while seen & MOST != 0 {
            // Acquire: pairs with the Release of the release.
            match self.word.compare_exchange_weak(seen, seen - 1, Acquire, Relaxed) {
                Ok(_) => return true,
                Err(other) => seen = other,
            }
        }
        false
    }

    /// Takes a permit, waiting for one until `deadline`. False: it has passed.
    #[inline]
    pub(crate) fn acquire(&self, strategy: WaitStrategy, deadline: u64) -> bool {
        self.try_acquire() || self.acquire_slow(strategy, deadline)
    }

    #[cold]
    #[inline(never)]
    fn acquire_slow(&self, strategy: WaitStrategy, deadline: u64) -> bool {
        block_shared(&mut Acquire1(self), &self.bell, strategy, deadline).is_some()
    }

    /// Adds permits. With more than `max` it would be an error, and nothing happens: gives how many
    /// there are.
    #[inline(always)]
    pub(crate) fn release(&self, permits: u32, max: u32) -> Result<(), u32> {
        // Relaxed: the exchange decides.
        let mut seen = self.word.load(Relaxed);
        while seen & WAITERS == 0 {
            let count = seen & MOST;
            if permits > max.saturating_sub(count) {
                return Err(count);
            }
            // Release: pairs with the Acquire of who takes the permit.
            match self.word.compare_exchange_weak(seen, seen + permits, Release, Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => seen = other,
            }
        }
        self.release_slow(permits, max)
    }

    /// Makes it one permit, of at most one.
    #[inline(always)]
    pub(crate) fn set(&self) {
        while self.release(1, 1).is_err() {
            // Release: what was written before this set, too, to whoever takes the permit. Where it
            // has just been taken, there is one to add.
            let seen = self.word.load(Relaxed);
            if seen & MOST != 0 && self.word.compare_exchange(seen, seen, Release, Relaxed).is_ok()
            {
                return;
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn release_slow(&self, permits: u32, max: u32) -> Result<(), u32> {
        let armed = bell::arm(&self.bell);
        let mut seen = self.word.load(Relaxed);
        let result = loop {
            let count = seen & MOST;
            if permits > max.saturating_sub(count) {
                break Err(count);
            }
            // Release: as in `release`.
            match self.word.compare_exchange(seen, seen + permits, Release, Relaxed) {
                Ok(_) => break Ok(()),
                Err(other) => seen = other,
            }
        };
        if result.is_ok() && seen & WAITERS != 0 {
            point(Point::SignalChanged);
            if futex::wake(&self.word, permits) < permits {
                point(Point::SignalDoubted);
                self.doubt();
            }
        }
        bell::disarm(armed);
        result
    }

    /// Takes `W` down if nobody sleeps.
    fn doubt(&self) {
        // Relaxed throughout: `W` and `D` guard nothing but themselves.
        let asked = self.word.fetch_update(Relaxed, Relaxed, |seen| {
            (seen & (WAITERS | DOUBT) == WAITERS).then_some(seen | DOUBT)
        });
        if asked.is_ok() {
            futex::wake(&self.word, u32::MAX);
            let _ = self
                .word
                .fetch_update(Relaxed, Relaxed, |seen| (seen & DOUBT != 0).then_some(seen & MOST));
        }
    }

    /// Takes all permits.
    pub(crate) fn drain(&self) {
        // Acquire: as in `try_acquire`.
        self.word.fetch_and(!MOST, Acquire);
    }

    /// How many permits there are.
    pub(crate) fn value(&self) -> u32 {
        // Acquire: what came before the permits that are seen.
        self.word.load(Acquire) & MOST
    }

    /// Says that somebody is about to sleep until there is a permit, and gives the word to sleep on
    /// with its value; `None`: it has changed. Who is woken there and takes no permit wakes the others.
    pub(crate) fn announce(&self) -> Option<(&AtomicU32, u32)> {
        // Relaxed: the permit is what is acquired.
        let seen = self.word.load(Relaxed);
        let ours = seen == WAITERS
            || seen & MOST == 0
                && self.word.compare_exchange(seen, WAITERS, Relaxed, Relaxed).is_ok();
        ours.then_some((&self.word, WAITERS))
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
    pub(crate) fn is_sound(&self, max: u32) -> bool {
        self.bell.load(Relaxed) == 0 && self.value() <= max
    }
}

struct Acquire1<'a>(&'a RawSemaphore);

impl Sleeper for Acquire1<'_> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        self.0.try_acquire().then_some(())
    }

    fn sleep(&mut self, until: u64) {
        if let Some((word, asleep)) = self.0.announce() {
            sleep_on(word, asleep, &self.0.bell, until);
        }
    }
}
