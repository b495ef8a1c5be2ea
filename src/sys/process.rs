//! Processes: ids, descriptors that stand for them, waiting and signals.

#![allow(unsafe_code, reason = "system calls")]

use super::fork;
use super::hot::Hot;
use crate::sync::local::Ordering::{Acquire, Relaxed, Release};
use crate::sync::local::{AtomicU8, AtomicU32, AtomicU64};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::sync::OnceLock;

/// What a process knows of its pid namespace.
struct Namespace {
    /// The fork epoch in which it was asked for, and the process's id.
    epoch: AtomicU32,
    pid: AtomicU32,
    inode: AtomicU64,
}

// SAFETY: zeros are atomics.
static NAMESPACE: Hot<Namespace> = unsafe { Hot::new() };

/// The inode of this process's pid namespace, which tells equal pids of different namespaces apart;
/// 0 where /proc does not say. It is asked for once: a process stays in the namespace it began in.
pub(crate) fn pid_namespace() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let (known, epoch) = (NAMESPACE.placed(), fork::epoch());
    // Acquire: pairs with the Release below.
    if known.epoch.load(Acquire) == epoch {
        return known.inode.load(Relaxed);
    }
    // A child has its parent's, if it sees its parent: that of another namespace has no id here.
    let is_parents = known.epoch.load(Relaxed) != 0 && parent_id() == known.pid.load(Relaxed);
    if !is_parents {
        let inode = std::fs::metadata("/proc/self/ns/pid").map_or(0, |m| m.ino());
        known.inode.store(inode, Relaxed);
    }
    known.pid.store(std::process::id(), Relaxed);
    // Release: the inode. Threads that do this at the same time store the same.
    known.epoch.store(epoch, Release);
    known.inode.load(Relaxed)
}

/// A descriptor for a process, which stays that process's when its id is used again.
pub(crate) fn open(pid: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0 as libc::c_uint) };
    super::file::own(fd as libc::c_int)
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

/// Waits for a child to end, or only looks. `None`: it still runs. `ECHILD`: somebody else's wait
/// took its status.
pub(crate) fn wait(pidfd: BorrowedFd<'_>, block: bool) -> io::Result<Option<Ended>> {
    wait_for(pidfd, if block { 0 } else { libc::WNOHANG })
}

/// How a child ended, if it has, without taking its status. `ECHILD`: somebody's wait took it.
pub(crate) fn look(pidfd: BorrowedFd<'_>) -> io::Result<Option<Ended>> {
    wait_for(pidfd, libc::WNOHANG | libc::WNOWAIT)
}

/// Whether any child of this process has ended and was not waited for, or there is none.
pub(crate) fn has_any_ended() -> bool {
    // SAFETY: all-zero bytes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let flags = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: `info` is live for the kernel to fill in.
    let result = unsafe { libc::waitid(libc::P_ALL, 0, &raw mut info, flags) };
    // SAFETY: waitid filled in a SIGCHLD siginfo or left the zeroed one as it was.
    result < 0 || unsafe { info.si_pid() } != 0
}

fn wait_for(pidfd: BorrowedFd<'_>, flags: libc::c_int) -> io::Result<Option<Ended>> {
    // SAFETY: all-zero bytes are a valid siginfo_t.
    let mut info: libc::siginfo_t = unsafe { core::mem::zeroed() };
    let flags = libc::WEXITED | flags;
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

/// Waits for any child to end, or only looks, and takes its status: its id and how it ended. `None`:
/// none has ended.
#[cfg(feature = "serde")]
pub(crate) fn wait_for_any(block: bool) -> io::Result<Option<(u32, Ended)>> {
    let flags = if block { 0 } else { libc::WNOHANG };
    loop {
        let mut status = 0;
        // SAFETY: `status` is live for the kernel to fill in.
        match super::check(unsafe { libc::waitpid(-1, &raw mut status, flags) }) {
            Ok(0) => return Ok(None),
            Ok(pid) if libc::WIFEXITED(status) => {
                return Ok(Some((pid as u32, Ended::Exited(libc::WEXITSTATUS(status)))));
            }
            Ok(pid) => return Ok(Some((pid as u32, Ended::Signaled(libc::WTERMSIG(status))))),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // A look finds no child where there is none yet.
            Err(e) if e.raw_os_error() == Some(libc::ECHILD) && !block => return Ok(None),
            Err(e) => return Err(e),
        }
    }
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

/// The beginning of the kernel's `struct pidfd_info`, which later versions extend.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// How a child ended whose status somebody else's wait took, where the kernel (6.15) remembers.
pub(crate) fn ended_unwaited(pidfd: BorrowedFd<'_>) -> Option<Ended> {
    const EXIT: u64 = 1 << 3;
    // _IOWR(0xFF, 11, struct pidfd_info)
    const GET_INFO: u64 = 3 << 30 | (size_of::<PidfdInfo>() as u64) << 16 | 0xFF << 8 | 11;
    let mut info = PidfdInfo { mask: EXIT, ..PidfdInfo::default() };
    let fd = pidfd.as_raw_fd();
    // SAFETY: the number says how many bytes the kernel may fill in, and `info` has them.
    let result = unsafe { libc::ioctl(fd, GET_INFO as libc::Ioctl, &raw mut info) };
    if result < 0 || info.mask & EXIT == 0 {
        return None;
    }
    Some(if libc::WIFEXITED(info.exit_code) {
        Ended::Exited(libc::WEXITSTATUS(info.exit_code))
    } else {
        Ended::Signaled(libc::WTERMSIG(info.exit_code))
    })
}

/// Waits for a child that ends, by its id.
pub(crate) fn reap(pid: u32) {
    let mut status = 0;
    // SAFETY: `status` is live for the kernel to fill in.
    while unsafe { libc::waitpid(pid as libc::pid_t, &raw mut status, 0) } < 0
        && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
    {}
}

/// Has `handler` run when this process ends by `exit`, and its forked children by theirs.
pub(crate) fn at_exit(handler: extern "C" fn()) {
    // SAFETY: a function of this image. Without memory for it, nobody is waited for at the end.
    unsafe { libc::atexit(handler) };
}

/// The name of a signal, or its number.
pub(crate) fn signal_name(signal: i32) -> String {
    let name = match signal {
        libc::SIGHUP => "SIGHUP",
        libc::SIGINT => "SIGINT",
        libc::SIGQUIT => "SIGQUIT",
        libc::SIGILL => "SIGILL",
        libc::SIGTRAP => "SIGTRAP",
        libc::SIGABRT => "SIGABRT",
        libc::SIGBUS => "SIGBUS",
        libc::SIGFPE => "SIGFPE",
        libc::SIGKILL => "SIGKILL",
        libc::SIGUSR1 => "SIGUSR1",
        libc::SIGSEGV => "SIGSEGV",
        libc::SIGUSR2 => "SIGUSR2",
        libc::SIGPIPE => "SIGPIPE",
        libc::SIGALRM => "SIGALRM",
        libc::SIGTERM => "SIGTERM",
        libc::SIGXCPU => "SIGXCPU",
        libc::SIGXFSZ => "SIGXFSZ",
        libc::SIGSYS => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Whether libc knows that this process has one thread. Where it does not, there may be one all the same.
pub(crate) fn has_one_thread() -> bool {
    static KNOWN: OnceLock<usize> = OnceLock::new();
    // SAFETY: a string with its end. Not linked to, for not every libc has it.
    let find = || unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__libc_single_threaded".as_ptr()) };
    let known = *KNOWN.get_or_init(|| find().expose_provenance()) as *const AtomicU8;
    // SAFETY: null, or the address of libc's variable, which is a `char` that it changes before a second
    // thread starts.
    // Relaxed: as libc reads it.
    unsafe { known.as_ref() }.is_some_and(|known| known.load(Relaxed) != 0)
}

/// How many processors are on line.
pub(crate) fn processors() -> usize {
    // SAFETY: takes an integer.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
    usize::try_from(count).unwrap_or(1).max(1)
}

/// Whether the machine has this processor, on line or not.
#[cfg(feature = "serde")]
pub(crate) fn has_processor(processor: usize) -> bool {
    // SAFETY: takes an integer.
    let count = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) };
    usize::try_from(count).is_ok_and(|count| processor < count)
}

/// How many processors the calling thread may run on.
pub(crate) fn usable_processors() -> usize {
    // Of 64 processors each; a mask that is too short for the machine is refused.
    let mut mask = [0u64; 1024];
    // SAFETY: a live mask of the size that is said.
    let result = unsafe {
        libc::sched_getaffinity(0, size_of_val(&mask), (&raw mut mask).cast::<libc::cpu_set_t>())
    };
    let count: u32 = mask.iter().map(|word| word.count_ones()).sum();
    if result < 0 || count == 0 { processors() } else { count as usize }
}

/// Signal numbers that the launcher uses.
pub(crate) mod signals {
    #[cfg(feature = "serde")]
    pub(crate) const CHILD: i32 = libc::SIGCHLD;
    pub(crate) const INT: i32 = libc::SIGINT;
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
