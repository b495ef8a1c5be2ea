//! The machinery: it knows how to kill, and nothing of what is killed.
//!
//! An [`Operation`] is first stepped once, instruction by instruction, and each moment is noted that
//! a survivor could tell from the one before it: a byte of shared memory, the victim's robust list
//! or a system call makes the difference. Then it is performed anew for each of these moments, and
//! for a sample of the others, by a fresh process that is killed there, and the survivors' word is
//! held against a ledger in plain memory.
//!
//! All processes share one processor, so that only one of them runs at a time; the victim waits with
//! [`commons::WaitStrategy::Park`], and has done everything once before it begins.

mod arch;
mod eye;
mod ledger;
mod part;
mod point;
mod ptrace;
mod rng;
mod run;
mod scenario;
mod settings;
pub(crate) mod supervise;
pub(crate) mod sys;
mod tracee;
mod verdict;

pub(crate) use ledger::{GO, Ledger, OVER, Party};
pub(crate) use part::{Part, apart, die_after, is_asleep};
pub(crate) use rng::{Rng, mix};
pub(crate) use run::run;
pub(crate) use scenario::{Case, Entrance, Operation, Subject, begin, end};
pub(crate) use settings::Settings;
pub(crate) use verdict::{Complaint, Judgement, Outcome, Tally};
