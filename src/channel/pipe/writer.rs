//! The end that sends.

use super::PipeError;
#[cfg(feature = "serde")]
use super::named::carrier;
use crate::Result;
use crate::channel::records::Producer;
use crate::channel::spsc::end::{FOREVER, NOW};
use crate::channel::{ChannelError, Departure, Peer};
use crate::segment::travels;
use crate::sys::time;
use crate::wait::{Source, WaitStrategy, WriteSource};
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Bound, RangeBounds};
use std::time::{Duration, Instant};

/// The sending end of a pipe, or of one direction of it.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to hand
/// it to a child; a copy that came into a process any other way answers [`ChannelError::Forked`].
pub struct Writer<T = ()> {
    producer: Option<Producer>,
    limit: usize,
    object: PhantomData<fn(T)>,
}

travels!([T] Writer<T>, Sole,
    |this| match &this.producer {
        Some(producer) => producer.given().map_err(serde::ser::Error::custom)?,
        None => return Err(serde::ser::Error::custom("an end of a pipe that was closed")),
    },
    |used| Ok(Writer::new(Producer::handed(used, carrier::<T>)?))
);

impl<T> Writer<T> {
    pub(super) fn new(producer: Producer) -> Self {
        Writer { producer: Some(producer), limit: usize::MAX, object: PhantomData }
    }

    /// Sends a message of bytes, waiting for room.
    ///
    /// # Errors
    /// [`ChannelError::Disconnected`] where the other end is gone; [`ChannelError::Closed`],
    /// [`ChannelError::Forked`], [`ChannelError::Corrupted`]; [`PipeError::TooLong`] beyond
    /// [`Writer::set_limit`].
    ///
    /// # Blocking
    /// While there is no room, as the [`WaitStrategy`] says; with a message that does not fit into the
    /// pipe, until the other end has received all but the end of it. Ends at once when the other end goes.
    #[inline]
    pub fn send_bytes(&mut self, bytes: &[u8]) -> Result<(), PipeError> {
        self.send_until(bytes, FOREVER)
    }

    /// Sends a message of bytes if there is room for all of it.
    ///
    /// # Errors
    /// [`ChannelError::Full`]; [`ChannelError::TooLarge`] where it does not fit into the empty pipe;
    /// otherwise as [`Writer::send_bytes`].
    #[inline]
    pub fn try_send_bytes(&mut self, bytes: &[u8]) -> Result<(), PipeError> {
        self.send_until(bytes, NOW)
    }

    /// Sends a message of bytes, waiting for room until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Writer::send_bytes`]. Of a message that does not fit into the
    /// pipe, the other end discards what it had received until then.
    pub fn send_bytes_timeout(&mut self, bytes: &[u8], timeout: Duration) -> Result<(), PipeError> {
        self.send_until(bytes, time::after(timeout))
    }

    /// Sends a message of bytes, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As [`Writer::send_bytes_timeout`].
    pub fn send_bytes_deadline(
        &mut self,
        bytes: &[u8],
        deadline: Instant,
    ) -> Result<(), PipeError> {
        self.send_until(bytes, time::at(deadline))
    }

    /// Sends a part of a buffer as a message. An empty part is an empty message.
    ///
    /// # Errors
    /// [`PipeError::OutOfRange`] where the part is not within the buffer; otherwise as
    /// [`Writer::send_bytes`].
    ///
    /// # Examples
    /// ```
    /// let (mut reader, mut writer) = commons::pipe::simplex::<()>()?;
    /// writer.send_bytes_range(b"abcdef", 2..4)?;
    /// writer.send_bytes_range(b"abcdef", 6..)?;
    /// assert!(writer.send_bytes_range(b"abcdef", 4..7).is_err());
    /// assert_eq!(reader.recv_bytes()?, b"cd");
    /// assert_eq!(reader.recv_bytes()?, b"");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_bytes_range(
        &mut self,
        buffer: &[u8],
        range: impl RangeBounds<usize>,
    ) -> Result<(), PipeError> {
        let length = buffer.len();
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.saturating_add(1),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => length.max(start),
        };
        match buffer.get(start..end) {
            Some(part) => self.send_bytes(part),
            None => Err(PipeError::OutOfRange { start, end, length }),
        }
    }

    #[inline]
    fn end(&mut self) -> Result<&mut Producer, ChannelError> {
        self.producer.as_mut().ok_or(ChannelError::Closed)
    }

    #[inline]
    fn send_until(&mut self, bytes: &[u8], deadline: u64) -> Result<(), PipeError> {
        let limit = self.limit;
        let producer = self.end()?;
        if bytes.len() > limit {
            return Err(PipeError::TooLong { length: bytes.len(), limit });
        }
        // A ring with room would take it although nobody receives.
        if let Some(departure) = producer.departed()? {
            return Err(ChannelError::Disconnected(departure).into());
        }
        Ok(producer.send_until(bytes, deadline)?)
    }

    /// Sends a message of this crate's own, which is no longer than a row, whatever the limit is.
    pub(super) fn send_invitation(&mut self, bytes: &[u8], deadline: u64) -> Result<(), PipeError> {
        let limit = std::mem::replace(&mut self.limit, usize::MAX);
        let sent = self.send_until(bytes, deadline);
        self.limit = limit;
        sent
    }

    /// Whether everything that was sent has been received.
    pub(super) fn is_drained(&mut self) -> Result<bool, ChannelError> {
        Ok(self.end()?.used() == 0)
    }

    /// How the other end went, if it is known to have gone.
    pub(super) fn departed(&mut self) -> Result<Option<Departure>, ChannelError> {
        self.end()?.departed()
    }

    /// Sets how many bytes a message has at most; there is no limit at first.
    pub fn set_limit(&mut self, bytes: usize) {
        self.limit = bytes;
    }

    /// How the other end is, whether or not there is room. As
    /// [`spsc::Producer::peer`](crate::spsc::Producer::peer).
    ///
    /// # Errors
    /// [`ChannelError::Closed`], [`ChannelError::Corrupted`].
    pub fn peer(&self) -> Result<Peer, PipeError> {
        Ok(self.producer.as_ref().ok_or(ChannelError::Closed)?.peer()?)
    }

    /// Gives this end up, as dropping it does: the other end receives what was sent, and then the end of
    /// file. Every operation answers [`ChannelError::Closed`] from then on. Closing it again does nothing.
    pub fn close(&mut self) {
        self.producer = None;
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.producer.is_none()
    }

    /// How blocking operations of this end wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.producer.as_ref().map_or_else(WaitStrategy::default, Producer::wait_strategy)
    }

    /// Sets how blocking operations of this end wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        if let Some(producer) = &mut self.producer {
            producer.set_wait_strategy(strategy);
        }
    }
}

#[cfg(feature = "serde")]
impl<T: serde::Serialize> Writer<T> {
    /// Sends an object, waiting for room.
    ///
    /// # Errors
    /// [`PipeError::NotSerialised`]: nothing was sent; otherwise as [`Writer::send_bytes`].
    ///
    /// # Blocking
    /// As [`Writer::send_bytes`].
    #[inline]
    pub fn send(&mut self, object: &T) -> Result<(), PipeError> {
        super::object::with_bytes(object, |bytes| self.send_until(bytes, FOREVER))
    }

    /// Sends an object if there is room for all of it.
    ///
    /// # Errors
    /// As [`Writer::send`] and [`Writer::try_send_bytes`].
    #[inline]
    pub fn try_send(&mut self, object: &T) -> Result<(), PipeError> {
        super::object::with_bytes(object, |bytes| self.send_until(bytes, NOW))
    }

    /// Sends an object, waiting for room until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// As [`Writer::send`] and [`Writer::send_bytes_timeout`].
    pub fn send_timeout(&mut self, object: &T, timeout: Duration) -> Result<(), PipeError> {
        let deadline = time::after(timeout);
        super::object::with_bytes(object, |bytes| self.send_until(bytes, deadline))
    }

    /// Sends an object, waiting for room until `deadline`.
    ///
    /// # Errors
    /// As [`Writer::send_timeout`].
    pub fn send_deadline(&mut self, object: &T, deadline: Instant) -> Result<(), PipeError> {
        let deadline = time::at(deadline);
        super::object::with_bytes(object, |bytes| self.send_until(bytes, deadline))
    }
}

impl<T> WriteSource for Writer<T> {
    fn write_source(&self) -> Result<Box<dyn Source>> {
        match &self.producer {
            Some(producer) => producer.write_source(),
            None => Err(crate::Error::Closed { name: "a pipe".to_owned() }),
        }
    }
}

impl<T> fmt::Debug for Writer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").field("end", &self.producer).finish_non_exhaustive()
    }
}
