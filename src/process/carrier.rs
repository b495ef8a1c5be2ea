//! What carries the outcome of a child to its parent: a file of memory.
//!
//! The file of a child that has ended is the next child's: memory that is there already is written at the
//! speed of memory, and new memory costs as much again. So what lies in a file says nothing of whose it
//! is. Nobody but the process that made it reads it, and it goes to another child when the one before has
//! been waited for, and nobody here can ask for its outcome any more.

use crate::sys::per_process::PerProcess;
use crate::sys::{file, fork};
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
#[cfg(feature = "serde")]
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// One that no child has.
static SPARE: PerProcess<Option<File>> = PerProcess::new();
/// How much memory may wait for the next child, in bytes.
const LARGEST: u64 = 4 << 20;

/// A file for one outcome, of any size.
#[derive(Clone, Debug)]
pub(super) struct Carrier(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    file: Option<File>,
    /// The epoch of the process that made it; 0 where that is another.
    epoch: u32,
}

impl Carrier {
    pub(super) fn new() -> Result<Self> {
        let spare = SPARE.lock_if_any().and_then(|mut spare| spare.take());
        let file = match spare {
            Some(file) => file,
            None => {
                file::memory(c"commons result").map_err(Error::os("memfd_create", "result"))?.into()
            }
        };
        Ok(Carrier(Arc::new(Kept { file: Some(file), epoch: fork::epoch() })))
    }

    /// One that was inherited.
    #[cfg(feature = "serde")]
    pub(super) fn inherited(file: File) -> Self {
        Carrier(Arc::new(Kept { file: Some(file), epoch: 0 }))
    }

    fn file(&self) -> io::Result<&File> {
        self.0.file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// In the child.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.file()?.write_all_at(bytes, 0)
    }

    /// In the parent.
    pub(super) fn read(&self, length: usize) -> io::Result<Vec<u8>> {
        let file = self.file()?;
        // The child may be hostile or damaged: believe no length that the file does not have.
        let length = (length as u64).min(file.metadata()?.len());
        file::read(file.as_fd(), length)
    }

    /// Its descriptor.
    #[cfg(feature = "serde")]
    pub(super) fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.file().map(File::as_fd)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // The copy of another process is that one's to keep.
        let Some(file) = self.file.take().filter(|_| self.epoch == fork::epoch()) else { return };
        let is_small = |file: &File| file.metadata().is_ok_and(|file| file.len() <= LARGEST);
        if is_small(&file) || file.set_len(0).is_ok() {
            SPARE.lock().get_or_insert(file);
        }
    }
}
