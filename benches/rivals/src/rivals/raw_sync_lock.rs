//! raw_sync's mutex: a process-shared mutex of libc's, not robust.

use raw_sync::locks::{LockImpl, LockInit, Mutex};

use crate::locking::{Counter, alone, contended};
use crate::peer::Plan;
use crate::shared::{Line, Shared};
use crate::work::Result;

/// A lock in memory that a fork shares.
struct Locked {
    lock: Box<dyn LockImpl>,
    _memory: std::sync::Arc<Shared<Line<[u64; 16]>>>,
}

/// Both sides' handles to one lock.
fn pair() -> Result<(Locked, Locked)> {
    // SAFETY: zeros are what the lock is made in.
    let memory = unsafe { Shared::<Line<[u64; 16]>>::zeroed() }?;
    let base = (&raw const memory.0).cast_mut().cast::<u8>();
    // SAFETY: the memory has room for the lock, and behind it for the counter.
    let (lock, size) = unsafe { Mutex::new(base, base.add(120)) }?;
    if size > 120 {
        return Err("the lock does not fit".into());
    }
    // SAFETY: just made there.
    let (other, _) = unsafe { Mutex::from_existing(base, base.add(120)) }?;
    let locked = |lock| Locked { lock, _memory: memory.clone() };
    Ok((locked(lock), locked(other)))
}

impl Counter for Locked {
    #[inline(always)]
    fn add(&mut self) -> Result<()> {
        let guard = self.lock.lock()?;
        // SAFETY: the guard gives the address of the counter, which is the holder's.
        unsafe { *guard.cast::<u64>() += 1 };
        Ok(())
    }

    fn count(&mut self) -> Result<u64> {
        let guard = self.lock.lock()?;
        // SAFETY: as above.
        Ok(unsafe { *guard.cast::<u64>() })
    }
}

/// One process.
pub(crate) fn lock_alone(plan: &Plan) -> Result<f64> {
    alone(plan, pair()?.0)
}

/// Two processes.
pub(crate) fn lock_contended(plan: &Plan) -> Result<f64> {
    let (theirs, ours) = pair()?;
    contended(plan, theirs, ours)
}
