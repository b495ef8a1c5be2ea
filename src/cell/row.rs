//! Elements in a row behind a head, in one object.

use crate::Result;
use crate::layout::{LINES, Plan};
use crate::segment::{Attachment, Element, Held, Kind, Location, ObjectInfo, Shared};
use std::ptr::NonNull;

/// Elements that are filled in at a time.
pub(crate) const BATCH: usize = 4096;

/// Where an object with this head and these elements has the first of them.
fn layout<H>(info: &ObjectInfo) -> Result<(Plan, u64)> {
    let mut plan = Plan::new();
    plan.place::<H>()?;
    plan.place_bytes(0, info.element_align.max(LINES), 1)?;
    let first = plan.place_bytes(info.element_size, info.element_align, info.capacity)?;
    Ok((plan, first))
}

/// Makes an object of `len` elements, which `parts` has one behind the other.
pub(crate) fn make<'a, H: Shared, T: Element>(
    location: Location<'_>,
    kind: Kind,
    head: H,
    len: usize,
    parts: impl Iterator<Item = &'a [T]>,
) -> Result<Attachment> {
    let info = ObjectInfo::of::<T>(kind, len as u64);
    let (plan, first) = layout::<H>(&info)?;
    location.make(info, plan, |blank| {
        blank.put(0, head);
        let mut offset = first;
        // Elements without bytes can be very many.
        for part in parts.take_while(|_| size_of::<T>() > 0) {
            let bytes: &[u8] = bytemuck::cast_slice(part);
            blank.put_bytes(offset, bytes);
            offset += bytes.len() as u64;
        }
        Ok(())
    })
}

/// Makes an object of `len` copies of `fill`.
pub(crate) fn make_filled<H: Shared, T: Element>(
    location: Location<'_>,
    kind: Kind,
    head: H,
    len: usize,
    fill: T,
) -> Result<Attachment> {
    let batch = vec![fill; len.min(BATCH)];
    let parts = (0..len.div_ceil(BATCH)).map(|i| &batch[..BATCH.min(len - i * BATCH)]);
    make(location, kind, head, len, parts)
}

/// Where the elements are, and how many.
///
/// # Errors
/// [`Error::Corrupted`](crate::Error::Corrupted) where the object is not as large as they are.
pub(crate) fn elements<H: Shared, T>(held: &Held<H>) -> Result<(NonNull<T>, usize)> {
    let (info, place) = (held.attachment().info(), held.attachment().place());
    let (plan, first) = layout::<H>(info)?;
    if plan.size() != place.payload_size {
        let mapping = held.attachment().core().mapping();
        return Err(mapping.corrupted("the size of an array is not that of its elements"));
    }
    // The plan was laid out, so the product is in range.
    let bytes = info.element_size * info.capacity;
    let first = held.at(first, bytes, info.element_align)?.cast();
    Ok((first, info.capacity as usize))
}
