//! Locks of the standard library that another thread may have when a child is forked, and that nobody
//! would give back in the child.
//!
//! None of them can be tried, only waited for, and to wait for one with another in hand may be for ever:
//! a thread of the user's may take the two in the other order. So the parent has at most one of the
//! locks of standard output and error when it forks, and the child takes the rest, first of all. If it
//! hangs at that, the parent ends it and forks again, with the other lock in hand if it was that one.
//! The lock of backtraces cannot be had for a fork; where other threads have it nearly all the time, the
//! child does without backtraces.

use super::launch::Sheet;
use super::panics;
use crate::sync::atomic::Ordering::Relaxed;
use crate::sync::futex;
use crate::sync::local::AtomicBool;
use crate::sys::{process, setup, time};
use crate::{Error, Result};
use std::backtrace::Backtrace;
use std::io::{self, StderrLock, StdoutLock, Write};
use std::os::fd::BorrowedFd;
use std::sync::MutexGuard;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Whether backtraces can be taken in this process.
static NO_BACKTRACES: AtomicBool = AtomicBool::new(false);

/// How far a child has come.
const RUNS: u32 = 1;
const HAS_STREAM: u32 = 2;
const HAS_BACKTRACES: u32 = 3;
const HAS_ALL: u32 = 4;

/// How many children are tried.
const TRIES: u32 = 40;
/// After how many that hung at the lock of backtraces there are to be none.
const TRIES_FOR_BACKTRACES: u32 = 4;
/// How long the first one has to find the locks free once it runs, and any one at most, in nanoseconds.
const PATIENCE: (u64, u64) = (4_000_000, 100_000_000);
/// How long a child may take to run at all.
const START: u64 = 10_000_000_000;
/// How long a lock is waited for to find out whether it is ever given back.
const LONG: Duration = Duration::from_millis(500);

/// What is held during a fork.
#[derive(Debug)]
pub(super) enum Held {
    Output { _out: StdoutLock<'static>, _panics: Option<MutexGuard<'static, ()>> },
    Errors { _errors: StderrLock<'static>, _panics: Option<MutexGuard<'static, ()>> },
}

/// How children are tried, one after another.
#[derive(Debug)]
pub(super) struct Trial {
    tries: u32,
    /// How many hung at the lock of backtraces.
    at_backtraces: u32,
    with_errors: bool,
}

/// What the last start found: which lock to have in hand, and whether backtraces were to be had.
static WITH_ERRORS: AtomicBool = AtomicBool::new(false);
static WITHOUT_BACKTRACES: AtomicBool = AtomicBool::new(false);

impl Trial {
    /// Begins with what proved right the last time.
    pub(super) fn new() -> Self {
        // Relaxed: hints.
        let without = WITHOUT_BACKTRACES.load(Relaxed);
        let at_backtraces = if without { TRIES_FOR_BACKTRACES - 1 } else { 0 };
        Trial { tries: 0, at_backtraces, with_errors: WITH_ERRORS.load(Relaxed) }
    }

    /// Takes what is held during the next fork. What was printed is not in a buffer then.
    pub(super) fn hold(&self) -> Held {
        loop {
            let held = if self.with_errors {
                let _ = io::stdout().flush();
                let errors = io::stderr().lock();
                panics::hold().map(|_panics| Held::Errors { _errors: errors, _panics })
            } else {
                let mut out = io::stdout().lock();
                panics::hold().map(|_panics| {
                    let _ = out.flush();
                    Held::Output { _out: out, _panics }
                })
            };
            match held {
                Some(held) => return held,
                // Who prints a panic may wait for what was held.
                None => process::yield_now(),
            }
        }
    }

    /// In the child: takes what it needs, or hangs.
    pub(super) fn take(&self, sheet: &Sheet) {
        let reach = |step| {
            sheet.free.store(step, Relaxed);
            futex::wake(&sheet.free, u32::MAX);
        };
        reach(RUNS);
        if self.with_errors {
            let mut out = io::stdout().lock();
            // What another thread has put into the buffer is its process's to print.
            setup::with_no_standard_output(|| drop(out.flush()));
        } else {
            drop(io::stderr().lock());
        }
        reach(HAS_STREAM);
        if self.at_backtraces < TRIES_FOR_BACKTRACES {
            drop(Backtrace::force_capture());
        } else {
            NO_BACKTRACES.store(true, Relaxed);
        }
        reach(HAS_BACKTRACES);
        drop(std::env::var_os("COMMONS"));
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
        let patience = PATIENCE.0 << (self.tries / 4).min(16);
        let step = reached(HAS_ALL, patience.min(PATIENCE.1));
        sheet.free.store(0, Relaxed);
        if step == HAS_ALL {
            // Relaxed: as above.
            WITH_ERRORS.store(self.with_errors, Relaxed);
            WITHOUT_BACKTRACES.store(self.at_backtraces >= TRIES_FOR_BACKTRACES, Relaxed);
            return Ok(true);
        }
        self.tries += 1;
        if self.tries == TRIES {
            return failed("other threads have locks of the standard library all the time");
        }
        match step {
            RUNS if self.with_errors => self.with_errors = false,
            RUNS if is_given_back() => self.with_errors = true,
            RUNS => return failed("another thread keeps the lock of standard error"),
            HAS_STREAM => self.at_backtraces += 1,
            _ => {}
        }
        Ok(false)
    }
}

/// Whether whoever has the lock of standard error gives it back.
fn is_given_back() -> bool {
    let (tell, told) = mpsc::channel();
    let taker = move || {
        drop(io::stderr().lock());
        let _ = tell.send(());
    };
    // Where there is no thread to be had, it is not known, and tried.
    thread::Builder::new().spawn(taker).is_err() || told.recv_timeout(LONG).is_ok()
}

/// A backtrace, in a process that can take one.
pub(super) fn backtrace() -> String {
    if NO_BACKTRACES.load(Relaxed) {
        "no backtrace: other threads of the parent were taking some when this process was forked"
            .to_owned()
    } else {
        Backtrace::force_capture().to_string()
    }
}
