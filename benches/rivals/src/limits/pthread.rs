//! glibc's robust, process-shared mutex: what a lock that survives its owner costs elsewhere.

use std::cell::UnsafeCell;
use std::io;
use std::mem::MaybeUninit;
use std::sync::Arc;

use crate::locking::{Counter, alone, contended};
use crate::peer::Plan;
use crate::shared::{Line, Shared};
use crate::work::Result;

/// A lock and what it guards.
struct Robust {
    lock: Line<UnsafeCell<libc::pthread_mutex_t>>,
    count: UnsafeCell<u64>,
}

// SAFETY: the count is touched under the lock, which any thread of any process may use.
unsafe impl Sync for Robust {}
// SAFETY: made of plain memory.
unsafe impl Send for Robust {}

fn check(code: libc::c_int) -> io::Result<()> {
    if code == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(code)) }
}

fn new() -> Result<Arc<Shared<Robust>>> {
    // SAFETY: a lock is initialised below, before anybody sees it.
    let memory = unsafe { Shared::<Robust>::zeroed() }?;
    let mut attributes = MaybeUninit::uninit();
    let attributes = attributes.as_mut_ptr();
    // SAFETY: a place for attributes.
    check(unsafe { libc::pthread_mutexattr_init(attributes) })?;
    // SAFETY: initialised.
    check(unsafe { libc::pthread_mutexattr_setpshared(attributes, libc::PTHREAD_PROCESS_SHARED) })?;
    // SAFETY: initialised.
    check(unsafe { libc::pthread_mutexattr_setrobust(attributes, libc::PTHREAD_MUTEX_ROBUST) })?;
    // SAFETY: the lock is not in use yet, and stays where it is.
    check(unsafe { libc::pthread_mutex_init(memory.lock.0.get(), attributes) })?;
    Ok(memory)
}

impl Counter for Arc<Shared<Robust>> {
    #[inline(always)]
    fn add(&mut self) -> Result<()> {
        // SAFETY: initialised by `new`.
        check(unsafe { libc::pthread_mutex_lock(self.lock.0.get()) })?;
        // SAFETY: under the lock.
        unsafe { *self.count.get() += 1 };
        // SAFETY: this thread has it.
        check(unsafe { libc::pthread_mutex_unlock(self.lock.0.get()) })?;
        Ok(())
    }

    fn count(&mut self) -> Result<u64> {
        // SAFETY: asked while nobody adds.
        Ok(unsafe { *self.count.get() })
    }
}

/// Lock and unlock, one process.
pub(crate) fn lock_alone(plan: &Plan) -> Result<f64> {
    alone(plan, new()?)
}

/// Two processes add to a counter.
pub(crate) fn lock_contended(plan: &Plan) -> Result<f64> {
    let lock = new()?;
    contended(plan, lock.clone(), lock)
}
