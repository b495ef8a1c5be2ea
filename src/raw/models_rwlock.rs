//! Models of the readers-writer lock, for loom, with one who may be killed at any point. `tests/models` explores longer histories, without the memory model.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::check_under;
use super::mutex::Condition;
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
pub(super) fn mortal(list: List, at: Option<Point>, work: impl FnOnce()) -> bool {
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

/// Threads whose slots differ.
const MORTAL: u32 = 1;
const OTHER: u32 = 33;

impl Guarded {
    /// Every slot was used before: loom sees that two loads race with an exchange, but of two loads
    /// before it only the later, and who claims an unused slot has just loaded what the writer loads.
    fn new() -> Arc<Self> {
        let guarded = Guarded { lock: RawRwLock::new(), value: UnsafeCell::new([0; 2]) };
        for id in [MORTAL, OTHER] {
            guarded.read(List::of_thread(id));
        }
        Arc::new(guarded)
    }

    fn act(&self, writes: bool, list: List) {
        if writes { self.write(list) } else { self.read(list) }
    }

    /// Nobody is inside, and whoever comes gets in.
    fn check_free(&self) {
        let list = List::of_thread(3);
        // SAFETY: this thread's list; the lock outlives the model.
        let slot = unsafe { self.lock.write(list, 0) }.expect("it is free");
        // SAFETY: acquired above.
        assert!(unsafe { self.lock.stop_writing(list, slot) });
    }
}

/// One who may be killed, and one who must not notice but by what it is told. The thread that is
/// spawned is the one that comes second where nothing makes a difference.
fn scenario(mortal_writes: bool, other_writes: bool, at: Option<Point>, mortal_is_spawned: bool) {
    let guarded = Guarded::new();
    let of_spawned = guarded.clone();
    let dying = move |guarded: &Guarded| {
        let list = List::of_thread(MORTAL);
        mortal(list, at, || guarded.act(mortal_writes, list));
    };
    let living = move |guarded: &Guarded| guarded.act(other_writes, List::of_thread(OTHER));
    let spawned =
        thread::spawn(
            move || {
                if mortal_is_spawned { dying(&of_spawned) } else { living(&of_spawned) }
            },
        );
    if mortal_is_spawned {
        living(&guarded)
    } else {
        dying(&guarded)
    }
    spawned.join().unwrap();
    guarded.check_free();
}

fn run(name: &str, mortal_writes: bool, other_writes: bool, at: Option<Point>) {
    for mode in [Mode::Sleeps, Mode::Spurious] {
        for spawned in [false, true] {
            let name = format!("{name}, spawned {spawned}");
            check_under(&[mode], 3, &name, move || {
                scenario(mortal_writes, other_writes, at, spawned)
            });
        }
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

/// A reader sleeps until the end of a phase, and a writer for the door. The wake of the door goes to
/// the writer, which then waits for the reader: somebody has to tell that one that the phase is over.
#[test]
fn rwlock_reader_asleep_in_a_phase_is_told_that_it_is_over() {
    for at in [None, Some(Point::PhaseMoved), Some(Point::LockAcquired), Some(Point::WriterBegun)] {
        let name = format!("rwlock, reader and writer asleep, killed at {at:?}");
        check_under(&[Mode::Sleeps], 2, &name, move || {
            let guarded = Guarded::new();
            let list = List::of_thread(3);
            // SAFETY: this thread's list; the lock outlives the model.
            let slot = unsafe { guarded.lock.write(list, NEVER) }.expect("it is free");
            let of_reader = guarded.clone();
            let reader = thread::spawn(move || of_reader.read(List::of_thread(OTHER)));
            let of_writer = guarded.clone();
            let writer = thread::spawn(move || {
                let list = List::of_thread(MORTAL);
                let dies = at.filter(|at| *at != Point::PhaseMoved);
                mortal(list, dies, || of_writer.write(list));
            });
            mortal(list, at.filter(|at| *at == Point::PhaseMoved), || {
                // SAFETY: acquired above.
                assert!(unsafe { guarded.lock.stop_writing(list, slot) });
            });
            reader.join().unwrap();
            writer.join().unwrap();
            guarded.check_free();
        });
    }
}
