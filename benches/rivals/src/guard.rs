//! What keeps a run from hanging and from leaving anything behind.
//!
//! The program is two processes: a worker that measures, and a supervisor that waits for it and
//! removes what the rivals put into the file system, however the worker ended. Where the supervisor
//! itself was killed, the next one does. The worker has an alarm clock per measurement; every process
//! of a run dies with the one that forked it.

use std::fs;
use std::path::PathBuf;
use std::ptr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicI32, AtomicPtr, AtomicUsize};

use crate::os;

/// How long one measurement may take, in seconds.
const PATIENCE: u32 = 120;

/// The worker, once there is one.
static WORKER: AtomicI32 = AtomicI32::new(0);
/// The supervisor, which names everything of this run.
static SUPERVISOR: AtomicI32 = AtomicI32::new(0);
/// What is being measured, for the alarm: a leaked string.
static MEASURED: (AtomicPtr<u8>, AtomicUsize) =
    (AtomicPtr::new(ptr::null_mut()), AtomicUsize::new(0));

/// Runs `work` in a worker process and returns its exit code; sweeps behind it.
pub(crate) fn supervise(work: impl FnOnce() -> i32) -> i32 {
    let supervisor = std::process::id() as i32;
    SUPERVISOR.store(supervisor, Relaxed);
    for signal in [libc::SIGINT, libc::SIGTERM] {
        os::on_signal(signal, end_worker);
    }
    let worker = os::fork().expect("cannot fork");
    let Some(worker) = worker else {
        os::die_with(supervisor);
        for signal in [libc::SIGINT, libc::SIGTERM] {
            os::default_signal(signal);
        }
        os::on_signal(libc::SIGALRM, give_up);
        return work();
    };
    WORKER.store(worker, Relaxed);
    let status = os::reap(worker).expect("cannot wait for the worker");
    sweep();
    if let Some(code) = status.code() {
        return code;
    }
    eprintln!("the measuring process ended with {status}");
    1
}

/// Winds the alarm clock for the measurement `what`.
pub(crate) fn watch(what: &str) {
    let what: &'static str = what.to_owned().leak();
    MEASURED.1.store(0, Relaxed);
    MEASURED.0.store(what.as_ptr().cast_mut(), Relaxed);
    MEASURED.1.store(what.len(), Relaxed);
    os::alarm(PATIENCE);
}

/// What is being measured.
pub(crate) fn measured() -> &'static str {
    let bytes = ptr::slice_from_raw_parts(MEASURED.0.load(Relaxed), MEASURED.1.load(Relaxed));
    // SAFETY: null, or the parts of a leaked string: `watch` lets no pointer meet another's length.
    unsafe { bytes.as_ref() }.and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
}

/// Stops the alarm clock.
pub(crate) fn unwatch() {
    os::alarm(0);
}

/// What every name of every run begins with.
const PREFIX: &str = "commons-rivals-";

/// A name for something of this run in the file system; `sweep` removes it.
pub(crate) fn name(what: &str) -> String {
    format!("{PREFIX}{}-{what}", SUPERVISOR.load(Relaxed))
}

/// A directory of this run for temporary files; `sweep` removes it.
pub(crate) fn directory() -> PathBuf {
    std::env::temp_dir().join(name("files"))
}

/// Removes what is left of this run, and of earlier ones whose supervisor was killed.
fn sweep() {
    for place in ["/dev/shm".into(), "/dev/mqueue".into(), std::env::temp_dir()] {
        for entry in fs::read_dir(place).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let Some(rest) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else {
                continue;
            };
            let Some(Ok(run)) = rest.split('-').next().map(str::parse::<i32>) else { continue };
            if run != SUPERVISOR.load(Relaxed) && fs::exists(format!("/proc/{run}")).unwrap_or(true)
            {
                continue; // another run that still goes on
            }
            // Whatever is gone already is as good.
            let _ = match entry.file_type() {
                Ok(kind) if kind.is_dir() => fs::remove_dir_all(entry.path()),
                _ => fs::remove_file(entry.path()),
            };
        }
    }
}

/// SIGINT and SIGTERM in the supervisor: the worker goes, the supervisor sweeps.
extern "C" fn end_worker(_: i32) {
    let worker = WORKER.load(Relaxed);
    if worker != 0 {
        os::terminate(worker);
    }
}

/// SIGALRM in the worker: says what hung and ends the process.
extern "C" fn give_up(_: i32) {
    for text in ["timed out: ", measured(), "\n"] {
        // SAFETY: the text is readable; write is async-signal-safe.
        unsafe { libc::write(2, text.as_ptr().cast(), text.len()) };
    }
    os::exit_now(124);
}
