//! The pipe of the operating system.

use std::fs::File;
use std::os::fd::OwnedFd;

use super::descriptors::{self, Way};
use crate::peer::Plan;
use crate::work::Result;

fn way() -> Result<Way> {
    let (rx, tx) = std::io::pipe()?;
    Ok((File::from(OwnedFd::from(rx)), File::from(OwnedFd::from(tx))))
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
