//! Locks as they are seen from outside.

use crate::Result;
use crate::raw::mutex::{Condition, RawMutex};
use crate::segment::{Core, Kind, ObjectInfo, Place};
use crate::sync::atomic::Ordering::Relaxed;

/// What can be seen of a lock by who takes no part in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockView {
    /// Nobody has it.
    Free,
    /// A thread has it and has not yet said of which process it is.
    Taken,
    /// A thread of this process has it, or died with it.
    Inside(u32),
    /// A thread panicked with it.
    Poisoned,
}

/// Looks at the lock of an object, if it is one.
pub(crate) fn look(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Option<LockView>> {
    if !matches!(info.kind, Kind::Mutex | Kind::RecursiveMutex | Kind::LockedArray) {
        return Ok(None);
    }
    let lock: &RawMutex = core.mapping().at(place.payload)?;
    Ok(Some(match (lock.condition(), lock.owner_thread()) {
        (Condition::OwnerDied { pid }, _) => LockView::Inside(pid),
        (_, Some(_)) => LockView::Taken,
        (Condition::Poisoned, None) => LockView::Poisoned,
        (Condition::Clean, None) => LockView::Free,
    }))
}

/// How often the owner of a lock has it that may have it more than once; 0: nobody does.
pub(crate) fn depth(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Option<u32>> {
    if info.kind != Kind::RecursiveMutex {
        return Ok(None);
    }
    let lock: &RawMutex = core.mapping().at(place.payload)?;
    // Relaxed: a moment's look at what the owner writes. (Of the dead it says nothing.)
    let depth = lock.depth().load(Relaxed);
    Ok(Some(if lock.owner_thread().is_some() { depth } else { 0 }))
}
