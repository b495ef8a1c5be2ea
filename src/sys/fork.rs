//! Noticing a fork, whoever called it.
//!
//! A forked child has copies of everything its parent knew of itself: thread ids, stamps, exclusive
//! ends of channels. The *epoch* tells such a copy from the original: a number on a page that the
//! kernel wipes in every forked child (`MADV_WIPEONFORK`), however it was forked. What was made in
//! one epoch compares its number with [`epoch`] and finds out in the next.

#![allow(unsafe_code, reason = "system calls")]

use super::file;
use super::hot::Hot;
use crate::sync::local::{AtomicI32, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::cell::Cell;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

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
#[inline]
pub(crate) fn epoch() -> u32 {
    match epoch_word().load(Ordering::Relaxed) {
        0 => begin(),
        epoch => epoch,
    }
}

/// The epoch of every child that this process forks; and of this process, where it is such a child and
/// has not asked for its epoch yet.
pub(crate) fn epoch_of_child() -> u32 {
    // Relaxed: changes when a process asks for its epoch for the first time, and no more.
    LAST.load(Ordering::Relaxed) + 1
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

/// Maps zeroed memory that is zeroed again in every forked child.
pub(super) fn wiped(length: usize) -> io::Result<*mut u8> {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: asks for a new mapping wherever the kernel likes.
    let memory = unsafe { libc::mmap(core::ptr::null_mut(), length, protection, flags, -1, 0) };
    if memory == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the range is the mapping just made.
    if unsafe { libc::madvise(memory, length, libc::MADV_WIPEONFORK) } != 0 {
        let error = io::Error::last_os_error();
        // SAFETY: nobody has seen it.
        unsafe { unmap(memory.cast(), length) };
        return Err(error);
    }
    Ok(memory.cast())
}

/// Takes back what [`wiped`] gave.
///
/// # Safety
/// It gave this memory, of this length, and nobody refers to it any more.
pub(super) unsafe fn unmap(memory: *mut u8, length: usize) {
    // SAFETY: as the caller's.
    unsafe { libc::munmap(memory.cast(), length) };
}

fn install_page() {
    // A fork comes to it from here on.
    LIST.placed();
    let length = 4096;
    let page = wiped(length).unwrap_or_else(|e| panic!("no page that is wiped on fork: {e}"));
    let none = (&raw const NO_EPOCH).cast_mut();
    // AcqRel: publishes the advised page to the Acquire in `epoch_word`.
    if PAGE.compare_exchange(none, page.cast(), Ordering::AcqRel, Ordering::Acquire).is_err() {
        // SAFETY: another thread's page was installed; nobody has seen this one.
        unsafe { unmap(page, length) };
    } else {
        let (before, parent, child) = (before_fork, after_fork_in_parent, after_fork_in_child);
        // SAFETY: the handlers are functions of this image; a failure leaves descriptors open in
        // children forked by others, which delays the news of a death and nothing else.
        unsafe { libc::pthread_atfork(Some(before), Some(parent), Some(child)) };
    }
}

/// How many descriptors can be private; more than a process can usefully be a member of.
const PRIVATE: usize = 8192;
/// What a fork and a forked child write of it.
#[repr(C)]
struct Private {
    /// The thread that opens or closes a private descriptor, and the list is behind; or that forks; or
    /// 0. Keeps the two apart.
    changing: AtomicU32,
    /// How often libc has forked this line of descent.
    generation: AtomicU32,
    /// One above the highest entry ever used.
    used: AtomicUsize,
    /// The other entries, where there were more than the first, which are never freed.
    others: AtomicPtr<[AtomicI32; PRIVATE - FIRST]>,
    /// Descriptors that a forked child closes at once, as 0 or one above the number: the first ones.
    first: [AtomicI32; FIRST],
}

/// How many of them are next to the rest.
const FIRST: usize = 16;

// SAFETY: zeros are atomics.
static LIST: Hot<Private> = unsafe { Hot::new() };

/// All entries that there are, used or not.
fn entries() -> impl Iterator<Item = &'static AtomicI32> {
    // Acquire: pairs with the Release in `list`.
    // SAFETY: null, or entries that are never freed.
    let others = unsafe { LIST.others.load(Ordering::Acquire).as_ref() };
    LIST.placed().first.iter().chain(others.into_iter().flatten())
}

/// Tells a child that libc has forked from its parent, as long as it runs: costs nothing.
#[inline]
pub(crate) fn generation() -> u32 {
    // Relaxed: written before anything else runs in the child.
    LIST.if_placed().map_or(0, |list| list.generation.load(Ordering::Relaxed))
}

thread_local! {
    /// What the child keeps that the calling thread is about to fork.
    static KEEP: Cell<Option<&'static [PrivateDescriptor]>> = const { Cell::new(None) };
}

/// A descriptor of this process alone, whose locks say that *it* lives: forked children close it.
#[derive(Debug)]
pub(crate) struct PrivateDescriptor {
    fd: ManuallyDrop<OwnedFd>,
    epoch: u32,
}

impl PrivateDescriptor {
    /// Opens one.
    pub(crate) fn open(open: impl FnOnce() -> io::Result<OwnedFd>) -> io::Result<Self> {
        let epoch = epoch();
        let fd = apart_from_forks(|| open().and_then(|fd| list(&fd).map(|()| fd)))?;
        Ok(PrivateDescriptor { fd: ManuallyDrop::new(fd), epoch })
    }

    /// In a child that kept it: makes it the child's own.
    pub(crate) fn adopt(&mut self) {
        self.epoch = epoch();
    }
}

impl AsFd for PrivateDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for PrivateDescriptor {
    fn drop(&mut self) {
        // In a child that did not keep it, the number may be another file's by now.
        if self.epoch == epoch() {
            apart_from_forks(|| {
                unlist(&self.fd);
                // SAFETY: dropped once, here.
                unsafe { ManuallyDrop::drop(&mut self.fd) };
            });
        }
    }
}

/// Runs `change` while no thread of this process forks.
fn apart_from_forks<R>(change: impl FnOnce() -> R) -> R {
    let me = this_thread();
    while LIST.changing.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed).is_err() {
        super::process::yield_now();
    }
    let result = change();
    LIST.changing.store(0, Ordering::Release);
    result
}

fn list(fd: &OwnedFd) -> io::Result<()> {
    let listed = fd.as_raw_fd() + 1;
    let in_free_one = || {
        let free = entries().enumerate().find(|(_, entry)| {
            // Relaxed: a child's copy of memory is consistent with its parent's at the fork.
            entry.compare_exchange(0, listed, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        free.map(|(i, _)| LIST.used.fetch_max(i + 1, Ordering::Relaxed))
    };
    if in_free_one().is_some() {
        return Ok(());
    }
    if LIST.others.load(Ordering::Relaxed).is_null() {
        let others: Box<[AtomicI32]> = (FIRST..PRIVATE).map(|_| AtomicI32::new(0)).collect();
        let others = others.try_into().map_err(|_| io::ErrorKind::OutOfMemory)?;
        // Release: the entries. One thread at a time is here.
        LIST.others.store(Box::into_raw(others), Ordering::Release);
    }
    in_free_one().map(drop).ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))
}

fn unlist(fd: &OwnedFd) {
    let used = LIST.used.load(Ordering::Relaxed);
    for entry in entries().take(used) {
        let listed = fd.as_raw_fd() + 1;
        if entry.compare_exchange(listed, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
}

/// The calling thread's id: not 0.
fn this_thread() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as u32 }
}

/// Runs before every fork of libc's. A signal handler that forks would wait for itself: its child keeps
/// what is just being opened, which delays the news of the parent's death and does nothing else.
extern "C" fn before_fork() {
    let me = this_thread();
    while let Err(holder) =
        LIST.changing.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed)
        && holder != me
    {
        super::process::yield_now();
    }
}

/// Runs in the parent after every fork of libc's.
extern "C" fn after_fork_in_parent() {
    LIST.changing.store(0, Ordering::Release);
}

/// Runs in every child that libc forks, before anything else does.
extern "C" fn after_fork_in_child() {
    LIST.changing.store(0, Ordering::Relaxed);
    LIST.generation.fetch_add(1, Ordering::Relaxed);
    let keep = KEEP.get().unwrap_or(&[]);
    let used = LIST.used.load(Ordering::Relaxed);
    for entry in entries().take(used) {
        let fd = entry.load(Ordering::Relaxed) - 1;
        if fd >= 0 && keep.iter().all(|kept| kept.fd.as_raw_fd() != fd) {
            entry.store(0, Ordering::Relaxed);
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

/// Forks. The child keeps the private descriptors in `keep`, and no others.
///
/// # Safety
/// Only the calling thread exists in the child: there, the caller relies on no lock that another
/// thread may have held (libc's allocator takes care of itself).
pub(crate) unsafe fn fork(keep: &[PrivateDescriptor]) -> io::Result<Side> {
    // SAFETY: as the caller's.
    match keeping(keep, || super::check(unsafe { libc::fork() }))? {
        0 => Ok(Side::Child),
        child => Ok(Side::Parent { child: child as u32 }),
    }
}

/// Runs `fork`, which forks. The child keeps the private descriptors in `keep`, and no others.
pub(crate) fn keeping<R>(keep: &[PrivateDescriptor], fork: impl FnOnce() -> R) -> R {
    if keep.is_empty() {
        return fork();
    }
    struct Kept;
    impl Drop for Kept {
        fn drop(&mut self) {
            KEEP.set(None);
        }
    }
    // SAFETY: taken back by `Kept`, before the borrow ends; the handlers run within the call.
    KEEP.set(Some(unsafe { core::mem::transmute::<&[_], &'static [_]>(keep) }));
    let _kept = Kept;
    fork()
}
