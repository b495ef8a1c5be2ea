//! Broadcasts that can be found, and the ends of them.

use super::parts::Parts;
use super::{Element, Receiver, Sender};
use crate::Result;
use crate::segment::{Location, constructors, travels};
use std::fmt;
use std::marker::PhantomData;

/// Makes a broadcast that keeps the last `capacity` messages, and gives its sender and a receiver of
/// everything that is sent. Clone the receiver for more of them.
///
/// The broadcast has no name and goes with its ends.
///
/// # Errors
/// [`Error::Zero`](crate::Error::Zero), [`Error::TooLarge`](crate::Error::TooLarge),
/// [`Error::NoSpace`](crate::Error::NoSpace).
///
/// # Examples
/// ```
/// let (mut sender, mut receiver) = commons::broadcast::channel(16)?;
/// sender.send(0.5)?;
/// assert_eq!(receiver.recv()?, 0.5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel<T: Element>(capacity: usize) -> Result<(Sender<T>, Receiver<T>)> {
    let broadcast = Broadcast::<T>::new(capacity)?;
    Ok((broadcast.sender()?, broadcast.receiver()?))
}

/// A broadcast that processes find by its name, or by its label in a [`Segment`](crate::Segment).
///
/// This is the broadcast and neither of its sides: take one with [`Broadcast::sender`] or
/// [`Broadcast::receiver`]. Cloning gives another handle to the same broadcast.
///
/// # Examples
/// ```
/// # let name = format!("doc-broadcast-{}", std::process::id());
/// use commons::broadcast::Broadcast;
///
/// // In one program:
/// let mut sender = Broadcast::<u64>::create(&name, 1024)?.sender()?;
///
/// // In any number of others:
/// let mut receiver = Broadcast::<u64>::open(&name)?.receiver()?;
///
/// sender.send(7)?;
/// assert_eq!(receiver.recv()?, 7);
///
/// Broadcast::<u64>::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Broadcast<T> {
    parts: Parts,
    element: PhantomData<fn(T) -> T>,
}

impl<T: Element> Broadcast<T> {
    fn over(parts: Parts) -> Self {
        Broadcast { parts, element: PhantomData }
    }

    fn make(location: Location<'_>, capacity: usize) -> Result<Self> {
        Ok(Self::over(Parts::make::<T>(location, capacity)?))
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Ok(Self::over(Parts::find::<T>(location)?))
    }

    /// Makes a broadcast without a name that keeps the last `capacity` messages.
    ///
    /// # Errors
    /// As [`channel`].
    pub fn new(capacity: usize) -> Result<Self> {
        Self::make(Location::Unnamed, capacity)
    }

    constructors!("a broadcast that keeps the last `capacity` messages", capacity: usize);

    /// Takes the sending side: the first one, or that of a sender that left or died, and goes on with
    /// the next number. [`Sender::predecessor`] says how that went.
    ///
    /// # Errors
    /// [`Error::RoleTaken`](crate::Error::RoleTaken) while a living process has it, this one
    /// included; [`Error::Corrupted`](crate::Error::Corrupted),
    /// [`Error::TableFull`](crate::Error::TableFull); [`Error::Forked`](crate::Error::Forked) where
    /// the handle came into this process by a fork and its broadcast is gone.
    ///
    /// # Blocking
    /// Where the last holder has just died, until the kernel has freed its memory: milliseconds, or
    /// some hundred of them if it had gigabytes.
    pub fn sender(&self) -> Result<Sender<T>> {
        Sender::claim(self.parts.again()?)
    }

    /// A receiver of what is sent from now on. There can be any number.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::TableFull`](crate::Error::TableFull),
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn receiver(&self) -> Result<Receiver<T>> {
        Receiver::at_newest(self.parts.again()?)
    }

    /// A receiver that begins with the oldest message that is still there.
    ///
    /// # Errors
    /// As [`Broadcast::receiver`].
    pub fn receiver_from_oldest(&self) -> Result<Receiver<T>> {
        Receiver::at_oldest(self.parts.again()?)
    }
}

impl<T> Broadcast<T> {
    /// How many messages it keeps.
    pub fn capacity(&self) -> usize {
        self.parts.capacity()
    }

    /// How many messages were sent so far, by all senders it had. Stale by the time the caller looks
    /// at it.
    pub fn sent(&self) -> u64 {
        self.parts.sent()
    }
}

travels!([T: Element] Broadcast<T>, Shared, |this| (this.parts.attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast")
            .field("name", &self.parts.attachment().name())
            .field("capacity", &self.capacity())
            .field("sent", &self.sent())
            .finish_non_exhaustive()
    }
}

impl<T: Element> Clone for Broadcast<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its broadcast was gone.
    fn clone(&self) -> Self {
        Self::over(self.parts.again().expect("a handle holds its broadcast"))
    }
}
