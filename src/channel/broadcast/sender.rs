//! The side that sends.

use super::Element;
use super::parts::Parts;
use crate::channel::{ChannelError, Departure, Rejected};
use crate::raw::broadcast::WriteCursor;
#[cfg(feature = "serde")]
use crate::segment::Location;
use crate::segment::{child_stamp, travels};
use crate::sync::barrier;
use crate::sync::local::{AtomicU32, Ordering};
use crate::sys::{fork, membarrier};
use crate::wait::claim_role;
use crate::{Error, Result};
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
    /// The word that holds this process's fork epoch, and the epoch in which this side is ours.
    epoch_word: &'static AtomicU32,
    epoch: u32,
    /// Whether sleepers reach this process with their barrier.
    registered: bool,
    /// Leave without finishing.
    abandoned: bool,
    predecessor: Option<Departure>,
    parts: Parts,
    element: PhantomData<fn(T)>,
}

impl<T: Element> Sender<T> {
    pub(super) fn claim(parts: Parts) -> Result<Self> {
        let attachment = parts.attachment();
        let me = attachment.core().membership()?.stamp();
        let predecessor = claim_role(attachment, &parts.sender, me, "sender")?;
        let cursor = WriteCursor::at(parts.ring()).map_err(|_| {
            parts.sender.leave(me.pack(), false);
            attachment
                .core()
                .mapping()
                .corrupted("the messages of a broadcast contradict each other")
        })?;
        attachment.prefault();
        // Receivers that sleep are to watch this process from now on.
        parts.news.wake();
        let epoch = fork::epoch();
        Ok(Sender {
            cursor,
            epoch_word: fork::epoch_word(),
            epoch,
            registered: membarrier::register(),
            abandoned: false,
            predecessor,
            parts,
            element: PhantomData,
        })
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
        ring.notify(self.registered);
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
        ring.notify(self.registered);
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
        self.predecessor
    }

    /// Leaves without finishing: receivers get what was sent, and then [`Departure::Abandoned`].
    pub fn abandon(mut self) {
        self.abandoned = true;
    }

    #[inline(always)]
    fn settle(&mut self) -> Result<(), ChannelError> {
        // Relaxed: the page is this process's own.
        if self.epoch_word.load(Ordering::Relaxed) != self.epoch {
            self.inherit()?;
        }
        Ok(())
    }

    /// Makes this side this process's, if it was handed over to it.
    #[cold]
    #[inline(never)]
    fn inherit(&mut self) -> Result<()> {
        let epoch = fork::epoch();
        if self.epoch == epoch {
            return Ok(());
        }
        let attachment = self.parts.attachment();
        let me = attachment.core().membership_if_any().ok_or(Error::Forked)?;
        if !self.parts.sender.is_held_by(me.stamp().pack()) {
            return Err(Error::Forked);
        }
        attachment.settle()?;
        self.registered = membarrier::register();
        self.epoch = epoch;
        Ok(())
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.inherit().is_err() {
            // A copy in a process that it was not handed to.
            return;
        }
        let core = self.parts.attachment().core();
        let Some(me) = core.membership_if_any() else { return };
        let (role, mine) = (&self.parts.sender, me.stamp().pack());
        match child_stamp(core) {
            Some(child) => role.hand_over(mine, child.pack()),
            None => role.leave(mine, !self.abandoned && !std::thread::panicking()),
        };
        // Receivers may sleep: they are to see that this side is closed, or watch the child.
        let _ = barrier::heavy();
        self.parts.news.wake();
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
