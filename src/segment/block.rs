//! A block: one object of a segment with what is known of it.
//!
//! Blocks lie one behind the other, each says how long it is, and a block once made stays where it
//! is with the length it has. It is reused for an object of the same description only, when no
//! living participant holds the old one, under a new serial number.

#![allow(unsafe_code, reason = "marks a type made of atomics")]

use super::mapping::{Mapping, Shared};
use super::object::{Kind, LABEL_BYTES, ObjectInfo, TYPE_NAME_BYTES, read_text, write_text};
use crate::Result;
use crate::layout::{LINES, align_up};
use crate::member::PARTICIPANTS;
use crate::raw::lending::Lending;
use crate::raw::publication::Publication;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
#[cfg(feature = "serde")]
use std::mem::offset_of;

/// The head of a block. Written by the holder of the heap's claim, but for `holders`.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Block {
    /// Whether the object is complete, and which of those that lived here in turn it is.
    publication: Publication,
    /// Bytes of the whole block.
    length: AtomicU64,
    /// Offset of the object from the start of the segment, and its bytes.
    payload: AtomicU64,
    payload_size: AtomicU64,
    kind: AtomicU32,
    /// 1: kept although nobody holds it, until it is removed.
    kept: AtomicU32,
    element_size: AtomicU64,
    element_align: AtomicU64,
    capacity: AtomicU64,
    type_name: [AtomicU64; TYPE_NAME_BYTES / 8],
    label: [AtomicU64; LABEL_BYTES / 8],
    /// One bit a participant: it holds a handle. Set under the heap's claim, or for a child by its
    /// parent that holds one itself; cleared by the participant, or by who found it dead.
    holders: [AtomicU64; PARTICIPANTS as usize / 64],
    /// Whether the object is lent. It stays what it is when a new object is made here.
    lending: Lending,
    reserved: [AtomicU64; 25],
}

// SAFETY: made of atomics.
unsafe impl Shared for Block {}

/// A checked, private copy of where a block and its object are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset of the block.
    pub(crate) block: u64,
    /// Bytes of the block.
    pub(crate) length: u64,
    /// Which of the objects that lived here in turn.
    pub(crate) serial: u32,
    /// Offset of the object.
    pub(crate) payload: u64,
    /// Bytes of the object.
    pub(crate) payload_size: u64,
}

impl Place {
    /// Where a block at this offset would put an object of this size and alignment.
    pub(crate) fn plan(block: u64, size: u64, align: u64) -> Option<Place> {
        let payload = align_up(block.checked_add(size_of::<Block>() as u64)?, align.max(LINES))?;
        let end = align_up(payload.checked_add(size)?, LINES)?;
        Some(Place { block, length: end - block, serial: 0, payload, payload_size: size })
    }

    /// The byte of the file, beyond its end, that those lock to whom the object was lent.
    pub(crate) fn byte_of_borrowers(&self) -> u64 {
        (1 << 58) + self.block
    }

    /// Where in the file it says whether it still is.
    #[cfg(feature = "serde")]
    pub(crate) fn offset_of_lending(&self) -> u64 {
        self.block + offset_of!(Block, lending) as u64
    }
}

impl Block {
    /// Starts to describe an object that is to be made here.
    pub(crate) fn begin(&self, place: &Place, info: &ObjectInfo, kept: bool) {
        self.publication.begin(place.serial);
        self.length.store(place.length, Relaxed);
        self.payload.store(place.payload, Relaxed);
        self.payload_size.store(place.payload_size, Relaxed);
        self.kind.store(info.kind.code(), Relaxed);
        self.kept.store(u32::from(kept), Relaxed);
        self.element_size.store(info.element_size, Relaxed);
        self.element_align.store(info.element_align, Relaxed);
        self.capacity.store(info.capacity, Relaxed);
        write_text(&self.type_name, &info.type_name);
        write_text(&self.label, info.label.as_deref().unwrap_or(""));
        for word in &self.holders {
            word.store(0, Relaxed);
        }
    }

    /// Says that the object is complete.
    pub(crate) fn publish(&self, place: &Place) {
        self.publication.publish(place.serial);
    }

    /// Where the block is and what it holds, checked. `None` for the object: never completed.
    pub(crate) fn read(
        &self,
        mapping: &Mapping,
        offset: u64,
    ) -> Result<(Place, Option<ObjectInfo>)> {
        let (serial, is_live) = self.publication.read();
        let place = Place {
            block: offset,
            length: self.length.load(Relaxed),
            serial,
            payload: self.payload.load(Relaxed),
            payload_size: self.payload_size.load(Relaxed),
        };
        let end = offset.checked_add(place.length).filter(|&end| end <= mapping.len());
        let payload_end = place.payload.checked_add(place.payload_size);
        let head_end = offset + size_of::<Block>() as u64;
        let sound = place.length.is_multiple_of(LINES)
            && place.payload >= head_end
            && payload_end.is_some_and(|p| end.is_some_and(|end| p <= end));
        if !sound {
            return Err(mapping.corrupted("a block reaches beyond its bounds"));
        }
        if !is_live {
            return Ok((place, None));
        }
        let Some(kind) = Kind::from_code(self.kind.load(Relaxed)) else {
            return Err(mapping.corrupted("a block holds an unknown kind of object"));
        };
        let element_align = self.element_align.load(Relaxed);
        if !element_align.is_power_of_two() {
            return Err(mapping.corrupted("an alignment is no power of two"));
        }
        let label = read_text(&self.label);
        let info = ObjectInfo {
            kind,
            type_name: read_text(&self.type_name),
            element_size: self.element_size.load(Relaxed),
            element_align,
            capacity: self.capacity.load(Relaxed),
            label: (!label.is_empty()).then_some(label),
        };
        Ok((place, Some(info)))
    }

    /// Whether the object is still the one with this serial number.
    pub(crate) fn is_live(&self, serial: u32) -> bool {
        self.publication.read() == (serial, true)
    }

    /// Whether the object stays although nobody holds it.
    pub(crate) fn is_kept(&self) -> bool {
        self.kept.load(Acquire) != 0
    }

    /// Lets the object go when nobody holds it, and takes its label away.
    pub(crate) fn let_go(&self) {
        self.kept.store(0, Release);
        write_text(&self.label, "");
    }

    /// Notes that a participant holds the object.
    pub(crate) fn hold(&self, index: u16) {
        self.holders[usize::from(index) / 64].fetch_or(1 << (index % 64), SeqCst);
    }

    /// Notes that it does not.
    pub(crate) fn release(&self, index: u16) {
        // Release: the holder's last access, to the Acquire of who makes a new object here.
        self.holders[usize::from(index) / 64].fetch_and(!(1 << (index % 64)), Release);
    }

    /// Whether it does.
    pub(crate) fn is_held_by(&self, index: u16) -> bool {
        self.holders[usize::from(index) / 64].load(Acquire) >> (index % 64) & 1 != 0
    }

    /// Whether the object is lent.
    pub(crate) fn lending(&self) -> &Lending {
        &self.lending
    }

    /// The participants that hold the object.
    pub(crate) fn holders(&self) -> impl Iterator<Item = u16> + '_ {
        self.holders.iter().enumerate().flat_map(|(i, word)| {
            let word = word.load(Acquire);
            (0..64u16).filter(move |bit| word >> bit & 1 != 0).map(move |bit| i as u16 * 64 + bit)
        })
    }
}
