//! Elements in a row, each accessed by atomics of one size: the type's alignment, at most 8 bytes.

#![allow(unsafe_code, reason = "copies between private and shared memory")]

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
