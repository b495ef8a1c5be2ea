//! Queues: from any number of producers to any number of consumers, each message to one of them.
//!
//! A queue holds a fixed number of values of one fixed-size type. Any number of processes and threads
//! send, any number receive, and both work in place if they like. An operation that finds space, or a
//! message, is one exchange and a few stores: no system call, no lock, no allocation.
//!
//! | to get | call |
//! |---|---|
//! | a sender and a receiver, to clone and to move into children | [`bounded`] |
//! | both ends in one handle, or a queue that unrelated processes find by name | [`Queue`] |
//! | a queue whose messages outlive their consumers, or that outlives its users | [`Builder`] |
//!
//! # Order
//! What one producer sends is received in the order in which it sent it. Messages that come again
//! after their consumer died ([`Builder::at_least_once`]) say so and come out of order.
//!
//! # When a process dies
//! Nobody else is stopped, whatever instruction it was killed at. A message that it had not published
//! does not exist. A message that it had received and not released is gone with it, and counted
//! ([`Receiver::lost_in_flight`]); in a queue that is built [`at_least_once`](Builder::at_least_once)
//! another consumer gets it. Everything else is delivered exactly once. A blocked
//! receiver learns at once that the last sender is gone, and a blocked sender that the last receiver
//! is ([`ChannelError::Disconnected`](crate::ChannelError)), unless the queue is built to
//! [`outlive`](Builder::outlives) them. A process that is killed just before it would have woken
//! somebody delays that one by 100 ms at most.
//!
//! A *stopped* process is alive. If it is stopped between the two instructions that claim and publish
//! a slot, or has a [`Slot`] of its own, consumers wait for it there; and if it has a [`Loan`],
//! producers wait when they have come round to its slot.
//!
//! # Forks
//! A handle that is moved into the closure of [`Process::spawn`](crate::Process) is the child's from
//! then on. Any other copy that a fork makes is one more handle like a clone, which counts when it
//! is first used. A [`Slot`] or [`Loan`] stays its process's: a copy of it does nothing.
//!
//! # Trust
//! The copying operations check what they copied before they give it to the caller: whatever bytes a
//! hostile peer writes, they answer with values that are valid for their type, or
//! [`ChannelError::Corrupted`](crate::ChannelError). [`Slot`] and [`Loan`] give references into shared
//! memory and trust the others to keep to the protocol.
//!
//! # Examples
//! ```
//! let (sender, receiver) = commons::queue::bounded::<u64>(64)?;
//! let mut children = Vec::new();
//! for part in 0..3 {
//!     let sender = sender.clone();
//!     children.push(commons::Process::spawn(move || {
//!         for i in 0..100 {
//!             sender.send(100 * part + i).expect("the parent receives");
//!         }
//!     })?);
//! }
//! drop(sender);
//! assert_eq!(receiver.iter().sum::<u64>(), 299 * 300 / 2);
//! for child in children {
//!     child.join()?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod end;
mod guards;
mod handles;
pub(super) mod members;
mod operations;
mod parts;
mod source;
mod wait;

pub(crate) use parts::look;

pub use crate::segment::Element;
pub use builder::{Builder, bounded};
pub use guards::{Loan, Slot};
pub use handles::{Queue, Receiver, Sender};
pub use operations::IntoIter;

/// Bits of `Control::facts`.
pub(super) struct Facts {
    senders_came: u32,
    receivers_came: u32,
    senders_abandoned: u32,
    receivers_abandoned: u32,
    pub(super) outlives: u32,
    pub(super) ends_alone: u32,
}

pub(super) const FACTS: Facts = Facts {
    senders_came: 1,
    receivers_came: 2,
    senders_abandoned: 4,
    receivers_abandoned: 8,
    outlives: 16,
    ends_alone: 32,
};
