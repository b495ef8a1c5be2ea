//! Events between processes that die.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "signal handlers, system calls")]

mod common;

use common::{
    Child, Random, child, filter::die_at_the_next_wake, in_child, name, wait_until_asleep, watchdog,
};
use commons::{Error, Event, Kind, Origin, Reset, Segment, Semaphore, WaitStrategy};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

/// What a waiter without a bell sleeps at most.
const SLICE: Duration = Duration::from_millis(100);

fn parked(reset: Reset) -> Event {
    let mut event = Event::new(reset).unwrap();
    event.set_wait_strategy(WaitStrategy::Park);
    event
}

/// A child that waits for the event, asleep by now.
fn waiter(event: &Event) -> Child<()> {
    let event = event.clone();
    let child = child(move || event.wait().unwrap());
    wait_until_asleep(child.id());
    child
}

#[test]
fn event_01_it_starts_unset_and_set_and_reset_are_idempotent() {
    let _watchdog = watchdog();
    for reset in [Reset::Manual, Reset::Auto] {
        let event = Event::new(reset).unwrap();
        assert_eq!(event.reset_mode(), reset);
        assert!(!event.is_set());
        event.reset().unwrap();
        assert!(!event.is_set());
        for _ in 0..3 {
            event.set().unwrap();
            assert!(event.is_set());
        }
        for _ in 0..3 {
            event.reset().unwrap();
            assert!(!event.is_set() && !event.try_wait().unwrap());
        }
        event.set().unwrap();
        assert!(event.try_wait().unwrap());
        assert_eq!(event.is_set(), reset == Reset::Manual);
    }
}

#[test]
fn event_02_a_wait_ends_at_the_set_or_after_its_time() {
    let _watchdog = watchdog();
    for reset in [Reset::Manual, Reset::Auto] {
        for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
            let mut event = Event::new(reset).unwrap();
            event.set_wait_strategy(strategy);
            assert_eq!(event.wait_strategy(), strategy);
            let (before, time) = (Instant::now(), Duration::from_millis(30));
            assert!(!event.wait_timeout(time).unwrap());
            assert!(before.elapsed() >= time);
            assert!(!event.wait_timeout(Duration::ZERO).unwrap());
            assert!(!event.wait_deadline(before).unwrap());
            let other = event.clone();
            let child = child(move || other.wait_timeout(Duration::from_secs(100)).unwrap());
            event.set().unwrap();
            assert!(child.finish());
            event.set().unwrap();
            assert!(event.wait_timeout(Duration::ZERO).unwrap());
        }
    }
}

#[test]
fn event_03_a_set_wakes_all_waiters_in_all_processes() {
    let _watchdog = watchdog();
    let event = parked(Reset::Manual);
    let children: Vec<_> = (0..4).map(|_| waiter(&event)).collect();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(|| event.wait().unwrap())).collect();
        event.set().unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    children.into_iter().for_each(Child::finish);
}

#[test]
fn event_04_who_slept_at_the_set_is_through_although_a_reset_follows_at_once() {
    let _watchdog = watchdog();
    let event = parked(Reset::Manual);
    for round in 0..50 {
        let child = waiter(&event);
        if round % 2 == 0 {
            event.set().unwrap();
            event.reset().unwrap();
        } else {
            event.pulse().unwrap();
        }
        child.finish();
        assert!(!event.is_set());
    }
    let auto = Event::new(Reset::Auto).unwrap();
    assert!(matches!(auto.pulse(), Err(Error::NotManual { .. })));
}

#[test]
fn event_05_a_set_returns_whoever_was_killed() {
    let _watchdog = watchdog();
    for reset in [Reset::Manual, Reset::Auto] {
        let event = parked(reset);
        for _ in 0..5 {
            waiter(&event).kill();
            event.set().unwrap();
            assert!(event.try_wait().unwrap());
            event.reset().unwrap();
        }
    }
}

static FROM_HANDLER: OnceLock<Event> = OnceLock::new();

extern "C" fn handler(_: libc::c_int) {
    if let Some(event) = FROM_HANDLER.get() {
        event.set().unwrap();
    }
}

#[test]
fn event_06_a_signal_handler_sets_it_in_the_thread_that_waits() {
    let _watchdog = watchdog();
    for reset in [Reset::Manual, Reset::Auto] {
        let event = parked(reset);
        let in_child = event.clone();
        let child = child(move || {
            FROM_HANDLER.set(in_child.clone()).unwrap();
            // SAFETY: the handler calls what is async-signal-safe.
            unsafe { libc::signal(libc::SIGUSR1, handler as *const () as libc::sighandler_t) };
            in_child.wait().unwrap();
        });
        // Not before it has its handler: so when it sleeps.
        wait_until_asleep(child.id());
        common::signal(child.id(), libc::SIGUSR1);
        child.finish();
    }
}

#[test]
fn event_07_its_text_says_whether_it_is_set() {
    let _watchdog = watchdog();
    let event = Event::new(Reset::Manual).unwrap();
    assert!(format!("{event:?}").contains("set: false"));
    event.set().unwrap();
    let text = format!("{event:?}");
    assert!(text.contains("set: true") && text.contains("Manual"), "{text}");
}

#[test]
fn it_is_found_by_name_and_by_label_and_by_nothing_else() {
    let _watchdog = watchdog();
    let name = name("event");
    let event = Event::create(&name, Reset::Auto).unwrap();
    assert!(matches!(Event::create(&name, Reset::Auto), Err(Error::NameTaken { .. })));
    event.set().unwrap();
    let (found, origin) = Event::open_or_create(&name, Reset::Manual).unwrap();
    assert_eq!((origin, found.reset_mode()), (Origin::Opened, Reset::Auto));
    assert!(found.try_wait().unwrap() && !event.is_set());
    assert!(matches!(Semaphore::open(&name), Err(Error::TypeMismatch { .. })));
    Event::unlink(&name).unwrap();
    assert!(matches!(Event::open(&name), Err(Error::NotFound { .. })));

    let segment = Segment::anonymous(10_000).unwrap();
    let made = Event::new_in(&segment, "e", Reset::Manual).unwrap();
    made.set().unwrap();
    assert!(Event::open_in(&segment, "e").unwrap().is_set());
    assert!(matches!(Event::open_in(&segment, "f"), Err(Error::LabelNotFound { .. })));
    let (_, origin) = Event::open_or_create_in(&segment, "f", Reset::Manual).unwrap();
    assert_eq!(origin, Origin::Created);
    assert_eq!(segment.objects().unwrap()[0].kind, Kind::Event);
}

#[test]
fn one_set_of_an_auto_reset_event_lets_one_through() {
    let _watchdog = watchdog();
    let event = parked(Reset::Auto);
    let through = Semaphore::new(0).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            let (event, through) = (event.clone(), through.clone());
            let child = child(move || {
                event.wait().unwrap();
                through.release(1).unwrap();
            });
            wait_until_asleep(child.id());
            child
        })
        .collect();
    for done in 1..=3u32 {
        event.set().unwrap();
        through.acquire().unwrap();
        // The others sleep on.
        let asleep = children.iter().filter(|child| {
            // Who has ended may have been reaped already.
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id()));
            stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
        });
        assert!(asleep.count() >= 3 - done as usize);
        assert_eq!((through.value(), event.is_set()), (0, false));
    }
    children.into_iter().for_each(Child::finish);
}

#[test]
fn what_was_written_before_a_set_is_seen_after_the_wait() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(100_000).unwrap();
    let there = Event::new_in(&segment, "there", Reset::Auto).unwrap();
    let back = Event::new_in(&segment, "back", Reset::Auto).unwrap();
    let number = commons::Mutex::new_in(&segment, "number", 0u64).unwrap();
    let child = {
        let (there, back, number) = (there.clone(), back.clone(), number.clone());
        child(move || {
            for round in 1..=2000u64 {
                there.wait().unwrap();
                let mut number = number.lock().unwrap();
                assert_eq!(*number, 2 * round - 1);
                *number += 1;
                drop(number);
                back.set().unwrap();
            }
        })
    };
    for round in 1..=2000u64 {
        *number.lock().unwrap() += 1;
        there.set().unwrap();
        back.wait().unwrap();
        assert_eq!(*number.lock().unwrap(), 2 * round);
    }
    child.finish();
}

#[test]
fn a_set_without_waiters_makes_no_system_call() {
    let _watchdog = watchdog();
    for reset in [Reset::Manual, Reset::Auto] {
        in_child(move || {
            let event = Event::new(reset).unwrap();
            event.set().unwrap();
            die_at_the_next_wake();
            for _ in 0..10 {
                event.reset().unwrap();
                event.set().unwrap();
                event.wait().unwrap();
            }
        });
    }
}

#[test]
fn waiters_of_a_setter_that_is_killed_before_its_wake_are_woken_by_the_kernel() {
    let _watchdog = watchdog();
    for (reset, waiters) in [(Reset::Manual, 3), (Reset::Auto, 2)] {
        let mut times: Vec<Duration> = (0..21)
            .map(|_| {
                let event = parked(reset);
                let sleepers: Vec<_> = (0..waiters).map(|_| waiter(&event)).collect();
                let setter = {
                    let event = event.clone();
                    child(move || {
                        die_at_the_next_wake();
                        event.set().unwrap();
                    })
                };
                assert!(setter.join().is_err());
                let before = Instant::now();
                match reset {
                    Reset::Manual => sleepers.into_iter().for_each(Child::finish),
                    Reset::Auto => {
                        while event.is_set() {
                            thread::yield_now();
                        }
                    }
                }
                before.elapsed()
            })
            .collect();
        times.sort();
        println!("{reset:?}: median {:?}, slowest {:?}", times[10], times[20]);
        // Slices alone would make it half a slice.
        assert!(times[10] < SLICE / 4, "{times:?}");
    }
}

#[test]
fn no_wake_is_lost_to_kills_at_random_moments() {
    let _watchdog = common::watchdog_of(300);
    for reset in [Reset::Manual, Reset::Auto] {
        let mut random = Random::seeded("no_wake_is_lost_to_kills_at_random_moments");
        let event = parked(reset);
        let start = |event: Event| {
            child::<(), _>(move || {
                loop {
                    event.wait().unwrap();
                    if event.reset_mode() == Reset::Manual {
                        event.reset().unwrap();
                    }
                }
            })
        };
        let set = |event: Event| {
            child::<(), _>(move || {
                loop {
                    event.set().unwrap();
                }
            })
        };
        let mut waiters: Vec<_> = (0..3).map(|_| start(event.clone())).collect();
        let mut setter = set(event.clone());
        let (mut slow, kills) = (0, 120);
        for kill in 0..kills {
            random.pause(500);
            if random.below(2) == 0 {
                setter.process().kill().unwrap();
                drop(setter.join());
                // The last set is taken by a waiter, since one is there.
                let before = Instant::now();
                while event.is_set() {
                    thread::yield_now();
                }
                slow += u32::from(before.elapsed() >= SLICE / 2);
                setter = set(event.clone());
            } else {
                let index = kill % 3;
                waiters[index].process().kill().unwrap();
                drop(std::mem::replace(&mut waiters[index], start(event.clone())).join());
            }
        }
        println!("{reset:?}: {kills} kills, {slow} times half a slice until a set was taken");
        assert!(slow <= kills as u32 / 20, "{slow}");
    }
}
