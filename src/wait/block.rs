//! The one loop in which every blocking operation waits.
//!
//! The sleep follows the protocol of [`WaitCell`]: announce, heavy barrier, look once more, sleep.
//! It is sliced: whoever could have woken us may have died with others at the same moment, and the
//! kernel tells only one sleeper of each death.

use super::WaitStrategy;
use crate::raw::wait_cell::WaitCell;
use crate::sync::atomic::AtomicU32;
use crate::sync::{barrier, clock, futex, hint};

/// A deadline that does not come.
pub(crate) const NEVER: u64 = u64::MAX;
/// Polls before the first `yield`; each is a pause instruction and a look, about 1 us in all.
const SPINS: u32 = 24;
/// Nanoseconds until a waiter that may sleep does.
const PATIENCE: u64 = 20_000;
/// Polls between two looks at the clock and the peer while spinning without end.
const POLLS_PER_CHECK: u32 = 1024;
/// Longest sleep, in nanoseconds, where the barrier does not reach the waker.
const SLICE_WITHOUT_BARRIER: u64 = 5_000_000;

/// What to watch while asleep, beside the cell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asleep<'a> {
    /// Another word, and its value while there is reason to sleep.
    pub(crate) other: Option<(&'a AtomicU32, u32)>,
    /// Nanoseconds to sleep at most.
    pub(crate) slice: u64,
}

/// An operation that waits.
pub(crate) trait Wait<'a> {
    /// What it gives when it is done.
    type Output;

    /// Tries, looking at the state alone.
    fn poll(&mut self) -> Option<Self::Output>;

    /// Looks at the peer: how to sleep for its sake, or what it means that it is gone. `timed_out`:
    /// a whole slice has passed since the last look.
    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, Self::Output>;
}

/// Tries, looks at the peer, and if that is gone tries a last time: what it did before it went comes
/// first.
pub(crate) fn settle<'a, W: Wait<'a>>(
    wait: &mut W,
    timed_out: bool,
) -> Result<W::Output, Asleep<'a>> {
    if let Some(output) = wait.poll() {
        return Ok(output);
    }
    match wait.peer(timed_out) {
        Ok(asleep) => Err(asleep),
        Err(gone) => Ok(wait.poll().unwrap_or(gone)),
    }
}

/// Waits until `wait` is done; `None`: `deadline` passed first.
pub(crate) fn block_on<'a, W: Wait<'a>>(
    wait: &mut W,
    cell: &WaitCell,
    strategy: WaitStrategy,
    deadline: u64,
) -> Option<W::Output> {
    if let Some(output) = wait.poll() {
        return Some(output);
    }
    match strategy {
        WaitStrategy::Spin => return spin(wait, deadline),
        WaitStrategy::SpinThenPark => {
            if let Some(output) = give_way(|| wait.poll(), deadline) {
                return Some(output);
            }
        }
        WaitStrategy::Park => {}
    }
    let mut timed_out = false;
    loop {
        let token = cell.announce();
        let reached = barrier::heavy();
        let asleep = match settle(wait, timed_out) {
            Ok(output) => return Some(output),
            Err(asleep) => asleep,
        };
        let now = clock::now();
        if now >= deadline {
            return None;
        }
        let slice = if reached { asleep.slice } else { asleep.slice.min(SLICE_WITHOUT_BARRIER) };
        let until = now.saturating_add(slice);
        futex::wait_either((cell.word(), token), asleep.other, Some(until.min(deadline)));
        if let Some(output) = wait.poll() {
            return Some(output);
        }
        timed_out = clock::now() >= until;
    }
}

fn spin<'a, W: Wait<'a>>(wait: &mut W, deadline: u64) -> Option<W::Output> {
    let mut next_look = 0;
    loop {
        for _ in 0..POLLS_PER_CHECK {
            hint::spin_loop();
            if let Some(output) = wait.poll() {
                return Some(output);
            }
        }
        let now = clock::now();
        let timed_out = now >= next_look;
        match settle(wait, timed_out) {
            Ok(output) => return Some(output),
            Err(asleep) if timed_out => next_look = now.saturating_add(asleep.slice),
            Err(_) => {}
        }
        if now >= deadline {
            return None;
        }
    }
}

/// Polls for a moment, then gives way to others between polls until [`PATIENCE`] is over.
pub(super) fn give_way<T>(mut poll: impl FnMut() -> Option<T>, deadline: u64) -> Option<T> {
    for _ in 0..SPINS {
        hint::spin_loop();
        if let Some(output) = poll() {
            return Some(output);
        }
    }
    let until = clock::now().saturating_add(PATIENCE).min(deadline);
    while clock::now() < until {
        hint::yield_now();
        if let Some(output) = poll() {
            return Some(output);
        }
    }
    None
}
