//! What a forked child changes of itself before it runs anything.

#![allow(unsafe_code, reason = "system calls")]

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

unsafe extern "C" {
    static mut environ: *const *const c_char;
}

/// A whole environment, ready to be that of a child.
#[derive(Debug)]
pub(crate) struct Environment {
    pointers: Vec<*const c_char>,
    /// What they point to.
    _variables: Vec<CString>,
}

impl Environment {
    pub(crate) fn new(variables: Vec<CString>) -> Self {
        let pointers = variables.iter().map(|variable| variable.as_ptr());
        let pointers = pointers.chain([core::ptr::null()]).collect();
        Environment { pointers, _variables: variables }
    }

    /// In a child with one thread: makes it the process's. Locks of the environment, which a thread
    /// of the parent may have held, are not needed.
    pub(crate) fn put_in_place(self) {
        let kept = Box::leak(Box::new(self));
        // SAFETY: pointers to strings that are never freed, and a null at the end; no other thread.
        unsafe { environ = kept.pointers.as_ptr() };
    }
}

/// Takes a variable out of the environment, in a process that has one thread.
pub(crate) fn forget_variable(name: &str) {
    // SAFETY: no other thread reads or writes the environment: `main` has only begun, as its caller's
    // documentation asks, or the process has one thread.
    unsafe { std::env::remove_var(name) };
}

/// In a child that uses it for nothing else: makes a descriptor the standard stream of this number. It is
/// none itself, and is not open any more then: who closes the stream has closed the file.
pub(crate) fn set_stream(number: usize, fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes integers.
    super::check(unsafe { libc::dup2(fd.as_raw_fd(), number as libc::c_int) })?;
    super::file::close_raw(fd.as_raw_fd());
    Ok(())
}

/// Whether the standard input is one without content already.
pub(crate) fn has_no_standard_input() -> bool {
    // SAFETY: all-zero bytes are a valid stat.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    // SAFETY: `stat` is a live stat for the kernel to fill in.
    let is_open = unsafe { libc::fstat(0, &raw mut stat) } == 0;
    let (is_device, number) = (stat.st_mode & libc::S_IFMT == libc::S_IFCHR, libc::makedev(1, 3));
    let is_null = is_device && stat.st_rdev == number;
    // SAFETY: takes integers.
    let flags = unsafe { libc::fcntl(0, libc::F_GETFL) };
    // SAFETY: as above. A copy would outlive an exec.
    let stays = unsafe { libc::fcntl(0, libc::F_GETFD) } & libc::FD_CLOEXEC == 0;
    is_open && is_null && flags & libc::O_ACCMODE == libc::O_RDONLY && stays
}

/// Makes the null device the standard stream of this number. Where there is none, a file without
/// content is the standard input.
pub(crate) fn set_null_stream(number: usize) -> io::Result<()> {
    let number = number as libc::c_int;
    let access = if number == 0 { libc::O_RDONLY } else { libc::O_WRONLY };
    // SAFETY: a string with its end.
    let mut fd = unsafe { libc::open(c"/dev/null".as_ptr(), access) };
    if fd < 0 && number == 0 {
        // SAFETY: as above.
        fd = unsafe { libc::memfd_create(c"nothing".as_ptr(), 0) };
    }
    if super::check(fd)? != number {
        // SAFETY: takes integers.
        super::check(unsafe { libc::dup2(fd, number) })?;
        super::file::close_raw(fd);
    }
    Ok(())
}

/// In a child with one thread: runs `f` while all that is written to standard output goes nowhere.
pub(crate) fn with_no_standard_output(f: impl FnOnce()) {
    // SAFETY: takes integers.
    let before = unsafe { libc::fcntl(1, libc::F_DUPFD_CLOEXEC, 3) };
    // SAFETY: a string with its end.
    let mut nowhere =
        unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if nowhere < 0 {
        // Where there are no devices.
        // SAFETY: a string with its end.
        nowhere = unsafe { libc::memfd_create(c"nowhere".as_ptr(), libc::MFD_CLOEXEC) };
    }
    if before >= 0 && nowhere >= 0 {
        // SAFETY: takes integers.
        unsafe { libc::dup2(nowhere, 1) };
        f();
        // SAFETY: takes integers.
        unsafe { libc::dup2(before, 1) };
    } else if before < 0 {
        // There is none.
        f();
    }
    for fd in [before, nowhere] {
        if fd > 2 {
            super::file::close_raw(fd);
        }
    }
}

/// Gives every signal that is handled its default action, and blocks none. Nothing of this can fail.
pub(crate) fn set_default_signals() {
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: all-zero bytes are a valid sigaction: that of the default action.
        let default: libc::sigaction = unsafe { core::mem::zeroed() };
        let mut old = default;
        // SAFETY: `old` is live for the kernel to fill in. What is no signal, or libc's own, is an error.
        let found = unsafe { libc::sigaction(signal, core::ptr::null(), &raw mut old) };
        if found == 0 && ![libc::SIG_DFL, libc::SIG_IGN].contains(&old.sa_sigaction) {
            // SAFETY: `default` is live for the kernel to read.
            unsafe { libc::sigaction(signal, &raw const default, core::ptr::null_mut()) };
        }
    }
    // SAFETY: all-zero bytes are a valid set: of no signals.
    let none: libc::sigset_t = unsafe { core::mem::zeroed() };
    // SAFETY: `none` is live for the kernel to read.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, core::ptr::null_mut()) };
}

/// Makes a directory the current one.
pub(crate) fn set_directory(path: &CStr) -> io::Result<()> {
    // SAFETY: a live string.
    super::check(unsafe { libc::chdir(path.as_ptr()) }).map(drop)
}

/// Sets how much this process yields to others: from -20 to 19.
pub(crate) fn set_niceness(niceness: i32) -> io::Result<()> {
    // SAFETY: takes integers.
    super::check(unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, niceness) }).map(drop)
}

/// Sets which rights files that this process makes do not have.
pub(crate) fn set_umask(mask: u32) {
    // SAFETY: takes an integer, and always succeeds.
    unsafe { libc::umask(mask) };
}

/// Moves this process into a process group of its session; 0: a new one.
pub(crate) fn set_process_group(id: u32) -> io::Result<()> {
    // SAFETY: takes integers. What is no id is negative, which the kernel refuses.
    super::check(unsafe { libc::setpgid(0, id.cast_signed()) }).map(drop)
}

/// Begins a session, without a terminal, of which this process is the first.
pub(crate) fn begin_session() -> io::Result<()> {
    // SAFETY: takes nothing.
    super::check(unsafe { libc::setsid() }).map(drop)
}

/// A set of processors.
#[derive(Debug)]
pub(crate) struct Processors(Vec<u64>);

impl FromIterator<usize> for Processors {
    fn from_iter<I: IntoIterator<Item = usize>>(numbers: I) -> Self {
        /// Above every number that a kernel knows.
        const LIMIT: usize = 1 << 20;
        let mut mask = vec![0u64];
        for number in numbers {
            let number = number.min(LIMIT);
            mask.resize(mask.len().max(number / 64 + 1), 0);
            mask[number / 64] |= 1 << (number % 64);
        }
        Processors(mask)
    }
}

/// Sets the processors that the calling thread runs on.
pub(crate) fn set_affinity(processors: &Processors) -> io::Result<()> {
    let mask = &*processors.0;
    let set = mask.as_ptr().cast::<libc::cpu_set_t>();
    // SAFETY: a live mask of the size that is said.
    super::check(unsafe { libc::sched_setaffinity(0, size_of_val(mask), set) }).map(drop)
}

/// Has a signal do what it does by default, in a process with one thread.
#[cfg(feature = "serde")]
pub(crate) fn default_action(signal: i32) {
    // SAFETY: no handler is installed. SIGKILL and SIGSTOP are refused, and so is what is no signal.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
}

/// Has a signal do nothing, in a process with one thread.
#[cfg(feature = "serde")]
pub(crate) fn ignore(signal: i32) {
    // SAFETY: as above.
    unsafe { libc::signal(signal, libc::SIG_IGN) };
}

/// The soft limit of a file's size in bytes; `None`: there is none.
#[cfg(feature = "serde")]
pub(crate) fn file_size_limit() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the kernel to fill in.
    let result = unsafe { libc::getrlimit(libc::RLIMIT_FSIZE, &raw mut limit) };
    (result == 0 && limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

/// What a process may use a limited amount of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of address space.
    AddressSpace,
    /// Bytes of a core file.
    CoreFile,
    /// Seconds of processor time. A process that uses more gets SIGXCPU.
    CpuTime,
    /// Bytes of data segment and private memory.
    Data,
    /// Bytes of a file that it writes: one in memory, too, which a result of more than 128 bytes is put
    /// into. A process that writes more gets SIGXFSZ.
    FileSize,
    /// Bytes that it may lock into memory.
    LockedMemory,
    /// Descriptors: one above the highest number.
    OpenFiles,
    /// Processes and threads of its user.
    Processes,
    /// Bytes of the stack.
    Stack,
}

/// Which of the two limits of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The one that counts. A process may set it again, up to the hard one.
    Soft,
    /// Both. Nobody without privileges raises the hard one again.
    Both,
}

/// Limits a resource.
pub(crate) fn set_limit(resource: Resource, amount: u64, kind: Kind) -> io::Result<()> {
    let resource = match resource {
        Resource::AddressSpace => libc::RLIMIT_AS,
        Resource::CoreFile => libc::RLIMIT_CORE,
        Resource::CpuTime => libc::RLIMIT_CPU,
        Resource::Data => libc::RLIMIT_DATA,
        Resource::FileSize => libc::RLIMIT_FSIZE,
        Resource::LockedMemory => libc::RLIMIT_MEMLOCK,
        Resource::OpenFiles => libc::RLIMIT_NOFILE,
        Resource::Processes => libc::RLIMIT_NPROC,
        Resource::Stack => libc::RLIMIT_STACK,
    };
    let mut limit = libc::rlimit { rlim_cur: amount, rlim_max: amount };
    if kind == Kind::Soft {
        // SAFETY: `limit` is live for the kernel to fill in.
        super::check(unsafe { libc::getrlimit(resource, &raw mut limit) })?;
        limit.rlim_cur = amount;
    }
    // SAFETY: `limit` is live for the kernel to read.
    super::check(unsafe { libc::setrlimit(resource, &raw const limit) }).map(drop)
}
