//! Queues of objects: any value of any size, from any number of producers to any number of consumers.
//!
//! An object is anything that [`serde`] serialises. It is serialised in the send, before anybody else is
//! concerned, and made a value again in the receive, after everybody else has gone on. There is no helper
//! thread: when a send returns, the object is in shared memory, and its process may end.
//!
//! | to get | call |
//! |---|---|
//! | a sender and a receiver, to clone and to move into children | [`bounded`] |
//! | both ends in one handle, or a queue that unrelated processes find by name | [`ObjectQueue`] |
//! | tasks that are finished, and a wait until all are | [`JoinableQueue`] |
//! | a bound on the number of objects, objects that come again, a queue that outlives its users | [`Builder`] |
//!
//! A queue has so many bytes; an object takes its serialised length, rounded up to a multiple of 16, and
//! 16 bytes more, or 16 bytes in all if it has at most 12. One that takes more than half of the queue
//! passes through it in pieces, whole or not at all: its producer and one consumer work side by side
//! then, and the others wait.
//!
//! # Order
//! What is sent is received in the order in which it was sent. Objects that come again
//! ([`Builder::redeliver`]) say so and come out of order.
//!
//! Senders that wait for room get it as it becomes free, whichever finds it first. One that needs much is
//! overtaken by no more than a whole queue of others' objects: then what becomes free is kept for it.
//!
//! # What is delivered
//! An object is taken out of the queue at one instant, and never comes twice, but where the queue is
//! built to redeliver. Until `recv` returns it is *in flight*: if the consumer is killed in that
//! moment, the object is gone with it, and counted ([`ObjectQueue::lost_in_flight`]). A task of a
//! [`JoinableQueue`] is in flight until it is finished.
//!
//! # When a process dies
//! Nobody else is stopped, whatever instruction it was killed at. An object whose send has not returned
//! is received as a whole or not at all. A blocked receiver learns at once that the last sender is gone,
//! and a blocked sender that the last receiver is ([`ChannelError::Disconnected`](crate::ChannelError)),
//! unless the queue is built to [`outlive`](Builder::outlives) them. A process that is killed just before
//! it would have woken somebody delays that one by 100 ms at most.
//!
//! A *stopped* process is alive. If it is stopped in the instants in which it copies an object into the
//! queue or out of it, others that do the same wait for it. If it is stopped while room is kept for it,
//! others wait for 100 ms once there is enough.
//!
//! # Forks
//! A handle that is moved into the closure of [`Process::spawn`](crate::Process) is the child's from then
//! on. Any other copy that a fork makes is one more handle like a clone, which counts when it is first
//! used.
//!
//! Not for signal handlers: a handler that interrupts an operation would wait for itself
//! ([`ChannelError::Lock`](crate::ChannelError)).
//!
//! # Trust
//! Everything is copied before it is looked at: whatever bytes a hostile peer writes, a receive gives a
//! value of its type, or [`ChannelError::Deserialize`](crate::ChannelError) or
//! [`ChannelError::Corrupted`](crate::ChannelError). The locks inside are robust futexes, which name their
//! owners by thread id: all users are in one pid namespace, and linked with glibc.
//!
//! # Examples
//! ```
//! let (sender, receiver) = commons::objects::bounded::<(u32, String)>(4096)?;
//! let mut children = Vec::new();
//! for i in 0..3 {
//!     let sender = sender.clone();
//!     children.push(commons::Process::spawn(move || {
//!         sender.send(&(i, "x".repeat(1000 * i as usize))).expect("the parent receives");
//!     })?);
//! }
//! drop(sender);
//! let mut lengths: Vec<_> = receiver.iter().map(|(i, text)| (i, text.len())).collect();
//! lengths.sort();
//! assert_eq!(lengths, [(0, 0), (1, 1000), (2, 2000)]);
//! for child in children {
//!     child.join()?;
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod codec;
mod end;
mod handles;
mod joinable;
mod operations;
mod parts;
mod source;
mod transfer;
mod turn;
mod wait;

pub(crate) use parts::look;

pub use builder::{Builder, bounded};
pub use handles::{ObjectQueue, Receiver, Sender};
pub use joinable::{JoinableQueue, Task};
pub use operations::IntoIter;
