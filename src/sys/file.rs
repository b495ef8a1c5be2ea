//! Files that live in memory: unnamed, named and sealed.

#![allow(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Descriptors that a program should not meet by accident start here, if its limit allows.
const HIGH_DESCRIPTOR: libc::c_int = 500;

fn path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// Takes what a system call made, under a number that is none of the standard descriptors': a program
/// may have closed those, and children get others there.
pub(super) fn own(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = super::check(fd)?;
    // SAFETY: the system call that made `fd` succeeded and nobody else knows it.
    let made = unsafe { OwnedFd::from_raw_fd(fd) };
    if fd > 2 {
        return Ok(made);
    }
    // SAFETY: duplicates a descriptor that we own.
    let higher = super::check(unsafe { libc::fcntl(fd, libc::F_DUPFD_CLOEXEC, 3) })?;
    // SAFETY: as above.
    Ok(unsafe { OwnedFd::from_raw_fd(higher) })
}

/// Opens an unnamed file, readable and writable by its owner, in `directory`.
pub(crate) fn unnamed(directory: &Path) -> io::Result<OwnedFd> {
    let directory = path(directory)?;
    let flags = libc::O_TMPFILE | libc::O_RDWR | libc::O_CLOEXEC;
    // SAFETY: the path is a live C string; a mode follows the flags, as O_TMPFILE asks.
    own(unsafe { libc::open(directory.as_ptr(), flags, 0o600 as libc::c_uint) })
}

/// Opens an existing file for reading and writing, without following a symbolic link.
pub(crate) fn open(file: &Path) -> io::Result<OwnedFd> {
    let file = path(file)?;
    let flags = libc::O_RDWR | libc::O_CLOEXEC | libc::O_NOFOLLOW | libc::O_NONBLOCK;
    // SAFETY: the path is a live C string.
    own(unsafe { libc::open(file.as_ptr(), flags) })
}

/// Whether [`open`] failed because there is a link, a directory or a socket.
pub(crate) fn is_no_regular_file(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ELOOP | libc::EISDIR | libc::ENXIO))
}

/// Opens the same file once more, as an open file description of its own on a high descriptor.
pub(crate) fn reopen(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}\0", fd.as_raw_fd());
    let path =
        CStr::from_bytes_with_nul(path.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the path is a live C string.
    let low = own(unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })?;
    // SAFETY: duplicates a descriptor that we own.
    let high = unsafe { libc::fcntl(low.as_raw_fd(), libc::F_DUPFD_CLOEXEC, HIGH_DESCRIPTOR) };
    // Where the limit of descriptors is lower than that, the low one serves as well.
    Ok(own(high).unwrap_or(low))
}

/// Opens the reading end of a pipe once more, as an open file description of its own.
#[cfg(feature = "serde")]
pub(crate) fn reopen_reading(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let path = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let flags = libc::O_RDONLY | libc::O_CLOEXEC | libc::O_NONBLOCK;
    // SAFETY: the path is a live C string.
    own(unsafe { libc::open(path.as_ptr(), flags) })
}

/// Opens the file behind a descriptor of another process once more.
#[cfg(feature = "serde")]
pub(crate) fn open_of(pid: u32, descriptor: i32) -> io::Result<OwnedFd> {
    let path = CString::new(format!("/proc/{pid}/fd/{descriptor}"))?;
    // SAFETY: the path is a live C string.
    own(unsafe { libc::open(path.as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) })
}

/// Gives the memory of a range of a file back; it reads as zeros then.
#[cfg(feature = "serde")]
pub(crate) fn give_back(fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<()> {
    let range = libc::off_t::try_from(offset).ok().zip(libc::off_t::try_from(bytes).ok());
    let (offset, bytes) = range.ok_or(io::ErrorKind::InvalidInput)?;
    let mode = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
    // SAFETY: takes no pointer.
    super::check(unsafe { libc::fallocate(fd.as_raw_fd(), mode, offset, bytes) }).map(drop)
}

/// Makes a file of memory that has no name and never will; its size can be sealed.
pub(crate) fn memory(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a live C string.
    own(unsafe { libc::memfd_create(name.as_ptr(), flags) })
}

/// Seals the size of a file of [`memory`] for good.
pub(crate) fn seal_size(fd: BorrowedFd<'_>) -> io::Result<()> {
    let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
    // SAFETY: takes an integer and no pointer.
    super::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) }).map(drop)
}

/// Whether nobody can change the size of a file of [`memory`] any more.
#[cfg(feature = "serde")]
pub(crate) fn has_sealed_size(fd: BorrowedFd<'_>) -> io::Result<bool> {
    // SAFETY: takes no pointer.
    let seals = super::check(unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GET_SEALS) })?;
    let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW;
    Ok(seals & wanted == wanted)
}

/// Sets the size of a file without reserving space for it.
pub(crate) fn set_size(fd: BorrowedFd<'_>, bytes: u64) -> io::Result<()> {
    let bytes = libc::off_t::try_from(bytes).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: takes no pointer.
    super::check(unsafe { libc::ftruncate(fd.as_raw_fd(), bytes) }).map(drop)
}

/// Reserves space for a range of a file, growing the file where the range goes beyond its end.
pub(crate) fn reserve(fd: BorrowedFd<'_>, offset: u64, bytes: u64) -> io::Result<()> {
    let range = libc::off_t::try_from(offset).ok().zip(libc::off_t::try_from(bytes).ok());
    let (offset, bytes) = range.ok_or(io::ErrorKind::InvalidInput)?;
    loop {
        // SAFETY: takes no pointer.
        match super::check(unsafe { libc::fallocate(fd.as_raw_fd(), 0, offset, bytes) }) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(drop),
        }
    }
}

/// Gives an unnamed file a name; fails where the name exists.
pub(crate) fn link(fd: BorrowedFd<'_>, name: &Path) -> io::Result<()> {
    let source = CString::new(format!("/proc/self/fd/{}", fd.as_raw_fd()))?;
    let name = path(name)?;
    let at = libc::AT_FDCWD;
    // SAFETY: both paths are live C strings.
    super::check(unsafe {
        libc::linkat(at, source.as_ptr(), at, name.as_ptr(), libc::AT_SYMLINK_FOLLOW)
    })
    .map(drop)
}

/// What the kernel says of an open file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Status {
    /// Bytes.
    pub(crate) size: u64,
    /// How many names the file has.
    pub(crate) names: u64,
    /// Bytes that memory is taken for.
    pub(crate) reserved: u64,
    /// Its file system.
    pub(crate) device: u64,
    /// Its number there.
    pub(crate) inode: u64,
    /// Whether it is a regular file.
    pub(crate) is_regular: bool,
}

impl Status {
    /// Whether this is of the same file. Both are open.
    #[cfg(feature = "serde")]
    pub(crate) fn is_same_file(&self, other: &Status) -> bool {
        (self.device, self.inode, self.size) == (other.device, other.inode, other.size)
    }
}

/// Asks for the [`Status`] of a file.
pub(crate) fn status(fd: BorrowedFd<'_>) -> io::Result<Status> {
    // SAFETY: all-zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: `stat` is a live stat for the kernel to fill in.
    super::check(unsafe { libc::fstat(fd.as_raw_fd(), &raw mut stat) })?;
    Ok(Status {
        size: u64::try_from(stat.st_size).unwrap_or(0),
        names: stat.st_nlink as u64,
        reserved: u64::try_from(stat.st_blocks).unwrap_or(0).saturating_mul(512),
        device: stat.st_dev,
        inode: stat.st_ino,
        is_regular: stat.st_mode & libc::S_IFMT == libc::S_IFREG,
    })
}

/// The first bytes of a file, read without mapping it.
pub(crate) fn first_bytes<const N: usize>(fd: BorrowedFd<'_>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer has `N` bytes for the kernel to fill in.
    let read = unsafe { libc::pread(fd.as_raw_fd(), bytes.as_mut_ptr().cast(), N, 0) };
    match read {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(bytes),
    }
}

/// The first `length` bytes of a file, or as many as there are.
pub(crate) fn read(fd: BorrowedFd<'_>, length: u64) -> io::Result<Vec<u8>> {
    let length = usize::try_from(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    let mut bytes = Vec::new();
    bytes.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
    super::map::populate(bytes.spare_capacity_mut());
    while bytes.len() < length {
        let (have, left) = (bytes.len(), length - bytes.len());
        let to = bytes.spare_capacity_mut()[..left].as_mut_ptr().cast();
        // SAFETY: room for as many bytes.
        match unsafe { libc::pread(fd.as_raw_fd(), to, left, have as libc::off_t) } {
            0 => break,
            read if read > 0 => {
                // SAFETY: the kernel has filled them in.
                unsafe { bytes.set_len(have + read as usize) };
            }
            _ => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
        }
    }
    Ok(bytes)
}

/// Bytes of memory that the kernel could still give, as /proc says; `None` where it does not.
pub(crate) fn available_memory() -> Option<u64> {
    let info = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kilobytes = |name: &str| -> Option<u64> {
        let line = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse().ok()
    };
    Some((kilobytes("MemAvailable")? + kilobytes("SwapFree")?) * 1024)
}

/// Bytes that are still free on the file system of `fd`; `None` where it has no limit of its own.
pub(crate) fn free_bytes(fd: BorrowedFd<'_>) -> Option<u64> {
    // SAFETY: all-zero bytes are a valid statfs.
    let mut stat: libc::statfs = unsafe { core::mem::zeroed() };
    // SAFETY: `stat` is a live statfs for the kernel to fill in.
    super::check(unsafe { libc::fstatfs(fd.as_raw_fd(), &raw mut stat) }).ok()?;
    (stat.f_blocks > 0).then(|| stat.f_bavail as u64 * stat.f_bsize as u64)
}

/// Closes descriptors in a child just forked, where their owners are copies that must not run.
pub(crate) fn close_raw(fd: RawFd) {
    // SAFETY: closing a descriptor touches no memory; the caller says that nobody here uses it.
    unsafe { libc::close(fd) };
}
