//! Results that are not there yet.

use super::error::TaskError;
use super::inner::Inner;
use super::job::Job;
use crate::sys::time;
use crate::wait::NEVER;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a task, or the tasks of a map, will have given. Made by [`Pool::apply_async`] and its like.
///
/// Any thread of the pool's process may wait for it, also when the pool is gone: what was not done by
/// then has failed.
///
/// [`Pool::apply_async`]: super::Pool::apply_async
///
/// # Examples
/// ```
/// let pool = commons::Pool::new(2)?;
/// let result = pool.apply_async(|x: u64| x * x, 10)?;
/// assert_eq!(result.get()?, 100);
/// assert_eq!(result.get()?, 100, "as often as one likes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct AsyncResult<T> {
    inner: Arc<Inner>,
    job: Arc<Job>,
    read: fn(&Job) -> Result<T, TaskError>,
}

impl<T> fmt::Debug for AsyncResult<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncResult").field("ready", &self.job.is_ready()).finish_non_exhaustive()
    }
}

impl<T> AsyncResult<T> {
    pub(super) fn new(
        inner: Arc<Inner>,
        job: Arc<Job>,
        read: fn(&Job) -> Result<T, TaskError>,
    ) -> Self {
        AsyncResult { inner, job, read }
    }

    /// Waits for the result. May be called again, and gives the same.
    ///
    /// # Errors
    /// What became of the task instead. For a map, when all of its tasks are done, the error that
    /// arrived first.
    ///
    /// # Blocking
    /// Until the task is done, which the end of its worker or of the pool is, too.
    pub fn get(&self) -> Result<T, TaskError> {
        self.get_until(NEVER)
    }

    /// Waits for the result, for at most `timeout`.
    ///
    /// # Errors
    /// [`TaskError::TimedOut`]: the task goes on. Otherwise as [`AsyncResult::get`].
    pub fn get_timeout(&self, timeout: Duration) -> Result<T, TaskError> {
        self.get_until(time::after(timeout))
    }

    /// Waits for the result, until `deadline`.
    ///
    /// # Errors
    /// As [`AsyncResult::get_timeout`].
    pub fn get_deadline(&self, deadline: Instant) -> Result<T, TaskError> {
        self.get_until(time::at(deadline))
    }

    fn get_until(&self, deadline: u64) -> Result<T, TaskError> {
        if !self.job.is_ready() {
            if !self.inner.is_ours() {
                return Err(TaskError::Forked);
            }
            if !self.inner.wait_for(&self.job, deadline) {
                return Err(TaskError::TimedOut);
            }
        }
        (self.read)(&self.job)
    }

    /// Waits until the task is done, however it ended.
    pub fn wait(&self) {
        let _ = self.wait_until(NEVER);
    }

    /// Waits until the task is done, for at most `timeout`; whether it is.
    pub fn wait_timeout(&self, timeout: Duration) -> bool {
        self.wait_until(time::after(timeout))
    }

    fn wait_until(&self, deadline: u64) -> bool {
        if !self.inner.is_ours() {
            return self.job.is_ready();
        }
        self.inner.wait_for(&self.job, deadline)
    }

    /// Whether the task is done, however it ended.
    pub fn ready(&self) -> bool {
        if !self.job.is_ready() && self.inner.is_ours() {
            self.inner.nudge();
        }
        self.job.is_ready()
    }

    /// Whether the task is done and has a result.
    ///
    /// # Errors
    /// [`TaskError::NotReady`] where it is not done.
    pub fn successful(&self) -> Result<bool, TaskError> {
        if !self.ready() {
            return Err(TaskError::NotReady);
        }
        Ok((self.read)(&self.job).is_ok())
    }
}
