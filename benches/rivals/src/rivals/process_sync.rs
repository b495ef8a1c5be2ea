//! process-sync's mutex: a process-shared mutex of libc's, not robust, for forked children.

use std::cell::UnsafeCell;
use std::rc::Rc;

use process_sync::{SharedMemoryObject, SharedMutex};

use crate::locking::{Counter, alone, contended};
use crate::peer::Plan;
use crate::work::Result;

/// A lock and what it guards, which a fork shares. Each process has one user of it.
struct Locked {
    lock: UnsafeCell<SharedMutex>,
    count: UnsafeCell<SharedMemoryObject<u64>>,
}

fn new() -> Result<Rc<Locked>> {
    let (lock, count) = (SharedMutex::new()?, SharedMemoryObject::new(0)?);
    Ok(Rc::new(Locked { lock: lock.into(), count: count.into() }))
}

impl Counter for Rc<Locked> {
    #[inline(always)]
    fn add(&mut self) -> Result<()> {
        // SAFETY: the process's one user of it.
        let lock = unsafe { &mut *self.lock.get() };
        lock.lock()?;
        // SAFETY: as above, and under the lock.
        unsafe { *(*self.count.get()).get_mut() += 1 };
        lock.unlock()?;
        Ok(())
    }

    fn count(&mut self) -> Result<u64> {
        // SAFETY: asked while nobody adds.
        Ok(unsafe { *(*self.count.get()).get() })
    }
}

/// One process.
pub(crate) fn lock_alone(plan: &Plan) -> Result<f64> {
    alone(plan, new()?)
}

/// Two processes.
pub(crate) fn lock_contended(plan: &Plan) -> Result<f64> {
    let lock = new()?;
    contended(plan, lock.clone(), lock)
}
