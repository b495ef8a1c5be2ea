//! Starting this program once more, with few descriptors.

#![allow(unsafe_code, reason = "runs between fork and exec")]

use super::fork::{self, PrivateDescriptor};
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// `CLOSE_RANGE_CLOEXEC` of close_range(2).
const CLOEXEC: libc::c_uint = 4;
/// Where there is no close_range: descriptors above this are not looked for.
const MANY: RawFd = 1 << 16;

/// Starts `program`, and gives the new process's id once it runs that. `prepare` runs in it before: it
/// may neither allocate nor take a lock, for other threads of this process may have been at that.
/// Of all descriptors but the standard ones, the child has `kept` and the private ones in `locks`.
pub(crate) fn start(
    program: &Path,
    arguments: &[OsString],
    environment: Vec<(OsString, OsString)>,
    kept: Vec<RawFd>,
    locks: &[PrivateDescriptor],
    mut prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<u32> {
    let path = CString::new(program.as_os_str().as_bytes())?;
    // Asked first, since the standard library takes it for impossible that it cannot wait for a child that
    // does not find its program.
    // SAFETY: a live string.
    super::check(unsafe { libc::access(path.as_ptr(), libc::X_OK) })?;
    let mut command = Command::new(program);
    if let Some((own, rest)) = arguments.split_first() {
        command.arg0(own).args(rest);
    }
    command.env_clear().envs(environment);
    // SAFETY: system calls alone, and `prepare`, of which the caller says so.
    unsafe {
        command.pre_exec(move || {
            prepare()?;
            keep_only(&kept)
        })
    };
    let child = fork::keeping(locks, || command.spawn())?;
    Ok(child.id())
}

/// Has all descriptors closed by exec but the standard ones and `kept`.
fn keep_only(kept: &[RawFd]) -> io::Result<()> {
    // SAFETY: takes integers.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, CLOEXEC) };
    if closed != 0 {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is live for the kernel to fill in.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        for fd in 3..RawFd::try_from(limit.rlim_cur).unwrap_or(MANY).min(MANY) {
            // SAFETY: takes integers; what is no descriptor is none.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
    for fd in kept {
        // SAFETY: takes integers.
        super::check(unsafe { libc::fcntl(*fd, libc::F_SETFD, 0) })?;
    }
    Ok(())
}

/// In the child: takes a descriptor that was kept for it; `None`: it was not.
pub(crate) fn take(fd: RawFd) -> Option<OwnedFd> {
    // SAFETY: takes integers.
    super::check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }).ok()?;
    // SAFETY: open, and nobody else's: the parent says for whom it is, once.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether nobody can change a file of memory any more.
pub(crate) fn is_sealed(fd: RawFd) -> bool {
    // SAFETY: takes integers; what is no descriptor, or no such file, is an error.
    let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
    seals >= 0 && seals & SEALS == SEALS
}

/// Between fork and exec: writes this process's id into a file of memory, and seals it.
pub(crate) fn sign_and_seal(fd: RawFd, offset: i64) -> io::Result<()> {
    // SAFETY: takes nothing.
    let pid = unsafe { libc::getpid() }.cast_unsigned().to_le_bytes();
    // SAFETY: four live bytes.
    let written = unsafe { libc::pwrite(fd, pid.as_ptr().cast(), pid.len(), offset) };
    if written != pid.len() as isize {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: takes integers.
    super::check(unsafe { libc::fcntl(fd, libc::F_ADD_SEALS, SEALS | libc::F_SEAL_SEAL) }).map(drop)
}

const SEALS: libc::c_int = libc::F_SEAL_WRITE | libc::F_SEAL_GROW | libc::F_SEAL_SHRINK;

/// What the kernel calls this process in its lists.
pub(crate) fn set_short_name(name: &OsStr) {
    let mut short = [0u8; 16];
    for (to, from) in short[..15].iter_mut().zip(name.as_bytes()) {
        *to = *from;
    }
    // SAFETY: sixteen live bytes, the last of which is 0.
    unsafe { libc::prctl(libc::PR_SET_NAME, short.as_ptr()) };
}

/// Whether this process has more rights than the one that started it, and so may not do as that says.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: takes an integer.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}
