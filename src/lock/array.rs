//! Many values in a row, behind one lock.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::LockError;
use super::array_guard::{ArrayGuard, ArrayRecoveryGuard};
use super::handle::Handle;
use super::loan;
use super::mutex::show;
use crate::Result;
use crate::cell::{any_bytes_are_a_value, row};
use crate::raw::mutex::RawMutex;
use crate::segment::{
    Attachment, Element, Kind, Location, ObjectInfo, Segment, constructors, travels,
};
use crate::sys::time;
use crate::wait::NEVER;
use std::fmt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// A fixed number of values in a row, that one thread of all processes has at a time, as a
/// `&mut [T]` in place.
///
/// It is to [`Array`](crate::Array) what [`Mutex`](crate::Mutex) is to [`Value`](crate::Value): the
/// elements are reached under the lock alone, which is why it is a type of its own and why neither
/// can be opened as the other. Cloning gives another handle to the same elements.
///
/// # When a process dies
/// As with [`Mutex`](crate::Mutex): if the owner was inside, [`LockedArray::lock`] answers
/// [`LockError::OwnerDied`] until somebody has looked at the elements and said that they are
/// consistent, by [`LockedArray::lock_or_repair`] or [`LockedArray::recover`]. Elements that it was
/// writing have old or new values.
///
/// # Fork, trust
/// As with [`Mutex`](crate::Mutex). Where not all bytes are a value of `T` (`bool`, an `enum`), all
/// elements are checked whenever the lock is acquired.
///
/// # Examples
/// ```
/// use commons::{LockedArray, Process};
///
/// let scores = LockedArray::from_slice(&[3u32, 1, 2])?;
/// let theirs = scores.clone();
/// let child = Process::spawn(move || theirs.lock().expect("nobody dies here").sort())?;
/// child.join()?;
/// let mut scores = scores.lock()?;
/// scores[0] = 7;
/// assert_eq!(*scores, [7, 2, 3]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct LockedArray<T> {
    pub(super) handle: Handle<RawMutex>,
    pub(super) elements: NonNull<T>,
    len: usize,
}

// SAFETY: the elements are reached under the lock alone, and are the object's for as long as the
// handle.
unsafe impl<T: Send> Send for LockedArray<T> {}
// SAFETY: as above: the lock gives them to one thread at a time.
unsafe impl<T: Send> Sync for LockedArray<T> {}

impl<T: Element> LockedArray<T> {
    fn over(attachment: Attachment) -> Result<Self> {
        let handle = Handle::<RawMutex>::new(attachment)?;
        let (elements, len) = row::elements(handle.held())?;
        Ok(LockedArray { handle, elements, len })
    }

    fn make(location: Location<'_>, len: usize, fill: T) -> Result<Self> {
        let (kind, head) = (Kind::LockedArray, RawMutex::new());
        Self::over(row::make_filled(location, kind, head, len, fill)?)
    }

    fn make_from(location: Location<'_>, values: &[T]) -> Result<Self> {
        let (kind, head) = (Kind::LockedArray, RawMutex::new());
        let parts = std::iter::once(values);
        Self::over(row::make(location, kind, head, values.len(), parts)?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::LockedArray, 0))?)
    }

    /// Makes an array of `len` copies of `fill` without a name, for clones of the handle in children.
    /// An array of no elements is one.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge), [`NoSpace`](crate::Error::NoSpace).
    pub fn new(len: usize, fill: T) -> Result<Self> {
        Self::make(Location::Unnamed, len, fill)
    }

    constructors!("an array", len: usize, fill: T);

    /// Makes an array with these elements, without a name.
    ///
    /// # Errors
    /// As [`LockedArray::new`].
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Self::make_from(Location::Unnamed, values)
    }

    /// Makes an array with these elements and gives it a name.
    ///
    /// # Errors
    /// As [`LockedArray::create`].
    pub fn create_from(name: &str, values: &[T]) -> Result<Self> {
        Self::make_from(Location::Named(name), values)
    }

    /// Makes an array with these elements in a segment, under a label.
    ///
    /// # Errors
    /// As [`LockedArray::new_in`].
    pub fn new_from_in(segment: &Segment, label: &str, values: &[T]) -> Result<Self> {
        Self::make_from(Location::In(segment, label), values)
    }

    /// Acquires the lock, and with it all elements.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock).
    ///
    /// # Blocking
    /// As [`Mutex::lock`](crate::Mutex::lock).
    #[inline]
    pub fn lock(&self) -> Result<ArrayGuard<'_, T>, LockError> {
        self.lock_until(NEVER)
    }

    /// Acquires the lock if it is free.
    ///
    /// # Errors
    /// As [`Mutex::try_lock`](crate::Mutex::try_lock).
    #[inline]
    pub fn try_lock(&self) -> Result<ArrayGuard<'_, T>, LockError> {
        Ok(ArrayGuard::new(self, self.handle.try_hold(|| self.is_valid())?))
    }

    /// Acquires the lock, waiting for at most `timeout`.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`](crate::Mutex::lock_timeout).
    ///
    /// # Blocking
    /// As [`Mutex::lock_timeout`](crate::Mutex::lock_timeout).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<ArrayGuard<'_, T>, LockError> {
        self.lock_until(time::after(timeout))
    }

    /// Acquires the lock, waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`Mutex::lock_deadline`](crate::Mutex::lock_deadline).
    ///
    /// # Blocking
    /// As [`LockedArray::lock_timeout`].
    pub fn lock_deadline(&self, deadline: Instant) -> Result<ArrayGuard<'_, T>, LockError> {
        self.lock_until(time::at(deadline))
    }

    /// Acquires the lock, and has `repair` look at the elements first if its last owner died or
    /// panicked inside; see [`Mutex::lock_or_repair`](crate::Mutex::lock_or_repair).
    ///
    /// # Errors
    /// As [`LockedArray::lock`], without `OwnerDied` and `Poisoned`.
    ///
    /// # Blocking
    /// As [`LockedArray::lock`].
    ///
    /// # Examples
    /// ```
    /// use commons::{LockedArray, Process};
    ///
    /// let pair = LockedArray::new(2, 1u64)?;
    /// let theirs = pair.clone();
    /// let child = Process::<()>::spawn(move || {
    ///     theirs.lock().expect("it is free")[0] = 7;
    ///     let _guard = theirs.lock();
    ///     std::process::abort();
    /// })?;
    /// assert!(child.join().is_err());
    /// assert!(matches!(pair.lock(), Err(commons::LockError::OwnerDied { .. })));
    /// let pair = pair.lock_or_repair(|pair| pair[1] = pair[0])?;
    /// assert_eq!(*pair, [7, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lock_or_repair(
        &self,
        repair: impl FnOnce(&mut [T]),
    ) -> Result<ArrayGuard<'_, T>, LockError> {
        match self.lock() {
            Err(LockError::OwnerDied { .. } | LockError::Poisoned) => {}
            other => return other,
        }
        let mut guard = self.recover()?;
        // Somebody may have been faster.
        if guard.is_damaged() {
            repair(&mut guard);
        }
        Ok(guard.mark_consistent())
    }

    /// Acquires the lock whatever its last owner left, to look at it; see
    /// [`Mutex::recover`](crate::Mutex::recover).
    ///
    /// # Errors
    /// As [`LockedArray::lock`], without `OwnerDied` and `Poisoned`.
    ///
    /// # Blocking
    /// As [`LockedArray::lock`].
    pub fn recover(&self) -> Result<ArrayRecoveryGuard<'_, T>, LockError> {
        let mut ended = Ok(());
        let repair = self.handle.repair(|| {
            ended = loan::end(self.handle.held().attachment());
            ended.is_err() || self.is_valid()
        })?;
        // Not before the elements are the caller's alone.
        ended.map(|()| ArrayRecoveryGuard::new(self, repair))
    }

    /// Acquires the lock and puts a new value into every element, whatever was there: also where it
    /// was [`LockError::Corrupted`] because an element is no value of the type.
    ///
    /// # Errors
    /// As [`LockedArray::recover`].
    ///
    /// # Blocking
    /// As [`LockedArray::lock`].
    pub fn reset(&self, fill: T) -> Result<ArrayGuard<'_, T>, LockError> {
        let mut ended = Ok(());
        let hold = self.handle.renew(|| {
            ended = loan::end(self.handle.held().attachment());
            for index in 0..if ended.is_ok() { self.len } else { 0 } {
                // SAFETY: in range, and the owner's.
                let place = unsafe { self.elements.add(index) };
                // SAFETY: as above.
                unsafe { place.write(fill) };
            }
        })?;
        match ended {
            Ok(()) => Ok(ArrayGuard::new(self, hold)),
            Err(error) => {
                hold.release_poisoned();
                Err(error)
            }
        }
    }

    /// Says that the elements are consistent although a thread panicked over them. (Not if one died.)
    ///
    /// # Errors
    /// As [`LockedArray::recover`].
    ///
    /// # Blocking
    /// As [`LockedArray::lock`].
    pub fn clear_poison(&self) -> Result<(), LockError> {
        self.handle.forgive()
    }

    #[inline(always)]
    fn lock_until(&self, deadline: u64) -> Result<ArrayGuard<'_, T>, LockError> {
        Ok(ArrayGuard::new(self, self.handle.hold(deadline, || self.is_valid())?))
    }

    /// Whether the bytes are values. Nothing to do for most types.
    #[inline(always)]
    fn is_valid(&self) -> bool {
        if any_bytes_are_a_value::<T>() {
            return true;
        }
        let bits = NonNull::slice_from_raw_parts(self.elements.cast::<T::Bits>(), self.len);
        // SAFETY: the object's elements, which are the owner's; any bytes are a `Bits`, which has
        // the layout of a `T`.
        unsafe { bits.as_ref() }.iter().all(T::is_valid_bit_pattern)
    }
}

impl<T> LockedArray<T> {
    /// Has the kernel move the elements into huge pages; see
    /// [`Array::use_huge_pages`](crate::Array::use_huge_pages).
    ///
    /// # Errors
    /// As there.
    ///
    /// # Blocking
    /// As there.
    pub fn use_huge_pages(&self) -> Result<usize> {
        self.handle.held().attachment().collapse()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether a thread holds it. Stale by the time the caller looks at it.
    pub fn is_locked(&self) -> bool {
        self.handle.owner_thread().is_some()
    }

    pub(super) fn slice(&self) -> NonNull<[T]> {
        NonNull::slice_from_raw_parts(self.elements, self.len)
    }
}

travels!([T: Element] LockedArray<T>, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for LockedArray<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("LockedArray");
        show(&mut shown, &self.handle);
        shown.field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Element> Clone for LockedArray<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its array was gone.
    fn clone(&self) -> Self {
        let handle = self.handle.again().expect("a handle holds its array");
        // The same memory, by the same mapping.
        let LockedArray { elements, len, .. } = *self;
        LockedArray { handle, elements, len }
    }
}
