//! Queues of fixed-size values. (05, no bound, and 14 to 22, objects that are serialised and handed
//! over by a thread, are not theirs: a send has copied its message into shared memory when it
//! returns, so nothing is left to flush, to abandon or to fail later.)

use crate::common::{child, falls_asleep, in_child, pause_for_ever, watchdog};
use commons::queue::{Builder, Queue, bounded};
use commons::{AtomicU64, ChannelError, Departure};
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn queue_01_each_item_is_received_exactly_once() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(7).unwrap();
    let receivers: Vec<_> = (0..2)
        .map(|_| {
            let receiver = receiver.clone();
            child(move || {
                // Threads within a process, too.
                let (mut mine, mut other) = (Vec::new(), Vec::new());
                std::thread::scope(|scope| {
                    let thread = scope.spawn(|| receiver.iter().collect::<Vec<u64>>());
                    mine.extend(receiver.iter());
                    other = thread.join().unwrap();
                });
                mine.extend(other);
                mine
            })
        })
        .collect();
    let senders: Vec<_> = (0..3u64)
        .map(|i| {
            let sender = sender.clone();
            child(move || (0..500).for_each(|n| sender.send(500 * i + n).unwrap()))
        })
        .collect();
    drop((sender, receiver));
    senders.into_iter().for_each(|sender| sender.finish());
    let mut all: Vec<u64> = receivers.into_iter().flat_map(|r| r.finish()).collect();
    all.sort_unstable();
    assert!(all.into_iter().eq(0..1500));
}

#[test]
fn queue_02_items_of_one_producer_keep_their_order() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u64>(3).unwrap();
    let senders: Vec<_> = (0..2u64)
        .map(|i| {
            let sender = sender.clone();
            child(move || (0..1000).for_each(|n| sender.send(i << 32 | n).unwrap()))
        })
        .collect();
    drop(sender);
    let all: Vec<u64> = receiver.iter().collect();
    for i in 0..2 {
        assert!(all.iter().filter(|&&word| word >> 32 == i).map(|word| word & 0xffff).eq(0..1000));
    }
    senders.into_iter().for_each(|sender| sender.finish());
}

#[test]
fn queue_03_the_bound_is_exact_and_full_is_told() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(3).unwrap();
    (0..3).for_each(|i| queue.try_send(i).unwrap());
    assert!(queue.is_full() && !queue.is_empty());
    assert_eq!(queue.try_send(9).unwrap_err().reason, ChannelError::Full);
    let start = Instant::now();
    let rejected = queue.send_timeout(9, SHORT).unwrap_err();
    assert_eq!((rejected.value, rejected.reason), (9, ChannelError::TimedOut));
    assert!(start.elapsed() >= SHORT);
}

#[test]
fn queue_04_a_blocked_put_resumes_when_an_item_is_taken() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(1).unwrap();
    queue.send(1).unwrap();
    let theirs = queue.clone();
    let mut blocked = child(move || theirs.send(2).unwrap());
    assert!(falls_asleep(&mut blocked));
    assert_eq!(queue.recv(), Ok(1));
    blocked.finish();
    assert_eq!(queue.recv(), Ok(2));
    assert!(queue.is_empty() && !queue.is_full());
}

#[test]
fn queue_06_and_08_get_on_an_empty_queue() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(1).unwrap();
    assert_eq!(queue.try_recv(), Err(ChannelError::Empty));
    let start = Instant::now();
    assert_eq!(queue.recv_timeout(SHORT), Err(ChannelError::TimedOut));
    assert_eq!(queue.recv_deadline(start + 2 * SHORT), Err(ChannelError::TimedOut));
    assert!(start.elapsed() >= 2 * SHORT);
    let theirs = queue.clone();
    let mut blocked = child(move || theirs.recv().unwrap());
    assert!(falls_asleep(&mut blocked));
    queue.send(4).unwrap();
    assert_eq!(blocked.finish(), 4);
}

#[test]
fn queue_07_a_timeout_of_nothing_and_one_that_is_over_do_not_wait() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(1).unwrap();
    assert_eq!(queue.recv_timeout(Duration::ZERO), Err(ChannelError::TimedOut));
    let past = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
    assert_eq!(queue.recv_deadline(past), Err(ChannelError::TimedOut));
    queue.send_deadline(1, past).unwrap();
    assert_eq!(queue.send_deadline(2, past).unwrap_err().reason, ChannelError::TimedOut);
    assert_eq!(queue.recv_timeout(Duration::ZERO), Ok(1));
}

#[test]
fn queue_09_10_and_sq_02_size_empty_and_full_agree_from_the_moment_put_returns() {
    let _watchdog = watchdog();
    let queue = Queue::<u64>::new(4).unwrap();
    for round in 0..10 {
        for i in 0..4 {
            assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (i, i == 0, false));
            let theirs = queue.clone();
            in_child(move || theirs.send(round).unwrap());
            assert!(!queue.is_empty());
        }
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (4, false, true));
        (0..4).for_each(|_| assert_eq!(queue.try_recv(), Ok(round)));
    }
}

#[test]
fn queue_12_13_sq_03_and_04_closing_is_for_one_handle_and_can_be_repeated() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(2).unwrap();
    let theirs = queue.clone();
    queue.close();
    queue.close();
    assert_eq!(queue.send(1).unwrap_err().reason, ChannelError::Closed);
    assert_eq!(queue.recv(), Err(ChannelError::Closed));
    assert_eq!(queue.try_recv(), Err(ChannelError::Closed));
    in_child(move || {
        theirs.send(1).unwrap();
        assert_eq!(theirs.recv(), Ok(1));
    });
    Queue::<u8>::new(1).unwrap().close();
}

#[test]
fn queue_15_and_16_data_that_was_put_outlives_its_producer_whether_or_not_somebody_reads() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<[u8; 4096]>(300).unwrap();
    in_child(move || (0..300).for_each(|i| sender.send([i as u8; 4096]).unwrap()));
    assert!(receiver.iter().map(|page| page[4095]).eq((0..300).map(|i| i as u8)));
}

#[test]
fn queue_22_a_slow_consumer_blocks_no_other() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(2).unwrap();
    (0..2).for_each(|i| sender.send(i).unwrap());
    let slow = receiver.loan().unwrap();
    let theirs = receiver.clone();
    assert_eq!(in_child(move || theirs.recv().unwrap()), 1);
    assert_eq!(*slow, 0);
}

#[test]
fn queue_23_a_consumer_killed_while_it_waits_harms_nobody() {
    let _watchdog = watchdog();
    let queue = Queue::<u8>::new(2).unwrap();
    for i in 0..3 {
        let theirs = queue.clone();
        let mut victim = child(move || drop(theirs.recv()));
        assert!(falls_asleep(&mut victim));
        victim.kill();
        queue.send(i).unwrap();
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.recv(), Ok(i));
    }
}

#[test]
fn queue_24_a_producer_killed_in_the_middle_leaves_no_partial_item() {
    let _watchdog = watchdog();
    let queue = Queue::<[u64; 64]>::new(2).unwrap();
    let ready = AtomicU64::new(0).unwrap();
    let (theirs, said) = (queue.clone(), ready.clone());
    let victim = child::<(), _>(move || {
        let mut slot = theirs.reserve().unwrap();
        slot[0] = 7;
        said.store(1, SeqCst);
        pause_for_ever()
    });
    while ready.load(SeqCst) == 0 {
        std::thread::yield_now();
    }
    victim.kill();
    assert_eq!(queue.recv_timeout(SHORT), Err(ChannelError::TimedOut));
    queue.send([8; 64]).unwrap();
    assert_eq!(queue.recv(), Ok([8; 64]));
}

#[test]
fn queue_25_a_blocked_get_ends_when_all_others_are_gone() {
    let _watchdog = watchdog();
    let queue: Queue<u8> = Builder::new(2).ends_alone().build().unwrap();
    let theirs = queue.clone();
    let mut other = child(move || {
        assert_eq!(theirs.recv(), Ok(1));
        drop(theirs.recv());
    });
    queue.send(1).unwrap();
    assert!(falls_asleep(&mut other));
    let mut blocked = child(move || {
        matches!(queue.recv(), Err(ChannelError::Disconnected(Departure::Died { .. })))
    });
    assert!(falls_asleep(&mut blocked));
    other.kill();
    assert!(blocked.finish());
}

#[test]
fn queue_26_and_sq_01_one_process_alone() {
    let _watchdog = watchdog();
    let queue = Queue::<char>::new(3).unwrap();
    "abc".chars().for_each(|c| queue.send(c).unwrap());
    assert_eq!(queue.try_iter().collect::<String>(), "abc");
    assert!(queue.is_empty());
}
