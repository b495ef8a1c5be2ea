//! Broadcasts: from one process to any number of others, each message to all of them.
//!
//! A broadcast keeps the last messages, at least as many as its capacity, of one fixed-size type. The
//! sender goes round in them and never waits for anybody. Every [`Receiver`] reads at its own pace and gets
//! every message that it comes in time for, in order and whole; what was overwritten before it came is
//! told exactly ([`ChannelError::Lagged`](crate::ChannelError)). For the newest value alone, take
//! [`Latest`](crate::Latest); for messages that must not be lost, [`spsc`](crate::spsc) or
//! [`queue`](crate::queue).
//!
//! | to get | call |
//! |---|---|
//! | a sender and a first receiver, to move into children | [`channel`] |
//! | a broadcast that unrelated processes find by name, or in a [`Segment`](crate::Segment) | [`Broadcast`] |
//! | one more receiver | [`Receiver::clone`], [`Broadcast::receiver`] |
//!
//! # When a process dies
//! A message is published at one instant. Killed at any instruction, a sender leaves everything it
//! published, complete, and nothing of what it had not. A receiver that waits is told at once
//! ([`ChannelError::Disconnected`](crate::ChannelError)), after the last message; a successor takes
//! over with [`Broadcast::sender`] and goes on with the next number. A receiver leaves no trace in
//! shared memory: neither its death nor its being stopped is noticed by anybody, and there can be any
//! number of them.
//!
//! # Trust
//! All operations check what they copied before they give it to the caller: whatever bytes a hostile
//! peer writes, they answer with values that are valid for their type, or
//! [`ChannelError::Corrupted`](crate::ChannelError).
//!
//! # Examples
//! ```
//! use commons::ChannelError;
//!
//! let (mut sender, mut receiver) = commons::broadcast::channel::<u64>(4)?;
//! let mut late = receiver.clone();
//! for i in 0..4 {
//!     sender.send(i)?;
//! }
//! assert_eq!(receiver.iter().take(4).collect::<Vec<_>>(), [0, 1, 2, 3]);
//! sender.send_all(&[4, 5, 6])?;
//! drop(sender);
//! assert_eq!(late.recv(), Err(ChannelError::Lagged(3)));
//! assert_eq!(late.iter().collect::<Vec<_>>(), [3, 4, 5, 6]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod handle;
mod parts;
mod receiver;
mod sender;
mod source;

pub(crate) use parts::look;

pub use crate::segment::Element;
pub use handle::{Broadcast, channel};
pub use receiver::Receiver;
pub use sender::Sender;

use crate::channel::ChannelError;
use crate::raw::broadcast::Contradiction;

#[cold]
fn contradiction(_: Contradiction) -> ChannelError {
    ChannelError::Corrupted("the messages of a broadcast contradict each other")
}
