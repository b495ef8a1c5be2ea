//! Where an object is made and found: without a name, under a name, under a label in a segment.

#![allow(unsafe_code, reason = "objects are made in place")]

use super::heap::NewObject;
use super::mapping::Shared;
use super::{Attachment, Core, Name, ObjectInfo, Segment, make_in_arena};
use crate::layout::Plan;
use crate::{Error, Result};
use std::ptr::NonNull;
use std::sync::Arc;

/// The place of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Location<'a> {
    /// Nowhere to be found: it goes with its last handle.
    Unnamed,
    /// A segment of its own, of this name.
    Named(&'a str),
    /// This segment, under this label.
    In(&'a Segment, &'a str),
    /// Where the parent of this process said: only to be found.
    #[cfg(feature = "serde")]
    Handed(&'a super::Used),
}

/// The bytes of an object that is being made and that nobody else reads yet.
#[derive(Debug)]
pub(crate) struct Blank {
    object: NonNull<u8>,
    plan: Plan,
}

impl Blank {
    /// Puts a part where the plan placed it.
    ///
    /// # Panics
    /// If that is not within the object, or not aligned.
    pub(crate) fn put<P: Shared>(&self, offset: u64, part: P) {
        let end = offset + size_of::<P>() as u64;
        assert!(end <= self.plan.size() && align_of::<P>() as u64 <= self.plan.align().max(1));
        assert!(offset.is_multiple_of(align_of::<P>() as u64));
        // SAFETY: within an object that has the size and alignment of the plan.
        let place = unsafe { self.object.add(offset as usize) };
        // SAFETY: as above, and nobody else reads the object yet.
        unsafe { place.cast::<P>().write(part) };
    }

    /// Puts the bytes of a value.
    ///
    /// # Panics
    /// If they do not lie within the object.
    pub(crate) fn put_bytes(&self, offset: u64, bytes: &[u8]) {
        assert!(offset + bytes.len() as u64 <= self.plan.size());
        // SAFETY: within the object.
        let place = unsafe { self.object.add(offset as usize) };
        // SAFETY: as above, and nobody else reads the object yet.
        unsafe { place.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
    }
}

impl Location<'_> {
    /// Makes the object that `info` describes and `plan` lays out. It can be found once `init` has
    /// returned.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::InvalidName`]; [`Error::LabelTaken`], [`Error::InvalidLabel`],
    /// [`Error::SegmentFull`]; [`Error::NoSpace`], [`Error::TooLarge`].
    pub(crate) fn make(
        self,
        info: ObjectInfo,
        plan: Plan,
        init: impl FnOnce(&Blank) -> Result<()>,
    ) -> Result<Attachment> {
        let (size, align) = (plan.size(), plan.align());
        let init = |object| init(&Blank { object, plan });
        match self {
            Location::Unnamed => {
                make_in_arena(NewObject { info: &info, size, align, kept: false }, init)
            }
            Location::Named(name) => {
                let name = Name::new(name)?;
                let core = Arc::new(Core::unpublished(&name, heap_bytes(&info, plan)?)?);
                let new = NewObject { info: &info, size, align, kept: true };
                let attachment = Attachment::make(&core, new, init)?;
                core.publish(&name)?;
                Ok(attachment)
            }
            Location::In(segment, label) => {
                let info = info.labelled(label)?;
                let new = NewObject { info: &info, size, align, kept: true };
                Attachment::make(segment.core(), new, init)
            }
            #[cfg(feature = "serde")]
            Location::Handed(_) => Err(Error::Forked),
        }
    }

    /// Opens the object there if it is what is wanted, whatever its capacity.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::LabelNotFound`], [`Error::TypeMismatch`], [`Error::NotOurs`],
    /// [`Error::Version`], [`Error::Corrupted`]; [`Error::Forked`] where it was handed over and is gone.
    pub(crate) fn open(self, wanted: ObjectInfo) -> Result<Attachment> {
        match self {
            Location::Unnamed => Err(Error::NotFound { name: String::new() }),
            Location::Named(name) => {
                let core = Arc::new(Core::open(&Name::new(name)?)?);
                Attachment::open(&core, &wanted)
            }
            Location::In(segment, label) => {
                Attachment::open(segment.core(), &wanted.labelled(label)?)
            }
            #[cfg(feature = "serde")]
            Location::Handed(used) => Attachment::handed(used, &wanted),
        }
    }
}

/// Bytes of heap that an object takes in a segment of its own.
fn heap_bytes(info: &ObjectInfo, plan: Plan) -> Result<u64> {
    let limit = i64::MAX as u64;
    let too_large = || Error::TooLarge { what: "an object", asked: info.capacity, limit };
    // The object, its alignment, and the head of its block twice over.
    let bytes = plan.size().checked_add(plan.align());
    bytes.and_then(|bytes| bytes.checked_add(1024)).ok_or_else(too_large)
}
