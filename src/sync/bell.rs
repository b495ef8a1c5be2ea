//! The death bell of the calling thread: the kernel's, or a model of it.

#[cfg(not(all(test, loom)))]
pub(crate) use crate::sys::robust::bell::{arm, arm_again, disarm};

#[cfg(all(test, loom))]
pub(crate) use super::robust::{arm, arm_again, disarm, ring};
