//! The handle of a pool.

use super::builder::Builder;
use super::code;
use super::codec::Portable;
use super::error::TaskError;
use super::imap::{Imap, ImapUnordered};
use super::inner::Inner;
use super::job::{Arguments, Job};
use super::result::AsyncResult;
use super::spread::Spread;
use crate::Result;
use crate::wait::NEVER;
use std::fmt;
use std::num::NonZeroUsize;
use std::result::Result as Either;
use std::sync::Arc;

/// Worker processes that run functions: a parallel map that a dying worker cannot hang.
///
/// See the [module](crate::pool) for what is promised. Any thread of the process that made the pool may
/// use it. Dropping it terminates it.
///
/// # Examples
/// ```
/// let pool = commons::Pool::new(2)?;
/// assert_eq!(pool.map(|x: u32| x * x, 1..=5)?, [1, 4, 9, 16, 25]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pool {
    inner: Arc<Inner>,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("workers", &self.inner.workers).finish_non_exhaustive()
    }
}

impl Pool {
    /// Makes a pool of so many worker processes.
    ///
    /// # Errors
    /// [`Error::Zero`](crate::Error::Zero) without a worker; otherwise as [`Builder::build`].
    pub fn new(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build()
    }

    /// Makes a pool of so many threads of this process, with the same interface.
    ///
    /// # Errors
    /// As [`Builder::build_threads`].
    ///
    /// # Examples
    /// ```
    /// let pool = commons::Pool::threads(2)?;
    /// assert_eq!(pool.map(|x: u32| x + 1, 0..3)?, [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn threads(workers: usize) -> Result<Self> {
        Self::builder().workers(workers).build_threads()
    }

    /// What a pool is to be, to be made by [`Builder::build`].
    pub fn builder() -> Builder {
        Builder::new()
    }

    pub(super) fn of(inner: Inner) -> Self {
        Pool { inner: Arc::new(inner) }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.inner.workers
    }

    /// The process ids of the workers that are ready. One may have died by the time that this returns.
    /// Of threads it is that of this process.
    pub fn worker_pids(&self) -> Vec<u32> {
        let seats = self.inner.board.seats().iter();
        seats.map(|seat| seat.pid()).filter(|&pid| pid != 0).collect()
    }

    // ---- one task ----

    /// Runs `f(argument)` in a worker and gives its result.
    ///
    /// # Errors
    /// What became of the task instead: [`TaskError`].
    ///
    /// # Blocking
    /// Until the task is done, which the end of its worker or of the pool is, too.
    pub fn apply<F, A, R>(&self, f: F, argument: A) -> Either<R, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let job = Job::new(code::address(f), Arguments::one(&argument)?, None, None);
        self.run(&job)?;
        job.one()
    }

    /// Has a worker run `f(argument)`, and does not wait for it.
    ///
    /// # Errors
    /// [`TaskError::Closed`], [`TaskError::Terminated`], [`TaskError::Argument`],
    /// [`TaskError::Forked`], [`TaskError::UnknownCode`]: the task is not accepted.
    pub fn apply_async<F, A, R>(&self, f: F, argument: A) -> Either<AsyncResult<R>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let job = Job::new(code::address(f), Arguments::one(&argument)?, None, None);
        self.start(job, Job::one, false)
    }

    /// As [`Pool::apply_async`], and calls `then` with the result, or what became of the task instead,
    /// in a thread of the pool's own, before anybody else gets it. A `then` that panics harms nobody;
    /// it may use the pool, and terminate it, but not wait for its own result.
    ///
    /// # Errors
    /// As [`Pool::apply_async`]; [`TaskError::NoWorkers`] where no thread can be started.
    ///
    /// # Examples
    /// ```
    /// let pool = commons::Pool::new(2)?;
    /// let square = |x: u64| x * x;
    /// let result = pool.apply_async_then(square, 10, |result| match result {
    ///     Ok(square) => println!("Result: {square}"),
    ///     Err(error) => println!("Error: {error}"),
    /// })?;
    /// assert_eq!(result.get()?, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn apply_async_then<F, A, R>(
        &self,
        f: F,
        argument: A,
        then: impl FnOnce(&Either<R, TaskError>) + Send + 'static,
    ) -> Either<AsyncResult<R>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let callback = Box::new(move |job: &Job| then(&job.one()));
        let arguments = Arguments::one(&argument)?;
        self.start(Job::new(code::address(f), arguments, Some(callback), None), Job::one, true)
    }

    // ---- many tasks ----

    /// Runs `f` for each item and gives the results in the order of the items.
    ///
    /// Items travel in chunks, of which there are four for each worker. The input is read to its end
    /// first; for one that has none, or whose results are wanted one by one, there is [`Pool::imap`].
    ///
    /// # Errors
    /// When all tasks are done, the error that arrived first. What became of each task,
    /// [`Pool::try_map`] says.
    ///
    /// # Blocking
    /// Until all tasks are done.
    pub fn map<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Either<Vec<R>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        self.map_in(f, items, None)
    }

    /// As [`Pool::map`], with so many items in a chunk. The tasks of a chunk share the fate of the worker
    /// that runs them.
    ///
    /// # Errors
    /// As [`Pool::map`].
    pub fn map_chunked<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
        chunk: NonZeroUsize,
    ) -> Either<Vec<R>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        self.map_in(f, items, Some(chunk))
    }

    fn map_in<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
        chunk: Option<NonZeroUsize>,
    ) -> Either<Vec<R>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let job = Job::new(code::address(f), self.chunked(items, chunk)?, None, None);
        self.run(&job)?;
        job.all()
    }

    /// Runs `f` for each item and says what became of each task, in the order of the items. Items travel
    /// one by one, so that a dead worker fails one task alone.
    ///
    /// # Errors
    /// [`TaskError::Closed`], [`TaskError::Terminated`], [`TaskError::Argument`],
    /// [`TaskError::Forked`], [`TaskError::UnknownCode`]: nothing is accepted.
    ///
    /// # Blocking
    /// Until all tasks are done.
    ///
    /// # Examples
    /// ```
    /// let pool = commons::Pool::new(2)?;
    /// let results = pool.try_map(|x: u32| 12 / x, [3, 0])?;
    /// assert_eq!(results[0], Ok(4));
    /// assert!(results[1].is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_map<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Either<Vec<Either<R, TaskError>>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let arguments = self.chunked(items, Some(NonZeroUsize::MIN))?;
        let job = Job::new(code::address(f), arguments, None, None);
        self.run(&job)?;
        Ok(job.list())
    }

    /// As [`Pool::map`], and does not wait.
    ///
    /// # Errors
    /// As [`Pool::apply_async`].
    pub fn map_async<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Either<AsyncResult<Vec<R>>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let job = Job::new(code::address(f), self.chunked(items, None)?, None, None);
        self.start(job, Job::all, false)
    }

    /// As [`Pool::map_async`], with so many items in a chunk.
    ///
    /// # Errors
    /// As [`Pool::apply_async`].
    pub fn map_async_chunked<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
        chunk: NonZeroUsize,
    ) -> Either<AsyncResult<Vec<R>>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let job = Job::new(code::address(f), self.chunked(items, Some(chunk))?, None, None);
        self.start(job, Job::all, false)
    }

    /// As [`Pool::map_async`], and calls `then` with all results, or the error that arrived first: see
    /// [`Pool::apply_async_then`].
    ///
    /// # Errors
    /// As [`Pool::apply_async_then`].
    pub fn map_async_then<F, A, R>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
        then: impl FnOnce(&Either<Vec<R>, TaskError>) + Send + 'static,
    ) -> Either<AsyncResult<Vec<R>>, TaskError>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
    {
        let callback = Box::new(move |job: &Job| then(&job.all()));
        let arguments = self.chunked(items, None)?;
        self.start(Job::new(code::address(f), arguments, Some(callback), None), Job::all, true)
    }

    /// Runs `f` with the parts of each tuple as its arguments: [`Pool::map`] for functions of several.
    ///
    /// # Errors
    /// As [`Pool::map`].
    ///
    /// # Blocking
    /// Until all tasks are done.
    ///
    /// # Examples
    /// ```
    /// let pool = commons::Pool::new(2)?;
    /// let powers = pool.starmap(u64::pow, [(2, 3), (3, 2)])?;
    /// assert_eq!(powers, [8, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn starmap<F, A>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Either<Vec<F::Output>, TaskError>
    where
        F: Spread<A>,
        A: Portable,
        F::Output: Portable,
    {
        self.map(move |arguments: A| f.spread(arguments), items)
    }

    /// As [`Pool::starmap`], and does not wait.
    ///
    /// # Errors
    /// As [`Pool::apply_async`].
    pub fn starmap_async<F, A>(
        &self,
        f: F,
        items: impl IntoIterator<Item = A>,
    ) -> Either<AsyncResult<Vec<F::Output>>, TaskError>
    where
        F: Spread<A>,
        A: Portable,
        F::Output: Portable,
    {
        self.map_async(move |arguments: A| f.spread(arguments), items)
    }

    /// Runs `f` for each item and gives the results one by one, in the order of the items.
    ///
    /// Only some items are taken from the input before their results are asked for
    /// ([`Imap::ahead`]), so it may be endless. Tasks whose results are not asked for run all the same.
    ///
    /// # Examples
    /// ```
    /// let pool = commons::Pool::new(2)?;
    /// let squares = pool.imap(|x: u64| x * x, 0..);
    /// let first: Result<Vec<_>, _> = squares.take(4).collect();
    /// assert_eq!(first?, [0, 1, 4, 9]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn imap<F, A, R, I>(&self, f: F, items: I) -> Imap<I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        Imap::new(&self.inner, f, items.into_iter())
    }

    /// As [`Pool::imap`], with the results in the order in which they come.
    pub fn imap_unordered<F, A, R, I>(&self, f: F, items: I) -> ImapUnordered<I::IntoIter, R>
    where
        F: Fn(A) -> R + Copy + Send + 'static,
        A: Portable,
        R: Portable,
        I: IntoIterator<Item = A>,
    {
        ImapUnordered::new(&self.inner, f, items.into_iter())
    }

    // ---- the end ----

    /// Takes no more tasks. Those that were accepted are done. May be called again.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Waits until all accepted tasks are done, their callbacks have run, and the workers have ended.
    /// Results can be asked for afterwards. May be called again.
    ///
    /// # Errors
    /// [`TaskError::Running`] where the pool was neither closed nor terminated.
    ///
    /// # Blocking
    /// Until then: a task that takes for ever is waited for.
    pub fn join(&self) -> Either<(), TaskError> {
        self.inner.join()
    }

    /// Ends the workers at once, whatever they do. Tasks that are not done fail
    /// ([`TaskError::Terminated`]). When this returns, the workers have ended. May be called again, and
    /// from a callback. (Threads are not ended in the middle of a task; they are waited for.)
    pub fn terminate(&self) {
        self.inner.terminate();
    }

    /// The arguments of a map.
    fn chunked<A: Portable>(
        &self,
        items: impl IntoIterator<Item = A>,
        chunk: Option<NonZeroUsize>,
    ) -> Either<Arguments, TaskError> {
        let items: Vec<A> = items.into_iter().collect();
        let default = || NonZeroUsize::new(items.len().div_ceil(4 * self.inner.workers));
        let chunk = chunk.or_else(default).unwrap_or(NonZeroUsize::MIN);
        Arguments::many(&items, chunk)
    }

    /// Submits a job and waits for it.
    pub(super) fn run(&self, job: &Arc<Job>) -> Either<(), TaskError> {
        self.inner.submit(job)?;
        self.inner.wait_for(job, NEVER);
        Ok(())
    }

    /// Submits a job and does not wait. `calls`: it has a callback.
    fn start<T>(
        &self,
        job: Arc<Job>,
        read: fn(&Job) -> Either<T, TaskError>,
        calls: bool,
    ) -> Either<AsyncResult<T>, TaskError> {
        if calls {
            // Before anything is accepted that it would have to be there for.
            let helper = self.inner.call_helper();
            helper.map_err(|error| TaskError::NoWorkers { problem: error.to_string() })?;
        }
        self.inner.submit(&job)?;
        self.inner.go_on_without(calls)?;
        Ok(AsyncResult::new(self.inner.clone(), job, read))
    }
}

impl Drop for Pool {
    /// Terminates the pool.
    fn drop(&mut self) {
        self.inner.terminate();
    }
}
