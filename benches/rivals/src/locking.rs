//! What is measured of locks: a counter behind one.

use std::hint::black_box;

use crate::peer::{self, Plan};
use crate::work::Result;

/// A counter behind a lock.
pub(crate) trait Counter {
    /// Locks, adds one, unlocks.
    fn add(&mut self) -> Result<()>;
    /// What was counted; nobody adds meanwhile.
    fn count(&mut self) -> Result<u64>;
}

/// What adds `n` and says that it did.
pub(crate) fn adder<C: Counter>(mut counter: C) -> impl FnMut(u64) -> Result<u64> {
    move |n| {
        for _ in 0..n {
            black_box(&mut counter).add()?;
        }
        Ok(n)
    }
}

/// One process adds, and finds what it added.
pub(crate) fn adder_alone<C: Counter>(mut counter: C) -> impl FnMut(u64) -> Result<u64> {
    move |n| {
        let before = counter.count()?;
        for _ in 0..n {
            black_box(&mut counter).add()?;
        }
        Ok(counter.count()? - before)
    }
}

/// One process adds.
pub(crate) fn alone(plan: &Plan, counter: impl Counter) -> Result<f64> {
    peer::alone(plan, adder_alone(counter))
}

/// Two processes add at the same time.
pub(crate) fn contended(plan: &Plan, theirs: impl Counter, ours: impl Counter) -> Result<f64> {
    peer::forked(plan, || Ok(adder(theirs)), || Ok(adder(ours)))
}

/// Two threads add at the same time.
pub(crate) fn contended_by_threads(
    plan: &Plan,
    theirs: impl Counter + Send,
    ours: impl Counter,
) -> Result<f64> {
    peer::threaded(plan, || Ok(adder(theirs)), || Ok(adder(ours)))
}
