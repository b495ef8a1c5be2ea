//! Channels and events in a tokio runtime (feature `tokio`).
//!
//! [`Async`] takes a handle and gives its operations as futures. One that finds what it wants is a `try_`
//! operation and nothing else; one that does not waits for the handle's [`Readiness`]. (At a queue of
//! objects a `try_` operation may take a millisecond, while somebody else copies a message; see there.)
//!
//! All of them are cancel safe: a future that is dropped before it was ready has received nothing and sent
//! nothing.
//!
//! # Examples
//! ```
//! use commons::{queue, tokio::Async};
//!
//! let (sender, receiver) = queue::bounded::<u64>(4)?;
//! let child = commons::Process::spawn(move || (0..100).try_for_each(|i| sender.send(i)).is_ok())?;
//! let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
//! let sum = runtime.block_on(async {
//!     let receiver = Async::new(receiver)?;
//!     let mut sum = 0;
//!     while let Ok(i) = receiver.recv().await {
//!         sum += i;
//!     }
//!     Ok::<u64, commons::Error>(sum)
//! })?;
//! assert_eq!(sum, 4950);
//! child.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![allow(unsafe_code, reason = "registers a descriptor that lives as long as its owner")]

#[cfg(feature = "serde")]
use crate::channel::objects::{self, JoinableQueue, ObjectQueue};
use crate::channel::pipe::{self, PipeError};
use crate::channel::queue::Queue;
use crate::channel::{ChannelError, Rejected, broadcast, queue, spsc};
use crate::lock::Event;
use crate::segment::Element;
use crate::select::Readiness;
use crate::{Error, Result};
use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;

/// Handles that [`Async`] can take.
#[allow(private_bounds, reason = "only the crate implements it")]
pub trait Handle: Directions {}

impl<H: Directions> Handle for H {}

/// What a handle waits for.
trait Directions {
    fn to_receive(&self) -> Result<Option<Readiness>> {
        Ok(None)
    }
    fn to_send(&self) -> Result<Option<Readiness>> {
        Ok(None)
    }
}

macro_rules! directions {
    ($($handle:ty: $($method:ident by $make:ident),*;)*) => {
        $(impl<T> Directions for $handle {
            $(fn $method(&self) -> Result<Option<Readiness>> {
                Readiness::$make(self).map(Some)
            })*
        })*
    };
}

directions! {
    spsc::Consumer<T>: to_receive by recv;
    spsc::Producer<T>: to_send by send;
    queue::Receiver<T>: to_receive by recv;
    queue::Sender<T>: to_send by send;
    Queue<T>: to_receive by recv, to_send by send;
    broadcast::Receiver<T>: to_receive by recv;
    pipe::Reader<T>: to_receive by recv;
    pipe::Writer<T>: to_send by send;
    pipe::Connection<T>: to_receive by recv, to_send by send;
}

#[cfg(feature = "serde")]
directions! {
    objects::Receiver<T>: to_receive by recv;
    objects::Sender<T>: to_send by send;
    ObjectQueue<T>: to_receive by recv, to_send by send;
    JoinableQueue<T>: to_receive by recv, to_send by send;
}

impl Directions for Event {
    fn to_receive(&self) -> Result<Option<Readiness>> {
        Readiness::recv(self).map(Some)
    }
}

/// A handle whose operations are futures.
#[derive(Debug)]
pub struct Async<H> {
    handle: H,
    to_receive: Option<AsyncFd<Readiness>>,
    to_send: Option<AsyncFd<Readiness>>,
}

impl<H: Handle> Async<H> {
    /// Takes a handle, to be used in the runtime that this is called in.
    ///
    /// # Errors
    /// As [`Readiness::recv`].
    ///
    /// # Panics
    /// Outside of a tokio runtime, and in one without I/O.
    pub fn new(handle: H) -> Result<Self> {
        let to_receive = handle.to_receive()?.map(register).transpose()?;
        let to_send = handle.to_send()?.map(register).transpose()?;
        Ok(Async { handle, to_receive, to_send })
    }
}

impl<H> Async<H> {
    /// The handle.
    pub fn get_ref(&self) -> &H {
        &self.handle
    }

    /// The handle.
    pub fn get_mut(&mut self) -> &mut H {
        &mut self.handle
    }

    /// Gives the handle back.
    pub fn into_inner(self) -> H {
        self.handle
    }
}

fn register(readiness: Readiness) -> Result<AsyncFd<Readiness>> {
    // SAFETY: a readiness has one descriptor, open for as long as itself.
    let registered = unsafe { AsyncFd::register_with_interest(readiness, Interest::READABLE) };
    registered.map_err(|error| Error::os("epoll_ctl", "a readiness")(error.into()))
}

/// After a look that found nothing: until there may be something.
async fn ready(fd: &Option<AsyncFd<Readiness>>) -> Result<(), ChannelError> {
    let Some(fd) = fd else { return Err(ChannelError::Closed) };
    // Where there is something by now, this rings, and the runtime comes back to us by and by.
    fd.get_ref().reset()?;
    match fd.readable().await {
        Ok(mut guard) => {
            guard.clear_ready();
            Ok(())
        }
        // The runtime is shutting down.
        Err(_) => Err(ChannelError::Closed),
    }
}

macro_rules! receiving {
    ($(#[$doc:meta])* $handle:ident, $name:ident, $attempt:ident, $($this:tt)+) => {
        impl<T: Element> Async<$handle<T>> {
            $(#[$doc])*
            pub async fn $name($($this)+ self) -> Result<T, ChannelError> {
                loop {
                    match self.handle.$attempt() {
                        Err(ChannelError::Empty) => ready(&self.to_receive).await?,
                        other => return other,
                    }
                }
            }
        }
    };
}

macro_rules! sending {
    ($(#[$doc:meta])* $handle:ident, $name:ident, $attempt:ident, $($this:tt)+) => {
        impl<T: Element> Async<$handle<T>> {
            $(#[$doc])*
            pub async fn $name($($this)+ self, value: T) -> Result<(), Rejected<T>> {
                loop {
                    match self.handle.$attempt(value) {
                        Err(Rejected { reason: ChannelError::Full, .. }) => {}
                        other => return other,
                    }
                    if let Err(reason) = ready(&self.to_send).await {
                        return Err(Rejected { value, reason });
                    }
                }
            }
        }
    };
}

use broadcast::Receiver as Listener;
use queue::{Receiver, Sender};
use spsc::{Consumer, Producer};

receiving! {
    /// Takes the oldest item, waiting for one.
    ///
    /// # Errors
    /// As [`Consumer::pop`]; [`ChannelError::Closed`] while the runtime shuts down.
    Consumer, pop, try_pop, &mut
}
receiving! {
    /// Takes the next message, waiting for one.
    ///
    /// # Errors
    /// As [`Receiver::recv`].
    Receiver, recv, try_recv, &
}
receiving! {
    /// Takes the next message, waiting for one.
    ///
    /// # Errors
    /// As [`Queue::recv`].
    Queue, recv, try_recv, &
}
receiving! {
    /// Takes the next message, waiting for it.
    ///
    /// # Errors
    /// As [`broadcast::Receiver::recv`]; [`ChannelError::Closed`] while the runtime shuts down.
    Listener, recv, try_recv, &mut
}
sending! {
    /// Publishes a value, waiting for space.
    ///
    /// # Errors
    /// As [`Producer::push`]; [`ChannelError::Closed`] while the runtime shuts down.
    Producer, push, try_push, &mut
}
sending! {
    /// Sends a message, waiting for space.
    ///
    /// # Errors
    /// As [`Sender::send`].
    Sender, send, try_send, &
}
sending! {
    /// Sends a message, waiting for space.
    ///
    /// # Errors
    /// As [`Queue::send`].
    Queue, send, try_send, &
}

macro_rules! pipes {
    ($($end:ident: $($method:ident)+;)*) => {
        $($(pipes!(@ $end $method);)+)*
    };
    (@ $end:ident recv) => {
        #[cfg(feature = "serde")]
        impl<T: serde::de::DeserializeOwned> Async<pipe::$end<T>> {
            /// Receives an object, waiting for it.
            ///
            /// # Errors
            /// As [`pipe::Reader::recv`]; [`ChannelError::Closed`] while the runtime shuts down.
            pub async fn recv(&mut self) -> Result<T, PipeError> {
                loop {
                    match self.handle.try_recv() {
                        Err(PipeError::Channel(ChannelError::Empty)) => {}
                        other => return other,
                    }
                    ready(&self.to_receive).await?;
                }
            }
        }

        impl<T> Async<pipe::$end<T>> {
            /// Receives a message as bytes, waiting for it.
            ///
            /// # Errors
            /// As [`pipe::Reader::recv_bytes`]; [`ChannelError::Closed`] while the runtime shuts down.
            pub async fn recv_bytes(&mut self) -> Result<Vec<u8>, PipeError> {
                loop {
                    match self.handle.try_recv_bytes() {
                        Err(PipeError::Channel(ChannelError::Empty)) => {}
                        other => return other,
                    }
                    ready(&self.to_receive).await?;
                }
            }
        }
    };
    (@ $end:ident send) => {
        #[cfg(feature = "serde")]
        impl<T: serde::Serialize> Async<pipe::$end<T>> {
            /// Sends an object, waiting for room.
            ///
            /// # Errors
            /// As [`pipe::Writer::try_send`], without [`ChannelError::Full`];
            /// [`ChannelError::Closed`] while the runtime shuts down.
            pub async fn send(&mut self, object: &T) -> Result<(), PipeError> {
                loop {
                    match self.handle.try_send(object) {
                        Err(PipeError::Channel(ChannelError::Full)) => {}
                        other => return other,
                    }
                    ready(&self.to_send).await?;
                }
            }
        }

        impl<T> Async<pipe::$end<T>> {
            /// Sends a message of bytes, waiting for room.
            ///
            /// # Errors
            /// As [`pipe::Writer::try_send_bytes`], without [`ChannelError::Full`];
            /// [`ChannelError::Closed`] while the runtime shuts down.
            pub async fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), PipeError> {
                loop {
                    match self.handle.try_send_bytes(bytes) {
                        Err(PipeError::Channel(ChannelError::Full)) => {}
                        other => return other,
                    }
                    ready(&self.to_send).await?;
                }
            }
        }
    };
}

pipes! {
    Reader: recv;
    Writer: send;
    Connection: recv send;
}

#[cfg(feature = "serde")]
macro_rules! sending_objects {
    ($($handle:ident),*) => {
        $(impl<T: serde::Serialize> Async<$handle<T>> {
            /// Serialises an object and sends it, waiting for room. Others get what is free in the
            /// meantime, if they need less.
            ///
            /// # Errors
            /// As [`objects::Sender::try_send`], without [`ChannelError::Full`];
            /// [`ChannelError::Closed`] while the runtime shuts down.
            pub async fn send(&self, object: &T) -> Result<(), ChannelError> {
                loop {
                    match self.handle.try_send(object) {
                        Err(ChannelError::Full) => ready(&self.to_send).await?,
                        other => return other,
                    }
                }
            }
        })*
    };
}

#[cfg(feature = "serde")]
macro_rules! receiving_objects {
    ($($handle:ident gives $received:ty),*) => {
        $(impl<T: serde::de::DeserializeOwned> Async<$handle<T>> {
            /// Takes the next one, waiting for it.
            ///
            /// # Errors
            /// As [`objects::Receiver::recv`]; [`ChannelError::Closed`] while the runtime shuts
            /// down.
            pub async fn recv(&self) -> Result<$received, ChannelError> {
                loop {
                    match self.handle.try_recv() {
                        Err(ChannelError::Empty) => ready(&self.to_receive).await?,
                        other => return other,
                    }
                }
            }
        })*
    };
}

#[cfg(feature = "serde")]
use objects::{Receiver as ObjectReceiver, Sender as ObjectSender};

#[cfg(feature = "serde")]
sending_objects!(ObjectSender, ObjectQueue, JoinableQueue);
#[cfg(feature = "serde")]
receiving_objects!(
    ObjectReceiver gives T,
    ObjectQueue gives T,
    JoinableQueue gives objects::Task<'_, T>
);

#[cfg(feature = "serde")]
impl<T> Async<JoinableQueue<T>> {
    /// Waits until every task that was sent is finished, or has failed.
    ///
    /// # Errors
    /// As [`JoinableQueue::join`]; [`ChannelError::Closed`] while the runtime shuts down.
    pub async fn join(&self) -> Result<(), ChannelError> {
        let mut done = None;
        loop {
            match self.handle.join_timeout(std::time::Duration::ZERO) {
                Err(ChannelError::TimedOut) => {}
                other => return other,
            }
            if done.is_none() {
                done = Some(register(Readiness::of(self.handle.done_source()?)?)?);
            }
            ready(&done).await?;
        }
    }
}

impl Async<Event> {
    /// Waits until it is set.
    ///
    /// # Errors
    /// [`ChannelError::Forked`]; [`ChannelError::Closed`] while the runtime shuts down.
    pub async fn wait(&self) -> Result<(), ChannelError> {
        while !self.handle.try_wait()? {
            ready(&self.to_receive).await?;
        }
        Ok(())
    }
}
