//! Where the parts of a ring are in its object.
//!
//! One ring: lane, head, control, each on lines of their own, then the slots. A pair of rings has
//! its two lanes in one line; see [`crate::raw::ring::Lane`].

#![allow(unsafe_code, reason = "turns offsets into references")]

use crate::Result;
use crate::layout::{LINES, Plan};
use crate::raw::ring::{Control, Head, Lane, Ring};
use crate::raw::role::Holder;
use crate::segment::{Attachment, Core, Kind, Location, Mapping, ObjectInfo, Place, Shared};
use std::ptr::NonNull;

// SAFETY: made of atomics.
unsafe impl Shared for Lane {}
// SAFETY: made of atomics.
unsafe impl Shared for Head {}
// SAFETY: made of atomics.
unsafe impl Shared for Control {}

/// Offsets of one ring's parts from the start of its object.
#[derive(Clone, Copy, Debug)]
struct Offsets {
    lane: u64,
    head: u64,
    control: u64,
    slots: u64,
}

/// How many rings an object of this kind has.
const fn rings(kind: Kind) -> u64 {
    match kind {
        Kind::Ring | Kind::Records => 1,
        Kind::Duplex | Kind::RecordDuplex | Kind::Pipe => 2,
        _ => 0,
    }
}

/// How an object of `rings` rings of this description is laid out.
#[derive(Clone, Copy, Debug)]
struct Layout {
    rings: [Offsets; 2],
    count: usize,
    plan: Plan,
}

fn layout(info: &ObjectInfo) -> Result<Layout> {
    let count = rings(info.kind).max(1);
    let mut plan = Plan::new();
    let lanes = plan.place_bytes(size_of::<Lane>() as u64, LINES, count)?;
    let mut rings = [Offsets { lane: lanes, head: 0, control: 0, slots: 0 }; 2];
    rings[1].lane += size_of::<Lane>() as u64;
    for ring in &mut rings[..count as usize] {
        ring.head = plan.place::<Head>()?;
        ring.control = plan.place::<Control>()?;
    }
    for ring in &mut rings[..count as usize] {
        let align = info.element_align.max(LINES);
        // Slots begin at the alignment of lines, and follow each other at that of the element.
        plan.place_bytes(0, align, 1)?;
        ring.slots = plan.place_bytes(info.element_size, align, 1)?;
        let rest = info.capacity.saturating_sub(1);
        plan.place_bytes(info.element_size, info.element_align, rest)?;
    }
    Ok(Layout { rings, count: count as usize, plan })
}

/// The parts of one ring, in this process's memory. Valid while the object is attached.
#[derive(Clone, Copy, Debug)]
pub(in crate::channel) struct Parts {
    lane: NonNull<Lane>,
    head: NonNull<Head>,
    control: NonNull<Control>,
    pub(in crate::channel) slots: NonNull<u8>,
    capacity: u64,
}

impl Parts {
    /// The ring.
    ///
    /// # Safety
    /// The object that the parts were found in is attached for as long as the result is used.
    #[inline(always)]
    pub(in crate::channel) unsafe fn ring<'a>(self) -> Ring<'a> {
        // SAFETY: found by `find`, which checked the place; attached, says the caller.
        let lane = unsafe { self.lane.as_ref() };
        // SAFETY: as above.
        let head = unsafe { self.head.as_ref() };
        // SAFETY: as above.
        let control = unsafe { self.control.as_ref() };
        Ring { lane, head, control, capacity: self.capacity }
    }

    /// Finds and checks the parts of ring number `which` of an attached object.
    pub(in crate::channel) fn find(attachment: &Attachment, which: usize) -> Result<Self> {
        let mapping = attachment.core().mapping();
        Self::find_at(mapping, attachment.place(), attachment.info(), which)
    }

    /// The number of the ring among those of its object.
    #[cfg(feature = "serde")]
    pub(in crate::channel) fn number(&self, attachment: &Attachment) -> usize {
        let is_this = |which: &usize| {
            Self::find(attachment, *which).is_ok_and(|parts| parts.control == self.control)
        };
        (0..2).find(is_this).unwrap_or(0)
    }

    fn find_at(mapping: &Mapping, place: &Place, info: &ObjectInfo, which: usize) -> Result<Self> {
        let layout = layout(info)?;
        if layout.plan.size() != place.payload_size || info.capacity == 0 {
            return Err(mapping.corrupted("the size of a ring is not that of its capacity"));
        }
        let offsets = layout.rings[..layout.count].get(which);
        let offsets = offsets.ok_or_else(|| mapping.corrupted("a ring is missing"))?;
        let base = place.payload;
        let slots = info.element_size * info.capacity;
        Ok(Parts {
            lane: NonNull::from(mapping.at::<Lane>(base + offsets.lane)?),
            head: NonNull::from(mapping.at::<Head>(base + offsets.head)?),
            control: NonNull::from(mapping.at::<Control>(base + offsets.control)?),
            slots: mapping.range(base + offsets.slots, slots, info.element_align)?,
            capacity: info.capacity,
        })
    }
}

/// What can be seen of one ring from outside.
#[derive(Debug)]
pub(crate) struct RingView {
    pub(crate) fill: u64,
    pub(crate) roles: [(&'static str, Holder); 2],
}

/// Looks at the rings of an object, if it has any, without taking part.
pub(crate) fn look(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Vec<RingView>> {
    (0..rings(info.kind) as usize)
        .map(|which| {
            let parts = Parts::find_at(core.mapping(), place, info, which)?;
            // SAFETY: `core` keeps the object mapped while this runs.
            let ring = unsafe { parts.ring() };
            let Control { producer, consumer, .. } = ring.control;
            let roles = [("producer", producer.read().0), ("consumer", consumer.read().0)];
            Ok(RingView { fill: ring.fill(), roles })
        })
        .collect()
}

/// Makes the object that `info` describes.
pub(in crate::channel) fn make(location: Location<'_>, info: ObjectInfo) -> Result<Attachment> {
    let layout = layout(&info)?;
    location.make(info, layout.plan, |blank| {
        for offsets in &layout.rings[..layout.count] {
            blank.put(offsets.lane, Lane::new());
            blank.put(offsets.head, Head::new());
            blank.put(offsets.control, Control::new());
        }
        Ok(())
    })
}
