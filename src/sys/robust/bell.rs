//! The death bell: the kernel wakes one sleeper of a word if the calling thread dies.
//!
//! The pending slot of the thread's robust list may point to a word whose owner bits are 0. At the
//! death of the thread the kernel then wakes one sleeper of that word and does nothing else
//! (`handle_futex_death` in Linux's `kernel/futex/core.c`). Two stores, no system call, on every
//! kernel that has robust lists as they are since 5.3.
//!
//! Only one word can be pending, and a lock needs the slot while it is acquired and released. So a
//! bell is armed only where the slot is free, or holds a lock that is linked, too; who cannot arm one
//! relies on the sleepers' slices.
//!
//! Nothing here allocates, and a signal handler that comes in between finds the slot taken and leaves
//! it alone, or puts back what it found: [`arm`] and [`disarm`] are async-signal-safe.

use super::head::head;
use super::thread;
use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::local::compiler_fence;

/// What was pending before a bell was armed; `None`: it is not armed, since there is no list or the
/// slot is in use.
#[derive(Clone, Copy, Debug)]
#[must_use = "it is to be disarmed"]
pub(crate) struct Armed(Option<u64>);

/// Has the kernel wake one sleeper of `bell` should the thread die before [`disarm`]. The owner bits
/// of the word are always 0.
///
/// Nothing of the thread's list is locked, unlocked or linked before [`disarm`], and the word stays
/// mapped.
#[inline]
pub(crate) fn arm(bell: &AtomicU32) -> Armed {
    let Some(head) = head() else { return Armed(None) };
    // Relaxed, here and below: the thread's own, and read by the kernel after its last instruction.
    let before = head.pending.load(Ordering::Relaxed);
    if before != 0 && !thread::known().is_newest(before) {
        return Armed(None);
    }
    let node = (bell.as_ptr() as u64).wrapping_sub(head.offset as u64);
    head.pending.store(node, Ordering::Relaxed);
    // A kill comes between two instructions: the order in which they are is all that matters.
    compiler_fence(Ordering::SeqCst);
    Armed(Some(before))
}

/// [`arm`] where the slot was the caller's, and may hold another word of its own by now.
#[inline]
pub(crate) fn arm_again(bell: &AtomicU32) {
    if let Some(head) = head() {
        let node = (bell.as_ptr() as u64).wrapping_sub(head.offset as u64);
        compiler_fence(Ordering::SeqCst);
        head.pending.store(node, Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }
}

/// Takes back what [`arm`] did.
#[inline]
pub(crate) fn disarm(Armed(before): Armed) {
    compiler_fence(Ordering::SeqCst);
    if let (Some(before), Some(head)) = (before, head()) {
        head.pending.store(before, Ordering::Relaxed);
    }
}
