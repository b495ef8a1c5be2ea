//! The handles: senders, receivers, and both in one.

use super::builder::Builder;
use super::end::End;
use super::joinable::JoinableQueue;
use super::parts::{Shape, make};
use super::wait::{Goal, Room};
use crate::Result;
use crate::channel::ChannelError;
use crate::channel::queue::members::Ends;
use crate::segment::{Kind, Location, ObjectInfo, constructors, travels};
use crate::wait::WaitStrategy;
use std::fmt;
use std::marker::PhantomData;

/// An end that sends. Cloning gives another one.
///
/// Dropping the last one of all processes tells receivers, when they have received what was sent,
/// that nothing more comes.
pub struct Sender<T> {
    pub(super) end: End,
    object: PhantomData<fn(&T)>,
}

/// An end that receives. Cloning gives another one; each object goes to one of them.
///
/// Dropping the last one of all processes tells senders, when they find no space, that nobody
/// receives. What was not received stays for receivers that come later.
pub struct Receiver<T> {
    pub(super) end: End,
    object: PhantomData<fn() -> T>,
}

/// Both ends of a queue of objects in one handle. Cloning gives another one.
///
/// What `multiprocessing.Queue` is, without its helper thread: when a send returns, the object is in
/// shared memory, and what cannot be serialised fails in the send. See [`objects`](super).
///
/// It counts as a sender and as a receiver, so while somebody has one nobody is told of a
/// disconnection; [`Builder::ends_alone`] changes that.
///
/// # Examples
/// ```
/// # let name = format!("doc-objects-{}", std::process::id());
/// use commons::ObjectQueue;
///
/// // In any number of programs:
/// let (queue, _) = ObjectQueue::<(String, Vec<f64>)>::open_or_create(&name, 1 << 16)?;
/// queue.send(&("samples".to_owned(), vec![0.5, 0.25]))?;
///
/// // In any number of others:
/// let queue = ObjectQueue::<(String, Vec<f64>)>::open(&name)?;
/// assert_eq!(queue.recv()?.1, [0.5, 0.25]);
///
/// ObjectQueue::<(String, Vec<f64>)>::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct ObjectQueue<T> {
    pub(super) end: End,
    object: PhantomData<fn(&T) -> T>,
}

impl<T> ObjectQueue<T> {
    pub(super) fn build(location: Location<'_>, shape: &Shape) -> Result<Self> {
        let end = End::new(make::<T>(Kind::ObjectQueue, location, shape)?, Ends::BOTH)?;
        Ok(ObjectQueue { end, object: PhantomData })
    }

    fn make(location: Location<'_>, bytes: usize) -> Result<Self> {
        Self::build(location, &Builder::new(bytes).shape())
    }

    fn find(location: Location<'_>) -> Result<Self> {
        let end = End::new(location.open(ObjectInfo::of::<T>(Kind::ObjectQueue, 0))?, Ends::BOTH)?;
        Ok(ObjectQueue { end, object: PhantomData })
    }

    /// Makes a queue of `bytes` bytes without a name.
    ///
    /// # Errors
    /// As [`bounded`](super::bounded).
    pub fn new(bytes: usize) -> Result<Self> {
        Self::make(Location::Unnamed, bytes)
    }

    constructors!("a queue of `bytes` bytes for objects", bytes: usize);

    /// A sender of this queue.
    ///
    /// # Errors
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::TableFull`](crate::Error::TableFull);
    /// [`Error::Forked`](crate::Error::Forked) where the handle came into this process by a fork and
    /// its queue is gone.
    pub fn sender(&self) -> Result<Sender<T>> {
        Ok(Sender { end: self.end.again(Ends::SENDER)?, object: PhantomData })
    }

    /// A receiver of this queue.
    ///
    /// # Errors
    /// As [`ObjectQueue::sender`].
    pub fn receiver(&self) -> Result<Receiver<T>> {
        Ok(Receiver { end: self.end.again(Ends::RECEIVER)?, object: PhantomData })
    }
}

/// What all handles can do.
macro_rules! handle {
    ($handle:ident) => {
        impl<T> $handle<T> {
            /// Bytes of the queue.
            pub fn capacity(&self) -> usize {
                self.end.exchange().capacity as usize * crate::raw::record::GRAIN
            }

            /// How many objects it holds at most, however small they are.
            pub fn limit(&self) -> usize {
                self.end.exchange().limit as usize
            }

            /// How many objects there are to receive: sent and not taken out. Stale by the time the
            /// caller looks at it.
            pub fn len(&self) -> usize {
                self.end.exchange().fill().1 as usize
            }

            /// Whether there is no object to receive. Stale by the time the caller looks at it.
            pub fn is_empty(&self) -> bool {
                self.len() == 0
            }

            /// Whether there is no room for the smallest object, or what there is is kept for another
            /// one that has waited for long. Stale by the time the caller looks at it.
            pub fn is_full(&self) -> bool {
                !Room { grains: 1, name: 0, begun: None }.is_there(&self.end)
            }

            /// Gives this handle up, as dropping it does. Its operations answer
            /// [`Closed`](crate::ChannelError::Closed) from then on; other handles, of this process
            /// and others, go on working. Closing it again does nothing.
            pub fn close(&self) {
                self.end.close();
            }

            /// How blocking operations of this handle wait.
            pub fn wait_strategy(&self) -> WaitStrategy {
                self.end.strategy
            }

            /// Sets how blocking operations of this handle wait.
            pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
                self.end.strategy = strategy;
            }

            /// How many messages are gone with consumers that died before they had finished them.
            fn lost(&self, each: impl FnMut(u64)) -> std::result::Result<u64, ChannelError> {
                self.end.me()?;
                self.end.recover(true)?;
                Ok(self.end.exchange().lost(each))
            }
        }

        impl<T> fmt::Debug for $handle<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($handle))
                    .field("name", &self.end.attachment().name())
                    .field("capacity", &self.capacity())
                    .field("len", &self.len())
                    .finish_non_exhaustive()
            }
        }
    };
}

/// What handles of plain queues can do.
macro_rules! plain {
    ($handle:ident) => {
        impl<T> $handle<T> {
            /// How many objects are gone, so far, with consumers that died after they had taken them
            /// out and before their `recv` returned. Each is counted once.
            ///
            /// A slow look: asks after every process that has one.
            ///
            /// # Errors
            /// [`Closed`](ChannelError::Closed), [`Forked`](ChannelError::Forked),
            /// [`Corrupted`](ChannelError::Corrupted).
            pub fn lost_in_flight(&self) -> std::result::Result<u64, ChannelError> {
                self.lost(|_| {})
            }

            /// The numbers of objects that are gone so, counted from 0 in the order in which they
            /// were sent: the last ones, at least.
            ///
            /// # Errors
            /// As `lost_in_flight`.
            pub fn lost_numbers(&self) -> std::result::Result<Vec<u64>, ChannelError> {
                let mut numbers = Vec::new();
                self.lost(|number| numbers.push(number))?;
                numbers.sort_unstable();
                Ok(numbers)
            }
        }

        impl<T> Clone for $handle<T> {
            /// Gives another handle to the same queue. A clone of a closed handle is not closed.
            ///
            /// # Panics
            /// In a forked process that inherited the handle after its queue was gone, and beyond
            /// 60,000 handles of a process.
            fn clone(&self) -> Self {
                let end = self.end.again(self.end.ends).expect("a handle holds its queue");
                $handle { end, object: PhantomData }
            }
        }
    };
}

/// Lets a handle travel. A closed one is closed there, too.
macro_rules! handed {
    ($handle:ident, $ends:ident) => {
        travels!([T] $handle<T>, Shared,
            |this| (this.end.attachment(), u64::from(this.end.is_closed())),
            |used| {
                let attachment = Location::Handed(used).open(ObjectInfo::of::<T>(Kind::ObjectQueue, 0))?;
                let end = End::new(attachment, Ends::$ends)?;
                if used.detail() != 0 {
                    end.close();
                }
                Ok($handle { end, object: PhantomData })
            });
    };
}

handed!(Sender, SENDER);
handed!(Receiver, RECEIVER);
handed!(ObjectQueue, BOTH);

handle!(Sender);
handle!(Receiver);
handle!(ObjectQueue);
handle!(JoinableQueue);
plain!(Sender);
plain!(Receiver);
plain!(ObjectQueue);

impl<T> JoinableQueue<T> {
    /// How many tasks failed since the queue was made: their workers died, or dropped them. Each is
    /// counted once. (Tasks that come again do not fail.)
    ///
    /// A slow look: asks after every process that has one.
    ///
    /// # Errors
    /// [`Closed`](ChannelError::Closed), [`Forked`](ChannelError::Forked),
    /// [`Corrupted`](ChannelError::Corrupted).
    pub fn failed(&self) -> std::result::Result<u64, ChannelError> {
        self.lost(|_| {})
    }
}
