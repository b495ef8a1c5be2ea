//! Condition variables between processes that die.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "a signal handler")]

mod common;

use common::{
    Child, Random, child, filter::die_at_the_next_wake, in_child, name, pause_for_ever, signal,
    wait_until_asleep, watchdog,
};
use commons::{
    Condvar, Error, Event, Kind, LockError, LockedArray, Mutex, Origin, RecursiveMutex, Reset,
    Segment, Semaphore, WaitStrategy,
};
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

/// What a waiter without a bell sleeps at most.
const SLICE: Duration = Duration::from_millis(100);

fn parked() -> Condvar {
    let mut condvar = Condvar::new().unwrap();
    condvar.set_wait_strategy(WaitStrategy::Park);
    condvar
}

/// A child that takes one from the number as soon as there is one, asleep by now.
fn taker(condvar: &Condvar, number: &Mutex<u64>) -> Child<()> {
    let (condvar, number) = (condvar.clone(), number.clone());
    let child = child(move || {
        let mut number = condvar.wait_while(number.lock().unwrap(), |n| *n == 0).unwrap();
        *number -= 1;
    });
    wait_until_asleep(child.id());
    child
}

#[test]
fn cond_01_the_lock_is_the_one_that_is_given_and_others_may_wait_with_it_elsewhere() {
    let _watchdog = watchdog();
    let (number, one, other) = (Mutex::new(0u64).unwrap(), parked(), parked());
    let waiters = [taker(&one, &number), taker(&other, &number)];
    // Both have let go of the one mutex, which is acquired and released as ever.
    *number.try_lock().unwrap() = 2;
    assert!(!number.is_locked());
    one.notify_all().unwrap();
    let [first, second] = waiters;
    first.finish();
    assert_eq!(*number.lock().unwrap(), 1, "who waits elsewhere was woken");
    other.notify_all().unwrap();
    second.finish();
}

/// That one cannot wait without the lock is a matter of types: `wait` takes the guard, and gives it
/// back. Who notifies needs none.
#[test]
fn cond_02_a_wait_takes_the_guard_and_gives_that_very_lock_back() {
    let _watchdog = watchdog();
    let (condvar, mine, other) = (parked(), Mutex::new(1u64).unwrap(), Mutex::new(2u64).unwrap());
    condvar.notify_one().unwrap();
    let (guard, result) =
        condvar.wait_timeout(mine.lock().unwrap(), Duration::from_millis(1)).unwrap();
    assert!(result.timed_out());
    assert_eq!((*guard, mine.is_locked(), other.is_locked()), (1, true, false));
    drop(guard);
    assert!(!mine.is_locked());
}

#[test]
fn cond_03_a_wait_lets_go_of_the_mutex_and_has_it_again_afterwards() {
    let _watchdog = watchdog();
    let (condvar, number) = (Condvar::new().unwrap(), Mutex::new(0u64).unwrap());
    let child = {
        let (condvar, number) = (condvar.clone(), number.clone());
        child(move || {
            let mut guard = number.lock().unwrap();
            *guard = 1;
            condvar.notify_one().unwrap();
            while *guard != 2 {
                guard = condvar.wait(guard).unwrap();
            }
            assert!(number.is_locked());
        })
    };
    let mut guard = condvar.wait_while(number.lock().unwrap(), |n| *n == 0).unwrap();
    assert!(number.is_locked());
    *guard = 2;
    drop(guard);
    condvar.notify_one().unwrap();
    child.finish();
    assert!(!number.is_locked());
}

#[test]
fn cond_03_a_lock_that_was_acquired_again_is_let_go_altogether_and_as_deep_afterwards() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), RecursiveMutex::new(0u64).unwrap());
    let held = Event::new(Reset::Manual).unwrap();
    let child = {
        let (condvar, number, held) = (condvar.clone(), number.clone(), held.clone());
        child(move || {
            held.wait().unwrap();
            // It is free by and by, or this waits for ever.
            number.lock().unwrap().set(7);
            condvar.notify_one().unwrap();
        })
    };
    let first = number.lock().unwrap();
    let second = number.lock().unwrap();
    let third = number.lock().unwrap();
    held.set().unwrap();
    let third = condvar.wait_while(third, |n| *n == 0).unwrap();
    assert_eq!((first.get(), second.get(), third.get()), (7, 7, 7));
    child.finish();
    let is_held = || {
        let attempt = || matches!(number.try_lock(), Err(LockError::WouldBlock));
        thread::scope(|scope| scope.spawn(attempt).join().unwrap())
    };
    // As many guards as before, dropped in any order, and no fewer release it.
    drop(first);
    assert!(is_held());
    drop(third);
    assert!(is_held());
    drop(second);
    assert!(!is_held());
}

#[test]
fn a_death_is_told_to_who_waits_with_a_lock_that_it_acquired_again_and_it_keeps_it() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), RecursiveMutex::new(1u64).unwrap());
    for depth in 1..=3 {
        let held = Event::new(Reset::Manual).unwrap();
        let child: Child<()> = {
            let (condvar, number, held) = (condvar.clone(), number.clone(), held.clone());
            child(move || {
                held.wait().unwrap();
                let guard = number.lock().unwrap();
                guard.set(depth);
                condvar.notify_one().unwrap();
                signal(std::process::id(), libc::SIGKILL);
            })
        };
        let pid = child.id();
        let mut guards: Vec<_> = (0..depth).map(|_| number.lock().unwrap()).collect();
        held.set().unwrap();
        let error = condvar.wait_while(guards.pop().unwrap(), |n| *n != depth + 10).unwrap_err();
        assert_eq!(error, LockError::OwnerDied { pid });
        assert!(child.join().is_err());
        assert_eq!(number.is_locked(), depth > 1);
        // What the others lead to is not changed under them.
        assert!(guards.iter().all(|guard| guard.get() == depth));
        drop(guards);
        let expected = if depth == 1 { LockError::OwnerDied { pid } } else { LockError::Poisoned };
        assert_eq!(number.lock().unwrap_err(), expected);
        drop(number.lock_or_repair(|_| 1).unwrap());
    }
}

#[test]
fn the_guard_of_an_array_can_be_waited_with() {
    let _watchdog = watchdog();
    let (condvar, array) = (parked(), LockedArray::new(3, 0u64).unwrap());
    let child = {
        let (condvar, array) = (condvar.clone(), array.clone());
        child(move || {
            array.lock().unwrap()[2] = 5;
            condvar.notify_all().unwrap();
        })
    };
    let guard = condvar.wait_while(array.lock().unwrap(), |array| array[2] == 0).unwrap();
    assert_eq!(*guard, [0, 0, 5]);
    child.finish();
}

#[test]
fn cond_04_a_timed_wait_says_whether_its_time_was_over() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let (mut condvar, number) = (Condvar::new().unwrap(), Mutex::new(0u64).unwrap());
        condvar.set_wait_strategy(strategy);
        let (before, time) = (Instant::now(), Duration::from_millis(30));
        let (guard, result) = condvar.wait_timeout(number.lock().unwrap(), time).unwrap();
        assert!(result.timed_out() && before.elapsed() >= time && number.is_locked());
        let (guard, result) = condvar.wait_timeout(guard, Duration::ZERO).unwrap();
        assert!(result.timed_out());
        let (guard, result) = condvar.wait_deadline(guard, before).unwrap();
        assert!(result.timed_out());
        drop(guard);
        let child = {
            let (condvar, number) = (condvar.clone(), number.clone());
            child(move || {
                *number.lock().unwrap() = 1;
                condvar.notify_one().unwrap();
            })
        };
        let (guard, time) = (number.lock().unwrap(), Duration::from_secs(100));
        let (_, result) = condvar.wait_timeout_while(guard, time, |n| *n == 0).unwrap();
        assert!(!result.timed_out());
        child.finish();
    }
}

#[test]
fn cond_05_and_12_as_many_proceed_as_were_notified_threads_and_processes() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    let children: Vec<_> = (0..3).map(|_| taker(&condvar, &number)).collect();
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let number = condvar.wait_while(number.lock().unwrap(), |n| *n == 0);
                *number.unwrap() -= 1;
            });
        }
        for _ in 0..2 {
            *number.lock().unwrap() += 1;
            condvar.notify_one().unwrap();
            while *number.lock().unwrap() > 0 {
                thread::yield_now();
            }
        }
        *number.lock().unwrap() += 3;
        condvar.notify_all().unwrap();
    });
    children.into_iter().for_each(Child::finish);
    assert_eq!(*number.lock().unwrap(), 0);
}

#[test]
fn cond_06_nobody_wakes_without_a_notification() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    // Several slices long.
    let time = 3 * SLICE;
    let (_, result) = condvar.wait_timeout(number.lock().unwrap(), time).unwrap();
    assert!(result.timed_out());
}

#[test]
fn cond_07_a_notification_without_waiters_is_lost_and_makes_no_system_call() {
    let _watchdog = watchdog();
    in_child(|| {
        let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
        die_at_the_next_wake();
        for _ in 0..3 {
            condvar.notify_one().unwrap();
            condvar.notify_all().unwrap();
        }
        let soon = Duration::from_millis(20);
        let (_, result) = condvar.wait_timeout(number.lock().unwrap(), soon).unwrap();
        assert!(result.timed_out());
    });
}

#[test]
fn cond_08_waiters_that_timed_out_leave_no_trace() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    for _ in 0..5 {
        drop(condvar.wait_timeout(number.lock().unwrap(), Duration::from_millis(1)).unwrap());
    }
    let child = taker(&condvar, &number);
    *number.lock().unwrap() = 1;
    condvar.notify_one().unwrap();
    child.finish();
    // Finds that nobody sleeps any more, and then it is as new.
    condvar.notify_all().unwrap();
    assert!(format!("{condvar:?}").contains("may_be_awaited: false"), "{condvar:?}");
}

#[test]
fn cond_09_and_10_a_condition_is_asked_under_the_lock_until_it_ends_or_the_time_does() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    let mut asked = 0;
    let guard = condvar
        .wait_while(number.lock().unwrap(), |_| {
            asked += 1;
            assert!(number.is_locked());
            false
        })
        .unwrap();
    assert_eq!(asked, 1);
    drop(guard);
    // Notified again and again, of nothing.
    let stop = Semaphore::new(0).unwrap();
    let child = {
        let (condvar, stop) = (condvar.clone(), stop.clone());
        child(move || {
            while !stop.try_acquire().unwrap() {
                condvar.notify_all().unwrap();
                thread::yield_now();
            }
        })
    };
    let (before, time) = (Instant::now(), Duration::from_millis(50));
    let waited = condvar.wait_timeout_while(number.lock().unwrap(), time, |n| *n == 0).unwrap();
    assert!(waited.1.timed_out() && before.elapsed() >= time);
    drop(waited);
    stop.release(1).unwrap();
    child.finish();
}

static SIGNALS: AtomicU32 = AtomicU32::new(0);

extern "C" fn count(_: libc::c_int) {
    SIGNALS.fetch_add(1, SeqCst);
}

/// Sends a signal to a child that sleeps, which handles it and then sleeps on.
fn interrupt(child: &Child<u32>) {
    wait_until_asleep(child.id());
    common::signal(child.id(), libc::SIGUSR1);
    // The handler runs before the child can sleep again; and it is stopped and goes on meanwhile,
    // which no sleep outlasts either.
    child.stop();
    child.go_on();
    wait_until_asleep(child.id());
}

fn count_signals() {
    // SAFETY: all-zero bytes are an empty set and no flags: no `SA_RESTART`.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = count as *const () as libc::sighandler_t;
    // SAFETY: the handler only counts; the old action is not asked for.
    let result = unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
    assert_eq!(result, 0);
}

#[test]
fn cond_11_a_handled_signal_does_not_end_a_wait() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    let (in_child, of_child) = (condvar.clone(), number.clone());
    let child = child(move || {
        count_signals();
        let guard = in_child.wait_while(of_child.lock().unwrap(), |n| *n == 0).unwrap();
        assert_eq!(*guard, 7);
        SIGNALS.load(SeqCst)
    });
    interrupt(&child);
    *number.lock().unwrap() = 7;
    condvar.notify_one().unwrap();
    assert_eq!(child.finish(), 1);
}

#[test]
fn lock_14_a_handled_signal_does_not_end_an_acquire() {
    let _watchdog = watchdog();
    let (number, mut held) = (Mutex::new(0u64).unwrap(), Event::new(Reset::Manual).unwrap());
    // It is not asleep before it sleeps for the mutex.
    held.set_wait_strategy(WaitStrategy::Spin);
    let (of_child, go) = (number.clone(), held.clone());
    let child = child(move || {
        count_signals();
        go.wait().unwrap();
        assert_eq!(*of_child.lock().unwrap(), 7);
        SIGNALS.load(SeqCst)
    });
    let mut guard = number.lock().unwrap();
    held.set().unwrap();
    interrupt(&child);
    *guard = 7;
    drop(guard);
    assert_eq!(child.finish(), 1);
}

#[test]
fn cond_13_notifying_returns_whoever_was_killed() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    for _ in 0..5 {
        let (one, other) = (taker(&condvar, &number), taker(&condvar, &number));
        one.kill();
        condvar.notify_one().unwrap();
        condvar.notify_all().unwrap();
        *number.lock().unwrap() += 1;
        condvar.notify_one().unwrap();
        other.finish();
    }
}

#[test]
fn it_is_found_by_name_and_by_label_and_by_nothing_else() {
    let _watchdog = watchdog();
    let name = name("condvar");
    let condvar = Condvar::create(&name).unwrap();
    assert!(matches!(Condvar::create(&name), Err(Error::NameTaken { .. })));
    let (found, origin) = Condvar::open_or_create(&name).unwrap();
    assert_eq!(origin, Origin::Opened);
    let number = Mutex::new(0u64).unwrap();
    let child = taker(&found, &number);
    *number.lock().unwrap() = 1;
    condvar.notify_one().unwrap();
    child.finish();
    assert!(matches!(Semaphore::open(&name), Err(Error::TypeMismatch { .. })));
    Condvar::unlink(&name).unwrap();
    assert!(matches!(Condvar::open(&name), Err(Error::NotFound { .. })));

    let segment = Segment::anonymous(10_000).unwrap();
    Condvar::new_in(&segment, "c").unwrap();
    assert_eq!(Condvar::open_or_create_in(&segment, "c").unwrap().1, Origin::Opened);
    assert!(matches!(Condvar::open_in(&segment, "d"), Err(Error::LabelNotFound { .. })));
    assert_eq!(segment.objects().unwrap()[0].kind, Kind::Condvar);
}

#[test]
fn the_death_of_the_owner_is_told_at_the_end_of_the_wait() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    let waiter = {
        let (condvar, number) = (condvar.clone(), number.clone());
        child(move || match condvar.wait(number.lock().unwrap()) {
            Err(LockError::OwnerDied { pid }) => pid,
            Err(error) => panic!("{error}"),
            Ok(_) => 0,
        })
    };
    wait_until_asleep(waiter.id());
    let done = Semaphore::new(0).unwrap();
    let owner = {
        let (condvar, number, done) = (condvar.clone(), number.clone(), done.clone());
        child::<(), _>(move || {
            let _guard = number.lock().unwrap();
            condvar.notify_one().unwrap();
            done.release(1).unwrap();
            pause_for_ever();
        })
    };
    done.acquire().unwrap();
    let pid = owner.id();
    owner.kill();
    assert_eq!(waiter.finish(), pid);
}

#[test]
fn a_notification_of_one_killed_before_the_wake_arrives() {
    let _watchdog = watchdog();
    for all in [false, true] {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
                let takers = [taker(&condvar, &number), taker(&condvar, &number)];
                *number.lock().unwrap() = 2;
                let notifier = {
                    let condvar = condvar.clone();
                    child(move || {
                        die_at_the_next_wake();
                        match all {
                            true => condvar.notify_all().unwrap(),
                            false => condvar.notify_one().unwrap(),
                        }
                    })
                };
                assert!(notifier.join().is_err());
                let before = Instant::now();
                takers.into_iter().for_each(Child::finish);
                before.elapsed()
            })
            .collect();
        times.sort();
        println!("all {all}: median {:?}, slowest {:?}", times[10], times[20]);
        // Slices alone would make it more than half a slice.
        assert!(times[10] < SLICE / 4, "{times:?}");
    }
}

#[test]
fn the_notification_of_a_waiter_killed_at_the_mutex_goes_to_another() {
    let _watchdog = watchdog();
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    for _ in 0..10 {
        let mut takers = vec![taker(&condvar, &number), taker(&condvar, &number)];
        let mut guard = number.lock().unwrap();
        *guard = 1;
        condvar.notify_one().unwrap();
        // One of them sleeps at the mutex: on one word.
        let at_the_mutex = |child: &Child<()>| {
            let call = std::fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap();
            call.starts_with(&format!("{} ", libc::SYS_futex))
        };
        let woken = loop {
            if let Some(index) = takers.iter().position(at_the_mutex) {
                break index;
            }
            thread::yield_now();
        };
        takers.remove(woken).kill();
        drop(guard);
        takers.pop().unwrap().finish();
    }
}

#[test]
fn nothing_is_lost_to_kills_at_random_moments() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("nothing_is_lost_to_kills_at_random_moments");
    let (condvar, number) = (parked(), Mutex::new(0u64).unwrap());
    let take = || {
        let (condvar, number) = (condvar.clone(), number.clone());
        child::<(), _>(move || {
            loop {
                let guard = number.lock_or_repair(|_| ()).unwrap();
                match condvar.wait_while(guard, |n| *n == 0) {
                    Ok(mut number) => *number -= 1,
                    // Who repairs says so to the others.
                    Err(LockError::OwnerDied { .. }) => {
                        drop(number.lock_or_repair(|_| ()).unwrap());
                        condvar.notify_all().unwrap();
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        })
    };
    let mut takers: Vec<_> = (0..3).map(|_| take()).collect();
    let (mut slow, kills) = (0, 300);
    for kill in 0..kills {
        // One at a time: a lost notification leaves it there.
        *number.lock_or_repair(|_| ()).unwrap() += 1;
        condvar.notify_one().unwrap();
        random.pause(100);
        let index = kill % 3;
        takers[index].process().kill().unwrap();
        drop(std::mem::replace(&mut takers[index], take()).join());
        let before = Instant::now();
        while *number.lock_or_repair(|_| ()).unwrap() > 0 {
            thread::yield_now();
        }
        slow += u32::from(before.elapsed() >= SLICE / 2);
    }
    println!("{kills} kills, {slow} times half a slice until a notification arrived");
}
