//! Who waits for the dead is told, who waits for the stopped waits, and nobody is taken for dead
//! who lives.
//!
//! Prints, and does not judge, how long the news of a death takes:
//! `cargo test --test liveness -- --nocapture news`.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "forks, executes and ends threads as others would")]

mod common;

use common::{
    Child, Random, RawChild, Stray, child, descriptors, in_private_directory, name, pause_for_ever,
    raw_fork, signal, thread_id, wait_until_asleep, watchdog, watchdog_of,
};
use commons::inspect::{self, Holder, State};
use commons::spsc::{Consumer, Ring, duplex, ring};
use commons::{ChannelError, Departure, Error, Segment, WaitStrategy};
use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(5);
const GIB: usize = 1 << 30;

fn died(pid: u32) -> ChannelError {
    ChannelError::Disconnected(Departure::Died { pid: Some(pid) })
}

/// A child that has a producer and never uses it, with this much memory of its own.
fn idle_producer(memory: usize, strategy: WaitStrategy) -> (Child<()>, Consumer<u64>) {
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    consumer.set_wait_strategy(strategy);
    let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
    let idle = child(move || {
        let _producer = producer;
        let ballast = vec![1u8; memory];
        ready.push(()).unwrap();
        std::hint::black_box(&ballast);
        pause_for_ever()
    });
    is_ready.pop().unwrap();
    (idle, consumer)
}

/// Runs `wait` in a thread, does `deed` when the thread is asleep, and gives what `wait` gave and
/// how long after the deed.
fn told_after<R: Send + 'static>(
    wait: impl FnOnce() -> R + Send + 'static,
    asleep: bool,
    deed: impl FnOnce(),
) -> (R, Duration) {
    let (sender, receiver) = mpsc::channel();
    let waiter = std::thread::spawn(move || {
        sender.send(thread_id()).unwrap();
        let result = wait();
        (result, Instant::now())
    });
    let thread = receiver.recv().unwrap();
    if asleep {
        wait_until_asleep(thread);
    }
    let since = Instant::now();
    deed();
    let (result, at) = waiter.join().unwrap();
    (result, at.saturating_duration_since(since))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

// ---- a peer that is killed ----

#[test]
fn a_blocked_pop_gets_the_news_of_its_peers_death() {
    let _watchdog = watchdog_of(300);
    for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark, WaitStrategy::Spin] {
        let mut times = Vec::new();
        for _ in 0..30 {
            let (idle, mut consumer) = idle_producer(0, strategy);
            let pid = idle.id();
            let parked = strategy != WaitStrategy::Spin;
            let (result, time) =
                told_after(move || consumer.pop(), parked, || signal(pid, libc::SIGKILL));
            assert_eq!(result, Err(died(pid)));
            times.push(time);
        }
        let worst = times.iter().max().copied();
        println!(
            "news of a small death, {strategy:?}: median {:?}, worst {worst:?}",
            median(times)
        );
    }
}

#[test]
fn a_blocked_pop_gets_the_news_before_a_gigabyte_is_freed() {
    let _watchdog = watchdog_of(300);
    for strategy in [WaitStrategy::Park, WaitStrategy::Spin] {
        let mut times = Vec::new();
        for _ in 0..3 {
            let (idle, mut consumer) = idle_producer(GIB, strategy);
            let pid = idle.id();
            let parked = strategy != WaitStrategy::Spin;
            let (result, time) =
                told_after(move || consumer.pop(), parked, || signal(pid, libc::SIGKILL));
            assert_eq!(result, Err(died(pid)));
            times.push(time);
            let since = Instant::now();
            drop(idle);
            println!(
                "news of a death with 1 GiB, {strategy:?}: {time:?}; reaped {:?} later",
                since.elapsed()
            );
        }
    }
}

#[test]
fn a_report_says_dead_as_soon_as_a_waiter_is_told_and_a_collector_waits_for_the_rest() {
    let _watchdog = watchdog_of(300);
    in_private_directory(|| {
        for _ in 0..3 {
            let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
            let ring = Ring::<u64>::create("heavy", 4).unwrap();
            let mut consumer = ring.consumer().unwrap();
            let mut dying: Child<()> = child(move || {
                let _producer = Ring::<u64>::open("heavy").unwrap().producer().unwrap();
                let ballast = vec![1u8; GIB];
                ready.push(()).unwrap();
                std::hint::black_box(&ballast);
                pause_for_ever()
            });
            is_ready.pop().unwrap();
            let pid = dying.id();
            dying.process().kill().unwrap();
            assert_eq!(consumer.pop(), Err(died(pid)));

            let report = inspect::report("heavy").unwrap();
            let dead = Holder::Process { pid: Some(pid), state: State::Dead };
            assert_eq!(report.objects[0].ends[0].holder, dead);
            let mut its = report.participants.iter().filter(|p| p.pid == pid).peekable();
            assert!(its.peek().is_some() && its.all(|p| p.state == State::Dead), "{report:?}");
            assert!(inspect::collect().unwrap().is_empty(), "this process uses it");
            drop((consumer, ring));
            assert!(inspect::report("heavy").unwrap().is_left_by_the_dead());
            assert_eq!(inspect::collect().unwrap(), ["heavy"]);
        }
    });
}

#[test]
fn a_blocked_push_gets_the_news_of_its_peers_death() {
    let _watchdog = watchdog_of(300);
    for memory in [0, GIB] {
        let (mut producer, consumer) = ring::<u64>(2).unwrap();
        producer.push_all(&[1, 2]).unwrap();
        let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
        let idle: Child<()> = child(move || {
            let _consumer = consumer;
            let ballast = vec![1u8; memory];
            ready.push(()).unwrap();
            std::hint::black_box(&ballast);
            pause_for_ever()
        });
        is_ready.pop().unwrap();
        let pid = idle.id();
        let push = move || producer.push(3).map_err(|r| (r.value, r.reason));
        let (result, time) = told_after(push, true, || signal(pid, libc::SIGKILL));
        assert_eq!(result, Err((3, died(pid))));
        println!("news to a blocked push, {} MiB: {time:?}", memory >> 20);
    }
}

#[test]
fn every_blocking_form_gets_the_news() {
    let _watchdog = watchdog();
    type Form = fn(&mut Consumer<u64>) -> Result<(), ChannelError>;
    let forms: [Form; 5] = [
        |c| c.pop().map(drop),
        |c| c.pop_timeout(Duration::from_secs(3600)).map(drop),
        |c| c.pop_deadline(Instant::now() + Duration::from_secs(3600)).map(drop),
        |c| c.pop_slice(&mut [0; 2]).map(drop),
        |c| c.peek(1).map(drop),
    ];
    for form in forms {
        let (idle, mut consumer) = idle_producer(0, WaitStrategy::default());
        let pid = idle.id();
        let (result, _) =
            told_after(move || form(&mut consumer), true, || signal(pid, libc::SIGKILL));
        assert_eq!(result, Err(died(pid)));
    }
}

#[test]
fn who_comes_after_the_death_gets_the_news_at_once() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark, WaitStrategy::Spin] {
        let (idle, mut consumer) = idle_producer(0, strategy);
        let pid = idle.id();
        idle.kill();
        assert_eq!(consumer.try_pop(), Err(died(pid)));
        assert_eq!(consumer.pop_timeout(Duration::from_secs(3600)), Err(died(pid)));
        assert_eq!(consumer.pop(), Err(died(pid)));
    }
}

#[test]
fn several_peers_killed_at_once_are_all_reported() {
    let _watchdog = watchdog();
    for _ in 0..5 {
        let (children, consumers): (Vec<_>, Vec<_>) =
            (0..12).map(|_| idle_producer(0, WaitStrategy::Park)).unzip();
        let pids: Vec<u32> = children.iter().map(Child::id).collect();
        let (sender, receiver) = mpsc::channel();
        let waiters: Vec<_> = consumers
            .into_iter()
            .map(|mut consumer| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    sender.send(thread_id()).unwrap();
                    consumer.pop()
                })
            })
            .collect();
        for thread in receiver.iter().take(waiters.len()) {
            wait_until_asleep(thread);
        }
        let since = Instant::now();
        pids.iter().for_each(|&pid| signal(pid, libc::SIGKILL));
        for (waiter, pid) in waiters.into_iter().zip(pids) {
            assert_eq!(waiter.join().unwrap(), Err(died(pid)));
        }
        println!("news of 12 deaths at once: the last after {:?}", since.elapsed());
    }
}

#[test]
fn a_chain_of_processes_falls_link_by_link() {
    let _watchdog = watchdog();
    // Each pops from the one before; the first is killed, the rest learn it and close in order.
    let (first, mut consumer) = idle_producer(0, WaitStrategy::Park);
    let mut links = Vec::new();
    for _ in 0..5 {
        let (mut producer, next) = ring::<u64>(2).unwrap();
        let mut before = std::mem::replace(&mut consumer, next);
        links.push(child(move || {
            let reason = loop {
                match before.pop() {
                    Ok(item) => producer.push(item).unwrap(),
                    Err(reason) => break reason,
                }
            };
            matches!(reason, ChannelError::Disconnected(_))
        }));
    }
    for link in &links {
        wait_until_asleep(link.id());
    }
    first.kill();
    assert_eq!(consumer.pop(), Err(ChannelError::Disconnected(Departure::Closed)));
    assert!(links.into_iter().all(Child::finish));
}

#[test]
fn the_one_that_survives_a_death_on_both_sides_can_be_followed() {
    let _watchdog = watchdog();
    let name = name("both-dead");
    let ring = Ring::<u64>::create(&name, 8).unwrap();
    let mut last = 0;
    for _ in 0..10 {
        let pair: Vec<Child<()>> = ["producer", "consumer"]
            .map(|role| {
                let found = name.to_string();
                let (mut ready, mut is_ready) = commons::spsc::ring::<()>(1).unwrap();
                let holder = child(move || {
                    let ring = Ring::<u64>::open(&found).unwrap();
                    let (mut producer, mut consumer) = (None, None);
                    if role == "producer" {
                        producer = Some(ring.producer().unwrap());
                    } else {
                        consumer = Some(ring.consumer().unwrap());
                    }
                    ready.push(()).unwrap();
                    loop {
                        if let Some(producer) = &mut producer {
                            let _ = producer.push(1);
                        }
                        if let Some(consumer) = &mut consumer {
                            let _ = consumer.pop();
                        }
                    }
                });
                is_ready.pop().unwrap();
                holder
            })
            .into();
        pair.iter().for_each(|holder| signal(holder.id(), libc::SIGKILL));
        drop(pair);
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        while consumer.try_pop() == Ok(1) {}
        last += 1;
        producer.push(1000 + last).unwrap();
        assert_eq!(consumer.pop(), Ok(1000 + last));
    }
}

// ---- a peer that is stopped ----

#[test]
fn a_stopped_peer_is_not_dead() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Park, WaitStrategy::SpinThenPark, WaitStrategy::Spin] {
        let (mut here, mut there) = duplex::<u64>(1).unwrap();
        here.set_wait_strategy(strategy);
        let echo = child(move || {
            while let Ok(value) = there.rx.pop() {
                there.tx.push(value).unwrap();
            }
        });
        here.tx.push(1).unwrap();
        assert_eq!(here.rx.pop(), Ok(1));
        echo.stop();
        // Longer than every slice after which a sleeper asks.
        assert_eq!(here.rx.pop_timeout(Duration::from_millis(250)), Err(ChannelError::TimedOut));
        assert_eq!(here.rx.try_pop(), Err(ChannelError::Empty));
        here.tx.push(2).unwrap();
        assert_eq!(here.tx.try_push(3).unwrap_err().reason, ChannelError::Full);
        let full = here.tx.push_timeout(3, Duration::from_millis(150)).unwrap_err();
        assert_eq!(full.reason, ChannelError::TimedOut);
        echo.go_on();
        assert_eq!(here.rx.pop(), Ok(2));
        drop(here);
        echo.finish();
    }
}

#[test]
fn a_blocked_pop_goes_on_with_a_peer_that_was_stopped() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u64>(1).unwrap();
    let (mut go, mut goes) = ring::<()>(1).unwrap();
    let sender = child(move || {
        goes.pop().unwrap();
        producer.push(5).unwrap();
    });
    wait_until_asleep(sender.id());
    sender.stop();
    let (popped, _) = told_after(
        move || consumer.pop(),
        true,
        || {
            go.push(()).unwrap();
            sender.go_on();
        },
    );
    assert_eq!(popped, Ok(5));
    sender.finish();
}

#[test]
fn the_end_of_a_stopped_process_is_taken() {
    let _watchdog = watchdog();
    let name = name("stopped");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let found = name.to_string();
    let (mut ready, mut is_ready) = commons::spsc::ring::<()>(1).unwrap();
    let holder: Child<()> = child(move || {
        let _producer = Ring::<u64>::open(&found).unwrap().producer().unwrap();
        ready.push(()).unwrap();
        pause_for_ever()
    });
    is_ready.pop().unwrap();
    holder.stop();
    let error = ring.producer().unwrap_err();
    assert!(matches!(error, Error::RoleTaken { pid, .. } if pid == holder.id()), "{error}");
    holder.kill();
    ring.producer().unwrap();
}

// ---- forks and executions ----

/// A process that has attached by name and says so, forked by somebody else's means, so that it
/// knows nothing of its parent's objects.
fn holder(name: &str, then: impl FnOnce() -> i32 + Send + 'static) -> RawChild {
    let (mut is_ready, ready) = std::io::pipe().unwrap();
    let found = name.to_owned();
    let holder = raw_fork(move || {
        let _producer = Ring::<u64>::open(&found).unwrap().producer().unwrap();
        std::io::Write::write_all(&mut &ready, &[1]).unwrap();
        drop(ready);
        then()
    });
    std::io::Read::read_exact(&mut is_ready, &mut [0]).unwrap();
    holder
}

#[test]
fn copies_in_children_that_others_forked_do_not_keep_the_dead_alive() {
    let _watchdog = watchdog();
    let name = name("raw-forks");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let (mut is_ready, ready) = std::io::pipe().unwrap();
    let holder = holder(&name, move || {
        // SAFETY: the child does nothing but sleep.
        let copy = unsafe { libc::fork() };
        if copy == 0 {
            common::die_after(100);
        } else {
            std::io::Write::write_all(&mut &ready, &copy.to_le_bytes()).unwrap();
        }
        pause_for_ever()
    });
    let mut copy = [0; 4];
    std::io::Read::read_exact(&mut is_ready, &mut copy).unwrap();
    let copy = Stray(u32::from_le_bytes(copy));
    let pid = holder.id();
    assert_eq!(consumer.try_pop(), Err(ChannelError::Empty));
    let (result, _) =
        told_after(move || (consumer.pop(), consumer), true, || signal(pid, libc::SIGKILL));
    let (popped, _consumer) = result;
    assert_eq!(popped, Err(died(pid)));
    assert!(copy.is_alive());
    ring.producer().unwrap();
}

#[test]
fn children_of_this_crate_do_not_keep_their_dead_parent_alive() {
    let _watchdog = watchdog();
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let (mut ready, mut is_ready) = ring::<u32>(1).unwrap();
    let parent: Child<()> = child(move || {
        let _producer = producer;
        let child = commons::Process::spawn(|| {
            common::die_after(100);
            pause_for_ever()
        });
        let child: commons::Process<()> = child.unwrap();
        ready.push(child.pid()).unwrap();
        pause_for_ever()
    });
    let grandchild = Stray(is_ready.pop().unwrap());
    let pid = parent.id();
    parent.kill();
    assert_eq!(consumer.pop(), Err(died(pid)));
    assert!(grandchild.is_alive());
}

#[test]
fn a_process_that_becomes_another_program_has_left_its_ends() {
    let _watchdog = watchdog();
    let (producer, consumer) = ring::<u64>(4).unwrap();
    let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
    let (mut here, mut there) = duplex::<()>(1).unwrap();
    let changed: Child<()> = child(move || {
        // Never dropped, as in a static.
        std::mem::forget(producer);
        ready.push(()).unwrap();
        let _ = there.rx.pop();
        let error = Command::new("/bin/sleep").arg("1000").exec();
        panic!("{error}");
    });
    is_ready.pop().unwrap();
    let pid = changed.id();
    let mut consumer = consumer;
    let (result, _) = told_after(move || consumer.pop(), true, || here.tx.push(()).unwrap());
    assert_eq!(result, Err(died(pid)));
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "sleep\n");
}

#[test]
fn a_program_that_a_holder_starts_does_not_keep_it_alive() {
    let _watchdog = watchdog();
    let name = name("started");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let (mut is_ready, ready) = std::io::pipe().unwrap();
    let holder = holder(&name, move || {
        let mut program = Command::new("/bin/sleep").arg("1000").spawn().unwrap();
        std::io::Write::write_all(&mut &ready, &program.id().to_le_bytes()).unwrap();
        program.wait().map_or(1, |_| 0)
    });
    let mut program = [0; 4];
    std::io::Read::read_exact(&mut is_ready, &mut program).unwrap();
    let program = Stray(u32::from_le_bytes(program));
    let pid = holder.id();
    drop(holder);
    assert_eq!(consumer.pop(), Err(died(pid)));
    assert!(program.is_alive());
}

/// Descriptors of this process whose description holds the lock of a stamp.
fn stamps_held() -> usize {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    let texts = infos.filter_map(|entry| fs::read_to_string(entry.path()).ok());
    let is_stamp = |line: &str| {
        let mut words = line.strip_prefix("lock:").unwrap_or("").split_ascii_whitespace().rev();
        words.next().and_then(|byte| byte.parse().ok()).is_some_and(|byte: u64| byte >= 1 << 60)
    };
    texts.filter(|text| text.lines().any(is_stamp)).count()
}

#[test]
fn a_fork_in_the_middle_of_attaching_takes_no_lock_along() {
    let _watchdog = watchdog_of(300);
    let leaks = in_private_directory(|| {
        Segment::create("attached", 1 << 14).unwrap();
        std::thread::spawn(|| {
            loop {
                drop(Segment::open("attached").unwrap());
            }
        });
        let forks = 1500;
        (0..forks)
            .map(|_| raw_fork(|| i32::from(stamps_held() > 0)).wait())
            .filter(|&leaked| leaked != 0)
            .count()
    });
    assert_eq!(leaks, 0, "of 1500 children, so many have a lock that says that their parent lives");
}

#[test]
fn a_parent_killed_while_it_starts_a_child_leaves_no_end_that_nobody_has() {
    let _watchdog = watchdog();
    let mut random =
        Random::seeded("a_parent_killed_while_it_starts_a_child_leaves_no_end_that_nobody_has");
    let (mut by_child, mut by_nobody) = (0, 0);
    for _ in 0..100 {
        let (mut producer, mut consumer) = ring::<u64>(4).unwrap();
        let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
        let parent: Child<()> = child(move || {
            ready.push(()).unwrap();
            let grandchild: commons::Process<()> = commons::Process::spawn(move || {
                common::die_after(100);
                let _ = producer.push(1);
            })
            .unwrap();
            std::mem::forget(grandchild);
            pause_for_ever()
        });
        is_ready.pop().unwrap();
        for _ in 0..random.below(40_000) {
            std::hint::spin_loop();
        }
        signal(parent.id(), libc::SIGKILL);
        match consumer.pop() {
            Ok(item) => {
                assert_eq!(item, 1);
                by_child += 1;
                assert_eq!(consumer.pop(), Err(ChannelError::Disconnected(Departure::Closed)));
            }
            Err(ChannelError::Disconnected(Departure::Died { .. })) => by_nobody += 1,
            Err(other) => panic!("{other}"),
        }
    }
    println!("of 100 parents killed, {by_child} had handed over and {by_nobody} had not");
}

// ---- identity ----

#[test]
fn a_process_that_gets_the_id_of_a_dead_one_is_not_taken_for_it() {
    let _watchdog = watchdog();
    let name = name("pid-reuse");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let first = holder(&name, || pause_for_ever());
    let pid = first.id();
    drop(first);
    // The kernel hands out ids in a row: ask for the one that has just become free.
    let mut reused = None;
    for _ in 0..200 {
        if fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).is_err() {
            break;
        }
        let next = raw_fork(|| pause_for_ever());
        if next.id() == pid {
            reused = Some(next);
            break;
        }
    }
    let Some(reused) = reused else {
        println!("skipped: this process may not choose the ids of others");
        return;
    };
    assert_eq!(consumer.pop(), Err(died(pid)));
    assert_eq!(consumer.try_pop(), Err(died(pid)));
    let report = inspect::report(&name).unwrap();
    let dead = report.participants.iter().find(|p| p.pid == pid).expect("it died attached");
    assert_eq!(dead.state, inspect::State::Dead);
    ring.producer().unwrap();
    drop(reused);
}

#[test]
fn a_place_that_is_taken_again_does_not_revive_its_last_holder() {
    let _watchdog = watchdog_of(300);
    in_private_directory(|| {
        let ring = Ring::<u64>::create("generations", 4).unwrap();
        let mut consumer = ring.consumer().unwrap();
        let first = holder("generations", || pause_for_ever());
        let pid = first.id();
        drop(first);
        // Every place of the table has had another holder since, and has one now.
        let _crowd = common::crowd("generations");
        assert!(matches!(consumer.pop(), Err(ChannelError::Disconnected(Departure::Died { .. }))));
        // Its place has another holder, and its id is not that one's.
        let Err(ChannelError::Disconnected(Departure::Died { pid: named })) = consumer.try_pop()
        else {
            panic!("it was revived");
        };
        assert!(named.is_none_or(|named| named == pid), "{named:?}");
        let mut producer = ring.producer().unwrap();
        producer.push(1).unwrap();
        assert_eq!(consumer.pop(), Ok(1));
    });
}

#[test]
fn a_full_table_keeps_no_child_from_starting_that_is_given_nothing_there() {
    let _watchdog = watchdog_of(300);
    in_private_directory(|| {
        let ring = Ring::<u64>::create("full", 4).unwrap();
        let crowd = common::crowd("full");
        assert!(matches!(Segment::open("full"), Err(Error::TableFull { .. })));
        let unconcerned = commons::Process::spawn(|| 7u8).unwrap();
        assert_eq!(unconcerned.join().unwrap(), 7);
        drop(crowd);
        // And one that is given something finds a place.
        let mut producer = ring.producer().unwrap();
        let given = commons::Process::spawn(move || producer.push(1).is_ok()).unwrap();
        assert!(given.join().unwrap());
    });
}

#[test]
fn a_full_table_refuses_newcomers_until_its_tenants_die() {
    let _watchdog = watchdog_of(300);
    in_private_directory(|| {
        Segment::create("full", 1 << 14).unwrap();
        for round in 0..2 {
            let (mut ready, mut is_ready) = ring::<usize>(1).unwrap();
            let crowd: Child<()> = child(move || {
                common::raise_descriptor_limit();
                let (mut handles, mut refused) = (Vec::new(), 0);
                for _ in 0..1_100 {
                    match Segment::open("full") {
                        Ok(segment) => handles.push(segment),
                        Err(error) => {
                            assert!(
                                matches!(error, Error::TableFull { capacity: 1024, .. }),
                                "{error}"
                            );
                            refused += 1;
                        }
                    }
                }
                assert_eq!((handles.len(), refused), (1024, 76));
                ready.push(handles.len()).unwrap();
                let _ = ready.push(0).and_then(|()| ready.push(0));
            });
            assert_eq!(is_ready.pop(), Ok(1024), "round {round}");
            assert!(matches!(Segment::open("full"), Err(Error::TableFull { .. })));
            let before = descriptors();
            assert!(Segment::open("full").is_err());
            assert_eq!(descriptors(), before, "a refusal keeps a descriptor");
            assert_eq!(inspect::report("full").unwrap().participants.len(), 1024);
            crowd.kill();
            let segment = Segment::open("full").unwrap();
            let label = format!("round {round}");
            Ring::<u64>::new_in(&segment, &label, 4).unwrap().producer().unwrap().push(1).unwrap();
        }
    });
}

// ---- threads ----

#[test]
fn the_end_of_the_thread_that_attached_first_is_not_the_end_of_the_process() {
    let _watchdog = watchdog();
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let name = name("first-thread");
    let named = Ring::<u64>::create(&name, 4).unwrap();
    let mut named_consumer = named.consumer().unwrap();
    let (mut here, mut there) = duplex::<()>(1).unwrap();
    let found = name.to_string();
    let process: Child<()> = child(move || {
        // Attached by a thread that has ended since.
        let open = move || Ring::<u64>::open(&found).unwrap().producer().unwrap();
        let mut named = std::thread::spawn(open).join().unwrap();
        let mut producer = producer;
        there.tx.push(()).unwrap();
        there.rx.pop().unwrap();
        named.push(1).unwrap();
        producer.push(1).unwrap();
        pause_for_ever()
    });
    here.rx.pop().unwrap();
    for consumer in [&mut consumer, &mut named_consumer] {
        assert_eq!(consumer.try_pop(), Err(ChannelError::Empty));
        assert_eq!(consumer.pop_timeout(MOMENT * 50), Err(ChannelError::TimedOut));
    }
    here.tx.push(()).unwrap();
    assert_eq!((consumer.pop(), named_consumer.pop()), (Ok(1), Ok(1)));
    let pid = process.id();
    let (result, time) =
        told_after(move || named_consumer.pop(), true, || signal(pid, libc::SIGKILL));
    assert_eq!(result, Err(died(pid)));
    println!("news of the death of a process without a beacon: {time:?}");
    assert_eq!(consumer.pop(), Err(died(pid)));
}

#[test]
fn a_thread_that_ends_without_its_destructors_is_not_the_end_of_the_process() {
    let _watchdog = watchdog();
    let name = name("cut-thread");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let found = name.to_string();
    let (mut here, mut there) = duplex::<()>(1).unwrap();
    let process: Child<()> = child(move || {
        let (sender, receiver) = mpsc::channel();
        // Never joined: it ends behind the back of the standard library.
        std::thread::spawn(move || {
            let producer = Ring::<u64>::open(&found).unwrap().producer().unwrap();
            sender.send((producer, thread_id())).unwrap();
            // SAFETY: ends this thread alone; what it owned was sent away.
            unsafe { libc::syscall(libc::SYS_exit, 0) };
        });
        let (mut producer, thread) = receiver.recv().unwrap();
        while fs::exists(format!("/proc/self/task/{thread}")).unwrap() {
            std::thread::yield_now();
        }
        there.tx.push(()).unwrap();
        there.rx.pop().unwrap();
        producer.push(1).unwrap();
        pause_for_ever()
    });
    here.rx.pop().unwrap();
    assert_eq!(consumer.try_pop(), Err(ChannelError::Empty));
    assert_eq!(consumer.pop_timeout(MOMENT * 50), Err(ChannelError::TimedOut));
    let pid = process.id();
    let (result, _) =
        told_after(move || (consumer.pop(), consumer), true, || here.tx.push(()).unwrap());
    let (popped, mut consumer) = result;
    assert_eq!(popped, Ok(1));
    let (result, time) = told_after(move || consumer.pop(), true, || signal(pid, libc::SIGKILL));
    assert_eq!(result, Err(died(pid)));
    println!("news of a death whose beacon had gone before: {time:?}");
}

#[test]
fn the_end_of_the_main_thread_alone_is_not_the_end_of_the_process() {
    let _watchdog = watchdog();
    let (producer, mut consumer) = ring::<u64>(4).unwrap();
    let process: Child<()> = child(move || {
        let mut producer = producer;
        std::thread::spawn(move || {
            while fs::read_to_string("/proc/self/stat").unwrap().split(' ').nth(2) != Some("Z") {
                std::thread::yield_now();
            }
            producer.push(1).unwrap();
            pause_for_ever();
        });
        // SAFETY: ends this thread alone; the other goes on.
        unsafe { libc::syscall(libc::SYS_exit, 0) };
    });
    assert_eq!(consumer.pop(), Ok(1));
    assert_eq!(consumer.pop_timeout(MOMENT * 50), Err(ChannelError::TimedOut));
    let pid = process.id();
    let (result, time) = told_after(move || consumer.pop(), true, || signal(pid, libc::SIGKILL));
    assert_eq!(result, Err(died(pid)));
    println!("news of the death of a process whose main thread had gone: {time:?}");
}

#[test]
fn waiting_in_many_threads_of_one_process_all_get_the_news() {
    let _watchdog = watchdog();
    // Rings of one dead process in the hands of several threads: the kernel wakes one sleeper.
    let mut consumers = Vec::new();
    let mut producers = Vec::new();
    for _ in 0..8 {
        let (producer, consumer) = ring::<u64>(2).unwrap();
        consumers.push(consumer);
        producers.push(producer);
    }
    let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
    let idle: Child<()> = child(move || {
        let _producers = producers;
        ready.push(()).unwrap();
        pause_for_ever()
    });
    is_ready.pop().unwrap();
    let pid = idle.id();
    let (sender, receiver) = mpsc::channel();
    let threads: Vec<_> = consumers
        .into_iter()
        .map(|mut consumer| {
            let sender = sender.clone();
            std::thread::spawn(move || {
                sender.send(thread_id()).unwrap();
                consumer.pop()
            })
        })
        .collect();
    for thread in receiver.iter().take(threads.len()) {
        wait_until_asleep(thread);
    }
    let since = Instant::now();
    signal(pid, libc::SIGKILL);
    for thread in threads {
        assert_eq!(thread.join().unwrap(), Err(died(pid)));
    }
    println!("news of one death to 8 threads: the last after {:?}", since.elapsed());
}

#[test]
fn a_wait_survives_signals() {
    let _watchdog = watchdog();
    extern "C" fn ignore(_: libc::c_int) {}
    let (mut here, mut there) = duplex::<u64>(1).unwrap();
    let waiting = child(move || {
        // SAFETY: all-zero bytes are a valid sigaction; without SA_RESTART, calls are interrupted.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = ignore as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: `action` is live, and its handler does nothing.
        unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        there.tx.push(0).unwrap();
        there.rx.pop().ok()
    });
    here.rx.pop().unwrap();
    let pid = waiting.id();
    for _ in 0..100 {
        wait_until_asleep(pid);
        signal(pid, libc::SIGUSR1);
    }
    here.tx.push(9).unwrap();
    assert_eq!(waiting.finish(), Some(9));
}

#[test]
fn news_of_a_death_comes_under_load_too() {
    let _watchdog = watchdog();
    let busy: Vec<Child<()>> = (0..4)
        .map(|_| {
            child(|| {
                loop {
                    std::hint::spin_loop();
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for _ in 0..10 {
        let (idle, mut consumer) = idle_producer(0, WaitStrategy::Park);
        let pid = idle.id();
        let (result, time) =
            told_after(move || consumer.pop(), true, || signal(pid, libc::SIGKILL));
        assert_eq!(result, Err(died(pid)));
        times.push(time);
    }
    println!("news of a death with 4 busy processes: median {:?}", median(times));
    drop(busy);
}
