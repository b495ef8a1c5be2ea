//! Mutexes between processes that die.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "libc's own robust mutexes, thread ids, memory of a peer")]

mod common;

use common::{
    Child, Random, child, in_child, mappings, name, pause_for_ever, raw_fork, thread_id,
    wait_until_asleep, watchdog,
};
use commons::{Error, Kind, LockError, Mutex, MutexGuard, Origin, Process, Segment};
use std::cell::{Cell, UnsafeCell};
use std::io::{self, Read, Write};
use std::mem::{ManuallyDrop, forget};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// A child that does something, says so, and then waits to be killed.
fn child_that_stays<F: FnOnce() + Send + 'static>(f: F) -> Child<()> {
    let (mut reader, writer) = io::pipe().unwrap();
    let child = child::<(), _>(move || {
        f();
        (&writer).write_all(&[1]).unwrap();
        pause_for_ever();
    });
    reader.read_exact(&mut [0]).expect("the child does it");
    child
}

/// A child that holds the lock.
fn holder(mutex: &Mutex<u64>) -> Child<()> {
    let mutex = mutex.clone();
    child_that_stays(move || forget(mutex.lock().unwrap()))
}

/// Whether another thread finds the lock held.
fn is_held_for_others(mutex: &Mutex<u64>) -> bool {
    thread::scope(|scope| {
        scope.spawn(|| matches!(mutex.try_lock(), Err(LockError::WouldBlock))).join().unwrap()
    })
}

#[test]
fn one_holds_it_at_a_time() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(1u64).unwrap();
    let other = mutex.clone();
    let mut guard = mutex.lock().unwrap();
    *guard += 1;
    assert!(mutex.is_locked() && is_held_for_others(&other));
    drop(guard);
    assert!(!mutex.is_locked());
    let read = child(move || *other.lock().unwrap()).finish();
    assert_eq!(read, 2);
}

#[test]
fn it_is_found_by_name_and_by_label_and_by_nothing_else() {
    let _watchdog = watchdog();
    let name = name("mutex");
    let mutex = Mutex::create(&name, 5u32).unwrap();
    assert!(matches!(Mutex::create(&name, 5u32), Err(Error::NameTaken { .. })));
    assert_eq!(*Mutex::<u32>::open(&name).unwrap().lock().unwrap(), 5);
    assert!(matches!(Mutex::<i32>::open(&name), Err(Error::TypeMismatch { .. })));
    assert!(matches!(Mutex::open_or_create(&name, 6u32), Ok((_, Origin::Opened))));
    drop(mutex);
    assert_eq!(*Mutex::<u32>::open(&name).unwrap().lock().unwrap(), 5);
    Mutex::<u32>::unlink(&name).unwrap();
    assert!(matches!(Mutex::<u32>::open(&name), Err(Error::NotFound { .. })));

    let segment = Segment::anonymous(10_000).unwrap();
    let made = Mutex::new_in(&segment, "m", [1u8, 2, 3]).unwrap();
    made.lock().unwrap()[1] = 9;
    assert_eq!(*Mutex::<[u8; 3]>::open_in(&segment, "m").unwrap().lock().unwrap(), [1, 9, 3]);
    assert!(matches!(Mutex::new_in(&segment, "m", [0u8; 3]), Err(Error::LabelTaken { .. })));
    assert!(matches!(Mutex::open_or_create_in(&segment, "n", ()).unwrap(), (_, Origin::Created)));
    assert_eq!(segment.objects().unwrap()[0].kind, Kind::Mutex);
}

#[test]
fn the_death_of_the_owner_is_told_with_its_process_until_a_repair() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let owner = holder(&mutex);
    let pid = owner.id();
    assert_eq!(mutex.try_lock().unwrap_err(), LockError::WouldBlock);
    owner.kill();
    for _ in 0..3 {
        assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid });
        assert_eq!(mutex.try_lock().unwrap_err(), LockError::OwnerDied { pid });
    }
    assert!(!mutex.is_locked());
    let guard = mutex.recover().unwrap();
    assert!(guard.is_damaged() && is_held_for_others(&mutex));
    drop(guard);
    assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid }, "not repaired");
    mutex.clear_poison().unwrap();
    assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid }, "not a panic");
    let mut guard = mutex.recover().unwrap();
    *guard = 7;
    assert_eq!(*guard.mark_consistent(), 7);
    assert_eq!(*mutex.lock().unwrap(), 7);
    assert!(!mutex.recover().unwrap().is_damaged());
}

#[test]
fn who_waits_is_told_of_the_death_and_only_the_first_gets_the_lock() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let owner = holder(&mutex);
    let pid = owner.id();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let mutex = mutex.clone();
            child(move || match mutex.lock() {
                Err(LockError::OwnerDied { pid }) => pid,
                other => panic!("{other:?}"),
            })
        })
        .collect();
    for waiter in &waiters {
        wait_until_asleep(waiter.id());
    }
    owner.kill();
    for waiter in waiters {
        assert_eq!(waiter.finish(), pid);
    }
}

#[test]
fn a_repair_runs_once_and_its_own_death_is_told() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    holder(&mutex).kill();
    let second = mutex.clone();
    let repairer = child_that_stays(move || {
        let guard = second.recover().unwrap();
        assert!(guard.is_damaged());
        forget(guard);
    });
    let pid = repairer.id();
    repairer.kill();
    assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid });
    let third = mutex.clone();
    let in_closure = child(move || {
        let _ = third.lock_or_repair(|_| std::process::abort());
    });
    let pid = in_closure.id();
    assert!(in_closure.join().is_err());
    assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid });
    let panics = catch_unwind(AssertUnwindSafe(|| {
        let _ = mutex.lock_or_repair(|_| panic!("cannot repair"));
    }));
    assert!(panics.is_err());
    assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid }, "still");
    assert_eq!(*mutex.lock_or_repair(|value| *value = 3).unwrap(), 3);
    assert_eq!(*mutex.lock_or_repair(|_| panic!("it is repaired")).unwrap(), 3);
}

#[test]
fn a_thread_that_ends_while_it_holds_it_is_a_death() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let pid = std::process::id();
    for _ in 0..3 {
        let other = mutex.clone();
        thread::spawn(move || forget(other.lock().unwrap())).join().unwrap();
        // The thread is joined before the kernel is through with it.
        assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid });
        drop(mutex.lock_or_repair(|_| ()).unwrap());
    }
}

#[test]
fn a_forked_child_does_not_own_it() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(1u64).unwrap();
    let guard = mutex.lock().unwrap();
    let in_child = || match mutex.try_lock() {
        Err(LockError::WouldBlock) => 7,
        _ => 1,
    };
    assert_eq!(raw_fork(in_child).wait(), 7);
    let mut guard = ManuallyDrop::new(guard);
    let drops = || {
        // SAFETY: dropped once in this process.
        unsafe { ManuallyDrop::drop(&mut guard) };
        let held = matches!(mutex.try_lock(), Err(LockError::WouldBlock));
        let free = Mutex::new(0u64).unwrap();
        drop(free.lock().unwrap());
        i32::from(!held)
    };
    assert_eq!(raw_fork(drops).wait(), 0);
    assert!(is_held_for_others(&mutex));
    // SAFETY: dropped once in this process.
    unsafe { ManuallyDrop::drop(&mut guard) };
    assert_eq!(*mutex.lock().unwrap(), 1);
    assert_eq!(raw_fork(|| i32::from(mutex.lock().is_err())).wait(), 0);
}

#[test]
fn a_guard_that_goes_with_the_thread_does_nothing_in_a_forked_child() {
    thread_local! {
        static KEPT: Cell<Option<MutexGuard<'static, u64>>> = const { Cell::new(None) };
    }
    let _watchdog = watchdog();
    let ends_in_child = || {
        // What is used first is dropped last: after all that the crate keeps of the thread.
        KEPT.set(None);
        let mutex: &Mutex<u64> = Box::leak(Box::new(Mutex::new(1).unwrap()));
        KEPT.set(Some(mutex.lock().unwrap()));
        let ends = || {
            let free = Mutex::new(0u64).unwrap();
            drop(free.lock().unwrap());
            // SAFETY: no other thread is in the child; it drops what this thread keeps.
            unsafe { libc::exit(7) }
        };
        assert_eq!(raw_fork(ends).wait(), 7);
        assert!(is_held_for_others(mutex));
    };
    thread::spawn(ends_in_child).join().unwrap();
}

#[test]
fn a_child_is_not_started_by_who_holds_a_lock() {
    let _watchdog = watchdog();
    let (first, second) = (Mutex::new(0u64).unwrap(), Mutex::new(0u64).unwrap());
    let guards = (first.lock().unwrap(), second.lock().unwrap());
    assert!(matches!(Process::spawn(|| ()), Err(Error::Holding { locks: 2 })));
    drop(guards);
    Process::spawn(|| ()).unwrap().join().unwrap();
}

/// A robust mutex of libc's.
struct Libc(UnsafeCell<libc::pthread_mutex_t>);

impl Libc {
    fn new() -> Box<Self> {
        // SAFETY: all-zero bytes are a valid attribute object to initialise.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { std::mem::zeroed() };
        // SAFETY: live.
        unsafe { libc::pthread_mutexattr_init(&raw mut attributes) };
        let robust = libc::PTHREAD_MUTEX_ROBUST;
        // SAFETY: initialised.
        unsafe { libc::pthread_mutexattr_setrobust(&raw mut attributes, robust) };
        let mutex = Box::new(Libc(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER)));
        // SAFETY: boxed, so it stays where it is.
        unsafe { libc::pthread_mutex_init(mutex.0.get(), &raw const attributes) };
        mutex
    }

    fn lock(&self) -> i32 {
        // SAFETY: initialised.
        unsafe { libc::pthread_mutex_lock(self.0.get()) }
    }

    fn unlock(&self) {
        // SAFETY: initialised.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0.get()) }, 0);
    }
}

// SAFETY: libc's mutexes are for threads.
unsafe impl Sync for Libc {}

#[test]
fn locks_are_released_in_any_order_beside_those_of_libc() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("locks_are_released_in_any_order");
    let ours: Vec<_> = (0..24).map(|i| Mutex::new(i as u64).unwrap()).collect();
    let libc: Vec<_> = (0..8).map(|_| Libc::new()).collect();
    for round in 0..200 {
        // What is left is released by the thread's death: all of it, whatever its neighbours were.
        let (ours, libc) = (&ours, &libc);
        let seed = random.number();
        let left = thread::scope(|scope| {
            let body = move || {
                let mut state = seed;
                let mut next = |limit: u64| {
                    state =
                        state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                    (state >> 33) % limit
                };
                let mut held: Vec<_> = (0..ours.len()).map(|_| None).collect();
                let mut theirs = vec![false; libc.len()];
                for _ in 0..150 {
                    let i = next(32) as usize;
                    if i < 24 {
                        match held[i].take() {
                            Some(guard) => drop::<commons::MutexGuard<'_, u64>>(guard),
                            None => held[i] = Some(ours[i].lock().unwrap()),
                        }
                    } else if theirs[i - 24] {
                        libc[i - 24].unlock();
                        theirs[i - 24] = false;
                    } else {
                        assert_eq!(libc[i - 24].lock(), 0);
                        theirs[i - 24] = true;
                    }
                }
                let left: Vec<bool> = held.iter().map(Option::is_some).collect();
                forget(held);
                (left, theirs)
            };
            scope.spawn(body).join().unwrap()
        });
        for (i, left) in left.0.iter().enumerate() {
            let died = match ours[i].lock() {
                Ok(guard) => {
                    assert_eq!(*guard, i as u64);
                    false
                }
                Err(LockError::OwnerDied { .. }) => {
                    drop(ours[i].lock_or_repair(|_| ()).unwrap());
                    true
                }
                Err(error) => panic!("{error}"),
            };
            assert_eq!(died, *left, "round {round}, lock {i}");
        }
        for (i, left) in left.1.iter().enumerate() {
            let status = libc[i].lock();
            assert_eq!(status, if *left { libc::EOWNERDEAD } else { 0 }, "round {round}");
            if *left {
                // SAFETY: locked by this thread.
                unsafe { libc::pthread_mutex_consistent(libc[i].0.get()) };
            }
            libc[i].unlock();
        }
    }
}

#[test]
fn a_leaked_guard_keeps_its_mutex_in_memory() {
    let _watchdog = watchdog();
    // Nobody else maps anything there.
    let name = name("leak");
    let other = common::name("no-leak");
    in_child(move || leak(&name, &other));
}

fn leak(name: &str, other: &str) {
    let base = Mutex::new(0u64).unwrap();
    let before = mappings();
    let (first, last) = (base.clone(), base.clone());
    thread::scope(|scope| {
        scope
            .spawn(move || {
                forget(first.lock().unwrap());
                let leaked = Mutex::create(name, 0u64).unwrap();
                forget(leaked.lock().unwrap());
                drop(leaked);
                assert!(mappings() > before, "still mapped");
                // The list goes through the leaked one: these work, and the older one is released.
                for _ in 0..3 {
                    let more = Mutex::new(0u64).unwrap();
                    drop(more.lock().unwrap());
                }
                let again = Mutex::<u64>::open(name).unwrap();
                assert_eq!(again.lock().unwrap_err(), LockError::Deadlock);
            })
            .join()
            .unwrap();
    });
    assert!(matches!(last.lock(), Err(LockError::OwnerDied { .. })));
    // An ordinary one is unmapped, and with it what was leaked, now that the thread is gone.
    let before = mappings();
    let mutex = Mutex::create(other, 0u64).unwrap();
    drop(mutex.lock().unwrap());
    assert!(mappings() > before);
    drop(mutex);
    assert!(mappings() < before);
}

#[test]
fn a_thread_can_hold_1024_and_is_told_before_it_holds_more() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(2 << 20).unwrap();
    let make = |i: u64| Mutex::new_in(&segment, &format!("m{i}"), i).unwrap();
    let mutexes: Vec<_> = (0..1026).map(make).collect();
    let (held, more) = mutexes.split_at(1024);
    let mut guards: Vec<_> = held.iter().map(|mutex| mutex.lock().unwrap()).collect();
    assert_eq!(more[0].lock().unwrap_err(), LockError::TooManyLocks);
    assert_eq!(more[0].try_lock().unwrap_err(), LockError::TooManyLocks);
    assert!(!more[0].is_locked());
    drop(guards.swap_remove(500));
    guards.push(more[0].lock().unwrap());
    assert_eq!(more[1].lock().unwrap_err(), LockError::TooManyLocks);
    thread::scope(|scope| scope.spawn(|| drop(more[1].lock().unwrap())).join().unwrap());
    drop(guards);
    // As many are released by a death.
    thread::scope(|scope| {
        scope.spawn(|| held.iter().for_each(|mutex| forget(mutex.lock().unwrap()))).join().unwrap();
    });
    for mutex in held {
        assert!(matches!(mutex.lock(), Err(LockError::OwnerDied { .. })));
    }
}

#[test]
fn timed_forms_give_up_when_their_time_is_over_and_not_before() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let owner = holder(&mutex);
    assert_eq!(mutex.lock_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
    let (start, timeout) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(mutex.lock_timeout(timeout).unwrap_err(), LockError::TimedOut);
    assert!(start.elapsed() >= timeout);
    let (start, deadline) = (Instant::now(), Instant::now() + timeout);
    assert_eq!(mutex.lock_deadline(deadline).unwrap_err(), LockError::TimedOut);
    assert!(start.elapsed() >= Duration::from_millis(29) && Instant::now() >= deadline);
    owner.kill();
    drop(mutex.lock_or_repair(|_| ()).unwrap());
    drop(mutex.lock_timeout(Duration::ZERO).unwrap());
    drop(mutex.lock_timeout(Duration::MAX).unwrap());
    drop(mutex.lock_deadline(Instant::now()).unwrap());
}

#[test]
fn waiting_for_oneself_is_an_error() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let other = mutex.clone();
    let guard = mutex.lock().unwrap();
    assert_eq!(other.lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(mutex.lock_timeout(Duration::MAX).unwrap_err(), LockError::Deadlock);
    assert_eq!(mutex.recover().unwrap_err(), LockError::Deadlock);
    assert_eq!(mutex.try_lock().unwrap_err(), LockError::WouldBlock);
    drop(guard);
    drop(other.lock().unwrap());
}

#[test]
fn a_panic_poisons_it_until_somebody_says_that_it_is_well() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let poison = || {
        let result = catch_unwind(AssertUnwindSafe(|| {
            let _guard = mutex.lock().unwrap();
            panic!("under the lock");
        }));
        assert!(result.is_err());
        assert_eq!(mutex.lock().unwrap_err(), LockError::Poisoned);
        assert_eq!(mutex.try_lock().unwrap_err(), LockError::Poisoned);
    };
    poison();
    mutex.clear_poison().unwrap();
    drop(mutex.lock().unwrap());
    poison();
    assert_eq!(*mutex.lock_or_repair(|value| *value += 1).unwrap(), 1);
    poison();
    drop(mutex.recover().unwrap());
    poison();
    drop(mutex.recover().unwrap().mark_consistent());
    drop(mutex.lock().unwrap());

    struct Late<'a>(&'a Mutex<u64>);
    impl Drop for Late<'_> {
        fn drop(&mut self) {
            *self.0.lock().unwrap() += 1;
        }
    }
    let result = catch_unwind(AssertUnwindSafe(|| {
        let _late = Late(&mutex);
        panic!("and the lock is acquired behind it");
    }));
    assert!(result.is_err());
    assert_eq!(*mutex.lock().unwrap(), 2, "that panic was not its holder's");
}

#[test]
fn a_guard_may_outlast_other_destructors_of_its_thread() {
    let _watchdog = watchdog();
    struct Late(Cell<Option<&'static Mutex<u64>>>);
    impl Drop for Late {
        fn drop(&mut self) {
            let mutex = self.0.take().unwrap();
            for _ in 0..100 {
                *mutex.lock().unwrap() += 1;
            }
        }
    }
    thread_local! {
        static FIRST: Late = const { Late(Cell::new(None)) };
        static LAST: Late = const { Late(Cell::new(None)) };
    }
    let mutex = Mutex::new(0u64).unwrap();
    let mutex: &'static Mutex<u64> = Box::leak(Box::new(mutex));
    thread::spawn(move || {
        FIRST.with(|late| late.0.set(Some(mutex)));
        drop(mutex.lock().unwrap());
        LAST.with(|late| late.0.set(Some(mutex)));
    })
    .join()
    .unwrap();
    assert_eq!(*mutex.lock().unwrap(), 200);
}

#[test]
fn what_is_no_value_of_the_type_is_corrupted_until_one_is_put_in() {
    let _watchdog = watchdog();
    let name = name("invalid");
    // Nothing else in the file looks like it.
    let mutex = Mutex::create(&name, '\u{1f98a}').unwrap();
    let bytes = std::fs::read(name.path()).unwrap();
    let is_it = |four: &[u8]| four == u32::from('\u{1f98a}').to_le_bytes();
    let at = bytes.windows(4).position(is_it).unwrap();
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().write(true).open(name.path()).unwrap();
    file.write_all_at(&0xd800u32.to_le_bytes(), at as u64).unwrap();
    assert!(matches!(mutex.lock(), Err(LockError::Corrupted(_))));
    assert!(matches!(mutex.try_lock(), Err(LockError::Corrupted(_))));
    assert!(matches!(mutex.recover(), Err(LockError::Corrupted(_))));
    assert!(matches!(mutex.lock_or_repair(|_| ()), Err(LockError::Corrupted(_))));
    assert!(!mutex.is_locked());
    assert_eq!(*mutex.reset('y').unwrap(), 'y');
    assert_eq!(*mutex.lock().unwrap(), 'y');
}

#[test]
fn its_debug_form_says_who_has_it_and_takes_nothing() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    assert!(format!("{mutex:?}").contains("owner: None"));
    let guard = mutex.lock().unwrap();
    let owner = format!("process {}, thread {}", std::process::id(), thread_id());
    assert!(format!("{mutex:?}").contains(&owner), "{mutex:?}");
    assert_eq!(format!("{guard:?} {guard}"), "0 0");
    drop(guard);
    let child = holder(&mutex);
    let owner = format!("process {0}, thread {0}", child.id());
    assert!(format!("{mutex:?}").contains(&owner), "{mutex:?}");
    let died = format!("process {} died", child.id());
    child.kill();
    assert!(format!("{mutex:?}").contains(&died), "{mutex:?}");
}

#[test]
fn a_signal_does_not_end_a_wait() {
    let _watchdog = watchdog();
    extern "C" fn nothing(_: libc::c_int) {}
    let mutex = Mutex::new(0u64).unwrap();
    let guard = ManuallyDrop::new(mutex.lock());
    let (ids, id) = mpsc::channel();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            // SAFETY: the handler does nothing.
            unsafe { libc::signal(libc::SIGUSR2, nothing as *const () as libc::sighandler_t) };
            ids.send(thread_id()).unwrap();
            mutex.lock().map(|mut value| *value += 1)
        });
        let id = id.recv().unwrap();
        for _ in 0..5 {
            wait_until_asleep(id);
            // SAFETY: takes integers; the thread is there until it is joined.
            unsafe { libc::tgkill(std::process::id() as i32, id as i32, libc::SIGUSR2) };
        }
        wait_until_asleep(id);
        assert!(!waiter.is_finished());
        drop(ManuallyDrop::into_inner(guard));
        waiter.join().unwrap().unwrap();
    });
    assert_eq!(*mutex.lock().unwrap(), 1);
}

#[test]
fn exclusion_holds_while_holders_and_waiters_are_killed() {
    let _watchdog = common::watchdog_of(300);
    let mut random = Random::seeded("exclusion_holds");
    /// A sum that is written in halves, and who is inside.
    #[derive(Clone, Copy, bytemuck::NoUninit, bytemuck::AnyBitPattern)]
    #[repr(C)]
    struct Inside {
        owner: u64,
        left: u64,
        right: u64,
        repairs: u64,
    }
    let inside = Inside { owner: 0, left: 0, right: 0, repairs: 0 };
    let mutex = Mutex::new(inside).unwrap();
    let start = |mutex: Mutex<Inside>| {
        child::<(), _>(move || {
            let me = u64::from(std::process::id());
            loop {
                let repair = |value: &mut Inside| {
                    value.owner = 0;
                    value.right = value.left;
                    value.repairs += 1;
                };
                let mut value = mutex.lock_or_repair(repair).unwrap();
                assert_eq!((value.owner, value.left), (0, value.right), "{me} is not alone");
                value.owner = me;
                value.left += 1;
                for _ in 0..me % 64 {
                    std::hint::spin_loop();
                }
                value.right += 1;
                assert_eq!(value.owner, me);
                value.owner = 0;
            }
        })
    };
    let mut children: Vec<_> = (0..4).map(|_| start(mutex.clone())).collect();
    let (mut last, mut killed) = (0, 0);
    while killed < 400 {
        let index = random.below(4) as usize;
        random.pause(1000);
        children[index].process().kill().unwrap();
        assert!(matches!(
            std::mem::replace(&mut children[index], start(mutex.clone())).join(),
            Err(commons::JoinError::Signaled { .. })
        ));
        killed += 1;
        // They go on: nobody was left asleep on a lock that is free.
        if killed % 8 == 0 {
            let sum = loop {
                match mutex.lock() {
                    Ok(value) if value.left > last => break value.left,
                    Ok(_) | Err(LockError::OwnerDied { .. }) => thread::yield_now(),
                    Err(error) => panic!("{error}"),
                }
            };
            last = sum;
        }
    }
    for child in children {
        child.kill();
    }
    let value = mutex.lock_or_repair(|value| value.repairs += 1).unwrap();
    println!("{killed} killed, {} additions, {} repairs", value.left, value.repairs);
}

/// Prints the shares: `cargo test --release --test mutex share -- --nocapture`.
#[test]
fn two_processes_that_contend_share_the_lock() {
    const TURNS: u64 = 100_000;
    let _watchdog = watchdog();
    let mutex = Mutex::new([0u64; 2]).unwrap();
    let begin = commons::Barrier::new(2).unwrap();
    let start = |index: usize| {
        let (mutex, begin) = (mutex.clone(), begin.clone());
        child(move || {
            begin.wait().unwrap();
            loop {
                let mut counts = mutex.lock().unwrap();
                if counts.iter().sum::<u64>() == TURNS {
                    break;
                }
                counts[index] += 1;
            }
        })
    };
    let children = [start(0), start(1)];
    children.into_iter().for_each(Child::finish);
    let counts = *mutex.lock().unwrap();
    let shares = counts.map(|count| 100 * count / TURNS);
    println!(
        "of {TURNS} turns: {} and {} ({} % and {} %)",
        counts[0], counts[1], shares[0], shares[1]
    );
    assert_eq!(counts.iter().sum::<u64>(), TURNS);
    // How even it is, is a matter of processors; that nobody starves is not.
    assert!(counts.iter().all(|&count| count >= TURNS / 1000), "{counts:?}");
}

/// Where the object of a named segment with one object begins, and the pid namespace of its maker.
const OBJECT: u64 = 256 + 1024 * 64 + 512;
const NAMESPACE: u64 = 56;

fn file_of(name: &common::Name) -> std::fs::File {
    std::fs::File::options().read(true).write(true).open(name.path()).unwrap()
}

#[test]
fn one_of_another_pid_namespace_is_not_opened() {
    use std::os::unix::fs::FileExt;
    let _watchdog = watchdog();
    let name = name("namespace");
    let mutex = Mutex::create(&name, 0u64).unwrap();
    file_of(&name).write_all_at(&7u64.to_le_bytes(), NAMESPACE).unwrap();
    assert!(matches!(Mutex::<u64>::open(&name), Err(Error::OtherPidNamespace { .. })));
    // Who was there before has its own copy of the header.
    drop(mutex.lock().unwrap());
}

#[test]
fn damaged_links_lead_nobody_astray() {
    use std::os::unix::fs::FileExt;
    let _watchdog = watchdog();
    let damages: [(u64, u64); 4] = [(0, 0), (0x10_0000, 0x10_0000), (1, u64::MAX), (8, 1 << 47)];
    for (previous, next) in damages {
        let done = in_child(move || {
            let name = name("damaged");
            let file = file_of_new(&name);
            let damage = || {
                file.write_all_at(&previous.to_le_bytes(), OBJECT + 24).unwrap();
                file.write_all_at(&next.to_le_bytes(), OBJECT + 32).unwrap();
            };
            let damaged = Mutex::<u64>::open(&name).unwrap();
            let (below, above) = (Mutex::new(0u64).unwrap(), Mutex::new(0u64).unwrap());
            let libc = Libc::new();
            // Alone, and between two of ours: the records know its neighbours.
            let guard = damaged.lock().unwrap();
            damage();
            drop(guard);
            let (first, guard) = (below.lock().unwrap(), damaged.lock().unwrap());
            let last = above.lock().unwrap();
            damage();
            drop(guard);
            drop((first, last));
            drop((below.lock().unwrap(), damaged.lock().unwrap()));
            // Above one of libc's: they do not.
            assert_eq!(libc.lock(), 0);
            let guard = damaged.lock().unwrap();
            damage();
            drop(guard);
            assert!(matches!(damaged.lock(), Err(LockError::Corrupted(_))));
            assert!(matches!(damaged.try_lock(), Err(LockError::Corrupted(_))));
            drop(damaged);
            drop(above.lock().unwrap());
            libc.unlock();
            drop(above.lock().unwrap());
            true
        });
        assert!(done);
    }
}

fn file_of_new(name: &common::Name) -> std::fs::File {
    drop(Mutex::create(name, 0u64).unwrap());
    file_of(name)
}
