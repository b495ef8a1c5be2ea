//! Those who are killed in a storm, and do everything that an end can do until then.

use super::log::{Log, Reader};
use crate::harness::{Complaint, Judgement, Outcome, Rng, sys};
use crate::ops::Item;
use commons::spsc::{Consumer, Producer, Ring};
use commons::{ChannelError, Departure, Error, WaitStrategy};

/// Items of the largest batch.
const BATCH: usize = 3;

pub(super) fn strategy(rng: &mut Rng) -> WaitStrategy {
    if rng.below(2) == 0 { WaitStrategy::Park } else { WaitStrategy::SpinThenPark }
}

/// Takes an end, as soon as its last holder is found dead.
pub(super) fn claim<E>(mut take: impl FnMut() -> commons::Result<E>) -> Result<E, Complaint> {
    loop {
        match take() {
            // Killed, and not begun to die yet.
            Err(Error::RoleTaken { .. }) => sys::give_way(),
            other => return Ok(other?),
        }
    }
}

/// What an operation that was refused because the peer is gone means: that one tries again.
fn go_on<R: Default>(result: Result<R, ChannelError>) -> Result<R, Complaint> {
    match result {
        Err(ChannelError::Disconnected(_) | ChannelError::Full | ChannelError::Empty) => {
            sys::give_way();
            Ok(R::default())
        }
        other => Ok(other?),
    }
}

/// A producer, until it is killed or the storm is over.
pub(crate) fn produce<T: Item>(ring: &Ring<T>, log: &Log, number: u64, rng: &mut Rng) -> Judgement {
    let mut producer = claim(|| ring.producer())?;
    producer.set_wait_strategy(strategy(rng));
    while !log.is_stopping() {
        let items: [T; BATCH] = std::array::from_fn(|i| log.item(number, i as u64));
        let batch = &items[..1 + rng.below(BATCH as u64) as usize];
        let sent = match rng.below(4) {
            0 => go_on(producer.push(items[0]).map(|()| 1).map_err(|r| r.reason))?,
            1 => go_on(producer.try_push(items[0]).map(|()| 1).map_err(|r| r.reason))?,
            2 => go_on(producer.push_slice(batch))?,
            _ => go_on(in_place(&mut producer, batch, rng))?,
        };
        log.acknowledge(number, sent as u64);
    }
    Ok(Outcome::Clean)
}

/// Takes its time, now and then, so that some are killed with a part of the ring in their hands.
pub(super) fn linger(rng: &mut Rng) {
    if rng.below(16) == 0 {
        (0..rng.below(10_000)).for_each(|_| std::hint::spin_loop());
    }
}

fn in_place<T: Item>(
    producer: &mut Producer<T>,
    items: &[T],
    rng: &mut Rng,
) -> Result<usize, ChannelError> {
    let mut grant = producer.reserve(items.len())?;
    let count = grant.len();
    grant.copy_from_slice(&items[..count]);
    linger(rng);
    grant.commit(count);
    Ok(count)
}

/// A consumer, until it is killed or has received everything of `log`'s producers.
pub(crate) fn consume<T: Item>(
    ring: &Ring<T>,
    log: &Log,
    rng: &mut Rng,
    producers: impl Fn() -> u64,
) -> Judgement {
    let mut consumer = claim(|| ring.consumer())?;
    consumer.set_wait_strategy(strategy(rng));
    let mut reader = log.reader();
    loop {
        let batch = 1 + rng.below(BATCH as u64);
        let taken = match rng.below(4) {
            0 => pop(&mut consumer, &mut reader, Consumer::pop)?,
            1 => pop(&mut consumer, &mut reader, Consumer::try_pop)?,
            2 => pop_slice(&mut consumer, &mut reader, batch)?,
            _ => peek(&mut consumer, &mut reader, batch, rng)?,
        };
        match taken {
            Err(ChannelError::Disconnected(Departure::Closed)) if log.is_stopping() => {
                reader.check_end(producers())?;
                return Ok(Outcome::Clean);
            }
            other => go_on(other)?,
        }
    }
}

/// What a consumer's operation gave, or what the ledger says against it.
type Taken = Result<Result<(), ChannelError>, Complaint>;

fn pop<T: Item>(
    consumer: &mut Consumer<T>,
    reader: &mut Reader<'_>,
    pop: impl FnOnce(&mut Consumer<T>) -> Result<T, ChannelError>,
) -> Taken {
    reader.reach_for(1);
    let item = match pop(consumer) {
        Ok(item) => item,
        Err(error) => return Ok(Err(error)),
    };
    reader.notice_return(&item);
    reader.receive(&[item]).map(Ok)
}

fn pop_slice<T: Item>(consumer: &mut Consumer<T>, reader: &mut Reader<'_>, batch: u64) -> Taken {
    reader.reach_for(batch);
    let mut items = [T::of(|_| 0); BATCH];
    let count = match consumer.pop_slice(&mut items[..batch as usize]) {
        Ok(count) => count,
        Err(error) => return Ok(Err(error)),
    };
    reader.notice_return(&items[0]);
    reader.receive(&items[..count]).map(Ok)
}

fn peek<T: Item>(
    consumer: &mut Consumer<T>,
    reader: &mut Reader<'_>,
    batch: u64,
    rng: &mut Rng,
) -> Taken {
    reader.reach_for(batch);
    let loan = match consumer.peek(batch as usize) {
        Ok(loan) => loan,
        Err(error) => return Ok(Err(error)),
    };
    reader.notice_return(&loan[0]);
    reader.see(&loan);
    linger(rng);
    let mut items = [T::of(|_| 0); BATCH];
    let count = loan.len();
    items[..count].copy_from_slice(&loan);
    loan.release(count);
    reader.receive(&items[..count]).map(Ok)
}
