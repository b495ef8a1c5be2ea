//! Starting a child by fork, and handing it what it needs.
//!
//! 1. The parent takes a place for the child in the table of every segment that matters
//!    ([`Prepared`]), so the child is somebody from its first instruction.
//! 2. It forks. The child makes those places its own and waits at the *gate*.
//! 3. The parent drops its copy of the closure in transfer mode: what the closure holds becomes the
//!    child's ([`hand_over`]). Then it opens the gate.
//! 4. The child maps the memory of what it was handed, runs the closure, writes down the outcome, says so, and ends.
//!
//! A parent that dies before the gate is open leaves a child that ends without running anything; a
//! child that dies anywhere leaves what it had been handed to be found dead like anybody's.

#![allow(unsafe_code, reason = "forks")]

use super::builder::Builder;
use super::child::{Child, active_children};
use super::end::{end_child, wait_at_exit};
use super::handle::Process;
use super::identity::{self, Identity};
use super::outcome::{JoinError, Outcome};
use super::panics::{self, Panic};
use super::setup;
use crate::layout::Plan;
use crate::member::{Doubt, Stamp};
use crate::segment::{Held, Kind, Location, ObjectInfo, Prepared, Shared, hand_over};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::futex;
use crate::sync::local::AtomicBool;
use crate::sys::fork::{self, Side};
use crate::sys::per_process::PerProcess;
use crate::sys::tether::tether;
use crate::sys::{file, process, robust, time};
use crate::{Error, Result};
use std::fs::File;
use std::io::{self, StderrLock, StdoutLock, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::MutexGuard;

/// What parent and child know of each other, in shared memory.
#[repr(C)]
#[derive(Debug)]
struct Launch {
    /// 0: closed; 1: the child may run. Written by the parent.
    gate: AtomicU32,
    /// 0: the child is setting itself up; [`SET_UP`]; above: the number of the step that failed, and
    /// 2. Written by the child, where the parent waits for it.
    setup: AtomicU32,
    /// The kernel's reason for that. Written by the child.
    reason: AtomicU32,
    /// One of the constants below. Written by the child, once.
    outcome: AtomicU32,
    /// Bytes of the outcome in the file that carries it. Written by the child.
    length: AtomicU64,
}

// SAFETY: made of atomics.
unsafe impl Shared for Launch {}

const OPEN: u32 = 1;
const SET_UP: u32 = 1;
const RETURNED: u32 = 1;
const PANICKED: u32 = 2;
const NOT_SERIALISED: u32 = 3;

/// One start at a time, so that no child inherits what is prepared for another.
static STARTING: PerProcess<()> = PerProcess::new();
/// Whether this process, or one that it descends from, was started here.
pub(super) static IN_CHILD: AtomicBool = AtomicBool::new(false);

/// What a child says of its own end.
#[derive(Debug)]
pub(super) struct Report {
    launch: Held<Launch>,
    /// Carries the outcome, of any size.
    carrier: File,
}

impl Report {
    fn new() -> Result<Self> {
        let info = ObjectInfo::of::<Launch>(Kind::Process, 1);
        let mut plan = Plan::new();
        let offset = plan.place::<Launch>()?;
        let launch = Held::<Launch>::new(Location::Unnamed.make(info, plan, |blank| {
            let [gate, setup, reason, outcome] = [const { AtomicU32::new(0) }; 4];
            let length = AtomicU64::new(0);
            blank.put(offset, Launch { gate, setup, reason, outcome, length });
            Ok(())
        })?)?;
        let carrier =
            file::memory(c"commons result").map_err(Error::os("memfd_create", "result"))?;
        Ok(Report { launch, carrier: File::from(carrier) })
    }

    /// In the child: says whether it could set itself up, and gives that.
    fn say_set_up(&self, result: Result<(), (u32, io::Error)>) -> bool {
        let (setup, reason) = match &result {
            Ok(()) => (SET_UP, 0),
            Err((step, error)) => (SET_UP + 1 + step, error.raw_os_error().unwrap_or(0)),
        };
        self.launch.reason.store(reason.cast_unsigned(), Relaxed);
        // Release: the reason, to the Acquire in `wait_for_setup`.
        self.launch.setup.store(setup, Release);
        futex::wake(&self.launch.setup, u32::MAX);
        result.is_ok()
    }

    /// In the parent: waits until the child has set itself up.
    fn wait_for_setup(&self, child: BorrowedFd<'_>) -> Result<()> {
        /// How often, in nanoseconds, the parent looks whether the child was killed over it.
        const LOOK: u64 = 20_000_000;
        let dead = || Error::Process {
            what: "setting up the child",
            source: io::Error::other("it was ended from outside"),
        };
        loop {
            // Acquire: the reason.
            match self.launch.setup.load(Acquire) {
                0 if process::wait_readable(child, 0).unwrap_or(true) => {
                    // It may have spoken before it ended.
                    match self.launch.setup.load(Acquire) {
                        0 => return Err(dead()),
                        _ => continue,
                    }
                }
                0 => {
                    let until = time::now() + LOOK;
                    futex::wait_either((&self.launch.setup, 0), None, Some(until));
                }
                SET_UP => return Ok(()),
                failed => {
                    let reason = self.launch.reason.load(Relaxed);
                    return Err(setup::failure(failed - SET_UP - 1, reason));
                }
            }
        }
    }

    /// In the child: says what came of its closure.
    fn write(&self, outcome: u32, bytes: &[u8]) {
        if self.carrier.write_all_at(bytes, 0).is_ok() {
            self.launch.length.store(bytes.len() as u64, Relaxed);
            // Release: the bytes, to the Acquire in `read`.
            self.launch.outcome.store(outcome, Release);
        }
    }

    /// What a child that has ended said: its result in bytes, or why there is none. `None`: nothing.
    pub(super) fn read(&self) -> io::Result<Option<Result<Vec<u8>, JoinError>>> {
        // Acquire: what the child wrote before it said so.
        let outcome = self.launch.outcome.load(Acquire);
        // The child may be hostile or damaged: believe no length that the file does not have.
        let length = self.launch.length.load(Relaxed).min(self.carrier.metadata()?.len());
        let mut bytes = vec![0; length as usize];
        self.carrier.read_exact_at(&mut bytes, 0)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(match outcome {
            RETURNED => Some(Ok(bytes)),
            PANICKED => {
                let Panic { message, location, backtrace } = Panic::decode(&bytes);
                Some(Err(JoinError::Panicked { message, location, backtrace }))
            }
            NOT_SERIALISED => Some(Err(JoinError::Result { problem: text(&bytes) })),
            _ => None,
        })
    }
}

/// Starts a child that runs `f`.
pub(super) fn start<F, R>(builder: Builder, f: F) -> Result<Process<R>>
where
    F: FnOnce() -> R + Send + 'static,
    R: Outcome,
{
    let locks = robust::locks_held();
    if locks > 0 {
        return Err(Error::Holding { locks });
    }
    let own = identity::current();
    if own.is_daemon() {
        return Err(Error::Daemon { name: own.name().to_owned() });
    }
    // Reaps those that have ended.
    active_children();
    let name = builder.full_name();
    let identity = Identity::of_child(name.clone(), builder.path, builder.daemon);
    let starting = STARTING.lock();
    let setup = builder.setup.prepare()?;
    let plain = setup.is_plain();
    wait_at_exit();
    panics::watch();
    let report = Report::new()?;
    let core = report.launch.attachment().core();
    let parent = core.membership()?.stamp();
    let mut prepared = Prepared::new(core)?;

    let tied =
        if builder.daemon { Some(tether().map_err(Error::os("pipe2", &name))?) } else { None };
    let (tether, collar) = tied.unzip();

    let printing = hold_output();
    // SAFETY: of the locks that the child relies on, those of standard output and error are held
    // by this thread, the allocator's are libc's business, and the crate's own are per process.
    let side = unsafe { fork::fork(prepared.locks()) };
    drop(printing);
    match side {
        Err(source) => Err(Error::Process { what: "fork", source }),
        Ok(Side::Child) => {
            // Not given back: it is the parent's. The child has one of its own.
            std::mem::forget(starting);
            IN_CHILD.store(true, Relaxed);
            prepared.settle();
            identity.assume();
            let tied = collar.is_none_or(|collar| collar.put_on().is_ok());
            let set_up = setup.apply();
            let ready = if plain { set_up.is_ok() } else { report.say_set_up(set_up) };
            if !tied || !ready || !wait_at_gate(&report.launch, parent) {
                process::exit_now(1);
            }
            prepared.prefault();
            event!(info, "child process runs its closure");
            end_child(run(f, &report))
        }
        Ok(Side::Parent { child: pid }) => {
            let pidfd = process::open(pid).map_err(|source| {
                process::end_and_reap(pid);
                Error::Process { what: "pidfd_open", source }
            })?;
            if !plain && let Err(error) = report.wait_for_setup(pidfd.as_fd()) {
                let _ = process::signal(pidfd.as_fd(), process::signals::KILL);
                let _ = process::wait(pidfd.as_fd(), true);
                return Err(error);
            }
            let child = Child::register(pid, pidfd, name, tether);
            hand_over(&prepared, f);
            // The child has these by now, and its copy alone is to say that it lives.
            drop(prepared);
            report.launch.gate.store(OPEN, Release);
            futex::wake(&report.launch.gate, u32::MAX);
            drop(starting);
            event!(debug, "started {child}");
            Ok(Process::new(child, report))
        }
    }
}

/// The locks of standard output and error, with nothing in the buffers, which would be printed twice;
/// and no thread that prints a panic.
fn hold_output() -> impl Drop {
    struct Output(
        Option<(StdoutLock<'static>, StderrLock<'static>)>,
        Option<MutexGuard<'static, ()>>,
    );
    impl Drop for Output {
        fn drop(&mut self) {
            self.1 = None;
            self.0 = None;
        }
    }
    loop {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        // Who prints a panic waits for these, so they do not wait for it.
        if let Some(panics) = panics::hold() {
            let _ = out.flush();
            let _ = err.flush();
            return Output(Some((out, err)), panics);
        }
        drop((out, err));
        process::yield_now();
    }
}

/// In the child: waits until the parent has handed over; false: the parent died before it did.
fn wait_at_gate(launch: &Held<Launch>, parent: Stamp) -> bool {
    let Ok(table) = launch.attachment().core().table() else { return false };
    let mut doubt = Doubt::default();
    let mut timed_out = false;
    // Acquire: what was handed over.
    while launch.gate.load(Acquire) != OPEN {
        let Ok(Some(watch)) = table.watch(parent, timed_out, &mut doubt) else {
            table.pass_on(parent);
            return launch.gate.load(Acquire) == OPEN;
        };
        let until = time::now() + watch.slice;
        futex::wait_either((&launch.gate, 0), watch.beacon, Some(until));
        timed_out = time::now() >= until;
    }
    true
}

/// In the child: runs the closure, writes down what came of it, and gives the exit code.
fn run<F: FnOnce() -> R, R: Outcome>(f: F, report: &Report) -> i32 {
    let (outcome, bytes) = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => match result.encode() {
            Ok(bytes) => (RETURNED, bytes),
            Err(problem) => (NOT_SERIALISED, problem.into_bytes()),
        },
        Err(payload) => (PANICKED, panics::what_was(&*payload).encode()),
    };
    report.write(outcome, &bytes);
    i32::from(outcome != RETURNED)
}
