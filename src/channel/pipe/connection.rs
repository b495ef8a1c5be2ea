//! The end of a pipe that does both.

use super::{PipeError, Reader, Writer};
use crate::Result;
use crate::channel::Peer;
use crate::wait::{ReadSource, Source, WaitStrategy, WriteSource};
use std::ops::RangeBounds;
use std::time::{Duration, Instant};

/// One end of a pipe: what one end sends, the other receives.
///
/// There is one of each in all processes. Move it into the closure of
/// [`Process::spawn`](crate::Process) to hand it to a child; a copy that came into a process any other way
/// answers [`ChannelError::Forked`](crate::ChannelError::Forked).
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
pub struct Connection<T = ()> {
    pub(super) writer: Writer<T>,
    pub(super) reader: Reader<T>,
}

/// Operations of one of the parts, under the same name.
macro_rules! delegate {
    ($($part:ident $type:ident: $name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(
            #[doc = concat!("As [`", stringify!($type), "::", stringify!($name), "`].")]
            ///
            /// # Errors
            /// As it.
            #[inline]
            pub fn $name(&mut self, $($argument: $kind),*) -> Result<$result, PipeError> {
                self.$part.$name($($argument),*)
            }
        )*
    };
}

impl<T> Connection<T> {
    pub(super) fn new(writer: Writer<T>, reader: Reader<T>) -> Self {
        Connection { writer, reader }
    }

    delegate! {
        writer Writer: send_bytes(bytes: &[u8]) -> ();
        writer Writer: try_send_bytes(bytes: &[u8]) -> ();
        writer Writer: send_bytes_timeout(bytes: &[u8], timeout: Duration) -> ();
        writer Writer: send_bytes_deadline(bytes: &[u8], deadline: Instant) -> ();
        writer Writer: send_bytes_range(buffer: &[u8], range: impl RangeBounds<usize>) -> ();
        reader Reader: poll(timeout: impl Into<Option<Duration>>) -> bool;
        reader Reader: recv_bytes() -> Vec<u8>;
        reader Reader: try_recv_bytes() -> Vec<u8>;
        reader Reader: recv_bytes_timeout(timeout: Duration) -> Vec<u8>;
        reader Reader: recv_bytes_deadline(deadline: Instant) -> Vec<u8>;
        reader Reader: recv_bytes_limited(limit: usize) -> Vec<u8>;
        reader Reader: recv_bytes_into(buffer: &mut [u8], offset: usize) -> usize;
    }

    /// As [`Writer::set_limit`].
    pub fn set_limit(&mut self, bytes: usize) {
        self.writer.set_limit(bytes);
    }

    /// How the other end is: its process may have dropped it, or died. As
    /// [`spsc::Consumer::peer`](crate::spsc::Consumer::peer).
    ///
    /// # Errors
    /// As [`Reader::peer`].
    pub fn peer(&self) -> Result<Peer, PipeError> {
        self.reader.peer()
    }

    /// Gives this end up, as dropping it does: the other end receives what was sent, and then the end of
    /// file. Every operation answers [`ChannelError::Closed`](crate::ChannelError::Closed) from then on.
    /// Closing it again does nothing.
    pub fn close(&mut self) {
        self.writer.close();
        self.reader.close();
    }

    /// Whether it was closed, in both directions.
    pub fn is_closed(&self) -> bool {
        self.writer.is_closed() && self.reader.is_closed()
    }

    /// Its two directions, for two threads or processes.
    pub fn split(self) -> (Writer<T>, Reader<T>) {
        (self.writer, self.reader)
    }

    /// How blocking operations of this end wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.reader.wait_strategy()
    }

    /// Sets how blocking operations of this end wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.writer.set_wait_strategy(strategy);
        self.reader.set_wait_strategy(strategy);
    }
}

#[cfg(feature = "serde")]
impl<T: serde::Serialize> Connection<T> {
    delegate! {
        writer Writer: send(object: &T) -> ();
        writer Writer: try_send(object: &T) -> ();
        writer Writer: send_timeout(object: &T, timeout: Duration) -> ();
        writer Writer: send_deadline(object: &T, deadline: Instant) -> ();
    }
}

#[cfg(feature = "serde")]
impl<T: serde::de::DeserializeOwned> Connection<T> {
    delegate! {
        reader Reader: recv() -> T;
        reader Reader: try_recv() -> T;
        reader Reader: recv_timeout(timeout: Duration) -> T;
        reader Reader: recv_deadline(deadline: Instant) -> T;
    }

    /// As [`Reader::iter`].
    pub fn iter(&mut self) -> impl Iterator<Item = T> + '_ {
        self.reader.iter()
    }
}

impl<T> ReadSource for Connection<T> {
    fn read_source(&self) -> Result<Box<dyn Source>> {
        self.reader.read_source()
    }
}

impl<T> WriteSource for Connection<T> {
    fn write_source(&self) -> Result<Box<dyn Source>> {
        self.writer.write_source()
    }
}
