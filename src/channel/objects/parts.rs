//! Where the parts of a queue of objects are: what is shared, members, entries, what is kept of messages
//! in flight, grains.

#![allow(unsafe_code, reason = "turns offsets into references")]

use crate::channel::queue::members::{MEMBERS, Member, Members, PRESENT};
use crate::layout::{LINES, Plan};
use crate::raw::objects::{Entry, Exchange, MOST_GRAINS, MOST_MESSAGES, Shared};
use crate::raw::record::{GRAIN, Grain};
use crate::segment::{Attachment, Core, Kind, Location, Mapping, ObjectInfo, Place};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::{Error, Result};
use std::ptr::NonNull;

// SAFETY: made of atomics.
unsafe impl crate::segment::Shared for Shared {}
// SAFETY: made of atomics.
unsafe impl crate::segment::Shared for Entry {}

/// The fewest grains of a queue.
const FEWEST: u64 = 8;
/// The most entries, and the most bytes that are kept of a message.
const MOST_ENTRIES: u64 = 1 << 20;

/// How a queue is to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) bytes: usize,
    pub(super) limit: Option<usize>,
    pub(super) in_flight: usize,
    pub(super) keep: usize,
    pub(super) longest: Option<usize>,
    pub(super) facts: u32,
}

/// Offsets of the parts from the start of the object.
struct Layout {
    present: u64,
    members: u64,
    entries: u64,
    kept: u64,
    grains: u64,
    plan: Plan,
}

const fn stride(keep: u64) -> u64 {
    keep.next_multiple_of(GRAIN as u64)
}

fn layout(capacity: u64, entries: u64, keep: u64) -> Result<Layout> {
    let mut plan = Plan::new();
    plan.place::<Shared>()?;
    let present = plan.place_bytes(8, LINES, PRESENT as u64)?;
    let members = plan.place_slice::<Member>(MEMBERS as u64)?;
    plan.place_bytes(0, LINES, 1)?;
    let entries_at = plan.place_slice::<Entry>(entries)?;
    plan.place_bytes(0, LINES, 1)?;
    let kept = plan.place_bytes(stride(keep), 1, entries)?;
    plan.place_bytes(0, LINES, 1)?;
    let grains = plan.place_slice::<Grain>(capacity)?;
    Ok(Layout { present, members, entries: entries_at, kept, grains, plan })
}

fn check(what: &'static str, asked: usize, limit: u64) -> Result<u64> {
    match asked as u64 {
        0 => Err(Error::Zero { what }),
        asked if asked > limit => Err(Error::TooLarge { what, asked, limit }),
        asked => Ok(asked),
    }
}

/// Makes a queue of `T`.
pub(super) fn make<T>(kind: Kind, location: Location<'_>, shape: &Shape) -> Result<Attachment> {
    let bytes = check("a capacity", shape.bytes, MOST_GRAINS * GRAIN as u64)?;
    let capacity = bytes.div_ceil(GRAIN as u64).next_power_of_two().max(FEWEST);
    let limit = match shape.limit {
        Some(limit) => check("a limit of messages", limit, MOST_MESSAGES)?,
        None => MOST_MESSAGES,
    };
    let entries = check("a number in flight", shape.in_flight, MOST_ENTRIES)?;
    let keep = match shape.keep {
        0 => 0,
        keep => check("a number of bytes to keep", keep, MOST_ENTRIES)?,
    };
    let longest = match shape.longest {
        Some(longest) => check("a longest message", longest, u64::MAX)?,
        None => u64::MAX,
    };
    let layout = layout(capacity, entries, keep)?;
    location.make(ObjectInfo::of::<T>(kind, capacity), layout.plan, |blank| {
        let (limit, in_flight) = (limit as u32, entries as u32);
        blank.put(0, Shared::new(limit, in_flight, keep as u32, longest, shape.facts));
        for i in 0..PRESENT as u64 {
            blank.put(layout.present + 8 * i, AtomicU64::new(0));
        }
        for i in 0..MEMBERS as u64 {
            blank.put(layout.members + size_of::<Member>() as u64 * i, Member::new());
        }
        for i in 0..entries {
            blank.put(layout.entries + size_of::<Entry>() as u64 * i, Entry::new());
        }
        Ok(())
    })
}

/// The parts, in this process's memory. Valid while the object is attached.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// The lifetimes are that of the attachment.
    pub(super) exchange: Exchange<'static>,
    pub(super) members: Members<'static>,
    grains: NonNull<Grain>,
    kept: NonNull<u8>,
    /// Bytes that can be kept of a message in flight.
    pub(super) keep: usize,
    /// The most bytes of a message.
    pub(super) longest: u64,
}

impl Parts {
    /// Finds and checks the parts.
    ///
    /// # Safety
    /// They are used only while the object is attached.
    pub(super) unsafe fn find(attachment: &Attachment) -> Result<Self> {
        // SAFETY: as the caller says.
        unsafe { Self::find_at(attachment.core().mapping(), attachment.place(), attachment.info()) }
    }

    /// # Safety
    /// As [`Parts::find`].
    unsafe fn find_at(mapping: &Mapping, place: &Place, info: &ObjectInfo) -> Result<Self> {
        let wrong = || mapping.corrupted("the size of a queue is not that of its capacity");
        let capacity = info.capacity;
        let sound = capacity.is_power_of_two() && (FEWEST..=MOST_GRAINS).contains(&capacity);
        if !sound || place.payload_size < size_of::<Shared>() as u64 {
            return Err(wrong());
        }
        let base = place.payload;
        // SAFETY: the caller uses it no longer than the mapping lives.
        let mapping: &'static Mapping = unsafe { core::mem::transmute(mapping) };
        let shared = mapping.at::<Shared>(base)?;
        let limit = u64::from(shared.limit.load(Relaxed)).min(MOST_MESSAGES);
        let entries = u64::from(shared.in_flight.load(Relaxed));
        let keep = u64::from(shared.keep.load(Relaxed));
        if limit == 0 || entries == 0 || entries > MOST_ENTRIES || keep > MOST_ENTRIES {
            return Err(wrong());
        }
        let layout = layout(capacity, entries, keep).map_err(|_| wrong())?;
        if layout.plan.size() != place.payload_size {
            return Err(wrong());
        }
        let bytes = capacity * GRAIN as u64;
        let exchange = Exchange {
            shared,
            entries: mapping.slice(base + layout.entries, entries)?,
            capacity,
            limit,
        };
        let members = Members {
            present: mapping.slice(base + layout.present, PRESENT as u64)?,
            members: mapping.slice(base + layout.members, MEMBERS as u64)?,
        };
        Ok(Parts {
            exchange,
            members,
            grains: mapping.range(base + layout.grains, bytes, GRAIN as u64)?.cast(),
            kept: mapping.range(base + layout.kept, stride(keep) * entries, 1)?,
            keep: keep as usize,
            longest: shared.longest.load(Relaxed),
        })
    }

    /// A grain.
    ///
    /// # Panics
    /// If there is none at `slot`.
    pub(super) fn grain(&self, slot: u64) -> NonNull<Grain> {
        assert!(slot < self.exchange.capacity, "a slot beyond the ring");
        // SAFETY: within the ring, whose range was checked.
        unsafe { self.grains.add(slot as usize) }
    }

    /// Where `length` bytes behind the header in `slot` are.
    ///
    /// # Panics
    /// If they are not within the ring.
    pub(super) fn behind(&self, slot: u64, length: usize) -> NonNull<u8> {
        let room = (self.exchange.capacity - slot - 1) as usize * GRAIN;
        assert!(length <= room, "bytes beyond the ring");
        // SAFETY: within the ring, or at its end where there are no bytes.
        unsafe { self.grains.add(slot as usize + 1) }.cast()
    }

    /// Where the message of an entry is kept.
    pub(super) fn kept(&self, entry: usize) -> NonNull<u8> {
        assert!(entry < self.exchange.entries.len(), "an entry beyond the last");
        // SAFETY: within the range that was checked.
        unsafe { self.kept.add(entry * stride(self.keep as u64) as usize) }
    }
}

/// How many messages are in a queue, for who looks from outside.
pub(crate) fn look(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Option<u64>> {
    if !matches!(info.kind, Kind::ObjectQueue | Kind::JoinableQueue) {
        return Ok(None);
    }
    // SAFETY: `core` keeps the object mapped while this runs.
    let parts = unsafe { Parts::find_at(core.mapping(), place, info)? };
    Ok(Some(parts.exchange.fill().1))
}
