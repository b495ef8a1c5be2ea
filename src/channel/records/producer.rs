//! The end that sends.

#![allow(unsafe_code, reason = "writes grains in shared memory")]

use super::{both_ends, longest_in_place, longest_row};
use crate::channel::spsc::end::{End, FOREVER, NOW};
use crate::channel::spsc::source::{Wanted, source};
use crate::channel::{ChannelError, Departure};
use crate::raw::record::{GRAIN, Grain, Kind, LONGEST_PIECE, SMALL, Spot, grains, spot};
use crate::raw::ring::WriteCursor;
use crate::sys::time;
use crate::wait::{Source, WriteSource};
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// The sending end of a ring of records.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to
/// hand it to a child; a copy that came into a process any other way answers
/// [`ChannelError::Forked`].
///
/// Dropping it closes the ring in order: the consumer gets what was published and then
/// [`Departure::Closed`](crate::Departure). Dropped by a panic, or through [`Producer::abandon`], it
/// says that more was to come.
#[derive(Debug)]
pub struct Producer {
    pub(super) end: End<WriteCursor>,
    wanted: Wanted,
}

both_ends!(Producer, "consumer");

impl Producer {
    pub(in crate::channel) fn new(end: End<WriteCursor>) -> Self {
        Producer { end, wanted: Wanted::default() }
    }

    /// A producer keeps nothing to itself.
    #[cfg(feature = "serde")]
    fn whole(&self) -> Result<(), &'static str> {
        Ok(())
    }

    /// Sends a record, waiting for space.
    ///
    /// # Errors
    /// [`ChannelError::Disconnected`] where there is no space and the consumer is gone;
    /// [`ChannelError::Forked`], [`ChannelError::Corrupted`]. Nothing of the record is received then.
    ///
    /// # Blocking
    /// While the ring has no room for the record, as the [`WaitStrategy`](crate::WaitStrategy) says;
    /// with a long one, until the consumer has received all but the end of it. Ends at once when the
    /// consumer dies; a consumer that has not come yet is waited for.
    #[inline]
    pub fn send(&mut self, record: &[u8]) -> Result<(), ChannelError> {
        self.send_until(record, FOREVER)
    }

    /// Sends a record if there is space for all of it.
    ///
    /// # Errors
    /// [`ChannelError::Full`]; [`ChannelError::TooLarge`] where it does not fit into the empty ring;
    /// otherwise as [`Producer::send`].
    #[inline]
    pub fn try_send(&mut self, record: &[u8]) -> Result<(), ChannelError> {
        self.send_until(record, NOW)
    }

    /// Sends a record, waiting for space until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Producer::send`]. Of a long record, the consumer discards
    /// what it had received until then.
    pub fn send_timeout(&mut self, record: &[u8], timeout: Duration) -> Result<(), ChannelError> {
        self.send_until(record, time::after(timeout))
    }

    /// Sends a record, waiting for space until `deadline`.
    ///
    /// # Errors
    /// As [`Producer::send_timeout`].
    pub fn send_deadline(&mut self, record: &[u8], deadline: Instant) -> Result<(), ChannelError> {
        self.send_until(record, time::at(deadline))
    }

    /// Gives room for a record of up to `length` bytes to write it in place, waiting for it.
    ///
    /// The room holds old bytes, and begins at a multiple of 16. Nothing is visible to the consumer
    /// before [`Grant::commit`]; a grant that is dropped publishes nothing.
    ///
    /// # Errors
    /// [`ChannelError::TooLarge`] beyond [`Producer::longest_in_place`]; otherwise as
    /// [`Producer::send`].
    ///
    /// # Examples
    /// ```
    /// let (mut producer, mut consumer) = commons::records::ring(1024)?;
    /// let mut grant = producer.reserve(100)?;
    /// grant[..5].copy_from_slice(b"hello");
    /// grant.commit(5);
    /// let record = consumer.peek()?;
    /// assert_eq!(*record, *b"hello");
    /// record.release();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline(always)]
    pub fn reserve(&mut self, length: usize) -> Result<Grant<'_>, ChannelError> {
        self.reserve_until(length, FOREVER)
    }

    /// Gives room for a record of up to `length` bytes, if there is some.
    ///
    /// # Errors
    /// [`ChannelError::Full`], and as [`Producer::reserve`].
    #[inline(always)]
    pub fn try_reserve(&mut self, length: usize) -> Result<Grant<'_>, ChannelError> {
        self.reserve_until(length, NOW)
    }

    /// Gives room for a record of up to `length` bytes, waiting for it until `timeout` has passed.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Producer::reserve`].
    pub fn reserve_timeout(
        &mut self,
        length: usize,
        timeout: Duration,
    ) -> Result<Grant<'_>, ChannelError> {
        self.reserve_until(length, time::after(timeout))
    }

    /// As [`Producer::reserve_timeout`], until `deadline`.
    ///
    /// # Errors
    /// As [`Producer::reserve_timeout`].
    pub fn reserve_deadline(
        &mut self,
        length: usize,
        deadline: Instant,
    ) -> Result<Grant<'_>, ChannelError> {
        self.reserve_until(length, time::at(deadline))
    }

    #[inline(always)]
    pub(in crate::channel) fn send_until(
        &mut self,
        record: &[u8],
        deadline: u64,
    ) -> Result<(), ChannelError> {
        if record.len() <= SMALL {
            let slot = match deadline {
                NOW => self.end.ready_one().inspect_err(|_| self.wanted.set(1))?,
                _ => self.end.wait_one(deadline)?,
            };
            self.put_small(slot, record);
            return Ok(());
        }
        let needed = grains(record.len() as u64);
        if needed > longest_row(self.end.ring().capacity) {
            return self.send_long(record, deadline);
        }
        let spot = self.room(needed, deadline)?;
        self.put(spot, Kind::Whole, record, 0);
        Ok(())
    }

    // In registers: a grant that lies on the stack is stores that wait behind those to the ring.
    #[inline(always)]
    fn reserve_until(&mut self, length: usize, deadline: u64) -> Result<Grant<'_>, ChannelError> {
        let capacity = self.end.ring().capacity;
        let needed = grains(length as u64);
        if needed > longest_row(capacity) {
            let limit = longest_in_place(capacity) as u64;
            return Err(ChannelError::TooLarge { bytes: length as u64, limit });
        }
        let spot = self.room(needed, deadline)?;
        let first = self.behind(spot.slot);
        Ok(Grant { producer: self, spot, first, length, not_send: PhantomData })
    }

    /// How the consumer went, if it is known to have gone: a few loads where it is not.
    #[inline]
    pub(in crate::channel) fn departed(&mut self) -> Result<Option<Departure>, ChannelError> {
        Ok(self.end.departed()?)
    }

    /// Waits for room for so many grains in a row, at most [`longest_row`].
    #[inline(always)]
    fn room(&mut self, needed: u64, deadline: u64) -> Result<Spot, ChannelError> {
        let free = self.end.look(needed)?;
        let spot = spot(free.slot, self.end.ring().capacity, needed);
        let all = spot.pad + needed;
        if free.count < all {
            self.wanted.set(all);
            self.end.obtain(all, deadline)?;
        }
        Ok(spot)
    }

    #[inline(always)]
    fn grain(&self, slot: u64) -> *mut Grain {
        // SAFETY: cursors give slots below the capacity, for which `Parts::find` checked the range.
        unsafe { self.end.slots().cast::<Grain>().add(slot as usize) }
    }

    /// Where bytes behind the header in `slot` are.
    #[inline(always)]
    fn behind(&self, slot: u64) -> *mut u8 {
        self.grain(slot).cast::<u8>().wrapping_add(GRAIN)
    }

    /// Publishes a small record in the first free grain.
    #[inline(always)]
    fn put_small(&mut self, slot: u64, record: &[u8]) {
        let grain = Grain::small(record);
        // SAFETY: the grain is free: the producer's alone.
        unsafe { self.grain(slot).write(grain) };
        let ring = self.end.ring();
        if ring.is_streaming() {
            self.end.cursor.publish(ring, slot, 1);
        } else {
            self.end.cursor.publish_express(ring, slot, grain.words());
        }
        WriteCursor::notify(ring, self.end.is_registered());
    }

    /// Writes a piece and its header, and publishes them.
    #[inline(always)]
    fn put(&mut self, spot: Spot, kind: Kind, piece: &[u8], extent: u64) {
        let to = self.behind(spot.slot);
        // SAFETY: the grains behind the header are free, in a row, and have room for the piece.
        unsafe { to.copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
        self.publish(spot, kind, piece.len(), extent);
    }

    /// Publishes what was written behind the header of a spot.
    #[inline(always)]
    fn publish(&mut self, spot: Spot, kind: Kind, length: usize, extent: u64) {
        let ring = self.end.ring();
        let mut first = spot.slot;
        if spot.pad > 0 {
            first = ring.capacity - spot.pad;
            // SAFETY: the grain is free: the producer's alone.
            unsafe { self.grain(first).write(Grain::header(Kind::Pad, 0, 0)) };
        }
        // SAFETY: as above.
        unsafe { self.grain(spot.slot).write(Grain::header(kind, length, extent)) };
        self.end.cursor.publish(ring, first, spot.pad + grains(length as u64));
        WriteCursor::notify(ring, self.end.is_registered());
    }

    /// Sends a record in pieces, of which each waits for its room.
    #[cold]
    fn send_long(&mut self, record: &[u8], deadline: u64) -> Result<(), ChannelError> {
        let (bytes, capacity) = (record.len() as u64, self.end.ring().capacity);
        if deadline == NOW {
            // One more header at the end of the lap, and one for each longest piece.
            let headers = 1 + bytes / LONGEST_PIECE;
            let all = grains(bytes) + headers;
            if all > capacity {
                let limit = capacity.saturating_sub(1 + headers) * GRAIN as u64;
                return Err(ChannelError::TooLarge { bytes, limit });
            }
            self.wanted.set(all);
            self.end.obtain(all, NOW)?;
        }
        let (mut sent, mut begun) = (0, false);
        loop {
            let in_a_row = capacity - self.end.look(1)?.slot;
            let rest = grains((record.len() - sent) as u64);
            let most = rest.min(in_a_row).min(grains(LONGEST_PIECE));
            // Not every few bytes that the consumer releases: it would be woken for each.
            let free = self.end.obtain(most.min(capacity / 4), deadline)?;
            let room = (most.min(free.count) as usize - 1) * GRAIN;
            let piece = &record[sent..][..room.min(record.len() - sent)];
            let ends = sent + piece.len() == record.len();
            let (kind, extent) = match (begun, ends) {
                (false, true) => (Kind::Whole, 0),
                (false, false) => (Kind::First, bytes),
                (true, false) => (Kind::Next, sent as u64),
                (true, true) => (Kind::Last, sent as u64),
            };
            self.put(Spot { pad: 0, slot: free.slot }, kind, piece, extent);
            if ends {
                return Ok(());
            }
            (sent, begun) = (sent + piece.len(), true);
        }
    }
}

impl WriteSource for Producer {
    fn write_source(&self) -> crate::Result<Box<dyn Source>> {
        source(&self.end, &self.wanted)
    }
}

/// Room for a record, to write into in place.
#[derive(Debug)]
#[must_use = "a grant that is dropped publishes nothing"]
pub struct Grant<'a> {
    producer: &'a mut Producer,
    spot: Spot,
    first: *mut u8,
    length: usize,
    not_send: PhantomData<*mut u8>,
}

impl Grant<'_> {
    /// Publishes the first `length` bytes as a record.
    ///
    /// # Panics
    /// If `length` is more than there is room for.
    #[inline(always)]
    pub fn commit(self, length: usize) {
        assert!(length <= self.length, "{length} bytes committed of {} granted", self.length);
        self.producer.publish(self.spot, Kind::Whole, length, 0);
    }
}

impl Deref for Grant<'_> {
    type Target = [u8];

    #[inline(always)]
    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes in a row from `first` on are free: the producer's alone, which this
        // borrows.
        unsafe { core::slice::from_raw_parts(self.first, self.length) }
    }
}

impl DerefMut for Grant<'_> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `deref`.
        unsafe { core::slice::from_raw_parts_mut(self.first, self.length) }
    }
}
