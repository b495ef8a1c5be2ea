//! Starting workers, from a process that was started for that and has one thread.
//!
//! A worker is no child that somebody has a handle of: who started it waits for all its children at
//! once, and whoever shares its segment knows it by its stamp.

#![allow(unsafe_code, reason = "forks")]

use super::identity::Identity;
use super::{end, panics};
use crate::Result;
use crate::member::Stamp;
use crate::segment::{Core, Prepared};
use crate::sys::fork::{self, Side};
use crate::sys::tether::Collar;
use crate::sys::{process, setup};
use std::any::Any;
use std::io;
use std::sync::Arc;

/// On which side of a worker's start the caller is.
#[derive(Debug)]
pub(crate) enum Started {
    /// In the worker.
    Worker,
    /// In the process that started it.
    Parent {
        /// The worker's process id.
        pid: u32,
    },
}

/// Forks a worker of this name that ends with the process at the other end of the `collar`'s tether.
/// Calls `known` with its stamp in the segment of `core` before it is there.
///
/// # Errors
/// As [`Prepared::with`]; [`Error::Process`](crate::Error::Process) where the kernel refuses.
///
/// # Safety
/// The calling process has one thread.
pub(crate) unsafe fn start_worker(
    core: &Arc<Core>,
    name: String,
    collar: &Collar,
    known: impl FnOnce(Stamp),
) -> Result<Started> {
    let identity = Identity::of_child(Some(name), ("Worker", 0), true);
    let mut prepared = Prepared::with(core)?;
    known(prepared.stamp());
    // SAFETY: there is no other thread, says the caller.
    match unsafe { fork::fork(prepared.locks()) } {
        Err(source) => Err(crate::Error::Process { what: "fork", source }),
        Ok(Side::Parent { child: pid }) => Ok(Started::Parent { pid }),
        Ok(Side::Child) => {
            prepared.settle();
            identity.assume();
            if collar.put_on_another().is_err() {
                process::exit_now(1);
            }
            Ok(Started::Worker)
        }
    }
}

/// In a process that starts workers: its children are its own to wait for, whatever the program does
/// with theirs; SIGTERM ends it; and an interrupt from the terminal is the affair of the program.
pub(crate) fn be_parent_of_workers() {
    setup::default_action(process::signals::CHILD);
    setup::default_action(process::signals::TERM);
    setup::ignore(process::signals::INT);
}

/// Waits for a child of this process to end, or only looks: its process id and how it ended. `None`:
/// none has.
///
/// # Errors
/// What the kernel says, also where there is no child to wait for.
pub(crate) fn wait_for_any(block: bool) -> io::Result<Option<(u32, super::ExitStatus)>> {
    Ok(process::wait_for_any(block)?.map(|(pid, ended)| (pid, ended.into())))
}

/// Ends a worker in an orderly way.
pub(crate) fn end_worker(code: i32) -> ! {
    end::end_child(code)
}

/// A panic that was caught, in words: its message, where it was, and how it came there. The latter two
/// are empty outside of children.
pub(crate) fn describe_panic(payload: &(dyn Any + Send)) -> [String; 3] {
    if !super::launch::IN_CHILD.load(crate::sync::local::Ordering::Relaxed) {
        return [panics::message(payload), String::new(), String::new()];
    }
    let panics::Panic { message, location, backtrace } = panics::what_was(payload);
    [message, location, backtrace]
}
