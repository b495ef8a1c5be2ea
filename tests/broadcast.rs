//! Broadcasts: every receiver gets everything it comes in time for, and is told what it does not.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "forks as another library would")]

mod common;

use common::{Random, child, falls_asleep, in_child, name, raw_fork, watchdog};
use commons::broadcast::{self, Broadcast, Receiver};
use commons::{ChannelError, Departure, Error, Event, Kind, Peer, Reset, Segment, WaitStrategy};
use commons::{Rejected, inspect};
use std::time::{Duration, Instant};

/// Four words that belong together.
type Message = [u64; 4];

fn message(number: u64) -> Message {
    [number, !number, number.wrapping_mul(0x9e37_79b9_7f4a_7c15), 7]
}

/// Receives until the sender is gone: how many messages came, how many were missed, and the end.
/// Each is whole, and the one of its number.
fn drain(receiver: &mut Receiver<Message>) -> (u64, u64, ChannelError) {
    let (mut came, mut missed) = (0, 0);
    loop {
        let before = receiver.position();
        match receiver.recv() {
            Ok(found) => {
                assert_eq!(found, message(before), "torn, or another message than its number says");
                assert_eq!(receiver.position(), before + 1);
                came += 1;
            }
            Err(ChannelError::Lagged(n)) => {
                assert_eq!(receiver.position(), before + n);
                missed += n;
            }
            Err(end) => return (came, missed, end),
        }
    }
}

#[test]
fn every_receiver_gets_every_message_in_order() {
    let _watchdog = watchdog();
    let (mut sender, mut receiver) = broadcast::channel::<Message>(1000).unwrap();
    let children: Vec<_> = (0..3)
        .map(|_| {
            let mut receiver = receiver.clone();
            child(move || {
                let (came, missed, end) = drain(&mut receiver);
                assert_eq!(end, ChannelError::Disconnected(Departure::Closed));
                (came, missed)
            })
        })
        .collect();
    for i in 0..500 {
        assert_eq!(sender.send(message(i)), Ok(i));
    }
    let rest: Vec<_> = (500..1000).map(message).collect();
    sender.send_all(&rest).unwrap();
    assert_eq!((sender.sent(), receiver.len(), receiver.is_empty()), (1000, 1000, false));
    drop(sender);
    for child in children {
        assert_eq!(child.finish(), (1000, 0));
    }
    let closed = ChannelError::Disconnected(Departure::Closed);
    assert_eq!(drain(&mut receiver), (1000, 0, closed.clone()));
    assert_eq!(receiver.try_recv(), Err(closed));
}

#[test]
fn what_was_overwritten_is_counted_exactly_and_the_rest_comes() {
    for (capacity, sent) in [(1, 1), (1, 2), (1, 100), (3, 3), (3, 4), (3, 5), (64, 1000)] {
        let (mut sender, mut receiver) = broadcast::channel::<Message>(capacity).unwrap();
        for i in 0..sent {
            sender.send(message(i)).unwrap();
        }
        // The last ones are there even while the next is written; so is one more until then.
        let missed = if sent > capacity as u64 + 1 { sent - capacity as u64 } else { 0 };
        if missed > 0 {
            assert_eq!(receiver.try_recv(), Err(ChannelError::Lagged(missed)));
        }
        for i in missed..sent {
            assert_eq!(receiver.try_recv(), Ok(message(i)), "{capacity} kept, {sent} sent");
        }
        assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
        assert_eq!((receiver.missed(), receiver.position()), (missed, sent));
        assert_eq!(receiver.capacity(), capacity);
    }
}

#[test]
fn receivers_beside_a_fast_sender_lose_nothing_without_being_told() {
    let _watchdog = watchdog();
    let mut random =
        Random::seeded("receivers_beside_a_fast_sender_lose_nothing_without_being_told");
    for capacity in [1, 2, 7, 64] {
        let total = 30_000;
        let (mut sender, receiver) = broadcast::channel::<Message>(capacity).unwrap();
        let receivers: Vec<_> = (0..2)
            .map(|_| {
                let (mut receiver, seed) = (receiver.clone(), random.below(1 << 30));
                child(move || {
                    let mut random = Random::of(seed);
                    let (mut came, mut missed) = (0, 0);
                    // Now and then it falls behind.
                    for _ in 0..20 {
                        for _ in 0..random.below(200) {
                            match receiver.try_recv() {
                                Ok(found) => {
                                    assert_eq!(found, message(receiver.position() - 1));
                                    came += 1;
                                }
                                Err(ChannelError::Lagged(n)) => missed += n,
                                Err(_) => {}
                            }
                        }
                        for _ in 0..random.below(2000) {
                            std::hint::spin_loop();
                        }
                    }
                    let (more, gone, end) = drain(&mut receiver);
                    assert_eq!(end, ChannelError::Disconnected(Departure::Closed));
                    assert_eq!(receiver.missed(), missed + gone);
                    came + more + missed + gone
                })
            })
            .collect();
        for i in 0..total {
            sender.send(message(i)).unwrap();
        }
        drop(sender);
        for child in receivers {
            assert_eq!(child.finish(), total, "{capacity} kept");
        }
    }
}

#[test]
fn who_waits_is_woken_by_a_message_and_by_the_senders_end() {
    let _watchdog = watchdog();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let (mut sender, mut receiver) = broadcast::channel::<u64>(4).unwrap();
        receiver.set_wait_strategy(strategy);
        assert_eq!(receiver.wait_strategy(), strategy);
        let mut child = child(move || {
            let first = receiver.recv();
            (first == Ok(5), receiver.recv() == Err(ChannelError::Disconnected(Departure::Closed)))
        });
        if strategy != WaitStrategy::Spin {
            assert!(falls_asleep(&mut child));
        }
        sender.send(5).unwrap();
        if strategy != WaitStrategy::Spin {
            assert!(falls_asleep(&mut child));
        }
        drop(sender);
        assert_eq!(child.finish(), (true, true));
    }
}

#[test]
fn a_wait_ends_at_its_deadline() {
    let _watchdog = watchdog();
    let (_sender, mut receiver) = broadcast::channel::<u64>(4).unwrap();
    let begin = Instant::now();
    assert_eq!(receiver.recv_timeout(Duration::from_millis(30)), Err(ChannelError::TimedOut));
    assert!(begin.elapsed() >= Duration::from_millis(30));
    assert_eq!(receiver.recv_deadline(begin), Err(ChannelError::TimedOut));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
}

#[test]
fn the_death_of_a_sender_is_told_after_its_last_message_and_a_successor_goes_on() {
    let _watchdog = watchdog();
    let name = name("sender");
    let broadcast = Broadcast::<Message>::create(&name, 100).unwrap();
    let mut receiver = broadcast.receiver().unwrap();
    assert_eq!(receiver.peer(), Ok(Peer::Nobody));
    let (found, ready) = (name.to_string(), Event::new(Reset::Manual).unwrap());
    let theirs = ready.clone();
    let sender = child(move || {
        let mut sender = Broadcast::<Message>::open(&found).unwrap().sender().unwrap();
        for i in 0..10 {
            sender.send(message(i)).unwrap();
        }
        theirs.set().unwrap();
        std::thread::park();
    });
    ready.wait().unwrap();
    let pid = sender.id();
    assert!(matches!(broadcast.sender(), Err(Error::RoleTaken { role: "sender", .. })));
    let waiter = std::thread::spawn(move || {
        let ended = drain(&mut receiver);
        (ended, receiver)
    });
    sender.kill();
    let (ended, mut receiver) = waiter.join().unwrap();
    let died = Departure::Died { pid: Some(pid) };
    assert_eq!(ended, (10, 0, ChannelError::Disconnected(died)));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Disconnected(died)));
    assert_eq!(receiver.peer(), Ok(Peer::Gone(died)));
    let mut successor = broadcast.sender().unwrap();
    assert_eq!((successor.predecessor(), successor.sent()), (Some(died), 10));
    assert_eq!(successor.send(message(10)), Ok(10));
    assert_eq!(receiver.recv(), Ok(message(10)));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    successor.abandon();
    assert_eq!(receiver.recv(), Err(ChannelError::Disconnected(Departure::Abandoned)));
    assert_eq!(broadcast.sent(), 11);
}

#[test]
fn a_receiver_that_is_stopped_or_dead_holds_nobody() {
    let _watchdog = watchdog();
    let (mut sender, receiver) = broadcast::channel::<Message>(8).unwrap();
    let mut other = receiver.clone();
    let stopped = child(move || {
        let mut receiver = receiver;
        drain(&mut receiver).0
    });
    sender.send(message(0)).unwrap();
    stopped.stop();
    for i in 1..1000 {
        sender.send(message(i)).unwrap();
    }
    assert_eq!(other.recv(), Err(ChannelError::Lagged(992)));
    stopped.kill();
    sender.send(message(1000)).unwrap();
    drop(sender);
    // The eight that were kept when it came, and the one that was sent since.
    assert_eq!(drain(&mut other).0, 9);
}

#[test]
fn receivers_begin_with_the_next_message_or_with_the_oldest() {
    let broadcast = Broadcast::<u32>::new(3).unwrap();
    let mut sender = broadcast.sender().unwrap();
    sender.send_all(&[1, 2, 3, 4, 5]).unwrap();
    let mut new = broadcast.receiver().unwrap();
    let mut old = broadcast.receiver_from_oldest().unwrap();
    assert_eq!((new.position(), old.position()), (5, 2));
    sender.send_all(&[6, 7]).unwrap();
    assert_eq!(new.recv(), Ok(6));
    assert_eq!(old.clone().recv(), Err(ChannelError::Lagged(2)));
    drop(sender);
    assert_eq!(old.iter().collect::<Vec<_>>(), [5, 6, 7]);
    assert_eq!(old.missed(), 2);
}

#[test]
fn ends_move_to_children_and_copies_of_a_fork_are_told_apart() {
    let _watchdog = watchdog();
    let (mut sender, mut receiver) = broadcast::channel::<u64>(16).unwrap();
    sender.send(1).unwrap();
    // A copy of the sender is not one; one of the receiver is.
    let code = raw_fork(|| {
        let refused =
            matches!(sender.send(2), Err(Rejected { value: 2, reason: ChannelError::Forked }))
                && sender.send_all(&[3]) == Err(ChannelError::Forked);
        i32::from(!(refused && receiver.recv() == Ok(1)))
    });
    assert_eq!(code.wait(), 0);
    let child = child(move || {
        assert_eq!(sender.send(2), Ok(1));
        sender.predecessor().is_none()
    });
    assert_eq!((receiver.recv(), receiver.recv()), (Ok(1), Ok(2)));
    assert!(child.finish());
    assert_eq!(receiver.recv(), Err(ChannelError::Disconnected(Departure::Closed)));
}

#[test]
fn values_of_every_size_arrive() {
    let _watchdog = watchdog();
    fn arrives<T: broadcast::Element + PartialEq + std::fmt::Debug>(make: impl Fn(u8) -> T) {
        let (mut sender, mut receiver) = broadcast::channel::<T>(2).unwrap();
        for i in 0..20 {
            sender.send(make(i)).unwrap();
            assert_eq!(receiver.recv(), Ok(make(i)));
        }
    }
    arrives(|_| ());
    arrives(|i| i);
    arrives(|i| i % 2 == 0);
    arrives(|i| char::from(i + 65));
    arrives(|i| [i; 7]);
    arrives(|i| [i; 57]);
    arrives(|i| [i; 1000]);
    arrives(|i| u128::from(i) << 100);
    arrives(|i| [f64::from(i); 512]);
}

#[test]
fn names_labels_and_mistakes() {
    let _watchdog = watchdog();
    assert!(matches!(Broadcast::<u8>::new(0), Err(Error::Zero { .. })));
    assert!(matches!(Broadcast::<u8>::new(usize::MAX), Err(Error::TooLarge { .. })));
    let name = name("broadcast");
    assert!(matches!(Broadcast::<u8>::open(&name), Err(Error::NotFound { .. })));
    let (broadcast, _) = Broadcast::<u64>::open_or_create(&name, 5).unwrap();
    assert!(matches!(Broadcast::<u32>::open(&name), Err(Error::TypeMismatch { .. })));
    let mut sender = broadcast.sender().unwrap();
    sender.send(9).unwrap();
    let found = name.to_string();
    in_child(move || {
        let broadcast = Broadcast::<u64>::open(&found).unwrap();
        assert_eq!((broadcast.capacity(), broadcast.sent()), (5, 1));
        assert_eq!(broadcast.receiver_from_oldest().unwrap().recv(), Ok(9));
    });
    let report = inspect::report(&name).unwrap();
    let object = &report.objects[0];
    assert_eq!((object.info.kind, object.version, object.fill), (Kind::Broadcast, Some(1), None));
    assert_eq!(object.ends[0].role, "sender");
    let segment = Segment::anonymous(64 << 10).unwrap();
    let inside = Broadcast::<u8>::new_in(&segment, "news", 3).unwrap();
    let mut receiver = Broadcast::<u8>::open_in(&segment, "news").unwrap().receiver().unwrap();
    inside.sender().unwrap().send(1).unwrap();
    assert_eq!(receiver.recv(), Ok(1));
}
