//! Where threads of the pool's process wait for each other.
//!
//! One thread at a time *leads*: it posts tasks, collects outcomes, and sleeps where workers wake it.
//! That is the thread that waits for a result, so a result takes one wake. Others that wait meanwhile
//! follow: they sleep here until what they wait for is there, or until they are to lead. Callbacks are
//! not run by them but by a thread of the pool's own, which is started for the first callback, and
//! which leads while nobody else does.

use super::job::{Job, locked};
use crate::sync::local::{AtomicU32, AtomicU64, Ordering::SeqCst};
use crate::sys::time;
use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, ThreadId};
use std::time::Duration;

/// What became of a wait.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    /// The caller leads, until it calls [`Hall::leave`].
    Leads,
    /// What it waited for is there.
    Done,
    /// Its deadline passed.
    TimedOut,
}

/// What the pool's own thread is to do next.
#[derive(Debug)]
pub(super) enum Duty {
    /// Complete this job.
    Complete(Arc<Job>),
    /// Lead.
    Lead,
    /// End.
    End,
}

#[derive(Debug, Default)]
struct State {
    leading: bool,
    /// Jobs whose callbacks are to be run.
    completed: VecDeque<Arc<Job>>,
    helper: Option<JoinHandle<()>>,
    helper_id: Option<ThreadId>,
    ends: bool,
}

#[derive(Debug, Default)]
pub(super) struct Hall {
    state: Mutex<State>,
    changed: Condvar,
    /// Threads that follow.
    following: AtomicU32,
    /// Chunks that have not arrived.
    pub(super) open: AtomicU64,
    /// Jobs whose callbacks have not been run.
    pub(super) callbacks: AtomicU64,
}

impl Hall {
    /// How many threads follow the one that leads.
    pub(super) fn following(&self) -> u32 {
        self.following.load(SeqCst)
    }

    /// Leads, if nobody does.
    pub(super) fn try_lead(&self) -> bool {
        !std::mem::replace(&mut locked(&self.state).leading, true)
    }

    /// Waits until `done`, or until the caller is to lead, or until `deadline`. `told` is called before
    /// the caller sleeps, to tell who leads that somebody follows.
    pub(super) fn enter(&self, done: impl Fn() -> bool, told: impl Fn(), deadline: u64) -> Entered {
        let mut state = locked(&self.state);
        let mut follows = false;
        let entered = loop {
            if done() {
                break Entered::Done;
            }
            if !std::mem::replace(&mut state.leading, true) {
                break Entered::Leads;
            }
            let now = time::now();
            if now >= deadline {
                break Entered::TimedOut;
            }
            if !follows {
                follows = true;
                self.following.fetch_add(1, SeqCst);
                drop(state);
                told();
                state = locked(&self.state);
                continue;
            }
            let left = Duration::from_nanos((deadline - now).min(100_000_000));
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        };
        if follows {
            self.following.fetch_sub(1, SeqCst);
        }
        entered
    }

    /// The caller leads no more.
    pub(super) fn leave(&self) {
        let mut state = locked(&self.state);
        state.leading = false;
        let others = state.helper.is_some() && self.open.load(SeqCst) > 0;
        drop(state);
        if others || self.following() > 0 {
            self.changed.notify_all();
        }
    }

    /// Something is ready that somebody may wait for.
    pub(super) fn tell(&self) {
        if self.following() > 0 {
            // With the lock, or it could be between its look and its sleep.
            drop(locked(&self.state));
            self.changed.notify_all();
        }
    }

    /// Has the pool's own thread complete a job.
    pub(super) fn hand_on(&self, job: Arc<Job>) {
        locked(&self.state).completed.push_back(job);
        self.changed.notify_all();
    }

    /// Waits until there is something for the pool's own thread to do.
    pub(super) fn next_duty(&self) -> Duty {
        let mut state = locked(&self.state);
        loop {
            if let Some(job) = state.completed.pop_front() {
                return Duty::Complete(job);
            }
            if state.ends {
                return Duty::End;
            }
            if !state.leading && self.following() == 0 && self.open.load(SeqCst) > 0 {
                state.leading = true;
                return Duty::Lead;
            }
            let waited = self.changed.wait(state);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner);
        }
    }

    /// Whether the pool's own thread, which leads, has something else to do.
    pub(super) fn calls_helper(&self) -> bool {
        let state = locked(&self.state);
        self.following() > 0
            || state.ends
            || !state.completed.is_empty()
            || self.open.load(SeqCst) == 0
    }

    /// Starts the pool's own thread, unless it is there, and has it look what there is to do.
    pub(super) fn call_helper(
        &self,
        start: impl FnOnce() -> std::io::Result<JoinHandle<()>>,
    ) -> std::io::Result<()> {
        let mut state = locked(&self.state);
        if state.helper_id.is_none() {
            let helper = start()?;
            state.helper_id = Some(helper.thread().id());
            state.helper = Some(helper);
        }
        drop(state);
        self.changed.notify_all();
        Ok(())
    }

    /// Whether the caller is the pool's own thread.
    pub(super) fn is_helper(&self) -> bool {
        locked(&self.state).helper_id == Some(std::thread::current().id())
    }

    /// Ends the pool's own thread, when it has run what callbacks there are. `told` is called to tell it,
    /// if it leads.
    pub(super) fn end(&self, told: impl Fn()) {
        let helper = {
            let mut state = locked(&self.state);
            state.ends = true;
            state.helper.take()
        };
        self.changed.notify_all();
        told();
        if let Some(helper) = helper
            && !self.is_helper()
        {
            let _ = helper.join();
        }
    }
}
