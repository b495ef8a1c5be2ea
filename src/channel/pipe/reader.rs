//! The end that receives.

use super::PipeError;
#[cfg(feature = "serde")]
use super::named::carrier;
use crate::Result;
use crate::channel::records::Consumer;
use crate::channel::spsc::end::{FOREVER, NOW};
use crate::channel::{ChannelError, Peer};
use crate::segment::travels;
use crate::sys::time;
use crate::wait::{ReadSource, Source, WaitStrategy};
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// The receiving end of a pipe, or of one direction of it.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to hand
/// it to a child; a copy that came into a process any other way answers [`ChannelError::Forked`].
pub struct Reader<T = ()> {
    consumer: Option<Consumer>,
    /// The last object's bytes: memory to use again.
    #[cfg(feature = "serde")]
    bytes: Vec<u8>,
    object: PhantomData<fn() -> T>,
}

travels!([T] Reader<T>, Sole,
    |this| match &this.consumer {
        Some(consumer) => consumer.given().map_err(serde::ser::Error::custom)?,
        None => return Err(serde::ser::Error::custom("an end of a pipe that was closed")),
    },
    |used| Ok(Reader::new(Consumer::handed(used, carrier::<T>)?))
);

impl<T> Reader<T> {
    pub(super) fn new(consumer: Consumer) -> Self {
        Reader {
            consumer: Some(consumer),
            #[cfg(feature = "serde")]
            bytes: Vec::new(),
            object: PhantomData,
        }
    }

    #[inline]
    fn end(&mut self) -> Result<&mut Consumer, ChannelError> {
        self.consumer.as_mut().ok_or(ChannelError::Closed)
    }

    /// Whether there is something to receive, waiting for it until `timeout` has passed; `None`: without
    /// limit. At the end of file there is: a receive says so at once. Receives nothing.
    ///
    /// Of a message that comes in pieces the first is enough; receiving it waits for the last.
    ///
    /// # Errors
    /// [`ChannelError::Closed`], [`ChannelError::Forked`], [`ChannelError::Corrupted`].
    ///
    /// # Blocking
    /// For `timeout` at most. Ends at once when the other end goes.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let (mut reader, mut writer) = commons::pipe::simplex::<()>()?;
    /// assert!(!reader.poll(Duration::ZERO)?);
    /// writer.send_bytes(b"")?;
    /// assert!(reader.poll(None)? && reader.poll(Duration::ZERO)?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll(&mut self, timeout: impl Into<Option<Duration>>) -> Result<bool, PipeError> {
        let deadline = match timeout.into() {
            None => FOREVER,
            Some(Duration::ZERO) => NOW,
            Some(timeout) => time::after(timeout),
        };
        match self.end()?.poll_until(deadline) {
            Ok(()) | Err(ChannelError::Disconnected(_)) => Ok(true),
            Err(ChannelError::Empty | ChannelError::TimedOut) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Receives a message as bytes, waiting for it.
    ///
    /// # Errors
    /// [`ChannelError::Disconnected`] at the end of file; [`ChannelError::Closed`],
    /// [`ChannelError::Forked`], [`ChannelError::Corrupted`].
    ///
    /// # Blocking
    /// While there is no message, as the [`WaitStrategy`] says. Ends at once when the other end goes.
    pub fn recv_bytes(&mut self) -> Result<Vec<u8>, PipeError> {
        self.recv_bytes_until(FOREVER)
    }

    /// Receives a message as bytes, if there is one.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Reader::recv_bytes`].
    pub fn try_recv_bytes(&mut self) -> Result<Vec<u8>, PipeError> {
        self.recv_bytes_until(NOW)
    }

    /// Receives a message as bytes, waiting for it until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Reader::recv_bytes`].
    pub fn recv_bytes_timeout(&mut self, timeout: Duration) -> Result<Vec<u8>, PipeError> {
        self.recv_bytes_until(time::after(timeout))
    }

    /// Receives a message as bytes, waiting for it until `deadline`.
    ///
    /// # Errors
    /// As [`Reader::recv_bytes_timeout`].
    pub fn recv_bytes_deadline(&mut self, deadline: Instant) -> Result<Vec<u8>, PipeError> {
        self.recv_bytes_until(time::at(deadline))
    }

    fn recv_bytes_until(&mut self, deadline: u64) -> Result<Vec<u8>, PipeError> {
        let mut bytes = Vec::new();
        self.end()?.recv_until(&mut bytes, deadline)?;
        Ok(bytes)
    }

    /// What the next message is, waiting for it. It stays.
    pub(super) fn look_at_next<R>(
        &mut self,
        deadline: u64,
        look: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, ChannelError> {
        Ok(look(&self.end()?.peek_until(deadline)?))
    }

    /// Is done with the message that was looked at.
    pub(super) fn release_next(&mut self) -> Result<(), ChannelError> {
        self.end()?.peek_until(NOW)?.release();
        Ok(())
    }

    /// Whether nobody sends any more.
    pub(super) fn has_no_sender(&mut self) -> Result<bool, ChannelError> {
        Ok(self.end()?.departed()?.is_some())
    }

    /// Receives a message of at most `limit` bytes, waiting for it.
    ///
    /// # Errors
    /// [`PipeError::TooLong`] of a longer one. The two ends do not agree on what they say, so this one
    /// receives nothing more: it is closed. Otherwise as [`Reader::recv_bytes`].
    pub fn recv_bytes_limited(&mut self, limit: usize) -> Result<Vec<u8>, PipeError> {
        let bytes = self.recv_bytes()?;
        if bytes.len() > limit {
            self.close();
            return Err(PipeError::TooLong { length: bytes.len(), limit });
        }
        Ok(bytes)
    }

    /// Receives a message into a buffer from `offset` on, waiting for it, and says how many bytes it has.
    /// The rest of the buffer is left as it is.
    ///
    /// # Errors
    /// [`PipeError::OutOfRange`] where the offset is beyond the buffer: nothing was received.
    /// [`PipeError::BufferTooShort`] with the message, where it does not fit: the buffer is left as it was,
    /// and the message is received. Otherwise as [`Reader::recv_bytes`].
    ///
    /// # Examples
    /// ```
    /// let (mut reader, mut writer) = commons::pipe::simplex::<()>()?;
    /// writer.send_bytes(b"cd")?;
    /// let mut buffer = *b"ab____gh";
    /// assert_eq!(reader.recv_bytes_into(&mut buffer, 2)?, 2);
    /// assert_eq!(&buffer, b"abcd__gh");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn recv_bytes_into(
        &mut self,
        buffer: &mut [u8],
        offset: usize,
    ) -> Result<usize, PipeError> {
        let length = buffer.len();
        let Some(room) = buffer.get_mut(offset..) else {
            return Err(PipeError::OutOfRange { start: offset, end: offset, length });
        };
        self.end()?.recv_into(room)?.map_err(PipeError::BufferTooShort)
    }

    /// How the other end is, whether or not there is a message. As
    /// [`spsc::Consumer::peer`](crate::spsc::Consumer::peer).
    ///
    /// # Errors
    /// [`ChannelError::Closed`], [`ChannelError::Corrupted`].
    pub fn peer(&self) -> Result<Peer, PipeError> {
        Ok(self.consumer.as_ref().ok_or(ChannelError::Closed)?.peer()?)
    }

    /// Gives this end up, as dropping it does: the other end can send nothing more. Every operation
    /// answers [`ChannelError::Closed`] from then on. Closing it again does nothing.
    pub fn close(&mut self) {
        self.consumer = None;
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.consumer.is_none()
    }

    /// How blocking operations of this end wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.consumer.as_ref().map_or_else(WaitStrategy::default, Consumer::wait_strategy)
    }

    /// Sets how blocking operations of this end wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        if let Some(consumer) = &mut self.consumer {
            consumer.set_wait_strategy(strategy);
        }
    }
}

#[cfg(feature = "serde")]
impl<T: serde::de::DeserializeOwned> Reader<T> {
    /// Receives an object, waiting for it.
    ///
    /// # Errors
    /// [`PipeError::NotDeserialised`] of a message that is no `T`, which is received all the same;
    /// otherwise as [`Reader::recv_bytes`].
    ///
    /// # Blocking
    /// As [`Reader::recv_bytes`].
    #[inline]
    pub fn recv(&mut self) -> Result<T, PipeError> {
        self.recv_until(FOREVER)
    }

    /// Receives an object, if there is one.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Reader::recv`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, PipeError> {
        self.recv_until(NOW)
    }

    /// Receives an object, waiting for it until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Reader::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, PipeError> {
        self.recv_until(time::after(timeout))
    }

    /// Receives an object, waiting for it until `deadline`.
    ///
    /// # Errors
    /// As [`Reader::recv_timeout`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, PipeError> {
        self.recv_until(time::at(deadline))
    }

    /// The objects from the next one on, until the first that cannot be received, waiting for each. What
    /// ends it is not told; use [`Reader::recv`] to know.
    pub fn iter(&mut self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.recv().ok())
    }

    #[inline]
    fn recv_until(&mut self, deadline: u64) -> Result<T, PipeError> {
        let consumer = self.consumer.as_mut().ok_or(ChannelError::Closed)?;
        consumer.recv_until(&mut self.bytes, deadline)?;
        super::object::of_bytes(&self.bytes)
    }
}

impl<T> ReadSource for Reader<T> {
    fn read_source(&self) -> Result<Box<dyn Source>> {
        match &self.consumer {
            Some(consumer) => consumer.read_source(),
            None => Err(crate::Error::Closed { name: "a pipe".to_owned() }),
        }
    }
}

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("end", &self.consumer).finish_non_exhaustive()
    }
}
