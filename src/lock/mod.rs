//! Locks and signals that outlive their holders.

mod array;
mod array_guard;
mod barrier;
mod condvar;
mod crew;
mod error;
mod event;
mod event_source;
mod guard;
mod handle;
mod hold;
mod joint;
mod loan;
mod mutex;
mod once;
mod once_cell;
mod permit;
#[cfg(feature = "raw_sync")]
mod raw_sync;
mod recursive;
mod rwlock;
mod rwlock_guard;
mod rwlock_share;
mod semaphore;
mod view;
mod wait_guard;

#[cfg(feature = "serde")]
pub(crate) use handle::Handle;
#[cfg(feature = "serde")]
pub(crate) use loan::{Loan, Terms};

pub use array::LockedArray;
pub use array_guard::{ArrayGuard, ArrayRecoveryGuard};
pub use barrier::{Barrier, BarrierWaitResult};
pub use condvar::{Condvar, WaitTimeoutResult};
pub use error::{BarrierError, LockError};
pub use event::{Event, Reset};
pub use guard::{MutexGuard, RecoveryGuard};
pub use mutex::Mutex;
pub use once::Once;
pub use once_cell::OnceCell;
pub use permit::{Permit, PermitPool};
#[cfg(feature = "raw_sync")]
pub use raw_sync::RawSyncMutex;
pub use recursive::{RecursiveMutex, RecursiveMutexGuard};
pub use rwlock::RwLock;
pub use rwlock_guard::{RwLockReadGuard, RwLockRecoveryGuard, RwLockWriteGuard};
pub use semaphore::Semaphore;
pub(crate) use view::{LockView, depth, look};
pub use wait_guard::WaitGuard;
