//! The rights to the elements of a locked array.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::hold::{Hold, Repair};
#[cfg(feature = "serde")]
use super::loan::{self, Loan};
use super::wait_guard::{Paused, WaitGuard};
use super::{LockError, LockedArray};
use crate::segment::Element;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// The right to the elements of a [`LockedArray`]; dropped, it releases the lock.
///
/// Belongs to the thread that acquired it. A copy in a forked child does nothing when dropped.
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// let array = commons::LockedArray::new(3, 0u64).unwrap();
/// is_send(array.lock().unwrap());
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct ArrayGuard<'a, T> {
    array: &'a LockedArray<T>,
    hold: DoubtfulHold<'a>,
}

/// A lock that is held over elements which may be in doubt.
struct DoubtfulHold<'a> {
    hold: ManuallyDrop<Hold<'a>>,
    /// Whether some may be half changed: see [`ArrayGuard::is_in_doubt`].
    in_doubt: bool,
}

impl<'a> DoubtfulHold<'a> {
    /// The hold, and whether something is in doubt.
    fn take(&mut self) -> (Hold<'a>, bool) {
        // SAFETY: taken by the drop, or by who forgets this.
        (unsafe { ManuallyDrop::take(&mut self.hold) }, self.in_doubt)
    }
}

impl Drop for DoubtfulHold<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        let (hold, in_doubt) = self.take();
        if in_doubt {
            hold.release_poisoned();
        }
    }
}

impl<'a, T> ArrayGuard<'a, T> {
    #[inline(always)]
    pub(super) fn new(array: &'a LockedArray<T>, hold: Hold<'a>) -> Self {
        let hold = DoubtfulHold { hold: ManuallyDrop::new(hold), in_doubt: false };
        ArrayGuard { array, hold }
    }

    /// Whether [`Pool::for_each_slice_of`](crate::Pool::for_each_slice_of) may have left some elements
    /// half changed. Dropped in this state, the guard leaves the lock
    /// [poisoned](LockError::Poisoned).
    #[cfg(feature = "serde")]
    pub fn is_in_doubt(&self) -> bool {
        self.hold.in_doubt
    }

    /// Says that the elements are consistent, whatever was in doubt.
    #[cfg(feature = "serde")]
    pub fn mark_consistent(&mut self) {
        self.hold.in_doubt = false;
    }

    /// Some elements may be half changed.
    #[cfg(feature = "serde")]
    pub(crate) fn put_in_doubt(&mut self) {
        self.hold.in_doubt = true;
    }

    /// Lends the elements to other processes, until the loan is dropped.
    #[cfg(feature = "serde")]
    pub(crate) fn lend(&self) -> Result<Loan<'_>, LockError> {
        if !self.hold.hold.is_ours() {
            return Err(LockError::Forked);
        }
        loan::lend(self.array.handle.held().attachment())
    }

    /// Where in their file the elements begin, in bytes.
    #[cfg(feature = "serde")]
    pub(crate) fn offset(&self) -> crate::Result<u64> {
        let base = self.array.handle.held().attachment().core().mapping().range(0, 0, 1)?;
        Ok((self.array.elements.addr().get() - base.addr().get()) as u64)
    }
}

impl<'a, T: Element> Paused for ArrayGuard<'a, T> {
    type Rest = &'a LockedArray<T>;

    fn pause(self) -> Result<Self::Rest, LockError> {
        let mut hold = ManuallyDrop::new(self.hold);
        match hold.take() {
            (hold, false) => hold.pause()?,
            (hold, true) => hold.release_poisoned(),
        }
        Ok(self.array)
    }

    fn resume(array: Self::Rest) -> Result<Self, LockError> {
        array.lock()
    }
}

impl<T: Element> WaitGuard for ArrayGuard<'_, T> {
    type Value = [T];

    fn look<R>(&mut self, look: impl FnOnce(&mut [T]) -> R) -> R {
        look(self)
    }
}

/// The right to look at what the last owner of a [`LockedArray`] left. Dropped, it releases the lock
/// and leaves it as it was found.
///
/// # When a process dies
/// A repairer that dies is told of as [`LockError::OwnerDied`] in its turn.
#[must_use = "the lock is released, and not repaired, when the guard is dropped"]
pub struct ArrayRecoveryGuard<'a, T> {
    array: &'a LockedArray<T>,
    repair: Repair<'a>,
}

impl<'a, T> ArrayRecoveryGuard<'a, T> {
    pub(super) fn new(array: &'a LockedArray<T>, repair: Repair<'a>) -> Self {
        ArrayRecoveryGuard { array, repair }
    }

    /// Whether the last owner died or panicked inside.
    pub fn is_damaged(&self) -> bool {
        self.repair.is_damaged()
    }

    /// Says that the elements are consistent, and goes on as their owner.
    pub fn mark_consistent(self) -> ArrayGuard<'a, T> {
        ArrayGuard::new(self.array, self.repair.done())
    }
}

macro_rules! leads_to_the_elements {
    ($guard:ident) => {
        impl<T> Deref for $guard<'_, T> {
            type Target = [T];

            #[inline(always)]
            fn deref(&self) -> &[T] {
                // SAFETY: values, as was seen when they were acquired, which are the owner's.
                unsafe { self.array.slice().as_ref() }
            }
        }

        impl<T> DerefMut for $guard<'_, T> {
            #[inline(always)]
            fn deref_mut(&mut self) -> &mut [T] {
                // SAFETY: as in `deref`.
                unsafe { self.array.slice().as_mut() }
            }
        }

        impl<T: fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                (**self).fmt(f)
            }
        }
    };
}

leads_to_the_elements!(ArrayGuard);
leads_to_the_elements!(ArrayRecoveryGuard);
