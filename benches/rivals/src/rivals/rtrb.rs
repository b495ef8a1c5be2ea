//! rtrb: a wait-free ring between two threads.

use std::hint::black_box;
use std::slice;

use rtrb::RingBuffer;

use crate::peer::{self, Plan};
use crate::shared::Line;
use crate::work::{
    BATCH, BIG_SLOTS, Big, Checker, KIB_SLOTS, Kib, Result, Source, WORDS, same, word,
};

/// Words one by one.
pub(crate) fn stream_u64(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = RingBuffer::new(WORDS);
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(pop(&mut rx));
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            push(&mut tx, word(i));
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

/// Words in batches.
pub(crate) fn stream_batch(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = RingBuffer::new(WORDS);
    let consume = move |n| {
        let mut checker = Checker::default();
        let batch = &mut Line([0; BATCH]).0;
        for _ in 0..n / BATCH as u64 {
            while rx.pop_entire_slice(batch).is_err() {}
            checker.take_all(black_box(&*batch));
        }
        checker.count()
    };
    let source = Source::<BATCH>::new();
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            while tx.push_entire_slice(source.at(i)).is_err() {}
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back, polling.
pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = RingBuffer::new(WORDS);
    let (mut answer, mut answers) = RingBuffer::new(WORDS);
    let pong = move |n| {
        for _ in 0..n {
            push(&mut answer, pop(&mut rx));
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            push(&mut tx, word(i));
            same(pop(&mut answers), word(i))?;
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(pong), || Ok(ping))
}

/// 64 KiB slots written and read in place.
pub(crate) fn inplace_64k(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = RingBuffer::<Big>::new(BIG_SLOTS);
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            let chunk = loop {
                if let Ok(chunk) = rx.read_chunk(1) {
                    break chunk;
                }
            };
            let message = &chunk.as_slices().0[0];
            checker.take_big(message[0], message[8191]);
            chunk.commit_all();
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            let mut chunk = loop {
                if let Ok(chunk) = tx.write_chunk_uninit(1) {
                    break chunk;
                }
            };
            let message = chunk.as_mut_slices().0[0].as_mut_ptr().cast::<u64>();
            // SAFETY: a slot of 8,192 words is ours.
            unsafe { message.write(word(i)) };
            // SAFETY: as above.
            unsafe { message.add(8191).write(!word(i)) };
            // SAFETY: the consumer reads only the two words written.
            unsafe { chunk.commit_all() };
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages copied in and out.
pub(crate) fn copy_1k(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = RingBuffer::<Kib>::new(KIB_SLOTS);
    let consume = move |n| {
        let mut checker = Checker::default();
        let message = &mut Line([[0; 128]]).0;
        for _ in 0..n {
            while rx.pop_entire_slice(message).is_err() {}
            checker.take_kib(&black_box(&*message)[0]);
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            let message = slice::from_ref(source.at(i));
            while tx.push_entire_slice(message).is_err() {}
        }
        Ok(n)
    };
    peer::threaded(plan, || Ok(consume), || Ok(produce))
}

fn push(tx: &mut rtrb::Producer<u64>, item: u64) {
    while tx.push(item).is_err() {}
}

fn pop(rx: &mut rtrb::Consumer<u64>) -> u64 {
    loop {
        if let Ok(item) = rx.pop() {
            return item;
        }
    }
}
