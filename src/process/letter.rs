//! What a parent writes to a child that it starts by exec: who it is to be, what it inherits, and what
//! it is to call.
//!
//! The letter is a sealed file of memory, whose descriptor an environment variable names. It is signed
//! with the id of the process that it is for, by that process itself before it becomes the program. So
//! a process that merely inherits the variable knows that it is not meant.

use super::identity::Identity;
use super::passed::Passed;
use crate::member::Stamp;
use crate::segment::{Core, Ticket};
use crate::sys::image;
use crate::sys::{exec, file};
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The variable that names the descriptor.
pub(super) const VARIABLE: &str = "COMMONS_CHILD";

/// The first bytes of a letter, and its version.
const MAGIC: &[u8; 8] = b"commons2";
/// Where the process id is, and the lengths of the two parts.
const PID: u64 = 8;
const LENGTHS: u64 = 16;
const HEAD: u64 = 32;

/// All but the argument.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Letter {
    pub(super) image: image::Identity,
    /// Where in the program the function is, and what calls it.
    pub(super) function: u64,
    pub(super) caller: u64,
    pub(super) segments: Vec<Inherited>,
    pub(super) tickets: Vec<Ticket>,
    /// Handles of processes.
    pub(super) passed: Passed,
    /// Where the outcome goes: the descriptor of a pad, where in that the sheet is, and that of a file.
    pub(super) report: (RawFd, u64, RawFd),
    /// What ends a daemon.
    pub(super) collar: Option<RawFd>,
    pub(super) identity: Identity,
    /// Who opens the gate, in the first segment.
    pub(super) parent: (u16, u32),
    /// The level of messages and whether [`log_to_stderr`](super::log_to_stderr) prints them.
    pub(super) log: (usize, bool),
}

/// A segment of which the child has descriptors.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Inherited {
    file: RawFd,
    lock: RawFd,
    stamp: (u16, u32),
    name: String,
    named: bool,
}

impl Inherited {
    pub(super) fn new(core: &Core, stamp: Stamp, lock: RawFd) -> Self {
        Inherited {
            file: core.mapping().file().as_raw_fd(),
            lock,
            stamp: (stamp.index, stamp.generation),
            name: core.name().to_owned(),
            named: core.is_named(),
        }
    }

    /// The descriptors that the child needs for it.
    pub(super) fn descriptors(&self) -> [RawFd; 2] {
        [self.file, self.lock]
    }

    /// In the child: the segment, its stamp there, and the lock on that.
    pub(super) fn open(self) -> Result<(Arc<Core>, Stamp, OwnedFd)> {
        let name = self.name.clone();
        let missing = move || Error::os("fcntl", name)(io::ErrorKind::NotFound.into());
        let (Some(file), Some(lock)) = (exec::take(self.file), exec::take(self.lock)) else {
            return Err(missing());
        };
        let core = Core::inherited(file, self.name, self.named)?;
        let (index, generation) = self.stamp;
        Ok((Arc::new(core), Stamp { index, generation }, lock))
    }
}

impl Letter {
    /// Writes it. It is sealed by [`sign`].
    pub(super) fn write(&self, argument: &[u8]) -> io::Result<File> {
        let letter = postcard::to_stdvec(self).map_err(io::Error::other)?;
        let file = File::from(file::memory(c"commons letter")?);
        let lengths = [letter.len(), argument.len()].map(|length| (length as u64).to_le_bytes());
        file.write_all_at(MAGIC, 0)?;
        file.write_all_at(lengths.as_flattened(), LENGTHS)?;
        file.write_all_at(&letter, HEAD)?;
        file.write_all_at(argument, HEAD + letter.len() as u64)?;
        Ok(file)
    }
}

/// Between fork and exec: signs a letter as the calling process's.
pub(super) fn sign(letter: RawFd) -> io::Result<()> {
    exec::sign_and_seal(letter, PID as i64)
}

/// What became of a look for a letter.
pub(super) enum Found {
    /// There is none for this process.
    None,
    /// There is one.
    Letter(Box<Letter>, Vec<u8>),
    /// There is one that cannot be read.
    Damaged(String),
}

/// Looks whether the descriptor that `text` names is a letter to this process, and takes it.
pub(super) fn find(text: &str) -> Found {
    let Some(fd) = text.parse().ok().filter(|fd| *fd > 2 && exec::is_sealed(*fd)) else {
        return Found::None;
    };
    let mut head = [0; HEAD as usize];
    let is_letter = |file: &File, head: &mut [u8]| {
        file.read_exact_at(head, 0).is_ok() && head[..8] == *MAGIC && head[8..12] == pid()
    };
    // Nobody can have the descriptor in use: only who is to read it knows what it is.
    let Some(file) = exec::take(fd).map(File::from) else { return Found::None };
    if !is_letter(&file, &mut head) {
        // Not ours to close.
        std::mem::forget(file);
        return Found::None;
    }
    match read(&file, &head) {
        Ok((letter, argument)) => Found::Letter(letter, argument),
        Err(error) => Found::Damaged(error.to_string()),
    }
}

fn pid() -> [u8; 4] {
    std::process::id().to_le_bytes()
}

fn read(file: &File, head: &[u8; HEAD as usize]) -> io::Result<(Box<Letter>, Vec<u8>)> {
    let at = LENGTHS as usize;
    let length = |at: usize| {
        let bytes = head[at..].first_chunk().copied().unwrap_or_default();
        u64::from_le_bytes(bytes)
    };
    let (letter, argument) = (length(at), length(at + 8));
    let size = file::status(file.as_fd())?.size;
    if letter.checked_add(argument).and_then(|sum| sum.checked_add(HEAD)) != Some(size) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its length is wrong"));
    }
    let part = |offset: u64, length: u64| {
        let mut bytes = vec![0; length as usize];
        file.read_exact_at(&mut bytes, offset).map(|()| bytes)
    };
    let text = part(HEAD, letter)?;
    let parsed = postcard::from_bytes(&text).map_err(io::Error::other)?;
    Ok((Box::new(parsed), part(HEAD + letter, argument)?))
}
