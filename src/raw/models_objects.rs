//! Models of the queue of objects: see [`super::models`] for how they run.

#![allow(unsafe_code, reason = "loom's cells check every access")]

use super::models::{Beacon, check_under};
use super::mutex::{Condition, RawMutex};
use super::objects::{Entry, Exchange, NOT_KEPT, Shared};
use super::wait_cell::WaitCell;
use crate::sync::crash::{Point, die_at};
use crate::sync::futex::model::Mode;
use crate::sync::robust::List;
use crate::wait::{Asleep, NEVER, Wait, WaitStrategy, block_on};
use loom::cell::UnsafeCell;
use loom::sync::Arc;
use loom::thread;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The stamps of those who receive.
const MORTAL: u64 = 1 << 32 | 1;
const SURVIVOR: u64 = 2 << 32 | 1;

/// A queue of words, one a grain.
struct Queue {
    shared: Shared,
    entries: Vec<Entry>,
    grains: Vec<UnsafeCell<u64>>,
    beacon: Beacon,
}

// SAFETY: loom reports every access to a cell that another thread's could race with.
unsafe impl Send for Queue {}
// SAFETY: as above.
unsafe impl Sync for Queue {}

/// A wait until a look at the queue says yes.
struct Until<'a>(&'a Queue, fn(&Exchange<'_>) -> bool);

impl<'a> Wait<'a> for Until<'a> {
    type Output = ();

    fn poll(&mut self) -> Option<()> {
        (self.1)(&self.0.exchange()).then_some(())
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, ()> {
        Ok(Asleep { other: self.0.beacon.watch(), slice: NEVER })
    }
}

impl Queue {
    fn new(capacity: usize, entries: usize) -> Arc<Self> {
        Arc::new(Queue {
            shared: Shared::new(9, entries as u32, 0, u64::MAX, 0),
            entries: (0..entries).map(|_| Entry::new()).collect(),
            grains: (0..capacity).map(|_| UnsafeCell::new(0)).collect(),
            beacon: Beacon::new(),
        })
    }

    fn exchange(&self) -> Exchange<'_> {
        let Queue { shared, entries, grains, .. } = self;
        Exchange { shared, entries, capacity: grains.len() as u64, limit: 9 }
    }

    /// Does `work` as the owner of a lock.
    fn locked<R>(&self, list: List, lock: &RawMutex, work: impl FnOnce(Exchange<'_>) -> R) -> R {
        // SAFETY: this thread's list; the queue outlives the model.
        let slot = unsafe { lock.lock(list, NEVER) }.expect("no deadline");
        if lock.enter(list) != Condition::Clean {
            lock.begin_repair(list);
            self.exchange().repair();
            lock.end_repair(list);
        }
        let result = work(self.exchange());
        lock.leave();
        // SAFETY: acquired above.
        assert!(unsafe { lock.unlock(list, slot) });
        result
    }

    fn wait(&self, cell: &WaitCell, until: fn(&Exchange<'_>) -> bool) {
        block_on(&mut Until(self, until), cell, WaitStrategy::Park, NEVER).expect("no deadline");
    }

    /// Sends a word, waiting for space.
    fn send(&self, list: List, word: u64) {
        loop {
            let sent = self.locked(list, &self.shared.write.lock, |exchange| {
                let free = exchange.free(1).expect("the places agree");
                if free.count > 0 {
                    // SAFETY: loom hands out the pointer for this access alone.
                    self.grains[free.slot as usize].with_mut(|at| unsafe { *at = word });
                    exchange.publish(1, 1);
                }
                free.count > 0
            });
            if sent {
                return Exchange::notify(&self.shared.items, true);
            }
            self.wait(&self.shared.space, |exchange| exchange.has_room(|_| 1));
        }
    }

    /// Takes a word and leaves it in flight.
    fn take(&self, list: List, stamp: u64) -> Option<(usize, u64)> {
        let taken = self.locked(list, &self.shared.read.lock, |exchange| {
            let found = exchange.available().expect("the places agree");
            (found.count > 0).then(|| {
                let entry = exchange.free_entry(0).expect("there are enough");
                // SAFETY: loom hands out the pointer for this access alone.
                let word = self.grains[found.slot as usize].with(|at| unsafe { *at });
                exchange.hold(entry, stamp, NOT_KEPT);
                exchange.release(1, 1);
                (entry, word)
            })
        });
        if taken.is_some() {
            Exchange::notify(&self.shared.space, true);
        }
        taken
    }

    /// Receives a word, waiting for it.
    fn receive(&self, list: List, stamp: u64) -> u64 {
        loop {
            if let Some((entry, word)) = self.take(list, stamp) {
                self.exchange().finish(entry);
                return word;
            }
            self.wait(&self.shared.items, |exchange| exchange.is_readable());
        }
    }
}

/// Runs `body` as a process that dies at `point`, unless it does not come there; `None`: it died.
fn mortal<R>(list: List, point: Option<Point>, body: impl FnOnce() -> R) -> Option<R> {
    die_at(point);
    let done = catch_unwind(AssertUnwindSafe(body));
    die_at(None);
    match done {
        Ok(result) => Some(result),
        Err(panic) if panic.is::<&str>() || panic.is::<String>() => {
            std::panic::resume_unwind(panic)
        }
        Err(_) => {
            list.die();
            None
        }
    }
}

const POINTS: [Option<Point>; 7] = [
    None,
    Some(Point::LockAcquired),
    Some(Point::Claimed),
    Some(Point::Written),
    Some(Point::Published),
    Some(Point::LockUnlinked),
    Some(Point::LockFreed),
];

fn check(name: &str, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    check_under(&[Mode::Sleeps], 3, name, scenario);
}

#[test]
fn words_arrive_once_and_in_order_and_space_comes_back() {
    for (capacity, words) in [(1, 2), (2, 3)] {
        check(&format!("objects, {words} words in {capacity} grains"), move || {
            let queue = Queue::new(capacity, 1);
            let theirs = queue.clone();
            let sender = thread::spawn(move || {
                (1..=words).for_each(|word| theirs.send(List::of_thread(1), word));
            });
            for word in 1..=words {
                assert_eq!(queue.receive(List::of_thread(2), SURVIVOR), word);
            }
            sender.join().unwrap();
            assert!(queue.exchange().is_finished());
        });
    }
}

#[test]
fn a_word_that_its_consumer_died_over_is_there_or_lost_once() {
    for point in POINTS {
        check(&format!("objects, a consumer killed at {point:?}"), move || {
            let queue = Queue::new(2, 2);
            let list = List::of_thread(3);
            (1..=2).for_each(|word| queue.send(list, word));
            let theirs = queue.clone();
            let victim = thread::spawn(move || {
                let list = List::of_thread(1);
                mortal(list, point, || theirs.receive(list, MORTAL))
            });
            let mut came = vec![queue.receive(list, SURVIVOR)];
            let died = victim.join().unwrap();
            came.extend(died);
            // The kernel says that it is gone.
            queue.exchange().sweep(MORTAL);
            while let Some((entry, word)) = queue.take(list, SURVIVOR) {
                queue.exchange().finish(entry);
                came.push(word);
            }
            let lost = queue.exchange().lost(|_| {});
            came.sort_unstable();
            assert!(came.windows(2).all(|two| two[0] < two[1]), "a word came twice: {came:?}");
            assert_eq!(came.len() as u64 + lost, 2, "{came:?} came, {lost} lost");
            assert!(queue.exchange().is_finished());
        });
    }
}

#[test]
fn a_producer_that_died_is_in_nobody_s_way() {
    for point in POINTS {
        check(&format!("objects, a producer killed at {point:?}"), move || {
            let queue = Queue::new(2, 1);
            let theirs = queue.clone();
            let victim = thread::spawn(move || {
                let list = List::of_thread(1);
                mortal(list, point, || theirs.send(list, 1))
            });
            let list = List::of_thread(3);
            queue.send(list, 2);
            let acknowledged = victim.join().unwrap().is_some();
            let mut came = Vec::new();
            while let Some((entry, word)) = queue.take(list, SURVIVOR) {
                queue.exchange().finish(entry);
                came.push(word);
            }
            assert!(came.contains(&2) && (!acknowledged || came.contains(&1)));
            came.sort_unstable();
            assert!(came == [2] || came == [1, 2], "{came:?}");
        });
    }
}

#[test]
fn nothing_is_finished_while_a_task_has_sent_another() {
    check("objects, is_finished beside a task that sends one", || {
        let queue = Queue::new(2, 2);
        let list = List::of_thread(3);
        queue.send(list, 1);
        let (entry, _) = queue.take(list, MORTAL).expect("it is there");
        let theirs = queue.clone();
        let joiner = thread::spawn(move || theirs.exchange().is_finished());
        queue.send(list, 2);
        queue.exchange().finish(entry);
        assert!(!joiner.join().unwrap(), "the second is never finished");
    });
}
