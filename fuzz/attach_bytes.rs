//! Opening whatever lies in the file of a name: arbitrary bytes, or a real segment with some of its
//! bytes changed. Nothing may panic, read out of bounds or go on for ever.
#![no_main]

use commons::spsc::Ring;
use commons::{Segment, inspect};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("COMMONS_SHM_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from)
});

/// A segment with two rings that are in use.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let name = "sound";
    let segment = Segment::create(name, 1 << 14).expect("room for a small segment");
    for label in ["one", "two"] {
        let ring = Ring::<u64>::new_in(&segment, label, 16).expect("room for a small ring");
        ring.producer().expect("nobody else's").push_all(&[1, 2, 3]).expect("room for three");
    }
    let bytes = std::fs::read(DIRECTORY.join(name)).expect("a file behind the name");
    Segment::unlink(name).expect("a name to take away");
    bytes
});

/// A ring of its own.
static ROOT: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let name = "root";
    let ring = Ring::<u64>::create(name, 16).expect("room for a small ring");
    ring.producer().expect("nobody else's").push_all(&[1, 2, 3]).expect("room for three");
    let bytes = std::fs::read(DIRECTORY.join(name)).expect("a file behind the name");
    Segment::unlink(name).expect("a name to take away");
    bytes
});

fuzz_target!(|input: &[u8]| {
    let Some((&how, rest)) = input.split_first() else { return };
    let bytes = match how % 4 {
        0 => rest.to_vec(),
        other => {
            let mut bytes = if other == 1 { ROOT.clone() } else { SOUND.clone() };
            for change in rest.chunks_exact(11) {
                let at = u16::from_le_bytes([change[0], change[1]]);
                // The header, or the blocks, which lie behind the table of participants.
                let at = if change[2] % 2 == 0 { at % 256 } else { at % 6000 } as usize;
                let at = if change[2] % 2 == 0 { at } else { 256 + 65536 + at };
                if let Some(place) = bytes.get_mut(at..at + 8) {
                    place.copy_from_slice(&change[3..]);
                }
            }
            if other == 3 {
                bytes.truncate(rest.len() * 64);
            }
            bytes
        }
    };
    let name = "hostile";
    std::fs::write(DIRECTORY.join(name), bytes).expect("a file to write");
    use_it(name);
    // Not by `unlink`, which leaves alone what is not a segment. It may be collected already.
    let _ = std::fs::remove_file(DIRECTORY.join(name));
});

fn use_it(name: &str) {
    let _ = inspect::report(name);
    let _ = inspect::list();
    if let Ok(ring) = Ring::<u64>::open(name) {
        exercise(&ring);
    }
    let _ = Ring::<u8>::open(name);
    if let Ok(segment) = Segment::open(name) {
        let _ = segment.objects();
        for label in ["one", "two"] {
            if let Ok(ring) = Ring::<u64>::open_in(&segment, label) {
                exercise(&ring);
            }
        }
        let _ = Ring::<[u32; 3]>::new_in(&segment, "three", 5);
        let _ = segment.remove("two");
        let _ = Ring::<u64>::new_in(&segment, "four", 16);
    }
    let _ = inspect::collect();
}

fn exercise(ring: &Ring<u64>) {
    let _ = (ring.len(), ring.capacity());
    let wait = Duration::from_millis(1);
    let (producer, consumer) = (ring.producer(), ring.consumer());
    if let Ok(mut producer) = producer {
        let _ = producer.try_push_slice(&[4, 5, 6]);
        let _ = producer.push_timeout(7, wait);
    }
    if let Ok(mut consumer) = consumer {
        let mut values = [0; 8];
        let _ = consumer.try_pop_slice(&mut values);
        while consumer.try_pop().is_ok() {}
        let _ = consumer.pop_timeout(wait);
    }
}
