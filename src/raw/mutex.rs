//! A mutex that the kernel releases when its owner dies, and that nobody's death wedges.
//!
//! The word is a robust futex as the kernel defines it (Ingo Molnar, `robust-futexes.rst`), in the
//! thread's robust list while it is held. In the usual protocol an unlock stores 0 and wakes one
//! sleeper (Ulrich Drepper, "Futexes Are Tricky"; glibc). There, if another thread takes the free
//! lock first and the woken one is killed, nothing says any more that others sleep, and they sleep
//! for ever on a lock that is free. Here `W`, "somebody may sleep", outlives the unlock, and only an
//! owner takes it down:
//!
//! | word | meaning |
//! |---|---|
//! | `0` | free |
//! | *tid* | owned |
//! | *tid* `W` | owned, somebody may sleep |
//! | `W` | free, somebody may sleep |
//! | *tid* `W` `D` | owned, `W` is in doubt: who sleeps or is about to takes `D` away |
//! | `D`, `W` `D` | the owner died (written by the kernel) |
//! | [`BROKEN`] | its links were damaged; nobody gets it any more |
//!
//! - lock: take any word whose owner bits are 0, keeping `W`, and setting it after having slept.
//! - unlock without `W`: 0. With it: `W`, wake one. If the last wake found nobody, first put `W` in
//!   doubt, wake all, and unlock to 0 if nobody took the doubt away.
//!
//! From its first look at the word until it has linked the lock or gives up, and from before it takes the
//! word out of its list until after the last wake, a thread has the word *pending*: should it die
//! there with the word free, the kernel wakes a sleeper in its place.
//!
//! `tests/models` explores the protocol with kills at every step.
//!
//! Whether the last owner died *inside* is said by a second word, set after the lock is acquired and
//! cleared before it is released. It names the owner's process, and stays until a repair is done.

#![allow(unsafe_code, reason = "links words into the thread's robust list")]

use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
    compiler_fence,
};
use crate::sync::crash::{Point, point};
use crate::sync::robust::{List, OWNER, OWNER_DIED, RobustWord, Slot, WAITERS};
use crate::sync::{clock, const_fn, futex, hint};
use crate::wait::NEVER;

/// The word of a mutex that nobody gets any more. No thread has this id.
pub(crate) const BROKEN: u32 = OWNER;
/// In the state: a holder panicked.
const POISONED: u32 = 1 << 31;
/// Pauses before a waiter sleeps, about 13 us in all, and the most between two looks: a tight poll
/// would take the line from the owner, whose links are in it. (`mutex/contended` of the benchmarks.)
/// (None in a model, which knows no time.)
const SPINS: u32 = if cfg!(all(test, loom)) { 0 } else { 1024 };
const LONGEST_PAUSE: u32 = 32;

/// The state, in front of the data it guards.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawMutex {
    /// The notes, by index: [`STATE`], [`HINT`], [`DEPTH`].
    robust: RobustWord,
}

/// Process id of the owner that is inside or died inside; 0: none. And [`POISONED`]. Written by the
/// owner.
const STATE: usize = 0;
/// 1: the last wake found nobody, so `W` may be idle. Written by the owner, a hint.
const HINT: usize = 1;
/// How often the owner has it, of a recursive lock. Written by the owner.
const DEPTH: usize = 2;

/// Why a lock was not acquired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Another thread has it.
    Busy,
    /// The calling thread has it.
    Own,
    /// The thread has as many locks as it may have.
    TooMany,
    /// See [`BROKEN`].
    Broken,
}

/// What is left to do of an unlock: the links and the word, or the word, where somebody may sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Everything.
    All,
    /// It is unlinked.
    Word,
}

/// What a new owner finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// The last owner let go in order.
    Clean,
    /// It panicked.
    Poisoned,
    /// It died inside.
    OwnerDied {
        /// Its process.
        pid: u32,
    },
}

impl Condition {
    #[cold]
    fn of(state: u32) -> Self {
        match state & !POISONED {
            0 if state == 0 => Condition::Clean,
            0 => Condition::Poisoned,
            pid => Condition::OwnerDied { pid },
        }
    }
}

impl RawMutex {
    const_fn! {
        /// Free.
        pub(crate) const fn new() -> Self {
            RawMutex { robust: RobustWord::new() }
        }
    }

    pub(super) fn word(&self) -> &AtomicU32 {
        &self.robust.word
    }

    fn note(&self, index: usize) -> &AtomicU32 {
        &self.robust.notes[index]
    }

    /// Acquires the lock, waiting for it until `deadline` (of [`clock::now`]).
    ///
    /// # Safety
    /// `list` is the calling thread's, and the mutex stays mapped until [`RawMutex::unlock`] has
    /// returned true or the thread has ended.
    #[inline(always)]
    pub(crate) unsafe fn lock(&self, list: List, deadline: u64) -> Result<Slot, Refusal> {
        // SAFETY: as the caller's.
        match unsafe { self.lock_at_once(list) } {
            Some(slot) => Ok(slot),
            // SAFETY: as the caller's.
            None => unsafe { self.lock_slow(list, deadline) },
        }
    }

    /// Acquires the lock where nothing is in the way; `None`: it takes a [`RawMutex::lock`], which has
    /// to follow.
    ///
    /// # Safety
    /// As [`RawMutex::lock`].
    #[inline(always)]
    pub(crate) unsafe fn lock_at_once(&self, list: List) -> Option<Slot> {
        let place = list.place()?;
        list.pending(&self.robust);
        // Acquire: pairs with the Release of the unlock, or the kernel's exchange.
        self.word().compare_exchange(0, list.id(), Acquire, Relaxed).ok()?;
        // SAFETY: pending, and ours by that exchange; the rest as the caller's.
        Some(self.acquired(|robust| unsafe { list.insert_at(robust, place) }))
    }

    /// Acquires the lock if it is free.
    ///
    /// # Safety
    /// As [`RawMutex::lock`].
    #[inline(always)]
    pub(crate) unsafe fn try_lock(&self, list: List) -> Result<Slot, Refusal> {
        // SAFETY: as the caller's.
        unsafe { self.lock(list, 0) }
    }

    /// Has `link` link the word, which is ours alone, and so in no list.
    #[inline(always)]
    fn acquired(&self, link: impl FnOnce(&RobustWord) -> Slot) -> Slot {
        point(Point::LockAcquired);
        let slot = link(&self.robust);
        // It stays pending until something else is: linked and pending is the same to the kernel.
        point(Point::LockLinked);
        slot
    }

    /// # Safety
    /// As [`RawMutex::lock`].
    #[cold]
    #[inline(never)]
    unsafe fn lock_slow(&self, list: List, deadline: u64) -> Result<Slot, Refusal> {
        if !list.has_room() {
            return Err(Refusal::TooMany);
        }
        list.pending(&self.robust);
        let word = self.word();
        let mut announced = 0;
        let (mut budget, mut pause) = (SPINS, 1);
        let refusal = loop {
            let seen = word.load(Relaxed);
            let owner = seen & OWNER;
            if owner == 0 {
                // Acquire: as in `lock`.
                let mine = list.id() | seen & WAITERS | announced;
                if word.compare_exchange(seen, mine, Acquire, Relaxed).is_ok() {
                    // SAFETY: as the caller's, and ours by that exchange.
                    return Ok(self.acquired(|robust| unsafe { list.insert(robust) }));
                }
                continue;
            }
            if owner == list.id() {
                break Refusal::Own;
            }
            if owner == BROKEN {
                break Refusal::Broken;
            }
            if deadline != NEVER && (deadline == 0 || clock::now() >= deadline) {
                break Refusal::Busy;
            }
            if seen & WAITERS == 0 && budget > 0 {
                for _ in 0..pause {
                    hint::spin_loop();
                }
                budget = budget.saturating_sub(pause);
                pause = (2 * pause).min(LONGEST_PAUSE);
                continue;
            }
            // Says that somebody sleeps, or takes the owner's doubt of it away. Relaxed: what it
            // guards is read after it is acquired.
            let asleep = (seen | WAITERS) & !OWNER_DIED;
            if seen != asleep && word.compare_exchange(seen, asleep, Relaxed, Relaxed).is_err() {
                continue;
            }
            announced = WAITERS;
            point(Point::LockAnnounced);
            let until = (deadline != NEVER).then_some(deadline);
            futex::wait_either((word, asleep), None, until);
            point(Point::LockWoken);
            (budget, pause) = (SPINS, 1);
        };
        list.settled();
        Err(refusal)
    }

    /// Releases the lock. False: its links are damaged, so that it is [`BROKEN`] from now on, and has
    /// to stay mapped for as long as the thread lives.
    ///
    /// # Safety
    /// `list` is the calling thread's, which acquired the lock in this process and got `slot`.
    #[inline(always)]
    pub(crate) unsafe fn unlock(&self, list: List, slot: Slot) -> bool {
        // SAFETY: as the caller's.
        match unsafe { self.unlock_at_once(list, slot) } {
            Ok(()) => true,
            // SAFETY: as the caller's.
            Err(rest) => unsafe { self.unlock_rest(list, slot, rest) },
        }
    }

    /// Releases the lock where nothing is in the way; otherwise gives what is left to do, for a
    /// [`RawMutex::unlock_rest`] that has to follow.
    ///
    /// # Safety
    /// As [`RawMutex::unlock`].
    #[inline(always)]
    pub(crate) unsafe fn unlock_at_once(&self, list: List, slot: Slot) -> Result<(), Rest> {
        list.pending(&self.robust);
        // SAFETY: as the caller's; pending.
        if !unsafe { list.remove_first(&self.robust, slot) } {
            return Err(Rest::All);
        }
        point(Point::LockUnlinked);
        // Release: what was guarded, to the Acquire of the next owner.
        if self.word().compare_exchange(list.id(), 0, Release, Relaxed).is_err() {
            return Err(Rest::Word);
        }
        list.settled();
        Ok(())
    }

    /// What is left of [`RawMutex::unlock`], with its result.
    ///
    /// # Safety
    /// As [`RawMutex::unlock`], of which [`RawMutex::unlock_at_once`] has left this.
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn unlock_rest(&self, list: List, slot: Slot, rest: Rest) -> bool {
        // SAFETY: as the caller's; pending.
        if rest == Rest::All && !unsafe { self.remove(list, slot) } {
            return false;
        }
        point(Point::LockUnlinked);
        // Release: as in `unlock_at_once`.
        if rest == Rest::Word
            || self.word().compare_exchange(list.id(), 0, Release, Relaxed).is_err()
        {
            self.unlock_slow(list);
        }
        list.settled();
        true
    }

    #[cold]
    #[inline(never)]
    fn unlock_slow(&self, list: List) {
        let (word, hint) = (self.word(), self.note(HINT));
        // Relaxed: the hint is the owner's.
        if hint.load(Relaxed) != 0 {
            hint.store(0, Relaxed);
            let owned = list.id() | WAITERS;
            let doubt = owned | OWNER_DIED;
            // Relaxed: `W` is kept or dropped by this word alone.
            if word.compare_exchange(owned, doubt, Relaxed, Relaxed).is_ok() {
                point(Point::LockDoubted);
                futex::wake(word, u32::MAX);
                // Release: as in `unlock_at_once`.
                if word.compare_exchange(doubt, 0, Release, Relaxed).is_ok() {
                    return;
                }
            }
        }
        // Release: as in `unlock_at_once`.
        word.swap(WAITERS, Release);
        point(Point::LockFreed);
        if futex::wake(word, 1) == 0 {
            // The next owner's to use. It may be another thread's by now: then it is a hint that
            // comes late.
            hint.store(1, Relaxed);
        }
    }

    /// # Safety
    /// As [`RawMutex::unlock`]; pending.
    #[cold]
    #[inline(never)]
    unsafe fn remove(&self, list: List, slot: Slot) -> bool {
        // SAFETY: as the caller's.
        let sound = unsafe { list.remove(&self.robust, slot) };
        if !sound {
            // Release: nobody acquires it, but whoever looks at the data finds what was written.
            self.word().swap(BROKEN, Release);
            futex::wake(self.word(), u32::MAX);
            list.settled();
        }
        sound
    }

    /// Makes the word pending for who sleeps on it and does not want the lock, or is done with it.
    pub(super) fn pending(&self, list: List) {
        list.pending(&self.robust);
    }

    /// Marks the word for a sleeper who does not want the lock, if it still has that owner. Gives the
    /// value to sleep on.
    pub(super) fn mark_sleeper(&self, owner: Option<u32>) -> Option<u32> {
        let seen = self.word().load(Relaxed);
        let named = Some(seen & OWNER).filter(|&owner| owner != 0);
        let asleep = if named.is_some() { (seen | WAITERS) & !OWNER_DIED } else { seen | WAITERS };
        let marked = named == owner
            && (seen == asleep
                || self.word().compare_exchange(seen, asleep, Relaxed, Relaxed).is_ok());
        marked.then_some(asleep)
    }

    /// Wakes another one where the caller, who has slept on the word and does not want the lock, may
    /// have been woken in its place.
    pub(super) fn pass_wake_on(&self) {
        // Relaxed: read after the sleep; an owner that is not seen here wakes in its turn.
        let seen = self.word().load(Relaxed);
        if seen & OWNER == 0 && seen & WAITERS != 0 {
            futex::wake(self.word(), 1);
        }
    }

    /// Has the lock for as long as `work` takes, if it is free. It is pending all the time and never
    /// linked, so it takes no room; `work` makes nothing else pending.
    #[cold]
    pub(super) fn pass(&self, list: List, work: impl FnOnce()) {
        list.pending(&self.robust);
        let seen = self.word().load(Relaxed);
        let mine = list.id() | WAITERS;
        // Acquire: as in `lock`. With `W`: the caller may have slept.
        if seen & OWNER == 0 && self.word().compare_exchange(seen, mine, Acquire, Relaxed).is_ok() {
            point(Point::LockAcquired);
            work();
            point(Point::LockUnlinked);
            self.unlock_slow(list);
        }
        list.settled();
    }

    /// Whether nobody gets it any more.
    pub(super) fn is_broken(&self) -> bool {
        self.word().load(Relaxed) & OWNER == BROKEN
    }

    /// The owner's first step: says that it is inside, unless the last owner died or panicked there.
    #[inline(always)]
    pub(crate) fn enter(&self, list: List) -> Condition {
        let state = self.note(STATE);
        // Relaxed throughout: the state is the owner's, and passed on by the lock itself.
        let found = state.load(Relaxed);
        if found != 0 {
            return Condition::of(found);
        }
        state.store(list.process(), Relaxed);
        // A kill comes between two instructions: the order in which they are is all that matters.
        compiler_fence();
        Condition::Clean
    }

    /// The owner's last step before the unlock.
    #[inline(always)]
    pub(crate) fn leave(&self) {
        compiler_fence();
        self.note(STATE).store(0, Relaxed);
    }

    /// The same for an owner that panicked.
    #[cold]
    pub(crate) fn leave_poisoned(&self) {
        compiler_fence();
        self.note(STATE).store(POISONED, Relaxed);
    }

    /// The owner panicked, and still has it.
    #[cold]
    pub(crate) fn poison(&self, list: List) {
        compiler_fence();
        self.note(STATE).store(POISONED | list.process(), Relaxed);
    }

    /// The owner's last step before the unlock, where it may have been poisoned meanwhile.
    pub(crate) fn leave_as_it_is(&self) {
        compiler_fence();
        let state = self.note(STATE);
        state.store(state.load(Relaxed) & POISONED, Relaxed);
    }

    /// Where the lock is in the records of the calling thread; `None`: it does not have it, or has it
    /// by another mapping of the same memory.
    pub(crate) fn slot(&self, list: List) -> Option<Slot> {
        list.find(&self.robust)
    }

    /// The owner repairs what it found damaged: until it [leaves](RawMutex::leave), its own death is
    /// the one that is told. Gives what [`RawMutex::relinquish`] puts back.
    pub(crate) fn begin_repair(&self, list: List) -> u32 {
        let found = self.note(STATE).load(Relaxed);
        self.note(STATE).store(found & POISONED | list.process(), Relaxed);
        compiler_fence();
        found
    }

    /// The owner has repaired it.
    pub(crate) fn end_repair(&self, list: List) {
        compiler_fence();
        self.note(STATE).store(list.process(), Relaxed);
    }

    /// The owner gives a repair up.
    pub(crate) fn relinquish(&self, found: u32) {
        compiler_fence();
        self.note(STATE).store(found, Relaxed);
    }

    /// The owner takes the mark of a panic away, if there is no other.
    pub(crate) fn clear_poison(&self) {
        if self.note(STATE).load(Relaxed) == POISONED {
            self.note(STATE).store(0, Relaxed);
        }
    }

    /// How often the owner has it. The owner's to read and write.
    pub(crate) fn depth(&self) -> &AtomicU32 {
        self.note(DEPTH)
    }

    /// The thread that owns it; `None`: it is free, or [`BROKEN`]. Stale by the time the caller looks.
    pub(crate) fn owner_thread(&self) -> Option<u32> {
        Some(self.word().load(Relaxed) & OWNER).filter(|&owner| owner != 0 && owner != BROKEN)
    }

    /// What the state says, whoever owns it: of the owner's process while it is inside.
    pub(crate) fn condition(&self) -> Condition {
        Condition::of(self.note(STATE).load(Relaxed))
    }
}
