//! `commons` in the rows `queue/*`.

use commons::queue::{Builder, Queue, Receiver, Sender, bounded};

use crate::ours::spawned;
use crate::peer::{self, Plan};
use crate::work::{Checker, Result, WORDS, both, word};

/// A word sent and received, one process.
pub(super) fn alone(plan: &Plan) -> Result<f64> {
    one_process(plan, Queue::new(WORDS)?)
}

/// The same where messages of the dead come again.
pub(super) fn alone_at_least_once(plan: &Plan) -> Result<f64> {
    one_process(plan, Builder::new(WORDS).at_least_once(16).build()?)
}

fn one_process(plan: &Plan, queue: Queue<u64>) -> Result<f64> {
    let main = move |n| {
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
pub(super) fn stream(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded::<u64>(WORDS)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(rx.recv()?);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.send(word(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// Each of two processes has a thread that sends and one that receives.
pub(super) fn two_two(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded::<u64>(WORDS)?;
    let theirs = (tx.clone(), rx.clone());
    let part = |(tx, rx): (Sender<u64>, Receiver<u64>)| {
        move |n| both(n, |i| Ok(tx.send(i)?), || Ok(rx.recv()?))
    };
    spawned(plan, move || Ok(part(theirs)), || Ok(part((tx, rx))))
}
