//! How the pool is measured: its workers are its own, so there is no other side to start or to wait for.

use std::num::NonZeroUsize;
use std::time::Instant;

use commons::{Array, LockedArray, Pool, WaitStrategy};
use rayon::prelude::*;

use crate::os;
use crate::peer::{self, Plan};
use crate::stats::median;
use crate::work::{Result, same, word};

/// Tasks of a map.
pub(super) const TASKS: u64 = 100_000;
/// The same for procspawn, which has two channels, each a pair of sockets, for a task that waits.
const PROCSPAWN_TASKS: u64 = 200;
/// Elements of the array.
pub(super) const ELEMENTS: usize = 100_000_000;
/// What a turn is at least made of: one map.
const TURNS: usize = 5;

/// What every task does.
fn tiny(x: u64) -> u64 {
    x.wrapping_add(1)
}

/// What is done with every element.
fn change(slice: &mut [f64]) {
    for x in slice {
        *x = *x * 0.5 + 1.0;
    }
}

/// Two workers, one on each CPU; the main side is where the first is.
fn pool() -> Result<Pool> {
    os::pin(os::cpus()[0]);
    Ok(Pool::builder().workers(2).affinity(os::cpus()).build()?)
}

/// Runs `turn`, which does so many operations, as long as the plan says; the nanoseconds of one.
fn timed(plan: &Plan, operations: u64, mut turn: impl FnMut() -> Result<()>) -> Result<f64> {
    // Not timed: it warms everything up.
    turn()?;
    let mut figures = Vec::new();
    let start = Instant::now();
    while figures.len() < TURNS || start.elapsed() < plan.whole {
        let before = Instant::now();
        turn()?;
        figures.push(before.elapsed().as_nanos() as f64 / operations as f64);
    }
    Ok(median(&mut figures))
}

fn check(results: &[u64]) -> Result<()> {
    if results.len() as u64 != TASKS {
        return Err(format!("{} results of {TASKS}", results.len()).into());
    }
    (0..).zip(results).try_for_each(|(i, &result)| same(result, tiny(word(i))))
}

fn words() -> Vec<u64> {
    (0..TASKS).map(word).collect()
}

pub(super) fn map_chunk1(plan: &Plan) -> Result<f64> {
    let pool = pool()?;
    timed(plan, TASKS, || check(&pool.map_chunked(tiny, words(), NonZeroUsize::MIN)?))
}

pub(super) fn map_default(plan: &Plan) -> Result<f64> {
    let pool = pool()?;
    timed(plan, TASKS, || check(&pool.map(tiny, words())?))
}

/// One task there and back, everybody asleep in between.
pub(super) fn apply_park(plan: &Plan) -> Result<f64> {
    os::pin(os::cpus()[0]);
    let worker = os::cpus()[1];
    let strategy = WaitStrategy::Park;
    let pool = Pool::builder().workers(1).affinity([worker]).wait_strategy(strategy).build()?;
    apply(plan, |x| Ok(pool.apply(thoughtful, x)?))
}

/// As `tiny`, after a moment in which the other side falls asleep. With how often it has slept.
fn thoughtful(x: u64) -> (u64, u64) {
    think();
    (tiny(x), os::sleeps())
}

/// Runs `one`, which has `thoughtful` run elsewhere.
fn apply(plan: &Plan, one: impl Fn(u64) -> Result<(u64, u64)>) -> Result<f64> {
    const APPLIES: u64 = 32;
    let before = [os::sleeps(), one(0)?.1];
    let mut applied = 1;
    let figure = timed(plan, APPLIES, || {
        applied += APPLIES;
        (0..APPLIES).try_for_each(|i| {
            think();
            same(one(word(i))?.0, tiny(word(i)))
        })
    })?;
    let after = [os::sleeps(), one(0)?.1];
    let slept = before.into_iter().zip(after).map(|(before, after)| after - before).min();
    peer::note_asleep(slept.unwrap_or(0) as f64 / applied as f64);
    Ok(figure - 2.0 * peer::Think::TIME.as_nanos() as f64)
}

fn think() {
    let start = Instant::now();
    while start.elapsed() < peer::Think::TIME {
        std::hint::spin_loop();
    }
}

pub(super) fn map_slices(plan: &Plan) -> Result<f64> {
    let pool = pool()?;
    let array = Array::new(ELEMENTS, 1.0f64)?;
    // As the allocator does it for a vector of that size.
    let _ = array.use_huge_pages();
    timed(plan, ELEMENTS as u64, || {
        // SAFETY: nobody else has the array.
        unsafe { pool.for_each_slice(&array, |_, slice| change(slice)) }?;
        Ok(())
    })
}

pub(super) fn map_slices_of(plan: &Plan) -> Result<f64> {
    let pool = pool()?;
    let array = LockedArray::new(ELEMENTS, 1.0f64)?;
    let _ = array.use_huge_pages();
    let mut guard = array.lock()?;
    timed(plan, ELEMENTS as u64, || {
        Ok(pool.for_each_slice_of(&mut guard, |_, slice| change(slice))?)
    })
}

/// The limit: two threads, one on each CPU, half of a private vector each.
pub(super) fn two_threads(plan: &Plan) -> Result<f64> {
    let mut vector = vec![1.0f64; ELEMENTS];
    timed(plan, ELEMENTS as u64, || {
        let (first, second) = vector.split_at_mut(ELEMENTS / 2);
        std::thread::scope(|scope| {
            for (half, cpu) in [first, second].into_iter().zip(os::cpus()) {
                scope.spawn(move || {
                    os::pin(cpu);
                    change(half);
                });
            }
        });
        Ok(())
    })
}

/// rayon's threads, one for each CPU.
fn rayon_pool() -> Result<rayon::ThreadPool> {
    let start = |i: usize| os::pin(os::cpus()[i % 2]);
    Ok(rayon::ThreadPoolBuilder::new().num_threads(2).start_handler(start).build()?)
}

pub(super) fn rayon_chunk1(plan: &Plan) -> Result<f64> {
    let pool = rayon_pool()?;
    timed(plan, TASKS, || {
        let one = words().into_par_iter().with_max_len(1).map(tiny);
        check(&pool.install(|| one.collect::<Vec<_>>()))
    })
}

pub(super) fn rayon_default(plan: &Plan) -> Result<f64> {
    let pool = rayon_pool()?;
    timed(plan, TASKS, || {
        check(&pool.install(|| words().into_par_iter().map(tiny).collect::<Vec<_>>()))
    })
}

pub(super) fn rayon_slices(plan: &Plan) -> Result<f64> {
    let pool = rayon_pool()?;
    let mut vector = vec![1.0f64; ELEMENTS];
    timed(plan, ELEMENTS as u64, || {
        let parts = ELEMENTS.div_ceil(8);
        pool.install(|| vector.par_chunks_mut(parts).for_each(change));
        Ok(())
    })
}

/// Workers are new runs of this program, each with a thread here that hands it its tasks.
fn proc_spawn(workers: usize) -> Result<procspawn::Pool> {
    Ok(procspawn::Pool::new(workers)?)
}

pub(super) fn proc_spawn_chunk1(plan: &Plan) -> Result<f64> {
    os::unpin();
    let pool = proc_spawn(2)?;
    timed(plan, PROCSPAWN_TASKS, || {
        let tasks: Vec<_> = (0..PROCSPAWN_TASKS).map(|i| pool.spawn(word(i), tiny)).collect();
        (0..).zip(tasks).try_for_each(|(i, task)| same(task.join()?, tiny(word(i))))
    })
}

pub(super) fn proc_spawn_apply(plan: &Plan) -> Result<f64> {
    // The worker inherits where it may run.
    os::pin(os::cpus()[1]);
    let pool = proc_spawn(1)?;
    os::pin(os::cpus()[0]);
    apply(plan, |x| Ok(pool.spawn(x, thoughtful).join()?))
}

/// What Python's pool of two processes takes, as it says itself: nanoseconds of one operation.
fn python(work: &str, rounds: u32, operations: u64) -> Result<f64> {
    const SCRIPT: &str = "
import multiprocessing, statistics, sys, time
def tiny(x):
    return x + 1
if __name__ == '__main__':
    work, rounds, tasks = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with multiprocessing.get_context('fork').Pool(2) as pool:
        def turn():
            if work == 'apply':
                for i in range(tasks):
                    assert pool.apply(tiny, (i,)) == i + 1
            else:
                chunk = 1 if work == 'chunk1' else None
                assert pool.map(tiny, range(tasks), chunk) == list(range(1, tasks + 1))
        turn()
        figures = []
        for _ in range(rounds):
            before = time.monotonic_ns()
            turn()
            figures.append((time.monotonic_ns() - before) / tasks)
    print(statistics.median(figures))
";
    os::unpin();
    let arguments = [work.to_owned(), rounds.to_string(), operations.to_string()];
    let python =
        std::process::Command::new("python3").args(["-c", SCRIPT]).args(arguments).output()?;
    if !python.status.success() {
        return Err(String::from_utf8_lossy(&python.stderr).into_owned().into());
    }
    Ok(String::from_utf8(python.stdout)?.trim().parse()?)
}

pub(super) fn python_chunk1(_: &Plan) -> Result<f64> {
    python("chunk1", 1, TASKS / 5)
}

pub(super) fn python_default(_: &Plan) -> Result<f64> {
    python("default", 3, TASKS)
}

pub(super) fn python_apply(_: &Plan) -> Result<f64> {
    python("apply", 3, 200)
}

/// Whether there is a Python to compare with.
pub(super) fn is_there_python() -> bool {
    let version = std::process::Command::new("python3").arg("--version").output();
    version.is_ok_and(|version| version.status.success())
}
