//! Storms: both ends of a ring, or all who use some other thing, work as fast as they can and are
//! killed at random moments, again and again, each followed by a successor.
//!
//! It finds what no stepping finds: both at once, both on processors of their own, in the middle of
//! a system call. A storm alone proves little: most of its kills hit the same few instructions.

mod crew;
mod locks;
mod log;
mod news;
mod objects;
mod pipes;
mod roles;

use crate::harness::{
    Complaint, Judgement, Ledger, Outcome, Part, Party, Rng, Settings, Tally, sys,
};
use crate::ops::{Item, Large, Small, complain};
use commons::Segment;
use commons::spsc::Ring;
use locks::Locks;
use log::Log;
use news::News;
use objects::Tasks;
use pipes::Talk;
use std::sync::atomic::{AtomicU64, Ordering::Acquire, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// What is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// A ring of small items.
    Small,
    /// A ring of large items.
    Large,
    /// Locks and permits.
    Locks,
    /// A pipe, both ways.
    Pipe,
    /// One who sends to two.
    Broadcast,
    /// A queue of objects, from three to three.
    Objects,
}

/// One kind of storm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Storm {
    pub(crate) name: &'static str,
    sort: Sort,
    /// Bytes of memory that each process has, which the kernel must free before its locks fall.
    weight: usize,
    /// Of the kills asked for, one in so many.
    share: usize,
}

/// The storms.
pub(crate) const STORMS: [Storm; 7] = [
    Storm { name: "storm/small", sort: Sort::Small, weight: 0, share: 1 },
    Storm { name: "storm/large", sort: Sort::Large, weight: 0, share: 2 },
    Storm { name: "storm/heavy", sort: Sort::Small, weight: 64 << 20, share: 10 },
    Storm { name: "storm/locks", sort: Sort::Locks, weight: 0, share: 1 },
    Storm { name: "storm/pipe", sort: Sort::Pipe, weight: 0, share: 1 },
    Storm { name: "storm/broadcast", sort: Sort::Broadcast, weight: 0, share: 1 },
    Storm { name: "storm/objects", sort: Sort::Objects, weight: 0, share: 1 },
];

/// Items that the ring holds: few, so that both ends sleep often.
const CAPACITY: usize = 8;
/// Longest time between a sign of life and the next kill.
const LULL: u64 = 200_000;

impl Storm {
    /// Lets it loose.
    pub(crate) fn run(&self, settings: &Settings, ledger: &'static Ledger) -> Tally {
        let mut tally = Tally::default();
        let kills = (settings.storm / self.share).max(10);
        let (run, name, tallied) = ((settings, ledger), self.name, &mut tally);
        let done = match self.sort {
            Sort::Small => self.rage::<Small>(settings, ledger, kills, tallied),
            Sort::Large => self.rage::<Large>(settings, ledger, kills, tallied),
            Sort::Locks => {
                Locks::new().and_then(|work| crew::rage(name, &work, run, kills, tallied))
            }
            Sort::Pipe => Talk::new().and_then(|work| crew::rage(name, &work, run, kills, tallied)),
            Sort::Broadcast => {
                News::new().and_then(|work| crew::rage(name, &work, run, kills, tallied))
            }
            Sort::Objects => {
                Tasks::new().and_then(|work| crew::rage(name, &work, run, kills, tallied))
            }
        };
        if let Err(trouble) = done {
            tally.trouble = Some(trouble.to_string());
        }
        tally
    }

    fn rage<T: Item>(
        &self,
        settings: &Settings,
        ledger: &'static Ledger,
        kills: usize,
        tally: &mut Tally,
    ) -> Result<(), Complaint> {
        let log = Log::share();
        log.clear();
        ledger.clear();
        let segment = Segment::anonymous(16 << 10)?;
        let ring = Ring::<T>::new_in(&segment, "ring", CAPACITY)?;
        let rng = Rng::new(settings.seed, self.name);
        let mut scene =
            Scene { storm: *self, ring, log, ledger, rng, producers: sys::share(size_of::<u64>()) };
        let mut producer = scene.producer()?;
        let mut consumer = scene.consumer()?;
        for kill in 0..kills {
            ledger.beat();
            let judgement = scene.await_progress(settings.patience);
            tally.add(&judgement, format!("kill {kill}"));
            if judgement.is_err() {
                return Ok(());
            }
            let moment = Instant::now() + Duration::from_nanos(scene.rng.below(LULL));
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            let (first, second) = (scene.rng.below(2) == 0, scene.rng.below(8) == 0);
            if first || second {
                producer = scene.replace(producer, Scene::producer)?;
            }
            if !first || second {
                consumer = scene.replace(consumer, Scene::consumer)?;
            }
        }
        log.stop();
        let deadline = Instant::now() + settings.patience;
        for part in [producer, consumer] {
            if let Err(complaint) = part.finish(ledger, deadline) {
                tally.add(&Err(complaint), "at the end");
            }
        }
        tally.mark_redelivered(log.redelivered.load(Relaxed) as usize);
        Ok(())
    }
}

/// A storm under way.
struct Scene<T: Item> {
    storm: Storm,
    ring: Ring<T>,
    log: &'static Log,
    ledger: &'static Ledger,
    rng: Rng,
    /// Producers there have been.
    producers: &'static AtomicU64,
}

impl<T: Item> Scene<T> {
    fn producer(&mut self) -> Result<Part, Complaint> {
        let number = self.producers.fetch_add(1, Relaxed);
        assert!(number < log::PRODUCERS as u64, "a storm has at most {} kills", log::PRODUCERS);
        self.part(Party::Victim, |scene, rng| roles::produce(&scene.ring, scene.log, number, rng))
    }

    fn consumer(&mut self) -> Result<Part, Complaint> {
        self.part(Party::Companion, |scene, rng| {
            roles::consume(&scene.ring, scene.log, rng, || scene.producers.load(Relaxed))
        })
    }

    fn part(
        &mut self,
        party: Party,
        act: impl FnOnce(&Self, &mut Rng) -> Judgement,
    ) -> Result<Part, Complaint> {
        let mut rng = Rng::new(self.rng.next(), self.storm.name);
        Part::start(self.ledger, party, || {
            sys::put_on_weight(self.storm.weight);
            act(self, &mut rng)
        })
    }

    /// Kills one and starts its successor, before or after the kernel is done with it.
    fn replace(
        &mut self,
        part: Part,
        successor: impl FnOnce(&mut Self) -> Result<Part, Complaint>,
    ) -> Result<Part, Complaint> {
        part.kill();
        if self.rng.below(2) == 0 {
            drop(part);
            return successor(self);
        }
        let next = successor(self);
        drop(part);
        next
    }

    /// Waits until something more has been received.
    fn await_progress(&self, patience: Duration) -> Judgement {
        let before = self.log.received.load(Acquire);
        let deadline = Instant::now() + patience;
        while self.log.received.load(Acquire) == before {
            for party in [Party::Victim, Party::Companion] {
                if let Some(Err(complaint)) = self.ledger.said(party) {
                    return Err(complaint);
                }
            }
            if Instant::now() > deadline {
                return complain(Outcome::Wedged, "nothing is received any more");
            }
            sys::give_way();
        }
        Ok(Outcome::OwnerDied)
    }
}
