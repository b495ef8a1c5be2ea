//! Models of the broadcast: see [`super::models`] for how they run.

use super::broadcast::{Control, Found, ReadCursor, Ring, WriteCursor};
use super::models::{Beacon, check, mortal};
use super::role::Holder;
use crate::sync::atomic::AtomicU64;
use crate::sync::crash::Point;
use crate::wait::{Asleep, NEVER, Wait, WaitStrategy, block_on};
use core::mem::MaybeUninit;
use loom::sync::Arc;
use loom::thread;

/// Words of a message: two can be torn.
const WORDS: usize = 2;
const SENDER: u64 = 1 << 32 | 1;
const SUCCESSOR: u64 = 2 << 32 | 1;

/// A broadcast, and the beacon of its sender.
struct Shared {
    control: Control,
    words: Vec<AtomicU64>,
    slots: u64,
    beacon: Beacon,
}

impl Shared {
    /// One that keeps so many messages.
    fn new(kept: u64) -> Arc<Self> {
        let control = Control::new();
        control.sender.claim(0, SENDER);
        let words = (0..(1 + WORDS) * (kept as usize + 1)).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Shared { control, words, slots: kept + 1, beacon: Beacon::new() })
    }

    fn ring(&self) -> Ring<'_> {
        let Shared { control, words, slots, .. } = self;
        Ring { control, words, stride: 1 + WORDS, slots: *slots }
    }

    fn writer(&self) -> WriteCursor {
        WriteCursor::at(self.ring()).expect("words agree")
    }

    /// Publishes so many messages, each of which is one above its number.
    fn publish(&self, cursor: &mut WriteCursor, count: usize) {
        for _ in 0..count {
            let bytes = [(cursor.number() + 1).to_le_bytes(); WORDS];
            cursor.publish(self.ring(), bytes.as_flattened());
            self.ring().notify(true);
        }
    }

    /// Publishes so many messages in a thread of its own. (The cursor is made before that: loom looks
    /// for conflicts with the last access alone, which would be the sender's own look at the mark.)
    fn send(shared: Arc<Self>, count: usize) -> thread::JoinHandle<()> {
        let mut cursor = shared.writer();
        thread::spawn(move || shared.publish(&mut cursor, count))
    }

    fn reader(&self) -> ReadCursor {
        ReadCursor::at_newest(self.ring()).expect("words agree")
    }

    /// Reads what is next: a message is whole, the one of its number, and what is missed is counted.
    /// Says how far the reader came.
    fn read(&self, cursor: &mut ReadCursor) -> Option<Found> {
        let before = cursor.number();
        let mut bytes = [MaybeUninit::new(0xff); WORDS * 8];
        let found = cursor.read(self.ring(), &mut bytes).expect("words agree");
        let (expected, found) = match found {
            Found::Nothing => (before, None),
            Found::Lagged(missed) => (before + missed, Some(found)),
            Found::Message => {
                for word in bytes.chunks(8) {
                    let low = u64::from_le_bytes(std::array::from_fn(|i| initialised(word[i])));
                    assert_eq!(low, before + 1, "a message is torn, or not that of its number");
                }
                (before + 1, Some(found))
            }
        };
        assert_eq!(cursor.number(), expected);
        found
    }
}

#[allow(unsafe_code, reason = "reads back what was copied")]
fn initialised(byte: MaybeUninit<u8>) -> u8 {
    // SAFETY: initialised where it was made, and every write to it is of an initialised byte.
    unsafe { byte.assume_init() }
}

#[test]
fn messages_are_whole_and_in_order_or_counted_as_missed() {
    for (kept, published, reads) in [(1, 3, 1), (1, 2, 2), (2, 3, 2), (2, 4, 1)] {
        check(&format!("broadcast of {kept}, {published} published, {reads} reads"), move || {
            let shared = Shared::new(kept);
            let mut cursor = shared.reader();
            let sender = Shared::send(shared.clone(), published);
            for _ in 0..reads {
                let lagged = matches!(shared.read(&mut cursor), Some(Found::Lagged(_)));
                assert!(!lagged || published as u64 > kept, "a message is gone that was kept");
            }
            sender.join().unwrap();
            // What is kept is there, and nothing else is.
            let (mut got, before) = (0, cursor.number());
            while let Some(found) = shared.read(&mut cursor) {
                got += u64::from(found == Found::Message);
            }
            assert_eq!(cursor.number(), published as u64);
            assert!(
                got >= (published as u64 - before).min(kept),
                "a message is gone that was kept"
            );
        });
    }
}

#[test]
fn newcomers_begin_with_a_message_that_is_there() {
    check("broadcast with a newcomer", || {
        let shared = Shared::new(1);
        let sender = Shared::send(shared.clone(), 2);
        let mut cursor = ReadCursor::at_oldest(shared.ring()).expect("words agree");
        let begin = cursor.number();
        if shared.control.sent() > begin {
            // Nobody knows of a message that is not complete.
            assert!(shared.read(&mut cursor).is_some());
        }
        sender.join().unwrap();
        while shared.read(&mut cursor).is_some() {}
        assert_eq!(cursor.number(), 2);
    });
}

#[test]
fn a_successor_goes_on_where_a_dead_sender_stopped() {
    let points = [Point::Begun, Point::HalfWritten, Point::Written, Point::Published];
    for point in points {
        check(&format!("broadcast, its sender killed at {point:?}"), move || {
            let shared = Shared::new(1);
            shared.publish(&mut shared.writer(), 1);
            let mut early = ReadCursor::at_oldest(shared.ring()).expect("words agree");
            let mut cursor = shared.writer();
            let sender = thread::spawn({
                let shared = shared.clone();
                move || mortal(&shared.beacon, Some(point), || shared.publish(&mut cursor, 1))
            });
            let reader = thread::spawn({
                let shared = shared.clone();
                move || {
                    shared.read(&mut early);
                    shared.read(&mut early);
                    early
                }
            });
            // The proof of a death comes from the kernel, with everything the dead did.
            sender.join().unwrap();
            let (holder, seen) = shared.control.sender.read();
            assert_eq!(holder, Holder::Held(SENDER));
            assert!(shared.control.sender.claim(seen, SUCCESSOR));
            let mut writer = shared.writer();
            assert_eq!(writer.number(), if point == Point::Published { 2 } else { 1 });
            assert_eq!(shared.control.sent(), writer.number());
            shared.publish(&mut writer, 1);
            let mut early = reader.join().unwrap();
            while shared.read(&mut early).is_some() {}
            assert_eq!(early.number(), writer.number());
        });
    }
}

/// A wait for a message, as receivers do it.
struct Waiting<'a> {
    shared: &'a Shared,
    cursor: ReadCursor,
}

impl<'a> Wait<'a> for Waiting<'a> {
    type Output = bool;

    fn poll(&mut self) -> Option<bool> {
        self.cursor.is_ready(self.shared.ring()).then_some(true)
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, bool> {
        match self.shared.beacon.watch() {
            Some(other) => Ok(Asleep { other: Some(other), slice: NEVER }),
            None => Err(false),
        }
    }
}

#[test]
fn who_waits_for_a_message_is_woken_or_told() {
    for point in [None, Some(Point::Written), Some(Point::Published), Some(Point::FlagTaken)] {
        check(&format!("broadcast, waited for, its sender killed at {point:?}"), move || {
            let shared = Shared::new(1);
            let cursor = shared.reader();
            let mut writer = shared.writer();
            let sender = thread::spawn({
                let shared = shared.clone();
                move || {
                    if point.is_some() {
                        mortal(&shared.beacon, point, || shared.publish(&mut writer, 1));
                    } else {
                        // It lives on: only a wake helps.
                        shared.publish(&mut writer, 1);
                    }
                }
            });
            let mut waiting = Waiting { shared: &shared, cursor };
            let news = &shared.control.news;
            let woken = block_on(&mut waiting, news, WaitStrategy::Park, NEVER);
            if woken.expect("no deadline") {
                assert_eq!(shared.read(&mut waiting.cursor), Some(Found::Message));
            } else {
                assert_eq!(point, Some(Point::Written), "what was published comes first");
            }
            sender.join().unwrap();
        });
    }
}
