//! How to wait: spin, give way, sleep; and what ends a sleep.

mod block;
mod strategy;

pub(crate) use block::{Asleep, NEVER, Wait, block_on};
pub use strategy::WaitStrategy;
