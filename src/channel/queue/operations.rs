//! Sending and receiving, for the handles that can.

#![allow(unsafe_code, reason = "reads and writes messages in shared memory")]

use super::Element;
use super::end::{End, Taken};
use super::guards::{Loan, Slot, taken_value};
use super::handles::{Queue, Receiver, Sender};
use super::parts::value_offset;
use crate::channel::{ChannelError, Partial, Rejected};
use crate::raw::queue::Claim;
use crate::sys::time;
use crate::wait::NEVER;
use bytemuck::AnyBitPattern;
use std::time::{Duration, Instant};

/// Where the value of a claimed slot is.
#[inline(always)]
pub(super) fn value_of<T>(claim: Claim) -> *mut T {
    // SAFETY: a slot has room for a value behind one word.
    unsafe { claim.at.add(const { value_offset(1, align_of::<T>()) }) }.cast().as_ptr()
}

/// Copies a value and checks the copy.
///
/// # Safety
/// `from` is mapped, aligned and not written by anybody who keeps to the protocol.
#[inline(always)]
pub(super) unsafe fn read<T: Element>(from: *const T) -> Result<T, ChannelError> {
    // SAFETY: as the caller says; `Bits` has the layout of `T`, and any bytes are a value of it.
    let bits = unsafe { from.cast::<T::Bits>().read() };
    if !T::is_valid_bit_pattern(&bits) {
        return Err(invalid());
    }
    // SAFETY: `bits` was just found to be a valid `T`, whose layout it has.
    Ok(unsafe { core::mem::transmute_copy::<T::Bits, T>(&bits) })
}

#[cold]
fn invalid() -> ChannelError {
    ChannelError::Corrupted("a message is not a valid value of its type")
}

#[inline(always)]
fn put<T: Element>(
    end: &End,
    claim: impl FnOnce() -> Result<Claim, ChannelError>,
    value: T,
) -> Result<(), Rejected<T>> {
    // By itself, so that what is nearly always found stays in registers.
    if let Some(found) = end.found_space() {
        // SAFETY: the slot is claimed, mapped and aligned.
        unsafe { value_of::<T>(found).write(value) };
        end.publish_found(found);
        return Ok(());
    }
    match claim() {
        Ok(claim) => {
            // SAFETY: the slot is claimed, mapped and aligned.
            unsafe { value_of::<T>(claim).write(value) };
            end.publish(claim);
            Ok(())
        }
        Err(reason) => Err(Rejected { value, reason }),
    }
}

#[inline(always)]
fn get<T: Element>(
    end: &End,
    take: impl FnOnce() -> Result<Taken, ChannelError>,
) -> Result<T, ChannelError> {
    // As in `put`.
    if let Some(found) = end.found_message() {
        // SAFETY: the message is claimed, mapped and aligned.
        let value = unsafe { read(value_of::<T>(found).cast_const()) };
        end.free_found(found);
        return value;
    }
    let taken = take()?;
    // SAFETY: the message is claimed, mapped and aligned.
    let value = unsafe { read(taken_value::<T>(taken)) };
    end.finish(taken);
    value
}

macro_rules! sending {
    ($handle:ident) => {
        impl<T: Element> $handle<T> {
            /// Sends a message, waiting for space.
            ///
            /// # Errors
            /// [`ChannelError::Disconnected`] where there is no space and the last receiver is gone;
            /// [`ChannelError::Closed`], [`ChannelError::Forked`], [`ChannelError::Corrupted`]. The
            /// value comes back.
            ///
            /// # Blocking
            /// While the queue is full, as the [`WaitStrategy`](crate::WaitStrategy) says. Ends at
            /// once when the last receiver dies; one that has not come yet is waited for.
            #[inline(always)]
            pub fn send(&self, value: T) -> Result<(), Rejected<T>> {
                put(&self.end, || self.end.claim(NEVER), value)
            }

            /// Sends a message if there is space.
            ///
            /// # Errors
            /// [`ChannelError::Full`], and as `send`.
            #[inline(always)]
            pub fn try_send(&self, value: T) -> Result<(), Rejected<T>> {
                put(&self.end, || self.end.try_claim(), value)
            }

            /// Sends a message, waiting for space until `timeout` has passed on the monotonic clock.
            ///
            /// # Errors
            /// [`ChannelError::TimedOut`], and as `send`.
            pub fn send_timeout(&self, value: T, timeout: Duration) -> Result<(), Rejected<T>> {
                put(&self.end, || self.end.claim(time::after(timeout)), value)
            }

            /// Sends a message, waiting for space until `deadline`.
            ///
            /// # Errors
            /// [`ChannelError::TimedOut`], and as `send`.
            pub fn send_deadline(&self, value: T, deadline: Instant) -> Result<(), Rejected<T>> {
                put(&self.end, || self.end.claim(time::at(deadline)), value)
            }

            /// Sends messages one after another, waiting for space for each. Those of others may come
            /// between them.
            ///
            /// # Errors
            /// As `send`, with how many were sent before.
            pub fn send_all(&self, values: &[T]) -> Result<(), Partial> {
                for (done, value) in values.iter().enumerate() {
                    let sent = self.send(*value);
                    sent.map_err(|rejected| Partial { done, reason: rejected.reason })?;
                }
                Ok(())
            }

            /// Sends messages one after another while there is space, and says how many.
            ///
            /// # Errors
            /// [`ChannelError::Full`] where there is space for none, and as `send`: none was sent.
            pub fn try_send_slice(&self, values: &[T]) -> Result<usize, ChannelError> {
                for (done, value) in values.iter().enumerate() {
                    match self.try_send(*value) {
                        Ok(()) => {}
                        Err(rejected) if done == 0 => return Err(rejected.reason),
                        // It comes again at the next call.
                        Err(_) => return Ok(done),
                    }
                }
                Ok(values.len())
            }
        }

        impl<T: Element + AnyBitPattern> $handle<T> {
            /// Claims a slot to write a message into, in place, waiting for one. It holds an old
            /// value.
            ///
            /// # Errors
            /// As `send`.
            #[inline]
            pub fn reserve(&self) -> Result<Slot<'_, T>, ChannelError> {
                Ok(Slot::new(&self.end, self.end.claim(NEVER)?))
            }

            /// Claims a slot to write a message into, if there is one.
            ///
            /// # Errors
            /// As `try_send`.
            #[inline]
            pub fn try_reserve(&self) -> Result<Slot<'_, T>, ChannelError> {
                Ok(Slot::new(&self.end, self.end.try_claim()?))
            }

            /// Claims a slot to write a message into, waiting for one until `timeout` has passed.
            ///
            /// # Errors
            /// As `send_timeout`.
            pub fn reserve_timeout(&self, timeout: Duration) -> Result<Slot<'_, T>, ChannelError> {
                Ok(Slot::new(&self.end, self.end.claim(time::after(timeout))?))
            }
        }
    };
}

macro_rules! receiving {
    ($handle:ident) => {
        impl<T: Element> $handle<T> {
            /// Receives a message, waiting for one.
            ///
            /// # Errors
            /// [`ChannelError::Disconnected`] where there is none and the last sender is gone;
            /// [`ChannelError::Closed`], [`ChannelError::Forked`]; [`ChannelError::Corrupted`] where
            /// the bytes are no value of `T` (the message is dropped) or the slots contradict each
            /// other.
            ///
            /// # Blocking
            /// While the queue is empty, as the [`WaitStrategy`](crate::WaitStrategy) says. Ends at
            /// once when the last sender dies; one that has not come yet is waited for.
            #[inline(always)]
            pub fn recv(&self) -> Result<T, ChannelError> {
                get(&self.end, || self.end.take(NEVER))
            }

            /// Receives a message if there is one.
            ///
            /// # Errors
            /// [`ChannelError::Empty`], and as `recv`.
            #[inline(always)]
            pub fn try_recv(&self) -> Result<T, ChannelError> {
                get(&self.end, || self.end.try_take())
            }

            /// Receives a message, waiting for one until `timeout` has passed on the monotonic clock.
            ///
            /// # Errors
            /// [`ChannelError::TimedOut`], and as `recv`.
            pub fn recv_timeout(&self, timeout: Duration) -> Result<T, ChannelError> {
                get(&self.end, || self.end.take(time::after(timeout)))
            }

            /// Receives a message, waiting for one until `deadline`.
            ///
            /// # Errors
            /// [`ChannelError::TimedOut`], and as `recv`.
            pub fn recv_deadline(&self, deadline: Instant) -> Result<T, ChannelError> {
                get(&self.end, || self.end.take(time::at(deadline)))
            }

            /// Receives as many messages as there are and `values` has room for, and says how many.
            /// Waits for one.
            ///
            /// # Errors
            /// As `recv`: none was received. An error after the first message is that of the next
            /// call, but that a message which is no value of `T` is dropped without a word. An empty
            /// slice is 0 at once.
            pub fn recv_slice(&self, values: &mut [T]) -> Result<usize, ChannelError> {
                let Some((first, rest)) = values.split_first_mut() else { return Ok(0) };
                *first = self.recv()?;
                Ok(1 + self.try_recv_slice(rest).unwrap_or(0))
            }

            /// Receives as many messages as there are and `values` has room for, and says how many.
            ///
            /// # Errors
            /// [`ChannelError::Empty`] where there is none, and as `recv_slice`.
            pub fn try_recv_slice(&self, values: &mut [T]) -> Result<usize, ChannelError> {
                for (done, place) in values.iter_mut().enumerate() {
                    match self.try_recv() {
                        Ok(value) => *place = value,
                        Err(error) if done == 0 => return Err(error),
                        Err(_) => return Ok(done),
                    }
                }
                Ok(values.len())
            }

            /// Receives a message in place, waiting for one.
            ///
            /// # Errors
            /// As `recv`.
            #[inline]
            pub fn loan(&self) -> Result<Loan<'_, T>, ChannelError> {
                Ok(Loan::new(&self.end, self.end.take(NEVER)?))
            }

            /// Receives a message in place, if there is one.
            ///
            /// # Errors
            /// As `try_recv`.
            #[inline]
            pub fn try_loan(&self) -> Result<Loan<'_, T>, ChannelError> {
                Ok(Loan::new(&self.end, self.end.try_take()?))
            }

            /// Receives a message in place, waiting for one until `timeout` has passed.
            ///
            /// # Errors
            /// As `recv_timeout`.
            pub fn loan_timeout(&self, timeout: Duration) -> Result<Loan<'_, T>, ChannelError> {
                Ok(Loan::new(&self.end, self.end.take(time::after(timeout))?))
            }

            /// Messages until the last sender is gone, waiting for each. What ends it is not told; use
            /// `recv` to know.
            pub fn iter(&self) -> impl Iterator<Item = T> + '_ {
                std::iter::from_fn(|| self.recv().ok())
            }

            /// Messages until there is none.
            pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
                std::iter::from_fn(|| self.try_recv().ok())
            }
        }
    };
}

sending!(Sender);
sending!(Queue);
receiving!(Receiver);
receiving!(Queue);

/// Messages until the last sender is gone, waiting for each.
#[derive(Debug)]
pub struct IntoIter<T>(Receiver<T>);

impl<T: Element> Iterator for IntoIter<T> {
    type Item = T;

    fn next(&mut self) -> Option<T> {
        self.0.recv().ok()
    }
}

impl<T: Element> IntoIterator for Receiver<T> {
    type Item = T;
    type IntoIter = IntoIter<T>;

    fn into_iter(self) -> IntoIter<T> {
        IntoIter(self)
    }
}
