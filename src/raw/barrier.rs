//! A barrier: a number of parties wait for each other, round after round.
//!
//! All that decides is one word, changed by exchanges alone, so arriving, completing, breaking and
//! resetting have happened or not, wherever somebody is killed:
//!
//! | bits | meaning |
//! |---|---|
//! | 0..16 | parties that have arrived in this round; all: the last of them runs the action |
//! | 16..18 | whole, or what broke it |
//! | 18..32 | rounds that were completed |
//! | 32..64 | resets |
//!
//! Each party has a *slot* from before it arrives until it has left, and there are as many slots as
//! parties. So no round completes while somebody has not left the one before: the number of rounds
//! cannot advance twice under a waiter. That makes its verdict exact, however late it looks and
//! however often the barrier was broken and reset since: its round is complete if the number of
//! rounds is another than when it arrived, and otherwise broken if the barrier is or was reset.
//!
//! A slot says who has it, so that the others find out when that process dies. The slot of the dead
//! stays taken until the barrier is reset: nobody takes its place in a round that counts it.
//!
//! Waiters sleep at an event that is pulsed when a round has ended, those who find no slot at another
//! that is pulsed when one is given back. Who ends a round has its bell armed from before the change
//! until the wake; each sleeper has, too.

use super::event::RawEvent;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{bell, const_fn};

/// The most parties.
pub(crate) const MOST: u32 = 4096;

const ARRIVED: u64 = (1 << 16) - 1;
const CAUSE_SHIFT: u32 = 16;
const CAUSE: u64 = 3 << CAUSE_SHIFT;
const ROUND_SHIFT: u32 = 18;
const ROUND: u64 = 1 << ROUND_SHIFT;
const ROUNDS: u64 = ((1 << 14) - 1) << ROUND_SHIFT;
const RESET: u64 = 1 << 32;
const RESETS: u64 = !(RESET - 1);

/// What broke a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Somebody gave up: by a call, a timeout, an action that failed.
    Abort = 1,
    /// Somebody died.
    Death = 2,
}

/// What became of a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// All have arrived, and the action was done.
    Complete,
    /// It was broken.
    Broken(Cause),
}

/// Why a party did not arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The barrier is broken.
    Broken(Cause),
    /// More have arrived than there are slots.
    Damaged,
}

/// One arrival.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// The word when it arrived.
    state: u64,
    /// How many arrived before.
    pub(crate) index: u32,
}

/// The state in front of the slots.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Control {
    /// Written by everybody, by exchanges only.
    state: AtomicU64,
    /// Pulsed when a round has ended.
    ended: RawEvent,
    /// Pulsed when a slot was given back.
    room: RawEvent,
    /// The process that died, while the cause is a death. Written by whoever found that, before.
    culprit: AtomicU32,
    reserved: AtomicU32,
}

impl Control {
    const_fn! {
        /// Whole, and nobody there.
        pub(crate) const fn new() -> Self {
            Control {
                state: AtomicU64::new(0),
                ended: RawEvent::new(),
                room: RawEvent::new(),
                culprit: AtomicU32::new(0),
                reserved: AtomicU32::new(0),
            }
        }
    }

    /// Whether the words are ones that this protocol writes for that many parties.
    pub(crate) fn is_sound(&self, parties: u32) -> bool {
        let state = self.state.load(Relaxed);
        state & ARRIVED <= u64::from(parties)
            && state & CAUSE != CAUSE
            && (state & CAUSE == 0 || state & ARRIVED == 0)
            && self.ended.is_sound()
            && self.room.is_sound()
    }
}

fn cause(state: u64) -> Option<Cause> {
    match state & CAUSE {
        0 => None,
        one if one == (Cause::Death as u64) << CAUSE_SHIFT => Some(Cause::Death),
        _ => Some(Cause::Abort),
    }
}

/// The state: a slot for each party, which is 0 or the packed stamp of who has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawBarrier<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: &'a [AtomicU64],
}

impl<'a> RawBarrier<'a> {
    /// Takes a slot, if one is free.
    pub(crate) fn claim(self, stamp: u64) -> Option<usize> {
        let (count, first) = (self.slots.len(), self.arrived() as usize);
        (0..count).map(|step| (first + step) % count).find(|&index| {
            let slot = &self.slots[index];
            // Acquire: pairs with the Release of who left: that it has seen its round end comes
            // before this party arrives.
            slot.load(Relaxed) == 0 && slot.compare_exchange(0, stamp, Acquire, Relaxed).is_ok()
        })
    }

    /// Gives a slot back.
    pub(crate) fn leave(self, slot: usize, stamp: u64) {
        // It is another's only where this party was taken for dead.
        let _ = self.slots[slot].compare_exchange(stamp, 0, Release, Relaxed);
        self.control.room.pulse();
    }

    /// Arrives, with a slot.
    pub(crate) fn arrive(self) -> Result<Turn, Refusal> {
        let mut seen = self.control.state.load(Relaxed);
        loop {
            if let Some(cause) = cause(seen) {
                return Err(Refusal::Broken(cause));
            }
            if seen & ARRIVED >= self.slots.len() as u64 {
                return Err(Refusal::Damaged);
            }
            // AcqRel: what each party did before comes before what any does after the round.
            match self.control.state.compare_exchange(seen, seen + 1, AcqRel, Relaxed) {
                Ok(_) => return Ok(Turn { state: seen + 1, index: (seen & ARRIVED) as u32 }),
                Err(other) => seen = other,
            }
        }
    }

    /// Whether this is the last arrival of its round.
    pub(crate) fn is_last(self, turn: &Turn) -> bool {
        turn.index as usize + 1 == self.slots.len()
    }

    /// What became of the round of an arrival; `None`: it goes on.
    pub(crate) fn verdict(self, turn: &Turn) -> Option<Verdict> {
        // Acquire: pairs with the Release of who ended it.
        let state = self.control.state.load(Acquire);
        if (state ^ turn.state) & ROUNDS != 0 {
            return Some(Verdict::Complete);
        }
        if let Some(cause) = cause(state) {
            return Some(Verdict::Broken(cause));
        }
        ((state ^ turn.state) & RESETS != 0).then_some(Verdict::Broken(Cause::Abort))
    }

    /// Ends the round in order: the last to arrive does so. False: it was broken.
    pub(crate) fn complete(self, turn: &Turn) -> bool {
        let rounds = turn.state.wrapping_add(ROUND) & ROUNDS;
        self.end(|state| (state == turn.state).then_some(state & !(ARRIVED | ROUNDS) | rounds))
    }

    /// Breaks the round of an arrival, if it goes on. Says whether it did.
    pub(crate) fn break_round(self, turn: &Turn, culprit: Option<u32>) -> bool {
        let ours = turn.state & (ROUNDS | RESETS);
        self.break_if(culprit, |state| state & (ROUNDS | RESETS) == ours)
    }

    /// Breaks it, whoever is there. Says whether it did.
    pub(crate) fn abort(self) -> bool {
        self.break_if(None, |_| true)
    }

    /// Breaks it because a process died.
    pub(crate) fn report(self, pid: u32) -> bool {
        self.break_if(Some(pid), |_| true)
    }

    fn break_if(self, culprit: Option<u32>, condition: impl Fn(u64) -> bool) -> bool {
        let cause = if culprit.is_some() { Cause::Death } else { Cause::Abort };
        if let Some(pid) = culprit {
            // Acquire: who knows that a process has ended sees what it did before. So one that broke it and
            // then ended is not told of in place of the one that it told of.
            if self.control.state.load(Acquire) & CAUSE != 0 {
                return false;
            }
            // Relaxed: the exchange publishes it. Where that comes to nothing, another has told of
            // another death at the same moment.
            self.control.culprit.store(pid, Relaxed);
        }
        let broke = self.end(|state| {
            (state & CAUSE == 0 && condition(state))
                .then_some(state & !ARRIVED | (cause as u64) << CAUSE_SHIFT)
        });
        if broke {
            self.control.room.pulse();
        }
        broke
    }

    /// Makes it whole, and breaks the round of whoever waits. `find` is called while it is broken and
    /// says who is dead, `bury` frees their slots.
    ///
    /// Only of who was dead while it was broken it is sure that they have not arrived in a later
    /// round, which would then be complete with the dead: so if another reset came between, what was
    /// found is left to the next.
    pub(crate) fn reset<T, E>(
        self,
        find: impl FnOnce() -> Result<T, E>,
        bury: impl FnOnce(T),
    ) -> Result<(), E> {
        self.abort();
        let broken = self.control.state.load(Acquire);
        if cause(broken).is_none() {
            return Ok(());
        }
        let dead = find()?;
        // Acquire: what `find` has read, by Acquire loads, comes before.
        if self.control.state.load(Acquire) == broken {
            bury(dead);
            let whole = (broken & !CAUSE).wrapping_add(RESET);
            self.end(|state| (state == broken).then_some(whole));
        }
        Ok(())
    }

    /// One change that ends a round, and the wake of everybody who waits for that.
    fn end(self, next: impl Fn(u64) -> Option<u64>) -> bool {
        let armed = bell::arm(self.control.ended.bell());
        // AcqRel: as in `arrive`, and what the leader did, to everybody who sees the end.
        let changed = self.control.state.fetch_update(AcqRel, Relaxed, next).is_ok();
        if changed {
            point(Point::SignalChanged);
            self.control.ended.pulse();
        }
        bell::disarm(armed);
        changed
    }

    /// Frees the slot of a process that will not run again: from a reset only.
    pub(crate) fn bury(self, slot: usize, stamp: u64) {
        let _ = self.slots[slot].compare_exchange(stamp, 0, Release, Relaxed);
    }

    /// Who has which slot.
    pub(crate) fn taken(self) -> impl Iterator<Item = (usize, u64)> + 'a {
        // Acquire: of a slot that is taken, that it was.
        let stamps = self.slots.iter().map(|slot| slot.load(Acquire));
        stamps.enumerate().filter(|&(_, stamp)| stamp != 0)
    }

    /// What broke it, if it is broken.
    pub(crate) fn broken(self) -> Option<Cause> {
        cause(self.control.state.load(Acquire))
    }

    /// The process that died, where that broke it; 0: unknown.
    pub(crate) fn culprit(self) -> u32 {
        self.control.culprit.load(Relaxed)
    }

    /// How many have arrived in this round.
    pub(crate) fn arrived(self) -> u32 {
        // Acquire: pairs with the Release of the arrivals, before which are the claims of the slots:
        // `taken`, called after this, gives all who are counted here.
        (self.control.state.load(Acquire) & ARRIVED) as u32
    }

    /// Where waiters sleep.
    pub(crate) fn ended(self) -> &'a RawEvent {
        &self.control.ended
    }

    /// Where those sleep who find no slot.
    pub(crate) fn room(self) -> &'a RawEvent {
        &self.control.room
    }
}
