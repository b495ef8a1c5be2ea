//! Many values in a row.

#![allow(unsafe_code, reason = "reads and writes elements in shared memory")]

use super::error::NOT_A_VALUE;
use super::row::{self, BATCH};
use super::store::{any_bytes_are_a_value, settle};
use super::{CellError, Iter};
use crate::Result;
use crate::segment::{
    Attachment, Element, Held, Kind, Location, ObjectInfo, Segment, Shared, constructors, travels,
};
use crate::sync::atomic::AtomicU64;
use crate::sync::copy::{load_elements, store_elements};
use bytemuck::AnyBitPattern;
use core::mem::MaybeUninit;
use std::fmt;
use std::ops::{Bound, Range, RangeBounds};
#[cfg(feature = "serde")]
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;

/// What is before the elements: nothing yet.
#[repr(C, align(128))]
#[derive(Debug)]
struct Head {
    reserved: [AtomicU64; 16],
}

impl Head {
    const fn new() -> Self {
        Head { reserved: [const { AtomicU64::new(0) }; 16] }
    }
}

// SAFETY: made of atomics.
unsafe impl Shared for Head {}

/// A fixed number of values in a row, in shared memory.
///
/// Any process reads and writes any element at any time: there is no undefined behaviour in that,
/// and what one process wrote others see soon, but there is no order either. A single element whose
/// size is that of an integer (1, 2, 4 or 8 bytes, aligned to its size) is read and written whole; a
/// larger element, or several, may be met half old and half new where somebody writes them at the
/// same time. Who wants more order makes it with another primitive beside the array, or takes a
/// [`LockedArray`](crate::LockedArray), whose elements are reached under a lock alone.
///
/// Cloning gives another handle to the same elements; [`Array::to_vec`] copies the elements.
///
/// # In place
/// [`Array::slice`] and [`Array::slice_mut`] give the elements themselves, to those who know by
/// other means that nobody writes to them meanwhile. [`Array::atomics`] gives integers as atomics,
/// without such a condition.
///
/// # When a process dies
/// Elements that it was writing have old or new values; the others are untouched.
///
/// # Trust
/// The copying operations check what they copied; elements in place trust every process that has
/// the array open.
///
/// # Examples
/// ```
/// use commons::{Array, Process};
///
/// let squares = Array::new(4, 0u64)?;
/// let child = Process::spawn({
///     let squares = squares.clone();
///     move || (0..4).all(|i| squares.set(i, (i * i) as u64).is_ok())
/// })?;
/// assert!(child.join()?);
/// assert_eq!(squares.to_vec()?, [0, 1, 4, 9]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T> {
    elements: NonNull<T>,
    len: usize,
    held: Held<Head>,
}

// SAFETY: the elements are accessed by atomics, but for unsafe methods; they are mapped for as long
// as the attachment.
unsafe impl<T: Send> Send for Array<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for Array<T> {}

impl<T: Element> Array<T> {
    fn make(location: Location<'_>, len: usize, fill: T) -> Result<Self> {
        Self::over(row::make_filled(location, Kind::Array, Head::new(), len, fill)?)
    }

    fn make_from(location: Location<'_>, values: &[T]) -> Result<Self> {
        let parts = std::iter::once(values);
        Self::over(row::make(location, Kind::Array, Head::new(), values.len(), parts)?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::Array, 0))?)
    }

    fn over(attachment: Attachment) -> Result<Self> {
        let held: Held<Head> = Held::new(attachment)?;
        let (elements, len) = row::elements(&held)?;
        Ok(Array { elements, len, held })
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
    /// [`TooLarge`](crate::Error::TooLarge), [`NoSpace`](crate::Error::NoSpace).
    ///
    /// # Examples
    /// ```
    /// let primes = commons::Array::from_slice(&[2u8, 3, 5, 7])?;
    /// assert_eq!(primes.len(), 4);
    /// assert_eq!(primes.iter().rev().next(), Some(7));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn from_slice(values: &[T]) -> Result<Self> {
        Self::make_from(Location::Unnamed, values)
    }

    /// Makes an array with the elements that an iterator gives, without a name.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge), [`NoSpace`](crate::Error::NoSpace).
    pub fn from_values(values: impl IntoIterator<Item = T>) -> Result<Self> {
        Self::from_slice(&values.into_iter().collect::<Vec<T>>())
    }

    /// Makes an array with these elements and gives it a name.
    ///
    /// # Errors
    /// As [`Array::create`].
    pub fn create_from(name: &str, values: &[T]) -> Result<Self> {
        Self::make_from(Location::Named(name), values)
    }

    /// Makes an array with these elements in a segment, under a label.
    ///
    /// # Errors
    /// As [`Array::new_in`].
    pub fn new_from_in(segment: &Segment, label: &str, values: &[T]) -> Result<Self> {
        Self::make_from(Location::In(segment, label), values)
    }

    /// The element number `index`, from 0 on.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Corrupted`], [`CellError::Forked`].
    #[inline]
    pub fn get(&self, index: usize) -> Result<T, CellError> {
        self.ready(index, 1)?;
        self.read(index)
    }

    /// Replaces the element number `index`.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Forked`].
    #[inline]
    pub fn set(&self, index: usize, value: T) -> Result<(), CellError> {
        self.ready(index, 1)?;
        // SAFETY: checked by `ready`; the array is accessed through these functions.
        unsafe { store_elements(self.place(index), &raw const value, 1) };
        Ok(())
    }

    /// Copies the elements from `first` on into `to`, as many as it has.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Forked`]: nothing was copied.
    /// [`CellError::Corrupted`]: those before the bad element were.
    pub fn load_range(&self, first: usize, to: &mut [T]) -> Result<(), CellError> {
        self.ready(first, to.len())?;
        if any_bytes_are_a_value::<T>() {
            // SAFETY: checked by `ready`; any bytes are good for `to`.
            unsafe { load_elements(self.place(first), to.as_mut_ptr(), to.len()) };
            return Ok(());
        }
        for (index, place) in (first..).zip(to) {
            *place = self.read(index)?;
        }
        Ok(())
    }

    /// Copies all of `from` over the elements from `first` on.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Forked`]: nothing was copied.
    pub fn store_range(&self, first: usize, from: &[T]) -> Result<(), CellError> {
        self.ready(first, from.len())?;
        // SAFETY: checked by `ready`.
        unsafe { store_elements(self.place(first), from.as_ptr(), from.len()) };
        Ok(())
    }

    /// Copies the elements from `first` on, `count` of them, over those of another array from `to`
    /// on. The two may be the same, and the ranges may overlap.
    ///
    /// # Errors
    /// As [`Array::load_range`] and [`Array::store_range`].
    pub fn copy_to(
        &self,
        first: usize,
        other: &Array<T>,
        to: usize,
        count: usize,
    ) -> Result<(), CellError> {
        self.ready(first, count)?;
        other.ready(to, count)?;
        let mut values = self.read_many(first, count.min(BATCH))?;
        if count <= BATCH {
            return other.store_range(to, &values);
        }
        // Backward where the ranges may overlap so that forward would copy copies.
        let batches = count.div_ceil(BATCH);
        for i in 0..batches {
            let i = if to > first { batches - 1 - i } else { i };
            let (offset, size) = (i * BATCH, BATCH.min(count - i * BATCH));
            self.load_range(first + offset, &mut values[..size])?;
            other.store_range(to + offset, &values[..size])?;
        }
        Ok(())
    }

    /// Makes all elements of a range the same.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Forked`]: nothing was changed.
    pub fn fill(&self, range: impl RangeBounds<usize>, value: T) -> Result<(), CellError> {
        let range = self.resolve(range)?;
        if size_of::<T>() == 0 {
            return Ok(());
        }
        let batch = vec![value; range.len().min(BATCH)];
        for first in range.clone().step_by(BATCH) {
            self.store_range(first, &batch[..BATCH.min(range.end - first)])?;
        }
        Ok(())
    }

    /// A copy of all elements.
    ///
    /// # Errors
    /// [`CellError::Corrupted`], [`CellError::Forked`].
    pub fn to_vec(&self) -> Result<Vec<T>, CellError> {
        self.ready(0, self.len)?;
        self.read_many(0, self.len)
    }

    fn read_many(&self, first: usize, count: usize) -> Result<Vec<T>, CellError> {
        if !any_bytes_are_a_value::<T>() {
            return (first..first + count).map(|index| self.read(index)).collect();
        }
        let mut values: Vec<T> = Vec::with_capacity(count);
        // SAFETY: the callers have checked the range; the vector has room for as many.
        unsafe { load_elements(self.place(first), values.as_mut_ptr(), count) };
        // SAFETY: just written, and any bytes are a value.
        unsafe { values.set_len(count) };
        Ok(values)
    }

    /// The element number `index`, which is in range.
    #[inline(always)]
    fn read(&self, index: usize) -> Result<T, CellError> {
        let mut bits = MaybeUninit::<T::Bits>::uninit();
        // SAFETY: in range, says the caller; `Bits` has the layout of `T`.
        unsafe { load_elements(self.place(index).cast(), bits.as_mut_ptr(), 1) };
        // SAFETY: just written, and any bytes are a `Bits`.
        let bits = unsafe { bits.assume_init() };
        if !T::is_valid_bit_pattern(&bits) {
            return Err(NOT_A_VALUE);
        }
        // SAFETY: `Bits` has the layout of `T`, and these are a value of it.
        Ok(unsafe { (&raw const bits).cast::<T>().read() })
    }
}

impl<T: Element + AnyBitPattern> Array<T> {
    /// Goes through the elements, each read when its turn comes.
    pub fn iter(&self) -> Iter<'_, T> {
        // An inherited handle whose array is gone still has its memory.
        let _ = settle(self.held.attachment());
        Iter::new(self, 0..self.len)
    }

    /// The element number `index`, which is in range.
    #[inline(always)]
    pub(super) fn read_any(&self, index: usize) -> T {
        let mut value = MaybeUninit::<T>::uninit();
        // SAFETY: in range, says the caller.
        unsafe { load_elements(self.place(index), value.as_mut_ptr(), 1) };
        // SAFETY: just written, and any bytes are a value.
        unsafe { value.assume_init() }
    }
}

impl<T> Array<T> {
    /// Has the kernel move the elements into huge pages, of 2 MiB, and gives the bytes that are in
    /// such pages then: 0 in an array of less than one.
    ///
    /// Random accesses to a large array take about half the time then, for the processor has fewer
    /// addresses to look up. Accesses of others meanwhile are right and may take milliseconds.
    ///
    /// # Errors
    /// [`Error::Os`](crate::Error::Os) where the kernel gives none (`MADV_COLLAPSE`, since Linux 6.1):
    /// nothing has changed.
    ///
    /// # Blocking
    /// For milliseconds per MiB: the kernel copies.
    pub fn use_huge_pages(&self) -> Result<usize> {
        self.held.attachment().collapse()
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file that the elements lie in, and at which byte of it they begin.
    #[cfg(feature = "serde")]
    pub(crate) fn in_file(&self) -> Result<(BorrowedFd<'_>, u64), CellError> {
        self.ready(0, self.len)?;
        let mapping = self.held.attachment().core().mapping();
        let base = mapping.range(0, 0, 1)?.as_ptr().addr();
        Ok((mapping.file(), (self.elements.as_ptr().addr() - base) as u64))
    }

    /// Where an element is, which is in range or one behind.
    #[inline(always)]
    pub(super) fn place(&self, index: usize) -> *mut T {
        self.elements.as_ptr().wrapping_add(index)
    }

    /// That the elements are there, and the handle is this process's.
    #[inline(always)]
    fn ready(&self, first: usize, count: usize) -> Result<(), CellError> {
        settle(self.held.attachment())?;
        if first > self.len || count > self.len - first {
            let end = first.saturating_add(count);
            return Err(CellError::OutOfRange { first, end, len: self.len });
        }
        Ok(())
    }

    pub(super) fn resolve(
        &self,
        range: impl RangeBounds<usize>,
    ) -> Result<Range<usize>, CellError> {
        let first = match range.start_bound() {
            Bound::Included(&first) => first,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => self.len,
        };
        let Some(count) = end.checked_sub(first) else {
            return Err(CellError::OutOfRange { first, end, len: self.len });
        };
        self.ready(first, count)?;
        Ok(first..end)
    }
}

travels!([T: Element] Array<T>, Shared, |this| (this.held.attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for Array<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.held.attachment().name();
        f.debug_struct("Array").field("name", &name).field("len", &self.len).finish_non_exhaustive()
    }
}

impl<T: Element> Clone for Array<T> {
    /// Gives another handle to the same elements.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its array was gone.
    fn clone(&self) -> Self {
        let held = self.held.again().expect("a handle holds its array");
        Array { elements: self.elements, len: self.len, held }
    }
}
