//! What can become of a task beside its result.

use std::ops::Range;

/// Why a task of a [`Pool`](super::Pool) has no result, or was not accepted.
///
/// What a task itself returns is its result, a `Result` with an error of the user's own type too.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TaskError {
    /// The task panicked. Its worker went on.
    #[error("the task panicked{}{location}: {message}", if location.is_empty() { "" } else { " at " })]
    Panicked {
        /// What the panic said.
        message: String,
        /// The file, line and column; empty in a pool of threads, and where a panic hook of the
        /// worker's own took the place of this crate's.
        location: String,
        /// How it came there; empty where the location is.
        backtrace: String,
        /// The process id of the worker.
        worker: u32,
    },
    /// The worker that ran the task was ended by a signal. Another one took its place.
    #[error("worker {pid} died with the task{}", signal.map_or(String::new(), |s| format!(", by signal {s}")))]
    WorkerDied {
        /// The worker's process id; 0 where it died before it could say so.
        pid: u32,
        /// The signal; `None` where the process that starts workers died, too, and nobody knows.
        signal: Option<i32>,
    },
    /// The task ended its process. Another worker took its place.
    #[error("the task ended its worker {pid} with exit code {code}")]
    WorkerExited {
        /// The worker's process id.
        pid: u32,
        /// The exit code.
        code: i32,
    },
    /// The task took longer than the pool allows, and was ended with its worker.
    #[error("the task took longer than the pool allows; worker {pid} was ended with it")]
    TookTooLong {
        /// The worker's process id.
        pid: u32,
    },
    /// Nobody is left to run the task: the process that starts workers died, and so did all workers.
    #[error("the process that starts workers is dead, and so are the workers; make another pool")]
    ZygoteDied,
    /// The kernel refuses new workers, and there are none left.
    #[error("no worker is left, and none can be started: {problem}")]
    NoWorkers {
        /// What the kernel says.
        problem: String,
    },
    /// The initializer of the pool panicked, or its workers died in it again and again.
    #[error("the initializer of the workers failed: {message}")]
    InitializerFailed {
        /// What it said.
        message: String,
    },
    /// The pool was terminated before the task was done.
    #[error("the pool was terminated")]
    Terminated,
    /// The pool was closed: it takes no more tasks.
    #[error("the pool is closed and takes no more tasks")]
    Closed,
    /// The pool still takes tasks, so it cannot be waited for.
    #[error("the pool is running; close or terminate it before it is joined")]
    Running,
    /// An argument could not be made bytes, or the bytes not an argument.
    #[error("an argument could not be carried over: {problem}")]
    Argument {
        /// What serialisation said.
        problem: String,
    },
    /// A result could not be made bytes, or the bytes not a result. The task ran.
    #[error("the result could not be carried over: {problem}")]
    Outcome {
        /// What serialisation said.
        problem: String,
    },
    /// The task is code of a library that was loaded after the pool was made.
    #[error("the task's code was loaded after the pool was made; make the pool later")]
    UnknownCode,
    /// A part of an array could not be reached from a worker.
    #[error("a worker could not reach the array: {problem}")]
    Unreachable {
        /// Why.
        problem: String,
    },
    /// The result is not there yet.
    #[error("the result is not there yet")]
    NotReady,
    /// The result did not come in time. The task goes on.
    #[error("the result did not come in time")]
    TimedOut,
    /// The calling process is a child of the one that made the pool.
    #[error("a pool can be used by the process alone that made it")]
    Forked,
}

/// Why not all slices of an array were done, and what of it is not as it should be. All other elements
/// are done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}; of the array, {}", describe(in_doubt, untouched))]
#[non_exhaustive]
pub struct SlicesError {
    /// What became of the first slice that failed.
    #[source]
    pub error: Box<TaskError>,
    /// Elements by their indexes, in their order: a task had been given them, or may have been, and did
    /// not end in order. They may be new, or old, or one of them half of each.
    pub in_doubt: Vec<Range<usize>>,
    /// Elements that no task was given: they are as they were.
    pub untouched: Vec<Range<usize>>,
}

impl SlicesError {
    /// Nothing was accepted.
    pub(super) fn before_all(error: TaskError, length: usize) -> Self {
        let whole = (length > 0).then_some(0..length);
        let (error, untouched) = (Box::new(error), whole.into_iter().collect());
        SlicesError { error, in_doubt: Vec::new(), untouched }
    }

    /// Of slices that failed, if there are any. `again`: some may have been begun more than once.
    pub(super) fn of(
        failed: impl IntoIterator<Item = (Range<usize>, TaskError)>,
        again: bool,
    ) -> Option<Self> {
        let mut all: Option<SlicesError> = None;
        for (range, error) in failed {
            let was_begun = again || error.was_perhaps_begun();
            let all = all.get_or_insert_with(|| Self::before_all(error, 0));
            let ranges = if was_begun { &mut all.in_doubt } else { &mut all.untouched };
            match ranges.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => ranges.push(range),
            }
        }
        all
    }
}

impl TaskError {
    /// Whether a task that failed so may have done something.
    fn was_perhaps_begun(&self) -> bool {
        // When no worker is left, what one had is told of as its death.
        !matches!(
            self,
            TaskError::Unreachable { .. }
                | TaskError::UnknownCode
                | TaskError::Argument { .. }
                | TaskError::ZygoteDied
        )
    }
}

fn describe(in_doubt: &[Range<usize>], untouched: &[Range<usize>]) -> String {
    let list = |ranges: &[Range<usize>]| {
        let ranges: Vec<_> = ranges.iter().map(|range| format!("{range:?}")).collect();
        ranges.join(", ")
    };
    match (in_doubt, untouched) {
        ([], []) => "no element is changed".to_owned(),
        ([], untouched) => format!("{} are as they were", list(untouched)),
        (in_doubt, []) => format!("{} are in doubt", list(in_doubt)),
        (in_doubt, untouched) => {
            format!("{} are in doubt, and {} as they were", list(in_doubt), list(untouched))
        }
    }
}
