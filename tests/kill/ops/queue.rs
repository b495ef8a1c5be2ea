//! A process is killed while it sends to, receives from, comes to or leaves a queue.

use super::item::{Author, Item, Small};
use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end,
};
use commons::queue::{Builder, Queue};
use commons::{ChannelError, Segment, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

const LABEL: &str = "queue";
const CAPACITY: usize = 3;
/// Messages that went through the queue before: where it wraps.
const TURNED: u64 = 2;
/// Messages in the queue when the victim begins; where somebody sleeps, none.
const FILLED: u64 = 2;
/// Where the ledger says that the victim had a message in place.
const HAD: usize = 0;

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    TrySend,
    Commit,
    Skip,
    TryRecv,
    Release,
    GiveBack,
    Comes,
    Leaves,
}

impl Act {
    fn sends(self) -> bool {
        matches!(self, Act::TrySend | Act::Commit)
    }
    fn receives(self) -> bool {
        matches!(self, Act::TryRecv | Act::Release)
    }
}

/// An operation on a queue.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    act: Act,
    /// Whether messages of the dead come again.
    again: bool,
    /// Whether a consumer sleeps meanwhile.
    asleep: bool,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let plan = |name, act| Plan { name, act, again: false, asleep: false };
    let again = |name, act| Plan { again: true, ..plan(name, act) };
    let asleep = |name, act| Plan { asleep: true, ..plan(name, act) };
    let all = [
        plan("queue/try_send", Act::TrySend),
        plan("queue/reserve-commit", Act::Commit),
        plan("queue/reserve-skip", Act::Skip),
        plan("queue/try_recv", Act::TryRecv),
        plan("queue/loan-release", Act::Release),
        plan("queue/comes", Act::Comes),
        plan("queue/leaves", Act::Leaves),
        asleep("queue/send-wakes", Act::TrySend),
        asleep("queue/leave-wakes", Act::Leaves),
        again("queue/again-try_recv", Act::TryRecv),
        again("queue/again-release", Act::Release),
        again("queue/again-give-back", Act::GiveBack),
    ];
    all.into_iter().map(|plan| Box::new(plan) as Box<dyn Operation>).collect()
}

impl Operation for Plan {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(64 << 10)?;
        let builder = Builder::new(CAPACITY);
        let builder = if self.again { builder.at_least_once(2) } else { builder };
        let queue: Queue<Small> = builder.new_in(&segment, LABEL)?;
        for _ in 0..TURNED {
            send(&queue, Author::Scene, ledger)?;
            queue.recv()?;
            ledger.received.store(ledger.received.load(Relaxed) + 1, Relaxed);
        }
        for _ in 0..if self.asleep { 0 } else { FILLED } {
            send(&queue, Author::Scene, ledger)?;
        }
        Ok(Box::new(Performance { plan: *self, segment }))
    }
}

fn send(queue: &Queue<Small>, author: Author, ledger: &Ledger) -> Result<(), Complaint> {
    let number = ledger.pushed.load(Relaxed);
    queue.try_send(Small::new(number, author)).map_err(|rejected| rejected.reason)?;
    ledger.pushed.store(number + 1, Relaxed);
    Ok(())
}

struct Performance {
    plan: Plan,
    segment: Segment,
}

impl Performance {
    fn open(&self) -> Result<Queue<Small>, Complaint> {
        let mut queue = Queue::open_in(&self.segment, LABEL)?;
        queue.set_wait_strategy(WaitStrategy::Park);
        Ok(queue)
    }
}

impl Case for Performance {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let queue = self.open()?;
        let received = |by: u64| ledger.received.store(ledger.received.load(Relaxed) + by, Relaxed);
        let mut leaving = Some(queue.sender()?);
        let mut coming = None;
        let other: Queue<Small> = Queue::new(1)?;
        other.try_send(Small::new(0, Author::Victim)).map_err(|rejected| rejected.reason)?;
        other.try_recv()?;
        drop(other.sender()?);
        let queue = if self.plan.asleep {
            drop(queue);
            other
        } else {
            queue
        };
        begin();
        match self.plan.act {
            Act::TrySend => {
                let number = ledger.pushed.load(Relaxed);
                let sender = leaving.as_ref().expect("not dropped");
                let sent = sender.try_send(Small::new(number, Author::Victim));
                sent.map_err(|rejected| rejected.reason)?;
                ledger.pushed.store(number + 1, Relaxed);
            }
            Act::Commit => {
                let number = ledger.pushed.load(Relaxed);
                let mut slot = queue.try_reserve()?;
                *slot = Small::new(number, Author::Victim);
                slot.commit();
                ledger.pushed.store(number + 1, Relaxed);
            }
            Act::Skip => drop(queue.try_reserve()?),
            Act::TryRecv => {
                queue.try_recv()?;
                received(1);
            }
            Act::Release => {
                let loan = queue.try_loan()?;
                ledger.notes[HAD].store(1, Relaxed);
                loan.release();
                received(1);
            }
            Act::GiveBack => {
                let loan = queue.try_loan()?;
                ledger.notes[HAD].store(1, Relaxed);
                drop(loan);
            }
            Act::Comes => coming = Some(queue.receiver()?),
            Act::Leaves => leaving = None,
        }
        end();
        std::mem::forget((coming, leaving, queue));
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.plan.asleep { Entrance::Asleep } else { Entrance::Nobody }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let receiver = self.open()?.receiver()?;
        ledger.be_ready();
        loop {
            match receiver.recv() {
                Ok(item) => {
                    let expected = ledger.received.load(Relaxed);
                    if item.read() != Some((expected, Author::Victim as u8)) {
                        return complain(Outcome::Lost, format!("{:?} came", item.read()));
                    }
                    ledger.received.store(expected + 1, Relaxed);
                }
                Err(ChannelError::Disconnected(departure)) => {
                    let died = matches!(departure, commons::Departure::Died { .. });
                    return Ok(if died { Outcome::OwnerDied } else { Outcome::Clean });
                }
                Err(other) => return Err(other.into()),
            }
        }
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let queue = self.open()?;
        let Plan { act, again, asleep, .. } = self.plan;
        let (pushed, received) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        let mut came = Vec::new();
        loop {
            match queue.try_loan() {
                Ok(loan) => {
                    let Some((number, _)) = loan.read() else {
                        return complain(Outcome::Lost, "a message is torn");
                    };
                    if loan.is_redelivered() && !again {
                        return complain(Outcome::Twice, "a message came again");
                    }
                    came.push((number, loan.is_redelivered()));
                    loan.release();
                }
                Err(ChannelError::Empty) => break,
                Err(other) => return Err(other.into()),
            }
        }
        let lost = queue.lost_in_flight()?;
        came.sort_unstable();
        let text = format!("{pushed} sent, {received} received, then came {came:?}, {lost} lost");
        if came.windows(2).any(|two| two[0].0 == two[1].0) {
            return complain(Outcome::Twice, text);
        }
        if came.first().is_some_and(|&(number, _)| number < received) {
            return complain(Outcome::Twice, text);
        }
        let missing: Vec<u64> =
            (received..pushed).filter(|n| came.iter().all(|(number, _)| number != n)).collect();
        // What the victim had received and not written down.
        let excused = match missing[..] {
            [] => lost == 0,
            [number] => act.receives() && number == received && lost <= u64::from(!again),
            _ => false,
        };
        let more = came.iter().filter(|&&(number, _)| number >= pushed).count();
        // One that was published and not acknowledged.
        if !excused || more > usize::from(act.sends()) {
            return complain(if more > 1 { Outcome::Twice } else { Outcome::Lost }, text);
        }
        let had = ledger.notes[HAD].load(Relaxed) != 0;
        if again && had && missing.is_empty() && received == TURNED && !came[0].1 {
            return complain(Outcome::Lost, format!("it does not say that it comes again: {text}"));
        }
        let _ = asleep;
        carry_on(&queue)?;
        Ok(Outcome::Clean)
    }
}

/// The queue is empty, and works: over all slots twice.
fn carry_on(queue: &Queue<Small>) -> Result<(), Complaint> {
    for round in 0..2 * CAPACITY as u64 + 1 {
        for i in 0..CAPACITY as u64 {
            let item = Small::new(round * 10 + i, Author::Judge);
            queue.try_send(item).map_err(|rejected| rejected.reason)?;
        }
        if !queue.is_full() || queue.len() != CAPACITY {
            return complain(Outcome::Lost, "a full queue is not");
        }
        for i in 0..CAPACITY as u64 {
            let found = queue.try_recv()?.read();
            if found != Some((round * 10 + i, Author::Judge as u8)) {
                return complain(Outcome::Lost, format!("{found:?} came from the judge"));
            }
        }
    }
    if queue.is_empty() { Ok(()) } else { complain(Outcome::Twice, "an empty queue is not") }
}
