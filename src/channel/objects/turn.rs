//! Room for those who need much of it.
//!
//! Whoever finds room takes it, so that nobody waits for one who sleeps. A message that needs much could
//! wait for ever beside small ones that take each bit that becomes free. So a sender that waits and has
//! been overtaken by a whole queue of others' grains takes the *turn*: one word that says who it is. From
//! then on others leave the room that becomes free to it, until it has sent.
//!
//! | turn | meaning |
//! |---|---|
//! | 0 | nobody's |
//! | stamp, and a number above it | room is kept for a send of this process |
//!
//! The turn is advice: what keeps messages apart is the lock. So it may be ended by anybody at any time:
//! by its holder, by who finds that dead, and by who has seen it for 100 ms not take what there is room
//! for, because it is stopped. Of those who have waited long enough at the same time each has one turn
//! before any of them has another.

use super::end::End;
use super::wait::{Room, needed};
use crate::member::Stamp;
use crate::raw::objects::{Exchange, Place};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use crate::sync::local::{AtomicU32, AtomicU64, Ordering};
use crate::sys::time;
use crate::{Result, wait::SLICE};

/// Tells the sends of a process apart.
static NUMBER: AtomicU32 = AtomicU32::new(0);
const NUMBER_SHIFT: u32 = 48;

/// One send that may have to wait.
pub(super) struct Send<'a> {
    end: &'a End,
    /// What the turn is when it is this send's.
    name: u64,
    /// Where the senders were when it began to wait.
    begun: Option<Place>,
}

impl<'a> Send<'a> {
    pub(super) fn new(end: &'a End) -> Self {
        Send { end, name: 0, begun: None }
    }

    /// Whether room is kept for another send. For who has the lock.
    #[inline(always)]
    pub(super) fn gives_way(&self) -> bool {
        // Relaxed: advice.
        let turn = self.end.shared().turn.load(Relaxed);
        turn != 0 && turn != self.name
    }

    /// It finds no room, or has to give way: what it waits for.
    #[cold]
    pub(super) fn wants(&mut self, stamp: u64, grains: u64) -> Room {
        let begun = *self.begun.get_or_insert_with(|| self.end.exchange().written());
        if self.name == 0 {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed) & 0xffff;
            self.name = stamp | u64::from(number) << NUMBER_SHIFT;
        }
        self.end.wanted.set(grains);
        Room { grains, name: self.name, begun: Some(begun) }
    }

    /// It needs no turn any more.
    #[inline(always)]
    pub(super) fn end(&self) {
        if self.name != 0 && self.end.shared().turn.load(Relaxed) == self.name {
            end_turn(self.end, self.name);
        }
    }
}

impl Drop for Send<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.end();
    }
}

/// Takes the turn for a send, if it is nobody's.
#[cold]
pub(super) fn take_turn(end: &End, name: u64, grains: u64) {
    let shared = end.shared();
    // AcqRel: one after the other. The look before it keeps the line where it is.
    if shared.turn.load(Relaxed) == 0
        && shared.turn.compare_exchange(0, name, AcqRel, Relaxed).is_ok()
    {
        // Relaxed: who reads the number of the last one ends this turn later, or too soon.
        shared.turn_grains.store(grains, Relaxed);
    }
}

/// Ends a turn, if it is still that one.
#[cold]
fn end_turn(end: &End, turn: u64) {
    if end.shared().turn.compare_exchange(turn, 0, AcqRel, Relaxed).is_ok() {
        Exchange::notify(&end.shared().space, end.is_registered());
    }
}

/// Whose turn it is, if it is another's; ends that of one who is dead, or does not use it.
pub(super) fn holder(end: &End, name: u64) -> Result<Option<Stamp>> {
    let shared = end.shared();
    let turn = shared.turn.load(Acquire);
    if turn == 0 || turn == name {
        return Ok(None);
    }
    let table = end.core().table()?;
    let stamp = Stamp::unpack(turn);
    let dead = match stamp {
        Some(stamp) => table.is_suspect(stamp) && table.runs_no_more(stamp)?,
        None => true,
    };
    if dead || is_overdue(end, turn) {
        end_turn(end, turn);
        return Ok(None);
    }
    Ok(stamp)
}

/// Whether this handle has seen for long that there is room for whose turn it is.
fn is_overdue(end: &End, turn: u64) -> bool {
    let exchange = end.exchange();
    let grains = end.shared().turn_grains.load(Relaxed);
    // Without a pad, where that is a part of a long message.
    if !exchange.has_room(|slot| needed(slot, exchange.capacity, grains.min(exchange.capacity))) {
        return false;
    }
    let seen = &end.turn_seen;
    let now = time::now();
    // Threads that share the handle may both begin to count; then it takes longer.
    if seen.0.swap(turn, Ordering::Relaxed) != turn {
        seen.1.store(now, Ordering::Relaxed);
        return false;
    }
    now.saturating_sub(seen.1.load(Ordering::Relaxed)) >= SLICE
}

/// A turn that a handle has seen not to be used, and since when.
#[derive(Debug, Default)]
pub(super) struct Seen(AtomicU64, AtomicU64);
