//! The end that pushes.

#![allow(unsafe_code, reason = "writes slots in shared memory")]

use super::Element;
use super::end::{End, FOREVER};
use crate::channel::{ChannelError, Departure, Partial, Peer, Rejected};
use crate::raw::ring::{EXPRESS_WORDS, Span, WriteCursor};
use crate::segment::travels;
#[cfg(feature = "serde")]
use crate::segment::{Kind, ObjectInfo};
use crate::sys::prefetch::{self, LINE};
use crate::sys::time;
use crate::wait::WaitStrategy;
use bytemuck::AnyBitPattern;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// The sending end of a ring.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to
/// hand it to a child; a copy that came into a process any other way answers
/// [`ChannelError::Forked`].
///
/// Dropping it closes the ring in order: the consumer gets what was published and then
/// [`Departure::Closed`](crate::Departure). Dropped by a panic, or through [`Producer::abandon`], it
/// says that more was to come.
#[derive(Debug)]
pub struct Producer<T> {
    pub(super) end: End<WriteCursor>,
    element: PhantomData<fn(T)>,
}

/// How far ahead the next slots of a stream are fetched, in bytes: their lines are the consumer's, and each
/// store waits for its own.
const AHEAD: usize = 4 * LINE;

/// Elements that travel as an express copy too.
const fn is_small<T>() -> bool {
    size_of::<T>() <= EXPRESS_WORDS * size_of::<u64>()
}

travels!([T: Element] Producer<T>, Sole, |this| this.end.given(), |used| {
    let end = End::handed(used, |kind| {
        matches!(kind, Kind::Ring | Kind::Duplex).then(|| ObjectInfo::of::<T>(kind, 0))
    })?;
    Ok(Producer::new(end))
});

impl<T: Element> Producer<T> {
    pub(super) fn new(end: End<WriteCursor>) -> Self {
        Producer { end, element: PhantomData }
    }

    /// Publishes a value, waiting for space.
    ///
    /// # Errors
    /// [`ChannelError::Disconnected`] where there is no space and the consumer is gone;
    /// [`ChannelError::Forked`], [`ChannelError::Corrupted`]. The value comes back.
    ///
    /// # Blocking
    /// While the ring is full, as the [`WaitStrategy`] says. Ends at once when the consumer dies; a
    /// consumer that has not come yet is waited for.
    #[inline(always)]
    pub fn push(&mut self, value: T) -> Result<(), Rejected<T>> {
        match self.end.known_one() {
            Some(slot) => {
                self.put(slot, value, true);
                Ok(())
            }
            None => self.push_until(value, FOREVER),
        }
    }

    /// Publishes a value if there is space.
    ///
    /// # Errors
    /// [`ChannelError::Full`], and as [`Producer::push`].
    #[inline(always)]
    pub fn try_push(&mut self, value: T) -> Result<(), Rejected<T>> {
        match self.end.known_one() {
            Some(slot) => {
                self.put(slot, value, true);
                Ok(())
            }
            None => match self.end.ready_one() {
                Ok(slot) => {
                    self.put(slot, value, self.end.is_registered());
                    Ok(())
                }
                Err(reason) => Err(Rejected { value, reason }),
            },
        }
    }

    /// Publishes a value, waiting for space until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Producer::push`].
    pub fn push_timeout(&mut self, value: T, timeout: Duration) -> Result<(), Rejected<T>> {
        self.push_until(value, time::after(timeout))
    }

    /// Publishes a value, waiting for space until `deadline`.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Producer::push`].
    pub fn push_deadline(&mut self, value: T, deadline: Instant) -> Result<(), Rejected<T>> {
        self.push_until(value, time::at(deadline))
    }

    #[cold]
    #[inline(never)]
    fn push_until(&mut self, value: T, deadline: u64) -> Result<(), Rejected<T>> {
        match self.end.wait_one(deadline) {
            Ok(slot) => {
                self.put(slot, value, self.end.is_registered());
                Ok(())
            }
            Err(reason) => Err(Rejected { value, reason }),
        }
    }

    /// Publishes as many of `values`, from the first on, as there is space for, and says how many.
    /// Waits for space for one. They become visible together.
    ///
    /// # Errors
    /// As [`Producer::push`]. Nothing was published then. An empty slice is 0 at once.
    pub fn push_slice(&mut self, values: &[T]) -> Result<usize, ChannelError> {
        if values.is_empty() {
            return Ok(0);
        }
        let free = self.end.wait(values.len() as u64, FOREVER)?;
        Ok(self.put_slice(values, free))
    }

    /// Publishes as many of `values`, from the first on, as there is space for, and says how many.
    ///
    /// # Errors
    /// [`ChannelError::Full`] where there is space for none, and as [`Producer::push_slice`].
    pub fn try_push_slice(&mut self, values: &[T]) -> Result<usize, ChannelError> {
        if values.is_empty() {
            return Ok(0);
        }
        let free = self.end.ready(values.len() as u64)?;
        Ok(self.put_slice(values, free))
    }

    /// Publishes all of `values`, in as many steps as the space asks for.
    ///
    /// # Errors
    /// As [`Producer::push`], with how many were published before.
    pub fn push_all(&mut self, values: &[T]) -> Result<(), Partial> {
        let mut done = 0;
        while done < values.len() {
            done += self.push_slice(&values[done..]).map_err(|reason| Partial { done, reason })?;
        }
        Ok(())
    }

    /// How many items can be pushed before the ring is full. The consumer may have made more space
    /// by the time the caller looks at the number.
    pub fn slots(&self) -> usize {
        self.capacity() - self.len()
    }

    #[inline(always)]
    fn slot(&self, slot: u64) -> *mut T {
        // SAFETY: cursors give slots below the capacity, for which `Parts::find` checked the range.
        unsafe { self.end.slots().cast::<T>().add(slot as usize) }
    }

    /// Writes and publishes one value in the first free slot.
    #[inline(always)]
    fn put(&mut self, slot: u64, value: T, registered: bool) {
        // SAFETY: the slot is free: the producer's alone, and aligned for `T`.
        unsafe { self.slot(slot).write(value) };
        let ring = self.end.ring();
        if is_small::<T>() && !ring.is_streaming() {
            let mut copy = [0u64; EXPRESS_WORDS];
            let bytes = bytemuck::bytes_of_mut(&mut copy);
            bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
            self.end.cursor.publish_express(ring, slot, copy);
        } else {
            self.end.cursor.publish(ring, slot, 1);
            if size_of::<T>() <= LINE {
                prefetch::for_write(self.slot(slot).cast::<u8>().wrapping_add(AHEAD));
            }
        }
        WriteCursor::notify(ring, registered);
    }

    fn put_slice(&mut self, values: &[T], free: Span) -> usize {
        let count = values.len().min(free.count as usize);
        let first = free.slot;
        let (values, rest) = values[..count].split_at(count.min(self.capacity() - first as usize));
        if let [value] = values {
            // SAFETY: the slot is free. (A length that the compiler knows: worth a tenth at 1 KiB.)
            unsafe { self.slot(first).copy_from_nonoverlapping(value, 1) };
        } else {
            // SAFETY: the slots from the first on are free and in a row.
            unsafe { self.slot(first).copy_from_nonoverlapping(values.as_ptr(), values.len()) };
        }
        if !rest.is_empty() {
            // SAFETY: as above, from the beginning of the ring.
            unsafe { self.slot(0).copy_from_nonoverlapping(rest.as_ptr(), rest.len()) };
        }
        let ring = self.end.ring();
        self.end.cursor.publish(ring, first, count as u64);
        WriteCursor::notify(ring, self.end.is_registered());
        count
    }
}

impl<T> Producer<T> {
    /// How many items the ring holds at most.
    pub fn capacity(&self) -> usize {
        self.end.ring().capacity as usize
    }

    /// How many items are published and not released. Stale by the time the caller looks at it.
    pub fn len(&self) -> usize {
        self.end.ring().fill() as usize
    }

    /// Whether no item is published and not released. Stale by the time the caller looks at it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is no space. Stale by the time the caller looks at it.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity()
    }

    /// How the last holder of this end had gone when it was taken; `None`: there was none. A child
    /// that the end was handed to is told the same.
    ///
    /// After [`Departure::Died`] and [`Departure::Abandoned`] it was not finished: of items that belong
    /// together it may have published the first alone.
    pub fn predecessor(&self) -> Option<Departure> {
        self.end.predecessor()
    }

    /// How the consumer is, whether or not there is space. Stale by the time the caller looks at it, unless
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
    /// assert!(matches!(producer.peer()?, Peer::Here { .. }));
    /// drop(consumer);
    /// assert_eq!(producer.peer()?, Peer::Gone(Departure::Closed));
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

    /// Leaves without finishing: the consumer gets what was published, and then
    /// [`Departure::Abandoned`].
    pub fn abandon(mut self) {
        self.end.abandon();
    }
}

impl<T: Element + AnyBitPattern> Producer<T> {
    /// Gives up to `wanted` free slots in a row to write into, at least one, waiting for that one.
    ///
    /// The slots hold old values. Nothing is visible to the consumer before [`Grant::commit`]; a
    /// grant that is dropped publishes nothing. Slots in a row end where the ring wraps: users of
    /// one batch size never see a shorter grant if it divides the capacity.
    ///
    /// # Errors
    /// As [`Producer::push`].
    ///
    /// # Panics
    /// If `wanted` is 0.
    ///
    /// # Examples
    /// ```
    /// let (mut producer, mut consumer) = commons::spsc::ring::<[u8; 4096]>(8)?;
    /// let mut grant = producer.reserve(1)?;
    /// grant[0][..5].copy_from_slice(b"hello");
    /// grant.commit(1);
    /// let loan = consumer.peek(1)?;
    /// assert_eq!(&loan[0][..5], b"hello");
    /// loan.release(1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn reserve(&mut self, wanted: usize) -> Result<Grant<'_, T>, ChannelError> {
        assert!(wanted > 0, "a grant of no slots");
        let free = self.end.wait(wanted as u64, FOREVER)?;
        Ok(self.grant(wanted, free))
    }

    /// Gives up to `wanted` free slots in a row to write into, if there is one.
    ///
    /// # Errors
    /// [`ChannelError::Full`], and as [`Producer::push`].
    ///
    /// # Panics
    /// If `wanted` is 0.
    #[inline]
    pub fn try_reserve(&mut self, wanted: usize) -> Result<Grant<'_, T>, ChannelError> {
        assert!(wanted > 0, "a grant of no slots");
        let free = self.end.ready(wanted as u64)?;
        Ok(self.grant(wanted, free))
    }

    /// Gives up to `wanted` free slots in a row to write into, waiting for one until `timeout` has
    /// passed.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Producer::push`].
    ///
    /// # Panics
    /// If `wanted` is 0.
    pub fn reserve_timeout(
        &mut self,
        wanted: usize,
        timeout: Duration,
    ) -> Result<Grant<'_, T>, ChannelError> {
        assert!(wanted > 0, "a grant of no slots");
        let free = self.end.wait(wanted as u64, time::after(timeout))?;
        Ok(self.grant(wanted, free))
    }

    #[inline(always)]
    fn grant(&mut self, wanted: usize, Span { slot, count }: Span) -> Grant<'_, T> {
        let in_a_row = self.capacity() - slot as usize;
        let count = wanted.min(count as usize).min(in_a_row);
        Grant { first: self.slot(slot), slot, count, producer: self, not_send: PhantomData }
    }
}

/// Free slots to write into, in place.
#[derive(Debug)]
#[must_use = "a grant that is dropped publishes nothing"]
pub struct Grant<'a, T: Element> {
    producer: &'a mut Producer<T>,
    first: *mut T,
    slot: u64,
    count: usize,
    not_send: PhantomData<*mut T>,
}

impl<T: Element> Grant<'_, T> {
    /// Publishes the first `count` slots, together.
    ///
    /// # Panics
    /// If `count` is more than were granted.
    #[inline]
    pub fn commit(self, count: usize) {
        assert!(count <= self.count, "{count} slots committed of {} granted", self.count);
        let end = &mut self.producer.end;
        let ring = end.ring();
        end.cursor.publish(ring, self.slot, count as u64);
        WriteCursor::notify(ring, end.is_registered());
    }
}

impl<T: Element> Deref for Grant<'_, T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: `count` slots in a row from `first` on are free: the producer's alone, which this
        // borrows. `reserve` asks for types of which any bytes are a value.
        unsafe { core::slice::from_raw_parts(self.first, self.count) }
    }
}

impl<T: Element> DerefMut for Grant<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as in `deref`.
        unsafe { core::slice::from_raw_parts_mut(self.first, self.count) }
    }
}
