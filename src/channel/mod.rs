//! Channels: from one process to another, in order, each thing exactly once.

mod error;
pub mod spsc;

pub use error::{ChannelError, Departure, Partial, Peer, Rejected};
