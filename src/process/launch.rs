//! Starting a child by fork, handing it what it needs, and waiting for it.
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

use super::outcome::{JoinError, Outcome};
use crate::layout::Plan;
use crate::member::{Doubt, Stamp};
use crate::segment::{Held, Kind, Location, ObjectInfo, Prepared, Shared, hand_over, leave_all};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::futex;
use crate::sys::fork::{self, Side};
use crate::sys::per_process::PerProcess;
use crate::sys::process::{self, Ended, signals};
use crate::sys::{file, robust, time};
use crate::{Error, Result};
use std::any::Any;
use std::fs::File;
use std::io::{self, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// What parent and child know of each other, in shared memory.
#[repr(C)]
#[derive(Debug)]
struct Launch {
    /// 0: closed; 1: the child may run. Written by the parent.
    gate: AtomicU32,
    /// One of the constants below. Written by the child, once.
    outcome: AtomicU32,
    /// Bytes of the outcome in the file that carries it. Written by the child.
    length: AtomicU64,
}

// SAFETY: made of atomics.
unsafe impl Shared for Launch {}

const OPEN: u32 = 1;
const RETURNED: u32 = 1;
const PANICKED: u32 = 2;
const NOT_SERIALISED: u32 = 3;

/// Children whose handles were dropped before they ended, to be reaped by and by.
static LEFT_ALONE: PerProcess<Vec<OwnedFd>> = PerProcess::new();
/// One start at a time, so that no child inherits what is prepared for another.
static STARTING: PerProcess<()> = PerProcess::new();

/// A child process that runs a closure and may return a value.
///
/// Dropping the handle leaves the child running; it is reaped when it has ended.
///
/// # Examples
/// ```
/// let child = commons::Process::spawn(|| 6 * 7)?;
/// assert_eq!(child.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Process<R> {
    pid: u32,
    pidfd: Option<OwnedFd>,
    launch: Held<Launch>,
    /// Carries the outcome, of any size.
    carrier: File,
    ended: Option<Ended>,
    result: PhantomData<fn() -> R>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ExitStatus {
    /// With this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
}

impl From<Ended> for ExitStatus {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Exited(code) => ExitStatus::Exited(code),
            Ended::Signaled(signal) => ExitStatus::Signaled(signal),
        }
    }
}

impl<R: Outcome> Process<R> {
    /// Starts a child process that runs `f`, by fork.
    ///
    /// What `f` captures becomes the child's: an end of a channel moved into it is the child's alone,
    /// with no moment in which it is nobody's. The parent's copy is dropped without closing anything.
    /// Values of other crates are copied and dropped in both processes.
    ///
    /// The child ends when `f` returns, with code 0, or panics, with code 1. It runs no destructors
    /// of the parent's other values and no exit handlers.
    ///
    /// # Threads
    /// The child has only the calling thread. If other threads of the parent held a lock at that
    /// instant, in a library or of your own, it stays locked in the child for ever. Locks of this
    /// crate, of the allocator and of standard output and error are taken care of. Start children
    /// before threads where you can.
    ///
    /// # Errors
    /// [`Error::Process`] where the kernel refuses another process; [`Error::Holding`] while the
    /// calling thread holds a lock of this crate; [`Error::NoSpace`], [`Error::TableFull`],
    /// [`Error::Os`].
    pub fn spawn<F>(f: F) -> Result<Self>
    where
        F: FnOnce() -> R + Send + 'static,
    {
        let locks = robust::locks_held();
        if locks > 0 {
            return Err(Error::Holding { locks });
        }
        reap_left_alone();
        let starting = STARTING.lock();
        let info = ObjectInfo::of::<Launch>(Kind::Process, 1);
        let mut plan = Plan::new();
        let offset = plan.place::<Launch>()?;
        let launch = Held::<Launch>::new(Location::Unnamed.make(info, plan, |blank| {
            let (gate, outcome) = (AtomicU32::new(0), AtomicU32::new(0));
            blank.put(offset, Launch { gate, outcome, length: AtomicU64::new(0) });
            Ok(())
        })?)?;
        let carrier =
            file::memory(c"commons result").map_err(Error::os("memfd_create", "result"))?;
        let carrier = File::from(carrier);
        let core = launch.attachment().core();
        let parent = core.membership()?.stamp();
        let mut prepared = Prepared::new(core)?;

        // Whoever prints holds these locks, and what is printed already must not be printed twice.
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        let _ = out.flush();
        let _ = err.flush();
        // SAFETY: of the locks that the child relies on, those of standard output and error are held
        // by this thread, the allocator's are libc's business, and the crate's own are per process.
        let side = unsafe { fork::fork(prepared.locks()) };
        drop((out, err));
        match side {
            Err(source) => Err(Error::Process { what: "fork", source }),
            Ok(Side::Child) => {
                // Not given back: it is the parent's. The child has one of its own.
                std::mem::forget(starting);
                prepared.settle();
                if !wait_at_gate(&launch, parent) {
                    process::exit_now(1);
                }
                prepared.prefault();
                let code = run(f, &launch, &carrier);
                leave_all();
                process::exit_now(code)
            }
            Ok(Side::Parent { child: pid }) => {
                hand_over(&prepared, f);
                // The child has these by now, and its copy alone is to say that it lives.
                drop(prepared);
                let pidfd = process::open(pid);
                launch.gate.store(OPEN, Release);
                futex::wake(&launch.gate, u32::MAX);
                drop(starting);
                let pidfd =
                    pidfd.map_err(|source| Error::Process { what: "pidfd_open", source })?;
                let pidfd = Some(pidfd);
                Ok(Process { pid, pidfd, launch, carrier, ended: None, result: PhantomData })
            }
        }
    }

    /// Waits for the child to end and gives what its closure returned.
    ///
    /// A result that was complete before a signal ended the child is given, too.
    ///
    /// # Errors
    /// [`JoinError`] says how it ended instead.
    ///
    /// # Blocking
    /// Until the child has ended.
    pub fn join(mut self) -> Result<R, JoinError> {
        let ended = self.wait_for_end(true)?;
        let ended = ended.ok_or_else(|| io::Error::from(io::ErrorKind::WouldBlock))?;
        // Acquire: what the child wrote before it said so.
        let outcome = self.launch.outcome.load(Acquire);
        let bytes = self.read_outcome(self.launch.length.load(Relaxed))?;
        match (outcome, ended) {
            (RETURNED, _) => R::decode(&bytes).map_err(|problem| JoinError::Result { problem }),
            (PANICKED, _) => {
                Err(JoinError::Panicked { message: String::from_utf8_lossy(&bytes).into_owned() })
            }
            (NOT_SERIALISED, _) => {
                Err(JoinError::Result { problem: String::from_utf8_lossy(&bytes).into_owned() })
            }
            (_, Ended::Exited(code)) => Err(JoinError::Exited { code }),
            (_, Ended::Signaled(signal)) => Err(JoinError::Signaled { signal }),
        }
    }
}

impl<R> Process<R> {
    /// The child's process id.
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits for the child to end, for at most `timeout`; `None`: it still runs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_timeout(&mut self, timeout: Duration) -> io::Result<Option<ExitStatus>> {
        let deadline = time::after(timeout);
        if self.ended.is_none() && !process::wait_readable(self.descriptor()?, deadline)? {
            return Ok(None);
        }
        Ok(self.wait_for_end(true)?.map(ExitStatus::from))
    }

    /// Waits for the child to end, until `deadline`; `None`: it still runs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn wait_deadline(&mut self, deadline: Instant) -> io::Result<Option<ExitStatus>> {
        self.wait_timeout(deadline.saturating_duration_since(Instant::now()))
    }

    /// How the child ended; `None`: it still runs.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn exit_status(&mut self) -> io::Result<Option<ExitStatus>> {
        Ok(self.wait_for_end(false)?.map(ExitStatus::from))
    }

    /// Whether the child still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.wait_for_end(false), Ok(None))
    }

    /// Ends the child at once (SIGKILL). What it had of this crate's objects is found dead by those
    /// who share them.
    ///
    /// # Errors
    /// What the kernel says. A child that has ended already is no error.
    pub fn kill(&self) -> io::Result<()> {
        self.signal(signals::KILL)
    }

    /// Asks the child to end (SIGTERM).
    ///
    /// # Errors
    /// What the kernel says. A child that has ended already is no error.
    pub fn terminate(&self) -> io::Result<()> {
        self.signal(signals::TERM)
    }

    fn signal(&self, signal: i32) -> io::Result<()> {
        if self.ended.is_some() {
            return Ok(());
        }
        match process::signal(self.descriptor()?, signal) {
            // No such process: reaped by somebody else's wait.
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(3) => Ok(()),
            other => other,
        }
    }

    fn descriptor(&self) -> io::Result<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn wait_for_end(&mut self, block: bool) -> io::Result<Option<Ended>> {
        if self.ended.is_none() {
            self.ended = process::wait(self.descriptor()?, block)?;
        }
        Ok(self.ended)
    }

    fn read_outcome(&self, length: u64) -> io::Result<Vec<u8>> {
        // The child may be hostile or damaged: believe no length that the file does not have.
        let length = length.min(self.carrier.metadata()?.len());
        let mut bytes = vec![0; length as usize];
        self.carrier.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl<R> AsFd for Process<R> {
    /// The pidfd, which is readable once the child has ended.
    ///
    /// # Panics
    /// In a process that is not the parent.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_ref().expect("a handle has its descriptor until it is dropped").as_fd()
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        if matches!(self.wait_for_end(false), Ok(None)) {
            LEFT_ALONE.lock().extend(self.pidfd.take());
        }
    }
}

fn reap_left_alone() {
    LEFT_ALONE.lock().retain(|pidfd| matches!(process::wait(pidfd.as_fd(), false), Ok(None)));
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
fn run<F: FnOnce() -> R, R: Outcome>(f: F, launch: &Held<Launch>, carrier: &File) -> i32 {
    let (outcome, bytes) = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => match result.encode() {
            Ok(bytes) => (RETURNED, bytes),
            Err(problem) => (NOT_SERIALISED, problem.into_bytes()),
        },
        Err(panic) => (PANICKED, message(&*panic).into_bytes()),
    };
    let _ = io::stdout().flush();
    let written = carrier.write_all_at(&bytes, 0);
    if written.is_ok() {
        launch.length.store(bytes.len() as u64, Relaxed);
        // Release: the bytes, to the Acquire in `join`.
        launch.outcome.store(outcome, Release);
    }
    i32::from(outcome != RETURNED)
}

fn message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}
