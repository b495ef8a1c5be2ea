//! Making queues of objects.

use super::handles::{ObjectQueue, Receiver, Sender};
use super::joinable::JoinableQueue;
use super::parts::Shape;
use crate::Result;
use crate::channel::queue::FACTS;
use crate::segment::{Location, Segment};

/// Makes a queue of `bytes` bytes for objects and gives an end of each side, to clone and to move into
/// child processes and other threads.
///
/// The size is rounded up to a power of two. The queue has no name and goes with its last handle.
///
/// # Errors
/// [`Error::Zero`](crate::Error::Zero), [`Error::TooLarge`](crate::Error::TooLarge),
/// [`Error::NoSpace`](crate::Error::NoSpace).
///
/// # Examples
/// ```
/// let (sender, receiver) = commons::objects::bounded(4096)?;
/// sender.send(&vec!["any".to_owned(), "object".to_owned()])?;
/// assert_eq!(receiver.recv()?, ["any", "object"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn bounded<T>(bytes: usize) -> Result<(Sender<T>, Receiver<T>)> {
    Builder::new(bytes).ends()
}

/// How a queue of objects is to be.
///
/// # Examples
/// ```
/// use commons::objects::Builder;
///
/// let queue = Builder::new(1 << 16).limit(2).build::<String>()?;
/// queue.send(&"one".to_owned())?;
/// queue.send(&"two".to_owned())?;
/// assert!(queue.is_full());
/// assert_eq!(queue.recv()?, "one");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder makes nothing before `build`"]
pub struct Builder {
    shape: Shape,
}

impl Builder {
    /// A queue of `bytes` bytes, rounded up to a power of two.
    pub fn new(bytes: usize) -> Self {
        let shape = Shape { bytes, limit: None, in_flight: 256, keep: 0, longest: None, facts: 0 };
        Builder { shape }
    }

    /// It holds at most so many objects, however small they are. Otherwise, 16,777,215.
    pub fn limit(mut self, objects: usize) -> Self {
        self.shape.limit = Some(objects);
        self
    }

    /// An object of more bytes than that, serialised, is an error
    /// ([`TooLarge`](crate::ChannelError::TooLarge)) before anything of it is sent.
    pub fn longest(mut self, bytes: usize) -> Self {
        self.shape.longest = Some(bytes);
        self
    }

    /// So many objects can be with consumers at a time, 256 otherwise; further consumers wait. A
    /// [`JoinableQueue`] has its tasks there until they are finished, any other queue its objects
    /// while `recv` makes values of them.
    pub fn in_flight(mut self, objects: usize) -> Self {
        self.shape.in_flight = objects;
        self
    }

    /// Objects of up to so many bytes, serialised, are kept while they are in flight, and come again
    /// if their consumer dies, or drops its [`Task`](super::Task). Costs one more copy of each, and
    /// this much memory for each that can be in flight.
    ///
    /// A consumer that sleeps learns within 100 ms that an object of a dead one is there for it.
    pub fn redeliver(mut self, bytes: usize) -> Self {
        self.shape.keep = bytes;
        self
    }

    /// Operations wait for successors where all senders or receivers are gone, and never answer
    /// [`Disconnected`](crate::ChannelError::Disconnected).
    pub fn outlives(mut self) -> Self {
        self.shape.facts |= FACTS.outlives;
        self
    }

    /// An operation on an [`ObjectQueue`] or [`JoinableQueue`] that would wait answers
    /// [`Disconnected`](crate::ChannelError::Disconnected) when no other process has a handle any
    /// more. Otherwise it waits for ever then, for it is an end of both sides itself.
    pub fn ends_alone(mut self) -> Self {
        self.shape.facts |= FACTS.ends_alone;
        self
    }

    pub(super) fn shape(&self) -> Shape {
        self.shape
    }

    /// Makes a queue without a name.
    ///
    /// # Errors
    /// [`Error::Zero`](crate::Error::Zero), [`Error::TooLarge`](crate::Error::TooLarge),
    /// [`Error::NoSpace`](crate::Error::NoSpace).
    pub fn build<T>(&self) -> Result<ObjectQueue<T>> {
        ObjectQueue::build(Location::Unnamed, &self.shape)
    }

    /// Makes a queue without a name and gives an end of each side.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn ends<T>(&self) -> Result<(Sender<T>, Receiver<T>)> {
        let queue = self.build()?;
        Ok((queue.sender()?, queue.receiver()?))
    }

    /// Makes a queue and gives it a name.
    ///
    /// # Errors
    /// As [`ObjectQueue::create`].
    pub fn create<T>(&self, name: &str) -> Result<ObjectQueue<T>> {
        ObjectQueue::build(Location::Named(name), &self.shape)
    }

    /// Makes a queue in a segment, under a label.
    ///
    /// # Errors
    /// As [`ObjectQueue::new_in`].
    pub fn new_in<T>(&self, segment: &Segment, label: &str) -> Result<ObjectQueue<T>> {
        ObjectQueue::build(Location::In(segment, label), &self.shape)
    }

    /// Makes a queue of tasks without a name.
    ///
    /// # Errors
    /// As [`Builder::build`].
    pub fn build_joinable<T>(&self) -> Result<JoinableQueue<T>> {
        JoinableQueue::build(Location::Unnamed, &self.shape)
    }

    /// Makes a queue of tasks and gives it a name.
    ///
    /// # Errors
    /// As [`JoinableQueue::create`].
    pub fn create_joinable<T>(&self, name: &str) -> Result<JoinableQueue<T>> {
        JoinableQueue::build(Location::Named(name), &self.shape)
    }

    /// Makes a queue of tasks in a segment, under a label.
    ///
    /// # Errors
    /// As [`JoinableQueue::new_in`].
    pub fn new_joinable_in<T>(&self, segment: &Segment, label: &str) -> Result<JoinableQueue<T>> {
        JoinableQueue::build(Location::In(segment, label), &self.shape)
    }
}
