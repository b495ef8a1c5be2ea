//! Barriers between processes that die.

#![cfg(feature = "serde")]

mod common;

use common::{
    Child, Random, child, filter::die_at_the_next_wake, in_child, name, pause_for_ever,
    wait_until_asleep, watchdog,
};
use commons::{
    AtomicU64, Barrier, BarrierError, Error, Event, Kind, Origin, Reset, Segment, WaitStrategy,
};
use std::thread;
use std::time::{Duration, Instant};

fn parked(parties: u32) -> Barrier {
    let mut barrier = Barrier::new(parties).unwrap();
    barrier.set_wait_strategy(WaitStrategy::Park);
    barrier
}

/// A child that waits at it, asleep by now; gives whether all went well, and whether it was told of a
/// death.
fn waiter(barrier: &Barrier) -> Child<(bool, Option<u32>)> {
    let barrier = barrier.clone();
    let child = child(move || verdict(&barrier.wait().map(|_| ())));
    wait_until_asleep(child.id());
    child
}

fn verdict(result: &Result<(), BarrierError>) -> (bool, Option<u32>) {
    match result {
        Ok(()) => (true, None),
        Err(BarrierError::MemberDied { pid }) => (false, *pid),
        Err(_) => (false, None),
    }
}

/// A child that has it open and does nothing.
fn member(barrier: &Barrier) -> Child<()> {
    let (there, barrier) = (Event::new(Reset::Manual).unwrap(), barrier.clone());
    let signal = there.clone();
    let child = child(move || {
        let _barrier = barrier;
        signal.set().unwrap();
        pause_for_ever();
    });
    there.wait().unwrap();
    child
}

#[test]
fn processes_meet_round_after_round() {
    let _watchdog = watchdog();
    const PARTIES: u64 = 3;
    const ROUNDS: u64 = 2000;
    for strategy in [WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let mut barrier = Barrier::new(PARTIES as u32).unwrap();
        barrier.set_wait_strategy(strategy);
        let count = AtomicU64::new(0).unwrap();
        let children: Vec<_> = (0..PARTIES)
            .map(|_| {
                let (barrier, count) = (barrier.clone(), count.clone());
                child(move || {
                    let mut led = 0u64;
                    for round in 1..=ROUNDS {
                        count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                        led += u64::from(barrier.wait().unwrap().is_leader());
                        assert_eq!(
                            count.load(std::sync::atomic::Ordering::SeqCst),
                            round * PARTIES
                        );
                        led += u64::from(barrier.wait().unwrap().is_leader());
                    }
                    led
                })
            })
            .collect();
        let led: u64 = children.into_iter().map(Child::finish).sum();
        assert_eq!(led, 2 * ROUNDS);
        assert!(!barrier.is_broken());
    }
}

#[test]
fn all_who_wait_are_told_of_a_party_that_is_killed() {
    let _watchdog = watchdog();
    for _ in 0..10 {
        let barrier = parked(5);
        let others: Vec<_> = (0..3).map(|_| waiter(&barrier)).collect();
        let victim = waiter(&barrier);
        let pid = Some(victim.id());
        victim.kill();
        for other in others {
            assert_eq!(other.finish(), (false, pid));
        }
        // What it was told of, a reset forgets.
        barrier.reset().unwrap();
        let others: Vec<_> = (0..4).map(|_| waiter(&barrier)).collect();
        assert_eq!(barrier.waiting(), 4);
        barrier.wait().unwrap();
        for other in others {
            assert_eq!(other.finish(), (true, None));
        }
    }
}

#[test]
fn a_leader_that_is_killed_in_its_action_breaks_it() {
    let _watchdog = watchdog();
    let barrier = parked(2);
    let (inside, other) = (Event::new(Reset::Manual).unwrap(), waiter(&barrier));
    let leader = child({
        let (barrier, inside) = (barrier.clone(), inside.clone());
        move || {
            let _ = barrier.wait_then(|| -> Result<(), BarrierError> {
                inside.set().unwrap();
                pause_for_ever()
            });
        }
    });
    inside.wait().unwrap();
    let pid = Some(leader.id());
    leader.kill();
    assert_eq!(other.finish(), (false, pid));
    assert!(barrier.is_broken());
}

#[test]
fn a_leader_that_is_killed_before_its_wake_has_let_the_others_go() {
    let _watchdog = watchdog();
    for _ in 0..10 {
        let barrier = parked(4);
        let others: Vec<_> = (0..3).map(|_| waiter(&barrier)).collect();
        let leader = child({
            let barrier = barrier.clone();
            move || {
                die_at_the_next_wake();
                let _ = barrier.wait();
            }
        });
        assert!(leader.join().is_err());
        for other in others {
            assert_eq!(other.finish(), (true, None));
        }
    }
}

#[test]
fn a_member_that_dies_without_having_arrived_breaks_it_once() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let mut barrier = Barrier::new(2).unwrap();
        barrier.set_wait_strategy(strategy);
        let idle = member(&barrier);
        let pid = Some(idle.id());
        thread::scope(|scope| {
            let waiter = scope.spawn(|| barrier.wait());
            while barrier.waiting() != 1 {
                thread::yield_now();
            }
            idle.kill();
            assert_eq!(waiter.join().unwrap(), Err(BarrierError::MemberDied { pid }));
        });
        barrier.reset().unwrap();
        // It is still where it was in the table, and mourned.
        let timed = barrier.wait_timeout(Duration::from_millis(300));
        assert_eq!(timed, Err(BarrierError::TimedOut));
        // One that died while nobody waited is found by the next who does.
        barrier.reset().unwrap();
        let idle = member(&barrier);
        let pid = Some(idle.id());
        idle.kill();
        assert_eq!(barrier.wait(), Err(BarrierError::MemberDied { pid }));
    }
}

#[test]
fn a_member_that_leaves_in_order_breaks_nothing() {
    let _watchdog = watchdog();
    let barrier = parked(2);
    let other = waiter(&barrier);
    let again = barrier.clone();
    in_child(move || drop(again));
    assert_eq!(barrier.waiting(), 1);
    barrier.wait().unwrap();
    assert_eq!(other.finish(), (true, None));
}

#[test]
fn a_stopped_party_is_waited_for() {
    let _watchdog = watchdog();
    let barrier = parked(3);
    let (stopped, idle) = (waiter(&barrier), member(&barrier));
    stopped.stop();
    idle.stop();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| barrier.wait());
        let still = barrier.clone();
        assert!(
            thread::spawn(move || {
                let until = Instant::now() + Duration::from_millis(300);
                while Instant::now() < until {
                    assert!(!still.is_broken());
                    thread::yield_now();
                }
            })
            .join()
            .is_ok()
        );
        barrier.wait().unwrap();
        waiting.join().unwrap().unwrap();
    });
    stopped.go_on();
    idle.go_on();
    assert_eq!(stopped.finish(), (true, None));
}

#[test]
fn a_late_look_finds_its_own_round_after_many_resets() {
    let _watchdog = watchdog();
    let barrier = parked(2);
    let late = waiter(&barrier);
    late.stop();
    barrier.wait().unwrap();
    for _ in 0..1000 {
        barrier.reset().unwrap();
        barrier.abort().unwrap();
    }
    late.go_on();
    assert_eq!(late.finish(), (true, None), "its round was complete");
    // And the other way round.
    barrier.reset().unwrap();
    let late = waiter(&barrier);
    late.stop();
    for _ in 0..1000 {
        barrier.reset().unwrap();
    }
    late.go_on();
    assert_eq!(late.finish(), (false, None), "its round was broken");
}

#[test]
fn no_round_is_wrong_whoever_is_killed() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("no_round_is_wrong_whoever_is_killed");
    const PARTIES: u64 = 3;
    let order = std::sync::atomic::Ordering::SeqCst;
    let mut deaths = 0;
    for case in 0..150 {
        let mut barrier = Barrier::new(PARTIES as u32).unwrap();
        if case % 2 == 0 {
            barrier.set_wait_strategy(WaitStrategy::Park);
        }
        let count = AtomicU64::new(0).unwrap();
        let mut children: Vec<_> = (0..PARTIES)
            .map(|_| {
                let (barrier, count) = (barrier.clone(), count.clone());
                child(move || -> (u64, Option<u32>) {
                    for round in 0u64.. {
                        count.fetch_add(1, order);
                        let result = barrier.wait_then(|| {
                            // All have come, and nobody is ahead.
                            assert_eq!(count.load(order), PARTIES * (round + 1));
                            Ok::<_, BarrierError>(())
                        });
                        match result {
                            Ok(_) => {}
                            Err(BarrierError::MemberDied { pid }) => return (round, pid),
                            Err(other) => panic!("{other}"),
                        }
                    }
                    unreachable!()
                })
            })
            .collect();
        // One at least: a process that is killed as it starts has not said its number yet.
        let rounds = (1 + random.below(300)) * PARTIES;
        while count.load(order) < rounds {
            thread::yield_now();
        }
        for _ in 0..random.below(2000) {
            std::hint::spin_loop();
        }
        let victim = children.swap_remove(random.below(PARTIES) as usize);
        let pid = Some(victim.id());
        victim.kill();
        deaths += 1;
        let ends: Vec<_> = children.into_iter().map(Child::finish).collect();
        assert!(ends.iter().all(|end| end.1 == pid), "{ends:?}, killed {pid:?}");
        // Both saw the same rounds end in order.
        assert_eq!(ends[0].0, ends[1].0);
        barrier.reset().unwrap();
        let others: Vec<_> = (1..PARTIES).map(|_| waiter(&barrier)).collect();
        barrier.wait().unwrap();
        assert!(others.into_iter().all(|other| other.finish() == (true, None)));
    }
    println!("{deaths} deaths");
}

#[test]
fn it_is_found_by_name_and_by_label() {
    let _watchdog = watchdog();
    let name = name("barrier");
    let (barrier, origin) = Barrier::open_or_create(&name, 2).unwrap();
    assert_eq!(origin, Origin::Created);
    assert!(matches!(Barrier::create(&name, 3), Err(Error::NameTaken { .. })));
    let found = Barrier::open(&name).unwrap();
    assert_eq!((found.parties(), barrier.parties()), (2, 2));
    assert!(matches!(Event::open(&name), Err(Error::TypeMismatch { .. })));
    Barrier::unlink(&name).unwrap();
    assert!(matches!(Barrier::open(&name), Err(Error::NotFound { .. })));
    let segment = Segment::anonymous(64 << 10).unwrap();
    Barrier::new_in(&segment, "meet", 4).unwrap().abort().unwrap();
    let found = Barrier::open_in(&segment, "meet").unwrap();
    assert!(found.is_broken() && found.parties() == 4);
    let (_, origin) = Barrier::open_or_create_in(&segment, "meet", 9).unwrap();
    assert_eq!(origin, Origin::Opened);
    assert_eq!(segment.objects().unwrap()[0].kind, Kind::Barrier);
}
