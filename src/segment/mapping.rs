//! A file of memory, mapped: checked access to what lies at an offset.

#![allow(unsafe_code, reason = "turns offsets into references")]

use crate::sys::file;
use crate::sys::map::Map;
use crate::{Error, Result};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

/// Types that may be referred to in place while other processes write them.
///
/// # Safety
/// Every field is an atomic (or such a type), so any bytes are a valid value and a shared reference
/// permits every write by a peer.
pub(crate) unsafe trait Shared: Sync {}

// SAFETY: atomics.
unsafe impl Shared for crate::sync::atomic::AtomicU32 {}
// SAFETY: atomics.
unsafe impl Shared for crate::sync::atomic::AtomicU64 {}

/// A mapped file and the descriptor it was mapped from. The description of that descriptor never
/// holds a lock, so questions about locks go through it.
#[derive(Debug)]
pub(crate) struct Mapping {
    map: Map,
    file: OwnedFd,
    name: String,
}

impl Mapping {
    /// Maps the whole of a file whose space is reserved. `name` is what messages call it.
    pub(crate) fn new(file: OwnedFd, name: String) -> Result<Self> {
        let status = file::status(file.as_fd()).map_err(Error::os("fstat", name.as_str()))?;
        let length = usize::try_from(status.size).map_err(|_| io::ErrorKind::FileTooLarge.into());
        let map = length.and_then(|length| Map::new(file.as_fd(), length));
        let map = map.map_err(Error::os("mmap", name.as_str()))?;
        Ok(Mapping { map, file, name })
    }

    /// What messages call this memory.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Bytes.
    pub(crate) fn len(&self) -> u64 {
        self.map.len() as u64
    }

    /// The descriptor for questions.
    pub(crate) fn file(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// An error that says what contradicts itself here.
    pub(crate) fn corrupted(&self, problem: &'static str) -> Error {
        Error::Corrupted { name: self.name.clone(), problem }
    }

    /// The address of a range, which is checked to lie within the mapping and to be aligned.
    pub(crate) fn range(&self, offset: u64, bytes: u64, align: u64) -> Result<NonNull<u8>> {
        let inside = offset.checked_add(bytes).is_some_and(|end| end <= self.len());
        if !inside || !offset.is_multiple_of(align.max(1)) {
            return Err(self.corrupted("an offset leads out of the segment"));
        }
        // SAFETY: `offset` is at most the length of the mapping.
        Ok(unsafe { self.map.address().add(offset as usize) })
    }

    /// What lies at an offset.
    pub(crate) fn at<T: Shared>(&self, offset: u64) -> Result<&T> {
        Ok(&self.slice::<T>(offset, 1)?[0])
    }

    /// `count` of `T` in a row from an offset on.
    pub(crate) fn slice<T: Shared>(&self, offset: u64, count: u64) -> Result<&[T]> {
        let bytes = count.checked_mul(size_of::<T>() as u64);
        let bytes = bytes.ok_or_else(|| self.corrupted("a count is beyond all memory"))?;
        let address = self.range(offset, bytes, align_of::<T>() as u64)?;
        // SAFETY: the range is mapped for as long as `self`, aligned, and any bytes in it are a
        // valid `T` that peers may write, as `Shared` says.
        Ok(unsafe { core::slice::from_raw_parts(address.cast().as_ptr(), count as usize) })
    }

    /// Maps the pages of a range now, so that touching them later costs no fault. A help, not a
    /// promise.
    pub(crate) fn prefault(&self, offset: u64, bytes: u64) {
        // The space was reserved before; a kernel before 5.14 does not know the advice.
        let _ = self.map.populate(offset as usize..(offset + bytes) as usize);
    }

    /// Has the kernel put a range into huge pages, and gives the bytes of those that it has.
    pub(crate) fn collapse(&self, offset: u64, bytes: u64) -> Result<usize> {
        let range = offset as usize..(offset + bytes) as usize;
        self.map.collapse(range).map_err(Error::os("madvise(MADV_COLLAPSE)", self.name()))
    }

    /// Reserves space for a range, or says how much there is.
    pub(crate) fn reserve(&self, offset: u64, bytes: u64) -> Result<()> {
        reserve(self.file(), &self.name, offset, bytes)
    }
}

/// Bytes from which on it is asked beforehand whether there is so much memory.
const WORTH_ASKING: u64 = 64 << 20;

/// Reserves space for a range of a file.
pub(crate) fn reserve(fd: BorrowedFd<'_>, name: &str, offset: u64, bytes: u64) -> Result<()> {
    // The kernel would take all memory there is before it found that there is not enough, and then
    // end processes to get more.
    if bytes > WORTH_ASKING && file::available_memory().is_some_and(|available| bytes > available) {
        return Err(Error::NoSpace { asked: bytes, free: free(fd) });
    }
    file::reserve(fd, offset, bytes).map_err(|e| match e.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::OutOfMemory
        | std::io::ErrorKind::FileTooLarge
        | std::io::ErrorKind::QuotaExceeded => Error::NoSpace { asked: bytes, free: free(fd) },
        _ => Error::os("fallocate", name)(e),
    })
}

/// Bytes that are still free for a file: on its file system and in memory.
fn free(fd: BorrowedFd<'_>) -> Option<u64> {
    file::free_bytes(fd).into_iter().chain(file::available_memory()).min()
}
