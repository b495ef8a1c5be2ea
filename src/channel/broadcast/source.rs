//! Waiting for a receiver beside others.

use super::Receiver;
use super::parts::Parts;
use crate::Result;
use crate::member::Doubt;
use crate::raw::broadcast::ReadCursor;
use crate::sync::atomic::AtomicU32;
use crate::sync::local::{AtomicU64, Ordering::Relaxed};
use crate::wait::{Asleep, ReadSource, Source, is_suspect, watch_holder};
use std::sync::Arc;

/// What a receiver waits for.
#[derive(Debug)]
struct Next {
    parts: Parts,
    /// The number of the receiver's next message, which the receiver keeps up to date. (Relaxed
    /// throughout: it says where to look, and the mark there says what there is.)
    number: Arc<AtomicU64>,
}

impl Source for Next {
    fn has(&self) -> bool {
        ReadCursor::at(self.parts.ring(), self.number.load(Relaxed))
            .is_ok_and(|cursor| cursor.is_ready(self.parts.ring()))
    }

    fn is_ready(&self) -> bool {
        self.has()
            || is_suspect(self.parts.attachment().core(), &self.parts.sender)
                && self.peer(false, &mut Doubt::default()).is_none()
    }

    fn announce(&self) -> Option<(&AtomicU32, u32)> {
        let token = self.parts.news.announce();
        Some((self.parts.news.word(), token))
    }

    fn peer(&self, timed_out: bool, doubt: &mut Doubt) -> Option<Asleep<'_>> {
        let core = self.parts.attachment().core();
        let watch = watch_holder(core, &self.parts.sender, timed_out, doubt).ok()?.ok()?;
        Some(Asleep { other: watch.beacon, slice: watch.slice })
    }
}

impl<T> ReadSource for Receiver<T> {
    fn read_source(&self) -> Result<Box<dyn Source>> {
        self.settle()?;
        Ok(Box::new(Next { parts: self.parts.again()?, number: self.watched() }))
    }
}
