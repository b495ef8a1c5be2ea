//! How to wait: spin, give way, sleep; and what ends a sleep.

mod block;
#[cfg(not(all(test, loom)))]
mod role;
mod shared;
#[cfg(not(all(test, loom)))]
mod slip;
#[cfg(not(all(test, loom)))]
mod source;
mod strategy;
#[cfg(not(all(test, loom)))]
mod tenure;
#[cfg(not(all(test, loom)))]
mod watcher;

#[cfg(not(all(test, loom)))]
pub(crate) use block::settle;
pub(crate) use block::{Asleep, NEVER, Wait, block_on};
#[cfg(not(all(test, loom)))]
pub(crate) use role::{claim_role, end_role, is_suspect, look_at_holder, watch_holder};
#[cfg(not(all(test, loom)))]
pub(crate) use shared::SLICE;
pub(crate) use shared::{Sleeper, block_shared, sleep_on};
#[cfg(not(all(test, loom)))]
pub(crate) use slip::Slip;
#[cfg(not(all(test, loom)))]
pub(crate) use source::{AT_ONCE, ReadSource, Source, WriteSource, wait_for_any};
#[cfg(not(all(test, loom)))]
pub use source::{Readable, Writable};
pub use strategy::WaitStrategy;
#[cfg(not(all(test, loom)))]
pub(crate) use tenure::Tenure;
#[cfg(not(all(test, loom)))]
pub(crate) use watcher::Watched;
