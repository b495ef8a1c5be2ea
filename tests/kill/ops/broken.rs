//! Operations that are wrong on purpose, in plain memory: what the harness has to find.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end, sys,
};
use std::sync::OnceLock;
use std::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, SeqCst},
};

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// An item is published before it is written.
    PublishesFirst,
    /// An item is released after its receipt is acknowledged.
    ReleasesLast,
    /// A lock stays locked when its holder dies.
    StaysLocked,
    /// A sleeper is woken by nobody when its waker dies.
    WakesNobody,
}

const FAULTS: [(Fault, &str, Outcome); 4] = [
    (Fault::PublishesFirst, "broken/publishes-first", Outcome::Lost),
    (Fault::ReleasesLast, "broken/releases-last", Outcome::Twice),
    (Fault::StaysLocked, "broken/stays-locked", Outcome::Wedged),
    (Fault::WakesNobody, "broken/wakes-nobody", Outcome::Wedged),
];

/// Each with what is to be found.
pub(crate) fn operations() -> Vec<(Box<dyn Operation>, Outcome)> {
    let operation = |&(fault, name, outcome)| -> (Box<dyn Operation>, Outcome) {
        (Box::new(Broken { fault, name }), outcome)
    };
    FAULTS.iter().map(operation).collect()
}

struct Broken {
    fault: Fault,
    name: &'static str,
}

/// A ring of one item that is sent once, and a lock.
#[repr(C)]
#[derive(Debug)]
struct Memory {
    tail: AtomicU32,
    head: AtomicU32,
    slot: AtomicU64,
    lock: AtomicU32,
}

const ITEM: u64 = 4711;

fn memory() -> &'static Memory {
    static MEMORY: OnceLock<&'static Memory> = OnceLock::new();
    MEMORY.get_or_init(|| sys::share_as_segment(size_of::<Memory>()))
}

impl Operation for Broken {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let memory = memory();
        let full = self.fault == Fault::ReleasesLast;
        memory.tail.store(u32::from(full), SeqCst);
        memory.head.store(0, SeqCst);
        memory.slot.store(if full { ITEM } else { 0 }, SeqCst);
        memory.lock.store(0, SeqCst);
        Ok(Box::new(Play { fault: self.fault, memory }))
    }
}

struct Play {
    fault: Fault,
    memory: &'static Memory,
}

impl Case for Play {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let memory = self.memory;
        begin();
        match self.fault {
            Fault::PublishesFirst => {
                memory.tail.store(1, SeqCst);
                memory.slot.store(ITEM, SeqCst);
                ledger.pushed.store(1, SeqCst);
            }
            Fault::ReleasesLast => {
                if memory.slot.load(SeqCst) == ITEM {
                    ledger.received.store(1, SeqCst);
                }
                memory.head.store(1, SeqCst);
            }
            Fault::StaysLocked => {
                memory.lock.store(1, SeqCst);
                memory.slot.store(ITEM, SeqCst);
                memory.lock.store(0, SeqCst);
            }
            Fault::WakesNobody => {
                memory.tail.store(1, SeqCst);
                sys::futex_wake(&memory.tail);
            }
        }
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.fault == Fault::WakesNobody { Entrance::Asleep } else { Entrance::Nobody }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        ledger.be_ready();
        sys::futex_wait(&self.memory.tail, 0, None);
        Ok(Outcome::Clean)
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let memory = self.memory;
        let there = memory.tail.load(Acquire) != memory.head.load(Acquire);
        match self.fault {
            Fault::PublishesFirst if there && memory.slot.load(Acquire) != ITEM => {
                complain(Outcome::Lost, "the item is not what was sent")
            }
            Fault::ReleasesLast if there && ledger.received.load(Relaxed) == 1 => {
                complain(Outcome::Twice, "the item comes again")
            }
            Fault::StaysLocked => {
                while memory.lock.compare_exchange(0, 2, SeqCst, SeqCst).is_err() {
                    sys::futex_wait(&memory.lock, 1, None);
                }
                Ok(Outcome::Clean)
            }
            _ => Ok(Outcome::Clean),
        }
    }
}
