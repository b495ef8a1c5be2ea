//! The side that sends.

use super::Element;
use super::parts::Parts;
use crate::Result;
use crate::channel::{ChannelError, Departure, Rejected};
use crate::raw::broadcast::WriteCursor;
#[cfg(feature = "serde")]
use crate::segment::Location;
use crate::segment::travels;
use crate::wait::Tenure;
use std::fmt;
use std::marker::PhantomData;

/// The sending side of a broadcast.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to
/// hand it to a child; a copy that came into a process any other way answers
/// [`ChannelError::Forked`].
///
/// Dropping it tells receivers, after the last message, that nothing more comes
/// ([`Departure::Closed`], or [`Departure::Abandoned`] if a panic dropped it).
pub struct Sender<T> {
    cursor: WriteCursor,
    tenure: Tenure,
    /// Leave without finishing.
    abandoned: bool,
    parts: Parts,
    element: PhantomData<fn(T)>,
}

impl<T: Element> Sender<T> {
    pub(super) fn claim(parts: Parts) -> Result<Self> {
        let attachment = parts.attachment();
        let mut tenure = Tenure::begin(attachment, &parts.sender, "sender", &parts.news)?;
        let Ok(cursor) = WriteCursor::at(parts.ring()) else {
            tenure.end(attachment, &parts.sender, &parts.news, false);
            let mapping = attachment.core().mapping();
            return Err(mapping.corrupted("the messages of a broadcast contradict each other"));
        };
        Ok(Sender { cursor, tenure, abandoned: false, parts, element: PhantomData })
    }

    /// Sends a message and gives its number. Never waits.
    ///
    /// # Errors
    /// [`ChannelError::Forked`]: nothing was sent.
    #[inline]
    pub fn send(&mut self, value: T) -> Result<u64, Rejected<T>> {
        if let Err(reason) = self.settle() {
            return Err(Rejected { value, reason });
        }
        let number = self.cursor.number();
        let ring = self.parts.ring();
        self.cursor.publish(ring, bytemuck::bytes_of(&value));
        ring.notify(self.tenure.is_registered());
        Ok(number)
    }

    /// Sends many messages one after the other, and looks only then whether somebody sleeps. Never
    /// waits. Of more messages than the broadcast keeps, receivers get the last.
    ///
    /// # Errors
    /// [`ChannelError::Forked`]: nothing was sent.
    pub fn send_all(&mut self, values: &[T]) -> Result<(), ChannelError> {
        self.settle()?;
        let ring = self.parts.ring();
        for value in values {
            self.cursor.publish(ring, bytemuck::bytes_of(value));
        }
        ring.notify(self.tenure.is_registered());
        Ok(())
    }
}

impl<T> Sender<T> {
    /// How many messages were sent so far, by this sender or one before it: the number of the next.
    pub fn sent(&self) -> u64 {
        self.cursor.number()
    }

    /// How many messages the broadcast keeps.
    pub fn capacity(&self) -> usize {
        self.parts.capacity()
    }

    /// How the last holder of this side had gone when it was taken; `None`: there was none. A child
    /// that the side was handed to is told the same.
    pub fn predecessor(&self) -> Option<Departure> {
        self.tenure.predecessor()
    }

    /// Leaves without finishing: receivers get what was sent, and then [`Departure::Abandoned`].
    pub fn abandon(mut self) {
        self.abandoned = true;
    }

    #[inline(always)]
    fn settle(&mut self) -> Result<(), ChannelError> {
        Ok(self.tenure.settle(self.parts.attachment(), &self.parts.sender)?)
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let finished = !self.abandoned && !std::thread::panicking();
        let Sender { tenure, parts, .. } = self;
        tenure.end(parts.attachment(), &parts.sender, &parts.news, finished);
    }
}

travels!([T: Element] Sender<T>, Sole, |this| (this.parts.attachment(), 0),
    |used| Self::claim(Parts::find::<T>(Location::Handed(used))?));

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender")
            .field("name", &self.parts.attachment().name())
            .field("sent", &self.sent())
            .finish_non_exhaustive()
    }
}
