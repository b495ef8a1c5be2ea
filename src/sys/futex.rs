//! `futex_waitv` and `FUTEX_WAKE` on words of shared memory.

#![allow(unsafe_code, reason = "system calls")]

use super::time;
use crate::sync::local::{AtomicU32, Ordering};

/// One word of a `futex_waitv`: the kernel's `struct futex_waitv`.
#[repr(C)]
struct Waiter {
    expected: u64,
    address: u64,
    flags: u32,
    reserved: u32,
}

/// `FUTEX2_SIZE_U32`, and not private: the words are shared between processes.
const SHARED_U32: u32 = 2;

/// How long a sleeper that can watch only one of its words goes without looking at the other, in
/// nanoseconds.
const FALLBACK_SLICE: u64 = 5_000_000;

/// 0 until the first call has shown whether the kernel has `futex_waitv`, then 1 (yes) or 2 (no).
static WAITV: AtomicU32 = AtomicU32::new(0);

/// Words that one sleep can watch.
pub(crate) const WORDS: usize = 128;

/// Sleeps while `word` and `other` hold what is expected of them, until either is woken, a signal
/// arrives or `deadline` (of [`time::now`]) passes. Returns in each case without saying why.
///
/// A kernel without `futex_waitv` (before 5.16) watches `word` alone, a few milliseconds at a time.
pub(crate) fn wait_either(
    word: (&AtomicU32, u32),
    other: Option<(&AtomicU32, u32)>,
    deadline: Option<u64>,
) {
    match other {
        None => wait_one(word, deadline),
        Some(other) => {
            wait_any(&[word, other], deadline);
        }
    }
}

/// Sleeps while all words hold what is expected of them, until one is woken, a signal arrives or
/// `deadline` passes. Gives the last of those that were woken; `None` says nothing.
///
/// A kernel without `futex_waitv` watches the first word alone, a few milliseconds at a time.
///
/// # Panics
/// If there is no word, or more than [`WORDS`].
pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], deadline: Option<u64>) -> Option<usize> {
    if WAITV.load(Ordering::Relaxed) != 2 {
        let result = if words.len() <= 2 {
            waitv::<2>(words, deadline)
        } else {
            waitv::<WORDS>(words, deadline)
        };
        let missing =
            result < 0 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ENOSYS);
        // Relaxed: a hint that every thread may find out again for itself.
        WAITV.store(if missing { 2 } else { 1 }, Ordering::Relaxed);
        if !missing {
            return usize::try_from(result).ok();
        }
    }
    let slice = time::now() + FALLBACK_SLICE;
    wait_one(words[0], Some(deadline.map_or(slice, |d| d.min(slice))));
    None
}

/// The system call, for at most `N` words.
fn waitv<const N: usize>(words: &[(&AtomicU32, u32)], deadline: Option<u64>) -> libc::c_long {
    let mut waiters = [const { Waiter { expected: 0, address: 0, flags: 0, reserved: 0 } }; N];
    let waiters = &mut waiters[..words.len()];
    for (waiter, (word, expected)) in waiters.iter_mut().zip(words) {
        waiter.expected = u64::from(*expected);
        waiter.address = word.as_ptr() as u64;
        waiter.flags = SHARED_U32;
    }
    let spec = deadline.map(time::spec);
    let spec = spec.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: `waiters` holds as many entries as are said, each the address of a live aligned word
    // that the kernel only reads; `spec` is null or a live timespec.
    unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            waiters.len() as libc::c_uint,
            0 as libc::c_uint,
            spec,
            libc::CLOCK_MONOTONIC,
        )
    }
}

fn wait_one((word, expected): (&AtomicU32, u32), deadline: Option<u64>) {
    let spec = deadline.map(time::spec);
    let spec = spec.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: `word` is a live aligned word that the kernel only reads; `spec` is null or a live
    // timespec, absolute for this operation; the second address is not used by it.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET,
            expected,
            spec,
            core::ptr::null::<u32>(),
            u32::MAX,
        )
    };
}

/// Wakes up to `count` sleepers of `word` and returns how many it woke.
pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    // SAFETY: `FUTEX_WAKE` uses the address as a key and writes nothing.
    let woken = unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, count) };
    u32::try_from(woken).unwrap_or(0)
}
