//! The bridges to the crates `raw_sync` and `shared_memory`, used through what those crates give.

#![allow(unsafe_code, reason = "memory and pointers of other crates")]

mod common;

use common::{Child, child, in_child, pause_for_ever, wait_until_asleep, watchdog};
use commons::{Error, Event, LockError, Mutex, RawSyncMutex, Reset, Segment};
use raw_sync::Timeout;
use raw_sync::events::{EventImpl, EventState};
use raw_sync::locks::LockImpl;
use shared_memory::{Shmem, ShmemConf};
use std::io::{self, Read, Write};
use std::time::Duration;

const NOW: Timeout = Timeout::Val(Duration::ZERO);

fn lock_error(result: Result<impl Sized, Box<dyn std::error::Error>>) -> Option<LockError> {
    result.err()?.downcast_ref::<LockError>().cloned()
}

/// A child that does something, says so, and then waits to be killed.
fn child_that_stays<F: FnOnce() + Send + 'static>(f: F) -> Child<()> {
    let (mut reader, writer) = io::pipe().unwrap();
    let child = child::<(), _>(move || {
        f();
        (&writer).write_all(&[1]).unwrap();
        pause_for_ever();
    });
    reader.read_exact(&mut [0]).expect("the child does it");
    child
}

#[test]
fn raw_sync_lock_excludes_other_processes_and_gives_the_value() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let add = |mutex: Mutex<u64>| {
        let lock: Box<dyn LockImpl> = Box::new(RawSyncMutex::new(mutex));
        for _ in 0..2000 {
            let guard = lock.lock().unwrap();
            let value: *mut u64 = guard.cast();
            // SAFETY: the guard has the lock, and leads to the mutex's `u64`.
            unsafe { *value += 1 };
        }
    };
    let in_child = mutex.clone();
    let other = child(move || add(in_child));
    add(mutex.clone());
    other.finish();
    assert_eq!(*mutex.lock().unwrap(), 4000);
}

#[test]
fn raw_sync_lock_is_released_with_its_guard_and_by_nobody_else() {
    let _watchdog = watchdog();
    let lock = RawSyncMutex::new(Mutex::new(7u64).unwrap());
    assert!(lock.release().is_err(), "it is free");
    let mut guard = lock.lock().unwrap();
    assert_eq!(lock_error(lock.lock()), Some(LockError::Deadlock));
    assert_eq!(lock_error(lock.try_lock(NOW)), Some(LockError::Deadlock));
    let mutex = lock.mutex().clone();
    let others = std::thread::spawn(move || {
        let lock = RawSyncMutex::new(mutex);
        (lock_error(lock.try_lock(NOW)), lock.release().is_err())
    });
    assert_eq!(others.join().unwrap(), (Some(LockError::TimedOut), true));
    // What safe code does to the pointer is nobody else's.
    *guard = std::ptr::null_mut();
    drop(guard.into_read_guard());
    let guard = lock.rlock().unwrap();
    let value: *const u64 = guard.cast();
    // SAFETY: as above.
    assert_eq!(unsafe { *value }, 7);
    drop(guard);
    assert!(!lock.mutex().is_locked());
}

#[test]
fn raw_sync_lock_tells_of_a_dead_owner_and_of_a_panic() {
    let _watchdog = watchdog();
    let mutex = Mutex::new(0u64).unwrap();
    let in_child = mutex.clone();
    let holder = child_that_stays(move || {
        std::mem::forget(Box::leak(Box::new(RawSyncMutex::new(in_child))).lock().unwrap());
    });
    let pid = holder.id();
    holder.kill();
    let lock = RawSyncMutex::new(mutex);
    assert_eq!(lock_error(lock.lock()), Some(LockError::OwnerDied { pid }));
    drop(lock.mutex().lock_or_repair(|value| *value = 1).unwrap());
    drop(lock.lock().unwrap());
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let _guard = lock.lock().unwrap();
        panic!("on purpose");
    }));
    assert!(panicked.is_err());
    assert_eq!(lock_error(lock.lock()), Some(LockError::Poisoned));
}

#[test]
fn raw_sync_event_passes_a_signal_between_processes() {
    let _watchdog = watchdog();
    for reset in [Reset::Auto, Reset::Manual] {
        let event = Event::new(reset).unwrap();
        let events: &dyn EventImpl = &event;
        let timed_out = events.wait(NOW).unwrap_err();
        let kind = timed_out.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::TimedOut));
        let in_child = event.clone();
        let waiter = child(move || {
            let event: Box<dyn EventImpl> = Box::new(in_child);
            event.wait(Timeout::Infinite).is_ok()
        });
        wait_until_asleep(waiter.id());
        events.set(EventState::Signaled).unwrap();
        assert!(waiter.finish());
        assert_eq!(events.wait(NOW).is_ok(), reset == Reset::Manual);
        events.set(EventState::Signaled).unwrap();
        events.set(EventState::Clear).unwrap();
        assert!(events.wait(NOW).is_err());
    }
}

fn adopt(shmem: &Shmem) -> Result<Segment, Error> {
    // SAFETY: nobody here writes through a `Shmem` that is a segment.
    unsafe { Segment::adopt(shmem) }
}

#[test]
fn adopted_memory_holds_objects_that_other_processes_find() {
    let _watchdog = watchdog();
    let shmem = ShmemConf::new().size(200_001).create().unwrap();
    let id = shmem.get_os_id().to_owned();
    let open = move || ShmemConf::new().os_id(&id).open().unwrap();
    let early = in_child({
        let open = open.clone();
        move || matches!(adopt(&open()), Err(Error::NotOurs { .. }))
    });
    assert!(early, "its owner has not made it a segment");
    let segment = adopt(&shmem).unwrap();
    let mutex = Mutex::new_in(&segment, "counter", 0u64).unwrap();
    let holder = child_that_stays(move || {
        let segment = adopt(&open()).unwrap();
        let mutex = Mutex::<u64>::open_in(&segment, "counter").unwrap();
        *mutex.lock().unwrap() += 1;
        let mutex = Box::leak(Box::new(mutex));
        std::mem::forget(mutex.lock().unwrap());
    });
    let pid = holder.id();
    assert_eq!(mutex.try_lock().unwrap_err(), LockError::WouldBlock);
    holder.kill();
    assert_eq!(mutex.lock().unwrap_err(), LockError::OwnerDied { pid });
    // A second call finds the segment, and what is in it.
    let again = adopt(&shmem).unwrap();
    let same = Mutex::<u64>::open_in(&again, "counter").unwrap();
    assert_eq!(*same.lock_or_repair(|_| ()).unwrap(), 1);
    // The memory is there for as long as the segment is used.
    drop(shmem);
    assert_eq!(*mutex.lock().unwrap(), 1);
}

#[test]
fn memory_that_is_no_segment_is_not_adopted() {
    let _watchdog = watchdog();
    let mut shmem = ShmemConf::new().size(1 << 20).create().unwrap();
    // SAFETY: nobody else has it.
    unsafe { shmem.as_slice_mut()[0] = 1 };
    assert!(matches!(adopt(&shmem), Err(Error::NotOurs { .. })));
    let small = ShmemConf::new().size(4096).create().unwrap();
    assert!(matches!(adopt(&small), Err(Error::SegmentFull { free: 4096, .. })));
    let gone = ShmemConf::new().size(1 << 20).create().unwrap();
    let path = std::path::Path::new("/dev/shm").join(gone.get_os_id().trim_start_matches('/'));
    std::fs::remove_file(path).unwrap();
    assert!(matches!(adopt(&gone), Err(Error::NotFound { .. })));
}
