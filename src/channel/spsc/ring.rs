//! Rings that can be found, and the ends of them.

use super::end::End;
use super::parts::{Parts, make};
use super::{Consumer, Element, Producer};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, constructors, travels};
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;

/// Makes a ring for `capacity` values and gives both its ends, one to keep and one to move into a
/// child process or another thread.
///
/// The ring has no name and goes with its ends.
///
/// # Errors
/// [`Error::Zero`], [`Error::TooLarge`], [`Error::NoSpace`].
///
/// # Examples
/// ```
/// let (mut producer, mut consumer) = commons::spsc::ring(2)?;
/// producer.push('a')?;
/// assert_eq!(consumer.pop()?, 'a');
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn ring<T: Element>(capacity: usize) -> Result<(Producer<T>, Consumer<T>)> {
    let ring = Ring::<T>::make(Location::Unnamed, capacity)?;
    Ok((ring.producer()?, ring.consumer()?))
}

/// What a ring of `T` with this capacity is.
pub(super) fn describe<T: Element>(kind: Kind, capacity: usize) -> Result<ObjectInfo> {
    if capacity == 0 {
        return Err(Error::Zero { what: "a capacity" });
    }
    let limit = i64::MAX as u64 / (size_of::<T>() as u64).max(1) / 4;
    if capacity as u64 > limit {
        return Err(Error::TooLarge { what: "a capacity", asked: capacity as u64, limit });
    }
    Ok(ObjectInfo::of::<T>(kind, capacity as u64))
}

/// A ring that processes find by its name, or by its label in a [`Segment`](crate::Segment).
///
/// This is the ring and neither of its ends: take one with [`Ring::producer`] or
/// [`Ring::consumer`]. Cloning gives another handle to the same ring.
///
/// # Examples
/// ```
/// # let name = format!("doc-ring-{}", std::process::id());
/// use commons::spsc::Ring;
///
/// // In one program:
/// let ring = Ring::<u64>::create(&name, 1024)?;
/// let mut producer = ring.producer()?;
/// producer.push(7)?;
///
/// // In another:
/// let mut consumer = Ring::<u64>::open(&name)?.consumer()?;
/// assert_eq!(consumer.pop()?, 7);
///
/// Ring::<u64>::unlink(&name)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Ring<T> {
    attachment: Attachment,
    parts: Parts,
    element: PhantomData<fn(T) -> T>,
}

#[allow(unsafe_code, reason = "a ring is used from any thread")]
mod threads {
    use super::Ring;

    // SAFETY: the pointers lead into memory that the attachment keeps mapped, made of atomics; the
    // element type is never touched through a `Ring`.
    unsafe impl<T> Send for Ring<T> {}
    // SAFETY: as above.
    unsafe impl<T> Sync for Ring<T> {}
}

impl<T: Element> Ring<T> {
    fn over(attachment: Attachment) -> Result<Self> {
        let parts = Parts::find(&attachment, 0)?;
        Ok(Ring { attachment, parts, element: PhantomData })
    }

    fn make(location: Location<'_>, capacity: usize) -> Result<Self> {
        Self::over(make(location, describe::<T>(Kind::Ring, capacity)?)?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::Ring, 0))?)
    }

    constructors!("a ring for `capacity` values", capacity: usize);

    /// Takes the sending end: the first one, or that of a producer that left or died, and goes on
    /// where it stopped. [`Producer::predecessor`] says how that went.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] while a living process has it, this one included;
    /// [`Error::Corrupted`], [`Error::TableFull`]; [`Error::Forked`] where the handle came into this
    /// process by a fork and its ring is gone.
    ///
    /// # Blocking
    /// Where the last holder has just died, until the kernel has freed its memory: milliseconds, or
    /// some hundred of them if it had gigabytes.
    pub fn producer(&self) -> Result<Producer<T>> {
        Ok(Producer::new(End::claim(self.attachment.again()?, self.parts)?))
    }

    /// Takes the receiving end: the first one, or that of a consumer that left or died, and goes on
    /// where it stopped. An item that a dead consumer held in place comes again.
    /// [`Consumer::predecessor`] says how it went.
    ///
    /// # Errors
    /// As [`Ring::producer`].
    ///
    /// # Blocking
    /// As [`Ring::producer`].
    pub fn consumer(&self) -> Result<Consumer<T>> {
        Ok(Consumer::new(End::claim(self.attachment.again()?, self.parts)?))
    }
}

impl<T> Ring<T> {
    /// How many items it holds at most.
    pub fn capacity(&self) -> usize {
        self.attachment.info().capacity as usize
    }

    /// How many items are published and not released. Stale by the time the caller looks at it.
    pub fn len(&self) -> usize {
        self.fill() as usize
    }

    /// Whether no item is published and not released. Stale by the time the caller looks at it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    #[allow(unsafe_code, reason = "refers to the ring in shared memory")]
    fn fill(&self) -> u64 {
        // SAFETY: attached for as long as `self`.
        unsafe { self.parts.ring() }.fill()
    }
}

travels!([T: Element] Ring<T>, Shared, |this| (&this.attachment, 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for Ring<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("name", &self.attachment.name())
            .field("capacity", &self.capacity())
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}

impl<T: Element> Clone for Ring<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its ring was gone.
    fn clone(&self) -> Self {
        let attachment = self.attachment.again().expect("a handle holds its ring");
        Ring { attachment, parts: self.parts, element: PhantomData }
    }
}
