//! Child processes that run a closure.

mod launch;
mod outcome;

pub use launch::{ExitStatus, Process};
pub use outcome::{JoinError, Outcome};
