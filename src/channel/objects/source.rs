//! Waiting for an end of a queue of objects beside others.
//!
//! An operation that does not wait gives way to who is in the middle of a long message. So who waits for
//! one to be of use waits for the end of that, too, by the word that says who it is.

use super::end::End;
use super::handles::{ObjectQueue, Receiver, Sender};
use super::joinable::JoinableQueue;
#[cfg(feature = "tokio")]
use super::wait::AllDone;
use super::wait::{Goal, Hope, Message, Room, Waiting};
use crate::Result;
use crate::channel::{ChannelError, Departure};
use crate::member::{Doubt, Stamp};
use crate::raw::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed},
};
use crate::sync::local;
use crate::wait::{Asleep, ReadSource, Source, Wait, WriteSource};
use std::fmt;
use std::sync::Arc;

/// Whoever holds a side for as long as a long message takes; [`Hope::Nobody`]: nobody any more, and
/// the next one at the lock is told so.
fn in_the_middle(end: &End, word: u64) -> Result<Hope> {
    let gone = Hope::Nobody(Departure::Died { pid: None });
    let Some(stamp) = Stamp::unpack(word) else { return Ok(gone) };
    let table = end.core().table()?;
    let over = table.is_suspect(stamp) && table.runs_no_more(stamp)?;
    Ok(if over { gone } else { Hope::In(stamp) })
}

/// Room for a message, and nobody in the middle of a long one.
#[derive(Clone, Copy, Debug)]
struct Vacancy {
    grains: u64,
}

impl Vacancy {
    fn room(self) -> Room {
        Room { grains: self.grains, name: 0, begun: None }
    }
}

impl Goal for Vacancy {
    const NOTHING: ChannelError = Room::NOTHING;

    fn is_there(&self, end: &End) -> bool {
        // Acquire: with the room that it left.
        end.shared().writer.load(Acquire) == 0 && self.room().is_there(end)
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        &end.shared().space
    }
    fn hope(&self, end: &End, ask: bool) -> Result<Hope> {
        match end.shared().writer.load(Acquire) {
            0 => self.room().hope(end, ask),
            word => in_the_middle(end, word),
        }
    }
}

/// A message, an entry for it, and nobody in the middle of a long one.
#[derive(Clone, Copy, Debug)]
struct Arrival;

impl Arrival {
    fn message(end: &End) -> Message {
        let exchange = end.exchange();
        Message { lacks_entry: exchange.is_readable() && exchange.free_entry(0).is_none() }
    }
}

impl Goal for Arrival {
    const NOTHING: ChannelError = Message::NOTHING;

    fn is_there(&self, end: &End) -> bool {
        let shared = end.shared();
        // Acquire: the entries that wait.
        shared.waiting.load(Acquire) != 0
            || end.exchange().is_readable()
                // Relaxed: says where to look.
                && shared.reader.load(Relaxed) == 0
                && end.exchange().free_entry(0).is_some()
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        Arrival::message(end).cell(end)
    }
    fn hope(&self, end: &End, ask: bool) -> Result<Hope> {
        match end.shared().reader.load(Relaxed) {
            0 => Arrival::message(end).hope(end, ask),
            word => in_the_middle(end, word),
        }
    }
}

/// What is waited for, as it is by now.
trait Aim: Send + Sync + fmt::Debug {
    type Goal: Goal;

    fn goal(&self) -> Self::Goal;
}

/// Room for what found none the last time, in grains.
#[derive(Debug)]
struct Wanted(Arc<local::AtomicU64>);

impl Aim for Wanted {
    type Goal = Vacancy;

    fn goal(&self) -> Vacancy {
        // Relaxed: says what to look for.
        Vacancy { grains: self.0.load(local::Ordering::Relaxed) }
    }
}

/// Always the same.
#[derive(Debug)]
struct Fixed<G>(G);

impl<G: Goal + Send + Sync + fmt::Debug> Aim for Fixed<G> {
    type Goal = G;

    fn goal(&self) -> G {
        self.0
    }
}

/// What one side of a queue waits for.
struct Look<A> {
    end: End,
    aim: A,
    /// 1: sleeps for an entry and not for a message. By the thread that sleeps, for itself.
    for_entry: local::AtomicU32,
}

impl<A: fmt::Debug> fmt::Debug for Look<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Look")
            .field("name", &self.end.attachment().name())
            .field("aim", &self.aim)
            .finish_non_exhaustive()
    }
}

impl<A: Aim + 'static> Look<A> {
    fn boxed(end: &End, aim: A) -> Result<Box<dyn Source>> {
        Ok(Box::new(Look { end: end.observer()?, aim, for_entry: local::AtomicU32::new(0) }))
    }

    /// Where to sleep, and whether that is for an entry.
    fn cell(&self) -> (&WaitCell, u32) {
        let cell = self.aim.goal().cell(&self.end);
        (cell, u32::from(std::ptr::eq(cell, &self.end.shared().freed)))
    }
}

impl<A: Aim + 'static> Source for Look<A> {
    fn has(&self) -> bool {
        self.aim.goal().is_there(&self.end)
    }

    fn is_ready(&self) -> bool {
        // Of a failure the operation tells.
        let gone = || !matches!(self.aim.goal().hope(&self.end, false), Ok(hope) if hope.is_left());
        self.has() || gone() || self.has()
    }

    fn announce(&self) -> Option<(&AtomicU32, u32)> {
        let (cell, for_entry) = self.cell();
        self.for_entry.store(for_entry, local::Ordering::Relaxed);
        let token = cell.announce();
        Some((cell.word(), token))
    }

    fn peer(&self, timed_out: bool, doubt: &mut Doubt) -> Option<Asleep<'_>> {
        if self.cell().1 != self.for_entry.load(local::Ordering::Relaxed) {
            // By now it is the other word that is woken.
            return Some(Asleep { other: None, slice: 0 });
        }
        let mut waiting = Waiting { end: &self.end, goal: self.aim.goal(), doubt: *doubt };
        let asleep = waiting.peer(timed_out).ok();
        *doubt = waiting.doubt;
        asleep
    }
}

macro_rules! sources {
    ($($handle:ident: $($trait:ident $method:ident $aim:expr),+;)*) => {
        $($(impl<T> $trait for $handle<T> {
            fn $method(&self) -> Result<Box<dyn Source>> {
                let aim: fn(&End) -> _ = $aim;
                Look::boxed(&self.end, aim(&self.end))
            }
        })+)*
    };
}

sources! {
    Receiver: ReadSource read_source |_| Fixed(Arrival);
    Sender: WriteSource write_source |end| Wanted(end.wanted.shared());
    ObjectQueue:
        ReadSource read_source |_| Fixed(Arrival),
        WriteSource write_source |end| Wanted(end.wanted.shared());
    JoinableQueue:
        ReadSource read_source |_| Fixed(Arrival),
        WriteSource write_source |end| Wanted(end.wanted.shared());
}

#[cfg(feature = "tokio")]
impl<T> JoinableQueue<T> {
    /// How to wait until nothing is unfinished.
    pub(crate) fn done_source(&self) -> Result<Box<dyn Source>> {
        Look::boxed(&self.end, Fixed(AllDone))
    }
}
