//! Sending and receiving, for the handles that can.

use super::codec::{decode, encode, with_buffer};
use super::end::{End, NOW};
use super::handles::{ObjectQueue, Receiver, Sender};
use super::joinable::JoinableQueue;
use super::transfer::{self, Taken};
use crate::channel::ChannelError;
use crate::sys::time;
use crate::wait::NEVER;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// Serialises and sends.
fn put<T: Serialize>(end: &End, value: &T, deadline: u64) -> Result<(), ChannelError> {
    with_buffer(|buffer| {
        encode(value, buffer)?;
        transfer::send(end, buffer, deadline)
    })
}

/// A message until its value is made: then it is finished.
struct Received<'a>(&'a End, Taken);

impl Drop for Received<'_> {
    fn drop(&mut self) {
        transfer::finish(self.0, self.1);
    }
}

/// Receives and makes the value.
fn get<T: DeserializeOwned>(end: &End, deadline: u64) -> Result<T, ChannelError> {
    with_buffer(|buffer| {
        let taken = transfer::take(end, buffer, deadline)?;
        let _received = Received(end, taken);
        decode(buffer)
    })
}

macro_rules! sending {
    ($handle:ident) => {
        impl<T: Serialize> $handle<T> {
            /// Serialises an object and sends it, waiting for space.
            ///
            /// # Errors
            /// [`ChannelError::Serialize`] where it cannot be serialised;
            /// [`ChannelError::TooLarge`] where it is longer than the queue is built for;
            /// [`ChannelError::Disconnected`] where there is no space and the last receiver is gone;
            /// [`ChannelError::Closed`], [`ChannelError::Forked`], [`ChannelError::Lock`],
            /// [`ChannelError::Corrupted`]. Nothing is received then.
            ///
            /// # Blocking
            /// While there is no room for it, as the [`WaitStrategy`](crate::WaitStrategy) says; and
            /// while another producer is in the middle of a long message, or stopped in the middle
            /// of any. Ends at once when the last receiver dies; one that has not come yet is waited
            /// for.
            pub fn send(&self, object: &T) -> Result<(), ChannelError> {
                put(&self.end, object, NEVER)
            }

            /// Sends an object if there is space for all of it.
            ///
            /// # Errors
            /// [`ChannelError::Full`], also where another producer is in the middle of a long
            /// message; [`ChannelError::TooLarge`] where it does not fit into the empty queue;
            /// otherwise as `send`.
            ///
            /// # Blocking
            /// For a millisecond at most, while another producer copies its message.
            pub fn try_send(&self, object: &T) -> Result<(), ChannelError> {
                put(&self.end, object, NOW)
            }

            /// Sends an object, waiting for space until `timeout` has passed on the monotonic clock.
            ///
            /// # Errors
            /// [`ChannelError::TimedOut`], and as `send`.
            pub fn send_timeout(&self, object: &T, timeout: Duration) -> Result<(), ChannelError> {
                put(&self.end, object, time::after(timeout))
            }

            /// Sends an object, waiting for space until `deadline`.
            ///
            /// # Errors
            /// As `send_timeout`.
            pub fn send_deadline(&self, object: &T, deadline: Instant) -> Result<(), ChannelError> {
                put(&self.end, object, time::at(deadline))
            }
        }
    };
}

macro_rules! receiving {
    ($handle:ident) => {
        impl<T: DeserializeOwned> $handle<T> {
            /// Receives an object, waiting for one.
            ///
            /// # Errors
            /// [`ChannelError::Disconnected`] where there is none and the last sender is gone;
            /// [`ChannelError::Deserialize`] where a message is no value of `T` (it is gone);
            /// [`ChannelError::Closed`], [`ChannelError::Forked`], [`ChannelError::Lock`],
            /// [`ChannelError::Corrupted`].
            ///
            /// # Blocking
            /// While the queue is empty, as the [`WaitStrategy`](crate::WaitStrategy) says; and while
            /// another consumer receives a long message, or is stopped while it takes one. Ends at
            /// once when the last sender dies; one that has not come yet is waited for.
            pub fn recv(&self) -> Result<T, ChannelError> {
                get(&self.end, NEVER)
            }

            /// Receives an object if there is one. A long one that has begun to arrive is received to
            /// its end, or until its producer dies.
            ///
            /// # Errors
            /// [`ChannelError::Empty`], also where another consumer is in the middle of a long
            /// message; otherwise as `recv`.
            pub fn try_recv(&self) -> Result<T, ChannelError> {
                get(&self.end, NOW)
            }

            /// Receives an object, waiting for one until `timeout` has passed on the monotonic clock.
            /// A long one that has begun to arrive by then is received to its end.
            ///
            /// # Errors
            /// [`ChannelError::TimedOut`], and as `recv`.
            pub fn recv_timeout(&self, timeout: Duration) -> Result<T, ChannelError> {
                get(&self.end, time::after(timeout))
            }

            /// Receives an object, waiting for one until `deadline`. A long one that has begun to
            /// arrive by then is received to its end.
            ///
            /// # Errors
            /// As `recv_timeout`.
            pub fn recv_deadline(&self, deadline: Instant) -> Result<T, ChannelError> {
                get(&self.end, time::at(deadline))
            }

            /// Objects until the last sender is gone, waiting for each. What ends it is not told; use
            /// `recv` to know.
            pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
                std::iter::from_fn(|| self.recv().ok())
            }

            /// Objects until there is none.
            pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
                std::iter::from_fn(|| self.try_recv().ok())
            }
        }
    };
}

sending!(Sender);
sending!(ObjectQueue);
sending!(JoinableQueue);
receiving!(Receiver);
receiving!(ObjectQueue);

/// Objects until the last sender is gone, waiting for each.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T: DeserializeOwned> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T: DeserializeOwned> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
