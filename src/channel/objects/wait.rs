//! What an operation waits for that finds nothing, and whose death ends the wait.
//!
//! Many may sleep for the same thing. A waker wakes all of them. One that is killed between its change
//! and its wake leaves them asleep for a slice at most.

use super::end::{End, NOW};
use super::turn::{self, take_turn};
use crate::Result;
use crate::channel::queue::members::{Ends, Presence};
use crate::channel::records::longest_row;
use crate::channel::{ChannelError, Departure};
use crate::member::{Doubt, Stamp, Watch};
use crate::raw::objects::Place;
use crate::raw::record::{Spot, spot};
use crate::raw::wait_cell::WaitCell;
use crate::sync::atomic::Ordering::{Acquire, Relaxed};
use crate::wait::{Asleep, Wait, block_on};

/// How soon to look again after somebody who runs no more, and of whom the kernel still frees the
/// memory; in nanoseconds.
const DYING_PAUSE: u64 = 500_000;

/// What is waited for.
pub(super) trait Goal: Copy {
    /// What it means that it is not there.
    const NOTHING: ChannelError;

    /// Whether it may be there.
    fn is_there(&self, end: &End) -> bool;

    /// Where to sleep for it.
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell;

    /// Whether it never comes once the one is gone who could bring it.
    const ENDS_WITH_THEM: bool = false;

    /// Who could bring it.
    fn hope(&self, end: &End, ask: bool) -> Result<Hope>;
}

/// Who could bring what is waited for.
pub(super) enum Hope {
    /// It may be there by now.
    There,
    /// At least this one.
    In(Stamp),
    /// Somebody who may come.
    Somebody,
    /// Somebody who runs no more, once the kernel is done with them.
    Dying,
    /// Nobody any more.
    Nobody(Departure),
}

impl Hope {
    /// Whether there is somebody to wait for.
    pub(super) fn is_left(&self) -> bool {
        !matches!(self, Hope::Nobody(_))
    }
}

impl From<Presence> for Hope {
    fn from(presence: Presence) -> Self {
        match presence {
            Presence::Here(stamp) => Hope::In(stamp),
            Presence::Nobody => Hope::Somebody,
            Presence::Gone(departure) => Hope::Nobody(departure),
        }
    }
}

/// Grains for a message, in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) grains: u64,
    /// What the turn is where it is this send's; 0: it takes none.
    pub(super) name: u64,
    /// Where the senders were when it began to wait.
    pub(super) begun: Option<Place>,
}

/// Grains that needs a message of so many whose turn is at `slot`.
pub(super) fn needed(slot: u64, capacity: u64, grains: u64) -> u64 {
    if grains > longest_row(capacity) {
        // In pieces, without a pad.
        return grains;
    }
    let Spot { pad, .. } = spot(slot, capacity, grains);
    pad + grains
}

impl Goal for Room {
    const NOTHING: ChannelError = ChannelError::Full;

    fn is_there(&self, end: &End) -> bool {
        let exchange = end.exchange();
        if self.begun.is_some_and(|begun| exchange.is_overtaken(begun)) {
            take_turn(end, self.name, self.grains);
        }
        // Relaxed: advice.
        let turn = end.shared().turn.load(Relaxed);
        (turn == 0 || turn == self.name)
            && exchange.has_room(|slot| needed(slot, exchange.capacity, self.grains))
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        &end.shared().space
    }
    fn hope(&self, end: &End, ask: bool) -> Result<Hope> {
        let receivers = end.presence(Ends::RECEIVER, ask)?;
        match turn::holder(end, self.name)? {
            Some(holder) if matches!(receivers, Presence::Here(_)) => Ok(Hope::In(holder)),
            _ => Ok(receivers.into()),
        }
    }
}

/// Grains for a piece of a long message, of which the caller has the lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    pub(super) grains: u64,
}

impl Goal for Piece {
    const NOTHING: ChannelError = ChannelError::Full;

    fn is_there(&self, end: &End) -> bool {
        end.exchange().fill().0 + self.grains <= end.exchange().capacity
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        &end.shared().space
    }
    fn hope(&self, end: &End, ask: bool) -> Result<Hope> {
        Ok(end.presence(Ends::RECEIVER, ask)?.into())
    }
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message {
    /// There was one, and no entry for it.
    pub(super) lacks_entry: bool,
}

impl Goal for Message {
    const NOTHING: ChannelError = ChannelError::Empty;

    fn is_there(&self, end: &End) -> bool {
        let exchange = end.exchange();
        // Acquire: the entries that wait.
        exchange.shared.waiting.load(Acquire) != 0
            || if self.lacks_entry {
                // Where others took what there was, the wait is for a message again.
                !exchange.is_readable() || exchange.free_entry(0).is_some()
            } else {
                exchange.is_readable()
            }
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        if self.lacks_entry { &end.shared().freed } else { &end.shared().items }
    }
    fn hope(&self, end: &End, ask: bool) -> Result<Hope> {
        if end.recover(ask)? {
            return Ok(Hope::There);
        }
        if self.lacks_entry {
            return Ok(other_holder(end)?.unwrap_or(Hope::Somebody));
        }
        let senders = end.presence(Ends::SENDER, ask)?;
        // Of the messages that others have, one may come again.
        if end.parts.keep > 0
            && matches!(senders, Presence::Here(_))
            && let Some(holder) = other_holder(end)?
        {
            return Ok(holder);
        }
        Ok(senders.into())
    }
}

/// Another process that has a message in flight.
fn other_holder(end: &End) -> Result<Option<Hope>> {
    let table = end.core().table()?;
    let me = end.core().membership()?.stamp().pack();
    let holders = end.exchange().entries.iter().filter_map(|entry| entry.holder());
    let Some(stamp) = holders.filter(|&h| h != me).find_map(Stamp::unpack) else { return Ok(None) };
    let dying = table.is_suspect(stamp) && table.runs_no_more(stamp)?;
    Ok(Some(if dying { Hope::Dying } else { Hope::In(stamp) }))
}

/// The next piece of a long message, of which the caller has the lock.
#[derive(Clone, Copy, Debug)]
pub(super) struct NextPiece;

impl Goal for NextPiece {
    const NOTHING: ChannelError = ChannelError::Empty;
    const ENDS_WITH_THEM: bool = true;

    fn is_there(&self, end: &End) -> bool {
        end.exchange().is_readable()
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        &end.shared().items
    }
    fn hope(&self, end: &End, _: bool) -> Result<Hope> {
        // Acquire: what it sent before it was done, to the look that follows.
        let writer = end.shared().writer.load(Acquire);
        Ok(Stamp::unpack(writer).map_or(Hope::Nobody(Departure::Abandoned), Hope::In))
    }
}

/// That nothing is unfinished.
#[derive(Clone, Copy, Debug)]
pub(super) struct AllDone;

impl Goal for AllDone {
    const NOTHING: ChannelError = ChannelError::TimedOut;

    fn is_there(&self, end: &End) -> bool {
        end.exchange().is_finished()
    }
    fn cell<'a>(&self, end: &'a End) -> &'a WaitCell {
        &end.shared().idle
    }
    fn hope(&self, end: &End, ask: bool) -> Result<Hope> {
        if end.recover(ask)? {
            return Ok(Hope::There);
        }
        if let Some(holder) = other_holder(end)? {
            return Ok(holder);
        }
        let me = end.core().membership()?.stamp();
        let members = &end.parts.members;
        match end.look_for(Ends::RECEIVER, Some(me.index), ask)? {
            // Other threads of this process may finish what there is.
            Presence::Gone(_)
                if members.count(me, Ends::RECEIVER) > 1
                    || !members.had_others(me.index)
                    || end.exchange().entries.iter().any(|e| e.holder() == Some(me.pack())) =>
            {
                Ok(Hope::Somebody)
            }
            presence => Ok(presence.into()),
        }
    }
}

/// A wait.
pub(super) struct Waiting<'a, G> {
    pub(super) end: &'a End,
    pub(super) goal: G,
    pub(super) doubt: Doubt,
}

impl<'a, G: Goal> Wait<'a> for Waiting<'a, G> {
    type Output = Result<(), ChannelError>;

    #[inline]
    fn poll(&mut self) -> Option<Self::Output> {
        self.goal.is_there(self.end).then_some(Ok(()))
    }

    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, Self::Output> {
        let at_once = Asleep { other: None, slice: 0 };
        let stamp = match self.goal.hope(self.end, timed_out) {
            Ok(Hope::There) => return Ok(at_once),
            Ok(Hope::In(stamp)) => Some(stamp),
            Ok(Hope::Somebody) => None,
            Ok(Hope::Dying) => return Ok(Asleep { other: None, slice: DYING_PAUSE }),
            Ok(Hope::Nobody(departure)) => return Err(Err(ChannelError::Disconnected(departure))),
            Err(error) => return Err(Err(error.into())),
        };
        let watch = self.watch(stamp, timed_out).map_err(|error| Err(error.into()))?;
        match watch {
            Some(watch) => Ok(Asleep { other: watch.beacon, slice: watch.slice }),
            None if G::ENDS_WITH_THEM => {
                Err(Err(ChannelError::Disconnected(Departure::Died { pid: None })))
            }
            // Looks again at once.
            None => Ok(at_once),
        }
    }
}

impl<'a, G: Goal> Waiting<'a, G> {
    /// How to sleep so that the death of this participant ends the sleep; `None`: it runs no more.
    fn watch(&mut self, watched: Option<Stamp>, ask: bool) -> Result<Option<Watch<'a>>> {
        let core = self.end.core();
        // A thread of this process that had the beacon may have ended: others watch it, too.
        let me = core.membership()?.stamp();
        let Some(stamp) = watched.filter(|&stamp| stamp != me) else {
            return Ok(Some(Watch::NOBODY));
        };
        let watch = core.table()?.watch(stamp, ask, &mut self.doubt)?;
        if watch.is_none() {
            core.table()?.pass_on(stamp);
        }
        Ok(watch)
    }
}

/// Waits until a goal may be reached. [`NOW`]: looks, without waiting.
#[inline]
pub(super) fn until<G: Goal>(end: &End, goal: G, deadline: u64) -> Result<(), ChannelError> {
    if goal.is_there(end) {
        return Ok(());
    }
    wait(end, goal, deadline)
}

#[cold]
#[inline(never)]
fn wait<G: Goal>(end: &End, goal: G, deadline: u64) -> Result<(), ChannelError> {
    let mut waiting = Waiting { end, goal, doubt: Doubt::default() };
    if deadline != NOW {
        let done = block_on(&mut waiting, goal.cell(end), end.strategy, deadline);
        return done.unwrap_or(Err(ChannelError::TimedOut));
    }
    match goal.hope(end, false)? {
        // What they did before they went comes first.
        _ if goal.is_there(end) => Ok(()),
        Hope::Nobody(departure) => Err(ChannelError::Disconnected(departure)),
        _ => Err(G::NOTHING),
    }
}
