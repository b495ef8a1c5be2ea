//! Elements that the owner of a lock lends to other processes for a while.
//!
//! A borrower locks a byte of the object's file, by a description of its own and together with other
//! borrowers, then looks whether the number of its loan still stands in the object, and gives the byte
//! back when it has done with the elements. Who ends a loan takes the number away and then waits until
//! nobody has the byte. So a borrower sees that the number is gone, or is seen to have the byte.
//!
//! The kernel gives the byte of a dead borrower back, after its last instruction. The next owner of a
//! lock whose owner died ends the loan, and memory whose byte somebody has is not used for another
//! object. So whoever is killed, nobody but borrowers has the elements while one of them does.
//!
//! A number is made of the object's serial number in its block and of a count, so it never comes again.

#![allow(unsafe_code, reason = "refers to shared memory that the handle keeps mapped")]

use super::LockError;
use crate::Result;
use crate::raw::mutex::RawMutex;
use crate::segment::{Attachment, Held, Shared};
use crate::sync::atomic::{AtomicU64, Ordering::SeqCst, fence};
use crate::sys::ofd;
use std::io;
use std::mem::offset_of;
use std::ptr::NonNull;
use std::thread;
use std::time::Duration;

/// What a number has where it is one of a loan.
const LENT: u64 = 1;
/// The longest pause between two looks whether somebody still has the byte.
const PAUSE: Duration = Duration::from_millis(5);

/// A lock whose owner can lend what it guards.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Head {
    mutex: RawMutex,
    /// The number of the loan, or the one behind that of the last, which is without [`LENT`]. Written by
    /// the owner of the lock.
    number: AtomicU64,
}

// SAFETY: made of atomics, as `RawMutex` is.
unsafe impl Shared for Head {}

const _: () = assert!(offset_of!(Head, mutex) == 0, "what is a lock at its beginning");
const _: () = assert!(size_of::<Head>() == 48 && offset_of!(Head, number) == 40);

impl Head {
    pub(super) fn new() -> Self {
        Head { mutex: RawMutex::new(), number: AtomicU64::new(0) }
    }
}

/// Where an object that begins with a [`Head`] has the number.
#[derive(Clone, Copy, Debug)]
pub(super) struct Number(NonNull<AtomicU64>);

impl Number {
    pub(super) fn of(held: &Held<RawMutex>) -> Result<Self> {
        let place = held.at(offset_of!(Head, number) as u64, size_of::<u64>() as u64, 8)?;
        Ok(Number(place.cast()))
    }

    /// The calling thread owns the lock: lends what it guards.
    #[cfg(feature = "serde")]
    pub(super) fn lend<'a>(&'a self, attachment: &'a Attachment) -> Result<Loan<'a>, LockError> {
        // What is refused later cannot be waited for.
        is_borrowed(attachment).map_err(|_| REFUSED)?;
        let count = (self.word().load(SeqCst) as u32).wrapping_add(1) | LENT as u32;
        let number = u64::from(attachment.place().serial) << 32 | u64::from(count);
        self.word().store(number, SeqCst);
        Ok(Loan { word: self, attachment, number, is_done: false })
    }

    /// The calling thread owns the lock: ends what its last owner may have lent, and waits until nobody
    /// has it any more.
    pub(super) fn end(&self, attachment: &Attachment) -> Result<(), LockError> {
        self.take_away();
        let mut pause = Duration::from_micros(50);
        while is_borrowed(attachment).map_err(|_| REFUSED)? {
            thread::sleep(pause);
            pause = (2 * pause).min(PAUSE);
        }
        Ok(())
    }

    fn take_away(&self) {
        let number = self.word().load(SeqCst);
        if number & LENT != 0 {
            // Not back to what it was before the loan, or the next one would have the same number.
            let count = (number as u32).wrapping_add(1);
            self.word().store(number >> 32 << 32 | u64::from(count), SeqCst);
        }
        // SeqCst: before the look at the byte. A borrower has one between the byte and its look here.
        fence(SeqCst);
    }

    fn word(&self) -> &AtomicU64 {
        // SAFETY: found by `of`, in the object of the handle that has this, which keeps it mapped.
        unsafe { self.0.as_ref() }
    }
}

const REFUSED: LockError =
    LockError::Corrupted("the operating system refused to tell who has its elements");

fn is_borrowed(attachment: &Attachment) -> io::Result<bool> {
    ofd::is_locked(attachment.core().mapping().file(), attachment.place().byte_of_borrowers())
}

/// A loan. When it is dropped, nobody has the elements any more.
#[cfg(feature = "serde")]
#[derive(Debug)]
pub(crate) struct Loan<'a> {
    word: &'a Number,
    attachment: &'a Attachment,
    number: u64,
    is_done: bool,
}

#[cfg(feature = "serde")]
impl Loan<'_> {
    /// What a borrower is to know of it.
    pub(crate) fn terms(&self) -> Result<Terms> {
        let mapping = self.attachment.core().mapping();
        let base = mapping.range(0, 0, 1)?.addr().get();
        Ok(Terms {
            byte: self.attachment.place().byte_of_borrowers(),
            offset: (self.word.0.addr().get() - base) as u64,
            number: self.number,
        })
    }

    /// The file of the object.
    pub(crate) fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.attachment.core().mapping().file()
    }

    /// Ends it where all borrowers are known to have done with it.
    pub(crate) fn end_done(mut self) {
        self.is_done = true;
    }
}

#[cfg(feature = "serde")]
impl Drop for Loan<'_> {
    fn drop(&mut self) {
        if self.is_done {
            self.word.take_away();
            return;
        }
        // It was asked before, so it is not refused now; and who is not known to have done with it may
        // have it.
        while self.word.end(self.attachment).is_err() {
            thread::sleep(PAUSE);
        }
    }
}

/// How a borrower finds its loan.
#[cfg(feature = "serde")]
#[derive(Clone, Copy, Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Terms {
    /// The byte to be locked.
    pub(crate) byte: u64,
    /// Where in the file the number is.
    pub(crate) offset: u64,
    /// What it is.
    pub(crate) number: u64,
}

#[cfg(feature = "serde")]
impl Terms {
    /// In a borrower that has locked the byte: whether the loan still stands.
    ///
    /// # Safety
    /// `number` is where the terms say, in memory that is mapped.
    pub(crate) unsafe fn stand(&self, number: *const u64) -> bool {
        // SeqCst: behind the lock of the byte. Who ends the loan has one before its look there.
        fence(SeqCst);
        // SAFETY: mapped, says the caller; it is an atomic wherever it is used.
        let word = unsafe { &*number.cast::<AtomicU64>() };
        word.load(SeqCst) == self.number
    }
}
