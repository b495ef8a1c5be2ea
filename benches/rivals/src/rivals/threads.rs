//! The mutexes of the standard library and of parking_lot, between threads.

use std::sync::Arc;

use crate::locking::{Counter, alone, contended_by_threads};
use crate::peer::Plan;
use crate::work::Result;

impl Counter for Arc<std::sync::Mutex<u64>> {
    #[inline(always)]
    fn add(&mut self) -> Result<()> {
        *self.lock().map_err(|_| "poisoned")? += 1;
        Ok(())
    }

    fn count(&mut self) -> Result<u64> {
        Ok(*self.lock().map_err(|_| "poisoned")?)
    }
}

impl Counter for Arc<parking_lot::Mutex<u64>> {
    #[inline(always)]
    fn add(&mut self) -> Result<()> {
        *self.lock() += 1;
        Ok(())
    }

    fn count(&mut self) -> Result<u64> {
        Ok(*self.lock())
    }
}

/// `std::sync::Mutex`, one thread.
pub(crate) fn std_alone(plan: &Plan) -> Result<f64> {
    alone(plan, Arc::new(std::sync::Mutex::new(0)))
}

/// `std::sync::Mutex`, two threads.
pub(crate) fn std_contended(plan: &Plan) -> Result<f64> {
    let lock = Arc::new(std::sync::Mutex::new(0));
    contended_by_threads(plan, lock.clone(), lock)
}

/// `parking_lot::Mutex`, one thread.
pub(crate) fn parking_lot_alone(plan: &Plan) -> Result<f64> {
    alone(plan, Arc::new(parking_lot::Mutex::new(0)))
}

/// `parking_lot::Mutex`, two threads.
pub(crate) fn parking_lot_contended(plan: &Plan) -> Result<f64> {
    let lock = Arc::new(parking_lot::Mutex::new(0));
    contended_by_threads(plan, lock.clone(), lock)
}
