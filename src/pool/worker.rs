//! What a worker does: take a task, run it, give its outcome, and again.

use super::board::{
    Board, FINISHED, MIXED, NOT_READ, RUNNING, Shape, TERMINATED, UNINITIALISED, UNKNOWN_CODE,
    WHOLE,
};
use super::code::{Output, Text};
use crate::process;
use crate::sync::atomic::AtomicU32;
use crate::sys::fuse::Fuse;
use crate::sys::time;
use crate::wait::{Asleep, NEVER, SLICE, Wait, WaitStrategy, block_on};
use std::fmt;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// What workers do first.
pub(super) type Initializer = Arc<dyn Fn() + Send + Sync>;

/// What all workers of a pool have in common.
#[derive(Clone)]
pub(super) struct Work {
    pub(super) text: Text,
    pub(super) initializer: Option<Initializer>,
    /// Chunks that a worker runs before another one takes its place.
    pub(super) limit: Option<NonZeroU32>,
    pub(super) strategy: WaitStrategy,
    /// How long a chunk may take.
    pub(super) time: Option<Duration>,
    /// Processors to run on, one after another; none: any.
    pub(super) affinity: Vec<usize>,
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// A wait for a task; it ends with none when there are to be no more.
struct ForTask<'a> {
    board: &'a Board,
    seat: u16,
}

impl<'a> Wait<'a> for ForTask<'a> {
    type Output = Option<u64>;

    fn poll(&mut self) -> Option<Option<u64>> {
        match self.board.phase() {
            RUNNING | FINISHED => match self.board.raw().take(self.seat) {
                Some(ticket) => Some(Some(ticket)),
                None if self.board.phase() == RUNNING => None,
                None => Some(None),
            },
            _ => Some(None),
        }
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, Option<u64>> {
        // The kernel ends a worker when the owner dies.
        Ok(Asleep { other: None::<(&AtomicU32, u32)>, slice: SLICE })
    }
}

/// Runs the initializer. False: it panicked, and the pool cannot go on.
pub(super) fn initialize(board: &Board, work: &Work) -> bool {
    let Some(initializer) = &work.initializer else { return true };
    match catch_unwind(AssertUnwindSafe(|| initializer())) {
        Ok(()) => true,
        Err(payload) => {
            board.fail(UNINITIALISED, &process::describe_panic(&*payload)[0]);
            false
        }
    }
}

/// Works in a seat until there is nothing more to do, or until as many chunks are done as one worker
/// may do: true, and another one is to go on. `fuse` is for the limit of time.
pub(super) fn work(board: &Board, seat: u16, work: &Work, fuse: Option<&Fuse>) -> bool {
    let (mut input, mut output) = (Vec::new(), Output::default());
    let registered = board.is_registered();
    let mut done = 0;
    while work.limit.is_none_or(|limit| done < limit.get()) {
        // Who finds nothing to do says so, and only then waits.
        let mut ticket = board.raw().take(seat);
        if ticket.is_none() {
            board.raw().tell_in_any_case(registered);
            let mut wait = ForTask { board, seat };
            ticket = block_on(&mut wait, board.control().work(), work.strategy, NEVER).flatten();
        }
        let Some(ticket) = ticket else { return false };
        if let (Some(fuse), Some(time_allowed)) = (fuse, work.time) {
            board.seats()[usize::from(seat)].set_limit(time::after(time_allowed));
            // Without a timer a task takes as long as it takes.
            let _ = fuse.light(time_allowed);
        }
        run(board, ticket, work, &mut input, &mut output);
        if let Some(fuse) = fuse {
            fuse.put_out();
            board.seats()[usize::from(seat)].set_limit(0);
        }
        board.raw().finish(ticket);
        board.raw().tell(ticket, registered);
        done += 1;
        if board.phase() == TERMINATED {
            return false;
        }
    }
    board.raw().tell_in_any_case(registered);
    true
}

fn run(board: &Board, ticket: u64, work: &Work, input: &mut Vec<u8>, output: &mut Output) {
    /// Longer buffers are not kept.
    const KEPT: usize = 1 << 20;
    let (code, shape, read) = board.read_task(ticket, input);
    output.clear();
    let outcome = |kind| Shape { kind, ..shape };
    if let Err(error) = read {
        board.write_outcome(ticket, outcome(NOT_READ), error.to_string().as_bytes());
        return;
    }
    match work.text.call(code, input, shape.count as usize, output) {
        Err(_) => board.write_outcome(ticket, outcome(UNKNOWN_CODE), &[]),
        Ok(()) => {
            let kind = if output.is_whole() { WHOLE } else { MIXED };
            output.seal();
            board.write_outcome(ticket, outcome(kind), &output.bytes);
        }
    }
    if input.capacity() > KEPT {
        *input = Vec::new();
    }
}
