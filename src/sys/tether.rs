//! The tether of a daemon: a pipe that ends it when its parent ends.
//!
//! The parent has the only writing end. The daemon has asked the kernel to send it SIGKILL when its
//! reading end is ready, which it is when nobody is left to write: so the parent's end is enough,
//! however it comes, and that of a single thread is not (as with `PR_SET_PDEATHSIG`).

#![allow(unsafe_code, reason = "system calls")]

use super::fork::PrivateDescriptor;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

/// `F_SETSIG` of fcntl(2), for which libc has no name.
const F_SETSIG: libc::c_int = 10;

/// The parent's end. Dropping it in the parent ends the daemon.
#[derive(Debug)]
pub(crate) struct Tether {
    _writer: PrivateDescriptor,
}

/// The daemon's end.
#[derive(Debug)]
pub(crate) struct Collar(OwnedFd);

/// A tether, for a child that is about to be forked.
pub(crate) fn tether() -> io::Result<(Tether, Collar)> {
    let mut reader = None;
    let writer = PrivateDescriptor::open(|| {
        let mut fds = [-1; 2];
        // SAFETY: two live numbers for the kernel to fill in.
        super::check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
        let (read, write) = (super::file::own(fds[0]), super::file::own(fds[1]));
        reader = Some(read?);
        write
    })?;
    let reader = reader.ok_or(io::ErrorKind::Other)?;
    Ok((Tether { _writer: writer }, Collar(reader)))
}

impl Collar {
    /// In a child of the child: ends it, too, when the other end is gone. The kernel sends one signal
    /// for each description, so this takes another one of the same pipe.
    #[cfg(feature = "serde")]
    pub(crate) fn put_on_another(&self) -> io::Result<()> {
        Collar(super::file::reopen_reading(self.0.as_fd())?).put_on()?;
        // A description that was opened when there was no writer any more does not say so.
        if super::process::wait_readable(self.0.as_fd(), 0)? {
            super::process::exit_now(1);
        }
        Ok(())
    }

    /// In the child: ends it when the parent ends, or has ended.
    pub(crate) fn put_on(self) -> io::Result<()> {
        self.fasten()?;
        // Open for as long as the process is.
        let _ = self.0.into_raw_fd();
        Ok(())
    }

    /// The same, for as long as the descriptor is open. Allocates nothing.
    pub(crate) fn fasten(&self) -> io::Result<()> {
        let set = |command, value: libc::c_int| {
            // SAFETY: takes integers.
            super::check(unsafe { libc::fcntl(self.0.as_raw_fd(), command, value) })
        };
        set(libc::F_SETOWN, std::process::id() as libc::c_int)?;
        set(F_SETSIG, libc::SIGKILL)?;
        set(libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK)?;
        // What came before that sent no signal.
        if super::process::wait_readable(self.0.as_fd(), 0)? {
            super::process::exit_now(1);
        }
        Ok(())
    }
}

impl AsFd for Collar {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
