//! Rings between processes: order and completeness, every form of every operation, who may have an
//! end, and what is seen of how the other end went.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "forks as a library would that knows nothing of this crate")]

mod common;

use bytemuck::{CheckedBitPattern, NoUninit, Pod, Zeroable};
use common::{
    Child, Gate, Random, child, die_after, in_child, name, pause_for_ever, raw_fork, thread_id,
    wait_until_asleep, watchdog, watchdog_of,
};
use commons::spsc::{Consumer, Element, Producer, Ring, duplex, ring};
use commons::{
    ChannelError, Departure, Error, JoinError, Partial, Peer, Process, Segment, WaitStrategy,
};
use proptest::prelude::*;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::io::{self, BufRead, Read, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const CAPACITIES: [usize; 5] = [1, 2, 3, 7, 1024];
const STRATEGIES: [WaitStrategy; 3] =
    [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park];
const MOMENT: Duration = Duration::from_millis(1);

fn departure<R>(result: Result<R, ChannelError>) -> Departure {
    match result {
        Err(ChannelError::Disconnected(departure)) => departure,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is still there"),
    }
}

// ---- order and completeness ----

/// Sends values made from numbers through rings of all capacities, in both directions.
fn arrive<T>(make: fn(u64) -> T)
where
    T: Element + Debug + PartialEq + Send,
{
    let _watchdog = watchdog();
    for capacity in CAPACITIES {
        let count = 3 * capacity as u64 + 50;

        let (mut producer, mut consumer) = ring::<T>(capacity).unwrap();
        assert_eq!((producer.capacity(), consumer.capacity()), (capacity, capacity));
        let sender = child(move || {
            for i in 0..count {
                producer.push(make(i)).unwrap();
            }
        });
        for i in 0..count {
            assert_eq!(consumer.pop().unwrap(), make(i));
        }
        assert_eq!(departure(consumer.pop()), Departure::Closed);
        sender.finish();

        let (mut producer, mut consumer) = ring::<T>(capacity).unwrap();
        let receiver = child(move || {
            let mut received = 0;
            while let Ok(value) = consumer.pop() {
                assert_eq!(value, make(received));
                received += 1;
            }
            received
        });
        for i in 0..count {
            producer.push(make(i)).unwrap();
        }
        drop(producer);
        assert_eq!(receiver.finish(), count);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Suit {
    Clubs = 1,
    Diamonds,
    Hearts,
    Spades = 77,
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(C)]
struct Order {
    price: f64,
    size: u32,
    suit: Suit,
    is_bid: bool,
    venue: [u8; 2],
    symbol: char,
    account: u32,
}

macro_rules! aligned {
    ($name:ident, $align:literal) => {
        #[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
        #[repr(C, align($align))]
        struct $name([u8; $align]);

        impl $name {
            fn new(i: u64) -> Self {
                let mut bytes = [i as u8; $align];
                bytes[..8].copy_from_slice(&i.to_le_bytes());
                $name(bytes)
            }
        }
    };
}
aligned!(Aligned64, 64);
aligned!(Aligned128, 128);
aligned!(Aligned4096, 4096);
aligned!(Aligned16384, 16384);

fn suit(i: u64) -> Suit {
    [Suit::Clubs, Suit::Diamonds, Suit::Hearts, Suit::Spades][i as usize % 4]
}

fn order(i: u64) -> Order {
    let symbol = char::from_u32(i as u32 % 0xd800).unwrap();
    let (price, size, account) = (i as f64 / 8.0, i as u32, !i as u32);
    Order {
        price,
        size,
        suit: suit(i),
        is_bid: i.is_multiple_of(2),
        venue: *b"XY",
        symbol,
        account,
    }
}

#[test]
fn units_arrive_all() {
    arrive::<()>(|_| ());
}

#[test]
fn bytes_arrive_in_order() {
    arrive(|i| i as u8);
}

#[test]
fn words_arrive_in_order() {
    arrive(|i| i.wrapping_mul(0x9e37_79b9_7f4a_7c15));
}

#[test]
fn odd_sizes_arrive_in_order() {
    arrive(|i| [i as u8, (i >> 8) as u8, !i as u8]);
}

#[test]
fn the_largest_express_size_and_one_above_arrive_in_order() {
    arrive(|i| [i, !i]);
    arrive(|i| [i as u8; 17]);
}

#[test]
fn long_values_arrive_whole_and_in_order() {
    arrive(|i| [i; 64]);
}

#[test]
fn booleans_and_characters_arrive_in_order() {
    arrive(|i| i.is_multiple_of(3));
    arrive(|i| char::from_u32(0xe000 + i as u32).unwrap());
}

#[test]
fn enums_and_structs_of_checked_fields_arrive_in_order() {
    arrive(suit);
    arrive(order);
}

#[test]
fn values_of_strict_alignment_arrive_in_order() {
    arrive(Aligned64::new);
    arrive(Aligned128::new);
}

#[test]
fn values_aligned_to_a_page_arrive_in_order() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<Aligned4096>(3).unwrap();
    for i in 0..10 {
        producer.push(Aligned4096::new(i)).unwrap();
        assert_eq!(consumer.pop().unwrap(), Aligned4096::new(i));
    }
}

/// More than a page is more than mappings are aligned to by themselves.
#[test]
fn values_aligned_to_more_than_a_page_are_aligned_or_refused() {
    let _watchdog = watchdog();
    let aligned = in_child(|| {
        // Wherever the mappings fall: each attempt moves the next.
        let mut filler = Vec::new();
        for i in 0..8 {
            filler.push(Segment::anonymous(1 << 12).unwrap());
            let segment = Segment::anonymous(1 << 18).unwrap();
            let Ok(ring) = Ring::<Aligned16384>::new_in(&segment, "aligned", 4) else { continue };
            let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
            let grant = producer.reserve(1).unwrap();
            if !(grant.as_ptr() as usize).is_multiple_of(align_of::<Aligned16384>()) {
                return false;
            }
            drop(grant);
            producer.push(Aligned16384::new(i)).unwrap();
            assert_eq!(consumer.pop().unwrap(), Aligned16384::new(i));
        }
        true
    });
    assert!(aligned, "a slot is not aligned as its type asks");
}

#[test]
fn each_pair_of_strategies_delivers_everything() {
    let _watchdog = watchdog();
    for sending in STRATEGIES {
        for receiving in STRATEGIES {
            let (mut producer, mut consumer) = ring::<u64>(4).unwrap();
            assert_eq!(producer.wait_strategy(), WaitStrategy::SpinThenPark);
            producer.set_wait_strategy(sending);
            consumer.set_wait_strategy(receiving);
            assert_eq!((producer.wait_strategy(), consumer.wait_strategy()), (sending, receiving));
            let sender = child(move || {
                for i in 0..300 {
                    producer.push(i).unwrap();
                }
            });
            assert!(consumer.iter().eq(0..300), "{sending:?} to {receiving:?}");
            sender.finish();
        }
    }
}

#[test]
fn requests_and_replies_alternate() {
    let _watchdog = watchdog();
    for strategy in STRATEGIES {
        for capacity in [1, 3] {
            let (mut here, mut there) = duplex::<u64>(capacity).unwrap();
            here.set_wait_strategy(strategy);
            there.set_wait_strategy(strategy);
            let server = child(move || {
                while let Ok(request) = there.rx.pop() {
                    there.tx.push(request + 1).unwrap();
                }
            });
            for i in 0..200 {
                here.tx.push(i).unwrap();
                assert_eq!(here.rx.pop().unwrap(), i + 1);
            }
            drop(here);
            server.finish();
        }
    }
}

#[test]
fn the_halves_of_a_duplex_end_can_go_to_different_processes() {
    let _watchdog = watchdog();
    let (here, there) = duplex::<u64>(8).unwrap();
    let (mut tx, mut rx) = (there.tx, there.rx);
    let sender = child(move || tx.push_all(&[1, 2, 3]).unwrap());
    let receiver = child(move || rx.iter().sum::<u64>());
    let (mut to, mut from) = (here.tx, here.rx);
    assert_eq!(from.iter().collect::<Vec<_>>(), [1, 2, 3]);
    to.push_all(&[10, 20]).unwrap();
    drop(to);
    assert_eq!(receiver.finish(), 30);
    sender.finish();
}

#[test]
fn counts_are_right_at_every_fill() {
    let _watchdog = watchdog();
    for capacity in CAPACITIES {
        let segment = Segment::anonymous(1 << 20).unwrap();
        let ring = Ring::<u16>::new_in(&segment, "counted", capacity).unwrap();
        let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        for lap in 0..3 {
            for fill in 0..=capacity {
                assert_eq!((producer.len(), consumer.len(), ring.len()), (fill, fill, fill));
                assert_eq!(producer.slots(), capacity - fill);
                let (empty, full) = (fill == 0, fill == capacity);
                assert_eq!((producer.is_empty(), producer.is_full()), (empty, full));
                assert_eq!((consumer.is_empty(), consumer.is_full()), (empty, full));
                assert_eq!((ring.is_empty(), ring.capacity()), (empty, capacity));
                if !full {
                    producer.push(fill as u16).unwrap();
                }
            }
            // One more than a lap, so that laps begin at every slot.
            for fill in 0..capacity {
                assert_eq!(consumer.pop().unwrap(), fill as u16, "lap {lap}");
            }
            producer.push(0).unwrap();
            consumer.pop().unwrap();
        }
    }
}

// ---- forms ----

#[test]
fn a_full_ring_gives_the_value_back_at_once() {
    let _watchdog = watchdog();
    let (mut producer, _consumer) = ring(2).unwrap();
    producer.try_push('a').unwrap();
    producer.try_push('b').unwrap();
    let rejected = producer.try_push('c').unwrap_err();
    assert_eq!((rejected.value, rejected.reason), ('c', ChannelError::Full));
    assert_eq!(producer.try_push_slice(&['d', 'e']).unwrap_err(), ChannelError::Full);
}

#[test]
fn an_empty_ring_says_so_at_once() {
    let _watchdog = watchdog();
    let (_producer, mut consumer) = ring::<u8>(2).unwrap();
    assert_eq!(consumer.try_pop(), Err(ChannelError::Empty));
    assert_eq!(consumer.try_pop_slice(&mut [0; 4]), Err(ChannelError::Empty));
    assert_eq!(consumer.try_peek(1).unwrap_err(), ChannelError::Empty);
}

#[test]
fn timed_forms_wait_as_long_as_they_are_told_and_no_shorter() {
    let _watchdog = watchdog();
    let wait = Duration::from_millis(20);
    for strategy in STRATEGIES {
        let (mut producer, mut consumer) = ring(1).unwrap();
        producer.set_wait_strategy(strategy);
        consumer.set_wait_strategy(strategy);
        let timed = |operation: &mut dyn FnMut() -> ChannelError| {
            let since = Instant::now();
            assert_eq!(operation(), ChannelError::TimedOut, "{strategy:?}");
            assert!(since.elapsed() >= wait, "{strategy:?} came back early");
        };
        timed(&mut || consumer.pop_timeout(wait).unwrap_err());
        timed(&mut || consumer.pop_deadline(Instant::now() + wait).unwrap_err());
        timed(&mut || consumer.peek_timeout(1, wait).unwrap_err());
        producer.push(1u8).unwrap();
        timed(&mut || producer.push_timeout(2, wait).unwrap_err().reason);
        timed(&mut || producer.push_deadline(2, Instant::now() + wait).unwrap_err().reason);
        timed(&mut || producer.reserve_timeout(1, wait).unwrap_err());
        assert_eq!(producer.push_timeout(2, Duration::ZERO).unwrap_err().value, 2);
    }
}

#[test]
fn timed_forms_take_what_is_there_whatever_the_deadline() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring(8).unwrap();
    let past = Instant::now();
    for timeout in [Duration::ZERO, MOMENT, Duration::MAX] {
        producer.push_timeout(1u32, timeout).unwrap();
        producer.push_deadline(2, past).unwrap();
        producer.reserve_timeout(1, timeout).unwrap().commit(1);
        assert_eq!(consumer.pop_timeout(timeout), Ok(1));
        assert_eq!(consumer.pop_deadline(past), Ok(2));
        consumer.peek_timeout(1, timeout).unwrap().release(1);
    }
    assert_eq!(consumer.pop_deadline(past), Err(ChannelError::TimedOut));
}

#[test]
fn timed_forms_are_woken_by_the_other_process() {
    let _watchdog = watchdog();
    let (mut here, mut there) = duplex::<u64>(1).unwrap();
    let echo = child(move || {
        while let Ok(value) = there.rx.pop_timeout(Duration::MAX) {
            there.tx.push_timeout(value, Duration::MAX).unwrap();
        }
    });
    for i in 0..200 {
        here.tx.push_deadline(i, Instant::now() + Duration::from_secs(60)).unwrap();
        assert_eq!(here.rx.pop_timeout(Duration::from_secs(60)), Ok(i));
    }
    drop(here);
    echo.finish();
}

#[test]
fn slices_move_as_many_as_fit_and_cross_the_wrap() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u32>(7).unwrap();
    let mut sent = 0..;
    let mut expected = 0..;
    for round in 0..50 {
        let values: Vec<u32> = sent.clone().take(1 + round % 9).collect();
        let pushed = producer.push_slice(&values).unwrap();
        assert_eq!(pushed, values.len().min(7));
        sent.nth(pushed - 1);
        let mut buffer = [u32::MAX; 9];
        let popped = consumer.pop_slice(&mut buffer[..1 + round % 9]).unwrap();
        assert_eq!(popped, pushed);
        for value in &buffer[..popped] {
            assert_eq!(expected.next(), Some(*value));
        }
        assert!(buffer[popped..].iter().all(|&v| v == u32::MAX), "it wrote beyond its count");
    }
    assert_eq!(producer.push_slice(&[]), Ok(0));
    assert_eq!(consumer.pop_slice(&mut []), Ok(0));
    assert_eq!(producer.try_push_slice(&[]), Ok(0));
    assert_eq!(consumer.try_pop_slice(&mut []), Ok(0));
    producer.push_all(&[]).unwrap();
}

#[test]
fn a_batch_longer_than_the_ring_arrives_in_steps() {
    let _watchdog = watchdog();
    for capacity in [1, 7, 64] {
        let (mut producer, mut consumer) = ring::<u64>(capacity).unwrap();
        let values: Vec<u64> = (0..5_000).collect();
        let sender = child(move || producer.push_all(&values).unwrap());
        let mut received = Vec::new();
        let mut buffer = [0; 100];
        while let Ok(count) = consumer.pop_slice(&mut buffer) {
            assert!((1..=capacity.min(100)).contains(&count));
            received.extend_from_slice(&buffer[..count]);
        }
        assert!(received.into_iter().eq(0..5_000));
        sender.finish();
    }
}

#[test]
fn a_batch_that_stops_on_the_way_says_how_far_it_came() {
    let _watchdog = watchdog();
    let (mut producer, consumer) = ring::<u8>(4).unwrap();
    drop(consumer);
    let Partial { done, reason } = producer.push_all(&[0; 10]).unwrap_err();
    assert_eq!((done, departure::<()>(Err(reason))), (4, Departure::Closed));
}

#[test]
fn a_grant_publishes_what_is_committed_and_nothing_else() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u32>(4).unwrap();
    let mut grant = producer.reserve(10).unwrap();
    assert_eq!(grant.len(), 4, "a grant is no longer than the ring");
    grant.copy_from_slice(&[1, 2, 3, 4]);
    grant.commit(2);
    let mut grant = producer.try_reserve(2).unwrap();
    grant.fill(99);
    drop(grant);
    assert_eq!(consumer.len(), 2);
    producer.reserve(1).unwrap().commit(0);
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(2)));
    assert_eq!(consumer.try_pop(), Err(ChannelError::Empty));
    assert_eq!(producer.reserve(4).unwrap().len(), 2, "slots in a row end at the wrap");
    producer.push_all(&[5, 6, 7, 8]).unwrap();
    assert_eq!(producer.try_reserve(1).unwrap_err(), ChannelError::Full);
    assert_eq!(producer.reserve_timeout(1, MOMENT).unwrap_err(), ChannelError::TimedOut);
    let mut rest = [0; 4];
    assert_eq!(consumer.pop_slice(&mut rest), Ok(4));
    assert_eq!(rest, [5, 6, 7, 8]);
}

#[test]
fn a_loan_releases_what_it_is_told_and_nothing_else() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u32>(4).unwrap();
    producer.push_all(&[1, 2, 3]).unwrap();
    assert_eq!(*consumer.peek(10).unwrap(), [1, 2, 3]);
    assert_eq!(*consumer.try_peek(2).unwrap(), [1, 2], "the dropped loan released nothing");
    consumer.peek(3).unwrap().release(0);
    consumer.peek(3).unwrap().release(2);
    producer.push_all(&[4, 5]).unwrap();
    assert_eq!(*consumer.peek(3).unwrap(), [3, 4], "items in a row end at the wrap");
    consumer.peek(2).unwrap().release(2);
    assert_eq!(consumer.pop(), Ok(5));
    assert_eq!(consumer.peek_timeout(1, MOMENT).unwrap_err(), ChannelError::TimedOut);
}

#[test]
fn in_place_work_crosses_processes() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<[u64; 32]>(3).unwrap();
    let sender = child(move || {
        let mut next = 0;
        while next < 1_000 {
            let mut grant = producer.reserve(2).unwrap();
            for slot in grant.iter_mut() {
                *slot = [next; 32];
                next += 1;
            }
            let count = grant.len();
            grant.commit(count);
        }
        next
    });
    let mut expected = 0;
    while let Ok(loan) = consumer.peek(3) {
        for value in loan.iter() {
            assert_eq!(*value, [expected; 32]);
            expected += 1;
        }
        let count = loan.len();
        loan.release(count);
    }
    assert_eq!(sender.finish(), expected);
}

/// What `f` panics with, in a child.
fn panics<R: commons::Outcome>(f: impl FnOnce() -> R + Send + 'static) -> String {
    match child(f).join() {
        Err(JoinError::Panicked { message, .. }) => message,
        _ => panic!("it did not panic"),
    }
}

#[test]
fn misuse_in_place_panics() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u8>(2).unwrap();
    let message = panics(move || producer.reserve(2).unwrap().commit(3));
    assert_eq!(message, "3 slots committed of 2 granted");
    assert_eq!(departure(consumer.pop()), Departure::Abandoned);

    let (mut producer, mut consumer) = ring::<u8>(2).unwrap();
    producer.push(0).unwrap();
    let message = panics(move || consumer.peek(2).unwrap().release(2));
    assert_eq!(message, "2 items released of 1 lent");

    let asked: [fn(&mut Producer<u8>); 3] = [
        |producer| drop(producer.reserve(0)),
        |producer| drop(producer.try_reserve(0)),
        |producer| drop(producer.reserve_timeout(0, MOMENT)),
    ];
    for ask in asked {
        let (mut producer, _consumer) = ring::<u8>(2).unwrap();
        assert_eq!(panics(move || ask(&mut producer)), "a grant of no slots");
    }
    let asked: [fn(&mut Consumer<u8>); 3] = [
        |consumer| drop(consumer.peek(0)),
        |consumer| drop(consumer.try_peek(0)),
        |consumer| drop(consumer.peek_timeout(0, MOMENT)),
    ];
    for ask in asked {
        let (_producer, mut consumer) = ring::<u8>(2).unwrap();
        assert_eq!(panics(move || ask(&mut consumer)), "a loan of no items");
    }
}

// ---- streams of bytes ----

#[test]
fn bytes_stream_between_processes() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u8>(1000).unwrap();
    let data: Vec<u8> =
        (0..1_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let copy = data.clone();
    let sender = child(move || {
        producer.write_all(&copy).unwrap();
        producer.flush().unwrap();
    });
    let mut received = Vec::new();
    consumer.read_to_end(&mut received).unwrap();
    assert!(received == data);
    assert_eq!(consumer.read(&mut [0; 8]).unwrap(), 0, "the end of a stream stays the end");
    sender.finish();
}

#[test]
fn lines_are_read_through_the_ring_itself() {
    let _watchdog = watchdog();
    let (mut producer, consumer) = ring::<u8>(5).unwrap();
    let sender = child(move || {
        for i in 0..100 {
            writeln!(producer, "line {i}").unwrap();
        }
        write!(producer, "the last one has no end").unwrap();
    });
    let mut consumer = consumer;
    assert_eq!(consumer.read(&mut []).unwrap(), 0);
    let lines: Vec<String> = consumer.lines().map(Result::unwrap).collect();
    assert_eq!(lines.len(), 101);
    assert!((0..100).all(|i| lines[i] == format!("line {i}")));
    assert_eq!(lines[100], "the last one has no end");
    sender.finish();
}

#[test]
fn a_stream_that_breaks_off_is_no_end_of_file() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u8>(16).unwrap();
    producer.write_all(b"half").unwrap();
    producer.abandon();
    let mut text = String::new();
    let error = consumer.read_to_string(&mut text).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);

    let (mut producer, mut consumer) = ring::<u8>(16).unwrap();
    let dying: Child<()> = child(move || {
        producer.write_all(b"half").unwrap();
        std::process::abort();
    });
    let mut bytes = Vec::new();
    let error = consumer.read_to_end(&mut bytes).unwrap_err();
    assert_eq!((error.kind(), bytes), (io::ErrorKind::UnexpectedEof, b"half".to_vec()));
    assert!(matches!(dying.join(), Err(JoinError::Signaled { signal: libc::SIGABRT })));
}

#[test]
fn writing_to_nobody_is_a_broken_pipe() {
    let _watchdog = watchdog();
    let (mut producer, consumer) = ring::<u8>(2).unwrap();
    drop(consumer);
    let error = producer.write_all(b"too much").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::BrokenPipe);
}

#[test]
fn a_buffered_reader_consumes_what_it_says() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u8>(4).unwrap();
    producer.write_all(b"abc").unwrap();
    assert_eq!(consumer.fill_buf().unwrap(), b"abc");
    consumer.consume(0);
    consumer.consume(2);
    producer.write_all(b"de").unwrap();
    assert_eq!(consumer.fill_buf().unwrap(), b"cd", "bytes in a row end at the wrap");
    consumer.consume(2);
    drop(producer);
    assert_eq!(consumer.fill_buf().unwrap(), b"e");
    consumer.consume(1);
    assert_eq!(consumer.fill_buf().unwrap(), b"");
    consumer.consume(0);
}

// ---- how the other end went ----

#[test]
fn what_was_published_comes_before_the_news_that_the_producer_left() {
    let _watchdog = watchdog();
    for in_order in [true, false] {
        let (mut producer, mut consumer) = ring::<u8>(4).unwrap();
        producer.push_all(&[1, 2, 3]).unwrap();
        if in_order {
            drop(producer);
        } else {
            producer.abandon();
        }
        let expected = if in_order { Departure::Closed } else { Departure::Abandoned };
        assert_eq!(consumer.iter().collect::<Vec<_>>(), [1, 2, 3]);
        for _ in 0..2 {
            assert_eq!(departure(consumer.pop()), expected);
            assert_eq!(departure(consumer.try_pop()), expected);
            assert_eq!(departure(consumer.pop_timeout(MOMENT)), expected);
            assert_eq!(departure(consumer.pop_slice(&mut [0])), expected);
            assert_eq!(departure(consumer.try_peek(1).map(drop)), expected);
        }
    }
}

#[test]
fn a_producer_learns_at_the_full_ring_that_nobody_receives() {
    let _watchdog = watchdog();
    for in_order in [true, false] {
        let (mut producer, consumer) = ring::<u8>(2).unwrap();
        if in_order {
            drop(consumer);
        } else {
            consumer.abandon();
        }
        let expected = if in_order { Departure::Closed } else { Departure::Abandoned };
        producer.push(1).unwrap();
        producer.push(2).unwrap();
        let rejected = producer.push(3).unwrap_err();
        assert_eq!((rejected.value, departure::<()>(Err(rejected.reason))), (3, expected));
        assert_eq!(departure(producer.try_push(4).map_err(|r| r.reason)), expected);
        assert_eq!(departure(producer.push_timeout(4, MOMENT).map_err(|r| r.reason)), expected);
        assert_eq!(departure(producer.push_slice(&[5])), expected);
        assert_eq!(departure(producer.reserve(1).map(drop)), expected);
    }
}

#[test]
fn an_end_dropped_by_a_panic_in_a_child_is_abandoned() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u8>(4).unwrap();
    let sender: Child<()> = child(move || {
        producer.push(1).unwrap();
        panic!("on purpose");
    });
    assert_eq!(consumer.pop(), Ok(1));
    assert_eq!(departure(consumer.pop()), Departure::Abandoned);
    assert!(
        matches!(sender.join(), Err(JoinError::Panicked { message, .. }) if message == "on purpose")
    );

    let (mut producer, consumer) = ring::<u8>(1).unwrap();
    let receiver: Child<()> = child(move || {
        let _consumer = consumer;
        panic!("on purpose");
    });
    producer.push(1).unwrap();
    assert_eq!(departure(producer.push(2).map_err(|r| r.reason)), Departure::Abandoned);
    assert!(receiver.join().is_err());
}

#[test]
fn an_end_in_a_process_that_exits_without_dropping_it_has_died() {
    let _watchdog = watchdog();
    for how in ["exit", "abort", "kill"] {
        let (mut producer, mut consumer) = ring::<u8>(4).unwrap();
        let sender: Child<()> = child(move || {
            producer.push(1).unwrap();
            match how {
                "exit" => std::process::exit(3),
                "abort" => std::process::abort(),
                _ => common::signal(std::process::id(), libc::SIGKILL),
            }
        });
        let pid = sender.id();
        assert_eq!(consumer.pop(), Ok(1));
        assert_eq!(departure(consumer.pop()), Departure::Died { pid: Some(pid) }, "{how}");
        assert_eq!(departure(consumer.try_pop()), Departure::Died { pid: Some(pid) }, "{how}");
        assert!(sender.join().is_err());
    }
}

#[test]
fn try_forms_tell_of_a_death_too() {
    let _watchdog = watchdog();
    let (mut producer, consumer) = ring::<u8>(1).unwrap();
    let (mut told, mut tells) = ring::<()>(1).unwrap();
    let receiver = child(move || {
        let _consumer = consumer;
        told.push(()).unwrap();
        told.push(()).unwrap();
        told.push(()).unwrap();
    });
    tells.pop().unwrap();
    let pid = receiver.id();
    producer.try_push(1).unwrap();
    assert_eq!(producer.try_push(2).unwrap_err().reason, ChannelError::Full);
    receiver.kill();
    let rejected = producer.try_push(2).unwrap_err();
    assert_eq!(departure::<()>(Err(rejected.reason)), Departure::Died { pid: Some(pid) });
}

#[test]
fn a_blocked_end_is_woken_when_the_other_leaves() {
    let _watchdog = watchdog();
    for strategy in STRATEGIES {
        for in_order in [true, false] {
            let expected = if in_order { Departure::Closed } else { Departure::Abandoned };

            let (producer, mut consumer) = ring::<u8>(1).unwrap();
            consumer.set_wait_strategy(strategy);
            let (thread, waiting) = blocked(strategy, move || departure(consumer.pop()));
            waiting();
            if in_order {
                drop(producer);
            } else {
                producer.abandon();
            }
            assert_eq!(thread.join().unwrap(), expected, "{strategy:?}");

            let (mut producer, consumer) = ring::<u8>(1).unwrap();
            producer.set_wait_strategy(strategy);
            producer.push(1).unwrap();
            let (thread, waiting) =
                blocked(strategy, move || departure(producer.push(2).map_err(|r| r.reason)));
            waiting();
            if in_order {
                drop(consumer);
            } else {
                consumer.abandon();
            }
            assert_eq!(thread.join().unwrap(), expected, "{strategy:?}");
        }
    }
}

/// Runs `f` in a thread; what is returned beside it waits until the thread sleeps, if it ever does.
fn blocked<R: Send + 'static>(
    strategy: WaitStrategy,
    f: impl FnOnce() -> R + Send + 'static,
) -> (std::thread::JoinHandle<R>, impl FnOnce()) {
    let (sender, receiver) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        sender.send(thread_id()).unwrap();
        f()
    });
    let id = receiver.recv().unwrap();
    let waiting = move || {
        if strategy != WaitStrategy::Spin {
            wait_until_asleep(id);
        }
    };
    (thread, waiting)
}

// ---- who has an end ----

#[test]
fn a_producer_waits_for_a_consumer_that_has_not_come() {
    let _watchdog = watchdog();
    let name = name("late-consumer");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let found = name.to_string();
    let sender = child(move || {
        let mut producer = Ring::<u64>::open(&found).unwrap().producer().unwrap();
        for i in 0..4 {
            producer.push(i).unwrap();
        }
        for i in 4..100 {
            producer.push(i).unwrap();
        }
    });
    while !ring.len().eq(&4) {
        std::thread::yield_now();
    }
    wait_until_asleep(sender.id());
    let mut consumer = ring.consumer().unwrap();
    assert!(consumer.iter().eq(0..100));
    sender.finish();
}

#[test]
fn a_consumer_waits_for_a_producer_that_has_not_come() {
    let _watchdog = watchdog();
    let name = name("late-producer");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    let found = name.to_string();
    let (mut ready, mut is_ready) = commons::spsc::ring::<()>(1).unwrap();
    let receiver = child(move || {
        let mut consumer = Ring::<u64>::open(&found).unwrap().consumer().unwrap();
        ready.push(()).unwrap();
        consumer.iter().sum::<u64>()
    });
    is_ready.pop().unwrap();
    wait_until_asleep(receiver.id());
    let mut producer = ring.producer().unwrap();
    producer.push_all(&[1, 2, 3, 4, 5, 6]).unwrap();
    drop(producer);
    assert_eq!(receiver.finish(), 21);
}

#[test]
fn an_end_that_is_taken_names_its_process() {
    let _watchdog = watchdog();
    let name = name("taken");
    let ring = Ring::<u8>::create(&name, 4).unwrap();
    let taken = |error: Error| match error {
        Error::RoleTaken { name, role, pid } => (name, role, pid),
        other => panic!("{other}"),
    };
    let own = std::process::id();
    let producer = ring.producer().unwrap();
    assert_eq!(taken(ring.producer().unwrap_err()), (name.to_string(), "producer", own));
    let other_handle = Ring::<u8>::open(&name).unwrap();
    assert_eq!(taken(other_handle.producer().unwrap_err()), (name.to_string(), "producer", own));
    let consumer = ring.consumer().unwrap();
    let found = name.to_string();
    let (mut held, mut is_held) = commons::spsc::ring::<()>(1).unwrap();
    let holder = child(move || {
        let _consumer = consumer;
        let refused = Ring::<u8>::open(&found).unwrap().producer().unwrap_err();
        held.push(()).unwrap();
        let _ = held.push(()).and_then(|()| held.push(()));
        refused.to_string()
    });
    is_held.pop().unwrap();
    assert_eq!(taken(ring.consumer().unwrap_err()), (name.to_string(), "consumer", holder.id()));
    drop(is_held);
    let refused = holder.finish();
    assert!(refused.contains(&format!("process {own}")), "{refused}");
    ring.consumer().unwrap();
    drop(producer);
}

#[test]
fn each_end_can_ask_how_the_other_is_with_space_and_items_left() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(1 << 16).unwrap();
    let ring = Ring::<u64>::new_in(&segment, "asked", 8).unwrap();
    let me = Peer::Here { pid: Some(std::process::id()) };

    let mut producer = ring.producer().unwrap();
    assert_eq!(producer.peer(), Ok(Peer::Nobody));
    producer.push_all(&[1, 2]).unwrap();
    let consumer = ring.consumer().unwrap();
    assert_eq!((producer.peer(), consumer.peer()), (Ok(me), Ok(me)));
    drop(consumer);
    assert_eq!(producer.peer(), Ok(Peer::Gone(Departure::Closed)));
    ring.consumer().unwrap().abandon();
    assert_eq!(producer.peer(), Ok(Peer::Gone(Departure::Abandoned)));
    let consumer = ring.consumer().unwrap();
    assert_eq!(producer.peer(), Ok(me));
    producer.abandon();
    assert_eq!((consumer.peer(), consumer.len()), (Ok(Peer::Gone(Departure::Abandoned)), 2));
    drop(ring.producer().unwrap());
    assert_eq!(consumer.peer(), Ok(Peer::Gone(Departure::Closed)));

    // An end that was handed over is the child's at once.
    let mut producer = ring.producer().unwrap();
    let child: Child<()> = common::child(move || {
        producer.push(3).unwrap();
        pause_for_ever()
    });
    let pid = Some(child.id());
    while consumer.len() < 3 {
        std::thread::yield_now();
    }
    assert_eq!(consumer.peer(), Ok(Peer::Here { pid }));
    child.stop();
    assert_eq!(consumer.peer(), Ok(Peer::Here { pid }));
    child.kill();
    assert_eq!(consumer.peer(), Ok(Peer::Gone(Departure::Died { pid })));
    assert_eq!(consumer.len(), 3);

    let (producer, consumer) = commons::spsc::ring::<u64>(8).unwrap();
    let child: Child<()> = common::child(move || {
        let _consumer = consumer;
        pause_for_ever()
    });
    let pid = Some(child.id());
    // Until it says its id, a child may be handed an end already.
    while producer.peer() == Ok(Peer::Here { pid: None }) {
        std::thread::yield_now();
    }
    assert_eq!(producer.peer(), Ok(Peer::Here { pid }));
    child.kill();
    assert_eq!(producer.peer(), Ok(Peer::Gone(Departure::Died { pid })));
}

#[test]
fn a_successor_goes_on_where_the_last_holder_left() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(1 << 16).unwrap();
    let ring = Ring::<u64>::new_in(&segment, "handed on", 5).unwrap();
    let mut consumer = ring.consumer().unwrap();
    for round in 0..20 {
        let mut producer = ring.producer().unwrap();
        producer.push_all(&[2 * round, 2 * round + 1]).unwrap();
        if round % 2 == 0 {
            drop(producer);
        } else {
            producer.abandon();
        }
        assert_eq!(consumer.pop(), Ok(2 * round));
        if round % 3 == 0 {
            drop(consumer);
            consumer = ring.consumer().unwrap();
        }
        assert_eq!(consumer.pop(), Ok(2 * round + 1));
        assert!(matches!(consumer.try_pop(), Err(ChannelError::Disconnected(_))));
    }
}

#[test]
fn a_successor_is_told_how_the_last_holder_went() {
    fn check<E: Send + 'static>(
        take: impl Fn(&Ring<u64>) -> E + Copy + Send + 'static,
        predecessor: fn(&E) -> Option<Departure>,
        abandon: fn(E),
    ) {
        let name = name("told");
        let ring = Ring::<u64>::create(&name, 8).unwrap();
        let first = take(&ring);
        assert_eq!(predecessor(&first), None);
        drop(first);
        let second = take(&ring);
        assert_eq!(predecessor(&second), Some(Departure::Closed));
        abandon(second);
        let found = name.to_string();
        let third: Child<()> = child(move || {
            let third = take(&Ring::open(&found).unwrap());
            // Handed on, it says the same.
            common::in_child(move || {
                predecessor(&third).map(|d| assert_eq!(d, Departure::Abandoned))
            })
            .expect("there was one");
            let third = take(&Ring::open(&found).unwrap());
            assert_eq!(predecessor(&third), Some(Departure::Closed));
            std::process::abort();
        });
        let pid = Some(third.id());
        assert!(matches!(third.join(), Err(JoinError::Signaled { .. })));
        let fourth = take(&ring);
        assert_eq!(predecessor(&fourth), Some(Departure::Died { pid }));
        drop(fourth);
        assert_eq!(predecessor(&take(&ring)), Some(Departure::Closed));
    }
    let _watchdog = watchdog();
    check(|ring| ring.producer().unwrap(), Producer::predecessor, Producer::abandon);
    check(|ring| ring.consumer().unwrap(), Consumer::predecessor, Consumer::abandon);
    let (producer, consumer) = commons::spsc::ring::<u64>(4).unwrap();
    assert_eq!((producer.predecessor(), consumer.predecessor()), (None, None));
}

/// The first item of the successor `pid`: until it takes the role, its predecessor is there, dead.
fn first_after_a_death<T: Element>(
    consumer: &mut Consumer<T>,
    pid: u32,
) -> Result<T, ChannelError> {
    loop {
        match consumer.pop() {
            Err(ChannelError::Disconnected(Departure::Died { pid: Some(dead) })) if dead != pid => {
                std::thread::yield_now();
            }
            other => return other,
        }
    }
}

#[test]
fn a_successor_goes_on_where_a_dead_producer_stopped() {
    let _watchdog = watchdog();
    let name = name("heirs");
    let ring = Ring::<[u64; 2]>::create(&name, 8).unwrap();
    let mut consumer = ring.consumer().unwrap();
    for life in 0..20u64 {
        let found = name.to_string();
        let sender: Child<()> = child(move || {
            let mut producer = Ring::<[u64; 2]>::open(&found).unwrap().producer().unwrap();
            for i in 0..5 {
                producer.push([life, i]).unwrap();
            }
            // Never seen: not committed.
            producer.reserve(1).unwrap().copy_from_slice(&[[99, 99]]);
            std::process::abort();
        });
        let pid = sender.id();
        assert_eq!(first_after_a_death(&mut consumer, pid), Ok([life, 0]));
        for i in 1..5 {
            assert_eq!(consumer.pop(), Ok([life, i]));
        }
        assert_eq!(departure(consumer.pop()), Departure::Died { pid: Some(pid) });
        assert!(sender.join().is_err());
    }
}

#[test]
fn what_a_dead_consumer_had_not_released_comes_again() {
    let _watchdog = watchdog();
    let name = name("again");
    let ring = Ring::<u64>::create(&name, 8).unwrap();
    let mut producer = ring.producer().unwrap();
    producer.push_all(&[0, 1, 2, 3, 4, 5]).unwrap();
    let found = name.to_string();
    let receiver: Child<()> = child(move || {
        let mut consumer = Ring::<u64>::open(&found).unwrap().consumer().unwrap();
        assert_eq!(consumer.pop(), Ok(0));
        consumer.peek(2).unwrap().release(1);
        let loan = consumer.peek(3).unwrap();
        assert_eq!(*loan, [2, 3, 4]);
        std::process::abort();
    });
    let error = receiver.join();
    assert!(matches!(error, Err(JoinError::Signaled { .. })), "{error:?}");
    let mut consumer = ring.consumer().unwrap();
    drop(producer);
    assert_eq!(consumer.iter().collect::<Vec<_>>(), [2, 3, 4, 5]);
}

#[test]
fn killed_producers_leave_beginnings_in_order() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("killed_producers_leave_beginnings_in_order");
    let name = name("beginnings");
    let ring = Ring::<[u64; 2]>::create(&name, 16).unwrap();
    let mut consumer = ring.consumer().unwrap();
    for life in 0..60u64 {
        let found = name.to_string();
        let sender: Child<()> = child(move || {
            let mut producer = Ring::<[u64; 2]>::open(&found).unwrap().producer().unwrap();
            for i in 0.. {
                producer.push([life, i]).unwrap();
            }
        });
        let enough = 1 + random.below(500);
        let mut sender = Some(sender);
        let mut next = 0;
        let mut popped = first_after_a_death(&mut consumer, sender.as_ref().unwrap().id());
        let last = loop {
            match popped {
                Ok(item) => assert_eq!(item, [life, next], "lost, repeated or out of order"),
                Err(error) => break error,
            }
            next += 1;
            popped = consumer.pop();
            if next == enough {
                common::signal(sender.as_ref().unwrap().id(), libc::SIGKILL);
            }
        };
        let pid = sender.as_ref().unwrap().id();
        assert_eq!(departure::<()>(Err(last)), Departure::Died { pid: Some(pid) });
        sender.take();
    }
}

// ---- forks ----

static LEFT_BEHIND: Mutex<Option<(Producer<u64>, Consumer<u64>)>> = Mutex::new(None);

#[test]
fn a_copy_that_a_fork_made_of_an_end_is_of_no_use() {
    let _watchdog = watchdog();
    fn refused(ends: &mut (Producer<u64>, Consumer<u64>)) -> bool {
        let (producer, consumer) = ends;
        producer.push(1).unwrap_err().reason == ChannelError::Forked
            && producer.try_push(1).unwrap_err().reason == ChannelError::Forked
            && producer.push_slice(&[1]) == Err(ChannelError::Forked)
            && producer.push_all(&[1]).unwrap_err().reason == ChannelError::Forked
            && producer.reserve(1).err() == Some(ChannelError::Forked)
            && consumer.pop() == Err(ChannelError::Forked)
            && consumer.try_pop() == Err(ChannelError::Forked)
            && consumer.pop_timeout(MOMENT) == Err(ChannelError::Forked)
            && consumer.pop_slice(&mut [0]) == Err(ChannelError::Forked)
            && consumer.peek(1).err() == Some(ChannelError::Forked)
    }
    *LEFT_BEHIND.lock().unwrap() = Some(ring(4).unwrap());

    // A child of this crate, and one of somebody else's fork; both drop their copy, too.
    in_child(|| {
        let mut ends = LEFT_BEHIND.lock().unwrap().take();
        assert!(refused(ends.as_mut().unwrap()));
    });
    let other = raw_fork(|| {
        let mut ends = LEFT_BEHIND.lock().unwrap().take();
        i32::from(!refused(ends.as_mut().unwrap()))
    });
    assert_eq!(other.wait(), 0);

    let (mut producer, mut consumer) = LEFT_BEHIND.lock().unwrap().take().unwrap();
    assert!(producer.is_empty(), "a copy did something");
    producer.push(7).unwrap();
    assert_eq!(consumer.pop(), Ok(7));
    assert_eq!(consumer.try_pop(), Err(ChannelError::Empty), "a copy closed the ring");
}

#[test]
fn a_copy_in_use_at_the_fork_is_of_no_use_either() {
    let _watchdog = watchdog();
    // The end is used before and after in the parent, by reference in the child's copy of memory.
    let (mut producer, mut consumer) = ring::<u64>(4).unwrap();
    producer.push(1).unwrap();
    let child =
        raw_fork(|| i32::from(producer.push(2).unwrap_err().reason != ChannelError::Forked));
    assert_eq!(child.wait(), 0);
    producer.push(3).unwrap();
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(1), Ok(3)));
}

#[test]
fn a_handle_to_the_ring_itself_serves_in_every_child() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(1 << 16).unwrap();
    let ring = Ring::<u64>::new_in(&segment, "shared", 8).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let copy = ring.clone();
    let given = child(move || copy.producer().unwrap().push_all(&[1, 2]).unwrap());
    assert_eq!(consumer.iter().collect::<Vec<_>>(), [1, 2]);
    given.finish();
    // A fork of somebody else's copies the handle, and the segment's.
    let other = raw_fork(|| {
        ring.producer().unwrap().push(3).unwrap();
        Ring::<u64>::open_in(&segment, "shared").unwrap().producer().unwrap().push(4).unwrap();
        0
    });
    assert_eq!(other.wait(), 0);
    assert_eq!(consumer.iter().collect::<Vec<_>>(), [3, 4]);
}

#[test]
fn ends_that_a_child_is_given_and_does_not_use_close_with_it() {
    let _watchdog = watchdog();
    let (producer, mut consumer) = ring::<u8>(4).unwrap();
    let idle = child(move || {
        let _unused = &producer;
    });
    assert_eq!(departure(consumer.pop()), Departure::Closed);
    idle.finish();

    let (mut producer, consumer) = ring::<u8>(1).unwrap();
    let idle = child(move || drop(consumer));
    producer.push(1).unwrap();
    assert_eq!(departure(producer.push(2).map_err(|r| r.reason)), Departure::Closed);
    idle.finish();
}

#[test]
fn an_end_goes_from_parent_to_child_to_grandchild() {
    let _watchdog = watchdog();
    for generations in 1..=4u64 {
        fn pass_on(mut producer: Producer<u64>, left: u64) -> u64 {
            producer.push(left).unwrap();
            if left == 0 {
                return 1;
            }
            1 + child(move || pass_on(producer, left - 1)).finish()
        }
        let (producer, mut consumer) = ring::<u64>(2).unwrap();
        let first = child(move || pass_on(producer, generations));
        assert!(consumer.iter().eq((0..=generations).rev()));
        assert_eq!(first.finish(), generations + 1);
    }
}

#[test]
fn an_end_that_nobody_used_on_the_way_arrives_all_the_same() {
    let _watchdog = watchdog();
    fn pass_on(mut producer: Producer<u64>, left: u64) {
        match left {
            0 => producer.push(7).unwrap(),
            _ => child(move || pass_on(producer, left - 1)).finish(),
        }
    }
    let name = name("unused");
    let ring = Ring::<u64>::create(&name, 2).unwrap();
    for generations in 0..4 {
        let (producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        child(move || pass_on(producer, generations)).finish();
        assert_eq!(consumer.pop(), Ok(7));
        assert_eq!(departure(consumer.pop()), Departure::Closed);
    }
}

#[test]
fn both_ends_go_to_two_children_and_the_parent_is_out_of_it() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u64>(16).unwrap();
    let receiver = child(move || consumer.iter().sum::<u64>());
    let sender = child(move || (0..10_000).for_each(|i| producer.push(i).unwrap()));
    assert_eq!(receiver.finish(), 49_995_000);
    sender.finish();
}

#[test]
fn both_ends_go_to_one_child() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u64>(16).unwrap();
    producer.push(1).unwrap();
    let sum = in_child(move || {
        producer.push(2).unwrap();
        consumer.pop().unwrap() + consumer.pop().unwrap()
    });
    assert_eq!(sum, 3);
}

#[test]
fn an_end_in_a_child_survives_the_parent_that_started_it() {
    let _watchdog = watchdog();
    for how in ["exit", "kill"] {
        let (producer, mut consumer) = ring::<u64>(4).unwrap();
        let parent: Child<()> = child(move || {
            let mut producer = producer;
            // Not tied to its parent, which ends as soon as it has started this.
            let _grandchild = Process::spawn(move || {
                die_after(300);
                for i in 0..1_000 {
                    if producer.push(i).is_err() {
                        break;
                    }
                }
            })
            .unwrap();
            if how == "kill" {
                common::signal(std::process::id(), libc::SIGKILL);
            }
            std::process::exit(0);
        });
        assert!(consumer.iter().eq(0..1_000), "{how}");
        assert_eq!(departure(consumer.pop()), Departure::Closed);
        assert!(parent.join().is_err());
    }
}

#[test]
fn an_end_moves_to_a_thread() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = ring::<u64>(4).unwrap();
    let sender = std::thread::spawn(move || {
        producer.push_all(&(0..1_000).collect::<Vec<_>>()).unwrap();
    });
    assert!(consumer.iter().eq(0..1_000));
    sender.join().unwrap();

    let (mut producer, mut consumer) = ring::<u64>(4).unwrap();
    let sender = child(move || {
        let thread = std::thread::spawn(move || (0..1_000).for_each(|i| producer.push(i).unwrap()));
        thread.join().unwrap();
    });
    assert!(consumer.iter().eq(0..1_000));
    sender.finish();
}

// ---- against a model ----

#[derive(Clone, Debug)]
enum Operation {
    Push(u32),
    Pop,
    PushSlice(Vec<u32>),
    PopSlice(usize),
    PushTimeout(u32),
    PopTimeout,
    Reserve { wanted: usize, committed: usize },
    Peek { wanted: usize, released: usize },
    DropGrant(usize),
    DropLoan(usize),
    AnotherProducer { in_order: bool },
    AnotherConsumer { in_order: bool },
    PushWithoutConsumer(u32),
    PopWithoutProducer,
}

fn operations() -> impl Strategy<Value = Vec<Operation>> {
    use Operation::*;
    let operation = prop_oneof![
        4 => any::<u32>().prop_map(Push),
        4 => Just(Pop),
        2 => prop::collection::vec(any::<u32>(), 0..12).prop_map(PushSlice),
        2 => (0..12usize).prop_map(PopSlice),
        1 => any::<u32>().prop_map(PushTimeout),
        1 => Just(PopTimeout),
        2 => (1..12usize, 0..12usize).prop_map(|(wanted, committed)| Reserve { wanted, committed }),
        2 => (1..12usize, 0..12usize).prop_map(|(wanted, released)| Peek { wanted, released }),
        1 => (1..12usize).prop_map(DropGrant),
        1 => (1..12usize).prop_map(DropLoan),
        1 => any::<bool>().prop_map(|in_order| AnotherProducer { in_order }),
        1 => any::<bool>().prop_map(|in_order| AnotherConsumer { in_order }),
        1 => any::<u32>().prop_map(PushWithoutConsumer),
        1 => Just(PopWithoutProducer),
    ];
    prop::collection::vec(operation, 0..80)
}

/// The ring, and what it should be.
struct Model {
    ring: Ring<u32>,
    items: VecDeque<u32>,
    capacity: usize,
    /// Positions modulo the capacity.
    head: usize,
    tail: usize,
}

impl Model {
    fn sent(&mut self, values: &[u32]) {
        self.items.extend(values);
        self.tail = (self.tail + values.len()) % self.capacity;
    }

    fn received(&mut self, count: usize) -> Vec<u32> {
        self.head = (self.head + count) % self.capacity;
        self.items.drain(..count).collect()
    }

    fn free(&self) -> usize {
        self.capacity - self.items.len()
    }

    fn run(mut self, operations: Vec<Operation>) -> Result<(), TestCaseError> {
        use Operation::*;
        let mut producer = self.ring.producer().unwrap();
        let mut consumer = self.ring.consumer().unwrap();
        for operation in operations {
            let shown = format!("{operation:?}");
            match operation {
                Push(value) => match producer.try_push(value) {
                    Ok(()) => {
                        prop_assert!(self.free() > 0, "{}", shown);
                        self.sent(&[value]);
                    }
                    Err(rejected) => {
                        prop_assert_eq!(self.free(), 0);
                        prop_assert_eq!(rejected.value, value);
                        prop_assert_eq!(rejected.reason, ChannelError::Full);
                    }
                },
                Pop if self.items.is_empty() => {
                    prop_assert_eq!(consumer.try_pop(), Err(ChannelError::Empty));
                }
                Pop => prop_assert_eq!(vec![consumer.try_pop().unwrap()], self.received(1)),
                PushSlice(values) => {
                    let expected = match values.len().min(self.free()) {
                        0 if !values.is_empty() => Err(ChannelError::Full),
                        count => Ok(count),
                    };
                    let pushed = producer.try_push_slice(&values);
                    prop_assert_eq!(&pushed, &expected);
                    self.sent(&values[..pushed.unwrap_or(0)]);
                }
                PopSlice(wanted) => {
                    let mut buffer = vec![0; wanted];
                    let expected = match wanted.min(self.items.len()) {
                        0 if wanted > 0 => Err(ChannelError::Empty),
                        count => Ok(count),
                    };
                    let popped = consumer.try_pop_slice(&mut buffer);
                    prop_assert_eq!(&popped, &expected);
                    buffer.truncate(popped.unwrap_or(0));
                    prop_assert_eq!(self.received(buffer.len()), buffer);
                }
                PushTimeout(value) => match producer.push_timeout(value, Duration::ZERO) {
                    Ok(()) => {
                        prop_assert!(self.free() > 0, "{}", shown);
                        self.sent(&[value]);
                    }
                    Err(rejected) => {
                        prop_assert_eq!(self.free(), 0);
                        prop_assert_eq!(rejected.reason, ChannelError::TimedOut);
                    }
                },
                PopTimeout => match consumer.pop_timeout(Duration::ZERO) {
                    Ok(value) => {
                        prop_assert!(!self.items.is_empty());
                        prop_assert_eq!(vec![value], self.received(1));
                    }
                    Err(error) => {
                        prop_assert!(self.items.is_empty());
                        prop_assert_eq!(error, ChannelError::TimedOut);
                    }
                },
                Reserve { wanted, committed } => match producer.try_reserve(wanted) {
                    Ok(mut grant) => {
                        let expected = wanted.min(self.free()).min(self.capacity - self.tail);
                        prop_assert_eq!(grant.len(), expected);
                        let committed = committed.min(expected);
                        let values: Vec<u32> = (0..expected as u32).map(|i| i + 1000).collect();
                        grant.copy_from_slice(&values);
                        grant.commit(committed);
                        self.sent(&values[..committed]);
                    }
                    Err(error) => {
                        prop_assert_eq!(self.free(), 0);
                        prop_assert_eq!(error, ChannelError::Full);
                    }
                },
                Peek { wanted, released } => match consumer.try_peek(wanted) {
                    Ok(loan) => {
                        let expected = wanted.min(self.items.len()).min(self.capacity - self.head);
                        let values: Vec<u32> = self.items.iter().take(expected).copied().collect();
                        prop_assert_eq!(&*loan, &*values);
                        let released = released.min(expected);
                        loan.release(released);
                        self.received(released);
                    }
                    Err(error) => {
                        prop_assert!(self.items.is_empty());
                        prop_assert_eq!(error, ChannelError::Empty);
                    }
                },
                DropGrant(wanted) => drop(producer.try_reserve(wanted)),
                DropLoan(wanted) => drop(consumer.try_peek(wanted)),
                AnotherProducer { in_order } => {
                    if in_order {
                        drop(producer)
                    } else {
                        producer.abandon()
                    }
                    producer = self.ring.producer().unwrap();
                }
                AnotherConsumer { in_order } => {
                    if in_order {
                        drop(consumer)
                    } else {
                        consumer.abandon()
                    }
                    consumer = self.ring.consumer().unwrap();
                }
                PushWithoutConsumer(value) => {
                    drop(consumer);
                    match producer.push(value) {
                        Ok(()) => self.sent(&[value]),
                        Err(rejected) => {
                            prop_assert_eq!(self.free(), 0);
                            let closed = ChannelError::Disconnected(Departure::Closed);
                            prop_assert_eq!(rejected.reason, closed);
                        }
                    }
                    consumer = self.ring.consumer().unwrap();
                }
                PopWithoutProducer => {
                    drop(producer);
                    match consumer.pop() {
                        Ok(value) => prop_assert_eq!(vec![value], self.received(1)),
                        Err(error) => {
                            prop_assert!(self.items.is_empty());
                            let closed = ChannelError::Disconnected(Departure::Closed);
                            prop_assert_eq!(error, closed);
                        }
                    }
                    producer = self.ring.producer().unwrap();
                }
            }
            prop_assert_eq!(producer.len(), self.items.len(), "after {}", shown);
            prop_assert_eq!(consumer.len(), self.items.len(), "after {}", shown);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_sequence_of_operations_does_what_a_queue_would(
        capacity in 1..10usize,
        operations in operations(),
    ) {
        let _watchdog = watchdog();
        let segment = Segment::anonymous(4096).unwrap();
        let ring = Ring::<u32>::new_in(&segment, "model", capacity).unwrap();
        let items = VecDeque::new();
        Model { ring, items, capacity, head: 0, tail: 0 }.run(operations)?;
    }
}

// ---- stress ----

/// Sends the numbers up to `count` by operations that chance chooses.
fn send(mut producer: Producer<u64>, count: u64, mut random: Random) {
    let mut next = 0;
    while next < count {
        let some = (1 + random.below(20)).min(count - next);
        let batch: Vec<u64> = (next..next + some).collect();
        match random.below(7) {
            0 => producer.push_all(&batch).unwrap(),
            1 => {
                next += producer.push_slice(&batch).unwrap() as u64;
                continue;
            }
            2 => {
                let mut grant = producer.reserve(batch.len()).unwrap();
                let length = grant.len();
                grant.copy_from_slice(&batch[..length]);
                let committed = random.below(length as u64 + 1);
                grant.commit(committed as usize);
                next += committed;
                continue;
            }
            3 => {
                if producer.try_push(next).is_ok() {
                    next += 1;
                }
                continue;
            }
            4 => {
                let timeout = Duration::from_nanos(random.below(50_000));
                if producer.push_timeout(next, timeout).is_ok() {
                    next += 1;
                }
                continue;
            }
            5 => {
                let strategy = STRATEGIES[random.below(3) as usize];
                producer.set_wait_strategy(strategy);
                continue;
            }
            _ => batch.iter().for_each(|&i| producer.push(i).unwrap()),
        }
        next += some;
    }
}

/// Receives until the producer closes, by operations that chance chooses, and gives the count.
fn receive(mut consumer: Consumer<u64>, mut random: Random) -> u64 {
    let mut next = 0;
    loop {
        let some = 1 + random.below(20) as usize;
        let took = match random.below(6) {
            0 => consumer.pop().map(|value| {
                assert_eq!(value, next);
                1
            }),
            1 => {
                let mut buffer = [0; 20];
                consumer.pop_slice(&mut buffer[..some]).inspect(|&count| {
                    assert!(buffer[..count].iter().copied().eq(next..next + count as u64));
                })
            }
            2 => consumer.peek(some).map(|loan| {
                assert!(loan.iter().copied().eq(next..next + loan.len() as u64));
                let released = random.below(loan.len() as u64 + 1) as usize;
                loan.release(released);
                released
            }),
            3 => consumer.try_pop().map(|value| {
                assert_eq!(value, next);
                1
            }),
            4 => consumer.pop_timeout(Duration::from_nanos(random.below(50_000))).map(|value| {
                assert_eq!(value, next);
                1
            }),
            _ => {
                consumer.set_wait_strategy(STRATEGIES[random.below(3) as usize]);
                Ok(0)
            }
        };
        match took {
            Ok(took) => next += took as u64,
            Err(ChannelError::Empty | ChannelError::TimedOut) => {}
            Err(ChannelError::Disconnected(Departure::Closed)) => return next,
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn any_mixture_of_operations_in_two_processes_keeps_the_order() {
    let _watchdog = watchdog_of(300);
    let mut random = Random::seeded("any_mixture_of_operations_in_two_processes_keeps_the_order");
    for round in 0..20 {
        let capacity = 1 + random.below(40) as usize;
        let count = 2_000 + random.below(3_000);
        let (producer, consumer) = ring::<u64>(capacity).unwrap();
        let (mine, mut theirs) = (random.clone(), random.clone());
        theirs.number();
        random.number();
        if round % 2 == 0 {
            let sender = child(move || send(producer, count, theirs));
            assert_eq!(receive(consumer, mine), count);
            sender.finish();
        } else {
            let receiver = child(move || receive(consumer, theirs));
            send(producer, count, mine);
            assert_eq!(receiver.finish(), count);
        }
    }
}

#[test]
fn many_pairs_at_once_do_not_disturb_each_other() {
    let _watchdog = watchdog();
    let gate = Gate::new();
    let pairs: Vec<_> = (0..10u64)
        .map(|pair| {
            let (mut producer, mut consumer) = ring::<u64>(3).unwrap();
            let mut entrance = gate.entrance();
            let sender = child(move || {
                entrance.pass();
                (0..500).for_each(|i| producer.push(pair << 32 | i).unwrap());
            });
            let receiver = child(move || consumer.iter().eq((0..500).map(|i| pair << 32 | i)));
            (sender, receiver)
        })
        .collect();
    gate.open_for(pairs.len());
    for (sender, receiver) in pairs {
        assert!(receiver.finish());
        sender.finish();
    }
}
