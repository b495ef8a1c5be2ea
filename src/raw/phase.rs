//! A number that the owner of a lock moves on, and that others wait to see moved.
//!
//! The lock is the *door*. Who waits sleeps on two words at a time: on the number, which the owner
//! changes and then wakes everybody, and on the word of the door, which the kernel changes when the
//! owner dies, waking one. The mark [`SLEEPERS`] in the number says that somebody may sleep on it. It
//! outlives the change of the number and is taken down after the wake, so that an owner who dies
//! between the two leaves it behind for the next owner of the door, who finishes what it finds.
//!
//! | who dies | what follows |
//! |---|---|
//! | the owner, before it moves the number | the kernel wakes one who sleeps on the door; that one, or the next owner, moves it |
//! | the owner, between the change and the wake | the same one leaves, and passes the wake on; or the next owner finds the mark |
//! | a sleeper that was woken | it has the door *pending*: the kernel passes the wake on |
//!
//! A wake of the door goes to one sleeper, who may be one of ours, woken by the number already and not
//! yet out of the door's queue. So who leaves looks at the door, and passes the wake on if it is free.

use super::mutex::{RawMutex, Refusal};
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use crate::sync::crash::{Point, point};
use crate::sync::robust::List;
use crate::sync::{clock, const_fn, futex, hint};
use crate::wait::NEVER;

/// In the word: somebody may sleep on it, or may not have been woken yet.
const SLEEPERS: u32 = 1 << 31;
/// Pauses before a waiter sleeps, as in the mutex.
const SPINS: u32 = if cfg!(all(test, loom)) { 0 } else { 1024 };
const LONGEST_PAUSE: u32 = 32;

/// The number: 30 bits that come round, or [`DONE`]; and [`SLEEPERS`]. The number is written by the owner of the
/// door, the mark by who sleeps while the number stays.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Phase {
    word: AtomicU32,
}

/// A number that no other leads to.
pub(crate) const DONE: u32 = 1 << 30;

/// The number after this one.
pub(crate) const fn next(number: u32) -> u32 {
    number.wrapping_add(1) & (DONE - 1)
}

const fn is_odd(number: u32) -> bool {
    number & 1 == 1
}

impl Phase {
    const_fn! {
        /// The number 0.
        pub(crate) const fn new() -> Self {
            Phase { word: AtomicU32::new(0) }
        }
    }

    /// The number. SeqCst: an Acquire of what was done before it was moved, and ordered after the
    /// caller's own SeqCst exchanges.
    #[inline(always)]
    pub(crate) fn number(&self) -> u32 {
        self.word.load(SeqCst) & !SLEEPERS
    }

    /// The owner of the door, who has just come, finishes what the one before it may have left: makes
    /// the number even, and wakes. Nobody waits for an even number to be moved, or it is not called.
    #[inline(always)]
    pub(crate) fn settle(&self) {
        // Relaxed: the number is the owner's, passed on by the door.
        let seen = self.word.load(Relaxed);
        if seen & SLEEPERS != 0 || is_odd(seen) {
            let number = seen & !SLEEPERS;
            self.tell(if is_odd(number) { next(number) } else { number });
        }
    }

    /// The owner of the door makes the number odd, and gives it. It is settled.
    #[inline(always)]
    pub(crate) fn begin(&self) -> u32 {
        let number = next(self.word.load(Relaxed));
        // SeqCst: before the owner's look at what others have claimed.
        self.word.swap(number, SeqCst);
        number
    }

    /// The owner of the door moves the number that it had left to `to`, and wakes who waits for that.
    #[inline(always)]
    pub(crate) fn finish(&self, to: u32) {
        let seen = self.word.load(Relaxed);
        // Release: what the owner did, to the Acquire in `number`.
        if seen & SLEEPERS != 0 || self.word.compare_exchange(seen, to, Release, Relaxed).is_err() {
            self.tell(to);
        }
    }

    #[cold]
    #[inline(never)]
    fn tell(&self, number: u32) {
        // Release: as in `finish`.
        self.word.swap(number | SLEEPERS, Release);
        point(Point::PhaseMoved);
        futex::wake(&self.word, u32::MAX);
        point(Point::PhaseTold);
        // Release: as above, for who reads this one. No mark of a sleeper is lost: nobody waits for
        // this number to be moved.
        self.word.compare_exchange(number | SLEEPERS, number, Release, Relaxed).ok();
    }

    /// Waits until the number is no longer `number`, which an owner of the door has begun. If that one
    /// died, `over` moves it, as the owner of the door.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: it was still the same at `deadline`. [`Refusal::Own`]: the caller has the
    /// door. [`Refusal::Broken`].
    pub(crate) fn await_change(
        &self,
        (door, list): (&RawMutex, List),
        number: u32,
        over: impl Fn(&Phase),
        deadline: u64,
    ) -> Result<(), Refusal> {
        let mut slept = false;
        let (mut budget, mut pause) = (SPINS, 1);
        door.pending(list);
        let result = loop {
            let seen = self.word.load(SeqCst);
            if seen & !SLEEPERS != number {
                break Ok(());
            }
            let owner = door.owner_thread();
            if owner.is_none() && door.is_broken() {
                break Err(Refusal::Broken);
            }
            if owner.is_none() {
                door.pass(list, || over(self));
                door.pending(list);
                continue;
            }
            if owner == Some(list.id()) {
                break Err(Refusal::Own);
            }
            if deadline != NEVER && (deadline == 0 || clock::now() >= deadline) {
                break Err(Refusal::Busy);
            }
            if budget > 0 {
                for _ in 0..pause {
                    hint::spin_loop();
                }
                budget = budget.saturating_sub(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
                continue;
            }
            // Relaxed: whoever moves the number finds the mark in its own exchange.
            let marked = number | SLEEPERS;
            if seen != marked && self.word.compare_exchange(seen, marked, Relaxed, Relaxed).is_err()
            {
                continue;
            }
            let Some(door_marked) = door.mark_sleeper(owner) else { continue };
            point(Point::PhaseAnnounced);
            let until = (deadline != NEVER).then_some(deadline);
            futex::wait_either((&self.word, marked), Some((door.word(), door_marked)), until);
            point(Point::PhaseWoken);
            slept = true;
            (budget, pause) = (SPINS, 1);
        };
        if slept {
            door.pass_wake_on();
        }
        list.settled();
        result
    }

    /// The owner of the door, who has just come, makes the number odd, and wakes who waits for somebody
    /// to come.
    pub(crate) fn begin_and_tell(&self) {
        let seen = self.word.load(Relaxed);
        let number = next(seen & !SLEEPERS);
        // Odd: the owner before it died, perhaps before it woke anybody.
        let number = if is_odd(number) { number } else { next(number) };
        // Release: as in `finish`. A sleeper that marks the old number too late does not sleep.
        let old = self.word.swap(number, Release);
        point(Point::PhaseMoved);
        if old & SLEEPERS != 0 || is_odd(old) {
            futex::wake(&self.word, u32::MAX);
        }
    }

    /// The owner of the door makes the number even although there is more to come, so that it is
    /// waited for: the mark of sleepers stays.
    pub(crate) fn reopen(&self) {
        let seen = self.word.load(Relaxed) & !SLEEPERS;
        if is_odd(seen) {
            // Release: as in `finish`.
            self.word.swap(next(seen) | SLEEPERS, Release);
            point(Point::PhaseMoved);
        }
        futex::wake(&self.word, u32::MAX);
    }

    /// Waits until the number is no longer `number`, which is even: for somebody to come to the door.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: it was still the same at `deadline`.
    pub(crate) fn await_beginning(&self, number: u32, deadline: u64) -> Result<(), Refusal> {
        let marked = number | SLEEPERS;
        loop {
            let seen = self.word.load(Acquire);
            if seen & !SLEEPERS != number {
                return Ok(());
            }
            if deadline != NEVER && (deadline == 0 || clock::now() >= deadline) {
                return Err(Refusal::Busy);
            }
            // Relaxed: as in `await_change`.
            if seen == marked || self.word.compare_exchange(seen, marked, Relaxed, Relaxed).is_ok()
            {
                let until = (deadline != NEVER).then_some(deadline);
                futex::wait_either((&self.word, marked), None, until);
            }
        }
    }

    /// Whether that is the number. Acquire: what was done before it was moved there.
    #[inline(always)]
    pub(crate) fn is(&self, number: u32) -> bool {
        self.word.load(Acquire) & !SLEEPERS == number
    }

    /// Whether the number is one that the owner of the door has begun and not finished.
    pub(crate) fn is_begun(&self) -> bool {
        is_odd(self.word.load(Acquire))
    }
}
