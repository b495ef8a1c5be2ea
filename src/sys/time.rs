//! The monotonic clock, in nanoseconds.

#![allow(unsafe_code, reason = "system calls")]

use std::time::{Duration, Instant};

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now() -> u64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `spec` is a live timespec for the kernel to fill in; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut spec) };
    spec.tv_sec as u64 * 1_000_000_000 + spec.tv_nsec as u64
}

/// The clock ticks since boot that /proc counts in.
pub(crate) fn ticks() -> u64 {
    let mut spec = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `spec` is a live timespec for the kernel to fill in; this clock always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_BOOTTIME, &raw mut spec) };
    // SAFETY: takes a number.
    let a_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) }.max(1) as u64;
    spec.tv_sec as u64 * a_second + spec.tv_nsec as u64 * a_second / 1_000_000_000
}

/// The moment `timeout` from now; the far future where the sum does not fit.
pub(crate) fn after(timeout: Duration) -> u64 {
    now().saturating_add(u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX))
}

/// The same moment as `instant`, on the clock of [`now`].
pub(crate) fn at(instant: Instant) -> u64 {
    after(instant.saturating_duration_since(Instant::now()))
}

/// The kernel's form of a moment of [`now`].
pub(super) fn spec(moment: u64) -> libc::timespec {
    libc::timespec {
        tv_sec: (moment / 1_000_000_000) as libc::time_t,
        tv_nsec: (moment % 1_000_000_000) as libc::c_long,
    }
}
