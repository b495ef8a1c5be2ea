//! Locks. (04, release by anybody, is `Semaphore::new(1)`'s; 03 and 08, releasing what one does not
//! have, cannot be written: a release is the end of a guard, which does not leave its thread.)

use crate::common::{child, in_child, raw_fork, thread_id, wait_until_asleep, watchdog};
use commons::{LockError, Mutex, RecursiveMutex};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::{Duration, Instant};

#[test]
fn lock_01_a_new_lock_is_free_and_a_second_acquire_fails() {
    let _watchdog = watchdog();
    let lock = Mutex::new(()).unwrap();
    assert!(!lock.is_locked());
    let guard = lock.try_lock().unwrap();
    assert_eq!(lock.try_lock().unwrap_err(), LockError::WouldBlock);
    drop(guard);
    drop(lock.lock().unwrap());
}

#[test]
fn lock_02_a_timed_acquire_changes_nothing_and_zero_does_not_wait() {
    let _watchdog = watchdog();
    let lock = Mutex::new(7u64).unwrap();
    let guard = lock.lock().unwrap();
    thread::scope(|scope| {
        let other = scope.spawn(|| {
            assert_eq!(lock.lock_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
            let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
            assert_eq!(lock.lock_deadline(past).unwrap_err(), LockError::TimedOut);
            let start = Instant::now();
            let timeout = Duration::from_millis(20);
            assert_eq!(lock.lock_timeout(timeout).unwrap_err(), LockError::TimedOut);
            assert!(start.elapsed() >= timeout);
            assert_eq!(lock.try_lock().unwrap_err(), LockError::WouldBlock);
        });
        other.join().unwrap();
    });
    assert_eq!(*guard, 7);
    drop(guard);
    drop(lock.lock_timeout(Duration::ZERO).unwrap());
}

#[test]
fn lock_03_a_free_lock_stays_free_when_a_guard_of_another_is_dropped() {
    let _watchdog = watchdog();
    let (held, free) = (Mutex::new(()).unwrap(), Mutex::new(()).unwrap());
    let guard = held.lock().unwrap();
    drop(free.lock().unwrap());
    assert!(held.is_locked() && !free.is_locked());
    drop(guard);
    assert!(!held.is_locked());
}

#[test]
fn lock_05_acquiring_what_one_holds_is_reported() {
    let _watchdog = watchdog();
    let lock = Mutex::new(()).unwrap();
    let _guard = lock.lock().unwrap();
    assert_eq!(lock.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(lock.clone().lock().unwrap_err(), LockError::Deadlock);
}

#[test]
fn lock_06_a_scope_releases_it_also_when_it_ends_by_an_error() {
    let _watchdog = watchdog();
    let lock = Mutex::new(()).unwrap();
    let scope = || -> Result<(), LockError> {
        let _guard = lock.lock()?;
        Err(LockError::WouldBlock)
    };
    assert!(scope().is_err() && !lock.is_locked());
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let _guard = lock.lock().unwrap();
        panic!("in the scope");
    }));
    assert!(panics.is_err() && !lock.is_locked());
}

#[test]
fn lock_07_a_recursive_lock_is_free_after_as_many_releases() {
    let _watchdog = watchdog();
    let lock = RecursiveMutex::new(1u64).unwrap();
    let other = lock.clone();
    let first = lock.lock().unwrap();
    let second = other.try_lock().unwrap();
    let third = lock.lock_timeout(Duration::ZERO).unwrap();
    second.set(second.get() + 1);
    assert_eq!((first.get(), third.get()), (2, 2));
    let is_free = || thread::scope(|scope| scope.spawn(|| lock.try_lock().is_ok()).join().unwrap());
    drop(first);
    assert!(!is_free());
    drop(third);
    assert!(!is_free() && lock.is_locked());
    drop(second);
    assert!(is_free());
    third_party(&lock);
}

/// The last guard may be another handle's than the first.
fn third_party(lock: &RecursiveMutex<u64>) {
    let handle = lock.clone();
    let outer = handle.lock().unwrap();
    let inner = lock.lock().unwrap();
    drop(outer);
    drop(handle);
    assert!(lock.is_locked());
    drop(inner);
    assert!(!lock.is_locked());
}

#[test]
fn lock_08_only_the_owner_of_a_recursive_lock_releases_it() {
    let _watchdog = watchdog();
    let lock = RecursiveMutex::new(0u64).unwrap();
    let guards = [lock.lock().unwrap(), lock.lock().unwrap()];
    // A child's copies of the guards release nothing.
    let code = raw_fork(|| {
        // SAFETY: dropped once in this process.
        let copies = unsafe { std::ptr::read(&raw const guards) };
        drop(copies);
        i32::from(!matches!(lock.try_lock(), Err(LockError::WouldBlock)))
    });
    assert_eq!(code.wait(), 0);
    assert!(lock.is_locked());
    drop(guards);
    assert!(!lock.is_locked());
}

#[test]
fn lock_09_what_is_owned_is_refused_to_other_threads_and_processes() {
    let _watchdog = watchdog();
    let (lock, recursive) = (Mutex::new(()).unwrap(), RecursiveMutex::new(()).unwrap());
    let refused = |lock: &Mutex<()>, recursive: &RecursiveMutex<()>| {
        matches!(lock.try_lock(), Err(LockError::WouldBlock))
            && matches!(recursive.try_lock(), Err(LockError::WouldBlock))
    };
    let guards = (lock.lock().unwrap(), recursive.lock().unwrap());
    let in_thread =
        thread::scope(|scope| scope.spawn(|| refused(&lock, &recursive)).join().unwrap());
    assert!(in_thread);
    assert_eq!(raw_fork(|| i32::from(refused(&lock, &recursive))).wait(), 1);
    drop(guards);
}

#[test]
fn lock_10_a_forked_child_of_the_owner_does_not_own_it() {
    let _watchdog = watchdog();
    let lock = RecursiveMutex::new(()).unwrap();
    let guard = lock.lock().unwrap();
    let code = raw_fork(|| match lock.lock_timeout(Duration::from_millis(1)) {
        Err(LockError::TimedOut) => 0,
        _ => 1,
    });
    assert_eq!(code.wait(), 0);
    drop(guard);
}

#[test]
fn lock_11_its_text_form_says_who_has_it_and_how_often() {
    let _watchdog = watchdog();
    let (lock, recursive) = (Mutex::new(()).unwrap(), RecursiveMutex::new(()).unwrap());
    assert!(format!("{lock:?} {recursive:?}").matches("owner: None").count() == 2);
    let guards = (lock.lock().unwrap(), recursive.lock().unwrap(), recursive.lock().unwrap());
    let owner = format!("owner: process {}, thread {}", std::process::id(), thread_id());
    assert!(format!("{lock:?}").contains(&owner), "{lock:?}");
    let text = format!("{recursive:?}");
    assert!(text.contains(&owner) && text.contains("depth: 2"), "{text}");
    drop(guards);
}

#[test]
fn lock_12_the_next_holder_is_told_that_the_last_one_died() {
    let _watchdog = watchdog();
    let (lock, recursive) = (Mutex::new(0u64).unwrap(), RecursiveMutex::new(0u64).unwrap());
    let (a, b) = (lock.clone(), recursive.clone());
    let dies = child(move || {
        let _guards = (a.lock().unwrap(), b.lock().unwrap(), b.lock().unwrap());
        std::process::abort();
    });
    let pid = dies.id();
    let _: Result<(), _> = dies.join();
    assert_eq!(lock.lock().unwrap_err(), LockError::OwnerDied { pid });
    assert_eq!(recursive.lock().unwrap_err(), LockError::OwnerDied { pid });
    assert_eq!(*lock.lock_or_repair(|value| *value = 5).unwrap(), 5);
    assert_eq!(recursive.lock_or_repair(|value| value.unwrap() + 6).unwrap().get(), 6);
    assert_eq!((*lock.lock().unwrap(), recursive.lock().unwrap().get()), (5, 6));
}

#[test]
fn lock_13_no_increment_under_the_lock_is_lost() {
    let _watchdog = watchdog();
    let (lock, recursive) = (Mutex::new(0u64).unwrap(), RecursiveMutex::new(0u64).unwrap());
    let adders: Vec<_> = (0..4)
        .map(|_| {
            let (lock, recursive) = (lock.clone(), recursive.clone());
            child(move || {
                for _ in 0..1000 {
                    *lock.lock().unwrap() += 1;
                    recursive.lock().unwrap().update(|value| *value += 1);
                }
            })
        })
        .collect();
    adders.into_iter().for_each(|adder| adder.finish());
    assert_eq!((*lock.lock().unwrap(), recursive.lock().unwrap().get()), (4000, 4000));
}

#[test]
fn lock_15_exactly_one_waiter_proceeds_when_it_becomes_free() {
    let _watchdog = watchdog();
    let lock = Mutex::new(0u64).unwrap();
    let (ready, at) = std::sync::mpsc::channel();
    thread::scope(|scope| {
        let guard = lock.lock().unwrap();
        for _ in 0..3 {
            let (ready, lock) = (ready.clone(), &lock);
            scope.spawn(move || {
                ready.send((thread_id(), 0)).unwrap();
                let mut value = lock.lock().unwrap();
                *value += 1;
                ready.send((thread_id(), *value)).unwrap();
            });
        }
        for _ in 0..3 {
            wait_until_asleep(at.recv().unwrap().0);
        }
        drop(guard);
        let mut came: Vec<_> = (0..3).map(|_| at.recv().unwrap().1).collect();
        came.sort_unstable();
        assert_eq!(came, [1, 2, 3], "one after the other");
    });
    assert_eq!(in_child(move || *lock.lock().unwrap()), 3);
}
