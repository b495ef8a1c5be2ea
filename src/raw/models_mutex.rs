//! Models of the mutex, for loom, with an owner, a sleeper and a thief, one of whom may be killed at
//! any point. A killed one unwinds out of the raw layer, and then the kernel walks its list.
//!
//! `tests/models` explores longer histories of the same protocol, without the memory model.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::check_under;
use super::mutex::{Condition, RawMutex};
use crate::sync::crash::{Point, die_at, point};
use crate::sync::futex::model::Mode;
use crate::sync::robust::List;
use crate::wait::NEVER;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A value that is even whenever nobody is inside.
struct Guarded {
    mutex: RawMutex,
    value: UnsafeCell<u64>,
}

// SAFETY: loom reports every access to the cell that another thread's could race with.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn new() -> Arc<Self> {
        Arc::new(Guarded { mutex: RawMutex::new(), value: UnsafeCell::new(0) })
    }

    fn value(&self) -> u64 {
        // SAFETY: loom hands out the pointer for this access alone.
        self.value.with(|at| unsafe { *at })
    }

    fn add(&self, n: u64) {
        // SAFETY: as above.
        self.value.with_mut(|at| unsafe { *at += n });
    }

    /// Locks, adds two, one by one, and unlocks; repairs what it finds.
    fn work(&self, list: List) -> Condition {
        // SAFETY: this thread's list; the mutex outlives the model.
        let slot = unsafe { self.mutex.lock(list, NEVER) }.expect("it comes free");
        let found = self.mutex.enter(list);
        if found == Condition::Clean {
            assert_eq!(self.value() % 2, 0, "somebody died or is inside, and nobody was told");
            self.add(1);
            point(Point::Written);
            self.add(1);
        } else {
            self.mutex.begin_repair(list);
            self.add(self.value() % 2);
        }
        self.mutex.leave();
        // SAFETY: acquired above.
        assert!(unsafe { self.mutex.unlock(list, slot) });
        found
    }

    /// The same by a participant that may be killed; `None`: it was.
    fn may_die(&self, id: u32, at: Option<Point>) -> Option<Condition> {
        let list = List::of_thread(id);
        die_at(at);
        let done = catch_unwind(AssertUnwindSafe(|| self.work(list)));
        die_at(None);
        match done {
            Ok(found) => Some(found),
            Err(panic) if panic.is::<&str>() || panic.is::<String>() => {
                std::panic::resume_unwind(panic)
            }
            Err(_) => {
                list.die();
                None
            }
        }
    }
}

/// One who may die, and `others` who must not notice but by what they are told.
fn scenario(dies_at: Option<Point>, others: u32) {
    let guarded = Guarded::new();
    let mortal = guarded.clone();
    let mortal = thread::spawn(move || mortal.may_die(1, dies_at));
    let mut joined = Vec::new();
    for id in 1..others {
        let other = guarded.clone();
        joined.push(thread::spawn(move || other.work(List::of_thread(10 + id))));
    }
    let mut found = vec![Some(guarded.work(List::of_thread(3)))];
    found.push(mortal.join().unwrap());
    found.extend(joined.into_iter().map(|other| other.join().ok()));
    let died = Some(Condition::OwnerDied { pid: 1 });
    let told = found.iter().filter(|found| **found == died).count();
    assert!(told <= 1, "repaired twice");
    let list = List::of_thread(4);
    // SAFETY: this thread's list; the mutex outlives the model.
    let slot = unsafe { guarded.mutex.try_lock(list) }.expect("it is free");
    let state = guarded.mutex.enter(list);
    let inside = dies_at == Some(Point::Written);
    assert!(inside || state == Condition::Clean, "nobody died inside");
    assert!(state != Condition::Clean || guarded.value().is_multiple_of(2));
    // SAFETY: acquired above.
    assert!(unsafe { guarded.mutex.unlock(list, slot) });
}

/// Three where a wait sleeps: an owner, a sleeper and a thief. Two where it does not: two that wait
/// would give way to each other for ever.
fn run(name: &str, dies_at: Option<Point>) {
    check_under(&[Mode::Sleeps], 3, name, move || scenario(dies_at, 2));
    check_under(&[Mode::Spurious], 3, name, move || scenario(dies_at, 1));
}

#[test]
fn mutex_excludes_and_nobody_is_forgotten() {
    run("mutex", None);
}

#[test]
fn mutex_survives_a_death_at_every_point() {
    for at in [
        Point::Written,
        Point::LockAcquired,
        Point::LockLinked,
        Point::LockAnnounced,
        Point::LockWoken,
        Point::LockUnlinked,
        Point::LockFreed,
    ] {
        run(&format!("mutex, killed at {at:?}"), Some(at));
    }
}

/// Two who come twice, so that the second finds the mark of a sleeper that is there no more.
#[test]
fn mutex_drops_the_mark_of_sleepers_and_forgets_none() {
    for at in [None, Some(Point::LockDoubted), Some(Point::LockWoken)] {
        let twice = move || {
            let guarded = Guarded::new();
            let mortal = guarded.clone();
            let mortal = thread::spawn(move || {
                mortal.may_die(1, None);
                mortal.may_die(1, at)
            });
            for _ in 0..2 {
                guarded.work(List::of_thread(3));
            }
            mortal.join().unwrap();
        };
        for mode in [Mode::Sleeps, Mode::Spurious] {
            check_under(&[mode], 3, &format!("mutex twice, killed at {at:?}"), twice);
        }
    }
}
