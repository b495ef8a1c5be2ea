//! Making queues.

use super::handles::{Queue, Receiver, Sender};
use super::parts::{describe, make};
use super::{Element, FACTS};
use crate::segment::{Location, Segment};
use crate::{Error, Result};

/// Makes a queue for `capacity` messages and gives an end of each side, to clone and to move into
/// child processes and other threads.
///
/// The queue has no name and goes with its last handle.
///
/// # Errors
/// [`Error::Zero`], [`Error::TooLarge`], [`Error::NoSpace`].
///
/// # Examples
/// ```
/// let (sender, receiver) = commons::queue::bounded(2)?;
/// sender.send('a')?;
/// assert_eq!(receiver.recv()?, 'a');
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn bounded<T: Element>(capacity: usize) -> Result<(Sender<T>, Receiver<T>)> {
    Builder::new(capacity).ends()
}

/// How a queue is to be.
///
/// # Examples
/// ```
/// use commons::queue::{Builder, Queue};
///
/// let tasks: Queue<u64> = Builder::new(1000).at_least_once(64).build()?;
/// tasks.send(7)?;
/// let task = tasks.loan()?;
/// assert_eq!((*task, task.is_redelivered()), (7, false));
/// drop(task); // not released, so it comes again
/// let task = tasks.loan()?;
/// assert_eq!((*task, task.is_redelivered()), (7, true));
/// task.release();
/// assert!(tasks.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing before `build` or `ends`"]
pub struct Builder {
    capacity: usize,
    in_flight: Option<usize>,
    facts: u32,
}

impl Builder {
    /// A queue for `capacity` messages.
    pub fn new(capacity: usize) -> Self {
        Builder { capacity, in_flight: None, facts: 0 }
    }

    /// Messages whose consumer dies, or drops its [`Loan`](super::Loan) without releasing it, come
    /// again. Up to `in_flight` messages can be with consumers at a time; further consumers wait.
    ///
    /// A consumer has its message apart from the slots then, so it can keep it as long as it likes
    /// without being in a producer's way. That costs one more copy of each message. A consumer that
    /// sleeps learns within 100 ms that a message of a dead one is there for it.
    pub fn at_least_once(mut self, in_flight: usize) -> Self {
        self.in_flight = Some(in_flight);
        self
    }

    /// Operations wait for successors where all senders or receivers are gone, and never answer
    /// [`Disconnected`](crate::ChannelError::Disconnected).
    pub fn outlives(mut self) -> Self {
        self.facts |= FACTS.outlives;
        self
    }

    /// An operation on a [`Queue`] that would wait answers
    /// [`Disconnected`](crate::ChannelError::Disconnected) when no other process has a handle any
    /// more. Otherwise a `Queue` waits for ever then, for it is an end of both sides itself.
    pub fn ends_alone(mut self) -> Self {
        self.facts |= FACTS.ends_alone;
        self
    }

    /// Makes a queue without a name.
    ///
    /// # Errors
    /// [`Error::Zero`], [`Error::TooLarge`], [`Error::NoSpace`].
    pub fn build<T: Element>(&self) -> Result<Queue<T>> {
        self.build_at(Location::Unnamed)
    }

    /// Makes a queue without a name and gives an end of each side.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn ends<T: Element>(&self) -> Result<(Sender<T>, Receiver<T>)> {
        let queue = self.build()?;
        Ok((queue.sender()?, queue.receiver()?))
    }

    /// Makes a queue and gives it a name.
    ///
    /// # Errors
    /// As [`Queue::create`].
    pub fn create<T: Element>(&self, name: &str) -> Result<Queue<T>> {
        self.build_at(Location::Named(name))
    }

    /// Makes a queue in a segment, under a label.
    ///
    /// # Errors
    /// As [`Queue::new_in`].
    pub fn new_in<T: Element>(&self, segment: &Segment, label: &str) -> Result<Queue<T>> {
        self.build_at(Location::In(segment, label))
    }

    pub(super) fn build_at<T: Element>(&self, location: Location<'_>) -> Result<Queue<T>> {
        let info = describe::<T>(self.capacity)?;
        if self.in_flight == Some(0) {
            return Err(Error::Zero { what: "a number in flight" });
        }
        let in_flight = self.in_flight.unwrap_or(0) as u64;
        Queue::over(make(location, info, in_flight, self.facts)?)
    }
}
