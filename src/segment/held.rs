//! A handle to one part of an object: what most types of the crate are made of.

#![allow(unsafe_code, reason = "refers to shared memory that the attachment keeps mapped")]

use super::mapping::Shared;
use super::{Attachment, Mapping};
use crate::Result;
use std::fmt;
use std::ops::Deref;
use std::ptr::NonNull;

/// An attached object and the part of it at its beginning.
pub(crate) struct Held<P> {
    part: NonNull<P>,
    attachment: Attachment,
}

// SAFETY: the part is mapped for as long as the attachment and made of atomics that any thread may
// use.
unsafe impl<P: Shared> Send for Held<P> {}
// SAFETY: as above.
unsafe impl<P: Shared> Sync for Held<P> {}

impl<P: Shared> Held<P> {
    /// The part at the beginning of an object.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) where the object is too small for it.
    pub(crate) fn new(attachment: Attachment) -> Result<Self> {
        let place = attachment.place();
        let mapping: &Mapping = attachment.core().mapping();
        if place.payload_size < size_of::<P>() as u64 {
            return Err(mapping.corrupted("an object is smaller than its kind"));
        }
        Ok(Held { part: NonNull::from(mapping.at::<P>(place.payload)?), attachment })
    }

    /// Another handle of the same process to the same object.
    pub(crate) fn again(&self) -> Result<Self> {
        Ok(Held { part: self.part, attachment: self.attachment.again()? })
    }

    pub(crate) fn attachment(&self) -> &Attachment {
        &self.attachment
    }

    /// The address of what lies `offset` bytes from the beginning of the object, `size` bytes.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted) where that is not within the object.
    pub(crate) fn at(&self, offset: u64, size: u64, align: u64) -> Result<NonNull<u8>> {
        let (place, mapping) = (self.attachment.place(), self.attachment.core().mapping());
        let inside = offset.checked_add(size).is_some_and(|end| end <= place.payload_size);
        if !inside {
            return Err(mapping.corrupted("an object is smaller than its kind"));
        }
        mapping.range(place.payload + offset, size, align)
    }
}

impl<P: Shared> Deref for Held<P> {
    type Target = P;

    #[inline(always)]
    fn deref(&self) -> &P {
        // SAFETY: found by `new`, and mapped for as long as the attachment.
        unsafe { self.part.as_ref() }
    }
}

impl<P: Shared + fmt::Debug> fmt::Debug for Held<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held").field("name", &self.attachment.name()).finish_non_exhaustive()
    }
}
