//! What a producer and a consumer have in common: a role, a position, a peer.

#![allow(unsafe_code, reason = "refers to a ring in shared memory")]

use super::parts::Parts;
use crate::channel::ChannelError;
use crate::member::{Doubt, Stamp};
use crate::raw::ring::{Contradiction, Control, ReadCursor, Ring, WriteCursor};
use crate::raw::role::{Holder, Role};
use crate::raw::wait_cell::WaitCell;
use crate::segment::{Attachment, child_stamp};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::barrier;
use crate::sys::{fork, membarrier};
use crate::wait::{
    Asleep, NEVER, Slip, Wait, WaitStrategy, block_on, claim_role, settle, watch_holder,
};
use crate::{Error, Result};

/// One of the two sides of a ring.
pub(super) trait Side: Copy {
    const ROLE: &'static str;
    /// What it means that there is nothing to do.
    const NOTHING: ChannelError;

    /// Whether to fall back behind a stream: one side is enough.
    const FALLS_BACK: bool;

    fn at(ring: Ring<'_>) -> Result<Self, Contradiction>;
    /// How many slots are known to be this side's.
    fn known(&self, ring: Ring<'_>) -> u64;
    /// How many slots are this side's, looking at the peer's position in any case.
    fn look_again(&mut self, ring: Ring<'_>) -> Result<u64, Contradiction> {
        self.count(ring, u64::MAX)
    }
    /// How many slots are this side's; looks further only where fewer than `wanted` are known.
    fn count(&mut self, ring: Ring<'_>, wanted: u64) -> Result<u64, Contradiction>;
    fn role(control: &Control) -> &Role;
    fn peer_role(control: &Control) -> &Role;
    /// Where this side sleeps.
    fn cell(control: &Control) -> &WaitCell;
    /// Where the peer sleeps.
    fn peer_cell(control: &Control) -> &WaitCell;
}

impl Side for WriteCursor {
    const ROLE: &'static str = "producer";
    const NOTHING: ChannelError = ChannelError::Full;
    const FALLS_BACK: bool = false;

    fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        WriteCursor::at(ring)
    }
    #[inline(always)]
    fn known(&self, ring: Ring<'_>) -> u64 {
        self.known_free(ring)
    }
    #[inline(always)]
    fn count(&mut self, ring: Ring<'_>, wanted: u64) -> Result<u64, Contradiction> {
        self.free(ring, wanted)
    }
    fn role(control: &Control) -> &Role {
        &control.producer
    }
    fn peer_role(control: &Control) -> &Role {
        &control.consumer
    }
    fn cell(control: &Control) -> &WaitCell {
        &control.space
    }
    fn peer_cell(control: &Control) -> &WaitCell {
        &control.items
    }
}

impl Side for ReadCursor {
    const ROLE: &'static str = "consumer";
    const NOTHING: ChannelError = ChannelError::Empty;
    const FALLS_BACK: bool = true;

    fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        ReadCursor::at(ring)
    }
    #[inline(always)]
    fn known(&self, _: Ring<'_>) -> u64 {
        self.known_available()
    }
    #[inline(always)]
    fn count(&mut self, ring: Ring<'_>, wanted: u64) -> Result<u64, Contradiction> {
        self.available(ring, wanted)
    }
    fn role(control: &Control) -> &Role {
        &control.consumer
    }
    fn peer_role(control: &Control) -> &Role {
        &control.producer
    }
    fn cell(control: &Control) -> &WaitCell {
        &control.items
    }
    fn peer_cell(control: &Control) -> &WaitCell {
        &control.space
    }
}

/// One end of a ring, without the type of what goes through it.
#[derive(Debug)]
pub(super) struct End<S: Side> {
    pub(super) cursor: S,
    parts: Parts,
    /// The word that holds this process's fork epoch, and the epoch in which this end is ours.
    epoch_word: &'static AtomicU32,
    epoch: u32,
    /// Whether sleepers reach this process with their barrier.
    registered: bool,
    strategy: WaitStrategy,
    slip: Slip,
    /// Leave without finishing.
    abandoned: bool,
    attachment: Attachment,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped and that every process may
// use at once; the rest is Send. A thread uses an end by `&mut`.
unsafe impl<S: Side + Send> Send for End<S> {}
// SAFETY: `&End` gives only reads of atomics.
unsafe impl<S: Side + Sync> Sync for End<S> {}

impl<S: Side> End<S> {
    /// Takes the role for this process.
    pub(super) fn claim(attachment: Attachment, parts: Parts) -> Result<Self> {
        let core = attachment.core();
        let me = core.membership()?;
        // SAFETY: `attachment` lives to the end of this function or in the end itself.
        let ring = unsafe { parts.ring() };
        claim_role(&attachment, S::role(ring.control), me.stamp(), S::ROLE)?;
        let cursor = S::at(ring).map_err(|Contradiction| {
            S::role(ring.control).leave(me.stamp().pack(), false);
            core.mapping().corrupted("the positions of a ring are more than a capacity apart")
        })?;
        attachment.prefault();
        // A peer that sleeps is to watch this process from now on.
        S::peer_cell(ring.control).wake();
        let epoch = fork::epoch();
        Ok(End {
            cursor,
            parts,
            epoch_word: fork::epoch_word(),
            epoch,
            registered: membarrier::register(),
            strategy: WaitStrategy::default(),
            slip: Slip::new(),
            abandoned: false,
            attachment,
        })
    }

    #[inline(always)]
    pub(super) fn ring<'a>(&self) -> Ring<'a> {
        // SAFETY: the attachment lives as long as `self`, and no caller keeps the ring longer.
        unsafe { self.parts.ring() }
    }

    #[inline(always)]
    pub(super) fn slots(&self) -> *mut u8 {
        self.parts.slots.as_ptr()
    }

    #[inline(always)]
    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    pub(super) fn strategy(&self) -> WaitStrategy {
        self.strategy
    }

    pub(super) fn set_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }

    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// The slots that are this side's, at least one, without waiting. Looks further only where fewer
    /// than `wanted` are known.
    #[inline(always)]
    pub(super) fn ready(&mut self, wanted: u64) -> Result<u64, ChannelError> {
        self.check_epoch()?;
        match self.cursor.count(self.ring(), wanted) {
            Ok(0) => Err(self.nothing()),
            Ok(count) => Ok(count),
            Err(Contradiction) => Err(contradiction()),
        }
    }

    /// The same, waiting until there is one.
    #[inline(always)]
    pub(super) fn wait(&mut self, wanted: u64, deadline: u64) -> Result<u64, ChannelError> {
        self.check_epoch()?;
        match self.cursor.known(self.ring()) {
            0 => self.wait_slow(deadline),
            known if known >= wanted => Ok(known),
            _ => self.cursor.count(self.ring(), wanted).map_err(|Contradiction| contradiction()),
        }
    }

    #[cold]
    #[inline(never)]
    fn wait_slow(&mut self, deadline: u64) -> Result<u64, ChannelError> {
        let ring = self.ring();
        let strategy = self.strategy;
        let count = |cursor: &mut S| cursor.count(ring, 1).map_err(|Contradiction| contradiction());
        let mut found = count(&mut self.cursor)?;
        if S::FALLS_BACK
            && found < ring.capacity / 4
            && strategy != WaitStrategy::Park
            && self.slip.look_away()
        {
            found = self.cursor.look_again(ring).map_err(|Contradiction| contradiction())?;
            self.slip.learn(found, ring.capacity);
        }
        if found > 0 {
            return Ok(found);
        }
        let attachment = &self.attachment;
        let mut waiting =
            Waiting { cursor: &mut self.cursor, ring, attachment, doubt: Doubt::default() };
        block_on(&mut waiting, S::cell(ring.control), strategy, deadline)
            .unwrap_or(Err(ChannelError::TimedOut))
    }

    /// There is nothing: because the peer is gone, or not yet.
    #[cold]
    #[inline(never)]
    fn nothing(&mut self) -> ChannelError {
        let ring = self.ring();
        let attachment = &self.attachment;
        let suspect = match S::peer_role(ring.control).read().0 {
            Holder::Vacant => false,
            Holder::Held(stamp) => Stamp::unpack(stamp)
                .is_none_or(|s| attachment.core().table().is_ok_and(|t| t.is_suspect(s))),
            Holder::Closed | Holder::Abandoned => true,
        };
        if !suspect {
            return S::NOTHING;
        }
        let mut waiting =
            Waiting { cursor: &mut self.cursor, ring, attachment, doubt: Doubt::default() };
        match settle(&mut waiting, false) {
            Ok(Ok(_)) | Err(_) => S::NOTHING,
            Ok(Err(error)) => error,
        }
    }

    /// Whether this end is this process's; a forked child that was handed it makes it its own.
    #[inline(always)]
    pub(super) fn check_epoch(&mut self) -> Result<(), ChannelError> {
        // Relaxed: the page is this process's own.
        if self.epoch_word.load(Ordering::Relaxed) == self.epoch {
            return Ok(());
        }
        Ok(self.inherit()?)
    }

    #[cold]
    #[inline(never)]
    fn inherit(&mut self) -> Result<()> {
        let epoch = fork::epoch();
        if self.epoch == epoch {
            return Ok(());
        }
        let core = self.attachment.core();
        let me = core.membership_if_any().ok_or(Error::Forked)?;
        if !S::role(self.ring().control).is_held_by(me.stamp().pack()) {
            return Err(Error::Forked);
        }
        self.attachment.settle()?;
        self.attachment.prefault();
        self.registered = membarrier::register();
        self.epoch = epoch;
        Ok(())
    }
}

impl<S: Side> Drop for End<S> {
    fn drop(&mut self) {
        let core = self.attachment.core().clone();
        if self.inherit().is_err() {
            // A copy in a process that it was not handed to.
            return;
        }
        let Some(me) = core.membership_if_any() else { return };
        let control = self.ring().control;
        let mine = me.stamp().pack();
        match child_stamp(&core) {
            Some(child) => S::role(control).hand_over(mine, child.pack()),
            None => {
                let in_order = !self.abandoned && !std::thread::panicking();
                S::role(control).leave(mine, in_order)
            }
        };
        // The peer may sleep: it is to see that this end is closed, or watch the child.
        let _ = barrier::heavy();
        S::peer_cell(control).wake();
    }
}

#[cold]
fn contradiction() -> ChannelError {
    ChannelError::Corrupted("the positions of a ring are more than a capacity apart")
}

/// A wait for the first slot.
struct Waiting<'a, 'e, S> {
    cursor: &'e mut S,
    ring: Ring<'a>,
    attachment: &'a Attachment,
    doubt: Doubt,
}

impl<'a, S: Side> Wait<'a> for Waiting<'a, '_, S> {
    type Output = Result<u64, ChannelError>;

    #[inline(always)]
    fn poll(&mut self) -> Option<Self::Output> {
        match self.cursor.count(self.ring, 1) {
            Ok(0) => None,
            Ok(count) => Some(Ok(count)),
            Err(Contradiction) => Some(Err(contradiction())),
        }
    }

    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, Self::Output> {
        let role = S::peer_role(self.ring.control);
        match watch_holder(self.attachment.core(), role, timed_out, &mut self.doubt) {
            Ok(Ok(watch)) => Ok(Asleep { other: watch.beacon, slice: watch.slice }),
            Ok(Err(departure)) => Err(Err(ChannelError::Disconnected(departure))),
            Err(error) => Err(Err(error.into())),
        }
    }
}

/// The deadline of an operation that has none.
pub(super) const FOREVER: u64 = NEVER;
