//! `commons` in the rows `ring/*`.
//!
//! Streams wait as a ring does that nobody has told how to; round trips as their row asks.

use std::hint::black_box;
use std::slice;

use commons::WaitStrategy;
use commons::spsc::{Duplex, duplex, ring};

use crate::ours::{self, spawned};
use crate::peer::Plan;
use crate::shared::Line;
use crate::work::{
    BATCH, BIG_SLOTS, Big, Checker, KIB_SLOTS, Kib, Result, SPOTS, Source, WORDS, same, word,
};

/// Words one by one.
pub(super) fn stream_u64(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<u64>(WORDS)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(rx.pop()?);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.push(word(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// Words one by one, with a fence before each look for sleepers.
pub(super) fn stream_u64_fenced(plan: &Plan) -> Result<f64> {
    ours::fenced(plan, stream_u64)
}

/// Words in batches.
pub(super) fn stream_batch(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<u64>(WORDS)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let batch = &mut Line([0; BATCH]).0;
        let mut taken = 0;
        while taken < n {
            let some = rx.pop_slice(batch)?;
            checker.take_all(black_box(&batch[..some]));
            taken += some as u64;
        }
        checker.count()
    };
    let source = Source::<BATCH>::new();
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            tx.push_all(source.at(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back, polling: each turn through another pair of rings, as the limit takes
/// another line.
pub(super) fn rtt_poll(plan: &Plan) -> Result<f64> {
    let mut pairs = Vec::new();
    for _ in 0..SPOTS {
        pairs.push(duplex::<u64>(WORDS)?);
    }
    round_trip(plan, WaitStrategy::Spin, pairs)
}

/// A word there and back, asleep while it travels.
pub(super) fn rtt_park(plan: &Plan) -> Result<f64> {
    round_trip(plan, WaitStrategy::Park, vec![duplex::<u64>(WORDS)?])
}

/// A word there and back through two rings that share no line, polling.
pub(super) fn rtt_poll_two_rings(plan: &Plan) -> Result<f64> {
    let mut pairs = Vec::new();
    for _ in 0..SPOTS {
        let (there, back) = (ring::<u64>(WORDS)?, ring::<u64>(WORDS)?);
        pairs.push((Duplex { tx: there.0, rx: back.1 }, Duplex { tx: back.0, rx: there.1 }));
    }
    round_trip(plan, WaitStrategy::Spin, pairs)
}

/// Round trips, each turn through the next of some pairs of rings.
fn round_trip(
    plan: &Plan,
    strategy: WaitStrategy,
    pairs: Vec<(Duplex<u64>, Duplex<u64>)>,
) -> Result<f64> {
    let (mut here, mut there): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    for end in here.iter_mut().chain(&mut there) {
        end.set_wait_strategy(strategy);
    }
    let think = plan.think();
    let mut spots = (0..here.len()).cycle();
    let mut their_spots = spots.clone();
    let pong = move |n| {
        let end = &mut there[their_spots.next().unwrap_or_default()];
        for _ in 0..n {
            let item = end.rx.pop()?;
            think.now();
            end.tx.push(item)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        let end = &mut here[spots.next().unwrap_or_default()];
        for i in 0..n {
            think.now();
            end.tx.push(word(i))?;
            same(end.rx.pop()?, word(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(pong), || Ok(ping))
}

/// 64 KiB slots written and read in place.
pub(super) fn inplace_64k(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<Big>(BIG_SLOTS)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            let loan = rx.peek(1)?;
            checker.take_big(loan[0][0], loan[0][8191]);
            loan.release(1);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            let mut grant = tx.reserve(1)?;
            grant[0][0] = word(i);
            grant[0][8191] = !word(i);
            grant.commit(1);
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages copied in and out.
pub(super) fn copy_1k(plan: &Plan) -> Result<f64> {
    let (mut tx, mut rx) = ring::<Kib>(KIB_SLOTS)?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let message = &mut Line([0; 128]).0;
        for _ in 0..n {
            rx.pop_slice(slice::from_mut(message))?;
            checker.take_kib(black_box(&*message));
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.push_all(slice::from_ref(source.at(i)))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}
