//! shmem-ipc: a ring in a memfd with an event descriptor for each side.
//!
//! Rows that poll use its ring alone; the row that parks uses the descriptors too.

use std::hint::black_box;
use std::io::Read;
use std::ptr;

use shmem_ipc::sharedring::{Receiver, Sender};

use crate::peer::{self, Plan};
use crate::shared::Line;
use crate::work::{
    BATCH, BIG_SLOTS, Big, Checker, KIB_SLOTS, Kib, Result, Source, WORDS, same, word,
};

/// A ring of at least `capacity` words or messages. Its type asks for a trait of another crate,
/// hence a macro and not a generic function.
macro_rules! ring {
    ($item:ty, $capacity:expr) => {{
        let tx = Sender::<$item>::new($capacity)?;
        let rx = Receiver::<$item>::open(
            $capacity,
            tx.memfd().as_file().try_clone()?,
            tx.empty_signal().try_clone()?,
            tx.full_signal().try_clone()?,
        )?;
        (tx, rx)
    }};
}

/// Words one by one.
pub(crate) fn stream_u64(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring!(u64, WORDS);
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(poll(&mut rx)?);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            push(&mut tx, word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Words in batches, each as far as it fits.
pub(crate) fn stream_batch(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring!(u64, WORDS);
    let consume = move |n| {
        let mut checker = Checker::default();
        let batch = &mut Line([0; BATCH]).0;
        let mut taken = 0;
        while taken < n {
            let mut some = 0;
            rx.receiver_mut().recv(|slots, ready| {
                some = ready.min(BATCH);
                // SAFETY: `some` items are ready, and there is room for a batch.
                unsafe { ptr::copy_nonoverlapping(slots, batch.as_mut_ptr(), some) };
                some
            })?;
            checker.take_all(&batch[..some]);
            taken += some as u64;
        }
        checker.count()
    };
    let source = Source::<BATCH>::new();
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            let mut rest = &source.at(i)[..];
            while !rest.is_empty() {
                let mut some = 0;
                tx.sender_mut().send(|slots, free| {
                    some = free.min(rest.len());
                    // SAFETY: `some` slots are free, and as many items are left.
                    unsafe { ptr::copy_nonoverlapping(rest.as_ptr(), slots, some) };
                    some
                })?;
                rest = &rest[some..];
            }
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back, polling.
pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring!(u64, WORDS);
    let (mut answer, mut answers) = ring!(u64, WORDS);
    let pong = move |n| {
        for _ in 0..n {
            push(&mut answer, poll(&mut rx)?)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            push(&mut tx, word(i))?;
            same(poll(&mut answers)?, word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}

/// A word there and back, asleep on the descriptors while it travels: each side reads its
/// descriptor, which is rung for every item, and then the ring. (`block_until_readable` looks at the
/// ring first and may leave a ring of the bell over, so that every second wait ends at once.)
pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring!(u64, WORDS);
    let (mut answer, mut answers) = ring!(u64, WORDS);
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            rx.empty_signal().read_exact(&mut [0; 8])?;
            let item = take(&mut rx)?;
            think.now();
            give(&mut answer, item)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            think.now();
            give(&mut tx, word(i))?;
            answers.empty_signal().read_exact(&mut [0; 8])?;
            same(take(&mut answers)?, word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}

/// 64 KiB slots written and read in place.
pub(crate) fn inplace_64k(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring!(Big, BIG_SLOTS);
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut taken = 0;
        while taken < n {
            rx.receiver_mut().recv(|slot, _| {
                let words = slot.cast::<u64>();
                // SAFETY: the first of the slots that are ready.
                let first = unsafe { words.read() };
                // SAFETY: as above.
                checker.take_big(first, unsafe { words.add(8191).read() });
                taken += 1;
                1
            })?;
        }
        checker.count()
    };
    let produce = move |n| {
        let mut given = 0;
        while given < n {
            tx.sender_mut().send(|slot, _| {
                let words = slot.cast::<u64>();
                // SAFETY: the first of the slots that are free.
                unsafe { words.write(word(given)) };
                // SAFETY: as above.
                unsafe { words.add(8191).write(!word(given)) };
                given += 1;
                1
            })?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages copied in and out.
pub(crate) fn copy_1k(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring!(Kib, KIB_SLOTS);
    let consume = move |n| {
        let mut checker = Checker::default();
        let message = &mut Line([0; 128]).0;
        let mut taken = 0;
        while taken < n {
            let mut some = false;
            rx.receiver_mut().recv(|slot, _| {
                // SAFETY: the first of the slots that are ready.
                unsafe { ptr::copy_nonoverlapping(slot, message, 1) };
                some = true;
                1
            })?;
            if some {
                checker.take_kib(black_box(&*message));
                taken += 1;
            }
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            let mut sent = false;
            while !sent {
                tx.sender_mut().send(|slot, _| {
                    // SAFETY: the first of the slots that are free.
                    unsafe { ptr::copy_nonoverlapping(source.at(i), slot, 1) };
                    sent = true;
                    1
                })?;
            }
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Puts one word into the ring, and polls while it is full.
fn push(tx: &mut Sender<u64>, item: u64) -> Result<()> {
    let mut sent = false;
    while !sent {
        tx.sender_mut().send(|slot, _| {
            // SAFETY: the first of the slots that are free.
            unsafe { slot.write(item) };
            sent = true;
            1
        })?;
    }
    Ok(())
}

/// Takes one word from the ring, and polls while it is empty.
fn poll(rx: &mut Receiver<u64>) -> Result<u64> {
    let mut item = None;
    while item.is_none() {
        rx.receiver_mut().recv(|slot, _| {
            // SAFETY: the first of the slots that are ready.
            item = Some(unsafe { slot.read() });
            1
        })?;
    }
    Ok(item.unwrap_or_default())
}

/// Puts one word into a ring with room, and wakes the reader if it was empty.
fn give(tx: &mut Sender<u64>, item: u64) -> Result<()> {
    tx.send_raw(|slot, _| {
        // SAFETY: the first of the slots that are free.
        unsafe { slot.write(item) };
        1
    })?;
    Ok(())
}

/// Takes one word from a ring that is not empty.
fn take(rx: &mut Receiver<u64>) -> Result<u64> {
    let mut item = None;
    rx.receive_raw(|slot, _| {
        // SAFETY: the first of the slots that are ready.
        item = Some(unsafe { slot.read() });
        1
    })?;
    item.ok_or_else(|| "an empty ring is readable".into())
}
