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

    pub(crate) fn attachment(&self) -> &Attachment {
        &self.attachment
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
