//! Byte locks that belong to an open file description.
//!
//! The kernel drops such a lock when the last descriptor of the description closes, which at the
//! latest is when the last thread of the last process that has one is gone. Unlike the classic
//! locks of `F_SETLK` it does not fall when some other descriptor of the same file closes. Asked
//! through the description that holds it, a lock reads as free: ask through another.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

fn byte(kind: libc::c_int, offset: u64) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: offset as libc::off_t,
        l_len: 1,
        l_pid: 0,
    }
}

fn set(fd: BorrowedFd<'_>, kind: libc::c_int, offset: u64) -> io::Result<bool> {
    let lock = byte(kind, offset);
    // SAFETY: `lock` is a live flock that the kernel reads.
    let result = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_SETLK, &raw const lock) };
    match super::check(result) {
        Ok(_) => Ok(true),
        Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// Locks a byte for this description alone; false where another holds it.
pub(crate) fn try_lock(fd: BorrowedFd<'_>, offset: u64) -> io::Result<bool> {
    set(fd, libc::F_WRLCK, offset)
}

/// Locks a byte together with others who lock it so; false where one holds it alone.
pub(crate) fn try_lock_shared(fd: BorrowedFd<'_>, offset: u64) -> io::Result<bool> {
    set(fd, libc::F_RDLCK, offset)
}

/// Gives a byte back.
pub(crate) fn unlock(fd: BorrowedFd<'_>, offset: u64) -> io::Result<()> {
    set(fd, libc::F_UNLCK, offset).map(drop)
}

/// Whether a description other than this one holds the byte.
pub(crate) fn is_locked(fd: BorrowedFd<'_>, offset: u64) -> io::Result<bool> {
    let mut lock = byte(libc::F_WRLCK, offset);
    // SAFETY: `lock` is a live flock that the kernel reads and fills in.
    super::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_OFD_GETLK, &raw mut lock) })?;
    Ok(libc::c_int::from(lock.l_type) != libc::F_UNLCK)
}
