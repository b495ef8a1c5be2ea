//! Where the parts of a queue are in its object: control, members, lost messages, slots, entries.

#![allow(unsafe_code, reason = "turns offsets into references")]

use super::Element;
use super::members::{MEMBERS, Member, Members, PRESENT};
use crate::layout::{LINES, Plan};
use crate::raw::queue::{Control, Queue, Split, Words};
use crate::segment::{Attachment, Core, Kind, Location, Mapping, ObjectInfo, Place, Shared};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::{Error, Result};

// SAFETY: made of atomics.
unsafe impl Shared for Control {}
// SAFETY: made of atomics.
unsafe impl Shared for Member {}

/// The most messages and entries that a queue can have: positions have to last.
const LIMIT: u64 = 1 << 31;

/// Offsets of the parts from the start of the object.
struct Layout {
    present: u64,
    members: u64,
    lost: u64,
    slots: u64,
    entries: u64,
    slot_stride: u64,
    entry_stride: u64,
    plan: Plan,
}

/// Bytes before the value of a slot with `words` atomics.
pub(super) const fn value_offset(words: usize, align: usize) -> usize {
    let head = words * size_of::<AtomicU64>();
    head.next_multiple_of(if align > 8 { align } else { 8 })
}

fn stride(words: usize, info: &ObjectInfo) -> Result<u64> {
    let mut plan = Plan::new();
    plan.place_slice::<u64>(words as u64)?;
    plan.place_bytes(info.element_size, info.element_align.max(8), 1)?;
    Ok(plan.size().next_multiple_of(info.element_align.max(8)))
}

fn layout(info: &ObjectInfo, entries: u64) -> Result<Layout> {
    for (what, asked) in [("a capacity", info.capacity), ("a number in flight", entries)] {
        if asked > LIMIT {
            return Err(Error::TooLarge { what, asked, limit: LIMIT });
        }
    }
    let mut plan = Plan::new();
    plan.place::<Control>()?;
    let present = plan.place_bytes(8, LINES, PRESENT as u64)?;
    let members = plan.place_slice::<Member>(MEMBERS as u64)?;
    let lost = plan.place_slice::<u64>(info.capacity)?;
    let align = info.element_align.max(LINES);
    let (slot_stride, entry_stride) = (stride(1, info)?, stride(2, info)?);
    plan.place_bytes(0, align, 1)?;
    let slots = plan.place_bytes(slot_stride, 8, info.capacity)?;
    plan.place_bytes(0, align, 1)?;
    let entries = plan.place_bytes(entry_stride, 8, entries)?;
    Ok(Layout { present, members, lost, slots, entries, slot_stride, entry_stride, plan })
}

/// What a queue of `T` with this capacity is.
pub(super) fn describe<T: Element>(capacity: usize) -> Result<ObjectInfo> {
    if capacity == 0 {
        return Err(Error::Zero { what: "a capacity" });
    }
    Ok(ObjectInfo::of::<T>(Kind::Queue, capacity as u64))
}

/// Makes a queue with `entries` entries in flight.
pub(super) fn make(
    location: Location<'_>,
    info: ObjectInfo,
    entries: u64,
    facts: u32,
) -> Result<Attachment> {
    let layout = layout(&info, entries)?;
    let (capacity, slot_stride, entry_stride) =
        (info.capacity, layout.slot_stride, layout.entry_stride);
    location.make(info, layout.plan, |blank| {
        blank.put(0, Control::new(entries, facts));
        for i in 0..PRESENT as u64 {
            blank.put(layout.present + 8 * i, AtomicU64::new(0));
        }
        for i in 0..MEMBERS as u64 {
            blank.put(layout.members + size_of::<Member>() as u64 * i, Member::new());
        }
        // A block may have been a queue before, so nothing is zero by itself.
        for i in 0..capacity {
            blank.put(layout.lost + 8 * i, AtomicU64::new(0));
            blank.put(layout.slots + slot_stride * i, AtomicU64::new(0));
        }
        for i in 0..entries {
            blank.put(layout.entries + entry_stride * i, AtomicU64::new(0));
            blank.put(layout.entries + entry_stride * i + 8, AtomicU64::new(0));
        }
        Ok(())
    })
}

/// The parts, in this process's memory. Valid while the object is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// The lifetime is that of the attachment.
    pub(super) queue: Queue<'static>,
    pub(super) members: Members<'static>,
}

impl Parts {
    /// Finds and checks the parts.
    ///
    /// # Safety
    /// They are used only while the object is attached.
    pub(super) unsafe fn find(attachment: &Attachment) -> Result<Self> {
        let mapping: &Mapping = attachment.core().mapping();
        // SAFETY: as the caller says.
        unsafe { Self::find_at(mapping, attachment.place(), attachment.info()) }
    }

    /// # Safety
    /// As [`Parts::find`].
    unsafe fn find_at(mapping: &Mapping, place: &Place, info: &ObjectInfo) -> Result<Self> {
        let wrong = || mapping.corrupted("the size of a queue is not that of its capacity");
        if place.payload_size < size_of::<Control>() as u64 || info.capacity == 0 {
            return Err(wrong());
        }
        let base = place.payload;
        // SAFETY: the caller uses it no longer than the mapping lives.
        let mapping: &'static Mapping = unsafe { core::mem::transmute(mapping) };
        let control = mapping.at::<Control>(base)?;
        let entries = control.entries.load(Relaxed);
        let layout = layout(info, entries).map_err(|_| wrong())?;
        if layout.plan.size() != place.payload_size {
            return Err(wrong());
        }
        let align = info.element_align.max(8);
        let words = |offset: u64, stride: u64, count: u64| {
            let first = mapping.range(base + offset, stride * count, align)?;
            // SAFETY: the range is within the object, and has the words there.
            Result::Ok(unsafe { Words::new(first, stride as usize, count as usize) })
        };
        let queue = Queue {
            control,
            slots: words(layout.slots, layout.slot_stride, info.capacity)?,
            entries: words(layout.entries, layout.entry_stride, entries)?,
            lost: mapping.slice(base + layout.lost, info.capacity)?,
            split: Split::of(info.capacity as usize),
        };
        let members = Members {
            present: mapping.slice(base + layout.present, PRESENT as u64)?,
            members: mapping.slice(base + layout.members, MEMBERS as u64)?,
        };
        Ok(Parts { queue, members })
    }
}

/// How many messages are in a queue, for who looks from outside.
pub(crate) fn look(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Option<u64>> {
    if info.kind != Kind::Queue {
        return Ok(None);
    }
    // SAFETY: `core` keeps the object mapped while this runs.
    let parts = unsafe { Parts::find_at(core.mapping(), place, info)? };
    Ok(Some(parts.queue.len(usize::MAX) as u64))
}
