//! Tasks as addresses of code.
//!
//! A worker is forked from a process that was forked from the pool's, so the same function has the
//! same address in all of them. A task is a function or a closure that captures nothing, so its type is
//! all that there is to it: for each such type, argument and result there is one instance of [`run`],
//! and its address is what is sent. That address is called only if it lies in code that was there when
//! the pool was made.

#![allow(
    unsafe_code,
    reason = "calls functions by their addresses, and makes values without bytes"
)]

use super::codec::{self, Portable};
use super::error::TaskError;
use crate::process;
use std::fs;
use std::io;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What is done with one chunk of arguments.
type Run = fn(&[u8], usize, &mut Output);

/// What the tasks of one chunk came to.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// The results in order; of those that have none, texts that say why.
    pub(super) bytes: Vec<u8>,
    /// Those that have none: which one of the chunk, and why.
    failures: Vec<(u32, Failure)>,
}

/// Why a task has no result though its worker lives. The numbers are what is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Panicked = 1,
    Argument = 2,
    Outcome = 3,
    Unreachable = 4,
}

/// An error of the crate's own that a task may give in the place of a result.
#[derive(Debug)]
pub(super) struct OwnError(pub(super) String);

impl Output {
    /// Begins another chunk.
    pub(super) fn clear(&mut self) {
        /// More than this is not kept.
        const KEPT: usize = 1 << 20;
        self.bytes.clear();
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        self.failures.clear();
    }

    /// Whether all tasks have a result.
    pub(super) fn is_whole(&self) -> bool {
        self.failures.is_empty()
    }

    fn fail(&mut self, index: usize, failure: Failure, texts: &[String]) {
        self.failures.push((index as u32, failure));
        // In the place of the result.
        for text in texts {
            let text = text.as_bytes();
            self.bytes.extend_from_slice(&(text.len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(text);
        }
    }

    /// Appends which tasks failed, if any did, and in which process.
    pub(super) fn seal(&mut self) {
        if self.is_whole() {
            return;
        }
        for (index, failure) in &self.failures {
            self.bytes.extend_from_slice(&index.to_le_bytes());
            self.bytes.extend_from_slice(&(*failure as u32).to_le_bytes());
        }
        self.bytes.extend_from_slice(&(self.failures.len() as u32).to_le_bytes());
        self.bytes.extend_from_slice(&std::process::id().to_le_bytes());
    }
}

/// What [`Output`] says to the process that asked for it.
#[derive(Debug)]
pub(super) struct Results<'a> {
    bytes: &'a [u8],
    /// Index and kind of each failure, 8 bytes each.
    failures: &'a [u8],
    next: u32,
    worker: u32,
}

fn damaged() -> TaskError {
    TaskError::Outcome { problem: "what the worker sent contradicts itself".to_owned() }
}

impl<'a> Results<'a> {
    /// Reads an output; `whole`: as [`Output::is_whole`] was.
    pub(super) fn of(bytes: &'a [u8], whole: bool) -> Result<Self, TaskError> {
        let mut results = Results { bytes, failures: &[], next: 0, worker: 0 };
        if !whole {
            let (rest, worker) = bytes.split_last_chunk().ok_or_else(damaged)?;
            let (rest, count) = rest.split_last_chunk().ok_or_else(damaged)?;
            results.worker = u32::from_le_bytes(*worker);
            let length = 8 * u32::from_le_bytes(*count) as usize;
            let at = rest.len().checked_sub(length).ok_or_else(damaged)?;
            (results.bytes, results.failures) = rest.split_at(at);
        }
        Ok(results)
    }

    /// The next result.
    #[inline]
    pub(super) fn next<R: Portable>(&mut self) -> Result<R, TaskError> {
        let index = self.next;
        self.next += 1;
        if let Some((failure, rest)) = self.failures.split_first_chunk::<8>()
            && failure[..4] == index.to_le_bytes()
        {
            self.failures = rest;
            return Err(self.failure(failure[4]).unwrap_or_else(damaged));
        }
        codec::take(&mut self.bytes).map_err(|problem| TaskError::Outcome { problem })
    }

    fn text(&mut self) -> Option<String> {
        let (length, rest) = self.bytes.split_first_chunk()?;
        let length = u32::from_le_bytes(*length) as usize;
        let text = rest.get(..length)?;
        self.bytes = &rest[length..];
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn failure(&mut self, kind: u8) -> Option<TaskError> {
        let is = |failure: Failure| u32::from(kind) == failure as u32;
        if is(Failure::Panicked) {
            let (message, location, backtrace) = (self.text()?, self.text()?, self.text()?);
            return Some(TaskError::Panicked { message, location, backtrace, worker: self.worker });
        }
        let problem = self.text()?;
        Some(if is(Failure::Argument) {
            TaskError::Argument { problem }
        } else if is(Failure::Unreachable) {
            TaskError::Unreachable { problem }
        } else {
            TaskError::Outcome { problem }
        })
    }
}

/// The value of a type without bytes.
///
/// # Safety
/// There was one, and it is `Copy`.
unsafe fn of_nothing<F: Copy>() -> F {
    const {
        assert!(
            size_of::<F>() == 0,
            "a task of a pool captures nothing: it runs in another process; pass what it needs as \
             its argument, or share it before the pool is made"
        )
    };
    // SAFETY: nothing is read from the aligned address, and a value was there to be copied, says the
    // caller.
    unsafe { core::ptr::NonNull::<F>::dangling().read() }
}

/// Runs a task for each argument of a chunk.
fn run<F, A, R>(mut input: &[u8], count: usize, output: &mut Output)
where
    F: Fn(A) -> R + Copy,
    A: Portable,
    R: Portable,
{
    // SAFETY: the address of this instance was taken by `address`, which was given one.
    let f: F = unsafe { of_nothing() };
    for index in 0..count {
        match attempt(f, &mut input, output, codec::take) {
            Ok(()) => {}
            Err((failure, texts)) => output.fail(index, failure, &texts),
        }
    }
}

/// The same for functions of the crate's own, which give a result or say why there is none.
fn run_own<F, A, R>(mut input: &[u8], count: usize, output: &mut Output)
where
    F: Fn(A) -> Result<R, OwnError> + Copy,
    A: Portable,
    R: Portable,
{
    // SAFETY: as in `run`.
    let f: F = unsafe { of_nothing() };
    for index in 0..count {
        let done = codec::take(&mut input)
            .map_err(|problem| (Failure::Argument, vec![problem]))
            .and_then(|argument| guard(|| f(argument)))
            .and_then(|result| result.map_err(|OwnError(why)| (Failure::Unreachable, vec![why])))
            .and_then(|result| give(&result, output));
        if let Err((failure, texts)) = done {
            output.fail(index, failure, &texts);
        }
    }
}

type Failed = (Failure, Vec<String>);

#[inline]
fn attempt<'a, A, R: Portable>(
    f: impl Fn(A) -> R,
    input: &mut &'a [u8],
    output: &mut Output,
    take: impl Fn(&mut &'a [u8]) -> Result<A, String>,
) -> Result<(), Failed> {
    let argument = take(input).map_err(|problem| (Failure::Argument, vec![problem]))?;
    let result = guard(|| f(argument))?;
    give(&result, output)
}

#[inline]
fn guard<R>(f: impl FnOnce() -> R) -> Result<R, Failed> {
    catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let texts = process::describe_panic(&*payload);
        // A payload whose destructor panics is not worth a worker.
        let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
        (Failure::Panicked, texts.into())
    })
}

#[inline]
fn give<R: Portable>(result: &R, output: &mut Output) -> Result<(), Failed> {
    let before = output.bytes.len();
    match catch_unwind(AssertUnwindSafe(|| codec::put(result, &mut output.bytes))) {
        Ok(put) => put.map_err(|problem| (Failure::Outcome, vec![problem])),
        Err(_) => {
            output.bytes.truncate(before);
            Err((Failure::Outcome, vec!["its serialisation panicked".to_owned()]))
        }
    }
}

/// The address of the code that runs this task.
pub(super) fn address<F, A, R>(_: F) -> u64
where
    F: Fn(A) -> R + Copy,
    A: Portable,
    R: Portable,
{
    let run: Run = run::<F, A, R>;
    run as usize as u64
}

/// The same for a function of the crate's own.
pub(super) fn own_address<F, A, R>(_: F) -> u64
where
    F: Fn(A) -> Result<R, OwnError> + Copy,
    A: Portable,
    R: Portable,
{
    let run: Run = run_own::<F, A, R>;
    run as usize as u64
}

/// Where code lay when the pool was made.
#[derive(Clone, Debug)]
pub(super) struct Text(Vec<Range<u64>>);

impl Text {
    /// Asks the kernel.
    pub(super) fn of_this_process() -> io::Result<Self> {
        let maps = fs::read_to_string("/proc/self/maps")?;
        let executable = maps.lines().filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            let (range, rights) = (words.next()?, words.next()?);
            let (start, end) = range.split_once('-')?;
            let address = |text| u64::from_str_radix(text, 16).ok();
            rights.contains('x').then_some(address(start)?..address(end)?)
        });
        Ok(Text(executable.collect()))
    }

    /// Whether an address lies there.
    pub(super) fn contains(&self, address: u64) -> bool {
        self.0.iter().any(|range| range.contains(&address))
    }

    /// Runs the code at an address, if there is some.
    pub(super) fn call(
        &self,
        address: u64,
        input: &[u8],
        count: usize,
        output: &mut Output,
    ) -> Result<(), TaskError> {
        if !self.contains(address) {
            return Err(TaskError::UnknownCode);
        }
        // SAFETY: the address is that of an instance of `run`, as the owner of the board wrote it
        // there, and lies in code that has been the same since the fork.
        let run: Run = unsafe { core::mem::transmute::<usize, Run>(address as usize) };
        run(input, count, output);
        Ok(())
    }
}
