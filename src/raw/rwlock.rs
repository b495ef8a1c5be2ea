//! A readers-writer lock whose shares come back when their holders die.
//!
//! Each reader has a slot of its own, a robust word in a line of its own, as in the "big reader"
//! locks (Wilson Hsieh, William Weihl, "Scalable Reader-Writer Locks for Parallel Systems", 1992).
//! The order in which readers and writers go is phase-fair (Björn Brandenburg, James Anderson,
//! "Reader-Writer Synchronization for Shared-Memory Multiprocessor Real-Time Systems", 2009): readers
//! and writers take turns, so a reader waits for one writer and a writer for the readers that came
//! before it. What is added is that every claim is a word that the kernel releases.
//!
//! A writer has the *door*, a [`RawMutex`], and then a *phase*: it makes the number of phases odd,
//! waits for the shares that others have, and makes it even when it is done. A reader claims a slot
//! and then looks at the number:
//! - even: it reads.
//! - odd: it yields to the writer of that phase. It says so in its slot, waits until the number is
//!   another one, and then reads without looking any further, since the next writer waits for it.
//!
//! | word of a slot | meaning |
//! |---|---|
//! | `0` | free |
//! | *tid* | reads, or looks whether it may |
//! | *tid* `Y` | yields to the writer of the phase in [`YIELDED`], or did so and reads by now |
//! | `W` beside them | a writer sleeps on it |
//! | `D`, `W` `D` | free: the reader died (written by the kernel) |
//! | [`BROKEN`] | free for ever: its links were damaged |
//!
//! `Y` is the kernel's `D` beside an owner. The claim and the beginning of a phase are exchanges
//! followed by a look at the other's word, all SeqCst: a reader that saw an even number is seen by the
//! writer. Only the owner of the door sleeps on slots, so one wake reaches whoever does.
//!
//! A reader that finds no free slot reads as the owner of the door, without beginning a phase.
//!
//! | who dies | what follows |
//! |---|---|
//! | a reader | the kernel frees its slot, and wakes the writer that sleeps on it |
//! | a reader between its release and its wake | it has the slot *pending*: the same |
//! | a reader that waits | its slot is free; see [`Phase`] |
//! | a writer that has not begun | the door is free |
//! | a writer in its phase | who waits for the end of the phase ends it |
//!
//! Whether it died *inside*, and left something torn, is said by the state of the door.

#![allow(unsafe_code, reason = "links words into the thread's robust list")]

use super::mutex::{BROKEN, RawMutex, Refusal};
use super::phase::{Phase, Unattended, next};
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};
use crate::sync::barrier;
use crate::sync::crash::{Point, point};
use crate::sync::robust::{List, OWNER, OWNER_DIED, RobustWord, Slot, WAITERS};
use crate::sync::{clock, const_fn, futex, hint};
use crate::wait::NEVER;

/// Slots, and so readers that read at a time, but for one more.
pub(crate) const SLOTS: usize = if cfg!(all(test, loom)) { 2 } else { 64 };
/// The index of a share that is the door.
const DOOR: usize = SLOTS;
/// Beside an owner: it yields.
const YIELDS: u32 = OWNER_DIED;
/// The notes of a slot. The phase that its owner yields to; written before `Y` is.
const YIELDED: usize = 0;
/// How many shares its owner has beside the first. Written by the owner.
const DEPTH: usize = 1;
/// Pauses of a writer before it sleeps, as in the mutex.
const SPINS: u32 = if cfg!(all(test, loom)) { 0 } else { 1024 };
const LONGEST_PAUSE: u32 = 32;

#[repr(C, align(64))]
#[derive(Debug)]
struct ReaderSlot {
    robust: RobustWord,
}

/// The state, in front of the data it guards.
#[repr(C, align(64))]
#[derive(Debug)]
pub(crate) struct RawRwLock {
    door: RawMutex,
    /// Odd: a writer is inside, or waits for the readers before it.
    phase: Phase,
    /// The slots that were ever claimed, by bits: the ones a writer looks at. Written by readers.
    used: AtomicU64,
    slots: [ReaderSlot; SLOTS],
}

/// A reader's right.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share {
    index: usize,
    slot: Slot,
}

impl Share {
    /// Which of `SLOTS + 1` it is.
    pub(crate) fn index(self) -> usize {
        self.index
    }
}

/// The slot that a thread tries first: neighbouring threads are two lines apart, since processors
/// fetch lines in pairs.
#[inline(always)]
fn home(list: List) -> usize {
    let id = list.id() as usize;
    (id << 1 | id >> 5 & 1) % SLOTS
}

impl RawRwLock {
    const_fn! {
        /// Free.
        pub(crate) const fn new() -> Self {
            #[cfg(not(all(test, loom)))]
            let slots = [const { ReaderSlot { robust: RobustWord::new() } }; SLOTS];
            #[cfg(all(test, loom))]
            let slots = std::array::from_fn(|_| ReaderSlot { robust: RobustWord::new() });
            RawRwLock {
                door: RawMutex::new(),
                phase: Phase::new(),
                used: AtomicU64::new(0),
                slots,
            }
        }
    }

    /// The writer's lock, with the state of the value.
    #[inline(always)]
    pub(crate) fn door(&self) -> &RawMutex {
        &self.door
    }

    /// Acquires a share, waiting for it until `deadline` (of [`clock::now`]).
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
    unsafe fn claim(&self, list: List, index: usize) -> Result<Share, u32> {
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

    /// A slot, but for that one, which the calling thread has.
    fn others_of(&self, list: List, but: Option<usize>) -> Option<usize> {
        self.used().filter(|&index| Some(index) != but).find(|&index| {
            // Relaxed: only the thread itself writes its id there.
            self.slots[index].robust.word.load(Relaxed) & OWNER == list.id()
        })
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
            self.phase.await_change(door, number, Unattended::Over, deadline)?;
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

    /// Whether the calling thread, which has the share, has it more than once.
    #[inline(always)]
    pub(crate) fn is_nested(&self, share: Share) -> bool {
        let slot = self.slots.get(share.index);
        let depth = slot.map_or_else(|| self.door.depth(), |slot| &slot.robust.notes[DEPTH]);
        depth.load(Relaxed) != 0
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
    unsafe fn release(&self, list: List, share: Share) -> bool {
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

    /// Acquires the lock for itself, waiting for it until `deadline` (of [`clock::now`]).
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

    /// The slots that were ever claimed.
    #[inline(always)]
    fn used(&self) -> impl Iterator<Item = usize> {
        // SeqCst: as in `claim`.
        let mut left = self.used.load(SeqCst);
        std::iter::from_fn(move || {
            let index = left.trailing_zeros() as usize;
            (index < SLOTS).then(|| {
                left &= left - 1;
                index
            })
        })
    }

    /// Whether a writer has to wait for the owner of a slot. `number`: but for those who yield to this
    /// phase.
    #[inline(always)]
    fn is_any_taken(&self, number: Option<u32>) -> bool {
        self.used().any(|index| self.is_taken(index, number).is_some())
    }

    /// The same of one slot, with its word.
    #[inline(always)]
    fn is_taken(&self, index: usize, number: Option<u32>) -> Option<u32> {
        let robust = &self.slots[index].robust;
        // SeqCst: after the phase was begun, as in `claim`. And an Acquire of the Release in `release`
        // and of the note.
        let seen = robust.word.load(SeqCst);
        let yields = seen & YIELDS != 0
            // Relaxed: written before `Y`.
            && Some(robust.notes[YIELDED].load(Relaxed)) == number;
        let reads = seen & OWNER != 0 && seen & OWNER != BROKEN && !yields;
        reads.then_some(seen)
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
                let asleep = seen | WAITERS;
                // Relaxed: whoever frees the slot or yields finds the mark in its own exchange.
                if seen != asleep && word.compare_exchange(seen, asleep, Relaxed, Relaxed).is_err()
                {
                    continue;
                }
                point(Point::WriterAnnounced);
                let until = (deadline != NEVER).then_some(deadline);
                futex::wait_either((word, asleep), None, until);
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

    /// How many read, and how many wait for a writer. Stale by the time the caller looks.
    pub(crate) fn readers(&self) -> (usize, usize) {
        let phase = Some(self.phase.number()).filter(|number| !number.is_multiple_of(2));
        let owned = |&index: &usize| {
            // Acquire: the note.
            let owner = self.slots[index].robust.word.load(Acquire) & OWNER;
            owner != 0 && owner != BROKEN
        };
        let all = self.used().filter(owned).count();
        let read = self.used().filter(|&index| self.is_taken(index, phase).is_some()).count();
        let at_the_door = self.door.owner_thread().is_some() && phase.is_none();
        (read.min(all) + usize::from(at_the_door), all.saturating_sub(read))
    }

    /// Whether a writer is inside, or waits for readers. Stale by the time the caller looks.
    pub(crate) fn is_writing(&self) -> bool {
        self.phase.is_begun() && self.door.owner_thread().is_some()
    }
}
