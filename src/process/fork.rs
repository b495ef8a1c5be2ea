//! Starting a child by fork, and handing it what it needs.
//!
//! 1. The parent takes a place for the child in the table of every segment that matters
//!    ([`Prepared`]), so the child is somebody from its first instruction.
//! 2. It forks. Where other threads run, the child first takes the [`locks`](super::locks) of the
//!    standard library that they may have had; if it hangs at that, it is ended, and there is another.
//! 3. The child sets itself up and waits at the gate.
//! 4. The parent drops its copy of the closure in transfer mode: what the closure holds becomes the
//!    child's ([`launch::let_go`]). Then it opens the gate.
//! 5. The child makes the places its own that it needs, maps the memory of what it was handed, runs the
//!    closure, writes down the outcome, says so, and ends.
//!
//! Every page that the child touches is a fault, and most of what a start takes. So the parent does
//! beforehand what it can, and the child leaves alone what it does not need.

#![allow(unsafe_code, reason = "forks")]

use super::builder::Builder;
use super::child::{Unborn, begin_without_children};
use super::end::{begin_with_handlers_of_parent, end_child, wait_at_exit};
use super::finalizer::begin_without_finalizers;
use super::handle::Process;
use super::identity;
use super::launch::{self, IN_CHILD, STARTING, begin, wait_at_gate};
use super::locks::Trial;
#[cfg(feature = "serde")]
use super::method;
use super::outcome::Outcome;
use super::panics;
use crate::segment::{self, Prepared};
#[cfg(feature = "log")]
use crate::sync::local::AtomicBool;
use crate::sync::local::Ordering::Relaxed;
use crate::sys::fork::{self, Side};
use crate::sys::tether::tether;
use crate::sys::{process, task};
use crate::{Error, Result};
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Starts a child that runs `f`.
pub(super) fn start<F, R>(mut builder: Builder, f: F) -> Result<Process<R>>
where
    F: FnOnce() -> R,
    R: Outcome,
{
    let identity = begin(&mut builder)?;
    let starting = STARTING.lock();
    let plain = builder.setup.is_plain();
    let environment = builder.setup.environment()?;
    let setup = builder.setup.prepare()?;
    wait_at_exit();
    panics::watch();
    let core = segment::any_chunk()?;
    let parent = core.membership()?.stamp();
    // A handle has a destructor, so what needs none holds none.
    let prepared = Prepared::new(std::mem::needs_drop::<F>())?;
    let epoch = fork::epoch_of_child();
    let in_child = IN_CHILD.placed();
    #[cfg(feature = "serde")]
    method::before_fork();

    let tied = if builder.daemon {
        Some(tether().map_err(|error| Error::os("pipe2", identity.name())(error))?)
    } else {
        None
    };
    let (tether, collar) = tied.unzip();
    let child = Unborn::new(identity, tether)?;
    let report = child.report();
    let sheet = report.sheet();

    let others = task::threads().saturating_sub(1);
    if others > 0 && builder.refuse_threads {
        return Err(Error::Threads { others });
    }
    #[cfg(feature = "log")]
    if others > 0 {
        say_once(others);
    }
    let mut trial = Trial::new();
    let (pid, pidfd) = loop {
        let printing = if others > 0 {
            trial.hold()
        } else {
            // A thread that is alone has all locks, and what it printed has to be printed all the same.
            let _ = io::stdout().flush();
            None
        };
        // SAFETY: of the locks that the child relies on, those of the standard library are held by this
        // thread or taken by the child, the allocator's are libc's business, and the crate's own are per
        // process.
        let side = unsafe { fork::fork(prepared.locks()) };
        // Out of the child's way where there is nothing: each piece of code that it comes to is a fault.
        if let Some(printing) = printing {
            drop(printing);
        }
        match side {
            Err(source) => return Err(Error::Process { what: "fork", source }),
            Ok(Side::Child) => {
                // Not given back: it is the parent's. The child has one of its own.
                std::mem::forget(starting);
                if others > 0 {
                    trial.take(sheet);
                }
                in_child.store(true, Relaxed);
                begin_with_handlers_of_parent();
                begin_without_children();
                begin_without_finalizers();
                // SAFETY: this process neither drops what it has of `child` nor looks at it again.
                unsafe { identity::assume_at_fork(child.identity(), epoch) };
                #[cfg(feature = "serde")]
                method::begin_at_fork(epoch);
                if let Some(environment) = environment {
                    environment.put_in_place();
                }
                let tied = collar.is_none_or(|collar| collar.put_on().is_ok());
                let set_up = setup.apply();
                let ready = if plain { set_up.is_ok() } else { sheet.say_set_up(set_up) };
                // In any case: while it waits there, it is the process that its parent takes it for.
                let gate = wait_at_gate(sheet, core, parent);
                match gate.filter(|_| tied && ready) {
                    Some(true) => prepared.settle_down(),
                    Some(false) => prepared.settle_where_seen(),
                    None => process::exit_now(1),
                }
                event!(info, "child process runs its closure");
                end_child(launch::run(f, report))
            }
            Ok(Side::Parent { child: pid }) => {
                let pidfd = process::open(pid).map_err(|source| {
                    launch::give_up(&child, pid);
                    Error::Process { what: "pidfd_open", source }
                })?;
                let passed =
                    if others == 0 { Ok(true) } else { trial.passed(sheet, pidfd.as_fd()) };
                if matches!(passed, Ok(true)) {
                    break (pid, pidfd);
                }
                launch::end(pidfd.as_fd());
                passed?;
                sheet.clear();
            }
        }
    };
    if !plain && let Err(error) = sheet.wait_for_setup(pidfd.as_fd()) {
        launch::end(pidfd.as_fd());
        return Err(error);
    }
    launch::let_go(child.born(pid, pidfd), prepared, f, starting)
}

/// Says that a fork copies one thread of several, the first time that somebody listens.
#[cfg(feature = "log")]
fn say_once(others: usize) {
    static SAID: AtomicBool = AtomicBool::new(false);
    // Relaxed: no data.
    if log::log_enabled!(target: "commons", log::Level::Warn) && !SAID.swap(true, Relaxed) {
        event!(
            warn,
            "a child is forked while {others} other threads run; what they have locked in other \
             libraries stays locked in it"
        );
    }
}
