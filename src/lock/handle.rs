//! A handle to a lock: what keeps it mapped while it is held.
//!
//! A held lock is in its thread's robust list, and has to stay mapped and remain what it is until it
//! is out of it. A guard borrows the handle, so the handle lasts as long. A guard that is *leaked*
//! does not. So a handle that is dropped looks whether a thread of this process has a word of the
//! object in its list, and if so leaves the object to be let go by a later one that finds that it has
//! not.

use super::LockError;
use crate::segment::{Attachment, Held, Shared};
use crate::sync::local::{AtomicU32, Ordering::Relaxed};
use crate::sync::robust::{List, has_linked};
use crate::sys::per_process::PerProcess;
use crate::sys::process::pid_namespace;
use crate::{Error, Result};
use std::any::Any;
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::ops::{Deref, Range};
use std::ptr;

/// No epoch, and not what a thread has that has not begun.
const UNSETTLED: u32 = u32::MAX;

/// A handle to an object that has one owner at a time, whose state is a `P`.
pub(crate) struct Handle<P: Shared + 'static> {
    held: ManuallyDrop<Held<P>>,
    /// The fork epoch in which this process is known to hold the object.
    settled: AtomicU32,
}

impl<P: Shared + 'static> Handle<P> {
    /// # Errors
    /// [`Error::OtherPidNamespace`], [`Error::Corrupted`].
    pub(crate) fn new(attachment: Attachment) -> Result<Self> {
        Self::over(Held::new(attachment)?)
    }

    fn over(held: Held<P>) -> Result<Self> {
        check_namespace(&held)?;
        Ok(Handle { held: ManuallyDrop::new(held), settled: AtomicU32::new(UNSETTLED) })
    }

    /// Another handle of the same process to the same object.
    pub(crate) fn again(&self) -> Result<Self> {
        Self::over(self.held.again()?)
    }

    pub(crate) fn held(&self) -> &Held<P> {
        &self.held
    }

    /// The calling thread's list, once it is sure that this process holds the object.
    #[inline(always)]
    pub(crate) fn list(&self) -> Result<List, LockError> {
        match self.settled_list() {
            Some(list) => Ok(list),
            None => self.settle(),
        }
    }

    /// The same, where it has been asked before.
    #[inline(always)]
    pub(crate) fn settled_list(&self) -> Option<List> {
        // Relaxed: the number carries no data.
        List::of_epoch(self.settled.load(Relaxed))
    }

    #[cold]
    #[inline(never)]
    fn settle(&self) -> Result<List, LockError> {
        let list = List::of_this_thread().ok_or(LockError::NoRobustList)?;
        if self.settled.load(Relaxed) != list.epoch() {
            check_namespace(&self.held)?;
            self.held.attachment().settle()?;
            self.settled.store(list.epoch(), Relaxed);
        }
        Ok(list)
    }
}

fn check_namespace<P: Shared>(held: &Held<P>) -> Result<()> {
    let attachment = held.attachment();
    if attachment.core().geometry().namespace != pid_namespace() {
        return Err(Error::OtherPidNamespace { name: attachment.name().to_owned() });
    }
    Ok(())
}

impl<P: Shared + 'static> Deref for Handle<P> {
    type Target = P;

    #[inline(always)]
    fn deref(&self) -> &P {
        &self.held
    }
}

/// Objects whose handles were dropped while a thread of this process had a word of them linked.
static LINKED: PerProcess<VecDeque<Linked>> = PerProcess::new();
/// How many of them a dropped handle looks at: more than one, so that they become fewer.
const LOOKS: usize = 2;

struct Linked {
    /// Where its words may be.
    range: Range<u64>,
    _held: Box<dyn Any + Send>,
}

#[allow(unsafe_code, reason = "drops by hand, or later")]
impl<P: Shared + 'static> Drop for Handle<P> {
    fn drop(&mut self) {
        // SAFETY: taken once, here.
        let held = unsafe { ManuallyDrop::take(&mut self.held) };
        let begin = ptr::from_ref::<P>(&held) as u64;
        let range = begin..begin + held.attachment().place().payload_size;
        let mut linked = LINKED.lock();
        let mut over = Vec::new();
        for _ in 0..LOOKS.min(linked.len()) {
            let Some(oldest) = linked.pop_front() else { break };
            if has_linked(&oldest.range) {
                linked.push_back(oldest);
            } else {
                over.push(oldest);
            }
        }
        if has_linked(&range) {
            linked.push_back(Linked { range, _held: Box::new(held) });
        }
        drop(linked);
        drop(over);
    }
}
