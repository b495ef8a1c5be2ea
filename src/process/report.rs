//! What a parent and its child write to each other through: a *sheet* of memory that both have, and a file
//! of memory for what is too long for it.
//!
//! Sheets lie in *pads*, which a forked child inherits and another run of the program maps. A sheet and a
//! file are used again: memory that is there already is written at the speed of memory, and new memory
//! costs as much again. They go to another child when the one before has been waited for, and nobody here
//! can ask for its outcome any more. Only the process that made them reads them or gives them away, so what
//! lies in them says nothing of whose it is, and a child that outlives its parent writes to what nobody
//! uses again.

#![allow(unsafe_code, reason = "refers to memory that is mapped for good")]

use super::few::Few;
use super::launch::Sheet;
use crate::sys::map::Map;
use crate::sys::per_process::PerProcess;
use crate::sys::{file, fork};
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
#[cfg(feature = "serde")]
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, PoisonError};

/// Sheets that no child has.
static SPARE: PerProcess<Few<Place>> = PerProcess::new();

/// Bytes of a pad: enough for some hundred children at a time, since each pad makes forks slower.
const PAD: usize = 64 << 10;
/// How much memory may wait in a file for the next child, in bytes.
const LARGEST: u64 = 4 << 20;

/// Memory of sheets, mapped for as long as the process is.
#[derive(Debug)]
struct Pad {
    #[cfg_attr(
        not(feature = "serde"),
        expect(dead_code, reason = "for other runs of the program")
    )]
    file: OwnedFd,
    map: Map,
}

/// Where a sheet is.
#[derive(Clone, Copy, Debug)]
struct Place {
    pad: &'static Pad,
    /// In bytes from the beginning of the pad, within which the sheet lies.
    offset: usize,
}

impl Pad {
    fn new() -> Result<Self> {
        let os = |call| Error::os(call, "what children report through");
        let file = file::memory(c"commons sheets").map_err(os("memfd_create"))?;
        file::reserve(file.as_fd(), 0, PAD as u64).map_err(os("fallocate"))?;
        file::seal_size(file.as_fd()).map_err(os("fcntl(F_ADD_SEALS)"))?;
        Self::map(file).map_err(os("mmap"))
    }

    fn map(file: OwnedFd) -> io::Result<Self> {
        let map = Map::new(file.as_fd(), PAD)?;
        Ok(Pad { file, map })
    }

    /// All sheets of a pad.
    fn sheets(pad: &'static Pad) -> impl Iterator<Item = Place> {
        (0..PAD / size_of::<Sheet>()).map(move |i| Place { pad, offset: i * size_of::<Sheet>() })
    }
}

impl Place {
    fn sheet(self) -> &'static Sheet {
        let address = self.pad.map.address().as_ptr().wrapping_add(self.offset);
        // SAFETY: within the pad, at a multiple of its size, mapped for good, and made of atomics.
        unsafe { &*address.cast() }
    }
}

/// What a child and its parent write to each other through. Where it was made, dropping it leaves it to
/// another child.
#[derive(Debug)]
pub(super) struct Report {
    sheet: &'static Sheet,
    place: Place,
    file: Mutex<Option<File>>,
    /// The epoch of the process that made it; 0 where that is another.
    epoch: u32,
}

impl Report {
    /// For a child that is about to be started. The sheet is blank.
    pub(super) fn new() -> Result<Self> {
        let mut spare = SPARE.lock();
        let place = match spare.pop() {
            Some(place) => place,
            None => {
                let pad = Box::leak(Box::new(Pad::new()?));
                let mut sheets = Pad::sheets(pad);
                let first = sheets.next().expect("a pad has many");
                sheets.for_each(|sheet| spare.push(sheet));
                first
            }
        };
        drop(spare);
        let (sheet, file) = (place.sheet(), Mutex::default());
        let mut report = Report { sheet, place, file, epoch: fork::epoch() };
        report.renew()?;
        Ok(report)
    }

    /// For another child, when nobody is going to ask for what the one before wrote.
    pub(super) fn renew(&mut self) -> Result<()> {
        let used = self.sheet.mentions_file();
        let file = self.file.get_mut().unwrap_or_else(PoisonError::into_inner);
        *file = file.take().filter(|file| !used || is_fit(file));
        if file.is_none() {
            let new =
                file::memory(c"commons result").map_err(Error::os("memfd_create", "result"))?;
            *file = Some(new.into());
        }
        self.sheet.clear();
        Ok(())
    }

    /// In another run of the program: from what [`Report::descriptors`] gave.
    #[cfg(feature = "serde")]
    pub(super) fn inherited(pad: OwnedFd, offset: u64, file: File) -> io::Result<Self> {
        let size = file::status(pad.as_fd())?.size;
        let offset = usize::try_from(offset).ok().filter(|offset| {
            size == PAD as u64
                && offset.is_multiple_of(size_of::<Sheet>())
                && *offset <= PAD - size_of::<Sheet>()
        });
        let offset = offset.ok_or(io::ErrorKind::InvalidData)?;
        let pad = Box::leak(Box::new(Pad::map(pad)?));
        let place = Place { pad, offset };
        Ok(Report { sheet: place.sheet(), place, file: Mutex::new(Some(file)), epoch: 0 })
    }

    /// What a child needs that inherits nothing else: the descriptor of the pad, where in that the sheet is,
    /// and the descriptor of the file.
    #[cfg(feature = "serde")]
    pub(super) fn descriptors(&self) -> Result<(RawFd, u64, RawFd)> {
        let file = self.with_file(|file| Ok(file.as_raw_fd()));
        let file = file.map_err(Error::os("memfd_create", "result"))?;
        Ok((self.place.pad.file.as_raw_fd(), self.place.offset as u64, file))
    }

    pub(super) fn sheet(&self) -> &'static Sheet {
        self.sheet
    }

    fn with_file<R>(&self, work: impl FnOnce(&File) -> io::Result<R>) -> io::Result<R> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_ref().ok_or_else(|| io::ErrorKind::NotFound.into()).and_then(work)
    }

    /// In the child: writes what is too long for the sheet.
    pub(super) fn write_file(&self, bytes: &[u8]) -> io::Result<()> {
        self.with_file(|file| file.write_all_at(bytes, 0))
    }

    /// In the parent: reads that.
    pub(super) fn read_file(&self, length: usize) -> io::Result<Vec<u8>> {
        self.with_file(|file| {
            // The child may be hostile or damaged: believe no length that the file does not have.
            let length = (length as u64).min(file.metadata()?.len());
            file::read(file.as_fd(), length)
        })
    }

    /// In the parent, when the child is gone and nobody is going to ask for its outcome.
    pub(super) fn close_file(&self) {
        self.file.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Whether the next child may have a file, which then has no more memory than may wait for it.
fn is_fit(file: &File) -> bool {
    file.metadata().is_ok_and(|file| file.len() <= LARGEST) || file.set_len(0).is_ok()
}

impl Drop for Report {
    fn drop(&mut self) {
        // The copy of another process is that one's to keep.
        if self.epoch == fork::epoch() {
            SPARE.lock().push(self.place);
        }
    }
}
