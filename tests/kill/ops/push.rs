//! A producer is killed while it sends.

use super::item::{Author, Item, Large, Small};
use super::stream::{
    Style, carry_on, check_published, complain, consumer, drain, outcome_of, producer, send, take,
};
use crate::harness::{
    Case, Complaint, Entrance, GO, Judgement, Ledger, OVER, Operation, Outcome, begin, end,
};
use commons::spsc::{Producer, Ring};
use commons::{ChannelError, Segment};
use std::sync::atomic::Ordering::Relaxed;

/// What the consumer does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// There is none.
    Alone,
    /// It sleeps, waiting for items.
    Asleep,
    /// It takes one item when the producer sleeps, and the others after its death.
    MakesRoom,
}

/// The operation under test: sends the items, writes down that it did, and leaves the producer where
/// it is, unless it is to be dropped.
type Act<T> = fn(&mut Option<Producer<T>>, &[T], &Ledger) -> Result<(), Complaint>;

/// An operation of a producer.
#[derive(Clone, Copy)]
struct Pushing<T: Item> {
    name: &'static str,
    capacity: usize,
    /// Items that went through the ring before: where it wraps.
    turned: u64,
    /// Items that the victim sends before it begins.
    filled: u64,
    peer: Peer,
    /// Items that the operation publishes, together.
    batch: u64,
    act: Act<T>,
}

/// The successor sends before anybody has looked at what the dead left.
const EAGER: u32 = Style::COUNT;

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let small = Pushing::<Small> {
        name: "",
        capacity: 4,
        turned: 2,
        filled: 1,
        peer: Peer::Alone,
        batch: 1,
        act: try_push,
    };
    let large = Pushing::<Large> {
        name: "",
        capacity: 4,
        turned: 2,
        filled: 1,
        peer: Peer::Alone,
        batch: 1,
        act: try_push,
    };
    let full = Pushing { filled: 4, peer: Peer::MakesRoom, act: push, ..small };
    vec![
        Box::new(Pushing { name: "ring/try_push-express", ..small }),
        Box::new(Pushing { name: "ring/try_push-large", ..large }),
        Box::new(Pushing { name: "ring/push-wakes", peer: Peer::Asleep, act: push, ..small }),
        Box::new(Pushing { name: "ring/push-wakes-large", peer: Peer::Asleep, act: push, ..large }),
        Box::new(Pushing { name: "ring/push-parks", ..full }),
        Box::new(Pushing { name: "ring/push_slice-wraps", batch: 3, act: push_slice, ..small }),
        Box::new(Pushing { name: "ring/push_slice-large", batch: 3, act: push_slice, ..large }),
        Box::new(Pushing {
            name: "ring/reserve-commit",
            batch: 2,
            turned: 1,
            act: commit,
            ..large
        }),
        Box::new(Pushing { name: "ring/close-producer", peer: Peer::Asleep, act: close, ..small }),
    ]
}

fn acknowledge(ledger: &Ledger, count: u64) {
    ledger.pushed.store(ledger.pushed.load(Relaxed) + count, Relaxed);
}

fn try_push<T: Item>(
    end: &mut Option<Producer<T>>,
    items: &[T],
    ledger: &Ledger,
) -> Result<(), Complaint> {
    let pushed = end.as_mut().expect("not dropped").try_push(items[0]);
    pushed.map_err(|rejected| rejected.reason)?;
    acknowledge(ledger, 1);
    Ok(())
}

fn push<T: Item>(
    end: &mut Option<Producer<T>>,
    items: &[T],
    ledger: &Ledger,
) -> Result<(), Complaint> {
    let pushed = end.as_mut().expect("not dropped").push(items[0]);
    pushed.map_err(|rejected| rejected.reason)?;
    acknowledge(ledger, 1);
    Ok(())
}

fn push_slice<T: Item>(
    end: &mut Option<Producer<T>>,
    items: &[T],
    ledger: &Ledger,
) -> Result<(), Complaint> {
    let count = end.as_mut().expect("not dropped").push_slice(items)?;
    acknowledge(ledger, count as u64);
    Ok(())
}

fn commit<T: Item>(
    end: &mut Option<Producer<T>>,
    items: &[T],
    ledger: &Ledger,
) -> Result<(), Complaint> {
    let mut grant = end.as_mut().expect("not dropped").reserve(items.len())?;
    grant.copy_from_slice(items);
    grant.commit(items.len());
    acknowledge(ledger, items.len() as u64);
    Ok(())
}

fn close<T: Item>(end: &mut Option<Producer<T>>, _: &[T], _: &Ledger) -> Result<(), Complaint> {
    *end = None;
    Ok(())
}

impl<T: Item> Operation for Pushing<T> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn variants(&self) -> u32 {
        Style::COUNT + u32::from(self.peer == Peer::Alone)
    }

    fn stage(&self, variant: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let ring = Ring::new_in(&segment, "ring", self.capacity)?;
        let (mut producer, mut consumer) = (producer(&ring)?, consumer(&ring)?);
        for _ in 0..self.turned {
            send(&mut producer, Author::Scene, ledger)?;
            take(&consumer.pop()?, ledger)?;
        }
        Ok(Box::new(Sending { ring, plan: *self, variant }))
    }
}

struct Sending<T: Item> {
    ring: Ring<T>,
    plan: Pushing<T>,
    variant: u32,
}

impl<T: Item> Case for Sending<T> {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let mut producer = producer(&self.ring)?;
        for _ in 0..self.plan.filled {
            send(&mut producer, Author::Victim, ledger)?;
        }
        let first = ledger.pushed.load(Relaxed);
        let numbers = first..first + self.plan.batch;
        let items: Vec<T> = numbers.map(|number| T::new(number, Author::Victim)).collect();
        let mut producer = Some(producer);
        begin();
        (self.plan.act)(&mut producer, &items, ledger)?;
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.plan.peer {
            Peer::Alone => Entrance::Nobody,
            Peer::Asleep => Entrance::Asleep,
            Peer::MakesRoom => Entrance::Ready,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut consumer = consumer(&self.ring)?;
        ledger.be_ready();
        if self.plan.peer == Peer::MakesRoom {
            ledger.wait_cue(GO);
            take(&consumer.pop()?, ledger)?;
            ledger.wait_cue(OVER);
        }
        Ok(outcome_of(drain(&mut consumer, ledger)?))
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        if self.variant == EAGER {
            return judge_eagerly(&self.ring, ledger, self.plan.batch);
        }
        let mut consumer = consumer(&self.ring)?;
        let outcome = outcome_of(drain(&mut consumer, ledger)?);
        check_published(ledger, self.plan.batch)?;
        carry_on(&self.ring, consumer, ledger, Style::of_variant(self.variant))?;
        Ok(outcome)
    }
}

/// The successor, who cannot know whether the last item of the dead is there, sends its own at once.
/// Then comes what the dead had published, and then what the successor sent.
fn judge_eagerly<T: Item>(ring: &Ring<T>, ledger: &Ledger, batch: u64) -> Judgement {
    let mut producer = producer(ring)?;
    let mut sent = 0;
    loop {
        match producer.try_push(T::new(sent, Author::Judge)).map_err(|rejected| rejected.reason) {
            Ok(()) => sent += 1,
            // Full, and the consumer that set the scene is gone.
            Err(ChannelError::Full | ChannelError::Disconnected(_)) => break,
            Err(other) => return Err(other.into()),
        }
    }
    drop(producer);
    let mut consumer = consumer(ring)?;
    let mut came = 0;
    while let Ok(item) = consumer.pop() {
        match item.read() {
            Some((number, author)) if author == Author::Judge as u8 => {
                if number != came {
                    let text = format!("item {came} of the successor was to come, not {number}");
                    return complain(Outcome::Lost, text);
                }
                came += 1;
            }
            _ if came > 0 => {
                return complain(Outcome::Twice, "an item of the dead came after its successor's");
            }
            _ => take(&item, ledger)?,
        }
    }
    check_published(ledger, batch)?;
    if came != sent {
        return complain(Outcome::Lost, format!("{sent} items sent by a successor, {came} came"));
    }
    Ok(Outcome::OwnerDied)
}
