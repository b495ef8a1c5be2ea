//! What a pool is to be, before it is made.

use super::Pool;
use super::board::Board;
use super::code::Text;
use super::engine::Engine;
use super::inner::Inner;
use super::worker::{Initializer, Work};
use crate::process::usable_cpu_count;
use crate::raw::board::SEATS;
use crate::sys::process::has_processor;
use crate::wait::WaitStrategy;
use crate::{Error, Result};
use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

/// Tasks that can be posted at a time, unless somebody asks for another number.
const QUEUE: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
/// The most that can be.
const LONGEST_QUEUE: usize = 1 << 15;

/// What a [`Pool`] is to be. Made by [`Pool::builder`].
///
/// # Examples
/// ```
/// use commons::Pool;
/// use std::num::NonZeroU32;
///
/// let pool = Pool::builder()
///     .workers(2)
///     .initializer(|| println!("here is {}", commons::process::current().name()))
///     .max_tasks_per_child(NonZeroU32::new(1000).unwrap())
///     .build()?;
/// assert_eq!(pool.map(|x: i32| x * 2, 0..5)?, [0, 2, 4, 6, 8]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a builder starts nothing by itself"]
pub struct Builder {
    workers: usize,
    initializer: Option<Initializer>,
    limit: Option<NonZeroU32>,
    queue: NonZeroUsize,
    affinity: Vec<usize>,
    strategy: WaitStrategy,
    retries: u32,
    time: Option<Duration>,
    threads: bool,
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("workers", &self.workers).finish_non_exhaustive()
    }
}

impl Builder {
    pub(super) fn new() -> Self {
        Builder {
            workers: usable_cpu_count(),
            initializer: None,
            limit: None,
            queue: QUEUE,
            affinity: Vec::new(),
            strategy: WaitStrategy::default(),
            retries: 0,
            time: None,
            threads: false,
        }
    }

    /// How many workers there are; without this as many as there are processors to run on.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Has every worker run this before its first task, replacements also. It may capture what it
    /// needs, which is copied as by a fork. If it panics, the pool fails
    /// ([`TaskError::InitializerFailed`](super::TaskError::InitializerFailed)).
    pub fn initializer(mut self, initializer: impl Fn() + Send + Sync + 'static) -> Self {
        self.initializer = Some(Arc::new(initializer));
        self
    }

    /// How many chunks of tasks a worker runs before another one takes its place. (A thread stays, and
    /// runs the initializer again.)
    pub fn max_tasks_per_child(mut self, tasks: NonZeroU32) -> Self {
        self.limit = Some(tasks);
        self
    }

    /// How many chunks of tasks are within reach of workers at a time: 1024 unless said here. What is
    /// beyond that waits in the memory of the pool's process.
    pub fn queue_length(mut self, chunks: NonZeroUsize) -> Self {
        self.queue = chunks;
        self
    }

    /// Has each worker run on one of these processors, by their numbers from 0: the first worker on the
    /// first one, and so on in a circle. Of no effect on threads.
    pub fn affinity(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.affinity = processors.into_iter().collect();
        self
    }

    /// What workers do while there is no task, and callers while there is no result.
    pub fn wait_strategy(mut self, strategy: WaitStrategy) -> Self {
        self.strategy = strategy;
        self
    }

    /// Says that tasks of this pool may be run again where a worker died with one, and how often: tasks
    /// that do no harm when they are begun twice. Without this they fail at once.
    pub fn retries(mut self, times: u32) -> Self {
        self.retries = times;
        self
    }

    /// How long a chunk of tasks may take. One that takes longer is ended with its worker
    /// ([`TaskError::TookTooLong`](super::TaskError::TookTooLong)). Of no effect on threads.
    pub fn task_timeout(mut self, time: Duration) -> Self {
        self.time = Some(time);
        self
    }

    /// Makes the pool.
    ///
    /// # Errors
    /// [`Error::Zero`] without a worker;
    /// [`Error::TooLarge`] with too many, or with too long a queue;
    /// [`Error::Process`] where the kernel refuses a process, and those that
    /// were started have ended; otherwise as [`Process::spawn`](crate::Process::spawn).
    pub fn build(self) -> Result<Pool> {
        let (workers, slots) = (self.workers, self.queue.get());
        if workers == 0 {
            return Err(Error::Zero { what: "a number of workers" });
        }
        let too_large = |what, asked: usize, limit: usize| Error::TooLarge {
            what,
            asked: asked as u64,
            limit: limit as u64,
        };
        if workers > usize::from(SEATS) {
            return Err(too_large("a number of workers", workers, usize::from(SEATS)));
        }
        if slots > LONGEST_QUEUE {
            return Err(too_large("the queue of a pool", slots, LONGEST_QUEUE));
        }
        if let Some(&processor) = self.affinity.iter().find(|&&processor| !has_processor(processor))
        {
            let source = std::io::Error::other(format!("there is no processor {processor}"));
            return Err(Error::Process { what: "the affinity of workers", source });
        }
        let text = Text::of_this_process().map_err(Error::os("open", "/proc/self/maps"))?;
        let board = Board::new(slots, workers)?;
        let Builder { initializer, limit, strategy, time, affinity, retries, threads, .. } = self;
        let work = Work { text: text.clone(), initializer, limit, strategy, time, affinity };
        let engine = if threads {
            Engine::threads(&board, &work)?
        } else {
            Engine::processes(&board, work)?
        };
        let zygote = board.zygote();
        Ok(Pool::of(Inner::new(board, workers, retries, text, strategy, zygote, engine)))
    }

    /// Makes a pool whose workers are threads of this process: the same interface, for tests and for
    /// tasks that cannot take the process down. Threads cannot be killed:
    /// [`Pool::terminate`] waits for the tasks that run.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build_threads(mut self) -> Result<Pool> {
        self.threads = true;
        self.build()
    }
}
