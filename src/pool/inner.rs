//! A pool as its own process has it: what its handle and its results share.

use super::board::{Board, FINISHED, RUNNING, UNINITIALISED, UNMANNED};
use super::code::Text;
use super::engine::Engine;
use super::error::TaskError;
use super::hall::{Duty, Entered, Hall};
use super::job::{Job, locked};
use super::pump::{Pump, Queued};
use crate::member::{Doubt, Stamp};
use crate::sync::local::{AtomicU32, AtomicU64, Ordering::SeqCst};
use crate::sys::{fork, time};
use crate::wait::{Asleep, NEVER, SLICE, Wait, WaitStrategy, block_on};
use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex};
use std::thread;

/// Tasks are taken.
const OPEN: u32 = 0;
/// No more tasks are taken.
const CLOSED: u32 = 1;
/// Everything is to end.
const TERMINATED: u32 = 2;

/// Longest sleep, in nanoseconds, of who looks after workers whose zygote is dead.
const ORPHANS: u64 = 5_000_000;

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) board: Board,
    pub(super) workers: usize,
    pub(super) retries: u32,
    pub(super) text: Text,
    pub(super) strategy: WaitStrategy,
    /// The zygote's, where there is one.
    pub(super) zygote: Option<Stamp>,
    pub(super) epoch: u32,
    state: AtomicU32,
    /// Chunks that are not posted yet.
    pub(super) queue: Mutex<VecDeque<Queued>>,
    /// Counts what who leads has to look at again for.
    changes: AtomicU32,
    /// The changes that who led last had seen.
    seen: AtomicU64,
    pump: Mutex<Pump>,
    pub(super) hall: Hall,
    pub(super) engine: Mutex<Engine>,
}

/// What ends the sleep of who leads.
enum News {
    Some,
    /// The zygote is dead.
    Orphaned,
}

/// A wait for something to collect or to post.
struct ForNews<'a> {
    inner: &'a Inner,
    pump: &'a Pump,
    wanted: u64,
    seen: u32,
    doubt: Doubt,
}

impl<'a> Wait<'a> for ForNews<'a> {
    type Output = News;

    fn poll(&mut self) -> Option<News> {
        let inner = self.inner;
        let news = inner.changes.load(SeqCst) != self.seen
            || inner.board.phase() != RUNNING
            || self.pump.has_news(&inner.board, self.wanted);
        news.then_some(News::Some)
    }

    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, News> {
        let Some(zygote) = self.inner.zygote else {
            return Ok(Asleep { other: None, slice: SLICE });
        };
        if self.pump.orphaned {
            // The end of the slice is the end of the wait: who leads looks at the workers.
            return if timed_out {
                Err(News::Some)
            } else {
                Ok(Asleep { other: None, slice: ORPHANS })
            };
        }
        let Ok(table) = self.inner.board.core().table() else {
            return Ok(Asleep { other: None, slice: SLICE });
        };
        match table.watch(zygote, timed_out, &mut self.doubt) {
            Ok(Some(watch)) => Ok(Asleep { other: watch.beacon, slice: watch.slice }),
            Ok(None) => {
                table.pass_on(zygote);
                Err(News::Orphaned)
            }
            Err(_) => Ok(Asleep { other: None, slice: ORPHANS }),
        }
    }
}

impl Inner {
    pub(super) fn new(
        board: Board,
        workers: usize,
        retries: u32,
        text: Text,
        strategy: WaitStrategy,
        zygote: Option<Stamp>,
        engine: Engine,
    ) -> Self {
        let slots = board.raw().slots.len();
        let pump = Mutex::new(Pump::new(slots, board.seats().len()));
        Inner {
            workers,
            retries,
            text,
            strategy,
            zygote,
            epoch: fork::epoch(),
            state: AtomicU32::new(OPEN),
            queue: Mutex::default(),
            changes: AtomicU32::new(0),
            seen: AtomicU64::new(0),
            pump,
            hall: Hall::default(),
            engine: Mutex::new(engine),
            board,
        }
    }

    /// Whether the calling process made the pool.
    pub(super) fn is_ours(&self) -> bool {
        self.epoch == fork::epoch()
    }

    /// Takes a job, to be done when somebody leads.
    pub(super) fn submit(&self, job: &Arc<Job>) -> Result<(), TaskError> {
        if !self.is_ours() {
            return Err(TaskError::Forked);
        }
        if !self.text.contains(job.code) {
            return Err(TaskError::UnknownCode);
        }
        let chunks = job.chunks();
        {
            let mut queue = locked(&self.queue);
            // Under the lock, so that who terminates the pool finds the job, or it is refused.
            match self.state.load(SeqCst) {
                OPEN => {}
                CLOSED => return Err(TaskError::Closed),
                _ => return Err(TaskError::Terminated),
            }
            if job.has_callback() {
                self.hall.callbacks.fetch_add(1, SeqCst);
            }
            if chunks > 0 {
                self.hall.open.fetch_add(u64::from(chunks), SeqCst);
                queue.push_back(Queued { job: job.clone(), next: 0, end: chunks, deaths: 0 });
            }
        }
        if chunks == 0 && !job.is_ready() {
            self.complete(job);
        }
        self.changed();
        Ok(())
    }

    /// Who leads is to look again.
    fn changed(&self) {
        self.changes.fetch_add(1, SeqCst);
        let news = self.board.control().news();
        if news.is_announced() {
            news.wake();
        }
    }

    /// A chunk of a job has come, and was the last one or not.
    pub(super) fn settle(&self, job: &Arc<Job>, last: bool) {
        if last {
            self.complete(job);
        }
        // After that: who finds nothing open finds everything ready.
        if self.hall.open.fetch_sub(1, SeqCst) == 1 || last {
            self.hall.tell();
        }
    }

    fn complete(&self, job: &Arc<Job>) {
        if job.has_callback() {
            self.hall.hand_on(job.clone());
        } else {
            job.complete();
        }
    }

    /// Posts what was submitted, if nobody leads who does.
    pub(super) fn nudge(&self) {
        while self.hall.try_lead() {
            let seen = self.round();
            self.hall.leave();
            if self.changes.load(SeqCst) == seen {
                break;
            }
        }
    }

    /// As [`Inner::nudge`], and has the pool's own thread go on with what is left. `always`: also if
    /// everything was posted.
    pub(super) fn go_on_without(self: &Arc<Self>, always: bool) -> Result<(), TaskError> {
        self.nudge();
        if !always && locked(&self.queue).is_empty() {
            return Ok(());
        }
        self.call_helper().map_err(|error| TaskError::NoWorkers { problem: error.to_string() })
    }

    /// Starts the pool's own thread, if it is not there.
    pub(super) fn call_helper(self: &Arc<Self>) -> io::Result<()> {
        self.hall.call_helper(|| {
            let inner = self.clone();
            crate::sys::descriptor::without_signals(|| {
                thread::Builder::new().name("commons-pool".to_owned()).spawn(move || inner.help())
            })
        })
    }

    /// What the pool's own thread does.
    fn help(&self) {
        loop {
            match self.hall.next_duty() {
                Duty::Complete(job) => {
                    job.complete();
                    self.hall.callbacks.fetch_sub(1, SeqCst);
                    self.hall.tell();
                    self.changed();
                }
                Duty::Lead => {
                    self.lead(None, &|| self.hall.calls_helper(), NEVER);
                    self.leave();
                }
                Duty::End => return,
            }
        }
    }

    /// Collects and posts once: the changes that it saw.
    fn round(&self) -> u32 {
        let pump = &mut *locked(&self.pump);
        self.round_with(pump)
    }

    fn round_with(&self, pump: &mut Pump) -> u32 {
        let seen = self.changes.load(SeqCst);
        self.seen.store(u64::from(seen), SeqCst);
        pump.collect(self);
        if let Some(error) = self.failure() {
            pump.fail_all(self, &error);
        } else {
            pump.fill(self);
        }
        pump.orphaned |= self.is_orphan();
        if pump.orphaned && self.hall.open.load(SeqCst) > 0 && !pump.look_after_workers(&self.board)
        {
            pump.collect(self);
            let error = self.failure().unwrap_or(TaskError::ZygoteDied);
            pump.fail_all(self, &error);
        }
        seen
    }

    /// Whether the zygote is dead: two loads while it lives.
    fn is_orphan(&self) -> bool {
        let table = self.board.core().table();
        self.zygote.zip(table.ok()).is_some_and(|(zygote, table)| {
            table.is_suspect(zygote) && table.is_gone(zygote).unwrap_or(false)
        })
    }

    /// Why no task can be done any more.
    fn failure(&self) -> Option<TaskError> {
        if self.state.load(SeqCst) == TERMINATED {
            return Some(TaskError::Terminated);
        }
        match self.board.phase() {
            RUNNING | FINISHED => None,
            UNINITIALISED => Some(TaskError::InitializerFailed { message: self.board.said() }),
            UNMANNED => Some(TaskError::NoWorkers { problem: self.board.said() }),
            _ => Some(TaskError::Terminated),
        }
    }

    /// Leads until `done`, or until `deadline`.
    fn lead(&self, job: Option<&Arc<Job>>, done: &dyn Fn() -> bool, deadline: u64) {
        let pump = &mut *locked(&self.pump);
        let mut doubt = Doubt::default();
        loop {
            let seen = self.round_with(pump);
            if done() || time::now() >= deadline && deadline != NEVER {
                return;
            }
            let wanted = pump.wanted(self, job);
            self.board.raw().want(wanted);
            let mut wait = ForNews { inner: self, pump, wanted, seen, doubt };
            let news = block_on(&mut wait, self.board.control().news(), self.strategy, deadline);
            doubt = wait.doubt;
            if let Some(News::Orphaned) = news {
                pump.orphaned = true;
            }
        }
    }

    fn leave(&self) {
        let seen = self.seen.load(SeqCst);
        self.hall.leave();
        if u64::from(self.changes.load(SeqCst)) != seen {
            self.nudge();
        }
    }

    /// Waits until `done`; false: `deadline` passed first. If it is for one job that the caller waits,
    /// it need not be woken for each of its chunks.
    pub(super) fn wait(
        &self,
        job: Option<&Arc<Job>>,
        done: &dyn Fn() -> bool,
        deadline: u64,
    ) -> bool {
        loop {
            if done() {
                return true;
            }
            match self.hall.enter(done, || self.changed(), deadline) {
                Entered::Done => return true,
                Entered::TimedOut => return done(),
                Entered::Leads => {
                    self.lead(job, done, deadline);
                    self.leave();
                }
            }
            if deadline != NEVER && time::now() >= deadline {
                return done();
            }
        }
    }

    /// Waits until a job is done; false: `deadline` passed first.
    pub(super) fn wait_for(&self, job: &Arc<Job>, deadline: u64) -> bool {
        self.wait(Some(job), &|| job.is_ready(), deadline)
    }

    /// Takes no more tasks.
    pub(super) fn close(&self) {
        let _queue = locked(&self.queue);
        let _ = self.state.compare_exchange(OPEN, CLOSED, SeqCst, SeqCst);
    }

    pub(super) fn is_open(&self) -> bool {
        self.state.load(SeqCst) == OPEN
    }

    /// Waits until everything is done and the workers have ended.
    pub(super) fn join(&self) -> Result<(), TaskError> {
        if !self.is_ours() {
            return Err(TaskError::Forked);
        }
        if self.is_open() {
            return Err(TaskError::Running);
        }
        // A callback cannot wait for itself.
        let own = u64::from(self.hall.is_helper());
        let done = || self.hall.open.load(SeqCst) == 0 && self.hall.callbacks.load(SeqCst) <= own;
        self.wait(None, &done, NEVER);
        self.board.end(FINISHED);
        locked(&self.engine).see_end(&self.board, false);
        self.hall.end(|| self.changed());
        Ok(())
    }

    /// Ends everything.
    pub(super) fn terminate(&self) {
        if !self.is_ours() {
            return;
        }
        {
            let _queue = locked(&self.queue);
            self.state.store(TERMINATED, SeqCst);
        }
        self.board.terminate();
        self.changed();
        let done = || self.hall.open.load(SeqCst) == 0;
        self.wait(None, &done, NEVER);
        locked(&self.engine).see_end(&self.board, true);
        self.hall.end(|| self.changed());
    }
}
