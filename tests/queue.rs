//! Queues between processes, and what is left when some of them are killed.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "forks as a library would")]

mod common;

use common::{Random, child, falls_asleep, in_child, name, pause_for_ever, raw_fork, watchdog};
use commons::queue::{Builder, Queue, Receiver, Sender, bounded};
use commons::{AtomicU64, ChannelError, Departure, Error, Kind, Segment, WaitStrategy, inspect};
use std::collections::HashMap;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);

fn died(result: Result<impl std::fmt::Debug, ChannelError>) -> bool {
    matches!(result, Err(ChannelError::Disconnected(Departure::Died { .. })))
}

// ---- one process ----

#[test]
fn messages_come_in_order_and_the_bound_holds_for_every_capacity() {
    let _watchdog = watchdog();
    for capacity in [1, 2, 3, 5, 8, 100] {
        let (sender, receiver) = bounded::<u64>(capacity).unwrap();
        assert_eq!(sender.capacity(), capacity);
        let mut next = 0;
        for round in 0..4 {
            assert!(receiver.is_empty() && !sender.is_full());
            for i in 0..capacity {
                assert_eq!(receiver.len(), i);
                sender.try_send(next + i as u64).unwrap();
            }
            assert!(sender.is_full() && receiver.len() == capacity, "round {round}");
            let rejected = sender.try_send(99).unwrap_err();
            assert_eq!((rejected.value, rejected.reason), (99, ChannelError::Full));
            for _ in 0..capacity {
                assert_eq!(receiver.recv(), Ok(next));
                next += 1;
            }
            assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
        }
    }
}

#[test]
fn slots_that_are_not_committed_are_skipped_and_count_for_nothing() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(2).unwrap();
    for i in 0..9 {
        drop(sender.reserve().unwrap());
        assert!(receiver.is_empty());
        assert_eq!(receiver.len(), 0);
        assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
        let mut slot = sender.reserve().unwrap();
        *slot = i;
        assert_eq!(slot.number(), 2 * i + 1);
        slot.commit();
        let loan = receiver.loan().unwrap();
        assert_eq!((*loan, loan.number(), loan.is_redelivered()), (i, 2 * i + 1, false));
        assert_eq!(loan.value(), Ok(i));
        loan.release();
    }
    assert_eq!(receiver.lost_in_flight(), Ok(0));
}

#[test]
fn what_is_held_in_place_is_neither_message_nor_space() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(1).unwrap();
    let slot = sender.reserve().unwrap();
    assert!(sender.is_full() && receiver.is_empty());
    assert_eq!(sender.try_send(1).unwrap_err().reason, ChannelError::Full);
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    slot.commit();
    let loan = receiver.loan().unwrap();
    assert!(sender.is_full() && receiver.is_empty());
    assert_eq!(sender.try_send(1).unwrap_err().reason, ChannelError::Full);
    drop(loan);
    sender.try_send(2).unwrap();
}

#[test]
fn batches_and_iterators_give_everything_once() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u32>(4).unwrap();
    assert_eq!(sender.try_send_slice(&[1, 2, 3, 4, 5]), Ok(4));
    assert_eq!(sender.try_send_slice(&[5]), Err(ChannelError::Full));
    let mut values = [0; 3];
    assert_eq!(receiver.recv_slice(&mut values), Ok(3));
    assert_eq!(values, [1, 2, 3]);
    assert_eq!(receiver.recv_slice(&mut []), Ok(0));
    assert_eq!(receiver.try_recv_slice(&mut values), Ok(1));
    assert_eq!(receiver.try_recv_slice(&mut values), Err(ChannelError::Empty));
    sender.send_all(&[7, 8]).unwrap();
    assert_eq!(receiver.try_iter().collect::<Vec<_>>(), [7, 8]);
    sender.send_all(&[9, 10, 11]).unwrap();
    drop(sender);
    assert_eq!(receiver.into_iter().collect::<Vec<_>>(), [9, 10, 11]);
    let (sender, receiver) = bounded::<u32>(2).unwrap();
    drop(receiver);
    let partial = sender.send_all(&[1, 2, 3]).unwrap_err();
    assert_eq!(partial.done, 2);
    assert_eq!(partial.reason, ChannelError::Disconnected(Departure::Closed));
}

#[test]
fn a_large_aligned_element_keeps_its_place() {
    let _watchdog = watchdog();
    #[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C, align(64))]
    struct Wide([u64; 24]);
    for in_flight in [None, Some(2)] {
        let builder = Builder::new(3);
        let builder = in_flight.map_or(builder.clone(), |n| builder.at_least_once(n));
        let queue: Queue<Wide> = builder.build().unwrap();
        for i in 0..10 {
            queue.send(Wide([i; 24])).unwrap();
            let loan = queue.loan().unwrap();
            assert!((&raw const *loan).addr().is_multiple_of(64));
            assert_eq!(*loan, Wide([i; 24]));
            loan.release();
        }
    }
}

#[test]
fn a_bad_capacity_is_an_error() {
    assert!(matches!(bounded::<u8>(0), Err(Error::Zero { .. })));
    assert!(matches!(bounded::<u8>(usize::MAX), Err(Error::TooLarge { .. })));
    let builder = Builder::new(1).at_least_once(0);
    assert!(matches!(builder.build::<u8>(), Err(Error::Zero { .. })));
}

#[test]
fn threads_share_handles() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(3).unwrap();
    let total: u64 = std::thread::scope(|scope| {
        let receivers: Vec<_> =
            (0..3).map(|_| scope.spawn(|| receiver.iter().sum::<u64>())).collect();
        let senders: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| (1..=1000).for_each(|i| sender.send(i).unwrap())))
            .collect();
        senders.into_iter().for_each(|thread| thread.join().unwrap());
        sender.close();
        receivers.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!(total, 3 * 500_500);
}

// ---- ends that come and go ----

#[test]
fn a_receiver_drains_and_then_learns_that_the_last_sender_closed() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded(4).unwrap();
    let other = sender.clone();
    sender.send(1u8).unwrap();
    drop(sender);
    assert_eq!(receiver.recv(), Ok(1));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    assert_eq!(receiver.recv_timeout(SHORT), Err(ChannelError::TimedOut));
    other.send(2).unwrap();
    drop(other);
    assert_eq!(receiver.recv(), Ok(2));
    let closed = ChannelError::Disconnected(Departure::Closed);
    assert_eq!(receiver.recv(), Err(closed.clone()));
    assert_eq!(receiver.try_recv(), Err(closed.clone()));
    assert_eq!(receiver.recv_timeout(SHORT), Err(closed));
}

#[test]
fn a_panic_that_drops_the_last_sender_is_told() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(4).unwrap();
    let thread = std::thread::spawn(move || {
        let _sender = sender;
        std::panic::resume_unwind(Box::new(()));
    });
    assert!(thread.join().is_err());
    assert_eq!(receiver.recv(), Err(ChannelError::Disconnected(Departure::Abandoned)));
}

#[test]
fn a_blocked_receiver_wakes_when_the_last_sender_goes_in_order() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(4).unwrap();
    let mut blocked =
        child(move || receiver.recv() == Err(ChannelError::Disconnected(Departure::Closed)));
    assert!(falls_asleep(&mut blocked));
    drop(sender);
    assert!(blocked.finish());
}

#[test]
fn a_blocked_receiver_learns_of_the_last_senders_death() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(4).unwrap();
    let victims: Vec<_> = (0..2)
        .map(|_| {
            let sender = sender.clone();
            child::<(), _>(move || {
                let _sender = sender;
                pause_for_ever()
            })
        })
        .collect();
    drop(sender);
    let mut blocked = child(move || died(receiver.recv()));
    assert!(falls_asleep(&mut blocked));
    for victim in victims {
        assert!(blocked.process().is_alive(), "a sender is left");
        victim.kill();
    }
    assert!(blocked.finish());
}

#[test]
fn a_blocked_sender_learns_of_the_last_receivers_death() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(1).unwrap();
    let victim = child::<(), _>(move || {
        let _receiver = receiver;
        pause_for_ever()
    });
    sender.send(1).unwrap();
    let mut blocked = child(move || died(sender.send(2).map_err(|rejected| rejected.reason)));
    assert!(falls_asleep(&mut blocked));
    victim.kill();
    assert!(blocked.finish());
}

#[test]
fn a_queue_that_outlives_its_users_waits_for_successors() {
    let _watchdog = watchdog();
    let queue: Queue<u8> = Builder::new(2).outlives().build().unwrap();
    let (sender, receiver) = (queue.sender().unwrap(), queue.receiver().unwrap());
    let successor = queue.sender().unwrap();
    drop(queue);
    child(move || drop(sender)).finish();
    drop(successor.clone());
    let mut blocked = child(move || receiver.recv().unwrap());
    assert!(falls_asleep(&mut blocked));
    successor.send(3).unwrap();
    assert_eq!(blocked.finish(), 3);
}

#[test]
fn a_queue_that_ends_alone_tells_the_last_process() {
    let _watchdog = watchdog();
    let queue: Queue<u8> = Builder::new(2).ends_alone().build().unwrap();
    let other = queue.clone();
    let victim = child::<(), _>(move || {
        let _other = other;
        pause_for_ever()
    });
    assert_eq!(queue.recv_timeout(SHORT), Err(ChannelError::TimedOut));
    let mut blocked = child(move || died(queue.recv()));
    assert!(falls_asleep(&mut blocked));
    victim.kill();
    assert!(blocked.finish());
}

#[test]
fn closing_is_for_one_handle_and_can_be_repeated() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(2).unwrap();
    let other = queue.clone();
    queue.close();
    queue.close();
    assert_eq!(queue.send(1).unwrap_err().reason, ChannelError::Closed);
    assert_eq!(queue.recv(), Err(ChannelError::Closed));
    assert_eq!(queue.try_recv(), Err(ChannelError::Closed));
    other.send(2).unwrap();
    assert_eq!(in_child(move || other.recv().unwrap()), 2);
}

#[test]
fn queues_are_found_by_name_and_label() {
    let _watchdog = watchdog();
    let name = name("queue");
    let queue = Queue::<u64>::create(&name, 3).unwrap();
    queue.send(5).unwrap();
    assert!(matches!(Queue::<u32>::open(&name), Err(Error::TypeMismatch { .. })));
    assert!(matches!(Queue::<u64>::create(&name, 3), Err(Error::NameTaken { .. })));
    let report = inspect::report(&name).unwrap();
    assert_eq!((report.objects[0].info.kind, report.objects[0].fill), (Kind::Queue, Some(1)));
    let path = name.to_string();
    assert_eq!(in_child(move || Queue::<u64>::open(&path).unwrap().recv().unwrap()), 5);
    let segment = Segment::anonymous(200 << 10).unwrap();
    let made = Builder::new(4).at_least_once(2).new_in::<u64>(&segment, "tasks").unwrap();
    made.send(1).unwrap();
    let found = Queue::<u64>::open_in(&segment, "tasks").unwrap();
    drop(found.loan().unwrap());
    assert!(found.loan().unwrap().is_redelivered(), "an opener knows how it was built");
}

#[test]
fn a_fork_by_others_makes_one_more_handle() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(4).unwrap();
    let slot = sender.reserve().unwrap();
    let mut slot = Some(slot);
    let status = raw_fork(|| {
        // Its copy of the parent's slot does nothing.
        slot.take().unwrap().commit();
        i32::from(sender.send(7).is_err())
    });
    assert_eq!(status.wait(), 0);
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    let mut slot = slot.unwrap();
    *slot = 6;
    slot.commit();
    drop(sender);
    assert_eq!(receiver.iter().collect::<Vec<_>>(), [6, 7]);
}

// ---- deaths in the middle ----

/// A child that does something and then waits to be killed, which this does at once.
fn killed_after(f: impl FnOnce() + Send + 'static) {
    let ready = AtomicU64::new(0).unwrap();
    let said = ready.clone();
    let victim = child::<(), _>(move || {
        f();
        said.store(1, SeqCst);
        pause_for_ever()
    });
    while ready.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    victim.kill();
}

#[test]
fn a_producer_killed_between_claim_and_publish_is_skipped() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(2).unwrap();
    for i in 0..5 {
        let victim = sender.clone();
        killed_after(move || {
            let mut slot = victim.reserve().unwrap();
            *slot = 99;
            std::mem::forget(slot);
        });
        sender.send(i).unwrap();
        assert_eq!(receiver.recv(), Ok(i));
        assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    }
    assert_eq!(receiver.lost_in_flight(), Ok(0));
}

#[test]
fn the_dead_in_every_slot_stop_nobody() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(3).unwrap();
    let victim = sender.clone();
    killed_after(move || (0..3).for_each(|_| std::mem::forget(victim.reserve().unwrap())));
    for i in 0..3 {
        sender.try_send(i).unwrap();
    }
    let (victim, left) = (receiver.clone(), receiver);
    killed_after(move || (0..3).for_each(|_| std::mem::forget(victim.loan().unwrap())));
    for i in 0..3 {
        sender.try_send(10 + i).unwrap();
    }
    assert_eq!(left.try_iter().collect::<Vec<_>>(), [10, 11, 12]);
    assert_eq!(left.lost_in_flight(), Ok(3));
    assert_eq!(left.lost_numbers().unwrap().len(), 3);
}

#[test]
fn a_message_that_died_with_its_consumer_is_counted_once_and_named() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(4).unwrap();
    let mut lost = Vec::new();
    for i in 0..6 {
        let mut slot = sender.reserve().unwrap();
        *slot = i;
        lost.push(slot.number());
        slot.commit();
        let victim = receiver.clone();
        killed_after(move || std::mem::forget(victim.loan().unwrap()));
        assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
        assert_eq!(receiver.lost_in_flight(), Ok(i + 1));
        assert_eq!(sender.lost_in_flight(), Ok(i + 1));
    }
    let last: Vec<_> = lost[lost.len() - 4..].to_vec();
    assert_eq!(receiver.lost_numbers().unwrap(), last);
}

#[test]
fn a_message_held_by_a_dead_consumer_comes_again_where_it_was_built_so() {
    let _watchdog = watchdog();
    let (sender, receiver) = Builder::new(4).at_least_once(3).ends::<u64>().unwrap();
    for i in 0..4 {
        sender.send(i).unwrap();
    }
    let victim = receiver.clone();
    killed_after(move || {
        victim.loan().unwrap().release();
        (0..2).for_each(|_| std::mem::forget(victim.loan().unwrap()));
    });
    // Whoever holds messages is in nobody's way.
    let kept = receiver.loan().unwrap();
    sender.send(4).unwrap();
    sender.send(5).unwrap();
    let mut got = vec![(*kept, kept.is_redelivered())];
    kept.release();
    while let Ok(loan) = receiver.try_loan() {
        got.push((*loan, loan.is_redelivered()));
        loan.release();
    }
    got.sort_unstable();
    assert_eq!(got, [(1, true), (2, true), (3, false), (4, false), (5, false)]);
    assert_eq!(receiver.lost_in_flight(), Ok(0));
    assert!(receiver.is_empty());
}

#[test]
fn a_consumer_that_sleeps_gets_the_message_of_one_that_dies() {
    let _watchdog = watchdog();
    let (sender, receiver) = Builder::new(4).at_least_once(2).ends::<u64>().unwrap();
    sender.send(8).unwrap();
    let held = receiver.clone();
    let ready = AtomicU64::new(0).unwrap();
    let said = ready.clone();
    let victim = child::<(), _>(move || {
        let loan = held.loan().unwrap();
        said.store(1, SeqCst);
        let _loan = loan;
        pause_for_ever()
    });
    while ready.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    let mut blocked = child(move || {
        let loan = receiver.loan().unwrap();
        let got = (*loan, loan.is_redelivered());
        loan.release();
        got
    });
    assert!(falls_asleep(&mut blocked));
    victim.kill();
    assert_eq!(blocked.finish(), (8, true));
}

#[test]
fn a_stopped_producer_is_not_taken_for_dead() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(4).unwrap();
    let ready = AtomicU64::new(0).unwrap();
    let (said, victim) = (ready.clone(), sender.clone());
    let stopped = child(move || {
        let mut slot = victim.reserve().unwrap();
        said.store(1, SeqCst);
        while said.load(SeqCst) == 1 {
            std::thread::yield_now();
        }
        *slot = 1;
        slot.commit();
    });
    while ready.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    stopped.stop();
    sender.send(2).unwrap();
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    assert_eq!(receiver.recv_timeout(Duration::from_millis(300)), Err(ChannelError::TimedOut));
    assert_eq!(receiver.lost_in_flight(), Ok(0));
    ready.store(2, SeqCst);
    stopped.go_on();
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    stopped.finish();
}

#[test]
fn a_stopped_consumer_keeps_its_message() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(1).unwrap();
    let ready = AtomicU64::new(0).unwrap();
    let (said, victim) = (ready.clone(), receiver.clone());
    sender.send(1).unwrap();
    let stopped = child(move || {
        let loan = victim.loan().unwrap();
        said.store(1, SeqCst);
        while said.load(SeqCst) == 1 {
            std::thread::yield_now();
        }
        *loan
    });
    while ready.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    stopped.stop();
    let timeout = Duration::from_millis(300);
    assert_eq!(sender.send_timeout(2, timeout).unwrap_err().reason, ChannelError::TimedOut);
    ready.store(2, SeqCst);
    stopped.go_on();
    sender.send(2).unwrap();
    assert_eq!(stopped.finish(), 1);
    assert_eq!((receiver.recv(), receiver.lost_in_flight()), (Ok(2), Ok(0)));
}

#[test]
fn a_blocked_consumer_passes_a_producer_that_dies_in_its_way() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(4).unwrap();
    let ready = AtomicU64::new(0).unwrap();
    let (said, in_the_way) = (ready.clone(), sender.clone());
    let victim = child::<(), _>(move || {
        let _slot = in_the_way.reserve().unwrap();
        said.store(1, SeqCst);
        pause_for_ever()
    });
    while ready.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    sender.send(5).unwrap();
    let mut blocked = child(move || receiver.recv().unwrap());
    assert!(falls_asleep(&mut blocked));
    victim.kill();
    assert_eq!(blocked.finish(), 5);
}

#[test]
fn waiters_of_every_strategy_get_their_messages() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let (mut sender, mut receiver) = bounded::<u64>(2).unwrap();
        sender.set_wait_strategy(strategy);
        receiver.set_wait_strategy(strategy);
        assert_eq!(receiver.wait_strategy(), strategy);
        let producer = child(move || (0..200).for_each(|i| sender.send(i).unwrap()));
        assert!(receiver.iter().eq(0..200));
        producer.finish();
    }
}

// ---- storms ----

/// What a message says: who sent it, and the how-manieth of that sender it is.
fn message(author: u64, number: u64) -> u64 {
    author << 32 | number
}

/// A record of what one process has done, that survives it.
struct Notes {
    /// Producers: acknowledged sends. Consumers: one above the message that is held.
    count: AtomicU64,
    /// Consumers: messages received, by append.
    log: commons::Array<u64>,
}

/// Producers and consumers of which the random ones are killed and replaced; every message is
/// delivered once, or died with a consumer, or was never acknowledged.
fn storm(in_flight: Option<usize>, kills: usize) {
    const PRODUCERS: usize = 2;
    const CONSUMERS: usize = 2;
    const LOG: usize = 1 << 19;
    let mut random = Random::seeded("storm");
    let builder = Builder::new(7).outlives();
    let builder = in_flight.map_or(builder.clone(), |n| builder.at_least_once(n));
    let (sender, receiver) = builder.ends::<u64>().unwrap();
    let notes = || Notes {
        count: AtomicU64::new(0).unwrap(),
        log: commons::Array::new(LOG, 0u64).unwrap(),
    };
    let mut received: HashMap<u64, u64> = HashMap::new();
    let mut sent: Vec<(u64, AtomicU64)> = Vec::new();
    let mut held = Vec::new();
    let stop = AtomicU64::new(0).unwrap();
    let mut author = 0;
    let produce = |author: u64, sender: Sender<u64>, sent: AtomicU64, stop: AtomicU64| {
        child(move || {
            let mut number = 0;
            while stop.load(SeqCst) == 0 {
                if sender.send_timeout(message(author, number), SHORT).is_ok() {
                    number += 1;
                    sent.store(number, SeqCst);
                }
            }
        })
    };
    let consume = |receiver: Receiver<u64>, notes: &Notes, stop: AtomicU64| {
        let (holds, log) = (notes.count.clone(), notes.log.clone());
        child(move || {
            let mut count = 0;
            loop {
                let loan = match receiver.loan_timeout(SHORT) {
                    Ok(loan) => loan,
                    Err(ChannelError::TimedOut) if stop.load(SeqCst) < 2 => continue,
                    Err(_) => return,
                };
                // Written down first, with what came again marked; then the ledger has it even if the
                // release does not happen.
                let word = *loan | u64::from(loan.is_redelivered()) << 63;
                holds.store(word + 1, SeqCst);
                log.set(count, word + 1).unwrap();
                count += 1;
                loan.release();
                holds.store(0, SeqCst);
                if count == LOG {
                    return;
                }
            }
        })
    };
    let mut producers = Vec::new();
    let mut consumers = Vec::new();
    for _ in 0..PRODUCERS {
        let count = AtomicU64::new(0).unwrap();
        producers.push(produce(author, sender.clone(), count.clone(), stop.clone()));
        sent.push((author, count));
        author += 1;
    }
    for _ in 0..CONSUMERS {
        let notes = notes();
        consumers.push((consume(receiver.clone(), &notes, stop.clone()), notes));
    }
    let close = |notes: Notes, received: &mut HashMap<u64, u64>, held: &mut Vec<u64>| {
        for word in notes.log.to_vec().unwrap().into_iter().take_while(|&word| word != 0) {
            *received.entry(word - 1).or_default() += 1;
        }
        let holds = notes.count.load(SeqCst);
        if holds != 0 {
            held.push(holds - 1);
        }
    };
    for _ in 0..kills {
        let until = Instant::now() + Duration::from_micros(random.below(3000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let which = random.below((PRODUCERS + CONSUMERS) as u64) as usize;
        if which < PRODUCERS {
            producers.swap_remove(which).kill();
            let count = AtomicU64::new(0).unwrap();
            producers.push(produce(author, sender.clone(), count.clone(), stop.clone()));
            sent.push((author, count));
            author += 1;
        } else {
            let (victim, log) = consumers.swap_remove(which - PRODUCERS);
            victim.kill();
            close(log, &mut received, &mut held);
            let notes = notes();
            consumers.push((consume(receiver.clone(), &notes, stop.clone()), notes));
        }
    }
    stop.store(1, SeqCst);
    producers.into_iter().for_each(|producer| producer.finish());
    stop.store(2, SeqCst);
    for (consumer, notes) in consumers {
        consumer.finish();
        close(notes, &mut received, &mut held);
    }
    // The rest: what waits in entries whose consumer died last.
    while let Ok(loan) = receiver.try_loan() {
        *received.entry(*loan | u64::from(loan.is_redelivered()) << 63).or_default() += 1;
        loan.release();
    }
    let lost = receiver.lost_in_flight().unwrap();
    let (mut acknowledged, mut missing, mut twice) = (0, 0, 0);
    for (author, count) in &sent {
        let count = count.load(SeqCst);
        acknowledged += count;
        // The one after the last may have been sent and not written down.
        for number in 0..count {
            let word = message(*author, number);
            let first = received.get(&word).copied().unwrap_or(0);
            let again = received.get(&(word | 1 << 63)).copied().unwrap_or(0);
            missing += u64::from(first + again == 0);
            twice += u64::from(first > 1);
            if in_flight.is_none() {
                twice += u64::from(again > 0);
            }
        }
    }
    println!(
        "{kills} kills: {acknowledged} acknowledged, {} received, {missing} missing, {lost} lost in \
         flight, {} held by the dead, {twice} twice",
        received.len(),
        held.len()
    );
    assert!(acknowledged > 0);
    assert_eq!(twice, 0);
    if in_flight.is_some() {
        assert_eq!((missing, lost), (0, 0));
    } else {
        // A consumer that died before it wrote down what it held, or after it had.
        assert!(missing <= lost, "{missing} messages are missing, {lost} are accounted for");
        assert!(lost <= missing + held.len() as u64);
    }
}

#[test]
fn random_kills_lose_nothing_but_what_consumers_held() {
    let _watchdog = common::watchdog_of(300);
    storm(None, kills());
}

#[test]
fn random_kills_lose_nothing_at_all_where_messages_come_again() {
    let _watchdog = common::watchdog_of(300);
    storm(Some(3), kills());
}

fn kills() -> usize {
    std::env::var("STORM_KILLS").map_or(100, |kills| kills.parse().expect("a number"))
}

#[test]
fn order_holds_for_each_producer() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(5).unwrap();
    let producers: Vec<_> = (0..3u64)
        .map(|author| {
            let sender = sender.clone();
            child(move || (0..2000).for_each(|i| sender.send(message(author, i)).unwrap()))
        })
        .collect();
    drop(sender);
    let consumers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = receiver.clone();
            child(move || receiver.iter().collect::<Vec<u64>>())
        })
        .collect();
    drop(receiver);
    let mut all = Vec::new();
    for consumer in consumers {
        let got = consumer.finish();
        for author in 0..3 {
            let of_one = got.iter().filter(|&&word| word >> 32 == author);
            assert!(of_one.is_sorted(), "messages of producer {author} changed places");
        }
        all.extend(got);
    }
    producers.into_iter().for_each(|producer| producer.finish());
    all.sort_unstable();
    let expected: Vec<_> = (0..3).flat_map(|a| (0..2000).map(move |i| message(a, i))).collect();
    assert_eq!(all, expected);
}

#[test]
fn an_end_that_is_handed_over_is_never_nobodys() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(4).unwrap();
    let mut blocked = child(move || receiver.iter().count());
    assert!(falls_asleep(&mut blocked));
    // The sender goes from parent to child, and from that to its own, and so on.
    fn pass(sender: Sender<u64>, left: u64) {
        if left == 0 {
            return;
        }
        sender.send(left).unwrap();
        child(move || pass(sender, left - 1)).finish();
    }
    child(move || pass(sender, 6)).finish();
    assert_eq!(blocked.finish(), 6);
}
