//! A process is killed while it replaces or reads a value.

use super::item::{Author, Item, Large, Small};
use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end,
};
use commons::{CellError, Departure, Latest, Segment, Value};
use std::sync::atomic::Ordering::Relaxed;

/// The value of the scene, and the one that the victim makes of it.
const OLD: u64 = 1;
const NEW: u64 = 2;

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Load,
    Store,
    Swap,
    Update,
}

const ACTS: [Act; 4] = [Act::Load, Act::Store, Act::Swap, Act::Update];

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let mut all: Vec<Box<dyn Operation>> = Vec::new();
    for act in ACTS {
        all.push(Box::new(Replacing::<u64> {
            act,
            what: "word",
            make: |n| n,
            number: |n| Some(*n),
        }));
        all.push(Box::new(Replacing::<Small> { act, what: "small", make, number }));
        all.push(Box::new(Replacing::<Large> { act, what: "large", make, number }));
    }
    for plan in [Publishing::Alone, Publishing::Wakes, Publishing::Takes, Publishing::Reads] {
        all.push(Box::new(plan));
    }
    all
}

fn make<T: Item>(number: u64) -> T {
    T::new(number, Author::Victim)
}

fn number<T: Item>(value: &T) -> Option<u64> {
    value.read().map(|(number, _)| number)
}

/// What is there after the death: the old value, or the new one, which it is if that was
/// acknowledged.
fn check(found: Option<u64>, ledger: &Ledger, replaces: bool) -> Result<(), Complaint> {
    let done = ledger.pushed.load(Relaxed) > 0;
    match found {
        None => complain(Outcome::Lost, "the value is torn"),
        Some(OLD) if !done || !replaces => Ok(()),
        Some(NEW) if replaces => Ok(()),
        Some(other) => complain(Outcome::Lost, format!("value {other}, acknowledged: {done}")),
    }
}

/// An operation on a value.
struct Replacing<T> {
    act: Act,
    what: &'static str,
    make: fn(u64) -> T,
    number: fn(&T) -> Option<u64>,
}

impl<T: commons::Element> Operation for Replacing<T> {
    fn name(&self) -> String {
        format!("value/{}-{}", format!("{:?}", self.act).to_lowercase(), self.what)
    }

    fn variants(&self) -> u32 {
        ACTS.len() as u32
    }

    fn stage(&self, variant: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let value = Value::new_in(&segment, "value", (self.make)(OLD))?;
        let other = Value::new_in(&segment, "other", (self.make)(OLD))?;
        let (act, make, number) = (self.act, self.make, self.number);
        Ok(Box::new(Replaced { value, other, act, make, number, then: ACTS[variant as usize] }))
    }
}

struct Replaced<T> {
    value: Value<T>,
    /// For doing everything once.
    other: Value<T>,
    act: Act,
    make: fn(u64) -> T,
    number: fn(&T) -> Option<u64>,
    /// How the judge replaces what is there.
    then: Act,
}

fn act_on<T: commons::Element>(act: Act, value: &Value<T>, new: T) -> Result<(), CellError> {
    match act {
        Act::Load => value.load().map(drop),
        Act::Store => value.store(new),
        Act::Swap => value.swap(new).map(drop),
        Act::Update => value.update(|_| new).map(drop),
    }
}

impl<T: commons::Element> Case for Replaced<T> {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let new = (self.make)(NEW);
        act_on(Act::Load, &self.value, new)?;
        act_on(self.act, &self.other, new)?;
        begin();
        act_on(self.act, &self.value, new)?;
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        check((self.number)(&self.value.load()?), ledger, self.act != Act::Load)?;
        for i in NEW + 1..NEW + 12 {
            let act = if i == NEW + 1 && self.then != Act::Load { self.then } else { Act::Store };
            act_on(act, &self.value, (self.make)(i))?;
            let found = (self.number)(&self.value.load()?);
            if found != Some(i) {
                return complain(Outcome::Lost, format!("stored {i}, found {found:?}"));
            }
        }
        Ok(Outcome::Clean)
    }
}

/// An operation on a `Latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publishing {
    /// Publishing for nobody.
    Alone,
    /// Publishing while a reader sleeps.
    Wakes,
    /// Taking the publishing side while a reader sleeps.
    Takes,
    /// Reading.
    Reads,
}

impl Operation for Publishing {
    fn name(&self) -> String {
        match self {
            Publishing::Alone => "latest/publish",
            Publishing::Wakes => "latest/publish-wakes",
            Publishing::Takes => "latest/claim-publisher",
            Publishing::Reads => "latest/read",
        }
        .to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(32 << 10)?;
        let latest = Latest::new_in(&segment, "latest", &make::<Large>(0))?;
        let other = Latest::new_in(&segment, "other", &make::<Large>(0))?;
        latest.publisher()?.publish(&make(OLD))?;
        Ok(Box::new(Published { plan: *self, latest, other }))
    }
}

struct Published {
    plan: Publishing,
    latest: Latest<Large>,
    /// For doing everything once.
    other: Latest<Large>,
}

impl Case for Published {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let new = make(NEW);
        let mut other = self.other.publisher()?;
        other.publish(&new)?;
        drop(other);
        self.other.reader()?.read()?;
        match self.plan {
            Publishing::Alone | Publishing::Wakes => {
                let mut publisher = self.latest.publisher()?;
                begin();
                publisher.publish(&new)?;
                ledger.pushed.store(1, Relaxed);
                end();
            }
            Publishing::Takes => {
                begin();
                std::mem::forget(self.latest.publisher()?);
                end();
            }
            Publishing::Reads => {
                let mut reader = self.latest.reader()?;
                begin();
                reader.read()?;
                end();
            }
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.plan == Publishing::Wakes { Entrance::Asleep } else { Entrance::Nobody }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut reader = self.latest.reader()?;
        check(number(&reader.read()?), ledger, true)?;
        ledger.be_ready();
        loop {
            match reader.wait_newer() {
                Ok(_) => check(number(&reader.read()?), ledger, true)?,
                Err(CellError::Gone(Departure::Died { .. })) => return Ok(Outcome::OwnerDied),
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut reader = self.latest.reader()?;
        let replaces = matches!(self.plan, Publishing::Alone | Publishing::Wakes);
        check(number(&reader.read()?), ledger, replaces)?;
        let mut publisher = self.latest.publisher()?;
        for i in NEW + 1..NEW + 12 {
            publisher.publish(&make(i))?;
            let found = number(&reader.read()?);
            if found != Some(i) {
                return complain(Outcome::Lost, format!("published {i}, read {found:?}"));
            }
        }
        drop(publisher);
        match reader.wait_newer() {
            Err(CellError::Gone(Departure::Closed)) => Ok(Outcome::Clean),
            Ok(_) => complain(Outcome::Twice, "there is a value that nobody published"),
            Err(other) => Err(other.into()),
        }
    }
}
