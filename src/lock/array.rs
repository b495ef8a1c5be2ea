//! Many values in a row, behind one lock.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::LockError;
use super::handle::Handle;
use super::hold::{Hold, Repair};
#[cfg(feature = "serde")]
use super::loan::Loan;
use super::loan::{Head, Number};
use super::mutex::show;
use super::wait_guard::{Paused, WaitGuard};
use crate::Result;
use crate::cell::{any_bytes_are_a_value, row};
use crate::raw::mutex::RawMutex;
use crate::segment::{
    Attachment, Element, Kind, Location, ObjectInfo, Segment, constructors, travels,
};
use crate::sys::time;
use crate::wait::NEVER;
use std::fmt;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
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
    handle: Handle<RawMutex>,
    elements: NonNull<T>,
    len: usize,
    lent: Number,
}

// SAFETY: the elements are reached under the lock alone, and are the object's for as long as the
// handle.
unsafe impl<T: Send> Send for LockedArray<T> {}
// SAFETY: as above: the lock gives them to one thread at a time.
unsafe impl<T: Send> Sync for LockedArray<T> {}

impl<T: Element> LockedArray<T> {
    fn over(attachment: Attachment) -> Result<Self> {
        let handle = Handle::<RawMutex>::new(attachment)?;
        let (elements, len) = row::elements_behind::<Head, _, _>(handle.held())?;
        let lent = Number::of(handle.held())?;
        Ok(LockedArray { handle, elements, len, lent })
    }

    fn make(location: Location<'_>, len: usize, fill: T) -> Result<Self> {
        let (kind, head) = (Kind::LockedArray, Head::new());
        Self::over(row::make_filled(location, kind, head, len, fill)?)
    }

    fn make_from(location: Location<'_>, values: &[T]) -> Result<Self> {
        let (kind, head) = (Kind::LockedArray, Head::new());
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
            ended = self.lent.end(self.handle.held().attachment());
            ended.is_err() || self.is_valid()
        })?;
        // Not before the elements are the caller's alone.
        ended.map(|()| ArrayRecoveryGuard { array: self, repair })
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
            ended = self.lent.end(self.handle.held().attachment());
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

    fn slice(&self) -> NonNull<[T]> {
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
        let LockedArray { elements, len, lent, .. } = *self;
        LockedArray { handle, elements, len, lent }
    }
}

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
    fn new(array: &'a LockedArray<T>, hold: Hold<'a>) -> Self {
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
        self.array.lent.lend(self.array.handle.held().attachment())
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
