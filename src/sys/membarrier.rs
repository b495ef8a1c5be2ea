//! `membarrier(2)`: a full barrier on every processor that runs a registered process.

#![allow(unsafe_code, reason = "system calls")]

fn call(command: libc::c_int) -> bool {
    // SAFETY: membarrier takes no pointers.
    unsafe {
        libc::syscall(libc::SYS_membarrier, command, 0 as libc::c_uint, 0 as libc::c_int) == 0
    }
}

/// Registers this process as one that [`global_expedited`] reaches. Holds until exec.
pub(crate) fn register() -> bool {
    call(libc::MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED)
}

/// Runs a full barrier on every processor that runs a registered process. False where the kernel
/// or a filter refuses.
pub(crate) fn global_expedited() -> bool {
    call(libc::MEMBARRIER_CMD_GLOBAL_EXPEDITED)
}
