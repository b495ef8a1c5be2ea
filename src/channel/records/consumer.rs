//! The end that receives.

#![allow(unsafe_code, reason = "reads grains in shared memory")]

use super::both_ends;
use crate::channel::spsc::end::{End, FOREVER, NOW};
use crate::channel::spsc::source::{Wanted, source};
use crate::channel::{ChannelError, Departure};
use crate::raw::record::{Found, GRAIN, Grain, Header, Kind, Nonsense, find};
use crate::raw::ring::{ReadCursor, Span};
use crate::sys::time;
use crate::wait::{ReadSource, Source};
use std::marker::PhantomData;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// The most that is set aside for a long record before it has come.
const SET_ASIDE: u64 = 64 << 20;

/// The receiving end of a ring of records.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to
/// hand it to a child; a copy that came into a process any other way answers
/// [`ChannelError::Forked`].
///
/// Dropping it tells the producer, as soon as that finds the ring full or asks, that nobody receives.
/// What was published and not received stays in the ring for a successor.
#[derive(Debug)]
pub struct Consumer {
    pub(super) end: End<ReadCursor>,
    long: Long,
    /// What has come of a long record.
    pieces: Vec<u8>,
    discarded: u64,
}

both_ends!(Consumer, "producer");

/// How far a long record has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Long {
    /// There is none.
    None,
    /// Its first bytes are there.
    Begun,
    /// Its first bytes are missing: the rest is of no use.
    Beheaded,
    /// All of it is there, not yet received.
    Complete,
}

/// A record that was found.
enum Record {
    /// A copy of a small one.
    Small(Grain, usize),
    /// One in the ring: its first byte and its length.
    InPlace(*const u8, usize),
    /// What was put together.
    Long,
}

#[cold]
fn nonsense() -> ChannelError {
    ChannelError::Corrupted("what should be the header of a record is none")
}

impl Consumer {
    pub(in crate::channel) fn new(end: End<ReadCursor>) -> Self {
        Consumer { end, long: Long::None, pieces: Vec::new(), discarded: 0 }
    }

    /// Whether all that it has received of a record is in the ring.
    #[cfg(feature = "serde")]
    fn whole(&self) -> Result<(), &'static str> {
        match self.long {
            Long::None => Ok(()),
            _ => Err("a consumer in the middle of a long record: receive it first"),
        }
    }

    /// Receives the oldest record, waiting for one, and says how many bytes it has. They replace
    /// what `record` had.
    ///
    /// # Errors
    /// [`ChannelError::Disconnected`] where there is none and the producer is gone;
    /// [`ChannelError::Forked`]; [`ChannelError::Corrupted`] where the ring contradicts itself.
    /// `record` is left as it was.
    ///
    /// # Blocking
    /// Until there is a record, and a long one complete, as the
    /// [`WaitStrategy`](crate::WaitStrategy) says. Ends at once when the producer dies; a producer
    /// that has not come yet is waited for.
    #[inline]
    pub fn recv(&mut self, record: &mut Vec<u8>) -> Result<usize, ChannelError> {
        self.recv_until(record, FOREVER)
    }

    /// Receives the oldest record if it is there.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Consumer::recv`]. What has come of a long record is kept for
    /// the next call.
    #[inline]
    pub fn try_recv(&mut self, record: &mut Vec<u8>) -> Result<usize, ChannelError> {
        self.recv_until(record, NOW)
    }

    /// Receives the oldest record, waiting for it until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Consumer::recv`]. What has come of a long record is kept
    /// for the next call.
    pub fn recv_timeout(
        &mut self,
        record: &mut Vec<u8>,
        timeout: Duration,
    ) -> Result<usize, ChannelError> {
        self.recv_until(record, time::after(timeout))
    }

    /// Receives the oldest record, waiting for it until `deadline`.
    ///
    /// # Errors
    /// As [`Consumer::recv_timeout`].
    pub fn recv_deadline(
        &mut self,
        record: &mut Vec<u8>,
        deadline: Instant,
    ) -> Result<usize, ChannelError> {
        self.recv_until(record, time::at(deadline))
    }

    /// Lends the oldest record in place, waiting for one. A long one is lent from the consumer's own
    /// memory.
    ///
    /// It stays in the ring until [`Loan::release`]; a loan that is dropped releases nothing, and the
    /// record comes again.
    ///
    /// # Errors
    /// As [`Consumer::recv`].
    ///
    /// # Blocking
    /// As [`Consumer::recv`].
    #[inline]
    pub fn peek(&mut self) -> Result<Loan<'_>, ChannelError> {
        self.peek_until(FOREVER)
    }

    /// Lends the oldest record in place, if it is there.
    ///
    /// # Errors
    /// As [`Consumer::try_recv`].
    #[inline]
    pub fn try_peek(&mut self) -> Result<Loan<'_>, ChannelError> {
        self.peek_until(NOW)
    }

    /// Lends the oldest record in place, waiting for it until `timeout` has passed.
    ///
    /// # Errors
    /// As [`Consumer::recv_timeout`].
    pub fn peek_timeout(&mut self, timeout: Duration) -> Result<Loan<'_>, ChannelError> {
        self.peek_until(time::after(timeout))
    }

    /// Lends the oldest record in place, waiting for it until `deadline`.
    ///
    /// # Errors
    /// As [`Consumer::recv_timeout`].
    pub fn peek_deadline(&mut self, deadline: Instant) -> Result<Loan<'_>, ChannelError> {
        self.peek_until(time::at(deadline))
    }

    /// The records from the oldest on, until the producer is gone, waiting for each. What ends it is
    /// not told; use [`Consumer::recv`] to know.
    pub fn iter(&mut self) -> impl Iterator<Item = Vec<u8>> + '_ {
        std::iter::from_fn(|| {
            let mut record = Vec::new();
            self.recv(&mut record).ok().map(|_| record)
        })
    }

    /// How many long records this end has discarded because they were left unfinished: by a producer
    /// that died, gave up or ran out of time in the middle, or by the consumer before this one.
    pub fn discarded(&self) -> u64 {
        self.discarded
    }

    /// How the producer went, if it is known to have gone: a few loads where it is not.
    pub(in crate::channel) fn departed(&mut self) -> Result<Option<Departure>, ChannelError> {
        Ok(self.end.departed()?)
    }

    #[inline(always)]
    pub(in crate::channel) fn recv_until(
        &mut self,
        record: &mut Vec<u8>,
        deadline: u64,
    ) -> Result<usize, ChannelError> {
        let (found, taken) = self.next(deadline)?;
        match found {
            Record::Small(grain, length) => {
                record.clear();
                record.extend_from_slice(grain.bytes(length));
            }
            Record::InPlace(first, length) => {
                record.clear();
                // SAFETY: so many bytes from `first` on are published: the consumer's alone.
                record.extend_from_slice(unsafe { core::slice::from_raw_parts(first, length) });
            }
            Record::Long => core::mem::swap(record, &mut self.pieces),
        }
        self.finish(taken);
        Ok(record.len())
    }

    #[inline(always)]
    pub(in crate::channel) fn peek_until(
        &mut self,
        deadline: u64,
    ) -> Result<Loan<'_>, ChannelError> {
        let (record, taken) = self.next(deadline)?;
        Ok(Loan { consumer: self, record, taken, not_send: PhantomData })
    }

    /// Finds the oldest record, waiting for it, and how many grains it takes.
    #[inline(always)]
    fn next(&mut self, deadline: u64) -> Result<(Record, u64), ChannelError> {
        if self.long == Long::None {
            let slot = match deadline {
                NOW => self.end.ready_one()?,
                _ => self.end.wait_one(deadline)?,
            };
            let ring = self.end.ring();
            if let Some(copy) = self.end.cursor.express(ring) {
                let grain = Grain::of_words(copy);
                if let Some(Header { kind: Kind::Small, length, .. }) = grain.read() {
                    return Ok((Record::Small(grain, length), 1));
                }
            }
            let found = self.find(slot)?;
            match found.header {
                Header { kind: Kind::Small, length, .. } => {
                    return Ok((Record::Small(self.read(found.slot), length), found.grains));
                }
                Header { kind: Kind::Whole, length, .. } => {
                    return Ok((Record::InPlace(self.behind(found.slot), length), found.grains));
                }
                _ => {}
            }
        }
        self.next_of_pieces(deadline)
    }

    /// The same where there are, or may be, pieces of long records.
    #[cold]
    #[inline(never)]
    fn next_of_pieces(&mut self, deadline: u64) -> Result<(Record, u64), ChannelError> {
        if self.long == Long::Complete {
            // It is this process's only if the end is.
            self.end.look(1)?;
        }
        while self.long != Long::Complete {
            let slot = match deadline {
                NOW => self.end.ready_one(),
                _ => self.end.wait_one(deadline),
            };
            if let Err(ChannelError::Disconnected(_)) = slot {
                // What is missing does not come any more, unless from a producer that begins anew.
                self.discard();
            }
            let found = self.find(slot?)?;
            let Header { kind, length, extent } = found.header;
            match kind {
                Kind::Small | Kind::Whole => {
                    self.discard();
                    let record = match kind {
                        Kind::Small => Record::Small(self.read(found.slot), length),
                        _ => Record::InPlace(self.behind(found.slot), length),
                    };
                    return Ok((record, found.grains));
                }
                Kind::First => {
                    self.discard();
                    // No more than a hint: what is not there yet may never come.
                    let _ = self.pieces.try_reserve(extent.min(SET_ASIDE) as usize);
                    self.long = Long::Begun;
                }
                Kind::Next | Kind::Last if self.long == Long::None => {
                    self.discarded += 1;
                    self.long = Long::Beheaded;
                }
                Kind::Next | Kind::Last | Kind::Pad => {}
            }
            let sound = self.long == Long::Beheaded
                || kind == Kind::First
                || extent == self.pieces.len() as u64;
            if self.long == Long::Begun && sound {
                // SAFETY: so many bytes behind the header are published: the consumer's alone.
                let piece = unsafe { core::slice::from_raw_parts(self.behind(found.slot), length) };
                self.pieces.extend_from_slice(piece);
            }
            self.release(found.grains);
            self.long = match (kind, self.long) {
                _ if !sound => Long::None,
                (Kind::Last, Long::Begun) => Long::Complete,
                (Kind::Last, _) => Long::None,
                (_, long) => long,
            };
            if !sound {
                self.pieces.clear();
                return Err(ChannelError::Corrupted("a piece of a long record is not its next"));
            }
        }
        Ok((Record::Long, 0))
    }

    /// Waits until something has come that was not received, without receiving it.
    pub(in crate::channel) fn poll_until(&mut self, deadline: u64) -> Result<(), ChannelError> {
        if self.long == Long::Complete {
            return Ok(());
        }
        self.end.obtain(1, deadline).map(drop)
    }

    /// Receives the oldest record, waiting for it, into the beginning of `buffer` and gives its length; if
    /// it has no room there, in a vector.
    #[inline]
    pub(in crate::channel) fn recv_into(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<Result<usize, Vec<u8>>, ChannelError> {
        let (record, taken) = self.next(FOREVER)?;
        if let Record::Small(grain, length) = record
            && let Some(buffer) = buffer.get_mut(..length)
        {
            self.finish(taken);
            grain.copy_to(buffer);
            return Ok(Ok(length));
        }
        let loan = Loan { consumer: self, record, taken, not_send: PhantomData };
        let received = match buffer.get_mut(..loan.len()) {
            Some(buffer) => {
                buffer.copy_from_slice(&loan);
                Ok(buffer.len())
            }
            None => Err(loan.to_vec()),
        };
        loan.release();
        Ok(received)
    }

    /// Gives up what has come of a long record.
    fn discard(&mut self) {
        if self.long == Long::Begun {
            self.discarded += 1;
        }
        self.long = Long::None;
        self.pieces.clear();
    }

    /// What lies at `slot`, the oldest.
    #[inline(always)]
    fn find(&mut self, slot: u64) -> Result<Found, ChannelError> {
        let Span { count, .. } = self.end.look(1)?;
        let capacity = self.end.ring().capacity;
        find(Span { slot, count }, capacity, |slot| self.read(slot)).map_err(|Nonsense| nonsense())
    }

    /// A grain that was published.
    #[inline(always)]
    fn read(&self, slot: u64) -> Grain {
        // SAFETY: cursors give slots below the capacity, for which `Parts::find` checked the range.
        let grain = unsafe { self.end.slots().cast::<Grain>().add(slot as usize) };
        // SAFETY: published: the consumer's alone. Any bytes are a grain.
        unsafe { grain.read() }
    }

    /// Where bytes behind the header in `slot` are.
    #[inline(always)]
    fn behind(&self, slot: u64) -> *const u8 {
        self.end.slots().wrapping_add((slot as usize + 1) * GRAIN)
    }

    /// Gives grains back to the producer.
    #[inline(always)]
    fn release(&mut self, grains: u64) {
        let ring = self.end.ring();
        self.end.took(grains);
        self.end.cursor.release(ring, grains);
        ReadCursor::notify(ring, self.end.is_registered());
    }

    /// Is done with a record that took so many grains, or with a long one.
    #[inline(always)]
    fn finish(&mut self, taken: u64) {
        if taken > 0 {
            self.release(taken);
        } else {
            self.long = Long::None;
            self.pieces.clear();
        }
    }
}

impl ReadSource for Consumer {
    fn read_source(&self) -> crate::Result<Box<dyn Source>> {
        source(&self.end, &Wanted::default())
    }
}

/// A record, in place.
#[must_use = "a loan that is dropped releases nothing"]
pub struct Loan<'a> {
    consumer: &'a mut Consumer,
    record: Record,
    taken: u64,
    not_send: PhantomData<*const u8>,
}

impl Loan<'_> {
    /// Is done with the record: gives its room back to the producer.
    #[inline]
    pub fn release(self) {
        self.consumer.finish(self.taken);
    }
}

impl Deref for Loan<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.record {
            Record::Small(grain, length) => grain.bytes(*length),
            // SAFETY: so many bytes from `first` on are published: the consumer's alone, which this
            // borrows.
            Record::InPlace(first, length) => unsafe {
                core::slice::from_raw_parts(*first, *length)
            },
            Record::Long => &self.consumer.pieces,
        }
    }
}

impl std::fmt::Debug for Loan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loan").field("length", &self.len()).finish_non_exhaustive()
    }
}
