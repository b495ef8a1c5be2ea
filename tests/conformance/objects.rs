//! Queues of objects: what is true of them and of no queue of fixed-size values, and what matters most of
//! what is true of both. (18, 21 and SQ-05 speak of feeder threads, import locks and private attributes.
//! 05, no bound: a queue has so many bytes, and no bound on the number of objects unless one is set.)

use crate::common::{child, falls_asleep, in_child, watchdog};
use commons::objects::{Builder, bounded};
use commons::{ChannelError, Departure, ObjectQueue};
use serde::{Deserialize, Serialize, Serializer};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(50);

/// What cannot be serialised.
#[derive(Debug, Deserialize)]
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

#[test]
fn queue_01_and_02_objects_are_received_once_and_in_the_order_of_their_producer() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<(u64, u64, String)>(512).unwrap();
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = receiver.clone();
            child(move || receiver.iter().map(|o| (o.0, o.1)).collect::<Vec<(u64, u64)>>())
        })
        .collect();
    let senders: Vec<_> = (0..3)
        .map(|i| {
            let sender = sender.clone();
            child(move || {
                for n in 0..200u64 {
                    sender.send(&(i, n, "x".repeat(n as usize % 60))).unwrap();
                }
            })
        })
        .collect();
    drop((sender, receiver));
    senders.into_iter().for_each(|sender| sender.finish());
    let lists: Vec<_> = receivers.into_iter().map(|r| r.finish()).collect();
    for list in &lists {
        for i in 0..3 {
            assert!(list.iter().filter(|one| one.0 == i).is_sorted());
        }
    }
    let mut all: Vec<_> = lists.concat();
    all.sort_unstable();
    assert!(all.into_iter().eq((0..3).flat_map(|i| (0..200).map(move |n| (i, n)))));
}

#[test]
fn queue_03_04_and_05_the_bound_is_exact_where_there_is_one() {
    let _watchdog = watchdog();
    let queue = Builder::new(4096).limit(2).build::<String>().unwrap();
    (0..2).for_each(|i| queue.try_send(&i.to_string()).unwrap());
    assert!(queue.is_full() && !queue.is_empty());
    assert_eq!(queue.try_send(&String::new()), Err(ChannelError::Full));
    let start = Instant::now();
    assert_eq!(queue.send_timeout(&String::new(), SHORT), Err(ChannelError::TimedOut));
    assert!(start.elapsed() >= SHORT);
    let theirs = queue.clone();
    let mut blocked = child(move || theirs.send(&"2".to_owned()).unwrap());
    assert!(falls_asleep(&mut blocked));
    assert_eq!(queue.recv().unwrap(), "0");
    blocked.finish();
    assert_eq!((queue.recv().unwrap(), queue.recv().unwrap()), ("1".to_owned(), "2".to_owned()));
    assert!(queue.is_empty() && !queue.is_full());
    let queue = ObjectQueue::<u8>::new(1 << 20).unwrap();
    (0..50_000).for_each(|i| queue.try_send(&(i as u8)).unwrap());
    assert_eq!(queue.len(), 50_000);
}

#[test]
fn queue_06_07_and_08_get_on_an_empty_queue() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<String>::new(256).unwrap();
    assert_eq!(queue.try_recv(), Err(ChannelError::Empty));
    assert_eq!(queue.recv_timeout(Duration::ZERO), Err(ChannelError::TimedOut));
    let start = Instant::now();
    assert_eq!(queue.recv_timeout(SHORT), Err(ChannelError::TimedOut));
    assert_eq!(queue.recv_deadline(start + 2 * SHORT), Err(ChannelError::TimedOut));
    assert!(start.elapsed() >= 2 * SHORT);
    let theirs = queue.clone();
    let mut blocked = child(move || theirs.recv().unwrap());
    assert!(falls_asleep(&mut blocked));
    queue.send(&"at last".to_owned()).unwrap();
    assert_eq!(blocked.finish(), "at last");
}

#[test]
fn queue_09_10_11_and_sq_02_size_empty_and_full_agree_from_the_moment_put_returns() {
    let _watchdog = watchdog();
    let queue = Builder::new(4096).limit(3).build::<String>().unwrap();
    for _ in 0..5 {
        for i in 0..3 {
            assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (i, i == 0, false));
            let theirs = queue.clone();
            in_child(move || theirs.send(&"from another".to_owned()).unwrap());
        }
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (3, false, true));
        assert_eq!(queue.try_iter().count(), 3);
    }
}

#[test]
fn queue_12_13_26_sq_01_03_and_04_one_process_alone_until_it_closes() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<char>::new(256).unwrap();
    "abc".chars().for_each(|c| queue.send(&c).unwrap());
    assert_eq!(queue.try_iter().collect::<String>(), "abc");
    assert!(queue.is_empty());
    let theirs = queue.clone();
    queue.close();
    queue.close();
    assert_eq!(queue.send(&'d'), Err(ChannelError::Closed));
    assert_eq!(queue.recv(), Err(ChannelError::Closed));
    in_child(move || theirs.send(&'e').unwrap());
}

#[test]
fn queue_14_to_17_what_was_put_stays_when_its_process_ends_and_no_exit_waits_for_a_reader() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<Vec<u8>>(4 << 20).unwrap();
    in_child(move || {
        // More than a pipe holds: nobody reads before this process has ended.
        for i in 0..20u8 {
            sender.send(&vec![i; 50_000]).unwrap();
        }
        sender.close();
    });
    for i in 0..20u8 {
        assert_eq!(receiver.recv().unwrap(), vec![i; 50_000]);
    }
    assert_eq!(receiver.recv(), Err(ChannelError::Disconnected(Departure::Closed)));
}

#[test]
fn queue_19_and_sq_06_an_object_that_cannot_be_serialised_fails_in_put_and_sends_nothing() {
    let _watchdog = watchdog();
    let queue = Builder::new(256).limit(1).build::<Result<u8, Refuses>>().unwrap();
    for _ in 0..3 {
        assert!(matches!(queue.send(&Err(Refuses)), Err(ChannelError::Serialize(_))));
        assert!(queue.is_empty());
    }
    // Its place was not taken, and later objects pass.
    queue.try_send(&Ok(1)).unwrap();
    assert_eq!(queue.recv().unwrap().unwrap(), 1);
}

#[test]
fn queue_20_what_is_changed_after_put_is_received_as_it_was_put() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
    let mut list = vec![1];
    queue.send(&list).unwrap();
    list.push(2);
    assert_eq!(queue.recv().unwrap(), [1]);
}

/// What takes long to make of its bytes.
#[derive(Debug, Serialize)]
struct Slow(u8);

impl<'de> Deserialize<'de> for Slow {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = u8::deserialize(deserializer)?;
        if value == 0 {
            crate::common::pause_for_ever();
        }
        Ok(Slow(value))
    }
}

#[test]
fn queue_22_a_consumer_that_makes_its_object_blocks_no_other() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Slow>::new(256).unwrap();
    let theirs = queue.clone();
    let slow = child(move || drop(theirs.recv()));
    queue.send(&Slow(0)).unwrap();
    while !queue.is_empty() {
        std::thread::yield_now();
    }
    queue.send(&Slow(1)).unwrap();
    assert_eq!(queue.recv().unwrap().0, 1);
    // It had taken it out, and not received it.
    slow.kill();
    assert_eq!((queue.lost_in_flight(), queue.lost_numbers()), (Ok(1), Ok(vec![0])));
}

#[test]
fn queue_23_a_consumer_killed_while_it_waits_harms_nobody() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<String>::new(256).unwrap();
    for i in 0..3 {
        let theirs = queue.clone();
        let mut victim = child(move || drop(theirs.recv()));
        assert!(falls_asleep(&mut victim));
        victim.kill();
        queue.send(&i.to_string()).unwrap();
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.recv().unwrap(), i.to_string());
    }
}

#[test]
fn queue_24_a_producer_killed_in_the_middle_leaves_no_partial_item() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
    let theirs = queue.clone();
    let mut victim = child(move || drop(theirs.send(&vec![7; 5000])));
    assert!(falls_asleep(&mut victim));
    victim.kill();
    assert_eq!(queue.recv_timeout(SHORT), Err(ChannelError::TimedOut));
    queue.send(&vec![8; 64]).unwrap();
    assert_eq!(queue.recv().unwrap(), [8; 64]);
}

#[test]
fn queue_25_a_blocked_get_ends_when_all_others_are_gone() {
    let _watchdog = watchdog();
    let queue = Builder::new(256).ends_alone().build::<String>().unwrap();
    let theirs = queue.clone();
    let mut other = child(move || drop(theirs.recv()));
    assert!(falls_asleep(&mut other));
    let mut blocked = child(move || {
        matches!(queue.recv(), Err(ChannelError::Disconnected(Departure::Died { .. })))
    });
    assert!(falls_asleep(&mut blocked));
    other.kill();
    assert!(blocked.finish());
}
