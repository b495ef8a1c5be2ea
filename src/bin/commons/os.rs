//! Waiting for descriptors.

#![allow(unsafe_code, reason = "poll(2)")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

/// Waits until there is something to read, an end of the file and an error included; false: not
/// within `timeout`.
pub(crate) fn wait_readable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    Ok(poll(fd, libc::POLLIN, timeout)? != 0)
}

/// Waits until something can be written, or nothing ever again; false: not within `timeout`.
pub(crate) fn wait_writable(fd: impl AsFd, timeout: Duration) -> io::Result<bool> {
    Ok(poll(fd, libc::POLLOUT, timeout)? != 0)
}

/// Whether nobody can read what is written here any more.
pub(crate) fn is_broken(fd: impl AsFd) -> bool {
    poll(fd, 0, Duration::ZERO).is_ok_and(|events| events & libc::POLLERR != 0)
}

/// Waits for one of `events`; a signal ends it early.
fn poll(fd: impl AsFd, events: i16, timeout: Duration) -> io::Result<i16> {
    let mut polled = libc::pollfd { fd: fd.as_fd().as_raw_fd(), events, revents: 0 };
    let milliseconds = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: one live entry.
    if unsafe { libc::poll(&mut polled, 1, milliseconds) } >= 0 {
        return Ok(polled.revents);
    }
    match io::Error::last_os_error() {
        error if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        error => Err(error),
    }
}
