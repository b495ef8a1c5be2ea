//! Names of segments, and the files behind them.
//!
//! A named segment is built in a file that has no name yet, with all its space reserved, and gets
//! its name by one `linkat` when it is complete. So whoever opens the name finds a complete object,
//! and a creator that dies on the way leaves nothing.

use super::Geometry;
use crate::sys::fork::PrivateDescriptor;
use crate::sys::{self, file, ofd};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

/// Where named segments are, unless the environment says otherwise.
const DIRECTORY: &str = "/dev/shm";
/// The variable that names another file system of memory.
const DIRECTORY_VARIABLE: &str = "COMMONS_SHM_DIR";
const NAME_BYTES: usize = 200;
/// The byte, far beyond any segment, that a newcomer locks together with others while it attaches,
/// and that a remover locks alone: the *door*.
const DOOR: u64 = 1 << 59;
/// How long one waits at the door for others who may be stopped.
const DOOR_PATIENCE: Duration = Duration::from_secs(1);

/// The directory in which named segments live: `/dev/shm`, or `COMMONS_SHM_DIR`.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os(DIRECTORY_VARIABLE).map_or_else(|| PathBuf::from(DIRECTORY), PathBuf::from)
}

/// A name that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Name(String);

impl Name {
    pub(crate) fn new(name: &str) -> Result<Self> {
        let problem = match name {
            "" => "it is empty",
            "." | ".." => "it is a directory",
            _ if name.len() > NAME_BYTES => "it is too long",
            _ if name.contains('/') => "it has a `/`",
            _ if name.contains('\0') => "it has a zero byte",
            _ => return Ok(Name(name.to_owned())),
        };
        Err(Error::InvalidName { name: name.to_owned(), problem })
    }

    /// The name of a file, if it could be a segment's.
    pub(crate) fn of_file(file: &OsStr) -> Option<Self> {
        Name::new(file.to_str()?).ok()
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn path(&self) -> PathBuf {
        directory().join(&self.0)
    }

    fn error(&self, call: &'static str) -> impl FnOnce(io::Error) -> Error {
        let name = self.0.clone();
        move |e| match e.kind() {
            io::ErrorKind::AlreadyExists => Error::NameTaken { name },
            io::ErrorKind::NotFound => Error::NotFound { name },
            _ if file::is_no_regular_file(&e) => {
                Error::NotOurs { name, found: "it is not a regular file".to_owned() }
            }
            _ => Error::os(call, name)(e),
        }
    }

    /// A file without a name on the file system where this name would be.
    pub(crate) fn unnamed_file(&self) -> Result<OwnedFd> {
        let directory = directory();
        let subject = directory.display().to_string();
        file::unnamed(&directory).map_err(Error::os("open(O_TMPFILE)", subject))
    }

    /// Gives the name to a complete segment.
    pub(crate) fn publish(&self, fd: BorrowedFd<'_>) -> Result<()> {
        file::link(fd, &self.path()).map_err(self.error("linkat"))
    }

    /// Opens the file of this name. Its size says nothing yet of what it is.
    pub(crate) fn open(&self) -> Result<OwnedFd> {
        let fd = file::open(&self.path()).map_err(self.error("open"))?;
        if !file::status(fd.as_fd()).map_err(self.error("fstat"))?.is_regular {
            let found = "it is not a regular file".to_owned();
            return Err(Error::NotOurs { name: self.0.clone(), found });
        }
        Ok(fd)
    }

    /// Takes the name away from the segment that has it, whatever its state or version.
    ///
    /// Removers take turns at the door of the file they looked at, and look again there. So the
    /// name goes from a file that was seen to be ours, as long as removers are of this crate. One
    /// that is stopped at the door is not waited for for ever, and who removes the name by other
    /// means takes no turn: then what takes its place in the instant after the second look goes.
    pub(crate) fn unlink(&self) -> Result<()> {
        loop {
            let file = self.open()?;
            let begins = file::first_bytes(file.as_fd()).map_err(self.error("read"))?;
            Geometry::check_magic(&self.0, begins)?;
            let _turn = Door::of(file.as_fd(), self)?.wait(ofd::try_lock)?;
            if self.leads_to(file.as_fd())? {
                return self.remove();
            }
            // Another remover was faster, and the name may be another file's by now.
        }
    }

    fn remove(&self) -> Result<()> {
        std::fs::remove_file(self.path()).map_err(self.error("unlink"))
    }

    /// Whether this is the name of that file.
    fn leads_to(&self, fd: BorrowedFd<'_>) -> Result<bool> {
        let now = match self.open() {
            Ok(now) => now,
            Err(Error::NotFound { .. } | Error::NotOurs { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let file = |fd| file::status(fd).map(|s| (s.device, s.inode)).map_err(self.error("fstat"));
        Ok(file(now.as_fd())? == file(fd)?)
    }
}

/// The byte of a file at which newcomers and removers meet, through a description of its own.
struct Door<'a> {
    file: PrivateDescriptor,
    name: &'a Name,
}

impl<'a> Door<'a> {
    fn of(fd: BorrowedFd<'_>, name: &'a Name) -> Result<Self> {
        let file = PrivateDescriptor::open(|| file::reopen(fd)).map_err(name.error("open"))?;
        Ok(Door { file, name })
    }

    /// Locks it, if that can be done at once. It is unlocked by the destructor.
    fn try_lock(&self, lock: fn(BorrowedFd<'_>, u64) -> io::Result<bool>) -> Result<bool> {
        lock(self.file.as_fd(), DOOR).map_err(self.name.error("fcntl"))
    }

    /// Locks it as soon as that can be done. The others are there for microseconds, unless they are
    /// stopped: then it goes on without.
    fn wait(self, lock: fn(BorrowedFd<'_>, u64) -> io::Result<bool>) -> Result<Self> {
        let patience = sys::time::after(DOOR_PATIENCE);
        while !self.try_lock(lock)? && sys::time::now() < patience {
            sys::process::yield_now();
        }
        Ok(self)
    }
}

/// Runs `attach` while nobody can remove the file's name for want of users; then `None` if it had
/// no name any more.
pub(crate) fn attach_by_name<R>(
    fd: BorrowedFd<'_>,
    name: &Name,
    attach: impl FnOnce() -> Result<R>,
) -> Result<Option<R>> {
    // Without it the name may go under us, which the last line finds out in all but that case.
    let _door = Door::of(fd, name)?.wait(ofd::try_lock_shared)?;
    let attached = attach()?;
    let names = file::status(fd).map_err(name.error("fstat"))?.names;
    Ok((names > 0).then_some(attached))
}

/// Takes the name away if `unused` says so while nobody can attach; false: somebody is attaching,
/// or it is in use.
pub(crate) fn unlink_if(
    fd: BorrowedFd<'_>,
    name: &Name,
    unused: impl FnOnce() -> Result<bool>,
) -> Result<bool> {
    let door = Door::of(fd, name)?;
    if !door.try_lock(ofd::try_lock)? || !unused()? {
        return Ok(false);
    }
    // The name may be another segment's by now: it was removed by hand and made anew.
    let same = name.leads_to(fd)?;
    if same {
        name.remove()?;
    }
    Ok(same)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unusable_names_are_refused_with_their_problem() {
        for (name, problem) in [
            ("", "empty"),
            (".", "directory"),
            ("..", "directory"),
            ("a/b", "`/`"),
            ("a\0b", "zero"),
        ] {
            let error = Name::new(name).unwrap_err();
            assert!(error.to_string().contains(problem), "{error}");
        }
        assert!(Name::new(&"x".repeat(201)).is_err());
        assert!(Name::new(&"x".repeat(200)).is_ok());
    }
}
