//! Pools: what their tasks give, and what becomes of tasks, workers and callers when somebody dies.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "signals, and elements in place")]

mod common;

use common::{child, in_child, raw_fork, signal, watchdog};
use commons::{Array, AtomicU64, Error, Pool, TaskError, WaitStrategy, process};
use std::collections::BTreeSet;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

const ONE: NonZeroUsize = NonZeroUsize::MIN;

fn double(x: u64) -> u64 {
    2 * x
}

fn pid(_: u64) -> u32 {
    std::process::id()
}

fn kill_own(_: u64) -> u64 {
    signal(std::process::id(), libc::SIGKILL);
    0
}

/// Sleeps until it is ended.
fn for_ever(_: u64) -> u64 {
    common::pause_for_ever()
}

fn pools() -> [Pool; 2] {
    [Pool::new(3).unwrap(), Pool::threads(3).unwrap()]
}

/// Waits until the pool has this many workers that are ready, other than `dead`.
fn wait_for_workers(pool: &Pool, count: usize, dead: &[u32]) -> Vec<u32> {
    loop {
        let pids = pool.worker_pids();
        if pids.len() == count && pids.iter().all(|pid| !dead.contains(pid)) {
            return pids;
        }
        std::thread::yield_now();
    }
}

#[test]
fn results_are_in_the_order_of_the_arguments() {
    let _watchdog = watchdog();
    for pool in pools() {
        for count in [0u64, 1, 2, 10, 1000, 5000] {
            let expected: Vec<_> = (0..count).map(double).collect();
            assert_eq!(pool.map(double, 0..count).unwrap(), expected);
            for chunk in [1, 3, 10_000] {
                let chunk = NonZeroUsize::new(chunk).unwrap();
                assert_eq!(pool.map_chunked(double, 0..count, chunk).unwrap(), expected);
            }
            let result = pool.map_async_chunked(double, 0..count, ONE).unwrap();
            assert_eq!(result.get().unwrap(), expected);
        }
    }
}

#[test]
fn arguments_and_results_are_of_any_type_and_size() {
    let _watchdog = watchdog();
    for pool in pools() {
        for size in [0, 1, 21, 22, 96, 97, 4096, 100_000, 3_000_000] {
            let text = "x".repeat(size);
            let given = pool.apply(|text: String| (text.len(), text), text.clone()).unwrap();
            assert_eq!(given, (size, text));
        }
        let nested = pool.apply(|x: Option<Vec<(u8, char)>>| x, Some(vec![(1, 'a')])).unwrap();
        assert_eq!(nested, Some(vec![(1, 'a')]));
        pool.apply(|()| (), ()).unwrap();
        // Many at a time, none of which fits into its slot.
        let texts = pool.map_chunked(|n: usize| "y".repeat(n), 1000..2100, ONE).unwrap();
        assert!(texts.iter().map(String::len).eq(1000..2100));
    }
}

#[test]
fn memory_for_large_results_is_given_back() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let large = |n: u32| n.to_string().repeat(20 << 20);
    for n in 0..3 {
        assert!(pool.apply(large, n).unwrap() == large(n));
    }
    let held: u64 = std::fs::read_dir("/proc/self/fd")
        .unwrap()
        .filter_map(Result::ok)
        .map(|fd| {
            use std::os::unix::fs::MetadataExt;
            let path = std::fs::read_link(fd.path()).unwrap_or_default();
            let ours = path.to_string_lossy().contains("memfd:commons pool");
            if ours { std::fs::metadata(fd.path()).map_or(0, |m| m.blocks() * 512) } else { 0 }
        })
        .sum();
    assert!(held <= 16 << 20, "{held} bytes are held");
}

#[test]
fn errors_of_the_tasks_own_are_results() {
    let _watchdog = watchdog();
    fn parse(text: String) -> Result<i32, String> {
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }
    for pool in pools() {
        let parsed = pool.map(parse, ["1", "two"].map(str::to_owned)).unwrap();
        assert_eq!(parsed, [Ok(1), Err("`two` is no number".to_owned())]);
    }
}

#[test]
fn a_panic_is_told_and_its_worker_goes_on() {
    let _watchdog = watchdog();
    for (i, pool) in [Pool::new(1).unwrap(), Pool::threads(1).unwrap()].into_iter().enumerate() {
        let worker = pool.apply(pid, 0).unwrap();
        for round in 0..3 {
            let error = pool.apply(|x: u64| -> u64 { panic!("no {x}") }, round).unwrap_err();
            let TaskError::Panicked { message, location, worker: of, .. } = error else {
                panic!("{error}");
            };
            assert_eq!((message, of), (format!("no {round}"), worker));
            assert!(i == 1 || location.starts_with("tests/pool.rs:"), "{location}");
        }
        assert_eq!(pool.apply(pid, 0).unwrap(), worker);
    }
}

#[test]
fn only_the_elements_that_fail_fail() {
    let _watchdog = watchdog();
    for pool in pools() {
        let odd = |x: u64| if x % 2 == 1 { format!("{x}") } else { panic!("{x} is even") };
        let results = pool.try_map(odd, 0..6).unwrap();
        for (x, result) in results.iter().enumerate() {
            match result {
                Ok(text) => assert!(x % 2 == 1 && *text == x.to_string()),
                Err(TaskError::Panicked { message, .. }) => {
                    assert_eq!(*message, format!("{x} is even"));
                }
                Err(other) => panic!("{other}"),
            }
        }
        // In one chunk, too, and `map` says the first.
        let chunk = NonZeroUsize::new(100).unwrap();
        let error = pool.map_chunked(odd, 1..5, chunk).unwrap_err();
        assert!(matches!(error, TaskError::Panicked { message, .. } if message == "2 is even"));
    }
}

#[test]
fn a_worker_killed_in_a_task_fails_that_task_alone() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let tasks = |x: u64| if x % 10 == 3 { kill_own(x) } else { double(x) };
    let results = pool.try_map(tasks, 0..100).unwrap();
    let mut dead = BTreeSet::new();
    for (x, result) in (0u64..).zip(results) {
        match result {
            Ok(value) => assert!(x % 10 != 3 && value == 2 * x),
            Err(TaskError::WorkerDied { pid, signal }) => {
                assert!(x % 10 == 3 && signal == Some(libc::SIGKILL), "{x}");
                assert!(dead.insert(pid), "{pid} died twice");
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(dead.len(), 10);
    wait_for_workers(&pool, 2, &dead.into_iter().collect::<Vec<_>>());
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_task_that_ends_its_process_fails_alone() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    for code in [0, 3] {
        let worker = pool.apply(|code: i32| -> u32 { std::process::exit(code) }, code);
        assert!(matches!(worker, Err(TaskError::WorkerExited { code: c, .. }) if c == code));
        let worker = pool.apply(|code: i32| -> u32 { process::exit(code) }, code);
        assert!(matches!(worker, Err(TaskError::WorkerExited { code: c, .. }) if c == code));
    }
    let aborted = pool.apply(|()| -> () { std::process::abort() }, ());
    assert!(matches!(aborted, Err(TaskError::WorkerDied { signal: Some(libc::SIGABRT), .. })));
    assert_eq!(pool.map(double, 0..3).unwrap(), [0, 2, 4]);
}

#[test]
fn idle_workers_that_are_killed_are_replaced() {
    let _watchdog = watchdog();
    let pool = Pool::new(3).unwrap();
    let mut dead = Vec::new();
    for _ in 0..5 {
        for pid in wait_for_workers(&pool, 3, &dead) {
            signal(pid, libc::SIGKILL);
            dead.push(pid);
        }
        assert_eq!(pool.map_chunked(double, 0..9, ONE).unwrap().len(), 9);
    }
    let alive = wait_for_workers(&pool, 3, &dead);
    assert_eq!(alive.len(), 3);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_task_that_may_is_run_again() {
    let _watchdog = watchdog();
    static ATTEMPTS: OnceLock<AtomicU64> = OnceLock::new();
    let attempts = ATTEMPTS.get_or_init(|| AtomicU64::new(0).unwrap());
    let pool = Pool::builder().workers(1).retries(2).build().unwrap();
    let dies_twice = |x: u64| {
        if ATTEMPTS.get().unwrap().fetch_add(1, SeqCst) < 2 { kill_own(x) } else { x }
    };
    assert_eq!(pool.apply(dies_twice, 7).unwrap(), 7);
    assert_eq!(attempts.load(SeqCst), 3);
    let error = pool.apply(kill_own, 0).unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { .. }), "{error}");
}

#[test]
fn a_task_that_takes_too_long_is_ended() {
    let _watchdog = watchdog();
    let limit = Duration::from_millis(50);
    let pool = Pool::builder().workers(1).task_timeout(limit).build().unwrap();
    assert_eq!(pool.apply(double, 1).unwrap(), 2);
    let before = Instant::now();
    let error = pool.apply(for_ever, 0).unwrap_err();
    assert!(matches!(error, TaskError::TookTooLong { pid } if pid != 0), "{error}");
    assert!(before.elapsed() >= limit);
    // The time of an idle worker is not counted, and somebody else's SIGKILL is that.
    std::thread::sleep(2 * limit);
    assert_eq!(pool.apply(double, 2).unwrap(), 4);
    let error = pool.apply(kill_own, 0).unwrap_err();
    assert!(matches!(error, TaskError::WorkerDied { .. }), "{error}");
}

#[test]
fn a_worker_runs_as_many_tasks_as_it_may() {
    let _watchdog = watchdog();
    let limit = NonZeroU32::new(2);
    let pool = Pool::builder().workers(2).max_tasks_per_child(limit.unwrap()).build().unwrap();
    let pids = pool.map_chunked(pid, 0..40, ONE).unwrap();
    for pid in &pids {
        assert!(pids.iter().filter(|other| *other == pid).count() <= 2);
    }
    pool.close();
    pool.join().unwrap();
}

#[test]
fn the_death_of_the_zygote_is_told_when_nobody_is_left() {
    let _watchdog = watchdog();
    let finished = in_child(|| {
        let pool = Pool::new(2).unwrap();
        wait_for_workers(&pool, 2, &[]);
        let zygote = process::active_children();
        assert_eq!(zygote.len(), 1);
        let running = pool.apply_async(for_ever, 0).unwrap();
        zygote[0].kill().unwrap();
        zygote[0].wait().unwrap();
        // Workers go on.
        assert_eq!(pool.map(double, 0..10).unwrap().len(), 10);
        assert!(!running.ready());
        for pid in pool.worker_pids() {
            signal(pid, libc::SIGKILL);
        }
        let error = running.get().unwrap_err();
        assert!(matches!(error, TaskError::WorkerDied { signal: None, .. }), "{error}");
        assert_eq!(pool.map(double, 0..10), Err(TaskError::ZygoteDied));
        let polled = pool.apply_async(double, 1).unwrap();
        while !polled.ready() {
            std::thread::yield_now();
        }
        assert_eq!(polled.get(), Err(TaskError::ZygoteDied));
        pool.close();
        pool.join().unwrap();
        true
    });
    assert!(finished);
}

#[test]
fn a_pool_whose_zygote_is_dead_can_be_joined_and_terminated() {
    let _watchdog = watchdog();
    for terminates in [false, true] {
        let finished = in_child(move || {
            let pool = Pool::new(2).unwrap();
            process::active_children()[0].kill().unwrap();
            let result = pool.map_async(double, 0..10).unwrap();
            let pids = pool.worker_pids();
            pool.close();
            if terminates {
                pool.terminate();
            } else {
                pool.join().unwrap();
                assert_eq!(result.get().unwrap().len(), 10);
            }
            pids.iter().all(|pid| !is_there(*pid))
        });
        assert!(finished);
    }
}

/// Whether a process is there that is not dead.
fn is_there(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

#[test]
fn ten_thousand_tasks_that_wait_end_at_once() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let pids = wait_for_workers(&pool, 2, &[]);
    let result = pool.map_async_chunked(for_ever, 0..10_000, ONE).unwrap();
    let single = pool.apply_async(for_ever, 0).unwrap();
    let before = Instant::now();
    pool.terminate();
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(result.get(), Err(TaskError::Terminated));
    assert_eq!(single.get(), Err(TaskError::Terminated));
    assert!(pids.iter().all(|pid| !is_there(*pid)));
    assert_eq!(pool.map(double, 0..3), Err(TaskError::Terminated));
    pool.join().unwrap();
}

#[test]
fn who_waits_is_told_of_a_termination_by_another_thread() {
    let _watchdog = watchdog();
    let pool = Arc::new(Pool::new(1).unwrap());
    let waiting = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.map(for_ever, 0..3))
    };
    let result = pool.apply_async(for_ever, 0).unwrap();
    let other = std::thread::spawn(move || result.get());
    pool.terminate();
    let error = waiting.join().unwrap().unwrap_err();
    assert_eq!(error, TaskError::Terminated);
    assert_eq!(other.join().unwrap(), Err(TaskError::Terminated));
}

#[test]
fn many_threads_use_one_pool() {
    let _watchdog = watchdog();
    for pool in pools() {
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                let pool = &pool;
                scope.spawn(move || {
                    for round in 0..20 {
                        let first = 100 * thread + round;
                        assert_eq!(pool.apply(double, first).unwrap(), 2 * first);
                        let results = pool.map_chunked(double, first..first + 50, ONE).unwrap();
                        assert!(results.into_iter().eq((first..first + 50).map(double)));
                    }
                });
            }
        });
    }
}

#[test]
fn callbacks_run_before_the_result_is_there() {
    let _watchdog = watchdog();
    for pool in pools() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let note = |seen: &Arc<Mutex<Vec<_>>>| {
            let seen = seen.clone();
            move |result: &Result<u64, TaskError>| seen.lock().unwrap().push(result.clone())
        };
        for x in 0..50 {
            let result = pool.apply_async_then(double, x, note(&seen)).unwrap();
            assert_eq!(result.get().unwrap(), 2 * x);
            assert_eq!(seen.lock().unwrap().pop(), Some(Ok(2 * x)));
        }
        let fails = |_: u64| -> u64 { panic!("no") };
        let result = pool.apply_async_then(fails, 0, note(&seen)).unwrap();
        let error = result.get().unwrap_err();
        assert_eq!(seen.lock().unwrap().pop(), Some(Err(error)));
        // Nobody waits for these.
        for x in 0..50 {
            pool.apply_async_then(double, x, note(&seen)).unwrap();
        }
        pool.close();
        pool.join().unwrap();
        assert_eq!(seen.lock().unwrap().len(), 50);
    }
}

#[test]
fn a_pool_can_be_terminated_in_a_callback() {
    let _watchdog = watchdog();
    let pool = Arc::new(Pool::new(2).unwrap());
    let theirs = pool.clone();
    let result = pool.apply_async_then(double, 1, move |_| theirs.terminate()).unwrap();
    assert_eq!(result.get().unwrap(), 2);
    assert_eq!(pool.apply(double, 1), Err(TaskError::Terminated));
    // And dropped there.
    let pool = Arc::new(Pool::new(2).unwrap());
    let theirs = Mutex::new(Some(pool.clone()));
    let result = pool.apply_async_then(double, 1, move |_| drop(theirs.lock().unwrap().take()));
    drop(pool);
    result.unwrap().wait();
}

#[test]
fn workers_are_pinned_and_wait_as_they_are_told() {
    let _watchdog = watchdog();
    fn processors(_: u64) -> usize {
        process::usable_cpu_count()
    }
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let pool =
            Pool::builder().workers(2).affinity([0]).wait_strategy(strategy).build().unwrap();
        assert_eq!(pool.map_chunked(processors, 0..4, ONE).unwrap(), [1; 4]);
    }
    let error = Pool::builder().affinity([100_000]).build().unwrap_err();
    assert!(error.to_string().contains("no processor 100000"), "{error}");
}

#[test]
fn a_short_queue_is_enough() {
    let _watchdog = watchdog();
    for length in [1, 2, 3] {
        let length = NonZeroUsize::new(length).unwrap();
        let pool = Pool::builder().workers(2).queue_length(length).build().unwrap();
        assert!(
            pool.map_chunked(double, 0..100, ONE).unwrap().into_iter().eq((0..100).map(double))
        );
        let result = pool.map_async_chunked(double, 0..100, ONE).unwrap();
        while !result.ready() {
            std::thread::yield_now();
        }
        assert!(result.successful().unwrap());
        let squares = pool.imap_unordered(double, 0..50).map(Result::unwrap);
        assert!(squares.collect::<BTreeSet<_>>().into_iter().eq((0..50).map(double)));
    }
    let too_long = Pool::builder().queue_length(NonZeroUsize::new(1 << 20).unwrap()).build();
    assert!(matches!(too_long, Err(Error::TooLarge { .. })));
}

#[test]
fn one_long_task_delays_nobody() {
    let _watchdog = watchdog();
    let length = NonZeroUsize::new(4).unwrap();
    let pool = Pool::builder().workers(2).queue_length(length).build().unwrap();
    let long = pool.apply_async(for_ever, 0).unwrap();
    // Many laps of the board.
    assert_eq!(pool.map_chunked(double, 0..200, ONE).unwrap().len(), 200);
    assert!(!long.ready());
}

#[test]
fn workers_change_arrays_in_place() {
    let _watchdog = watchdog();
    let before = Array::new(1000, 1u32).unwrap();
    for pool in pools() {
        // One that is older than the workers, ones that are younger, and one that is large.
        for array in [before.clone(), Array::new(10, 1).unwrap(), Array::new(1 << 20, 1).unwrap()] {
            array.fill(.., 1).unwrap();
            let add = |first: usize, slice: &mut [u32]| {
                slice.iter_mut().enumerate().for_each(|(i, x)| *x += (first + i) as u32);
            };
            // SAFETY: nobody else uses it.
            unsafe { pool.for_each_slice(&array, add) }.unwrap();
            assert!(array.iter().enumerate().all(|(i, x)| x == i as u32 + 1));
            let most = |_: usize, slice: &[u32]| slice.iter().max().copied();
            // SAFETY: as above.
            let found = unsafe { pool.map_slices(&array, most) }.unwrap();
            assert_eq!(found.into_iter().max().flatten(), Some(array.len() as u32));
        }
        let nothing = Array::new(0, 1u32).unwrap();
        // SAFETY: as above.
        assert!(unsafe { pool.map_slices(&nothing, |_, x| x.len()) }.unwrap().is_empty());
    }
}

#[test]
fn a_child_cannot_use_its_parents_pool() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let result = pool.apply_async(double, 1).unwrap();
    let code = raw_fork(|| {
        let refused = pool.apply(double, 1) == Err(TaskError::Forked);
        pool.terminate();
        let refused = refused && pool.join() == Err(TaskError::Forked);
        let waits = matches!(result.get(), Ok(2) | Err(TaskError::Forked));
        i32::from(!(refused && waits))
    });
    assert_eq!(code.wait(), 0);
    assert_eq!(pool.apply(double, 1).unwrap(), 2);
    assert_eq!(result.get().unwrap(), 2);
}

#[test]
fn workers_end_with_the_process_of_the_pool() {
    let _watchdog = watchdog();
    let (reader, writer) = std::io::pipe().unwrap();
    let owner = child(move || {
        let pool = Pool::new(3).unwrap();
        let pids = wait_for_workers(&pool, 3, &[]);
        let text: Vec<_> = pids.iter().map(u32::to_string).collect();
        std::io::Write::write_all(&mut &writer, (text.join(" ") + "\n").as_bytes()).unwrap();
        let _ = pool.map(for_ever, 0..3);
    });
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(reader), &mut line).unwrap();
    owner.kill();
    for pid in line.split_ascii_whitespace().map(|pid| pid.parse().unwrap()) {
        while is_there(pid) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn two_hundred_workers_work() {
    let _watchdog = watchdog();
    let pool = Pool::new(200).unwrap();
    assert_eq!(pool.map_chunked(double, 0..2000, ONE).unwrap().len(), 2000);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn nothing_is_left_after_many_replacements_and_many_pools() {
    let _watchdog = watchdog();
    let long = std::env::var_os("COMMONS_LONG").is_some();
    in_child(move || {
        let pool = Pool::builder().workers(2).max_tasks_per_child(NonZeroU32::MIN).build().unwrap();
        let zygote = process::active_children()[0].pid();
        let counts = || {
            let fds = std::fs::read_dir(format!("/proc/{zygote}/fd")).unwrap().count();
            let maps = std::fs::read_to_string(format!("/proc/{zygote}/maps")).unwrap();
            (fds, maps.lines().count(), common::descriptors())
        };
        let replaced = |tasks: u64| {
            let pids = pool.map_chunked(pid, 0..tasks, ONE).unwrap();
            assert_eq!(pids.len() as u64, tasks);
            while pool.worker_pids().len() != 2 {
                std::thread::yield_now();
            }
            counts()
        };
        let before = replaced(20);
        let after = replaced(if long { 10_000 } else { 300 });
        assert!(after.0 <= before.0 + 2 && after.1 <= before.1 + 4, "{before:?}, {after:?}");
        assert_eq!(before.2, after.2);
        drop(pool);
        let before = (common::descriptors(), common::mappings());
        for _ in 0..5 {
            assert_eq!(Pool::new(2).unwrap().apply(double, 1).unwrap(), 2);
        }
        assert_eq!((common::descriptors(), common::mappings()), before);
        assert!(process::active_children().is_empty());
        true
    });
}
