//! Slices of arrays under a lock, given to the workers of a pool: what they do, and that nobody else
//! has the elements while one of them does, whoever dies.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "signals and locks of bytes")]

mod common;

use common::{child, in_child, raw_fork, signal, watchdog};
use commons::{Array, LockError, LockedArray, Pool, SlicesError, TaskError};
use std::fs;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

fn pools() -> [Pool; 2] {
    [Pool::new(3).unwrap(), Pool::threads(3).unwrap()]
}

fn add_index(first: usize, slice: &mut [u32]) {
    slice.iter_mut().enumerate().for_each(|(i, x)| *x += (first + i) as u32);
}

#[test]
fn workers_change_and_sum_up_arrays_under_a_lock() {
    let _watchdog = watchdog();
    let name = common::name("slices");
    let before = LockedArray::new(1000, 1u32).unwrap();
    for pool in pools() {
        let _ = fs::remove_file(name.path());
        let arrays = [
            before.clone(),
            LockedArray::new(10, 1).unwrap(),
            LockedArray::new(9 << 18, 1).unwrap(),
            LockedArray::create(&name, 999, 1).unwrap(),
            LockedArray::new(0, 1).unwrap(),
        ];
        for array in arrays {
            for round in 0..2 {
                let mut guard = array.lock().unwrap();
                guard.fill(1);
                pool.for_each_slice_of(&mut guard, add_index).unwrap();
                assert!(guard.iter().zip(1..).all(|(x, y)| *x == y), "{} {round}", array.len());
                assert!(!guard.is_in_doubt());
                let sums = |first: usize, slice: &[u32]| {
                    (first, slice.iter().map(|x| u64::from(*x)).sum::<u64>())
                };
                let found = pool.map_slices_of(&guard, sums).unwrap();
                assert!(found.is_sorted());
                let sum: u64 = found.iter().map(|(_, sum)| sum).sum();
                assert_eq!(sum, (1..=array.len() as u64).sum());
            }
            // Another process may have it now.
            let theirs = array.clone();
            in_child(move || theirs.lock().unwrap().iter_mut().for_each(|x| *x = 9));
            assert!(array.lock().unwrap().iter().all(|x| *x == 9));
        }
    }
}

#[test]
fn values_that_are_checked_can_be_looked_at() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let bools = LockedArray::from_slice(&[true, false, true, true]).unwrap();
    let count = |_: usize, slice: &[bool]| slice.iter().filter(|x| **x).count();
    let counts = pool.map_slices_of(&bools.lock().unwrap(), count).unwrap();
    assert_eq!(counts.iter().sum::<usize>(), 3);
}

/// The slice of 1000 elements that has this one, with three workers.
fn slice_of(index: usize) -> Range<usize> {
    let length = 1000usize.div_ceil(12);
    let first = index / length * length;
    first..(first + length).min(1000)
}

/// Writes half of its slice, and kills its worker where that has this element.
fn half<const AT: usize>(first: usize, slice: &mut [u32]) {
    let own = AT >= first && AT < first + slice.len();
    let half = if own { slice.len() / 2 } else { slice.len() };
    add_index(first, &mut slice[..half]);
    if own {
        signal(std::process::id(), libc::SIGKILL);
    }
}

#[test]
fn what_a_dead_worker_left_is_named_and_in_doubt() {
    let _watchdog = watchdog();
    let pool = Pool::new(3).unwrap();
    let array = LockedArray::new(1000, 1u32).unwrap();
    let mut guard = array.lock().unwrap();
    let error = pool.for_each_slice_of(&mut guard, half::<500>).unwrap_err();
    let SlicesError { error: why, in_doubt, untouched, .. } = error.clone();
    assert!(matches!(*why, TaskError::WorkerDied { signal: Some(libc::SIGKILL), .. }), "{why}");
    let lost = slice_of(500);
    assert_eq!((in_doubt, untouched), (vec![lost.clone()], vec![]));
    assert!(error.to_string().contains(&format!("{lost:?} are in doubt")), "{error}");
    let done = |i: usize| !lost.contains(&i) || i < lost.start + lost.len() / 2;
    for (i, x) in guard.iter().enumerate() {
        assert_eq!(*x, 1 + if done(i) { i as u32 } else { 0 }, "element {i}");
    }
    // Who does nothing about it leaves it to the next owner, of whatever process.
    assert!(guard.is_in_doubt());
    drop(guard);
    assert_eq!(array.lock().unwrap_err(), LockError::Poisoned);
    let theirs = array.clone();
    in_child(move || assert_eq!(theirs.try_lock().unwrap_err(), LockError::Poisoned));
    let mut guard = array.lock_or_repair(|all| all.fill(1)).unwrap();
    assert!(!guard.is_in_doubt());
    // Who sees to it says so.
    pool.for_each_slice_of(&mut guard, half::<0>).unwrap_err();
    guard.fill(1);
    guard.mark_consistent();
    drop(guard);
    let mut guard = array.lock().unwrap();
    pool.for_each_slice_of(&mut guard, add_index).unwrap();
    assert!(guard.iter().zip(1..).all(|(x, y)| *x == y));
}

#[test]
fn a_panic_is_as_a_death_and_looking_leaves_no_doubt() {
    let _watchdog = watchdog();
    for pool in pools() {
        let array = LockedArray::new(1000, 1u32).unwrap();
        let mut guard = array.lock().unwrap();
        let last = |first: usize, slice: &mut [u32]| {
            slice.fill(2);
            assert!(first + slice.len() < 1000, "the last one");
        };
        let error = pool.for_each_slice_of(&mut guard, last).unwrap_err();
        assert!(matches!(*error.error, TaskError::Panicked { .. }), "{error}");
        assert_eq!(error.in_doubt, [slice_of(999)]);
        guard.mark_consistent();
        let look = |_: usize, slice: &[u32]| assert!(slice.is_empty(), "it panics");
        assert!(pool.map_slices_of(&guard, look).is_err());
        drop(guard);
        assert!(array.lock().is_ok());
    }
}

#[test]
fn retried_slices_leave_no_doubt() {
    let _watchdog = watchdog();
    static DIED: OnceLock<Array<u32>> = OnceLock::new();
    let died = DIED.get_or_init(|| Array::new(1, 0u32).unwrap());
    let pool = Pool::builder().workers(3).retries(1).build().unwrap();
    let array = LockedArray::new(1000, 1u32).unwrap();
    let mut guard = array.lock().unwrap();
    let set = |first: usize, slice: &mut [u32]| {
        slice.iter_mut().enumerate().for_each(|(i, x)| *x = (first + i) as u32);
        if first == 0 && DIED.get().unwrap().atomics()[0].fetch_add(1, SeqCst) == 0 {
            signal(std::process::id(), libc::SIGKILL);
        }
    };
    pool.for_each_slice_of(&mut guard, set).unwrap();
    assert!(guard.iter().zip(0..).all(|(x, y)| *x == y));
    assert_eq!(died.get(0), Ok(2));
}

#[test]
fn what_is_not_accepted_is_untouched() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let array = LockedArray::new(1000, 1u32).unwrap();
    let mut guard = array.lock().unwrap();
    let code = raw_fork(|| {
        // A copy of the guard lends nothing.
        let refused = matches!(
            pool.map_slices_of(&guard, |_, x| x.len()),
            Err(TaskError::Unreachable { .. })
        );
        i32::from(!refused)
    });
    assert_eq!(code.wait(), 0);
    pool.close();
    let error = pool.for_each_slice_of(&mut guard, add_index).unwrap_err();
    assert_eq!(*error.error, TaskError::Closed);
    let whole: Vec<Range<usize>> = std::iter::once(0..1000).collect();
    assert_eq!((error.in_doubt, error.untouched), (vec![], whole));
    assert!(!guard.is_in_doubt());
    drop(guard);
    assert!(array.lock().unwrap().iter().all(|x| *x == 1));
}

// ---- nobody else has the elements while a worker does ----

static BEGUN: AtomicU32 = AtomicU32::new(0);
static GOES_ON: AtomicBool = AtomicBool::new(false);

#[test]
fn a_pool_that_is_terminated_gives_the_elements_back_first() {
    let _watchdog = watchdog();
    // Threads are not ended, so they can be seen to be waited for.
    let pool = Pool::threads(2).unwrap();
    let array = LockedArray::new(1000, 1u32).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while BEGUN.load(SeqCst) < 2 {
                std::thread::yield_now();
            }
            scope.spawn(|| pool.terminate());
            while pool.apply_async(|x: u32| x, 1).is_ok() {
                std::thread::yield_now();
            }
            // The call has failed by now, or will soon.
            for _ in 0..1000 {
                std::thread::yield_now();
            }
            GOES_ON.store(true, SeqCst);
        });
        let mut guard = array.lock().unwrap();
        let slow = |_: usize, slice: &mut [u32]| {
            assert!(BEGUN.fetch_add(1, SeqCst) < 2, "others are not to be begun any more");
            while !GOES_ON.load(SeqCst) {
                std::thread::yield_now();
            }
            slice.fill(7);
        };
        let error = pool.for_each_slice_of(&mut guard, slow).unwrap_err();
        assert!(GOES_ON.load(SeqCst), "a thread still has its slice");
        let told = matches!(*error.error, TaskError::Terminated | TaskError::Panicked { .. });
        assert!(told, "{error}");
        let sevens = guard.iter().filter(|x| **x == 7).count();
        assert!(sevens > 0 && !error.in_doubt.is_empty(), "{error}");
        let is_in = |ranges: &[Range<usize>], i| ranges.iter().any(|range| range.contains(&i));
        // What had been done by the time that the pool ended is done.
        let is_right = |(i, x): (usize, &u32)| match *x {
            _ if is_in(&error.in_doubt, i) => true,
            1 => is_in(&error.untouched, i),
            _ => *x == 7 && !is_in(&error.untouched, i),
        };
        assert!(guard.iter().enumerate().all(is_right), "{error}");
    });
}

/// What the next test and its workers know of each other.
static NOTES: OnceLock<Array<u32>> = OnceLock::new();

fn note(index: usize) -> &'static AtomicU32 {
    &NOTES.get_or_init(|| Array::new(3, 0).unwrap()).atomics()[index]
}

#[test]
fn a_slice_of_a_call_that_is_over_is_not_begun() {
    const FAILS: usize = 0;
    const BEGUN: usize = 1;
    const GO: usize = 2;
    let _watchdog = watchdog();
    assert_eq!(note(FAILS).load(SeqCst), 0);
    let initializer = || assert_eq!(note(FAILS).load(SeqCst), 0, "no more workers");
    let pool = Pool::builder().workers(2).initializer(initializer).build().unwrap();
    let array = LockedArray::new(1000, 1u32).unwrap();
    let mut pids = Vec::new();
    // The call has ended the loan and waits for who still has a slice.
    let caller = common::thread_id();
    let waits = || {
        let call = fs::read_to_string(format!("/proc/self/task/{caller}/syscall")).unwrap();
        let number = call.split(' ').next().unwrap().parse();
        number.is_ok_and(|number: i64| number == libc::SYS_clock_nanosleep)
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while note(BEGUN).load(SeqCst) < 2 {
                std::thread::yield_now();
            }
            pids = pool.worker_pids();
            note(FAILS).store(1, SeqCst);
            signal(pids[0], libc::SIGKILL);
            // The pool cannot go on, while one worker still has its slice, and more are posted.
            while !waits() {
                std::thread::yield_now();
            }
            note(GO).store(1, SeqCst);
        });
        let mut guard = array.lock().unwrap();
        let error = pool.for_each_slice_of(&mut guard, |_, slice| {
            note(BEGUN).fetch_add(1, SeqCst);
            while note(GO).load(SeqCst) == 0 {
                std::thread::yield_now();
            }
            slice.fill(7);
        });
        error.unwrap_err();
        assert_eq!(note(GO).load(SeqCst), 1, "a worker still has its slice");
        guard.fill(1);
        guard.mark_consistent();
    });
    // It looks at what was posted, and ends, for there is to be nothing more.
    while !is_ending(pids[1]) {
        std::thread::yield_now();
    }
    assert_eq!(note(BEGUN).load(SeqCst), 2);
    assert!(array.lock().unwrap().iter().all(|x| *x == 1));
}

/// Whether a process is past its last instruction.
fn is_ending(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    let fields = stat.rsplit_once(')').unwrap().1;
    let flags: u32 = fields.split_ascii_whitespace().nth(6).unwrap().parse().unwrap();
    flags & 4 != 0
}

/// Never has enough.
fn for_ever(_: usize, slice: &mut [u32]) {
    loop {
        for x in &mut *slice {
            // SAFETY: an element of the slice.
            unsafe { std::ptr::write_volatile(x, *x + 1) };
        }
    }
}

#[test]
fn when_its_owner_dies_workers_are_gone_before_somebody_has_the_elements() {
    let _watchdog = watchdog();
    let array = LockedArray::new(12_000, 0u32).unwrap();
    for _ in 0..5 {
        drop(array.reset(0).unwrap());
        let theirs = array.clone();
        let (reader, writer) = std::io::pipe().unwrap();
        let owner = child(move || {
            let pool = Pool::new(3).unwrap();
            while pool.worker_pids().len() < 3 {
                std::thread::yield_now();
            }
            let mut guard = theirs.lock().unwrap();
            guard[0] = 1;
            let pids: Vec<_> = pool.worker_pids().iter().map(u32::to_string).collect();
            std::io::Write::write_all(&mut &writer, (pids.join(" ") + "\n").as_bytes()).unwrap();
            let _ = pool.for_each_slice_of(&mut guard, for_ever);
        });
        let mut line = String::new();
        std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut line).unwrap();
        let pids: Vec<u32> =
            line.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect();
        // They have begun when they have used some of the processor's time.
        let ticks = |pid: &u32| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
            let fields = stat.rsplit_once(')').unwrap().1;
            fields.split_ascii_whitespace().nth(11).unwrap().parse::<u64>().unwrap()
        };
        while pids.iter().map(ticks).sum::<u64>() < 3 {
            std::thread::yield_now();
        }
        signal(owner.id(), libc::SIGKILL);
        while array.try_lock().is_err_and(|error| error == LockError::WouldBlock) {}
        assert!(matches!(array.lock(), Err(LockError::OwnerDied { .. })));
        let mut guard = array.recover().unwrap();
        assert!(pids.iter().all(|pid| is_ending(*pid)), "{pids:?}");
        let seen = guard.to_vec();
        assert!(seen.iter().any(|x| *x > 1));
        assert!(*guard == seen);
        guard.fill(0);
        drop(guard.mark_consistent());
        assert!(owner.join().is_err());
    }
}

#[test]
fn a_borrower_that_lives_is_waited_for() {
    let _watchdog = watchdog();
    let name = common::name("borrowed");
    let array = LockedArray::create(&name, 10, 1u32).unwrap();
    let theirs = array.clone();
    let owner = child(move || {
        let guard = theirs.lock().unwrap();
        std::mem::forget(guard);
        std::process::abort();
    });
    let _: Result<(), _> = owner.join();
    // Somebody who has borrowed any of its objects.
    let file = fs::OpenOptions::new().read(true).write(true).open(name.path()).unwrap();
    let lock = |kind: libc::c_int| {
        let lock = libc::flock {
            l_type: kind as libc::c_short,
            l_whence: libc::SEEK_SET as libc::c_short,
            l_start: 1 << 58,
            l_len: 1 << 40,
            l_pid: 0,
        };
        // SAFETY: `lock` is live for the kernel to read.
        let result = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    };
    lock(libc::F_RDLCK);
    let is_back = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| {
            let guard = array.recover().unwrap();
            assert!(is_back.load(SeqCst), "it was borrowed");
            drop(guard.mark_consistent());
        });
        while !array.is_locked() {
            std::thread::yield_now();
        }
        for _ in 0..1000 {
            std::thread::yield_now();
        }
        is_back.store(true, SeqCst);
        lock(libc::F_UNLCK);
        waiter.join().unwrap();
    });
    assert!(array.lock().is_ok());
}
