//! Queues of objects between processes: any object of any size, from many to many, and what is left
//! of one whose producer or consumer died over it.

#![cfg(feature = "serde")]

mod common;

use common::{
    Child, Gate, Random, child, falls_asleep, in_child, name, pause_for_ever, raw_fork,
    wait_until_asleep, watchdog,
};
use commons::objects::{Builder, Receiver, Sender, bounded};
use commons::{ChannelError, Departure, Error, ObjectQueue, Segment, WaitStrategy, inspect};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

/// A message that says by its bytes which it is and how long.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Parcel {
    author: u64,
    number: u64,
    bytes: Vec<u8>,
}

impl Parcel {
    fn new(author: u64, number: u64, length: usize) -> Self {
        let byte = |i: usize| (author as usize * 7 + number as usize * 31 + i) as u8;
        Parcel { author, number, bytes: (0..length).map(byte).collect() }
    }

    fn is_whole(&self) -> bool {
        *self == Parcel::new(self.author, self.number, self.bytes.len())
    }
}

fn length(random: &mut Random, most: u64) -> usize {
    let most = 1 + random.below(most);
    random.below(most) as usize
}

#[track_caller]
fn departure<R>(result: Result<R, ChannelError>) -> Departure {
    match result {
        Err(ChannelError::Disconnected(departure)) => departure,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it is still there"),
    }
}

// ---- what goes through ----

#[test]
fn any_object_arrives_as_it_was() {
    let _watchdog = watchdog();
    type Anything = (Option<String>, BTreeMap<String, Vec<f64>>, (), Result<u8, char>);
    let queue = ObjectQueue::<Anything>::new(1024).unwrap();
    let map: BTreeMap<_, _> =
        (0..20).map(|i| (format!("key {i}"), vec![f64::from(i); 5])).collect();
    let objects: [Anything; 3] = [
        (None, BTreeMap::new(), (), Err('ß')),
        (Some("one".into()), map, (), Ok(3)),
        (Some(String::new()), BTreeMap::new(), (), Ok(0)),
    ];
    let theirs = queue.clone();
    let sent = objects.clone();
    let sender = child(move || sent.iter().for_each(|object| theirs.send(object).unwrap()));
    for object in objects {
        assert_eq!(queue.recv().unwrap(), object);
    }
    sender.finish();
}

#[test]
fn objects_of_every_length_arrive_in_order() {
    let _watchdog = watchdog();
    for bytes in [1, 256, 1000, 65_536] {
        let longest = 2 * bytes.clamp(150, 450);
        let (sender, receiver) = bounded::<Vec<u8>>(bytes).unwrap();
        assert_eq!(receiver.capacity(), bytes.next_power_of_two().max(128));
        let sending = child(move || {
            for length in 0..longest {
                sender.send(&Parcel::new(1, 2, length).bytes).unwrap();
            }
        });
        for length in 0..longest {
            assert_eq!(receiver.recv().unwrap(), Parcel::new(1, 2, length).bytes);
        }
        assert_eq!(departure(receiver.recv()), Departure::Closed);
        sending.finish();
    }
}

#[test]
fn megabytes_pass_through_a_small_queue() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<Vec<u8>>(65_536).unwrap();
    let sending = child(move || {
        sender.send(&Parcel::new(1, 1, 5_000_000).bytes).unwrap();
        sender.send(&vec![1]).unwrap();
    });
    assert!(receiver.recv().unwrap() == Parcel::new(1, 1, 5_000_000).bytes);
    assert_eq!(receiver.recv().unwrap(), [1]);
    sending.finish();
}

/// Many producers, many consumers, in processes and threads, small and long: each exactly once, and
/// of one producer in order.
#[test]
fn from_many_to_many_each_exactly_once_and_in_order() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("from_many_to_many_each_exactly_once_and_in_order");
    for strategy in [WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let (mut sender, mut receiver) = bounded::<Parcel>(1024).unwrap();
        sender.set_wait_strategy(strategy);
        receiver.set_wait_strategy(strategy);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let receiver = receiver.clone();
                child(move || {
                    let receive = || {
                        let all = receiver.iter().inspect(|parcel| assert!(parcel.is_whole()));
                        all.map(|parcel| (parcel.author, parcel.number)).collect::<Vec<_>>()
                    };
                    std::thread::scope(|scope| {
                        let other = scope.spawn(receive);
                        [receive(), other.join().unwrap()]
                    })
                })
            })
            .collect();
        let senders: Vec<_> = (0..3)
            .map(|author| {
                let (sender, mut random) = (sender.clone(), random.clone());
                child(move || {
                    for number in 0..200 {
                        let most = if number % 10 == 0 { 4000 } else { 100 };
                        sender
                            .send(&Parcel::new(author, number, length(&mut random, most)))
                            .unwrap();
                    }
                })
            })
            .collect();
        random.number();
        drop((sender, receiver));
        senders.into_iter().for_each(Child::finish);
        let lists: Vec<_> = receivers.into_iter().flat_map(Child::finish).collect();
        for list in &lists {
            for author in 0..3 {
                let numbers = list.iter().filter(|one| one.0 == author).map(|one| one.1);
                assert!(numbers.is_sorted(), "of one producer in order");
            }
        }
        let mut all: Vec<_> = lists.into_iter().flatten().collect();
        all.sort_unstable();
        let expected = (0..3).flat_map(|author| (0..200).map(move |number| (author, number)));
        assert!(all.into_iter().eq(expected));
    }
}

#[test]
fn what_cannot_be_serialised_fails_in_the_send_and_changes_nothing() {
    struct Refuses;
    impl Serialize for Refuses {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("never"))
        }
    }
    let queue = ObjectQueue::<Refuses>::new(256).unwrap();
    assert!(matches!(queue.send(&Refuses), Err(ChannelError::Serialize(_))));
    assert!(matches!(queue.try_send(&Refuses), Err(ChannelError::Serialize(_))));
    assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (0, true, false));
}

/// A type whose values one program writes that another does not have.
mod other {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    pub(crate) struct Choice(pub(crate) u8);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[repr(u8)]
enum Choice {
    Yes,
    No,
}

#[test]
fn what_is_no_value_of_its_type_is_told_and_gone() {
    let segment = Segment::anonymous(256 << 10).unwrap();
    let theirs = ObjectQueue::<other::Choice>::new_in(&segment, "choices", 256).unwrap();
    let ours = ObjectQueue::<Choice>::open_in(&segment, "choices").unwrap();
    for choice in [1, 7, 0] {
        theirs.send(&other::Choice(choice)).unwrap();
    }
    assert_eq!(ours.recv(), Ok(Choice::No));
    assert!(matches!(ours.recv(), Err(ChannelError::Deserialize(_))));
    assert_eq!(ours.recv(), Ok(Choice::Yes));
    assert_eq!(ours.lost_in_flight(), Ok(0));
    assert!(matches!(
        ObjectQueue::<u32>::open_in(&segment, "choices"),
        Err(Error::TypeMismatch { .. })
    ));
}

#[test]
fn an_object_that_sends_others_while_it_is_serialised_is_sent() {
    #[derive(Deserialize)]
    struct Talkative(#[serde(skip)] Option<ObjectQueue<u32>>, u32);
    impl Serialize for Talkative {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            if let Some(queue) = &self.0 {
                queue.send(&self.1).unwrap();
            }
            serializer.serialize_u32(self.1)
        }
    }
    let asides = ObjectQueue::new(256).unwrap();
    let queue = ObjectQueue::<Talkative>::new(256).unwrap();
    queue.send(&Talkative(Some(asides.clone()), 5)).unwrap();
    assert_eq!((asides.recv(), queue.len()), (Ok(5), 1));
}

// ---- bounds ----

#[test]
fn the_bounds_are_exact_and_count_and_fill_agree() {
    let _watchdog = watchdog();
    let queue = Builder::new(4096).limit(3).build::<u64>().unwrap();
    assert_eq!((queue.limit(), queue.capacity()), (3, 4096));
    for round in 0..50 {
        for i in 0..3 {
            assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (i, i == 0, false));
            queue.try_send(&round).unwrap();
        }
        assert_eq!((queue.len(), queue.is_empty(), queue.is_full()), (3, false, true));
        assert_eq!(queue.try_send(&9), Err(ChannelError::Full));
        let begun = Instant::now();
        assert_eq!(queue.send_timeout(&9, SHORT / 30), Err(ChannelError::TimedOut));
        assert!(begun.elapsed() >= SHORT / 30);
        assert_eq!(queue.try_iter().count(), 3);
    }
    // By bytes: one of 40 bytes takes 4 grains, of 256.
    let queue = ObjectQueue::<Vec<u8>>::new(4096).unwrap();
    for _ in 0..64 {
        queue.try_send(&vec![0; 39]).unwrap();
    }
    assert_eq!((queue.len(), queue.is_full()), (64, true));
    assert_eq!(queue.try_send(&vec![]), Err(ChannelError::Full));
    queue.recv().unwrap();
    assert!(!queue.is_full());
}

#[test]
fn what_is_too_long_is_an_error_before_anything_is_sent() {
    let _watchdog = watchdog();
    let queue = Builder::new(256).longest(50).build::<Vec<u8>>().unwrap();
    assert_eq!(queue.send(&vec![0; 50]), Err(ChannelError::TooLarge { bytes: 51, limit: 50 }));
    queue.send(&vec![0; 49]).unwrap();
    assert_eq!((queue.len(), queue.recv().unwrap().len()), (1, 49));
    let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
    let error = queue.try_send(&vec![0; 400]).unwrap_err();
    assert_eq!(error, ChannelError::TooLarge { bytes: 402, limit: 224 });
    // What fits into the empty queue goes at once, wherever the turn is.
    for turn in 0..20 {
        let long = Parcel::new(1, turn, 222).bytes;
        queue.try_send(&long).unwrap();
        assert_eq!(queue.len(), 1);
        assert_eq!(queue.try_recv().unwrap(), long);
        queue.send(&vec![1]).unwrap();
        assert_eq!(queue.try_send(&long), Err(ChannelError::Full));
        queue.recv().unwrap();
    }
    assert!(matches!(ObjectQueue::<u8>::new(0), Err(Error::Zero { .. })));
    assert!(matches!(ObjectQueue::<u8>::new(usize::MAX), Err(Error::TooLarge { .. })));
    assert!(matches!(Builder::new(9).limit(0).build::<u8>(), Err(Error::Zero { .. })));
    assert!(matches!(Builder::new(9).in_flight(0).build::<u8>(), Err(Error::Zero { .. })));
    assert!(matches!(Builder::new(9).limit(1 << 24).build::<u8>(), Err(Error::TooLarge { .. })));
}

#[test]
fn a_long_object_that_runs_out_of_time_is_not_received() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
    for _ in 0..3 {
        assert_eq!(queue.send_timeout(&vec![1; 2000], SHORT), Err(ChannelError::TimedOut));
        assert_eq!((queue.len(), queue.is_empty()), (0, true));
    }
    assert_eq!(queue.try_recv(), Err(ChannelError::Empty));
    assert_eq!(queue.send_timeout(&vec![1; 2000], SHORT), Err(ChannelError::TimedOut));
    let theirs = queue.clone();
    let sending = child(move || theirs.send(&vec![2; 10]).unwrap());
    assert_eq!(queue.recv().unwrap(), [2; 10]);
    assert_eq!((queue.len(), queue.lost_in_flight()), (0, Ok(0)));
    sending.finish();
}

// ---- who goes ----

#[test]
fn the_last_of_each_side_is_missed() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u32>(128).unwrap();
    let other = sender.clone();
    drop(sender);
    other.send(&1).unwrap();
    assert_eq!((receiver.try_recv(), receiver.try_recv()), (Ok(1), Err(ChannelError::Empty)));
    other.send(&2).unwrap();
    drop(other);
    assert_eq!(receiver.recv(), Ok(2));
    assert_eq!(departure(receiver.recv()), Departure::Closed);
    assert_eq!(departure(receiver.try_recv()), Departure::Closed);
    assert_eq!(departure(receiver.recv_timeout(SHORT)), Departure::Closed);

    let (sender, receiver) = bounded::<Vec<u8>>(128).unwrap();
    drop(receiver);
    sender.send(&vec![0; 40]).unwrap();
    assert_eq!(departure(sender.send(&vec![0; 60])), Departure::Closed);
    assert_eq!(departure(sender.try_send(&vec![0; 60])), Departure::Closed);
    assert_eq!(departure(sender.send(&vec![0; 6000])), Departure::Closed);
}

#[test]
fn the_death_of_the_last_of_the_others_wakes_who_waits() {
    let _watchdog = watchdog();
    for senders_die in [false, true] {
        let (sender, receiver) = bounded::<Vec<u8>>(128).unwrap();
        let victims: Vec<Child<()>> = (0..2)
            .map(|_| {
                let ends: (Option<Sender<_>>, Option<Receiver<_>>) = match senders_die {
                    true => (Some(sender.clone()), None),
                    false => (None, Some(receiver.clone())),
                };
                child(move || {
                    let _ends = ends;
                    pause_for_ever();
                })
            })
            .collect();
        let mut waiter = if senders_die {
            drop(sender);
            child(move || departure(receiver.recv()).to_string())
        } else {
            drop(receiver);
            child(move || {
                sender.send(&vec![0; 60]).unwrap();
                departure(sender.send(&vec![0; 60])).to_string()
            })
        };
        assert!(falls_asleep(&mut waiter));
        victims.into_iter().for_each(Child::kill);
        assert!(waiter.finish().contains("died"));
    }
}

#[test]
fn a_long_object_whose_producer_dies_is_not_received_and_delays_nobody() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
    let theirs = queue.clone();
    // Fills the queue with its beginning, and sleeps.
    let victim: Child<()> = child(move || drop(theirs.send(&vec![1; 2000])));
    wait_until_asleep(victim.id());
    assert_eq!((queue.len(), queue.is_full()), (0, true));
    assert_eq!(queue.try_send(&vec![]), Err(ChannelError::Full));
    // A consumer has begun to receive it, and waits for more.
    victim.stop();
    let theirs = queue.clone();
    let mut consumer = child(move || theirs.recv().unwrap());
    assert!(falls_asleep(&mut consumer));
    let theirs = queue.clone();
    let mut producer = child(move || theirs.send(&vec![3; 5]).unwrap());
    assert!(falls_asleep(&mut producer));
    victim.kill();
    producer.finish();
    assert_eq!(consumer.finish(), [3; 5]);
    assert_eq!((queue.len(), queue.lost_in_flight()), (0, Ok(0)));
    // Where nobody sends any more, who waits goes back to waiting for anything.
    let theirs = queue.clone();
    let victim: Child<()> = child(move || drop(theirs.send(&vec![1; 2000])));
    wait_until_asleep(victim.id());
    victim.stop();
    let theirs = queue.clone();
    let consumer = child(move || theirs.recv_timeout(Duration::from_millis(300)).is_err());
    wait_until_asleep(consumer.id());
    victim.kill();
    assert!(consumer.finish());
    assert_eq!(queue.try_send(&vec![4]), Ok(()));
    assert_eq!(queue.recv().unwrap(), [4]);
}

#[test]
fn a_long_object_whose_consumer_dies_over_it_is_lost_once_and_counted() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
    queue.send(&vec![9]).unwrap();
    queue.recv().unwrap();
    let theirs = queue.clone();
    let producer = child(move || theirs.send(&vec![1; 2000]).unwrap());
    wait_until_asleep(producer.id());
    producer.stop();
    let theirs = queue.clone();
    let mut victim = child(move || drop(theirs.recv()));
    assert!(falls_asleep(&mut victim));
    victim.kill();
    producer.go_on();
    let theirs = queue.clone();
    let consumer = child(move || theirs.recv().unwrap());
    producer.finish();
    queue.send(&vec![2; 7]).unwrap();
    assert_eq!(consumer.finish(), [2; 7]);
    assert_eq!(
        (queue.len(), queue.lost_in_flight(), queue.lost_numbers()),
        (0, Ok(1), Ok(vec![1]))
    );
}

#[test]
fn a_queue_that_outlives_its_users_waits_for_successors() {
    let _watchdog = watchdog();
    let name = name("objects");
    let made = Builder::new(256).outlives().create::<u32>(&name).unwrap();
    let (sender, receiver) = (made.sender().unwrap(), made.receiver().unwrap());
    drop((made, sender));
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    let mut waiter = child(move || receiver.recv().unwrap());
    assert!(falls_asleep(&mut waiter));
    let ours = name.to_owned();
    in_child(move || ObjectQueue::<u32>::open(&ours).unwrap().send(&5).unwrap());
    assert_eq!(waiter.finish(), 5);
    let again = ObjectQueue::<u32>::open(&name).unwrap();
    again.send(&6).unwrap();
    assert_eq!(inspect::report(&name).unwrap().objects[0].fill, Some(1));
    drop(again);
    assert_eq!(ObjectQueue::<u32>::open(&name).unwrap().recv(), Ok(6));
}

#[test]
fn a_queue_that_ends_alone_tells_the_last_user() {
    let _watchdog = watchdog();
    let queue = Builder::new(256).ends_alone().build::<u32>().unwrap();
    let theirs = queue.clone();
    let mut other = child(move || drop(theirs.recv()));
    assert!(falls_asleep(&mut other));
    let mut waiter = child(move || departure(queue.recv()).to_string());
    assert!(falls_asleep(&mut waiter));
    other.kill();
    assert!(waiter.finish().contains("died"));
}

#[test]
fn handles_close_one_by_one() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<u8>::new(128).unwrap();
    let theirs = queue.clone();
    queue.close();
    queue.close();
    assert_eq!(queue.send(&1), Err(ChannelError::Closed));
    assert_eq!(queue.try_recv(), Err(ChannelError::Closed));
    assert_eq!(queue.lost_in_flight(), Err(ChannelError::Closed));
    in_child(move || {
        theirs.send(&1).unwrap();
        assert_eq!(theirs.recv(), Ok(1));
    });
    assert_eq!(queue.clone().try_recv(), Err(ChannelError::Empty));
}

#[test]
#[allow(unsafe_code, reason = "forks as a library would that knows nothing of this crate")]
fn a_copy_that_a_fork_made_is_one_more_handle() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<u8>(128).unwrap();
    let gate = Gate::new();
    let mut entrance = gate.entrance();
    let copy = raw_fork(|| {
        sender.send(&1).unwrap();
        entrance.pass();
        0
    });
    assert_eq!(receiver.recv(), Ok(1));
    drop(sender);
    assert_eq!(receiver.try_recv(), Err(ChannelError::Empty));
    gate.open_for(1);
    assert_eq!(copy.wait(), 0);
    assert!(matches!(receiver.recv(), Err(ChannelError::Disconnected(_))));
}

// ---- chance ----

/// Producers and consumers, killed at any moment and replaced, with a ledger: nothing acknowledged is
/// missing but what is counted as lost, nothing comes twice, nothing is torn, nobody hangs.
#[test]
fn killed_at_any_moment_nothing_is_torn_or_doubled_and_losses_are_counted() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("killed_at_any_moment_nothing_is_torn_or_doubled");
    let queue = Builder::new(512).outlives().build::<Parcel>().unwrap();
    let (log, acknowledged) = (bounded::<(u64, u64)>(1 << 20).unwrap(), bounded(1 << 20).unwrap());
    let seed = random.number();
    let produce = |author: u64| {
        let (queue, said) = (queue.clone(), acknowledged.0.clone());
        child(move || {
            let mut lengths = Random::of(seed ^ author);
            for number in 0.. {
                let length = length(&mut lengths, if number % 8 == 0 { 1500 } else { 60 });
                queue.send(&Parcel::new(author, number, length)).unwrap();
                said.send(&(author, number)).unwrap();
            }
        })
    };
    let consume = || {
        let (queue, log) = (queue.clone(), log.0.clone());
        child(move || {
            loop {
                let parcel = queue.recv().unwrap();
                assert!(parcel.is_whole());
                log.send(&(parcel.author, parcel.number)).unwrap();
            }
        })
    };
    let (mut authors, mut dead_consumers) = (3, 0);
    let mut producers: Vec<Child<()>> = (0..3).map(produce).collect();
    let mut consumers: Vec<Child<()>> = (0..2).map(|_| consume()).collect();
    for _ in 0..40 {
        std::thread::sleep(Duration::from_micros(random.below(4000)));
        if random.below(2) == 0 {
            let index = random.below(3) as usize;
            std::mem::replace(&mut producers[index], produce(authors)).kill();
            authors += 1;
        } else {
            let index = random.below(2) as usize;
            std::mem::replace(&mut consumers[index], consume()).kill();
            dead_consumers += 1;
        }
    }
    producers.into_iter().for_each(Child::kill);
    while !queue.is_empty() {
        std::thread::yield_now();
    }
    consumers.into_iter().for_each(Child::kill);
    dead_consumers += 2;
    let mut received: Vec<(u64, u64)> = log.1.try_iter().collect();
    let before = received.len();
    received.sort_unstable();
    received.dedup();
    assert_eq!(received.len(), before, "something came twice");
    let sent: Vec<(u64, u64)> = acknowledged.1.try_iter().collect();
    let missing = sent.iter().filter(|one| received.binary_search(one).is_err()).count() as u64;
    let lost = queue.lost_in_flight().unwrap();
    println!("{before} received, {missing} missing, {lost} lost in flight");
    // One may die when it has received and not said so yet.
    assert!(missing <= dead_consumers && lost <= dead_consumers);
    assert!(before > 50);
    queue.send(&Parcel::new(99, 0, 5)).unwrap();
    assert_eq!(queue.recv().unwrap().author, 99);
}

#[test]
fn what_a_dead_sender_left_of_a_long_object_is_in_nobodys_way() {
    let _watchdog = watchdog();
    let queue = Builder::new(512).outlives().build::<Vec<u8>>().unwrap();
    for (length, at_once) in [(5, false), (5, true), (1500, false)] {
        let theirs = queue.clone();
        let mut long = child(move || theirs.send(&vec![1; 1500]).unwrap());
        assert!(falls_asleep(&mut long));
        long.kill();
        assert!(queue.is_empty());
        // Nobody receives until there is something to receive.
        if at_once {
            queue.try_send(&vec![2; length]).unwrap();
        } else if length < 512 {
            queue.send(&vec![2; length]).unwrap();
        } else {
            let theirs = queue.clone();
            let mut long = child(move || theirs.send(&vec![2; length]).unwrap());
            assert!(falls_asleep(&mut long));
            assert_eq!(queue.recv().unwrap(), vec![2; length]);
            long.finish();
            continue;
        }
        assert_eq!(queue.recv().unwrap(), vec![2; length]);
    }
}

// ---- turns ----

/// A queue of 64 grains that is full of small objects but for one of them, and a child that waits to send
/// one of 20 grains; when it has been overtaken by as many as go into the queue, room is kept for it.
fn one_that_waits_for_its_turn() -> (ObjectQueue<Vec<u8>>, common::Child<()>) {
    let queue = ObjectQueue::<Vec<u8>>::new(1024).unwrap();
    while queue.try_send(&vec![1]).is_ok() {}
    let theirs = queue.clone();
    let mut child = child(move || theirs.send(&vec![2; 300]).unwrap());
    assert!(falls_asleep(&mut child));
    swap_until_room_is_kept(&queue);
    (queue, child)
}

/// Takes one and sends one, until what became free is no more for everybody.
fn swap_until_room_is_kept(queue: &ObjectQueue<Vec<u8>>) {
    loop {
        assert_eq!(queue.recv().unwrap(), [1]);
        if queue.try_send(&vec![1]).is_err() {
            return assert!(queue.is_full());
        }
    }
}

#[test]
fn room_is_kept_for_one_that_needs_much_of_it() {
    let _watchdog = watchdog();
    let (queue, child) = one_that_waits_for_its_turn();
    let mut left = Vec::new();
    // Others wait behind it, although there is room for them.
    let others = {
        let queue = queue.clone();
        std::thread::spawn(move || (0..5).for_each(|_| queue.send(&vec![3]).unwrap()))
    };
    while left.iter().filter(|o: &&Vec<u8>| o[0] == 3).count() < 5 {
        left.push(queue.recv().unwrap());
    }
    others.join().unwrap();
    child.finish();
    let kinds: Vec<_> = left.iter().map(|object| object[0]).collect();
    let mut sorted = kinds.clone();
    sorted.sort_unstable();
    assert_eq!(kinds, sorted, "the long one came before those that came after it");
    assert_eq!(kinds.iter().filter(|&&kind| kind == 2).count(), 1);
}

#[test]
fn a_flood_of_small_objects_does_not_hold_up_long_ones() {
    let _watchdog = watchdog();
    let (sender, receiver) = bounded::<Vec<u8>>(2048).unwrap();
    let done = commons::AtomicBool::new(false).unwrap();
    let flood: Vec<_> = (0..2)
        .map(|_| {
            let (sender, done) = (sender.clone(), done.clone());
            child(move || {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    sender.send(&vec![0; 8]).unwrap();
                }
            })
        })
        .collect();
    // In a row, and in pieces.
    let lengths = [900, 1500, 900, 9000, 900];
    let long = child(move || lengths.into_iter().for_each(|n| sender.send(&vec![1; n]).unwrap()));
    let mut came = Vec::new();
    while came.len() < lengths.len() {
        let object = receiver.recv().unwrap();
        came.extend((object[0] == 1).then_some(object.len()));
    }
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    while receiver.recv().is_ok() {}
    assert_eq!(came, lengths);
    long.finish();
    flood.into_iter().for_each(|child| child.finish());
}

#[test]
fn the_turn_of_one_that_is_dead_or_stopped_ends() {
    let _watchdog = watchdog();
    for dies in [true, false] {
        let (queue, child) = one_that_waits_for_its_turn();
        if dies {
            child.kill();
            assert_eq!(queue.send_timeout(&vec![4], Duration::from_secs(60)), Ok(()));
            // Only the ones that were before it.
            assert!(queue.try_iter().all(|object| object.len() == 1));
            continue;
        }
        child.stop();
        while queue.try_recv().is_ok() {}
        // There is room for it, and it does not come.
        assert_eq!(queue.try_send(&vec![4]), Err(ChannelError::Full));
        assert_eq!(queue.send_timeout(&vec![4], Duration::from_secs(60)), Ok(()));
        assert_eq!(queue.try_send(&vec![4]), Ok(()));
        child.go_on();
        let lengths: Vec<_> = (0..3).map(|_| queue.recv().unwrap().len()).collect();
        assert_eq!(lengths, [1, 1, 300]);
        child.finish();
    }
}

#[test]
fn who_has_the_turn_and_gives_up_lets_the_others_go_on() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(1024).unwrap();
    while queue.try_send(&vec![1]).is_ok() {}
    let theirs = queue.clone();
    let waiter =
        std::thread::spawn(move || theirs.send_timeout(&vec![2; 300], Duration::from_millis(400)));
    while !waiter.is_finished() && queue.recv().is_ok() && queue.try_send(&vec![1]).is_ok() {}
    // Its room does not come.
    assert_eq!(waiter.join().unwrap(), Err(ChannelError::TimedOut));
    assert_eq!(queue.try_send(&vec![1]), Ok(()));
}
