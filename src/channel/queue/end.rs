//! A handle to a queue, without the type of what goes through it: claims, waits, comes and goes.

#![allow(unsafe_code, reason = "copies messages within shared memory")]

use super::members::{Ends, Presence};
use super::parts::{Parts, value_offset};
use super::{FACTS, wait};
use crate::channel::ChannelError;
use crate::member::Stamp;
use crate::raw::queue::{Blocked, Claim, Queue};
use crate::segment::{Attachment, child_stamp};
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::barrier;
use crate::sync::local::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sys::{fork, membarrier, process};
use crate::wait::WaitStrategy;
use crate::{Error, Result};

/// The epoch of a handle that was closed: no process has it.
const CLOSED: u32 = u32::MAX;
/// How often one who takes the place of a dead participant lets others go before.
const PATIENCE: u32 = 100_000;
/// Messages that a consumer takes between two looks for those that the dead had.
const TAKES_PER_LOOK: u32 = 64;

/// A message that is the caller's: in a slot, or in an entry in flight.
#[derive(Clone, Copy, Debug)]
pub(super) enum Taken {
    Slot(Claim),
    Entry { entry: Claim, redelivered: bool },
}

/// The word of the epoch, of a process that has one.
fn epoch_word() -> &'static crate::sync::atomic::AtomicU32 {
    fork::epoch();
    fork::epoch_word()
}

/// One handle.
#[derive(Debug)]
pub(super) struct End {
    pub(super) parts: Parts,
    pub(super) ends: Ends,
    /// The ends of the handle for which this one looks: its own, where it does not only look.
    looks_for: Ends,
    /// The word that holds this process's fork epoch, and the epoch in which this handle counts.
    epoch_word: &'static crate::sync::atomic::AtomicU32,
    epoch: AtomicU32,
    /// By what this process claims.
    number: AtomicU32,
    /// 1: sleepers reach this process with their barrier.
    registered: AtomicU32,
    /// The same epoch, if sleepers reach this process; another number if not.
    quick: AtomicU32,
    /// Messages taken, for [`TAKES_PER_LOOK`].
    takes: AtomicU32,
    strategy: WaitStrategy,
    pub(super) attachment: Attachment,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped; what is not made of
// atomics there is only used by who has claimed it.
unsafe impl Send for End {}
// SAFETY: as above.
unsafe impl Sync for End {}

impl End {
    /// A new handle of this process, which counts from now on.
    pub(super) fn new(attachment: Attachment, ends: Ends, strategy: WaitStrategy) -> Result<Self> {
        // SAFETY: the end has both the parts and the attachment.
        let parts = unsafe { Parts::find(&attachment)? };
        let end = End {
            parts,
            ends,
            looks_for: ends,
            epoch_word: epoch_word(),
            epoch: AtomicU32::new(0),
            number: AtomicU32::new(0),
            registered: AtomicU32::new(0),
            quick: AtomicU32::new(CLOSED),
            takes: AtomicU32::new(0),
            strategy,
            attachment,
        };
        end.enter()?;
        end.attachment.prefault();
        Ok(end)
    }

    /// Another handle, of this process, with these ends.
    pub(super) fn again(&self, ends: Ends) -> Result<Self> {
        End::new(self.attachment.again()?, ends, self.strategy)
    }

    /// A handle that looks for this one, and counts as no end.
    pub(super) fn observer(&self) -> Result<Self> {
        self.me().map_err(|error| match error {
            ChannelError::Closed => Error::Closed { name: self.attachment.name().to_owned() },
            _ => Error::Forked,
        })?;
        let mut observer = self.again(Ends::NONE)?;
        observer.looks_for = self.ends;
        Ok(observer)
    }

    #[inline(always)]
    pub(super) fn queue(&self) -> &Queue<'static> {
        &self.parts.queue
    }

    /// By what this process claims, if this handle is its own.
    #[inline(always)]
    pub(super) fn me(&self) -> Result<u64, ChannelError> {
        // Acquire: the number that goes with the epoch, where another thread has set it.
        let epoch = self.epoch.load(Acquire);
        // Relaxed: the page is this process's own.
        if self.epoch_word.load(Relaxed) != epoch {
            return self.enter_late();
        }
        Ok(u64::from(self.number.load(Relaxed)))
    }

    #[inline(always)]
    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Relaxed) != 0
    }

    /// The epoch of the process that the handle is used in, for what borrows from it.
    #[inline(always)]
    pub(super) fn epoch(&self) -> u32 {
        self.epoch_word.load(Relaxed)
    }

    #[cold]
    #[inline(never)]
    fn enter_late(&self) -> Result<u64, ChannelError> {
        if self.epoch.load(Acquire) != CLOSED {
            self.enter()?;
        }
        // It may have been closed meanwhile.
        if self.epoch.load(Acquire) == CLOSED {
            return Err(ChannelError::Closed);
        }
        Ok(u64::from(self.number.load(Relaxed)))
    }

    /// Counts this handle as one of this process: a new one, one that was handed to it, or the copy
    /// that a fork made.
    fn enter(&self) -> Result<()> {
        self.attachment.settle()?;
        let core = self.attachment.core();
        let membership = core.membership()?;
        let stamp = membership.stamp();
        let registered = membarrier::register();
        {
            let _turn = membership.turn();
            let epoch = fork::epoch();
            if [epoch, CLOSED].contains(&self.epoch.load(Acquire)) {
                return Ok(());
            }
            self.admit(stamp, stamp)?;
            if !self.parts.members.take_handed(stamp, self.ends) {
                self.add(stamp, false)?;
            }
            self.number.store(u32::from(stamp.index), Relaxed);
            self.registered.store(u32::from(registered), Relaxed);
            // Release: the number, to the Acquire in `me`.
            self.epoch.store(epoch, Release);
            // Release: as above.
            self.quick.store(if registered { epoch } else { CLOSED }, Release);
        }
        self.changed();
        Ok(())
    }

    /// Makes sure that a participant has its place among the members.
    fn admit(&self, stamp: Stamp, me: Stamp) -> Result<()> {
        let (core, Parts { queue, members }) = (self.attachment.core(), &self.parts);
        let table = core.table()?;
        let mut patience = PATIENCE;
        loop {
            let mut failure = None;
            let admitted = members.admit(stamp, || {
                let before = members.stamp(u64::from(stamp.index));
                let Some(before) = before else { return true };
                let done = members.end_work(queue, table, me, before, &mut self.copying());
                done.unwrap_or_else(|error| {
                    failure = Some(error);
                    false
                })
            });
            match failure {
                Some(error) => return Err(error),
                None if admitted => return Ok(()),
                None if patience == 0 => {
                    let name = self.attachment.name().to_owned();
                    let capacity = queue.entries.count as u32;
                    return Err(Error::TableFull { name, capacity });
                }
                // Somebody else moves messages of the dead, or living ones have all entries.
                None => process::yield_now(),
            }
            patience -= 1;
        }
    }

    fn add(&self, stamp: Stamp, handed: bool) -> Result<()> {
        let limit = 60_000;
        let too_many = Error::TooLarge { what: "a number of handles", asked: limit + 1, limit };
        self.parts.members.add(stamp, self.ends, handed).ok_or(too_many)?;
        self.queue().control.facts.fetch_or(self.ends.came(), SeqCst);
        Ok(())
    }

    /// Tells those who sleep that an end has come or gone.
    fn changed(&self) {
        let control = self.queue().control;
        control.changes.fetch_add(1, SeqCst);
        let _ = barrier::heavy();
        control.items.wake();
        control.space.wake();
    }

    #[cfg(feature = "serde")]
    pub(super) fn is_closed(&self) -> bool {
        self.epoch.load(Acquire) == CLOSED
    }

    /// Gives this handle up; it answers [`ChannelError::Closed`] from now on.
    pub(super) fn close(&self) {
        let core = self.attachment.core();
        let epoch = {
            let _turn = core.membership_if_any().map(|membership| membership.turn());
            self.quick.store(CLOSED, SeqCst);
            self.epoch.swap(CLOSED, SeqCst)
        };
        if epoch == CLOSED {
            return;
        }
        let Some(stamp) = core.membership_if_any().map(|me| me.stamp()) else { return };
        let members = &self.parts.members;
        if epoch != fork::epoch() && !members.take_handed(stamp, self.ends) {
            // A copy in a process that never used it.
            return;
        }
        if let Some(child) = child_stamp(core) {
            if self.admit(child, stamp).and_then(|()| self.add(child, true)).is_ok() {
                self.queue().control.changes.fetch_add(1, SeqCst);
            }
        } else if std::thread::panicking() {
            self.queue().control.facts.fetch_or(self.ends.abandoned(), SeqCst);
        }
        members.remove(stamp, self.ends);
        self.changed();
    }

    /// What copies a message from a slot to an entry.
    pub(super) fn copying(&self) -> impl FnMut(usize, usize) + use<> {
        let info = self.attachment.info();
        let (size, align) = (info.element_size as usize, info.element_align as usize);
        let (slots, entries) = (self.parts.queue.slots, self.parts.queue.entries);
        move |slot, entry| {
            // SAFETY: slots have room for a value behind one word.
            let from = unsafe { slots.at(slot).add(value_offset(1, align)) };
            // SAFETY: entries have room for a value behind two.
            let to = unsafe { entries.at(entry).add(value_offset(2, align)) };
            // SAFETY: `size` bytes each, in parts of the object that do not overlap, and the caller
            // has claimed both.
            unsafe { to.copy_from_nonoverlapping(from, size) };
        }
    }

    /// By what this process claims, where nothing has to be done for that first and who sleeps is
    /// reached.
    #[inline(always)]
    fn known(&self) -> Option<u64> {
        // Acquire and Relaxed: as in `me`.
        let known = self.epoch_word.load(Relaxed) == self.quick.load(Acquire);
        known.then(|| u64::from(self.number.load(Relaxed)))
    }

    /// A slot to write into, if the first look finds one.
    #[inline(always)]
    pub(super) fn found_space(&self) -> Option<Claim> {
        self.queue().claim_write(self.known()?).ok()
    }

    /// A message, if the first look finds one and it can stay where it is.
    #[inline(always)]
    pub(super) fn found_message(&self) -> Option<Claim> {
        let me = self.known()?;
        if self.queue().entries.count > 0 {
            return None;
        }
        self.queue().claim_read(me).ok()
    }

    /// Publishes what [`End::found_space`] found.
    #[inline(always)]
    pub(super) fn publish_found(&self, claim: Claim) {
        self.queue().publish(claim);
        self.queue().notify_items(true);
    }

    /// Frees what [`End::found_message`] found.
    #[inline(always)]
    pub(super) fn free_found(&self, claim: Claim) {
        self.queue().free(claim);
        self.queue().notify_space(true);
    }

    /// Frees a slot whose message was read.
    fn free(&self, claim: Claim) {
        self.queue().free(claim);
        self.queue().notify_space(self.is_registered());
    }

    // ---- sending ----

    /// Claims a slot to write into, if there is one.
    #[inline(always)]
    pub(super) fn try_claim(&self) -> Result<Claim, ChannelError> {
        let me = self.me()?;
        match self.queue().claim_write(me) {
            Ok(claim) => Ok(claim),
            Err(blocked) => wait::look_once(self, wait::Writing { me }, blocked),
        }
    }

    /// Claims a slot to write into, waiting for one.
    #[inline(always)]
    pub(super) fn claim(&self, deadline: u64) -> Result<Claim, ChannelError> {
        let me = self.me()?;
        match self.queue().claim_write(me) {
            Ok(claim) => Ok(claim),
            Err(_) => wait::wait(self, wait::Writing { me }, deadline),
        }
    }

    #[inline(always)]
    pub(super) fn publish(&self, claim: Claim) {
        self.queue().publish(claim);
        self.queue().notify_items(self.is_registered());
    }

    /// Leaves a claimed slot unwritten.
    pub(super) fn skip(&self, claim: Claim) {
        self.queue().free(claim);
        // Consumers wait for this slot, and may find the next one written.
        self.queue().notify_items(self.is_registered());
        self.queue().notify_space(self.is_registered());
    }

    // ---- receiving ----

    /// Takes a message, if there is one.
    #[inline(always)]
    pub(super) fn try_take(&self) -> Result<Taken, ChannelError> {
        let me = self.me()?;
        match self.take_now(me) {
            Ok(taken) => Ok(taken),
            Err(blocked) => wait::look_once(self, wait::Reading { me }, blocked),
        }
    }

    /// Takes a message, waiting for one.
    #[inline(always)]
    pub(super) fn take(&self, deadline: u64) -> Result<Taken, ChannelError> {
        let me = self.me()?;
        match self.take_now(me) {
            Ok(taken) => Ok(taken),
            Err(_) => wait::wait(self, wait::Reading { me }, deadline),
        }
    }

    #[inline(always)]
    pub(super) fn take_now(&self, me: u64) -> Result<Taken, Blocked> {
        if self.queue().entries.count == 0 {
            return self.queue().claim_read(me).map(Taken::Slot);
        }
        self.take_in_flight(me)
    }

    #[inline(never)]
    fn take_in_flight(&self, me: u64) -> Result<Taken, Blocked> {
        // Relaxed: counts for this process alone.
        if self.takes.fetch_add(1, Relaxed).is_multiple_of(TAKES_PER_LOOK) {
            // A process that cannot ask who is alive finds out where it has to wait.
            let _ = self.recover(false);
        }
        let (entry, redelivered) = self.queue().take(me, self.copying())?;
        self.queue().notify_space(self.is_registered());
        Ok(Taken::Entry { entry, redelivered })
    }

    /// Finishes a message: it does not come again.
    #[inline(always)]
    pub(super) fn finish(&self, taken: Taken) {
        match taken {
            Taken::Slot(claim) => self.free(claim),
            Taken::Entry { entry, .. } => {
                self.queue().free_entry(entry);
                // Who waits for an entry.
                self.queue().notify_items(self.is_registered());
            }
        }
    }

    /// Gives up a message: it comes again where it can.
    pub(super) fn give_up(&self, taken: Taken) {
        match taken {
            Taken::Slot(_) => self.finish(taken),
            Taken::Entry { entry, .. } => {
                self.queue().give_back(entry);
                self.queue().notify_items(self.is_registered());
            }
        }
    }

    /// Ends what the dead had begun. `ask`: not to believe beacons. Says whether there was anybody.
    #[cold]
    pub(super) fn recover(&self, ask: bool) -> Result<bool> {
        let core = self.attachment.core();
        let (me, table) = (core.membership()?.stamp(), core.table()?);
        let Parts { queue, members } = &self.parts;
        let found = members.recover(queue, table, me, ask, self.copying())?;
        if found {
            let _ = barrier::heavy();
            queue.control.items.wake();
            queue.control.space.wake();
        }
        Ok(found)
    }

    // ---- looking ----

    pub(super) fn lost(&self, mut each: impl FnMut(u64)) -> Result<u64, ChannelError> {
        self.me()?;
        self.recover(true)?;
        Ok(self.queue().lost(&mut each))
    }

    /// Whether there are ends on the other side, or may be. Looks, without waiting.
    pub(super) fn presence(&self, side: Ends, ask: bool) -> Result<Presence> {
        let core = self.attachment.core();
        let me = core.membership()?.stamp();
        let facts = self.queue().control.facts.load(SeqCst);
        if facts & FACTS.outlives != 0 {
            return Ok(Presence::Nobody);
        }
        let alone = facts & FACTS.ends_alone != 0 && self.looks_for == Ends::BOTH;
        let except = alone.then_some(me.index);
        let control = self.queue().control;
        let told = (&control.changes, &control.facts);
        self.parts.members.look(told, core.table()?, side, except, ask)
    }

    pub(super) fn strategy(&self) -> WaitStrategy {
        self.strategy
    }

    pub(super) fn set_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}
