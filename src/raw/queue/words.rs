//! The words of slots and entries, and where they are.

#![allow(unsafe_code, reason = "finds words between the values in shared memory")]

use super::Queue;
use crate::sync::atomic::AtomicU64;
use core::marker::PhantomData;
use core::ptr::NonNull;

pub(super) const FREE: u64 = 0;
pub(super) const WRITING: u64 = 1;
pub(super) const FULL: u64 = 2;
pub(super) const READING: u64 = 3;

pub(super) const MEMBER_BITS: u32 = 11;
const STATE_BITS: u32 = 2;
pub(super) const LAP_SHIFT: u32 = MEMBER_BITS + STATE_BITS;
const LAP_BITS: u32 = 64 - LAP_SHIFT;

/// The word of a slot or an entry: lap, state, member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word(pub(super) u64);

impl Word {
    #[inline(always)]
    pub(super) const fn pack(lap: u64, state: u64, member: u64) -> Word {
        Word(lap << LAP_SHIFT | state << MEMBER_BITS | member)
    }
    #[inline(always)]
    pub(super) const fn lap(self) -> u64 {
        self.0 >> LAP_SHIFT
    }
    #[inline(always)]
    pub(super) const fn state(self) -> u64 {
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
    pub(super) const fn is_claimed_by(self, member: u64) -> bool {
        self.is_claimed() && self.member() == member
    }
    /// Laps from `lap` to this word's, of which there are 2^51 in a circle.
    #[inline(always)]
    pub(super) const fn laps_from(self, lap: u64) -> i64 {
        ((self.lap().wrapping_sub(lap)) << (64 - LAP_BITS)) as i64 >> (64 - LAP_BITS)
    }
    /// The same slot, free for its next message.
    pub(super) const fn freed(self) -> Word {
        Word::pack(self.lap().wrapping_add(1), FREE, 0)
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
    pub(super) fn word(&self, index: usize) -> &'a AtomicU64 {
        // SAFETY: there is an atomic, as `new` was promised.
        unsafe { self.at(index).cast().as_ref() }
    }

    /// The word behind the word: the origin of an entry.
    pub(super) fn second(&self, index: usize) -> &'a AtomicU64 {
        // SAFETY: entries have two atomics each.
        let second = unsafe { self.at(index).cast::<AtomicU64>().add(1) };
        // SAFETY: as above.
        unsafe { second.as_ref() }
    }
}

/// A slot or an entry that the caller has claimed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) index: usize,
    pub(super) lap: u64,
    /// Where it is: what was computed to claim it serves to use it, too.
    pub(crate) at: NonNull<u8>,
}

impl Claim {
    #[inline(always)]
    pub(super) fn of(words: &Words<'_>, index: usize, lap: u64) -> Self {
        Claim { index, lap, at: words.at(index) }
    }

    /// Its word, which is there for as long as the queue that it was claimed of.
    #[inline(always)]
    pub(super) fn word<'a>(self, _: &Queue<'a>) -> &'a AtomicU64 {
        // SAFETY: as in `Words::word`; a claim is used with its own queue alone.
        unsafe { self.at.cast().as_ref() }
    }
}

/// The bits of a position that say which slot, the lap being above them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Split {
    pub(super) shift: u32,
    pub(super) mask: u64,
}

impl Split {
    pub(crate) const fn of(capacity: usize) -> Self {
        let slots = capacity.next_power_of_two() as u64;
        Split { shift: slots.trailing_zeros(), mask: slots - 1 }
    }
}

/// A position on its way round.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub(super) lap: u64,
    pub(super) index: usize,
}
