//! Waiting at objects that any number of processes change and wait at.
//!
//! Nobody in particular owes such a waiter its wake, so there is no beacon to watch. Two things keep
//! a death from leaving waiters asleep:
//! 1. **The bell.** Whoever has to wake somebody arms its [death bell](bell) before it changes the
//!    state, and a sleeper has it armed while it waits, since it may be killed with a wake that was
//!    meant for whoever can use it. The kernel wakes one sleeper of the bell, which passes that on
//!    ([`sleep_on`]): everybody looks at the state again.
//! 2. **The slice.** A bell may not be armed (a signal handler that interrupts a lock; a program
//!    without robust lists), or ring for a sleeper of the same dying process that is not quite
//!    asleep. So nobody sleeps longer than [`SLICE`] without a look.
//!
//! A waker whose look at the state says that nobody sleeps owes no wake, since look and change are
//! one instruction. It arms nothing: so the fast paths know nothing of all this.

use super::WaitStrategy;
use super::block::give_way;
use crate::sync::atomic::AtomicU32;
use crate::sync::crash::{Point, point};
use crate::sync::{bell, clock, futex, hint};

/// Longest sleep without a look at the state, in nanoseconds.
pub(crate) const SLICE: u64 = 100_000_000;
/// Polls between two looks at the clock while spinning without end.
const POLLS_PER_CHECK: u32 = 1024;

/// An operation that waits at a shared object.
pub(crate) trait Sleeper {
    /// What it gives when it is done.
    type Output;

    /// Tries.
    fn poll(&mut self) -> Option<Self::Output>;

    /// Announces that it sleeps, and sleeps until `until` at most, if there is still reason to.
    fn sleep(&mut self, until: u64);
}

/// Waits until `sleeper` is done; `None`: `deadline` passed first. `bell` is the object's.
pub(crate) fn block_shared<S: Sleeper>(
    sleeper: &mut S,
    bell: &AtomicU32,
    strategy: WaitStrategy,
    deadline: u64,
) -> Option<S::Output> {
    if let Some(output) = sleeper.poll() {
        return Some(output);
    }
    match strategy {
        WaitStrategy::Spin => return spin(sleeper, deadline),
        WaitStrategy::SpinThenPark => {
            if let Some(output) = give_way(|| sleeper.poll(), deadline) {
                return Some(output);
            }
        }
        WaitStrategy::Park => {}
    }
    let armed = bell::arm(bell);
    let output = loop {
        if let Some(output) = sleeper.poll() {
            break Some(output);
        }
        let now = clock::now();
        if now >= deadline {
            break None;
        }
        sleeper.sleep(deadline.min(now.saturating_add(SLICE)));
    };
    bell::disarm(armed);
    output
}

fn spin<S: Sleeper>(sleeper: &mut S, deadline: u64) -> Option<S::Output> {
    loop {
        for _ in 0..POLLS_PER_CHECK {
            hint::spin_loop();
            if let Some(output) = sleeper.poll() {
                return Some(output);
            }
        }
        if clock::now() >= deadline {
            return sleeper.poll();
        }
    }
}

/// Sleeps while `word` is `expected`. If the bell rings, wakes everybody who sleeps on the word: who
/// died may have owed it to them.
pub(crate) fn sleep_on(word: &AtomicU32, expected: u32, bell: &AtomicU32, until: u64) {
    point(Point::SignalAnnounced);
    // The bell last: where both were woken, that is what is told.
    let woken = futex::wait_any(&[(word, expected), (bell, 0)], Some(until));
    point(Point::SignalWoken);
    if woken == Some(1) {
        futex::wake(word, u32::MAX);
    }
}
