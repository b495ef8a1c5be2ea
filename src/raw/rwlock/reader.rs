//! The reader's side.

use super::{DEPTH, DOOR, RawRwLock, SLOTS, Share, YIELDED, YIELDS, home};
use crate::raw::mutex::{BROKEN, Refusal};
use crate::raw::phase::Phase;
use crate::sync::atomic::Ordering::{AcqRel, Relaxed, Release, SeqCst};
use crate::sync::crash::{Point, point};
use crate::sync::robust::{List, OWNER, WAITERS};
use crate::sync::{barrier, futex};

impl RawRwLock {
    /// Acquires a share, waiting for it until `deadline` (of `clock::now`).
    ///
    /// # Safety
    /// `list` is the calling thread's, and the lock stays mapped until [`RawRwLock::stop_reading`]
    /// has returned true or the thread has ended.
    #[inline(always)]
    pub(crate) unsafe fn read(&self, list: List, deadline: u64) -> Result<Share, Refusal> {
        if !list.has_room() {
            return Err(Refusal::TooMany);
        }
        let index = home(list);
        let robust = &self.slots[index].robust;
        list.pending(robust);
        // SeqCst, as in `claim`.
        if self.used.load(SeqCst) & 1 << index != 0
            && robust.word.compare_exchange(0, list.id(), SeqCst, Relaxed).is_ok()
        {
            // SAFETY: as the caller's; pending, with room, and ours by that exchange.
            let share = unsafe { self.claimed(list, index) };
            if self.phase.number().is_multiple_of(2) {
                return Ok(share);
            }
            // SAFETY: as the caller's.
            return unsafe { self.read_after_writer(list, share, deadline) };
        }
        // SAFETY: as the caller's; with room.
        unsafe { self.read_elsewhere(list, index, deadline) }
    }

    /// # Safety
    /// As [`RawRwLock::read`]; pending, with room, and the slot is the caller's.
    #[inline(always)]
    unsafe fn claimed(&self, list: List, index: usize) -> Share {
        point(Point::ShareClaimed);
        // SAFETY: the word is ours alone, so it is in no list.
        let slot = unsafe { list.insert(&self.slots[index].robust) };
        point(Point::ShareLinked);
        barrier::after_exchange();
        Share { index, slot }
    }

    /// Claims a slot that is free, of a reader that died, too.
    ///
    /// # Errors
    /// What its word is.
    ///
    /// # Safety
    /// As [`RawRwLock::read`]; with room.
    pub(super) unsafe fn claim(&self, list: List, index: usize) -> Result<Share, u32> {
        let robust = &self.slots[index].robust;
        list.pending(robust);
        // SeqCst: a writer that misses this is seen by the look at the number.
        if self.used.load(SeqCst) & 1 << index == 0 {
            self.used.fetch_or(1 << index, SeqCst);
        }
        let mut seen = 0;
        // SeqCst: before the look at the number, as that of the writer after it has begun. Acquire is
        // part of it: a share that was released before goes on to the writer through this one.
        while let Err(now) = robust.word.compare_exchange(seen, list.id(), SeqCst, Relaxed) {
            if now & OWNER != 0 {
                return Err(now);
            }
            seen = now;
        }
        robust.notes[DEPTH].store(0, Relaxed);
        // SAFETY: as the caller's; pending, and ours by that exchange.
        Ok(unsafe { self.claimed(list, index) })
    }

    /// # Safety
    /// As [`RawRwLock::read`]; with room.
    #[cold]
    #[inline(never)]
    unsafe fn read_elsewhere(
        &self,
        list: List,
        home: usize,
        deadline: u64,
    ) -> Result<Share, Refusal> {
        for step in 0..SLOTS {
            let index = (home + step) % SLOTS;
            // SAFETY: as the caller's.
            match unsafe { self.claim(list, index) } {
                Ok(share) if self.phase.number().is_multiple_of(2) => return Ok(share),
                // SAFETY: as the caller's.
                Ok(share) => return unsafe { self.read_after_writer(list, share, deadline) },
                Err(word) if word & OWNER == list.id() => {
                    if let Some(share) = self.once_more(list, index) {
                        list.settled();
                        return Ok(share);
                    }
                }
                Err(_) => {}
            }
        }
        list.settled();
        // SAFETY: as the caller's.
        unsafe { self.read_at_the_door(list, deadline) }
    }

    /// Another share of a thread that has one: it has it at once, whoever waits.
    fn once_more(&self, list: List, index: usize) -> Option<Share> {
        let robust = &self.slots[index].robust;
        let slot = list.find(robust)?;
        let depth = &robust.notes[DEPTH];
        depth.store(depth.load(Relaxed) + 1, Relaxed);
        Some(Share { index, slot })
    }

    /// # Safety
    /// As [`RawRwLock::read`]; `share` is the caller's, who saw an odd number after it had claimed it.
    #[cold]
    #[inline(never)]
    unsafe fn read_after_writer(
        &self,
        list: List,
        share: Share,
        deadline: u64,
    ) -> Result<Share, Refusal> {
        let other = self.others_of(list, Some(share.index));
        let refusal = match other {
            // The writer may be waiting for that one.
            Some(_) => Refusal::Own,
            None => match self.yield_to_writer(list, share.index, deadline) {
                Ok(()) => return Ok(share),
                Err(refusal) => refusal,
            },
        };
        // SAFETY: as the caller's.
        if !unsafe { self.release(list, share) } {
            return Err(Refusal::Broken);
        }
        other.and_then(|other| self.once_more(list, other)).ok_or(refusal)
    }

    /// Lets the writer go first whose phase it is.
    fn yield_to_writer(&self, list: List, index: usize, deadline: u64) -> Result<(), Refusal> {
        let robust = &self.slots[index].robust;
        loop {
            let number = self.phase.number();
            if number.is_multiple_of(2) {
                return Ok(());
            }
            // Relaxed: published by `Y`.
            robust.notes[YIELDED].store(number, Relaxed);
            // AcqRel: publishes the note, and hands on what earlier owners of the slot released.
            if robust.word.fetch_or(YIELDS, AcqRel) & WAITERS != 0 {
                futex::wake(&robust.word, 1);
            }
            point(Point::ShareYielded);
            let door = (&self.door, list);
            self.phase.await_change(door, number, Phase::settle, deadline)?;
            // Numbers come round. A writer that has this very number, and still saw `Y`, does not
            // wait for this reader; and then it is seen here. SeqCst: as in `claim`.
            robust.word.fetch_and(!YIELDS, SeqCst);
            barrier::after_exchange();
            if self.phase.number() != number {
                return Ok(());
            }
        }
    }

    /// Reads as the owner of the door.
    ///
    /// # Safety
    /// As [`RawRwLock::read`]; with room.
    unsafe fn read_at_the_door(&self, list: List, deadline: u64) -> Result<Share, Refusal> {
        // SAFETY: as the caller's.
        match unsafe { self.door.lock(list, deadline) } {
            Ok(slot) => {
                self.phase.settle();
                self.door.depth().store(0, Relaxed);
                Ok(Share { index: DOOR, slot })
            }
            // It has it as a reader.
            Err(Refusal::Own) if !self.phase.is_begun() => {
                let slot = self.door.slot(list).ok_or(Refusal::Own)?;
                let depth = self.door.depth();
                depth.store(depth.load(Relaxed) + 1, Relaxed);
                Ok(Share { index: DOOR, slot })
            }
            Err(refusal) => Err(refusal),
        }
    }

    /// Gives a share back. False: its links are damaged, so that the slot is [`BROKEN`] from now on,
    /// and has to stay mapped for as long as the thread lives.
    ///
    /// # Safety
    /// `list` is the calling thread's, which acquired the share in this process.
    #[inline(always)]
    pub(crate) unsafe fn stop_reading(&self, list: List, share: Share) -> bool {
        let Some(slot) = self.slots.get(share.index) else {
            // SAFETY: as the caller's.
            return unsafe { self.stop_reading_at_the_door(list, share) };
        };
        let depth = &slot.robust.notes[DEPTH];
        let others = depth.load(Relaxed);
        if others != 0 {
            depth.store(others - 1, Relaxed);
            return true;
        }
        // SAFETY: as the caller's.
        unsafe { self.release(list, share) }
    }

    /// # Safety
    /// As [`RawRwLock::stop_reading`].
    #[cold]
    #[inline(never)]
    unsafe fn stop_reading_at_the_door(&self, list: List, share: Share) -> bool {
        let depth = self.door.depth();
        let others = depth.load(Relaxed);
        if others != 0 {
            depth.store(others - 1, Relaxed);
            return true;
        }
        // SAFETY: as the caller's.
        unsafe { self.door.unlock(list, share.slot) }
    }

    /// # Safety
    /// As [`RawRwLock::stop_reading`], of a share that is a slot.
    #[inline(always)]
    pub(super) unsafe fn release(&self, list: List, share: Share) -> bool {
        let robust = &self.slots[share.index].robust;
        list.pending(robust);
        // SAFETY: as the caller's; pending.
        let first = unsafe { list.remove_first(robust, share.slot) };
        // SAFETY: as the caller's; pending.
        if !first && !unsafe { list.remove(robust, share.slot) } {
            self.free(share.index, BROKEN);
            list.settled();
            return false;
        }
        point(Point::ShareUnlinked);
        // Release: what was read, before the writer's Acquire in `drain`.
        if robust.word.compare_exchange(list.id(), 0, Release, Relaxed).is_err() {
            self.free(share.index, 0);
        }
        list.settled();
        true
    }

    #[cold]
    #[inline(never)]
    fn free(&self, index: usize, word: u32) {
        let robust = &self.slots[index].robust;
        // Release: as in `release`.
        let old = robust.word.swap(word, Release);
        point(Point::ShareFreed);
        if old & WAITERS != 0 {
            futex::wake(&robust.word, 1);
        }
    }
}
