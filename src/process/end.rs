//! The end of a process.

use super::launch::IN_CHILD;
use crate::segment::leave_all;
use crate::sys::process;
use std::io::{self, Write};
use std::sync::atomic::Ordering::Relaxed;

/// Ends the calling process, with this exit code (modulo 256).
///
/// Of a child process, nothing of what it inherited from its parent runs: no exit handlers, and no
/// destructors; what it printed is printed. Any other process ends as by [`std::process::exit`].
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
pub(super) fn end_child(code: i32) -> ! {
    let _ = io::stdout().flush();
    leave_all();
    process::exit_now(code)
}
