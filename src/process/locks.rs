//! Locks of the standard library that another thread may have when a child is forked, and that nobody
//! would give back in the child.
//!
//! None of them can be tried, only waited for, and a thread may keep one for ever, or take two of them in
//! another order. So the child takes them, first of all. If it hangs at that, the parent ends it and forks
//! again: with the lock in hand that it was, one at a time, once a thread of its own has found that whoever
//! has it gives it back. The lock of backtraces cannot be had for a fork; where other threads have it nearly
//! all the time, the child does without backtraces.

use super::launch::Sheet;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::futex;
use crate::sync::local::{AtomicBool, AtomicU32};
use crate::sys::{process, setup, time};
use crate::{Error, Result};
use std::backtrace::Backtrace;
use std::io::{self, StderrLock, StdoutLock, Write};
use std::os::fd::BorrowedFd;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Whether backtraces can be taken in this process.
static NO_BACKTRACES: AtomicBool = AtomicBool::new(false);

/// How far a child has come.
const RUNS: u32 = 1;
const HAS_OUTPUT: u32 = 2;
const HAS_ERRORS: u32 = 3;
const HAS_BACKTRACES: u32 = 4;
const HAS_ALL: u32 = 5;

/// How many children are tried.
const TRIES: u32 = 64;
/// After how many that hung at the lock of backtraces there are to be none: one that another thread takes
/// may last a tenth of a second.
const TRIES_FOR_BACKTRACES: u32 = 48;
/// How long the first one has to find the locks free once it runs, and any one at most, in nanoseconds.
const PATIENCE: (u64, u64) = (4_000_000, 100_000_000);
/// How long a child may take to run at all.
const START: u64 = 10_000_000_000;
/// How long a lock is waited for to find out whether it is ever given back.
const LONG: Duration = Duration::from_millis(500);

/// A stream of the standard library that has a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stream {
    Output = 1,
    Errors = 2,
}

/// What is held during a fork.
#[derive(Debug)]
pub(super) enum Held {
    Output { _lock: StdoutLock<'static> },
    Errors { _lock: StderrLock<'static> },
}

/// How children are tried, one after another.
#[derive(Debug)]
pub(super) struct Trial {
    tries: u32,
    /// How many hung at the lock of backtraces.
    at_backtraces: u32,
    in_hand: Option<Stream>,
}

/// What the last start found: which lock to have in hand, as the number of its stream, and whether
/// backtraces were to be had.
static IN_HAND: AtomicU32 = AtomicU32::new(0);
static WITHOUT_BACKTRACES: AtomicBool = AtomicBool::new(false);

impl Trial {
    /// Begins with what proved right the last time, as far as that waits for nobody.
    pub(super) fn new() -> Self {
        // Relaxed: hints.
        let without = WITHOUT_BACKTRACES.load(Relaxed);
        let at_backtraces = if without { TRIES_FOR_BACKTRACES - 1 } else { 0 };
        let last = [Stream::Output, Stream::Errors]
            .into_iter()
            .find(|stream| *stream as u32 == IN_HAND.load(Relaxed));
        Trial { tries: 0, at_backtraces, in_hand: last.filter(|stream| is_given_back(*stream)) }
    }

    /// Takes what is held during the next fork.
    pub(super) fn hold(&self) -> Option<Held> {
        self.in_hand.map(|stream| match stream {
            Stream::Output => {
                let mut lock = io::stdout().lock();
                let _ = lock.flush();
                Held::Output { _lock: lock }
            }
            Stream::Errors => Held::Errors { _lock: io::stderr().lock() },
        })
    }

    /// In the child: takes what it needs, or hangs. Ends the child if its parent did not wait for that.
    pub(super) fn take(&self, sheet: &Sheet) {
        let reach = |step| {
            sheet.free.store(step, Relaxed);
            futex::wake(&sheet.free, u32::MAX);
        };
        reach(RUNS);
        if self.in_hand != Some(Stream::Output) {
            let mut out = io::stdout().lock();
            // What its parent has put into the buffer is its parent's to print.
            setup::with_no_standard_output(|| drop(out.flush()));
        }
        reach(HAS_OUTPUT);
        if self.in_hand != Some(Stream::Errors) {
            drop(io::stderr().lock());
        }
        reach(HAS_ERRORS);
        if self.at_backtraces < TRIES_FOR_BACKTRACES {
            drop(Backtrace::force_capture());
        } else {
            NO_BACKTRACES.store(true, Relaxed);
        }
        reach(HAS_BACKTRACES);
        // To write to, since a read goes on beside another that nobody ends.
        setup::forget_variable("COMMONS_CHILD");
        reach(HAS_ALL);
    }

    /// In the parent: whether the child has found all locks free. If not, it is to be ended.
    ///
    /// # Errors
    /// [`Error::Process`] where the next one would not, either, or the child has ended.
    pub(super) fn passed(&mut self, sheet: &Sheet, child: BorrowedFd<'_>) -> Result<bool> {
        let failed = |problem: &str| {
            let source = io::Error::new(io::ErrorKind::WouldBlock, problem);
            Err(Error::Process { what: "fork", source })
        };
        let reached = |step, patience: u64| -> u32 {
            let deadline = time::now() + patience;
            loop {
                let reached = sheet.free.load(Relaxed);
                let now = time::now();
                if reached >= step || now >= deadline {
                    return reached;
                }
                // Looks, now and then, whether it was ended from outside.
                let until = deadline.min(now + 20_000_000);
                futex::wait_either((&sheet.free, reached), None, Some(until));
                if time::now() >= until && process::wait_readable(child, 0).unwrap_or(true) {
                    return sheet.free.load(Relaxed);
                }
            }
        };
        if reached(RUNS, START) < RUNS {
            return failed("the child does not run, or was ended from outside");
        }
        let patience = PATIENCE.0 << (self.tries / 16);
        let step = reached(HAS_ALL, patience.min(PATIENCE.1));
        if step == HAS_ALL {
            // Relaxed: as above.
            IN_HAND.store(self.in_hand.map_or(0, |stream| stream as u32), Relaxed);
            WITHOUT_BACKTRACES.store(self.at_backtraces >= TRIES_FOR_BACKTRACES, Relaxed);
            return Ok(true);
        }
        self.tries += 1;
        if self.tries == TRIES {
            return failed("other threads have locks of the standard library all the time");
        }
        let hung_at = match step {
            RUNS => Stream::Output,
            HAS_OUTPUT => Stream::Errors,
            HAS_ERRORS => {
                self.at_backtraces += 1;
                return Ok(false);
            }
            _ => return Ok(false),
        };
        if is_given_back(hung_at) {
            self.in_hand = Some(hung_at);
            return Ok(false);
        }
        failed(match hung_at {
            Stream::Output => "another thread keeps the lock of standard output",
            Stream::Errors => "another thread keeps the lock of standard error",
        })
    }
}

/// Whether whoever has the lock of a stream gives it back.
fn is_given_back(stream: Stream) -> bool {
    /// Whether a thread waits for it: one is enough.
    static WAITED_FOR: [AtomicBool; 2] = [AtomicBool::new(false), AtomicBool::new(false)];
    let waited_for = &WAITED_FOR[stream as usize - 1];
    // Relaxed: no data.
    if waited_for.swap(true, Relaxed) {
        return false;
    }
    let (tell, told) = mpsc::channel();
    let taker = move || {
        match stream {
            Stream::Output => drop(io::stdout().lock()),
            Stream::Errors => drop(io::stderr().lock()),
        }
        waited_for.store(false, Relaxed);
        let _ = tell.send(());
    };
    if thread::Builder::new().spawn(taker).is_err() {
        // Where there is no thread to be had, it is not known, and tried.
        waited_for.store(false, Relaxed);
        return true;
    }
    told.recv_timeout(LONG).is_ok()
}

/// A backtrace, in a process that can take one.
pub(super) fn backtrace() -> Option<Backtrace> {
    (!NO_BACKTRACES.load(Relaxed)).then(Backtrace::force_capture)
}
