//! Memory of the `shared_memory` crate as a segment.

#![allow(unsafe_code, reason = "declares what its caller promises")]

use super::core::Core;
use super::{Name, Segment};
use crate::sys::file;
use crate::{Error, Result};
use shared_memory::Shmem;
use std::path::Path;
use std::sync::Arc;

/// Where `shm_open` finds what it is given the name of.
const DIRECTORY: &str = "/dev/shm";

impl Segment {
    /// Takes the memory of the `shared_memory` crate for a segment. Feature `shared_memory`.
    ///
    /// The process that [owns](Shmem::is_owner) the `Shmem` makes the segment in it, the first time;
    /// the others find it there. All of its space is reserved before it is touched. About 65 KiB of
    /// it are the segment's own.
    ///
    /// The segment has its own mapping of the memory, which stays when the `Shmem` is dropped.
    ///
    /// # What it does not promise
    /// - A segment that is [created](Segment::create) appears complete or not at all. Here the name is
    ///   there before: an owner that dies over this call leaves memory that nobody can adopt, which
    ///   the others are told ([`Error::NotOurs`]).
    /// - The `Shmem` of the owner takes the name away when it is dropped, whoever else is there.
    /// - Nobody keeps holders of a `Shmem` from writing over it, or from changing its size.
    ///
    /// # Errors
    /// [`Error::NotFound`]: its name is gone. [`Error::NotOurs`]: there is something else in it, or
    /// its owner has not called this yet. [`Error::SegmentFull`] where it has
    /// no room even for that; [`Error::NoSpace`];
    /// [`Error::Version`]; [`Error::Corrupted`]; [`Error::TableFull`].
    ///
    /// # Safety
    /// As long as the segment, or any object in it, is there in any process, nothing is written to the
    /// memory through a `Shmem`, and its size stays what it is. Its name leads to it until this has
    /// returned.
    ///
    /// # Examples
    /// ```
    /// use commons::{Mutex, Segment};
    /// use shared_memory::ShmemConf;
    ///
    /// let shmem = ShmemConf::new().size(1 << 20).create()?;
    /// // SAFETY: nobody uses the memory by other means.
    /// let segment = unsafe { Segment::adopt(&shmem)? };
    /// let counter = Mutex::new_in(&segment, "counter", 0u64)?;
    /// *counter.lock()? += 1;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn adopt(shmem: &Shmem) -> Result<Self> {
        let id = shmem.get_os_id().trim_start_matches('/');
        let name = Name::new(id)?;
        let file = file::open(&Path::new(DIRECTORY).join(id)).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::NotFound { name: id.to_owned() },
            _ => Error::os("open", id)(e),
        })?;
        let core =
            if shmem.is_owner() { Core::adopt(&name, file) } else { Core::look(&name, file) }?;
        core.membership()?;
        Ok(Segment { core: Arc::new(core) })
    }
}
