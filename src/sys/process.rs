//! Processes: ids, descriptors that stand for them, waiting and signals.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The inode of this process's pid namespace, which tells equal pids of different namespaces apart;
/// 0 where /proc does not say.
pub(crate) fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino())
}

/// A descriptor for a process, which stays that process's when its id is used again.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0 as libc::c_uint) };
    let fd = super::check(fd as libc::c_int)?;
    // SAFETY: the system call made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// Waits for a child to end, or only looks. `None`: it still runs.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Ended>> {
    // SAFETY: all-zero bytes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let flags = libc::WEXITED | if block { 0 } else { libc::WNOHANG };
    loop {
        // SAFETY: `info` is live for the kernel to fill in; the id is a pidfd, as the type says.
        let result = unsafe {
            libc::waitid(libc::P_PIDFD, pidfd.as_raw_fd() as libc::id_t, &raw mut info, flags)
        };
        match super::check(result) {
            Ok(_) => break,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    // SAFETY: waitid filled in a SIGCHLD siginfo or left the zeroed one as it was.
    if unsafe { info.si_pid() } == 0 {
        return Ok(None);
    }
    // SAFETY: as above.
    let status = unsafe { info.si_status() };
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Ended::Exited(status),
        _ => Ended::Signaled(status),
    }))
}

/// Waits until a process has ended, without taking its status. False: `deadline` (of
/// [`super::time::now`]) came first.
pub(crate) fn wait_readable(pidfd: BorrowedFd<'_>, deadline: u64) -> io::Result<bool> {
    loop {
        let left = deadline.saturating_sub(super::time::now());
        let millis = i32::try_from(left.div_ceil(1_000_000)).unwrap_or(i32::MAX);
        let mut poll = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `poll` is one live entry.
        match super::check(unsafe { libc::poll(&raw mut poll, 1, millis) }) {
            Ok(0) if left == 0 => return Ok(false),
            Ok(0) => {}
            Ok(_) => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

/// Sends a signal.
pub(crate) fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let info = core::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the default one.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            info,
            0 as libc::c_uint,
        )
    };
    super::check(result as libc::c_int).map(drop)
}

/// Signal numbers that the launcher uses.
pub(crate) mod signals {
    pub(crate) const KILL: i32 = libc::SIGKILL;
    pub(crate) const TERM: i32 = libc::SIGTERM;
}

/// Ends this process without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Gives up the processor to whoever else wants it.
pub(crate) fn yield_now() {
    // SAFETY: takes nothing.
    unsafe { libc::sched_yield() };
}
