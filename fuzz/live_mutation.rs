//! A peer that writes wherever it likes while both ends run copying operations, are given up and
//! taken again, and are looked at: whatever it writes, the answers are valid values or errors.
//!
//! Two things it leaves alone, for which the crate trusts its peers: the links of the beacons, which
//! are in this thread's robust list, and the claim of the heap, which is waited for.
#![no_main]

mod live_queues;

use bytemuck::{CheckedBitPattern, NoUninit};
use commons::broadcast::Broadcast;
use commons::spsc::{Consumer, Element, Producer, Ring};
use commons::{ChannelError, Segment, inspect, records};
use libfuzzer_sys::fuzz_target;
use memmap2::{MmapOptions, MmapRaw};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Colour {
    Red = 3,
    Green = 5,
    Blue = 9,
}

#[derive(Clone, Copy, Debug, NoUninit, CheckedBitPattern)]
#[repr(C)]
struct Mixed {
    letter: char,
    colour: Colour,
    yes: bool,
    rest: [u8; 2],
    number: f64,
    more: [u64; 3],
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, script)) = input.split_first() else { return };
    match kind % 9 {
        3 => play_broadcast(script),
        4 => play_records(script),
        5 => live_queues::play_queue(script),
        6 => live_queues::play_objects(script),
        7 => live_queues::play_tasks(script),
        8 => live_queues::play_pipe(script),
        0 => play(script, true, |v| assert!(v == (v as u8 != 0))),
        1 => play(script, if script.len() % 2 == 0 { Colour::Green } else { Colour::Red }, |v| {
            assert!(matches!(v, Colour::Red | Colour::Green | Colour::Blue));
        }),
        _ => {
            let value = Mixed {
                letter: 'x',
                colour: Colour::Blue,
                yes: true,
                rest: [0; 2],
                number: 1.0,
                more: [7; 3],
            };
            play(script, value, |v| {
                assert!(char::from_u32(v.letter as u32).is_some());
                assert!(matches!(v.colour, Colour::Red | Colour::Green | Colour::Blue));
            });
        }
    }
});

fn play<T: Element>(script: &[u8], value: T, check: fn(T)) {
    let name = "live";
    let _ = fs::remove_file(path(name));
    let ring = Ring::<T>::create(name, 5).expect("room for a small ring");
    let mapping = map_again(name);
    let (mut producer, mut consumer) = (ring.producer().ok(), ring.consumer().ok());
    for step in script.chunks_exact(4) {
        match step[0] % 16 {
            0..=5 => scribble(&mapping, step),
            6..=9 => {
                if let Some(producer) = &mut producer {
                    push(producer, value, step[1]);
                }
            }
            10..=13 => {
                if let Some(consumer) = &mut consumer {
                    pop(consumer, value, step[1], check);
                }
            }
            14 if step[1] % 2 == 0 => {
                drop(producer.take());
                producer = ring.producer().ok();
            }
            14 => {
                drop(consumer.take());
                consumer = ring.consumer().ok();
            }
            _ => look(name),
        }
    }
    drop((producer, consumer, ring, mapping));
    // Not by `unlink`: it may not look like a segment any more.
    fs::remove_file(path(name)).expect("a name to take away");
}

/// The same with a broadcast and two receivers.
fn play_broadcast(script: &[u8]) {
    let name = "news";
    let _ = fs::remove_file(path(name));
    let broadcast = Broadcast::<Mixed>::create(name, 3).expect("room for a small one");
    let mapping = map_again(name);
    let mut sender = broadcast.sender().ok();
    let mut receivers: Vec<_> = broadcast.receiver().into_iter().collect();
    receivers.extend(broadcast.receiver_from_oldest());
    for step in script.chunks_exact(4) {
        match step[0] % 16 {
            0..=5 => scribble(&mapping, step),
            6..=9 => {
                if let Some(sender) = &mut sender {
                    let value = Mixed {
                        letter: 'x',
                        colour: Colour::Blue,
                        yes: true,
                        rest: [0; 2],
                        number: 1.0,
                        more: [7; 3],
                    };
                    let sent = sender.send(value);
                    expect_no_surprise(sent.map(drop).map_err(|rejected| rejected.reason));
                }
            }
            10..=13 => {
                for receiver in &mut receivers {
                    let result = match step[1] % 2 {
                        0 => receiver.try_recv(),
                        _ => receiver.recv_timeout(Duration::from_micros(50)),
                    };
                    expect_no_surprise(result.map(|value| {
                        assert!(char::from_u32(value.letter as u32).is_some());
                        assert!(matches!(value.colour, Colour::Red | Colour::Green | Colour::Blue));
                    }));
                    let _ = (receiver.len(), receiver.is_empty(), receiver.position());
                }
            }
            14 => {
                drop(sender.take());
                sender = broadcast.sender().ok();
            }
            _ => {
                let _ = inspect::report(name);
                receivers.extend(broadcast.receiver_from_oldest());
                receivers.truncate(4);
            }
        }
    }
    drop((sender, receivers, broadcast, mapping));
    fs::remove_file(path(name)).expect("a name to take away");
}

/// The same with a ring of records.
fn play_records(script: &[u8]) {
    let name = "live";
    let _ = fs::remove_file(path(name));
    let ring = records::Ring::create(name, 300).expect("room for a small ring");
    let mapping = map_again(name);
    let (mut producer, mut consumer) = (ring.producer().ok(), ring.consumer().ok());
    let mut record = Vec::new();
    for step in script.chunks_exact(4) {
        let length = usize::from(step[2]) * if step[3] % 8 == 0 { 4 } else { 1 };
        match step[0] % 16 {
            0..=5 => scribble(&mapping, step),
            6..=9 => {
                let Some(producer) = &mut producer else { continue };
                let sent = match step[1] % 2 {
                    0 => producer.try_send(&vec![step[3]; length]),
                    _ => producer.send_timeout(&vec![step[3]; length], Duration::from_micros(50)),
                };
                expect_no_surprise(sent);
            }
            10..=13 => {
                let Some(consumer) = &mut consumer else { continue };
                let received = match step[1] % 3 {
                    0 => consumer.try_recv(&mut record),
                    1 => consumer.try_peek().map(|lent| lent.len()),
                    _ => consumer.recv_timeout(&mut record, Duration::from_micros(50)),
                };
                expect_no_surprise(received.map(drop));
                let _ = (consumer.used(), consumer.is_empty(), consumer.discarded());
            }
            14 if step[1] % 2 == 0 => {
                drop(producer.take());
                producer = ring.producer().ok();
            }
            14 => {
                drop(consumer.take());
                consumer = ring.consumer().ok();
            }
            _ => look(name),
        }
    }
    drop((producer, consumer, ring, mapping));
    fs::remove_file(path(name)).expect("a name to take away");
}

/// The file of a name.
fn path(name: &str) -> PathBuf {
    let directory = std::env::var_os("COMMONS_SHM_DIR");
    directory.map_or_else(|| "/dev/shm".into(), PathBuf::from).join(name)
}

/// The file of a name, mapped a second time as a hostile process has it.
fn map_again(name: &str) -> MmapRaw {
    let file = File::options().read(true).write(true).open(path(name));
    MmapOptions::new().map_raw(&file.expect("a file behind the name")).expect("memory to map it")
}

/// Looks from outside, and joins.
fn look(name: &str) {
    let _ = inspect::report(name);
    if let Ok(segment) = Segment::open(name) {
        let _ = segment.objects();
        let _ = segment.remove("nothing");
    }
    let _ = Ring::<u64>::open(name);
    let _ = records::Ring::open(name);
}

/// Bytes of the header, of a place in the table, and of all that is in front of the heap.
const HEADER: usize = 256;
const PLACE: usize = 64;
const HEAP: usize = HEADER + 1024 * PLACE;

/// Writes one of the values that are most likely to lead somewhere, anywhere but where peers are
/// trusted.
fn scribble(mapping: &MmapRaw, step: &[u8]) {
    let heap = |word| HEAP + word * 8 % (mapping.len() - HEAP).min(4096);
    scribble_in(mapping, step, heap);
}

/// The same, with the words of the heap that may be meant.
fn scribble_in(mapping: &MmapRaw, step: &[u8], heap: impl FnOnce(usize) -> usize) {
    let word = usize::from(u16::from_le_bytes([step[1], step[2]]));
    let at = match step[0] / 16 % 4 {
        0 => word * 8 % HEADER,
        // The places that are in use.
        1 => HEADER + word * 8 % (4 * PLACE),
        _ => heap(word),
    };
    let in_table = (HEADER..HEAP).contains(&at);
    if at == 128 || in_table && (at - HEADER) % PLACE >= 48 {
        return;
    }
    let value = match step[3] % 8 {
        0 => 0,
        1 => u64::MAX,
        2 => 1 << 63,
        3 => u64::from(step[0]),
        4 => 0x0101_0101_0101_0101,
        5 => u64::from(step[3]) << 32,
        6 => 6,
        _ => u64::from(step[3]),
    };
    // SAFETY: `at` is within the mapping.
    let word = unsafe { mapping.as_mut_ptr().add(at) }.cast::<AtomicU64>();
    // SAFETY: mapped, aligned to eight bytes, and any bytes are a value of an atomic.
    let word = unsafe { &*word };
    word.store(value, SeqCst);
}

fn push<T: Element>(producer: &mut Producer<T>, value: T, how: u8) {
    let result = match how % 3 {
        0 => producer.try_push(value).map_err(|r| r.reason),
        1 => producer.try_push_slice(&[value; 3]).map(drop),
        _ => producer.push_timeout(value, Duration::from_micros(50)).map_err(|r| r.reason),
    };
    expect_no_surprise(result);
    let _ = (producer.len(), producer.is_full());
}

fn pop<T: Element>(consumer: &mut Consumer<T>, value: T, how: u8, check: fn(T)) {
    let result = match how % 3 {
        0 => consumer.try_pop().map(check),
        1 => {
            let mut values = [value; 4];
            let result = consumer.try_pop_slice(&mut values);
            // Also those that were not filled.
            values.into_iter().for_each(check);
            result.map(drop)
        }
        _ => consumer.pop_timeout(Duration::from_micros(50)).map(check),
    };
    expect_no_surprise(result);
    let _ = (consumer.len(), consumer.is_empty());
}

fn expect_no_surprise(result: Result<(), ChannelError>) {
    assert!(!matches!(result, Err(ChannelError::Forked)), "this process has not forked");
}
