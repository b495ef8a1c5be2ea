//! Workers of a pool and its zygote, killed at random in a storm of tasks. `COMMONS_LONG=1` makes the
//! storms long.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "signals")]

mod common;

use common::{Random, in_child, watchdog_of};
use commons::{Pool, TaskError, process};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

fn is_long() -> bool {
    std::env::var_os("COMMONS_LONG").is_some()
}

/// Something that takes a moment, of some microseconds, and can be checked. (A storm of shorter tasks is
/// over before many are killed.)
fn work(x: u64) -> u64 {
    const UNOPTIMISED: u64 = if cfg!(debug_assertions) { 10 } else { 1 };
    (0..x % 64 * 256 / UNOPTIMISED).fold(x, |sum, i| black_box(sum.rotate_left(3) ^ i))
}

/// SIGKILL for a process that may be gone.
fn kill(pid: u32) -> bool {
    // SAFETY: takes integers. An id is not used again within a test.
    unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) == 0 }
}

/// Kills this many workers at random, or fewer if it is `done` before, and gives their ids.
fn kill_at_random(
    pool: &Pool,
    most: usize,
    random: &mut Random,
    done: &AtomicBool,
) -> BTreeSet<u32> {
    let mut killed = BTreeSet::new();
    while !done.load(SeqCst) && killed.len() < most {
        let pids = pool.worker_pids();
        if !pids.is_empty() {
            let pid = pids[random.below(pids.len() as u64) as usize];
            if kill(pid) {
                killed.insert(pid);
            }
        }
        // A storm, and not a drought.
        std::thread::sleep(Duration::from_micros(random.below(3000)));
    }
    killed
}

fn storm(tasks: u64, retries: u32, seed: u64) {
    let pool = Pool::builder().workers(3).retries(retries).build().unwrap();
    let most = tasks as usize / 100;
    let done = AtomicBool::new(false);
    let (results, killed) = std::thread::scope(|scope| {
        let killer = scope.spawn(|| kill_at_random(&pool, most, &mut Random::of(seed), &done));
        let results = pool.try_map(work, 0..tasks);
        done.store(true, SeqCst);
        (results.unwrap(), killer.join().unwrap())
    });
    assert_eq!(results.len() as u64, tasks);
    let mut dead = BTreeSet::new();
    for (x, result) in (0..).zip(results) {
        match result {
            Ok(value) => assert_eq!(value, work(x), "task {x}, seed {seed}"),
            Err(TaskError::WorkerDied { pid, signal: Some(libc::SIGKILL) }) => {
                assert!(killed.contains(&pid), "{pid} was not killed, seed {seed}");
                assert!(dead.insert(pid), "{pid} died with two tasks, seed {seed}");
            }
            Err(other) => panic!("task {x}: {other}, seed {seed}"),
        }
    }
    println!("{} killed, {} of them with a task", killed.len(), dead.len());
    assert!(!killed.is_empty());
    assert!(retries == 0 || dead.is_empty(), "with retries, {dead:?}");
    assert_eq!(pool.map(work, 0..100).unwrap(), (0..100).map(work).collect::<Vec<_>>());
    pool.close();
    pool.join().unwrap();
}

#[test]
fn a_storm_of_kills_fails_only_the_tasks_of_the_killed() {
    let _watchdog = watchdog_of(900);
    let (rounds, tasks) = if is_long() { (10, 100_000) } else { (2, 10_000) };
    let mut random = Random::seeded("a storm of kills");
    (0..rounds).for_each(|_| storm(tasks, 0, random.number()));
}

#[test]
fn tasks_that_may_be_run_again_all_have_results_in_a_storm() {
    let _watchdog = watchdog_of(900);
    storm(
        if is_long() { 100_000 } else { 10_000 },
        1000,
        Random::seeded("a storm with retries").number(),
    );
}

#[test]
fn killed_with_its_zygote_a_pool_tells_what_is_done() {
    let _watchdog = watchdog_of(900);
    let mut random = Random::seeded("with the zygote");
    for _ in 0..if is_long() { 100 } else { 5 } {
        let seed = random.number();
        in_child(move || {
            let mut random = Random::of(seed);
            let pool = Pool::new(3).unwrap();
            let zygote = process::active_children()[0].pid();
            let result = pool.map_async_chunked(work, 0..3000, NonZeroUsize::MIN).unwrap();
            let mut victims = pool.worker_pids();
            victims.insert(random.below(victims.len() as u64 + 1) as usize, zygote);
            for pid in victims {
                kill(pid);
            }
            match result.get() {
                Ok(results) => assert!(results.into_iter().eq((0..3000).map(work))),
                Err(TaskError::WorkerDied { .. } | TaskError::ZygoteDied) => {}
                Err(other) => panic!("{other}"),
            }
            // A worker that was just being started may be left.
            for _ in 0..3 {
                let after = pool.map(work, 0..2000);
                assert!(matches!(after, Ok(_) | Err(TaskError::ZygoteDied)), "{after:?}");
            }
            pool.close();
            pool.join().unwrap();
        });
    }
}
