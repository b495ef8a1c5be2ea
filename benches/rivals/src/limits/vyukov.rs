//! Vyukov's bounded queue, with nothing that would survive a death: the least that hands each message
//! to one of several consumers.

use std::cell::UnsafeCell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::peer::{self, Plan};
use crate::shared::Line;
use crate::work::{Checker, Result, WORDS, word};

struct Slot {
    sequence: AtomicU64,
    value: UnsafeCell<u64>,
}

struct Queue {
    tail: Line<AtomicU64>,
    head: Line<AtomicU64>,
    slots: Box<[Slot]>,
}

const MASK: u64 = WORDS as u64 - 1;

impl Queue {
    fn new() -> Self {
        let slot = |i| Slot { sequence: AtomicU64::new(i as u64), value: UnsafeCell::new(0) };
        let (tail, head) = (Line(AtomicU64::new(0)), Line(AtomicU64::new(0)));
        Queue { tail, head, slots: (0..WORDS).map(slot).collect() }
    }

    #[inline(always)]
    fn put(&self, value: u64) -> bool {
        let mut position = self.tail.0.load(Relaxed);
        loop {
            let slot = &self.slots[(position & MASK) as usize];
            let turn = slot.sequence.load(Acquire).wrapping_sub(position) as i64;
            if turn < 0 {
                return false;
            }
            if turn > 0 {
                position = self.tail.0.load(Relaxed);
                continue;
            }
            let next = position + 1;
            match self.tail.0.compare_exchange_weak(position, next, Relaxed, Relaxed) {
                Ok(_) => {
                    // SAFETY: the turn is the caller's.
                    unsafe { *slot.value.get() = value };
                    slot.sequence.store(next, Release);
                    return true;
                }
                Err(other) => position = other,
            }
        }
    }

    #[inline(always)]
    fn get(&self) -> Option<u64> {
        let mut position = self.head.0.load(Relaxed);
        loop {
            let slot = &self.slots[(position & MASK) as usize];
            let turn = slot.sequence.load(Acquire).wrapping_sub(position + 1) as i64;
            if turn < 0 {
                return None;
            }
            if turn > 0 {
                position = self.head.0.load(Relaxed);
                continue;
            }
            let next = position + 1;
            match self.head.0.compare_exchange_weak(position, next, Relaxed, Relaxed) {
                Ok(_) => {
                    // SAFETY: as above.
                    let value = unsafe { *slot.value.get() };
                    slot.sequence.store(position + WORDS as u64, Release);
                    return Some(value);
                }
                Err(other) => position = other,
            }
        }
    }
}

/// A word put and taken again, one process.
pub(crate) fn alone(plan: &Plan) -> Result<f64> {
    let queue = Queue::new();
    let main = move |n| {
        let mut checker = Checker::default();
        for i in 0..n {
            if !queue.put(word(i)) {
                return Err("an empty queue is full".into());
            }
            checker.take(queue.get().ok_or("a message is lost")?);
        }
        checker.count()
    };
    peer::alone(plan, main)
}
