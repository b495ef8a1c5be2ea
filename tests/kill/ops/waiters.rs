//! A process is killed while it wakes those who sleep for a lock, or sleeps for it itself: readers and
//! writers, and what is done once; and while it has an array or a recursive lock.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, GO, Judgement, Ledger, OVER, Operation, Outcome, begin, end,
};
use commons::{LockError, LockedArray, OnceCell, RecursiveMutex, RwLock, Segment};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const OLD: [u64; 2] = [1; 2];
const NEW: [u64; 2] = [2; 2];
/// What the judge waits at most for a lock that nobody alive has.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Ends its write; somebody sleeps to read.
    WakesReader,
    /// Ends its read; somebody sleeps to write.
    WakesWriter,
    /// Ends its write; one thread sleeps to read and another to write.
    WakesBoth,
    /// Sleeps to read until a writer is done.
    ParksReading,
    /// Sleeps to write until a reader is done.
    ParksWriting,
    /// Finishes a value; somebody sleeps for it.
    OnceWakes,
    /// Sleeps until somebody has finished a value.
    OnceParks,
    /// Sleeps to make a value that somebody else is making.
    OnceQueues,
    /// Ends its two holds of a recursive lock; somebody sleeps for it.
    RecursiveWakes,
    /// Sleeps for a recursive lock.
    RecursiveParks,
    /// Changes an array under its lock.
    ArrayAlone,
    /// Ends its hold of an array; somebody sleeps for it.
    ArrayWakes,
}

use Act::*;

const ACTS: [(Act, &str); 12] = [
    (WakesReader, "rwlock/wakes-reader"),
    (WakesWriter, "rwlock/wakes-writer"),
    (WakesBoth, "rwlock/wakes-both"),
    (ParksReading, "rwlock/parks-reading"),
    (ParksWriting, "rwlock/parks-writing"),
    (OnceWakes, "once-cell/wakes"),
    (OnceParks, "once-cell/parks"),
    (OnceQueues, "once-cell/queues"),
    (RecursiveWakes, "recursive/wakes"),
    (RecursiveParks, "recursive/parks"),
    (ArrayAlone, "locked-array/alone"),
    (ArrayWakes, "locked-array/wakes"),
];

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    ACTS.map(|(act, name)| Box::new(Named { act, name }) as Box<dyn Operation>).into()
}

struct Named {
    act: Act,
    name: &'static str,
}

impl Operation for Named {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(32 << 10)?;
        Ok(Box::new(Scene {
            act: self.act,
            lock: RwLock::new_in(&segment, "lock", OLD)?,
            cell: OnceCell::new_in(&segment, "cell")?,
            recursive: RecursiveMutex::new_in(&segment, "recursive", OLD)?,
            array: LockedArray::new_from_in(&segment, "array", &OLD)?,
        }))
    }
}

struct Scene {
    act: Act,
    lock: RwLock<[u64; 2]>,
    cell: OnceCell<[u64; 2]>,
    recursive: RecursiveMutex<[u64; 2]>,
    array: LockedArray<u64>,
}

/// What somebody who waits for a lock may find: the value before and after, or that its owner died.
fn found(
    result: Result<[u64; 2], LockError>,
    expected: &[[u64; 2]],
    may_die: bool,
) -> Result<Outcome, Complaint> {
    match result {
        Ok(value) if expected.contains(&value) => Ok(Outcome::Clean),
        Err(LockError::OwnerDied { .. }) if may_die => Ok(Outcome::OwnerDied),
        other => complain(Outcome::Lost, format!("{other:?} instead of {expected:?}")),
    }
}

impl Scene {
    fn read_array(&self) -> Result<[u64; 2], LockError> {
        self.array.lock().map(|guard| [guard[0], guard[1]])
    }

    /// Waits for what the victim has, asleep.
    fn sleep(&self) -> Judgement {
        let reads = || self.lock.read().map(|guard| *guard);
        let writes = || self.lock.write().map(|guard| *guard);
        match self.act {
            WakesReader => found(reads(), &[NEW], true),
            WakesWriter => found(writes(), &[OLD], false),
            WakesBoth => std::thread::scope(|scope| {
                let other = scope.spawn(|| found(writes(), &[NEW], true));
                let mine = found(reads(), &[NEW], true)?;
                other.join().unwrap_or(Ok(mine))
            }),
            OnceWakes => found(self.cell.wait().copied(), &[NEW, OLD], false),
            RecursiveWakes => found(self.recursive.lock().map(|guard| guard.get()), &[NEW], true),
            ArrayWakes => found(self.read_array(), &[NEW], true),
            _ => Ok(Outcome::Clean),
        }
    }
}

impl Case for Scene {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        match self.act {
            WakesReader | WakesBoth => {
                let mut guard = self.lock.write()?;
                *guard = NEW;
                begin();
                drop(guard);
            }
            WakesWriter => {
                let guard = self.lock.read()?;
                begin();
                drop(guard);
            }
            ParksReading => {
                begin();
                drop(self.lock.read()?);
            }
            ParksWriting => {
                begin();
                *self.lock.write()? = NEW;
            }
            OnceWakes => {
                self.cell.get_or_init(|| {
                    begin();
                    NEW
                })?;
            }
            OnceParks => {
                begin();
                self.cell.wait()?;
            }
            OnceQueues => {
                begin();
                self.cell.get_or_init(|| NEW)?;
            }
            RecursiveWakes => {
                let (outer, inner) = (self.recursive.lock()?, self.recursive.lock()?);
                inner.set(NEW);
                begin();
                drop(inner);
                drop(outer);
            }
            RecursiveParks => {
                begin();
                self.recursive.lock()?.set(NEW);
            }
            ArrayAlone => {
                drop(self.lock.read()?);
                begin();
                self.array.lock()?.copy_from_slice(&NEW);
            }
            ArrayWakes => {
                let mut guard = self.array.lock()?;
                guard.copy_from_slice(&NEW);
                begin();
                drop(guard);
            }
        }
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.act {
            ParksReading | ParksWriting | OnceParks | OnceQueues | RecursiveParks => {
                Entrance::Ready
            }
            ArrayAlone => Entrance::Nobody,
            _ => Entrance::Asleep,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let hold = || {
            ledger.be_ready();
            ledger.wait_cue(GO);
        };
        match self.act {
            ParksReading => {
                let guard = self.lock.write()?;
                hold();
                drop(guard);
            }
            ParksWriting => {
                let guard = self.lock.read()?;
                hold();
                drop(guard);
            }
            OnceParks | OnceQueues => {
                self.cell.get_or_init(|| {
                    hold();
                    OLD
                })?;
            }
            RecursiveParks => {
                let guard = self.recursive.lock()?;
                hold();
                drop(guard);
            }
            _ => {
                ledger.be_ready();
                return self.sleep();
            }
        }
        ledger.wait_cue(OVER);
        Ok(Outcome::Clean)
    }

    /// Where the maker is dead, only another one ends the wait of who sleeps for the value.
    fn together(&self) -> bool {
        self.act == OnceWakes
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let done = ledger.pushed.load(Relaxed) > 0;
        let writes = matches!(self.act, WakesReader | WakesBoth | ParksWriting);
        // The victim had it, or came to it.
        let expected: &[[u64; 2]] = if done { &[NEW] } else { &[OLD, NEW] };
        let outcome = match self.act {
            OnceWakes => found(
                self.cell.get_or_init(|| OLD).copied(),
                if done { &[NEW] } else { &[OLD, NEW] },
                false,
            )?,
            OnceParks | OnceQueues => found(self.cell.get_or_init(|| NEW).copied(), &[OLD], false)?,
            RecursiveWakes | RecursiveParks => {
                let result = self.recursive.lock_timeout(PATIENCE).map(|guard| guard.get());
                let outcome = found(result, expected, !done)?;
                self.recursive.lock_or_repair(|_| NEW)?.set(NEW);
                outcome
            }
            ArrayAlone | ArrayWakes => {
                let outcome = found(self.read_array(), expected, !done)?;
                self.array.lock_or_repair(|values| values.copy_from_slice(&NEW))?[0] = 3;
                outcome
            }
            _ => {
                let result = self.lock.read_timeout(PATIENCE).map(|guard| *guard);
                let expected = if writes { expected } else { &[OLD] };
                let outcome = found(result, expected, writes && !done)?;
                drop(self.lock.write_or_repair(|value| *value = NEW)?);
                outcome
            }
        };
        // And it goes on as if nothing had been.
        for n in 3..6 {
            *self.lock.write_timeout(PATIENCE)? = [n; 2];
            let readers = [self.lock.read_timeout(PATIENCE)?, self.lock.try_read()?];
            if readers.iter().any(|reader| **reader != [n; 2]) {
                return complain(Outcome::Lost, format!("wrote {n}, found {readers:?}"));
            }
            drop(readers);
            self.array.lock_timeout(PATIENCE)?[0] = n;
            self.recursive.lock_timeout(PATIENCE)?.set([n; 2]);
        }
        Ok(outcome)
    }
}
