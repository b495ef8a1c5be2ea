//! Locks and signals that outlive their holders.

mod barrier;
mod condvar;
mod crew;
mod error;
mod event;
mod guard;
mod handle;
mod joint;
mod mutex;
mod permit;
mod recursive;
mod semaphore;

pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use error::{BarrierError, LockError};
pub use event::{Event, Reset};
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
pub use permit::{Permit, PermitPool};
pub use recursive::{RecursiveMutex, RecursiveMutexGuard};
pub use semaphore::Semaphore;
