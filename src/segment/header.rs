//! The first bytes of every segment: what it is, how it is laid out, since when.

#![allow(unsafe_code, reason = "marks a type made of atomics")]

use super::mapping::{Mapping, Shared};
use crate::layout::{ABI_VERSION, LINES, PAGE, align_up};
use crate::member::{PARTICIPANTS, Participant};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sys;
use crate::{Error, Result};
use std::time::{Duration, SystemTime};

/// `commons` and a zero, read as a little-endian number.
const MAGIC: u64 = u64::from_le_bytes(*b"commons\0");

/// The header. All but the last line is written once, before the segment can be found.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Header {
    magic: AtomicU64,
    abi: AtomicU32,
    participants: AtomicU32,
    /// Bytes of the whole segment.
    length: AtomicU64,
    table: AtomicU64,
    heap: AtomicU64,
    /// Nanoseconds since 1970.
    created: AtomicU64,
    /// The creator's process id, and the pid namespace it is counted in.
    creator: AtomicU64,
    namespace: AtomicU64,
    reserved: [AtomicU64; 8],
    /// Who is changing the chain of blocks: a claim, see [`crate::member::Claim`].
    pub(crate) heap_claim: AtomicU64,
    /// Offset of the end of the last complete block. Written by the holder of the claim.
    pub(crate) heap_end: AtomicU64,
    /// Offset up to which space is reserved. Written by the holder of the claim.
    pub(crate) reserved_end: AtomicU64,
    /// Where the next participant starts to look for a place: a hint.
    pub(crate) next_place: AtomicU64,
    unused: [AtomicU64; 12],
}

// SAFETY: made of atomics.
unsafe impl Shared for Header {}

/// A private, checked copy of what the header says of the layout, so that nothing a peer writes
/// later can move it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Geometry {
    /// Bytes of the whole segment.
    pub(crate) length: u64,
    /// Offset of the table of participants, which has [`PARTICIPANTS`] entries.
    pub(crate) table: u64,
    /// Offset of the first block.
    pub(crate) heap: u64,
    /// When the segment was made.
    pub(crate) created: SystemTime,
    /// By which process.
    pub(crate) creator: u32,
    /// The pid namespace of that process, in which the ids of its locks' owners are counted.
    pub(crate) namespace: u64,
}

/// Bytes in front of the first block.
pub(crate) const OVERHEAD: u64 =
    size_of::<Header>() as u64 + PARTICIPANTS as u64 * size_of::<Participant>() as u64;

impl Geometry {
    /// The layout of a new segment with room for `heap` bytes of blocks.
    pub(crate) fn with_room_for(heap: u64) -> Result<Self> {
        let limit = i64::MAX as u64 - OVERHEAD - PAGE;
        let too_large = || Error::TooLarge { what: "a segment", asked: heap, limit };
        let length = heap.checked_add(OVERHEAD).filter(|_| heap <= limit).ok_or_else(too_large)?;
        Ok(Geometry {
            length: align_up(length, PAGE).ok_or_else(too_large)?,
            table: size_of::<Header>() as u64,
            heap: OVERHEAD,
            created: SystemTime::now(),
            creator: std::process::id(),
            namespace: sys::process::pid_namespace(),
        })
    }

    /// The layout of a new segment of that length.
    #[cfg(feature = "shared_memory")]
    pub(crate) fn of_length(name: &str, length: u64) -> Result<Self> {
        let asked = OVERHEAD + PAGE;
        let heap = length.checked_sub(asked).ok_or_else(|| {
            let segment = name.to_owned();
            Error::SegmentFull { segment, asked, free: length }
        })?;
        Ok(Geometry { length, ..Self::with_room_for(heap)? })
    }

    /// Writes the header of a segment whose bytes are zero. What others can see by now is none to
    /// them before its first word is written, which is the last thing.
    pub(crate) fn write(&self, mapping: &Mapping, reserved_end: u64) -> Result<()> {
        let header: &Header = mapping.at(0)?;
        let since = self.created.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
        // Relaxed but for the last: the segment is published by the kernel, with its name or its
        // descriptor; or, where its name was there before, by its first word.
        header.abi.store(ABI_VERSION, Relaxed);
        header.participants.store(PARTICIPANTS, Relaxed);
        header.length.store(self.length, Relaxed);
        header.table.store(self.table, Relaxed);
        header.heap.store(self.heap, Relaxed);
        header.created.store(since.as_nanos() as u64, Relaxed);
        header.creator.store(u64::from(self.creator), Relaxed);
        header.namespace.store(self.namespace, Relaxed);
        header.heap_end.store(self.heap, Relaxed);
        header.reserved_end.store(reserved_end, Relaxed);
        header.magic.store(MAGIC, Release);
        Ok(())
    }

    /// Checks that a file that begins so was made as a segment, of whatever version.
    pub(crate) fn check_magic(name: &str, begins: [u8; 16]) -> Result<()> {
        if u128::from_le_bytes(begins) as u64 == MAGIC {
            return Ok(());
        }
        let found = "its first bytes are something else's".to_owned();
        Err(Error::NotOurs { name: name.to_owned(), found })
    }

    /// Checks that a file of this size that begins so is a segment that this program understands.
    pub(crate) fn recognise(name: &str, size: u64, begins: [u8; 16]) -> Result<()> {
        Self::check_magic(name, begins)?;
        if size < OVERHEAD {
            let problem = "it is cut off within its header";
            return Err(Error::Corrupted { name: name.to_owned(), problem });
        }
        let begins = u128::from_le_bytes(begins);
        let found = (begins >> 64) as u32;
        if found != ABI_VERSION {
            return Err(Error::Version { name: name.to_owned(), expected: ABI_VERSION, found });
        }
        Ok(())
    }

    /// Reads and checks the header of a segment that was recognised.
    pub(crate) fn read(mapping: &Mapping) -> Result<Self> {
        let header: &Header = mapping.at(0)?;
        // Acquire: pairs with the Release in `write`.
        header.magic.load(Acquire);
        let geometry = Geometry {
            length: header.length.load(Relaxed),
            table: header.table.load(Relaxed),
            heap: header.heap.load(Relaxed),
            created: SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_nanos(header.created.load(Relaxed)))
                .unwrap_or(SystemTime::UNIX_EPOCH),
            creator: header.creator.load(Relaxed) as u32,
            namespace: header.namespace.load(Relaxed),
        };
        if geometry.length != mapping.len() {
            return Err(mapping.corrupted("its length is not that of its file"));
        }
        if header.participants.load(Relaxed) != PARTICIPANTS
            || geometry.table != size_of::<Header>() as u64
            || geometry.heap != OVERHEAD
            || geometry.heap > geometry.length
            || !geometry.heap.is_multiple_of(LINES)
        {
            return Err(mapping.corrupted("its header describes another layout"));
        }
        Ok(geometry)
    }
}
