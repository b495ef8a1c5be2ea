//! The system calls of the harness, one thin typed function each.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::AtomicU32;

/// The CPUs of a measurement: the first two this process may run on (one twice if there is one).
///
/// Asked once, before anything is pinned.
pub(crate) fn cpus() -> [usize; 2] {
    static CPUS: OnceLock<[usize; 2]> = OnceLock::new();
    *CPUS.get_or_init(|| {
        // SAFETY: a zeroed cpu_set_t is the empty set.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a live cpu_set_t of the size given.
        let result = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
        assert_eq!(result, 0, "sched_getaffinity failed");
        // SAFETY: every index is below CPU_SETSIZE.
        let mut allowed =
            (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) });
        let first = allowed.next().unwrap_or(0);
        [first, allowed.next().unwrap_or(first)]
    })
}

/// Pins the calling thread to one CPU.
pub(crate) fn pin(cpu: usize) {
    // SAFETY: a zeroed cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `cpu` came out of a cpu_set_t, so it is below CPU_SETSIZE.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: `set` is a live cpu_set_t of the size given.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(result, 0, "cannot pin to CPU {cpu}");
}

/// Has the calling thread run on both CPUs again.
pub(crate) fn unpin() {
    // SAFETY: a zeroed cpu_set_t is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    for cpu in cpus() {
        // SAFETY: as in `pin`.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is a live cpu_set_t of the size given.
    let result = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(result, 0, "cannot run on both CPUs");
}

/// Forks; `None` in the child, its pid in the parent.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: no other thread of this process is running when the harness forks.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Waits for a child to end.
pub(crate) fn reap(pid: i32) -> io::Result<ExitStatus> {
    let mut status = 0;
    loop {
        // SAFETY: `status` is a live int.
        if unsafe { libc::waitpid(pid, &mut status, 0) } == pid {
            return Ok(ExitStatus::from_raw(status));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

/// Asks a process to end; it may be gone already.
pub(crate) fn terminate(pid: i32) {
    // SAFETY: kill touches no memory of ours.
    unsafe { libc::kill(pid, libc::SIGTERM) };
}

/// Ends this process without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: _exit does not return.
    unsafe { libc::_exit(code) }
}

/// Lets the kernel kill this process when the thread that forked it dies.
pub(crate) fn die_with(parent: i32) {
    // SAFETY: PR_SET_PDEATHSIG takes a signal number and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    // SAFETY: getppid touches no memory.
    if unsafe { libc::getppid() } != parent {
        exit_now(1); // the parent died before the line above
    }
}

/// Arms (or, with 0, disarms) the alarm clock of this process.
pub(crate) fn alarm(seconds: u32) {
    // SAFETY: alarm touches no memory.
    unsafe { libc::alarm(seconds) };
}

/// How often the calling thread has given up its CPU to wait.
pub(crate) fn sleeps() -> u64 {
    // SAFETY: a zeroed rusage is one.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: `usage` is live.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &mut usage) };
    usage.ru_nvcsw as u64
}

/// Installs a handler for a signal.
///
/// The handler may call only what is async-signal-safe.
pub(crate) fn on_signal(signal: i32, handler: extern "C" fn(i32)) {
    // SAFETY: every handler of this package keeps to write, kill and _exit.
    unsafe { libc::signal(signal, handler as *const () as libc::sighandler_t) };
}

/// Restores what a signal does by default.
pub(crate) fn default_signal(signal: i32) {
    // SAFETY: SIG_DFL is no function of ours.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Gives the CPU away.
pub(crate) fn yield_now() {
    // SAFETY: sched_yield touches no memory.
    unsafe { libc::sched_yield() };
}

/// Wakes one sleeper on a word shared between processes.
#[inline]
pub(crate) fn futex_wake_one(word: &AtomicU32) {
    // SAFETY: FUTEX_WAKE uses the address as a key only.
    unsafe { libc::syscall(libc::SYS_futex, ptr::from_ref(word), libc::FUTEX_WAKE, 1) };
}

/// Sleeps until either of two words shared between processes is woken, unless one has changed.
#[inline]
pub(crate) fn futex_wait_two(a: &AtomicU32, seen_a: u32, b: &AtomicU32, seen_b: u32) {
    #[repr(C)]
    struct Waiter {
        value: u64,
        address: u64,
        flags: u32,
        reserved: u32,
    }
    const SIZE_U32: u32 = 2; // FUTEX2_SIZE_U32, without FUTEX2_PRIVATE
    let waiter = |word: &AtomicU32, seen: u32| Waiter {
        value: seen.into(),
        address: ptr::from_ref(word) as u64,
        flags: SIZE_U32,
        reserved: 0,
    };
    let waiters = [waiter(a, seen_a), waiter(b, seen_b)];
    // SAFETY: two live waiters over two live words; no timeout.
    unsafe {
        libc::syscall(
            libc::SYS_futex_waitv,
            waiters.as_ptr(),
            waiters.len(),
            0,
            ptr::null::<libc::timespec>(),
            0,
        )
    };
}

/// Lets the kernel answer one system call with EPERM, in this process and its children, for good.
pub(crate) fn refuse(call: libc::c_long) -> io::Result<()> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const ANSWER: u32 = libc::BPF_RET | libc::BPF_K;
    let step =
        |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter { code: code as u16, jt, jf, k };
    let mut filter = [
        step(LOAD, 0, 0, 0), // the number of the call
        step(IS, call as u32, 0, 1),
        step(ANSWER, libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0, 0),
        step(ANSWER, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program =
        libc::sock_fprog { len: filter.len() as libc::c_ushort, filter: filter.as_mut_ptr() };
    // SAFETY: takes no pointers.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SPEC_ALLOW: the filter is to change nothing but the one call.
    let flags = libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    // SAFETY: `program` describes a live filter.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}
