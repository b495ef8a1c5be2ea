//! Models of the readers-writer lock and of what is done once, for loom, with one who may be killed
//! at any point. `tests/models` explores longer histories, without the memory model.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::check_under;
use super::mutex::Condition;
use super::once::RawOnce;
use super::rwlock::RawRwLock;
use crate::sync::crash::{Point, die_at, point};
use crate::sync::futex::model::Mode;
use crate::sync::robust::List;
use crate::wait::NEVER;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs what may be killed; false: it was.
fn mortal(list: List, at: Option<Point>, work: impl FnOnce()) -> bool {
    die_at(at);
    let done = catch_unwind(AssertUnwindSafe(work));
    die_at(None);
    match done {
        Ok(()) => true,
        Err(panic) if panic.is::<&str>() || panic.is::<String>() => {
            std::panic::resume_unwind(panic)
        }
        Err(_) => {
            list.die();
            false
        }
    }
}

/// Two values that are equal whenever nobody is inside.
struct Guarded {
    lock: RawRwLock,
    value: UnsafeCell<[u64; 2]>,
}

// SAFETY: loom reports every access to the cell that another thread's could race with.
unsafe impl Send for Guarded {}
// SAFETY: as above.
unsafe impl Sync for Guarded {}

impl Guarded {
    fn read(&self, list: List) {
        // SAFETY: this thread's list; the lock outlives the model.
        let share = unsafe { self.lock.read(list, NEVER) }.expect("it comes free");
        if self.lock.door().condition() == Condition::Clean {
            // SAFETY: loom hands out the pointer for this access alone.
            let [first, second] = self.value.with(|at| unsafe { *at });
            assert_eq!(first, second, "somebody is inside, or died and nobody was told");
        }
        point(Point::Written);
        // SAFETY: acquired above.
        assert!(unsafe { self.lock.stop_reading(list, share) });
    }

    fn write(&self, list: List) {
        // SAFETY: this thread's list; the lock outlives the model.
        let slot = unsafe { self.lock.write(list, NEVER) }.expect("it comes free");
        let door = self.lock.door();
        if door.enter(list) != Condition::Clean {
            door.begin_repair(list);
        }
        // SAFETY: loom hands out the pointer for this access alone.
        let first = self.value.with(|at| unsafe { (*at)[0] }) + 1;
        // SAFETY: as above.
        self.value.with_mut(|at| unsafe { (*at)[0] = first });
        point(Point::Written);
        // SAFETY: as above.
        self.value.with_mut(|at| unsafe { (*at)[1] = first });
        door.leave();
        // SAFETY: acquired above.
        assert!(unsafe { self.lock.stop_writing(list, slot) });
    }
}

/// One who may be killed, and one who must not notice but by what it is told.
fn scenario(mortal_writes: bool, other_writes: bool, at: Option<Point>) {
    let lock = RawRwLock::new();
    let guarded = Arc::new(Guarded { lock, value: UnsafeCell::new([0; 2]) });
    let of_mortal = guarded.clone();
    let thread =
        thread::spawn(move || {
            let list = List::of_thread(1);
            mortal(list, at, || {
                if mortal_writes { of_mortal.write(list) } else { of_mortal.read(list) }
            })
        });
    // Another slot than the first one's.
    let list = List::of_thread(33);
    if other_writes {
        guarded.write(list)
    } else {
        guarded.read(list)
    }
    thread.join().unwrap();
    let list = List::of_thread(3);
    // SAFETY: this thread's list; the lock outlives the model.
    let slot = unsafe { guarded.lock.write(list, 0) }.expect("it is free");
    // SAFETY: acquired above.
    assert!(unsafe { guarded.lock.stop_writing(list, slot) });
}

fn run(name: &str, mortal_writes: bool, other_writes: bool, at: Option<Point>) {
    for mode in [Mode::Sleeps, Mode::Spurious] {
        check_under(&[mode], 3, name, move || scenario(mortal_writes, other_writes, at));
    }
}

#[test]
fn rwlock_excludes_and_nobody_is_forgotten() {
    run("rwlock, a reader and a writer", false, true, None);
    run("rwlock, two writers", true, true, None);
    run("rwlock, two readers", false, false, None);
}

#[test]
fn rwlock_survives_the_death_of_a_reader_at_every_point() {
    for at in [
        Point::Written,
        Point::ShareClaimed,
        Point::ShareLinked,
        Point::ShareYielded,
        Point::PhaseAnnounced,
        Point::PhaseWoken,
        Point::ShareUnlinked,
        Point::ShareFreed,
    ] {
        run(&format!("rwlock, a reader killed at {at:?}"), false, true, Some(at));
    }
}

#[test]
fn rwlock_survives_the_death_of_a_writer_at_every_point() {
    for at in [
        Point::Written,
        Point::LockAcquired,
        Point::LockLinked,
        Point::WriterBegun,
        Point::WriterAnnounced,
        Point::PhaseMoved,
        Point::PhaseTold,
        Point::LockUnlinked,
        Point::LockFreed,
    ] {
        run(&format!("rwlock, a writer killed at {at:?}"), true, false, Some(at));
    }
}

/// What is done once, and what it leaves.
struct Done {
    once: RawOnce,
    value: UnsafeCell<u64>,
}

// SAFETY: as `Guarded`.
unsafe impl Send for Done {}
// SAFETY: as `Guarded`.
unsafe impl Sync for Done {}

impl Done {
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

    fn check(&self) {
        assert!(self.once.is_done());
        // SAFETY: as above.
        assert_eq!(self.value.with(|at| unsafe { *at }), 7);
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
        let once = move || {
            let done = Arc::new(Done { once: RawOnce::new(), value: UnsafeCell::new(0) });
            let of_mortal = done.clone();
            let thread = thread::spawn(move || {
                let list = List::of_thread(1);
                if !mortal(list, at, || of_mortal.call(list)) {
                    // The next one of its kind.
                    of_mortal.call(List::of_thread(2));
                }
            });
            done.once.wait(List::of_thread(3), NEVER).expect("somebody does it");
            done.check();
            thread.join().unwrap();
        };
        for mode in [Mode::Sleeps, Mode::Spurious] {
            check_under(&[mode], 3, &format!("once, killed at {at:?}"), once);
        }
    }
}
