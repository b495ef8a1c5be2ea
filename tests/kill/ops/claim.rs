//! A process is killed while it takes one end of a ring.

use super::item::{Author, Small};
use super::named::Named;
use super::stream::{Style, carry_on, complain, consumer, outcome_of, producer, send, take};
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, die_after, end,
};
use commons::inspect::{self, Holder};
use commons::spsc::Ring;
use commons::{ChannelError, Departure, Segment};
use std::sync::atomic::Ordering::Relaxed;

/// Which end is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Producer,
    Consumer,
}

/// Who had it before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    /// Nobody, and the peer sleeps until somebody comes.
    Awaited,
    /// Nobody.
    Vacant,
    /// Somebody who closed it.
    Closed,
    /// Somebody who died.
    Dead,
}

const PASTS: [Past; 4] = [Past::Awaited, Past::Vacant, Past::Closed, Past::Dead];
const NAME: &str = "claim";
const CAPACITY: usize = 4;
/// Items that are sent while the peer takes part.
const ITEMS: u64 = 6;
/// Where the ledger says that the peer was told of the death.
const TOLD: usize = 0;

/// Taking one end.
struct Claiming(Role);

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    vec![Box::new(Claiming(Role::Producer)), Box::new(Claiming(Role::Consumer))]
}

impl Operation for Claiming {
    fn name(&self) -> String {
        let role = if self.0 == Role::Producer { "producer" } else { "consumer" };
        format!("ring/claim-{role}")
    }

    fn variants(&self) -> u32 {
        PASTS.len() as u32
    }

    fn stage(&self, variant: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let name = Named(NAME);
        let segment = Segment::create(NAME, 16 << 10)?;
        let ring = Ring::<Small>::new_in(&segment, "ring", CAPACITY)?;
        let past = PASTS[variant as usize];
        let items = if self.0 == Role::Producer { 2 } else { CAPACITY as u64 };
        let sets_scene = past != Past::Awaited && past != Past::Vacant;
        if sets_scene || self.0 == Role::Consumer {
            let mut producer = producer(&ring)?;
            for _ in 0..items {
                send(&mut producer, Author::Scene, ledger)?;
            }
        }
        if sets_scene {
            drop(consumer(&ring)?);
        }
        if past == Past::Dead {
            let role = self.0;
            die_after(|| {
                match role {
                    Role::Producer => std::mem::forget(ring.producer()?),
                    Role::Consumer => std::mem::forget(ring.consumer()?),
                }
                Ok(())
            })?;
        }
        Ok(Box::new(Claim { role: self.0, past, segment, ring, name }))
    }
}

struct Claim {
    role: Role,
    past: Past,
    segment: Segment,
    ring: Ring<Small>,
    name: Named,
}

impl Case for Claim {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        // The same elsewhere: it joins the segment, and has done everything once.
        let other = Ring::<Small>::new_in(&self.segment, "other", CAPACITY)?;
        drop(other.producer()?);
        drop(other.consumer()?);
        begin();
        match self.role {
            Role::Producer => std::mem::forget(self.ring.producer()?),
            Role::Consumer => std::mem::forget(self.ring.consumer()?),
        }
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.past == Past::Awaited { Entrance::Asleep } else { Entrance::Nobody }
    }

    fn together(&self) -> bool {
        self.past == Past::Awaited
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        match self.role {
            Role::Producer => self.await_items(ledger),
            Role::Consumer => self.await_space(ledger),
        }
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let holder = self.holder()?;
        let died = matches!(holder, Holder::Process { .. });
        if self.past == Past::Awaited {
            // Who sleeps for the one who came and died is to be told of it.
            while died && ledger.notes[TOLD].load(Relaxed) == 0 {
                std::thread::yield_now();
            }
            match self.role {
                Role::Producer => self.bring_items(ledger)?,
                Role::Consumer => self.take_items(ledger)?,
            }
            return Ok(if died { Outcome::OwnerDied } else { Outcome::Clean });
        }
        let mut consumer = consumer(&self.ring)?;
        let departure = loop {
            match consumer.try_pop() {
                Ok(item) => take(&item, ledger)?,
                Err(ChannelError::Empty) => break Departure::Closed,
                Err(ChannelError::Disconnected(departure)) => break departure,
                Err(other) => return Err(other.into()),
            }
        };
        if ledger.pushed.load(Relaxed) != ledger.received.load(Relaxed) {
            return complain(Outcome::Lost, "not everything that was there came");
        }
        if died && self.role == Role::Producer && outcome_of(departure) == Outcome::Clean {
            return complain(Outcome::Wedged, "the producer died and nobody was told");
        }
        carry_on(&self.ring, consumer, ledger, Style::Push)?;
        Ok(if died { Outcome::OwnerDied } else { Outcome::Clean })
    }
}

impl Claim {
    /// Who has the end that was taken.
    fn holder(&self) -> Result<Holder, Complaint> {
        let report = inspect::report(self.name.0)?;
        let wanted = if self.role == Role::Producer { "producer" } else { "consumer" };
        let ring = report.objects.into_iter().find(|o| o.info.label.as_deref() == Some("ring"));
        let ends = ring.into_iter().flat_map(|ring| ring.ends);
        match ends.into_iter().find(|end| end.role == wanted) {
            Some(end) => Ok(end.holder),
            None => complain(Outcome::Lost, "the ring is gone"),
        }
    }

    fn bring_items(&self, ledger: &Ledger) -> Result<(), Complaint> {
        let mut producer = producer(&self.ring)?;
        (0..ITEMS).try_for_each(|_| send(&mut producer, Author::Judge, ledger))
    }

    fn take_items(&self, ledger: &Ledger) -> Result<(), Complaint> {
        let mut consumer = consumer(&self.ring)?;
        (0..CAPACITY as u64 + ITEMS).try_for_each(|_| take(&consumer.pop()?, ledger))
    }

    /// A consumer that slept when nobody sent yet.
    fn await_items(&self, ledger: &Ledger) -> Judgement {
        let mut consumer = consumer(&self.ring)?;
        ledger.be_ready();
        while ledger.received.load(Relaxed) < ITEMS {
            match consumer.pop() {
                Ok(item) => take(&item, ledger)?,
                Err(ChannelError::Disconnected(Departure::Died { .. })) => be_told(ledger),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Outcome::Clean)
    }

    /// A producer that slept on a full ring when nobody received yet.
    fn await_space(&self, ledger: &Ledger) -> Judgement {
        let mut producer = producer(&self.ring)?;
        ledger.be_ready();
        while ledger.pushed.load(Relaxed) < CAPACITY as u64 + ITEMS {
            let number = ledger.pushed.load(Relaxed);
            let item = super::item::Item::new(number, Author::Companion);
            match producer.push(item).map_err(|rejected| rejected.reason) {
                Ok(()) => ledger.pushed.store(number + 1, Relaxed),
                Err(ChannelError::Disconnected(Departure::Died { .. })) => be_told(ledger),
                Err(other) => return Err(other.into()),
            }
        }
        Ok(Outcome::Clean)
    }
}

fn be_told(ledger: &Ledger) {
    ledger.notes[TOLD].store(1, Relaxed);
    std::thread::yield_now();
}
