//! Named points at which a model may end a participant.
//!
//! A point marks a state of an algorithm that a survivor could tell from the one before it. In the
//! published crate it is nothing. In a loom model, a thread that was told to die at a point unwinds
//! out of the raw layer there, which owns no guards and so leaves shared memory as SIGKILL would.

/// Where a participant can be made to die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// A slot is claimed, and the hint that it is not there yet.
    Claimed,
    /// A slot is written and not yet published.
    Written,
    /// The express copy is opened for writing and not yet published.
    ExpressOpen,
    /// The position is published and no sleeper was woken yet.
    Published,
    /// A buffer is marked as being written and nothing is written yet.
    Begun,
    /// Some of a buffer's words are written.
    HalfWritten,
    /// A sleeper's flag is taken down and the sleeper is not woken yet.
    FlagTaken,
    /// A lock is acquired and not yet linked.
    LockAcquired,
    /// A lock is acquired and linked.
    LockLinked,
    /// A waiter for a lock has announced itself and does not sleep yet.
    LockAnnounced,
    /// A waiter for a lock was woken.
    LockWoken,
    /// A lock is unlinked and not yet released.
    LockUnlinked,
    /// A lock's owner has put in doubt whether anybody sleeps.
    LockDoubted,
    /// A lock is released and nobody was woken yet.
    LockFreed,
    /// A sleeper has announced itself at a signal and does not sleep yet.
    SignalAnnounced,
    /// A sleeper of a signal was woken.
    SignalWoken,
    /// A signal is changed and nobody was woken yet.
    SignalChanged,
    /// Somebody was woken, and whether there are more sleepers is not settled.
    SignalDoubted,
    /// A permit is returned and nobody was woken yet.
    PermitReturned,
    /// A permit that was free has just been taken by another, and the word is pending.
    PermitMissed,
    /// A phase is over and nobody was woken yet.
    PhaseMoved,
    /// A phase is over and everybody was woken.
    PhaseTold,
    /// Who waits for the end of a phase has announced itself and does not sleep yet.
    PhaseAnnounced,
    /// Who waits for the end of a phase was woken.
    PhaseWoken,
    /// A reader has a share and has not yet linked it.
    ShareClaimed,
    /// A reader has a share, linked.
    ShareLinked,
    /// A reader has said that it lets the writer go first.
    ShareYielded,
    /// A reader's share is unlinked and not yet released.
    ShareUnlinked,
    /// A reader's share is released and nobody was woken yet.
    ShareFreed,
    /// A writer has announced itself and has not looked at the shares yet.
    WriterBegun,
    /// A writer has announced that it sleeps on a share, and does not sleep yet.
    WriterAnnounced,
}

#[cfg(not(all(test, loom)))]
#[inline(always)]
pub(crate) fn point(_here: Point) {}

#[cfg(all(test, loom))]
pub(crate) use model::{die_at, point};

#[cfg(all(test, loom))]
mod model {
    use super::Point;
    use std::cell::RefCell;

    /// The payload of the unwind.
    struct Died;

    loom::thread_local! {
        static DIE_AT: RefCell<Option<Point>> = RefCell::new(None);
    }

    /// Tells the calling model thread to die when it reaches `point`.
    pub(crate) fn die_at(point: Option<Point>) {
        DIE_AT.with(|at| *at.borrow_mut() = point);
    }

    pub(crate) fn point(here: Point) {
        if DIE_AT.with(|at| *at.borrow() == Some(here)) {
            std::panic::resume_unwind(Box::new(Died));
        }
    }
}
