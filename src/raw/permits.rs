//! Permits that return when their holder dies: a robust futex each, in the list of the thread that
//! has it.
//!
//! | word | meaning |
//! |---|---|
//! | `0`, `D` | free; with `D` the kernel took it from one who died |
//! | *tid* | taken |
//! | *tid* `W` | taken, somebody may sleep; also free with `W` after a death |
//! | [`BROKEN`] | the links were damaged: lost |
//!
//! - acquire: take any word whose owner bits are 0, keeping `W`, and setting it after having slept.
//!   Where there is none, set `W` in all words and sleep on all of them at once, and on the bell
//!   (`futex_waitv`).
//! - release: out of the list, 0, and wake all who sleep on the word if there was a `W`.
//!
//! So a sleeper hears of each release and, from the kernel, of each death, and no other word says how
//! many there are. All are woken, for each sleeps on every permit: whoever does not get this one says
//! again, in all words, that it sleeps.
//!
//! Deaths: a releaser has the word *pending* until after the wake, and so has a taker from before its
//! exchange until the word is linked. If the word is nobody's then, the kernel wakes one sleeper of
//! it, who looks at all of them. A sleeper has the bell armed, whose sleepers are the same.

#![allow(unsafe_code, reason = "links words into the thread's robust list")]

use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::robust::{List, OWNER, RobustWord, Slot, WAITERS};
use crate::sync::{bell, futex};
use crate::wait::{Sleeper, WaitStrategy, block_shared};

/// A permit that nobody gets any more. No thread has this id.
pub(crate) const BROKEN: u32 = OWNER;
/// The most permits: one word of a sleep is the bell.
pub(crate) const MOST: usize = futex::WORDS - 1;

/// The state: a word for each permit, [`MOST`] at most, and the bell, which is always 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawPermits<'a> {
    pub(crate) words: &'a [RobustWord],
    pub(crate) bell: &'a AtomicU32,
}

impl<'a> RawPermits<'a> {
    /// Takes a permit, waiting for one until `deadline`. The look begins at `first`. `None`: the
    /// deadline has passed.
    ///
    /// # Safety
    /// `list` is the calling thread's and [has room](List::has_room), and the words stay mapped until
    /// [`RawPermits::release`] has returned true or the thread has ended.
    pub(crate) unsafe fn acquire(
        self,
        list: List,
        first: usize,
        strategy: WaitStrategy,
        deadline: u64,
    ) -> Option<(usize, Slot)> {
        let mut take = Take { permits: self, list, first, parks: false };
        block_shared(&mut take, self.bell, strategy, deadline)
    }

    /// Gives a permit back. False: its links are damaged, so that it is lost, and has to stay mapped
    /// for as long as the thread lives.
    ///
    /// # Safety
    /// `list` is the calling thread's, which acquired the permit in this process and got `slot`.
    pub(crate) unsafe fn release(self, list: List, index: usize, slot: Slot) -> bool {
        let robust = &self.words[index];
        list.pending(robust);
        // SAFETY: as the caller's; pending.
        let sound = unsafe { list.remove(robust, slot) };
        // Release: what was done with it, to the Acquire of who takes it.
        let seen = robust.word.swap(if sound { 0 } else { BROKEN }, Release);
        if seen & WAITERS != 0 {
            point(Point::PermitReturned);
            futex::wake(&robust.word, u32::MAX);
        }
        list.settled();
        sound
    }

    /// How many are free.
    pub(crate) fn available(self) -> usize {
        let free = |robust: &&RobustWord| robust.word.load(Relaxed) & OWNER == 0;
        self.words.iter().filter(free).count()
    }
}

/// An attempt to take a permit, under the conditions of [`RawPermits::acquire`].
struct Take<'a> {
    permits: RawPermits<'a>,
    list: List,
    /// Where the next look begins.
    first: usize,
    /// It is where it has its bell armed, and may have slept.
    parks: bool,
}

impl Take<'_> {
    fn take(&mut self, index: usize) -> Option<(usize, Slot)> {
        let robust = &self.permits.words[index];
        let announced = if self.parks { WAITERS } else { 0 };
        // Relaxed: the exchange decides.
        let mut seen = robust.word.load(Relaxed);
        if seen & OWNER != 0 {
            return None;
        }
        self.list.pending(robust);
        while seen & OWNER == 0 {
            let mine = self.list.id() | seen & WAITERS | announced;
            // Acquire: pairs with the Release of the release, or the kernel's exchange.
            match robust.word.compare_exchange(seen, mine, Acquire, Relaxed) {
                Ok(_) => {
                    point(Point::LockAcquired);
                    // SAFETY: pending, and this thread's alone by that exchange, so in no list; the
                    // rest is the condition of `RawPermits::acquire`.
                    let slot = unsafe { self.list.insert(robust) };
                    self.list.settled();
                    return Some((index, slot));
                }
                Err(other) => seen = other,
            }
        }
        point(Point::PermitMissed);
        if self.parks {
            // Without a moment in between in which neither is armed.
            bell::arm_again(self.permits.bell);
        } else {
            self.list.settled();
        }
        None
    }
}

impl Sleeper for Take<'_> {
    type Output = (usize, Slot);

    fn poll(&mut self) -> Option<(usize, Slot)> {
        let count = self.permits.words.len();
        (0..count).find_map(|step| self.take((self.first + step) % count))
    }

    fn sleep(&mut self, until: u64) {
        self.parks = true;
        let RawPermits { words, bell } = self.permits;
        bell::arm_again(bell);
        let mut watched = [(bell, 0); MOST + 1];
        for (robust, entry) in words.iter().zip(&mut watched) {
            // Relaxed: what it guards is acquired with it.
            let mut seen = robust.word.load(Relaxed);
            while seen & WAITERS == 0 && seen & OWNER != 0 {
                let asleep = seen | WAITERS;
                match robust.word.compare_exchange(seen, asleep, Relaxed, Relaxed) {
                    Ok(_) => seen = asleep,
                    Err(other) => seen = other,
                }
            }
            if seen & OWNER == 0 {
                return;
            }
            *entry = (&robust.word, seen);
        }
        point(Point::SignalAnnounced);
        // The bell, for which the entries stand that no permit has, last.
        let woken = futex::wait_any(&watched[..=words.len()], Some(until));
        point(Point::SignalWoken);
        if let Some(index) = woken.filter(|&index| index < words.len()) {
            self.first = index;
        }
    }
}
