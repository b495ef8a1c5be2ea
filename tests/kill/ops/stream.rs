//! What survivors do with a ring: take what there is and hold it against the ledger, and go on where
//! the dead stopped.

use super::item::{Author, Item};
use crate::harness::{Complaint, Ledger, Outcome};
use commons::spsc::{Consumer, Producer, Ring};
use commons::{ChannelError, Departure, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

/// How a successor sends its first items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Push,
    Slice,
    InPlace,
}

impl Style {
    pub(crate) const COUNT: u32 = 3;

    pub(crate) fn of_variant(variant: u32) -> Self {
        [Style::Push, Style::Slice, Style::InPlace][(variant % Self::COUNT) as usize]
    }
}

pub(crate) fn complain<R>(outcome: Outcome, text: impl Into<String>) -> Result<R, Complaint> {
    Err(Complaint::new(outcome, text))
}

/// Takes the sending end, to sleep at once where it waits.
pub(crate) fn producer<T: Item>(ring: &Ring<T>) -> Result<Producer<T>, Complaint> {
    let mut producer = ring.producer()?;
    producer.set_wait_strategy(WaitStrategy::Park);
    Ok(producer)
}

/// Takes the receiving end, to sleep at once where it waits.
pub(crate) fn consumer<T: Item>(ring: &Ring<T>) -> Result<Consumer<T>, Complaint> {
    let mut consumer = ring.consumer()?;
    consumer.set_wait_strategy(WaitStrategy::Park);
    Ok(consumer)
}

/// Sends the next item and writes it down.
pub(crate) fn send<T: Item>(
    producer: &mut Producer<T>,
    author: Author,
    ledger: &Ledger,
) -> Result<(), Complaint> {
    let number = ledger.pushed.load(Relaxed);
    producer.push(T::new(number, author)).map_err(|rejected| rejected.reason)?;
    ledger.pushed.store(number + 1, Relaxed);
    Ok(())
}

/// Sends until the consumer is found gone, and says how it went.
pub(crate) fn send_until_gone<T: Item>(
    producer: &mut Producer<T>,
    author: Author,
    ledger: &Ledger,
) -> Result<Departure, Complaint> {
    loop {
        let number = ledger.pushed.load(Relaxed);
        match producer.push(T::new(number, author)).map_err(|rejected| rejected.reason) {
            Ok(()) => ledger.pushed.store(number + 1, Relaxed),
            Err(ChannelError::Disconnected(departure)) => return Ok(departure),
            Err(other) => return Err(other.into()),
        }
    }
}

/// Writes an item down that was taken; it is to be the next one.
pub(crate) fn take<T: Item>(item: &T, ledger: &Ledger) -> Result<(), Complaint> {
    let expected = ledger.received.load(Relaxed);
    let Some((number, author)) = item.read() else {
        return complain(Outcome::Lost, format!("item {expected} is torn"));
    };
    if number == expected {
        ledger.received.store(expected + 1, Relaxed);
        return Ok(());
    }
    let outcome = if number < expected { Outcome::Twice } else { Outcome::Lost };
    complain(outcome, format!("item {expected} was to come, and {number} of author {author} came"))
}

/// Takes items until the producer is found gone, and says how it went.
pub(crate) fn drain<T: Item>(
    consumer: &mut Consumer<T>,
    ledger: &Ledger,
) -> Result<Departure, Complaint> {
    loop {
        match consumer.pop() {
            Ok(item) => take(&item, ledger)?,
            Err(ChannelError::Disconnected(departure)) => return Ok(departure),
            Err(other) => return Err(other.into()),
        }
    }
}

/// What it means for the one who was told.
pub(crate) fn outcome_of(departure: Departure) -> Outcome {
    match departure {
        Departure::Died { .. } => Outcome::OwnerDied,
        _ => Outcome::Clean,
    }
}

/// Everything there was has been received: it is to be what was acknowledged, and perhaps the batch
/// that was being sent, whole.
pub(crate) fn check_published(ledger: &Ledger, batch: u64) -> Result<(), Complaint> {
    let (pushed, received) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
    let text = format!("{pushed} items were acknowledged, {received} received");
    match received.checked_sub(pushed) {
        None => complain(Outcome::Lost, text),
        Some(0) => Ok(()),
        Some(more) if more == batch => Ok(()),
        Some(more) if more < batch => complain(Outcome::Lost, format!("part of a batch: {text}")),
        Some(_) => complain(Outcome::Twice, text),
    }
}

/// Takes the dead producer's place and sends and receives on, over all slots twice; the ring is
/// empty.
pub(crate) fn carry_on<T: Item>(
    ring: &Ring<T>,
    mut consumer: Consumer<T>,
    ledger: &Ledger,
    style: Style,
) -> Result<(), Complaint> {
    let mut producer = producer(ring)?;
    let first = ledger.received.load(Relaxed);
    let rounds = 2 * ring.capacity() as u64 + 1;
    for number in first..first + rounds {
        let item = T::new(number, Author::Judge);
        let style = if number < first + 2 { style } else { Style::of_variant(number as u32) };
        match style {
            Style::Push => producer.try_push(item).map_err(|rejected| rejected.reason)?,
            Style::Slice => {
                producer.try_push_slice(&[item])?;
            }
            Style::InPlace => {
                let mut grant = producer.try_reserve(1)?;
                grant[0] = item;
                grant.commit(1);
            }
        }
        let got = consumer.try_pop()?;
        match got.read() {
            Some((n, author)) if n == number && author == Author::Judge as u8 => {}
            Some((n, author)) => {
                let text = format!(
                    "the successor sent item {number} by {style:?}, and item {n} of the dead \
                     (author {author}) came"
                );
                return complain(Outcome::Lost, text);
            }
            None => {
                let text = format!("the successor sent item {number} by {style:?}; it came torn");
                return complain(Outcome::Lost, text);
            }
        }
    }
    drop(producer);
    match consumer.pop() {
        Err(ChannelError::Disconnected(Departure::Closed)) => Ok(()),
        Ok(_) => complain(Outcome::Twice, "there is an item that nobody sent"),
        Err(other) => Err(other.into()),
    }
}
