//! Child processes that run a closure or call a function: [`Process`].
//!
//! Beside them: who one is ([`current`], [`parent`]), who one's children are ([`active_children`]),
//! how many processors there are ([`cpu_count`], [`usable_cpu_count`]), and an end with a code
//! ([`exit`]).
//!
//! # What a child has of shared memory
//! What its closure captures, or its argument is made of, goes to the child when it starts:
//! - An end of which there is one, like [`spsc::Producer`](crate::spsc::Producer), is *moved*: it is the
//!   child's from then on, and the parent's copy is dropped without closing anything.
//! - What can be cloned, like a [`Mutex`](crate::Mutex), is *shared*: clone it, and move the clone. Each
//!   process has handles of its own, and dropping one never closes the object for another.
//!
//! ```
//! use commons::{Mutex, Process, spsc};
//!
//! let (mut producer, mut consumer) = spsc::ring(4)?;
//! let sum = Mutex::new(0)?;
//! let theirs = sum.clone();
//! let child = Process::spawn(move || {
//!     while let Ok(number) = consumer.pop() {
//!         *theirs.lock().expect("nobody dies here") += number;
//!     }
//! })?;
//! for number in 1..=4 {
//!     producer.push(number)?;
//! }
//! drop(producer); // The end of the stream, for the child.
//! child.join()?;
//! assert_eq!(*sum.lock()?, 10); // The child's handle went with it, and the object is still there.
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What came into a child any other way, in a `static` or by a fork of somebody else's, is a copy: an end
//! of which there is one answers [`Error::Forked`](crate::Error::Forked) there.
//!
//! # Two ways to start
//! A closure is started by *fork*: the child is a copy of the calling thread. A function with an argument
//! ([`Process::call`]) is started so, too, or by *exec*, as a new run of the program, which is right with
//! any number of threads, and inherits no descriptors but those that it needs. All else is the same.

/// Logs a message where the feature `log` is on.
macro_rules! event {
    ($level:ident, $($message:tt)+) => {{
        #[cfg(feature = "log")]
        log::$level!(target: "commons", $($message)+);
        #[cfg(not(feature = "log"))]
        let _ = || drop(format!($($message)+));
    }};
}

mod builder;
mod child;
mod end;
#[cfg(feature = "serde")]
mod entry;
mod few;
mod finalizer;
mod fork;
mod handle;
mod identity;
mod launch;
#[cfg(feature = "serde")]
mod letter;
mod locks;
#[cfg(feature = "log")]
mod logging;
#[cfg(feature = "serde")]
mod method;
mod outcome;
mod panics;
#[cfg(feature = "serde")]
mod passed;
#[cfg(feature = "serde")]
mod probe;
mod report;
mod setup;
#[cfg(feature = "serde")]
mod worker;

pub use builder::{Builder, Runnable};
pub use child::{Child, active_children};
pub use end::exit;
#[cfg(feature = "serde")]
pub use entry::entry;
pub use finalizer::Finalizer;
pub use handle::Process;
pub use identity::{Current, Parent, current, parent, rename};
#[cfg(feature = "log")]
pub use logging::log_to_stderr;
#[cfg(feature = "serde")]
pub use method::{
    StartMethod, StartMethodError, force_start_method, set_start_method, start_method,
};
pub use outcome::{ExitStatus, JoinError, Outcome, WaitError};
pub use setup::Resource;
#[cfg(feature = "serde")]
pub(crate) use worker::{
    Started, be_parent_of_workers, describe_panic, end_worker, start_worker, wait_for_any,
};

use crate::sys;

/// How many processors the machine has on line; at least 1.
pub fn cpu_count() -> usize {
    sys::process::processors()
}

/// How many processors the calling thread may run on, by its affinity mask; at least 1.
pub fn usable_cpu_count() -> usize {
    sys::process::usable_processors()
}
