//! The elements of an array themselves, and what depends on their type.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::{Array, CellError, Integer};
use crate::segment::Element;
use bytemuck::AnyBitPattern;
use std::ops::RangeBounds;

impl<T: Element + AnyBitPattern> Array<T> {
    /// Elements in place.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Forked`].
    ///
    /// # Safety
    /// As long as the slice lives, no process and no thread writes to these elements.
    ///
    /// # Examples
    /// ```
    /// let array = commons::Array::from_values(1..=100u64)?;
    /// // SAFETY: nobody else has it.
    /// let sum: u64 = unsafe { array.slice(..)? }.iter().sum();
    /// assert_eq!(sum, 5050);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn slice(&self, range: impl RangeBounds<usize>) -> Result<&[T], CellError> {
        let range = self.resolve(range)?;
        let first = self.place(range.start);
        // SAFETY: in range, aligned, any bytes are a value; nobody writes, says the caller.
        Ok(unsafe { core::slice::from_raw_parts(first, range.len()) })
    }

    /// Elements in place, to write to.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`], [`CellError::Forked`].
    ///
    /// # Safety
    /// As long as the slice lives, no process and no thread reads or writes these elements in any
    /// other way.
    #[allow(clippy::mut_from_ref, reason = "that nothing else uses the elements, the caller says")]
    pub unsafe fn slice_mut(&self, range: impl RangeBounds<usize>) -> Result<&mut [T], CellError> {
        let range = self.resolve(range)?;
        let first = self.place(range.start);
        // SAFETY: in range, aligned, any bytes are a value; nobody else uses them, says the caller.
        Ok(unsafe { core::slice::from_raw_parts_mut(first, range.len()) })
    }
}

impl<T: Integer> Array<T> {
    /// The elements in place, as atomics of their size.
    ///
    /// # Examples
    /// ```
    /// use std::sync::atomic::Ordering::Relaxed;
    ///
    /// let histogram = commons::Array::new(10, 0u32)?;
    /// for n in [3, 1, 4, 1, 5] {
    ///     histogram.atomics()[n].fetch_add(1, Relaxed);
    /// }
    /// assert_eq!(histogram.get(1)?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn atomics(&self) -> &[T::Atomic] {
        let first = self.place(0).cast::<T::Atomic>().cast_const();
        // SAFETY: as many, of the same size and alignment; all other access to elements of this size
        // is by the same atomics, but for the unsafe methods, whose callers see to it.
        unsafe { core::slice::from_raw_parts(first, self.len()) }
    }
}

impl Array<u8> {
    /// The text up to the first zero byte, or to the end.
    ///
    /// # Errors
    /// [`CellError::Corrupted`] where it is not UTF-8; [`CellError::Forked`].
    pub fn text(&self) -> Result<String, CellError> {
        let mut bytes = self.to_vec()?;
        bytes.truncate(bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len()));
        String::from_utf8(bytes).map_err(|_| CellError::Corrupted("its bytes are not UTF-8"))
    }

    /// Puts a text at the beginning, and a zero byte behind it if there is room. A text of exactly
    /// the array's length fits.
    ///
    /// # Errors
    /// [`CellError::OutOfRange`] where it is longer: nothing was changed. [`CellError::Forked`].
    ///
    /// # Examples
    /// ```
    /// let name = commons::Array::new(8, 0u8)?;
    /// name.set_text("größe")?;
    /// assert_eq!(name.text()?, "größe");
    /// assert!(name.set_text("too long a text").is_err());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_text(&self, text: &str) -> Result<(), CellError> {
        let mut bytes = text.as_bytes().to_vec();
        if bytes.len() < self.len() {
            bytes.push(0);
        }
        self.store_range(0, &bytes)
    }
}
