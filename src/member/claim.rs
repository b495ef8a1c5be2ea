//! A word that one participant at a time holds by its stamp, and whose dead holder is replaced.
//!
//! For operations that are rare and short: the holder's death is found by asking the kernel, by
//! whoever waits. What the holder was changing must be fit to be taken up at any point.

use super::membership::Turn;
use super::{Membership, Stamp, Table};
use crate::Result;
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sys::{self, process::yield_now};
use std::time::Duration;

/// How often a waiter yields between two questions after the holder.
const YIELDS: u32 = 64;

/// The right to what the word protects, given back by the destructor.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    /// 0: free, otherwise the holder's packed stamp.
    word: &'a AtomicU64,
    /// Threads of one process have one stamp, and take turns before they take the word.
    _turn: Turn<'a>,
}

impl<'a> Claim<'a> {
    /// Waits until the word is free or its holder is dead, and takes it.
    #[inline]
    pub(crate) fn take(word: &'a AtomicU64, table: Table<'_>, me: &'a Membership) -> Result<Self> {
        let turn = me.turn();
        let mine = me.stamp().pack();
        // Acquire: pairs with the Release of the last holder.
        if word.compare_exchange(0, mine, Acquire, Relaxed).is_err() {
            Self::take_slow(word, table, me)?;
        }
        Ok(Claim { word, _turn: turn })
    }

    #[cold]
    #[inline(never)]
    fn take_slow(word: &AtomicU64, table: Table<'_>, me: &Membership) -> Result<()> {
        let mine = me.stamp().pack();
        let mut rounds = 0u32;
        loop {
            // Acquire: pairs with the Release of the last holder; a dead one's writes are all done,
            // see `Table::is_gone`.
            let holder = match word.compare_exchange(0, mine, Acquire, Relaxed) {
                Ok(_) => return Ok(()),
                Err(holder) => holder,
            };
            rounds += 1;
            if !rounds.is_multiple_of(YIELDS) {
                yield_now();
                continue;
            }
            let dead = match Stamp::unpack(holder) {
                // This process's turn is this thread's, so the word is damaged; a new holder puts
                // that right. So is one that names nobody.
                Some(stamp) if stamp == me.stamp() => true,
                Some(stamp) => table.is_gone(stamp)?,
                None => true,
            };
            if dead && word.compare_exchange(holder, mine, Acquire, Relaxed).is_ok() {
                return Ok(());
            }
            if rounds > 16 * YIELDS {
                // The holder is stopped, or starved. It gives no sign when it goes on.
                pause();
            }
        }
    }
}

/// Sleeps for a moment.
pub(super) fn pause() {
    let until = sys::time::after(Duration::from_millis(1));
    let never = crate::sync::atomic::AtomicU32::new(0);
    crate::sync::futex::wait_either((&never, 0), None, Some(until));
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        // Release: what was changed, to the next holder's Acquire.
        self.word.store(0, Release);
    }
}
