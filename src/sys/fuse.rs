//! A fuse: a timer of the kernel's that kills its own process.

#![allow(unsafe_code, reason = "system calls")]

use super::time;
use std::io;
use std::time::Duration;

/// Ends the process (SIGKILL) when it burns down. Not inherited by children.
#[derive(Debug)]
pub(crate) struct Fuse(libc::timer_t);

impl Fuse {
    /// One that does not burn.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: all-zero bytes are a valid sigevent.
        let mut event: libc::sigevent = unsafe { core::mem::zeroed() };
        event.sigev_notify = libc::SIGEV_SIGNAL;
        event.sigev_signo = libc::SIGKILL;
        let mut timer = core::ptr::null_mut();
        // SAFETY: a live event, and a live place for the timer.
        let result =
            unsafe { libc::timer_create(libc::CLOCK_MONOTONIC, &raw mut event, &raw mut timer) };
        super::check(result)?;
        Ok(Fuse(timer))
    }

    /// Has it burn down after this time, which is more than none, whatever was set before.
    pub(crate) fn light(&self, burns: Duration) -> io::Result<()> {
        self.set(u64::try_from(burns.as_nanos()).unwrap_or(u64::MAX).max(1))
    }

    /// Has it not burn any more.
    pub(crate) fn put_out(&self) {
        let _ = self.set(0);
    }

    fn set(&self, nanoseconds: u64) -> io::Result<()> {
        let (it_interval, it_value) = (time::spec(0), time::spec(nanoseconds));
        let times = libc::itimerspec { it_interval, it_value };
        // SAFETY: the timer is there for as long as `self`, and `times` is live.
        let result =
            unsafe { libc::timer_settime(self.0, 0, &raw const times, core::ptr::null_mut()) };
        super::check(result).map(drop)
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        // SAFETY: made by `new`, and gone from here on.
        unsafe { libc::timer_delete(self.0) };
    }
}
