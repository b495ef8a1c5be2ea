//! Runs the example programs and gives what they print.
//!
//! The process that was started is waited for, and none of those that it starts: what is printed by its
//! end counts, and none of the others may be left then.

use super::{name, system_call};
use std::fs::{self, File};
use std::io::{self, PipeReader, Read, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Where cargo puts an example: beside the directory of this test.
fn executable(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let profile = this.ancestors().nth(2).expect("the directory of the profile");
    let path = profile.join("examples").join(name);
    // `cargo test` builds them, but not where it is asked for this test alone.
    assert!(path.exists(), "not built: run `cargo build --examples --all-features` first");
    path
}

/// What an example did.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) pid: u32,
    pub(crate) status: ExitStatus,
    /// At least as long as it ran.
    pub(crate) took: Duration,
    pub(crate) lines: Vec<String>,
    pub(crate) errors: Vec<String>,
}

impl Run {
    fn succeeded(self) -> Self {
        assert!(self.status.success(), "{self:?}");
        self
    }
}

/// Runs an example, which is to succeed.
pub(crate) fn run(name: &str) -> Run {
    run_with(name, &[]).succeeded()
}

/// The lines that an example prints.
pub(crate) fn output(name: &str) -> Vec<String> {
    output_with(name, &[])
}

/// The lines that an example prints that was given these arguments.
pub(crate) fn output_with(name: &str, arguments: &[&str]) -> Vec<String> {
    run_with(name, arguments).succeeded().lines
}

/// The lines that an example prints, and those on standard error.
pub(crate) fn output_and_errors(name: &str) -> (Vec<String>, Vec<String>) {
    let Run { lines, errors, .. } = run(name);
    (lines, errors)
}

/// The lines that an example prints and those on standard error, in their order.
pub(crate) fn output_among_errors(name: &str) -> Vec<String> {
    let both = file();
    run_into(name, &[], &both, &both).succeeded().lines
}

/// The exit code of an example that was given these arguments, its lines, and those on standard error.
pub(crate) fn run_to_its_end(name: &str, arguments: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let Run { status, lines, errors, .. } = run_with(name, arguments);
    (status.code().expect("an exit code"), lines, errors)
}

fn run_with(name: &str, arguments: &[&str]) -> Run {
    run_into(name, arguments, &file(), &file())
}

/// Runs an example that prints into these files.
fn run_into(name: &str, arguments: &[&str], output: &File, errors: &File) -> Run {
    let again = |file: &File| file.try_clone().expect("a descriptor");
    let mut command = Command::new(executable(name));
    command.args(arguments).stdout(again(output)).stderr(again(errors));
    let mut example = Example::start(command);
    let (status, took) = example.wait();
    let printed = |mut file: &File| {
        file.rewind().expect("a file");
        lines(file)
    };
    Run { pid: example.id(), status, took, lines: printed(output), errors: printed(errors) }
}

/// A file that is removed already. Whoever writes writes at its end.
fn file() -> File {
    let path = name("printed").path();
    let file = File::options().read(true).append(true).create_new(true).open(&path);
    let file = file.expect("a file");
    fs::remove_file(&path).expect("it is there");
    file
}

/// All lines that are left to read.
fn lines(mut from: impl Read) -> Vec<String> {
    let mut text = String::new();
    from.read_to_string(&mut text).expect("text");
    text.lines().map(str::to_owned).collect()
}

/// Where a line is among others.
pub(crate) fn position(lines: &[String], line: &str) -> usize {
    lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no `{line}` in {lines:?}"))
}

/// An example that runs, in a process group of its own, which is killed when this is dropped.
#[derive(Debug)]
struct Example {
    process: Child,
    since: Instant,
}

impl Example {
    fn start(mut command: Command) -> Self {
        let since = Instant::now();
        let die_with_the_test = || {
            // SAFETY: takes integers.
            unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
            Ok(())
        };
        // SAFETY: makes one system call.
        unsafe { command.pre_exec(die_with_the_test) };
        let process = command.stdin(Stdio::null()).process_group(0).spawn().expect("the example");
        Example { process, since }
    }

    fn id(&self) -> u32 {
        self.process.id()
    }

    /// Sends a signal to all processes of the example; whether there are any.
    fn signal(&self, signal: i32) -> bool {
        // SAFETY: takes integers.
        unsafe { libc::kill(-(self.id() as libc::pid_t), signal) == 0 }
    }

    /// Waits for the end of the process that was started, which is to be that of all: how it ended, and
    /// how long that took.
    fn wait(&mut self) -> (ExitStatus, Duration) {
        let status = self.process.wait().expect("its end");
        let took = self.since.elapsed();
        assert!(!self.signal(0), "it left processes behind");
        (status, took)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        self.signal(libc::SIGKILL);
        let _ = self.process.wait();
    }
}

/// An example whose processes wait when they print something, until they are let go.
#[derive(Debug)]
pub(crate) struct Held {
    example: Example,
    printed: PipeReader,
    /// How much is in front of what they print.
    full: usize,
}

impl Held {
    /// Starts an example whose first process prints nothing itself.
    pub(crate) fn start(name: &str) -> Self {
        let (printed, mut prints) = io::pipe().expect("a pipe");
        // SAFETY: takes integers.
        let room = unsafe { libc::fcntl(prints.as_raw_fd(), libc::F_GETPIPE_SZ) };
        let full = usize::try_from(room).expect("the size of a pipe");
        prints.write_all(&vec![b'.'; full]).expect("room in the pipe");
        let mut command = Command::new(executable(name));
        command.stdout(prints);
        Held { example: Example::start(command), printed, full }
    }

    /// Waits until the example has this many children and waits for them: which they are.
    pub(crate) fn awaited_children(&mut self, count: usize) -> Vec<u32> {
        let id = self.example.id();
        loop {
            let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
            let awaits = is_waiting_for_a_child(id);
            let ended = self.example.process.try_wait().expect("its state");
            assert!(ended.is_none(), "it ended before its children");
            let children = children.expect("the process is there");
            let children: Vec<_> =
                children.split_whitespace().map(|pid| pid.parse().expect("an id")).collect();
            if awaits && children.len() == count {
                return children;
            }
            thread::yield_now();
        }
    }

    /// Lets them print, and gives the lines.
    pub(crate) fn let_go(mut self) -> Vec<String> {
        self.printed.read_exact(&mut vec![0; self.full]).expect("what the pipe was filled with");
        let (status, _) = self.example.wait();
        assert!(status.success(), "{status}");
        lines(&self.printed)
    }
}

/// Whether the process sleeps until a child has ended, or a descriptor of one says so.
fn is_waiting_for_a_child(pid: u32) -> bool {
    let call = system_call(pid).and_then(|line| line.split(' ').next()?.parse().ok());
    let waits = [
        libc::SYS_waitid,
        libc::SYS_ppoll,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_poll,
    ];
    call.is_some_and(|call| waits.contains(&call))
}

/// Whether the process runs the program that it was forked by, and has not become a new run of one.
pub(crate) fn is_a_fork(pid: u32) -> bool {
    /// `PF_FORKNOEXEC` of the kernel's flags of a process.
    const FORKED: u32 = 0x40;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("the process is there");
    // After its name, which may have spaces.
    let after = stat.rsplit_once(')').expect("a name").1;
    let flags: u32 = after.split_whitespace().nth(6).expect("flags").parse().expect("a number");
    flags & FORKED != 0
}
