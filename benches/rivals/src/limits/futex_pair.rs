//! Two sleepers that wake each other: a bare `futex_waitv` on two words, one wake each way.
//!
//! Two words, because a wait that is to end when the peer dies has to watch the peer as well as
//! the data; here the second word never changes.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU32, AtomicU64};

use crate::os;
use crate::peer::{self, Plan};
use crate::shared::{Line, Shared};
use crate::work::{Result, same, word};

/// One direction.
struct Way {
    /// Counts the messages; what the receiver sleeps on.
    sent: AtomicU32,
    /// The message.
    payload: AtomicU64,
}

struct Pair {
    there: Line<Way>,
    back: Line<Way>,
    bell: Line<AtomicU32>,
}

impl Way {
    #[inline(always)]
    fn send(&self, payload: u64, count: u32) {
        self.payload.store(payload, Relaxed);
        self.sent.store(count, Release);
        os::futex_wake_one(&self.sent);
    }

    #[inline(always)]
    fn receive(&self, seen: u32, bell: &AtomicU32) -> u64 {
        while self.sent.load(Acquire) == seen {
            os::futex_wait_two(&self.sent, seen, bell, 0);
        }
        self.payload.load(Relaxed)
    }
}

/// A word there and back, both sides asleep while it travels.
pub(crate) fn round_trip(plan: &Plan) -> Result<f64> {
    // SAFETY: atomics of 0.
    let pair = unsafe { Shared::<Pair>::zeroed() }?;
    let peer = pair.clone();
    let (mut taken, mut given) = (0u32, 0u32);
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            let payload = peer.there.0.receive(taken, &peer.bell.0);
            think.now();
            taken = taken.wrapping_add(1);
            peer.back.0.send(payload, taken);
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            let next = given.wrapping_add(1);
            think.now();
            pair.there.0.send(word(i), next);
            same(pair.back.0.receive(given, &pair.bell.0), word(i))?;
            given = next;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}
