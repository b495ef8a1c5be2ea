//! What a producer and a consumer have in common: a role, a position, a peer.

#![allow(unsafe_code, reason = "refers to a ring in shared memory")]

use super::parts::Parts;
use super::side::Side;
use crate::channel::{ChannelError, Departure, Peer};
use crate::member::{Doubt, Participant, Stamp};
use crate::raw::ring::{Contradiction, Ring, Span};
use crate::raw::role::Holder;
use crate::segment::Attachment;
#[cfg(feature = "serde")]
use crate::segment::{Kind, Location, ObjectInfo, Used};
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::barrier;
use crate::sys::{fork, membarrier};
use crate::wait::{
    Asleep, NEVER, Slip, Wait, WaitStrategy, block_on, claim_role, end_role, is_suspect,
    look_at_holder, settle, watch_holder,
};
use crate::{Error, Result};
use std::ptr::NonNull;

/// Not the fork epoch of any process.
const NO_EPOCH: u32 = u32::MAX;

/// The epoch in which an end may leave out the fence before it looks for sleepers.
fn quick_epoch(epoch: u32, registered: bool) -> u32 {
    if registered { epoch } else { NO_EPOCH }
}

/// One end of a ring, without the type of what goes through it.
#[derive(Debug)]
pub(in crate::channel) struct End<S: Side> {
    pub(in crate::channel) cursor: S,
    parts: Parts,
    /// The word that holds this process's fork epoch, and the epoch in which this end is ours.
    epoch_word: &'static AtomicU32,
    epoch: u32,
    /// That epoch, if sleepers reach this process with their barrier; otherwise [`NO_EPOCH`].
    quick_epoch: u32,
    /// Whether they do.
    registered: bool,
    strategy: WaitStrategy,
    slip: Slip,
    /// Slots that the last item took, where items differ: what tells a stream from a large item.
    per_item: u64,
    /// Who had the other end at the last look, by the word of its role, and its place in the table.
    known_peer: Option<(u64, Stamp, NonNull<Participant>)>,
    /// Leave without finishing.
    abandoned: bool,
    /// How the last holder went, before this one took the role.
    predecessor: Option<Departure>,
    attachment: Attachment,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped and that every process may
// use at once; the rest is Send. A thread uses an end by `&mut`.
unsafe impl<S: Side + Send> Send for End<S> {}
// SAFETY: `&End` gives only reads of atomics.
unsafe impl<S: Side + Sync> Sync for End<S> {}

impl<S: Side> End<S> {
    /// Takes the role for this process.
    pub(in crate::channel) fn claim(attachment: Attachment, parts: Parts) -> Result<Self> {
        let core = attachment.core();
        let me = core.membership()?;
        // SAFETY: `attachment` lives to the end of this function or in the end itself.
        let ring = unsafe { parts.ring() };
        let predecessor = claim_role(&attachment, S::role(ring.control), me.stamp(), S::ROLE)?;
        let cursor = S::at(ring).map_err(|Contradiction| {
            end_role(&attachment, S::role(ring.control), me.stamp(), false);
            core.mapping().corrupted("the positions of a ring are more than a capacity apart")
        })?;
        attachment.prefault();
        // A peer that sleeps is to watch this process from now on.
        S::peer_cell(ring.control).wake();
        let (epoch, registered) = (fork::epoch(), membarrier::register());
        Ok(End {
            cursor,
            parts,
            epoch_word: fork::epoch_word(),
            epoch,
            quick_epoch: quick_epoch(epoch, registered),
            registered,
            strategy: WaitStrategy::default(),
            slip: Slip::new(),
            per_item: 1,
            known_peer: None,
            abandoned: false,
            predecessor,
            attachment,
        })
    }

    /// What is handed over of this end, for [`End::handed`].
    #[cfg(feature = "serde")]
    pub(in crate::channel) fn given(&self) -> (&Attachment, u64) {
        let which = self.parts.number(&self.attachment) as u64;
        let kind = u64::from(self.attachment.info().kind.code());
        (&self.attachment, kind << 1 | which)
    }

    /// Makes an end of what was handed over. `wanted` says what an object of this kind has to be,
    /// where there are such ends of one.
    #[cfg(feature = "serde")]
    pub(in crate::channel) fn handed(
        used: &Used,
        wanted: impl FnOnce(Kind) -> Option<ObjectInfo>,
    ) -> Result<Self> {
        let kind = u32::try_from(used.detail() >> 1).ok().and_then(Kind::from_code);
        let wanted = kind.and_then(wanted).ok_or(Error::Forked)?;
        let attachment = Location::Handed(used).open(wanted)?;
        let parts = Parts::find(&attachment, (used.detail() & 1) as usize)?;
        Self::claim(attachment, parts)
    }

    #[inline(always)]
    pub(in crate::channel) fn ring<'a>(&self) -> Ring<'a> {
        // SAFETY: the attachment lives as long as `self`, and no caller keeps the ring longer.
        unsafe { self.parts.ring() }
    }

    #[inline(always)]
    pub(in crate::channel) fn slots(&self) -> *mut u8 {
        self.parts.slots.as_ptr()
    }

    #[inline(always)]
    pub(in crate::channel) fn is_registered(&self) -> bool {
        self.registered
    }

    /// Says how many slots the item took that was received last.
    #[inline(always)]
    pub(in crate::channel) fn took(&mut self, slots: u64) {
        self.per_item = slots;
    }

    pub(in crate::channel) fn strategy(&self) -> WaitStrategy {
        self.strategy
    }

    pub(in crate::channel) fn set_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }

    pub(in crate::channel) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// The first slot that is this side's, if one is known, and sleepers reach this process with their
    /// barrier. What is asked first, for it is all that most operations need.
    #[inline(always)]
    pub(in crate::channel) fn known_one(&self) -> Option<u64> {
        self.known_one_in(self.quick_epoch)
    }

    /// The first slot that is this side's, if one is known and this is that epoch.
    #[inline(always)]
    fn known_one_in(&self, epoch: u32) -> Option<u64> {
        // Relaxed: the page is this process's own.
        if self.epoch_word.load(Ordering::Relaxed) != epoch {
            return None;
        }
        self.cursor.one(self.ring())
    }

    /// The first slot that is this side's, without waiting for it.
    #[inline(always)]
    pub(in crate::channel) fn ready_one(&mut self) -> Result<u64, ChannelError> {
        match self.known_one_in(self.epoch) {
            Some(slot) => Ok(slot),
            None => Ok(self.ready(1)?.slot),
        }
    }

    /// The first slot that is this side's, waiting for it.
    #[inline(always)]
    pub(in crate::channel) fn wait_one(&mut self, deadline: u64) -> Result<u64, ChannelError> {
        match self.known_one_in(self.epoch) {
            Some(slot) => Ok(slot),
            None => Ok(self.wait_slow(1, deadline)?.slot),
        }
    }

    /// The slots that are this side's, at least one, without waiting. Looks further only where fewer
    /// than `wanted` are known.
    #[inline]
    pub(in crate::channel) fn ready(&mut self, wanted: u64) -> Result<Span, ChannelError> {
        match self.look(wanted)? {
            Span { count: 0, .. } => Err(self.nothing(1)),
            span => Ok(span),
        }
    }

    /// The slots that are this side's, if any. Looks further only where fewer than `wanted` are known.
    #[inline]
    pub(in crate::channel) fn look(&mut self, wanted: u64) -> Result<Span, ChannelError> {
        self.check_epoch()?;
        self.cursor.span(self.ring(), wanted).map_err(|Contradiction| contradiction())
    }

    /// The slots that are this side's, at least `fewest`; waits for them until `deadline`, or
    /// ([`NOW`]) not at all.
    #[inline]
    pub(in crate::channel) fn obtain(
        &mut self,
        fewest: u64,
        deadline: u64,
    ) -> Result<Span, ChannelError> {
        let span = self.look(fewest)?;
        if span.count >= fewest {
            return Ok(span);
        }
        if deadline == NOW { Err(self.nothing(fewest)) } else { self.wait_slow(fewest, deadline) }
    }

    /// The same, waiting until there is one.
    #[inline(always)]
    pub(in crate::channel) fn wait(
        &mut self,
        wanted: u64,
        deadline: u64,
    ) -> Result<Span, ChannelError> {
        if self.known_one_in(self.epoch).is_none() {
            self.wait_slow(1, deadline)?;
        }
        self.cursor.span(self.ring(), wanted).map_err(|Contradiction| contradiction())
    }

    #[cold]
    #[inline(never)]
    fn wait_slow(&mut self, fewest: u64, deadline: u64) -> Result<Span, ChannelError> {
        self.check_epoch()?;
        let ring = self.ring();
        let strategy = self.strategy;
        let look = |cursor: &mut S, wanted| {
            cursor.span(ring, wanted).map_err(|Contradiction| contradiction())
        };
        let mut found = look(&mut self.cursor, 0)?;
        if found.count > fewest {
            return Ok(found);
        }
        found = look(&mut self.cursor, fewest + 1)?;
        if S::FALLS_BACK
            && found.count < ring.capacity / 4
            && strategy != WaitStrategy::Park
            && self.slip.look_away()
        {
            found = look(&mut self.cursor, u64::MAX)?;
            let (items, room) =
                (found.count.div_ceil(self.per_item), ring.capacity / self.per_item);
            ring.set_streaming(self.slip.learn(items, room));
        }
        if found.count >= fewest {
            return Ok(found);
        }
        let attachment = &self.attachment;
        let mut waiting =
            Waiting { cursor: &mut self.cursor, ring, fewest, attachment, doubt: Doubt::default() };
        block_on(&mut waiting, S::cell(ring.control), strategy, deadline)
            .unwrap_or(Err(ChannelError::TimedOut))
    }

    /// There is nothing: because the peer is gone, or not yet.
    #[cold]
    #[inline(never)]
    fn nothing(&mut self, fewest: u64) -> ChannelError {
        let ring = self.ring();
        let attachment = &self.attachment;
        if !is_suspect(attachment.core(), S::peer_role(ring.control)) {
            return S::NOTHING;
        }
        let mut waiting =
            Waiting { cursor: &mut self.cursor, ring, fewest, attachment, doubt: Doubt::default() };
        match settle(&mut waiting, false) {
            Ok(Ok(_)) | Err(_) => S::NOTHING,
            Ok(Err(error)) => error,
        }
    }

    /// What is looked at to wait for this end beside others.
    pub(in crate::channel) fn watching(&self) -> Result<(Attachment, Parts)> {
        let me = self.attachment.core().membership_if_any().ok_or(Error::Forked)?;
        if !S::role(self.ring().control).is_held_by(me.stamp().pack()) {
            return Err(Error::Forked);
        }
        Ok((self.attachment.again()?, self.parts))
    }

    pub(in crate::channel) fn predecessor(&self) -> Option<Departure> {
        self.predecessor
    }

    /// How the other end went, if it is known to have gone: a few loads where it is not.
    #[inline]
    pub(in crate::channel) fn departed(&mut self) -> Result<Option<Departure>> {
        if let Some((word, stamp, entry)) = self.known_peer
            && S::peer_role(self.ring().control).read().1 == word
        {
            // SAFETY: in the table of the segment, which the attachment keeps mapped.
            let entry = unsafe { entry.as_ref() };
            if !entry.is_suspect(stamp) {
                return Ok(None);
            }
        }
        self.look_for_departure()
    }

    #[cold]
    #[inline(never)]
    fn look_for_departure(&mut self) -> Result<Option<Departure>> {
        self.known_peer = None;
        let core = self.attachment.core();
        let (holder, word) = S::peer_role(self.ring().control).read();
        if let Holder::Held(stamp) = holder
            && let Some(stamp) = Stamp::unpack(stamp)
            && let Some(entry) = core.table()?.entry(stamp.index)
            && !entry.is_suspect(stamp)
        {
            self.known_peer = Some((word, stamp, NonNull::from(entry)));
            return Ok(None);
        }
        Ok(match self.peer()? {
            Peer::Gone(departure) => Some(departure),
            Peer::Nobody | Peer::Here { .. } => None,
        })
    }

    /// How the other end is, by a look at it that no operation takes without need.
    #[cold]
    pub(in crate::channel) fn peer(&self) -> Result<Peer> {
        look_at_holder(self.attachment.core(), S::peer_role(self.ring().control))
    }

    /// Whether this end is this process's; a forked child that was handed it makes it its own.
    fn check_epoch(&mut self) -> Result<(), ChannelError> {
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
        self.registered = membarrier::register();
        self.epoch = epoch;
        self.quick_epoch = quick_epoch(epoch, self.registered);
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
        let in_order = !self.abandoned && !std::thread::panicking();
        end_role(&self.attachment, S::role(control), me.stamp(), in_order);
        // The peer may sleep: it is to see that this end is closed, or watch the child.
        let _ = barrier::heavy();
        S::peer_cell(control).wake();
    }
}

#[cold]
fn contradiction() -> ChannelError {
    ChannelError::Corrupted("the positions of a ring are more than a capacity apart")
}

/// A wait for slots.
struct Waiting<'a, 'e, S> {
    cursor: &'e mut S,
    ring: Ring<'a>,
    fewest: u64,
    attachment: &'a Attachment,
    doubt: Doubt,
}

impl<'a, S: Side> Wait<'a> for Waiting<'a, '_, S> {
    type Output = Result<Span, ChannelError>;

    #[inline(always)]
    fn poll(&mut self) -> Option<Self::Output> {
        match self.cursor.span(self.ring, self.fewest) {
            Ok(span) if span.count < self.fewest => None,
            Ok(span) => Some(Ok(span)),
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
pub(in crate::channel) const FOREVER: u64 = NEVER;
/// The deadline of an operation that does not wait.
pub(in crate::channel) const NOW: u64 = 0;
