//! Waiting for an end of a queue beside others.

use super::end::End;
use super::handles::{Queue, Receiver, Sender};
use super::members::Ends;
use super::wait::{Side, Waiting, look_once};
use crate::Result;
use crate::channel::ChannelError;
use crate::member::Doubt;
use crate::raw::queue::Blocked;
use crate::raw::wait_cell::WaitCell;
use crate::sync::atomic::AtomicU32;
use crate::wait::{Asleep, ReadSource, Source, Wait, WriteSource};

/// To see a slot to write into.
#[derive(Clone, Copy, Debug)]
struct Space;

/// To see a message.
#[derive(Clone, Copy, Debug)]
struct Message;

impl Side for Space {
    type Gain = ();
    const NOTHING: ChannelError = ChannelError::Full;
    const OTHERS: Ends = Ends::RECEIVER;

    fn attempt(&self, end: &End) -> Result<(), Blocked> {
        end.queue().why_no_space().map_or(Ok(()), Err)
    }
    fn cell(end: &End) -> &WaitCell {
        &end.queue().control.space
    }
}

impl Side for Message {
    type Gain = ();
    const NOTHING: ChannelError = ChannelError::Empty;
    const OTHERS: Ends = Ends::SENDER;

    fn attempt(&self, end: &End) -> Result<(), Blocked> {
        end.queue().why_no_message().map_or(Ok(()), Err)
    }
    fn cell(end: &End) -> &WaitCell {
        &end.queue().control.items
    }
}

/// What one side of a queue waits for.
#[derive(Debug)]
struct Look<S> {
    end: End,
    side: S,
}

impl<S: Side<Gain = ()> + Send + Sync + std::fmt::Debug> Source for Look<S> {
    fn has(&self) -> bool {
        // A contradiction is told by the operation.
        matches!(self.side.attempt(&self.end), Ok(()) | Err(Blocked::Contradiction))
    }

    fn is_ready(&self) -> bool {
        match self.side.attempt(&self.end) {
            Ok(()) => true,
            Err(blocked) => look_once(&self.end, self.side, blocked) != Err(S::NOTHING),
        }
    }

    fn announce(&self) -> Option<(&AtomicU32, u32)> {
        let cell = S::cell(&self.end);
        let token = cell.announce();
        Some((cell.word(), token))
    }

    fn peer(&self, timed_out: bool, doubt: &mut Doubt) -> Option<Asleep<'_>> {
        let mut waiting = Waiting::new(&self.end, self.side);
        waiting.doubt = *doubt;
        // Finds what is in the way.
        let asleep = if waiting.poll().is_some() { None } else { waiting.peer(timed_out).ok() };
        *doubt = waiting.doubt;
        asleep
    }
}

macro_rules! source {
    ($handle:ident, $trait:ident, $method:ident, $side:expr) => {
        impl<T> $trait for $handle<T> {
            fn $method(&self) -> Result<Box<dyn Source>> {
                Ok(Box::new(Look { end: self.end.observer()?, side: $side }))
            }
        }
    };
}

source!(Receiver, ReadSource, read_source, Message);
source!(Queue, ReadSource, read_source, Message);
source!(Sender, WriteSource, write_source, Space);
source!(Queue, WriteSource, write_source, Space);
