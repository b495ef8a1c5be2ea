//! Models of the versions of a value: see [`super::models`] for how they run.

use super::latest::{Announcement, Control, HEAD_WORDS, Versions, announcements};
use super::models::{Beacon, check, mortal};
use super::role::Holder;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::crash::Point;
use crate::wait::{Asleep, NEVER, Wait, WaitStrategy, block_on};
use core::mem::MaybeUninit;
use loom::sync::Arc;
use loom::thread;

/// Words of a value: two can be torn.
const WORDS: usize = 2;
const PUBLISHER: u64 = 1 << 32 | 1;
const SUCCESSOR: u64 = 2 << 32 | 1;

/// A value with its versions, and the beacon of its writer.
struct Shared {
    control: Control,
    announcements: Vec<Announcement>,
    words: Vec<AtomicU64>,
    buffers: usize,
    beacon: Beacon,
}

impl Shared {
    fn new(buffers: usize) -> Arc<Self> {
        let control = Control::new(0, buffers as u64);
        control.publisher.claim(0, PUBLISHER);
        Arc::new(Shared {
            control,
            announcements: (0..announcements(buffers)).map(|_| Announcement::new()).collect(),
            words: (0..(HEAD_WORDS + WORDS) * buffers).map(|_| AtomicU64::new(0)).collect(),
            buffers,
            beacon: Beacon::new(),
        })
    }

    fn versions(&self) -> Versions<'_> {
        let Shared { control, announcements, words, buffers, .. } = self;
        Versions { control, announcements, words, stride: HEAD_WORDS + WORDS, buffers: *buffers }
    }

    /// Publishes the next number.
    fn publish(&self) {
        let bytes = [(self.control.version() + 1).to_le_bytes(); WORDS];
        let number = self.versions().publish(bytes.as_flattened()).expect("words agree");
        assert_eq!(number.to_le_bytes(), bytes[0]);
        self.versions().notify(true);
    }

    /// Reads: the value is whole, and the one of its version.
    fn read(&self) -> u64 {
        let mut bytes = [MaybeUninit::new(0xff); WORDS * 8];
        let announces = self.buffers > 3;
        let version = self.versions().read(0, announces, &mut bytes).expect("words agree").number;
        for word in bytes.chunks(8) {
            let low = u64::from_le_bytes(std::array::from_fn(|i| initialised(word[i])));
            assert_eq!(low, version, "a value is torn, or not that of its version");
        }
        version
    }
}

#[allow(unsafe_code, reason = "reads back what was copied")]
fn initialised(byte: MaybeUninit<u8>) -> u8 {
    // SAFETY: initialised where it was made, and every write to it is of an initialised byte.
    unsafe { byte.assume_init() }
}

#[test]
fn values_are_whole_and_never_go_back() {
    for (buffers, published, reads) in [(2, 2, 1), (2, 2, 2), (3, 3, 1)] {
        check(&format!("latest in {buffers} buffers, {published} published"), move || {
            let shared = Shared::new(buffers);
            let publisher = thread::spawn({
                let shared = shared.clone();
                move || (0..published).for_each(|_| shared.publish())
            });
            let mut last = 0;
            for _ in 0..reads {
                let version = shared.read();
                assert!(version >= last, "an older value came back");
                last = version;
            }
            publisher.join().unwrap();
            assert_eq!(shared.read(), published);
        });
    }
}

#[test]
fn a_successor_goes_on_where_a_dead_writer_stopped() {
    let points = [Point::Begun, Point::HalfWritten, Point::Written, Point::Published];
    for point in points {
        check(&format!("latest, its writer killed at {point:?}"), move || {
            let shared = Shared::new(2);
            let publisher = thread::spawn({
                let shared = shared.clone();
                move || mortal(&shared.beacon, Some(point), || shared.publish())
            });
            let reader = thread::spawn({
                let shared = shared.clone();
                move || shared.read()
            });
            // The proof of a death comes from the kernel, with everything the dead did.
            publisher.join().unwrap();
            let left = shared.read();
            assert_eq!(left, u64::from(point == Point::Published));
            let (holder, seen) = shared.control.publisher.read();
            assert_eq!(holder, Holder::Held(PUBLISHER));
            assert!(shared.control.publisher.claim(seen, SUCCESSOR));
            shared.publish();
            assert_eq!(shared.read(), left + 1);
            reader.join().unwrap();
        });
    }
}

#[test]
fn writers_that_take_turns_lose_nothing() {
    check("latest with two writers", || {
        let shared = Shared::new(2);
        let write = |shared: &Shared, stamp: u64| {
            let claim = &shared.control.claim;
            while claim.compare_exchange(0, stamp, Acquire, Relaxed).is_err() {
                thread::yield_now();
            }
            shared.publish();
            claim.store(0, Release);
        };
        let other = thread::spawn({
            let shared = shared.clone();
            move || write(&shared, PUBLISHER)
        });
        write(&shared, SUCCESSOR);
        shared.read();
        other.join().unwrap();
        assert_eq!(shared.read(), 2);
    });
}

/// A wait for a version, as readers do it.
struct Waiting<'a> {
    shared: &'a Shared,
    seen: u64,
}

impl<'a> Wait<'a> for Waiting<'a> {
    type Output = Option<u64>;

    fn poll(&mut self) -> Option<Self::Output> {
        let version = self.shared.control.version();
        (version != self.seen).then_some(Some(version))
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, Self::Output> {
        if self.shared.control.publisher.read().0 == Holder::Closed {
            return Err(None);
        }
        match self.shared.beacon.watch() {
            Some(other) => Ok(Asleep { other: Some(other), slice: NEVER }),
            None => Err(None),
        }
    }
}

#[test]
fn who_waits_for_something_newer_is_woken_or_told() {
    for point in [None, Some(Point::Written), Some(Point::Published), Some(Point::FlagTaken)] {
        check(&format!("latest, waited for, its writer killed at {point:?}"), move || {
            let shared = Shared::new(2);
            let publisher = thread::spawn({
                let shared = shared.clone();
                move || {
                    if point.is_some() {
                        mortal(&shared.beacon, point, || shared.publish());
                    } else {
                        // It lives on: only a wake helps.
                        shared.publish();
                    }
                }
            });
            let mut waiting = Waiting { shared: &shared, seen: 0 };
            let news = &shared.control.news;
            let woken = block_on(&mut waiting, news, WaitStrategy::Park, NEVER);
            match woken.expect("no deadline") {
                Some(version) => assert_eq!((version, shared.read()), (1, 1)),
                None => assert_eq!(point, Some(Point::Written), "what was published comes first"),
            }
            publisher.join().unwrap();
        });
    }
}
