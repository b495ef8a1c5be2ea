//! The handles: senders, receivers, and both in one.

use super::Element;
use super::builder::Builder;
use super::end::End;
use super::members::Ends;
use crate::Result;
use crate::channel::ChannelError;
use crate::segment::{Attachment, Kind, Location, ObjectInfo, constructors, travels};
use crate::wait::WaitStrategy;
use std::fmt;
use std::marker::PhantomData;

/// An end that sends. Cloning gives another one.
///
/// Dropping the last one of all processes tells receivers, when they have received what was sent,
/// that nothing more comes.
pub struct Sender<T> {
    pub(super) end: End,
    element: PhantomData<fn(T)>,
}

/// An end that receives. Cloning gives another one; each message goes to one of them.
///
/// Dropping the last one of all processes tells senders, when they find the queue full, that nobody
/// receives. What was not received stays for receivers that come later.
pub struct Receiver<T> {
    pub(super) end: End,
    element: PhantomData<fn() -> T>,
}

/// Both ends of a queue in one handle. Cloning gives another one.
///
/// It counts as a sender and as a receiver, so while somebody has one nobody is told of a
/// disconnection; [`Builder::ends_alone`](super::Builder::ends_alone) changes that. Where processes
/// have different parts, take [`Queue::sender`] or [`Queue::receiver`] and drop the queue.
///
/// # Examples
/// ```
/// # let name = format!("doc-queue-{}", std::process::id());
/// use commons::Queue;
///
/// // In any number of programs:
/// let (queue, _) = Queue::<u64>::open_or_create(&name, 100)?;
/// queue.send(7)?;
///
/// // In any number of others:
/// let queue = Queue::<u64>::open(&name)?;
/// assert_eq!(queue.recv()?, 7);
///
/// Queue::<u64>::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Queue<T> {
    pub(super) end: End,
    element: PhantomData<fn(T) -> T>,
}

impl<T: Element> Queue<T> {
    pub(super) fn over(attachment: Attachment) -> Result<Self> {
        let end = End::new(attachment, Ends::BOTH, WaitStrategy::default())?;
        Ok(Queue { end, element: PhantomData })
    }

    fn make(location: Location<'_>, capacity: usize) -> Result<Self> {
        Builder::new(capacity).build_at(location)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::Queue, 0))?)
    }

    /// Makes a queue for `capacity` messages without a name.
    ///
    /// # Errors
    /// As [`bounded`](super::bounded).
    pub fn new(capacity: usize) -> Result<Self> {
        Self::make(Location::Unnamed, capacity)
    }

    constructors!("a queue for `capacity` messages", capacity: usize);

    /// A sender of this queue.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::TableFull`](crate::Error::TableFull);
    /// [`Error::Forked`](crate::Error::Forked) where the handle came into this process by a fork and
    /// its queue is gone.
    pub fn sender(&self) -> Result<Sender<T>> {
        Ok(Sender { end: self.end.again(Ends::SENDER)?, element: PhantomData })
    }

    /// A receiver of this queue.
    ///
    /// # Errors
    /// As [`Queue::sender`].
    pub fn receiver(&self) -> Result<Receiver<T>> {
        Ok(Receiver { end: self.end.again(Ends::RECEIVER)?, element: PhantomData })
    }
}

/// What all handles can do.
macro_rules! handle {
    ($handle:ident) => {
        impl<T> $handle<T> {
            /// How many messages the queue holds at most.
            pub fn capacity(&self) -> usize {
                self.end.queue().slots.count
            }

            /// How many messages there are to receive. Stale by the time the caller looks at it. Takes
            /// the longer the more there are.
            pub fn len(&self) -> usize {
                self.end.queue().len(usize::MAX)
            }

            /// Whether there is no message to receive. Stale by the time the caller looks at it.
            pub fn is_empty(&self) -> bool {
                self.end.queue().len(1) == 0
            }

            /// Whether there is no space to send. Stale by the time the caller looks at it. A slot
            /// that somebody writes or reads in place is neither a message nor space.
            pub fn is_full(&self) -> bool {
                self.end.queue().is_full()
            }

            /// How many messages are gone, so far, with consumers that died after they had received
            /// and before they had released them. Each is counted once.
            ///
            /// A slow look: asks after every process that has used the queue.
            ///
            /// # Errors
            /// [`Closed`](crate::ChannelError::Closed), [`Forked`](crate::ChannelError::Forked),
            /// [`Corrupted`](crate::ChannelError::Corrupted).
            pub fn lost_in_flight(&self) -> std::result::Result<u64, ChannelError> {
                self.end.lost(|_| {})
            }

            /// The [numbers](super::Slot::number) of messages that are gone so: of each slot, the
            /// last one.
            ///
            /// # Errors
            /// As `lost_in_flight`.
            pub fn lost_numbers(&self) -> std::result::Result<Vec<u64>, ChannelError> {
                let mut numbers = Vec::new();
                self.end.lost(|number| numbers.push(number))?;
                numbers.sort_unstable();
                Ok(numbers)
            }

            /// Gives this handle up, as dropping it does. Its operations answer
            /// [`Closed`](crate::ChannelError::Closed) from then on; other handles, of this process
            /// and others, go on working. Closing it again does nothing.
            pub fn close(&self) {
                self.end.close();
            }

            /// How blocking operations of this handle wait.
            pub fn wait_strategy(&self) -> WaitStrategy {
                self.end.strategy()
            }

            /// Sets how blocking operations of this handle wait.
            pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
                self.end.set_strategy(strategy);
            }
        }

        impl<T> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("name", &self.end.attachment.name())
                    .field("capacity", &self.capacity())
                    .field("len", &self.len())
                    .finish_non_exhaustive()
            }
        }

        impl<T: Element> Clone for $handle<T> {
            /// Gives another handle to the same queue. A clone of a closed handle is not closed.
            ///
            /// # Panics
            /// In a forked process that inherited the handle after its queue was gone, and beyond
            /// 60,000 handles of a process.
            fn clone(&self) -> Self {
                let end = self.end.again(self.end.ends).expect("a handle holds its queue");
                $handle { end, element: PhantomData }
            }
        }
    };
}

/// Lets a handle travel. A closed one is closed there, too.
macro_rules! handed {
    ($handle:ident, $ends:ident) => {
        travels!([T: Element] $handle<T>, Shared,
            |this| (&this.end.attachment, u64::from(this.end.is_closed())),
            |used| {
                let attachment = Location::Handed(used).open(ObjectInfo::of::<T>(Kind::Queue, 0))?;
                let end = End::new(attachment, Ends::$ends, WaitStrategy::default())?;
                if used.detail() != 0 {
                    end.close();
                }
                Ok($handle { end, element: PhantomData })
            });
    };
}

handed!(Sender, SENDER);
handed!(Receiver, RECEIVER);
handed!(Queue, BOTH);

handle!(Sender);
handle!(Receiver);
handle!(Queue);
