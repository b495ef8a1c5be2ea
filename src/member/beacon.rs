//! Beacons: being told at once that a process has died.
//!
//! The lock that proves a death falls only after the kernel has freed the dead process's memory,
//! and nothing wakes on it. So each participant also has a word in the robust list of one of its
//! threads. At the thread's death, before anything else, the kernel marks the word and wakes a
//! sleeper. A sleeper that depends on a process watches its beacon beside the word it waits for.
//!
//! A beacon belongs to a thread, so it is a hint that it is time to ask, never the answer. A thread
//! that ends in order takes its beacons out of its list; the next slow operation of another thread
//! of the process links them again, and meanwhile the word is 0 and sleepers look on a timer.
//!
//! Each word of a list has to stay mapped. So a thread's record of its beacons owns the
//! memberships, and through them the mappings: dropping the last handle of a segment in another
//! thread lets both go at this thread's next slow operation, or at its end.

#![allow(unsafe_code, reason = "links words into the thread's robust list")]

use super::Membership;
use crate::sync::local::Ordering;
use crate::sys::robust::{List, Slot};
use std::cell::RefCell;
use std::sync::Arc;

/// Beacons a thread can have beside its locks. A process with more segments goes without, and its
/// peers look on a timer.
const LIMIT: usize = 512;

thread_local! {
    static MINE: Mine = const { Mine(RefCell::new(Vec::new())) };
}

/// The memberships whose beacons are in this thread's list.
struct Mine(RefCell<Vec<Lit>>);

/// A beacon that is linked, and where.
struct Lit {
    membership: Arc<Membership>,
    slot: Slot,
}

impl Drop for Mine {
    fn drop(&mut self) {
        for lit in self.0.take() {
            extinguish(lit);
        }
    }
}

/// Links the beacon of a membership into the calling thread's list, unless another thread of the
/// process has it.
pub(crate) fn arm(membership: &Arc<Membership>) {
    if !membership.is_current() || membership.armed.load(Ordering::Relaxed) != 0 {
        return;
    }
    // A thread that is past its destructors arms nothing.
    let _ = MINE.try_with(|mine| {
        let Ok(mut mine) = mine.0.try_borrow_mut() else { return };
        let idle = |lit: &mut Lit| lit.membership.retired.load(Ordering::Relaxed) != 0;
        for idle in mine.extract_if(.., idle) {
            extinguish(idle);
        }
        let Some(list) = List::of_this_thread().filter(|_| mine.len() < LIMIT) else { return };
        if membership.armed.swap(1, Ordering::AcqRel) != 0 {
            return;
        }
        // SAFETY: `armed` was 0, so the word is in no list of this process, and no other process
        // links the word of a stamp that is ours; it stays mapped because `mine` owns the
        // membership until `extinguish`.
        match unsafe { list.link(&membership.entry().beacon) } {
            Some(slot) => mine.push(Lit { membership: membership.clone(), slot }),
            None => membership.armed.store(0, Ordering::Release),
        }
    });
}

/// Lets a membership go that nobody needs any more: now, if its beacon is in this thread's list or
/// in none.
pub(crate) fn retire(membership: Arc<Membership>) {
    membership.retired.store(1, Ordering::Relaxed);
    let _ = MINE.try_with(|mine| {
        let Ok(mut mine) = mine.0.try_borrow_mut() else { return };
        if let Some(i) = mine.iter().position(|lit| Arc::ptr_eq(&lit.membership, &membership)) {
            extinguish(mine.swap_remove(i));
        }
    });
}

/// Takes a beacon out of this thread's list.
fn extinguish(Lit { membership, slot }: Lit) {
    if !membership.is_current() {
        // A forked child's copy of its parent's records: libc gave the child an empty list.
        return;
    }
    let unlinked = List::of_this_thread().is_some_and(|list| {
        // SAFETY: this thread linked it in this process, and the membership keeps it mapped.
        unsafe { list.unlink(&membership.entry().beacon, slot) }
    });
    if unlinked {
        membership.armed.store(0, Ordering::Release);
    } else {
        std::mem::forget(membership);
    }
}
