//! The process around the harness: whatever becomes of that, nothing is left behind.
//!
//! It runs the harness as a child with a directory of its own in shared memory, adopts every orphan,
//! and afterwards ends what still runs and removes the directory.

#![allow(unsafe_code, reason = "system calls")]

use super::part::children;
use super::sys::{self, Pid};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};
use std::{env, fs, io, mem, ptr};

/// Set for the inner process.
const INNER: &str = "KILL_INNER";
/// What the directories are called, in front of the process id.
const PREFIX: &str = "commons-kill-";
/// Where segments live by default.
const SHARED_MEMORY: &str = "/dev/shm";

/// Whether this is the process that does the work.
pub(crate) fn is_inner() -> bool {
    env::var_os(INNER).is_some()
}

/// Runs this program again, inside, and cleans up after it.
pub(crate) fn run() -> io::Result<ExitCode> {
    remove_remains();
    sys::adopt_orphans();
    let directory = directory_of(sys::own_pid());
    fs::create_dir(&directory)?;
    // Before the child exists, so that none of these is missed.
    let signals = hold_signals();
    let mut command = Command::new(env::current_exe()?);
    command.args(env::args_os().skip(1)).env(INNER, "1").env("COMMONS_SHM_DIR", &directory);
    let parent = sys::own_pid();
    // SAFETY: makes a few system calls and allocates nothing.
    let child = unsafe {
        command.process_group(0).pre_exec(move || {
            sys::die_with(parent);
            release_signals();
            Ok(())
        })
    };
    let mut child = child.spawn()?;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if next_signal(&signals) != libc::SIGCHLD {
            break None;
        }
    };
    sys::kill(-(child.id().cast_signed()), sys::SIGKILL);
    let strays = end_children();
    let left = fs::read_dir(&directory)?.flatten().map(|entry| entry.file_name());
    let left: Vec<_> = left.collect();
    fs::remove_dir_all(&directory)?;
    match status {
        None => eprintln!("interrupted"),
        Some(status) => {
            if let Some(signal) = status.signal() {
                eprintln!("the harness was ended by signal {signal}");
            }
            if !left.is_empty() {
                eprintln!("left in shared memory: {left:?}");
            }
            if strays > 0 {
                eprintln!("left running: {strays} processes");
            }
            if status.success() && left.is_empty() && strays == 0 {
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Ok(ExitCode::FAILURE)
}

fn directory_of(pid: Pid) -> PathBuf {
    Path::new(SHARED_MEMORY).join(format!("{PREFIX}{pid}"))
}

/// Removes the directories of supervisors that were killed themselves.
fn remove_remains() {
    for entry in fs::read_dir(SHARED_MEMORY).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.parse::<Pid>().ok());
        if pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Ends what the harness left running, and says how many were not ending by themselves.
fn end_children() -> usize {
    let mut strays = 0;
    loop {
        match sys::wait(-1, false) {
            Ok(Some(_)) => {}
            Ok(None) => {
                for pid in children() {
                    let Ok(descriptor) = sys::open_process(pid) else { continue };
                    // Killed with its group, or bound to end with its parent.
                    let patience = Instant::now() + Duration::from_secs(2);
                    if !sys::wait_readable(&descriptor, patience) {
                        strays += 1;
                        sys::kill(pid, sys::SIGKILL);
                        sys::wait_readable(&descriptor, Instant::now() + super::run::REAPING);
                    }
                }
            }
            Err(_) => return strays,
        }
    }
}

/// Holds back the signals that end a program from outside, and those that tell of children.
fn hold_signals() -> libc::sigset_t {
    // SAFETY: all-zero bytes are a set, which the next call makes an empty one.
    let mut set: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `set` is live.
    unsafe { libc::sigemptyset(&raw mut set) };
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGCHLD] {
        // SAFETY: `set` is live and the signal exists.
        unsafe { libc::sigaddset(&raw mut set, signal) };
    }
    // SAFETY: `set` is live.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, ptr::null_mut()) };
    set
}

/// Takes the above back in the child, which inherits it.
fn release_signals() {
    // SAFETY: all-zero bytes are an empty set.
    let none: libc::sigset_t = unsafe { mem::zeroed() };
    // SAFETY: `none` is live.
    unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut()) };
}

fn next_signal(set: &libc::sigset_t) -> i32 {
    let mut signal = 0;
    // SAFETY: both are live.
    unsafe { libc::sigwait(set, &raw mut signal) };
    signal
}
