//! `commons` in the rows `records/*` and `object/*`.

use std::hint::black_box;

use commons::{objects, records, spsc};

use crate::ours::spawned;
use crate::peer::Plan;
use crate::work::{Checker, LINES, Result, Source, Trade, WORDS, bytes};

/// Records of 64 bytes.
pub(super) fn stream_64(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = records::ring(LINES * 64)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut record = Vec::new();
        for _ in 0..n {
            rx.recv(&mut record)?;
            checker.take_line(black_box(&record))?;
        }
        checker.count()
    };
    let source = Source::<8>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.send(bytes(source.at(i)))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// The same without a copy on either side.
pub(super) fn stream_64_in_place(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = records::ring(LINES * 64)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            let record = rx.peek()?;
            checker.take_line(black_box(&record))?;
            record.release();
        }
        checker.count()
    };
    let source = Source::<8>::new();
    let produce = move |n| {
        for i in 0..n {
            let mut record = tx.reserve(64)?;
            record.copy_from_slice(bytes(source.at(i)));
            record.commit(64);
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// Values of 64 bytes, which could have no other length.
pub(super) fn ring_64(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = spsc::ring::<[u64; 8]>(LINES)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            let value = rx.pop()?;
            checker.take_line(bytes(black_box(&value)))?;
        }
        checker.count()
    };
    let source = Source::<8>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.push(*source.at(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// Small structs.
pub(super) fn objects(plan: &Plan) -> Result<f64> {
    let (tx, rx) = objects::bounded::<Trade>(WORDS * 32)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take_trade(&rx.recv()?);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.send(&Trade::new(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}
