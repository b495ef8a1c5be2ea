//! A board of tasks: one process posts them, any number of workers take and finish them in place.
//!
//! Tasks have tickets, numbers from 0 on, and ticket *t* can only lie in slot *t* mod *n*. The slot's
//! word says who may touch the slot:
//!
//! | state | word names | the slot is | may become |
//! |---|---|---|---|
//! | `FREE` | nothing | the owner's, never used | `FULL` |
//! | `FULL` | ticket | a task that waits: whoever takes it | `TAKEN` |
//! | `TAKEN` | ticket, seat | the worker's in that seat, which runs it | `DONE`; `DIED` if the worker is dead |
//! | `DONE` | ticket | the owner's: an outcome to collect | `FULL` of a later ticket |
//! | `DIED` | ticket, seat | the owner's: its worker died with it | `FULL` of a later ticket |
//!
//! **Deaths.** The exchange that takes a task is the one that names the taker, and a worker has one
//! task at a time. So whatever instruction a worker is killed at, its task is the one slot that is
//! `TAKEN` by its seat, if there is one: [`Board::bury`] finds it, before the seat is given to
//! somebody else. A result is published by one store; killed before it, the task was not finished,
//! killed behind it, it was. There is no lock and no counter that a death could leave behind.
//!
//! **Order.** The count of posted tickets is stored behind the slots' words. A slot whose earlier task
//! is still running is passed over: its ticket is posted without a task. So a worker that finds another
//! word than `FULL` of the ticket it looks for knows that it is taken, or was never there, and looks on;
//! one long task delays nobody. (A slot whose task still waits is not passed over, so every task that can
//! be taken is among the last *n* tickets.) Where to begin to look is a hint, which is never beyond a task that
//! could still be taken, whoever stored it last.
//!
//! **Sleeping.** The owner wakes as many workers as there are tasks. A worker that finishes a task
//! wakes the owner if the owner wants to know of that ticket, and one that finds nothing more to take
//! wakes it in any case: so the owner may sleep until half of many tasks are done, and is told where
//! the workers run dry before that. A worker killed before its wake is buried by its parent, which
//! wakes the owner, too.

use super::wait_cell::WaitCell;
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::{barrier, const_fn};

const STATE_SHIFT: u32 = 61;
const SEAT_SHIFT: u32 = 48;
const TICKET: u64 = (1 << SEAT_SHIFT) - 1;
/// Seats that a word can name.
pub(crate) const SEATS: u16 = 1 << (STATE_SHIFT - SEAT_SHIFT);

const FREE: u64 = 0;
const FULL: u64 = 1;
const TAKEN: u64 = 2;
const DONE: u64 = 3;
const DIED: u64 = 4;

/// 64-bit words of a slot in which a task or its outcome lies, if it is small.
pub(crate) const BODY: usize = 12;

const fn pack(state: u64, seat: u16, ticket: u64) -> u64 {
    // Tickets are compared for being equal and lie close together, so it does no harm that they wrap.
    state << STATE_SHIFT | (seat as u64) << SEAT_SHIFT | ticket & TICKET
}

/// What has become of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits, or runs.
    Open,
    /// It is finished, and its outcome is in the slot.
    Done,
    /// The worker that ran it died, and how is in the slot.
    Died,
}

/// A place for one task and then its outcome.
#[repr(C, align(128))]
#[derive(Debug)]
pub(crate) struct Slot {
    /// See the table. Written by the owner where it is free or done, by whoever takes the task, by
    /// its taker, and by who buries that.
    word: AtomicU64,
    /// What to run. Written by the owner, like all that follows; in a taken slot by its worker.
    pub(crate) code: AtomicU64,
    /// Bytes of the argument or the outcome; of a dead worker, the process id.
    pub(crate) length: AtomicU64,
    /// How these are to be read; of a dead worker, how it ended.
    pub(crate) shape: AtomicU64,
    /// The bytes, if they fit in.
    pub(crate) body: [AtomicU64; BODY],
}

/// A word on lines of its own: two, since they are fetched in pairs.
#[repr(C, align(128))]
#[derive(Debug)]
struct Line<T>(T);

/// What owner and workers share beside the slots.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Control {
    /// Tickets posted. Written by the owner.
    posted: Line<AtomicU64>,
    /// A ticket before which there is nothing to take. Written by workers.
    next: Line<AtomicU64>,
    /// What workers without a task sleep on.
    work: Line<WaitCell>,
    /// What the owner sleeps on, and from which ticket on it wants to be woken.
    news: Line<(WaitCell, AtomicU64)>,
}

impl<T> core::ops::Deref for Line<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        &self.0
    }
}

impl Slot {
    const_fn! {
        /// A slot that was never used.
        pub(crate) const fn new() -> Self {
            let body = [
                AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0),
                AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0),
                AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0),
            ];
            let (word, code) = (AtomicU64::new(FREE), AtomicU64::new(0));
            Slot { word, code, length: AtomicU64::new(0), shape: AtomicU64::new(0), body }
        }
    }
}

impl Control {
    const_fn! {
        /// Nothing was posted.
        pub(crate) const fn new() -> Self {
            Control {
                posted: Line(AtomicU64::new(0)),
                next: Line(AtomicU64::new(0)),
                work: Line(WaitCell::new()),
                news: Line((WaitCell::new(), AtomicU64::new(0))),
            }
        }
    }

    /// What the owner sleeps on.
    #[inline(always)]
    pub(crate) fn news(&self) -> &WaitCell {
        &self.news.0.0
    }

    /// What workers sleep on.
    #[inline(always)]
    pub(crate) fn work(&self) -> &WaitCell {
        &self.work.0
    }
}

/// The board as one process sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Board<'a> {
    pub(crate) control: &'a Control,
    pub(crate) slots: &'a [Slot],
}

impl<'a> Board<'a> {
    /// Where a ticket lies.
    #[inline(always)]
    pub(crate) fn slot(&self, ticket: u64) -> &'a Slot {
        &self.slots[(ticket % self.slots.len() as u64) as usize]
    }

    /// The owner has written a task into the slot of this ticket, which is the owner's. It is seen
    /// once the ticket is posted.
    #[inline(always)]
    pub(crate) fn fill(&self, ticket: u64) {
        // Release: the task, to the Acquire in `take`.
        self.slot(ticket).word.store(pack(FULL, 0, ticket), Release);
    }

    /// Whether the slot of this ticket, which has an earlier task, may be passed over: not while that
    /// task waits. So a task that waits is never more than a lap behind what is posted.
    #[inline(always)]
    pub(crate) fn may_pass(&self, ticket: u64) -> bool {
        // Relaxed: a task that does not wait any more will not wait again.
        self.slot(ticket).word.load(Relaxed) >> STATE_SHIFT != FULL
    }

    /// The owner posts all tickets below `end`: those that it filled, and those that it passes over.
    #[inline(always)]
    pub(crate) fn post(&self, end: u64) {
        // Release: the words of the slots, to the Acquire in `take`: who saw the ticket posted and
        // not the word would take it for passed over.
        self.control.posted.store(end, Release);
    }

    /// Wakes workers for so many tasks that were posted, as far as they sleep.
    #[inline]
    pub(crate) fn call(&self, tasks: u32, registered: bool) {
        barrier::light(registered);
        if self.control.work.is_announced() {
            self.control.work.wake_some(tasks);
        }
    }

    /// The worker in this seat takes a task, if there is one: its ticket.
    #[inline]
    pub(crate) fn take(&self, seat: u16) -> Option<u64> {
        // Relaxed: a hint.
        let hint = self.control.next.load(Relaxed);
        let mut at = hint;
        loop {
            // Acquire: pairs with `post`.
            let posted = self.control.posted.load(Acquire);
            // No older ticket can be taken, see `may_pass`; a hint that leads beyond is damaged.
            let oldest = posted.saturating_sub(self.slots.len() as u64);
            if at < oldest || at > posted {
                at = oldest;
            }
            if at == posted {
                if hint != at {
                    self.control.next.store(at, Relaxed);
                }
                return None;
            }
            while at < posted {
                let (word, full) = (&self.slot(at).word, pack(FULL, 0, at));
                let mine = pack(TAKEN, seat, at);
                // Acquire: the task, from `fill`. The look before it keeps the line shared.
                if word.load(Relaxed) == full
                    && word.compare_exchange(full, mine, Acquire, Relaxed).is_ok()
                {
                    point(Point::Claimed);
                    // Relaxed: a hint. Nothing before it can be taken any more, now or later.
                    self.control.next.store(at + 1, Relaxed);
                    return Some(at);
                }
                at += 1;
            }
        }
    }

    /// The worker that took this ticket has written its outcome.
    #[inline(always)]
    pub(crate) fn finish(&self, ticket: u64) {
        point(Point::Written);
        // Release: the outcome, to the Acquire in `fate`.
        self.slot(ticket).word.store(pack(DONE, 0, ticket), Release);
        point(Point::Published);
    }

    /// The worker that finished this ticket wakes the owner if it waits for that.
    #[inline(always)]
    pub(crate) fn tell(&self, ticket: u64, registered: bool) {
        barrier::light(registered);
        let (cell, wanted) = &self.control.news.0;
        // Relaxed: stored before the owner announced its sleep.
        if cell.is_announced() && ticket >= wanted.load(Relaxed) {
            cell.wake();
        }
    }

    /// Wakes the owner, if it sleeps: a worker found nothing more to take.
    #[inline(always)]
    pub(crate) fn tell_in_any_case(&self, registered: bool) {
        barrier::light(registered);
        if self.control.news().is_announced() {
            self.control.news().wake();
        }
    }

    /// Wakes the owner, if it sleeps: a worker died, perhaps while it woke the owner, and is buried.
    pub(crate) fn tell_of_death(&self) {
        self.control.news().rouse();
    }

    /// The owner is to be woken for tickets from this one on, when it sleeps next.
    #[inline(always)]
    pub(crate) fn want(&self, ticket: u64) {
        // Relaxed: the announcement that follows and its barrier publish it.
        self.control.news.1.store(ticket, Relaxed);
    }

    /// What has become of a ticket that the owner filled and has not collected.
    #[inline(always)]
    pub(crate) fn fate(&self, ticket: u64) -> Fate {
        // Acquire: the outcome, from `finish` or `bury`.
        match self.slot(ticket).word.load(Acquire) >> STATE_SHIFT {
            DONE => Fate::Done,
            DIED => Fate::Died,
            _ => Fate::Open,
        }
    }

    /// Whether the workers have looked at everything that was posted.
    #[inline(always)]
    pub(crate) fn is_dry(&self) -> bool {
        // Relaxed: who makes it so tells the owner afterwards.
        self.control.next.load(Relaxed) >= self.control.posted.load(Relaxed)
    }

    /// Ends the task of a dead worker, if it had one, with what is to be said of its end: its process
    /// id and how it ended. The worker is gone, and its seat is nobody's yet.
    pub(crate) fn bury(&self, seat: u16, pid: u64, end: u64) -> bool {
        let mut found = false;
        for slot in self.slots {
            // Acquire: what the dead one wrote is behind us.
            let seen = slot.word.load(Acquire);
            if seen >> SEAT_SHIFT != pack(TAKEN, seat, 0) >> SEAT_SHIFT {
                continue;
            }
            slot.length.store(pid, Relaxed);
            slot.shape.store(end, Relaxed);
            // Release: those two. Two that bury the same one say the same.
            let died = pack(DIED, seat, seen);
            found |= slot.word.compare_exchange(seen, died, AcqRel, Relaxed).is_ok();
        }
        found
    }

    /// Whether there is nobody in the slots whom [`Board::bury`] would have to look for: for tests.
    #[cfg(all(test, loom))]
    pub(crate) fn is_taken(&self) -> bool {
        self.slots.iter().any(|slot| slot.word.load(Acquire) >> STATE_SHIFT == TAKEN)
    }
}

/// A word that the owner and the workers agree by on what is to become of the board.
#[repr(transparent)]
#[derive(Debug)]
pub(crate) struct Phase(AtomicU32);

impl Phase {
    const_fn! {
        /// The first phase, 0.
        pub(crate) const fn new() -> Self {
            Phase(AtomicU32::new(0))
        }
    }

    /// The phase.
    #[inline(always)]
    pub(crate) fn get(&self) -> u32 {
        // Acquire: what was written before it was set.
        self.0.load(Acquire)
    }

    /// Sets it, unless it is another one than `from`.
    pub(crate) fn advance(&self, from: u32, to: u32) -> bool {
        // Release: what was written before, to the Acquire in `get`.
        self.0.compare_exchange(from, to, AcqRel, Acquire).is_ok()
    }

    /// Sets it, whatever it is.
    pub(crate) fn set(&self, to: u32) {
        // Release: as above.
        self.0.store(to, Release);
    }
}
