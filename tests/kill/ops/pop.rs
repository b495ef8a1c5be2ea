//! A consumer is killed while it receives.

use super::item::{Author, Item, Large, Small};
use super::stream::{
    Style, carry_on, complain, consumer, drain, outcome_of, producer, send, send_until_gone, take,
};
use crate::harness::{
    Case, Complaint, Entrance, GO, Judgement, Ledger, OVER, Operation, Outcome, begin, end,
};
use commons::spsc::{Consumer, Ring};
use commons::{ChannelError, Segment};
use std::sync::atomic::Ordering::Relaxed;

/// What the producer does meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    /// Nothing; after the death it sends until it finds the ring full and the consumer dead.
    Idle,
    /// It sleeps, waiting for space.
    Asleep,
    /// It sends one item when the consumer sleeps.
    BringsOne,
}

/// The operation under test. Leaves the consumer where it is, unless it is to be dropped.
type Act<T> = fn(&mut Option<Consumer<T>>, &Ledger) -> Result<(), Complaint>;

/// An operation of a consumer.
#[derive(Clone, Copy)]
struct Popping<T: Item> {
    name: &'static str,
    capacity: usize,
    /// Items that went through the ring before: where it wraps.
    turned: u64,
    /// Items that are there when the victim comes; it takes one before it begins.
    filled: u64,
    peer: Peer,
    /// Items that the operation releases, together.
    batch: u64,
    act: Act<T>,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let small = Popping::<Small> {
        name: "",
        capacity: 4,
        turned: 2,
        filled: 2,
        peer: Peer::Idle,
        batch: 1,
        act: try_pop,
    };
    let large = Popping::<Large> {
        name: "",
        capacity: 4,
        turned: 2,
        filled: 4,
        peer: Peer::Idle,
        batch: 1,
        act: try_pop,
    };
    let empty = Popping { filled: 1, peer: Peer::BringsOne, act: pop, ..small };
    vec![
        Box::new(Popping { name: "ring/try_pop-express", ..small }),
        Box::new(Popping { name: "ring/try_pop-large", ..large }),
        Box::new(Popping { name: "ring/pop-wakes", peer: Peer::Asleep, act: pop, ..small }),
        Box::new(Popping { name: "ring/pop-wakes-large", peer: Peer::Asleep, act: pop, ..large }),
        Box::new(Popping { name: "ring/pop-parks", ..empty }),
        Box::new(Popping {
            name: "ring/pop_slice-wraps",
            filled: 4,
            batch: 3,
            act: pop_slice,
            ..small
        }),
        Box::new(Popping { name: "ring/pop_slice-large", batch: 3, act: pop_slice, ..large }),
        Box::new(Popping {
            name: "ring/peek-release",
            turned: 4,
            batch: 2,
            act: peek_and_release,
            ..large
        }),
        Box::new(Popping { name: "ring/close-consumer", peer: Peer::Asleep, act: close, ..small }),
    ]
}

/// Writes down what the victim took. That the items are whole is for survivors to look at.
fn acknowledge<T: Item>(items: &[T], ledger: &Ledger) -> Result<(), Complaint> {
    let first = ledger.received.load(Relaxed);
    check_numbers(items, first)?;
    ledger.received.store(first + items.len() as u64, Relaxed);
    Ok(())
}

fn check_numbers<T: Item>(items: &[T], first: u64) -> Result<(), Complaint> {
    if (first..).zip(items).all(|(number, item)| item.word(0) >> 8 == number) {
        return Ok(());
    }
    complain(Outcome::Lost, format!("the victim got something else than item {first}"))
}

fn try_pop<T: Item>(end: &mut Option<Consumer<T>>, ledger: &Ledger) -> Result<(), Complaint> {
    let item = end.as_mut().expect("not dropped").try_pop()?;
    acknowledge(&[item], ledger)
}

fn pop<T: Item>(end: &mut Option<Consumer<T>>, ledger: &Ledger) -> Result<(), Complaint> {
    let item = end.as_mut().expect("not dropped").pop()?;
    acknowledge(&[item], ledger)
}

fn pop_slice<T: Item>(end: &mut Option<Consumer<T>>, ledger: &Ledger) -> Result<(), Complaint> {
    let mut items = [T::of(|_| 0); 3];
    let count = end.as_mut().expect("not dropped").pop_slice(&mut items)?;
    acknowledge(&items[..count], ledger)
}

fn peek_and_release<T: Item>(
    end: &mut Option<Consumer<T>>,
    ledger: &Ledger,
) -> Result<(), Complaint> {
    let loan = end.as_mut().expect("not dropped").peek(3)?;
    let first = ledger.received.load(Relaxed);
    check_numbers(&loan, first)?;
    ledger.seen.store(first + loan.len() as u64, Relaxed);
    loan.release(2);
    ledger.received.store(first + 2, Relaxed);
    Ok(())
}

fn close<T: Item>(end: &mut Option<Consumer<T>>, _: &Ledger) -> Result<(), Complaint> {
    *end = None;
    Ok(())
}

impl<T: Item> Operation for Popping<T> {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn variants(&self) -> u32 {
        Style::COUNT
    }

    fn stage(&self, variant: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let ring = Ring::new_in(&segment, "ring", self.capacity)?;
        let (mut producer, mut consumer) = (producer(&ring)?, consumer(&ring)?);
        for _ in 0..self.turned {
            send(&mut producer, Author::Scene, ledger)?;
            take(&consumer.pop()?, ledger)?;
        }
        for _ in 0..self.filled {
            send(&mut producer, Author::Scene, ledger)?;
        }
        Ok(Box::new(Receiving { ring, plan: *self, variant }))
    }
}

struct Receiving<T: Item> {
    ring: Ring<T>,
    plan: Popping<T>,
    variant: u32,
}

impl<T: Item> Case for Receiving<T> {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let mut consumer = consumer(&self.ring)?;
        take(&consumer.pop()?, ledger)?;
        let mut consumer = Some(consumer);
        begin();
        (self.plan.act)(&mut consumer, ledger)?;
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.plan.peer == Peer::Asleep { Entrance::Asleep } else { Entrance::Ready }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut producer = producer(&self.ring)?;
        if self.plan.peer == Peer::Idle && self.plan.batch > 1 {
            // One item in the place of that which the victim took to warm up: so the slice wraps.
            send(&mut producer, Author::Companion, ledger)?;
        }
        ledger.be_ready();
        if self.plan.peer == Peer::BringsOne {
            ledger.wait_cue(GO);
            send(&mut producer, Author::Companion, ledger)?;
        }
        if self.plan.peer != Peer::Asleep {
            ledger.wait_cue(OVER);
        }
        Ok(outcome_of(send_until_gone(&mut producer, Author::Companion, ledger)?))
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut consumer = consumer(&self.ring)?;
        let batch = self.plan.batch;
        let (pushed, received) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        // The batch that the victim was taking may have gone with it.
        let came = match consumer.pop() {
            Ok(item) => {
                let came = item.read().map(|(number, _)| number);
                if came == Some(received + batch) {
                    ledger.received.store(received + batch, Relaxed);
                }
                take(&item, ledger)?;
                came
            }
            Err(ChannelError::Disconnected(_)) => {
                if pushed == received + batch {
                    ledger.received.store(pushed, Relaxed);
                }
                None
            }
            Err(other) => return Err(other.into()),
        };
        drain(&mut consumer, ledger)?;
        let received = ledger.received.load(Relaxed);
        if pushed != received {
            let text = format!("{pushed} items were acknowledged, {received} received");
            return complain(Outcome::Lost, text);
        }
        carry_on(&self.ring, consumer, ledger, Style::of_variant(self.variant))?;
        let again = came.is_some_and(|came| came < ledger.seen.load(Relaxed));
        Ok(if again { Outcome::Redelivered } else { Outcome::Clean })
    }
}
