//! The system calls of the harness, each as one typed function.

#![allow(unsafe_code, reason = "system calls")]

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub(crate) use libc::{SIGKILL, SIGSTOP, SIGTRAP};

/// A process id.
pub(crate) type Pid = libc::pid_t;

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Forks; `None` in the child. This program never has a second thread.
pub(crate) fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: the process has one thread, so the child finds no lock held by another.
    let pid = unsafe { libc::fork() };
    Ok(match check(pid.into())? {
        0 => None,
        pid => Some(pid as Pid),
    })
}

/// Ends this process without destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: ends the process.
    unsafe { libc::_exit(code) }
}

/// Has the kernel kill this process when `parent`, which forked it, ends.
pub(crate) fn die_with(parent: Pid) {
    // SAFETY: takes an integer.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } != parent {
        exit_now(1);
    }
}

/// Allows as many descriptors as the system does.
pub(crate) fn allow_descriptors() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the kernel to write to.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is live.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}

/// Has the allocator keep what it has and take much at a time, so that it makes no system calls in
/// one victim that it does not make in the next.
pub(crate) fn calm_allocator() {
    #[cfg(target_env = "gnu")]
    for (parameter, value) in [
        (libc::M_TOP_PAD, 64 << 20),
        (libc::M_TRIM_THRESHOLD, 1 << 30),
        (libc::M_MMAP_THRESHOLD, 32 << 20),
    ] {
        // SAFETY: takes integers; a refusal changes nothing.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// This process's id.
pub(crate) fn own_pid() -> Pid {
    std::process::id().cast_signed()
}

/// The calling thread's id.
pub(crate) fn own_thread() -> Pid {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() }
}

/// Makes this process the parent of its descendants' orphans.
pub(crate) fn adopt_orphans() {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
}

/// Confines this process, and children from now on, to one processor, or to none in particular.
pub(crate) fn pin(to_one: bool) {
    // SAFETY: all-zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { core::mem::zeroed() };
    // SAFETY: takes an integer.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_CONF) }.clamp(1, 1024) as usize;
    for processor in if to_one { processors - 1..processors } else { 0..processors } {
        // SAFETY: `set` is live and the number is within it.
        unsafe { libc::CPU_SET(processor, &mut set) };
    }
    // SAFETY: `set` is live and of the size given. A refusal only makes things slower.
    unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) };
}

/// Sends a signal to a process (a group: negative). Who is gone already is no error.
pub(crate) fn kill(pid: Pid, signal: i32) {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid, signal) };
}

/// What `waitpid` told of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Status {
    Exited(i32),
    Signaled(i32),
    /// By a signal; the upper byte tells an event of ptrace.
    Stopped(i32, i32),
}

/// Waits for news of a child (-1: of any). `None`: no news (`block` not set). Ends with
/// [`io::ErrorKind::Interrupted`] when the [`Guard`] rings.
pub(crate) fn wait(pid: Pid, block: bool) -> io::Result<Option<(Pid, Status)>> {
    let mut status = 0;
    let flags = libc::__WALL | if block { 0 } else { libc::WNOHANG };
    // SAFETY: `status` is live for the kernel to write to.
    let found = check(unsafe { libc::waitpid(pid, &raw mut status, flags) }.into())? as Pid;
    if found == 0 {
        return Ok(None);
    }
    let news = if libc::WIFEXITED(status) {
        Status::Exited(libc::WEXITSTATUS(status))
    } else if libc::WIFSIGNALED(status) {
        Status::Signaled(libc::WTERMSIG(status))
    } else {
        Status::Stopped(libc::WSTOPSIG(status), status >> 16)
    };
    Ok(Some((found, news)))
}

/// A descriptor that becomes readable when the process has ended.
pub(crate) fn open_process(pid: Pid) -> io::Result<OwnedFd> {
    // SAFETY: takes integers.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the call made it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as libc::c_int) })
}

/// Waits until a descriptor is readable; false: `deadline` came first.
pub(crate) fn wait_readable(fd: &OwnedFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let millis = left.as_millis().min(1_000_000) as libc::c_int + 1;
        let mut entry = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: `entry` is one live entry.
        let ready = unsafe { libc::poll(&raw mut entry, 1, millis) };
        if ready > 0 {
            return true;
        }
        if left.is_zero() {
            return false;
        }
    }
}

/// Sleeps while `word` is `expected`, until woken or for `timeout`; `None`: for ever.
pub(crate) fn futex_wait(word: &AtomicU32, expected: u32, timeout: Option<Duration>) {
    let spec = timeout.map(|t| libc::timespec {
        tv_sec: t.as_secs() as libc::time_t,
        tv_nsec: t.subsec_nanos().into(),
    });
    let spec = spec.as_ref().map_or(core::ptr::null(), core::ptr::from_ref);
    // SAFETY: `word` is live and aligned; `spec` is null or live.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, spec) };
}

/// Wakes all who sleep on `word`.
pub(crate) fn futex_wake(word: &AtomicU32) {
    // SAFETY: the address is a key; nothing is written.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

/// Lets others run.
pub(crate) fn give_way() {
    // SAFETY: takes nothing.
    unsafe { libc::sched_yield() };
}

/// Makes a system call that does not exist, for a tracer to see.
pub(crate) fn no_such_call(number: i64) {
    // SAFETY: the kernel answers ENOSYS and does nothing.
    unsafe { libc::syscall(number as libc::c_long) };
}

/// Stops this process until its tracer lets it go on.
pub(crate) fn stop_here() {
    // SAFETY: takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// Memory that children share, all zero, for good. `T` is made of atomics and bytes.
pub(crate) fn share<T: Sync>(bytes: usize) -> &'static T {
    map_shared(bytes, libc::MAP_ANONYMOUS, -1)
}

/// The same that looks like a segment, so that what is in it makes a state.
pub(crate) fn share_as_segment<T: Sync>(bytes: usize) -> &'static T {
    // SAFETY: the name is a string.
    let file = unsafe { libc::memfd_create(c"commons".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(file >= 0, "no file: {}", io::Error::last_os_error());
    // SAFETY: the descriptor was just made.
    let sized = unsafe { libc::ftruncate(file, bytes as libc::off_t) };
    assert!(sized == 0, "no memory: {}", io::Error::last_os_error());
    map_shared(bytes, 0, file)
}

fn map_shared<T: Sync>(bytes: usize, flags: libc::c_int, file: libc::c_int) -> &'static T {
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_SHARED | libc::MAP_POPULATE | flags;
    assert!(bytes >= size_of::<T>() && align_of::<T>() <= 4096);
    // SAFETY: asks for new memory.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), bytes, protection, flags, file, 0) };
    assert!(at != libc::MAP_FAILED, "no memory: {}", io::Error::last_os_error());
    // SAFETY: new, zero, large enough, aligned to a page, never unmapped.
    unsafe { &*at.cast::<T>() }
}

/// Fills this process with memory of its own, in small pages, that the kernel has to free when it
/// ends and before its file locks fall.
pub(crate) fn put_on_weight(bytes: usize) {
    if bytes == 0 {
        return;
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: asks for new memory, which is left to the end of the process.
    let at = unsafe { libc::mmap(core::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    assert!(at != libc::MAP_FAILED, "no memory: {}", io::Error::last_os_error());
    for advice in [libc::MADV_NOHUGEPAGE, libc::MADV_POPULATE_WRITE] {
        // SAFETY: the range is the mapping just made. A refusal leaves the process lighter.
        unsafe { libc::madvise(at, bytes, advice) };
    }
}

static RANG: AtomicBool = AtomicBool::new(false);

extern "C" fn ring(_: libc::c_int) {
    RANG.store(true, Ordering::Relaxed);
}

/// Interrupts blocking calls of this process from a deadline on, again and again until dropped.
pub(crate) struct Guard(());

impl Guard {
    pub(crate) fn new(patience: Duration) -> Self {
        RANG.store(false, Ordering::Relaxed);
        // SAFETY: all-zero bytes are a valid sigaction without flags: calls are not restarted.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = ring as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: the handler stores to an atomic and nothing else.
        unsafe { libc::sigaction(libc::SIGALRM, &raw const action, core::ptr::null_mut()) };
        Self::set(patience);
        Guard(())
    }

    /// Whether the deadline has passed.
    pub(crate) fn rang() -> bool {
        RANG.load(Ordering::Relaxed)
    }

    fn set(patience: Duration) {
        let repeat = if patience.is_zero() { 0 } else { 50_000 };
        let timer = libc::itimerval {
            it_interval: libc::timeval { tv_sec: 0, tv_usec: repeat },
            it_value: libc::timeval {
                tv_sec: patience.as_secs() as libc::time_t,
                tv_usec: patience.subsec_micros().into(),
            },
        };
        // SAFETY: `timer` is live.
        unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, core::ptr::null_mut()) };
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        Self::set(Duration::ZERO);
    }
}

/// A file without a name.
pub(crate) fn unnamed_file() -> io::Result<std::fs::File> {
    // SAFETY: a name that ends.
    let fd = unsafe { libc::memfd_create(c"given".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the system call made this descriptor for us.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// How many descriptors this process has.
pub(crate) fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}
