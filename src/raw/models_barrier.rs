//! Models of the barrier, for loom, with a party that may be killed at any point. A party watches the
//! beacons of the others, as `lock::crew` does in the published crate.
//!
//! `tests/models` explores resets, members that come and go, and longer histories.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::barrier::{Cause, Control, RawBarrier, Turn, Verdict};
use super::models::{Beacon, check_under, mortal};
use crate::sync::atomic::AtomicU64;
use crate::sync::bell;
use crate::sync::crash::{Point, point};
use crate::sync::futex::{self, model::Mode};
use crate::wait::{NEVER, Sleeper, WaitStrategy, block_shared};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

struct Shared {
    control: Control,
    slots: Vec<AtomicU64>,
    /// By party.
    beacons: Vec<Beacon>,
    /// What each party writes before a round, and the others read after it.
    letters: Vec<UnsafeCell<u64>>,
    /// How often the last to arrive has done its action.
    actions: UnsafeCell<u64>,
}

// SAFETY: loom reports every access to a cell that another thread's could race with.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

/// A party that has arrived.
struct Waiter<'a> {
    shared: &'a Shared,
    me: usize,
    turn: Turn,
}

impl Sleeper for Waiter<'_> {
    type Output = Verdict;

    fn poll(&mut self) -> Option<Verdict> {
        self.shared.raw().verdict(&self.turn)
    }

    fn sleep(&mut self, until: u64) {
        let raw = self.shared.raw();
        let (ended, bell) = (raw.ended(), raw.ended().bell());
        let sets = ended.sets_before_a_look();
        if raw.verdict(&self.turn).is_some() {
            return;
        }
        let mut words = vec![(bell, 0)];
        // Once all have arrived, it is no matter who else is there.
        let parties: Vec<usize> = if raw.arrived() as usize == raw.slots.len() {
            raw.taken().map(|(_, stamp)| stamp as usize - 1).collect()
        } else {
            (0..self.shared.beacons.len()).collect()
        };
        for party in parties.into_iter().filter(|&party| party != self.me) {
            let Some(beacon) = self.shared.beacons[party].watch() else {
                raw.break_round(&self.turn, Some(party as u32));
                return;
            };
            words.push(beacon);
        }
        let Some(word) = ended.announce(sets) else { return };
        words[0] = word;
        words.push((bell, 0));
        point(Point::SignalAnnounced);
        let woken = futex::wait_any(&words, Some(until));
        point(Point::SignalWoken);
        if woken == Some(words.len() - 1) {
            futex::wake(word.0, u32::MAX);
        }
    }
}

impl Shared {
    fn new(parties: usize) -> Arc<Self> {
        Arc::new(Shared {
            control: Control::new(),
            slots: (0..parties).map(|_| AtomicU64::new(0)).collect(),
            beacons: (0..3).map(|_| Beacon::new()).collect(),
            letters: (0..3).map(|_| UnsafeCell::new(0)).collect(),
            actions: UnsafeCell::new(0),
        })
    }

    fn raw(&self) -> RawBarrier<'_> {
        RawBarrier { control: &self.control, slots: &self.slots }
    }

    /// Takes a slot, waiting for one.
    fn claim(&self, me: usize) -> usize {
        let raw = self.raw();
        loop {
            let sets = raw.room().sets_before_a_look();
            if let Some(slot) = raw.claim(me as u64 + 1) {
                return slot;
            }
            assert!(raw.room().wait_since(sets, WaitStrategy::Park, NEVER));
        }
    }

    /// One round; `None`: it was broken before it arrived.
    fn wait(&self, me: usize) -> Option<Verdict> {
        let raw = self.raw();
        let slot = self.claim(me);
        let verdict = raw.arrive().ok().map(|turn| {
            point(Point::Written);
            if raw.is_last(&turn) {
                // SAFETY: loom hands out the pointer for this access alone.
                self.actions.with_mut(|at| unsafe { *at += 1 });
                if raw.complete(&turn) {
                    return Verdict::Complete;
                }
            }
            let mut waiter = Waiter { shared: self, me, turn };
            block_shared(&mut waiter, raw.ended().bell(), WaitStrategy::Park, NEVER)
                .expect("no deadline")
        });
        raw.leave(slot, me as u64 + 1);
        verdict
    }

    fn write(&self, me: usize) {
        // SAFETY: loom hands out the pointer for this access alone.
        self.letters[me].with_mut(|at| unsafe { *at += 1 });
    }

    fn read(&self, party: usize) -> u64 {
        // SAFETY: as above.
        self.letters[party].with(|at| unsafe { *at })
    }
}

/// Each reads after the first round what the other wrote before it, and writes again after the second.
fn meet(shared: &Shared, me: usize, rounds: u32) {
    shared.write(me);
    assert_eq!(shared.wait(me), Some(Verdict::Complete));
    assert_eq!(shared.read(1 - me), 1, "it went on before the other had arrived");
    // SAFETY: loom hands out the pointer for this access alone.
    assert_eq!(shared.actions.with(|at| unsafe { *at }), 1, "or before the action was done");
    if rounds == 2 {
        assert_eq!(shared.wait(me), Some(Verdict::Complete));
        shared.write(me);
    }
}

#[test]
fn barrier_rounds_follow_each_other_and_bring_what_was_written_before() {
    for (mode, preemptions, rounds) in [(Mode::Sleeps, 1, 2), (Mode::Spurious, 2, 1)] {
        check_under(&[mode], preemptions, &format!("barrier, {rounds} rounds"), move || {
            let shared = Shared::new(2);
            let of_other = shared.clone();
            let other = thread::spawn(move || meet(&of_other, 1, rounds));
            meet(&shared, 0, rounds);
            other.join().unwrap();
            assert_eq!(shared.raw().arrived(), 0);
        });
    }
}

#[test]
fn barrier_goes_on_or_breaks_whoever_is_killed() {
    for at in [
        None,
        Some(Point::Written),
        Some(Point::SignalAnnounced),
        Some(Point::SignalWoken),
        Some(Point::SignalChanged),
    ] {
        check_under(&[Mode::Sleeps], 2, &format!("barrier, killed at {at:?}"), move || {
            let shared = Shared::new(2);
            let of_mortal = shared.clone();
            let dying = thread::spawn(move || {
                let round = || {
                    of_mortal.wait(0);
                };
                mortal(&of_mortal.beacons[0], at, round);
                bell::ring();
            });
            let verdict = shared.wait(1);
            dying.join().unwrap();
            let broken = [None, Some(Verdict::Broken(Cause::Death))].contains(&verdict);
            assert!(at.is_some() && broken || verdict == Some(Verdict::Complete), "{verdict:?}");
        });
    }
}

#[test]
fn barrier_aborted_lets_everybody_go() {
    // Two, so that both sleep when it dies.
    for (at, preemptions) in [(None, 1), (Some(Point::SignalChanged), 2)] {
        check_under(
            &[Mode::Sleeps],
            preemptions,
            &format!("barrier, aborter killed at {at:?}"),
            move || {
                let shared = Shared::new(3);
                let waiters = [0, 1].map(|me| {
                    let shared = shared.clone();
                    thread::spawn(move || shared.wait(me))
                });
                mortal(&shared.beacons[2], at, || {
                    shared.raw().abort();
                });
                bell::ring();
                for waiter in waiters {
                    let verdict = waiter.join().unwrap();
                    assert!(matches!(verdict, None | Some(Verdict::Broken(Cause::Abort))));
                }
            },
        );
    }
}

#[test]
fn barrier_slot_given_back_finds_who_waits_for_one() {
    check_under(&[Mode::Sleeps], 3, "barrier, more parties than slots", || {
        let shared = Shared::new(1);
        let of_other = shared.clone();
        let other = thread::spawn(move || of_other.wait(1));
        assert_eq!(shared.wait(0), Some(Verdict::Complete));
        assert_eq!(other.join().unwrap(), Some(Verdict::Complete));
    });
}
