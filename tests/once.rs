//! What is done once, by processes that die over it.

#![cfg(feature = "serde")]

mod common;

use common::{
    Child, Random, child, name, pause_for_ever, raw_fork, wait_until_asleep, watchdog, watchdog_of,
};
use commons::{AtomicU64, Error, LockError, Once, OnceCell, Origin, Process, Segment};
use std::io::{self, Read, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// A child that is at it and does not come to the end.
fn stuck(once: &Once) -> Child<()> {
    let once = once.clone();
    let (mut reader, writer) = io::pipe().unwrap();
    let child = child::<(), _>(move || {
        let _ = once.call_once(|| {
            (&writer).write_all(&[1]).unwrap();
            pause_for_ever();
        });
    });
    reader.read_exact(&mut [0]).expect("the child is at it");
    child
}

#[test]
fn one_of_many_does_it() {
    let _watchdog = watchdog();
    for _ in 0..20 {
        let (once, count) = (Once::new().unwrap(), AtomicU64::new(0).unwrap());
        let children: Vec<_> = (0..4)
            .map(|_| {
                let (once, count) = (once.clone(), count.clone());
                child(move || {
                    once.call_once(|| {
                        count.fetch_add(1, SeqCst);
                    })
                    .unwrap();
                    count.load(SeqCst)
                })
            })
            .collect();
        for child in children {
            assert_eq!(child.finish(), 1);
        }
        assert!(once.is_completed());
        once.call_once(|| unreachable!()).unwrap();
        once.wait().unwrap();
    }
}

#[test]
fn the_next_one_does_it_when_one_dies_or_panics_over_it() {
    let _watchdog = watchdog();
    let (once, count) = (Once::new().unwrap(), AtomicU64::new(0).unwrap());
    let first = stuck(&once);
    let next: Vec<_> = (0..3)
        .map(|_| {
            let (once, count) = (once.clone(), count.clone());
            child(move || {
                once.call_once(|| {
                    count.fetch_add(1, SeqCst);
                })
                .unwrap();
            })
        })
        .collect();
    next.iter().for_each(|child| wait_until_asleep(child.id()));
    first.kill();
    next.into_iter().for_each(Child::finish);
    assert_eq!(count.load(SeqCst), 1);

    let once = Once::new().unwrap();
    let panics = catch_unwind(AssertUnwindSafe(|| once.call_once(|| panic!("over it"))));
    assert!(panics.is_err() && !once.is_completed());
    once.call_once(|| ()).unwrap();
    assert!(once.is_completed());
}

#[test]
fn who_only_waits_is_woken_at_the_end_however_many_die_before() {
    let _watchdog = watchdog();
    let once = Once::new().unwrap();
    let waiters: Vec<_> = (0..4)
        .map(|_| {
            let once = once.clone();
            child(move || {
                once.wait().unwrap();
                assert!(once.is_completed());
            })
        })
        .collect();
    for _ in 0..4 {
        // They sleep while nobody is at it, and while somebody is.
        waiters.iter().for_each(|child| wait_until_asleep(child.id()));
        let at_it = stuck(&once);
        waiters.iter().for_each(|child| wait_until_asleep(child.id()));
        at_it.kill();
    }
    let panics = catch_unwind(AssertUnwindSafe(|| once.call_once(|| panic!("over it"))));
    assert!(panics.is_err());
    waiters.iter().for_each(|child| wait_until_asleep(child.id()));
    once.call_once(|| ()).unwrap();
    waiters.into_iter().for_each(Child::finish);
}

#[test]
fn waits_end_when_their_time_is_over_and_not_before() {
    let _watchdog = watchdog();
    let once = Once::new().unwrap();
    let timeout = Duration::from_millis(30);
    for somebody in [false, true] {
        let at_it = somebody.then(|| stuck(&once));
        let start = Instant::now();
        assert_eq!(once.wait_timeout(timeout).unwrap_err(), LockError::TimedOut);
        assert!(start.elapsed() >= timeout);
        assert_eq!(once.wait_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
        let deadline = Instant::now() + timeout;
        assert_eq!(once.wait_deadline(deadline).unwrap_err(), LockError::TimedOut);
        assert!(Instant::now() >= deadline);
        if let Some(at_it) = at_it {
            assert!(format!("{once:?}").contains("thread_at_it: Some"), "{once:?}");
            at_it.kill();
        }
    }
    once.call_once(|| ()).unwrap();
    once.wait_timeout(Duration::ZERO).unwrap();
}

#[test]
fn to_wait_for_oneself_is_an_error() {
    let _watchdog = watchdog();
    let once = Once::new().unwrap();
    once.call_once(|| {
        assert_eq!(once.call_once(|| ()).unwrap_err(), LockError::Deadlock);
        assert_eq!(once.wait().unwrap_err(), LockError::Deadlock);
        assert!(matches!(Process::spawn(|| ()), Err(Error::Holding { locks: 1 })));
        let in_child = || i32::from(once.wait_timeout(Duration::ZERO) != Err(LockError::TimedOut));
        assert_eq!(raw_fork(in_child).wait(), 0);
    })
    .unwrap();
    let cell = OnceCell::<u64>::new().unwrap();
    cell.get_or_init(|| {
        assert_eq!(cell.get().unwrap(), None);
        assert_eq!(cell.set(1).unwrap_err(), LockError::Deadlock);
        2
    })
    .unwrap();
    assert_eq!(cell.get().unwrap(), Some(&2));
}

#[test]
fn they_are_found_by_name_and_by_label_and_by_nothing_else() {
    let _watchdog = watchdog();
    let (name, other) = (name("once"), common::name("once-cell"));
    let once = Once::create(&name).unwrap();
    assert!(matches!(Once::create(&name), Err(Error::NameTaken { .. })));
    assert!(matches!(Once::open_or_create(&name), Ok((_, Origin::Opened))));
    assert!(matches!(OnceCell::<u64>::open(&name), Err(Error::TypeMismatch { .. })));
    once.call_once(|| ()).unwrap();
    drop(once);
    assert!(Once::open(&name).unwrap().is_completed());
    Once::unlink(&name).unwrap();
    assert!(matches!(Once::open(&name), Err(Error::NotFound { .. })));

    let (cell, _) = OnceCell::<[u8; 3]>::open_or_create(&other).unwrap();
    assert!(matches!(OnceCell::<u8>::open(&other), Err(Error::TypeMismatch { .. })));
    assert_eq!(cell.set([1, 2, 3]).unwrap(), Ok(()));
    let again = OnceCell::<[u8; 3]>::open(&other).unwrap();
    assert_eq!(again.get().unwrap(), Some(&[1, 2, 3]));
    OnceCell::<u8>::unlink(&other).unwrap();
    let segment = Segment::anonymous(10_000).unwrap();
    let made = OnceCell::<u16>::new_in(&segment, "c").unwrap();
    assert_eq!(*made.get_or_init(|| 5).unwrap(), 5);
    assert_eq!(OnceCell::<u16>::open_in(&segment, "c").unwrap().get().unwrap(), Some(&5));
    assert!(!Once::open_or_create_in(&segment, "o").unwrap().0.is_completed());
}

#[test]
fn a_value_is_put_in_once() {
    let _watchdog = watchdog();
    let cell = OnceCell::<u64>::new().unwrap();
    assert_eq!(cell.get().unwrap(), None);
    assert_eq!(cell.get_or_try_init(|| Err::<u64, _>("no")).unwrap(), Err("no"));
    assert_eq!(cell.get().unwrap(), None);
    let other = cell.clone();
    let waiting = child(move || *other.wait().unwrap());
    wait_until_asleep(waiting.id());
    let other = cell.clone();
    let dies = child::<(), _>(move || {
        let _ = other.get_or_init(|| std::process::abort());
    });
    assert!(dies.join().is_err());
    assert_eq!(cell.set(4).unwrap(), Ok(()));
    assert_eq!(cell.set(5).unwrap(), Err(5));
    assert_eq!(waiting.finish(), 4);
    assert_eq!(*cell.get_or_init(|| unreachable!()).unwrap(), 4);
    assert_eq!(*cell.wait_timeout(Duration::ZERO).unwrap(), 4);
    assert_eq!(*cell.wait_deadline(std::time::Instant::now()).unwrap(), 4);
    let empty = OnceCell::<u64>::new().unwrap();
    let soon = std::time::Instant::now() + Duration::from_millis(5);
    assert_eq!(empty.wait_deadline(soon).unwrap_err(), LockError::TimedOut);
    assert!(std::time::Instant::now() >= soon);
    assert!(format!("{cell:?}").contains("Some(4)") || format!("{cell:?}").contains("value: Some"));
}

/// Those who do it and those who wait for it are killed at random; the rest come to the end.
#[test]
fn it_comes_to_an_end_whoever_is_killed() {
    let _watchdog = watchdog_of(120);
    let mut random = Random::seeded("it_comes_to_an_end_whoever_is_killed");
    let rounds = if cfg!(debug_assertions) { 60 } else { 400 };
    for _ in 0..rounds {
        let (once, begun) = (Once::new().unwrap(), AtomicU64::new(0).unwrap());
        let start = |i: usize| {
            let (once, begun) = (once.clone(), begun.clone());
            child(move || {
                if i.is_multiple_of(2) {
                    once.wait().unwrap();
                } else {
                    once.call_once(|| {
                        begun.fetch_add(1, SeqCst);
                        (0..2000).for_each(|_| std::hint::spin_loop());
                    })
                    .unwrap();
                }
            })
        };
        let mut crowd: Vec<_> = (0..6).map(start).collect();
        for _ in 0..random.below(4) {
            random.pause(250);
            crowd.swap_remove(random.below(crowd.len() as u64) as usize).kill();
        }
        once.call_once(|| ()).unwrap();
        crowd.into_iter().for_each(Child::finish);
    }
}
