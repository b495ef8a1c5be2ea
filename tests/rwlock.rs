//! Readers-writer locks between processes that die.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "thread ids, memory of a peer")]

mod common;

use common::{
    Child, Random, child, in_child, mappings, name, pause_for_ever, raw_fork, thread_id,
    wait_until_asleep, watchdog, watchdog_of,
};
use commons::{
    Array, AtomicU64, Error, Kind, LockError, Origin, RwLock, RwLockWriteGuard, Segment,
};
use std::io::{self, Read, Write};
use std::mem::{ManuallyDrop, forget};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

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

/// A child that holds a share.
fn reader(lock: &RwLock<u64>) -> Child<()> {
    let lock = lock.clone();
    child_that_stays(move || forget(lock.read().unwrap()))
}

/// A child that writes.
fn writer(lock: &RwLock<u64>) -> Child<()> {
    let lock = lock.clone();
    child_that_stays(move || forget(lock.write().unwrap()))
}

/// What another thread is told.
fn elsewhere<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    thread::scope(|scope| scope.spawn(f).join().unwrap())
}

/// A thread that has a lock, so that this one can start children meanwhile.
struct Holder {
    release: mpsc::Sender<()>,
    thread: thread::JoinHandle<()>,
}

impl Holder {
    fn of(lock: &RwLock<u64>, hold: fn(&RwLock<u64>, &mut dyn FnMut())) -> Self {
        let (release, released) = mpsc::channel();
        let (holds, held) = mpsc::channel();
        let lock = lock.clone();
        let thread = thread::spawn(move || {
            hold(&lock, &mut || {
                holds.send(()).unwrap();
                released.recv().unwrap();
            });
        });
        held.recv().unwrap();
        Holder { release, thread }
    }

    fn reader(lock: &RwLock<u64>) -> Self {
        Self::of(lock, |lock, stay| {
            let _guard = lock.read().unwrap();
            stay();
        })
    }

    /// Adds one in the end.
    fn writer(lock: &RwLock<u64>) -> Self {
        Self::of(lock, |lock, stay| {
            let mut guard = lock.write().unwrap();
            stay();
            *guard += 1;
        })
    }

    fn release(self) {
        self.release.send(()).unwrap();
        self.thread.join().unwrap();
    }
}

/// Starts a thread and waits until it sleeps.
fn asleep<'scope, R: Send + 'scope>(
    scope: &'scope thread::Scope<'scope, '_>,
    f: impl FnOnce() -> R + Send + 'scope,
) -> thread::ScopedJoinHandle<'scope, R> {
    let (tell, told) = mpsc::channel();
    let thread = scope.spawn(move || {
        tell.send(thread_id()).unwrap();
        f()
    });
    wait_until_asleep(told.recv().unwrap());
    thread
}

fn others_can_read(lock: &RwLock<u64>) -> bool {
    match elsewhere(|| lock.try_read().map(drop)) {
        Ok(()) => true,
        Err(LockError::WouldBlock) => false,
        Err(error) => panic!("{error}"),
    }
}

fn others_can_write(lock: &RwLock<u64>) -> bool {
    match elsewhere(|| lock.try_write().map(drop)) {
        Ok(()) => true,
        Err(LockError::WouldBlock) => false,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn many_read_or_one_writes() {
    let _watchdog = watchdog();
    let lock = RwLock::new(1u64).unwrap();
    let second = reader(&lock);
    let first = lock.read().unwrap();
    assert!(others_can_read(&lock) && !others_can_write(&lock));
    drop(first);
    assert!(!others_can_write(&lock), "there is another one");
    second.kill();
    let mut guard = lock.write().unwrap();
    *guard += 1;
    assert!(!others_can_read(&lock) && !others_can_write(&lock));
    drop(guard);
    let other = lock.clone();
    assert_eq!(child(move || *other.read().unwrap()).finish(), 2);
    assert!(others_can_write(&lock));
}

#[test]
fn two_processes_are_inside_at_the_same_time() {
    let _watchdog = watchdog();
    let lock = RwLock::new(7u64).unwrap();
    let inside = AtomicU64::new(0).unwrap();
    let children: Vec<_> = (0..4)
        .map(|_| {
            let (lock, inside) = (lock.clone(), inside.clone());
            child(move || {
                let guard = lock.read().unwrap();
                inside.fetch_add(1, SeqCst);
                // Each leaves when it has seen all.
                while inside.load(SeqCst) < 4 {
                    thread::yield_now();
                }
                *guard
            })
        })
        .collect();
    assert_eq!(children.into_iter().map(Child::finish).sum::<u64>(), 28);
}

#[test]
fn it_is_found_by_name_and_by_label_and_by_nothing_else() {
    let _watchdog = watchdog();
    let name = name("rwlock");
    let lock = RwLock::create(&name, 5u32).unwrap();
    assert!(matches!(RwLock::create(&name, 5u32), Err(Error::NameTaken { .. })));
    assert_eq!(*RwLock::<u32>::open(&name).unwrap().read().unwrap(), 5);
    assert!(matches!(RwLock::<i32>::open(&name), Err(Error::TypeMismatch { .. })));
    assert!(matches!(commons::Mutex::<u32>::open(&name), Err(Error::TypeMismatch { .. })));
    assert!(matches!(RwLock::open_or_create(&name, 6u32), Ok((_, Origin::Opened))));
    drop(lock);
    RwLock::<u32>::unlink(&name).unwrap();
    assert!(matches!(RwLock::<u32>::open(&name), Err(Error::NotFound { .. })));

    let segment = Segment::anonymous(100_000).unwrap();
    let made = RwLock::new_in(&segment, "m", [1u8, 2, 3]).unwrap();
    made.write().unwrap()[1] = 9;
    assert_eq!(*RwLock::<[u8; 3]>::open_in(&segment, "m").unwrap().read().unwrap(), [1, 9, 3]);
    assert!(matches!(RwLock::new_in(&segment, "m", [0u8; 3]), Err(Error::LabelTaken { .. })));
    assert!(matches!(RwLock::open_or_create_in(&segment, "n", ()).unwrap(), (_, Origin::Created)));
    assert_eq!(segment.objects().unwrap()[0].kind, Kind::RwLock);
}

#[test]
fn a_writer_that_waits_for_a_reader_is_told_of_its_death_at_once() {
    let _watchdog = watchdog();
    let lock = RwLock::new(3u64).unwrap();
    for _ in 0..10 {
        let reader = reader(&lock);
        let other = lock.clone();
        let writer = child(move || {
            *other.write().unwrap() += 1;
            Instant::now().elapsed()
        });
        wait_until_asleep(writer.id());
        reader.kill();
        writer.finish();
    }
    assert_eq!(*lock.read().unwrap(), 13, "a reader's death damages nothing");
}

#[test]
fn the_death_of_a_writer_is_told_to_readers_and_writers_until_a_repair() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    let owner = writer(&lock);
    let pid = owner.id();
    assert_eq!(lock.try_read().unwrap_err(), LockError::WouldBlock);
    owner.kill();
    let died = LockError::OwnerDied { pid };
    for _ in 0..3 {
        assert_eq!(lock.try_read().unwrap_err(), died);
        assert_eq!(lock.read().unwrap_err(), died);
        assert_eq!(lock.write().unwrap_err(), died);
        assert_eq!(lock.try_write().unwrap_err(), died);
        assert_eq!(lock.read_timeout(Duration::ZERO).unwrap_err(), died);
    }
    let guard = lock.recover().unwrap();
    assert!(guard.is_damaged() && !others_can_write(&lock));
    drop(guard);
    assert_eq!(lock.read().unwrap_err(), died, "not repaired");
    lock.clear_poison().unwrap();
    assert_eq!(lock.read().unwrap_err(), died, "not a panic");
    let second = lock.clone();
    let repairer = child_that_stays(move || forget(second.recover().unwrap()));
    let pid = repairer.id();
    repairer.kill();
    assert_eq!(lock.read().unwrap_err(), LockError::OwnerDied { pid });
    assert_eq!(*lock.write_or_repair(|value| *value = 3).unwrap(), 3);
    assert_eq!(*lock.write_or_repair(|_| panic!("it is repaired")).unwrap(), 3);
    assert_eq!(*lock.read().unwrap(), 3);
    assert!(!lock.recover().unwrap().is_damaged());
}

#[test]
fn all_who_wait_for_a_writer_are_told_of_its_death() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    for round in 0..5 {
        let owner = writer(&lock);
        let pid = owner.id();
        let waiters: Vec<_> = (0..6)
            .map(|i| {
                let lock = lock.clone();
                child(move || {
                    let told = if (i + round) % 3 == 0 {
                        lock.write().map(|_| ())
                    } else {
                        lock.read().map(|_| ())
                    };
                    match told {
                        Err(LockError::OwnerDied { pid }) => pid,
                        other => panic!("{other:?}"),
                    }
                })
            })
            .collect();
        for waiter in &waiters {
            wait_until_asleep(waiter.id());
        }
        owner.kill();
        for waiter in waiters {
            assert_eq!(waiter.finish(), pid);
        }
        drop(lock.write_or_repair(|_| ()).unwrap());
    }
}

#[test]
fn a_writer_that_dies_while_it_waits_damages_nothing_and_holds_nobody_up() {
    let _watchdog = watchdog();
    let lock = RwLock::new(1u64).unwrap();
    let first = Holder::reader(&lock);
    let other = lock.clone();
    let waiting = child(move || drop(other.write()));
    wait_until_asleep(waiting.id());
    // Now a reader waits for that writer.
    let other = lock.clone();
    let second = child(move || *other.read().unwrap());
    wait_until_asleep(second.id());
    assert!(!others_can_read(&lock));
    waiting.kill();
    assert_eq!(second.finish(), 1);
    assert!(others_can_read(&lock));
    first.release();
    assert_eq!(*lock.write().unwrap(), 1);
}

#[test]
fn a_reader_that_dies_while_it_waits_holds_nobody_up() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    for round in 1..6 {
        let holder = Holder::writer(&lock);
        let other = lock.clone();
        let waiting = child(move || drop(other.read()));
        wait_until_asleep(waiting.id());
        let other = lock.clone();
        let second = child(move || *other.read().unwrap());
        wait_until_asleep(second.id());
        let other = lock.clone();
        let third = child(move || *other.write().unwrap());
        wait_until_asleep(third.id());
        waiting.kill();
        holder.release();
        assert_eq!((second.finish(), third.finish()), (round, round));
    }
}

#[test]
fn a_writer_that_waits_goes_before_readers_that_come_later() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    let first = Holder::reader(&lock);
    let other = lock.clone();
    let writer = child(move || *other.write().unwrap() += 1);
    wait_until_asleep(writer.id());
    assert!(!others_can_read(&lock), "or a stream of readers would starve it");
    let other = lock.clone();
    let late = child(move || *other.read().unwrap());
    wait_until_asleep(late.id());
    first.release();
    writer.finish();
    assert_eq!(late.finish(), 1);
}

#[test]
fn readers_that_wait_go_before_the_next_writer() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    for round in 0..10 {
        let holder = Holder::writer(&lock);
        // The next writer is in line before the readers are.
        let other = lock.clone();
        let next = child(move || *other.write().unwrap() += 1);
        wait_until_asleep(next.id());
        let readers: Vec<_> = (0..3)
            .map(|_| {
                let lock = lock.clone();
                child(move || *lock.read().unwrap())
            })
            .collect();
        for reader in &readers {
            wait_until_asleep(reader.id());
        }
        holder.release();
        for reader in readers {
            assert_eq!(reader.finish(), 2 * round + 1);
        }
        next.finish();
    }
}

#[test]
fn neither_readers_nor_writers_starve_beside_a_crowd_of_the_others() {
    let _watchdog = watchdog();
    for crowd_writes in [false, true] {
        let lock = RwLock::new(0u64).unwrap();
        let (stop, begun) = (AtomicU64::new(0).unwrap(), AtomicU64::new(0).unwrap());
        let crowd: Vec<_> = (0..3)
            .map(|_| {
                let (lock, stop, begun) = (lock.clone(), stop.clone(), begun.clone());
                child(move || {
                    begun.fetch_add(1, SeqCst);
                    while stop.load(SeqCst) == 0 {
                        if crowd_writes {
                            *lock.write().unwrap() += 1;
                        } else {
                            let guard = lock.read().unwrap();
                            // One of the crowd is inside all the time.
                            (0..100).for_each(|_| std::hint::spin_loop());
                            drop(guard);
                        }
                    }
                })
            })
            .collect();
        while begun.load(SeqCst) < 3 {
            thread::yield_now();
        }
        for _ in 0..200 {
            if crowd_writes {
                drop(lock.read().unwrap());
            } else {
                *lock.write().unwrap() += 1;
            }
        }
        stop.store(1, SeqCst);
        for child in crowd {
            child.finish();
        }
    }
}

#[test]
fn waiting_for_oneself_is_an_error() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    let other = lock.clone();
    let guard = lock.write().unwrap();
    for lock in [&lock, &other] {
        assert_eq!(lock.read().unwrap_err(), LockError::Deadlock);
        assert_eq!(lock.write().unwrap_err(), LockError::Deadlock);
        assert_eq!(lock.try_read().unwrap_err(), LockError::WouldBlock);
        assert_eq!(lock.try_write().unwrap_err(), LockError::WouldBlock);
        assert_eq!(lock.recover().unwrap_err().to_string(), LockError::Deadlock.to_string());
    }
    drop(guard);
    let guard = lock.read().unwrap();
    assert_eq!(other.write().unwrap_err(), LockError::Deadlock);
    assert_eq!(other.try_write().unwrap_err(), LockError::WouldBlock);
    assert_eq!(lock.write_timeout(Duration::from_secs(60)).unwrap_err(), LockError::Deadlock);
    // Also where somebody else waits for this thread already.
    thread::scope(|scope| {
        let writer = asleep(scope, || drop(lock.write().unwrap()));
        assert_eq!(other.write().unwrap_err(), LockError::Deadlock);
        drop(guard);
        writer.join().unwrap();
    });
}

#[test]
fn who_reads_reads_again_whoever_waits() {
    let _watchdog = watchdog();
    let name = name("rwlock-again");
    let lock = RwLock::create(&name, 0u64).unwrap();
    let (second, apart) = (lock.clone(), RwLock::<u64>::open(&name).unwrap());
    let guards = [lock.read().unwrap(), lock.read().unwrap(), second.read().unwrap()];
    thread::scope(|scope| {
        let writer = asleep(scope, || *lock.write().unwrap() += 1);
        let more = [lock.read().unwrap(), second.read().unwrap()];
        assert_eq!(lock.try_read().map(|guard| *guard), Ok(0));
        assert_eq!(apart.read().unwrap_err(), LockError::Deadlock);
        drop(guards);
        assert!(!others_can_read(&lock));
        assert_eq!(*more[1], 0);
        drop(more);
        writer.join().unwrap();
    });
    assert_eq!(*apart.read().unwrap(), 1);
}

#[test]
fn a_panic_poisons_for_readers_and_writers_and_one_of_a_reader_does_not() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    let panics = |f: &dyn Fn()| assert!(catch_unwind(AssertUnwindSafe(f)).is_err());
    panics(&|| {
        let _guard = lock.read().unwrap();
        panic!("while reading");
    });
    drop(lock.write().unwrap());
    panics(&|| {
        let _guard = lock.write().unwrap();
        panic!("while writing");
    });
    assert_eq!(lock.read().unwrap_err(), LockError::Poisoned);
    assert_eq!(lock.write().unwrap_err(), LockError::Poisoned);
    lock.clear_poison().unwrap();
    drop(lock.read().unwrap());
}

#[test]
fn a_writer_goes_on_as_a_reader() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    let mut guard = lock.write().unwrap();
    thread::scope(|scope| {
        let waiting = asleep(scope, || *lock.read().unwrap());
        *guard = 5;
        let guard = RwLockWriteGuard::downgrade(guard).unwrap();
        assert_eq!(waiting.join().unwrap(), 5);
        assert!(others_can_read(&lock) && !others_can_write(&lock));
        assert_eq!(*guard, 5);
    });
    assert!(others_can_write(&lock));
}

#[test]
fn a_hundred_read_at_a_time_or_in_turn() {
    let _watchdog = watchdog();
    let lock = RwLock::new(1u64).unwrap();
    // 64 are inside at a time, and one more.
    let (inside, leave) = (Barrier::new(66), Barrier::new(66));
    thread::scope(|scope| {
        for _ in 0..65 {
            scope.spawn(|| {
                let guard = lock.read().unwrap();
                inside.wait();
                leave.wait();
                assert_eq!(*guard, 1);
            });
        }
        inside.wait();
        assert_eq!(lock.try_read().unwrap_err(), LockError::WouldBlock);
        assert_eq!(lock.try_write().unwrap_err(), LockError::WouldBlock);
        assert!(format!("{lock:?}").contains("readers: 65"), "{lock:?}");
        leave.wait();
    });
    assert!(others_can_read(&lock) && others_can_write(&lock));
    thread::scope(|scope| {
        for i in 0..100 {
            let lock = &lock;
            scope.spawn(move || {
                for _ in 0..50 {
                    if i % 10 == 0 {
                        *lock.write().unwrap() += 1;
                    } else {
                        assert!(*lock.read().unwrap() >= 1);
                    }
                }
            });
        }
    });
    assert_eq!(*lock.read().unwrap(), 501);
    // The one that reads at the door reads again, and its death is no damage.
    let inside = Barrier::new(65);
    let leave = Barrier::new(65);
    thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                let _guard = lock.read().unwrap();
                inside.wait();
                leave.wait();
            });
        }
        inside.wait();
        elsewhere(|| {
            let guards = [lock.read().unwrap(), lock.read().unwrap()];
            assert_eq!(lock.write().unwrap_err(), LockError::Deadlock);
            assert_eq!(*guards[0], 501);
            forget(guards);
        });
        leave.wait();
    });
    assert_eq!(*lock.write().unwrap(), 501);
}

#[test]
fn timed_forms_give_up_when_their_time_is_over_and_not_before() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    let timeout = Duration::from_millis(30);
    for writes in [false, true] {
        let owner = if writes { writer(&lock) } else { reader(&lock) };
        let start = Instant::now();
        assert_eq!(lock.write_timeout(timeout).unwrap_err(), LockError::TimedOut);
        assert!(start.elapsed() >= timeout);
        assert_eq!(lock.write_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
        let deadline = Instant::now() + timeout;
        assert_eq!(lock.write_deadline(deadline).unwrap_err(), LockError::TimedOut);
        assert!(Instant::now() >= deadline);
        if writes {
            let start = Instant::now();
            assert_eq!(lock.read_timeout(timeout).unwrap_err(), LockError::TimedOut);
            assert!(start.elapsed() >= timeout);
            assert_eq!(lock.read_timeout(Duration::ZERO).unwrap_err(), LockError::TimedOut);
            let deadline = Instant::now() + timeout;
            assert_eq!(lock.read_deadline(deadline).unwrap_err(), LockError::TimedOut);
            assert!(Instant::now() >= deadline);
        } else {
            assert!(others_can_read(&lock), "the writer gave up");
        }
        owner.kill();
        drop(lock.write_or_repair(|_| ()).unwrap());
    }
    drop(lock.read_timeout(Duration::MAX).unwrap());
    drop(lock.write_deadline(Instant::now()).unwrap());
}

#[test]
fn a_writer_that_gives_up_lets_the_readers_go_that_waited_for_it() {
    let _watchdog = watchdog();
    let lock = RwLock::new(1u64).unwrap();
    let first = reader(&lock);
    let (told, tell) = mpsc::channel();
    thread::scope(|scope| {
        let lock = &lock;
        scope.spawn(move || {
            told.send(thread_id()).unwrap();
            let refused = lock.write_timeout(Duration::from_millis(300)).unwrap_err();
            assert_eq!(refused, LockError::TimedOut);
        });
        wait_until_asleep(tell.recv().unwrap());
        let other = lock.clone();
        assert_eq!(child(move || *other.read().unwrap()).finish(), 1);
    });
    first.kill();
}

#[test]
fn a_forked_child_owns_nothing() {
    let _watchdog = watchdog();
    let lock = RwLock::new(1u64).unwrap();
    let mut share = ManuallyDrop::new(lock.read().unwrap());
    let in_child = || {
        // SAFETY: dropped once in this process.
        unsafe { ManuallyDrop::drop(&mut share) };
        let held = matches!(lock.try_write(), Err(LockError::WouldBlock));
        i32::from(!held || *lock.read().unwrap() != 1)
    };
    assert_eq!(raw_fork(in_child).wait(), 0);
    assert!(!others_can_write(&lock));
    // SAFETY: dropped once in this process.
    unsafe { ManuallyDrop::drop(&mut share) };
    assert!(others_can_write(&lock));
    let mut guard = ManuallyDrop::new(lock.write().unwrap());
    let in_child = || {
        // SAFETY: dropped once in this process.
        unsafe { ManuallyDrop::drop(&mut guard) };
        i32::from(!matches!(lock.try_read(), Err(LockError::WouldBlock)))
    };
    assert_eq!(raw_fork(in_child).wait(), 0);
    assert!(!others_can_read(&lock));
    // SAFETY: dropped once in this process.
    unsafe { ManuallyDrop::drop(&mut guard) };
    assert!(others_can_read(&lock));
    assert_eq!(raw_fork(|| i32::from(lock.write().is_err())).wait(), 0);
}

#[test]
fn a_leaked_guard_keeps_its_lock_in_memory() {
    let _watchdog = watchdog();
    // Nobody else maps anything there.
    let name = name("rwlock-leak");
    in_child(move || leak(&name));
}

fn leak(name: &str) {
    drop(RwLock::new(0u64).unwrap());
    for writes in [false, true] {
        elsewhere(|| {
            let before = mappings();
            let leaked = RwLock::create(name, 0u64).unwrap();
            if writes {
                forget(leaked.write().unwrap());
            } else {
                forget(leaked.read().unwrap());
            }
            drop(leaked);
            assert!(mappings() > before, "still mapped");
            // The list goes through the leaked one.
            let more = RwLock::new(0u64).unwrap();
            drop(more.write().unwrap());
            drop((more.read().unwrap(), more.read().unwrap()));
            let again = RwLock::<u64>::open(name).unwrap();
            assert_eq!(again.write().unwrap_err(), LockError::Deadlock);
        });
        let again = RwLock::<u64>::open(name).unwrap();
        match again.write() {
            Ok(_) => assert!(!writes),
            Err(error) => assert!(writes && matches!(error, LockError::OwnerDied { .. })),
        }
        drop(again);
        RwLock::<u64>::unlink(name).unwrap();
    }
    // An ordinary one is unmapped.
    let before = mappings();
    let lock = RwLock::create(name, 0u64).unwrap();
    drop((lock.read().unwrap(), lock.read().unwrap(), lock.clone().read().map(drop)));
    drop(lock.write().unwrap());
    assert!(mappings() > before);
    drop(lock);
    assert_eq!(mappings(), before);
    RwLock::<u64>::unlink(name).unwrap();
}

#[test]
fn a_thread_can_hold_1024_and_is_told_before_it_holds_more() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(8 << 20).unwrap();
    let make = |i: u64| RwLock::new_in(&segment, &format!("m{i}"), i).unwrap();
    let locks: Vec<_> = (0..1025).map(make).collect();
    let (held, more) = locks.split_at(1024);
    let guards: Vec<_> = held.iter().map(|lock| lock.read().unwrap()).collect();
    assert_eq!(more[0].read().unwrap_err(), LockError::TooManyLocks);
    assert_eq!(more[0].write().unwrap_err(), LockError::TooManyLocks);
    drop(guards);
    elsewhere(|| held.iter().for_each(|lock| forget(lock.read().unwrap())));
    for lock in held {
        drop(lock.write().unwrap());
    }
    // The last one can still be turned into a share.
    let guards: Vec<_> = held[1..].iter().map(|lock| lock.read().unwrap()).collect();
    let last = RwLockWriteGuard::downgrade(held[0].write().unwrap()).unwrap();
    assert!(elsewhere(|| held[0].try_read().is_ok() && held[0].try_write().is_err()));
    drop((guards, last));
    drop(held[0].write().unwrap());
}

#[test]
fn what_is_no_value_is_an_error_until_there_is_one() {
    let _watchdog = watchdog();
    let name = name("rwlock-bytes");
    let lock = RwLock::create(&name, true).unwrap();
    let mut bytes = std::fs::read(name.path()).unwrap();
    // The state is 65 lines, the value behind it.
    let length = bytes.len();
    let at = (0..length).rev().find(|&i| bytes[i] == 1).expect("the value");
    bytes[at] = 7;
    let file = std::fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, &[7], at as u64).unwrap();
    assert!(matches!(lock.read(), Err(LockError::Corrupted(_))));
    assert!(matches!(lock.write(), Err(LockError::Corrupted(_))));
    assert!(matches!(lock.recover().map(drop), Err(LockError::Corrupted(_))));
    assert!(!*lock.reset(false).unwrap());
    assert!(!*lock.read().unwrap());
}

#[test]
fn it_shows_who_has_it_without_waiting() {
    let _watchdog = watchdog();
    let lock = RwLock::new(0u64).unwrap();
    assert!(format!("{lock:?}").contains("readers: 0"), "{lock:?}");
    let guard = lock.read().unwrap();
    assert!(format!("{lock:?}").contains("readers: 1"), "{lock:?}");
    drop(guard);
    let guard = lock.write().unwrap();
    let pid = std::process::id();
    assert!(format!("{lock:?}").contains(&format!("process {pid}, thread")), "{lock:?}");
    drop(guard);
    writer(&lock).kill();
    assert!(format!("{lock:?}").contains("died inside"), "{lock:?}");
}

/// Readers and writers are killed at random. The two halves of the value are equal whenever nobody is
/// told of a death, nobody reads while somebody writes, and everybody goes on.
#[test]
fn a_crowd_goes_on_whoever_is_killed() {
    let _watchdog = watchdog_of(120);
    let mut random = Random::seeded("a_crowd_goes_on_whoever_is_killed");
    let lock = RwLock::new([0u64; 16]).unwrap();
    let turns = Array::<u64>::new(8, 0).unwrap();
    let stop = AtomicU64::new(0).unwrap();
    let start = |i: usize, seed: u64| {
        let (lock, turns, stop) = (lock.clone(), turns.clone(), stop.clone());
        child(move || {
            let mut state = seed | 1;
            let mut chance = |of: u64| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                (state >> 33).is_multiple_of(of)
            };
            let mut done = 0;
            while stop.load(SeqCst) == 0 {
                done += 1;
                turns.set(i, done).unwrap();
                if chance(3) {
                    let repair = |value: &mut [u64; 16]| *value = [value[0]; 16];
                    let mut guard = if chance(4) {
                        match lock.write_timeout(Duration::from_micros(50)) {
                            Ok(guard) => guard,
                            Err(LockError::TimedOut | LockError::OwnerDied { .. }) => continue,
                            Err(error) => panic!("{error}"),
                        }
                    } else {
                        lock.write_or_repair(repair).unwrap()
                    };
                    let first = guard[0];
                    assert!(guard.iter().all(|&n| n == first), "{guard:?}");
                    for place in guard.iter_mut() {
                        *place = first + 1;
                    }
                } else {
                    let shared = if chance(4) { lock.try_read() } else { lock.read() };
                    match shared {
                        Ok(guard) => {
                            let first = guard[0];
                            assert!(guard.iter().all(|&n| n == first), "{guard:?}");
                        }
                        Err(LockError::OwnerDied { .. } | LockError::WouldBlock) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        })
    };
    let mut crowd: Vec<_> = (0..5).map(|i| start(i, random.number())).collect();
    let kills = if cfg!(debug_assertions) { 150 } else { 300 };
    for _ in 0..kills {
        let victim = random.below(5) as usize;
        // A moment, in the others' turns.
        let pause = random.below(300);
        let everybody = |turns: &Array<u64>| (0..5).map(|i| turns.get(i).unwrap()).sum::<u64>();
        let start_at = everybody(&turns);
        while everybody(&turns).wrapping_sub(start_at) < pause {
            thread::yield_now();
        }
        let fresh = start(victim, random.number());
        std::mem::replace(&mut crowd[victim], fresh).kill();
        // Everybody goes on.
        let seen: Vec<u64> = (0..5).map(|i| turns.get(i).unwrap()).collect();
        for (i, &seen) in seen.iter().enumerate() {
            while turns.get(i).unwrap() == seen {
                thread::yield_now();
            }
        }
    }
    stop.store(1, SeqCst);
    for child in crowd {
        child.finish();
    }
    drop(lock.write_or_repair(|_| ()).unwrap());
}
