//! Somebody is killed who has a lock, takes it, waits for it, or gives it back.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, GO, Judgement, Ledger, OVER, Operation, Outcome, begin, end,
};
use commons::{LockError, Mutex, RecursiveMutex, Segment};
use std::sync::atomic::Ordering::Relaxed;

/// What the operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// Takes the lock, changes both halves of the value, gives it back.
    Alone,
    /// The same with two locks, given back in the order in which they were taken.
    Two,
    /// The same with a lock that it takes twice.
    Recursive,
    /// Gives back a lock that somebody sleeps for.
    Wakes,
    /// Sleeps for a lock.
    Parks,
    /// Repairs what another one left.
    Repairs,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    use Role::{Alone, Parks, Recursive, Repairs, Two, Wakes};
    let roles = [Alone, Two, Recursive, Wakes, Parks, Repairs];
    roles.into_iter().map(|role| Box::new(Locking(role)) as Box<dyn Operation>).collect()
}

struct Locking(Role);

type Pair = [u64; 2];

struct Scene {
    role: Role,
    first: Mutex<Pair>,
    second: Mutex<Pair>,
    recursive: RecursiveMutex<Pair>,
}

impl Operation for Locking {
    fn name(&self) -> String {
        format!("mutex/{:?}", self.0).to_lowercase()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(32 << 10)?;
        let scene = Scene {
            role: self.0,
            first: Mutex::new_in(&segment, "first", [0, 0])?,
            second: Mutex::new_in(&segment, "second", [0, 0])?,
            recursive: RecursiveMutex::new_in(&segment, "recursive", [0, 0])?,
        };
        if self.0 == Role::Repairs {
            // Somebody is gone in the middle of a change.
            let first = scene.first.clone();
            std::thread::spawn(move || {
                let mut guard = first.lock()?;
                guard[0] = 7;
                std::mem::forget(guard);
                Ok::<_, LockError>(())
            })
            .join()
            .map_err(|_| Complaint { outcome: Outcome::Lost, text: "the stage".into() })??;
        }
        Ok(Box::new(scene))
    }
}

/// Changes both halves, one after the other.
fn change(pair: &mut Pair) {
    pair[0] += 1;
    std::hint::black_box(&mut *pair);
    pair[1] += 1;
}

/// What a newcomer finds: the value, and whether it was told that the owner died. Repairs it.
fn find(mutex: &Mutex<Pair>) -> Result<(Pair, bool), Complaint> {
    let mut died = false;
    let guard = mutex.lock_or_repair(|pair| {
        died = true;
        pair[1] = pair[0];
    })?;
    Ok((*guard, died))
}

impl Case for Scene {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let Scene { role, first, second, recursive } = self;
        // Nothing is done for the first time later.
        drop(second.lock()?);
        drop(recursive.lock()?);
        match role {
            Role::Alone => {
                begin();
                change(&mut *first.lock()?);
            }
            Role::Two => {
                begin();
                let (mut one, mut other) = (first.lock()?, second.lock()?);
                change(&mut one);
                change(&mut other);
                drop(one);
                drop(other);
            }
            Role::Recursive => {
                begin();
                let outer = recursive.lock()?;
                outer.update(|pair| pair[0] += 1);
                recursive.lock()?.update(|pair| pair[1] += 1);
            }
            Role::Wakes => {
                let mut guard = first.lock()?;
                change(&mut guard);
                begin();
                drop(guard);
            }
            Role::Parks => {
                begin();
                change(&mut *first.lock()?);
            }
            Role::Repairs => {
                begin();
                change(&mut *first.lock_or_repair(|pair| pair[1] = pair[0])?);
            }
        }
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.role {
            Role::Wakes => Entrance::Asleep,
            Role::Parks => Entrance::Ready,
            _ => Entrance::Nobody,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        if self.role == Role::Parks {
            let guard = self.first.lock()?;
            ledger.be_ready();
            ledger.wait_cue(GO);
            drop(guard);
            ledger.wait_cue(OVER);
            return Ok(Outcome::Clean);
        }
        ledger.be_ready();
        let died = find(&self.first)?.1;
        Ok(if died { Outcome::OwnerDied } else { Outcome::Clean })
    }

    /// Two wait for a lock that the victim gives back.
    fn together(&self) -> bool {
        self.role == Role::Wakes
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let acknowledged = ledger.pushed.load(Relaxed) != 0;
        let mut outcome = Outcome::Clean;
        if self.role == Role::Recursive {
            let mut died = false;
            let repair = |pair: Option<Pair>| {
                died = true;
                pair.map_or([0, 0], |pair| [pair[0]; 2])
            };
            let pair = self.recursive.lock_or_repair(repair)?.get();
            outcome = judge(pair, died, acknowledged, 0)?;
        }
        let begun = if self.role == Role::Repairs { 7 } else { 0 };
        for mutex in [&self.first, &self.second] {
            let used = match self.role {
                Role::Recursive => false,
                Role::Two => true,
                _ => std::ptr::eq(mutex, &self.first),
            };
            for again in [false, true] {
                let (pair, died) = find(mutex)?;
                if !used || again {
                    if died || pair[0] != pair[1] {
                        return complain(Outcome::Lost, format!("{pair:?}, died: {died}"));
                    }
                    continue;
                }
                if judge(pair, died, acknowledged, begun)? == Outcome::OwnerDied {
                    outcome = Outcome::OwnerDied;
                }
            }
        }
        Ok(outcome)
    }
}

/// Holds what a newcomer found against what the victim said.
fn judge(pair: Pair, died: bool, acknowledged: bool, begun: u64) -> Judgement {
    if pair[0] != pair[1] {
        return complain(Outcome::Lost, format!("half a change, and nobody was told: {pair:?}"));
    }
    if acknowledged && (died || pair[0] != begun + 1) {
        return complain(Outcome::Lost, format!("a change that was done: {pair:?}, died: {died}"));
    }
    if pair[0] > begun + 1 {
        return complain(Outcome::Twice, format!("{pair:?}"));
    }
    Ok(if died { Outcome::OwnerDied } else { Outcome::Clean })
}
