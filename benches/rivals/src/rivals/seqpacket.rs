//! A Unix socket that keeps message boundaries.

use std::fs::File;
use std::os::fd::{FromRawFd, OwnedFd};

use super::descriptors::{self, Way};
use crate::peer::Plan;
use crate::work::Result;

fn way() -> Result<Way> {
    let mut ends = [0; 2];
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
    // SAFETY: `ends` has room for two descriptors.
    if unsafe { libc::socketpair(libc::AF_UNIX, kind, 0, ends.as_mut_ptr()) } != 0 {
        return Err(std::io::Error::last_os_error().into());
    }
    // SAFETY: socketpair has just opened both, and nobody else owns them.
    let [rx, tx] = ends.map(|end| File::from(unsafe { OwnedFd::from_raw_fd(end) }));
    Ok((rx, tx))
}

pub(crate) fn stream_u64(plan: &Plan) -> Result<f64> {
    descriptors::stream_u64(plan, way()?)
}

pub(crate) fn stream_batch(plan: &Plan) -> Result<f64> {
    descriptors::stream_batch(plan, way()?)
}

pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    descriptors::rtt_poll(plan, way()?, way()?)
}

pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
    descriptors::rtt_park(plan, way()?, way()?)
}

pub(crate) fn copy_1k(plan: &Plan) -> Result<f64> {
    descriptors::copy_1k(plan, way()?)
}
