//! Opening whatever lies in the file of a name: arbitrary bytes, or a real segment with some of its
//! bytes changed. Nothing may panic, read out of bounds or go on for ever.
#![no_main]

use commons::broadcast::Broadcast;
use commons::pipe::Pipe;
use commons::spsc::Ring;
use commons::{Array, AtomicBool, AtomicU64, Latest, Queue, Segment, Value, inspect, queue};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("COMMONS_SHM_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from)
});

/// A segment with two rings and one cell of each kind that are in use.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let name = "sound";
    let segment = Segment::create(name, 1 << 17).expect("room for a small segment");
    for label in ["one", "two"] {
        let ring = Ring::<u64>::new_in(&segment, label, 16).expect("room for a small ring");
        ring.producer().expect("nobody else's").push_all(&[1, 2, 3]).expect("room for three");
    }
    let room = "room for a small cell";
    Value::new_in(&segment, "word", 'x').expect(room).store('y').expect("a sound value");
    Value::new_in(&segment, "value", [1u64; 4]).expect(room).store([2; 4]).expect("a sound value");
    Array::new_in(&segment, "array", 20, true).expect(room).set(3, false).expect("in range");
    let latest = Latest::new_in(&segment, "latest", &[1u32; 9]).expect(room);
    latest.publisher().expect("nobody else's").publish(&[2; 9]).expect("a sound cell");
    AtomicBool::new_in(&segment, "atomic", true).expect(room);
    let queue = Queue::<u64>::new_in(&segment, "queue", 4).expect(room);
    queue.try_send_slice(&[1, 2, 3]).expect("room for three");
    let again =
        queue::Builder::new(2).at_least_once(2).new_in::<u64>(&segment, "again").expect(room);
    again.try_send(1).expect("room for one");
    let news = Broadcast::<u64>::new_in(&segment, "news", 2).expect(room);
    news.sender().expect("nobody else's").send_all(&[1, 2, 3, 4]).expect("a sound broadcast");
    let pipe: Pipe = Pipe::new_in(&segment, "pipe", 128).expect(room);
    let mut first = pipe.first().expect("nobody else's");
    first.send_bytes(b"short").expect("room for a message");
    first.send_bytes(b"longer than a grain").expect("room for a message");
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
                let at = if change[2] % 2 == 0 { at % 256 } else { at % 20000 } as usize;
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
        use_cells(&segment);
        for label in ["queue", "again"] {
            if let Ok(queue) = Queue::<u64>::open_in(&segment, label) {
                use_queue(&queue);
            }
        }
        if let Ok(news) = Broadcast::<u64>::open_in(&segment, "news") {
            use_broadcast(&news);
        }
        if let Ok(pipe) = Pipe::open_in(&segment, "pipe") {
            use_pipe(&pipe);
        }
        let _ = Ring::<[u32; 3]>::new_in(&segment, "three", 5);
        let _ = segment.remove("two");
        let _ = Ring::<u64>::new_in(&segment, "four", 16);
    }
    let _ = inspect::collect();
}

fn use_cells(segment: &Segment) {
    if let Ok(word) = Value::<char>::open_in(segment, "word") {
        let _ = (word.load(), word.swap('a'), word.update(|c| c), word.store('b'));
        assert_eq!(word.load(), Ok('b'));
    }
    if let Ok(value) = Value::<[u64; 4]>::open_in(segment, "value") {
        let _ = (value.load(), value.swap([3; 4]), value.update(|v| v));
        if value.store([4; 4]).is_ok() {
            assert_eq!(value.load(), Ok([4; 4]));
        }
    }
    if let Ok(array) = Array::<bool>::open_in(segment, "array") {
        let (len, mut some) = (array.len(), [false; 3]);
        let _ = (array.get(0), array.get(len), array.set(len / 2, true), array.to_vec());
        let _ = array.load_range(len.saturating_sub(3), &mut some);
        let _ = array.fill(.., true);
    }
    if let Ok(latest) = Latest::<[u32; 9]>::open_in(segment, "latest") {
        let _ = latest.buffers();
        if let Ok(mut publisher) = latest.publisher() {
            let _ = publisher.publish(&[5; 9]);
        }
        if let Ok(mut reader) = latest.reader() {
            let _ = (reader.read(), reader.read_into(&mut [0; 9]), reader.has_newer());
            let _ = reader.wait_newer_timeout(Duration::from_millis(1));
        }
    }
    if let Ok(atomic) = AtomicBool::open_in(segment, "atomic") {
        use std::sync::atomic::Ordering::SeqCst;
        let _ = (atomic.fetch_xor(true, SeqCst), atomic.load(SeqCst));
    }
    let _ = AtomicU64::open_in(segment, "atomic");
}

fn use_queue(queue: &Queue<u64>) {
    let _ = (queue.len(), queue.is_full(), queue.lost_in_flight(), queue.lost_numbers());
    let wait = Duration::from_millis(1);
    for i in 0..10 {
        let _ = queue.try_send(i);
    }
    let _ = queue.send_timeout(7, wait);
    let _ = queue.try_reserve().map(|slot| slot.commit());
    let _ = queue.try_loan().map(|loan| (loan.number(), loan.is_redelivered()));
    for _ in 0..20 {
        let _ = queue.try_recv();
    }
    let _ = queue.recv_timeout(wait);
    drop((queue.sender(), queue.receiver()));
}

fn use_broadcast(broadcast: &Broadcast<u64>) {
    let (receiver, sender) = (broadcast.receiver_from_oldest(), broadcast.sender());
    if let Ok(mut sender) = sender {
        let _ = (sender.send(7), sender.send_all(&[8, 9]));
    }
    if let Ok(mut receiver) = receiver {
        for _ in 0..20 {
            let _ = receiver.try_recv();
        }
        let _ = (receiver.len(), receiver.peer(), receiver.is_empty());
        let _ = receiver.recv_timeout(Duration::from_millis(1));
    }
}

fn use_pipe(pipe: &Pipe) {
    let wait = Duration::from_millis(1);
    let (first, second) = (pipe.first(), pipe.second());
    if let Ok(mut first) = first {
        let _ = first.try_send_bytes(&[7; 5]);
        let _ = first.send_bytes_timeout(&[7; 300], wait);
    }
    if let Ok(mut second) = second {
        let _ = second.poll(wait);
        for _ in 0..20 {
            let _ = second.try_recv_bytes();
        }
        let _ = second.recv_bytes_timeout(wait);
    }
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
