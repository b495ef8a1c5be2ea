//! Semaphores and permits between processes that die.

#![cfg(feature = "serde")]

mod common;

use common::{
    Child, Random, child, filter::die_at_the_next_wake, in_child, mappings, name, pause_for_ever,
    raw_fork, wait_until_asleep, watchdog,
};
use commons::{
    Error, Kind, LockError, Mutex, Origin, PermitPool, Process, Segment, Semaphore, WaitStrategy,
};
use std::mem::forget;
use std::thread;
use std::time::{Duration, Instant};

/// What a waiter without a bell sleeps at most.
const SLICE: Duration = Duration::from_millis(100);

fn parked(permits: u32) -> Semaphore {
    let mut semaphore = Semaphore::new(permits).unwrap();
    semaphore.set_wait_strategy(WaitStrategy::Park);
    semaphore
}

fn parked_pool(permits: u32) -> PermitPool {
    let mut pool = PermitPool::new(permits).unwrap();
    pool.set_wait_strategy(WaitStrategy::Park);
    pool
}

/// A child that acquires a permit, asleep by now.
fn waiter(semaphore: &Semaphore) -> Child<()> {
    let semaphore = semaphore.clone();
    let child = child(move || semaphore.acquire().unwrap());
    wait_until_asleep(child.id());
    child
}

/// A child that has that many of the permits.
fn holder_of(pool: &PermitPool, count: u32) -> Child<()> {
    let (held, pool) = (Semaphore::new(0).unwrap(), pool.clone());
    let signal = held.clone();
    let child = child(move || {
        let _permits: Vec<_> = (0..count).map(|_| pool.acquire().unwrap()).collect();
        signal.release(1).unwrap();
        pause_for_ever();
    });
    held.acquire().unwrap();
    child
}

#[test]
fn sem_01_acquire_lowers_and_release_raises_the_count() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(2).unwrap();
    assert_eq!(semaphore.value(), 2);
    semaphore.acquire().unwrap();
    assert!(semaphore.try_acquire().unwrap());
    assert_eq!(semaphore.value(), 0);
    semaphore.release(1).unwrap();
    assert_eq!(semaphore.value(), 1);
}

#[test]
fn sem_02_at_zero_a_try_fails_at_once_and_the_count_stays() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(0).unwrap();
    assert!(!semaphore.try_acquire().unwrap());
    assert_eq!(semaphore.value(), 0);
}

#[test]
fn sem_03_a_timed_acquire_gives_up_after_its_time_and_leaves_the_count() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let mut semaphore = Semaphore::new(0).unwrap();
        semaphore.set_wait_strategy(strategy);
        let (before, time) = (Instant::now(), Duration::from_millis(30));
        assert!(!semaphore.acquire_timeout(time).unwrap());
        assert!(before.elapsed() >= time);
        assert!(!semaphore.acquire_deadline(before).unwrap());
        assert_eq!(semaphore.value(), 0);
        semaphore.release(1).unwrap();
        assert!(semaphore.acquire_timeout(Duration::ZERO).unwrap());
    }
}

#[test]
fn sem_04_a_plain_one_is_released_above_its_initial_count() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::new(1).unwrap();
    semaphore.release(1).unwrap();
    semaphore.release(5).unwrap();
    assert_eq!(semaphore.value(), 7);
}

#[test]
fn sem_05_a_bounded_one_refuses_a_release_beyond_its_limit_and_keeps_the_count() {
    let _watchdog = watchdog();
    let semaphore = Semaphore::bounded(2, 3).unwrap();
    assert_eq!(semaphore.max(), 3);
    semaphore.release(1).unwrap();
    for permits in [1, 2, u32::MAX] {
        let asked = 3 + u64::from(permits);
        assert!(matches!(
            semaphore.release(permits),
            Err(Error::TooLarge { asked: a, limit: 3, .. }) if a == asked
        ));
    }
    assert_eq!(semaphore.value(), 3);
}

#[test]
fn sem_06_and_lock_04_anybody_releases_what_another_acquired() {
    let _watchdog = watchdog();
    let lock = Semaphore::new(1).unwrap();
    lock.acquire().unwrap();
    let other = lock.clone();
    in_child(move || other.release(1).unwrap());
    lock.acquire().unwrap();
    thread::scope(|scope| scope.spawn(|| lock.release(1).unwrap()).join().unwrap());
    assert_eq!(lock.value(), 1);
}

#[test]
fn sem_07_a_number_that_cannot_be_is_an_error() {
    let _watchdog = watchdog();
    let max = Semaphore::MAX_PERMITS;
    assert!(matches!(Semaphore::new(max + 1), Err(Error::TooLarge { .. })));
    assert!(matches!(Semaphore::bounded(3, 2), Err(Error::TooLarge { asked: 3, limit: 2, .. })));
    assert!(matches!(Semaphore::bounded(0, 0), Err(Error::Zero { .. })));
    let full = Semaphore::new(max).unwrap();
    assert!(matches!(full.release(1), Err(Error::TooLarge { .. })));
    assert_eq!(full.value(), max);
    assert!(matches!(PermitPool::new(0), Err(Error::Zero { .. })));
    let max = PermitPool::MAX_PERMITS;
    assert!(matches!(PermitPool::new(max + 1), Err(Error::TooLarge { .. })));
    assert_eq!(PermitPool::new(max).unwrap().available(), max as usize);
}

#[test]
fn sem_08_a_permit_is_given_back_at_the_end_of_its_scope() {
    let _watchdog = watchdog();
    let pool = PermitPool::new(2).unwrap();
    {
        let (_one, _two) = (pool.acquire().unwrap(), pool.try_acquire().unwrap());
        assert_eq!((pool.available(), pool.permits()), (0, 2));
        assert_eq!(pool.try_acquire().unwrap_err(), LockError::WouldBlock);
        let soon = Duration::from_millis(5);
        assert_eq!(pool.acquire_timeout(soon).unwrap_err(), LockError::TimedOut);
        assert!(matches!(Process::spawn(|| ()), Err(Error::Holding { locks: 2 })));
    }
    assert_eq!(pool.available(), 2);
}

#[test]
fn sem_09_at_most_as_many_hold_one_as_there_are_permits() {
    let _watchdog = watchdog();
    let inside = Mutex::new([0u32; 2]).unwrap();
    let (semaphore, pool) = (Semaphore::new(2).unwrap(), PermitPool::new(2).unwrap());
    let children: Vec<_> = (0..4)
        .map(|_| {
            let (inside, semaphore, pool) = (inside.clone(), semaphore.clone(), pool.clone());
            child(move || {
                let count = |which: usize, change: i32| {
                    let mut inside = inside.lock().unwrap();
                    inside[which] = inside[which].checked_add_signed(change).unwrap();
                    assert!(inside[which] <= 2, "{inside:?}");
                };
                for _ in 0..500 {
                    semaphore.acquire().unwrap();
                    count(0, 1);
                    thread::yield_now();
                    count(0, -1);
                    semaphore.release(1).unwrap();
                    let _permit = pool.acquire().unwrap();
                    count(1, 1);
                    thread::yield_now();
                    count(1, -1);
                }
            })
        })
        .collect();
    children.into_iter().for_each(Child::finish);
    assert_eq!((semaphore.value(), pool.available()), (2, 2));
}

#[test]
fn sem_10_the_permits_of_the_dead_return_and_wake_who_waits() {
    let _watchdog = watchdog();
    for permits in [1, 3, PermitPool::MAX_PERMITS] {
        let pool = parked_pool(permits);
        let rest = holder_of(&pool, permits - 1);
        let mut times: Vec<Duration> = (0..11)
            .map(|_| {
                let holder = holder_of(&pool, 1);
                assert_eq!(pool.available(), 0);
                let waiter = {
                    let pool = pool.clone();
                    child(move || drop(pool.acquire().unwrap()))
                };
                wait_until_asleep(waiter.id());
                let before = Instant::now();
                holder.kill();
                waiter.finish();
                assert_eq!(pool.available(), 1);
                before.elapsed()
            })
            .collect();
        times.sort();
        println!("{permits} permits: median {:?}, slowest {:?}", times[5], times[10]);
        assert!(times[5] < SLICE / 2, "{times:?}");
        rest.kill();
        assert_eq!(pool.available(), permits as usize);
    }
}

#[test]
fn they_are_found_by_name_and_by_label_and_by_nothing_else() {
    let _watchdog = watchdog();
    let (one, other) = (name("semaphore"), name("pool"));
    let semaphore = Semaphore::create(&one, 1, 2).unwrap();
    assert!(matches!(Semaphore::create(&one, 1, 2), Err(Error::NameTaken { .. })));
    let (found, origin) = Semaphore::open_or_create(&one, 0, 9).unwrap();
    assert_eq!((origin, found.value(), found.max()), (Origin::Opened, 1, 2));
    semaphore.acquire().unwrap();
    assert_eq!(found.value(), 0);
    let pool = PermitPool::create(&other, 3).unwrap();
    let (found, origin) = PermitPool::open_or_create(&other, 1).unwrap();
    assert_eq!((origin, found.permits()), (Origin::Opened, 3));
    let permit = pool.acquire().unwrap();
    assert_eq!(found.available(), 2);
    drop(permit);
    assert!(matches!(PermitPool::open(&one), Err(Error::TypeMismatch { .. })));
    assert!(matches!(Semaphore::open(&other), Err(Error::TypeMismatch { .. })));
    Semaphore::unlink(&one).unwrap();
    PermitPool::unlink(&other).unwrap();
    assert!(matches!(Semaphore::open(&one), Err(Error::NotFound { .. })));

    let segment = Segment::anonymous(20_000).unwrap();
    Semaphore::new_in(&segment, "s", 1, 1).unwrap();
    PermitPool::new_in(&segment, "p", 2).unwrap();
    assert!(Semaphore::open_in(&segment, "s").unwrap().try_acquire().unwrap());
    assert_eq!(PermitPool::open_in(&segment, "p").unwrap().available(), 2);
    let (_, origin) = Semaphore::open_or_create_in(&segment, "t", 1, 1).unwrap();
    assert_eq!(origin, Origin::Created);
    let (_, origin) = PermitPool::open_or_create_in(&segment, "p", 9).unwrap();
    assert_eq!(origin, Origin::Opened);
    let kinds: Vec<_> = segment.objects().unwrap().iter().map(|object| object.kind).collect();
    assert_eq!(kinds, [Kind::Semaphore, Kind::PermitPool, Kind::Semaphore]);
}

#[test]
fn a_release_without_waiters_makes_no_system_call_nor_after_the_waiters_are_gone() {
    let _watchdog = watchdog();
    let semaphore = parked(0);
    let sleeper = waiter(&semaphore);
    semaphore.release(1).unwrap();
    sleeper.finish();
    // Finds that nobody sleeps any more.
    semaphore.release(1).unwrap();
    in_child(move || {
        die_at_the_next_wake();
        for _ in 0..10 {
            semaphore.acquire().unwrap();
            semaphore.release(1).unwrap();
        }
    });
}

#[test]
fn a_release_of_many_wakes_as_many() {
    let _watchdog = watchdog();
    let semaphore = parked(0);
    let children: Vec<_> = (0..4).map(|_| waiter(&semaphore)).collect();
    semaphore.release(4).unwrap();
    children.into_iter().for_each(Child::finish);
    assert_eq!(semaphore.value(), 0);
}

#[test]
fn waiters_of_a_releaser_that_is_killed_before_its_wake_are_woken_by_the_kernel() {
    let _watchdog = watchdog();
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let semaphore = parked(0);
            let sleepers: Vec<_> = (0..3).map(|_| waiter(&semaphore)).collect();
            let releaser = {
                let semaphore = semaphore.clone();
                child(move || {
                    die_at_the_next_wake();
                    semaphore.release(3).unwrap();
                })
            };
            assert!(releaser.join().is_err());
            let before = Instant::now();
            sleepers.into_iter().for_each(Child::finish);
            assert_eq!(semaphore.value(), 0);
            before.elapsed()
        })
        .collect();
    times.sort();
    println!("semaphore: median {:?}, slowest {:?}", times[10], times[20]);
    // Slices alone would make it more than half a slice.
    assert!(times[10] < SLICE / 4, "{times:?}");
}

#[test]
fn a_permit_that_is_released_goes_to_a_waiter_whatever_becomes_of_the_releaser() {
    for dies in [false, true] {
        released(dies);
    }
}

fn released(dies: bool) {
    let _watchdog = watchdog();
    let mut times: Vec<Duration> = (0..21)
        .map(|_| {
            let (pool, go) = (parked_pool(1), Semaphore::new(0).unwrap());
            let (held, in_child) = (Semaphore::new(0).unwrap(), pool.clone());
            let releaser = {
                let (go, held) = (go.clone(), held.clone());
                child(move || {
                    let permit = in_child.acquire().unwrap();
                    held.release(1).unwrap();
                    go.acquire().unwrap();
                    if dies {
                        die_at_the_next_wake();
                    }
                    drop(permit);
                })
            };
            held.acquire().unwrap();
            let sleepers: Vec<_> = (0..2)
                .map(|_| {
                    let pool = pool.clone();
                    let child = child(move || drop(pool.acquire().unwrap()));
                    wait_until_asleep(child.id());
                    child
                })
                .collect();
            go.release(1).unwrap();
            assert_eq!(releaser.join().is_err(), dies);
            let before = Instant::now();
            sleepers.into_iter().for_each(Child::finish);
            before.elapsed()
        })
        .collect();
    times.sort();
    println!("dies {dies}: median {:?}, slowest {:?}", times[10], times[20]);
    assert!(times[10] < SLICE / 4, "{times:?}");
}

#[test]
fn a_leaked_permit_returns_with_its_thread_and_outlives_its_handle() {
    let _watchdog = watchdog();
    let pool = PermitPool::new(2).unwrap();
    thread::scope(|scope| scope.spawn(|| forget(pool.acquire().unwrap())).join().unwrap());
    // The kernel walks the list after `join` has been told.
    while pool.available() < 2 {
        thread::yield_now();
    }
    in_child(|| {
        let name = name("leaked");
        let pool = PermitPool::create(&name, 1).unwrap();
        forget(pool.acquire().unwrap());
        let before = mappings();
        drop(pool);
        assert_eq!(mappings(), before, "a linked word stays mapped");
        // What is linked after it still is taken out in order.
        let mutex = Mutex::new(0u64).unwrap();
        for _ in 0..10 {
            *mutex.lock().unwrap() += 1;
        }
        assert_eq!(PermitPool::open(&name).unwrap().available(), 0);
    });
}

#[test]
fn a_forked_copy_of_a_permit_does_nothing() {
    let _watchdog = watchdog();
    let pool = PermitPool::new(1).unwrap();
    let mut permit = Some(pool.acquire().unwrap());
    let status = raw_fork(|| {
        drop(permit.take());
        i32::from(pool.available() != 0)
    });
    assert_eq!(status.wait(), 0);
    assert_eq!(pool.available(), 0);
    drop(permit);
    assert_eq!(pool.available(), 1);
}

#[test]
fn a_semaphore_loses_no_wake_to_kills_at_random_moments() {
    let _watchdog = common::watchdog_of(300);
    let mut random = Random::seeded("a_semaphore_loses_no_wake_to_kills_at_random_moments");
    let semaphore = parked(0);
    let acquire = |semaphore: Semaphore| {
        child::<(), _>(move || {
            loop {
                semaphore.acquire().unwrap();
            }
        })
    };
    let release = |semaphore: Semaphore| {
        child::<(), _>(move || {
            loop {
                // Not more than the others can take, who start again and again.
                if semaphore.value() < 8 {
                    semaphore.release(2).unwrap();
                }
            }
        })
    };
    let mut acquirers: Vec<_> = (0..3).map(|_| acquire(semaphore.clone())).collect();
    let mut releaser = release(semaphore.clone());
    let (mut slow, kills) = (0, 150);
    for kill in 0..kills {
        random.pause(500);
        if random.below(2) == 0 {
            releaser.process().kill().unwrap();
            drop(releaser.join());
            // What is there is taken, since somebody is there to take it.
            let before = Instant::now();
            while semaphore.value() > 0 {
                thread::yield_now();
            }
            slow += u32::from(before.elapsed() >= SLICE / 2);
            releaser = release(semaphore.clone());
        } else {
            let index = kill % 3;
            acquirers[index].process().kill().unwrap();
            drop(std::mem::replace(&mut acquirers[index], acquire(semaphore.clone())).join());
        }
    }
    println!("{kills} kills, {slow} times half a slice until all was taken");
    assert!(slow <= kills as u32 / 20, "{slow}");
}

#[test]
fn permits_are_conserved_and_exclusive_under_kills_at_random_moments() {
    let _watchdog = common::watchdog_of(300);
    let mut random = Random::seeded("permits_are_conserved_and_exclusive_under_kills");
    for (permits, strategy) in
        [(1, WaitStrategy::Park), (1, WaitStrategy::SpinThenPark), (2, WaitStrategy::Park)]
    {
        let mut pool = PermitPool::new(permits).unwrap();
        pool.set_wait_strategy(strategy);
        // The process that has the permit, where there is one.
        let seat = Mutex::new(0u32).unwrap();
        let again = || {
            let (pool, seat) = (pool.clone(), seat.clone());
            child::<(), _>(move || {
                let sit = |pid: u32| {
                    let mut seat = seat.lock_or_repair(|_| ()).unwrap();
                    let before = std::mem::replace(&mut *seat, pid);
                    if pid != 0 && permits == 1 {
                        assert!(before == 0 || runs_no_more(before), "{before} has the permit");
                    }
                };
                loop {
                    let _permit = pool.acquire().unwrap();
                    sit(std::process::id());
                    sit(0);
                }
            })
        };
        let mut children: Vec<_> = (0..4).map(|_| again()).collect();
        let kills = 80;
        for _ in 0..kills {
            random.pause(1000);
            let index = random.below(4) as usize;
            children[index].process().kill().unwrap();
            let ended = std::mem::replace(&mut children[index], again()).join();
            assert!(matches!(ended, Err(commons::JoinError::Signaled { .. })), "{ended:?}");
            // Somebody gets one: no waiter sleeps on permits that are free.
            drop(pool.acquire().unwrap());
        }
        children.into_iter().for_each(Child::kill);
        assert_eq!(pool.available(), permits as usize);
        println!("{permits} permits, {strategy:?}: {kills} kills");
    }
}

/// Whether a process is past its last instruction: `PF_EXITING` in its flags, or it is gone.
fn runs_no_more(pid: u32) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let flags = stat.rsplit(')').next().unwrap().split_ascii_whitespace().nth(6).unwrap();
    flags.parse::<u64>().unwrap() & 4 != 0
}
