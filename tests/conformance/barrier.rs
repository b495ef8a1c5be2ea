//! BARRIER-*.

use crate::common::{child, wait_until_asleep, watchdog};
use commons::{Barrier, BarrierError, Error, WaitStrategy};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::thread;
use std::time::{Duration, Instant};

fn parked(parties: u32) -> Barrier {
    let mut barrier = Barrier::new(parties).unwrap();
    barrier.set_wait_strategy(WaitStrategy::Park);
    barrier
}

/// Until that many have arrived.
fn wait_for_arrivals(barrier: &Barrier, count: u32) {
    while barrier.waiting() != count {
        thread::yield_now();
    }
}

fn lockstep(parties: u32, rounds: u32) {
    let barrier = Barrier::new(parties).unwrap();
    let (before, after) = (AtomicU32::new(0), AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..parties {
            scope.spawn(|| {
                for round in 0..rounds {
                    before.fetch_add(1, SeqCst);
                    barrier.wait().unwrap();
                    assert!(before.load(SeqCst) >= parties * (round + 1), "released too early");
                    // BARRIER-03: a party is at most one round ahead.
                    assert!(before.load(SeqCst) <= parties * (round + 2), "ran away");
                    assert!(after.fetch_add(1, SeqCst) >= parties * round, "ran away");
                }
            });
        }
    });
    assert_eq!(after.into_inner(), parties * rounds);
    assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
}

#[test]
fn barrier_01_all_wait_until_all_have_arrived_over_and_over() {
    let _watchdog = watchdog();
    for (parties, rounds) in [(5, 1), (5, 10), (5, 1000), (2, 1000)] {
        lockstep(parties, rounds);
    }
}

#[test]
fn barrier_02_each_party_of_a_round_has_another_index() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(4).unwrap();
    for _ in 0..100 {
        let mut results = thread::scope(|scope| {
            let parties: Vec<_> = (0..4).map(|_| scope.spawn(|| barrier.wait().unwrap())).collect();
            parties.into_iter().map(|party| party.join().unwrap()).collect::<Vec<_>>()
        });
        results.sort_by_key(|result| result.index());
        let found: Vec<_> = results.iter().map(|r| (r.index(), r.is_leader())).collect();
        assert_eq!(found, [(0, false), (1, false), (2, false), (3, true)]);
    }
}

#[test]
fn barrier_03_no_round_ends_before_all_have_left_the_one_before() {
    let _watchdog = watchdog();
    // Twice as many callers as parties: whoever is too many waits for another round.
    let (barrier, rounds) = (Barrier::new(3).unwrap(), AtomicU32::new(0));
    // One for each arrival: so that nobody is left who would have to arrive twice in one round.
    let arrivals = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while arrivals.fetch_add(1, SeqCst) < 1200 {
                    let result = barrier.wait_then(|| {
                        rounds.fetch_add(1, SeqCst);
                        Ok::<_, BarrierError>(())
                    });
                    result.unwrap();
                }
            });
        }
    });
    assert_eq!((rounds.into_inner(), barrier.waiting()), (400, 0));
}

#[test]
fn barrier_04_the_action_runs_once_in_the_last_before_anybody_is_released() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(3).unwrap();
    let (runs, leader) = (AtomicU32::new(0), Mutex::new(None));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                for round in 0..100 {
                    let result = barrier.wait_then(|| {
                        *leader.lock().unwrap() = Some(thread::current().id());
                        runs.fetch_add(1, SeqCst);
                        Ok::<_, BarrierError>(())
                    });
                    assert_eq!(runs.load(SeqCst), round + 1);
                    let led = *leader.lock().unwrap() == Some(thread::current().id());
                    assert_eq!(result.unwrap().is_leader(), led);
                    barrier.wait().unwrap();
                }
            });
        }
    });
}

#[test]
fn barrier_05_an_action_that_fails_breaks_it() {
    let _watchdog = watchdog();
    for panics in [false, true] {
        let barrier = parked(2);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait());
            wait_for_arrivals(&barrier, 1);
            let led = scope.spawn(|| {
                barrier.wait_then(|| -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
                    assert!(!panics, "the action panics");
                    Err("the action fails".into())
                })
            });
            match led.join() {
                Ok(led) => assert_eq!(led.unwrap_err().to_string(), "the action fails"),
                Err(_) => assert!(panics),
            }
            assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
        });
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    }
}

#[test]
fn barrier_06_abort_breaks_it_for_all_who_wait_and_who_come() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let mut barrier = Barrier::new(3).unwrap();
        barrier.set_wait_strategy(strategy);
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..2).map(|_| scope.spawn(|| barrier.wait())).collect();
            wait_for_arrivals(&barrier, 2);
            barrier.abort().unwrap();
            for waiter in waiters {
                assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
            }
        });
        assert!(barrier.is_broken());
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        assert!(barrier.is_broken());
    }
}

#[test]
fn barrier_07_reset_ends_the_waits_and_leaves_it_whole() {
    let _watchdog = watchdog();
    let barrier = parked(2);
    for _ in 0..50 {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait());
            wait_for_arrivals(&barrier, 1);
            barrier.reset().unwrap();
            assert_eq!((barrier.waiting(), barrier.is_broken()), (0, false));
            assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
        });
    }
    lockstep(2, 1);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait());
        barrier.wait().unwrap();
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn barrier_08_a_broken_one_can_be_reset_and_used_again() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(2).unwrap();
    barrier.abort().unwrap();
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    barrier.reset().unwrap();
    assert!(!barrier.is_broken());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait());
        barrier.wait().unwrap();
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn barrier_09_a_timeout_breaks_it_for_everybody() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let mut barrier = Barrier::new(3).unwrap();
        barrier.set_wait_strategy(strategy);
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait());
            wait_for_arrivals(&barrier, 1);
            let (start, time) = (Instant::now(), Duration::from_millis(30));
            assert_eq!(barrier.wait_timeout(time), Err(BarrierError::TimedOut));
            assert!(start.elapsed() >= time);
            assert_eq!(waiter.join().unwrap(), Err(BarrierError::Broken));
        });
        assert_eq!(barrier.wait(), Err(BarrierError::Broken));
        barrier.reset().unwrap();
        assert_eq!(barrier.wait_deadline(Instant::now()), Err(BarrierError::TimedOut));
        assert!(barrier.is_broken());
    }
}

#[test]
fn barrier_10_a_timeout_of_the_handle_is_for_waits_without_their_own() {
    let _watchdog = watchdog();
    let mut barrier = Barrier::new(2).unwrap();
    assert_eq!(barrier.timeout(), None);
    barrier.set_timeout(Some(Duration::from_millis(20)));
    let again = barrier.clone();
    assert_eq!(again.wait(), Err(BarrierError::TimedOut));
    barrier.reset().unwrap();
    let timed = barrier.wait_then(|| Ok::<_, BarrierError>(()));
    assert_eq!(timed, Err(BarrierError::TimedOut));
}

#[test]
fn barrier_11_with_one_party_nobody_waits() {
    let _watchdog = watchdog();
    let barrier = Barrier::new(1).unwrap();
    for _ in 0..3 {
        let result = barrier.wait().unwrap();
        assert!((result.index(), result.is_leader()) == (0, true));
        assert!(barrier.wait_timeout(Duration::ZERO).is_ok());
    }
}

#[test]
fn barrier_12_its_state_is_read_without_blocking() {
    let _watchdog = watchdog();
    let barrier = parked(2);
    assert_eq!((barrier.parties(), barrier.waiting(), barrier.is_broken()), (2, 0, false));
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait());
        wait_for_arrivals(&barrier, 1);
        assert!(format!("{barrier:?}").contains("waiting: 1, broken: false"));
        barrier.wait().unwrap();
        assert_eq!(barrier.waiting(), 0);
        waiter.join().unwrap().unwrap();
    });
}

#[test]
fn barrier_13_no_party_is_an_error_and_too_many_are() {
    assert!(matches!(Barrier::new(0), Err(Error::Zero { .. })));
    let many = Barrier::MAX_PARTIES + 1;
    assert!(matches!(Barrier::new(many), Err(Error::TooLarge { .. })));
    assert_eq!(Barrier::new(Barrier::MAX_PARTIES).unwrap().parties(), many - 1);
}

#[test]
fn barrier_14_a_party_killed_while_it_waits_breaks_it_for_the_rest() {
    let _watchdog = watchdog();
    let barrier = parked(3);
    let wait = |barrier: Barrier| {
        let child = child(move || barrier.wait().is_ok());
        wait_until_asleep(child.id());
        child
    };
    let victim = wait(barrier.clone());
    thread::scope(|scope| {
        let waiter = scope.spawn(|| barrier.wait());
        wait_for_arrivals(&barrier, 2);
        let pid = Some(victim.id());
        victim.kill();
        assert_eq!(waiter.join().unwrap(), Err(BarrierError::MemberDied { pid }));
        assert_eq!(barrier.wait(), Err(BarrierError::MemberDied { pid }));
    });
    // Also where it was alone, and the last party comes after its death.
    let barrier = parked(2);
    let victim = wait(barrier.clone());
    let pid = Some(victim.id());
    victim.kill();
    assert_eq!(barrier.wait(), Err(BarrierError::MemberDied { pid }));
}
