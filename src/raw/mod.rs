//! The algorithms, as state in shared memory: no allocation, no destructor, no policy.
//!
//! Everything here is written against the seam ([`crate::sync`]) and model-checked as it stands.

#![cfg_attr(all(test, loom), allow(dead_code, reason = "the models use what orders memory"))]

pub(crate) mod barrier;
#[cfg(any(feature = "serde", all(test, loom)))]
pub(crate) mod board;
pub(crate) mod broadcast;
pub(crate) mod condvar;
pub(crate) mod event;
pub(crate) mod latest;
pub(crate) mod lending;
#[cfg(all(test, loom))]
mod models;
#[cfg(all(test, loom))]
mod models_barrier;
#[cfg(all(test, loom))]
mod models_board;
#[cfg(all(test, loom))]
mod models_broadcast;
#[cfg(all(test, loom))]
mod models_latest;
#[cfg(all(test, loom))]
mod models_lending;
#[cfg(all(test, loom))]
mod models_mutex;
#[cfg(all(test, loom))]
mod models_objects;
#[cfg(all(test, loom))]
mod models_once;
#[cfg(all(test, loom))]
mod models_permits;
#[cfg(all(test, loom))]
mod models_queue;
#[cfg(all(test, loom))]
mod models_rwlock;
#[cfg(all(test, loom))]
mod models_signals;
pub(crate) mod mutex;
#[cfg(any(feature = "serde", all(test, loom)))]
pub(crate) mod objects;
pub(crate) mod once;
pub(crate) mod permits;
pub(crate) mod phase;
pub(crate) mod publication;
pub(crate) mod queue;
pub(crate) mod record;
pub(crate) mod ring;
pub(crate) mod role;
pub(crate) mod rwlock;
pub(crate) mod semaphore;
pub(crate) mod wait_cell;
