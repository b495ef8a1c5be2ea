//! A process is killed while it makes a large array, or while it has the lock of one.

use super::stream::complain;
use crate::harness::{Case, Complaint, Judgement, Ledger, Operation, Outcome, begin, end};
use commons::{Array, Error, LockError, LockedArray, Origin, Segment};
use std::sync::atomic::Ordering::Relaxed;

const LABEL: &str = "elements";
/// Elements of a large array: it is filled in without the claim of the heap.
const MANY: usize = 10_000;
const OLD: u64 = 1;
const NEW: u64 = 2;

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    vec![Box::new(Making), Box::new(Locking)]
}

/// Making a large array: at the end of a segment, or in the place of one that was removed.
struct Making;

impl Operation for Making {
    fn name(&self) -> String {
        "array/new_in-large".to_owned()
    }

    fn variants(&self) -> u32 {
        2
    }

    fn stage(&self, variant: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        // Room for one.
        let segment = Segment::anonymous(8 * MANY + 8192)?;
        if variant == 1 {
            drop(Array::new_in(&segment, LABEL, MANY, 0u64)?);
            segment.remove(LABEL)?;
        }
        Ok(Box::new(Made { segment }))
    }
}

struct Made {
    segment: Segment,
}

impl Case for Made {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        drop(Array::new_in(&self.segment, "warm", 1, 0u64)?);
        begin();
        // Of zeros, which change nothing in new memory: the states are those of the making.
        std::mem::forget(Array::new_in(&self.segment, LABEL, MANY, 0u64)?);
        end();
        Ok(())
    }

    fn judge(&mut self, _: &'static Ledger) -> Judgement {
        let segment = &self.segment;
        let (array, origin) = Array::open_or_create_in(segment, LABEL, MANY, 0u64)?;
        if array.len() != MANY || array.iter().any(|element| element != 0) {
            return complain(Outcome::Lost, "the array is not what was made");
        }
        let labels: Vec<_> = segment.objects()?.into_iter().filter_map(|o| o.label).collect();
        if labels.iter().filter(|label| *label == LABEL).count() != 1 {
            return complain(Outcome::Twice, format!("the labels are {labels:?}"));
        }
        drop(array);
        // What the dead held, complete or not, keeps nothing from being used again.
        segment.remove(LABEL)?;
        let again = Array::new_in(segment, LABEL, MANY, OLD)?;
        if again.iter().any(|element| element != OLD) {
            return complain(Outcome::Lost, "the array is not what was made again");
        }
        match Array::new_in(segment, LABEL, MANY, OLD) {
            Err(Error::LabelTaken { .. }) if origin == Origin::Opened => Ok(Outcome::OwnerDied),
            Err(Error::LabelTaken { .. }) => Ok(Outcome::Clean),
            Err(other) => Err(other.into()),
            Ok(_) => complain(Outcome::Twice, "one label was given twice"),
        }
    }
}

/// Acquiring the lock of an array, writing to two elements, releasing it.
struct Locking;

impl Operation for Locking {
    fn name(&self) -> String {
        "locked-array/lock".to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let array = LockedArray::new_in(&segment, LABEL, 2, OLD)?;
        let other = LockedArray::new_in(&segment, "other", 2, OLD)?;
        Ok(Box::new(Locked { array, other }))
    }
}

struct Locked {
    array: LockedArray<u64>,
    /// For doing everything once.
    other: LockedArray<u64>,
}

fn write(array: &LockedArray<u64>) -> Result<(), LockError> {
    let mut guard = array.lock()?;
    for element in guard.iter_mut() {
        // One after the other.
        *std::hint::black_box(element) = NEW;
    }
    Ok(())
}

impl Case for Locked {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        write(&self.other)?;
        begin();
        write(&self.array)?;
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let done = ledger.pushed.load(Relaxed) > 0;
        let outcome = match self.array.lock() {
            Ok(guard) => match *guard {
                [OLD, OLD] if !done => Outcome::Clean,
                [NEW, NEW] => Outcome::Clean,
                ref other => {
                    let text = format!("{other:?} and nobody was told; acknowledged: {done}");
                    return complain(Outcome::Lost, text);
                }
            },
            Err(LockError::OwnerDied { .. }) if !done => {
                let left = self.array.recover()?;
                if !matches!(*left, [OLD, OLD] | [NEW, OLD] | [NEW, NEW]) {
                    return complain(Outcome::Lost, format!("{left:?} was left"));
                }
                drop(left.mark_consistent());
                Outcome::OwnerDied
            }
            Err(other) => return Err(other.into()),
        };
        for i in 0..5 {
            self.array.lock()?.fill(i);
            if *self.array.try_lock()? != [i, i] {
                return complain(Outcome::Lost, "the lock does not go on");
            }
        }
        Ok(outcome)
    }
}
