//! Opening whatever lies in the file of a name: arbitrary bytes, or a real segment with some of its
//! bytes changed. Nothing may panic, read out of bounds or go on for ever.
#![no_main]

use commons::broadcast::Broadcast;
use commons::pipe::Pipe;
use commons::spsc::Ring;
use commons::{
    Array, AtomicBool, AtomicU64, JoinableQueue, Latest, ObjectQueue, Queue, Segment, Value,
    inspect, objects, queue, records,
};
use libfuzzer_sys::fuzz_target;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

static DIRECTORY: LazyLock<PathBuf> = LazyLock::new(|| {
    std::env::var_os("COMMONS_SHM_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from)
});

/// What goes through queues of objects and pipes.
type Object = (u32, String);

/// A segment with one object of each kind, and more of some, that are in use.
static SOUND: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let name = "sound";
    let segment = Segment::create(name, 1 << 18).expect("room for a small segment");
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
    let room_for_it = "room for a message";
    let pipe = Pipe::<Object>::new_in(&segment, "pipe", 128).expect(room);
    let mut first = pipe.first().expect("nobody else's");
    first.send_bytes(b"short").expect(room_for_it);
    first.send_bytes(b"longer than a grain").expect(room_for_it);
    first.send(&object(3)).expect(room_for_it);
    let records = records::Ring::new_in(&segment, "records", 256).expect(room);
    let mut producer = records.producer().expect("nobody else's");
    for length in [5, 12, 13, 100] {
        producer.send(&vec![7; length]).expect(room_for_it);
    }
    let objects = objects::Builder::new(256).in_flight(4).new_in(&segment, "objects").expect(room);
    let again = objects::Builder::new(512).in_flight(4).redeliver(64);
    let tasks = again.new_joinable_in(&segment, "tasks").expect(room);
    for length in [0, 5, 40] {
        objects.send(&object(length)).expect(room_for_it);
        tasks.send(&object(length)).expect(room_for_it);
    }
    // One is with a worker, one comes again, one is to be taken.
    std::mem::forget(tasks.recv());
    drop(tasks.recv());
    let bytes = std::fs::read(DIRECTORY.join(name)).expect("a file behind the name");
    Segment::unlink(name).expect("a name to take away");
    bytes
});

fn object(length: usize) -> Object {
    (7, "x".repeat(length))
}

/// Offsets of words in lines of the sound segment, behind the table, that have any bits, or follow one.
static TARGETS: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let lines: Vec<bool> = SOUND.chunks(64).map(|line| line.iter().any(|&b| b != 0)).collect();
    let is_used = |&i: &usize| lines[i] || lines[i - 1];
    let used = ((256 + 65536) / 64..lines.len()).filter(is_used);
    used.flat_map(|i| (0..8).map(move |word| 64 * i + 8 * word)).collect()
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
                let at = match change[2] % 4 {
                    0 => usize::from(at % 256),
                    1 => 256 + 65536 + usize::from(at % 20000),
                    _ => TARGETS[usize::from(at) % TARGETS.len()] + usize::from(change[2] / 4 % 8),
                };
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
        if let Ok(records) = records::Ring::open_in(&segment, "records") {
            use_records(&records);
        }
        if let Ok(objects) = ObjectQueue::open_in(&segment, "objects") {
            use_objects(&objects);
        }
        if let Ok(tasks) = JoinableQueue::open_in(&segment, "tasks") {
            use_tasks(&tasks);
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

fn use_records(ring: &records::Ring) {
    let wait = Duration::from_millis(1);
    let (producer, consumer) = (ring.producer(), ring.consumer());
    if let Ok(mut producer) = producer {
        let _ = (producer.try_send(&[7; 5]), producer.send_timeout(&[7; 600], wait));
        let _ = producer.try_reserve(40).map(|grant| grant.commit(9));
    }
    if let Ok(mut consumer) = consumer {
        let mut record = Vec::new();
        let _ = consumer.try_peek().map(|lent| lent.len());
        for _ in 0..20 {
            let _ = consumer.try_recv(&mut record);
        }
        let _ = consumer.recv_timeout(&mut record, wait);
        let _ = (consumer.used(), consumer.discarded(), consumer.is_empty());
    }
}

fn use_objects(queue: &ObjectQueue<Object>) {
    let wait = Duration::from_millis(1);
    let _ = (queue.len(), queue.is_full(), queue.lost_in_flight(), queue.lost_numbers());
    for length in 0..10 {
        let _ = queue.try_send(&object(9 * length));
    }
    let _ = queue.send_timeout(&object(1000), wait);
    for _ in 0..20 {
        let _ = queue.try_recv();
    }
    let _ = queue.recv_timeout(wait);
    drop((queue.sender(), queue.receiver()));
}

fn use_tasks(queue: &JoinableQueue<Object>) {
    let wait = Duration::from_millis(1);
    let _ = (queue.len(), queue.is_full(), queue.failed(), queue.unfinished());
    for length in 0..10 {
        let _ = queue.try_send(&object(9 * length));
    }
    for _ in 0..10 {
        let _ = queue.try_recv().map(|task| (task.number(), task.is_redelivered(), task.done()));
        let _ = (queue.try_recv().map(drop), queue.try_get(), queue.task_done());
    }
    let _ = (queue.recv_timeout(wait).map(drop), queue.join_timeout(wait));
}

fn use_pipe(pipe: &Pipe<Object>) {
    let wait = Duration::from_millis(1);
    let (first, second) = (pipe.first(), pipe.second());
    if let Ok(mut first) = first {
        let _ = first.try_send_bytes(&[7; 5]);
        let _ = first.send_bytes_timeout(&[7; 300], wait);
    }
    if let Ok(mut second) = second {
        let _ = second.poll(wait);
        for _ in 0..20 {
            let _ = (second.try_recv_bytes(), second.try_recv());
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
