//! Starting a child by exec, and being one.
//!
//! The child is another run of the program. It finds a `letter` in which its parent says which function
//! to call, by where that is in the program; the program's identity is compared first. Nothing else of the parent's memory is needed, so what other threads of it do at that moment does not
//! matter. What is handed over, and when, is as in [`fork`](super::fork).

#![allow(unsafe_code, reason = "finds a function by where it is")]

use super::builder::Builder;
use super::child::Unborn;
use super::end::{OWN_HANDLERS, end_child, wait_at_exit};
use super::handle::Process;
use super::launch::{self, IN_CHILD, STARTING, begin, wait_at_gate};
use super::letter::{self, Found, Inherited, Letter, VARIABLE};
use super::method::{StartMethod, force_start_method};
use super::outcome::Outcome;
use super::panics;
use super::passed;
use super::report::Report;
use super::setup::NO_STEP;
use crate::member::Stamp;
use crate::segment::{self, Prepared};
use crate::sync::local::{AtomicBool, Ordering::Relaxed};
use crate::sys::image::Image;
use crate::sys::tether::{Collar, tether};
use crate::sys::{exec, process, setup};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

/// Whether `main` has called [`entry`].
static ENTERED: AtomicBool = AtomicBool::new(false);

/// Calls a function by its address with what these bytes are, and gives the exit code.
type Caller = unsafe fn(usize, &[u8], &Report) -> i32;

/// # Safety
/// `function` is the address of a `fn(A) -> R`.
unsafe fn call<A: DeserializeOwned, R: Outcome>(
    function: usize,
    argument: &[u8],
    report: &Report,
) -> i32 {
    // SAFETY: as the caller says.
    let function = unsafe { std::mem::transmute::<usize, fn(A) -> R>(function) };
    let argument = catch_unwind(|| postcard::from_bytes(argument));
    segment::forget_rest();
    passed::forget_rest();
    let argument = match argument {
        Ok(argument) => argument,
        Err(payload) => return report.panicked(payload),
    };
    match argument {
        Ok(argument) => {
            event!(info, "child process calls its function");
            launch::run(move || function(argument), report)
        }
        Err(error) => {
            let problem = segment::problem(error);
            complain(&format!("its argument could not be made of what came: {problem}"));
            report.refuse(&problem);
            1
        }
    }
}

fn failed(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Process { what, source }
}

/// Starts a child that calls `f`.
pub(super) fn start<A, R>(mut builder: Builder, f: fn(A) -> R, argument: A) -> Result<Process<R>>
where
    A: Serialize + DeserializeOwned,
    R: Outcome,
{
    let identity = begin(&mut builder)?;
    let name = identity.name();
    // Relaxed: no data.
    if !ENTERED.load(Relaxed) {
        let source = io::Error::new(
            io::ErrorKind::Unsupported,
            "`main` has to call `commons::process::entry()` before anything else",
        );
        return Err(Error::Process { what: "starting by exec", source });
    }
    let image = Image::own();
    let place = |address: usize| {
        let outside = "the function is part of a shared library, and found in the program alone";
        let error = || io::Error::new(io::ErrorKind::Unsupported, outside);
        image.offset(address as u64).ok_or_else(error).map_err(failed("starting by exec"))
    };
    let (function, caller) = (place(f as usize)?, place(call::<A, R> as Caller as usize)?);
    // Before others have to wait: it runs code of the caller's.
    let core = segment::any_chunk()?;
    let serialise = || segment::collect_with(core.clone(), || postcard::to_stdvec(&argument));
    let ((bytes, outgoing), processes) = passed::collect(serialise);
    let bytes = bytes.map_err(|error| io::Error::other(segment::problem(error)));
    let bytes = bytes.map_err(failed("serialising the argument"))?;

    let starting = STARTING.lock();
    let mut environment = builder.setup.variables()?;
    let setup = builder.setup.prepare()?;
    wait_at_exit();
    let parent = core.membership()?.stamp();
    let prepared = Prepared::among(outgoing.cores)?;
    let tied =
        if builder.daemon { Some(tether().map_err(Error::os("pipe2", &name))?) } else { None };
    let (tether, collar) = tied.unzip();
    let child = Unborn::new(identity, tether)?;
    let sheet = child.report().sheet();

    let segments = prepared.cores().iter().zip(prepared.locks());
    let segments = segments
        .map(|((core, stamp), lock)| Inherited::new(core, *stamp, lock.as_fd().as_raw_fd()));
    #[cfg(feature = "log")]
    let log = super::logging::state();
    #[cfg(not(feature = "log"))]
    let log = (0, false);
    let letter = Letter {
        image: image.identity().map_err(failed("looking at the program"))?,
        function,
        caller,
        segments: segments.collect(),
        tickets: outgoing.tickets,
        passed: processes.in_letter(),
        report: child.report().descriptors()?,
        collar: collar.as_ref().map(|collar| collar.as_fd().as_raw_fd()),
        identity: child.identity().spelled_out(),
        parent: (parent.index, parent.generation),
        log,
    };
    let paper = letter.write(&bytes).map_err(Error::os("memfd_create", &name))?;
    drop(bytes);

    let fd = paper.as_raw_fd();
    environment.retain(|(key, _)| key != VARIABLE);
    environment.push((VARIABLE.into(), fd.to_string().into()));
    let mut kept = vec![fd, letter.report.0, letter.report.2];
    kept.extend(letter.collar);
    kept.extend(letter.passed.descriptors());
    kept.extend(letter.segments.iter().flat_map(Inherited::descriptors));
    let program = builder.executable.unwrap_or_else(|| PathBuf::from("/proc/self/exe"));
    let arguments: Vec<OsString> =
        builder.arguments.unwrap_or_else(|| std::env::args_os().collect());
    let prepare = move || {
        let tied = || collar.as_ref().map_or(Ok(()), Collar::fasten);
        let ready = letter::sign(fd).and_then(|()| tied()).map_err(|error| (NO_STEP, error));
        // It says so and ends. As an error of the standard library's, that would be waited for, and nobody
        // may be left to wait for.
        if !sheet.say_set_up(ready.and_then(|()| setup.apply())) {
            process::exit_now(1);
        }
        Ok(())
    };
    let started = exec::start(&program, &arguments, environment, kept, prepared.locks(), prepare);
    drop(processes);
    let pid = started.map_err(failed("fork and exec"))?;
    if let Some(failure) = sheet.setup_failure() {
        process::reap(pid);
        return Err(failure);
    }
    let pidfd = process::open(pid).map_err(|source| {
        launch::give_up(&child, pid);
        Error::Process { what: "pidfd_open", source }
    })?;
    launch::let_go(child.born(pid, pidfd), prepared, argument, starting)
}

/// Calls the function that this process was started for, and ends, if it was started by
/// [`StartMethod::Exec`]; otherwise does nothing. A program that starts children so calls it first in
/// `main`.
///
/// What `main` does before is done in each such child, too. A program that does not call it cannot start
/// children so: that is an error of the start, and not an endless chain of programs that start each
/// other.
///
/// What is called is found by its place in the program, so nothing has to be registered: any function
/// will do, of any crate that is linked into the program. Parent and child compare what program they
/// run first. A program that has other rights than the user that runs it (set-user-ID) never acts as a
/// child.
///
/// # Examples
/// ```no_run
/// use commons::process::{self, Process, StartMethod};
///
/// fn square(number: u64) -> u64 {
///     number * number
/// }
///
/// fn main() -> Result<(), Box<dyn std::error::Error>> {
///     process::entry();
///     process::set_start_method(StartMethod::Exec)?;
///     assert_eq!(Process::call(square, 7)?.join()?, 49);
///     Ok(())
/// }
/// ```
pub fn entry() {
    // Relaxed: no data.
    if ENTERED.swap(true, Relaxed) || exec::is_privileged() {
        return;
    }
    let Some(text) = std::env::var_os(VARIABLE) else { return };
    setup::forget_variable(VARIABLE);
    match letter::find(&text.to_string_lossy()) {
        Found::None => {}
        Found::Letter(letter, argument) => be(*letter, &argument),
        Found::Damaged(problem) => {
            complain(&format!("what its parent wrote cannot be read: {problem}"));
            process::exit_now(1);
        }
    }
}

/// Says why this process cannot be the child that it was to be.
fn complain(problem: &str) {
    let name = super::identity::current().name().to_owned();
    let _ = io::stderr().write_all(format!("{name}: {problem}\n").as_bytes());
}

/// Is the child that a letter says.
fn be(letter: Letter, argument: &[u8]) -> ! {
    // Relaxed: this process has no other thread yet.
    IN_CHILD.store(true, Relaxed);
    OWN_HANDLERS.store(true, Relaxed);
    letter.identity.assume();
    force_start_method(StartMethod::Exec);
    if let Some(own) = std::env::args_os().next()
        && let Some(own) = Path::new(&own).file_name()
    {
        exec::set_short_name(own);
    }
    let image = Image::own();
    let same = image.identity().is_ok_and(|own| own.is_same(&letter.image));
    let places = image.address(letter.function).zip(image.address(letter.caller));
    let Some((function, caller)) = places.filter(|_| same) else {
        complain("it runs another program than its parent, where no function of that can be found");
        process::exit_now(1);
    };
    #[cfg(feature = "log")]
    super::logging::assume(letter.log);
    panics::watch();
    if let Some(collar) = letter.collar.and_then(exec::take) {
        // Open for as long as the process is.
        std::mem::forget(collar);
    }
    let (pad, sheet, file) = letter.report;
    let descriptors = exec::take(pad).zip(exec::take(file));
    let code = segments(letter.segments).and_then(|(cores, mut prepared)| {
        let (pad, file) = descriptors.ok_or("what its outcome goes to was not inherited")?;
        let report = Report::inherited(pad, sheet, File::from(file));
        let report = report.map_err(|error| format!("what its outcome goes to: {error}"))?;
        let core = cores.first().cloned().ok_or("its parent is in no segment")?;
        prepared.settle();
        letter.passed.arrive()?;
        segment::unpack(cores, letter.tickets, None, || {
            let (index, generation) = letter.parent;
            let parent = Stamp { index, generation };
            if wait_at_gate(report.sheet(), &core, parent).is_none() {
                process::exit_now(1);
            }
            prepared.prefault();
            // SAFETY: the same program has a function of this type there, says the parent, who took
            // both addresses of functions of the types that go together.
            let caller = unsafe { std::mem::transmute::<usize, Caller>(caller as usize) };
            // SAFETY: as above.
            Ok(unsafe { caller(function as usize, argument, &report) })
        })
    });
    end_child(code.unwrap_or_else(|problem: String| {
        complain(&format!("what it was to have cannot be used: {problem}"));
        1
    }))
}

fn text(error: Error) -> String {
    error.to_string()
}

type Segments = (Vec<std::sync::Arc<segment::Core>>, Prepared);

/// What this process was given places in.
fn segments(inherited: Vec<Inherited>) -> Result<Segments, String> {
    let places = inherited.into_iter().map(Inherited::open).collect::<Result<Vec<_>>>();
    let places = places.map_err(text)?;
    let cores = places.iter().map(|(core, ..)| core.clone()).collect();
    Ok((cores, Prepared::inherited(places).map_err(text)?))
}
