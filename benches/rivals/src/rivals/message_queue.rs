//! The work of the rows `queue/*` over a queue of words that blocks at both ends.

use std::io;

use crate::peer::{self, Plan};
use crate::work::{Checker, Result, both, word};

/// A queue of words, which a fork shares.
pub(super) trait MessageQueue: Sync {
    fn send(&self, word: u64) -> io::Result<()>;
    fn recv(&self) -> io::Result<u64>;
}

/// A word put and got, one process.
pub(super) fn alone(plan: &Plan, queue: &impl MessageQueue) -> Result<f64> {
    let main = |n| {
        let mut checker = Checker::default();
        for i in 0..n {
            queue.send(word(i))?;
            checker.take(queue.recv()?);
        }
        checker.count()
    };
    peer::alone(plan, main)
}

/// Words one by one.
pub(super) fn stream(plan: &Plan, queue: &impl MessageQueue) -> Result<f64> {
    let consume = |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(queue.recv()?);
        }
        checker.count()
    };
    let produce = |n| {
        for i in 0..n {
            queue.send(word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Each of two processes has a thread that sends and one that receives.
pub(super) fn two_two(plan: &Plan, queue: &impl MessageQueue) -> Result<f64> {
    let part = || |n| both(n, |word| Ok(queue.send(word)?), || Ok(queue.recv()?));
    peer::forked(plan, || Ok(part()), || Ok(part()))
}
