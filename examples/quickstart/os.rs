//! What the example asks of the kernel that the standard library has no words for.

#![allow(unsafe_code, reason = "system calls")]

use std::os::fd::{AsFd, AsRawFd};

fn no_processors() -> libc::cpu_set_t {
    // SAFETY: a set of bits, all of which may be zero.
    unsafe { std::mem::zeroed() }
}

/// The processors that this process may run on.
pub(crate) fn processors() -> Vec<usize> {
    let mut set = no_processors();
    // SAFETY: `set` is a live set of the size given.
    if unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) } != 0 {
        return Vec::new();
    }
    // SAFETY: every number is below the size of a set.
    let has = |cpu: &usize| unsafe { libc::CPU_ISSET(*cpu, &set) };
    (0..libc::CPU_SETSIZE as usize).filter(has).collect()
}

/// Keeps the calling process on one processor; where that is refused it runs where it may.
pub(crate) fn pin(cpu: usize) {
    let mut set = no_processors();
    // SAFETY: `cpu` came out of a set.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is a live set of the size given.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
}

/// Gives a pipe room for so many bytes; where that is refused it keeps the 64 KiB it has.
pub(crate) fn enlarge(pipe: impl AsFd, bytes: usize) {
    // SAFETY: the call touches no memory of this process.
    unsafe { libc::fcntl(pipe.as_fd().as_raw_fd(), libc::F_SETPIPE_SZ, bytes as libc::c_int) };
}
