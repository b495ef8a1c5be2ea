//! The end that pops.

#![allow(unsafe_code, reason = "reads slots in shared memory")]

use super::Element;
use super::end::{End, FOREVER};
use crate::channel::{ChannelError, Departure, Peer};
use crate::raw::ring::{EXPRESS_WORDS, ReadCursor, Span};
use crate::segment::travels;
#[cfg(feature = "serde")]
use crate::segment::{Kind, ObjectInfo};
use crate::sys::prefetch::{self, LINE};
use crate::sys::time;
use crate::wait::WaitStrategy;
use bytemuck::AnyBitPattern;
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// The receiving end of a ring.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to
/// hand it to a child; a copy that came into a process any other way answers
/// [`ChannelError::Forked`].
///
/// Dropping it tells the producer, as soon as that finds the ring full or asks, that nobody receives.
/// What was published and not received stays in the ring for a successor.
#[derive(Debug)]
pub struct Consumer<T> {
    pub(super) end: End<ReadCursor>,
    element: PhantomData<fn() -> T>,
}

/// How far ahead the next items are fetched, in bytes: where the other processor's lines are far away, an
/// item of a stream takes a third less time so.
const AHEAD: usize = 8 * LINE;

#[cold]
fn invalid() -> ChannelError {
    ChannelError::Corrupted("an item is not a valid value of its type")
}

travels!([T: Element] Consumer<T>, Sole, |this| this.end.given(), |used| {
    let end = End::handed(used, |kind| {
        matches!(kind, Kind::Ring | Kind::Duplex).then(|| ObjectInfo::of::<T>(kind, 0))
    })?;
    Ok(Consumer::new(end))
});

impl<T: Element> Consumer<T> {
    pub(super) fn new(end: End<ReadCursor>) -> Self {
        Consumer { end, element: PhantomData }
    }

    /// Takes the oldest item, waiting for one.
    ///
    /// # Errors
    /// [`ChannelError::Disconnected`] where there is nothing and the producer is gone;
    /// [`ChannelError::Forked`]; [`ChannelError::Corrupted`] where the bytes are no value of `T`
    /// (the item is dropped) or the ring's positions contradict each other.
    ///
    /// # Blocking
    /// While the ring is empty, as the [`WaitStrategy`] says. Ends at once when the producer dies; a
    /// producer that has not come yet is waited for.
    #[inline(always)]
    pub fn pop(&mut self) -> Result<T, ChannelError> {
        match self.end.known_one() {
            Some(slot) => self.take_plain(slot),
            None => self.pop_until(FOREVER),
        }
    }

    /// Takes the oldest item if there is one.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Consumer::pop`].
    #[inline(always)]
    pub fn try_pop(&mut self) -> Result<T, ChannelError> {
        match self.end.known_one() {
            Some(slot) => self.take_plain(slot),
            None => self.try_pop_newest(),
        }
    }

    /// Takes the oldest item, waiting for one until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Consumer::pop`].
    pub fn pop_timeout(&mut self, timeout: Duration) -> Result<T, ChannelError> {
        self.pop_until(time::after(timeout))
    }

    /// Takes the oldest item, waiting for one until `deadline`.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Consumer::pop`].
    pub fn pop_deadline(&mut self, deadline: Instant) -> Result<T, ChannelError> {
        self.pop_until(time::at(deadline))
    }

    #[cold]
    #[inline(never)]
    fn pop_until(&mut self, deadline: u64) -> Result<T, ChannelError> {
        let slot = self.end.wait_one(deadline)?;
        self.take_newest(slot)
    }

    #[inline(never)]
    fn try_pop_newest(&mut self) -> Result<T, ChannelError> {
        let slot = self.end.ready_one()?;
        self.take_newest(slot)
    }

    /// Takes as many items as there are and `values` has room for, and says how many. Waits for one.
    ///
    /// # Errors
    /// As [`Consumer::pop`]; an item that is no value of `T` ends the slice before it, and is the
    /// error of the next call. An empty slice is 0 at once.
    pub fn pop_slice(&mut self, values: &mut [T]) -> Result<usize, ChannelError> {
        if values.is_empty() {
            return Ok(0);
        }
        let available = self.end.wait(values.len() as u64, FOREVER)?;
        self.take_slice(values, available)
    }

    /// Takes as many items as there are and `values` has room for, and says how many.
    ///
    /// # Errors
    /// [`ChannelError::Empty`] where there is none, and as [`Consumer::pop_slice`].
    pub fn try_pop_slice(&mut self, values: &mut [T]) -> Result<usize, ChannelError> {
        if values.is_empty() {
            return Ok(0);
        }
        let available = self.end.ready(values.len() as u64)?;
        self.take_slice(values, available)
    }

    /// The items from the oldest on, until the producer is gone, waiting for each. What ends it is
    /// not told; use [`Consumer::pop`] to know.
    ///
    /// # Examples
    /// ```
    /// let (mut producer, mut consumer) = commons::spsc::ring(8)?;
    /// producer.push_all(&[1u8, 2, 3])?;
    /// drop(producer);
    /// assert_eq!(consumer.iter().collect::<Vec<_>>(), [1, 2, 3]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn iter(&mut self) -> impl Iterator<Item = T> + '_ {
        std::iter::from_fn(|| self.pop().ok())
    }

    #[inline(always)]
    fn slot(&self, slot: u64) -> *const T {
        // SAFETY: cursors give slots below the capacity, for which `Parts::find` checked the range.
        unsafe { self.end.slots().cast::<T>().add(slot as usize) }
    }

    /// [`Consumer::take`] of an item that is not the newest.
    #[inline(always)]
    fn take_plain(&mut self, slot: u64) -> Result<T, ChannelError> {
        if size_of::<T>() <= LINE {
            prefetch::for_read(self.slot(slot).cast::<u8>().wrapping_add(AHEAD));
        }
        self.take(slot, None, true)
    }

    /// [`Consumer::take`] of an item that may have an express copy.
    #[inline(always)]
    fn take_newest(&mut self, slot: u64) -> Result<T, ChannelError> {
        let express = if size_of::<T>() <= EXPRESS_WORDS * size_of::<u64>() {
            self.end.cursor.express(self.end.ring())
        } else {
            None
        };
        self.take(slot, express, self.end.is_registered())
    }

    /// Copies, checks and releases the oldest item, which is in this slot.
    #[inline(always)]
    fn take(
        &mut self,
        slot: u64,
        express: Option<[u64; EXPRESS_WORDS]>,
        registered: bool,
    ) -> Result<T, ChannelError> {
        let ring = self.end.ring();
        let bits: T::Bits = match express {
            Some(copy) => {
                let bytes = bytemuck::bytes_of(&copy);
                bytemuck::pod_read_unaligned(&bytes[..size_of::<T>()])
            }
            None => {
                // SAFETY: the slot is published: the consumer's alone, and aligned. `Bits` has the
                // layout of `T`, and any bytes are a value of it.
                unsafe { self.slot(slot).cast::<T::Bits>().read() }
            }
        };
        self.end.cursor.release(ring, 1);
        ReadCursor::notify(ring, registered);
        if !T::is_valid_bit_pattern(&bits) {
            return Err(invalid());
        }
        // SAFETY: `bits` was just found to be a valid `T`, whose layout it has.
        Ok(unsafe { core::mem::transmute_copy::<T::Bits, T>(&bits) })
    }

    fn take_slice(&mut self, values: &mut [T], available: Span) -> Result<usize, ChannelError> {
        let count = values.len().min(available.count as usize);
        let first = available.slot;
        let valid = values[0];
        let bits = values.as_mut_ptr().cast::<T::Bits>();
        let from = self.slot(first).cast::<T::Bits>();
        let before_wrap = count.min(self.capacity() - first as usize);
        if count == 1 {
            // SAFETY: the slot is published, `values` has room for one, and any bytes are a value of
            // `Bits`. (A length that the compiler knows: worth a tenth at 1 KiB.)
            unsafe { bits.copy_from_nonoverlapping(from, 1) };
        } else {
            // SAFETY: the slots from the first on are published and in a row, `values` has room for
            // them, and any bytes are a value of `Bits`.
            unsafe { bits.copy_from_nonoverlapping(from, before_wrap) };
        }
        if before_wrap < count {
            // SAFETY: within `values`.
            let rest = unsafe { bits.add(before_wrap) };
            let from = self.slot(0).cast::<T::Bits>();
            // SAFETY: as above, for those from the beginning of the ring.
            unsafe { rest.copy_from_nonoverlapping(from, count - before_wrap) };
        }
        // SAFETY: the first `count` values were just written as `Bits`, and are not used as `T`
        // before they are checked.
        let copied = unsafe { core::slice::from_raw_parts(bits, count) };
        let sound = copied.iter().position(|bits| !T::is_valid_bit_pattern(bits)).unwrap_or(count);
        for i in sound..count {
            // SAFETY: within `values`.
            let value = unsafe { values.as_mut_ptr().add(i) };
            // SAFETY: as above; makes a valid value of what may be none.
            unsafe { value.write(valid) };
        }
        let ring = self.end.ring();
        // What is no value is dropped when its turn comes; what follows it is left for the next call.
        self.end.cursor.release(ring, sound.max(1) as u64);
        ReadCursor::notify(ring, self.end.is_registered());
        if sound == 0 { Err(invalid()) } else { Ok(sound) }
    }
}

impl<T> Consumer<T> {
    /// How many items the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.end.ring().capacity as usize
    }

    /// How many items are published and not released. Stale by the time the caller looks at it:
    /// there may be more.
    pub fn len(&self) -> usize {
        self.end.ring().fill() as usize
    }

    /// Whether no item is there. Stale by the time the caller looks at it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the producer has no space. Stale by the time the caller looks at it.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How the last holder of this end had gone when it was taken; `None`: there was none. A child
    /// that the end was handed to is told the same.
    ///
    /// After [`Departure::Died`] and [`Departure::Abandoned`] it was not finished: it may have acted on
    /// items that it had not released, and that come again.
    pub fn predecessor(&self) -> Option<Departure> {
        self.end.predecessor()
    }

    /// How the producer is, whether or not there is an item. Stale by the time the caller looks at it, unless
    /// it is [`Peer::Gone`] and no successor can come.
    ///
    /// A slow look: some system calls and files of `/proc`, microseconds. For those who would
    /// otherwise not notice for long that nobody is there; a blocking operation needs no such look.
    ///
    /// # Errors
    /// [`ChannelError::Corrupted`] where the ring contradicts itself, or the operating system does
    /// not tell who is alive.
    ///
    /// # Blocking
    /// Never.
    ///
    /// # Examples
    /// ```
    /// use commons::{Departure, Peer};
    ///
    /// let (producer, consumer) = commons::spsc::ring::<u8>(8)?;
    /// assert!(matches!(consumer.peer()?, Peer::Here { .. }));
    /// drop(producer);
    /// assert_eq!(consumer.peer()?, Peer::Gone(Departure::Closed));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn peer(&self) -> Result<Peer, ChannelError> {
        Ok(self.end.peer()?)
    }

    /// How blocking operations of this end wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.end.strategy()
    }

    /// Sets how blocking operations of this end wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.end.set_strategy(strategy);
    }

    /// Leaves although there is more to receive: the producer sees
    /// [`Departure::Abandoned`].
    pub fn abandon(mut self) {
        self.end.abandon();
    }
}

impl<T: Element + AnyBitPattern> Consumer<T> {
    /// Lends up to `wanted` items in a row, from the oldest on, at least one, waiting for that one.
    ///
    /// They stay in the ring until [`Loan::release`]; a loan that is dropped releases nothing. Items
    /// in a row end where the ring wraps.
    ///
    /// # Errors
    /// As [`Consumer::pop`].
    ///
    /// # Panics
    /// If `wanted` is 0.
    #[inline]
    pub fn peek(&mut self, wanted: usize) -> Result<Loan<'_, T>, ChannelError> {
        assert!(wanted > 0, "a loan of no items");
        let available = self.end.wait(wanted as u64, FOREVER)?;
        Ok(self.loan(wanted, available))
    }

    /// Lends up to `wanted` items in a row, from the oldest on, if there is one.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Consumer::pop`].
    ///
    /// # Panics
    /// If `wanted` is 0.
    #[inline]
    pub fn try_peek(&mut self, wanted: usize) -> Result<Loan<'_, T>, ChannelError> {
        assert!(wanted > 0, "a loan of no items");
        let available = self.end.ready(wanted as u64)?;
        Ok(self.loan(wanted, available))
    }

    /// Lends up to `wanted` items in a row, waiting for one until `timeout` has passed.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Consumer::pop`].
    ///
    /// # Panics
    /// If `wanted` is 0.
    pub fn peek_timeout(
        &mut self,
        wanted: usize,
        timeout: Duration,
    ) -> Result<Loan<'_, T>, ChannelError> {
        assert!(wanted > 0, "a loan of no items");
        let available = self.end.wait(wanted as u64, time::after(timeout))?;
        Ok(self.loan(wanted, available))
    }

    /// All published items that lie in a row, at least one, waiting for that one.
    pub(super) fn published(&mut self) -> Result<&[T], ChannelError> {
        let available = self.end.wait(u64::MAX, FOREVER)?;
        let Loan { first, count, .. } = self.loan(usize::MAX, available);
        // SAFETY: as in `Loan::deref`; the borrow of `self` keeps them from being released.
        Ok(unsafe { core::slice::from_raw_parts(first, count) })
    }

    /// Gives up to `count` slots, and at most what is known to be published, back to the producer.
    pub(super) fn release(&mut self, count: usize) {
        let Ok(known) = self.end.ready(1) else { return };
        let ring = self.end.ring();
        self.end.cursor.release(ring, known.count.min(count as u64));
        ReadCursor::notify(ring, self.end.is_registered());
    }

    #[inline(always)]
    fn loan(&mut self, wanted: usize, Span { slot, count }: Span) -> Loan<'_, T> {
        let in_a_row = self.capacity() - slot as usize;
        let count = wanted.min(count as usize).min(in_a_row);
        Loan { first: self.slot(slot), count, consumer: self, not_send: PhantomData }
    }
}

/// Items in the ring, in place.
#[derive(Debug)]
#[must_use = "a loan that is dropped releases nothing"]
pub struct Loan<'a, T: Element> {
    consumer: &'a mut Consumer<T>,
    first: *const T,
    count: usize,
    not_send: PhantomData<*const T>,
}

impl<T: Element> Loan<'_, T> {
    /// Gives the first `count` slots back to the producer.
    ///
    /// # Panics
    /// If `count` is more than were lent.
    #[inline]
    pub fn release(self, count: usize) {
        assert!(count <= self.count, "{count} items released of {} lent", self.count);
        let end = &mut self.consumer.end;
        let ring = end.ring();
        end.cursor.release(ring, count as u64);
        ReadCursor::notify(ring, end.is_registered());
    }
}

impl<T: Element> Deref for Loan<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `count` slots in a row from `first` on are published: the consumer's alone, which
        // this borrows. `peek` asks for types of which any bytes are a value.
        unsafe { core::slice::from_raw_parts(self.first, self.count) }
    }
}
