//! Pools. (05 and 28 speak of inputs without a length and of warnings; what is here instead is in the
//! documentation of `Pool::map`, and in the test of 28. 16 and 33 are types: `NonZero`.)

use crate::common::{child, pause_for_ever, signal, watchdog};
use commons::{Error, Pool, TaskError, process};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(20);
const ONE: NonZeroUsize = NonZeroUsize::MIN;

fn square(x: u64) -> u64 {
    x * x
}

fn pid(_: u64) -> u32 {
    std::process::id()
}

fn for_ever(_: u64) -> u64 {
    pause_for_ever()
}

fn dies(_: u64) -> u64 {
    signal(std::process::id(), libc::SIGKILL);
    0
}

fn chunk(size: usize) -> NonZeroUsize {
    NonZeroUsize::new(size).unwrap()
}

/// What cannot be serialised.
#[derive(Debug, Default, Deserialize)]
struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("never"))
    }
}

/// What cannot be made a value again.
#[derive(Debug, Serialize)]
struct OneWay;

impl<'a> Deserialize<'a> for OneWay {
    fn deserialize<D: Deserializer<'a>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no way back"))
    }
}

#[test]
fn pool_01_a_pool_has_as_many_workers_as_it_was_asked_for() {
    let _watchdog = watchdog();
    assert!(matches!(Pool::new(0), Err(Error::Zero { .. })));
    assert_eq!(Pool::builder().build().unwrap().workers(), process::usable_cpu_count());
    let pool = Pool::new(3).unwrap();
    while pool.worker_pids().len() < 3 {
        std::thread::yield_now();
    }
    // A failure to start one ends those that were started.
    let mut made = Vec::new();
    for limit in (10..=40).step_by(3) {
        let starved = process::Process::builder()
            .limit(process::Resource::OpenFiles, limit)
            .spawn(|| {
                let pool = Pool::new(2);
                let made = pool.as_ref().is_ok_and(|pool| pool.apply(square, 2) == Ok(4));
                drop(pool);
                assert!(process::active_children().is_empty());
                made
            })
            .unwrap();
        made.push(starved.join().unwrap());
    }
    assert!(!made[0] && made[made.len() - 1], "{made:?}");
}

#[test]
fn pool_02_apply_gives_what_the_call_returns() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.apply(square, 5).unwrap(), 25);
    let given = pool.apply(|(base, exponent): (u64, u32)| base.pow(exponent), (2, 10));
    assert_eq!(given.unwrap(), 1024);
}

#[test]
fn pool_03_map_is_the_sequential_map() {
    let _watchdog = watchdog();
    let pool = Pool::new(3).unwrap();
    for count in [0, 1, 10, 100] {
        let expected: Vec<u64> = (0..count).map(square).collect();
        assert_eq!(pool.map(square, 0..count).unwrap(), expected);
        assert_eq!(pool.map_async(square, 0..count).unwrap().get().unwrap(), expected);
        for size in [1, 7, 1000] {
            assert_eq!(pool.map_chunked(square, 0..count, chunk(size)).unwrap(), expected);
        }
    }
}

#[test]
fn pool_04_there_are_four_chunks_for_each_worker() {
    let _watchdog = watchdog();
    // With one task a worker, each worker has had one chunk.
    let limit = NonZeroU32::MIN;
    let pool = Pool::builder().workers(3).max_tasks_per_child(limit).build().unwrap();
    for (items, size) in [(10, 1), (13, 2)] {
        let mut counts = BTreeMap::new();
        for pid in pool.map(pid, 0..items).unwrap() {
            *counts.entry(pid).or_insert(0) += 1;
        }
        assert_eq!(counts.values().max(), Some(&size), "{items} items");
    }
}

#[test]
fn pool_06_starmap_spreads_tuples() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    fn add(a: u64, b: u64, c: u8) -> u64 {
        a + b + u64::from(c)
    }
    let items = [(1, 2, 3), (10, 20, 30)];
    assert_eq!(pool.starmap(add, items).unwrap(), [6, 60]);
    assert_eq!(pool.starmap_async(add, items).unwrap().get().unwrap(), [6, 60]);
    assert!(pool.starmap(add, []).unwrap().is_empty());
}

#[test]
fn pool_07_a_result_can_be_waited_for_for_a_while_and_again() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let slow = |ms: u64| {
        std::thread::sleep(Duration::from_millis(ms));
        ms
    };
    let result = pool.apply_async(slow, 200).unwrap();
    assert_eq!(result.get_timeout(SHORT), Err(TaskError::TimedOut));
    assert_eq!((result.get(), result.get()), (Ok(200), Ok(200)));
    let panics = pool.apply_async(|_: u64| -> u64 { panic!("no") }, 0).unwrap();
    assert!(panics.get().is_err() && panics.get() == panics.get());
}

#[test]
fn pool_08_wait_never_fails_and_success_is_asked_for_afterwards() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let result = pool.apply_async(for_ever, 0).unwrap();
    assert!(!result.wait_timeout(SHORT) && !result.ready());
    assert_eq!(result.successful(), Err(TaskError::NotReady));
    signal(pool.worker_pids()[0], libc::SIGKILL);
    result.wait();
    assert_eq!((result.ready(), result.successful()), (true, Ok(false)));
    let result = pool.apply_async(square, 2).unwrap();
    result.wait();
    assert_eq!(result.successful(), Ok(true));
}

#[test]
fn pool_09_callbacks_get_the_value_or_the_error_before_get_returns() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let calls = Arc::new(Mutex::new(Vec::new()));
    let theirs = calls.clone();
    let then = move |list: &Result<Vec<u64>, TaskError>| theirs.lock().unwrap().push(list.clone());
    let result = pool.map_async_then(square, 0..4, then.clone()).unwrap();
    assert_eq!(result.get().unwrap(), [0, 1, 4, 9]);
    assert_eq!(calls.lock().unwrap().drain(..).collect::<Vec<_>>(), [Ok(vec![0, 1, 4, 9])]);
    let result = pool.map_async_then(|x: u64| 1 / x, 0..4, then.clone()).unwrap();
    let error = result.get().unwrap_err();
    assert_eq!(calls.lock().unwrap().drain(..).collect::<Vec<_>>(), [Err(error)]);
    // Of nothing, too.
    pool.map_async_then(square, 0..0, then).unwrap().wait();
    assert_eq!(*calls.lock().unwrap(), [Ok(vec![])]);
}

#[test]
fn pool_10_a_callback_that_fails_harms_nobody() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    for x in 0..3 {
        let result = pool.apply_async_then(square, x, |_| panic!("a callback")).unwrap();
        assert_eq!(result.get().unwrap(), x * x);
    }
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
    pool.close();
    pool.join().unwrap();
}

#[test]
fn pool_11_imap_gives_each_element_once_in_order_or_as_they_come() {
    let _watchdog = watchdog();
    let pool = Pool::new(3).unwrap();
    let mut squares = pool.imap(square, 0..100);
    assert!((&mut squares).map(Result::unwrap).eq((0..100).map(square)));
    assert!(squares.next().is_none() && squares.next().is_none());
    let mut squares = pool.imap_unordered(square, 0..100);
    let all: BTreeSet<_> = (&mut squares).map(Result::unwrap).collect();
    assert!(all.into_iter().eq((0..100).map(square)));
    assert!(squares.next().is_none() && squares.next().is_none());
    assert!(pool.imap(square, 0..0).next().is_none());
    assert!(pool.imap_unordered(square, 0..0).next().is_none());
    // In the order of the input with one worker.
    let alone = Pool::new(1).unwrap();
    assert!(alone.imap_unordered(square, 0..100).map(Result::unwrap).eq((0..100).map(square)));
}

#[test]
fn pool_12_an_element_can_be_waited_for_for_a_while() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let slow = |x: u64| {
        std::thread::sleep(Duration::from_millis(if x == 0 { 100 } else { 0 }));
        x
    };
    let mut results = pool.imap(slow, 0..3);
    assert_eq!(results.next_timeout(SHORT), Some(Err(TaskError::TimedOut)));
    assert!(results.map(Result::unwrap).eq(0..3));
    let mut results = pool.imap_unordered(slow, 0..3);
    assert_eq!(results.next_timeout(SHORT), Some(Err(TaskError::TimedOut)));
    assert!(results.map(Result::unwrap).eq(0..3));
}

#[test]
fn pool_13_imap_looks_ahead_so_far_and_takes_endless_input() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let taken = AtomicUsize::new(0);
    let endless = || {
        taken.store(0, SeqCst);
        (0..).inspect(|_| {
            taken.fetch_add(1, SeqCst);
        })
    };
    let mut squares = pool.imap(square, endless()).ahead(chunk(5));
    for x in 0..20 {
        assert_eq!(squares.next(), Some(Ok(x * x)));
        assert_eq!(taken.load(SeqCst) as u64, x + 5);
    }
    let squares = pool.imap_unordered(square, endless());
    assert_eq!(squares.take(50).filter(Result::is_ok).count(), 50);
    assert!(taken.load(SeqCst) <= 50 + 8);
}

#[test]
fn pool_14_an_element_that_fails_fails_at_its_place() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let third = |x: u64| if x == 2 { panic!("two") } else { x };
    let results: Vec<_> = pool.imap(third, 0..5).collect();
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), x == 2, "{result:?}");
    }
    let failed = pool.imap_unordered(third, 0..5).filter(Result::is_err).count();
    assert_eq!(failed, 1);
}

#[test]
fn pool_15_an_input_that_fails_fails_the_call_and_not_the_pool() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let input = || (0..5u64).inspect(|x| assert!(*x < 3, "the input fails"));
    let fails = std::panic::AssertUnwindSafe(|| pool.map(square, input()));
    assert!(std::panic::catch_unwind(fails).is_err());
    let mut results = pool.imap(square, input()).ahead(ONE);
    for x in 0..3 {
        assert_eq!(results.next(), Some(Ok(x * x)));
    }
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| results.next())).is_err());
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

#[test]
fn pool_17_an_error_says_what_and_where_it_was() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let worker = pool.apply(pid, 0).unwrap();
    let error = pool.apply(|x: u64| -> u64 { panic!("not {x}") }, 7).unwrap_err();
    assert!(error.to_string().ends_with(": not 7"), "{error}");
    let TaskError::Panicked { message, location, backtrace, worker: of } = error else { panic!() };
    assert_eq!((message.as_str(), of), ("not 7", worker));
    assert!(location.contains("conformance/pool.rs:") && backtrace.contains("pool_17"));
    let own = pool.apply(|x: u64| x.checked_sub(8).ok_or(("too small".to_owned(), x)), 7);
    assert_eq!(own.unwrap(), Err(("too small".to_owned(), 7)));
}

#[test]
fn pool_18_map_waits_for_all_and_tells_the_first_error() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let path = crate::common::name("ran");
    let note = |(path, x): (std::path::PathBuf, u64)| {
        use std::io::Write;
        let mut file = std::fs::File::options().create(true).append(true).open(path).unwrap();
        file.write_all(b"x").unwrap();
        assert!(x > 1, "task {x}");
    };
    let items: Vec<_> = (0..6).map(|x| (path.path(), x)).collect();
    let error = pool.map_chunked(note, items, ONE).unwrap_err();
    assert!(matches!(error, TaskError::Panicked { message, .. } if message == "task 0"));
    assert_eq!(std::fs::read(path.path()).unwrap().len(), 6);
}

#[test]
fn pool_19_very_large_errors_block_nobody() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let large = |x: u64| -> Result<u64, String> { Err("e".repeat(x as usize)) };
    let size = 2 << 20;
    let results = pool.map_chunked(large, [size, size + 1], ONE).unwrap();
    assert!(
        results
            .iter()
            .zip([size, size + 1])
            .all(|(e, n)| e.as_ref().unwrap_err().len() as u64 == n)
    );
    pool.close();
    pool.join().unwrap();
}

#[test]
fn pool_20_an_argument_that_cannot_be_serialised_fails_that_call() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let never = TaskError::Argument { problem: String::new() };
    let is = |error: TaskError| std::mem::discriminant(&error) == std::mem::discriminant(&never);
    assert!(is(pool.apply(|_: Refuses| (), Refuses).unwrap_err()));
    assert!(is(pool.map(|_: Refuses| (), [Refuses]).unwrap_err()));
    assert!(is(pool.imap(|_: Refuses| (), [Refuses]).next().unwrap().unwrap_err()));
    assert!(is(pool.imap_unordered(|_: Refuses| (), [Refuses]).next().unwrap().unwrap_err()));
    assert!(is(pool.apply(|_: OneWay| (), OneWay).unwrap_err()), "nor one that is not read");
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

#[test]
fn pool_21_a_result_that_cannot_be_serialised_fails_that_task() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let worker = pool.apply(pid, 0).unwrap();
    for _ in 0..20 {
        let error = pool.apply(|_: u64| Refuses, 0).unwrap_err();
        assert!(matches!(error, TaskError::Outcome { .. }), "{error}");
    }
    assert_eq!(pool.apply(pid, 0).unwrap(), worker);
}

#[test]
fn pool_22_a_result_that_cannot_be_rebuilt_fails_that_task() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    let error = pool.apply(|_: u64| OneWay, 0).unwrap_err();
    assert!(matches!(error, TaskError::Outcome { .. }), "{error}");
    let error = pool.apply(|_: u64| -> Result<u64, OneWay> { Err(OneWay) }, 0).unwrap_err();
    assert!(matches!(error, TaskError::Outcome { .. }), "{error}");
    assert_eq!(pool.apply(square, 4).unwrap(), 16);
}

#[test]
fn pool_23_and_34_close_refuses_new_work_and_finishes_the_old() {
    let _watchdog = watchdog();
    for limit in [None, NonZeroU32::new(1)] {
        let builder = Pool::builder().workers(2);
        let builder = match limit {
            Some(limit) => builder.max_tasks_per_child(limit),
            None => builder,
        };
        let pool = builder.build().unwrap();
        let result = pool.map_async_chunked(square, 0..30, ONE).unwrap();
        pool.close();
        assert_eq!(pool.apply(square, 1), Err(TaskError::Closed));
        assert_eq!(pool.imap(square, 0..).next(), Some(Err(TaskError::Closed)));
        pool.join().unwrap();
        assert!(result.ready());
        assert!(result.get().unwrap().into_iter().eq((0..30).map(square)));
    }
}

#[test]
fn pool_24_a_running_pool_is_not_joined_and_the_rest_may_be_repeated() {
    let _watchdog = watchdog();
    let pool = Pool::new(1).unwrap();
    assert_eq!(pool.join(), Err(TaskError::Running));
    for _ in 0..2 {
        pool.close();
    }
    for _ in 0..2 {
        pool.join().unwrap();
    }
    for _ in 0..2 {
        pool.terminate();
    }
    pool.join().unwrap();
}

#[test]
fn pool_25_and_26_terminate_returns_and_what_is_not_done_fails() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let results = pool.map_async_chunked(for_ever, 0..10_000, ONE).unwrap();
    let before = Instant::now();
    pool.terminate();
    assert!(before.elapsed() < Duration::from_secs(10));
    assert_eq!(results.get(), Err(TaskError::Terminated));
    assert_eq!(pool.apply(square, 1), Err(TaskError::Terminated));
}

#[test]
fn pool_27_and_28_the_end_of_the_scope_terminates() {
    let _watchdog = watchdog();
    let result = {
        let pool = Pool::new(2).unwrap();
        assert_eq!(pool.map(square, 0..3).unwrap(), [0, 1, 4]);
        pool.apply_async(for_ever, 0).unwrap()
    };
    assert_eq!(result.get(), Err(TaskError::Terminated));
}

#[test]
fn pool_29_the_initializer_runs_once_in_every_worker() {
    let _watchdog = watchdog();
    static RUNS: AtomicUsize = AtomicUsize::new(0);
    let argument = 5;
    let pool = Pool::builder()
        .workers(2)
        .initializer(move || {
            RUNS.fetch_add(argument, SeqCst);
        })
        .max_tasks_per_child(NonZeroU32::new(3).unwrap())
        .build()
        .unwrap();
    let runs = |_: u64| (std::process::id(), RUNS.load(SeqCst));
    let runs = pool.map_chunked(runs, 0..20, ONE).unwrap();
    assert!(runs.iter().all(|(_, runs)| *runs == argument));
    assert!(runs.iter().map(|(pid, _)| pid).collect::<BTreeSet<_>>().len() >= 7);
}

#[test]
fn pool_30_an_initializer_that_fails_fails_the_pool() {
    let _watchdog = watchdog();
    let failures: [(fn(), &str); 3] = [
        (|| panic!("not today"), "not today"),
        (|| std::process::exit(3), "exited with code 3"),
        (|| std::process::abort(), "were ended by signal 6"),
    ];
    for (initializer, said) in failures {
        let pool = Pool::builder().workers(2).initializer(initializer).build().unwrap();
        let error = pool.map(square, 0..10).unwrap_err();
        let TaskError::InitializerFailed { message } = &error else { panic!("{error}") };
        assert!(message.contains(said), "{message}");
        assert!(pool.apply(square, 1).is_err());
        pool.close();
        pool.join().unwrap();
    }
    let pool = Pool::builder().workers(1).initializer(|| panic!("no")).build_threads().unwrap();
    assert!(matches!(pool.apply(square, 1), Err(TaskError::InitializerFailed { .. })));
}

#[test]
fn pool_31_and_32_a_worker_runs_so_many_chunks() {
    let _watchdog = watchdog();
    for (limit, size, most) in [(1, 4, 4), (2, 1, 2)] {
        let limit = NonZeroU32::new(limit).unwrap();
        let pool = Pool::builder().workers(2).max_tasks_per_child(limit).build().unwrap();
        let mut counts = BTreeMap::new();
        for pid in pool.map_chunked(pid, 0..16, chunk(size)).unwrap() {
            *counts.entry(pid).or_insert(0) += 1;
        }
        assert!(counts.values().all(|count| *count <= most), "{counts:?}");
        assert!(counts.len() >= 4);
        while pool.worker_pids().len() < 2 {
            std::thread::yield_now();
        }
    }
}

#[test]
fn pool_35_workers_are_daemons_with_numbers() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let who = |_: u64| {
        let starts = commons::Process::spawn(|| ()).is_ok();
        (process::current().name().to_owned(), process::current().is_daemon(), starts)
    };
    for (name, daemon, starts) in pool.map_chunked(who, 0..10, ONE).unwrap() {
        let number = name.strip_prefix("PoolWorker-").and_then(|number| number.parse().ok());
        assert!(matches!(number, Some(1..=2)), "{name}");
        assert!(daemon && !starts);
    }
}

#[test]
fn pool_36_37_and_38_dead_workers_fail_their_task_and_are_replaced() {
    let _watchdog = watchdog();
    let pool = Pool::new(2).unwrap();
    let results = pool.try_map(|x: u64| if x == 3 { dies(x) } else { x }, 0..8).unwrap();
    for (x, result) in (0..8).zip(results) {
        let died = matches!(result, Err(TaskError::WorkerDied { signal: Some(9), .. }));
        assert!(if x == 3 { died } else { result == Ok(x) }, "{result:?}");
    }
    let exits = pool.apply(|code: i32| -> () { std::process::exit(code) }, 2);
    assert!(matches!(exits, Err(TaskError::WorkerExited { code: 2, .. })));
    for _ in 0..3 {
        pool.worker_pids().into_iter().for_each(|pid| {
            // SAFETY: takes integers; it may have been replaced.
            unsafe { libc::kill(pid as i32, libc::SIGKILL) };
        });
        assert_eq!(pool.apply(square, 3).unwrap_or(9), 9);
    }
    pool.close();
    pool.join().unwrap();
}

#[test]
fn pool_39_arguments_and_results_are_dropped_when_done() {
    let _watchdog = watchdog();
    static ALIVE: AtomicUsize = AtomicUsize::new(0);
    #[derive(Serialize)]
    struct Counted(u8);
    impl Counted {
        fn new() -> Self {
            ALIVE.fetch_add(1, SeqCst);
            Counted(1)
        }
    }
    impl<'a> Deserialize<'a> for Counted {
        fn deserialize<D: Deserializer<'a>>(from: D) -> Result<Self, D::Error> {
            u8::deserialize(from).map(|_| Counted::new())
        }
    }
    impl Drop for Counted {
        fn drop(&mut self) {
            ALIVE.fetch_sub(1, SeqCst);
        }
    }
    let pool = Pool::new(1).unwrap();
    let given = pool.map(|counted: Counted| counted, (0..10).map(|_| Counted::new())).unwrap();
    assert_eq!(ALIVE.load(SeqCst), 10, "the results alone");
    drop(given);
    assert_eq!(ALIVE.load(SeqCst), 0);
    assert_eq!(pool.apply(|_: u64| ALIVE.load(SeqCst), 0).unwrap(), 0, "in the worker");
}

#[test]
fn pool_40_only_its_creator_uses_a_pool() {
    let _watchdog = watchdog();
    let pool = Arc::new(Pool::new(1).unwrap());
    let theirs = pool.clone();
    assert!(child(move || theirs.apply(square, 1) == Err(TaskError::Forked)).finish());
    assert_eq!(pool.apply(square, 2).unwrap(), 4);
}

#[test]
fn pool_41_a_pool_that_is_open_at_the_end_does_not_break_it() {
    let _watchdog = watchdog();
    let open = commons::Process::spawn(|| {
        let pool = Pool::new(2).unwrap();
        pool.apply_async(for_ever, 0).unwrap();
        std::mem::forget(pool);
    });
    assert_eq!(open.unwrap().wait().unwrap(), commons::ExitStatus::Exited(0));
}

#[test]
fn pool_42_the_same_over_threads() {
    let _watchdog = watchdog();
    let pool = Pool::threads(2).unwrap();
    assert_eq!(pool.map(pid, 0..3).unwrap(), [std::process::id(); 3]);
    assert_eq!(pool.apply_async(square, 3).unwrap().get().unwrap(), 9);
    assert!(pool.imap(square, 0..).take(3).map(Result::unwrap).eq([0, 1, 4]));
    let results = pool.map_async_chunked(square, 0..10_000, ONE).unwrap();
    pool.terminate();
    assert!(matches!(results.get(), Ok(_) | Err(TaskError::Terminated)));
    pool.join().unwrap();
}

#[test]
fn pool_43_a_callback_may_terminate_the_pool() {
    let _watchdog = watchdog();
    let pool = Arc::new(Pool::new(1).unwrap());
    let theirs = pool.clone();
    let result = pool.apply_async_then(square, 3, move |_| theirs.terminate()).unwrap();
    assert_eq!(result.get().unwrap(), 9);
    pool.join().unwrap();
}
