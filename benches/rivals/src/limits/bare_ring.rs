//! A bare single-producer ring: two indices on lines of their own, each end with a private copy
//! of its own index and a cached one of the other's, batches whose size the compiler knows. With
//! a batch of one 1 KiB message it is the memcpy ring.
//!
//! A consumer that has caught up with the producer pays for every item: each looks at lines that
//! the other is writing. So this one lets itself slip: when it finds less than a quarter of the
//! ring ready, it looks away once, for a bounded moment, while the producer gets some lines ahead
//! (temporal slipping: Giacomoni, Moseley, Vachharajani, "FastForward", PPoPP 2008). Every item
//! is still published and freed on its own. `Tight` is the same ring without that: in the streams
//! of `ring/*` it takes 15 times as long for single words, and a tenth to a third longer for
//! batches and messages.

use std::array;
use std::cell::UnsafeCell;
use std::hint::{black_box, spin_loop};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::peer::{self, Plan};
use crate::shared::{Line, Shared};
use crate::work::{BATCH, Checker, KIB_SLOTS, Kib, LINES, Result, Source, WORDS, bytes, word};

/// How a consumer waits: falling back behind the producer, or close behind it.
pub(crate) trait Wait {
    /// How often it pauses when it falls back.
    const PAUSES: u32;
}

/// Falls back. `ring/stream_u64` and `ring/copy_1k` gain nothing from more pauses.
pub(crate) struct Slip;
impl Wait for Slip {
    const PAUSES: u32 = 64;
}

/// Stays close.
pub(crate) struct Tight;
impl Wait for Tight {
    const PAUSES: u32 = 0;
}

#[repr(C)]
struct Ring<T, const N: usize> {
    /// Written by the producer: how many were put.
    tail: Line<AtomicUsize>,
    /// Written by the consumer: how many were taken.
    head: Line<AtomicUsize>,
    slots: Line<[UnsafeCell<MaybeUninit<T>>; N]>,
}

// SAFETY: a slot is touched by one side at a time, handed over by `tail` and `head`.
unsafe impl<T: Send, const N: usize> Sync for Ring<T, N> {}
// SAFETY: a ring owns its slots.
unsafe impl<T: Send, const N: usize> Send for Ring<T, N> {}

/// One end: the producer's or the consumer's, as the methods it calls.
struct End<T, const N: usize> {
    ring: *const Ring<T, N>,
    /// The index this end writes.
    mine: usize,
    /// The other end's index, when last looked at.
    other: usize,
    _memory: Arc<Shared<Ring<T, N>>>,
}

/// A ring in shared memory: its producer and its consumer.
fn ring<T: Copy, const N: usize>() -> Result<(End<T, N>, End<T, N>)> {
    const { assert!(N.is_power_of_two()) };
    // SAFETY: atomics of 0 and uninitialised slots.
    let memory = unsafe { Shared::<Ring<T, N>>::zeroed() }?;
    let end = |memory: Arc<Shared<Ring<T, N>>>| End {
        ring: &raw const **memory,
        mine: 0,
        other: 0,
        _memory: memory,
    };
    Ok((end(memory.clone()), end(memory)))
}

impl<T: Copy, const N: usize> End<T, N> {
    /// Puts `B` items at once; `B` divides the capacity, and so every index.
    #[inline(always)]
    fn push<const B: usize>(&mut self, items: &[T; B]) {
        const { assert!(N.is_multiple_of(B)) };
        // SAFETY: `_memory` keeps the ring mapped.
        let ring = unsafe { &*self.ring };
        while self.mine.wrapping_sub(self.other) > N - B {
            self.other = ring.head.0.load(Acquire);
        }
        let slot = ring.slots.0[self.mine % N].get();
        // SAFETY: the consumer is done with the `B` slots from here.
        unsafe { ptr::copy_nonoverlapping(items.as_ptr(), slot.cast(), B) };
        self.mine = self.mine.wrapping_add(B);
        ring.tail.0.store(self.mine, Release);
    }

    /// Takes `B` items at once.
    #[inline(always)]
    fn pop<const B: usize, W: Wait>(&mut self, items: &mut [T; B]) {
        const { assert!(N.is_multiple_of(B)) };
        // SAFETY: `_memory` keeps the ring mapped.
        let ring = unsafe { &*self.ring };
        if self.other.wrapping_sub(self.mine) < B {
            loop {
                self.other = ring.tail.0.load(Acquire);
                if self.other.wrapping_sub(self.mine) >= B {
                    break;
                }
            }
            if W::PAUSES > 0 && self.other.wrapping_sub(self.mine) < N / 4 {
                for _ in 0..W::PAUSES {
                    spin_loop();
                }
                self.other = ring.tail.0.load(Acquire);
            }
        }
        let slot = ring.slots.0[self.mine % N].get();
        // SAFETY: the producer is done with the `B` slots from here.
        unsafe { ptr::copy_nonoverlapping(slot.cast(), items.as_mut_ptr(), B) };
        self.mine = self.mine.wrapping_add(B);
        ring.head.0.store(self.mine, Release);
    }
}

/// Words one by one.
pub(crate) fn stream_u64<W: Wait>(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<u64, WORDS>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut item = [0];
        for _ in 0..n {
            rx.pop::<_, W>(&mut item);
            checker.take(item[0]);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.push(&[word(i)]);
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Words in batches.
pub(crate) fn stream_batch<W: Wait>(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<u64, WORDS>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let batch = &mut Line([0; BATCH]).0;
        for _ in 0..n / BATCH as u64 {
            rx.pop::<_, W>(batch);
            checker.take_all(black_box(&*batch));
        }
        checker.count()
    };
    let source = Source::<BATCH>::new();
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            tx.push(source.at(i));
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages copied in and out: the memcpy ring.
pub(crate) fn copy_1k<W: Wait>(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<Kib, KIB_SLOTS>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let message = &mut Line([[0; 128]]).0;
        for _ in 0..n {
            rx.pop::<_, W>(message);
            checker.take_kib(&black_box(&*message)[0]);
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.push(array::from_ref(source.at(i)));
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// The same with messages of 64 bytes.
pub(crate) fn copy_64<W: Wait>(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<[u64; 8], LINES>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let message = &mut Line([[0; 8]]).0;
        for _ in 0..n {
            rx.pop::<_, W>(message);
            checker.take_line(bytes(&black_box(&*message)[0]))?;
        }
        checker.count()
    };
    let source = Source::<8>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.push(array::from_ref(source.at(i)));
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}
