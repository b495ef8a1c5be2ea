//! Pipes that can be found.

use super::{Connection, Reader, Writer};
use crate::Result;
use crate::channel::records::{self, Consumer, FEWEST, Producer};
use crate::channel::spsc::end::End;
use crate::channel::spsc::parts::{Parts, make};
use crate::raw::record::Grain;
use crate::segment::{Attachment, Kind, Location, ObjectInfo, constructors, travels};
use std::fmt;
use std::marker::PhantomData;

/// A pipe that processes find by its name, or by its label in a [`Segment`](crate::Segment).
///
/// This is the pipe and neither of its ends: one process takes the [`first`](Pipe::first), another the
/// [`second`](Pipe::second), whoever made it. Cloning gives another handle to the same pipe.
///
/// # Examples
/// ```
/// # #[cfg(feature = "serde")] {
/// # let name = format!("doc-pipe-{}", std::process::id());
/// use commons::pipe::Pipe;
///
/// // In one program:
/// let mut server = Pipe::<String>::create(&name, 4096)?.first()?;
///
/// // In another:
/// let mut client = Pipe::<String>::open(&name)?.second()?;
/// client.send(&"hello".to_owned())?;
///
/// assert_eq!(server.recv()?, "hello");
/// Pipe::<String>::unlink(&name)?;
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pipe<T = ()> {
    attachment: Attachment,
    object: PhantomData<fn(T) -> T>,
}

/// What a pipe of `T` is.
pub(super) fn describe<T>() -> ObjectInfo {
    ObjectInfo::of::<Grain>(Kind::Pipe, 0).carrying::<T>()
}

/// What an object of this kind is that has ends of a pipe of `T`, if it can have any.
#[cfg(feature = "serde")]
pub(super) fn carrier<T>(kind: Kind) -> Option<ObjectInfo> {
    match kind {
        Kind::Pipe => Some(describe::<T>()),
        // One-way.
        Kind::Records => Some(ObjectInfo::of::<Grain>(kind, 0)),
        _ => None,
    }
}

impl<T> Pipe<T> {
    fn over(attachment: Attachment) -> Result<Self> {
        if attachment.info().capacity < FEWEST {
            return Err(attachment.core().mapping().corrupted("a pipe is too short"));
        }
        for which in 0..2 {
            Parts::find(&attachment, which)?;
        }
        Ok(Pipe { attachment, object: PhantomData })
    }

    pub(super) fn make(location: Location<'_>, bytes: usize) -> Result<Self> {
        Self::over(make(location, records::describe(Kind::Pipe, bytes)?.carrying::<T>())?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(describe::<T>())?)
    }

    constructors!("a pipe with room for `bytes` each way", bytes: usize);

    /// Takes the first end: that of nobody, or of one that left or died.
    ///
    /// # Errors
    /// [`Error::RoleTaken`](crate::Error::RoleTaken) while a living process has it, this one included;
    /// [`Error::Corrupted`](crate::Error::Corrupted), [`Error::TableFull`](crate::Error::TableFull);
    /// [`Error::Forked`](crate::Error::Forked) where the handle came into this process by a fork and its
    /// pipe is gone.
    ///
    /// # Blocking
    /// Where the last holder has just died, until the kernel has freed its memory: milliseconds, or some
    /// hundred of them if it had gigabytes.
    pub fn first(&self) -> Result<Connection<T>> {
        self.end(0)
    }

    /// Takes the second end. As [`Pipe::first`].
    ///
    /// # Errors
    /// As [`Pipe::first`].
    ///
    /// # Blocking
    /// As [`Pipe::first`].
    pub fn second(&self) -> Result<Connection<T>> {
        self.end(1)
    }

    fn end(&self, which: usize) -> Result<Connection<T>> {
        let (out, back) = (self.parts(which)?, self.parts(1 - which)?);
        let writer = Producer::new(End::claim(self.attachment.again()?, out)?);
        let reader = Consumer::new(End::claim(self.attachment.again()?, back)?);
        Ok(Connection::new(Writer::new(writer), Reader::new(reader)))
    }

    fn parts(&self, which: usize) -> Result<Parts> {
        Parts::find(&self.attachment, which)
    }
}

travels!([T] Pipe<T>, Shared, |this| (&this.attachment, 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for Pipe<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("name", &self.attachment.name()).finish_non_exhaustive()
    }
}

impl<T> Clone for Pipe<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its pipe was gone.
    fn clone(&self) -> Self {
        let attachment = self.attachment.again().expect("a handle holds its pipe");
        Pipe { attachment, object: PhantomData }
    }
}
