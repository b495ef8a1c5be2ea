//! Rings of records between processes: bytes of any length, whole and in order, in place and in
//! pieces, and what is left of a record whose sender or receiver died over it.

#![cfg(feature = "serde")]

mod common;

use common::{
    Child, Random, child, in_child, name, pause_for_ever, raw_fork, thread_id, wait_until_asleep,
    watchdog,
};
use commons::records::{Consumer, Producer, Ring, duplex, ring};
use commons::{ChannelError, Departure, Error, Peer, Segment, WaitStrategy, spsc};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(1);

/// A record that says by its bytes which it is and how long.
fn record(number: u64, length: usize) -> Vec<u8> {
    let byte = |i: usize| (number as usize * 31 + i * 7 + length) as u8;
    (0..length).map(byte).collect()
}

fn received(consumer: &mut Consumer) -> Vec<u8> {
    let mut record = vec![9; 3];
    let length = consumer.recv(&mut record).unwrap();
    assert_eq!(length, record.len());
    record
}

#[track_caller]
fn departure<R>(result: Result<R, ChannelError>) -> Departure {
    match result {
        Err(ChannelError::Disconnected(departure)) => departure,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is still there"),
    }
}

// ---- lengths and order ----

#[test]
fn records_of_every_length_arrive_whole_and_in_order() {
    let _watchdog = watchdog();
    for bytes in [1, 128, 256, 1000, 65_536] {
        let longest = 2 * bytes.clamp(150, 450);
        let (mut producer, mut consumer) = ring(bytes).unwrap();
        assert_eq!(producer.capacity(), bytes.next_multiple_of(128));
        let sender = child(move || {
            for length in 0..longest {
                producer.send(&record(length as u64, length)).unwrap();
            }
        });
        for length in 0..longest {
            assert_eq!(received(&mut consumer), record(length as u64, length), "{bytes}, {length}");
        }
        assert_eq!(departure(consumer.recv(&mut Vec::new())), Departure::Closed);
        assert_eq!(consumer.discarded(), 0);
        sender.finish();
    }
}

#[test]
fn each_pair_of_strategies_delivers_everything() {
    let _watchdog = watchdog();
    let strategies = [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park];
    for (ours, theirs) in strategies.into_iter().flat_map(|a| strategies.map(|b| (a, b))) {
        let count = 300;
        let (mut producer, mut consumer) = ring(512).unwrap();
        producer.set_wait_strategy(theirs);
        consumer.set_wait_strategy(ours);
        let sender = child(move || {
            for i in 0..count {
                producer.send(&record(i, (i * 37 % 700) as usize)).unwrap();
            }
        });
        for i in 0..count {
            assert_eq!(received(&mut consumer), record(i, (i * 37 % 700) as usize));
        }
        sender.finish();
    }
}

#[test]
fn megabytes_pass_through_a_small_ring() {
    let _watchdog = watchdog();
    let length = 12 << 20;
    let (mut producer, mut consumer) = ring(100_000).unwrap();
    let sender = child(move || {
        let mut long = vec![0u8; length];
        for (i, bytes) in (0u64..).zip(long.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&i.to_le_bytes());
        }
        producer.send(&long).unwrap();
        producer.send(b"and a short one").unwrap();
    });
    let mut long = Vec::new();
    assert_eq!(consumer.recv(&mut long).unwrap(), length);
    let numbers = long.chunks_exact(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));
    assert!(numbers.eq(0..length as u64 / 8));
    assert_eq!(received(&mut consumer), b"and a short one");
    sender.finish();
}

#[test]
fn requests_and_replies_of_all_lengths_alternate() {
    let _watchdog = watchdog();
    let (mut here, mut there) = duplex(1024).unwrap();
    let replier = child(move || {
        let mut request = Vec::new();
        while there.rx.recv(&mut request).is_ok() {
            request.reverse();
            there.tx.send(&request).unwrap();
        }
    });
    for length in (0..2000).step_by(13) {
        let mut expected = record(1, length);
        here.tx.send(&expected).unwrap();
        expected.reverse();
        assert_eq!(received(&mut here.rx), expected);
    }
    drop(here);
    replier.finish();
}

// ---- every form ----

#[test]
fn a_full_ring_and_an_empty_one_say_so_at_once() {
    let (mut producer, mut consumer) = ring(256).unwrap();
    assert!(producer.is_empty() && consumer.is_empty());
    assert_eq!(consumer.try_recv(&mut Vec::new()), Err(ChannelError::Empty));
    assert!(matches!(consumer.try_peek().map(drop), Err(ChannelError::Empty)));
    // 16 grains: a record of 100 bytes takes 8.
    for i in 0..2 {
        producer.try_send(&record(i, 100)).unwrap();
    }
    assert_eq!((producer.used(), consumer.used()), (256, 256));
    for length in [0, 12, 13, 100] {
        assert_eq!(producer.try_send(&record(9, length)), Err(ChannelError::Full));
        assert!(matches!(producer.try_reserve(length).map(drop), Err(ChannelError::Full)));
    }
    let mut record_ = Vec::new();
    assert_eq!(consumer.try_recv(&mut record_), Ok(100));
    assert_eq!(record_, record(0, 100));
    producer.try_send(b"small").unwrap();
    for length in [5, 100] {
        assert_eq!(received(&mut consumer).len(), [100, 5][usize::from(length == 100)]);
    }
    assert!(consumer.is_empty());
}

#[test]
fn timed_forms_wait_as_long_as_they_are_told_and_no_shorter() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(128).unwrap();
    let waits: [fn(&mut Producer, &mut Consumer) -> ChannelError; 6] = [
        |_, c| c.recv_timeout(&mut Vec::new(), 20 * MOMENT).unwrap_err(),
        |_, c| c.recv_deadline(&mut Vec::new(), Instant::now() + 20 * MOMENT).unwrap_err(),
        |_, c| c.peek_timeout(20 * MOMENT).map(drop).unwrap_err(),
        |p, _| p.send_timeout(&[0; 40], 20 * MOMENT).unwrap_err(),
        |p, _| p.send_deadline(&[0; 40], Instant::now() + 20 * MOMENT).unwrap_err(),
        |p, _| p.reserve_timeout(40, 20 * MOMENT).map(drop).unwrap_err(),
    ];
    for (i, wait) in waits.into_iter().enumerate() {
        if i == 3 {
            producer.send(&[1; 48]).unwrap();
            producer.send(&[2; 20]).unwrap();
        }
        let begun = Instant::now();
        assert_eq!(wait(&mut producer, &mut consumer), ChannelError::TimedOut);
        assert!(begun.elapsed() >= 20 * MOMENT);
    }
    // What is there comes whatever the deadline.
    let past = Instant::now();
    assert_eq!(consumer.recv_deadline(&mut Vec::new(), past), Ok(48));
    assert_eq!(consumer.recv_timeout(&mut Vec::new(), Duration::ZERO), Ok(20));
    assert_eq!(producer.send_deadline(&[3; 48], past), Ok(()));
    assert_eq!(received(&mut consumer), [3; 48]);
}

#[test]
fn a_record_that_never_fits_at_once_is_told_apart_from_a_full_ring() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(256).unwrap();
    let error = producer.try_send(&[0; 500]).unwrap_err();
    assert_eq!(error, ChannelError::TooLarge { bytes: 500, limit: 224 });
    assert!(error.to_string().contains("500") && error.to_string().contains("224"), "{error}");
    assert_eq!(producer.longest_in_place(), 112);
    let error = producer.reserve(113).map(drop).unwrap_err();
    assert_eq!(error, ChannelError::TooLarge { bytes: 113, limit: 112 });
    // The most that there is room for at once goes at once, wherever the turn of the lap is.
    for turn in 0..16 {
        let long = record(turn, 224);
        producer.try_send(&long).unwrap();
        assert_eq!(received(&mut consumer), long);
        producer.send(b"turns the ring").unwrap();
        assert_eq!(received(&mut consumer), b"turns the ring");
        producer.send(b"once").unwrap();
        assert_eq!(producer.try_send(&long), Err(ChannelError::Full));
        assert_eq!(received(&mut consumer), b"once");
    }
    assert_eq!(consumer.discarded(), 0);
}

// ---- in place ----

#[test]
fn what_is_reserved_is_aligned_and_published_as_far_as_committed() {
    let (mut producer, mut consumer) = ring(512).unwrap();
    for (granted, committed) in [(0, 0), (1, 1), (12, 3), (100, 0), (100, 7), (200, 200)] {
        for turn in 0..32u64 {
            let mut grant = producer.reserve(granted).unwrap();
            assert_eq!((grant.len(), grant.as_ptr() as usize % 16), (granted, 0));
            let bytes = record(turn, committed);
            grant[..committed].copy_from_slice(&bytes);
            grant.commit(committed);
            let loan = consumer.peek().unwrap();
            assert_eq!((&*loan, loan.as_ptr() as usize % 16), (&*bytes, 0));
            loan.release();
            assert!(consumer.is_empty());
        }
    }
    drop(producer.reserve(100).unwrap());
    assert!(producer.is_empty());
    producer.send(&record(1, 20)).unwrap();
    assert_eq!(received(&mut consumer), record(1, 20));
}

#[test]
fn what_is_lent_comes_again_until_it_is_released() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(512).unwrap();
    for length in [4, 100] {
        producer.send(&record(1, length)).unwrap();
        producer.send(&record(2, length)).unwrap();
        for _ in 0..3 {
            assert_eq!(*consumer.peek().unwrap(), *record(1, length));
        }
        consumer.peek().unwrap().release();
        assert_eq!(*consumer.peek_timeout(MOMENT).unwrap(), *record(2, length));
        assert_eq!(received(&mut consumer), record(2, length));
    }
    // One that was put together, too.
    let sender = child(move || producer.send(&record(3, 5000)).unwrap());
    for _ in 0..3 {
        assert_eq!(*consumer.peek().unwrap(), *record(3, 5000));
    }
    consumer.try_peek().unwrap().release();
    assert_eq!(departure(consumer.recv(&mut Vec::new())), Departure::Closed);
    sender.finish();
}

#[test]
#[should_panic(expected = "8 bytes committed of 7 granted")]
fn more_than_was_granted_is_not_committed() {
    let (mut producer, _consumer) = ring(512).unwrap();
    producer.reserve(7).unwrap().commit(8);
}

// ---- who goes ----

#[test]
fn what_was_published_comes_before_the_news_that_the_producer_left() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(512).unwrap();
    producer.send(b"one").unwrap();
    producer.send(&[7; 100]).unwrap();
    assert!(matches!(consumer.peer(), Ok(Peer::Here { .. })));
    producer.abandon();
    assert_eq!(consumer.iter().collect::<Vec<_>>(), [b"one".to_vec(), vec![7; 100]]);
    assert_eq!(departure(consumer.try_recv(&mut Vec::new())), Departure::Abandoned);
    assert_eq!(consumer.peer(), Ok(Peer::Gone(Departure::Abandoned)));
}

/// Runs `f` in a child and kills that when it sleeps.
fn killed_asleep(f: impl FnOnce() + Send + 'static) -> u32 {
    let child = child(f);
    let pid = child.id();
    wait_until_asleep(pid);
    child.kill();
    pid
}

#[test]
fn a_blocked_end_is_woken_by_the_death_of_the_other() {
    let _watchdog = watchdog();
    for producer_dies in [false, true] {
        let (mut producer, mut consumer) = ring(128).unwrap();
        let waiter;
        let victim: Child<()>;
        if producer_dies {
            victim = child(move || {
                let _held = producer;
                pause_for_ever();
            });
            waiter = child(move || departure(consumer.recv(&mut Vec::new())).to_string());
        } else {
            victim = child(move || {
                let _held = consumer;
                pause_for_ever();
            });
            waiter = child(move || departure(producer.send(&[0; 4000])).to_string());
        }
        wait_until_asleep(waiter.id());
        let pid = victim.id();
        victim.kill();
        assert_eq!(waiter.finish(), Departure::Died { pid: Some(pid) }.to_string());
    }
}

#[test]
fn a_long_record_whose_producer_died_is_discarded() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(8192).unwrap();
    let ring = Ring::new_in(&segment, "records", 256).unwrap();
    let mut producer = ring.producer().unwrap();
    // The first half of it fills the ring.
    let pid = killed_asleep(move || {
        producer.send(b"whole").unwrap();
        producer.send(&[1; 400]).unwrap();
    });
    let mut consumer = ring.consumer().unwrap();
    assert_eq!(received(&mut consumer), b"whole");
    let mut kept = b"kept".to_vec();
    assert_eq!(departure(consumer.recv(&mut kept)), Departure::Died { pid: Some(pid) });
    assert_eq!((consumer.discarded(), &*kept), (1, &b"kept"[..]));

    // The same where a successor came before anybody looked.
    for (count, length) in [(2, 3), (3, 60), (4, 800)] {
        let mut producer = ring.producer().unwrap();
        killed_asleep(move || producer.send(&[2; 400]).unwrap());
        let mut producer = ring.producer().unwrap();
        assert!(matches!(producer.predecessor(), Some(Departure::Died { .. })));
        let sender = child(move || producer.send(&record(5, length)).unwrap());
        assert_eq!(received(&mut consumer), record(5, length));
        assert_eq!(consumer.discarded(), count);
        sender.finish();
    }
}

#[test]
fn a_long_record_that_ran_out_of_time_is_discarded() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(256).unwrap();
    assert_eq!(producer.send_timeout(&[1; 400], MOMENT), Err(ChannelError::TimedOut));
    let mut record_ = Vec::new();
    assert_eq!(consumer.try_recv(&mut record_), Err(ChannelError::Empty));
    assert_eq!(consumer.recv_timeout(&mut record_, MOMENT), Err(ChannelError::TimedOut));
    producer.send(b"next").unwrap();
    assert_eq!(received(&mut consumer), b"next");
    assert_eq!(consumer.discarded(), 1);
    assert_eq!(producer.send_timeout(&[1; 400], MOMENT), Err(ChannelError::TimedOut));
    drop(producer);
    assert_eq!(departure(consumer.try_recv(&mut record_)), Departure::Closed);
    assert_eq!(consumer.discarded(), 2);
}

#[test]
fn a_long_record_whose_consumer_died_over_it_is_discarded() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(8192).unwrap();
    let ring = Ring::new_in(&segment, "records", 256).unwrap();
    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.send_timeout(&[1; 400], MOMENT), Err(ChannelError::TimedOut));
    let mut consumer = ring.consumer().unwrap();
    killed_asleep(move || drop(consumer.recv(&mut Vec::new())));
    // It took the first bytes with it.
    let mut consumer = ring.consumer().unwrap();
    assert!(matches!(consumer.predecessor(), Some(Departure::Died { .. })));
    let sender = child(move || {
        for length in [5, 300, 70] {
            producer.send(&record(0, length)).unwrap();
        }
    });
    for length in [5, 300, 70] {
        assert_eq!(received(&mut consumer), record(0, length));
    }
    sender.finish();
}

#[test]
fn a_consumer_that_comes_in_the_middle_of_a_long_record_begins_behind_it() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(8192).unwrap();
    let ring = Ring::new_in(&segment, "records", 256).unwrap();
    let mut producer = ring.producer().unwrap();
    let first = ring.consumer().unwrap();
    let sender = child(move || {
        producer.send(&[1; 4000]).unwrap();
        producer.send(b"after it").unwrap();
    });
    wait_until_asleep(sender.id());
    let mut first = first;
    assert_eq!(first.try_recv(&mut Vec::new()), Err(ChannelError::Empty));
    drop(first);
    let mut second = ring.consumer().unwrap();
    assert_eq!(received(&mut second), b"after it");
    assert_eq!(second.discarded(), 1);
    sender.finish();
}

#[test]
fn what_a_dead_consumer_had_not_released_comes_again() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(8192).unwrap();
    let ring = Ring::new_in(&segment, "records", 512).unwrap();
    let mut producer = ring.producer().unwrap();
    for i in 0..3 {
        producer.send(&record(i, 50)).unwrap();
    }
    let mut consumer = ring.consumer().unwrap();
    let dead = child(move || {
        consumer.recv(&mut Vec::new()).unwrap();
        let _lent = consumer.peek().unwrap();
        std::process::abort();
    });
    assert!(Child::<()>::join(dead).is_err());
    let mut consumer = ring.consumer().unwrap();
    for i in 1..3 {
        assert_eq!(received(&mut consumer), record(i, 50));
    }
}

#[test]
#[allow(unsafe_code, reason = "forks as a library would that knows nothing of this crate")]
fn a_copy_that_a_fork_made_is_of_no_use() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(4096).unwrap();
    producer.send(&[1; 3000]).unwrap();
    producer.send(b"small").unwrap();
    assert_eq!(consumer.peek().unwrap().len(), 3000);
    let copy = raw_fork(|| {
        let refused = consumer.try_recv(&mut Vec::new()) == Err(ChannelError::Forked)
            && consumer.peek().map(drop) == Err(ChannelError::Forked)
            && producer.try_send(b"") == Err(ChannelError::Forked)
            && producer.reserve(5).map(drop) == Err(ChannelError::Forked);
        i32::from(!refused)
    });
    assert_eq!(copy.wait(), 0);
    assert_eq!(received(&mut consumer), [1; 3000]);
    assert_eq!(received(&mut consumer), b"small");
}

// ---- names ----

#[test]
fn rings_are_found_by_name_and_by_label() {
    let _watchdog = watchdog();
    let name = name("records");
    let mut producer = Ring::create(&name, 1000).unwrap().producer().unwrap();
    let again = Ring::open(&name).unwrap();
    assert_eq!((again.capacity(), again.is_empty()), (1024, true));
    assert!(matches!(again.producer(), Err(Error::RoleTaken { role: "producer", .. })));
    assert!(matches!(spsc::Ring::<u8>::open(&name), Err(Error::TypeMismatch { .. })));
    assert!(matches!(Ring::create(&name, 1000), Err(Error::NameTaken { .. })));
    producer.send(b"by name").unwrap();
    assert_eq!(again.used(), 16);
    let bytes = name.to_owned();
    let found = in_child(move || received(&mut Ring::open(&bytes).unwrap().consumer().unwrap()));
    assert_eq!(found, b"by name");
    Ring::unlink(&name).unwrap();

    let segment = Segment::anonymous(8192).unwrap();
    let (made, _) = Ring::open_or_create_in(&segment, "a", 128).unwrap();
    let mut producer = made.producer().unwrap();
    producer.send(b"by label").unwrap();
    let mut consumer = Ring::open_in(&segment, "a").unwrap().consumer().unwrap();
    assert_eq!(received(&mut consumer), b"by label");
    assert!(matches!(ring(0), Err(Error::Zero { .. })));
    assert!(matches!(ring(usize::MAX), Err(Error::TooLarge { .. })));
}

// ---- hostile peers ----

/// Whatever is written into the first header, what comes is bytes or an error.
#[test]
fn a_header_that_is_none_is_an_error_and_nothing_worse() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("a_header_that_is_none_is_an_error_and_nothing_worse");
    let (mut corrupted, mut sound) = (0, 0);
    for round in 0..400 {
        let name = name("hostile");
        let ring = Ring::create(&name, 512).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let file = File::options().read(true).write(true).open(name.path()).unwrap();
        for _ in 0..random.below(8) {
            producer.send(&record(1, 40)).unwrap();
            received(&mut consumer);
        }
        let mark = record(round, 40);
        producer.send(&mark).unwrap();
        let mut all = vec![0; file.metadata().unwrap().len() as usize];
        file.read_exact_at(&mut all, 0).unwrap();
        let at = all.windows(40).rposition(|window| *window == *mark).unwrap();
        let kind = random.below(8) as u32;
        let length = [0, 5, 12, 40, 41, 48, 49, 600, (1 << 29) - 1][random.below(9) as usize];
        file.write_all_at(&(kind << 29 | length).to_le_bytes(), at as u64 - 16).unwrap();
        let mut got = Vec::new();
        match consumer.try_recv(&mut got) {
            Ok(length) => {
                assert!(length <= 48);
                sound += 1;
            }
            Err(ChannelError::Corrupted(_)) => corrupted += 1,
            Err(ChannelError::Empty) => sound += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(corrupted > 50 && sound > 20, "{corrupted} corrupted, {sound} sound");
}

// ---- chance ----

/// A model of two ends that go through any operations, against what went in.
#[test]
fn any_mixture_of_operations_keeps_records_whole_and_in_order() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("any_mixture_of_operations_keeps_records_whole_and_in_order");
    for bytes in [128, 384, 2048] {
        let (mut producer, mut consumer) = ring(bytes).unwrap();
        let mut model = std::collections::VecDeque::new();
        for number in 0..4000 {
            if random.below(2) == 0 {
                let most = 1 + random.below(2 * bytes as u64);
                let length = random.below(most) as usize;
                let new = record(number, length);
                let sent = if random.below(2) == 0 {
                    producer.try_send(&new)
                } else {
                    producer.try_reserve(length).map(|mut grant| {
                        grant.copy_from_slice(&new);
                        grant.commit(length);
                    })
                };
                match sent {
                    Ok(()) => model.push_back(new),
                    Err(ChannelError::Full) => assert!(!model.is_empty()),
                    Err(ChannelError::TooLarge { limit, .. }) => assert!(length as u64 > limit),
                    Err(other) => panic!("{other}"),
                }
            } else if random.below(2) == 0 {
                let mut got = Vec::new();
                match (consumer.try_recv(&mut got), model.pop_front()) {
                    (Ok(_), Some(expected)) => assert_eq!(got, expected),
                    (Err(ChannelError::Empty), None) => {}
                    other => panic!("{other:?}"),
                }
            } else {
                match (consumer.try_peek(), model.front()) {
                    (Ok(loan), Some(expected)) => {
                        assert_eq!(&*loan, &**expected);
                        if random.below(2) == 0 {
                            loan.release();
                            model.pop_front();
                        }
                    }
                    (Err(ChannelError::Empty), None) => {}
                    other => panic!("{other:?}"),
                }
            }
        }
        assert_eq!(consumer.discarded(), 0);
    }
}

/// Producers of all lengths killed at any moment, each followed by another: what arrives is whole,
/// in order, and everything that was acknowledged.
#[test]
fn killed_producers_leave_whole_records_in_order() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("killed_producers_leave_whole_records_in_order");
    let segment = Segment::anonymous(16 << 10).unwrap();
    let ring = Ring::new_in(&segment, "records", 512).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let (mut next, mut deaths) = (0u64, 0);
    for _ in 0..40 {
        let mut producer = ring.producer().unwrap();
        let victim = child(move || {
            for number in next.. {
                let mut bytes = number.to_le_bytes().to_vec();
                bytes.extend(record(number, (number * 61 % 1500) as usize));
                if producer.send(&bytes).is_err() {
                    break;
                }
            }
        });
        let mut got = Vec::new();
        for _ in 0..random.below(50) {
            consumer.recv(&mut got).unwrap();
            next = check(&got, next);
        }
        victim.kill();
        deaths += 1;
        while consumer.try_recv(&mut got).is_ok() {
            next = check(&got, next);
        }
    }
    println!("{next} records, {} discarded, {deaths} deaths", consumer.discarded());
    assert!(consumer.discarded() <= deaths);
}

fn check(got: &[u8], next: u64) -> u64 {
    let (number, rest) = got.split_at(8);
    assert_eq!(number, next.to_le_bytes(), "a record is lost or repeated");
    assert_eq!(rest, record(next, (next * 61 % 1500) as usize), "a record is torn");
    next + 1
}

#[test]
fn ends_move_to_threads() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(256).unwrap();
    let sender = std::thread::spawn(move || {
        for i in 0..200 {
            producer.send(&record(i, i as usize * 3)).unwrap();
        }
        thread_id()
    });
    for i in 0..200 {
        assert_eq!(received(&mut consumer), record(i, i as usize * 3));
    }
    sender.join().unwrap();
}
