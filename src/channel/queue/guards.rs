//! Messages in place.

#![allow(unsafe_code, reason = "refers to messages in shared memory")]

use super::Element;
use super::end::{End, Taken};
use super::operations::{read, value_of};
use super::parts::value_offset;
use crate::channel::ChannelError;
use crate::raw::queue::Claim;
use bytemuck::AnyBitPattern;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

/// A slot to write a message into, in place.
///
/// Consumers wait for it, so fill it in quickly: what others send after it comes after it. One that is
/// leaked is in the way until its process ends.
#[derive(Debug)]
#[must_use = "a slot that is dropped is skipped"]
pub struct Slot<'a, T: Element> {
    end: &'a End,
    claim: Claim,
    epoch: u32,
    value: *mut T,
    element: PhantomData<*mut T>,
}

impl<'a, T: Element> Slot<'a, T> {
    pub(super) fn new(end: &'a End, claim: Claim) -> Self {
        let value = value_of::<T>(claim);
        Slot { end, claim, epoch: end.epoch(), value, element: PhantomData }
    }

    /// Publishes the message. In the copy of a slot that a fork made: does nothing.
    #[inline]
    pub fn commit(self) {
        if self.epoch == self.end.epoch() {
            self.end.publish(self.claim);
        }
        std::mem::forget(self);
    }

    /// The number of the message: how many slots were claimed before, from the making of the queue on.
    pub fn number(&self) -> u64 {
        self.end.queue().number(self.claim)
    }
}

impl<T: Element> Drop for Slot<'_, T> {
    fn drop(&mut self) {
        if self.epoch == self.end.epoch() {
            self.end.skip(self.claim);
        }
    }
}

impl<T: Element + AnyBitPattern> Deref for Slot<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the slot is claimed: this guard's alone. Slots are given out for types of which any
        // bytes are a value.
        unsafe { &*self.value }
    }
}

impl<T: Element + AnyBitPattern> DerefMut for Slot<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`.
        unsafe { &mut *self.value }
    }
}

/// A message that was received, in place.
///
/// [`Loan::release`] finishes it. Dropping it does the same, but in a queue that is built
/// [`at_least_once`](super::Builder::at_least_once) a loan that is dropped gives the message to
/// another consumer. One that is leaked is not finished before its process ends.
#[derive(Debug)]
#[must_use = "a loan that is dropped is a message received, or one that comes again"]
pub struct Loan<'a, T: Element> {
    end: &'a End,
    taken: Taken,
    epoch: u32,
    value: *const T,
    element: PhantomData<*const T>,
}

impl<'a, T: Element> Loan<'a, T> {
    pub(super) fn new(end: &'a End, taken: Taken) -> Self {
        let value = taken_value::<T>(taken);
        Loan { end, taken, epoch: end.epoch(), value, element: PhantomData }
    }

    /// Finishes the message. In the copy of a loan that a fork made: does nothing.
    #[inline]
    pub fn release(self) {
        if self.epoch == self.end.epoch() {
            self.end.finish(self.taken);
        }
        std::mem::forget(self);
    }

    /// A copy of the message.
    ///
    /// # Errors
    /// [`ChannelError::Corrupted`] where the bytes are no value of `T`.
    pub fn value(&self) -> Result<T, ChannelError> {
        // SAFETY: claimed: this guard's alone.
        unsafe { read(self.value) }
    }

    /// Whether it was given to a consumer before, that died or dropped it.
    pub fn is_redelivered(&self) -> bool {
        matches!(self.taken, Taken::Entry { redelivered: true, .. })
    }

    /// The [number](Slot::number) of the message.
    pub fn number(&self) -> u64 {
        match self.taken {
            Taken::Slot(claim) => self.end.queue().number(claim),
            Taken::Entry { entry, .. } => self.end.queue().number_in(entry),
        }
    }
}

/// Where a message that was taken is.
pub(super) fn taken_value<T>(taken: Taken) -> *const T {
    match taken {
        Taken::Slot(claim) => value_of::<T>(claim),
        Taken::Entry { entry, .. } => {
            // SAFETY: an entry has room for a value behind two words.
            unsafe { entry.at.add(value_offset(2, align_of::<T>())) }.cast().as_ptr()
        }
    }
}

impl<T: Element> Drop for Loan<'_, T> {
    fn drop(&mut self) {
        if self.epoch == self.end.epoch() {
            self.end.give_up(self.taken);
        }
    }
}

impl<T: Element + AnyBitPattern> Deref for Loan<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the message is claimed: this guard's alone. Any bytes are a value of `T`.
        unsafe { &*self.value }
    }
}
