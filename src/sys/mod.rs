//! The only module that names libc: one thin typed function per system call, and the two pieces of
//! per-thread and per-process kernel state that the crate shares with libc, the robust list
//! ([`robust`]) and the fork epoch ([`fork`]).

pub(crate) mod descriptor;
#[cfg(feature = "serde")]
pub(crate) mod exec;
pub(crate) mod file;
pub(crate) mod fork;
#[cfg(feature = "serde")]
pub(crate) mod fuse;
pub(crate) mod futex;
pub(crate) mod hot;
#[cfg(feature = "serde")]
pub(crate) mod image;
pub(crate) mod map;
pub(crate) mod membarrier;
pub(crate) mod ofd;
pub(crate) mod per_process;
pub(crate) mod prefetch;
pub(crate) mod process;
pub(crate) mod rights;
pub(crate) mod robust;
pub(crate) mod setup;
pub(crate) mod task;
pub(crate) mod tether;
pub(crate) mod time;

use std::io;

/// Turns the `-1` of a system call into its error.
fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
