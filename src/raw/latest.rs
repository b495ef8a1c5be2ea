//! Versions: one value that is replaced as a whole, and read by anybody at any time, never torn.
//!
//! A value lives in one of *k* buffers; one word says in which, and how many there were before it.
//! A writer fills a buffer that is not the current one and then makes it current with one store. A
//! reader copies the current buffer and then looks whether somebody has begun to write into it
//! meanwhile: only then does it start again, with a newer value. Nobody ever waits for anybody.
//!
//! The many buffers are those of Simpson ("Four-Slot Fully Asynchronous Communication Mechanism",
//! 1990); that the writer keeps away from buffers that readers have announced is from Chen and Burns
//! ("A Three-Slot Asynchronous Reader/Writer Mechanism for Multiprocessor Real-Time Systems", 1997);
//! the check after the copy, and its fences, are those of a sequence lock (Boehm, "Can Seqlocks Get
//! Along with Programming Language Memory Models?", 2012). Put together differently here: an
//! announcement is only a hint, one store without a barrier, and up to *k* - 2 of them are heeded.
//! So any number of readers share them, a reader that died with one costs a buffer until another
//! reader uses its place, and it is the check alone that makes a copy good. A reader announces only
//! after it has lost a copy: the store waits for a line that the writer reads, and everything that
//! the reader stores behind it waits with it.
//!
//! What survives a death. The writer's only commitment is the store to `current`: before it the old
//! value is there, whole, after it the new one. What a dead writer had begun is in a buffer that is
//! not current, under a number that is given again with the next value: a successor has nothing to
//! repair.
//!
//! One writer at a time is the caller's business: a role or a claim, taken with Acquire from the one
//! before.

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

/// Buffers at most.
pub(crate) const MAX_BUFFERS: usize = 15;
/// Buffers at least: one to read and one to write.
pub(crate) const MIN_BUFFERS: usize = 2;
/// Words before the value in a buffer. The first is the number of the value that is in the buffer or
/// being written to it: beside the value, so that a reader that finds its buffer unchanged finds the
/// number in its own cache. Written by the writer.
pub(crate) const HEAD_WORDS: usize = 2;
/// Bits of `current` that name the buffer.
const INDEX_BITS: u32 = 8;

/// What all versions of one value have in common.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Control {
    /// Number of the newest value, from 0 on, above [`INDEX_BITS`] of the buffer it is in. Written by
    /// the writer, read by all. (A value of up to 8 bytes needs no versions: then this is the value.)
    pub(crate) current: AtomicU64,
    reserved: [AtomicU64; 15],
    /// Who may write, where there are several writers: a packed stamp, or 0.
    pub(crate) claim: AtomicU64,
    /// Who may write, where there is one writer.
    pub(crate) publisher: Role,
    /// Readers sleep here for something newer.
    pub(crate) news: WaitCell,
    /// Buffers. Written when the object is made.
    pub(crate) buffers: AtomicU64,
    /// Readers that there ever were. By each reader, once.
    pub(crate) readers: AtomicU64,
}

/// What a reader announces: one above the buffer it reads, or 0. A hint, written by readers.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Announcement {
    buffer: AtomicU64,
}

impl Control {
    const_fn! {
        /// The value number 0 in the first of the buffers.
        pub(crate) const fn new(current: u64, buffers: u64) -> Self {
            #[cfg(not(all(test, loom)))]
            let reserved = [const { AtomicU64::new(0) }; 15];
            #[cfg(all(test, loom))]
            let reserved = core::array::from_fn(|_| AtomicU64::new(0));
            Control {
                current: AtomicU64::new(current),
                reserved,
                claim: AtomicU64::new(0),
                publisher: Role::new(),
                news: WaitCell::new(),
                buffers: AtomicU64::new(buffers),
                readers: AtomicU64::new(0),
            }
        }
    }

    /// The number of the newest value.
    #[inline(always)]
    pub(crate) fn version(&self) -> u64 {
        // Acquire: what its writer did before, to those who learn of the version alone.
        self.current.load(Acquire) >> INDEX_BITS
    }
}

impl Announcement {
    const_fn! {
        pub(crate) const fn new() -> Self {
            Announcement { buffer: AtomicU64::new(0) }
        }
    }
}

/// What a read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// Number of the value.
    pub(crate) number: u64,
    /// Whether a copy before it was written to meanwhile.
    pub(crate) lost: bool,
}

/// The shared words contradict each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contradiction;

/// How many announcements go with a number of buffers: the writer needs one buffer beside the
/// announced ones and the current one.
pub(crate) const fn announcements(buffers: usize) -> usize {
    buffers.saturating_sub(MIN_BUFFERS)
}

/// The versions of one value, wherever their parts are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Versions<'a> {
    pub(crate) control: &'a Control,
    /// As many as [`announcements`] says.
    pub(crate) announcements: &'a [Announcement],
    /// All buffers, one behind the other: each [`HEAD_WORDS`] and then the value.
    pub(crate) words: &'a [AtomicU64],
    /// Words from one buffer to the next. Private to the process, as the number of buffers is.
    pub(crate) stride: usize,
    pub(crate) buffers: usize,
}

impl<'a> Versions<'a> {
    #[inline(always)]
    fn buffer(&self, index: usize) -> Result<(&'a AtomicU64, &'a [AtomicU64]), Contradiction> {
        if index >= self.buffers {
            return Err(Contradiction);
        }
        let first = index * self.stride;
        match self.words.get(first..first + self.stride) {
            Some([number, _, words @ ..]) => Ok((number, words)),
            _ => Err(Contradiction),
        }
    }

    /// Copies the newest value, as many bytes as `to` has. `reader` spreads the readers over the
    /// announcements; `announces` says whether to announce at once and not only when a copy was lost.
    #[inline]
    pub(crate) fn read(
        &self,
        reader: usize,
        mut announces: bool,
        to: &mut [MaybeUninit<u8>],
    ) -> Result<Read, Contradiction> {
        // Acquire: the words of the current buffer.
        let mut current = self.control.current.load(Acquire);
        let mut lost = false;
        loop {
            let index = (current & ((1 << INDEX_BITS) - 1)) as usize;
            let (number, words) = self.buffer(index)?;
            if announces && let Some(announcement) = self.announcements.get(reader) {
                // Relaxed: a hint. Not stored again where it stands, so that its line stays shared.
                let said = index as u64 + 1;
                if announcement.buffer.load(Relaxed) != said {
                    announcement.buffer.store(said, Relaxed);
                }
            }
            copy::load(words, to);
            // Orders the copy before the look: if any word was of a later writing, its number is seen,
            // for that writer has a Release fence between the two.
            fence(Acquire);
            // Acquire: who writes into this buffer made another one current before, which is seen then.
            let number = number.load(Acquire);
            if number == current >> INDEX_BITS {
                return Ok(Read { number, lost });
            }
            // Acquire: as above.
            let newer = self.control.current.load(Acquire);
            if newer == current {
                // No writer writes into the current buffer.
                return Err(Contradiction);
            }
            current = newer;
            (announces, lost) = (true, true);
        }
    }

    /// Takes an announcement down.
    pub(crate) fn withdraw(&self, reader: usize) {
        if let Some(announcement) = self.announcements.get(reader) {
            // Relaxed: a hint.
            announcement.buffer.store(0, Relaxed);
        }
    }

    /// Publishes a value and gives its number. The caller is the one writer; the other words of the
    /// buffer keep what they had.
    #[inline]
    pub(crate) fn publish(&self, from: &[u8]) -> Result<u64, Contradiction> {
        let control = self.control;
        // Relaxed: written by this writer, or by one before it, from whom it has the right to write.
        let current = control.current.load(Relaxed);
        let index = (current & ((1 << INDEX_BITS) - 1)) as usize;
        if index >= self.buffers {
            return Err(Contradiction);
        }
        let next = self.choose(index);
        let (mark, words) = self.buffer(next)?;
        let number = (current >> INDEX_BITS).wrapping_add(1) & (u64::MAX >> INDEX_BITS);
        // Release: that another buffer is current by now, to a reader that finds its own taken.
        mark.store(number, Release);
        // Orders the number before the words: pairs with the fence in `read`.
        fence(Release);
        point(Point::Begun);
        copy::store(words, from);
        point(Point::Written);
        // Release: the words, to the Acquire in `read`.
        control.current.store(number << INDEX_BITS | next as u64, Release);
        point(Point::Published);
        Ok(number)
    }

    /// The buffer to write into: the one after the current one, but for those that are announced.
    #[inline(always)]
    fn choose(&self, current: usize) -> usize {
        let mut taken = 0u32;
        for announcement in self.announcements {
            // Relaxed: a hint.
            taken |= 1 << (announcement.buffer.load(Relaxed) & 31);
        }
        let mut next = current;
        // There are fewer announcements than other buffers, so one of these is free.
        for _ in 1..self.buffers {
            next = if next + 1 == self.buffers { 0 } else { next + 1 };
            if taken >> (next + 1) & 1 == 0 {
                break;
            }
        }
        next
    }

    /// Wakes the readers that sleep for something newer.
    #[inline(always)]
    pub(crate) fn notify(&self, registered: bool) {
        barrier::light(registered);
        if self.control.news.is_announced() {
            self.control.news.wake();
        }
    }
}
