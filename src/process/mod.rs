//! Child processes that run a closure: [`Process`].
//!
//! Beside them: who one is ([`current`], [`parent`]), who one's children are ([`active_children`]),
//! how many processors there are ([`cpu_count`], [`usable_cpu_count`]), and an end with a code
//! ([`exit`]).

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
mod handle;
mod identity;
mod launch;
#[cfg(feature = "log")]
mod logging;
mod outcome;
mod panics;
mod setup;
#[cfg(feature = "serde")]
mod worker;

pub use builder::{Builder, Runnable};
pub use child::{Child, ExitStatus, active_children};
pub use end::exit;
pub use handle::Process;
pub use identity::{Current, Parent, current, parent, rename};
#[cfg(feature = "log")]
pub use logging::log_to_stderr;
pub use outcome::{JoinError, Outcome};
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
