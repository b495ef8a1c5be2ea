//! The chain of blocks of a segment: walking it, making objects in it, finding and removing them.
//!
//! Whoever changes the chain holds the heap's claim. Each change becomes visible by one store at its
//! end, so a holder that dies on the way leaves what was there before: a new block counts once the
//! end of the heap is moved behind it, a reused one once its state says that it is live.

#![allow(unsafe_code, reason = "objects are made in place")]

use super::block::{Block, Place};
use super::{Core, Geometry, Header, Mapping, ObjectInfo};
use crate::member::{Claim, Membership, Stamp, Table};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sys::ofd;
use crate::{Error, Result};
use std::ptr::NonNull;

/// The head of the block at an offset.
pub(crate) fn block_at(mapping: &Mapping, offset: u64) -> Result<&Block> {
    mapping.at(offset)
}

/// Walks the chain until `visit` answers false. A block without an object was begun and never
/// completed.
pub(crate) fn for_each_block(
    mapping: &Mapping,
    geometry: &Geometry,
    mut visit: impl FnMut(&Block, Place, Option<ObjectInfo>) -> bool,
) -> Result<()> {
    // Acquire: the blocks below the end, complete.
    let end = mapping.at::<Header>(0)?.heap_end.load(Acquire);
    if end < geometry.heap || end > geometry.length {
        return Err(mapping.corrupted("its heap ends outside of it"));
    }
    let mut offset = geometry.heap;
    while offset < end {
        let block = block_at(mapping, offset)?;
        let (place, info) = block.read(mapping, offset)?;
        if !visit(block, place, info) {
            break;
        }
        // A checked block is longer than its head, so this ends.
        offset += place.length;
    }
    Ok(())
}

/// Bytes from which on an object is filled in without the heap's claim.
const LARGE: u64 = 64 << 10;

/// An object that is to be made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NewObject<'a> {
    pub(crate) info: &'a ObjectInfo,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes.
    pub(crate) align: u64,
    /// Whether it stays when nobody holds it, until it is removed.
    pub(crate) kept: bool,
}

impl Core {
    /// Makes an object, held once by this process. `init` gets zeroed or reused memory that nobody
    /// else reads and that stays where it is.
    pub(crate) fn make(
        &self,
        new: NewObject<'_>,
        init: impl FnOnce(NonNull<u8>) -> Result<()>,
    ) -> Result<Place> {
        let me = self.membership()?;
        let claim = self.claim_heap(me)?;
        self.check_label(&new)?;
        if let Some(place) = self.reuse_let_go(&new, me)? {
            return self.complete(claim, place, new, me, init, None);
        }
        let header: &Header = self.mapping.at(0)?;
        let end = header.heap_end.load(Relaxed);
        let too_large =
            || Error::TooLarge { what: "an object", asked: new.size, limit: i64::MAX as u64 };
        let place = Place::plan(end, new.size, new.align).ok_or_else(too_large)?;
        let new_end = end.checked_add(place.length).filter(|&e| e <= self.geometry.length);
        let Some(new_end) = new_end else {
            if let Some(place) = self.reuse_any(&new)? {
                return self.complete(claim, place, new, me, init, None);
            }
            return Err(Error::SegmentFull {
                segment: self.name().into(),
                asked: place.length,
                free: self.geometry.length.saturating_sub(end),
            });
        };
        self.reserve_up_to(header, new_end)?;
        self.complete(claim, place, new, me, init, Some((header, new_end)))
    }

    fn check_label(&self, new: &NewObject<'_>) -> Result<()> {
        match &new.info.label {
            Some(label) if self.find_labelled(label)?.is_some() => {
                Err(Error::LabelTaken { segment: self.name().into(), label: label.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Makes the object in its place. A large one is filled in without the claim, so that other
    /// makers need not wait for that: meanwhile the block is one that was begun, and as this process
    /// holds it, nobody takes it away while this process lives.
    fn complete<'a>(
        &'a self,
        claim: Claim<'a>,
        place: Place,
        new: NewObject<'_>,
        me: &'a Membership,
        init: impl FnOnce(NonNull<u8>) -> Result<()>,
        append: Option<(&Header, u64)>,
    ) -> Result<Place> {
        let block = block_at(&self.mapping, place.block)?;
        let object = self.mapping.range(place.payload, place.payload_size, new.align)?;
        block.begin(&place, new.info, new.kept);
        let append = || {
            if let Some((header, new_end)) = append {
                // Release: the block, to the Acquire in `for_each_block`.
                header.heap_end.store(new_end, Release);
            }
        };
        if new.size < LARGE {
            init(object)?;
            me.hold(place.block)?;
            block.publish(&place);
            append();
            drop(claim);
            return Ok(place);
        }
        me.hold(place.block)?;
        append();
        drop(claim);
        let publish = || {
            init(object)?;
            let claim = self.claim_heap(me)?;
            // Somebody may have been faster.
            self.check_label(&new)?;
            block.publish(&place);
            drop(claim);
            Ok(place)
        };
        publish().inspect_err(|_| me.release(place.block))
    }

    /// Reserves space in steps, so that a large segment costs what is used of it.
    fn reserve_up_to(&self, header: &Header, end: u64) -> Result<()> {
        const STEP: u64 = 1 << 20;
        let reserved = header.reserved_end.load(Relaxed);
        if end > reserved {
            let target = (end + STEP).min(self.geometry.length);
            let from = reserved.min(target);
            self.mapping.reserve(from, target - from)?;
            header.reserved_end.store(target, Relaxed);
        }
        Ok(())
    }

    /// A block that this process let go and that an object like `new` fits.
    fn reuse_let_go(&self, new: &NewObject<'_>, me: &Membership) -> Result<Option<Place>> {
        let mut candidates = me.take_let_go().into_iter();
        let mut rest = Vec::new();
        let mut found = None;
        for offset in candidates.by_ref() {
            let block = block_at(&self.mapping, offset)?;
            let (place, info) = block.read(&self.mapping, offset)?;
            found = self.reusable(block, place, info, new)?;
            if found.is_some() {
                break;
            }
            if !block.is_kept() {
                rest.push(offset);
            }
        }
        me.put_let_go(rest.into_iter().chain(candidates));
        Ok(found)
    }

    /// Any block that nobody alive holds and that an object like `new` fits.
    fn reuse_any(&self, new: &NewObject<'_>) -> Result<Option<Place>> {
        let mut found = Ok(None);
        for_each_block(&self.mapping, &self.geometry, |block, place, info| {
            found = self.reusable(block, place, info, new);
            matches!(found, Ok(None))
        })?;
        found
    }

    /// The place of a new object in a block, if it can have the block.
    fn reusable(
        &self,
        block: &Block,
        place: Place,
        info: Option<ObjectInfo>,
        new: &NewObject<'_>,
    ) -> Result<Option<Place>> {
        // A block that was begun and not completed was described before its state was set, but
        // perhaps not all of it: its length alone is known to be right.
        let alike = info.is_none_or(|info| {
            info.agrees_with(new.info) && info.capacity == new.info.capacity && !block.is_kept()
        });
        let again = Place::plan(place.block, new.size, new.align)
            .filter(|again| alike && again.length == place.length);
        let Some(again) = again else { return Ok(None) };
        let table = self.table()?;
        for index in block.holders() {
            let Some(entry) = table.entry(index) else { continue };
            let generation = entry.generation.load(Acquire);
            if !table.is_gone(Stamp { index, generation })? {
                return Ok(None);
            }
        }
        // Who borrowed it may have it for longer than who held it.
        if block.lending().end() && self.is_borrowed(&again)? {
            return Ok(None);
        }
        Ok(Some(Place { serial: place.serial.wrapping_add(1), ..again }))
    }

    fn is_borrowed(&self, place: &Place) -> Result<bool> {
        ofd::is_locked(self.mapping.file(), place.byte_of_borrowers())
            .map_err(Error::os("fcntl(F_OFD_GETLK)", self.mapping.name()))
    }

    /// The object with a label.
    pub(crate) fn find_labelled(&self, label: &str) -> Result<Option<(Place, ObjectInfo)>> {
        let mut found = None;
        for_each_block(&self.mapping, &self.geometry, |block, place, info| {
            let named = info.filter(|i| i.label.as_deref() == Some(label) && block.is_kept());
            found = named.map(|info| (place, info));
            found.is_none()
        })?;
        Ok(found)
    }

    /// The object of a segment that was made for one.
    pub(crate) fn find_root(&self) -> Result<Option<(Place, ObjectInfo)>> {
        let mut found = None;
        for_each_block(&self.mapping, &self.geometry, |block, place, info| {
            let root = info.filter(|i| i.label.is_none() && block.is_kept());
            found = root.map(|info| (place, info));
            false
        })?;
        Ok(found)
    }

    /// Finds an object by its label (`None`: the root) and holds it for this process.
    pub(crate) fn find_and_hold(&self, label: Option<&str>) -> Result<Option<(Place, ObjectInfo)>> {
        let me = self.membership()?;
        let claim = self.claim_heap(me)?;
        let found = match label {
            Some(label) => self.find_labelled(label)?,
            None => self.find_root()?,
        };
        if let Some((place, _)) = &found {
            me.hold(place.block)?;
        }
        drop(claim);
        Ok(found)
    }

    /// Holds an object again in a process that inherited a handle to it; false: it is gone.
    pub(crate) fn hold_again(&self, place: &Place) -> Result<bool> {
        let me = self.membership()?;
        let claim = self.claim_heap(me)?;
        let live = block_at(&self.mapping, place.block)?.is_live(place.serial);
        if live {
            me.hold(place.block)?;
        }
        drop(claim);
        Ok(live)
    }

    /// Takes a label away; the object goes when nobody holds it any more.
    pub(crate) fn remove_labelled(&self, label: &str) -> Result<bool> {
        let me = self.membership()?;
        let claim = self.claim_heap(me)?;
        let found = self.find_labelled(label)?;
        if let Some((place, _)) = &found {
            block_at(&self.mapping, place.block)?.let_go();
            me.put_let_go([place.block]);
        }
        drop(claim);
        Ok(found.is_some())
    }

    fn claim_heap<'a>(&'a self, me: &'a Membership) -> Result<Claim<'a>> {
        let header: &Header = self.mapping.at(0)?;
        Claim::take(&header.heap_claim, self.table()?, me)
    }

    /// The table of participants.
    pub(crate) fn table(&self) -> Result<Table<'_>> {
        Table::of(&self.mapping, &self.geometry)
    }
}
