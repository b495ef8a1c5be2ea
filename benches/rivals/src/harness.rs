//! Rows, rounds and what they add up to.
//!
//! One round of a row runs the limit, everything of ours, the limit again, then each rival, one
//! after another with the same pinning. What a figure is compared with is the mean of the two
//! limits of its own round.

use crate::guard;
use crate::peer::{self, Plan};
use crate::stats::median_of;
use crate::work::Result;

/// A row in which the limit differs from itself by more than this says nothing.
pub(crate) const CONCLUSIVE: f64 = 0.10;
/// What share of the operations both sides have to be asleep before, where the row wants it.
const ASLEEP: f64 = 0.9;
/// How often a row is measured before it is called inconclusive.
const ATTEMPTS: usize = 3;

/// Something that can be measured: nanoseconds of one operation.
pub(crate) struct Contender {
    /// Its name in the table.
    pub(crate) name: &'static str,
    /// Measures it once.
    pub(crate) run: fn(&Plan) -> Result<f64>,
}

/// One row of the comparison.
pub(crate) struct Row {
    /// `group/what`.
    pub(crate) name: &'static str,
    /// What one operation is.
    pub(crate) work: &'static str,
    /// The highest ratio of ours to the limit that is good enough; `None` only reports.
    pub(crate) bar: Option<f64>,
    /// Whether both sides are to be asleep whenever something is sent.
    pub(crate) asleep: bool,
    /// What the operations of one measurement are a multiple of.
    pub(crate) grain: u64,
    /// What the hardware allows.
    pub(crate) limit: Contender,
    /// Ours: first the row itself (its name is empty), then figures beside it.
    pub(crate) ours: Vec<Contender>,
    /// Who else can do this work.
    pub(crate) rivals: Vec<Contender>,
    /// Who cannot, and why.
    pub(crate) absent: &'static [(&'static str, &'static str)],
}

/// A figure of one contender.
pub(crate) struct Figure {
    pub(crate) name: &'static str,
    /// Median over rounds of the nanoseconds of one operation.
    pub(crate) ns: f64,
    /// Median over rounds of the ratio to the limit of the same round.
    pub(crate) ratio: f64,
    /// Where the row wants both sides asleep: whether they were, nearly always.
    pub(crate) asleep: bool,
}

/// What a row came to.
pub(crate) struct Outcome {
    pub(crate) limit_ns: f64,
    /// Median over rounds of how far the two limits of a round are apart, relative to their mean.
    pub(crate) spread: f64,
    pub(crate) ours: Vec<Figure>,
    pub(crate) rivals: Vec<Figure>,
}

/// What one measurement came to.
#[derive(Clone, Copy)]
struct Sample {
    ns: f64,
    /// The share of the operations before which both sides were asleep.
    asleep: f64,
}

/// The samples of one round: two of the limit, one per contender.
struct Round {
    limit: [Sample; 2],
    others: Vec<Sample>,
}

impl Round {
    fn base(&self) -> f64 {
        (self.limit[0].ns + self.limit[1].ns) / 2.0
    }

    fn spread(&self) -> f64 {
        (self.limit[1].ns - self.limit[0].ns).abs() / self.base()
    }
}

impl Row {
    /// Measures the row. While the limit disagrees with itself, ours is measured again.
    pub(crate) fn measure(&self, rounds: usize, plan: &Plan) -> Result<Outcome> {
        let plan = &Plan { asleep: self.asleep, grain: self.grain, ..*plan };
        let mut first = Vec::with_capacity(rounds);
        for _ in 0..rounds {
            let mut round = self.round(plan)?;
            for rival in &self.rivals {
                round.others.push(self.run(rival, plan)?);
            }
            first.push(round);
        }
        let ours = self.ours.len();
        let mut outcome =
            Outcome { rivals: figures(&self.rivals, &first, ours), ..self.judge(&first) };
        for _ in 1..ATTEMPTS {
            if outcome.spread <= CONCLUSIVE {
                break;
            }
            eprintln!("  the limit is {:.0} % apart from itself: again", outcome.spread * 100.0);
            let again = (0..rounds).map(|_| self.round(plan)).collect::<Result<Vec<_>>>()?;
            outcome = Outcome { rivals: outcome.rivals, ..self.judge(&again) };
        }
        Ok(outcome)
    }

    /// One round without the rivals.
    fn round(&self, plan: &Plan) -> Result<Round> {
        let before = self.run(&self.limit, plan)?;
        let others = self.ours.iter().map(|own| self.run(own, plan)).collect::<Result<_>>()?;
        let after = self.run(&self.limit, plan)?;
        Ok(Round { limit: [before, after], others })
    }

    fn run(&self, contender: &Contender, plan: &Plan) -> Result<Sample> {
        let what = format!("{}, {}", self.name, contender.name);
        guard::watch(&what);
        let ns = (contender.run)(plan).map_err(|error| format!("{what}: {error}"))?;
        guard::unwatch();
        Ok(Sample { ns, asleep: if self.asleep { peer::asleep() } else { 1.0 } })
    }

    fn judge(&self, rounds: &[Round]) -> Outcome {
        Outcome {
            limit_ns: median_of(rounds.iter().map(Round::base)),
            spread: median_of(rounds.iter().map(Round::spread)),
            ours: figures(&self.ours, rounds, 0),
            rivals: Vec::new(),
        }
    }
}

/// The figures of the contenders whose samples begin at `offset` in each round.
fn figures(contenders: &[Contender], rounds: &[Round], offset: usize) -> Vec<Figure> {
    let figure = |(i, contender): (usize, &Contender)| {
        let samples = || rounds.iter().map(move |round| (round.others[offset + i], round.base()));
        Figure {
            name: contender.name,
            ns: median_of(samples().map(|(sample, _)| sample.ns)),
            ratio: median_of(samples().map(|(sample, base)| sample.ns / base)),
            asleep: median_of(samples().map(|(sample, _)| sample.asleep)) > ASLEEP,
        }
    };
    contenders.iter().enumerate().map(figure).collect()
}
