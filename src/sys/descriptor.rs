//! Descriptors that are waited for: eventfds and `poll`.

#![allow(unsafe_code, reason = "system calls")]

use super::time;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// A descriptor that is readable from a [`Bell::ring`] to the next [`Bell::still`].
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes integers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
        super::file::own(fd).map(Bell)
    }

    /// Makes it readable.
    pub(crate) fn ring(&self) {
        let one = 1u64;
        // A count that is full is readable all the same.
        // SAFETY: eight live bytes.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), 8) };
    }

    /// Makes it not readable.
    pub(crate) fn still(&self) {
        let mut count = 0u64;
        // SAFETY: eight live bytes for the kernel to fill in.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), 8) };
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What is waited for at a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    Readable,
    Writable,
}

/// Waits until one of the descriptors is as wanted, or at its end, or broken, or until `deadline` (of
/// [`time::now`]), and gives for each whether it is. A signal does not end the wait.
pub(crate) fn poll(fds: &[(BorrowedFd<'_>, Until)], deadline: u64) -> io::Result<Vec<bool>> {
    let mut entries: Vec<libc::pollfd> = Vec::with_capacity(fds.len());
    for (fd, until) in fds {
        let events = match until {
            Until::Readable => libc::POLLIN,
            Until::Writable => libc::POLLOUT,
        };
        entries.push(libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 });
    }
    loop {
        let left = time::spec(deadline.saturating_sub(time::now()));
        let timeout = if deadline == u64::MAX { core::ptr::null() } else { &raw const left };
        let count = entries.len() as libc::nfds_t;
        // SAFETY: as many live entries as are said, a live timespec or none, and no signal mask.
        let result =
            unsafe { libc::ppoll(entries.as_mut_ptr(), count, timeout, core::ptr::null()) };
        match super::check(result) {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    if entries.iter().any(|entry| entry.revents & libc::POLLNVAL != 0) {
        return Err(io::Error::from_raw_os_error(libc::EBADF));
    }
    Ok(entries.iter().map(|entry| entry.revents != 0).collect())
}

/// Runs `start` with all signals blocked for the calling thread, so that a thread it starts handles
/// none of them.
pub(crate) fn without_signals<R>(start: impl FnOnce() -> R) -> R {
    // SAFETY: all-zero bytes are a valid sigset_t.
    let mut all: libc::sigset_t = unsafe { core::mem::zeroed() };
    let mut before = all;
    // SAFETY: a live set.
    unsafe { libc::sigfillset(&raw mut all) };
    // SAFETY: two live sets.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before) };
    let result = start();
    // SAFETY: a live set, and the kernel filled it in.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, core::ptr::null_mut()) };
    result
}
