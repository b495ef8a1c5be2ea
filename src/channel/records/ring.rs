//! Rings of records that can be found, and the ends of them.

use super::{Consumer, Producer};
use crate::channel::spsc::end::End;
use crate::channel::spsc::parts::{Parts, make};
use crate::raw::record::{GRAIN, Grain};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, constructors, travels};
use crate::wait::WaitStrategy;
use crate::{Error, Result};
use std::fmt;

/// Grains of the shortest ring, and what longer ones are a multiple of.
pub(in crate::channel) const FEWEST: u64 = 8;

/// Makes a ring of `bytes` bytes for records and gives both its ends, one to keep and one to move into
/// a child process or another thread.
///
/// The size is rounded up to a multiple of 128. The ring has no name and goes with its ends.
///
/// # Errors
/// [`Error::Zero`], [`Error::TooLarge`], [`Error::NoSpace`].
///
/// # Examples
/// ```
/// let (mut producer, mut consumer) = commons::records::ring(1024)?;
/// producer.send(b"first")?;
/// producer.send(b"")?;
/// let mut record = Vec::new();
/// assert_eq!(consumer.recv(&mut record)?, 5);
/// assert_eq!(record, b"first");
/// assert_eq!(consumer.recv(&mut record)?, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ring(bytes: usize) -> Result<(Producer, Consumer)> {
    let ring = Ring::make(Location::Unnamed, bytes)?;
    Ok((ring.producer()?, ring.consumer()?))
}

/// One end of a pair of rings: what one end sends, the other receives.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Duplex {
    /// To the other end.
    pub tx: Producer,
    /// From the other end.
    pub rx: Consumer,
}

impl Duplex {
    /// Sets how blocking operations of this end wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.tx.set_wait_strategy(strategy);
        self.rx.set_wait_strategy(strategy);
    }
}

/// Makes a pair of rings in opposite directions, each of `bytes` bytes for records.
///
/// As [`spsc::duplex`](crate::spsc::duplex): a reply of up to 12 bytes is written into the line that
/// the request has just brought.
///
/// # When a process dies
/// As with two rings: each direction tells for itself that the other end is gone.
///
/// # Errors
/// As [`ring`](ring()).
///
/// # Examples
/// ```
/// let (mut here, mut there) = commons::records::duplex(4096)?;
/// let child = commons::Process::spawn(move || {
///     let mut request = Vec::new();
///     while there.rx.recv(&mut request).is_ok() {
///         request.reverse();
///         if there.tx.send(&request).is_err() {
///             break;
///         }
///     }
/// })?;
/// here.tx.send(b"desserts")?;
/// assert_eq!(*here.rx.peek()?, *b"stressed");
/// drop(here);
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex(bytes: usize) -> Result<(Duplex, Duplex)> {
    let attachment = make(Location::Unnamed, describe(Kind::RecordDuplex, bytes)?)?;
    let (there, back) = (ends(&attachment, 0)?, ends(&attachment, 1)?);
    Ok((Duplex { tx: there.0, rx: back.1 }, Duplex { tx: back.0, rx: there.1 }))
}

fn ends(attachment: &Attachment, which: usize) -> Result<(Producer, Consumer)> {
    let parts = Parts::find(attachment, which)?;
    let producer = Producer::new(End::claim(attachment.again()?, parts)?);
    Ok((producer, Consumer::new(End::claim(attachment.again()?, parts)?)))
}

/// What rings of records of so many bytes are.
pub(in crate::channel) fn describe(kind: Kind, bytes: usize) -> Result<ObjectInfo> {
    if bytes == 0 {
        return Err(Error::Zero { what: "a capacity" });
    }
    let limit = i64::MAX as u64 / 4;
    if bytes as u64 > limit {
        return Err(Error::TooLarge { what: "a capacity", asked: bytes as u64, limit });
    }
    let grains = bytes.div_ceil(GRAIN) as u64;
    Ok(ObjectInfo::of::<Grain>(kind, grains.next_multiple_of(FEWEST)))
}

/// A ring of records that processes find by its name, or by its label in a
/// [`Segment`](crate::Segment).
///
/// This is the ring and neither of its ends: take one with [`Ring::producer`] or [`Ring::consumer`].
/// Cloning gives another handle to the same ring.
///
/// # Examples
/// ```
/// # let name = format!("doc-records-{}", std::process::id());
/// use commons::records::Ring;
///
/// // In one program:
/// let mut producer = Ring::create(&name, 4096)?.producer()?;
/// producer.send(b"hello")?;
///
/// // In another:
/// let mut consumer = Ring::open(&name)?.consumer()?;
/// assert_eq!(*consumer.peek()?, *b"hello");
///
/// Ring::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ring {
    attachment: Attachment,
    parts: Parts,
}

#[allow(unsafe_code, reason = "a ring is used from any thread")]
mod threads {
    use super::Ring;

    // SAFETY: the pointers lead into memory that the attachment keeps mapped, made of atomics; grains
    // are never touched through a `Ring`.
    unsafe impl Send for Ring {}
    // SAFETY: as above.
    unsafe impl Sync for Ring {}
}

impl Ring {
    fn over(attachment: Attachment) -> Result<Self> {
        let parts = Parts::find(&attachment, 0)?;
        if attachment.info().capacity < FEWEST {
            return Err(attachment.core().mapping().corrupted("a ring of records is too short"));
        }
        Ok(Ring { attachment, parts })
    }

    fn make(location: Location<'_>, bytes: usize) -> Result<Self> {
        Self::over(make(location, describe(Kind::Records, bytes)?)?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<Grain>(Kind::Records, 0))?)
    }

    constructors!("a ring of `bytes` bytes for records", bytes: usize);

    /// Takes the sending end: the first one, or that of a producer that left or died, and goes on
    /// where it stopped. [`Producer::predecessor`] says how that went. What a dead one had sent of a
    /// long record is discarded.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] while a living process has it, this one included;
    /// [`Error::Corrupted`], [`Error::TableFull`]; [`Error::Forked`] where the handle came into this
    /// process by a fork and its ring is gone.
    ///
    /// # Blocking
    /// Where the last holder has just died, until the kernel has freed its memory: milliseconds, or
    /// some hundred of them if it had gigabytes.
    pub fn producer(&self) -> Result<Producer> {
        Ok(Producer::new(End::claim(self.attachment.again()?, self.parts)?))
    }

    /// Takes the receiving end: the first one, or that of a consumer that left or died, and goes on
    /// where it stopped. A record that a dead consumer held in place comes again; a long one that it
    /// had begun to receive does not.
    ///
    /// # Errors
    /// As [`Ring::producer`].
    ///
    /// # Blocking
    /// As [`Ring::producer`].
    pub fn consumer(&self) -> Result<Consumer> {
        Ok(Consumer::new(End::claim(self.attachment.again()?, self.parts)?))
    }

    /// Bytes of the ring.
    pub fn capacity(&self) -> usize {
        self.attachment.info().capacity as usize * GRAIN
    }

    /// Bytes of the ring that are taken by what is published and not released, headers included.
    /// Stale by the time the caller looks at it.
    pub fn used(&self) -> usize {
        self.fill() as usize * GRAIN
    }

    /// Whether nothing is published and not released. Stale by the time the caller looks at it.
    pub fn is_empty(&self) -> bool {
        self.fill() == 0
    }

    #[allow(unsafe_code, reason = "refers to the ring in shared memory")]
    fn fill(&self) -> u64 {
        // SAFETY: attached for as long as `self`.
        unsafe { self.parts.ring() }.fill()
    }
}

travels!([] Ring, Shared, |this| (&this.attachment, 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.attachment.name())
            .field("capacity", &self.capacity())
            .field("used", &self.used())
            .finish_non_exhaustive()
    }
}

impl Clone for Ring {
    /// # Panics
    /// In a forked process that inherited the handle after its ring was gone.
    fn clone(&self) -> Self {
        let attachment = self.attachment.again().expect("a handle holds its ring");
        Ring { attachment, parts: self.parts }
    }
}
