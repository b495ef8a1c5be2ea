//! Locks and signals that outlive their holders.

mod error;
mod guard;
mod handle;
mod mutex;
mod recursive;
mod rwlock;
mod rwlock_guard;

pub use error::LockError;
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
pub use recursive::{RecursiveMutex, RecursiveMutexGuard};
pub use rwlock::RwLock;
pub use rwlock_guard::{RwLockReadGuard, RwLockRecoveryGuard, RwLockWriteGuard};
