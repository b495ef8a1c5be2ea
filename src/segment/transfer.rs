//! Handing what this process holds to a child it starts.
//!
//! The parent takes a place for the child in the table of every segment in which it has something
//! that only one process can have, before the fork: so the child has a stamp, held by the kernel,
//! from its first instruction. After the fork the parent drops its copy of the child's closure in
//! *transfer mode*: each handle in it, instead of giving its claim back, writes the child's stamp
//! where its own was. Only then is the child let go.

use super::Core;
use crate::Result;
use crate::member::{PlaceTaken, Stamp};
use crate::sys::per_process::PerProcess;
use std::cell::RefCell;
use std::sync::{Arc, Weak};

/// The segments in which this process may have something exclusive.
static KNOWN: PerProcess<Vec<Weak<Core>>> = PerProcess::new();

/// Notes a segment in which this process has something exclusive.
pub(super) fn register(core: &Arc<Core>) {
    let mut cores = KNOWN.lock();
    cores.retain(|known| known.upgrade().is_some_and(|known| !Arc::ptr_eq(&known, core)));
    cores.push(Arc::downgrade(core));
}

/// A place in one segment that is taken for a child.
#[derive(Debug)]
pub(crate) struct Prepared {
    core: Arc<Core>,
    place: PlaceTaken,
}

/// Takes a place for one child in `always` and in every segment in which this process has something
/// exclusive.
pub(crate) fn prepare_children(always: &Arc<Core>) -> Result<Vec<Prepared>> {
    let mut cores: Vec<Arc<Core>> = vec![always.clone()];
    let known: Vec<_> = KNOWN.lock().iter().filter_map(Weak::upgrade).collect();
    cores.extend(known.into_iter().filter(|c| c.has_exclusive() && !Arc::ptr_eq(c, always)));
    cores
        .into_iter()
        .map(|core| Ok(Prepared { place: core.table()?.take_place(core.geometry())?, core }))
        .collect()
}

/// In the child: makes the places its own.
pub(crate) fn settle_in_child(prepared: Vec<Prepared>) -> Result<()> {
    for Prepared { core, place } in prepared {
        if core.has_exclusive() {
            register(&core);
        }
        core.settle(place)?;
    }
    Ok(())
}

thread_local! {
    static CHILD: RefCell<Vec<(*const Core, Stamp)>> = const { RefCell::new(Vec::new()) };
}

/// In the parent: drops `gift` so that what it holds becomes the child's.
pub(crate) fn hand_over<G>(prepared: &[Prepared], gift: G) {
    let stamps = prepared.iter().map(|p| (Arc::as_ptr(&p.core), p.place.stamp)).collect();
    let outer = CHILD.replace(stamps);
    // A destructor of the caller's that panics must not leave this thread handing over.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(gift)));
    CHILD.set(outer);
    if let Err(panic) = result {
        std::panic::resume_unwind(panic);
    }
}

/// The stamp of the child to which the calling thread is handing over, in this segment.
pub(crate) fn child_stamp(core: &Arc<Core>) -> Option<Stamp> {
    CHILD.with_borrow(|stamps| {
        stamps.iter().find(|(known, _)| *known == Arc::as_ptr(core)).map(|(_, stamp)| *stamp)
    })
}
