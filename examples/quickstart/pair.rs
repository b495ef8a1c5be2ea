//! Two processes that work together, each on a processor of its own, under one clock.

use crate::os;
use commons::{Outcome, Process};
use std::fmt;
use std::time::Instant;

/// What a child reports: a value, or why it has none.
pub(crate) type Told<T> = Result<T, String>;

/// Turns an error into what a child can report.
pub(crate) fn told(error: impl fmt::Display) -> String {
    error.to_string()
}

/// Runs two closures in two child processes, one on each processor, and gives what they return.
pub(crate) fn run<A, B>(
    processors: Processors,
    first: impl FnOnce() -> Told<A> + Send + 'static,
    second: impl FnOnce() -> Told<B> + Send + 'static,
) -> Result<(A, B), Box<dyn std::error::Error>>
where
    Told<A>: Outcome,
    Told<B>: Outcome,
{
    let [one, other] = processors.0;
    let first: Process<Told<A>> = Process::spawn(move || {
        os::pin(one);
        first()
    })?;
    let second: Process<Told<B>> = Process::spawn(move || {
        os::pin(other);
        second()
    })?;
    // Both, before any error of one: no child is left behind.
    let (first, second) = (first.join(), second.join());
    Ok((first??, second??))
}

/// Nanoseconds since a moment before any child was started. The monotonic clock is one for all
/// processes, and children inherit the moment: so what they read can be compared.
#[derive(Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Clock(Instant::now())
    }

    pub(crate) fn now(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }

    /// Nanoseconds that one reading takes, at best.
    pub(crate) fn cost(self) -> u64 {
        const READINGS: u64 = 1000;
        let batch = |_| {
            let first = self.now();
            let last = (0..READINGS).fold(first, |_, _| self.now());
            (last - first) / READINGS
        };
        (0..100).map(batch).min().unwrap_or(0)
    }
}

/// The two processors of a measurement; the same one twice where there is no other.
#[derive(Clone, Copy)]
pub(crate) struct Processors([usize; 2]);

impl Processors {
    /// The first that this process may run on, and the next one that is not the same core.
    pub(crate) fn choose() -> Self {
        let allowed = os::processors();
        let first = allowed.first().copied().unwrap_or(0);
        let core = |cpu: usize| {
            let topology = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
            std::fs::read_to_string(topology + "/thread_siblings_list").ok()
        };
        let mut others = allowed.iter().copied().filter(|&cpu| cpu != first);
        let far = others.clone().find(|&cpu| core(cpu) != core(first));
        Processors([first, far.or_else(|| others.next()).unwrap_or(first)])
    }

    pub(crate) fn are_two(self) -> bool {
        self.0[0] != self.0[1]
    }
}

impl fmt::Display for Processors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [one, other] if one == other => write!(f, "both processes on processor {one}"),
            [one, other] => write!(f, "producer on processor {one}, consumer on {other}"),
        }
    }
}
