//! Waiting for an end of a ring beside others.

#![allow(unsafe_code, reason = "refers to a ring in shared memory")]

use super::end::End;
use super::parts::Parts;
use super::side::Side;
use super::{Consumer, Producer};
use crate::Result;
use crate::member::Doubt;
use crate::raw::ring::Ring;
use crate::segment::Attachment;
use crate::sync::atomic::AtomicU32;
use crate::sync::local::{AtomicU64, Ordering::Relaxed};
use crate::wait::{Asleep, ReadSource, Source, WriteSource, is_suspect, watch_holder};
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};

/// How many slots an operation needed that found none, for those who watch its end. (Relaxed throughout:
/// it says what to look for.)
#[derive(Debug, Default)]
pub(in crate::channel) struct Wanted(OnceLock<Arc<AtomicU64>>);

impl Wanted {
    /// What is wanted from now on.
    pub(in crate::channel) fn set(&self, slots: u64) {
        self.get().store(slots, Relaxed);
    }

    fn get(&self) -> &Arc<AtomicU64> {
        self.0.get_or_init(|| Arc::new(AtomicU64::new(1)))
    }

    /// What is wanted, for who watches.
    pub(in crate::channel) fn shared(&self) -> Arc<AtomicU64> {
        self.get().clone()
    }
}

/// What one side of a ring waits for.
#[derive(Debug)]
struct Slots<S> {
    attachment: Attachment,
    parts: Parts,
    wanted: Arc<AtomicU64>,
    side: PhantomData<S>,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped, made of atomics.
unsafe impl<S> Send for Slots<S> {}
// SAFETY: as above.
unsafe impl<S> Sync for Slots<S> {}

/// What to wait for beside others, for the sake of an end.
pub(in crate::channel) fn source<S: Side + std::fmt::Debug + 'static>(
    end: &End<S>,
    wanted: &Wanted,
) -> Result<Box<dyn Source>> {
    let (attachment, parts) = end.watching()?;
    Ok(Box::new(Slots::<S> { attachment, parts, wanted: wanted.shared(), side: PhantomData }))
}

impl<S: Side> Slots<S> {
    fn ring(&self) -> Ring<'_> {
        // SAFETY: attached for as long as `self`.
        unsafe { self.parts.ring() }
    }
}

impl<S: Side + std::fmt::Debug> Source for Slots<S> {
    fn has(&self) -> bool {
        S::has(self.ring(), self.wanted.load(Relaxed))
    }

    fn is_ready(&self) -> bool {
        self.has()
            || is_suspect(self.attachment.core(), S::peer_role(self.ring().control))
                && self.peer(false, &mut Doubt::default()).is_none()
    }

    fn announce(&self) -> Option<(&AtomicU32, u32)> {
        let cell = S::cell(self.ring().control);
        let token = cell.announce();
        Some((cell.word(), token))
    }

    fn peer(&self, timed_out: bool, doubt: &mut Doubt) -> Option<Asleep<'_>> {
        let role = S::peer_role(self.ring().control);
        let watch = watch_holder(self.attachment.core(), role, timed_out, doubt).ok()?.ok()?;
        Some(Asleep { other: watch.beacon, slice: watch.slice })
    }
}

impl<T> ReadSource for Consumer<T> {
    fn read_source(&self) -> Result<Box<dyn Source>> {
        source(&self.end, &Wanted::default())
    }
}

impl<T> WriteSource for Producer<T> {
    fn write_source(&self) -> Result<Box<dyn Source>> {
        source(&self.end, &Wanted::default())
    }
}
