//! A handle to a queue of objects, without their type: comes and goes, and has the locks.

#![allow(unsafe_code, reason = "acquires the raw locks")]

use super::parts::Parts;
use super::turn::Seen;
use crate::channel::ChannelError;
use crate::channel::queue::FACTS;
use crate::channel::queue::members::{Ends, Presence};
use crate::channel::spsc::source::Wanted;
use crate::lock::{Handle, LockError};
use crate::member::Stamp;
use crate::raw::mutex::{Condition, RawMutex, Refusal};
use crate::raw::objects::{Exchange, Shared};
use crate::segment::{Attachment, Core, child_stamp};
use crate::sync::atomic::Ordering::SeqCst;
use crate::sync::barrier;
use crate::sync::local::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::robust::{List, Slot};
use crate::sys::{fork, membarrier, time};
use crate::wait::WaitStrategy;
use crate::{Error, Result};
use std::sync::Arc;
use std::time::Duration;

/// The epoch of a handle that was closed: no process has it.
const CLOSED: u32 = u32::MAX;
/// How long an operation that does not wait waits for others in the middle of theirs.
const A_MOMENT: Duration = Duration::from_millis(1);
/// Messages that a consumer takes between two looks for those that the dead had and that come again.
const TAKES_PER_LOOK: u32 = 64;
/// The deadline of an operation that does not wait.
pub(super) const NOW: u64 = 0;

/// One handle.
pub(super) struct End {
    handle: Handle<Shared>,
    pub(super) parts: Parts,
    pub(super) ends: Ends,
    /// The ends for whose sake it looks who is there: its own, but for an observer.
    looks_for: Ends,
    /// The epoch in which this handle counts.
    epoch: AtomicU32,
    /// The packed stamp of this process.
    stamp: AtomicU64,
    /// 1: sleepers reach this process with their barrier.
    registered: AtomicU32,
    /// An entry that was free.
    pub(super) entry: AtomicU32,
    /// Messages taken, for [`TAKES_PER_LOOK`].
    takes: AtomicU32,
    /// Grains for which a send that did not wait found no room.
    pub(super) wanted: Wanted,
    pub(super) turn_seen: Seen,
    pub(super) strategy: WaitStrategy,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped; what is not made of
// atomics there is only used by who has a lock, or an entry.
unsafe impl Send for End {}
// SAFETY: as above.
unsafe impl Sync for End {}

impl End {
    /// A new handle of this process, which counts from now on.
    pub(super) fn new(attachment: Attachment, ends: Ends) -> Result<Self> {
        Self::over(Handle::new(attachment)?, ends, WaitStrategy::default())
    }

    fn over(handle: Handle<Shared>, ends: Ends, strategy: WaitStrategy) -> Result<Self> {
        // SAFETY: the end has both the parts and the attachment.
        let parts = unsafe { Parts::find(handle.held().attachment())? };
        let end = End {
            handle,
            parts,
            ends,
            looks_for: ends,
            epoch: AtomicU32::new(0),
            stamp: AtomicU64::new(0),
            registered: AtomicU32::new(0),
            entry: AtomicU32::new(0),
            takes: AtomicU32::new(0),
            wanted: Wanted::default(),
            turn_seen: Seen::default(),
            strategy,
        };
        end.enter()?;
        end.attachment().prefault();
        Ok(end)
    }

    /// Another handle, of this process, with these ends.
    pub(super) fn again(&self, ends: Ends) -> Result<Self> {
        Self::over(self.handle.again()?, ends, self.strategy)
    }

    /// A handle that looks for this one, and counts as no end.
    pub(super) fn observer(&self) -> Result<Self> {
        self.me().map_err(|error| match error {
            ChannelError::Closed => Error::Closed { name: self.attachment().name().to_owned() },
            _ => Error::Forked,
        })?;
        let mut observer = self.again(Ends::NONE)?;
        observer.looks_for = self.ends;
        Ok(observer)
    }

    pub(super) fn attachment(&self) -> &Attachment {
        self.handle.held().attachment()
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        self.attachment().core()
    }

    #[inline(always)]
    pub(super) fn exchange(&self) -> &Exchange<'static> {
        &self.parts.exchange
    }

    #[inline(always)]
    pub(super) fn shared(&self) -> &'static Shared {
        self.parts.exchange.shared
    }

    #[inline(always)]
    pub(super) fn is_registered(&self) -> bool {
        self.registered.load(Relaxed) != 0
    }

    /// The packed stamp of this process, if this handle is its own.
    #[inline(always)]
    pub(super) fn me(&self) -> Result<u64, ChannelError> {
        // Acquire: the stamp that goes with the epoch, where another thread has set it.
        match self.epoch.load(Acquire) {
            CLOSED => Err(ChannelError::Closed),
            epoch if epoch == fork::epoch() => Ok(self.stamp.load(Relaxed)),
            _ => {
                self.enter()?;
                Ok(self.stamp.load(Relaxed))
            }
        }
    }

    /// Counts this handle as one of this process: a new one, one that was handed to it, or the copy
    /// that a fork made.
    #[cold]
    fn enter(&self) -> Result<()> {
        self.attachment().settle()?;
        let membership = self.core().membership()?;
        let stamp = membership.stamp();
        let registered = membarrier::register();
        {
            let _turn = membership.turn();
            let epoch = fork::epoch();
            if self.epoch.load(Acquire) == epoch {
                return Ok(());
            }
            self.admit(stamp)?;
            if !self.parts.members.take_handed(stamp, self.ends) {
                self.add(stamp, false)?;
            }
            self.stamp.store(stamp.pack(), Relaxed);
            self.registered.store(u32::from(registered), Relaxed);
            // Release: the stamp, to the Acquire in `me`.
            self.epoch.store(epoch, Release);
        }
        self.changed();
        Ok(())
    }

    /// Makes sure that a participant has its place among the members. What it has is told by its
    /// stamp, so the last one there left nothing that is in its way.
    fn admit(&self, stamp: Stamp) -> Result<()> {
        if self.parts.members.admit(stamp, || true) {
            return Ok(());
        }
        Err(self.core().mapping().corrupted("a participant has no place in a queue"))
    }

    fn add(&self, stamp: Stamp, handed: bool) -> Result<()> {
        let limit = 60_000;
        let too_many = Error::TooLarge { what: "a number of handles", asked: limit + 1, limit };
        self.parts.members.add(stamp, self.ends, handed).ok_or(too_many)?;
        self.shared().facts.fetch_or(self.ends.came(), SeqCst);
        Ok(())
    }

    /// Tells those who sleep that an end has come or gone.
    fn changed(&self) {
        self.shared().changes.fetch_add(1, SeqCst);
        self.wake_all();
    }

    /// Has everybody look again.
    pub(super) fn wake_all(&self) {
        let Shared { items, space, freed, idle, .. } = self.shared();
        let _ = barrier::heavy();
        for cell in [items, space, freed, idle] {
            cell.wake();
        }
    }

    #[cfg(feature = "serde")]
    pub(super) fn is_closed(&self) -> bool {
        self.epoch.load(Acquire) == CLOSED
    }

    /// Gives this handle up; it answers [`ChannelError::Closed`] from now on.
    pub(super) fn close(&self) {
        let epoch = self.epoch.swap(CLOSED, SeqCst);
        if epoch == CLOSED {
            return;
        }
        let Some(stamp) = self.core().membership_if_any().map(|me| me.stamp()) else { return };
        let members = &self.parts.members;
        if epoch != fork::epoch() && !members.take_handed(stamp, self.ends) {
            // A copy in a process that never used it.
            return;
        }
        if let Some(child) = child_stamp(self.core()) {
            if self.admit(child).and_then(|()| self.add(child, true)).is_ok() {
                self.shared().changes.fetch_add(1, SeqCst);
            }
        } else if std::thread::panicking() {
            self.shared().facts.fetch_or(self.ends.abandoned(), SeqCst);
        }
        members.remove(stamp, self.ends);
        if members.count(stamp, Ends::SENDER) + members.count(stamp, Ends::RECEIVER) == 0 {
            // Nobody in this process can finish what it has.
            self.exchange().sweep(stamp.pack());
        }
        self.changed();
    }

    /// Acquires the lock of the producers until `deadline`. `None`: somebody had it all the time.
    pub(super) fn lock_write(&self, deadline: u64) -> Result<Option<Locked<'_>>, ChannelError> {
        let write = &self.shared().write;
        self.lock(&write.lock, deadline, || self.shared().writer.store(0, Relaxed))
    }

    /// Acquires the lock of the consumers until `deadline`.
    pub(super) fn lock_read(&self, deadline: u64) -> Result<Option<Locked<'_>>, ChannelError> {
        let Shared { read, reader, .. } = self.shared();
        self.lock(&read.lock, deadline, || {
            reader.store(0, Relaxed);
            self.exchange().repair();
        })
    }

    /// `repair` puts right what a dead owner left.
    #[inline(always)]
    fn lock<'a>(
        &'a self,
        lock: &'a RawMutex,
        deadline: u64,
        repair: impl FnOnce(),
    ) -> Result<Option<Locked<'a>>, ChannelError> {
        let list = self.handle.list()?;
        let deadline = if deadline == NOW { time::after(A_MOMENT) } else { deadline };
        // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
        // lock is linked, for as long as that.
        let slot = match unsafe { lock.lock(list, deadline) } {
            Ok(slot) => slot,
            Err(Refusal::Busy) => return Ok(None),
            Err(refusal) => return Err(refused(refusal)),
        };
        if lock.enter(list) != Condition::Clean {
            // A death in the middle of the repair is told to the next owner in turn.
            lock.begin_repair(list);
            repair();
            lock.end_repair(list);
        }
        Ok(Some(Locked { lock, list, slot }))
    }

    /// Whether there are ends on the other side, or may be. `ask`: not to believe beacons.
    pub(super) fn presence(&self, side: Ends, ask: bool) -> Result<Presence> {
        let shared = self.shared();
        let facts = shared.facts.load(SeqCst);
        if facts & FACTS.outlives != 0 {
            return Ok(Presence::Nobody);
        }
        let alone = facts & FACTS.ends_alone != 0 && self.looks_for == Ends::BOTH;
        let except = if alone { Some(self.core().membership()?.stamp().index) } else { None };
        self.look_for(side, except, ask)
    }

    /// Who has ends of one side, but for a participant.
    pub(super) fn look_for(&self, side: Ends, except: Option<u16>, ask: bool) -> Result<Presence> {
        let told = (&self.shared().changes, &self.shared().facts);
        self.parts.members.look(told, self.core().table()?, side, except, ask)
    }

    /// Now and then: ends what consumers had that are gone, so that it comes again although there is
    /// always something else to take.
    pub(super) fn look_around(&self) {
        // Relaxed: counts for this process alone.
        if self.parts.keep > 0 && self.takes.fetch_add(1, Relaxed).is_multiple_of(TAKES_PER_LOOK) {
            // A process that cannot ask who is alive finds out where it has to wait.
            let _ = self.recover(false);
        }
    }

    /// Ends what consumers had that are gone. `ask`: not to believe beacons. Says whether there was
    /// anything.
    #[cold]
    pub(super) fn recover(&self, ask: bool) -> Result<bool> {
        let table = self.core().table()?;
        let me = self.core().membership()?.stamp().pack();
        let mut found = false;
        let mut last = None;
        for entry in self.exchange().entries {
            let Some(holder) = entry.holder().filter(|&h| h != me && Some(h) != last) else {
                continue;
            };
            last = Some(holder);
            let Some(stamp) = Stamp::unpack(holder) else { continue };
            if (ask || table.is_suspect(stamp)) && table.is_gone(stamp)? {
                found |= self.exchange().sweep(holder);
                if entry.holder() == Some(holder) {
                    // It was about to take a message. The next owner of the lock puts that right.
                    found |= self.lock_read(NOW).is_ok_and(|lock| lock.is_some());
                }
            }
        }
        found |= self.parts.keep > 0 && self.exchange().has_forgotten();
        if found {
            self.wake_all();
        }
        Ok(found)
    }
}

#[cold]
fn refused(refusal: Refusal) -> ChannelError {
    match refusal {
        Refusal::Busy => ChannelError::TimedOut,
        Refusal::Own => LockError::Deadlock.into(),
        Refusal::TooMany => LockError::TooManyLocks.into(),
        Refusal::Broken => ChannelError::Corrupted("the links of a lock were overwritten"),
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.close();
    }
}

/// A lock that is held.
pub(super) struct Locked<'a> {
    lock: &'a RawMutex,
    list: List,
    slot: Slot,
}

impl Drop for Locked<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        self.lock.leave();
        // SAFETY: acquired by this thread in this process, which does not fork meanwhile.
        let _ = unsafe { self.lock.unlock(self.list, self.slot) };
    }
}
