//! Locks and signals that outlive their holders.

mod error;
mod guard;
mod handle;
mod mutex;
mod recursive;

pub use error::LockError;
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
pub use recursive::{RecursiveMutex, RecursiveMutexGuard};
