//! A process is killed while it sends a record or receives one: small, in a row, or in pieces.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end, mix,
};
use commons::records::{Consumer, Ring};
use commons::{ChannelError, Departure, Segment, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of the ring: 16 grains.
const BYTES: usize = 256;
/// Records that went through the ring before: the next one does not fit into the lap.
const TURNED: u64 = 4;

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Send,
    Commit,
    Recv,
    Release,
}

/// An operation on a ring of records.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    act: Act,
    /// Bytes of the record that it is about, its number included.
    length: usize,
    /// Whether a consumer sleeps meanwhile.
    asleep: bool,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let plan = |name, act, length| Plan { name, act, length, asleep: false };
    let all = [
        plan("records/try_send-small", Act::Send, 12),
        plan("records/try_send-wraps", Act::Send, 60),
        plan("records/try_send-pieces", Act::Send, 190),
        plan("records/reserve-commit", Act::Commit, 40),
        Plan { asleep: true, ..plan("records/send-wakes", Act::Send, 190) },
        plan("records/try_recv-small", Act::Recv, 12),
        plan("records/try_recv-wraps", Act::Recv, 60),
        plan("records/try_recv-pieces", Act::Recv, 190),
        plan("records/peek-release", Act::Release, 60),
    ];
    all.into_iter().map(|plan| Box::new(plan) as Box<dyn Operation>).collect()
}

/// Record number `number`, of so many bytes.
fn record(number: u64, length: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((8..length as u64).map(|i| mix(number << 16 | i) as u8));
    bytes
}

/// The number of a record, if it is whole.
fn read(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?);
    (record(number, bytes.len()) == bytes).then_some(number)
}

fn send(ring: &Ring, length: usize, ledger: &Ledger) -> Result<(), Complaint> {
    let number = ledger.pushed.load(Relaxed);
    ring.producer()?.try_send(&record(number, length))?;
    ledger.pushed.store(number + 1, Relaxed);
    Ok(())
}

/// Writes a record down that came; it is to be the next one.
fn take(bytes: &[u8], ledger: &Ledger) -> Result<(), Complaint> {
    let expected = ledger.received.load(Relaxed);
    match read(bytes) {
        Some(number) if number == expected => {
            ledger.received.store(expected + 1, Relaxed);
            Ok(())
        }
        Some(number) if number < expected => {
            complain(Outcome::Twice, format!("record {number} came again"))
        }
        Some(number) => {
            complain(Outcome::Lost, format!("record {number} came instead of {expected}"))
        }
        None => complain(Outcome::Lost, format!("record {expected} is torn")),
    }
}

/// Takes records until the producer is found gone, and says how it went.
fn drain(consumer: &mut Consumer, ledger: &Ledger) -> Result<Departure, Complaint> {
    let mut bytes = Vec::new();
    loop {
        match consumer.recv(&mut bytes) {
            Ok(_) => take(&bytes, ledger)?,
            Err(ChannelError::Disconnected(departure)) => return Ok(departure),
            Err(other) => return Err(other.into()),
        }
    }
}

impl Operation for Plan {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let ring = Ring::new_in(&segment, "records", BYTES)?;
        let mut bytes = Vec::new();
        for _ in 0..TURNED {
            send(&ring, 48, ledger)?;
            ring.consumer()?.try_recv(&mut bytes)?;
            take(&bytes, ledger)?;
        }
        if matches!(self.act, Act::Recv | Act::Release) {
            send(&ring, self.length, ledger)?;
        }
        Ok(Box::new(Performance { plan: *self, ring }))
    }
}

struct Performance {
    plan: Plan,
    ring: Ring,
}

impl Case for Performance {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let (pushed, received) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        let bytes = record(pushed, self.plan.length);
        match self.plan.act {
            Act::Send | Act::Commit => {
                let mut producer = self.ring.producer()?;
                begin();
                if self.plan.act == Act::Send {
                    producer.try_send(&bytes)?;
                } else {
                    let mut grant = producer.try_reserve(2 * bytes.len())?;
                    grant[..bytes.len()].copy_from_slice(&bytes);
                    grant.commit(bytes.len());
                }
                ledger.pushed.store(pushed + 1, Relaxed);
                end();
            }
            Act::Recv => {
                let mut consumer = self.ring.consumer()?;
                let mut got = Vec::with_capacity(BYTES);
                begin();
                consumer.try_recv(&mut got)?;
                ledger.received.store(received + 1, Relaxed);
                end();
            }
            Act::Release => {
                let mut consumer = self.ring.consumer()?;
                begin();
                consumer.try_peek()?.release();
                ledger.received.store(received + 1, Relaxed);
                end();
            }
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.plan.asleep { Entrance::Asleep } else { Entrance::Nobody }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut consumer = self.ring.consumer()?;
        consumer.set_wait_strategy(WaitStrategy::Park);
        ledger.be_ready();
        let departure = drain(&mut consumer, ledger)?;
        let died = matches!(departure, Departure::Died { .. });
        Ok(if died { Outcome::OwnerDied } else { Outcome::Clean })
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut consumer = self.ring.consumer()?;
        let sends = matches!(self.plan.act, Act::Send | Act::Commit);
        let (pushed, before) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        let mut bytes = Vec::new();
        loop {
            match consumer.try_recv(&mut bytes) {
                Ok(_) => take(&bytes, ledger)?,
                Err(ChannelError::Empty | ChannelError::Disconnected(_)) => break,
                Err(other) => return Err(other.into()),
            }
        }
        let received = ledger.received.load(Relaxed);
        let text = format!("{pushed} sent, {before} received, then up to {received}");
        let excused = match (sends, received.checked_sub(pushed)) {
            (_, Some(0)) => true,
            // It was published and not acknowledged.
            (true, Some(1)) => true,
            // It had received it and not written it down, or the first piece of it.
            (false, None) => received + 1 == pushed && received == before,
            _ => false,
        };
        if !excused || consumer.discarded() > 1 {
            return complain(Outcome::Lost, text);
        }
        carry_on(&self.ring, consumer, received.max(pushed))?;
        Ok(Outcome::OwnerDied)
    }
}

/// The ring works: for records of all kinds, over all grains twice.
fn carry_on(ring: &Ring, mut consumer: Consumer, first: u64) -> Result<(), Complaint> {
    let mut producer = ring.producer()?;
    let mut bytes = Vec::new();
    for (number, length) in (first..).zip([8, 60, 190, 12, 100, 33, 190, 190, 8, 8, 90, 13]) {
        producer.try_send(&record(number, length))?;
        consumer.try_recv(&mut bytes)?;
        if read(&bytes) != Some(number) || bytes.len() != length {
            return complain(Outcome::Lost, format!("{:?} came from the judge", read(&bytes)));
        }
    }
    if ring.is_empty() { Ok(()) } else { complain(Outcome::Twice, "an empty ring is not") }
}
