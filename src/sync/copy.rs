//! Copies between private memory and memory that other processes may be writing or reading.
//!
//! A plain copy that races is undefined behaviour, even one whose result is thrown away. So the
//! shared side is accessed by relaxed atomics, a word or an element at a time (Boehm, "Can Seqlocks
//! Get Along with Programming Language Memory Models?", 2012). The compiler neither joins nor
//! vectorises those. Long copies on x86-64 are therefore done by assembly, which to the language is
//! a sequence of such accesses: moves of 16 aligned bytes, which no processor with SSE2 in use today
//! splits below 8 aligned bytes, in program order as all loads and all stores there are; or, where
//! the caller finds out afterwards whether the copy is whole, the processor's string move, whose
//! accesses may change places among themselves and with nothing before or after it.

#![allow(unsafe_code, reason = "copies between private and shared memory")]

use super::atomic::{AtomicU64, Ordering::Relaxed};
use super::crash::{Point, point};
use core::mem::MaybeUninit;

/// Bytes of a word.
const WORD: usize = size_of::<u64>();

/// Copies the first bytes of `from`, as many as `to` has.
///
/// # Panics
/// If `from` is shorter.
#[inline]
pub(crate) fn load(from: &[AtomicU64], to: &mut [MaybeUninit<u8>]) {
    assert!(to.len() <= from.len() * WORD);
    let done = blocks::load(from, to);
    let mut parts = to[done * WORD..].chunks_exact_mut(WORD);
    let mut next = done;
    for part in &mut parts {
        // Relaxed: the fences of the protocol order the copy as a whole.
        put(part, from[next].load(Relaxed));
        next += 1;
    }
    let rest = parts.into_remainder();
    if !rest.is_empty() {
        put(rest, from[next].load(Relaxed));
    }
}

#[inline(always)]
fn put(to: &mut [MaybeUninit<u8>], word: u64) {
    let bytes = word.to_le_bytes().map(MaybeUninit::new);
    let count = to.len();
    to.copy_from_slice(&bytes[..count]);
}

/// Copies all of `from` to the first words of `to`; the rest of the last word becomes zero.
///
/// # Panics
/// If `to` is shorter.
#[inline]
pub(crate) fn store(to: &[AtomicU64], from: &[u8]) {
    assert!(from.len() <= to.len() * WORD);
    let done = blocks::store(to, from);
    let mut parts = from[done * WORD..].chunks_exact(WORD);
    let mut next = done;
    for part in &mut parts {
        // Relaxed: the fences of the protocol order the copy as a whole.
        to[next].store(u64::from_le_bytes(part.try_into().expect("a word")), Relaxed);
        next += 1;
        point(Point::HalfWritten);
    }
    let rest = parts.remainder();
    if !rest.is_empty() {
        let mut bytes = [0; WORD];
        bytes[..rest.len()].copy_from_slice(rest);
        to[next].store(u64::from_le_bytes(bytes), Relaxed);
    }
}

/// Long copies: whole blocks of 64 bytes. They answer how many words they did.
#[cfg(all(target_arch = "x86_64", not(all(test, loom)), not(miri)))]
mod blocks {
    use super::{AtomicU64, MaybeUninit, WORD};

    /// Bytes of a block.
    pub(super) const BLOCK: usize = 64;
    /// Bytes from which on a block copy is worth its set-up.
    pub(super) const WORTH_IT: usize = 64;
    /// Bytes from which on the processor's own copy is faster than the blocks. A copy of which the
    /// caller finds out whether it is whole needs no more of it than single bytes.
    const LONG: usize = 1024;

    #[inline(always)]
    pub(super) fn load(from: &[AtomicU64], to: &mut [MaybeUninit<u8>]) -> usize {
        let blocks = to.len() / BLOCK;
        if to.len() < WORTH_IT || !from.as_ptr().cast::<u8>().cast::<u128>().is_aligned() {
            return 0;
        }
        if to.len() >= LONG {
            let words = to.len() / WORD;
            // SAFETY: `to` has that many words and `from` is no shorter, says the caller's assertion.
            unsafe { move_words(from.as_ptr().cast(), to.as_mut_ptr().cast(), words) };
            return words;
        }
        // SAFETY: `to` has that many blocks and `from` is no shorter, says the caller's assertion;
        // it is aligned.
        unsafe { load_blocks(from.as_ptr().cast(), to.as_mut_ptr().cast(), blocks) };
        blocks * BLOCK / WORD
    }

    #[inline(always)]
    pub(super) fn store(to: &[AtomicU64], from: &[u8]) -> usize {
        let blocks = from.len() / BLOCK;
        if from.len() < WORTH_IT || !to.as_ptr().cast::<u8>().cast::<u128>().is_aligned() {
            return 0;
        }
        if from.len() >= LONG {
            let words = from.len() / WORD;
            // SAFETY: as in `load`; atomics may be written through shared references.
            unsafe { move_words(from.as_ptr(), to.as_ptr().cast_mut().cast(), words) };
            return words;
        }
        // SAFETY: as in `load`; atomics may be written through shared references.
        unsafe { store_blocks(to.as_ptr().cast_mut().cast(), from.as_ptr(), blocks) };
        blocks * BLOCK / WORD
    }

    /// # Safety
    /// Both ranges have that many words; one of them is shared memory.
    unsafe fn move_words(from: *const u8, to: *mut u8, words: usize) {
        // SAFETY: the caller vouches for both ranges; the direction flag is clear in Rust code.
        unsafe {
            core::arch::asm!(
                "rep movsq",
                inout("rcx") words => _,
                inout("rsi") from => _,
                inout("rdi") to => _,
                options(nostack, preserves_flags),
            );
        }
    }

    /// # Safety
    /// `from` is shared memory of that many blocks, aligned to 16, and `to` private memory of as many.
    pub(super) unsafe fn load_blocks(from: *const u8, to: *mut u8, blocks: usize) {
        if blocks == 0 {
            return;
        }
        // SAFETY: the caller vouches for both ranges; a block is read before it is written, `rsi`,
        // `rdi` and the counter end behind the last one.
        unsafe {
            core::arch::asm!(
                "2:",
                "movdqa {a}, [{from}]",
                "movdqa {b}, [{from} + 16]",
                "movdqa {c}, [{from} + 32]",
                "movdqa {d}, [{from} + 48]",
                "movdqu [{to}], {a}",
                "movdqu [{to} + 16], {b}",
                "movdqu [{to} + 32], {c}",
                "movdqu [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {blocks}",
                "jnz 2b",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                blocks = inout(reg) blocks => _,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }

    /// # Safety
    /// `to` is shared memory of that many blocks, aligned to 16, and `from` private memory of as many.
    pub(super) unsafe fn store_blocks(to: *mut u8, from: *const u8, blocks: usize) {
        if blocks == 0 {
            return;
        }
        // SAFETY: as in `load_blocks`.
        unsafe {
            core::arch::asm!(
                "2:",
                "movdqu {a}, [{from}]",
                "movdqu {b}, [{from} + 16]",
                "movdqu {c}, [{from} + 32]",
                "movdqu {d}, [{from} + 48]",
                "movdqa [{to}], {a}",
                "movdqa [{to} + 16], {b}",
                "movdqa [{to} + 32], {c}",
                "movdqa [{to} + 48], {d}",
                "add {from}, 64",
                "add {to}, 64",
                "dec {blocks}",
                "jnz 2b",
                from = inout(reg) from => _,
                to = inout(reg) to => _,
                blocks = inout(reg) blocks => _,
                a = out(xmm_reg) _, b = out(xmm_reg) _, c = out(xmm_reg) _, d = out(xmm_reg) _,
                options(nostack),
            );
        }
    }
}

#[cfg(any(not(target_arch = "x86_64"), all(test, loom), miri))]
mod blocks {
    use super::{AtomicU64, MaybeUninit};

    pub(super) fn load(_: &[AtomicU64], _: &mut [MaybeUninit<u8>]) -> usize {
        0
    }

    pub(super) fn store(_: &[AtomicU64], _: &[u8]) -> usize {
        0
    }
}

/// Elements in a row, each accessed by atomics of one size: the type's alignment, at most 8 bytes.
#[cfg(not(all(test, loom)))]
mod elements {
    use super::{Relaxed, WORD, blocks};
    use crate::sync::all::{AtomicU8, AtomicU16, AtomicU32, AtomicU64};

    /// Bytes of one access to a `T`, so that all accesses to an element are of one size.
    const fn unit<T>() -> usize {
        if align_of::<T>() < WORD { align_of::<T>() } else { WORD }
    }

    macro_rules! by_units {
        ($load:ident, $store:ident, $atomic:ty, $unit:ty) => {
            #[inline(always)]
            unsafe fn $load(from: *const u8, to: *mut u8, from_unit: usize, units: usize) {
                for i in from_unit..units {
                    // SAFETY: within the range and aligned, says the caller.
                    let word = unsafe { from.cast::<$atomic>().add(i) };
                    // SAFETY: as above; shared memory is accessed by atomics of this size alone.
                    let value = unsafe { &*word }.load(Relaxed);
                    // SAFETY: within the private range, says the caller.
                    let place = unsafe { to.cast::<$unit>().add(i) };
                    // SAFETY: as above.
                    unsafe { place.write_unaligned(value) };
                }
            }

            #[inline(always)]
            unsafe fn $store(to: *mut u8, from: *const u8, from_unit: usize, units: usize) {
                for i in from_unit..units {
                    // SAFETY: within the private range, says the caller.
                    let place = unsafe { from.cast::<$unit>().add(i) };
                    // SAFETY: as above; initialised, says the caller.
                    let value = unsafe { place.read_unaligned() };
                    // SAFETY: within the range and aligned, says the caller.
                    let word = unsafe { to.cast::<$atomic>().add(i) };
                    // SAFETY: as above; shared memory is accessed by atomics of this size alone.
                    unsafe { &*word }.store(value, Relaxed);
                }
            }
        };
    }

    by_units!(load_1, store_1, AtomicU8, u8);
    by_units!(load_2, store_2, AtomicU16, u16);
    by_units!(load_4, store_4, AtomicU32, u32);
    by_units!(load_8, store_8, AtomicU64, u64);

    /// How long copies split: units before the first aligned block, and blocks.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    fn split(shared: *const u8, bytes: usize, unit: usize) -> (usize, usize) {
        let head = shared.align_offset(16);
        if bytes < blocks::WORTH_IT + 16 || !head.is_multiple_of(unit) {
            return (0, 0);
        }
        (head, (bytes - head) / blocks::BLOCK)
    }

    /// Copies elements out of shared memory. Relaxed: an element is never torn below its unit, and
    /// nothing is ordered.
    ///
    /// # Safety
    /// `from` is `count` elements of shared memory, aligned for `T` and accessed by nothing else than
    /// these functions while this runs; `to` is private memory for as many.
    #[inline]
    pub(crate) unsafe fn load_elements<T>(from: *const T, to: *mut T, count: usize) {
        let (from, to) = (from.cast::<u8>(), to.cast::<u8>());
        let bytes = count * size_of::<T>();
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if bytes >= blocks::WORTH_IT {
            let (head, whole) = split(from, bytes, unit::<T>());
            if whole > 0 {
                // SAFETY: the units before the first aligned one.
                unsafe { load_range::<T>(from, to, 0, head) };
                let (block, place) = (from.wrapping_add(head), to.wrapping_add(head));
                // SAFETY: that many blocks follow, aligned.
                unsafe { blocks::load_blocks(block, place, whole) };
                // SAFETY: what is left.
                unsafe { load_range::<T>(from, to, head + whole * blocks::BLOCK, bytes) };
                return;
            }
        }
        // SAFETY: the whole range.
        unsafe { load_range::<T>(from, to, 0, bytes) };
    }

    /// Copies elements into shared memory, as [`load_elements`] does out of it.
    ///
    /// # Safety
    /// As [`load_elements`], the other way round; `from` is initialised to the last byte.
    #[inline]
    pub(crate) unsafe fn store_elements<T>(to: *mut T, from: *const T, count: usize) {
        let (from, to) = (from.cast::<u8>(), to.cast::<u8>());
        let bytes = count * size_of::<T>();
        #[cfg(all(target_arch = "x86_64", not(miri)))]
        if bytes >= blocks::WORTH_IT {
            let (head, whole) = split(to, bytes, unit::<T>());
            if whole > 0 {
                // SAFETY: the units before the first aligned one.
                unsafe { store_range::<T>(to, from, 0, head) };
                let (block, place) = (to.wrapping_add(head), from.wrapping_add(head));
                // SAFETY: that many blocks follow, aligned.
                unsafe { blocks::store_blocks(block, place, whole) };
                // SAFETY: what is left.
                unsafe { store_range::<T>(to, from, head + whole * blocks::BLOCK, bytes) };
                return;
            }
        }
        // SAFETY: the whole range.
        unsafe { store_range::<T>(to, from, 0, bytes) };
    }

    /// # Safety
    /// As [`load_elements`], for the bytes from `begin` to `end`, multiples of the unit.
    #[inline(always)]
    unsafe fn load_range<T>(from: *const u8, to: *mut u8, begin: usize, end: usize) {
        let unit = unit::<T>();
        let (begin, end) = (begin / unit, end / unit);
        match unit {
            // SAFETY: says the caller.
            1 => unsafe { load_1(from, to, begin, end) },
            // SAFETY: says the caller.
            2 => unsafe { load_2(from, to, begin, end) },
            // SAFETY: says the caller.
            4 => unsafe { load_4(from, to, begin, end) },
            // SAFETY: says the caller.
            _ => unsafe { load_8(from, to, begin, end) },
        }
    }

    /// # Safety
    /// As [`store_elements`], for the bytes from `begin` to `end`, multiples of the unit.
    #[inline(always)]
    unsafe fn store_range<T>(to: *mut u8, from: *const u8, begin: usize, end: usize) {
        let unit = unit::<T>();
        let (begin, end) = (begin / unit, end / unit);
        match unit {
            // SAFETY: says the caller.
            1 => unsafe { store_1(to, from, begin, end) },
            // SAFETY: says the caller.
            2 => unsafe { store_2(to, from, begin, end) },
            // SAFETY: says the caller.
            4 => unsafe { store_4(to, from, begin, end) },
            // SAFETY: says the caller.
            _ => unsafe { store_8(to, from, begin, end) },
        }
    }
}

#[cfg(not(all(test, loom)))]
pub(crate) use elements::{load_elements, store_elements};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_length_comes_back_and_nothing_beside_it_changes() {
        let words: Vec<AtomicU64> = (0..40).map(|_| AtomicU64::new(u64::MAX)).collect();
        for length in 0..=300usize {
            let bytes: Vec<u8> = (0..length).map(|i| (i * 7 + length) as u8).collect();
            store(&words, &bytes);
            let mut back = vec![MaybeUninit::new(0xee); length];
            load(&words, &mut back);
            // SAFETY: `load` wrote all of it, and it was initialised before.
            let back: Vec<u8> = back.iter().map(|b| unsafe { b.assume_init() }).collect();
            assert_eq!(back, bytes, "length {length}");
            let behind = length.div_ceil(WORD);
            assert!(words[behind..].iter().all(|w| w.load(Relaxed) == u64::MAX), "{length}");
        }
    }

    fn elements_come_back<T: Copy + PartialEq + core::fmt::Debug>(value: impl Fn(usize) -> T) {
        let total = 400usize;
        let old: Vec<T> = (0..total).map(|_| value(9999)).collect();
        for first in 0..9 {
            for count in [0, 1, 2, 15, 16, 17, 63, 64, 100, 257, total - 9] {
                let mut shared = old.clone();
                let new: Vec<T> = (0..count).map(&value).collect();
                // SAFETY: within `shared`, which nothing else accesses.
                let place = unsafe { shared.as_mut_ptr().add(first) };
                // SAFETY: as above.
                unsafe { store_elements(place, new.as_ptr(), count) };
                let mut back: Vec<T> = vec![value(1); count];
                // SAFETY: as above.
                unsafe { load_elements(place, back.as_mut_ptr(), count) };
                assert_eq!(back, new, "{count} from {first}");
                assert_eq!(shared[..first], old[..first], "{count} from {first}");
                assert_eq!(shared[first + count..], old[first + count..], "{count} from {first}");
            }
        }
    }

    #[test]
    fn elements_of_every_unit_come_back() {
        elements_come_back(|i| i as u8);
        elements_come_back(|i| [i as u8, (i >> 3) as u8, 7]);
        elements_come_back(|i| i as u16);
        elements_come_back(|i| [i as u32, !i as u32, 3]);
        elements_come_back(|i| i as f64);
        elements_come_back(|i| [i as u128, 5]);
        elements_come_back(|_| ());
    }
}
