//! A process is killed while it acquires, has or releases a share of a lock, or the lock; or while it
//! does what is done once.

use super::stream::complain;
use crate::harness::{Case, Complaint, Judgement, Ledger, Operation, Outcome, begin, end};
use commons::{LockError, OnceCell, RwLock, RwLockWriteGuard, Segment};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const OLD: [u64; 2] = [1; 2];
const NEW: [u64; 2] = [2; 2];

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Read,
    ReadTwice,
    Write,
    Downgrade,
}

const ACTS: [Act; 4] = [Act::Read, Act::ReadTwice, Act::Write, Act::Downgrade];

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let locking = ACTS.map(|act| Box::new(act) as Box<dyn Operation>);
    locking.into_iter().chain([Box::new(Making) as Box<dyn Operation>]).collect()
}

fn act_on(act: Act, lock: &RwLock<[u64; 2]>) -> Result<(), LockError> {
    match act {
        Act::Read => drop(lock.read()?),
        Act::ReadTwice => drop((lock.read()?, lock.read()?)),
        Act::Write | Act::Downgrade => {
            let mut guard = lock.write()?;
            *guard = NEW;
            if act == Act::Downgrade {
                drop(RwLockWriteGuard::downgrade(guard)?);
            }
        }
    }
    Ok(())
}

impl Operation for Act {
    fn name(&self) -> String {
        match self {
            Act::Read => "rwlock/read",
            Act::ReadTwice => "rwlock/read-twice",
            Act::Write => "rwlock/write",
            Act::Downgrade => "rwlock/downgrade",
        }
        .to_owned()
    }

    fn variants(&self) -> u32 {
        2
    }

    fn stage(&self, variant: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(32 << 10)?;
        let lock = RwLock::new_in(&segment, "lock", OLD)?;
        let other = RwLock::new_in(&segment, "other", OLD)?;
        Ok(Box::new(Locked { act: *self, lock, other, reads_first: variant == 0 }))
    }
}

struct Locked {
    act: Act,
    lock: RwLock<[u64; 2]>,
    /// For doing everything once.
    other: RwLock<[u64; 2]>,
    /// Whether the judge first reads.
    reads_first: bool,
}

/// What the judge waits at most for a lock that nobody alive has.
const PATIENCE: Duration = Duration::from_secs(10);

impl Case for Locked {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        act_on(self.act, &self.other)?;
        begin();
        act_on(self.act, &self.lock)?;
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let writes = matches!(self.act, Act::Write | Act::Downgrade);
        let done = ledger.pushed.load(Relaxed) > 0;
        let found = if self.reads_first {
            self.lock.read_timeout(PATIENCE).map(|guard| *guard)
        } else {
            self.lock.write_timeout(PATIENCE).map(|guard| *guard)
        };
        match found {
            Ok(NEW) if writes => {}
            Ok(OLD) if !(writes && done) => {}
            Err(LockError::OwnerDied { .. }) if writes && !done => {}
            other => {
                return complain(Outcome::Lost, format!("{other:?}, acknowledged: {done}"));
            }
        }
        drop(self.lock.write_or_repair(|value| *value = NEW)?);
        for n in 3..9 {
            *self.lock.write_timeout(PATIENCE)? = [n; 2];
            let readers = [self.lock.read_timeout(PATIENCE)?, self.lock.try_read()?];
            if readers.iter().any(|reader| **reader != [n; 2]) {
                return complain(Outcome::Lost, format!("wrote {n}, found {readers:?}"));
            }
        }
        Ok(Outcome::Clean)
    }
}

/// Making a value once.
struct Making;

impl Operation for Making {
    fn name(&self) -> String {
        "once-cell/make".to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let cell = OnceCell::new_in(&segment, "cell")?;
        let other = OnceCell::new_in(&segment, "other")?;
        Ok(Box::new(Made { cell, other }))
    }
}

struct Made {
    cell: OnceCell<[u64; 2]>,
    /// For doing everything once.
    other: OnceCell<[u64; 2]>,
}

impl Case for Made {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        self.other.get_or_init(|| NEW)?;
        begin();
        self.cell.get_or_init(|| NEW)?;
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let done = ledger.pushed.load(Relaxed) > 0;
        let found = *self.cell.get_or_init(|| OLD)?;
        if found != NEW && (done || found != OLD) {
            return complain(Outcome::Lost, format!("{found:?}, acknowledged: {done}"));
        }
        let again = (self.cell.get()?, *self.cell.wait_timeout(PATIENCE)?);
        if again != (Some(&found), found) {
            return complain(Outcome::Lost, format!("{found:?}, then {again:?}"));
        }
        Ok(Outcome::Clean)
    }
}
