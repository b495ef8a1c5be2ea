//! Segments: memory that several processes map, and the objects in it.
//!
//! A segment is named, in `/dev/shm`, or it has no name and is inherited by children. It begins with
//! a header, says who takes part in it, and holds objects, each of which knows its kind, type and
//! size, so that no process takes one for what it is not.

#[cfg(feature = "shared_memory")]
mod adopt;
mod arena;
mod attachment;
mod block;
mod constructors;
mod core;
mod element;
#[cfg(feature = "serde")]
mod handed;
mod header;
mod heap;
mod held;
mod location;
mod mapping;
mod name;
mod object;
mod transfer;

pub(crate) use arena::any_chunk;
use arena::make_in_arena;
pub(crate) use attachment::Attachment;
pub(crate) use block::{Block, Place};
pub(crate) use constructors::{constructors, travels};
pub(crate) use core::Core;
#[cfg(feature = "serde")]
pub(crate) use handed::{
    Outgoing, Promises, Sharing, Ticket, Used, collect, collect_with, forget_rest, give, noted,
    problem, receive, unpack,
};
pub(crate) use header::{Geometry, Header};
pub(crate) use heap::{block_at, for_each_block};
pub(crate) use held::Held;
pub(crate) use location::Location;
pub(crate) use mapping::{Mapping, Shared};
pub(crate) use name::{Name, directory, unlink_if};
#[cfg(feature = "serde")]
pub(crate) use transfer::hand_roles_over;
pub(crate) use transfer::{Prepared, child_stamp, hand_over, heir, leave_all};

pub use element::Element;
pub use object::{Kind, ObjectInfo};

use crate::{Error, Result};
use std::sync::Arc;

/// Whether [`Segment::open_or_create`] and its like found the thing or made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// It was not there.
    Created,
    /// It was there.
    Opened,
}

/// Shared memory that can hold any number of labelled objects.
///
/// Cloning gives another handle to the same segment; the memory is unmapped when the last handle of
/// the process, to the segment or to anything in it, is dropped. A named segment stays until
/// [`Segment::unlink`].
///
/// # Names
/// A name is a file in `/dev/shm`, or in the directory that the environment variable
/// `COMMONS_SHM_DIR` names, which all processes that meet have to agree on and which has to be in
/// memory (tmpfs).
///
/// # When a process dies
/// Everything in the segment stays usable for the others. A process killed while it makes, opens or
/// removes an object leaves the segment as it was before or as it is after.
///
/// # Trust
/// Processes with write access to a named segment (those of the same user) are trusted not to
/// truncate its file. The size of a segment without a name is sealed.
///
/// # Examples
/// ```
/// use commons::{Segment, spsc::Ring};
///
/// let segment = Segment::anonymous(1 << 20)?;
/// let orders = Ring::<u64>::new_in(&segment, "orders", 1024)?;
/// let fills = Ring::<u64>::new_in(&segment, "fills", 1024)?;
/// assert_eq!(segment.objects()?.len(), 2);
/// # Ok::<(), commons::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Segment {
    core: Arc<Core>,
}

fn check_size(bytes: usize) -> Result<()> {
    if bytes == 0 { Err(Error::Zero { what: "a segment" }) } else { Ok(()) }
}

impl Segment {
    /// Makes a segment without a name, with room for `bytes` of objects (each takes about 600 bytes
    /// more than its content). Children inherit it.
    ///
    /// # Errors
    /// [`Error::NoSpace`] where the memory cannot be reserved; [`Error::Zero`].
    pub fn anonymous(bytes: usize) -> Result<Self> {
        check_size(bytes)?;
        let core = Core::anonymous(bytes as u64)?;
        Ok(Segment { core: Arc::new(core) })
    }

    /// Makes a segment and gives it a name, readable and writable by its owner alone.
    ///
    /// All space is reserved before the name appears, so that no use of it can fail for want of
    /// memory later.
    ///
    /// # Errors
    /// [`Error::NameTaken`], [`Error::InvalidName`], [`Error::NoSpace`], [`Error::Zero`].
    pub fn create(name: &str, bytes: usize) -> Result<Self> {
        check_size(bytes)?;
        let name = Name::new(name)?;
        let core = Core::unpublished(&name, bytes as u64)?;
        core.membership()?;
        core.publish(&name)?;
        Ok(Segment { core: Arc::new(core) })
    }

    /// Opens the segment of that name, whoever made it and whatever is in it.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidName`], [`Error::NotOurs`], [`Error::Version`],
    /// [`Error::Corrupted`]; [`Error::TableFull`] where 1,024 others are attached.
    pub fn open(name: &str) -> Result<Self> {
        Ok(Segment { core: Arc::new(Core::open(&Name::new(name)?)?) })
    }

    /// Opens the segment of that name, or makes it with room for `bytes` of objects. Exactly one of
    /// several processes that do so at once makes it.
    ///
    /// # Errors
    /// As [`Segment::open`] and [`Segment::create`], without `NotFound` and `NameTaken`.
    pub fn open_or_create(name: &str, bytes: usize) -> Result<(Self, Origin)> {
        open_or_create(|| Segment::open(name), || Segment::create(name, bytes))
    }

    /// Takes a name away, from whatever segment has it, also one that is damaged or of another
    /// version. Who has it open keeps it.
    ///
    /// A file that is not a segment is left as it is. What is removed was seen to be a segment, as
    /// long as nobody removes names in that directory by other means and puts files of other kinds
    /// in their place at that very moment: the kernel removes names and not files.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::InvalidName`], [`Error::NotOurs`]; [`Error::Os`] where this
    /// user may not open or remove the file.
    ///
    /// # Blocking
    /// While others attach or remove the same segment, which takes microseconds. One that is stopped
    /// in the middle of that is waited for for one second.
    pub fn unlink(name: &str) -> Result<()> {
        Name::new(name)?.unlink()
    }

    /// The name it was made or opened by.
    pub fn name(&self) -> Option<&str> {
        self.core.is_named().then(|| self.core.name())
    }

    /// Bytes of the whole segment, with its own bookkeeping.
    pub fn size(&self) -> usize {
        self.core.geometry().length as usize
    }

    /// The objects in it.
    ///
    /// # Errors
    /// [`Error::Corrupted`].
    pub fn objects(&self) -> Result<Vec<ObjectInfo>> {
        let mut objects = Vec::new();
        for_each_block(self.core.mapping(), self.core.geometry(), |block, _, info| {
            objects.extend(info.filter(|_| block.is_kept()));
            true
        })?;
        Ok(objects)
    }

    /// Removes a label. Who uses the object keeps it; its memory serves the next object of the same
    /// description once no living process holds it.
    ///
    /// # Errors
    /// [`Error::LabelNotFound`].
    pub fn remove(&self, label: &str) -> Result<()> {
        if self.core.remove_labelled(label)? {
            return Ok(());
        }
        Err(Error::LabelNotFound { segment: self.core.name().into(), label: label.into() })
    }

    /// Has the kernel move the memory of the segment into huge pages, of 2 MiB, and gives the bytes
    /// that are in such pages then: 0 in a segment of less than one.
    ///
    /// Random accesses to large objects take about half the time then, for the processor has fewer
    /// addresses to look up. Accesses of others meanwhile are right and may take milliseconds.
    ///
    /// # Errors
    /// [`Error::Os`] where the kernel gives none (`MADV_COLLAPSE`, since Linux 6.1): nothing has
    /// changed.
    ///
    /// # Blocking
    /// For milliseconds per MiB: the kernel copies.
    pub fn use_huge_pages(&self) -> Result<usize> {
        self.core.mapping().collapse(0, self.core.geometry().length)
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }
}

/// For arguments of children and for [`send_handle`](crate::pipe::Writer::send_handle) alone.
#[cfg(feature = "serde")]
impl serde::Serialize for Segment {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        handed::give_segment(serializer, &self.core, "Segment")
    }
}

/// For arguments of children and for [`send_handle`](crate::pipe::Writer::send_handle) alone.
#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Segment {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        receive(deserializer, "Segment", |used| Ok(Segment { core: used.core().clone() }))
    }
}

/// Opens, or creates if there is nothing, until one of the two answers: between them the thing may
/// come and go.
pub(crate) fn open_or_create<T>(
    open: impl Fn() -> Result<T>,
    create: impl Fn() -> Result<T>,
) -> Result<(T, Origin)> {
    loop {
        match open() {
            Err(Error::NotFound { .. } | Error::LabelNotFound { .. }) => {}
            other => return other.map(|thing| (thing, Origin::Opened)),
        }
        match create() {
            Err(Error::NameTaken { .. } | Error::LabelTaken { .. }) => {}
            other => return other.map(|thing| (thing, Origin::Created)),
        }
    }
}
