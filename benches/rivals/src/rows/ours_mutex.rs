//! `commons` in the rows `mutex/*`.

use commons::Mutex;

use crate::locking::{Counter, adder, alone};
use crate::ours::spawned;
use crate::peer::Plan;
use crate::work::Result;

impl Counter for Mutex<u64> {
    #[inline(always)]
    fn add(&mut self) -> Result<()> {
        *self.lock()? += 1;
        Ok(())
    }

    fn count(&mut self) -> Result<u64> {
        Ok(*self.lock()?)
    }
}

/// Lock and unlock, one process.
pub(super) fn lock_alone(plan: &Plan) -> Result<f64> {
    alone(plan, Mutex::new(0u64)?)
}

/// Two processes add to a counter.
pub(super) fn lock_contended(plan: &Plan) -> Result<f64> {
    let ours = Mutex::new(0u64)?;
    let theirs = ours.clone();
    spawned(plan, move || Ok(adder(theirs)), || Ok(adder(ours)))
}
