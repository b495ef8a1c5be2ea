//! A model of loans, for loom: what orders the number of a loan and the byte of its borrowers.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::lending::Lending;
use super::models::check_under;
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::futex::model::Mode;
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;

/// What is lent.
struct Lent {
    lending: Lending,
    /// The byte: 1 while the borrower has it. Who finds that it was given back is behind that, by the kernel's
    /// lock of its list; who locks it is ordered by nothing.
    byte: AtomicU32,
    elements: UnsafeCell<u64>,
}

// SAFETY: loom reports every access to the cell that another thread's could race with.
unsafe impl Send for Lent {}
// SAFETY: as above.
unsafe impl Sync for Lent {}

impl Lent {
    fn write(&self) {
        // SAFETY: loom checks that the access is alone.
        self.elements.with_mut(|elements| unsafe { *elements += 1 });
    }
}

#[test]
fn a_borrower_sees_that_its_loan_is_over_or_is_seen() {
    check_under(&[Mode::Sleeps], 3, "lending", || {
        let lent =
            Lent { lending: Lending::new(), byte: AtomicU32::new(0), elements: UnsafeCell::new(0) };
        let lent = Arc::new(lent);
        let first = lent.lending.begin();
        let borrower = thread::spawn({
            let lent = lent.clone();
            move || {
                lent.byte.store(1, Relaxed);
                if lent.lending.stands(first) {
                    lent.write();
                }
                lent.byte.store(0, Release);
            }
        });
        assert!(lent.lending.end());
        if lent.byte.load(Acquire) == 0 {
            lent.write();
            // The next loan is not that of a borrower that is late, nor is the time before it.
            lent.lending.begin();
            lent.write();
        }
        borrower.join().unwrap();
    });
}
