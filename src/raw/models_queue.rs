//! Models of the queue: see [`super::models`] for how they run.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::{Beacon, check, mortal};
use super::queue::{Blocked, Claim, Control, Queue, Split, Words};
use super::wait_cell::WaitCell;
use crate::sync::atomic::AtomicU64;
use crate::sync::crash::Point;
use crate::wait::{Asleep, NEVER, Wait, WaitStrategy, block_on};
use core::ptr::NonNull;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// A queue without entries, its values, and the beacons of its members.
struct Shared {
    control: Control,
    slots: Vec<AtomicU64>,
    lost: Vec<AtomicU64>,
    values: Vec<UnsafeCell<u64>>,
    beacons: [Beacon; 3],
}

// SAFETY: loom reports every access to a cell that another thread's could race with.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        let words = || (0..capacity).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Shared {
            control: Control::new(0, 0),
            slots: words(),
            lost: words(),
            values: (0..capacity).map(|_| UnsafeCell::new(0)).collect(),
            beacons: std::array::from_fn(|_| Beacon::new()),
        })
    }

    fn queue(&self) -> Queue<'_> {
        let words = |words: &[AtomicU64]| {
            let first = NonNull::from(words).cast();
            // SAFETY: a slice of atomics, which lives as long as `self`.
            unsafe { Words::new(first, size_of::<AtomicU64>(), words.len()) }
        };
        Queue {
            control: &self.control,
            slots: words(&self.slots),
            entries: words(&[]),
            lost: &self.lost,
            split: Split::of(self.slots.len()),
        }
    }

    fn send(&self, me: u64, value: u64) {
        let claim = self.wait(me, |queue, me| queue.claim_write(me), &self.control.space);
        // SAFETY: loom hands out the pointer for this access alone.
        self.values[claim.index].with_mut(|at| unsafe { *at = value });
        self.queue().publish(claim);
        self.queue().notify_items(true);
    }

    fn recv(&self, me: u64) -> u64 {
        let claim = self.wait(me, |queue, me| queue.claim_read(me), &self.control.items);
        // SAFETY: as above.
        let value = self.values[claim.index].with(|at| unsafe { *at });
        self.queue().free(claim);
        self.queue().notify_space(true);
        value
    }

    fn wait(&self, me: u64, attempt: Attempt, cell: &WaitCell) -> Claim {
        let mut waiting = Waiting { shared: self, me, attempt, obstacle: None, told: false };
        block_on(&mut waiting, cell, WaitStrategy::Park, NEVER).expect("no deadline")
    }
}

type Attempt = fn(Queue<'_>, u64) -> Result<Claim, Blocked>;

struct Waiting<'a> {
    shared: &'a Shared,
    me: u64,
    attempt: Attempt,
    obstacle: Option<Blocked>,
    /// It has heard of the death.
    told: bool,
}

impl<'a> Wait<'a> for Waiting<'a> {
    type Output = Claim;

    fn poll(&mut self) -> Option<Claim> {
        match (self.attempt)(self.shared.queue(), self.me) {
            Ok(claim) => Some(claim),
            Err(Blocked::Contradiction) => panic!("the words contradict each other"),
            Err(blocked) => {
                self.obstacle = Some(blocked);
                None
            }
        }
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, Claim> {
        let shared = self.shared;
        if let Some(Blocked::By { index, word }) = self.obstacle
            && shared.beacons[word.member() as usize].watch().is_none()
        {
            shared.queue().bury(index, word);
        }
        // Number 0 is who may die. After the news, and after a burial, there is another look: in the
        // published crate a slice of time ends the sleep that begins between look and news.
        let beacon = shared.beacons[0].watch();
        let buried = matches!(self.obstacle, Some(Blocked::By { word, .. }) if word.member() == 0);
        let again = beacon.is_none() && (buried || !self.told);
        self.told |= beacon.is_none();
        let other = beacon.or_else(|| again.then(|| (shared.control.items.word(), u32::MAX)));
        Ok(Asleep { other, slice: NEVER })
    }
}

#[test]
fn two_producers_lose_nothing() {
    check("queue of 2, two producers", || {
        let shared = Shared::new(2);
        let producer = thread::spawn({
            let shared = shared.clone();
            move || shared.send(1, 1)
        });
        shared.send(2, 2);
        let sum = shared.recv(0) + shared.recv(0);
        assert_eq!(sum, 3, "a message came twice, or is lost");
        producer.join().unwrap();
    });
}

#[test]
fn one_producers_messages_keep_their_order_and_go_to_one_consumer_each() {
    for capacity in [1, 2] {
        check(&format!("queue of {capacity}, two consumers"), move || {
            let shared = Shared::new(capacity);
            let consumer = thread::spawn({
                let shared = shared.clone();
                move || shared.recv(1)
            });
            // What is sent is there when the next one is.
            (1..=capacity as u64).for_each(|value| shared.send(2, value));
            let mut last = 0;
            for _ in 1..capacity {
                let value = shared.recv(0);
                assert!(value > last, "{value} came after {last}");
                last = value;
            }
            let other = consumer.join().unwrap();
            assert_eq!(other + last, (1..=capacity as u64).sum());
        });
    }
}

#[test]
fn who_waits_for_room_is_woken_by_who_makes_it() {
    check("queue of 1, a producer waits for room", || {
        let shared = Shared::new(1);
        shared.send(1, 1);
        let producer = thread::spawn({
            let shared = shared.clone();
            move || shared.send(1, 2)
        });
        assert_eq!([shared.recv(2), shared.recv(2)], [1, 2]);
        producer.join().unwrap();
    });
}

#[test]
fn a_dead_producer_stops_nobody() {
    for point in [None, Some(Point::Claimed), Some(Point::Written), Some(Point::Published)] {
        check(&format!("queue of 2, a producer dies at {point:?}"), move || {
            let shared = Shared::new(2);
            let victim = thread::spawn({
                let shared = shared.clone();
                move || mortal(&shared.beacons[0], point, || shared.send(0, 1))
            });
            shared.send(1, 2);
            let mut got = shared.recv(2);
            if got == 1 {
                got = shared.recv(2);
            }
            assert_eq!(got, 2);
            victim.join().unwrap();
            assert_eq!(shared.queue().lost(|_| {}), 0);
        });
    }
}

#[test]
fn a_dead_consumer_takes_its_message_with_it_and_no_other() {
    for point in [Point::Claimed, Point::Published] {
        check(&format!("queue of 1, a consumer dies at {point:?}"), move || {
            let shared = Shared::new(1);
            shared.send(1, 1);
            let victim = thread::spawn({
                let shared = shared.clone();
                move || {
                    mortal(&shared.beacons[0], Some(point), || {
                        shared.recv(0);
                    })
                }
            });
            let producer = thread::spawn({
                let shared = shared.clone();
                move || shared.send(1, 2)
            });
            producer.join().unwrap();
            assert_eq!(shared.recv(2), 2);
            victim.join().unwrap();
            let lost = shared.queue().lost(|number| assert_eq!(number, 0));
            assert_eq!(lost, u64::from(point == Point::Claimed));
        });
    }
}
