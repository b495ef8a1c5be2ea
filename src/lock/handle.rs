//! A handle to a lock: what keeps it mapped while it is held.
//!
//! A held lock is in its thread's robust list, and has to stay mapped and remain what it is until it
//! is out of it. A guard borrows the handle, so the handle lasts as long. A guard that is *leaked*
//! does not, so the handle notes that it is held, and keeps the object for the rest of the process's
//! life if it is dropped so.

use super::LockError;
use crate::segment::{Attachment, Held, Shared};
use crate::sync::local::{AtomicU32, Ordering::Relaxed};
use crate::sync::robust::List;
use crate::sys::fork;
use crate::sys::process::pid_namespace;
use crate::{Error, Result};
use std::mem::ManuallyDrop;
use std::ops::Deref;

/// A handle to an object that has one owner at a time, whose state is a `P`.
pub(crate) struct Handle<P: Shared> {
    held: ManuallyDrop<Held<P>>,
    /// The fork epoch in which this process is known to hold the object.
    settled: AtomicU32,
    /// The fork epoch in which a thread of this process owns the lock by this handle; 0: none does.
    /// Written by the owner.
    owned: AtomicU32,
}

impl<P: Shared> Handle<P> {
    /// # Errors
    /// [`Error::OtherPidNamespace`], [`Error::Corrupted`].
    pub(crate) fn new(attachment: Attachment) -> Result<Self> {
        Self::over(Held::new(attachment)?)
    }

    fn over(held: Held<P>) -> Result<Self> {
        check_namespace(&held)?;
        let (settled, owned) = (AtomicU32::new(0), AtomicU32::new(0));
        Ok(Handle { held: ManuallyDrop::new(held), settled, owned })
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
        let list = List::of_this_thread().ok_or(LockError::NoRobustList)?;
        // Relaxed: the number carries no data.
        if self.settled.load(Relaxed) != list.epoch() {
            self.settle(list)?;
        }
        Ok(list)
    }

    #[cold]
    #[inline(never)]
    fn settle(&self, list: List) -> Result<(), LockError> {
        check_namespace(&self.held)?;
        self.held.attachment().settle()?;
        self.settled.store(list.epoch(), Relaxed);
        Ok(())
    }

    /// Notes that the calling thread has acquired the lock by this handle.
    #[inline(always)]
    pub(crate) fn acquired(&self, list: List) {
        self.owned.store(list.epoch(), Relaxed);
    }

    /// Keeps the object for the rest of the process's life once the handle is dropped.
    pub(crate) fn keep(&self) {
        self.owned.store(fork::epoch(), Relaxed);
    }

    /// The calling thread's list, where this is the process that acquired the lock by this handle,
    /// and not a child that has a copy of the guard.
    #[inline(always)]
    pub(crate) fn owner(&self) -> Option<List> {
        // Relaxed: the thread's own store, and a number that carries no data. No process has the
        // epoch 0, and a guard does not leave its thread: so the thread's records are of this epoch.
        let owned = self.owned.load(Relaxed);
        (owned == fork::epoch_word().load(Relaxed) && owned != 0).then(List::known)
    }

    /// Notes that the calling thread is about to release it.
    #[inline(always)]
    pub(crate) fn releases(&self) {
        self.owned.store(0, Relaxed);
    }
}

fn check_namespace<P: Shared>(held: &Held<P>) -> Result<()> {
    let attachment = held.attachment();
    if attachment.core().geometry().namespace != pid_namespace() {
        return Err(Error::OtherPidNamespace { name: attachment.name().to_owned() });
    }
    Ok(())
}

impl<P: Shared> Deref for Handle<P> {
    type Target = P;

    #[inline(always)]
    fn deref(&self) -> &P {
        &self.held
    }
}

#[allow(unsafe_code, reason = "drops by hand, or not")]
impl<P: Shared> Drop for Handle<P> {
    fn drop(&mut self) {
        let owned = *self.owned.get_mut();
        if owned == 0 || owned != fork::epoch() {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.held) };
        }
    }
}
