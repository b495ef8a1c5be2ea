//! Locks and signals that outlive their holders.

mod array;
mod error;
mod guard;
mod handle;
mod hold;
mod mutex;
mod recursive;
mod view;

pub use array::{ArrayGuard, ArrayRecoveryGuard, LockedArray};
pub use error::LockError;
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
pub use recursive::{RecursiveMutex, RecursiveMutexGuard};
pub(crate) use view::{LockView, look};
