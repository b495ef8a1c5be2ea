//! A storm over locks: three processes take them all, in turns and at once, and are killed at it.
//!
//! What each lock guards is changed in two halves, so that it shows who was let in too early or was
//! not told of a death; and counted, so that nothing that was acknowledged can be missing.

use super::LULL;
use crate::harness::{
    Complaint, Judgement, Ledger, Outcome, Part, Party, Rng, Settings, Tally, sys,
};
use crate::ops::complain;
use commons::{LockError, LockedArray, Mutex, PermitPool, RecursiveMutex, RwLock, Segment};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::{Duration, Instant};

const PARTIES: [Party; 3] = [Party::Victim, Party::Companion, Party::Judge];
const PERMITS: u32 = 2;
const LOCKS: usize = 4;

type Pair = [u64; 2];

struct Scene {
    mutex: Mutex<Pair>,
    recursive: RecursiveMutex<Pair>,
    lock: RwLock<Pair>,
    array: LockedArray<u64>,
    pool: PermitPool,
}

/// What the parties write down.
#[repr(C)]
struct Log {
    /// Changes that were made under each lock and acknowledged.
    done: [AtomicU64; LOCKS],
    /// Times that a lock was read, or a permit had.
    seen: AtomicU64,
    stop: AtomicU64,
}

/// Lets it loose.
pub(super) fn rage(
    name: &str,
    settings: &Settings,
    ledger: &'static Ledger,
    kills: usize,
    tally: &mut Tally,
) -> Result<(), Complaint> {
    let log: &'static Log = sys::share(size_of::<Log>());
    ledger.clear();
    let segment = Segment::anonymous(64 << 10)?;
    let scene = Scene {
        mutex: Mutex::new_in(&segment, "mutex", [0; 2])?,
        recursive: RecursiveMutex::new_in(&segment, "recursive", [0; 2])?,
        lock: RwLock::new_in(&segment, "lock", [0; 2])?,
        array: LockedArray::new_in(&segment, "array", 2, 0)?,
        pool: PermitPool::new_in(&segment, "pool", PERMITS)?,
    };
    let mut rng = Rng::new(settings.seed, name);
    let start = |party, rng: &mut Rng| {
        let mut rng = Rng::new(rng.next(), name);
        Part::start(ledger, party, || scene.work(log, &mut rng))
    };
    let mut parts = Vec::new();
    for party in PARTIES {
        parts.push(start(party, &mut rng)?);
    }
    for kill in 0..kills {
        ledger.beat();
        let judgement = await_progress(log, ledger, settings.patience);
        tally.add(&judgement, format!("kill {kill}"));
        if judgement.is_err() {
            return Ok(());
        }
        let moment = Instant::now() + Duration::from_nanos(rng.below(LULL));
        while Instant::now() < moment {
            std::hint::spin_loop();
        }
        let index = rng.below(parts.len() as u64) as usize;
        parts[index].kill();
        // Its end is waited for when the next one has its place.
        parts[index] = start(PARTIES[index], &mut rng)?;
    }
    log.stop.store(1, SeqCst);
    let deadline = Instant::now() + settings.patience;
    for part in parts {
        if let Err(complaint) = part.finish(ledger, deadline) {
            tally.add(&Err(complaint), "at the end");
        }
    }
    if let Err(complaint) = scene.judge(log, kills as u64, settings.patience) {
        tally.add(&Err(complaint), "when all is over");
    }
    Ok(())
}

/// Waits until something more is done.
fn await_progress(log: &Log, ledger: &Ledger, patience: Duration) -> Judgement {
    let all = || log.done.iter().chain([&log.seen]).map(|n| n.load(Relaxed)).sum::<u64>();
    let before = all();
    let deadline = Instant::now() + patience;
    while all() == before {
        for party in PARTIES {
            if let Some(Err(complaint)) = ledger.said(party) {
                return Err(complaint);
            }
        }
        if Instant::now() > deadline {
            return complain(Outcome::Wedged, "nobody gets any lock any more");
        }
        sys::give_way();
    }
    Ok(Outcome::OwnerDied)
}

/// Changes a pair in two halves.
fn change(pair: &mut Pair, rng: &mut Rng) -> Result<(), Complaint> {
    if pair[0] != pair[1] {
        return complain(Outcome::Lost, format!("half a change, and nobody was told: {pair:?}"));
    }
    pair[0] += 1;
    linger(rng);
    pair[1] = std::hint::black_box(pair[0]);
    Ok(())
}

fn repair(pair: &mut Pair) {
    pair[1] = pair[0];
}

/// Takes its time, now and then, so that some die with a lock and others sleep for it.
fn linger(rng: &mut Rng) {
    if rng.below(8) == 0 {
        (0..rng.below(3_000)).for_each(|_| std::hint::spin_loop());
    }
}

impl Scene {
    /// Takes one lock after the other, until it is killed or the storm is over.
    fn work(&self, log: &Log, rng: &mut Rng) -> Judgement {
        while log.stop.load(SeqCst) == 0 {
            let which = rng.below(6) as usize;
            match which {
                0 => change(&mut *self.mutex.lock_or_repair(repair)?, rng)?,
                1 => self.change_recursive(rng)?,
                2 => change(&mut *self.lock.write_or_repair(repair)?, rng)?,
                3 => self.change_array(rng)?,
                4 => self.read(rng)?,
                _ => {
                    let _permit = self.pool.acquire()?;
                    linger(rng);
                }
            }
            log.done.get(which).unwrap_or(&log.seen).fetch_add(1, Relaxed);
        }
        Ok(Outcome::Clean)
    }

    fn change_recursive(&self, rng: &mut Rng) -> Result<(), Complaint> {
        let mend = |pair: Option<Pair>| pair.map_or([0; 2], |pair| [pair[0]; 2]);
        let outer = self.recursive.lock_or_repair(mend)?;
        let inner = self.recursive.lock()?;
        let mut pair = outer.get();
        if pair[0] != pair[1] {
            return complain(Outcome::Lost, format!("half a change: {pair:?}"));
        }
        pair[0] += 1;
        outer.set(pair);
        linger(rng);
        pair[1] = pair[0];
        inner.set(pair);
        Ok(())
    }

    fn change_array(&self, rng: &mut Rng) -> Result<(), Complaint> {
        let mut guard = self.array.lock_or_repair(|pair| pair[1] = pair[0])?;
        let mut pair = [guard[0], guard[1]];
        guard[0] += 1;
        change(&mut pair, rng)?;
        guard[1] = pair[1];
        Ok(())
    }

    fn read(&self, rng: &mut Rng) -> Result<(), Complaint> {
        match self.lock.read() {
            Ok(pair) => {
                let first = pair[0];
                linger(rng);
                if first != std::hint::black_box(&pair)[1] {
                    return complain(Outcome::Lost, format!("a reader found {:?}", *pair));
                }
                Ok(())
            }
            Err(LockError::OwnerDied { .. }) => {
                drop(self.lock.write_or_repair(repair)?);
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Nothing is missing, and all is there for the next one.
    fn judge(&self, log: &Log, kills: u64, patience: Duration) -> Result<(), Complaint> {
        drop(self.mutex.lock_or_repair(repair)?);
        drop(self.lock.write_or_repair(repair)?);
        let mend = |pair: Option<Pair>| pair.map_or([0; 2], |pair| [pair[0]; 2]);
        let counts = [
            self.mutex.lock_timeout(patience)?[0],
            self.recursive.lock_or_repair(mend)?.get()[0],
            self.lock.read_timeout(patience)?[0],
            self.array.lock_or_repair(|pair| pair[1] = pair[0])?[0],
        ];
        for (count, done) in counts.into_iter().zip(&log.done) {
            let done = done.load(SeqCst);
            if count < done || count > done + kills {
                let text = format!("{done} changes were acknowledged, and there are {count}");
                return complain(Outcome::Lost, text);
            }
        }
        let all: Vec<_> =
            (0..PERMITS).map(|_| self.pool.acquire_timeout(patience)).collect::<Result<_, _>>()?;
        if all.len() as u32 != PERMITS || self.pool.available() != 0 {
            return complain(Outcome::Lost, "a permit of the dead has not come back");
        }
        Ok(())
    }
}
