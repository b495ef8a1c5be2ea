//! What became of the survivors of one kill, and of the kills of one operation.

use super::settings::Settings;
use std::fmt;

/// What the survivors of one kill found, from best to worst.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Outcome {
    /// As if the victim had left before or after the operation.
    Clean,
    /// They were told that it died, and could go on.
    OwnerDied,
    /// Besides, they were given what the victim had seen and not released.
    Redelivered,
    /// They were given something more than once.
    Twice,
    /// Something acknowledged was not there, or was not what it had been.
    Lost,
    /// They could not go on.
    Wedged,
}

impl Outcome {
    const ALL: [Outcome; 6] = [
        Outcome::Clean,
        Outcome::OwnerDied,
        Outcome::Redelivered,
        Outcome::Twice,
        Outcome::Lost,
        Outcome::Wedged,
    ];

    pub(crate) fn from_code(code: u32) -> Option<Self> {
        Self::ALL.get(code as usize).copied()
    }

    pub(crate) fn code(self) -> u32 {
        self as u32
    }

    /// Whether it breaks a promise.
    pub(crate) fn is_broken(self) -> bool {
        self >= Outcome::Twice
    }
}

/// What a survivor has to complain of.
#[derive(Clone, Debug)]
pub(crate) struct Complaint {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
}

/// What a survivor says.
pub(crate) type Judgement = Result<Outcome, Complaint>;

impl Complaint {
    pub(crate) fn new(outcome: Outcome, text: impl Into<String>) -> Self {
        Complaint { outcome, text: text.into() }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.outcome, self.text)
    }
}

/// An error that a survivor did not expect: it cannot go on.
impl<E: std::error::Error> From<E> for Complaint {
    fn from(error: E) -> Self {
        Complaint::new(Outcome::Wedged, format!("a survivor was refused: {error}"))
    }
}

/// The kills of one operation, counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) instructions: usize,
    pub(crate) states: usize,
    pub(crate) kills: usize,
    outcomes: [usize; Outcome::ALL.len()],
    /// Kills that came after the operation was over: its run was shorter than the recorded one.
    pub(crate) finished: usize,
    /// Kills at another instruction than recorded: its run took another way.
    pub(crate) elsewhere: usize,
    complaints: Vec<String>,
    /// What kept the harness itself from doing its work.
    pub(crate) trouble: Option<String>,
}

/// Complaints after which an operation is given up.
const ENOUGH: usize = 5;

impl Tally {
    pub(crate) fn add(&mut self, judgement: &Judgement, place: impl fmt::Display) {
        let outcome = match judgement {
            Ok(outcome) => *outcome,
            Err(complaint) => {
                self.complaints.push(format!("{place}: {complaint}"));
                complaint.outcome
            }
        };
        self.kills += 1;
        self.outcomes[outcome as usize] += 1;
    }

    pub(crate) fn count(&self, outcome: Outcome) -> usize {
        self.outcomes[outcome as usize]
    }

    /// Notes that so many of the kills counted made something come again.
    pub(crate) fn mark_redelivered(&mut self, count: usize) {
        self.outcomes[Outcome::OwnerDied as usize] -= count;
        self.outcomes[Outcome::Redelivered as usize] += count;
    }

    /// Whether it has been shown often enough that something is wrong.
    pub(crate) fn is_enough(&self) -> bool {
        self.trouble.is_some() || self.complaints.len() >= ENOUGH
    }

    /// Whether every promise was kept.
    pub(crate) fn passed(&self) -> bool {
        self.trouble.is_none() && self.complaints.is_empty() && self.broken() == 0
    }

    fn broken(&self) -> usize {
        Outcome::ALL.into_iter().filter(|o| o.is_broken()).map(|o| self.count(o)).sum()
    }

    /// Prints the one line of the operation, and what there is to complain of.
    pub(crate) fn report(&self, name: &str, settings: &Settings) {
        let [clean, died, redelivered, twice, lost, wedged] =
            Outcome::ALL.map(|outcome| self.count(outcome));
        println!(
            "kill {name}: {} instructions, {} states, {} kills: {clean} clean, {died} owner-died, \
             {redelivered} redelivered, {wedged} wedged, {lost} lost, {twice} twice",
            self.instructions, self.states, self.kills
        );
        for complaint in &self.complaints {
            eprintln!("  {name}: {complaint}");
        }
        if let Some(trouble) = &self.trouble {
            eprintln!("  {name}: the harness gave up: {trouble}");
        }
        if settings.verbose || self.finished + self.elsewhere > self.kills / 4 {
            eprintln!(
                "  {name}: {} killed after the end, {} off the recorded way",
                self.finished, self.elsewhere
            );
        }
    }
}
