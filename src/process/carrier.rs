//! What carries the outcome of a child to its parent: a file of memory.

use crate::sys::file;
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// A file for one outcome, of any size.
#[derive(Clone, Debug)]
pub(super) struct Carrier(Arc<File>);

impl Carrier {
    pub(super) fn new() -> Result<Self> {
        let new = file::memory(c"commons result").map_err(Error::os("memfd_create", "result"))?;
        Ok(Self::inherited(File::from(new)))
    }

    /// One that was inherited.
    pub(super) fn inherited(file: File) -> Self {
        Carrier(Arc::new(file))
    }

    /// In the child.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, 0)
    }

    /// In the parent.
    pub(super) fn read(&self, length: usize) -> io::Result<Vec<u8>> {
        // The child may be hostile or damaged: believe no length that the file does not have.
        let length = (length as u64).min(self.0.metadata()?.len());
        file::read(self.as_fd(), length)
    }
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
