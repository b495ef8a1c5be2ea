//! Arrays behind a lock: elements in place for one thread of all processes at a time, and what
//! becomes of them when that thread dies.

#![cfg(feature = "serde")]
#![allow(
    unsafe_code,
    reason = "writes to the file of a segment, and copies a guard as a fork does"
)]

mod common;

use bytemuck::{CheckedBitPattern, NoUninit};
use common::{
    Child, Random, child, in_child, name, pause_for_ever, raw_fork, thread_id, wait_until_asleep,
    watchdog,
};
use commons::{Array, Error, Kind, LockError, LockedArray, Origin, Segment};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

/// A child that holds the lock, has written to the first element and lives on.
fn holder(array: &LockedArray<u64>) -> Child<()> {
    let (theirs, parent) = (array.clone(), std::process::id());
    let (mut reader, writer) = io::pipe().unwrap();
    let holder = child(move || {
        let mut guard = theirs.lock().unwrap();
        guard[0] += u64::from(parent);
        (&writer).write_all(&[1]).unwrap();
        pause_for_ever()
    });
    reader.read_exact(&mut [0]).expect("the child does it");
    holder
}

#[test]
fn it_is_found_by_name_and_by_label_and_is_no_array() {
    let _watchdog = watchdog();
    let name = name("locked");
    let made = LockedArray::create(&name, 3, 7u32).unwrap();
    assert!(matches!(LockedArray::create(&name, 3, 7u32), Err(Error::NameTaken { .. })));
    made.lock().unwrap()[1] = 8;
    let opened = LockedArray::<u32>::open(&name).unwrap();
    assert_eq!(*opened.lock().unwrap(), [7, 8, 7]);
    assert!(matches!(LockedArray::<i32>::open(&name), Err(Error::TypeMismatch { .. })));
    // Elements that are reached without the lock would make `&mut [T]` a lie.
    assert!(matches!(Array::<u32>::open(&name), Err(Error::TypeMismatch { .. })));
    assert!(
        matches!(LockedArray::open_or_create(&name, 9, 1u32), Ok((a, Origin::Opened)) if a.len() == 3)
    );
    LockedArray::<u32>::unlink(&name).unwrap();
    assert!(matches!(LockedArray::<u32>::open(&name), Err(Error::NotFound { .. })));

    let segment = Segment::anonymous(10_000).unwrap();
    let made = LockedArray::new_from_in(&segment, "a", &[1u8, 2, 3]).unwrap();
    made.lock().unwrap().reverse();
    assert_eq!(*LockedArray::<u8>::open_in(&segment, "a").unwrap().lock().unwrap(), [3, 2, 1]);
    assert_eq!(segment.objects().unwrap()[0].kind, Kind::LockedArray);
    assert_eq!(segment.objects().unwrap()[0].capacity, 3);
    let shared = Array::new_in(&segment, "b", 3, 0u8).unwrap();
    assert!(matches!(LockedArray::<u8>::open_in(&segment, "b"), Err(Error::TypeMismatch { .. })));
    drop(shared);
}

#[test]
fn arrays_of_no_elements_of_no_bytes_and_of_too_many_are_results() {
    let empty = LockedArray::new(0, 1u64).unwrap();
    assert!(empty.is_empty() && empty.lock().unwrap().is_empty());
    let nothing = LockedArray::new(usize::MAX / 2, ()).unwrap();
    assert_eq!(nothing.lock().unwrap().len(), usize::MAX / 2);
    for len in [usize::MAX, usize::MAX / 8, 1 << 60] {
        let made = LockedArray::new(len, 0u64);
        let refused = matches!(made, Err(Error::TooLarge { .. } | Error::NoSpace { .. }));
        assert!(refused, "{len}: {made:?}");
    }
    #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Zeroable, bytemuck::Pod)]
    #[repr(C, align(1024))]
    struct Wide([u8; 1024]);
    let aligned = LockedArray::new(3, Wide([5; 1024])).unwrap();
    let guard = aligned.lock().unwrap();
    assert!(guard.as_ptr().is_aligned() && *guard == [Wide([5; 1024]); 3]);
}

#[test]
fn many_processes_add_to_all_elements_and_lose_nothing() {
    let _watchdog = watchdog();
    let array = LockedArray::new(5000, 0u64).unwrap();
    let adders: Vec<Child<()>> = (0..4)
        .map(|_| {
            let array = array.clone();
            child(move || {
                for _ in 0..100 {
                    let mut elements = array.lock().unwrap();
                    let first = elements[0];
                    assert!(elements.iter().all(|&e| e == first), "somebody else is inside");
                    elements.iter_mut().for_each(|e| *e += 1);
                }
            })
        })
        .collect();
    adders.into_iter().for_each(Child::finish);
    assert!(array.lock().unwrap().iter().all(|&e| e == 400));
}

#[test]
fn try_and_timed_forms_change_nothing_and_say_why() {
    let _watchdog = watchdog();
    let array = LockedArray::new(2, 7u64).unwrap();
    let guard = array.lock().unwrap();
    assert_eq!(array.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(array.try_lock().unwrap_err(), LockError::WouldBlock);
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert_eq!(array.try_lock().unwrap_err(), LockError::WouldBlock);
            assert_eq!(array.lock_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
            let (begin, timeout) = (Instant::now(), Duration::from_millis(20));
            assert_eq!(array.lock_deadline(begin + timeout).unwrap_err(), LockError::TimedOut);
            assert!(begin.elapsed() >= timeout);
        });
        other.join().unwrap();
    });
    let text = format!("{array:?}");
    let owner = format!("owner: process {}, thread {}", std::process::id(), thread_id());
    assert!(text.contains(&owner) && text.contains("len: 2"), "{text}");
    drop(guard);
    assert_eq!(format!("{:?}", array.lock_timeout(Duration::ZERO).unwrap()), "[7, 7]");
    assert!(!array.is_locked());
}

#[test]
fn the_death_of_the_owner_is_told_until_a_repair() {
    let _watchdog = watchdog();
    let array = LockedArray::new(3, 0u64).unwrap();
    let owner = holder(&array);
    let pid = owner.id();
    let waiter = {
        let array = array.clone();
        child(move || array.lock().map(drop).unwrap_err() == LockError::OwnerDied { pid })
    };
    wait_until_asleep(waiter.id());
    owner.kill();
    assert!(waiter.finish());
    for _ in 0..2 {
        assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid });
        assert_eq!(array.try_lock().unwrap_err(), LockError::OwnerDied { pid });
    }
    let guard = array.recover().unwrap();
    assert!(guard.is_damaged());
    assert_eq!(guard[0], u64::from(std::process::id()), "what the dead one wrote is there");
    drop(guard);
    array.clear_poison().unwrap();
    assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid }, "looked at, not repaired");
    let repaired = array.lock_or_repair(|elements| elements.fill(4)).unwrap();
    assert_eq!(*repaired, [4; 3]);
    drop(repaired);
    let sound = array.lock_or_repair(|_| panic!("there is nothing to repair")).unwrap();
    assert_eq!(*sound, [4; 3]);
}

#[test]
fn a_repairer_that_dies_is_told_of_in_its_turn() {
    let _watchdog = watchdog();
    let array = LockedArray::new(3, 0u64).unwrap();
    holder(&array).kill();
    let theirs = array.clone();
    let repairer: Child<()> = child(move || {
        let _guard = theirs.lock_or_repair(|_| std::process::abort());
    });
    let pid = repairer.id();
    assert!(repairer.join().is_err());
    assert_eq!(array.lock().unwrap_err(), LockError::OwnerDied { pid });
}

#[test]
fn a_panic_inside_poisons_until_somebody_looks() {
    let _watchdog = watchdog();
    let array = LockedArray::new(2, 0u64).unwrap();
    let panics = catch_unwind(AssertUnwindSafe(|| {
        array.lock().unwrap()[0] = 1;
        let mut guard = array.lock().unwrap();
        guard[1] = 1;
        panic!("inside");
    }));
    assert!(panics.is_err());
    assert_eq!(array.lock().unwrap_err(), LockError::Poisoned);
    array.clear_poison().unwrap();
    assert_eq!(*array.lock().unwrap(), [1, 1]);
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let _guard = array.recover().unwrap().mark_consistent();
        panic!("inside again");
    }));
    assert!(panics.is_err());
    assert_eq!(*array.reset(9).unwrap(), [9, 9]);
    assert_eq!(*array.lock().unwrap(), [9, 9]);
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Side {
    Left = 3,
    Right = 5,
}

#[test]
fn an_element_that_is_no_value_is_an_error_until_a_reset() {
    let _watchdog = watchdog();
    let name = name("bad");
    let array = LockedArray::create(&name, 100, Side::Left).unwrap();
    let bytes = std::fs::read(name.path()).unwrap();
    let at = bytes.windows(100).position(|w| w == [3; 100]).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    file.write_all_at(&[5, 4], at as u64 + 98).unwrap();
    for bad in [array.lock().err(), array.try_lock().err(), array.recover().err()] {
        assert!(matches!(bad, Some(LockError::Corrupted(_))), "{bad:?}");
    }
    assert!(!array.is_locked());
    assert!(array.reset(Side::Right).unwrap().iter().all(|&side| side == Side::Right));
    assert_eq!(array.lock().unwrap()[99], Side::Right);
}

#[test]
fn a_copy_of_a_guard_in_a_forked_child_releases_nothing() {
    let _watchdog = watchdog();
    let array = LockedArray::new(2, 0u64).unwrap();
    let guard = array.lock().unwrap();
    let code = raw_fork(|| {
        // SAFETY: dropped once in this process.
        drop(unsafe { std::ptr::read(&raw const guard) });
        i32::from(!matches!(array.try_lock(), Err(LockError::WouldBlock)))
    });
    assert_eq!(code.wait(), 0);
    assert!(array.is_locked());
    drop(guard);
    let theirs = array.clone();
    in_child(move || theirs.lock().unwrap()[0] = 3);
    assert_eq!(*array.lock().unwrap(), [3, 0]);
}

#[test]
fn owners_that_are_killed_at_any_moment_leave_a_lock_that_goes_on() {
    let _watchdog = watchdog();
    let mut random =
        Random::seeded("owners_that_are_killed_at_any_moment_leave_a_lock_that_goes_on");
    let array = LockedArray::new(64, 0u64).unwrap();
    let mut died_inside = 0;
    for _ in 0..60 {
        let theirs = array.clone();
        let adder: Child<()> = child(move || {
            loop {
                theirs.lock().unwrap().iter_mut().for_each(|e| *e += 1);
            }
        });
        let pid = adder.id();
        let enough = array.lock().unwrap()[0] + 1 + random.below(2000);
        while array.lock().unwrap()[0] < enough {}
        adder.kill();
        let mut told = None;
        let guard = array.lock_or_repair(|elements| {
            told = Some(elements.to_vec());
            let most = elements[0];
            elements.fill(most);
        });
        let guard = guard.unwrap();
        assert!(guard.iter().all(|&e| e == guard[0]), "torn, and nobody was told: {guard:?}");
        if let Some(left) = told {
            died_inside += 1;
            assert!(
                left.iter().all(|&e| e == left[0] || e + 1 == left[0]),
                "process {pid}: {left:?}"
            );
        }
    }
    eprintln!("{died_inside} of 60 died inside");
}
