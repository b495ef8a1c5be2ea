//! The bounded multi-producer multi-consumer queue whose participants may die.
//!
//! Vyukov's bounded queue ("Bounded MPMC queue", 1024cores.net, 2010) has a number in each slot that
//! says whose turn it is, and hands out turns by two counters. A process killed between taking its
//! turn and using it stops that queue for ever. Changed here: a turn is taken in the slot itself, and
//! the same exchange writes who took it. The counters are only hints where to begin to look.
//!
//! | slot word | meaning | may become |
//! |---|---|---|
//! | `FREE` *n* | empty, for the *n*-th message of this slot | `WRITING` *n* |
//! | `WRITING` *n*, member | that member writes message *n* | `FULL` *n*; `FREE` *n* + 1 when it gives up, or is dead |
//! | `FULL` *n* | message *n* is published | `READING` *n* |
//! | `READING` *n*, member | that member reads message *n* | `FREE` *n* + 1, by it, or by anybody once it is dead |
//!
//! What survives a death. A claimed slot names its claimer from the first instant. Each of its
//! states is left once: by the claimer's store while it lives, or by one exchange once it is dead,
//! when no store of it is still to come. `FULL` is left only by a consumer's claim, so nothing that
//! was published is passed over or delivered twice. Positions are claimed in order, and a hint is
//! stored only after the claim, so it is never beyond the first position that is not claimed.
//!
//! A consumer that dies reading takes its message with it: it is counted ([`Queue::lost`]). Or else
//! the queue has *entries in flight*, words of the same kind with room for one message each. A
//! consumer copies its message into an entry and frees the slot, so that it can keep the message
//! without being in anybody's way; what the dead had in their entries comes again.
//!
//! | entry word | meaning |
//! |---|---|
//! | `FREE` *n* | empty |
//! | `WRITING` *n*, member | being filled from a slot that the member reads |
//! | `READING` *n*, member | the member has the message of position `origin`; the slot may not be free yet |
//! | `FULL` *n* | waits for another consumer |

#![allow(unsafe_code, reason = "finds words between the values in shared memory")]

use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{barrier, const_fn};
use core::marker::PhantomData;
use core::ptr::NonNull;

const FREE: u64 = 0;
const WRITING: u64 = 1;
const FULL: u64 = 2;
const READING: u64 = 3;

const MEMBER_BITS: u32 = 11;
const STATE_BITS: u32 = 2;
const LAP_SHIFT: u32 = MEMBER_BITS + STATE_BITS;
const LAP_BITS: u32 = 64 - LAP_SHIFT;
/// The member that moves the messages of the dead: whoever has [`Control::sweeper`].
pub(crate) const SWEEPER: u64 = 1 << (MEMBER_BITS - 1);
/// Steps of a walk that no sound queue needs, beside some for each slot.
const STEPS: usize = 4096;
/// Bits of a word of `lost` that count; above them is the lap that was counted last.
const LOST_BITS: u32 = 24;

/// The word of a slot or an entry: lap, state, member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    #[inline(always)]
    const fn pack(lap: u64, state: u64, member: u64) -> Word {
        Word(lap << LAP_SHIFT | state << MEMBER_BITS | member)
    }
    #[inline(always)]
    const fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }
    #[inline(always)]
    const fn state(self) -> u64 {
        self.0 >> MEMBER_BITS & ((1 << STATE_BITS) - 1)
    }
    /// Who claimed it.
    #[inline(always)]
    pub(crate) const fn member(self) -> u64 {
        self.0 & ((1 << MEMBER_BITS) - 1)
    }
    const fn is_claimed(self) -> bool {
        self.state() & 1 != 0
    }
    const fn is_claimed_by(self, member: u64) -> bool {
        self.is_claimed() && self.member() == member
    }
    /// Laps from `lap` to this word's, of which there are 2^51 in a circle.
    #[inline(always)]
    const fn laps_from(self, lap: u64) -> i64 {
        ((self.lap().wrapping_sub(lap)) << (64 - LAP_BITS)) as i64 >> (64 - LAP_BITS)
    }
    /// The same slot, free for its next message.
    const fn freed(self) -> Word {
        Word::pack(self.lap().wrapping_add(1), FREE, 0)
    }
}

/// A hint, on lines of its own.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Hint {
    position: AtomicU64,
}

/// What all users of a queue share, beside its slots.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Control {
    /// Where to begin to look for a free slot: not beyond the first position that no producer has
    /// claimed. By producers.
    tail: Hint,
    /// Where to begin to look for a message: not beyond the first that no consumer has claimed. By
    /// consumers.
    head: Hint,
    /// Consumers sleep here for messages.
    pub(crate) items: WaitCell,
    /// Producers sleep here for space.
    pub(crate) space: WaitCell,
    /// How often an end came or went. By whoever did.
    pub(crate) changes: AtomicU32,
    /// What has happened to ends, and how the queue was built: bits of the typed layer.
    pub(crate) facts: AtomicU32,
    /// Entries in flight; 0: messages of dead consumers are lost. Written when the queue is made.
    pub(crate) entries: AtomicU64,
    /// 1: an entry may wait for a consumer. By who let it wait, taken down by who looks.
    waiting: AtomicU32,
    /// Where to begin to look for a free entry.
    next_entry: AtomicU32,
    /// The packed stamp of who moves the messages of the dead; 0: nobody does.
    pub(crate) sweeper: AtomicU64,
}

impl Control {
    const_fn! {
        pub(crate) const fn new(entries: u64, facts: u32) -> Self {
            Control {
                tail: Hint { position: AtomicU64::new(0) },
                head: Hint { position: AtomicU64::new(0) },
                items: WaitCell::new(),
                space: WaitCell::new(),
                changes: AtomicU32::new(0),
                facts: AtomicU32::new(facts),
                entries: AtomicU64::new(entries),
                waiting: AtomicU32::new(0),
                next_entry: AtomicU32::new(0),
                sweeper: AtomicU64::new(0),
            }
        }
    }
}

/// Words at equal distances, each followed by what goes with it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Words<'a> {
    first: NonNull<u8>,
    stride: usize,
    pub(crate) count: usize,
    memory: PhantomData<&'a AtomicU64>,
}

impl<'a> Words<'a> {
    /// # Safety
    /// For `'a`, there are `count` atomics, `stride` bytes from one to the next, from `first` on.
    pub(crate) unsafe fn new(first: NonNull<u8>, stride: usize, count: usize) -> Self {
        Words { first, stride, count, memory: PhantomData }
    }

    /// Where number `index` and what goes with it are; `index` is below `count`.
    #[inline(always)]
    pub(crate) fn at(&self, index: usize) -> NonNull<u8> {
        debug_assert!(index < self.count);
        // SAFETY: within what `new` was promised; every index is checked where it comes from.
        unsafe { self.first.add(index * self.stride) }
    }

    #[inline(always)]
    fn word(&self, index: usize) -> &'a AtomicU64 {
        // SAFETY: there is an atomic, as `new` was promised.
        unsafe { self.at(index).cast().as_ref() }
    }

    /// The word behind the word: the origin of an entry.
    fn second(&self, index: usize) -> &'a AtomicU64 {
        // SAFETY: entries have two atomics each.
        let second = unsafe { self.at(index).cast::<AtomicU64>().add(1) };
        // SAFETY: as above.
        unsafe { second.as_ref() }
    }
}

/// Why there was nothing to claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    /// No message, or no space.
    Nothing,
    /// The next slot is claimed by a member that may be dead.
    By { index: usize, word: Word },
    /// The words contradict each other.
    Contradiction,
}

/// A slot or an entry that the caller has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) index: usize,
    lap: u64,
}

/// One queue, wherever its parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: Words<'a>,
    pub(crate) entries: Words<'a>,
    /// How many messages of each slot were lost. By whoever buries.
    pub(crate) lost: &'a [AtomicU64],
    /// Bits of a position that say which slot.
    pub(crate) shift: u32,
}

/// A position on its way round.
#[derive(Clone, Copy)]
struct At {
    lap: u64,
    index: usize,
}

impl Queue<'_> {
    /// Bits of a position that say which of `capacity` slots.
    pub(crate) const fn shift_of(capacity: usize) -> u32 {
        capacity.next_power_of_two().trailing_zeros()
    }

    #[inline(always)]
    fn start(&self, hint: &Hint) -> Result<At, Blocked> {
        // Acquire: the claims up to there, so that their slots are not seen as they were before.
        let position = hint.position.load(Acquire);
        let index = (position & ((1 << self.shift) - 1)) as usize;
        if index >= self.slots.count {
            return Err(Blocked::Contradiction);
        }
        Ok(At { lap: position >> self.shift, index })
    }

    #[inline(always)]
    fn position(&self, At { lap, index }: At) -> u64 {
        lap << self.shift | index as u64
    }

    #[inline(always)]
    fn next(&self, At { lap, index }: At) -> At {
        if index + 1 == self.slots.count {
            At { lap: lap.wrapping_add(1) & (u64::MAX >> LAP_SHIFT), index: 0 }
        } else {
            At { lap, index: index + 1 }
        }
    }

    /// After a claim: the next look begins behind it.
    #[inline(always)]
    fn advance(&self, hint: &Hint, at: At) {
        point(Point::Claimed);
        // Release: the claims up to here, to the Acquire in `start`. A hint that goes back costs a
        // longer look.
        hint.position.store(self.position(self.next(at)), Release);
    }

    /// Claims the next free slot for writing.
    #[inline(always)]
    pub(crate) fn claim_write(&self, me: u64) -> Result<Claim, Blocked> {
        let at = self.start(&self.control.tail)?;
        let free = Word::pack(at.lap, FREE, 0);
        let mine = Word::pack(at.lap, WRITING, me);
        // AcqRel: the last reader of the slot has read, and what this one knows of claims before.
        // Without a look before it, so that the line comes over once.
        let claimed = self.slots.word(at.index).compare_exchange(free.0, mine.0, AcqRel, Acquire);
        if claimed.is_err() {
            return self.walk_write(me, at);
        }
        self.advance(&self.control.tail, at);
        Ok(Claim { index: at.index, lap: at.lap })
    }

    #[cold]
    #[inline(never)]
    fn walk_write(&self, me: u64, mut at: At) -> Result<Claim, Blocked> {
        for _ in 0..STEPS + 4 * self.slots.count {
            let slot = self.slots.word(at.index);
            // Acquire: pairs with the Release of who left this state.
            let seen = Word(slot.load(Acquire));
            let ahead = seen.laps_from(at.lap);
            if ahead == 0 && seen.state() == FREE {
                let mine = Word::pack(seen.lap(), WRITING, me);
                // AcqRel: as in `claim_write`.
                if slot.compare_exchange(seen.0, mine.0, AcqRel, Relaxed).is_ok() {
                    self.advance(&self.control.tail, at);
                    return Ok(Claim { index: at.index, lap: seen.lap() });
                }
                continue;
            }
            if ahead < 0 {
                return Err(match seen.state() {
                    FULL => Blocked::Nothing,
                    // All positions before this one are claimed.
                    FREE => Blocked::Contradiction,
                    _ => Blocked::By { index: at.index, word: seen },
                });
            }
            at = self.unclaimed(at, ahead);
        }
        Err(Blocked::Contradiction)
    }

    /// The first position that no producer may have claimed, where the slot is `ahead` laps ahead of
    /// `at`: the position before the slot's own was claimed, and so was every one before that.
    #[inline(always)]
    fn unclaimed(&self, at: At, ahead: i64) -> At {
        let claimed = at.lap.wrapping_add((ahead - 1).max(0) as u64);
        self.next(At { lap: claimed & (u64::MAX >> LAP_SHIFT), index: at.index })
    }

    /// The first position whose message may not be finished, where the slot at `at` is seen as
    /// `seen`, `ahead` laps ahead. What is finished in this slot may have been skipped, without a
    /// consumer ever coming by, so it says nothing of the positions before it; but a position was
    /// claimed only when the one a lap before it was finished.
    #[inline(always)]
    fn unfinished(&self, at: At, seen: Word, ahead: i64) -> At {
        let claimed = if seen.state() == FREE { 2 } else { 1 };
        let finished = at.lap.wrapping_add((ahead - claimed).max(0) as u64);
        self.next(At { lap: finished & (u64::MAX >> LAP_SHIFT), index: at.index })
    }

    /// Claims the next message for reading.
    #[inline(always)]
    pub(crate) fn claim_read(&self, me: u64) -> Result<Claim, Blocked> {
        let mut at = self.start(&self.control.head)?;
        for _ in 0..STEPS + 4 * self.slots.count {
            let slot = self.slots.word(at.index);
            // Acquire: the message, and what its state says of others.
            let seen = Word(slot.load(Acquire));
            let ahead = seen.laps_from(at.lap);
            if ahead == 0 && seen.state() == FULL {
                let mine = Word::pack(seen.lap(), READING, me);
                // AcqRel: the message, and what this one knows of claims before.
                if slot.compare_exchange(seen.0, mine.0, AcqRel, Relaxed).is_ok() {
                    self.advance(&self.control.head, at);
                    return Ok(Claim { index: at.index, lap: seen.lap() });
                }
                continue;
            }
            if ahead < 0 || ahead == 0 && seen.state() == FREE {
                return Err(Blocked::Nothing);
            }
            if ahead == 0 && seen.state() == WRITING {
                return Err(Blocked::By { index: at.index, word: seen });
            }
            at = self.unfinished(at, seen, ahead);
        }
        Err(Blocked::Contradiction)
    }

    /// Publishes what was written.
    #[inline(always)]
    pub(crate) fn publish(&self, claim: Claim) {
        point(Point::Written);
        // Release: the message, to the claim for reading.
        self.slots.word(claim.index).store(Word::pack(claim.lap, FULL, 0).0, Release);
        point(Point::Published);
    }

    /// Frees a claimed slot: read, or not written after all.
    #[inline(always)]
    pub(crate) fn free(&self, claim: Claim) {
        // Release: the reads of the message, to the next claim for writing.
        let freed = Word::pack(claim.lap, FREE, 0).freed();
        self.slots.word(claim.index).store(freed.0, Release);
        point(Point::Published);
    }

    /// The number of the message in a slot: how many were claimed before it.
    pub(crate) fn number(&self, claim: Claim) -> u64 {
        claim.lap.wrapping_mul(self.slots.count as u64).wrapping_add(claim.index as u64)
    }

    /// Wakes consumers, after something became theirs to take.
    #[inline(always)]
    pub(crate) fn notify_items(&self, registered: bool) {
        barrier::light(registered);
        if self.control.items.is_announced() {
            self.control.items.wake();
        }
    }

    /// Wakes producers, after a slot became free.
    #[inline(always)]
    pub(crate) fn notify_space(&self, registered: bool) {
        barrier::light(registered);
        if self.control.space.is_announced() {
            self.control.space.wake();
        }
    }

    /// Ends the claim of a dead member, seen as `word`: a message not yet written is skipped, one
    /// being read is lost with its reader, and counted. In a queue with entries, what was being read
    /// is [`Queue::sweep`]'s. Says whether the slot is free by the caller's doing.
    pub(crate) fn bury(&self, index: usize, word: Word) -> bool {
        if word.state() == READING {
            if self.entries.count > 0 {
                return false;
            }
            self.count_lost(index, word);
        }
        // AcqRel: the dead one's accesses are all done; to the next claim.
        let slot = self.slots.word(index);
        slot.compare_exchange(word.0, word.freed().0, AcqRel, Relaxed).is_ok()
    }

    /// Counts the message of a dead reader once, however many bury it, and whoever of them dies.
    fn count_lost(&self, index: usize, word: Word) {
        let (slot, lost) = (self.slots.word(index), &self.lost[index]);
        let lap = word.lap() & (u64::MAX >> LOST_BITS);
        loop {
            let counted = lost.load(Acquire);
            let count = counted & ((1 << LOST_BITS) - 1);
            // While the slot is as it was, nobody counts a later loss.
            let is_over = slot.load(Acquire) != word.0;
            if is_over || count > 0 && counted >> LOST_BITS == lap {
                return;
            }
            let count = (count + 1).min((1 << LOST_BITS) - 1);
            // AcqRel: counted before it is freed.
            let new = lap << LOST_BITS | count;
            if lost.compare_exchange(counted, new, AcqRel, Acquire).is_ok() {
                return;
            }
        }
    }

    /// Messages whose readers died, and the numbers of the last of each slot.
    pub(crate) fn lost(&self, mut each: impl FnMut(u64)) -> u64 {
        let mut total = 0;
        for (index, lost) in self.lost.iter().enumerate() {
            let lost = lost.load(Acquire);
            let count = lost & ((1 << LOST_BITS) - 1);
            if count > 0 {
                total += count;
                each(self.number(Claim { index, lap: lost >> LOST_BITS }));
            }
        }
        total
    }

    /// Messages that can be taken. Stale by the time it is read.
    pub(crate) fn len(&self, limit: usize) -> usize {
        let mut count = 0;
        if self.entries.count > 0 {
            let waits = |&i: &usize| Word(self.entries.word(i).load(Relaxed)).state() == FULL;
            count += (0..self.entries.count).filter(waits).count();
        }
        let Ok(mut at) = self.start(&self.control.head) else { return count };
        for _ in 0..2 * self.slots.count {
            let seen = Word(self.slots.word(at.index).load(Acquire));
            let ahead = seen.laps_from(at.lap);
            if count >= limit || ahead < 0 || ahead == 0 && seen.state() == FREE {
                break;
            }
            count += usize::from(ahead == 0 && seen.state() == FULL);
            at = self.unfinished(at, seen, ahead);
        }
        count
    }

    /// Whether a producer finds no slot. Stale by the time it is read.
    pub(crate) fn is_full(&self) -> bool {
        let Ok(mut at) = self.start(&self.control.tail) else { return false };
        for _ in 0..2 * self.slots.count {
            let seen = Word(self.slots.word(at.index).load(Acquire));
            match seen.laps_from(at.lap) {
                0 if seen.state() == FREE => return false,
                ahead if ahead < 0 => return true,
                ahead => at = self.unclaimed(at, ahead),
            }
        }
        false
    }
}

mod in_flight;
mod look;
