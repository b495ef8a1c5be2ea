//! What an operation under test has to tell the harness.

use super::ledger::Ledger;
use super::sys;
use super::verdict::{Complaint, Judgement};

/// Where the operation under test begins and ends: system calls that do not exist.
pub(crate) const BEGIN: i64 = 0x0b00_0001;
/// As above.
pub(crate) const END: i64 = 0x0b00_0002;

/// Says, in the victim, that the operation under test begins.
pub(crate) fn begin() {
    sys::no_such_call(BEGIN);
}

/// Says, in the victim, that the operation under test is over. It is not returned from.
pub(crate) fn end() {
    sys::no_such_call(END);
}

/// One operation, to be killed at all of its instructions.
pub(crate) trait Operation {
    /// What the line in the report calls it.
    fn name(&self) -> String;

    /// How many situations it is tried in.
    fn variants(&self) -> u32 {
        1
    }

    /// Makes what the parties share, fresh, for one case. Runs in the harness, which has no part in
    /// it but that it keeps it mapped.
    fn stage(&self, variant: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint>;
}

/// When the companion comes to be needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entrance {
    /// There is none.
    Nobody,
    /// It says [`Ledger::be_ready`] and waits for cues.
    Ready,
    /// It says so and then sleeps in an operation of the objects under test.
    Asleep,
}

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// The victim.
    Itself,
    /// The first process that the victim forks after [`begin`], from its first instruction on. The
    /// victim is stopped meanwhile, until that one sleeps or is dead.
    ItsChild,
    /// The first process that this one forks, from its own [`begin`] on. The others go on meanwhile.
    ItsGrandchild,
}

/// One performance of an operation: each part is played by a process of its own, forked from the
/// harness.
pub(crate) trait Case {
    /// Prepares, so that nothing is done for the first time later; [`begin`]; does it; [`end`].
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint>;

    /// Whether there is a companion: somebody who takes part from before the death.
    fn entrance(&self) -> Entrance {
        Entrance::Nobody
    }

    /// The companion. It starts when the victim is about to begin, and ends by itself after the
    /// victim's death.
    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let _ = ledger;
        Ok(super::Outcome::Clean)
    }

    /// Whether the judge starts while the companion still runs, because they need each other.
    fn together(&self) -> bool {
        false
    }

    /// Whether the victim, each time it falls asleep, is left there until the companion has said
    /// [`Ledger::keep_pace`]: so that it is the same one that wakes it, and what comes after is the same.
    fn paced(&self) -> bool {
        false
    }

    /// Who is killed.
    fn subject(&self) -> Subject {
        Subject::Itself
    }

    /// A newcomer after the death, who holds what is there against the ledger and goes on where the
    /// victim stopped.
    fn judge(&mut self, ledger: &'static Ledger) -> Judgement;
}
