//! The ledger of a storm: what many producers, one after the other, sent, and what many consumers
//! received.
//!
//! Each producer has a number of its own and counts its items from 0. So the stream is a sequence of
//! runs, each of which goes from 0 to what its producer acknowledged, or to the end of the batch in
//! which it died.

use crate::harness::{Complaint, Outcome, sys};
use crate::ops::{Author, Item, complain};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

/// Producers of one storm at most.
pub(crate) const PRODUCERS: usize = 1 << 17;

/// The ledger.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Log {
    /// Next item to come: producer in the upper half, its item in the lower. By the consumer.
    next: AtomicU64,
    /// One above the last item that was looked at in place, likewise.
    seen: AtomicU64,
    /// Items that the consumer may be holding when it dies: the batch of its current operation.
    holding: AtomicU64,
    /// Items received by all.
    pub(crate) received: AtomicU64,
    /// Times that a consumer was given what a dead one had looked at.
    pub(crate) redelivered: AtomicU64,
    /// 1: the producer is to close, and the consumer to take what is left.
    stop: AtomicU64,
    /// Items that each producer acknowledged.
    acknowledged: [AtomicU64; PRODUCERS],
}

/// The place of an item in the stream.
fn place(producer: u64, item: u64) -> u64 {
    producer << 32 | item
}

impl Log {
    pub(crate) fn share() -> &'static Log {
        sys::share(size_of::<Log>())
    }

    pub(crate) fn clear(&self) {
        let words = [&self.next, &self.seen, &self.holding, &self.received, &self.redelivered];
        for word in words.into_iter().chain([&self.stop]).chain(&self.acknowledged) {
            word.store(0, Relaxed);
        }
    }

    pub(crate) fn stop(&self) {
        self.stop.store(1, Release);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stop.load(Acquire) != 0
    }

    /// The item that comes after what a producer acknowledged.
    pub(crate) fn item<T: Item>(&self, producer: u64, ahead: u64) -> T {
        let item = self.acknowledged[producer as usize].load(Relaxed) + ahead;
        T::new(place(producer, item), Author::Victim)
    }

    pub(crate) fn acknowledge(&self, producer: u64, items: u64) {
        self.acknowledged[producer as usize].fetch_add(items, Release);
    }

    /// Begins the ledger of one consumer, which follows a dead one.
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { log: self, missing: self.holding.load(Acquire), first: true }
    }
}

/// What one consumer checks.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    log: &'a Log,
    /// Items that its predecessor may have taken with it.
    missing: u64,
    first: bool,
}

impl Reader<'_> {
    /// Says how many items the next operation takes at most.
    pub(crate) fn reach_for(&self, batch: u64) {
        self.log.holding.store(self.missing + batch, Release);
    }

    /// Writes down what was looked at in place.
    pub(crate) fn see<T: Item>(&mut self, items: &[T]) {
        if let Some((number, _)) = items.last().and_then(Item::read) {
            self.log.seen.store(number + 1, Release);
        }
    }

    /// Checks items in a row and writes down that they are received.
    pub(crate) fn receive<T: Item>(&mut self, items: &[T]) -> Result<(), Complaint> {
        for item in items {
            let Some((number, _)) = item.read() else {
                return complain(Outcome::Lost, "an item is torn");
            };
            self.check(number)?;
            self.log.next.store(number + 1, Release);
        }
        self.log.received.fetch_add(items.len() as u64, Release);
        self.first = false;
        self.missing = 0;
        Ok(())
    }

    /// Tells whether the first item was seen by the predecessor. Before anything is looked at.
    pub(crate) fn notice_return<T: Item>(&self, item: &T) {
        if let Some((number, _)) = item.read()
            && self.first
            && number < self.log.seen.load(Acquire)
        {
            self.log.redelivered.fetch_add(1, Relaxed);
        }
    }

    /// How many acknowledged items are missing between the last one received and this one.
    fn gap(&self, number: u64) -> Option<u64> {
        let next = self.log.next.load(Acquire);
        let (producer, item) = (number >> 32, number & u64::from(u32::MAX));
        let (last_producer, next_item) = (next >> 32, next & u64::from(u32::MAX));
        if producer == last_producer {
            return item.checked_sub(next_item);
        }
        producer.checked_sub(last_producer)?;
        let acknowledged = |p: u64| self.log.acknowledged[p as usize].load(Acquire);
        let tail = acknowledged(last_producer).saturating_sub(next_item);
        let between: u64 = (last_producer + 1..producer).map(acknowledged).sum();
        Some(tail + between + item)
    }

    fn check(&mut self, number: u64) -> Result<(), Complaint> {
        let next = self.log.next.load(Relaxed);
        let text = format!("after {next:#x} came {number:#x} (upper half: producer)");
        match self.gap(number) {
            None => complain(Outcome::Twice, text),
            Some(gap) if gap > self.missing => complain(Outcome::Lost, text),
            Some(gap) => {
                self.missing -= gap;
                Ok(())
            }
        }
    }

    /// Everything has been received: nothing that was acknowledged is missing.
    pub(crate) fn check_end(&self, producers: u64) -> Result<(), Complaint> {
        match self.gap(place(producers, 0)) {
            Some(gap) if gap <= self.missing => Ok(()),
            _ => complain(Outcome::Lost, "the last acknowledged items never came"),
        }
    }
}
