//! What the tests share: a watchdog, names that go away again, children that cannot be left behind.

#![allow(dead_code, reason = "each test uses its part of it")]
#![allow(unsafe_code, reason = "signals, limits and other system calls")]

pub(crate) mod example;
pub(crate) mod filter;

use commons::{ChannelError, Departure, JoinError, Outcome, Process};
use std::fs;
use std::io::{self, Read, Seek, Write};
use std::ops::Deref;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex, Once, OnceLock};
use std::time::{Duration, Instant};

/// Says that a channel told of a child's death. Which process it was is unknown where another one has
/// its place by now.
#[track_caller]
pub(crate) fn assert_died<T: std::fmt::Debug>(told: &Result<T, ChannelError>, child: u32) {
    let Err(ChannelError::Disconnected(Departure::Died { pid })) = told else { panic!("{told:?}") };
    assert!(pid.is_none_or(|pid| pid == child), "{told:?}");
}

// ---- the watchdog ----

struct Watched {
    id: u64,
    what: String,
    seconds: u64,
    until: Instant,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());
static CHANGED: Condvar = Condvar::new();

/// Ends the whole process, with a message, unless it is dropped in time.
#[must_use]
pub(crate) struct Watchdog(u64);

/// Gives the calling test two minutes.
pub(crate) fn watchdog() -> Watchdog {
    watchdog_of(120)
}

/// Gives the calling test this many seconds.
pub(crate) fn watchdog_of(seconds: u64) -> Watchdog {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        janitor();
        panic_without_locks_in_children();
        // Shells start what runs in the background with this signal ignored.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGINT, libc::SIG_DFL) };
        std::thread::spawn(watch);
    });
    let id = NEXT.fetch_add(1, Relaxed);
    let what = std::thread::current().name().unwrap_or("a test").to_owned();
    let until = Instant::now() + Duration::from_secs(seconds);
    WATCHED.lock().unwrap().push(Watched { id, what, seconds, until });
    CHANGED.notify_all();
    Watchdog(id)
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        if let Ok(mut watched) = WATCHED.lock() {
            watched.retain(|w| w.id != self.0);
        }
    }
}

fn watch() {
    let mut watched = WATCHED.lock().unwrap();
    loop {
        let now = Instant::now();
        if let Some(late) = watched.iter().find(|w| w.until <= now) {
            // Not `eprintln`: libtest would keep that to itself.
            let _ = writeln!(
                io::stderr(),
                "\nwatchdog: `{}` hangs: not done after {} s",
                late.what,
                late.seconds
            );
            std::process::abort();
        }
        let next = watched.iter().map(|w| w.until - now).min().unwrap_or(Duration::from_secs(3600));
        watched = CHANGED.wait_timeout(watched, next).unwrap().0;
    }
}

/// A thread that prints a panic holds a lock of the standard library; a child forked at that moment
/// would wait for it for ever when it panics itself. So children print without it.
fn panic_without_locks_in_children() {
    let root = std::process::id();
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if std::process::id() == root {
            hook(panic);
        } else {
            let _ = io::stderr().write_all(format!("in a child: {panic}\n").as_bytes());
        }
    }));
}

// ---- names ----

static ROOT: OnceLock<u32> = OnceLock::new();

/// What all names of this test program begin with, its children's included.
fn prefix() -> String {
    format!("commons-test-{}-", ROOT.get_or_init(std::process::id))
}

/// Where the names of this program are.
pub(crate) fn directory() -> PathBuf {
    std::env::var_os("COMMONS_SHM_DIR").map_or_else(|| PathBuf::from("/dev/shm"), PathBuf::from)
}

/// Removes whatever the tests left when this program is gone, however it ended: the end of its
/// standard input says so.
fn janitor() {
    static INPUT: OnceLock<ChildStdin> = OnceLock::new();
    let names = directory().join(prefix());
    let child = Command::new("/bin/sh")
        .args(["-c", "read -r _; rm -rf -- \"$0\"*"])
        .arg(names)
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    if let Some(input) = child.expect("a shell").stdin.take() {
        let _ = INPUT.set(input);
    }
}

/// A name of its own in shared memory, removed when this is dropped by the process that made it.
#[derive(Debug)]
pub(crate) struct Name {
    name: String,
    owner: u32,
}

/// A name that nobody else has.
pub(crate) fn name(what: &str) -> Name {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let owner = std::process::id();
    let name = format!("{}{owner}-{}-{what}", prefix(), NEXT.fetch_add(1, Relaxed));
    Name { name, owner }
}

impl Name {
    /// The file of the name.
    pub(crate) fn path(&self) -> PathBuf {
        directory().join(&self.name)
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.name
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        if self.owner == std::process::id() {
            let path = self.path();
            let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
        }
    }
}

// ---- children ----

/// A child that is killed and reaped when this is dropped, and does not outlive its parent.
#[derive(Debug)]
pub(crate) struct Child<R: Outcome>(Option<Process<R>>);

/// Starts a child that ends with the calling thread. It runs `f` by the time that this returns: so if it
/// is asleep from then on, `f` put it to sleep.
pub(crate) fn child<R, F>(f: F) -> Child<R>
where
    R: Outcome,
    F: FnOnce() -> R + Send + 'static,
{
    let parent = std::process::id();
    let (mut begins, mut begun) = io::pipe().expect("a pipe");
    let process = Process::spawn(move || {
        end_with(parent);
        begun.write_all(&[0]).expect("the parent reads");
        drop(begun);
        f()
    });
    // Not the end of the pipe: other children may have been forked with it.
    begins.read_exact(&mut [0]).expect("it begins");
    Child(Some(process.expect("a child process")))
}

/// Runs `f` in a process with one thread and gives what it returned.
pub(crate) fn in_child<R, F>(f: F) -> R
where
    R: Outcome,
    F: FnOnce() -> R + Send + 'static,
{
    child(f).finish()
}

/// Runs `f` in a process that has its named segments in a directory of its own.
pub(crate) fn in_private_directory<R, F>(f: F) -> R
where
    R: Outcome,
    F: FnOnce() -> R + Send + 'static,
{
    let directory = name("directory");
    fs::create_dir(directory.path()).expect("a directory");
    let path = directory.path();
    in_child(move || {
        live_in(&path);
        f()
    })
}

/// In a child: has its named segments in this directory from now on.
pub(crate) fn live_in(directory: &std::path::Path) {
    // SAFETY: a child has one thread.
    unsafe { std::env::set_var("COMMONS_SHM_DIR", directory) };
}

/// In a child: dies with its parent's thread, and in any case after five minutes.
pub(crate) fn end_with(parent: u32) {
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    die_after(300);
    // SAFETY: takes nothing.
    if unsafe { libc::getppid() } as u32 != parent {
        std::process::abort();
    }
}

/// Ends the calling process by SIGALRM after this many seconds.
pub(crate) fn die_after(seconds: u32) {
    // SAFETY: takes an integer.
    unsafe { libc::alarm(seconds) };
}

impl<R: Outcome> Child<R> {
    pub(crate) fn id(&self) -> u32 {
        self.0.as_ref().unwrap().pid()
    }

    pub(crate) fn process(&mut self) -> &mut Process<R> {
        self.0.as_mut().unwrap()
    }

    pub(crate) fn join(mut self) -> Result<R, JoinError> {
        self.0.take().unwrap().join()
    }

    /// What the child returned; panics with what it panicked with.
    #[track_caller]
    pub(crate) fn finish(self) -> R {
        match self.join() {
            Ok(value) => value,
            Err(error) => panic!("{error}"),
        }
    }

    /// Kills it and waits until the kernel is done with it.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(process) = self.0.take() {
            let _ = process.kill();
            let _ = process.join();
        }
    }

    /// Stops it, and waits until it is stopped.
    pub(crate) fn stop(&self) {
        signal(self.id(), libc::SIGSTOP);
        // SAFETY: all-zero bytes are a valid siginfo_t.
        let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
        let flags = libc::WSTOPPED | libc::WNOWAIT;
        // SAFETY: `info` is live for the kernel to fill in.
        let result = unsafe { libc::waitid(libc::P_PID, self.id(), &raw mut info, flags) };
        assert_eq!(result, 0, "waitid: {}", io::Error::last_os_error());
    }

    /// Lets it go on.
    pub(crate) fn go_on(&self) {
        signal(self.id(), libc::SIGCONT);
    }
}

impl<R: Outcome> Drop for Child<R> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Sends a signal to a process that is there.
pub(crate) fn signal(pid: u32, signal: i32) {
    // SAFETY: takes integers.
    let result = unsafe { libc::kill(pid as libc::pid_t, signal) };
    assert_eq!(result, 0, "kill: {}", io::Error::last_os_error());
}

/// Forks as a library would that knows nothing of this crate, runs `f` in the child and gives its
/// exit code. `f` uses no lock that another thread may hold.
pub(crate) fn raw_fork(f: impl FnOnce() -> i32) -> RawChild {
    let parent = std::process::id();
    // SAFETY: the child uses only what the caller says, and ends without destructors.
    match unsafe { libc::fork() } {
        -1 => panic!("fork: {}", io::Error::last_os_error()),
        0 => {
            end_with(parent);
            let code = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(101);
            // SAFETY: ends the process.
            unsafe { libc::_exit(code) }
        }
        pid => RawChild(Some(pid)),
    }
}

/// A child of [`raw_fork`]; killed when dropped.
#[derive(Debug)]
pub(crate) struct RawChild(Option<libc::pid_t>);

impl RawChild {
    pub(crate) fn id(&self) -> u32 {
        self.0.unwrap() as u32
    }

    /// Waits for its end: the exit code, or minus the signal.
    pub(crate) fn wait(mut self) -> i32 {
        self.reap()
    }

    fn reap(&mut self) -> i32 {
        let Some(pid) = self.0.take() else { return 0 };
        let mut status = 0;
        // SAFETY: `status` is live for the kernel to fill in.
        while unsafe { libc::waitpid(pid, &raw mut status, 0) } < 0 {
            let error = io::Error::last_os_error();
            assert_eq!(error.kind(), io::ErrorKind::Interrupted, "waitpid: {error}");
        }
        if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { -libc::WTERMSIG(status) }
    }
}

impl Drop for RawChild {
    fn drop(&mut self) {
        if let Some(pid) = self.0 {
            signal(pid as u32, libc::SIGKILL);
            self.reap();
        }
    }
}

/// A process that is nobody's child by now, or somebody else's; killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Stray(pub(crate) u32);

impl Stray {
    /// Whether it still lives. Its id is not anybody else's: that takes longer than a test.
    pub(crate) fn is_alive(&self) -> bool {
        lives(self.0)
    }
}

impl Drop for Stray {
    fn drop(&mut self) {
        // SAFETY: takes integers. It may have ended by itself.
        unsafe { libc::kill(self.0 as libc::pid_t, libc::SIGKILL) };
    }
}

fn lives(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or("").starts_with(" Z"))
}

/// Sleeps until a signal ends the process.
pub(crate) fn pause_for_ever() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// The id of the calling thread.
pub(crate) fn thread_id() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::gettid() as u32 }
}

/// Whether a child sleeps on a word of shared memory before it ends.
pub(crate) fn falls_asleep<R: Outcome>(child: &mut Child<R>) -> bool {
    let pid = child.id();
    while child.process().is_alive() {
        if is_asleep(pid) {
            return true;
        }
        std::thread::yield_now();
    }
    false
}

/// Waits until a thread sleeps on a word of shared memory. (For the main thread of a process, its
/// process id.)
pub(crate) fn wait_until_asleep(thread: u32) {
    while !is_asleep(thread) {
        assert!(lives(thread), "{thread} has ended");
        std::thread::yield_now();
    }
}

fn is_asleep(thread: u32) -> bool {
    let Some(line) = system_call(thread) else { return false };
    let mut words = line.split_ascii_whitespace();
    let call: Option<i64> = words.next().and_then(|w| w.parse().ok());
    match call {
        Some(libc::SYS_futex_waitv) => true,
        Some(libc::SYS_futex) => {
            let operation = words.nth(1).and_then(|w| w.strip_prefix("0x"));
            let operation = operation.and_then(|w| i32::from_str_radix(w, 16).ok());
            operation.is_some_and(|o| o & 0x7f == libc::FUTEX_WAIT_BITSET)
        }
        _ => false,
    }
}

/// The system call in which a thread sleeps: its number and arguments, or a word if it is in none.
fn system_call(thread: u32) -> Option<String> {
    let path = format!("/proc/{thread}/syscall");
    match fs::read_to_string(&path) {
        Ok(line) => Some(line),
        // It has just ended, and may have been reaped.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ESRCH | libc::ENOENT)) => None,
        Err(e) => panic!("{path}: {e}"),
    }
}

/// A gate for children: they wait at it until the parent opens it for that many.
pub(crate) struct Gate {
    reader: io::PipeReader,
    writer: io::PipeWriter,
}

impl Gate {
    pub(crate) fn new() -> Self {
        let (reader, writer) = io::pipe().expect("a pipe");
        Gate { reader, writer }
    }

    /// What a child waits with.
    pub(crate) fn entrance(&self) -> Entrance {
        Entrance(self.reader.try_clone().expect("a descriptor"))
    }

    pub(crate) fn open_for(&self, count: usize) {
        (&self.writer).write_all(&vec![0; count]).expect("room in the pipe");
    }
}

/// The child's side of a [`Gate`].
pub(crate) struct Entrance(io::PipeReader);

impl Entrance {
    pub(crate) fn pass(&mut self) {
        self.0.read_exact(&mut [0]).expect("the gate is opened");
    }
}

/// Lets this process have as many descriptors as the machine allows, for more than a thousand
/// attachments.
pub(crate) fn raise_descriptor_limit() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the kernel to fill in.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    limit.rlim_cur = limit.rlim_max;
    // SAFETY: `limit` is live for the kernel to read.
    unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
}

/// A process that takes all places that are left in the table of a segment.
pub(crate) fn crowd(name: &'static str) -> RawChild {
    let (mut is_ready, ready) = io::pipe().unwrap();
    let crowd = raw_fork(move || {
        raise_descriptor_limit();
        let mut handles = Vec::new();
        loop {
            match commons::Segment::open(name) {
                Ok(segment) => handles.push(segment),
                Err(commons::Error::TableFull { .. }) => break,
                Err(other) => panic!("{other}"),
            }
        }
        assert!(handles.len() > 1000);
        (&ready).write_all(&[1]).unwrap();
        pause_for_ever()
    });
    is_ready.read_exact(&mut [0]).unwrap();
    crowd
}

// ---- what a process has ----

/// What the calling process prints on standard error in `f`, and in its children.
pub(crate) fn errors_of(f: impl FnOnce()) -> String {
    // SAFETY: the name has its end.
    let file = unsafe { libc::memfd_create(c"errors".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(file > 2);
    // SAFETY: just made.
    let mut file = unsafe { fs::File::from_raw_fd(file) };
    // SAFETY: takes integers.
    let before = unsafe { libc::dup(2) };
    // SAFETY: takes integers.
    unsafe { libc::dup2(file.as_raw_fd(), 2) };
    f();
    // SAFETY: takes integers.
    unsafe { libc::dup2(before, 2) };
    // SAFETY: takes integers.
    unsafe { libc::close(before) };
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// A child of this process, by whatever it was started, as /proc has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InProc {
    pub(crate) pid: u32,
    /// `Z`: it has ended and nobody has waited for it.
    pub(crate) state: char,
}

/// All children of this process.
pub(crate) fn children() -> Vec<InProc> {
    let own = std::process::id();
    let children = fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut fields = stat.rsplit(')').next()?.split_ascii_whitespace();
        let state = fields.next()?.parse().ok()?;
        (fields.next()?.parse() == Ok(own)).then_some(InProc { pid, state })
    });
    children.collect()
}

/// The children of this process that have ended and that nobody has waited for.
pub(crate) fn zombies() -> Vec<InProc> {
    children().into_iter().filter(|child| child.state == 'Z').collect()
}

/// How many descriptors this process has open. A child is started before, where that is possible, since a
/// process keeps for the next one what the last one had.
pub(crate) fn descriptors() -> usize {
    if let Ok(child) = Process::spawn(|| ()) {
        child.join().expect("its end");
    }
    open_descriptors()
}

/// How many descriptors this process has open.
pub(crate) fn open_descriptors() -> usize {
    // One of them reads the directory.
    fs::read_dir("/proc/self/fd").expect("/proc").count() - 1
}

/// Mappings of this process that are the crate's: segments, and memory that is wiped in children. (Of
/// all mappings the allocator makes some at moments of its own; and a process keeps what it tells its
/// parent through, if it is a child, and what its children tell it through.)
pub(crate) fn mappings() -> usize {
    let directory = std::env::var("COMMONS_SHM_DIR").unwrap_or_else(|_| "/dev/shm".to_owned());
    let maps = fs::read_to_string("/proc/self/smaps").expect("/proc");
    let is_ours = |line: &&str| match line.split_once(':') {
        Some(("VmFlags", flags)) => flags.split(' ').any(|flag| flag == "wf"),
        _ => line.find('/').is_some_and(|path| {
            line[path..].starts_with("/memfd:commons") || line[path..].starts_with(&directory)
        }),
    };
    let sheets = maps.lines().filter(|line| line.contains("/memfd:commons sheets")).count();
    maps.lines().filter(is_ours).count() - sheets.min(2)
}

/// Bytes of anonymous segments that this process has open.
pub(crate) fn anonymous_bytes() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut seen = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").expect("/proc").flatten() {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        if !link.to_string_lossy().starts_with("/memfd:commons (") {
            continue;
        }
        if let Ok(meta) = fs::metadata(entry.path()) {
            seen.push((meta.ino(), meta.blocks() * 512));
        }
    }
    seen.sort_unstable();
    seen.dedup();
    seen.iter().map(|(_, bytes)| bytes).sum()
}

// ---- chance ----

/// Pseudo-random numbers from a seed (SplitMix64; Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(u64);

impl Random {
    /// From the environment's SEED, or another one each time; prints it.
    pub(crate) fn seeded(test: &str) -> Self {
        let seed = match std::env::var("SEED") {
            Ok(seed) => seed.parse().expect("SEED is a number"),
            Err(_) => {
                let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
                now.unwrap().as_nanos() as u64
            }
        };
        println!("{test}: SEED={seed}");
        Random(seed)
    }

    /// From a number of another one, for a child.
    pub(crate) fn of(seed: u64) -> Self {
        Random(seed)
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Lets the others work for less than this many microseconds.
    pub(crate) fn pause(&mut self, microseconds: u64) {
        std::thread::sleep(Duration::from_micros(self.below(microseconds)));
    }

    /// From 0 up to, and without, `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.number() % limit
    }
}
