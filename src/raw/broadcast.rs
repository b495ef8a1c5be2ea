//! Broadcast: one writer, any number of readers at their own pace, each of which gets every message
//! that it comes in time for, whole, and is told how many it missed.
//!
//! A ring of slots that the writer goes round without ever looking at a reader, each slot under a
//! sequence lock of its own (Boehm, "Can Seqlocks Get Along with Programming Language Memory Models?",
//! 2012), which says besides which message is in it. So a reader polls the slot that the next message
//! will be in, and gets the news and the message by the same cache line (Giacomoni, Moseley,
//! Vachharajani, "FastForward for Efficient Pipeline Parallelism", PPoPP 2008). A reader's place is its
//! own business: it leaves no trace in shared memory, so its death is nobody's.
//!
//! Messages are numbered from 0 on and never wrap. Message *n* goes into slot *n* mod *slots*, whose
//! mark says:
//!
//! | mark | meaning |
//! |---|---|
//! | 0 | nothing was ever written |
//! | 2*n* + 1 | message *n* is being written, or its writer died over it |
//! | 2*n* + 2 | message *n* is complete |
//!
//! There is one slot more than messages that are kept, so the last *slots* - 1 messages are whole
//! while the next one is written.
//!
//! What survives a death. The writer's only commitment is the store of the even mark: before it the
//! message does not exist, after it, it is published. `sent`, which newcomers begin at, follows it by
//! one store; a successor finds a message that is complete and not counted, and counts it. One that is
//! half written it writes again, under the same number.

use super::role::Role;
use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};
use crate::sync::crash::{Point, point};
use crate::sync::{barrier, const_fn, copy};
use core::mem::MaybeUninit;

/// What all messages have in common.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Control {
    /// Messages that are complete and counted. Written by the writer, read by newcomers and those
    /// who were left behind.
    sent: AtomicU64,
    reserved: [AtomicU64; 15],
    /// Who may write.
    pub(crate) sender: Role,
    /// Readers sleep here for the next message.
    pub(crate) news: WaitCell,
}

impl Control {
    const_fn! {
        /// No message yet.
        pub(crate) const fn new() -> Self {
            #[cfg(not(all(test, loom)))]
            let reserved = [const { AtomicU64::new(0) }; 15];
            #[cfg(all(test, loom))]
            let reserved = core::array::from_fn(|_| AtomicU64::new(0));
            Control {
                sent: AtomicU64::new(0),
                reserved,
                sender: Role::new(),
                news: WaitCell::new(),
            }
        }
    }

    /// How many messages there were.
    #[inline(always)]
    pub(crate) fn sent(&self) -> u64 {
        // Acquire: who learns of a message by its number sees what its writer did before.
        self.sent.load(Acquire)
    }
}

/// The shared words contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

/// No message has such a number: what is above was never written by a writer.
const LIMIT: u64 = 1 << 62;

/// What a reader found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The message, which was copied.
    Message,
    /// It is not there yet.
    Nothing,
    /// It was overwritten. So many are gone with it; the cursor is at one that was not when it was
    /// looked at.
    Lagged(u64),
}

/// The slots, wherever they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ring<'a> {
    pub(crate) control: &'a Control,
    /// All slots, one behind the other: a mark and then the message.
    pub(crate) words: &'a [AtomicU64],
    /// Words from one slot to the next. Private to the process, as the number of slots is.
    pub(crate) stride: usize,
    /// One more than there are messages kept, so at least 2.
    pub(crate) slots: u64,
}

/// A message's number, and the slot that it goes into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: u64,
    slot: u64,
}

impl Place {
    #[inline(always)]
    fn next(self, ring: Ring<'_>) -> Self {
        let slot = if self.slot + 1 == ring.slots { 0 } else { self.slot + 1 };
        Place { number: self.number + 1, slot }
    }

    /// The mark of the complete message.
    #[inline(always)]
    fn complete(self) -> u64 {
        2 * self.number + 2
    }
}

impl<'a> Ring<'a> {
    /// Messages that are kept.
    fn kept(self) -> u64 {
        self.slots - 1
    }

    fn place(self, number: u64) -> Result<Place, Contradiction> {
        if number >= LIMIT {
            return Err(Contradiction);
        }
        Ok(Place { number, slot: number % self.slots })
    }

    /// The mark and the words of a slot. What a place says is below the number of slots.
    #[inline(always)]
    fn slot(self, place: Place) -> (&'a AtomicU64, &'a [AtomicU64]) {
        let first = place.slot as usize * self.stride;
        match &self.words[first..first + self.stride] {
            [mark, words @ ..] => (mark, words),
            [] => unreachable!("a slot has a mark"),
        }
    }

    /// Wakes the readers that sleep for news.
    #[inline(always)]
    pub(crate) fn notify(self, registered: bool) {
        barrier::light(registered);
        if self.control.news.is_announced() {
            self.control.news.wake();
        }
    }
}

/// What the writer knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WriteCursor {
    place: Place,
}

impl WriteCursor {
    /// Goes on where the last writer stopped. The caller has the role.
    pub(crate) fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        // Relaxed: the claim of the role acquired what the last writer did.
        let mut place = ring.place(ring.control.sent.load(Relaxed))?;
        let mark = ring.slot(place).0.load(Relaxed);
        if mark == place.complete() {
            // It died between the two stores, and readers may have the message.
            place = place.next(ring);
            // Release: the message, to the Acquire in `sent`.
            ring.control.sent.store(place.number, Release);
        } else if mark >= place.complete() {
            return Err(Contradiction);
        }
        Ok(WriteCursor { place })
    }

    /// The number of the next message.
    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        self.place.number
    }

    /// Publishes a message. The rest of the slot keeps what it had.
    #[inline(always)]
    pub(crate) fn publish(&mut self, ring: Ring<'_>, from: &[u8]) {
        let (mark, words) = ring.slot(self.place);
        let complete = self.place.complete();
        // Relaxed: the fence orders it before the words.
        mark.store(complete - 1, Relaxed);
        // Pairs with the fence in `read`: who reads a word of this message finds the mark changed.
        fence(Release);
        point(Point::Begun);
        copy::store(words, from);
        point(Point::Written);
        // Release: the words, to the Acquire in `read`.
        mark.store(complete, Release);
        point(Point::Published);
        self.place = self.place.next(ring);
        // Release: the message, to the Acquire in `sent`.
        ring.control.sent.store(self.place.number, Release);
    }
}

/// What a reader knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadCursor {
    place: Place,
    /// No message was read since some were missed.
    behind: bool,
}

impl ReadCursor {
    /// A reader of what is published from now on.
    pub(crate) fn at_newest(ring: Ring<'_>) -> Result<Self, Contradiction> {
        Self::at(ring, ring.control.sent())
    }

    /// A reader that begins with the oldest message that is kept.
    pub(crate) fn at_oldest(ring: Ring<'_>) -> Result<Self, Contradiction> {
        Self::at(ring, ring.control.sent().saturating_sub(ring.kept()))
    }

    /// A reader whose next message has this number.
    pub(crate) fn at(ring: Ring<'_>, number: u64) -> Result<Self, Contradiction> {
        Ok(ReadCursor { place: ring.place(number)?, behind: false })
    }

    /// The number of the next message.
    #[inline(always)]
    pub(crate) fn number(&self) -> u64 {
        self.place.number
    }

    /// Whether [`ReadCursor::read`] would find something.
    #[inline(always)]
    pub(crate) fn is_ready(&self, ring: Ring<'_>) -> bool {
        // Acquire: as in `read`.
        ring.slot(self.place).0.load(Acquire) >= self.place.complete()
    }

    /// Copies the next message, as many bytes as `to` has, and goes on to the one after it.
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        ring: Ring<'_>,
        to: &mut [MaybeUninit<u8>],
    ) -> Result<Found, Contradiction> {
        let (mark, words) = ring.slot(self.place);
        let complete = self.place.complete();
        // Acquire: the words of the complete message.
        let seen = mark.load(Acquire);
        if seen == complete {
            copy::load(words, to);
            // Orders the copy before the look: if any word was of a later message, its mark is seen.
            fence(Acquire);
            // Relaxed: the fence orders it.
            let seen = mark.load(Relaxed);
            if seen == complete {
                self.place = self.place.next(ring);
                self.behind = false;
                return Ok(Found::Message);
            }
            return self.skip(ring, seen);
        }
        if seen < complete {
            return Ok(Found::Nothing);
        }
        self.skip(ring, seen)
    }

    /// Goes on with the oldest message that is kept, where the mark `seen` is of a later one. If that
    /// was done before and it was overwritten, too, before it was read: with the newest.
    #[cold]
    #[inline(never)]
    fn skip(&mut self, ring: Ring<'_>, seen: u64) -> Result<Found, Contradiction> {
        // The message of the mark, and how many there are at least: it is the last one, or was.
        let number = seen.wrapping_sub(1) / 2;
        let complete = seen.is_multiple_of(2);
        let sent = ring.control.sent().max(number + u64::from(complete));
        if seen < self.place.complete() || number % ring.slots != self.place.slot {
            return Err(Contradiction);
        }
        let next = if self.behind { sent - 1 } else { sent - ring.kept().min(sent) };
        let missed = next.checked_sub(self.place.number).filter(|&missed| missed > 0);
        let missed = missed.ok_or(Contradiction)?;
        self.place = ring.place(next)?;
        self.behind = true;
        Ok(Found::Lagged(missed))
    }
}
