//! Some processes at work on the same things, each of which is killed again and again, and followed by
//! another at its place.

use super::LULL;
use crate::harness::{
    Complaint, Judgement, Ledger, Outcome, Part, Party, Rng, Settings, Tally, sys,
};
use crate::ops::complain;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Places that a crew can have, by what they are called in the ledger.
const PLACES: [Party; 3] = [Party::Victim, Party::Companion, Party::Judge];

/// What a crew works on.
pub(super) trait Work {
    /// How many are at it, at most three.
    fn places(&self) -> usize {
        PLACES.len()
    }

    /// Works at a place until it is killed, or [`Work::stop`] was called. `life` is above those of all
    /// who were started before.
    fn act(&self, place: usize, life: u64, rng: &mut Rng) -> Judgement;

    /// Counts what is done: nobody is killed before there is more of it.
    fn done(&self) -> u64;

    /// Everybody is to finish.
    fn stop(&self);

    /// When all have finished.
    fn judge(&self, kills: u64, patience: Duration) -> Result<(), Complaint>;
}

/// Lets a storm loose on a crew.
pub(super) fn rage(
    name: &str,
    work: &impl Work,
    (settings, ledger): (&Settings, &'static Ledger),
    kills: usize,
    tally: &mut Tally,
) -> Result<(), Complaint> {
    ledger.clear();
    let mut rng = Rng::new(settings.seed, name);
    let mut lives = 0;
    let mut start = |place: usize, rng: &mut Rng| {
        let mut rng = Rng::new(rng.next(), name);
        lives += 1;
        Part::start(ledger, PLACES[place], || work.act(place, lives - 1, &mut rng))
    };
    let mut parts = Vec::new();
    for place in 0..work.places() {
        parts.push(Some(start(place, &mut rng)?));
    }
    for kill in 0..kills {
        ledger.beat();
        let judgement = await_progress(work, ledger, settings.patience);
        tally.add(&judgement, format!("kill {kill}"));
        if judgement.is_err() {
            return Ok(());
        }
        let moment = Instant::now() + Duration::from_nanos(rng.below(LULL));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        let place = rng.below(parts.len() as u64) as usize;
        let dead = parts[place].take();
        if let Some(part) = &dead {
            part.kill();
        }
        // Its successor comes before or after the kernel is done with it.
        if rng.below(2) == 0 {
            drop(dead);
            parts[place] = Some(start(place, &mut rng)?);
        } else {
            parts[place] = Some(start(place, &mut rng)?);
            drop(dead);
        }
    }
    work.stop();
    let deadline = Instant::now() + settings.patience;
    for part in parts.into_iter().flatten() {
        if let Err(complaint) = part.finish(ledger, deadline) {
            tally.add(&Err(complaint), "at the end");
        }
    }
    if let Err(complaint) = work.judge(kills as u64, settings.patience) {
        tally.add(&Err(complaint), "when all is over");
    }
    Ok(())
}

/// Waits until something more is done.
fn await_progress(work: &impl Work, ledger: &Ledger, patience: Duration) -> Judgement {
    let before = work.done();
    let deadline = Instant::now() + patience;
    while work.done() == before {
        for party in PLACES {
            if let Some(Err(complaint)) = ledger.said(party) {
                return Err(complaint);
            }
        }
        if Instant::now() > deadline {
            return complain(Outcome::Wedged, "nothing is done any more");
        }
        sys::give_way();
    }
    Ok(Outcome::OwnerDied)
}

/// Counts one more.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
