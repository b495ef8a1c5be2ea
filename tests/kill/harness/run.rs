//! Runs one operation: records it, and kills it again and again.

use super::eye::Eye;
use super::ledger::{GO, Ledger, OVER, Party};
use super::part::{Part, await_orphans};
use super::point::{Arrival, Point, Recording};
use super::rng::Rng;
use super::scenario::{BEGIN, Case, Entrance, Operation, Subject};
use super::settings::Settings;
use super::sys::Guard;
use super::tracee::Tracee;
use super::verdict::{Complaint, Judgement, Outcome, Tally};
use std::time::{Duration, Instant};

/// How long the kernel may take to end a killed process.
pub(crate) const REAPING: Duration = Duration::from_secs(10);

/// How long a victim may take on the way to its death.
const STEPPING: Duration = Duration::from_secs(60);

/// Kills an operation wherever it is to be killed, and counts what became of the survivors.
pub(crate) fn run(
    operation: &dyn Operation,
    settings: &Settings,
    ledger: &'static Ledger,
) -> Tally {
    let mut tally = Tally::default();
    let mut rng = Rng::new(settings.seed, &operation.name());
    if let Err(trouble) = kill_everywhere(operation, settings, ledger, &mut rng, &mut tally) {
        tally.trouble = Some(trouble.to_string());
    }
    tally
}

fn kill_everywhere(
    operation: &dyn Operation,
    settings: &Settings,
    ledger: &'static Ledger,
    rng: &mut Rng,
    tally: &mut Tally,
) -> Result<(), Complaint> {
    let shows =
        (0..operation.variants()).map(|variant| Show { operation, variant, settings, ledger });
    // First all recordings, which take longer the more the dead have left behind.
    let mut planned = Vec::new();
    for show in shows {
        let recording = show.record(tally)?;
        planned.push((show, recording.points(settings, rng)));
    }
    for (show, points) in planned {
        for point in points {
            if tally.is_enough() {
                return Ok(());
            }
            show.kill_at(&point, tally)?;
        }
    }
    Ok(())
}

/// An operation in one of its situations.
struct Show<'a> {
    operation: &'a dyn Operation,
    variant: u32,
    settings: &'a Settings,
    ledger: &'static Ledger,
}

impl Show<'_> {
    /// Steps through the operation, and kills it at its end.
    fn record(&self, tally: &mut Tally) -> Result<Recording, Complaint> {
        let mut recording = Recording::default();
        let (_, judgement) = self.perform(|victim, rouse| {
            let mut eye = Eye::new(victim.pid(), self.ledger);
            recording = Recording::make(victim, &mut eye, rouse)?;
            Ok(Arrival::There)
        })?;
        tally.instructions += recording.instructions();
        tally.states += recording.states();
        tally.add(&judgement, format!("variant {}, killed at the end", self.variant));
        Ok(recording)
    }

    fn kill_at(&self, point: &Point, tally: &mut Tally) -> Result<(), Complaint> {
        let (arrival, judgement) = self.perform(|victim, rouse| point.reach(victim, rouse))?;
        tally.finished += usize::from(arrival == Arrival::Finished);
        tally.elsewhere += usize::from(arrival == Arrival::Elsewhere);
        if self.settings.verbose && arrival != Arrival::There {
            eprintln!("  {arrival:?}: {}", self.place(point));
        }
        tally.add(&judgement, self.place(point));
        Ok(())
    }

    fn place(&self, point: &Point) -> String {
        format!("variant {}, killed {point}", self.variant)
    }

    /// Plays the operation once, kills the victim where `direct` leaves it, and asks the survivors.
    fn perform(
        &self,
        direct: impl FnOnce(&mut Tracee, &mut dyn FnMut()) -> Result<Arrival, Complaint>,
    ) -> Result<(Arrival, Judgement), Complaint> {
        let Show { operation, variant, ledger, .. } = *self;
        let guard = Guard::new(STEPPING);
        ledger.clear();
        let mut case = operation.stage(variant, ledger)?;
        let case = case.as_mut();
        let mut victim = Tracee::start(ledger, || case.victim(ledger))?;
        victim.run_to(BEGIN, ledger)?;
        let companion = self.bring_in(case)?;
        let (mut parent, mut released) = (None, None);
        if case.subject() != Subject::Itself {
            let child = victim.follow_fork()?;
            parent = Some(std::mem::replace(&mut victim, child));
        }
        if case.subject() == Subject::ItsGrandchild {
            released = parent.take().map(Tracee::release);
            let grandchild = victim.follow_fork()?;
            std::mem::replace(&mut victim, grandchild).let_go()?;
            victim.run_to(BEGIN, ledger)?;
        }
        let paced = case.paced();
        let arrival = direct(&mut victim, &mut || {
            ledger.give_cue(GO);
            if paced {
                ledger.pace(Instant::now() + self.settings.patience);
            }
            if let Some(parent) = parent.take() {
                released = Some(parent.release());
            }
        });
        let arrival =
            arrival.map_err(|Complaint { outcome, text }| match ledger.said(Party::Victim) {
                Some(Err(said)) => {
                    Complaint::new(outcome, format!("{text}; it said: {}", said.text))
                }
                _ => Complaint::new(outcome, text),
            })?;
        victim.kill();
        drop(guard);
        ledger.give_cue(OVER);
        if let Some(parent) = parent.take() {
            released = Some(parent.release());
        }
        Ok((arrival, self.ask(case, released.transpose()?, companion)?))
    }

    /// Asks everybody who is left after the death.
    fn ask(
        &self,
        case: &mut dyn Case,
        parent: Option<Part>,
        companion: Option<Part>,
    ) -> Result<Judgement, Complaint> {
        let ledger = self.ledger;
        let deadline = Instant::now() + self.settings.patience;
        let mut judgements = Vec::new();
        judgements.extend(parent.map(|part| part.finish(ledger, deadline)));
        let early = if case.together() { Some(self.start_judge(case)?) } else { None };
        judgements.extend(companion.map(|part| part.finish(ledger, deadline)));
        let judge = early.map_or_else(|| self.start_judge(case), Ok)?;
        judgements.push(judge.finish(ledger, deadline));
        judgements.push(await_orphans(deadline));
        Ok(worst(judgements))
    }

    fn bring_in(&self, case: &mut dyn Case) -> Result<Option<Part>, Complaint> {
        let ledger = self.ledger;
        let entrance = case.entrance();
        if entrance == Entrance::Nobody {
            return Ok(None);
        }
        let deadline = Instant::now() + self.settings.patience;
        let part = Part::start(ledger, Party::Companion, || case.companion(ledger))?;
        if !ledger.wait_ready(deadline) {
            let said = ledger.said(Party::Companion).and_then(Result::err);
            let silence = || Complaint::new(Outcome::Wedged, "the companion does not get ready");
            return Err(said.unwrap_or_else(silence));
        }
        if entrance == Entrance::Asleep {
            part.wait_asleep(deadline);
        }
        Ok(Some(part))
    }

    fn start_judge(&self, case: &mut dyn Case) -> Result<Part, Complaint> {
        let ledger = self.ledger;
        Part::start(ledger, Party::Judge, || case.judge(ledger))
    }
}

/// The worst of what was said.
fn worst(judgements: Vec<Judgement>) -> Judgement {
    let mut outcome = Outcome::Clean;
    let mut complaint: Option<Complaint> = None;
    for judgement in judgements {
        match judgement {
            Ok(said) => outcome = outcome.max(said),
            Err(said) if complaint.as_ref().is_none_or(|c| c.outcome < said.outcome) => {
                complaint = Some(said);
            }
            Err(_) => {}
        }
    }
    complaint.map_or(Ok(outcome), Err)
}
