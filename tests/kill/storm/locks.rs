//! A storm over locks: three processes take them all, in turns and at once, and are killed at it.
//!
//! What each lock guards is changed in two halves, so that it shows who was let in too early or was
//! not told of a death; and counted, so that nothing that was acknowledged can be missing.

use super::crew::{Work, count};
use crate::harness::{Complaint, Judgement, Outcome, Rng, sys};
use crate::ops::complain;
use commons::{LockError, LockedArray, Mutex, PermitPool, RecursiveMutex, RwLock, Segment};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

const PERMITS: u32 = 2;
const LOCKS: usize = 4;

type Pair = [u64; 2];

/// The scene.
pub(super) struct Locks {
    mutex: Mutex<Pair>,
    recursive: RecursiveMutex<Pair>,
    lock: RwLock<Pair>,
    array: LockedArray<u64>,
    pool: PermitPool,
    log: &'static Log,
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

impl Locks {
    pub(super) fn new() -> Result<Self, Complaint> {
        let segment = Segment::anonymous(64 << 10)?;
        Ok(Locks {
            mutex: Mutex::new_in(&segment, "mutex", [0; 2])?,
            recursive: RecursiveMutex::new_in(&segment, "recursive", [0; 2])?,
            lock: RwLock::new_in(&segment, "lock", [0; 2])?,
            array: LockedArray::new_in(&segment, "array", 2, 0)?,
            pool: PermitPool::new_in(&segment, "pool", PERMITS)?,
            log: sys::share(size_of::<Log>()),
        })
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
}

impl Work for Locks {
    /// Takes one lock after the other, until it is killed or the storm is over.
    fn act(&self, _: usize, _: u64, rng: &mut Rng) -> Judgement {
        let log = self.log;
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
            count(log.done.get(which).unwrap_or(&log.seen));
        }
        Ok(Outcome::Clean)
    }

    fn done(&self) -> u64 {
        self.log.done.iter().chain([&self.log.seen]).map(|n| n.load(Relaxed)).sum()
    }

    fn stop(&self) {
        self.log.stop.store(1, SeqCst);
    }

    /// Nothing is missing, and all is there for the next one.
    fn judge(&self, kills: u64, patience: Duration) -> Result<(), Complaint> {
        drop(self.mutex.lock_or_repair(repair)?);
        drop(self.lock.write_or_repair(repair)?);
        let mend = |pair: Option<Pair>| pair.map_or([0; 2], |pair| [pair[0]; 2]);
        let counts = [
            self.mutex.lock_timeout(patience)?[0],
            self.recursive.lock_or_repair(mend)?.get()[0],
            self.lock.read_timeout(patience)?[0],
            self.array.lock_or_repair(|pair| pair[1] = pair[0])?[0],
        ];
        for (count, done) in counts.into_iter().zip(&self.log.done) {
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
