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

use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{barrier, const_fn};
use words::{At, FREE, FULL, LAP_SHIFT, MEMBER_BITS, READING, WRITING};

pub(crate) use words::{Claim, Split, Word, Words};

mod in_flight;
mod look;
mod words;

/// The member that moves the messages of the dead: whoever has [`Control::sweeper`].
pub(crate) const SWEEPER: u64 = 1 << (MEMBER_BITS - 1);
/// Steps of a walk that no sound queue needs, beside some for each slot.
const STEPS: usize = 4096;
/// Bits of a word of `lost` that count; above them is the lap that was counted last.
const LOST_BITS: u32 = 24;

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

/// One queue, wherever its parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Queue<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: Words<'a>,
    pub(crate) entries: Words<'a>,
    /// How many messages of each slot were lost. By whoever buries.
    pub(crate) lost: &'a [AtomicU64],
    /// How a position is made of lap and slot.
    pub(crate) split: Split,
}

impl Queue<'_> {
    #[inline(always)]
    fn at(&self, position: u64) -> At {
        let Split { shift, mask } = self.split;
        At { lap: position >> shift, index: (position & mask) as usize }
    }

    #[inline(always)]
    fn position(&self, At { lap, index }: At) -> u64 {
        lap << self.split.shift | index as u64
    }

    #[inline(always)]
    fn start(&self, hint: &Hint) -> Result<At, Blocked> {
        // Acquire: the claims up to there, so that their slots are not seen as they were before.
        let position = hint.position.load(Acquire);
        let at = self.at(position);
        if at.index < self.slots.count { Ok(at) } else { Err(Blocked::Contradiction) }
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
        let position = self.position(at);
        let is_last = at.index + 1 == self.slots.count;
        let next = if is_last { position | self.split.mask } else { position }.wrapping_add(1);
        // Release: the claims up to here, to the Acquire in `start`. A hint that goes back costs a
        // longer look.
        hint.position.store(next, Release);
    }

    /// Claims the next free slot for writing.
    #[inline(always)]
    pub(crate) fn claim_write(&self, me: u64) -> Result<Claim, Blocked> {
        let at = self.start(&self.control.tail)?;
        let free = Word::pack(at.lap, FREE, 0);
        let mine = Word::pack(at.lap, WRITING, me);
        // AcqRel: the last reader of the slot has read, and what this one knows of claims before.
        // Without a look before it, so that the line comes over once.
        let claim = Claim::of(&self.slots, at.index, at.lap);
        if claim.word(self).compare_exchange(free.0, mine.0, AcqRel, Acquire).is_err() {
            return self.walk_write(me, at);
        }
        self.advance(&self.control.tail, at);
        Ok(claim)
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
                    return Ok(Claim::of(&self.slots, at.index, seen.lap()));
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
        let at = self.start(&self.control.head)?;
        let full = Word::pack(at.lap, FULL, 0);
        let mine = Word::pack(at.lap, READING, me);
        let claim = Claim::of(&self.slots, at.index, at.lap);
        let word = claim.word(self);
        // A look first, so that who finds nothing leaves the line to its producer. Relaxed: decides
        // nothing. AcqRel: the message, and what this one knows of claims before.
        if word.load(Relaxed) != full.0
            || word.compare_exchange(full.0, mine.0, AcqRel, Relaxed).is_err()
        {
            return self.walk_read(me, at);
        }
        self.advance(&self.control.head, at);
        Ok(claim)
    }

    #[cold]
    #[inline(never)]
    fn walk_read(&self, me: u64, mut at: At) -> Result<Claim, Blocked> {
        for _ in 0..STEPS + 4 * self.slots.count {
            let slot = self.slots.word(at.index);
            // Acquire: the message, and what its state says of others.
            let seen = Word(slot.load(Acquire));
            let ahead = seen.laps_from(at.lap);
            if ahead == 0 && seen.state() == FULL {
                let mine = Word::pack(seen.lap(), READING, me);
                // AcqRel: as in `claim_read`.
                if slot.compare_exchange(seen.0, mine.0, AcqRel, Relaxed).is_ok() {
                    self.advance(&self.control.head, at);
                    return Ok(Claim::of(&self.slots, at.index, seen.lap()));
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
        claim.word(self).store(Word::pack(claim.lap, FULL, 0).0, Release);
        point(Point::Published);
    }

    /// Frees a claimed slot: read, or not written after all.
    #[inline(always)]
    pub(crate) fn free(&self, claim: Claim) {
        // Release: the reads of the message, to the next claim for writing.
        let freed = Word::pack(claim.lap, FREE, 0).freed();
        claim.word(self).store(freed.0, Release);
        point(Point::Published);
    }

    /// The number of the message in a slot: how many were claimed before it.
    pub(crate) fn number(&self, claim: Claim) -> u64 {
        self.number_of(At { lap: claim.lap, index: claim.index })
    }

    fn number_of(&self, At { lap, index }: At) -> u64 {
        lap.wrapping_mul(self.slots.count as u64).wrapping_add(index as u64)
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
                each(self.number_of(At { lap: lost >> LOST_BITS, index }));
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
