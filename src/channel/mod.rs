//! Channels: from one process to another, in order, each thing exactly once.

pub mod broadcast;
mod error;
#[cfg(feature = "serde")]
pub mod objects;
pub mod pipe;
pub mod queue;
pub mod records;
pub mod spsc;

pub use crate::member::{Departure, Peer};
pub use error::{ChannelError, Partial, Rejected};
