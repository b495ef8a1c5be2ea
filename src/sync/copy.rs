//! Copies between private memory and memory that other processes may be writing or reading.
//!
//! A plain copy that races is undefined behaviour, even one whose result is thrown away. So the
//! shared side is accessed by relaxed atomics, a word or an element at a time (Boehm, "Can Seqlocks
//! Get Along with Programming Language Memory Models?", 2012). The compiler neither joins nor
//! vectorises those. Long copies on x86-64 are therefore done by assembly, which to the language is
//! a sequence of such accesses: moves of 16 or 32 bytes, which no processor in use today splits
//! below 8 aligned bytes, in program order as all loads and all stores there are; or, where the
//! caller finds out afterwards whether the copy is whole, the processor's string move, whose accesses
//! may change places among themselves and with nothing before or after it.

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

#[cfg(all(target_arch = "x86_64", not(all(test, loom)), not(miri)))]
mod blocks;
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

#[cfg(not(all(test, loom)))]
mod elements;
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
