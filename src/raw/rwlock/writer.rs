//! The writer's side.

use super::{DOOR, LONGEST_PAUSE, RawRwLock, SLOTS, SPINS, Share, home};
use crate::raw::mutex::Refusal;
use crate::raw::phase::next;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::crash::{Point, point};
use crate::sync::robust::{List, Slot, WAITERS};
use crate::sync::{barrier, clock, futex, hint};
use crate::wait::NEVER;

impl RawRwLock {
    /// Acquires the lock for itself, waiting for it until `deadline` (of `clock::now`).
    ///
    /// # Safety
    /// `list` is the calling thread's, and the lock stays mapped until [`RawRwLock::stop_writing`]
    /// has returned true or the thread has ended.
    #[inline(always)]
    pub(crate) unsafe fn write(&self, list: List, deadline: u64) -> Result<Slot, Refusal> {
        // SAFETY: as the caller's.
        let slot = match unsafe { self.door.try_lock(list) } {
            Err(Refusal::Busy) if deadline != 0 => {
                // Who has the door may be waiting for a share of the caller's.
                if self.others_of(list, None).is_some() {
                    return Err(Refusal::Own);
                }
                // SAFETY: as the caller's.
                unsafe { self.door.lock(list, deadline) }
            }
            other => other,
        }?;
        self.phase.settle();
        // Who does not wait does not make readers wait in vain.
        let refusal = if deadline == 0 && self.is_any_taken(None) {
            Refusal::Busy
        } else {
            let number = self.phase.begin();
            point(Point::WriterBegun);
            barrier::after_exchange();
            match self.drain(list, number, deadline) {
                Ok(()) => return Ok(slot),
                Err(refusal) => {
                    self.phase.finish(next(number));
                    refusal
                }
            }
        };
        // SAFETY: as the caller's; acquired above.
        Err(if unsafe { self.door.unlock(list, slot) } { refusal } else { Refusal::Broken })
    }

    /// Waits for the readers that came before the phase.
    #[inline(always)]
    fn drain(&self, list: List, number: u32, deadline: u64) -> Result<(), Refusal> {
        if self.is_any_taken(Some(number)) {
            return self.drain_slow(list, number, deadline);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn drain_slow(&self, list: List, number: u32, deadline: u64) -> Result<(), Refusal> {
        if self.others_of(list, None).is_some() {
            return Err(Refusal::Own);
        }
        for index in self.used() {
            let (mut budget, mut pause) = (SPINS, 1);
            // Once it is not taken, whoever takes it finds the phase begun.
            while let Some(seen) = self.is_taken(index, Some(number)) {
                if deadline != NEVER && (deadline == 0 || clock::now() >= deadline) {
                    return Err(Refusal::Busy);
                }
                if budget > 0 {
                    for _ in 0..pause {
                        hint::spin_loop();
                    }
                    budget = budget.saturating_sub(pause);
                    pause = (2 * pause).min(LONGEST_PAUSE);
                    continue;
                }
                let word = &self.slots[index].robust.word;
                if seen & WAITERS == 0 {
                    // Relaxed: whoever frees the slot or yields finds the mark in its own exchange.
                    // Then the note is looked at again: the word may be a later reader's, which looks
                    // the same and has yielded to this phase before it could find the mark.
                    word.compare_exchange(seen, seen | WAITERS, Relaxed, Relaxed).ok();
                    continue;
                }
                point(Point::WriterAnnounced);
                let until = (deadline != NEVER).then_some(deadline);
                futex::wait_either((word, seen), None, until);
            }
        }
        Ok(())
    }

    /// Gives the lock back. False: its links are damaged, so that nobody writes any more, and it has
    /// to stay mapped for as long as the thread lives.
    ///
    /// # Safety
    /// `list` is the calling thread's, which acquired the lock in this process and got `slot`.
    #[inline(always)]
    pub(crate) unsafe fn stop_writing(&self, list: List, slot: Slot) -> bool {
        self.phase.finish(next(self.phase.number()));
        // SAFETY: as the caller's.
        unsafe { self.door.unlock(list, slot) }
    }

    /// Gives the lock back but for a share of it, which other writers wait for. Should that fail, the
    /// share is the door itself.
    ///
    /// # Safety
    /// As [`RawRwLock::stop_writing`]; and the lock stays mapped as for [`RawRwLock::read`].
    pub(crate) unsafe fn downgrade(&self, list: List, slot: Slot) -> Result<Share, Refusal> {
        let mut share = None;
        for step in 0..SLOTS {
            if share.is_some() || !list.has_room() {
                break;
            }
            // SAFETY: as the caller's; with room.
            share = unsafe { self.claim(list, (home(list) + step) % SLOTS) }.ok();
        }
        let number = next(self.phase.number());
        match share {
            Some(share) => {
                self.phase.finish(number);
                // SAFETY: as the caller's.
                if unsafe { self.door.unlock(list, slot) } {
                    return Ok(share);
                }
                // SAFETY: as the caller's; claimed above.
                unsafe { self.release(list, share) };
                Err(Refusal::Broken)
            }
            None => {
                self.door.depth().store(0, Relaxed);
                self.phase.finish(number);
                list.settled();
                Ok(Share { index: DOOR, slot })
            }
        }
    }
}
