//! Who has one end of an object.
//!
//! | state | stamp | meaning | may become |
//! |---|---|---|---|
//! | `VACANT` | none | nobody has had it yet | `HELD` |
//! | `HELD` | holder | a process has it, or died having it | `HELD` by the child it is handed to, by a successor of a dead holder; `CLOSED`, `ABANDONED` |
//! | `CLOSED` | last holder | left in order: what it had to say is said | `HELD` |
//! | `ABANDONED` | last holder | left without finishing | `HELD` |
//!
//! One word, so a role is never nobody's on the way from one process to another, and what a dead
//! holder was doing needs no repair: the positions of a ring are its whole state.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};
use crate::sync::const_fn;

const STATE_SHIFT: u32 = 60;
const STAMP: u64 = (1 << 48) - 1;
const HELD: u64 = 1;
const CLOSED: u64 = 2;
const ABANDONED: u64 = 3;

/// What a role word says. Stamps are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// Nobody yet.
    Vacant,
    /// This participant, alive or dead.
    Held(u64),
    /// Its last holder left in order.
    Closed,
    /// Its last holder left without finishing.
    Abandoned,
}

/// The word. Written by its holder, by the parent that hands it to a child, and by a successor.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Role {
    word: AtomicU64,
}

impl Role {
    const_fn! {
        /// A role that nobody has had.
        pub(crate) const fn new() -> Self {
            Role { word: AtomicU64::new(0) }
        }
    }

    /// What the word says, and the word itself for [`Role::claim`]. Damage reads as vacant.
    pub(crate) fn read(&self) -> (Holder, u64) {
        // Acquire: what a holder published before it left, to those who see that it left.
        let word = self.word.load(Acquire);
        let holder = match word >> STATE_SHIFT {
            HELD => Holder::Held(word & STAMP),
            CLOSED => Holder::Closed,
            ABANDONED => Holder::Abandoned,
            _ => Holder::Vacant,
        };
        (holder, word)
    }

    /// Takes the role for `stamp` if the word still is `seen`.
    pub(crate) fn claim(&self, seen: u64, stamp: u64) -> bool {
        // AcqRel: the positions as the last holder left them.
        self.word.compare_exchange(seen, HELD << STATE_SHIFT | stamp, AcqRel, Acquire).is_ok()
    }

    /// Whether the participant has the role.
    pub(crate) fn is_held_by(&self, stamp: u64) -> bool {
        self.read().0 == Holder::Held(stamp)
    }

    /// Gives the role to another participant.
    pub(crate) fn hand_over(&self, from: u64, to: u64) -> bool {
        self.claim(HELD << STATE_SHIFT | from, to)
    }

    /// Leaves the role, in order or not.
    pub(crate) fn leave(&self, stamp: u64, in_order: bool) -> bool {
        let state = if in_order { CLOSED } else { ABANDONED };
        let (held, left) = (HELD << STATE_SHIFT | stamp, state << STATE_SHIFT | stamp);
        // Release: everything published, to the Acquire in `read`.
        self.word.compare_exchange(held, left, AcqRel, Acquire).is_ok()
    }
}
