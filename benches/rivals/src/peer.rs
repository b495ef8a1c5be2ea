//! Two sides of one measurement: the main side, timed, and a peer in another process or thread.
//!
//! Both run the same work `n` at a time, in turns that a [`Gate`] starts and ends. The first turns
//! grow until they are long enough to time; they warm everything up and set `n`. The figure of a
//! measurement is the median over the turns that follow, per operation. Turns are much shorter
//! than a time slice, so that few of them contain the loss of a CPU to another process.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::time::{Duration, Instant};

use crate::guard;
use crate::os;
use crate::shared::{Line, Shared};
use crate::stats::median;
use crate::work::Result;

/// What to measure, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Whether both sides are to be asleep whenever something is sent.
    pub(crate) asleep: bool,
    /// What the operations of a turn are a multiple of.
    pub(crate) grain: u64,
    /// How long one turn should take.
    pub(crate) turn: Duration,
    /// How long all timed turns together should take.
    pub(crate) whole: Duration,
}

impl Plan {
    /// What each side of a round trip does before it sends.
    pub(crate) fn think(&self) -> Think {
        Think { asleep: self.asleep }
    }
}

/// A moment of other work, where the row says that both sides sleep: without it, whoever is slow to
/// fall asleep finds the answer there and never does. It is no part of the figure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Think {
    asleep: bool,
}

impl Think {
    /// Long enough for the other side to fall asleep: a barrier on all processors takes 12 us.
    pub(crate) const TIME: Duration = Duration::from_micros(50);

    #[inline(always)]
    pub(crate) fn now(self) {
        if self.asleep {
            let start = Instant::now();
            while start.elapsed() < Self::TIME {
                std::hint::spin_loop();
            }
        }
    }
}

/// The share of the operations of the last measurement before which the side that slept less was
/// asleep, in thousandths.
static ASLEEP: AtomicU64 = AtomicU64::new(0);

/// The share of the operations of the last measurement before which both sides were asleep.
pub(crate) fn asleep() -> f64 {
    ASLEEP.load(Relaxed) as f64 / 1000.0
}

/// Notes that share, for what measures itself.
pub(crate) fn note_asleep(share: f64) {
    ASLEEP.store((share * 1000.0) as u64, Relaxed);
}

/// How many turns are timed at least, unless they take `LONG` times as long as they should: on a
/// crowded machine two sides that poll are seldom on their CPUs together.
const TURNS: usize = 11;
const LONG: u32 = 20;

/// The starting gate, in shared memory. One measurement uses it at a time.
pub(crate) struct Gate {
    /// Written by the main side: how many turns have begun.
    begun: Line<AtomicU64>,
    /// Written by the main side before `begun`: the work of the turn; 0 asks the peer to end.
    amount: AtomicU64,
    /// Written by the peer: one more than the turns it has ended; 0 until it is set up.
    ended: Line<AtomicU64>,
    /// Written by the peer before `ended`: how often it has slept in all turns.
    slept: AtomicU64,
}

impl Gate {
    /// The gate of this process, closed.
    pub(crate) fn closed() -> &'static Gate {
        static GATE: OnceLock<&'static Gate> = OnceLock::new();
        let gate = GATE.get_or_init(|| {
            // SAFETY: a `Gate` is made of atomics.
            let memory = unsafe { Shared::<Gate>::zeroed() }.expect("no memory for the gate");
            Box::leak(Box::new(memory))
        });
        gate.begun.0.store(0, Relaxed);
        gate.ended.0.store(0, Relaxed);
        gate.slept.store(0, Relaxed);
        gate
    }

    /// Runs one turn and returns how long it took, until both sides had done all of it.
    fn turn(&self, n: u64, body: &mut impl FnMut(u64) -> Result<u64>) -> Result<Duration> {
        let turn = self.begun.0.load(Relaxed) + 1;
        self.amount.store(n, Relaxed);
        let start = Instant::now();
        self.begun.0.store(turn, Release);
        let done = body(n)?;
        wait_until(|| self.ended.0.load(Acquire) > turn);
        let elapsed = start.elapsed();
        if done != n {
            return Err(format!("the main side did {done} operations of {n}").into());
        }
        Ok(elapsed)
    }

    /// Runs the turns of a measurement and returns the nanoseconds of one operation.
    pub(crate) fn drive<F>(&self, plan: &Plan, start: impl FnOnce() -> Result<F>) -> Result<f64>
    where
        F: FnMut(u64) -> Result<u64>,
    {
        let mut body = start()?;
        wait_until(|| self.ended.0.load(Acquire) > 0);
        let n = self.fitting(plan, &mut body)?;
        let slept = || [os::sleeps(), self.slept.load(Relaxed)];
        let before = slept();
        let mut figures = Vec::new();
        let start = Instant::now();
        loop {
            let elapsed = start.elapsed();
            let enough = if figures.len() < TURNS { LONG * plan.whole } else { plan.whole };
            if !figures.is_empty() && elapsed >= enough {
                break;
            }
            figures.push(self.turn(n, &mut body)?.as_nanos() as f64 / n as f64);
        }
        let operations = n * figures.len() as u64;
        let sleeps = slept().into_iter().zip(before).map(|(after, before)| after - before);
        ASLEEP.store(sleeps.min().unwrap_or(0) * 1000 / operations, Relaxed);
        self.amount.store(0, Relaxed);
        self.begun.0.fetch_add(1, Release);
        let thought = if plan.asleep { 2 * Think::TIME } else { Duration::ZERO };
        Ok(median(&mut figures) - thought.as_nanos() as f64)
    }

    /// How many operations take about as long as a turn should.
    fn fitting(&self, plan: &Plan, body: &mut impl FnMut(u64) -> Result<u64>) -> Result<u64> {
        let mut n = plan.grain;
        loop {
            // The shortest of three: one may have lost its CPU for a while.
            let mut took = self.turn(n, body)?;
            for _ in 0..2 {
                took = took.min(self.turn(n, body)?);
            }
            let scale = plan.turn.as_secs_f64() / took.as_secs_f64();
            if scale < 1.5 {
                return Ok(n);
            }
            n = ((n as f64 * scale.min(8.0)) as u64).next_multiple_of(plan.grain);
        }
    }

    /// Runs the peer: sets it up and works turn by turn until the main side ends.
    fn serve<F>(&self, start: impl FnOnce() -> Result<F>) -> Result<()>
    where
        F: FnMut(u64) -> Result<u64>,
    {
        os::pin(os::cpus()[1]);
        let mut body = start()?;
        let (mut turns, mut slept) = (0, 0);
        loop {
            self.ended.0.store(turns + 1, Release);
            wait_until(|| self.begun.0.load(Acquire) > turns);
            let n = self.amount.load(Relaxed);
            if n == 0 {
                return Ok(());
            }
            let before = os::sleeps();
            let done = body(n)?;
            slept += os::sleeps() - before;
            self.slept.store(slept, Relaxed);
            if done != n {
                return Err(format!("the peer did {done} operations of {n}").into());
            }
            turns += 1;
        }
    }

    /// As `serve`, in a child of the main side, which a failure ends.
    pub(crate) fn serve_as_child<F>(&self, parent: i32, start: impl FnOnce() -> Result<F>)
    where
        F: FnMut(u64) -> Result<u64>,
    {
        if !self.serve_or_complain(start) {
            os::terminate(parent); // it may wait for us without end
            os::exit_now(101);
        }
    }

    /// As `serve`; a failure is printed and reported as `false`.
    fn serve_or_complain<F>(&self, start: impl FnOnce() -> Result<F>) -> bool
    where
        F: FnMut(u64) -> Result<u64>,
    {
        let problem = match catch_unwind(AssertUnwindSafe(|| self.serve(start))) {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it panicked".into(), // how, the panic has printed
        };
        eprintln!("{}: the peer failed: {problem}", guard::measured());
        false
    }
}

/// Waits for the other side: spins, and gives the CPU away if that takes long.
fn wait_until(mut condition: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if condition() {
            return;
        }
        std::hint::spin_loop();
    }
    while !condition() {
        os::yield_now();
    }
}

/// Measures with the peer in a forked process.
///
/// `peer` and `main` set a side up, each in its own process, and return what does `n` operations
/// and says how many it did. What `peer` owns is dropped in this process after the fork, and what
/// `main` owns is left alone in the child.
pub(crate) fn forked<P, M>(
    plan: &Plan,
    peer: impl FnOnce() -> Result<P>,
    main: impl FnOnce() -> Result<M>,
) -> Result<f64>
where
    P: FnMut(u64) -> Result<u64>,
    M: FnMut(u64) -> Result<u64>,
{
    let gate = Gate::closed();
    let parent = std::process::id() as i32;
    os::pin(os::cpus()[0]);
    let Some(child) = os::fork()? else {
        os::die_with(parent);
        std::mem::forget(main);
        gate.serve_as_child(parent, peer);
        os::exit_now(0);
    };
    drop(peer);
    let figure = gate.drive(plan, main)?;
    let status = os::reap(child)?;
    if !status.success() {
        return Err(format!("the peer ended with {status}").into());
    }
    Ok(figure)
}

/// Measures what needs no peer.
pub(crate) fn alone(plan: &Plan, body: impl FnMut(u64) -> Result<u64>) -> Result<f64> {
    forked(plan, || Ok(Ok), || Ok(body))
}

/// Measures with the peer in a thread of this process.
pub(crate) fn threaded<P, M>(
    plan: &Plan,
    peer: impl FnOnce() -> Result<P> + Send,
    main: impl FnOnce() -> Result<M>,
) -> Result<f64>
where
    P: FnMut(u64) -> Result<u64>,
    M: FnMut(u64) -> Result<u64>,
{
    let gate = Gate::closed();
    os::pin(os::cpus()[0]);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            if !gate.serve_or_complain(peer) {
                os::exit_now(101); // the main side may wait for us without end
            }
        });
        match gate.drive(plan, main) {
            Ok(figure) => Ok(figure),
            Err(error) => {
                eprintln!("{}: the main side failed: {error}", guard::measured());
                os::exit_now(1) // the thread may wait for us without end
            }
        }
    })
}
