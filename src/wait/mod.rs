//! How to wait: spin, give way, sleep; and what ends a sleep.

mod block;
mod strategy;

#[cfg(not(all(test, loom)))]
pub(crate) use block::settle;
pub(crate) use block::{Asleep, NEVER, Wait, block_on};
pub use strategy::WaitStrategy;
