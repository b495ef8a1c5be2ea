//! Single-producer single-consumer rings: the fastest way from one process to another.
//!
//! A ring holds a fixed number of values of one fixed-size type. One process has its [`Producer`],
//! one its [`Consumer`]; both work in place if they like. An operation that finds space, or an item,
//! is a few loads and stores: no system call, no allocation, no copy that was not asked for.
//!
//! | to get | call |
//! |---|---|
//! | both ends, to move one into a child process | [`ring()`] |
//! | a pair of rings for requests and replies, at the latency of one cache line | [`duplex()`] |
//! | a ring that unrelated processes find by name, or in a [`Segment`](crate::Segment) | [`Ring`] |
//!
//! # When a process dies
//! An item is published at one instant and released at one instant. Killed at any instruction, a
//! producer leaves everything it published, complete, and nothing of what it had not; a consumer
//! leaves everything it had not released. There is nothing to repair. The survivor learns of the
//! death at once if it is blocked, and otherwise when it next finds the ring full or empty
//! ([`ChannelError::Disconnected`](crate::ChannelError)), or asks ([`Producer::peer`],
//! [`Consumer::peer`]). A successor takes over the dead one's end with [`Ring::producer`] or
//! [`Ring::consumer`] and goes on where it stopped; [`Producer::predecessor`] says that there was a
//! dead one. What a consumer had not released comes again: items that it had in place, or was killed
//! in the middle of copying.
//!
//! # Trust
//! The copying operations (`push`, `pop`, slices) check what they copied before they give it to the
//! caller: whatever bytes a hostile peer writes, they answer with values that are valid for their
//! type, or [`ChannelError::Corrupted`](crate::ChannelError). [`Producer::reserve`] and
//! [`Consumer::peek`] give references into shared memory and trust the peer to keep to the protocol.
//!
//! # Examples
//! ```
//! let (mut producer, mut consumer) = commons::spsc::ring::<u64>(1024)?;
//! let child = commons::Process::spawn(move || {
//!     for i in 0..10_000 {
//!         producer.push(i).expect("the parent receives");
//!     }
//! })?;
//! let mut sum = 0;
//! while let Ok(i) = consumer.pop() {
//!     sum += i;
//! }
//! assert_eq!(sum, 49_995_000);
//! child.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod consumer;
mod duplex;
pub(super) mod end;
mod io;
pub(super) mod parts;
mod producer;
mod ring;
mod side;
pub(super) mod source;

pub(crate) use parts::look;

pub use crate::segment::Element;
pub use consumer::{Consumer, Loan};
pub use duplex::{Duplex, duplex};
pub use producer::{Grant, Producer};
pub use ring::{Ring, ring};
