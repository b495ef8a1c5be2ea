//! What differs between processors.
//!
//! On aarch64 a pair of exclusive load and store never succeeds while it is stepped, so stepping
//! asks for a processor with the atomic instructions of ARMv8.1, which compiler and libc use where
//! they find them.

/// The general registers.
pub(crate) type Registers = libc::user_regs_struct;

/// The address of the next instruction.
pub(crate) fn pc(registers: &Registers) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return registers.rip;
    #[cfg(target_arch = "aarch64")]
    return registers.pc;
}

/// The number that a system call made now would have.
pub(crate) fn system_call(registers: &Registers) -> i64 {
    #[cfg(target_arch = "x86_64")]
    return registers.rax.cast_signed();
    #[cfg(target_arch = "aarch64")]
    return registers.regs[8].cast_signed();
}

/// Whether the instruction with these first bytes enters the kernel.
pub(crate) fn is_system_call(code: u64) -> bool {
    #[cfg(target_arch = "x86_64")]
    return code & 0xffff == 0x050f;
    #[cfg(target_arch = "aarch64")]
    return code & 0xffff_ffff == 0xd400_0001;
}

/// Puts an instruction that traps in the place of the one with these first bytes.
pub(crate) fn with_trap(code: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return code & !0xff | 0xcc;
    #[cfg(target_arch = "aarch64")]
    return code & !0xffff_ffff | 0xd420_0000;
}

/// Brings a process that has just run into that trap back to its address.
pub(crate) fn step_back(registers: &mut Registers) {
    #[cfg(target_arch = "x86_64")]
    {
        registers.rip -= 1;
    }
    #[cfg(target_arch = "aarch64")]
    let _ = registers;
}

/// Whether a process may sleep in the system call of this number for as long as it likes.
pub(crate) fn may_sleep(call: i64) -> bool {
    #[cfg(target_arch = "x86_64")]
    if call == libc::SYS_poll {
        return true;
    }
    let sleepy = [
        libc::SYS_futex,
        libc::SYS_futex_waitv,
        libc::SYS_ppoll,
        libc::SYS_waitid,
        libc::SYS_wait4,
        libc::SYS_read,
        libc::SYS_clock_nanosleep,
    ];
    sleepy.contains(&call)
}
