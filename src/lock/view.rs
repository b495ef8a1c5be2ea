//! Locks as they are seen from outside.

use crate::Result;
use crate::raw::mutex::{Condition, RawMutex};
use crate::segment::{Core, Kind, ObjectInfo, Place};

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
