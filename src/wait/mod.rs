//! How to wait: spin, give way, sleep; and what ends a sleep.

mod block;
#[cfg(not(all(test, loom)))]
mod role;
mod shared;
#[cfg(not(all(test, loom)))]
mod slip;
mod strategy;

#[cfg(not(all(test, loom)))]
pub(crate) use block::settle;
pub(crate) use block::{Asleep, NEVER, Wait, block_on};
#[cfg(not(all(test, loom)))]
pub(crate) use role::{claim_role, is_suspect, look_at_holder, watch_holder};
pub(crate) use shared::{Sleeper, block_shared, sleep_on};
#[cfg(not(all(test, loom)))]
pub(crate) use slip::Slip;
pub use strategy::WaitStrategy;
