//! Locks and signals that outlive their holders.

mod error;
mod guard;
mod handle;
mod mutex;

pub use error::LockError;
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
