//! The shared layout, pinned from outside: the bytes of a named ring are where the documentation of
//! the layout says. Two builds that pass this understand each other; a change here is a new version.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "asks the kernel about locks")]

mod common;

use common::{name, watchdog};
use commons::broadcast::Broadcast;
use commons::spsc::Ring;
use commons::{
    Array, AtomicU16, Barrier, Condvar, Event, Latest, LockedArray, Mutex, Once, OnceCell,
    PermitPool, RecursiveMutex, Reset, RwLock, Segment, Semaphore, Value,
};
use std::fs;
use std::os::fd::AsRawFd;

const VERSION: u32 = 1;
const PARTICIPANTS: usize = 1024;
const HEADER: usize = 256;
const PARTICIPANT: usize = 64;
const BLOCK: usize = HEADER + PARTICIPANTS * PARTICIPANT;
const OBJECT: usize = BLOCK + 512;

/// A file's bytes, read by offset.
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(path: &std::path::Path) -> Self {
        Bytes(fs::read(path).unwrap())
    }

    fn u32(&self, offset: usize) -> u32 {
        u32::from_le_bytes(self.0[offset..offset + 4].try_into().unwrap())
    }

    fn u64(&self, offset: usize) -> u64 {
        u64::from_le_bytes(self.0[offset..offset + 8].try_into().unwrap())
    }

    fn text(&self, offset: usize, length: usize) -> &str {
        let bytes = &self.0[offset..offset + length];
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(length);
        assert!(bytes[end..].iter().all(|&b| b == 0), "padded with zeros");
        std::str::from_utf8(&bytes[..end]).unwrap()
    }
}

#[test]
fn the_header_is_where_it_was() {
    let _watchdog = watchdog();
    let name = name("abi-header");
    let before = std::time::SystemTime::now();
    let segment = Segment::create(&name, 10_000).unwrap();
    let bytes = Bytes::of(&name.path());
    assert_eq!(&bytes.0[..8], b"commons\0", "magic");
    assert_eq!(bytes.u32(8), VERSION, "version");
    assert_eq!(bytes.u32(12) as usize, PARTICIPANTS, "places for participants");
    assert_eq!(bytes.u64(16), bytes.0.len() as u64, "length");
    assert_eq!(bytes.u64(16), segment.size() as u64, "length");
    assert_eq!(bytes.u64(24), HEADER as u64, "offset of the table");
    assert_eq!(bytes.u64(32), BLOCK as u64, "offset of the heap");
    let created = std::time::UNIX_EPOCH + std::time::Duration::from_nanos(bytes.u64(40));
    assert!(created >= before && created <= std::time::SystemTime::now(), "time of creation");
    assert_eq!(bytes.u64(48), u64::from(std::process::id()), "creator");
    use std::os::unix::fs::MetadataExt;
    let namespace = fs::metadata("/proc/self/ns/pid").unwrap().ino();
    assert_eq!(bytes.u64(56), namespace, "pid namespace of the creator");
    assert_eq!(bytes.u64(128), 0, "claim of the heap");
    assert_eq!(bytes.u64(136), BLOCK as u64, "end of the heap");
    assert_eq!(bytes.u64(144), bytes.0.len() as u64, "end of the reserved space");
    assert_eq!(bytes.u64(152), 1, "next place: the creator has the first");
    assert!(bytes.0.len().is_multiple_of(4096));
    assert!(bytes.0[64..128].iter().all(|&b| b == 0), "reserved");
    let behind = HEADER + PARTICIPANT;
    assert!(bytes.0[160..HEADER].iter().all(|&b| b == 0), "the rest of the header");
    assert!(bytes.0[behind..].iter().all(|&b| b == 0), "nothing else is written");
}

#[test]
fn a_participant_is_where_it_was_and_locks_the_byte_of_its_stamp() {
    let _watchdog = watchdog();
    let name = name("abi-participant");
    let first = Segment::create(&name, 10_000).unwrap();
    let second = Segment::open(&name).unwrap();
    let bytes = Bytes::of(&name.path());
    assert_eq!(bytes.u64(152), 2, "next place");
    let own = fs::read_to_string("/proc/self/stat").unwrap();
    let started = own.rsplit(')').next().unwrap().split_ascii_whitespace().nth(19).unwrap();
    let started: u64 = started.parse().unwrap();
    let (participant, next) = (HEADER, HEADER + PARTICIPANT);
    for place in [participant, next] {
        assert_eq!(bytes.u32(place), 1, "generation");
        assert_eq!(bytes.u32(place + 4), std::process::id(), "process");
        assert_eq!(bytes.u64(place + 8), bytes.u64(56), "pid namespace");
        assert!(bytes.u64(place + 16) >= started, "a moment at which it ran");
        assert_eq!(bytes.u32(place + 24) & libc::FUTEX_TID_MASK, common::thread_id(), "beacon");
        assert_ne!(bytes.u64(place + 48), 0, "previous node of the list");
        assert_ne!(bytes.u64(place + 56), 0, "next node of the list");
    }
    let file = fs::File::open(name.path()).unwrap();
    let locked = |byte: u64| {
        // SAFETY: all-zero bytes are a valid flock.
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_RDLCK as libc::c_short;
        lock.l_start = byte as libc::off_t;
        lock.l_len = 1;
        // SAFETY: `lock` is live for the kernel to fill in.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) };
        assert_eq!(result, 0);
        libc::c_int::from(lock.l_type) == libc::F_WRLCK
    };
    let stamp = |index: u64, generation: u64| (1 << 60) + (index << 32 | generation);
    assert!(locked(stamp(0, 1)) && locked(stamp(1, 1)));
    assert!(!locked(stamp(0, 0)) && !locked(stamp(0, 2)) && !locked(stamp(2, 1)));
    assert!(!locked(1 << 59), "nobody is at the door");
    drop(first);
    let bytes = Bytes::of(&name.path());
    assert!(!locked(stamp(0, 1)) && locked(stamp(1, 1)));
    assert_eq!((bytes.u32(participant), bytes.u32(participant + 4)), (1, 0), "it left in order");
    assert_eq!(bytes.u32(participant + 24), 0, "beacon");
    drop(second);
}

#[test]
fn a_block_and_a_ring_are_where_they_were() {
    let _watchdog = watchdog();
    let name = name("abi-ring");
    let ring = Ring::<u32>::create(&name, 5).unwrap();
    let mut producer = ring.producer().unwrap();
    let mut consumer = ring.consumer().unwrap();
    producer.push_all(&[10, 11, 12]).unwrap();
    consumer.pop().unwrap();
    producer.push(0xdead_beef).unwrap();
    let bytes = Bytes::of(&name.path());

    assert_eq!(bytes.u64(BLOCK), 2, "serial number 0, live");
    let payload_size: usize = 128 + 128 + 128 + 5 * 4;
    let length = (512 + payload_size).next_multiple_of(128);
    assert_eq!(bytes.u64(BLOCK + 8), length as u64, "length of the block");
    assert_eq!(bytes.u64(136), (BLOCK + length) as u64, "end of the heap");
    assert_eq!(bytes.u64(BLOCK + 16), OBJECT as u64, "offset of the object");
    assert_eq!(bytes.u64(BLOCK + 24), payload_size as u64, "size of the object");
    assert_eq!(bytes.u32(BLOCK + 32), 1, "kind");
    assert_eq!(bytes.u32(BLOCK + 36), 1, "kept");
    assert_eq!(bytes.u64(BLOCK + 40), 4, "size of an element");
    assert_eq!(bytes.u64(BLOCK + 48), 4, "alignment of an element");
    assert_eq!(bytes.u64(BLOCK + 56), 5, "capacity");
    assert_eq!(bytes.text(BLOCK + 64, 48), "u32", "type");
    assert_eq!(bytes.text(BLOCK + 112, 64), "", "label");
    assert_eq!(bytes.u64(BLOCK + 176), 1, "holders: place 0");
    assert!(bytes.0[BLOCK + 184..OBJECT].iter().all(|&b| b == 0), "other holders, loan, reserved");

    assert_eq!(bytes.u64(OBJECT), 4, "tail");
    assert_eq!(bytes.u64(OBJECT + 8), 4, "open");
    assert_eq!(bytes.u64(OBJECT + 16), 0xdead_beef, "express copy");
    assert_eq!(bytes.u64(OBJECT + 24), 0, "express copy");
    assert_eq!(bytes.u64(OBJECT + 128), 1, "head");
    let held = |index: u64, generation: u64| 1 << 60 | (index + 1) << 32 | generation;
    assert_eq!(bytes.u64(OBJECT + 256 + 8), held(0, 1), "producer");
    assert_eq!(bytes.u64(OBJECT + 256 + 16), held(0, 1), "consumer");
    let slots: Vec<u32> = (0..5).map(|i| bytes.u32(OBJECT + 384 + 4 * i)).collect();
    assert_eq!(slots, [10, 11, 12, 0xdead_beef, 0]);

    drop(producer);
    consumer.abandon();
    let bytes = Bytes::of(&name.path());
    let left = |state: u64| state << 60 | 1 << 32 | 1;
    assert_eq!(bytes.u64(OBJECT + 256 + 8), left(2), "producer, closed");
    assert_eq!(bytes.u64(OBJECT + 256 + 16), left(3), "consumer, abandoned");
}

#[test]
fn cells_are_where_they_were() {
    let _watchdog = watchdog();
    let (word, large) = (name("abi-word"), name("abi-value"));
    let _word = Value::create(&word, 0x0102_0304u32).unwrap();
    let bytes = Bytes::of(&word.path());
    assert_eq!((bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24)), (17, 256), "kind, size");
    assert_eq!(bytes.u64(OBJECT), 0x0102_0304, "the value");
    assert_eq!(bytes.u64(OBJECT + 152), 0, "buffers");

    let value = Value::create(&large, [7u64; 3]).unwrap();
    value.store([8; 3]).unwrap();
    value.store([9; 3]).unwrap();
    let bytes = Bytes::of(&large.path());
    let size = 256 + 2 * 128 + 4 * 128u64;
    assert_eq!((bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24)), (17, size), "kind, size");
    assert_eq!(bytes.u64(OBJECT), 2 << 8 | 2, "version 2 in buffer 2");
    let numbers: Vec<u64> = (0..4).map(|i| bytes.u64(OBJECT + 512 + 128 * i)).collect();
    assert_eq!(numbers, [0, 1, 2, 0]);
    assert_eq!(bytes.u64(OBJECT + 128), 0, "claim");
    assert_eq!(bytes.u64(OBJECT + 152), 4, "buffers");
    assert_eq!(bytes.u64(OBJECT + 160), 1, "readers");
    let firsts: Vec<u64> = (0..4).map(|i| bytes.u64(OBJECT + 528 + 128 * i)).collect();
    assert_eq!(firsts, [7, 8, 9, 0]);

    let newest = name("abi-latest");
    let latest = Latest::create_with_buffers(&newest, 3, &[1u8; 200]).unwrap();
    let mut publisher = latest.publisher().unwrap();
    publisher.publish(&[2; 200]).unwrap();
    latest.reader().unwrap().read().unwrap();
    let bytes = Bytes::of(&newest.path());
    let size = 256 + 128 + 3 * 256;
    assert_eq!((bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24)), (19, size), "kind, size");
    assert_eq!(bytes.u64(OBJECT), 1 << 8 | 1, "version 1 in buffer 1");
    assert_eq!(bytes.u64(OBJECT + 136), 1 << 60 | 1 << 32 | 1, "publisher");
    assert_eq!(bytes.u64(OBJECT + 152), 3, "buffers");
    assert_eq!(bytes.u64(OBJECT + 256), 0, "no reader has lost a copy and announces");
    let buffer = OBJECT + 256 + 128 + 256 + 16;
    assert_eq!(bytes.0[buffer..buffer + 200], [2; 200]);

    let row = name("abi-array");
    let _array = Array::create_from(&row, &[1u16, 2, 3]).unwrap();
    let bytes = Bytes::of(&row.path());
    assert_eq!((bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24)), (18, 128 + 6), "kind, size");
    assert_eq!(bytes.u64(BLOCK + 56), 3, "length");
    assert_eq!(bytes.u64(OBJECT + 128), 3 << 32 | 2 << 16 | 1, "elements");

    let single = name("abi-atomic");
    let _atomic = AtomicU16::create(&single, 5).unwrap();
    let bytes = Bytes::of(&single.path());
    assert_eq!((bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24)), (16, 2), "kind, size");
    assert_eq!((bytes.text(BLOCK + 64, 48), bytes.u64(OBJECT)), ("u16", 5), "type, value");
}

/// Kind, size and alignment of the object of a named segment with one object.
fn object(name: &common::Name) -> (Bytes, u32, u64) {
    let bytes = Bytes::of(&name.path());
    let (kind, size) = (bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24));
    (bytes, kind, size)
}

const STATE: usize = OBJECT + 4;

#[test]
fn mutexes_are_where_they_were() {
    let _watchdog = watchdog();
    let (plain, recursive) = (name("abi-mutex"), name("abi-recursive"));
    let row = name("abi-locked-array");
    let mutex = Mutex::create(&plain, 7u64).unwrap();
    let (_, kind, size) = object(&plain);
    assert_eq!((kind, size), (4, 40 + 8), "kind, size");
    let guard = mutex.lock().unwrap();
    let bytes = Bytes::of(&plain.path());
    assert_eq!(bytes.u32(OBJECT), common::thread_id(), "owner");
    assert_eq!(bytes.u32(STATE), std::process::id(), "who is inside");
    assert_ne!(bytes.u64(OBJECT + 32), 0, "next node of the list");
    assert_eq!(bytes.u64(OBJECT + 40), 7, "the value");
    drop(guard);
    let bytes = Bytes::of(&plain.path());
    assert_eq!((bytes.u32(OBJECT), bytes.u32(STATE)), (0, 0), "free, and nobody died inside");

    let mutex = RecursiveMutex::create(&recursive, 7u64).unwrap();
    let _guards = (mutex.lock().unwrap(), mutex.lock().unwrap());
    let (bytes, kind, size) = object(&recursive);
    assert_eq!((kind, size), (5, 40 + 8), "kind, size");
    assert_eq!(bytes.u32(OBJECT + 12), 2, "depth");

    let array = LockedArray::create_from(&row, &[1u16, 2, 3]).unwrap();
    let guard = array.lock().unwrap();
    let (bytes, kind, _) = object(&row);
    assert_eq!((kind, bytes.u64(BLOCK + 56)), (20, 3), "kind, length");
    assert_eq!(bytes.u32(OBJECT), common::thread_id(), "owner");
    assert_eq!(bytes.u64(BLOCK + 304), 0, "number of the loan");
    assert_eq!(bytes.u64(OBJECT + 128), 3 << 32 | 2 << 16 | 1, "elements");
    #[cfg(feature = "serde")]
    {
        let lent = commons::Pool::threads(1).unwrap().map_slices_of(&guard, |_, slice| slice.len());
        assert_eq!(lent.unwrap().iter().sum::<usize>(), 3);
        assert_eq!(object(&row).0.u64(BLOCK + 304), 2, "number of the loan, which is over");
    }
    drop(guard);
}

#[test]
fn the_loan_of_a_dead_owner_is_over_before_its_memory_is_used_again() {
    let _watchdog = watchdog();
    let name = name("abi-loan");
    let segment = Segment::create(&name, 4096).unwrap();
    let array = LockedArray::new_in(&segment, "array", 3, 0u16).unwrap();
    let theirs = array.clone();
    let owner = common::child(move || {
        let pool = commons::Pool::threads(1).unwrap();
        let die = |_: usize, _: &[u16]| common::signal(std::process::id(), libc::SIGKILL);
        let _ = pool.map_slices_of(&theirs.lock().unwrap(), die);
    });
    assert!(owner.join().is_err());
    assert_eq!(Bytes::of(&name.path()).u64(BLOCK + 304), 1, "number of the loan, which stands");
    segment.remove("array").unwrap();
    drop(array);
    let _again = LockedArray::new_in(&segment, "again", 3, 0u16).unwrap();
    let bytes = Bytes::of(&name.path());
    assert_eq!(bytes.text(BLOCK + 112, 64), "again", "label");
    assert_eq!(bytes.u64(BLOCK + 304), 2, "number of the loan, which is over");
}

#[test]
fn a_rwlock_and_what_is_done_once_are_where_they_were() {
    let _watchdog = watchdog();
    let (lock, once, cell) = (name("abi-rwlock"), name("abi-once"), name("abi-once-cell"));
    let rwlock = RwLock::create(&lock, 7u64).unwrap();
    let (_, kind, size) = object(&lock);
    assert_eq!((kind, size), (12, 65 * 64 + 8), "kind, size");
    let reader = rwlock.read().unwrap();
    let (bytes, ..) = object(&lock);
    let used = bytes.u64(OBJECT + 48);
    assert_eq!(used.count_ones(), 1, "slots that were used");
    let slot = OBJECT + 64 + 64 * used.trailing_zeros() as usize;
    assert_eq!(bytes.u32(slot), common::thread_id(), "reader");
    assert_eq!(bytes.u32(OBJECT + 40), 0, "phase");
    drop(reader);
    let writer = rwlock.write().unwrap();
    let (bytes, ..) = object(&lock);
    assert_eq!(bytes.u32(OBJECT), common::thread_id(), "the door");
    assert_eq!(bytes.u32(OBJECT + 40), 1, "phase");
    assert_eq!((bytes.u32(slot), bytes.u64(OBJECT + 65 * 64)), (0, 7), "no reader; the value");
    drop(writer);
    assert_eq!(object(&lock).0.u32(OBJECT + 40), 2, "phase");

    Once::create(&once).unwrap().call_once(|| ()).unwrap();
    let (bytes, kind, size) = object(&once);
    assert_eq!((kind, size, bytes.u32(OBJECT + 40)), (13, 48, 1 << 30), "kind, size, phase: done");

    OnceCell::create(&cell).unwrap().set(7u64).unwrap().unwrap();
    let (bytes, kind, size) = object(&cell);
    assert_eq!((kind, size, bytes.u32(OBJECT + 40)), (14, 56, 1 << 30), "kind, size, phase: done");
    assert_eq!(bytes.u64(OBJECT + 48), 7, "the value");
}

#[test]
fn signals_and_permits_are_where_they_were() {
    let _watchdog = watchdog();
    let (event, semaphore) = (name("abi-event"), name("abi-semaphore"));
    let (condvar, pool) = (name("abi-condvar"), name("abi-permits"));
    let set = Event::create(&event, Reset::Manual).unwrap();
    set.set().unwrap();
    let (bytes, kind, size) = object(&event);
    assert_eq!((kind, size), (6, 32), "kind, size");
    assert_eq!((bytes.u32(OBJECT), bytes.u32(OBJECT + 4)), (4 | 1, 0), "set, and set once; bell");
    assert_eq!((bytes.u64(OBJECT + 8), bytes.u32(OBJECT + 16)), (0, 1), "auto reset; by hand");

    let counted = Semaphore::create(&semaphore, 3, 9).unwrap();
    counted.acquire().unwrap();
    let (bytes, kind, size) = object(&semaphore);
    assert_eq!((kind, size), (7, 16), "kind, size");
    assert_eq!((bytes.u32(OBJECT), bytes.u32(OBJECT + 4)), (2, 0), "permits; bell");
    assert_eq!(bytes.u32(OBJECT + 8), 9, "the most");

    Condvar::create(&condvar).unwrap();
    let (bytes, kind, size) = object(&condvar);
    assert_eq!((kind, size, bytes.u64(OBJECT)), (9, 8, 0), "kind, size, nobody was notified");

    let permits = PermitPool::create(&pool, 3).unwrap();
    let _permit = permits.acquire().unwrap();
    let (bytes, kind, size) = object(&pool);
    assert_eq!((kind, bytes.u64(BLOCK + 56)), (8, 3), "kind, permits");
    assert_eq!((size, bytes.u64(OBJECT)), (8 + 3 * 40, 0), "size, bell");
    let owned = (0..3).filter(|i| bytes.u32(OBJECT + 8 + 40 * i) == common::thread_id());
    assert_eq!(owned.count(), 1, "one is taken");
}

#[test]
fn a_barrier_is_where_it_was() {
    let _watchdog = watchdog();
    let name = name("abi-barrier");
    let barrier = Barrier::create(&name, 1).unwrap();
    let (bytes, kind, _) = object(&name);
    assert_eq!((kind, bytes.u64(BLOCK + 56)), (11, 1), "kind, parties");
    assert_eq!(bytes.u64(OBJECT), 0, "whole, and nobody there");
    barrier.wait().unwrap();
    assert_eq!(object(&name).0.u64(OBJECT), 1 << 18, "one round");
    barrier.abort().unwrap();
    assert_eq!(object(&name).0.u64(OBJECT), 1 << 18 | 1 << 16, "broken by a call");
    barrier.reset().unwrap();
    assert_eq!(object(&name).0.u64(OBJECT), 1 << 32 | 1 << 18, "whole, after one reset");
}

#[test]
fn a_broadcast_is_where_it_was() {
    let _watchdog = watchdog();
    let name = name("abi-broadcast");
    let broadcast = Broadcast::<u32>::create(&name, 3).unwrap();
    let mut sender = broadcast.sender().unwrap();
    sender.send_all(&[10, 11, 12, 13, 14]).unwrap();
    let bytes = Bytes::of(&name.path());
    assert_eq!((bytes.u32(BLOCK + 32), bytes.u64(BLOCK + 24)), (40, 256 + 4 * 16), "kind, size");
    assert_eq!((bytes.u64(BLOCK + 40), bytes.u64(BLOCK + 56)), (4, 3), "element, kept");
    assert_eq!(bytes.u64(OBJECT), 5, "messages sent");
    assert_eq!(bytes.u64(OBJECT + 128), 1 << 60 | 1 << 32 | 1, "sender");
    assert_eq!(bytes.u32(OBJECT + 136), 0, "nobody has slept");
    for (slot, number) in [4, 1, 2, 3].into_iter().enumerate() {
        let slot = OBJECT + 256 + 16 * slot;
        assert_eq!(bytes.u64(slot), 2 * number + 2, "mark of a complete message");
        assert_eq!(bytes.u64(slot + 8), 10 + number, "message");
    }
}

#[test]
fn labelled_blocks_follow_each_other() {
    let _watchdog = watchdog();
    let name = name("abi-labels");
    let segment = Segment::create(&name, 10_000).unwrap();
    Ring::<u8>::new_in(&segment, "first", 1).unwrap();
    Ring::<[u64; 3]>::new_in(&segment, "the second of them", 1).unwrap();
    let bytes = Bytes::of(&name.path());
    assert_eq!(bytes.text(BLOCK + 112, 64), "first");
    let next = BLOCK + bytes.u64(BLOCK + 8) as usize;
    assert_eq!(bytes.text(next + 112, 64), "the second of them");
    assert_eq!(bytes.text(next + 64, 48), "[u64; 3]");
    assert_eq!((bytes.u64(next + 40), bytes.u64(next + 48)), (24, 8));
    assert_eq!(bytes.u64(136), next as u64 + bytes.u64(next + 8), "end of the heap");
    segment.remove("first").unwrap();
    let bytes = Bytes::of(&name.path());
    assert_eq!(bytes.text(BLOCK + 112, 64), "");
    assert_eq!(bytes.u32(BLOCK + 36), 0, "kept");
}

#[test]
fn strict_alignment_moves_the_object_and_its_slots() {
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C, align(1024))]
    struct Wide([u8; 1024]);

    let _watchdog = watchdog();
    let name = name("abi-wide");
    let ring = Ring::<Wide>::create(&name, 2).unwrap();
    ring.producer().unwrap().push_all(&[Wide([1; 1024]), Wide([2; 1024])]).unwrap();
    let bytes = Bytes::of(&name.path());
    let object = bytes.u64(BLOCK + 16) as usize;
    assert_eq!(object, (BLOCK + 512).next_multiple_of(1024));
    let slots = object + 1024;
    assert!(bytes.0[slots..slots + 1024].iter().all(|&b| b == 1));
    assert!(bytes.0[slots + 1024..slots + 2048].iter().all(|&b| b == 2));
}
