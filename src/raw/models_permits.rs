//! Models of permits, for loom, with one who may be killed at any point: with a permit, while it takes
//! or returns one, and while it sleeps for one. Time stands still, so nothing but the kernel's wakes
//! comes to the rescue.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::check_under;
use super::models_rwlock::mortal;
use super::permits::RawPermits;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::crash::{Point, point};
use crate::sync::futex::model::Mode;
use crate::sync::robust::{List, RobustWord, Slot, WAITERS};
use crate::wait::{NEVER, WaitStrategy};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// Permits, and what belongs to who has the only one.
struct Pool {
    words: Vec<RobustWord>,
    bell: AtomicU32,
    value: UnsafeCell<u64>,
}

// SAFETY: loom reports every access to the cell that another thread's could race with.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}

impl Pool {
    fn new(permits: usize) -> Arc<Self> {
        let words = (0..permits).map(|_| RobustWord::new()).collect();
        Arc::new(Pool { words, bell: AtomicU32::new(0), value: UnsafeCell::new(0) })
    }

    fn raw(&self) -> RawPermits<'_> {
        RawPermits { words: &self.words, bell: &self.bell }
    }

    fn take(&self, list: List) -> (usize, Slot) {
        // SAFETY: this thread's list; the words outlive the model.
        unsafe { self.raw().acquire(list, 0, WaitStrategy::Park, NEVER) }.expect("no deadline")
    }

    fn give(&self, list: List, (index, slot): (usize, Slot)) {
        // SAFETY: taken before.
        assert!(unsafe { self.raw().release(list, index, slot) });
    }

    /// With the only permit.
    fn work(&self, list: List) {
        let permit = self.take(list);
        // SAFETY: loom hands out the pointer for this access alone.
        self.value.with_mut(|at| unsafe { *at += 1 });
        point(Point::Written);
        self.give(list, permit);
    }

    fn is_whole(&self) {
        assert_eq!(self.raw().available(), self.words.len(), "a permit has not come back");
    }
}

#[test]
fn permit_is_one_holders_and_brings_what_was_written_before() {
    for mode in [Mode::Sleeps, Mode::Spurious] {
        check_under(&[mode], 3, "permits: two take turns", || {
            let pool = Pool::new(1);
            let of_other = pool.clone();
            let other = thread::spawn(move || of_other.work(List::of_thread(1)));
            pool.work(List::of_thread(2));
            other.join().unwrap();
            pool.is_whole();
        });
    }
}

#[test]
fn permit_of_the_dead_comes_back_and_so_do_the_wakes_that_they_owed() {
    for at in [
        Point::Written,
        Point::LockAcquired,
        Point::PermitReturned,
        Point::SignalAnnounced,
        Point::SignalWoken,
    ] {
        check_under(&[Mode::Sleeps], 2, &format!("permits: killed at {at:?}"), move || {
            let pool = Pool::new(1);
            let threads = [Some(at), None].map(|at| {
                let pool = pool.clone();
                thread::spawn(move || {
                    let list = List::of_thread(if at.is_some() { 1 } else { 2 });
                    mortal(list, at, || pool.work(list));
                })
            });
            pool.work(List::of_thread(3));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
            pool.is_whole();
        });
    }
}

/// The holder dies, and the one that the kernel wakes for that, too: its bell wakes the next.
#[test]
fn permit_of_the_dead_reaches_the_next_although_the_woken_one_dies() {
    check_under(&[Mode::Sleeps], 2, "permits: the holder and the woken one are killed", || {
        let pool = Pool::new(1);
        let threads = [(1, Point::Written), (2, Point::SignalWoken)].map(|(id, at)| {
            let pool = pool.clone();
            thread::spawn(move || {
                let list = List::of_thread(id);
                mortal(list, Some(at), || pool.work(list));
            })
        });
        pool.work(List::of_thread(3));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        pool.is_whole();
    });
}

/// The kernel wakes one of two for the permit of the dead. A third takes it first, and the one that
/// was woken is killed over that.
#[test]
fn permit_that_a_third_takes_leaves_nobody_asleep() {
    check_under(&[Mode::Sleeps], 1, "permits: the woken one misses it and is killed", || {
        let pool = Pool::new(1);
        let holder = List::of_thread(3);
        pool.take(holder);
        let of_mortal = pool.clone();
        let dying = thread::spawn(move || {
            let list = List::of_thread(1);
            mortal(list, Some(Point::PermitMissed), || {
                of_mortal.take(list);
            });
            // Or with the permit.
            list.die();
        });
        let of_other = pool.clone();
        let other = thread::spawn(move || of_other.work(List::of_thread(2)));
        holder.die();
        pool.work(List::of_thread(4));
        dying.join().unwrap();
        other.join().unwrap();
        pool.is_whole();
    });
}

/// What that rests on, without the two preemptions that it takes: whoever is woken and misses the
/// permit has its word pending, of which the kernel tells nobody else while a third has it.
#[test]
fn permit_keeps_the_mark_of_sleepers_whoever_takes_it() {
    check_under(&[Mode::Sleeps], 1, "permits: the mark", || {
        let pool = Pool::new(1);
        let holder = List::of_thread(1);
        pool.take(holder);
        pool.words[0].word.fetch_or(WAITERS, Relaxed);
        holder.die();
        pool.take(List::of_thread(2));
        assert_ne!(pool.words[0].word.load(Relaxed) & WAITERS, 0);
    });
}

#[test]
fn permit_after_permit_reaches_everybody_who_sleeps_for_any() {
    check_under(&[Mode::Sleeps], 2, "permits: two returned, two asleep", || {
        let pool = Pool::new(2);
        let list = List::of_thread(3);
        let both = [pool.take(list), pool.take(list)];
        let threads = [1, 2].map(|id| {
            let pool = pool.clone();
            thread::spawn(move || {
                // They keep what they get, so nobody helps the other.
                pool.take(List::of_thread(id));
            })
        });
        both.into_iter().for_each(|permit| pool.give(list, permit));
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.raw().available(), 0);
    });
}
