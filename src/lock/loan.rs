//! Elements that the owner of a lock lends to other processes for a while.
//!
//! A borrower locks a byte of the object's file, by a description of its own and together with other
//! borrowers, then looks whether its loan still stands ([`Lending`]), and gives the byte back when it has
//! done with the elements. Who ends a loan takes its number away and then waits until nobody has the byte.
//! So a borrower sees that the number is gone, or is seen to have the byte.
//!
//! The kernel gives the byte of a dead borrower back, after its last instruction. The next owner of a
//! lock whose owner died ends the loan, and so does who makes another object in memory that nobody holds,
//! which it leaves alone while somebody has the byte. So whoever is killed, nobody but borrowers has the
//! elements while one of them does.

#![allow(unsafe_code, reason = "refers to shared memory that the borrower keeps mapped")]

use super::LockError;
#[cfg(feature = "serde")]
use crate::raw::lending::Lending;
use crate::segment::Attachment;
use crate::sys::ofd;
use std::io;
use std::thread;
use std::time::Duration;

/// The longest pause between two looks whether somebody still has the byte.
const PAUSE: Duration = Duration::from_millis(5);

/// The calling thread owns the object's lock: lends what that guards.
#[cfg(feature = "serde")]
pub(super) fn lend(attachment: &Attachment) -> Result<Loan<'_>, LockError> {
    // What is refused later cannot be waited for.
    is_borrowed(attachment).map_err(|_| REFUSED)?;
    let lending = attachment.lending()?;
    Ok(Loan { attachment, lending, number: lending.begin(), is_done: false })
}

/// The calling thread owns the object's lock: ends what its last owner may have lent, and waits until
/// nobody has it any more.
pub(super) fn end(attachment: &Attachment) -> Result<(), LockError> {
    attachment.lending()?.end();
    let mut pause = Duration::from_micros(50);
    while is_borrowed(attachment).map_err(|_| REFUSED)? {
        thread::sleep(pause);
        pause = (2 * pause).min(PAUSE);
    }
    Ok(())
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
    attachment: &'a Attachment,
    lending: &'a Lending,
    number: u64,
    is_done: bool,
}

#[cfg(feature = "serde")]
impl Loan<'_> {
    /// What a borrower is to know of it.
    pub(crate) fn terms(&self) -> Terms {
        let place = self.attachment.place();
        Terms {
            byte: place.byte_of_borrowers(),
            offset: place.offset_of_lending(),
            number: self.number,
        }
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
            self.lending.end();
            return;
        }
        // It was asked before, so it is not refused now; and who is not known to have done with it may
        // have it.
        while end(self.attachment).is_err() {
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
    /// Where in the file a [`Lending`] says whether it stands.
    pub(crate) offset: u64,
    /// Its number.
    pub(crate) number: u64,
}

#[cfg(feature = "serde")]
impl Terms {
    /// In a borrower that has locked the byte: whether the loan still stands.
    ///
    /// # Safety
    /// `lending` is where the terms say, in memory that is mapped.
    pub(crate) unsafe fn stand(&self, lending: *const Lending) -> bool {
        // SAFETY: mapped, says the caller; made of atomics, which others may write.
        unsafe { &*lending }.stands(self.number)
    }
}
