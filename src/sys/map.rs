//! Mapping a file of memory.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::mem::MaybeUninit;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Bytes of a huge page on x86-64, and on aarch64 with pages of 4 KiB.
pub(crate) const HUGE: usize = 2 << 20;
/// `MADV_COLLAPSE`, since Linux 6.1: not in libc's headers of that time.
const COLLAPSE: libc::c_int = 25;

/// Has the kernel map the whole pages of memory that is about to be written, all at once where that is
/// worth it: one by one they cost twice as much.
pub(crate) fn populate(memory: &mut [MaybeUninit<u8>]) {
    /// Less than this is likely there already.
    const WORTH: usize = 128 << 10;
    if memory.len() < WORTH {
        return;
    }
    let before = memory.as_ptr().align_offset(page());
    let Some(length) = memory.len().checked_sub(before).map(|left| left & !(page() - 1)) else {
        return;
    };
    let address = memory.as_mut_ptr().wrapping_add(before).cast();
    // SAFETY: whole pages of memory that is the caller's, which the advice leaves as it is. Where it is
    // refused, they are mapped when they are written.
    unsafe { libc::madvise(address, length, libc::MADV_POPULATE_WRITE) };
}

/// Bytes of a page: a power of two.
fn page() -> usize {
    // SAFETY: takes a number.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    usize::try_from(bytes).unwrap_or(4096)
}

/// The whole of a file, mapped to read and write, until it is dropped.
#[derive(Debug)]
pub(crate) struct Map {
    address: NonNull<u8>,
    length: usize,
}

// SAFETY: an address and a length; who may access what lies there is its users' affair.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Maps the first `length` bytes of a file. What is as long as a huge page begins at an address
    /// where one could, for else the kernel could never use one.
    pub(crate) fn new(fd: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        if length < HUGE {
            return Self::at(ptr::null_mut(), fd, length);
        }
        let room = length.checked_add(HUGE).ok_or(io::ErrorKind::OutOfMemory)?;
        let (flags, none) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, -1);
        // SAFETY: asks for addresses wherever the kernel likes.
        let room_at = unsafe { libc::mmap(ptr::null_mut(), room, libc::PROT_NONE, flags, none, 0) };
        if room_at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let before = room_at.align_offset(HUGE);
        let map = Self::at(room_at.wrapping_byte_add(before), fd, length);
        let kept = match map {
            Ok(_) => before..before + length.next_multiple_of(page()),
            Err(_) => 0..0,
        };
        for rest in [0..kept.start, kept.end..room] {
            if !rest.is_empty() {
                // SAFETY: addresses that were asked for above, without what was mapped over them.
                unsafe { libc::munmap(room_at.wrapping_byte_add(rest.start), rest.len()) };
            }
        }
        map
    }

    /// Maps it at an address, which is null or among addresses that are the caller's and unused.
    fn at(address: *mut libc::c_void, fd: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let fixed = if address.is_null() { 0 } else { libc::MAP_FIXED };
        let flags = libc::MAP_SHARED | fixed;
        // SAFETY: a new mapping, where the kernel likes or over what is the caller's and unused.
        let found = unsafe { libc::mmap(address, length, protection, flags, fd.as_raw_fd(), 0) };
        if found == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let address = NonNull::new(found.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Map { address, length })
    }

    pub(crate) fn address(&self) -> NonNull<u8> {
        self.address
    }

    /// Bytes.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Has the kernel map the pages of a range now (`MADV_POPULATE_WRITE`).
    pub(crate) fn populate(&self, range: Range<usize>) -> io::Result<()> {
        self.advise(range.start & !(page() - 1)..range.end, libc::MADV_POPULATE_WRITE)
    }

    /// Has the kernel put what lies in a range into huge pages (`MADV_COLLAPSE`), where whole ones
    /// lie in it, and gives the bytes of those that it has.
    pub(crate) fn collapse(&self, range: Range<usize>) -> io::Result<usize> {
        let (mut done, mut failure) = (0, None);
        let mut at = range.start.next_multiple_of(HUGE);
        while at + HUGE <= range.end.min(self.length) {
            match self.advise(at..at + HUGE, COLLAPSE) {
                Ok(()) => done += HUGE,
                Err(error) => failure = Some(error),
            }
            at += HUGE;
        }
        match failure {
            Some(error) if done == 0 => Err(error),
            _ => Ok(done),
        }
    }

    fn advise(&self, range: Range<usize>, advice: libc::c_int) -> io::Result<()> {
        let range = range.start..range.end.min(self.length);
        if range.is_empty() {
            return Ok(());
        }
        let address = self.address.as_ptr().wrapping_add(range.start).cast();
        // SAFETY: within the mapping; neither advice changes what the memory says.
        let result = unsafe { libc::madvise(address, range.len(), advice) };
        super::check(result).map(drop)
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: what `at` mapped, which nobody uses any more.
        unsafe { libc::munmap(self.address.as_ptr().cast(), self.length) };
    }
}
