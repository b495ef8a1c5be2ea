//! A process is killed while it sends to, receives from, comes to or leaves a queue of objects, or is at
//! work on a task.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end, mix,
};
use commons::objects::Builder;
use commons::{ChannelError, JoinableQueue, Segment, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

const LABEL: &str = "objects";
/// Bytes of the queue: 16 grains.
const BYTES: usize = 256;
/// Objects that went through the queue before.
const TURNED: u64 = 4;
/// Where the ledger says that the victim had a task.
const HAD: usize = 0;
/// Where it says that the victim had finished it, or dropped it.
const DONE: usize = 1;

/// An object: its number, and bytes that follow from it.
type Object = (u64, Vec<u8>);

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Send,
    Finish,
    Drop,
    GetAndFinish,
    Comes,
    Leaves,
}

/// An operation on a queue of tasks: all that a plain queue does is a part of it.
#[derive(Clone, Copy, Debug)]
struct Plan {
    name: &'static str,
    act: Act,
    /// Bytes of the object that it is about.
    length: usize,
    /// Whether tasks of the dead come again.
    again: bool,
    /// Whether a consumer sleeps meanwhile.
    asleep: bool,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let plan = |name, act, length| Plan { name, act, length, again: false, asleep: false };
    let again = |name, act, length| Plan { again: true, ..plan(name, act, length) };
    let asleep = |name, act, length| Plan { asleep: true, ..plan(name, act, length) };
    let all = [
        plan("objects/try_send-small", Act::Send, 3),
        plan("objects/try_send-wraps", Act::Send, 60),
        plan("objects/try_send-pieces", Act::Send, 180),
        asleep("objects/send-wakes", Act::Send, 180),
        plan("objects/recv-done-small", Act::Finish, 3),
        plan("objects/recv-done-pieces", Act::Finish, 180),
        plan("objects/recv-drop", Act::Drop, 60),
        plan("objects/get-task_done", Act::GetAndFinish, 60),
        again("objects/again-done", Act::Finish, 60),
        again("objects/again-drop", Act::Drop, 60),
        plan("objects/comes", Act::Comes, 3),
        plan("objects/leaves", Act::Leaves, 3),
    ];
    all.into_iter().map(|plan| Box::new(plan) as Box<dyn Operation>).collect()
}

fn object(number: u64, length: usize) -> Object {
    (number, (0..length as u64).map(|i| mix(number << 16 | i) as u8).collect())
}

/// The number of an object that is whole.
fn read(found: &Object) -> Result<u64, Complaint> {
    if *found == object(found.0, found.1.len()) {
        return Ok(found.0);
    }
    complain(Outcome::Lost, "an object is torn")
}

fn send(queue: &JoinableQueue<Object>, length: usize, ledger: &Ledger) -> Result<(), Complaint> {
    let number = ledger.pushed.load(Relaxed);
    queue.try_send(&object(number, length))?;
    ledger.pushed.store(number + 1, Relaxed);
    Ok(())
}

fn received(ledger: &Ledger) {
    ledger.received.store(ledger.received.load(Relaxed) + 1, Relaxed);
}

impl Operation for Plan {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(128 << 10)?;
        let builder = Builder::new(BYTES).in_flight(2);
        let builder = if self.again { builder.redeliver(100) } else { builder };
        let builder = if self.asleep { builder.ends_alone() } else { builder };
        let queue: JoinableQueue<Object> = builder.new_joinable_in(&segment, LABEL)?;
        for _ in 0..TURNED {
            send(&queue, 40, ledger)?;
            queue.try_recv()?.done();
            received(ledger);
        }
        if matches!(self.act, Act::Finish | Act::Drop | Act::GetAndFinish) {
            send(&queue, self.length, ledger)?;
        }
        Ok(Box::new(Performance { plan: *self, segment }))
    }
}

struct Performance {
    plan: Plan,
    segment: Segment,
}

impl Performance {
    fn open(&self) -> Result<JoinableQueue<Object>, Complaint> {
        let mut queue = JoinableQueue::open_in(&self.segment, LABEL)?;
        queue.set_wait_strategy(WaitStrategy::Park);
        Ok(queue)
    }
}

impl Case for Performance {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let queue = self.open()?;
        let note = |which: usize| ledger.notes[which].store(1, Relaxed);
        let mut leaving = Some(queue.clone());
        let mut coming = None;
        // What is done for the first time is done at another one.
        let other: JoinableQueue<Object> = JoinableQueue::new(BYTES)?;
        for i in 0..2 {
            other.try_send(&object(i, 180))?;
            other.try_recv()?.done();
        }
        let bytes = object(ledger.pushed.load(Relaxed), self.plan.length);
        begin();
        match self.plan.act {
            Act::Send => {
                queue.try_send(&bytes)?;
                ledger.pushed.store(bytes.0 + 1, Relaxed);
            }
            Act::Finish => {
                let task = queue.try_recv()?;
                note(HAD);
                task.done();
                note(DONE);
                received(ledger);
            }
            Act::Drop => {
                let task = queue.try_recv()?;
                note(HAD);
                drop(task);
                note(DONE);
            }
            Act::GetAndFinish => {
                queue.try_get()?;
                note(HAD);
                queue.task_done()?;
                note(DONE);
                received(ledger);
            }
            Act::Comes => coming = Some(queue.clone()),
            Act::Leaves => leaving = None,
        }
        end();
        std::mem::forget((coming, leaving, queue, other));
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.plan.asleep { Entrance::Asleep } else { Entrance::Nobody }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let queue = self.open()?;
        ledger.be_ready();
        loop {
            match queue.recv() {
                Ok(task) => {
                    let (number, expected) = (read(&task)?, ledger.received.load(Relaxed));
                    if number != expected {
                        let text = format!("{number} came instead of {expected}");
                        return complain(Outcome::Lost, text);
                    }
                    task.done();
                    received(ledger);
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
        let Plan { act, again, .. } = self.plan;
        let failed = queue.failed()?;
        let (pushed, before) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        let (had, done) =
            (ledger.notes[HAD].load(Relaxed) != 0, ledger.notes[DONE].load(Relaxed) != 0);
        let mut came = Vec::new();
        loop {
            match queue.try_recv() {
                Ok(task) => {
                    came.push((read(&task)?, task.is_redelivered()));
                    task.done();
                }
                // A queue that ends alone has nobody else.
                Err(ChannelError::Empty | ChannelError::Disconnected(_)) => break,
                Err(other) => return Err(other.into()),
            }
        }
        let text = format!(
            "{pushed} sent, {before} received, had {had}, done {done}; then came {came:?}, \
             {failed} failed"
        );
        let sound = match (act, &came[..]) {
            (Act::Send, []) => before >= pushed && before <= pushed + 1,
            (Act::Send, [(number, false)]) => *number == before && before <= pushed,
            (Act::Comes | Act::Leaves, []) => failed == 0,
            // Finished, and perhaps not written down; or failed.
            (Act::Finish | Act::GetAndFinish, []) => {
                failed == u64::from(!done && failed > 0) && !(again && failed > 0)
            }
            // It had not taken it, or it comes again.
            (Act::Finish | Act::GetAndFinish, [(number, re)]) => {
                *number == before && failed == 0 && !done && (!had || *re)
            }
            (Act::Drop, []) => !again && failed == 1,
            (Act::Drop, [(number, re)]) => {
                *number == before && failed == 0 && (!had || again && *re)
            }
            _ => false,
        };
        if !sound || failed > 1 {
            return complain(if came.len() > 1 { Outcome::Twice } else { Outcome::Lost }, text);
        }
        // Nothing of it is left that a join would wait for.
        if queue.unfinished() != 0 {
            return complain(Outcome::Twice, format!("{} unfinished: {text}", queue.unfinished()));
        }
        match queue.join_timeout(Duration::from_secs(10)) {
            // What failed before there was this handle is not told.
            Ok(()) => {}
            Err(ChannelError::TasksFailed { count }) if count == failed => {}
            other => return complain(Outcome::Lost, format!("the join: {other:?}; {text}")),
        }
        carry_on(&queue)?;
        Ok(Outcome::Clean)
    }
}

/// The queue is empty, and works: for objects of all kinds, over all grains and entries twice.
fn carry_on(queue: &JoinableQueue<Object>) -> Result<(), Complaint> {
    for (number, length) in (1000..).zip([3, 60, 180, 8, 100, 33, 180, 180, 8, 8, 90, 13]) {
        queue.try_send(&object(number, length))?;
        if queue.len() != 1 || queue.unfinished() != 1 {
            return complain(Outcome::Lost, "one object is not one");
        }
        let task = queue.try_recv()?;
        if read(&task)? != number {
            return complain(Outcome::Lost, format!("{} came from the judge", task.0));
        }
        task.done();
    }
    let tasks = [queue.try_send(&object(1, 3)), queue.try_send(&object(2, 3))];
    tasks.into_iter().collect::<Result<(), _>>()?;
    let held = (queue.try_recv()?, queue.try_recv()?);
    drop((held.0.done(), held.1.done()));
    if queue.is_empty() { Ok(()) } else { complain(Outcome::Twice, "an empty queue is not") }
}
