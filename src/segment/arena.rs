//! The family arena: where objects without a name live.
//!
//! A process and the children it starts share a few large segments without names, so that ten
//! thousand small objects cost two descriptors a chunk and not two each. Space is reserved as it is
//! used. A chunk that a process makes is shared with the children it starts from then on. A large
//! object has a segment of its own, whose memory is given back with its last handle.

#![allow(unsafe_code, reason = "the list of chunks is behind an atomic pointer")]

use super::heap::NewObject;
use super::{Attachment, Core};
use crate::sync::local::{AtomicPtr, Ordering};
use crate::sys::process::pid_namespace;
use crate::{Error, Result};
use std::ptr::NonNull;
use std::sync::Arc;

/// Bytes of a chunk.
const CHUNK: u64 = 64 << 20;
/// Bytes from which on an object has a segment of its own: far below a chunk, so that a chunk is not
/// left half empty for one.
const LARGE: u64 = CHUNK / 8;

struct Chunk {
    core: Arc<Core>,
    older: *const Chunk,
}

/// The newest chunk. Chunks are never unmapped.
static NEWEST: AtomicPtr<Chunk> = AtomicPtr::new(core::ptr::null_mut());

/// Makes an object that goes when its last handle in a living process goes.
pub(crate) fn make_in_arena(
    new: NewObject<'_>,
    init: impl FnOnce(NonNull<u8>) -> Result<()>,
) -> Result<Attachment> {
    if new.size > LARGE {
        // A segment of its own goes with its last handle, and nobody waits while it is filled.
        let room = new.size.saturating_add(new.align).saturating_add(4096);
        return Attachment::make(&Arc::new(Core::anonymous(room)?), new, init);
    }
    let mut init = Some(init);
    // `init` runs at most once: a chunk without room answers before it.
    let mut once = |object| init.take().map_or(Ok(()), |init| init(object));
    in_some_chunk(|core| Attachment::make(core, new, &mut once))
}

/// A chunk in which this process takes part.
pub(crate) fn any_chunk() -> Result<&'static Arc<Core>> {
    in_some_chunk(|core| core.membership().map(|_| core))
}

/// Tries `use_it` with each chunk, the newest first, and then with a new one, until one has room for it.
fn in_some_chunk<R>(mut use_it: impl FnMut(&'static Arc<Core>) -> Result<R>) -> Result<R> {
    loop {
        // Acquire: pairs with the exchange that published the chunk.
        let newest = NEWEST.load(Ordering::Acquire);
        let mut at: *const Chunk = newest;
        // SAFETY: null, or a chunk that was leaked for good.
        while let Some(chunk) = unsafe { at.as_ref() } {
            // A parent's may be of another pid namespace, in which this process has no locks.
            if chunk.core.geometry().namespace != pid_namespace() {
                at = chunk.older;
                continue;
            }
            match use_it(&chunk.core) {
                Err(Error::SegmentFull { .. } | Error::TableFull { .. }) => at = chunk.older,
                other => return other,
            }
        }
        let core = Arc::new(Core::growing(CHUNK)?);
        let chunk = Box::into_raw(Box::new(Chunk { core, older: newest }));
        let (done, lost) = (Ordering::AcqRel, Ordering::Relaxed);
        if NEWEST.compare_exchange(newest, chunk, done, lost).is_err() {
            // SAFETY: ours, and nobody has seen it; another thread's chunk will do.
            drop(unsafe { Box::from_raw(chunk) });
        }
    }
}
