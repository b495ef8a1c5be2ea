//! The end of a process.
//!
//! One that ends in an orderly way first asks its daemons to end, then waits for its other children,
//! and then sees to it that the daemons have ended; around that, finalizers have their turn. libc's exit
//! handlers do that where `exit` is called, in a forked child also, which inherits the handler and has its
//! own list of children.

#![allow(unsafe_code, reason = "a static is placed where forks write")]

use super::child::{Child, active_children, never_had_children};
use super::finalizer::run_pending;
use super::launch::IN_CHILD;
use crate::segment::leave_all;
use crate::sync::local::{AtomicBool, Ordering::Relaxed};
use crate::sys::hot::Hot;
use crate::sys::process;
use std::io::{self, Write};
use std::time::{Duration, Instant};

/// How long a daemon that is asked to end has time to.
const GRACE: Duration = Duration::from_secs(1);

/// Ends the calling process, with this exit code (modulo 256).
///
/// Of a child process, nothing of what it inherited from its parent runs: no exit handlers, and no
/// destructors; what it printed is printed, and its [finalizers](super::Finalizer) run. (By
/// [`std::process::exit`] a child that was forked ends, too, and runs the exit handlers of its parent's.) Any
/// other process ends as by [`std::process::exit`].
///
/// # Examples
/// ```
/// use commons::{ExitStatus, Process, process};
///
/// let child = Process::spawn(|| -> () { process::exit(3) })?;
/// assert_eq!(child.wait()?, ExitStatus::Exited(3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn exit(code: i32) -> ! {
    // Relaxed: set by the thread that this process began with, before it ran anything else.
    if IN_CHILD.load(Relaxed) { end_child(code) } else { std::process::exit(code) }
}

/// Ends a child of this crate's in an orderly way.
#[inline(always)]
pub(super) fn end_child(code: i32) -> ! {
    let _ = io::stdout().flush();
    end_in_order();
    let _ = io::stdout().flush();
    leave_all();
    event!(info, "process exits with exit code {}", code & 0xff);
    // Relaxed: as `IN_CHILD`.
    if OWN_HANDLERS.if_placed().is_some_and(|own| own.load(Relaxed)) {
        ENDED.store(true, Relaxed);
        std::process::exit(code)
    }
    process::exit_now(code)
}

/// Whether all exit handlers of this process are its own, and none its parent's.
// SAFETY: zeros are an atomic.
pub(super) static OWN_HANDLERS: Hot<AtomicBool> = unsafe { Hot::new() };
/// In a child that was just forked.
#[inline(always)]
pub(super) fn begin_with_handlers_of_parent() {
    if let Some(own) = OWN_HANDLERS.if_placed() {
        own.store(false, Relaxed);
    }
}

/// Whether this process has done what belongs to its end.
static ENDED: AtomicBool = AtomicBool::new(false);

/// What belongs to an orderly end.
#[inline(always)]
fn end_in_order() {
    event!(info, "process shuts down");
    event!(debug, "runs finalizers of priority 0 and above");
    run_pending(0);
    see_children_end();
    event!(debug, "runs the remaining finalizers");
    run_pending(i32::MIN);
}

/// Has this process wait for its children when it ends by `exit`.
pub(super) fn wait_at_exit() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    extern "C" fn handler() {
        // Relaxed: set by the thread that calls this.
        if !ENDED.load(Relaxed) {
            end_in_order();
        }
    }
    // Relaxed: no data. Called by one thread at a time; a child has what its parent asked for.
    if !ASKED.load(Relaxed) && !ASKED.swap(true, Relaxed) {
        process::at_exit(handler);
    }
}

/// Ends the daemons among the children, and waits for all the others.
#[inline(always)]
fn see_children_end() {
    if never_had_children() {
        event!(debug, "ends 0 daemons and waits for 0 children");
    } else {
        see_these_end(active_children());
    }
}

fn see_these_end(children: Vec<Child>) {
    let (daemons, others): (Vec<_>, Vec<_>) =
        children.into_iter().partition(|child| child.is_daemon());
    event!(debug, "ends {} daemons and waits for {} children", daemons.len(), others.len());
    for daemon in &daemons {
        event!(info, "terminates daemon {}", daemon.name());
        let _ = daemon.terminate();
    }
    let grace = Instant::now() + GRACE;
    for child in others {
        event!(info, "joins child {}", child.name());
        let _ = child.wait();
    }
    for daemon in daemons {
        if !matches!(daemon.wait_deadline(grace), Ok(Some(_))) {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
