//! crossbeam: its bounded queue and its bounded channel, between two threads.

use std::hint::black_box;
use std::sync::Arc;

use crossbeam_channel::{Receiver, bounded};
use crossbeam_queue::ArrayQueue;

use crate::peer::{self, Plan};
use crate::work::{Checker, KIB_SLOTS, Kib, Result, Source, WORDS, both, same, word};

/// Words one by one through the queue.
pub(crate) fn queue_stream_u64(plan: &Plan) -> Result<f64> {
    let tx = Arc::new(ArrayQueue::new(WORDS));
    let rx = tx.clone();
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(pop(&rx));
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            push(&tx, word(i));
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

/// A word put and taken again, one thread.
pub(crate) fn queue_alone(plan: &Plan) -> Result<f64> {
    let queue = ArrayQueue::new(WORDS);
    let main = move |n| {
        let mut checker = Checker::default();
        for i in 0..n {
            push(&queue, word(i));
            checker.take(pop(&queue));
        }
        checker.count()
    };
    peer::alone(plan, main)
}

/// The same through the channel.
pub(crate) fn channel_alone(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded(WORDS);
    let main = move |n| {
        let mut checker = Checker::default();
        for i in 0..n {
            tx.send(word(i))?;
            checker.take(rx.recv()?);
        }
        checker.count()
    };
    peer::alone(plan, main)
}

/// Two threads that send and two that receive, on two CPUs.
pub(crate) fn queue_two_two(plan: &Plan) -> Result<f64> {
    let ours = Arc::new(ArrayQueue::new(WORDS));
    let theirs = ours.clone();
    fn part(queue: Arc<ArrayQueue<u64>>) -> impl FnMut(u64) -> Result<u64> {
        // Four threads on two CPUs: who waits gives way.
        move |n| {
            let send = |mut item| {
                while let Err(back) = queue.push(item) {
                    item = back;
                    std::thread::yield_now();
                }
                Ok(())
            };
            let recv = || loop {
                match queue.pop() {
                    Some(item) => return Ok(item),
                    None => std::thread::yield_now(),
                }
            };
            both(n, send, recv)
        }
    }
    peer::threaded(plan, || Ok(part(theirs)), || Ok(part(ours)))
}

/// A word there and back through two queues, polling.
pub(crate) fn queue_rtt_poll(plan: &Plan) -> Result<f64> {
    let (tx, answers) = (Arc::new(ArrayQueue::new(WORDS)), Arc::new(ArrayQueue::new(WORDS)));
    let (rx, answer) = (tx.clone(), answers.clone());
    let pong = move |n| {
        for _ in 0..n {
            push(&answer, pop(&rx));
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            push(&tx, word(i));
            same(pop(&answers), word(i))?;
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(pong), || Ok(ping))
}

/// 1 KiB messages moved into and out of the queue.
pub(crate) fn queue_copy_1k(plan: &Plan) -> Result<f64> {
    let tx = Arc::new(ArrayQueue::<Kib>::new(KIB_SLOTS));
    let rx = tx.clone();
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take_kib(black_box(&pop(&rx)));
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            push(&tx, *source.at(i));
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

/// Words one by one through the channel.
pub(crate) fn channel_stream_u64(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded(WORDS);
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
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back through two channels, polling.
pub(crate) fn channel_rtt_poll(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded(WORDS);
    let (answer, answers) = bounded(WORDS);
    let pong = move |n| {
        for _ in 0..n {
            answer.send(poll(&rx))?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            tx.send(word(i))?;
            same(poll(&answers), word(i))?;
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(pong), || Ok(ping))
}

/// A word there and back through two channels; they spin for a moment before they sleep.
pub(crate) fn channel_rtt_park(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded(WORDS);
    let (answer, answers) = bounded(WORDS);
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            let item = rx.recv()?;
            think.now();
            answer.send(item)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            think.now();
            tx.send(word(i))?;
            same(answers.recv()?, word(i))?;
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(pong), || Ok(ping))
}

/// 1 KiB messages moved into and out of the channel.
pub(crate) fn channel_copy_1k(plan: &Plan) -> Result<f64> {
    let (tx, rx) = bounded::<Kib>(KIB_SLOTS);
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take_kib(black_box(&rx.recv()?));
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.send(*source.at(i))?;
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

fn push<T>(tx: &ArrayQueue<T>, mut item: T) {
    while let Err(back) = tx.push(item) {
        item = back;
    }
}

fn pop<T>(rx: &ArrayQueue<T>) -> T {
    loop {
        if let Some(item) = rx.pop() {
            return item;
        }
    }
}

fn poll(rx: &Receiver<u64>) -> u64 {
    loop {
        if let Ok(item) = rx.try_recv() {
            return item;
        }
    }
}
