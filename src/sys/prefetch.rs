//! Fetching cache lines before they are written.

#![allow(unsafe_code, reason = "an instruction that the language has no name for")]

/// Bytes of a cache line.
pub(crate) const LINE: usize = 64;

/// Begins to fetch the line of an address, to be written soon. Without effect on what is there, and
/// without fault where nothing is.
#[inline(always)]
pub(crate) fn for_write(address: *const u8) {
    // SAFETY: a hint. Where the processor does not know it, it does nothing.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("prefetchw [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("prfm pstl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}

/// Begins to fetch the line of an address, to be read soon.
#[inline(always)]
pub(crate) fn for_read(address: *const u8) {
    // SAFETY: a hint.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) address, options(nostack, preserves_flags, readonly));
    }
}
