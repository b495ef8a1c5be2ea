//! A worker of a pool is killed at every state of its loop that a survivor could tell from the one
//! before. Nothing else is in this program, since pools of one family share their memory.
//!
//! `COMMONS_LONG=1` kills it at every instruction.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "ptrace")]

mod common;

use common::{signal, watchdog_of};
use commons::{Pool, TaskError, WaitStrategy};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Something that can be checked.
fn work(x: u64) -> u64 {
    x.rotate_left(3) ^ 5
}

/// A worker that is stopped whenever the test looks.
struct Stepped(u32);

impl Stepped {
    /// Stops a worker that is asleep.
    fn seize(pid: u32) -> Self {
        let stepped = Stepped(pid);
        stepped.request(libc::PTRACE_SEIZE, 0);
        stepped.request(libc::PTRACE_INTERRUPT, 0);
        stepped.wait();
        stepped
    }

    fn request(&self, request: libc::c_uint, data: usize) {
        // SAFETY: requests without memory.
        let result = unsafe { libc::ptrace(request, self.0, 0usize, data) };
        assert!(result >= 0, "ptrace: {}", io::Error::last_os_error());
    }

    /// Waits until it has stopped, or ended: then false.
    fn wait(&self) -> bool {
        let mut status = 0;
        // SAFETY: `status` is live for the kernel to fill in.
        let result = unsafe { libc::waitpid(self.0.cast_signed(), &raw mut status, libc::__WALL) };
        assert_eq!(result, self.0.cast_signed(), "waitpid: {}", io::Error::last_os_error());
        libc::WIFSTOPPED(status)
    }

    fn step(&self) {
        self.request(libc::PTRACE_SINGLESTEP, 0);
        assert!(self.wait(), "the worker ended");
    }

    fn kill(self) {
        signal(self.0, libc::SIGKILL);
        // Its parent is told when its tracer has seen it.
        while self.wait() {}
    }
}

/// The memory that this process and the worker share, where something of it is used.
fn shared_memory() -> Vec<&'static [AtomicU64]> {
    /// Bytes at the beginning of a segment, which are all that a small pool has.
    const LOOKED_AT: usize = 192 << 10;
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let ours = maps.lines().filter(|line| line.contains("memfd:commons") && line.contains("rw-s"));
    let slice = |line: &str| {
        let (start, rest) = line.split_once('-').unwrap();
        let end = rest.split(' ').next().unwrap();
        let [start, end] = [start, end].map(|text| usize::from_str_radix(text, 16).unwrap());
        let words = (end - start).min(LOOKED_AT) / 8;
        // SAFETY: mapped for as long as the process, whose segments of small objects stay; others
        // write there, which atomics are for.
        unsafe { std::slice::from_raw_parts(start as *const _, words) }
    };
    ours.map(slice).collect()
}

/// The words of it that tasks change.
fn changing_words(pool: &Pool) -> Vec<&'static AtomicU64> {
    let words: Vec<_> = shared_memory().into_iter().flatten().collect();
    let look = || words.iter().map(|word| word.load(SeqCst)).collect::<Vec<_>>();
    let before = look();
    let mut changed = vec![false; words.len()];
    for x in 0..4 {
        let result = pool.apply_async(work, x).unwrap();
        let posted = look();
        result.wait();
        for now in [posted, look()] {
            let other = now.iter().zip(&before).map(|(now, before)| now != before);
            changed.iter_mut().zip(other).for_each(|(changed, other)| *changed |= other);
        }
    }
    words.into_iter().zip(changed).filter(|(_, changed)| *changed).map(|(word, _)| word).collect()
}

fn look(words: &[&AtomicU64]) -> Vec<u64> {
    words.iter().map(|word| word.load(SeqCst)).collect()
}

/// Has a worker that sleeps take, run and finish a task, instruction by instruction. Killed after
/// `kill_at` of them; `None`: gives after which of them something was different, and how many there are.
fn loop_of_a_worker(kill_at: Option<usize>) -> (Vec<usize>, usize) {
    let length = NonZeroUsize::new(2).unwrap();
    let builder = Pool::builder().workers(1).queue_length(length);
    let pool = builder.wait_strategy(WaitStrategy::Park).build().unwrap();
    assert_eq!(pool.apply(work, 7), Ok(work(7)));
    let words = if kill_at.is_none() { changing_words(&pool) } else { Vec::new() };
    let pid = pool.worker_pids()[0];
    common::wait_until_asleep(pid);
    let worker = Stepped::seize(pid);
    let result = pool.apply_async(work, 9).unwrap();
    let mut states = Vec::new();
    let mut before = look(&words);
    let mut steps = 0;
    // Some more than until the result is there: it finds nothing more to do, and says so.
    let mut rest = 300;
    while kill_at.is_none_or(|at| steps < at) && rest > 0 {
        worker.step();
        steps += 1;
        if kill_at.is_none() {
            let now = look(&words);
            if now != before {
                states.push(steps);
                before = now;
            }
            rest -= usize::from(states.len() > 1 && result.ready());
        }
    }
    worker.kill();
    match result.get() {
        Ok(value) => assert_eq!(value, work(9)),
        Err(error) => {
            let died = TaskError::WorkerDied { pid, signal: Some(libc::SIGKILL) };
            assert_eq!(error, died, "after {steps} instructions");
            assert!(kill_at.is_some(), "the whole loop was done");
        }
    }
    assert_eq!(pool.apply(work, 8), Ok(work(8)), "after {steps} instructions");
    assert_ne!(pool.worker_pids(), [pid]);
    pool.close();
    pool.join().unwrap();
    (states, steps)
}

#[test]
fn a_worker_is_killed_at_every_state_of_its_loop() {
    let _watchdog = watchdog_of(3600);
    let is_long = std::env::var_os("COMMONS_LONG").is_some();
    let (states, steps) = loop_of_a_worker(None);
    // It takes the task, says where to look next, writes the outcome, and publishes that.
    assert!(states.len() >= 4, "{states:?} of {steps}");
    let mut points: BTreeSet<usize> = states.iter().flat_map(|at| [at - 1, *at]).collect();
    points.extend((0..steps).step_by(if is_long { 1 } else { steps / 8 }));
    println!("{} of {steps} instructions", points.len());
    for point in points {
        loop_of_a_worker(Some(point));
    }
}
