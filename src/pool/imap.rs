//! Results one by one, of inputs that may be endless.

use super::code;
use super::codec::Portable;
use super::error::TaskError;
use super::inner::Inner;
use super::job::{Arguments, Job, locked};
use crate::sys::time;
use crate::wait::NEVER;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Tasks that are taken from the input before their results are asked for, for each worker.
const AHEAD: usize = 4;

/// The input of tasks, of which some are taken ahead.
struct Input<I> {
    inner: Arc<Inner>,
    /// `None`: it has ended, or tasks are refused.
    items: Option<I>,
    code: u64,
    ahead: usize,
}

impl<A: Portable, I: Iterator<Item = A>> Input<I> {
    fn new<F, R>(inner: &Arc<Inner>, f: F, items: I) -> Self
    where
        F: Fn(A) -> R + Copy,
        R: Portable,
    {
        let ahead = AHEAD * inner.workers;
        Input { inner: inner.clone(), items: Some(items), code: code::address(f), ahead }
    }

    /// Makes a task of the next item, and submits it.
    fn next(
        &mut self,
        note: Option<Box<dyn Fn() + Send + Sync>>,
    ) -> Option<Result<Arc<Job>, TaskError>> {
        let item = self.items.as_mut()?.next();
        let Some(item) = item else {
            self.items = None;
            return None;
        };
        let arguments = match Arguments::one(&item) {
            Ok(arguments) => arguments,
            Err(error) => return Some(Err(error)),
        };
        let job = Job::new(self.code, arguments, None, note);
        Some(self.inner.submit(&job).map(|()| job).inspect_err(|_| self.items = None))
    }
}

/// The results of tasks in the order of their arguments. Made by [`Pool::imap`](super::Pool::imap).
pub struct Imap<I, R> {
    input: Input<I>,
    pending: VecDeque<Result<Arc<Job>, TaskError>>,
    result: PhantomData<fn() -> R>,
}

impl<I, R> fmt::Debug for Imap<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("pending", &self.pending.len()).finish_non_exhaustive()
    }
}

impl<A: Portable, R: Portable, I: Iterator<Item = A>> Imap<I, R> {
    pub(super) fn new<F: Fn(A) -> R + Copy>(inner: &Arc<Inner>, f: F, items: I) -> Self {
        Imap { input: Input::new(inner, f, items), pending: VecDeque::new(), result: PhantomData }
    }

    /// How many arguments are taken from the input before their results are asked for: four for each
    /// worker, unless said here.
    #[must_use]
    pub fn ahead(mut self, tasks: NonZeroUsize) -> Self {
        self.input.ahead = tasks.get();
        self
    }

    /// The next result, if it comes in time; `None`: there are no more.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`] as an item: the next call waits for the same result.
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(time::after(timeout))
    }

    fn next_until(&mut self, deadline: u64) -> Option<Result<R, TaskError>> {
        let mut more = false;
        while self.pending.len() < self.input.ahead
            && let Some(job) = self.input.next(None)
        {
            more = true;
            self.pending.push_back(job);
        }
        let inner = &self.input.inner;
        match self.pending.front()? {
            Ok(job) if job.is_ready() && !more => {}
            Ok(job) if job.is_ready() => inner.nudge(),
            Ok(job) if !inner.wait_for(job, deadline) => return Some(Err(TaskError::TimedOut)),
            _ => {}
        }
        Some(self.pending.pop_front()?.and_then(|job| job.one()))
    }
}

impl<A: Portable, R: Portable, I: Iterator<Item = A>> Iterator for Imap<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(NEVER)
    }
}

impl<A: Portable, R: Portable, I: Iterator<Item = A>> FusedIterator for Imap<I, R> {}

/// The results of tasks as they come. Made by [`Pool::imap_unordered`](super::Pool::imap_unordered).
pub struct ImapUnordered<I, R> {
    input: Input<I>,
    pending: HashMap<u64, Arc<Job>>,
    next: u64,
    /// The numbers of those that are done.
    done: Arc<Mutex<VecDeque<u64>>>,
    /// Of arguments that became no task.
    failed: VecDeque<TaskError>,
    result: PhantomData<fn() -> R>,
}

impl<I, R> fmt::Debug for ImapUnordered<I, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImapUnordered")
            .field("pending", &self.pending.len())
            .finish_non_exhaustive()
    }
}

impl<A: Portable, R: Portable, I: Iterator<Item = A>> ImapUnordered<I, R> {
    pub(super) fn new<F: Fn(A) -> R + Copy>(inner: &Arc<Inner>, f: F, items: I) -> Self {
        ImapUnordered {
            input: Input::new(inner, f, items),
            pending: HashMap::new(),
            next: 0,
            done: Arc::default(),
            failed: VecDeque::new(),
            result: PhantomData,
        }
    }

    /// As [`Imap::ahead`].
    #[must_use]
    pub fn ahead(mut self, tasks: NonZeroUsize) -> Self {
        self.input.ahead = tasks.get();
        self
    }

    /// As [`Imap::next_timeout`].
    ///
    /// # Errors
    /// As [`Imap::next_timeout`].
    pub fn next_timeout(&mut self, timeout: Duration) -> Option<Result<R, TaskError>> {
        self.next_until(time::after(timeout))
    }

    fn next_until(&mut self, deadline: u64) -> Option<Result<R, TaskError>> {
        let mut more = false;
        while self.pending.len() < self.input.ahead && self.failed.is_empty() {
            let (number, done) = (self.next, self.done.clone());
            let note = move || locked(&done).push_back(number);
            match self.input.next(Some(Box::new(note))) {
                None => break,
                Some(Ok(job)) => {
                    more = true;
                    self.next += 1;
                    self.pending.insert(number, job);
                }
                Some(Err(error)) => self.failed.push_back(error),
            }
        }
        if let Some(error) = self.failed.pop_front() {
            return Some(Err(error));
        }
        if self.pending.is_empty() {
            return None;
        }
        let inner = &self.input.inner;
        let any = || !locked(&self.done).is_empty();
        if more && any() {
            inner.nudge();
        } else if !inner.wait(None, &any, deadline) {
            return Some(Err(TaskError::TimedOut));
        }
        let number = locked(&self.done).pop_front()?;
        Some(self.pending.remove(&number)?.one())
    }
}

impl<A: Portable, R: Portable, I: Iterator<Item = A>> Iterator for ImapUnordered<I, R> {
    type Item = Result<R, TaskError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_until(NEVER)
    }
}

impl<A: Portable, R: Portable, I: Iterator<Item = A>> FusedIterator for ImapUnordered<I, R> {}
