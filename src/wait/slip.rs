//! Falling back behind a stream, so as not to disturb it.
//!
//! An end that has caught up with its peer meets it in the same cache lines at every item, and then
//! each item costs several transfers between processors, though both sides could go on undisturbed
//! for hundreds of items: a stream of words is ten times slower so. Looking away for a moment lets
//! the peer get some lines ahead. (Temporal slipping: Giacomoni, Moseley, Vachharajani, "FastForward
//! for Efficient Pipeline Parallelism", PPoPP 2008.)
//!
//! Where the peer does not stream, looking away would only make the next item late. So a waiting end
//! tries it, for a very short moment, and learns from what it finds: items in quick succession, and
//! the next moment is twice as long; fewer, and it is half as long; hardly any, and there is no other
//! try for a number of waits that doubles each time. In a sequence of requests and replies that
//! comes to a fraction of a microsecond once in thousands of round trips.

use crate::sync::clock;
use crate::sync::hint::spin_loop;

/// Items at once that make a stream; a peer that waits for replies never has so many under way.
const STREAM: u64 = 3;
/// Nanoseconds that an item may take: from there on, transfers are not what a stream waits for.
const PER_ITEM: u64 = 180;
/// Nanoseconds of the first try, of the shortest, and of the longest.
const FIRST: u64 = 400;
const SHORTEST: u64 = 50;
const LONGEST: u64 = 1600;
/// Waits until the first try, and the most between two.
const SOON: u32 = 16;
const RARELY: u32 = 4096;

/// What one end has learned.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slip {
    /// Nanoseconds of the next moment.
    moment: u64,
    /// Waits until then.
    waits: u32,
    /// The `waits` after a try that was of no use.
    patience: u32,
}

impl Slip {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Slip { moment: FIRST, waits: SOON, patience: SOON }
    }

    /// At the beginning of a wait: whether to look away, which has been done then.
    pub(crate) fn look_away(&mut self) -> bool {
        if self.waits > 0 {
            self.waits -= 1;
            return false;
        }
        let until = clock::now() + self.moment;
        while clock::now() < until {
            spin_loop();
        }
        true
    }

    /// After looking away: what was found, of at most `capacity`. Says whether it is a stream.
    pub(crate) fn learn(&mut self, found: u64, capacity: u64) -> bool {
        if 8 * found > 7 * capacity {
            // Nearly too long: the peer would have had to wait.
            self.moment = (self.moment / 2).max(SHORTEST);
        } else if found >= STREAM && PER_ITEM * found >= self.moment {
            self.moment = (2 * self.moment).min(LONGEST);
            self.patience = SOON;
        } else if found > 1 && self.moment > FIRST {
            self.moment /= 2;
        } else {
            self.moment = FIRST;
            self.waits = self.patience;
            self.patience = (2 * self.patience).min(RARELY);
            return false;
        }
        true
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_stream_makes_it_bold_and_single_items_make_it_rare() {
        let mut slip = Slip::new();
        let mut tries = 0;
        for _ in 0..100 {
            if slip.look_away() {
                slip.learn(400, 1024);
                tries += 1;
            }
        }
        assert_eq!((tries, slip.moment), (100 - SOON, LONGEST));
        tries = 0;
        for _ in 0..100_000 {
            if slip.look_away() {
                slip.learn(1, 1024);
                tries += 1;
            }
        }
        assert!(tries < 40, "{tries} of 100,000");
    }

    #[test]
    fn it_does_not_outlast_a_small_ring() {
        let mut slip = Slip::new();
        for _ in 0..100 {
            if slip.look_away() {
                slip.learn(8, 8);
            }
        }
        assert_eq!(slip.moment, SHORTEST);
    }
}
