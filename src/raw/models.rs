//! Models of the algorithms, for loom: every interleaving and every value that the memory model
//! allows, within a bound on preemptions.
//!
//! Each scenario runs under both futex models ([`Mode`]), and for each point at which one of its
//! participants can be killed. A killed participant unwinds out of the raw layer, and then the
//! kernel's part happens: its beacon is marked and one sleeper of it is woken.
//!
//! `ci/loom.sh` runs them, `ci/mutants.sh` shows that they catch what they are there for.

use super::publication::Publication;
use super::ring::{
    Contradiction, Control, EXPRESS_WORDS, Head, Lane, ReadCursor, Ring, Span, WriteCursor,
};
use super::role::{Holder, Role};
use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use crate::sync::crash::{Point, die_at};
use crate::sync::futex;
use crate::sync::futex::model::{Mode, set_mode};
use crate::wait::{Asleep, NEVER, Wait, WaitStrategy, block_on};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs every execution of a scenario under both futex models and prints how many there were.
pub(super) fn check(name: &str, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    check_under(&[Mode::Sleeps, Mode::Spurious], 3, name, scenario);
}

/// The same under some of the futex models, with at most so many preemptions.
pub(super) fn check_under(
    modes: &[Mode],
    preemptions: usize,
    name: &str,
    scenario: impl Fn() + Copy + Send + Sync + 'static,
) {
    for &mode in modes {
        let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
        let counter = count.clone();
        let mut model = loom::model::Builder::new();
        model.preemption_bound.get_or_insert(preemptions);
        model.check(move || {
            counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            set_mode(mode);
            scenario();
        });
        let count = count.load(std::sync::atomic::Ordering::Relaxed);
        println!("loom {name} ({mode:?}): {count} executions");
    }
}

/// What the kernel keeps of a process: marked at its death.
pub(super) struct Beacon(AtomicU32);

const ALIVE: u32 = 1;
const DEAD: u32 = 2;

impl Beacon {
    pub(super) fn new() -> Self {
        Beacon(AtomicU32::new(ALIVE))
    }

    /// What to sleep on beside one's word; `None`: it is dead.
    pub(super) fn watch(&self) -> Option<(&AtomicU32, u32)> {
        (self.0.load(Acquire) != DEAD).then_some((&self.0, ALIVE))
    }

    fn die(&self) {
        // The kernel's exchange is a full barrier, and a futex wake follows it.
        self.0.swap(DEAD, AcqRel);
        futex::wake(&self.0, 1);
    }
}

/// A ring with its slots, and the beacons of its two processes.
struct Shared {
    lane: Lane,
    head: Head,
    control: Control,
    slots: Vec<UnsafeCell<u64>>,
    producer: Beacon,
    consumer: Beacon,
}

// A slot is the side's whose positions say so: that is what the models check.
#[allow(unsafe_code, reason = "loom's cells check every access")]
mod slots {
    use super::Shared;

    // SAFETY: loom reports every access to a cell that another thread's could race with.
    unsafe impl Send for Shared {}
    // SAFETY: as above.
    unsafe impl Sync for Shared {}

    impl Shared {
        pub(super) fn write(&self, slot: u64, value: u64) {
            // SAFETY: loom hands out the pointer for this access alone.
            self.slots[slot as usize].with_mut(|at| unsafe { *at = value });
        }

        pub(super) fn read(&self, slot: u64) -> u64 {
            // SAFETY: as above.
            self.slots[slot as usize].with(|at| unsafe { *at })
        }
    }
}

const PRODUCER: u64 = 1 << 32 | 1;
const CONSUMER: u64 = 2 << 32 | 1;
const SUCCESSOR: u64 = 3 << 32 | 1;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Gone {
    Closed,
    Died,
}

/// A wait for the peer, as the ends of a ring do it.
struct Waiting<'a, 's, C> {
    cursor: &'a mut C,
    look: fn(&mut C, Ring<'_>) -> Result<Span, Contradiction>,
    ring: Ring<'s>,
    role: &'s Role,
    beacon: &'s Beacon,
}

impl<'s, C> Wait<'s> for Waiting<'_, 's, C> {
    type Output = Result<Span, Gone>;

    fn poll(&mut self) -> Option<Self::Output> {
        let span = (self.look)(self.cursor, self.ring).expect("positions agree");
        (span.count > 0).then_some(Ok(span))
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'s>, Self::Output> {
        match self.role.read().0 {
            Holder::Closed => Err(Err(Gone::Closed)),
            // It outlives the model.
            Holder::Held(SUCCESSOR) => Ok(Asleep { other: None, slice: NEVER }),
            _ if self.beacon.0.load(Acquire) == DEAD => Err(Err(Gone::Died)),
            _ => Ok(Asleep { other: Some((&self.beacon.0, ALIVE)), slice: NEVER }),
        }
    }
}

impl Shared {
    fn new(capacity: usize) -> Arc<Self> {
        let shared = Shared {
            lane: Lane::new(),
            head: Head::new(),
            control: Control::new(),
            slots: (0..capacity).map(|_| UnsafeCell::new(0)).collect(),
            producer: Beacon::new(),
            consumer: Beacon::new(),
        };
        shared.control.producer.claim(0, PRODUCER);
        shared.control.consumer.claim(0, CONSUMER);
        Arc::new(shared)
    }

    fn ring(&self) -> Ring<'_> {
        let Shared { lane, head, control, slots, .. } = self;
        Ring { lane, head, control, capacity: slots.len() as u64 }
    }

    fn wait_for_space(&self, cursor: &mut WriteCursor) -> Result<Span, Gone> {
        let (ring, role) = (self.ring(), &self.control.consumer);
        let look = |c: &mut WriteCursor, r: Ring<'_>| c.free(r, 1);
        let mut waiting = Waiting { cursor, look, ring, role, beacon: &self.consumer };
        block_on(&mut waiting, &self.control.space, WaitStrategy::Park, NEVER).expect("no deadline")
    }

    fn wait_for_items(&self, cursor: &mut ReadCursor) -> Result<Span, Gone> {
        let (ring, role) = (self.ring(), &self.control.producer);
        let look = |c: &mut ReadCursor, r: Ring<'_>| c.available(r, 1);
        let mut waiting = Waiting { cursor, look, ring, role, beacon: &self.producer };
        block_on(&mut waiting, &self.control.items, WaitStrategy::Park, NEVER).expect("no deadline")
    }

    /// Pushes the numbers from `first` up to `last`; stops where the consumer is gone.
    fn produce(&self, first: u64, last: u64, express: bool) -> Result<(), Gone> {
        let ring = self.ring();
        let mut cursor = WriteCursor::at(ring).expect("positions agree");
        for value in first..=last {
            // As the ends do it: first what is known.
            let slot = match cursor.one(ring) {
                Some(slot) => slot,
                None => self.wait_for_space(&mut cursor)?.slot,
            };
            self.write(slot, value);
            if express {
                cursor.publish_express(ring, slot, [value; EXPRESS_WORDS]);
            } else {
                cursor.publish(ring, slot, 1);
            }
            WriteCursor::notify(ring, true);
        }
        Ok(())
    }

    /// Pops up to `limit` numbers, which must follow each other, and gives the last.
    fn consume(&self, after: u64, limit: u64) -> (u64, Option<Gone>) {
        let ring = self.ring();
        let mut cursor = ReadCursor::at(ring).expect("positions agree");
        let mut last = after;
        while last < limit {
            let value = match cursor.one() {
                Some(slot) => self.read(slot),
                None => match self.wait_for_items(&mut cursor) {
                    Ok(span) => match cursor.express(ring) {
                        Some([value, same]) => {
                            assert_eq!(value, same, "an express copy is torn");
                            value
                        }
                        None => self.read(span.slot),
                    },
                    Err(gone) => return (last, Some(gone)),
                },
            };
            assert_eq!(value, last + 1, "an item is lost, repeated or not yet written");
            cursor.release(ring, 1);
            last = value;
            ReadCursor::notify(ring, true);
        }
        (last, None)
    }
}

/// Runs `body` as a process that dies at `point`, or at the end if it does not come there.
pub(super) fn mortal(beacon: &Beacon, point: Option<Point>, body: impl FnOnce()) {
    die_at(point);
    let _ = catch_unwind(AssertUnwindSafe(body));
    die_at(None);
    beacon.die();
}

const PUBLISHING: [Option<Point>; 5] = [
    None,
    Some(Point::Written),
    Some(Point::ExpressOpen),
    Some(Point::Published),
    Some(Point::FlagTaken),
];

#[test]
fn every_item_arrives_once_and_in_order() {
    // Four items in two slots: the last needs what was learned when the second lap began.
    let express = [(1, 2, true), (2, 3, true)];
    let plain = [(1, 2, false), (2, 3, false), (2, 4, false)];
    for (capacity, items, express) in express.into_iter().chain(plain) {
        check(&format!("ring of {capacity}, {items} items, express {express}"), move || {
            let shared = Shared::new(capacity);
            let producer = thread::spawn({
                let shared = shared.clone();
                move || shared.produce(1, items, express)
            });
            assert_eq!(shared.consume(0, items), (items, None));
            assert_eq!(producer.join().unwrap(), Ok(()));
        });
    }
}

#[test]
fn a_closed_ring_is_drained_first() {
    check("close after a push", || {
        let shared = Shared::new(1);
        let producer = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.produce(1, 1, false).unwrap();
                shared.control.producer.leave(PRODUCER, true);
                let _ = crate::sync::barrier::heavy();
                shared.control.items.wake();
            }
        });
        assert_eq!(shared.consume(0, 2), (1, Some(Gone::Closed)));
        producer.join().unwrap();
    });
}

#[test]
fn a_producer_killed_anywhere_leaves_what_it_published() {
    for point in PUBLISHING {
        check(&format!("producer dies at {point:?}"), move || {
            let shared = Shared::new(1);
            let producer = thread::spawn({
                let shared = shared.clone();
                move || {
                    mortal(&shared.producer, point, || shared.produce(1, 1, true).unwrap());
                }
            });
            let (last, gone) = shared.consume(0, 2);
            assert_eq!(gone, Some(Gone::Died));
            match point {
                Some(Point::Written | Point::ExpressOpen) => assert_eq!(last, 0),
                _ => assert_eq!(last, 1),
            }
            producer.join().unwrap();
        });
    }
}

#[test]
fn a_consumer_killed_anywhere_does_not_hold_the_producer() {
    for point in [None, Some(Point::Published), Some(Point::FlagTaken)] {
        check(&format!("consumer dies at {point:?}"), move || {
            let shared = Shared::new(1);
            let consumer = thread::spawn({
                let shared = shared.clone();
                move || {
                    mortal(&shared.consumer, point, || {
                        shared.consume(0, 1);
                    });
                }
            });
            assert_eq!(shared.produce(1, 3, false), Err(Gone::Died));
            consumer.join().unwrap();
        });
    }
}

#[test]
fn a_successor_goes_on_where_the_dead_producer_stopped() {
    let points = [Point::Written, Point::ExpressOpen, Point::Published];
    for (point, express) in points.into_iter().flat_map(|p| [(p, false), (p, true)]) {
        check(&format!("successor after {point:?}, express {express}"), move || {
            let shared = Shared::new(2);
            let producers = thread::spawn({
                let shared = shared.clone();
                move || {
                    mortal(&shared.producer, Some(point), || {
                        shared.produce(1, 1, true).unwrap();
                    });
                    // The successor knows from the positions what was published.
                    let published = u64::from(point == Point::Published);
                    let seen = shared.control.producer.read().1;
                    assert!(shared.control.producer.claim(seen, SUCCESSOR));
                    shared.control.items.wake();
                    shared.produce(published + 1, 2, express).unwrap();
                }
            });
            let mut last = 0;
            while last < 2 {
                last = shared.consume(last, 2).0;
                thread::yield_now();
            }
            producers.join().unwrap();
        });
    }
}

#[test]
fn a_wake_is_not_lost_between_two_sleeps() {
    check("announce, wake, announce", || {
        let cell = Arc::new(WaitCell::new());
        let state = Arc::new(AtomicU32::new(0));
        struct Until<'a>(&'a AtomicU32, u32);
        impl<'a> Wait<'a> for Until<'a> {
            type Output = ();
            fn poll(&mut self) -> Option<()> {
                (self.0.load(Acquire) >= self.1).then_some(())
            }
            fn peer(&mut self, _: bool) -> Result<Asleep<'a>, ()> {
                Ok(Asleep { other: None, slice: NEVER })
            }
        }
        let waker = thread::spawn({
            let (cell, state) = (cell.clone(), state.clone());
            move || {
                for value in 1..=2 {
                    state.store(value, Relaxed);
                    crate::sync::barrier::light(true);
                    if cell.is_announced() {
                        cell.wake();
                    }
                }
            }
        });
        for value in 1..=2 {
            block_on(&mut Until(&state, value), &cell, WaitStrategy::Park, NEVER);
        }
        waker.join().unwrap();
    });
}

#[test]
fn an_object_is_seen_complete_or_not_at_all() {
    check("publication", || {
        let shared = Arc::new((Publication::new(), Shared::new(1)));
        let maker = thread::spawn({
            let shared = shared.clone();
            move || {
                shared.0.begin(1);
                shared.1.write(0, 7);
                shared.0.publish(1);
            }
        });
        if shared.0.read() == (1, true) {
            assert_eq!(shared.1.read(0), 7);
        }
        maker.join().unwrap();
    });
}

#[test]
fn a_role_hands_over_the_positions() {
    check("role", || {
        let shared = Shared::new(2);
        let first = thread::spawn({
            let shared = shared.clone();
            move || {
                // Without a look for sleepers, whose barrier would order the departure, too.
                let mut cursor = WriteCursor::at(shared.ring()).unwrap();
                let slot = cursor.free(shared.ring(), 1).unwrap().slot;
                shared.write(slot, 1);
                cursor.publish(shared.ring(), slot, 1);
                shared.control.producer.leave(PRODUCER, true);
            }
        });
        let (holder, seen) = shared.control.producer.read();
        if holder == Holder::Closed && shared.control.producer.claim(seen, SUCCESSOR) {
            shared.produce(2, 2, false).unwrap();
            assert_eq!(shared.consume(0, 2).0, 2);
        }
        first.join().unwrap();
    });
}
