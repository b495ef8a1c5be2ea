//! Locks and signals that outlive their holders.

mod error;
mod guard;
mod handle;
mod mutex;
mod once;
mod once_cell;
mod recursive;
mod rwlock;
mod rwlock_guard;
mod rwlock_share;

pub use error::LockError;
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
pub use once::Once;
pub use once_cell::OnceCell;
pub use recursive::{RecursiveMutex, RecursiveMutexGuard};
pub use rwlock::RwLock;
pub use rwlock_guard::{RwLockReadGuard, RwLockRecoveryGuard, RwLockWriteGuard};
