//! What an operation does that finds nothing: who is in the way, who could still come, and sleep.
//!
//! Many may sleep for the same thing. A waker wakes all of them. One that is killed between its change
//! and its wake leaves them asleep for a slice at most.

use super::end::{End, Taken};
use super::members::{Ends, Presence};
use crate::Result;
use crate::channel::ChannelError;
use crate::member::{Doubt, Stamp, Watch};
use crate::raw::queue::{Blocked, Claim, Word};
use crate::raw::wait_cell::WaitCell;
use crate::sync::barrier;
use crate::wait::{Asleep, Wait, block_on};

/// How soon to ask again after a claimer that runs no more, and of which the kernel still frees the
/// memory; in nanoseconds.
const DYING_PAUSE: u64 = 500_000;

/// What is waited for.
pub(super) trait Side: Copy {
    type Gain;
    /// What it means that there is nothing.
    const NOTHING: ChannelError;
    /// Who could bring it.
    const OTHERS: Ends;

    fn attempt(&self, end: &End) -> Result<Self::Gain, Blocked>;
    fn cell(end: &End) -> &WaitCell;
}

/// A slot to write into.
#[derive(Clone, Copy, Debug)]
pub(super) struct Writing {
    pub(super) me: u64,
}

/// A message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading {
    pub(super) me: u64,
}

impl Side for Writing {
    type Gain = Claim;
    const NOTHING: ChannelError = ChannelError::Full;
    const OTHERS: Ends = Ends::RECEIVER;

    fn attempt(&self, end: &End) -> Result<Claim, Blocked> {
        end.queue().claim_write(self.me)
    }
    fn cell(end: &End) -> &WaitCell {
        &end.queue().control.space
    }
}

impl Side for Reading {
    type Gain = Taken;
    const NOTHING: ChannelError = ChannelError::Empty;
    const OTHERS: Ends = Ends::SENDER;

    fn attempt(&self, end: &End) -> Result<Taken, Blocked> {
        end.take_now(self.me)
    }
    fn cell(end: &End) -> &WaitCell {
        &end.queue().control.items
    }
}

/// A wait.
pub(super) struct Waiting<'a, S: Side> {
    end: &'a End,
    side: S,
    /// The slot in the way at the last attempt.
    obstacle: Option<(usize, Word)>,
    pub(super) doubt: Doubt,
}

/// Waits until there is something.
#[cold]
#[inline(never)]
pub(super) fn wait<S: Side>(end: &End, side: S, deadline: u64) -> Result<S::Gain, ChannelError> {
    let mut waiting = Waiting::new(end, side);
    let gain = block_on(&mut waiting, S::cell(end), end.strategy(), deadline);
    gain.unwrap_or(Err(ChannelError::TimedOut))
}

/// Looks why there was nothing, and once more where that has changed.
#[cold]
#[inline(never)]
pub(super) fn look_once<S: Side>(
    end: &End,
    side: S,
    blocked: Blocked,
) -> Result<S::Gain, ChannelError> {
    let mut waiting = Waiting::new(end, side);
    if let Some(output) = waiting.attempted(Err(blocked)) {
        return output;
    }
    // Each of the dead is in the way once; whoever is there after that, there is nothing.
    for _ in 0..end.queue().slots.count.saturating_add(2) {
        let again = match waiting.hindrance(false)? {
            Hindrance::Removed => true,
            Hindrance::Gone(departure) => {
                // What they did before they went comes first.
                let last = waiting.poll();
                return last.unwrap_or(Err(ChannelError::Disconnected(departure)));
            }
            Hindrance::By(_) | Hindrance::Dying | Hindrance::Awaits(_) => false,
        };
        if !again {
            break;
        }
        if let Some(output) = waiting.poll() {
            return output;
        }
    }
    Err(S::NOTHING)
}

/// Why there is nothing.
enum Hindrance {
    /// It was taken out of the way.
    Removed,
    /// Somebody alive is at it.
    By(Stamp),
    /// Somebody was at it whom the kernel is not done with.
    Dying,
    /// Nobody is in the way; somebody may come.
    Awaits(Option<Stamp>),
    Gone(crate::member::Departure),
}

impl<'a, S: Side> Waiting<'a, S> {
    pub(super) fn new(end: &'a End, side: S) -> Self {
        Waiting { end, side, obstacle: None, doubt: Doubt::default() }
    }

    fn attempted(
        &mut self,
        result: Result<S::Gain, Blocked>,
    ) -> Option<Result<S::Gain, ChannelError>> {
        self.obstacle = None;
        match result {
            Ok(gain) => Some(Ok(gain)),
            Err(Blocked::Nothing) => None,
            Err(Blocked::By { index, word }) => {
                self.obstacle = Some((index, word));
                None
            }
            Err(Blocked::Contradiction) => {
                Some(Err(ChannelError::Corrupted("the slots of a queue contradict each other")))
            }
        }
    }

    /// Looks who is in the way, and removes the dead.
    fn hindrance(&mut self, ask: bool) -> Result<Hindrance, ChannelError> {
        let end = self.end;
        if let Some((index, word)) = self.obstacle {
            return self.removed(index, word);
        }
        if end.queue().entries.count > 0 && end.recover(ask)? {
            return Ok(Hindrance::Removed);
        }
        Ok(match end.presence(S::OTHERS, ask)? {
            Presence::Here(stamp) => Hindrance::Awaits(Some(stamp)),
            Presence::Nobody => Hindrance::Awaits(None),
            Presence::Gone(departure) => Hindrance::Gone(departure),
        })
    }

    fn removed(&self, index: usize, word: Word) -> Result<Hindrance, ChannelError> {
        let end = self.end;
        let Some(stamp) = end.parts.members.stamp(word.member()) else {
            return Err(ChannelError::Corrupted("a slot is claimed by nobody"));
        };
        let core = end.attachment.core();
        let (me, table) = (core.membership()?.stamp(), core.table()?);
        if stamp == me || !table.is_gone(stamp)? {
            let runs = stamp == me || !table.runs_no_more(stamp)?;
            return Ok(if runs { Hindrance::By(stamp) } else { Hindrance::Dying });
        }
        let queue = end.queue();
        if !queue.bury(index, word) && queue.entries.count > 0 {
            end.recover(true)?;
        }
        // Others wait for the same.
        let _ = barrier::heavy();
        queue.control.items.wake();
        queue.control.space.wake();
        Ok(Hindrance::Removed)
    }
}

impl<'a, S: Side> Wait<'a> for Waiting<'a, S> {
    type Output = Result<S::Gain, ChannelError>;

    #[inline]
    fn poll(&mut self) -> Option<Self::Output> {
        let result = self.side.attempt(self.end);
        self.attempted(result)
    }

    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, Self::Output> {
        let watched = match self.hindrance(timed_out) {
            Ok(Hindrance::Removed) => return Ok(Asleep { other: None, slice: 0 }),
            Ok(Hindrance::Dying) => return Ok(Asleep { other: None, slice: DYING_PAUSE }),
            Ok(Hindrance::Gone(departure)) => {
                return Err(Err(ChannelError::Disconnected(departure)));
            }
            Ok(Hindrance::By(stamp) | Hindrance::Awaits(Some(stamp))) => Some(stamp),
            Ok(Hindrance::Awaits(None)) => None,
            Err(error) => return Err(Err(error)),
        };
        let watch = self.watch(watched, timed_out).map_err(|error| Err(error.into()))?;
        Ok(Asleep { other: watch.beacon, slice: watch.slice })
    }
}

impl<'a, S: Side> Waiting<'a, S> {
    /// How to sleep so that the death of this participant ends the sleep.
    fn watch(&mut self, watched: Option<Stamp>, ask: bool) -> Result<Watch<'a>> {
        let core = self.end.attachment.core();
        let Some(stamp) =
            watched.filter(|&stamp| core.membership_if_any().is_none_or(|me| me.stamp() != stamp))
        else {
            return Ok(Watch::NOBODY);
        };
        match core.table()?.watch(stamp, ask, &mut self.doubt)? {
            Some(watch) => Ok(watch),
            None => {
                core.table()?.pass_on(stamp);
                // Looks again at once.
                Ok(Watch { beacon: None, slice: 0 })
            }
        }
    }
}
