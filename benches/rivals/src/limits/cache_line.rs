//! One word bounced between two processes: the round trip of a cache line.
//!
//! How long that takes depends on where in the processor the line is looked up, by a third. So each
//! turn bounces another line, and the median is that of many.

use std::hint::spin_loop;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::peer::{self, Plan};
use crate::shared::{Line, Shared};
use crate::work::{Result, SPOTS};

/// Ping and pong on the same word: odd on the way there, even on the way back.
pub(crate) fn round_trip(plan: &Plan) -> Result<f64> {
    // SAFETY: atomics of 0.
    let balls = unsafe { Shared::<[Line<AtomicU64>; SPOTS]>::zeroed() }?;
    let theirs = balls.clone();
    let (mut taken, mut given) = ([0; SPOTS], [0; SPOTS]);
    let mut spots = (0..SPOTS).cycle();
    let pong = {
        let mut spots = spots.clone();
        move |n| {
            let spot = spots.next().unwrap_or_default();
            let (ball, mut count) = (&theirs[spot].0, taken[spot]);
            for _ in 0..n {
                while ball.load(Acquire) != count + 1 {
                    spin_loop();
                }
                count += 2;
                ball.store(count, Release);
            }
            taken[spot] = count;
            Ok(n)
        }
    };
    let ping = move |n| {
        let spot = spots.next().unwrap_or_default();
        let (ball, mut count) = (&balls[spot].0, given[spot]);
        for _ in 0..n {
            ball.store(count + 1, Release);
            count += 2;
            while ball.load(Acquire) != count {
                spin_loop();
            }
        }
        given[spot] = count;
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}
