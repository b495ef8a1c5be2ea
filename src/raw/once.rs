//! Something that one thread does once, or the next one if it dies over it.
//!
//! Who does it has the *door*, a [`RawMutex`], and makes the number of a [`Phase`] odd; when it is
//! done the number is [`DONE`] for good. If it dies, the kernel frees the door, and the next one begins
//! anew. Who only waits for the end sleeps on the number and the door while somebody is at it, and on
//! the number alone while nobody is.
//!
//! | who dies | what follows |
//! |---|---|
//! | who is at it | the kernel wakes one who sleeps on the door; a waiter makes the number even again |
//! | who has done it, before it woke anybody | the same one passes the wake on |
//! | who has begun, before it woke anybody | who waits for a beginning goes on waiting: it is one no more |

#![allow(unsafe_code, reason = "passes the contracts of the mutex on")]

use super::mutex::{RawMutex, Refusal};
use super::phase::{DONE, Phase};
use crate::sync::const_fn;
use crate::sync::robust::{List, Slot};

/// The state, in front of the value, if there is one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawOnce {
    door: RawMutex,
    phase: Phase,
}

impl RawOnce {
    const_fn! {
        /// Not done.
        pub(crate) const fn new() -> Self {
            RawOnce { door: RawMutex::new(), phase: Phase::new() }
        }
    }

    /// Whether it is done: an Acquire of what was.
    #[inline(always)]
    pub(crate) fn is_done(&self) -> bool {
        self.phase.is(DONE)
    }

    /// The thread that is at it. Stale by the time the caller looks.
    pub(crate) fn worker(&self) -> Option<u32> {
        self.door.owner_thread()
    }

    /// Begins it, waiting for who is at it until `deadline`; `None`: it is done.
    ///
    /// # Safety
    /// `list` is the calling thread's, and the lock stays mapped until [`RawOnce::complete`] or
    /// [`RawOnce::abandon`] has returned true or the thread has ended.
    pub(crate) unsafe fn begin(&self, list: List, deadline: u64) -> Result<Option<Slot>, Refusal> {
        // SAFETY: as the caller's.
        let slot = unsafe { self.door.lock(list, deadline) }?;
        if self.is_done() {
            // Whoever did it may have died before it woke everybody.
            self.phase.settle();
            // SAFETY: acquired above.
            return if unsafe { self.door.unlock(list, slot) } {
                Ok(None)
            } else {
                Err(Refusal::Broken)
            };
        }
        self.phase.begin_and_tell();
        Ok(Some(slot))
    }

    /// It is done. False: as [`RawMutex::unlock`].
    ///
    /// # Safety
    /// [`RawOnce::begin`] gave `slot` to the calling thread, in this process, whose `list` it is.
    pub(crate) unsafe fn complete(&self, list: List, slot: Slot) -> bool {
        self.phase.finish(DONE);
        // SAFETY: as the caller's.
        unsafe { self.door.unlock(list, slot) }
    }

    /// It came to nothing. False: as [`RawMutex::unlock`].
    ///
    /// # Safety
    /// As [`RawOnce::complete`].
    pub(crate) unsafe fn abandon(&self, list: List, slot: Slot) -> bool {
        self.phase.reopen();
        // SAFETY: as the caller's.
        unsafe { self.door.unlock(list, slot) }
    }

    /// Waits until it is done.
    pub(crate) fn wait(&self, list: List, deadline: u64) -> Result<(), Refusal> {
        loop {
            let number = self.phase.number();
            if number == DONE {
                return Ok(());
            }
            if number.is_multiple_of(2) {
                self.phase.await_beginning(number, deadline)?;
            } else {
                let door = (&self.door, list);
                self.phase.await_change(door, number, Phase::reopen, deadline)?;
            }
        }
    }
}
