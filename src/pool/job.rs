//! What was asked for with one call: arguments in chunks, and what came of them.

use super::board::{MIXED, NOT_READ, NOT_WRITTEN, UNKNOWN_CODE, WHOLE};
use super::code::Results;
use super::codec::{self, Portable};
use super::error::TaskError;
use crate::sync::local::{AtomicBool, Ordering};
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks a mutex of this process, whatever a panic left in it.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Arguments as bytes, in chunks.
#[derive(Debug, Default)]
pub(super) struct Arguments {
    bytes: Vec<u8>,
    /// Where each chunk ends, and how many arguments are in it.
    chunks: Vec<(usize, u32)>,
    count: usize,
}

impl Arguments {
    /// One argument.
    pub(super) fn one<A: Portable>(argument: &A) -> Result<Self, TaskError> {
        let mut bytes = Vec::new();
        codec::put(argument, &mut bytes).map_err(|problem| TaskError::Argument { problem })?;
        let chunks = vec![(bytes.len(), 1)];
        Ok(Arguments { bytes, chunks, count: 1 })
    }

    /// Many, so many to a chunk.
    pub(super) fn many<A: Portable>(items: &[A], chunk: NonZeroUsize) -> Result<Self, TaskError> {
        // What is counted in 32 bits.
        let chunk = chunk.get().min(1 << 24);
        let mut arguments = Arguments { count: items.len(), ..Arguments::default() };
        arguments.chunks.reserve(items.len().div_ceil(chunk));
        arguments.bytes.reserve(size_of_val(items).min(1 << 20));
        for items in items.chunks(chunk) {
            for item in items {
                let put = codec::put(item, &mut arguments.bytes);
                put.map_err(|problem| TaskError::Argument { problem })?;
            }
            arguments.chunks.push((arguments.bytes.len(), items.len() as u32));
        }
        Ok(arguments)
    }
}

/// What came of one chunk.
#[derive(Debug)]
enum Piece {
    Missing,
    /// An outcome of this kind, in place.
    Small(u8, u8, [u8; SMALL]),
    /// The same, longer.
    Long(u8, Vec<u8>),
    Failed(TaskError),
}

/// The longest outcome that needs no memory of its own.
const SMALL: usize = 21;

/// Longer ones are kept in the buffer that they were read into.
const COPIED: usize = 4096;

#[derive(Debug)]
struct State {
    pieces: Vec<Piece>,
    left: u32,
    /// The chunk whose failure was the first to arrive.
    first_failed: Option<u32>,
}

/// What is done with a job when all of its chunks are.
type Callback = Box<dyn FnOnce(&Job) + Send>;
/// Who is told that a job is done, in any thread, and must not wait for anything.
type Note = Box<dyn Fn() + Send + Sync>;

/// One call.
pub(super) struct Job {
    pub(super) code: u64,
    chunks: Vec<(usize, u32)>,
    /// How many arguments there are.
    pub(super) count: usize,
    arguments: Mutex<Vec<u8>>,
    state: Mutex<State>,
    ready: AtomicBool,
    callback: Mutex<Option<Callback>>,
    note: Option<Note>,
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("chunks", &self.chunks.len()).finish_non_exhaustive()
    }
}

impl Job {
    pub(super) fn new(
        code: u64,
        arguments: Arguments,
        callback: Option<Callback>,
        note: Option<Note>,
    ) -> Arc<Self> {
        let Arguments { bytes, chunks, count } = arguments;
        let left = chunks.len() as u32;
        let pieces = chunks.iter().map(|_| Piece::Missing).collect();
        Arc::new(Job {
            code,
            count,
            chunks,
            arguments: Mutex::new(bytes),
            state: Mutex::new(State { pieces, left, first_failed: None }),
            ready: AtomicBool::new(left == 0 && callback.is_none()),
            callback: Mutex::new(callback),
            note,
        })
    }

    /// How many chunks there are.
    pub(super) fn chunks(&self) -> u32 {
        self.chunks.len() as u32
    }

    /// Whether there is something to be called when all is done.
    pub(super) fn has_callback(&self) -> bool {
        locked(&self.callback).is_some()
    }

    /// Runs `f` with the arguments of a chunk and their number.
    pub(super) fn with_chunk<R>(&self, chunk: u32, f: impl FnOnce(&[u8], u32) -> R) -> R {
        let (Range { start, end }, count) = self.range(chunk);
        f(&locked(&self.arguments)[start..end], count)
    }

    fn range(&self, chunk: u32) -> (Range<usize>, u32) {
        let chunk = chunk as usize;
        let start = chunk.checked_sub(1).map_or(0, |before| self.chunks[before].0);
        (start..self.chunks[chunk].0, self.chunks[chunk].1)
    }

    /// A chunk has come to this. True: it was the last, and [`Job::complete`] is to be called. A long
    /// outcome is taken out of its buffer.
    pub(super) fn arrive(&self, chunk: u32, kind: u8, outcome: &mut Vec<u8>) -> bool {
        let text = |outcome: &[u8]| String::from_utf8_lossy(outcome).into_owned();
        let piece = match kind {
            WHOLE | MIXED if outcome.len() <= SMALL => {
                let mut bytes = [0; SMALL];
                bytes[..outcome.len()].copy_from_slice(outcome);
                Piece::Small(kind, outcome.len() as u8, bytes)
            }
            WHOLE | MIXED if outcome.len() <= COPIED => Piece::Long(kind, outcome[..].into()),
            WHOLE | MIXED => Piece::Long(kind, std::mem::take(outcome)),
            NOT_WRITTEN => Piece::Failed(TaskError::Outcome { problem: text(outcome) }),
            NOT_READ => Piece::Failed(TaskError::Argument { problem: text(outcome) }),
            UNKNOWN_CODE => Piece::Failed(TaskError::UnknownCode),
            _ => {
                let problem = "its outcome is of no known kind".to_owned();
                Piece::Failed(TaskError::Outcome { problem })
            }
        };
        self.put(chunk, piece)
    }

    /// A chunk has failed. True: as above.
    pub(super) fn fail(&self, chunk: u32, error: TaskError) -> bool {
        self.put(chunk, Piece::Failed(error))
    }

    fn put(&self, chunk: u32, piece: Piece) -> bool {
        let state = &mut *locked(&self.state);
        let whole = matches!(piece, Piece::Small(WHOLE, ..) | Piece::Long(WHOLE, _));
        if !whole && state.first_failed.is_none() {
            state.first_failed = Some(chunk);
        }
        let place = &mut state.pieces[chunk as usize];
        debug_assert!(matches!(place, Piece::Missing), "a chunk arrived twice");
        *place = piece;
        state.left -= 1;
        state.left == 0
    }

    /// All chunks have arrived: lets the arguments go, and calls what is to be called.
    pub(super) fn complete(&self) {
        *locked(&self.arguments) = Vec::new();
        let callback = locked(&self.callback).take();
        if let Some(callback) = callback {
            // What a callback panics with is its own affair; the hook has said it.
            let call = std::panic::AssertUnwindSafe(|| callback(self));
            if std::panic::catch_unwind(call).is_err() {
                #[cfg(feature = "log")]
                log::error!(target: "commons", "a callback of a pool panicked");
            }
        }
        // Release: the pieces are behind a lock; this is for what the callback did.
        self.ready.store(true, Ordering::Release);
        if let Some(note) = &self.note {
            note();
        }
    }

    /// Whether everything is done, its callback too.
    #[inline]
    pub(super) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Runs `each` with what came of every task, in order, until it says that this is enough.
    fn each<R: Portable>(&self, first: u32, mut each: impl FnMut(Result<R, TaskError>) -> bool) {
        let state = locked(&self.state);
        for (piece, (_, count)) in state.pieces.iter().zip(&self.chunks).skip(first as usize) {
            let results = match piece {
                Piece::Small(kind, length, bytes) => {
                    Results::of(&bytes[..usize::from(*length)], *kind == WHOLE)
                }
                Piece::Long(kind, bytes) => Results::of(bytes, *kind == WHOLE),
                Piece::Failed(error) => Err(error.clone()),
                Piece::Missing => Err(TaskError::NotReady),
            };
            let mut results = results;
            for _ in 0..*count {
                let result = match &mut results {
                    Ok(results) => results.next(),
                    Err(error) => Err(error.clone()),
                };
                if !each(result) {
                    return;
                }
            }
        }
    }

    /// The result of a job of one task.
    pub(super) fn one<R: Portable>(&self) -> Result<R, TaskError> {
        let mut found = Err(TaskError::NotReady);
        self.each(0, |result| {
            found = result;
            false
        });
        found
    }

    /// What came of each task.
    pub(super) fn list<R: Portable>(&self) -> Vec<Result<R, TaskError>> {
        let mut found = Vec::with_capacity(self.count);
        self.each(0, |result| {
            found.push(result);
            true
        });
        found
    }

    /// The results of all tasks, or the error that arrived first.
    pub(super) fn all<R: Portable>(&self) -> Result<Vec<R>, TaskError> {
        let first_failed = locked(&self.state).first_failed;
        let mut error = None;
        if let Some(chunk) = first_failed {
            self.each::<R>(chunk, |result| {
                error = result.err();
                error.is_none()
            });
        }
        let mut found = Vec::with_capacity(self.count);
        if error.is_none() {
            self.each(0, |result| {
                result.map_or_else(|e| error = Some(e), |result| found.push(result));
                error.is_none()
            });
        }
        error.map_or(Ok(found), Err)
    }
}
