//! Noticing a fork, whoever called it.
//!
//! A forked child has copies of everything its parent knew of itself: thread ids, stamps, exclusive
//! ends of channels. The *epoch* tells such a copy from the original: a number on a page that the
//! kernel wipes in every forked child (`MADV_WIPEONFORK`), however it was forked. What was made in
//! one epoch compares its number with [`epoch`] and finds out in the next.

#![allow(unsafe_code, reason = "system calls")]

use super::file;
use crate::sync::local::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Where the epoch is read while there is no page yet. Never written.
static NO_EPOCH: AtomicU32 = AtomicU32::new(0);
/// The page's first word: 0 in a child that nobody has told its epoch yet.
static PAGE: AtomicPtr<AtomicU32> = AtomicPtr::new((&raw const NO_EPOCH).cast_mut());
/// The last epoch given out in this line of descent.
static LAST: AtomicU32 = AtomicU32::new(0);

/// The word that holds the epoch of this process, for those who compare on a fast path.
///
/// It reads 0 in a child that has not called [`epoch`] yet, which is nobody's epoch.
#[inline]
pub(crate) fn epoch_word() -> &'static AtomicU32 {
    // Acquire: pairs with the exchange that installed the page.
    let page = PAGE.load(Ordering::Acquire);
    // SAFETY: the pointer is that of a static or of a page that is never unmapped.
    unsafe { &*page }
}

/// The epoch of this process: another one in each forked child, never 0.
pub(crate) fn epoch() -> u32 {
    match epoch_word().load(Ordering::Relaxed) {
        0 => begin(),
        epoch => epoch,
    }
}

#[cold]
fn begin() -> u32 {
    if core::ptr::eq(epoch_word(), &raw const NO_EPOCH) {
        install_page();
    }
    // Relaxed: the number carries no data; a child's counter is its own copy, and starts above
    // every number that a handle it inherited can carry.
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match epoch_word().compare_exchange(0, next, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => next,
        Err(other) => other,
    }
}

fn install_page() {
    let length = 4096;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: asks for a new mapping wherever the kernel likes.
    let page = unsafe { libc::mmap(core::ptr::null_mut(), length, protection, flags, -1, 0) };
    assert!(page != libc::MAP_FAILED, "no memory for one page: {}", io::Error::last_os_error());
    // SAFETY: the range is the mapping just made.
    let advised = unsafe { libc::madvise(page, length, libc::MADV_WIPEONFORK) };
    assert!(advised == 0, "MADV_WIPEONFORK: {}", io::Error::last_os_error());
    let none = (&raw const NO_EPOCH).cast_mut();
    // AcqRel: publishes the advised page to the Acquire in `epoch_word`.
    if PAGE.compare_exchange(none, page.cast(), Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: another thread's page was installed; nobody has seen this one.
        unsafe { libc::munmap(page, length) };
    } else {
        // SAFETY: the handler is a function of this image; a failure leaves descriptors open in
        // children forked by others, which delays the news of a death and nothing else.
        unsafe { libc::pthread_atfork(None, None, Some(close_in_child)) };
    }
}

/// How many descriptors can be marked private; more than a process can usefully be a member of.
const PRIVATE: usize = 8192;
/// Descriptors that a forked child closes at once, as -1 or the number.
static PRIVATE_DESCRIPTORS: [AtomicI32; PRIVATE] = [const { AtomicI32::new(-1) }; PRIVATE];
/// One above the highest entry ever used.
static PRIVATE_USED: AtomicUsize = AtomicUsize::new(0);

/// Marks a descriptor as one that no forked child may keep: the locks of its description say that
/// *this* process lives.
pub(crate) fn mark_private(fd: BorrowedFd<'_>) -> io::Result<()> {
    epoch();
    for (i, entry) in PRIVATE_DESCRIPTORS.iter().enumerate() {
        let fd = fd.as_raw_fd();
        // Relaxed: a child's copy of memory is consistent with its parent's at the fork.
        if entry.compare_exchange(-1, fd, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            PRIVATE_USED.fetch_max(i + 1, Ordering::Relaxed);
            return Ok(());
        }
    }
    Err(io::Error::from_raw_os_error(libc::EMFILE))
}

/// Takes the mark back, before the descriptor is closed or meant to be inherited.
pub(crate) fn unmark_private(fd: BorrowedFd<'_>) {
    let used = PRIVATE_USED.load(Ordering::Relaxed);
    for entry in &PRIVATE_DESCRIPTORS[..used] {
        let fd = fd.as_raw_fd();
        if entry.compare_exchange(fd, -1, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// Runs in every child that libc forks, before anything else does.
extern "C" fn close_in_child() {
    let used = PRIVATE_USED.load(Ordering::Relaxed);
    for entry in &PRIVATE_DESCRIPTORS[..used] {
        let fd = entry.swap(-1, Ordering::Relaxed);
        if fd >= 0 {
            file::close_raw(fd);
        }
    }
}

/// Which side of a fork the caller is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// The new process.
    Child,
    /// The old one.
    Parent {
        /// The new process's id.
        child: u32,
    },
}

/// Forks.
///
/// # Safety
/// Only the calling thread exists in the child: there, the caller relies on no lock that another
/// thread may have held (libc's allocator takes care of itself).
pub(crate) unsafe fn fork() -> io::Result<Side> {
    // SAFETY: as the caller's.
    match super::check(unsafe { libc::fork() })? {
        0 => Ok(Side::Child),
        child => Ok(Side::Parent { child: child as u32 }),
    }
}
