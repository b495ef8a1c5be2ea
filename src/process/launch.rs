//! What the parent of a child and the child know of each other, however it was started.
//!
//! A child waits at a *gate* until its parent has handed over what it is to have. A parent that dies
//! before the gate is open leaves a child that ends without running anything; a child that dies
//! anywhere leaves what it had been handed to be found dead like anybody's.

#![allow(
    unsafe_code,
    reason = "statics are placed where forks write, and point to what is there for good"
)]

use super::builder::Builder;
use super::child::{Child, Unborn, active_children};
use super::handle::Process;
use super::identity::{self, Identity};
use super::outcome::{JoinError, Outcome};
use super::panics::{self, Panic};
use super::report::Report;
use super::setup;
use crate::member::{Doubt, Stamp};
use crate::segment::{Core, Prepared, hand_over};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::futex;
use crate::sync::local::{AtomicBool, AtomicPtr};
use crate::sys::hot::Hot;
use crate::sys::per_process::PerProcess;
use crate::sys::{fork, process, robust, time};
use crate::{Error, Result};
use std::any::Any;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;

/// What parent and child know of each other, in memory that both have.
#[repr(C, align(64))]
#[derive(Debug)]
pub(super) struct Sheet {
    /// 0: closed; [`AWAITED`]: closed, and the child sleeps, who writes that; [`OPEN`] and
    /// [`OPEN_FOR_NOTHING`]: the child may run; [`SHUT`]: it never will. Written by the parent.
    gate: AtomicU32,
    /// 0: the child is setting itself up; [`SET_UP`]; above: the number of the step that failed, and
    /// 2. Written by the child, where the parent waits for it.
    setup: AtomicU32,
    /// The kernel's reason for that. Written by the child.
    reason: AtomicU32,
    /// One of the constants below. Written by the child, once.
    outcome: AtomicU32,
    /// How far the child has come among the locks that it needs: see [`locks`](super::locks). Written by
    /// the child, where the parent waits for it.
    pub(super) free: AtomicU32,
    /// Bytes of the outcome, which are here if they are few, and else in the file that carries it.
    /// Written by the child.
    length: AtomicU64,
    /// Written by the child.
    few: [AtomicU64; FEW / 8],
}

impl Sheet {
    /// In the parent, before there is a child: nothing was written on it.
    pub(super) fn clear(&self) {
        // Relaxed: the fork is behind it.
        for word in [&self.gate, &self.setup, &self.reason, &self.outcome, &self.free] {
            word.store(0, Relaxed);
        }
        self.length.store(0, Relaxed);
    }

    /// In the parent, when the child is gone: whether the child may have written anything to its file.
    pub(super) fn mentions_file(&self) -> bool {
        // Relaxed: no data. One that was killed at it had no time to say so.
        self.outcome.load(Relaxed) == 0 || self.length.load(Relaxed) > FEW as u64
    }

    /// What the parent has decided, if it has: whether anything was handed over, or (`None`) that the child
    /// is not to run.
    #[inline]
    fn decision(&self) -> Option<Option<bool>> {
        // Acquire: what was handed over.
        match self.gate.load(Acquire) {
            OPEN => Some(Some(true)),
            OPEN_FOR_NOTHING => Some(Some(false)),
            SHUT => Some(None),
            _ => None,
        }
    }

    /// Lets the child run, for which something was handed over or not.
    fn open_gate(&self, handed: bool) {
        self.decide(if handed { OPEN } else { OPEN_FOR_NOTHING });
    }

    /// Has the child end without running.
    fn shut_gate(&self) {
        self.decide(SHUT);
    }

    fn decide(&self, decision: u32) {
        // Release: what was handed over, to the Acquire in `decision`.
        if self.gate.swap(decision, Release) == AWAITED {
            futex::wake(&self.gate, u32::MAX);
        }
    }

    /// In the child: says whether it could set itself up, and gives that.
    pub(super) fn say_set_up(&self, result: Result<(), (u32, io::Error)>) -> bool {
        let (setup, reason) = match &result {
            Ok(()) => (SET_UP, 0),
            Err((step, error)) => (SET_UP + 1 + step, error.raw_os_error().unwrap_or(0)),
        };
        self.reason.store(reason.cast_unsigned(), Relaxed);
        // Release: the reason, to the Acquire in `wait_for_setup`.
        self.setup.store(setup, Release);
        futex::wake(&self.setup, u32::MAX);
        result.is_ok()
    }

    /// In the parent: waits until the child has set itself up.
    pub(super) fn wait_for_setup(&self, child: BorrowedFd<'_>) -> Result<()> {
        /// How often, in nanoseconds, the parent looks whether the child was killed over it.
        const LOOK: u64 = 20_000_000;
        let dead = || Error::Process {
            what: "setting up the child",
            source: io::Error::other("it was ended from outside"),
        };
        loop {
            // Acquire: the reason.
            match self.setup.load(Acquire) {
                0 if process::wait_readable(child, 0).unwrap_or(true) => {
                    // It may have spoken before it ended.
                    match self.setup.load(Acquire) {
                        0 => return Err(dead()),
                        _ => continue,
                    }
                }
                0 => {
                    let until = time::now() + LOOK;
                    futex::wait_either((&self.setup, 0), None, Some(until));
                }
                SET_UP => return Ok(()),
                _ => return self.setup_failure().map_or(Ok(()), Err),
            }
        }
    }

    /// Why the child could not set itself up, if it said so.
    pub(super) fn setup_failure(&self) -> Option<Error> {
        // Acquire: the reason.
        let failed = self.setup.load(Acquire).checked_sub(SET_UP + 1)?;
        Some(setup::failure(failed, self.reason.load(Relaxed)))
    }
}

/// How many bytes are few: as much as is next to the rest of it anyway.
const FEW: usize = 128;

const OPEN: u32 = 1;
/// The same, and nothing was handed over.
const OPEN_FOR_NOTHING: u32 = 2;
const AWAITED: u32 = 3;
const SHUT: u32 = 4;
const SET_UP: u32 = 1;
const RETURNED: u32 = 1;
const PANICKED: u32 = 2;
const NOT_SERIALISED: u32 = 3;
const NO_ARGUMENT: u32 = 4;

/// One start at a time, so that no child inherits what is prepared for another.
pub(super) static STARTING: PerProcess<()> = PerProcess::new();
/// Whether this process, or one that it descends from, was started here.
// SAFETY: zeros are an atomic.
pub(super) static IN_CHILD: Hot<AtomicBool> = unsafe { Hot::new() };

impl Report {
    /// In the child: says that what it was to run on could not be made of what came.
    #[cfg(feature = "serde")]
    pub(super) fn refuse(&self, problem: &str) {
        self.write(NO_ARGUMENT, problem.as_bytes());
    }

    /// In the child: says what came of its closure.
    /// False: there is no room for it.
    fn write(&self, outcome: u32, bytes: &[u8]) -> bool {
        let written = if bytes.len() > FEW {
            self.write_file(bytes).is_ok()
        } else {
            for (word, bytes) in self.sheet().few.iter().zip(bytes.chunks(8)) {
                let mut padded = [0; 8];
                padded[..bytes.len()].copy_from_slice(bytes);
                // Relaxed: as the bytes of the file.
                word.store(u64::from_le_bytes(padded), Relaxed);
            }
            true
        };
        if written {
            self.sheet().length.store(bytes.len() as u64, Relaxed);
            // Release: the bytes, to the Acquire in `read`.
            self.sheet().outcome.store(outcome, Release);
        }
        written
    }

    /// In the child: says that it panicked, and gives the exit code.
    pub(super) fn panicked(&self, payload: Box<dyn Any + Send>) -> i32 {
        self.write(PANICKED, &panics::what_was(&*payload).encode());
        // Its destructor may panic again.
        std::mem::forget(payload);
        1
    }

    /// What a child that has ended said: its result in bytes, or why there is none. `None`: nothing.
    pub(super) fn read(&self) -> io::Result<Option<Result<Vec<u8>, JoinError>>> {
        // Acquire: what the child wrote before it said so.
        let outcome = self.sheet().outcome.load(Acquire);
        let bytes = match usize::try_from(self.sheet().length.load(Relaxed)) {
            Ok(length @ ..=FEW) => {
                let words = self.sheet().few.iter().map(|word| word.load(Relaxed).to_le_bytes());
                let mut bytes: Vec<_> = words.take(length.div_ceil(8)).flatten().collect();
                bytes.truncate(length);
                bytes
            }
            Ok(length) => self.read_file(length)?,
            Err(_) => return Err(io::ErrorKind::OutOfMemory.into()),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match outcome {
            RETURNED => Some(Ok(bytes)),
            PANICKED => {
                let Panic { message, location, backtrace } = Panic::decode(&bytes);
                Some(Err(JoinError::Panicked { message, location, backtrace }))
            }
            NO_ARGUMENT => Some(Err(JoinError::Argument { problem: text(&bytes) })),
            NOT_SERIALISED => Some(Err(JoinError::Result { problem: text(&bytes) })),
            _ => None,
        })
    }
}

/// What a child is going to be, if this thread may start one.
pub(super) fn begin(builder: &mut Builder) -> Result<Identity> {
    let locks = robust::locks_held();
    if locks > 0 {
        return Err(Error::Holding { locks });
    }
    if builder.epoch != fork::epoch() {
        return Err(Error::Forked);
    }
    if identity::is_daemon() {
        return Err(Error::Daemon { name: identity::current().name().to_owned() });
    }
    // Reaps those that have ended.
    active_children();
    let default = (builder.kind, builder.number);
    Ok(Identity::of_child(builder.name.take(), default, builder.daemon))
}

/// In the parent: ends a child that is not to run.
pub(super) fn end(child: BorrowedFd<'_>) {
    let _ = process::signal(child, process::signals::KILL);
    let _ = process::wait(child, true);
}

/// In the parent: ends a child that there was no descriptor for.
pub(super) fn give_up(child: &Unborn, pid: u32) {
    // What was to carry its outcome makes room for one.
    child.report().close_file();
    match process::open(pid) {
        Ok(pidfd) => end(pidfd.as_fd()),
        Err(_) => {
            // No signal: its id may be another process's by now.
            child.report().sheet().shut_gate();
            process::reap(pid);
        }
    }
}

/// In the parent, the last of a start: hands over what `gift` holds, and lets the child run. `starting` is
/// the right to start, which ends then. A destructor in the gift that panicked goes on panicking.
///
/// # Errors
/// [`Error::TableFull`] where something could not be handed over. The child has ended then.
pub(super) fn let_go<R: Outcome, G>(
    child: Child,
    prepared: Prepared,
    gift: G,
    starting: MutexGuard<'_, ()>,
) -> Result<Process<R>> {
    let (something, handed) = hand_over(&prepared, gift);
    // The child has these by now, and its copy alone is to say that it lives.
    drop(prepared);
    match &something {
        Ok(something) => child.report().sheet().open_gate(*something),
        Err(_) => {
            child.report().sheet().shut_gate();
            let _ = child.wait();
        }
    }
    drop(starting);
    if let Err(panic) = handed {
        std::panic::resume_unwind(panic);
    }
    something?;
    event!(debug, "started {child}");
    Ok(Process::new(child))
}

/// In the child: waits until the parent, which has this stamp in `core`, has handed over, and says whether
/// that was anything; `None`: the parent died before it did, or the child is not to run.
#[inline]
pub(super) fn wait_at_gate(sheet: &Sheet, core: &Core, parent: Stamp) -> Option<bool> {
    sheet.decision().unwrap_or_else(|| wait_at_closed_gate(sheet, core, parent))
}

#[cold]
fn wait_at_closed_gate(sheet: &Sheet, core: &Core, parent: Stamp) -> Option<bool> {
    let mut doubt = Doubt::default();
    let mut timed_out = false;
    loop {
        if let Some(decision) = sheet.decision() {
            return decision;
        }
        let table = core.table().ok()?;
        let Ok(Some(watch)) = table.watch(parent, timed_out, &mut doubt) else {
            table.pass_on(parent);
            return sheet.decision().flatten();
        };
        // Relaxed: what was handed over is looked for above; a gate that opens meanwhile is no sleep.
        let _ = sheet.gate.compare_exchange(0, AWAITED, Relaxed, Relaxed);
        let until = time::now() + watch.slice;
        futex::wait_either((&sheet.gate, AWAITED), watch.beacon, Some(until));
        timed_out = time::now() >= until;
    }
}

/// What a child reports through that ends with its first panic, and the generation that it is of.
static LAST_WORDS: AtomicPtr<Report> = AtomicPtr::new(std::ptr::null_mut());
static LAST_WORDS_OF: AtomicU32 = AtomicU32::new(0);

/// In a child that ends with its first panic: tells its parent of that.
pub(super) fn say_last_words(panic: &Panic) {
    // Acquire: pairs with the Release in `run`.
    // SAFETY: null, or what a child has until it ends.
    let report = unsafe { LAST_WORDS.load(Acquire).as_ref() };
    if let Some(report) = report
        // Relaxed: written before the pointer. Not that of a copy which the child has made of itself.
        && LAST_WORDS_OF.load(Relaxed) == fork::generation()
    {
        report.write(PANICKED, &panic.encode());
    }
}

/// In the child: runs the closure, writes down what came of it, and gives the exit code. `report` is there
/// until the child ends.
pub(super) fn run<F: FnOnce() -> R, R: Outcome>(f: F, report: &Report) -> i32 {
    let generation = fork::generation();
    if cfg!(panic = "abort") {
        LAST_WORDS_OF.store(generation, Relaxed);
        // Release: the report, to the Acquire in `say_last_words`.
        LAST_WORDS.store(std::ptr::from_ref(report).cast_mut(), Release);
    }
    // The code of the value's type, too: nothing may unwind into what the parent was at.
    let work = || {
        let result = f();
        if fork::generation() != generation {
            // A copy that the closure has made of the child, whose result it is not.
            return i32::from(result.is_failure());
        }
        match result.encode() {
            Ok(bytes) if report.write(RETURNED, &bytes) => i32::from(result.is_failure()),
            Ok(bytes) => {
                let problem = format!("there is no memory for {} bytes", bytes.len());
                report.write(NOT_SERIALISED, problem.as_bytes());
                1
            }
            Err(problem) => {
                report.write(NOT_SERIALISED, problem.as_bytes());
                1
            }
        }
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| report.panicked(payload))
}
