//! A condition variable beside a mutex: a sequence of notifications, and no count of waiters.
//!
//! | bits | meaning |
//! |---|---|
//! | 0, `W` | somebody may sleep |
//! | 1.. | how often somebody was notified |
//!
//! A waiter reads the word, setting `W`, while it has the mutex; then lets go of it, and sleeps while
//! the word is that. A notification adds to the number. So one that comes after the mutex was let go
//! is not missed, and notifying waits for nobody. (The sequence is that of musl's and std's condition
//! variables on futexes; `W` spares notifications that nobody waits for the system call.)
//!
//! `notify_one` wakes one and leaves `W` for the others; if it found none, it takes `W` down and
//! wakes all, for somebody may have fallen asleep in between.
//!
//! Deaths: the notifier has its bell armed from before the change until after the wake, and a waiter
//! while it sleeps. But a woken waiter needs the pending slot for the mutex, and may be killed while
//! it waits for that: then its notification would be lost, if another waiter was there to use it. So
//! a waiter that finds at the end of a slice that there *was* a notification goes on as if it had
//! been woken.

use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sync::crash::{Point, point};
use crate::sync::{bell, const_fn, futex};
use crate::wait::{Sleeper, WaitStrategy, block_shared, sleep_on};

const WAITERS: u32 = 1;
/// One in the number of notifications.
const ONE: u32 = 2;

/// The state.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RawCondvar {
    /// `W` and the number of notifications. Written by everybody. Relaxed throughout: what is waited
    /// for is guarded by the mutex.
    word: AtomicU32,
    /// Always 0: what the kernel rings.
    bell: AtomicU32,
}

impl RawCondvar {
    const_fn! {
        /// Nobody waits.
        pub(crate) const fn new() -> Self {
            RawCondvar { word: AtomicU32::new(0), bell: AtomicU32::new(0) }
        }
    }

    /// Says that the caller, who has the mutex, is about to sleep; gives what to sleep by.
    pub(crate) fn announce(&self) -> u32 {
        self.word.fetch_or(WAITERS, Relaxed) | WAITERS
    }

    /// Waits for a notification after [`RawCondvar::announce`] gave `token`. False: `deadline` has
    /// passed.
    pub(crate) fn wait(&self, token: u32, strategy: WaitStrategy, deadline: u64) -> bool {
        block_shared(&mut Notified { condvar: self, token }, &self.bell, strategy, deadline)
            .is_some()
    }

    /// Wakes one waiter, if there is one.
    #[inline]
    pub(crate) fn notify_one(&self) {
        // A waiter that this should wake has announced itself before it let go of the mutex, and so
        // before the caller had it.
        if self.word.load(Relaxed) & WAITERS != 0 {
            self.notify_one_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_one_slow(&self) {
        let armed = bell::arm(&self.bell);
        let notified = self.word.fetch_add(ONE, Relaxed).wrapping_add(ONE);
        point(Point::SignalChanged);
        if futex::wake(&self.word, 1) == 0 && notified & WAITERS != 0 {
            let idle = notified & !WAITERS;
            if self.word.compare_exchange(notified, idle, Relaxed, Relaxed).is_ok() {
                point(Point::SignalDoubted);
                futex::wake(&self.word, u32::MAX);
            }
        }
        bell::disarm(armed);
    }

    /// Wakes all waiters.
    #[inline]
    pub(crate) fn notify_all(&self) {
        // As in `notify_one`.
        if self.word.load(Relaxed) & WAITERS != 0 {
            self.notify_all_slow();
        }
    }

    #[cold]
    #[inline(never)]
    fn notify_all_slow(&self) {
        let armed = bell::arm(&self.bell);
        let next = |seen: u32| Some((seen & !WAITERS).wrapping_add(ONE));
        let _ = self.word.fetch_update(Relaxed, Relaxed, next);
        point(Point::SignalChanged);
        futex::wake(&self.word, u32::MAX);
        bell::disarm(armed);
    }

    /// Whether somebody may wait.
    pub(crate) fn is_awaited(&self) -> bool {
        self.word.load(Relaxed) & WAITERS != 0
    }

    /// Whether the words are ones that this protocol writes.
    pub(crate) fn is_sound(&self) -> bool {
        self.bell.load(Relaxed) == 0
    }
}

struct Notified<'a> {
    condvar: &'a RawCondvar,
    token: u32,
}

impl Sleeper for Notified<'_> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        (self.condvar.word.load(Relaxed) != self.token).then_some(())
    }

    fn sleep(&mut self, until: u64) {
        sleep_on(&self.condvar.word, self.token, &self.condvar.bell, until);
    }
}
