//! Models of events, semaphores and condition variables. In them time stands still: no slice comes
//! to the rescue, so what a death leaves undone is done because the bell rings.
//!
//! A participant that dies unwinds out of the raw layer, and then the kernel's part happens: if its
//! bell was armed, one sleeper of it is woken.

use super::condvar::RawCondvar;
use super::event::RawEvent;
use super::models::{check, check_under};
use super::semaphore::RawSemaphore;
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::bell;
use crate::sync::crash::{Point, die_at};
use crate::sync::futex::model::Mode;
use crate::wait::{NEVER, WaitStrategy};
use loom::cell::UnsafeCell;
use loom::sync::{Arc, Mutex};
use loom::thread::{self, JoinHandle};
use std::panic::{AssertUnwindSafe, catch_unwind};

const PARK: WaitStrategy = WaitStrategy::Park;
/// Where a waker can die.
const WAKING: [Option<Point>; 3] = [None, Some(Point::SignalChanged), Some(Point::SignalDoubted)];
/// Where a waiter can die.
const WAITING: [Option<Point>; 3] = [None, Some(Point::SignalAnnounced), Some(Point::SignalWoken)];

/// Runs `body` as a process that dies at `point`, if it comes there.
fn mortal(point: Option<Point>, body: impl FnOnce()) {
    die_at(point);
    let lived = catch_unwind(AssertUnwindSafe(body)).is_ok();
    die_at(None);
    assert!(lived || point.is_some(), "panicked");
    bell::ring();
}

/// Two waiters under the futex that never sleeps give way to each other for ever, and a condition
/// variable orders nothing, which is all that there would be to find: so these under the other alone.
/// They are of three threads: two preemptions keep them short.
fn check_asleep(name: &str, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    check_under(&[Mode::Sleeps], 2, name, scenario);
}

fn spawn<T: Send + Sync + 'static>(shared: &Arc<T>, body: fn(&T)) -> JoinHandle<()> {
    let shared = shared.clone();
    thread::spawn(move || body(&shared))
}

/// What is written before a signal and read after it.
struct Letter(UnsafeCell<u64>);

#[allow(unsafe_code, reason = "loom's cells check every access")]
mod letter {
    use super::Letter;

    // SAFETY: loom reports every access that another could race with.
    unsafe impl Send for Letter {}
    // SAFETY: as above.
    unsafe impl Sync for Letter {}

    impl Letter {
        pub(super) fn write(&self, value: u64) {
            // SAFETY: loom checks it.
            self.0.with_mut(|place| unsafe { *place = value });
        }

        pub(super) fn read(&self) -> u64 {
            // SAFETY: loom checks it.
            self.0.with(|place| unsafe { *place })
        }
    }
}

#[test]
fn a_permit_brings_what_was_written_before() {
    check("semaphore: letter", || {
        let shared = Arc::new((RawSemaphore::new(0), Letter(UnsafeCell::new(0))));
        let reader = spawn(&shared, |(semaphore, letter)| {
            assert!(semaphore.acquire(PARK, NEVER));
            assert_eq!(letter.read(), 7);
        });
        shared.1.write(7);
        shared.0.release(1, 9).unwrap();
        reader.join().unwrap();
    });
}

#[test]
fn a_set_of_a_set_event_brings_what_was_written_before_it() {
    check("auto event: letter", || {
        let letter = Letter(UnsafeCell::new(0));
        let shared = Arc::new((RawSemaphore::new(1), letter, AtomicU32::new(0)));
        let writer = spawn(&shared, |(event, letter, done)| {
            letter.write(7);
            event.set();
            done.store(1, Relaxed);
        });
        // Relaxed: orders nothing. If it says so, the set came before the exchange that follows.
        let was_set = shared.2.load(Relaxed) == 1;
        assert!(shared.0.acquire(PARK, NEVER));
        if was_set {
            assert_eq!(shared.1.read(), 7);
        }
        writer.join().unwrap();
    });
}

#[test]
fn every_permit_finds_its_waiter_whoever_is_killed_releasing() {
    for point in WAKING {
        check_asleep(&format!("semaphore: releaser dies at {point:?}"), move || {
            let semaphore = Arc::new(RawSemaphore::new(0));
            let waiters = [(); 2].map(|()| spawn(&semaphore, |s| assert!(s.acquire(PARK, NEVER))));
            mortal(point, || semaphore.release(2, 9).unwrap());
            waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            assert_eq!(semaphore.value(), 0);
        });
    }
}

#[test]
fn single_releases_reach_both_waiters() {
    check_asleep("semaphore: two releases", || {
        let semaphore = Arc::new(RawSemaphore::new(0));
        let waiters = [(); 2].map(|()| spawn(&semaphore, |s| assert!(s.acquire(PARK, NEVER))));
        semaphore.release(1, 9).unwrap();
        semaphore.release(1, 9).unwrap();
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn a_permit_is_not_lost_with_the_waiter_that_was_woken_for_it() {
    for point in WAITING {
        check_asleep(&format!("semaphore: waiter dies at {point:?}"), move || {
            let semaphore = Arc::new(RawSemaphore::new(0));
            let dying = thread::spawn({
                let semaphore = semaphore.clone();
                move || {
                    mortal(point, || {
                        semaphore.acquire(PARK, NEVER);
                        semaphore.release(1, 9).unwrap();
                    });
                }
            });
            let other = spawn(&semaphore, |s| {
                assert!(s.acquire(PARK, NEVER));
                s.release(1, 9).unwrap();
            });
            semaphore.release(1, 9).unwrap();
            other.join().unwrap();
            dying.join().unwrap();
        });
    }
}

#[test]
fn a_waiter_after_the_flag_was_taken_down_is_seen() {
    check("semaphore: doubt", || {
        let semaphore = Arc::new(RawSemaphore::new(0));
        let waiter = spawn(&semaphore, |s| {
            assert!(s.acquire(PARK, NEVER));
            assert!(s.acquire(PARK, NEVER));
        });
        semaphore.release(1, 9).unwrap();
        semaphore.release(1, 9).unwrap();
        waiter.join().unwrap();
        assert!(!semaphore.try_acquire());
    });
}

#[test]
fn who_waits_is_through_although_a_reset_follows() {
    check("event: set and reset", || {
        let shared = Arc::new((RawEvent::new(), Letter(UnsafeCell::new(0))));
        let waiter = thread::spawn({
            let (shared, sets) = (shared.clone(), shared.0.sets());
            move || {
                assert!(shared.0.wait_since(sets, PARK, NEVER));
                assert_eq!(shared.1.read(), 7);
            }
        });
        shared.1.write(7);
        shared.0.set();
        shared.0.reset();
        waiter.join().unwrap();
        assert!(!shared.0.is_set());
    });
}

#[test]
fn a_set_lets_all_through_whoever_is_killed() {
    for (setter, waiter) in WAKING[..2].iter().flat_map(|s| WAITING.map(|w| (*s, w))) {
        check_asleep(
            &format!("event: setter dies at {setter:?}, waiter at {waiter:?}"),
            move || {
                let event = Arc::new(RawEvent::new());
                let dying = thread::spawn({
                    let event = event.clone();
                    move || mortal(waiter, || assert!(event.wait(PARK, NEVER)))
                });
                let other = spawn(&event, |event| assert!(event.wait(PARK, NEVER)));
                mortal(setter, || event.set());
                other.join().unwrap();
                dying.join().unwrap();
            },
        );
    }
}

/// A condition variable with its mutex and what that guards.
struct Waiting {
    condvar: RawCondvar,
    number: Mutex<u32>,
}

impl Waiting {
    fn new() -> Arc<Self> {
        Arc::new(Waiting { condvar: RawCondvar::new(), number: Mutex::new(0) })
    }

    fn take(&self) {
        loop {
            let mut number = self.number.lock().unwrap();
            if *number > 0 {
                *number -= 1;
                return;
            }
            let token = self.condvar.announce();
            drop(number);
            assert!(self.condvar.wait(token, PARK, NEVER));
        }
    }
}

#[test]
fn every_notification_finds_its_waiter() {
    check_asleep("condvar: notify_one twice", || {
        let waiting = Waiting::new();
        let waiters = [(); 2].map(|()| spawn(&waiting, Waiting::take));
        for _ in 0..2 {
            *waiting.number.lock().unwrap() += 1;
            waiting.condvar.notify_one();
        }
        waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
    });
}

#[test]
fn a_notification_finds_who_begins_to_wait_while_the_flag_of_another_is_dropped() {
    check_asleep("condvar: notify_one after a waiter left", || {
        let waiting = Waiting::new();
        // Who left without a word: by its timeout, or dead.
        waiting.condvar.announce();
        let waiter = spawn(&waiting, Waiting::take);
        waiting.condvar.notify_one();
        *waiting.number.lock().unwrap() = 1;
        waiting.condvar.notify_one();
        waiter.join().unwrap();
    });
}

#[test]
fn a_notification_arrives_whoever_is_killed_notifying() {
    for point in WAKING {
        for all in [false, true] {
            check_asleep(&format!("condvar: notifier dies at {point:?}, all {all}"), move || {
                let waiting = Waiting::new();
                let waiters = [(); 2].map(|()| spawn(&waiting, Waiting::take));
                *waiting.number.lock().unwrap() = 2;
                mortal(point, || {
                    if all {
                        waiting.condvar.notify_all();
                    } else {
                        waiting.condvar.notify_one();
                        waiting.condvar.notify_one();
                    }
                });
                if !all && point.is_some() {
                    // It may have died after one of two.
                    waiting.condvar.notify_one();
                }
                waiters.into_iter().for_each(|waiter| waiter.join().unwrap());
            });
        }
    }
}

#[test]
fn a_notification_is_not_lost_with_the_waiter_that_was_woken() {
    for point in WAITING {
        check_asleep(&format!("condvar: waiter dies at {point:?}"), move || {
            let waiting = Waiting::new();
            let dying = thread::spawn({
                let waiting = waiting.clone();
                move || {
                    mortal(point, || {
                        waiting.take();
                        *waiting.number.lock().unwrap() += 1;
                        waiting.condvar.notify_one();
                    });
                }
            });
            let other = spawn(&waiting, |waiting| {
                waiting.take();
                *waiting.number.lock().unwrap() += 1;
                waiting.condvar.notify_one();
            });
            *waiting.number.lock().unwrap() = 1;
            waiting.condvar.notify_one();
            other.join().unwrap();
            dying.join().unwrap();
        });
    }
}
