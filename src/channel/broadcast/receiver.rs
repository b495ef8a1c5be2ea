//! A side that receives.

#![allow(unsafe_code, reason = "makes values of the bytes it has copied")]

use super::parts::Parts;
use super::{Element, contradiction};
use crate::Result;
use crate::channel::{ChannelError, Peer};
use crate::member::Doubt;
use crate::raw::broadcast::{Found, ReadCursor};
#[cfg(feature = "serde")]
use crate::segment::Location;
use crate::segment::travels;
use crate::sync::local::{AtomicU64, Ordering::Relaxed};
use crate::sys::time;
use crate::wait::{
    Asleep, NEVER, Slip, Wait, WaitStrategy, block_on, is_suspect, look_at_holder, settle,
    watch_holder,
};
use core::mem::MaybeUninit;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// A receiving side of a broadcast.
///
/// There can be any number, and nobody notices what becomes of one. Cloning gives another one, whose
/// next message is the same. A copy that a fork makes is one more, too.
pub struct Receiver<T> {
    cursor: ReadCursor,
    /// The number of the next message, for those who wait for it beside other things.
    watched: OnceLock<Arc<AtomicU64>>,
    missed: u64,
    strategy: WaitStrategy,
    slip: Slip,
    pub(super) parts: Parts,
    element: PhantomData<fn() -> T>,
}

travels!([T: Element] Receiver<T>, Shared,
    |this| (this.parts.attachment(), this.cursor.number()),
    |used| Self::at(Parts::find::<T>(Location::Handed(used))?, used.detail()));

impl<T: Element> Receiver<T> {
    fn over(parts: Parts, cursor: ReadCursor) -> Self {
        parts.attachment().prefault();
        Receiver {
            cursor,
            watched: OnceLock::new(),
            missed: 0,
            strategy: WaitStrategy::default(),
            slip: Slip::new(),
            parts,
            element: PhantomData,
        }
    }

    pub(super) fn at_newest(parts: Parts) -> Result<Self> {
        let cursor = ReadCursor::at_newest(parts.ring()).map_err(|_| corrupted(&parts))?;
        Ok(Self::over(parts, cursor))
    }

    #[cfg(feature = "serde")]
    fn at(parts: Parts, number: u64) -> Result<Self> {
        let cursor = ReadCursor::at(parts.ring(), number).map_err(|_| corrupted(&parts))?;
        Ok(Self::over(parts, cursor))
    }

    pub(super) fn at_oldest(parts: Parts) -> Result<Self> {
        let cursor = ReadCursor::at_oldest(parts.ring()).map_err(|_| corrupted(&parts))?;
        Ok(Self::over(parts, cursor))
    }

    /// Takes the next message, waiting for it.
    ///
    /// # Errors
    /// [`ChannelError::Lagged`], with how many, where the next messages were overwritten before this
    /// receiver came: it goes on with the oldest that is still there, or, where that was overwritten
    /// before it could be read, with the newest. [`ChannelError::Disconnected`] where there is
    /// nothing and the sender is gone; [`ChannelError::Forked`]; [`ChannelError::Corrupted`] where
    /// the bytes are no value of `T` (the message is dropped) or the messages contradict each other.
    ///
    /// # Blocking
    /// While there is no message, as the [`WaitStrategy`] says. Ends at once when the sender dies; a
    /// sender that has not come yet is waited for.
    #[inline]
    pub fn recv(&mut self) -> Result<T, ChannelError> {
        self.recv_until(NEVER)
    }

    /// Takes the next message if it is there.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Receiver::recv`].
    #[inline]
    pub fn try_recv(&mut self) -> Result<T, ChannelError> {
        self.settle()?;
        match self.take() {
            Some(result) => result,
            None => self.nothing(),
        }
    }

    /// Takes the next message, waiting for it until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Receiver::recv`].
    pub fn recv_timeout(&mut self, timeout: Duration) -> Result<T, ChannelError> {
        self.recv_until(time::after(timeout))
    }

    /// Takes the next message, waiting for it until `deadline`.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Receiver::recv`].
    pub fn recv_deadline(&mut self, deadline: Instant) -> Result<T, ChannelError> {
        self.recv_until(time::at(deadline))
    }

    /// The messages from the next one on, waiting for each, until the sender is gone. Leaves out what
    /// was overwritten, which [`Receiver::missed`] counts; what ends it is not told. Use
    /// [`Receiver::recv`] to know.
    pub fn iter(&mut self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| {
            loop {
                match self.recv() {
                    Err(ChannelError::Lagged(_)) => {}
                    other => return other.ok(),
                }
            }
        })
    }

    #[inline(always)]
    fn recv_until(&mut self, deadline: u64) -> Result<T, ChannelError> {
        self.settle()?;
        loop {
            if let Some(result) = self.take() {
                return result;
            }
            self.wait(deadline)?;
        }
    }

    /// The next message, if there is something to say of it.
    #[inline(always)]
    fn take(&mut self) -> Option<Result<T, ChannelError>> {
        let mut bits = MaybeUninit::<T::Bits>::uninit();
        let bytes: *mut MaybeUninit<u8> = bits.as_mut_ptr().cast();
        // SAFETY: its own bytes, which may be uninitialised in both views.
        let bytes = unsafe { core::slice::from_raw_parts_mut(bytes, size_of::<T>()) };
        let found = self.cursor.read(self.parts.ring(), bytes);
        if let Some(watched) = self.watched.get() {
            // Relaxed: says where to look.
            watched.store(self.cursor.number(), Relaxed);
        }
        match found {
            Ok(Found::Nothing) => None,
            Ok(Found::Message) => {
                // SAFETY: every byte was written, and any bytes are a `Bits`.
                let bits = unsafe { bits.assume_init() };
                if !T::is_valid_bit_pattern(&bits) {
                    return Some(Err(invalid()));
                }
                // SAFETY: `Bits` has the layout of `T`, and these are a value of it.
                Some(Ok(unsafe { (&raw const bits).cast::<T>().read() }))
            }
            Ok(Found::Lagged(missed)) => Some(Err(self.lagged(missed))),
            Err(error) => Some(Err(contradiction(error))),
        }
    }

    #[cold]
    fn lagged(&mut self, missed: u64) -> ChannelError {
        self.missed += missed;
        ChannelError::Lagged(missed)
    }

    /// Why there is nothing: a look at the sender, and once more at the message.
    #[cold]
    #[inline(never)]
    fn nothing(&mut self) -> Result<T, ChannelError> {
        if !is_suspect(self.parts.attachment().core(), &self.parts.sender) {
            return Err(ChannelError::Empty);
        }
        match settle(&mut self.waiting(), false) {
            Ok(Err(error)) => Err(error),
            Ok(Ok(())) => self.take().unwrap_or(Err(ChannelError::Empty)),
            Err(_) => Err(ChannelError::Empty),
        }
    }
}

#[cold]
fn invalid() -> ChannelError {
    ChannelError::Corrupted("a message is not a valid value of its type")
}

#[cold]
fn corrupted(parts: &Parts) -> crate::Error {
    let mapping = parts.attachment().core().mapping();
    mapping.corrupted("the messages of a broadcast contradict each other")
}

impl<T> Receiver<T> {
    /// How many messages this receiver has missed, of all that were sent since its first.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// The number of the next message: how many were sent before it, by all senders there were.
    pub fn position(&self) -> u64 {
        self.cursor.number()
    }

    /// How many messages there are to receive, or were before they were overwritten. Stale by the
    /// time the caller looks at it.
    pub fn len(&self) -> u64 {
        self.parts.sent().saturating_sub(self.cursor.number())
    }

    /// Whether there is nothing to receive. Stale by the time the caller looks at it.
    pub fn is_empty(&self) -> bool {
        !self.cursor.is_ready(self.parts.ring())
    }

    /// How many messages the broadcast keeps.
    pub fn capacity(&self) -> usize {
        self.parts.capacity()
    }

    /// How the sender is, whether or not there is a message. Stale by the time the caller looks at it.
    ///
    /// A slow look: some system calls and files of `/proc`, microseconds. A blocking operation needs
    /// no such look.
    ///
    /// # Errors
    /// [`ChannelError::Corrupted`], [`ChannelError::Forked`].
    pub fn peer(&self) -> Result<Peer, ChannelError> {
        self.settle()?;
        Ok(look_at_holder(self.parts.attachment().core(), &self.parts.sender)?)
    }

    /// How blocking operations of this receiver wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.strategy
    }

    /// Sets how blocking operations of this receiver wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }

    /// Makes an inherited handle this process's own.
    #[inline]
    pub(super) fn settle(&self) -> Result<()> {
        let attachment = self.parts.attachment();
        if attachment.is_settled() { Ok(()) } else { attachment.settle() }
    }

    /// The number of the next message, kept up to date.
    pub(super) fn watched(&self) -> Arc<AtomicU64> {
        self.watched.get_or_init(|| Arc::new(AtomicU64::new(self.cursor.number()))).clone()
    }

    fn waiting(&self) -> Waiting<'_> {
        Waiting { parts: &self.parts, cursor: self.cursor, doubt: Doubt::default() }
    }

    /// Waits until there is something to say of the next message.
    #[cold]
    #[inline(never)]
    fn wait(&mut self, deadline: u64) -> Result<(), ChannelError> {
        if self.strategy != WaitStrategy::Park && self.slip.look_away() {
            self.slip.learn(self.len(), self.capacity() as u64);
        }
        block_on(&mut self.waiting(), &self.parts.news, self.strategy, deadline)
            .unwrap_or(Err(ChannelError::TimedOut))
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver")
            .field("name", &self.parts.attachment().name())
            .field("position", &self.position())
            .field("missed", &self.missed)
            .finish_non_exhaustive()
    }
}

impl<T: Element> Clone for Receiver<T> {
    /// Gives another receiver, which has missed nothing yet.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its broadcast was gone.
    fn clone(&self) -> Self {
        let parts = self.parts.again().expect("a handle holds its broadcast");
        Receiver { strategy: self.strategy, ..Self::over(parts, self.cursor) }
    }
}

/// A wait for something to say of the next message.
struct Waiting<'a> {
    parts: &'a Parts,
    cursor: ReadCursor,
    doubt: Doubt,
}

impl<'a> Wait<'a> for Waiting<'a> {
    type Output = Result<(), ChannelError>;

    #[inline(always)]
    fn poll(&mut self) -> Option<Self::Output> {
        self.cursor.is_ready(self.parts.ring()).then_some(Ok(()))
    }

    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, Self::Output> {
        let core = self.parts.attachment().core();
        match watch_holder(core, &self.parts.sender, timed_out, &mut self.doubt) {
            Ok(Ok(watch)) => Ok(Asleep { other: watch.beacon, slice: watch.slice }),
            Ok(Err(departure)) => Err(Err(ChannelError::Disconnected(departure))),
            Err(error) => Err(Err(error.into())),
        }
    }
}
