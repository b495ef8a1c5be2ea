//! Models of what is done once, for loom, with a worker that may be killed at any point.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::check_under;
use super::models_rwlock::mortal;
use super::once::RawOnce;
use crate::sync::crash::{Point, point};
use crate::sync::futex::model::Mode;
use crate::sync::robust::List;
use crate::wait::NEVER;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// What is done once, and what it leaves.
struct Done {
    once: RawOnce,
    value: UnsafeCell<u64>,
}

// SAFETY: loom reports every access to the cell that another thread's could race with.
unsafe impl Send for Done {}
// SAFETY: as above.
unsafe impl Sync for Done {}

impl Done {
    fn new() -> Arc<Self> {
        Arc::new(Done { once: RawOnce::new(), value: UnsafeCell::new(0) })
    }

    fn call(&self, list: List) {
        // SAFETY: this thread's list; the lock outlives the model.
        if let Some(slot) = unsafe { self.once.begin(list, NEVER) }.expect("it comes free") {
            // SAFETY: loom hands out the pointer for this access alone.
            self.value.with_mut(|at| unsafe { *at = 7 });
            point(Point::Written);
            // SAFETY: begun above.
            assert!(unsafe { self.once.complete(list, slot) });
        }
        self.check();
    }

    /// Begins, and comes to nothing.
    fn fail(&self, list: List) {
        // SAFETY: this thread's list; the lock outlives the model.
        if let Some(slot) = unsafe { self.once.begin(list, NEVER) }.expect("it comes free") {
            // SAFETY: begun above.
            assert!(unsafe { self.once.abandon(list, slot) });
        }
    }

    fn wait(&self, list: List) {
        self.once.wait(list, NEVER).expect("somebody does it");
        self.check();
    }

    fn check(&self) {
        assert!(self.once.is_done());
        // SAFETY: as above.
        assert_eq!(self.value.with(|at| unsafe { *at }), 7);
    }
}

fn run(name: &str, preemptions: usize, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    for mode in [Mode::Sleeps, Mode::Spurious] {
        check_under(&[mode], preemptions, name, scenario);
    }
}

#[test]
fn once_is_done_once_and_whoever_waits_sees_it() {
    for at in [
        None,
        Some(Point::Written),
        Some(Point::LockAcquired),
        Some(Point::PhaseMoved),
        Some(Point::PhaseTold),
        Some(Point::LockUnlinked),
        Some(Point::LockFreed),
    ] {
        run(&format!("once, killed at {at:?}"), 2, move || {
            let done = Done::new();
            let of_mortal = done.clone();
            let thread = thread::spawn(move || {
                let list = List::of_thread(1);
                if !mortal(list, at, || of_mortal.call(list)) {
                    // The next one of its kind.
                    of_mortal.call(List::of_thread(2));
                }
            });
            done.wait(List::of_thread(3));
            thread.join().unwrap();
        });
    }
}

/// The kernel's wake for the door may go to who would do it, too. That one has to tell who waits.
#[test]
fn once_done_by_one_who_told_nobody_is_told_by_the_next() {
    check_under(&[Mode::Sleeps], 1, "once, a waiter and another worker asleep", || {
        let done = Done::new();
        let list = List::of_thread(3);
        // SAFETY: this thread's list; the lock outlives the model.
        let slot = unsafe { done.once.begin(list, NEVER) }.expect("it is free").expect("not done");
        let of_waiter = done.clone();
        let waiter = thread::spawn(move || of_waiter.wait(List::of_thread(1)));
        let of_worker = done.clone();
        let worker = thread::spawn(move || of_worker.call(List::of_thread(2)));
        mortal(list, Some(Point::PhaseMoved), || {
            // SAFETY: loom hands out the pointer for this access alone.
            done.value.with_mut(|at| unsafe { *at = 7 });
            // SAFETY: begun above.
            unsafe { done.once.complete(list, slot) };
        });
        waiter.join().unwrap();
        worker.join().unwrap();
    });
}

#[test]
fn once_that_came_to_nothing_is_begun_again_and_waiters_stay_for_it() {
    run("once, abandoned and begun again", 2, || {
        let done = Done::new();
        let of_other = done.clone();
        let thread = thread::spawn(move || {
            of_other.fail(List::of_thread(1));
            of_other.call(List::of_thread(2));
        });
        done.wait(List::of_thread(3));
        thread.join().unwrap();
    });
}

#[test]
fn once_waiter_killed_takes_nobodys_wake_with_it() {
    for at in [Point::PhaseAnnounced, Point::PhaseWoken] {
        check_under(&[Mode::Sleeps], 1, &format!("once, waiter killed at {at:?}"), move || {
            let done = Done::new();
            let waiters = [Some(at), None].map(|at| {
                let done = done.clone();
                thread::spawn(move || {
                    let list = List::of_thread(if at.is_some() { 1 } else { 2 });
                    mortal(list, at, || done.wait(list));
                })
            });
            done.call(List::of_thread(3));
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
        });
    }
}

#[test]
fn once_seen_done_without_waiting_is_seen_whole() {
    run("once, a look", 3, || {
        let done = Done::new();
        let of_other = done.clone();
        let thread = thread::spawn(move || {
            if of_other.once.is_done() {
                of_other.check();
            }
        });
        done.call(List::of_thread(1));
        thread.join().unwrap();
    });
}
