//! Which loan of an object stands, as its borrowers see it.
//!
//! | number | meaning | may become |
//! |---|---|---|
//! | even | no loan stands | odd, when the owner lends |
//! | odd | the loan of this number stands, or its owner is dead | even, when it is ended |
//!
//! It grows with each of these, also from one object in a place to the next, so the number of a loan that
//! is over never comes again. Who dies leaves it to the next to end a loan.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};

/// What a number has where it is one of a loan.
const LENT: u64 = 1;

/// The number. Written by the owner of the object, or by who makes an object where nobody holds one.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Lending {
    number: AtomicU64,
}

impl Lending {
    #[cfg(all(test, loom))]
    pub(crate) fn new() -> Self {
        Lending { number: AtomicU64::new(0) }
    }

    /// Begins a loan, and gives its number.
    #[cfg(any(feature = "serde", all(test, loom)))]
    pub(crate) fn begin(&self) -> u64 {
        // Relaxed: borrowers are told of it by other means. Wrapping, for it may be damaged.
        let number = self.number.load(Relaxed).wrapping_add(1) | LENT;
        self.number.store(number, Relaxed);
        number
    }

    /// Ends the loan, if one stands: who asks for it from now on is refused, and who was not is seen to
    /// have borrowed. Gives whether there ever was one.
    pub(crate) fn end(&self) -> bool {
        let number = self.number.load(Relaxed);
        if number & LENT != 0 {
            self.number.store(number.wrapping_add(1), Relaxed);
        }
        // SeqCst: before the look who has borrowed. A borrower has one between saying so and `stands`.
        fence(SeqCst);
        number != 0
    }

    /// In a borrower that has said so: whether the loan of this number still stands.
    #[cfg(any(feature = "serde", all(test, loom)))]
    pub(crate) fn stands(&self, number: u64) -> bool {
        // SeqCst: pairs with the one of `end`.
        fence(SeqCst);
        self.number.load(Relaxed) == number
    }
}
