//! A value behind a `RwLock` of the standard library, between threads.

use std::hint::black_box;
use std::sync::RwLock;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Relaxed, Release};

use crate::peer::{self, Plan, alone};
use crate::work::Result;

/// Loads of a word.
pub(crate) fn load(plan: &Plan) -> Result<f64> {
    let value = RwLock::new(0u64);
    alone(plan, move |n| {
        let read = |_| *black_box(&value).read().expect("no panic");
        if (0..n).map(read).fold(0, |wrong, word| wrong | word) == 0 {
            return Ok(n);
        }
        Err("a wrong word".into())
    })
}

/// Stores of a word.
pub(crate) fn store(plan: &Plan) -> Result<f64> {
    let value = RwLock::new(0u64);
    alone(plan, move |n| {
        for i in 0..n {
            *black_box(&value).write().expect("no panic") = i;
        }
        Ok(n)
    })
}

/// Reads of 4 KiB while another thread writes.
pub(crate) fn read_4k(plan: &Plan) -> Result<f64> {
    let value = RwLock::new([0u64; 512]);
    let over = AtomicU64::new(0);
    let mut turn = 0;
    let write = |n| {
        turn += 1;
        while over.load(Relaxed) < turn {
            let mut page = value.write().expect("no panic");
            let next = page[0] + 1;
            page.fill(next);
        }
        Ok(n)
    };
    let read = |n| {
        let mut page = [0u64; 512];
        for _ in 0..n {
            page = *value.read().expect("no panic");
            if black_box(&page)[0] != page[511] {
                return Err("a torn page".into());
            }
        }
        black_box(page);
        over.fetch_add(1, Release);
        Ok(n)
    };
    peer::threaded(plan, || Ok(write), || Ok(read))
}
