//! Waiting for an end of a ring beside others.

#![allow(unsafe_code, reason = "refers to a ring in shared memory")]

use super::end::Side;
use super::parts::Parts;
use super::{Consumer, Producer};
use crate::Result;
use crate::member::Doubt;
use crate::raw::ring::{ReadCursor, Ring, WriteCursor};
use crate::segment::Attachment;
use crate::sync::atomic::AtomicU32;
use crate::wait::{Asleep, ReadSource, Source, WriteSource, is_suspect, watch_holder};
use std::marker::PhantomData;

/// What one side of a ring waits for.
#[derive(Debug)]
struct End<S> {
    attachment: Attachment,
    parts: Parts,
    side: PhantomData<S>,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped, made of atomics.
unsafe impl<S> Send for End<S> {}
// SAFETY: as above.
unsafe impl<S> Sync for End<S> {}

impl<S: Side> End<S> {
    fn ring(&self) -> Ring<'_> {
        // SAFETY: attached for as long as `self`.
        unsafe { self.parts.ring() }
    }
}

impl<S: Side + std::fmt::Debug> Source for End<S> {
    fn has(&self) -> bool {
        S::has(self.ring())
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
        let (attachment, parts) = self.end.watching()?;
        Ok(Box::new(End::<ReadCursor> { attachment, parts, side: PhantomData }))
    }
}

impl<T> WriteSource for Producer<T> {
    fn write_source(&self) -> Result<Box<dyn Source>> {
        let (attachment, parts) = self.end.watching()?;
        Ok(Box::new(End::<WriteCursor> { attachment, parts, side: PhantomData }))
    }
}
