//! Whether what several processes did with one queue at the same time is what one process could have done,
//! one operation after the other, each at some moment between its begin and its end.
//!
//! The search is Wing and Gong's ("Testing and Verifying Concurrent Objects", 1993), and remembers states
//! that led nowhere, as Lowe's does ("Testing for Linearizability", 2017).
//!
//! The specification is a queue that holds so many items, first in, first out. An operation that does not
//! wait may give up where somebody else is in the middle of one: finding nothing is right where the queue
//! is empty, or a put overlaps; finding it full where it is, or a take overlaps.

#![cfg(feature = "serde")]

mod common;

use common::{Random, child, watchdog};
use commons::{AtomicU64, Barrier, ChannelError, ObjectQueue, Queue, objects, queue};
use serde::{Deserialize, Serialize};
use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum What {
    /// An item, and whether it went in.
    Put(u64, bool),
    Take(Option<u64>),
}

/// An operation, between two ticks of a clock that all share.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Operation {
    begin: u64,
    end: u64,
    what: What,
}

impl Operation {
    fn overlaps(&self, other: &Operation) -> bool {
        self.begin < other.end && other.begin < self.end
    }
}

/// The search through one history.
struct Search<'a> {
    history: &'a [Operation],
    capacity: usize,
    /// Of each operation, whether it may have found nothing or no room because of another one.
    excused: Vec<bool>,
    /// States that lead nowhere: what is done, and what the queue holds.
    hopeless: HashSet<(u64, VecDeque<u64>)>,
}

/// Whether there is an order in which these operations make sense.
fn is_linearizable(history: &[Operation], capacity: usize) -> bool {
    assert!(history.len() <= 64, "a history of {} operations", history.len());
    let excused = history.iter().map(|one| match one.what {
        What::Take(None) => {
            history.iter().any(|o| matches!(o.what, What::Put(_, true)) && o.overlaps(one))
        }
        What::Put(_, false) => {
            history.iter().any(|o| matches!(o.what, What::Take(Some(_))) && o.overlaps(one))
        }
        _ => false,
    });
    let excused = excused.collect();
    let mut search = Search { history, capacity, excused, hopeless: HashSet::new() };
    search.go_on(0, &VecDeque::new())
}

impl Search<'_> {
    fn go_on(&mut self, done: u64, queue: &VecDeque<u64>) -> bool {
        let left = |i: &usize| done & 1 << i == 0;
        // The first end of those that are left: what begins after it is not next.
        let until = (0..self.history.len()).filter(left).map(|i| self.history[i].end).min();
        let Some(until) = until else { return true };
        if self.hopeless.contains(&(done, queue.clone())) {
            return false;
        }
        for i in (0..self.history.len()).filter(left) {
            if self.history[i].begin < until
                && let Some(after) = self.step(i, queue)
                && self.go_on(done | 1 << i, &after)
            {
                return true;
            }
        }
        self.hopeless.insert((done, queue.clone()));
        false
    }

    /// What the queue holds after an operation, if that gives then what it gave.
    fn step(&self, i: usize, queue: &VecDeque<u64>) -> Option<VecDeque<u64>> {
        let mut after = queue.clone();
        let right = match self.history[i].what {
            What::Put(item, true) => {
                after.push_back(item);
                after.len() <= self.capacity
            }
            What::Put(_, false) => queue.len() == self.capacity || self.excused[i],
            What::Take(Some(item)) => after.pop_front() == Some(item),
            What::Take(None) => queue.is_empty() || self.excused[i],
        };
        right.then_some(after)
    }
}

fn print(history: &[Operation]) -> String {
    let line = |o: &Operation| format!("{} to {}: {:?}\n", o.begin, o.end, o.what);
    history.iter().map(line).collect()
}

/// A history, written by hand: begin, end, what.
fn written(operations: &[(u64, u64, What)]) -> Vec<Operation> {
    operations.iter().map(|&(begin, end, what)| Operation { begin, end, what }).collect()
}

#[test]
fn the_search_tells_right_from_wrong() {
    use What::{Put, Take};
    let right = [
        vec![(0, 1, Put(1, true)), (2, 3, Put(2, true)), (4, 5, Take(Some(1)))],
        // At the same time, so in any order.
        vec![
            (0, 3, Put(1, true)),
            (1, 2, Put(2, true)),
            (4, 5, Take(Some(2))),
            (6, 7, Take(Some(1))),
        ],
        vec![(0, 9, Take(Some(1))), (1, 2, Put(1, true))],
        vec![(0, 1, Put(1, true)), (2, 3, Put(2, true)), (4, 5, Put(3, false))],
        vec![(0, 1, Take(None)), (2, 5, Put(1, true)), (3, 4, Take(None)), (6, 7, Take(Some(1)))],
    ];
    for history in right {
        assert!(is_linearizable(&written(&history), 2), "{history:?}");
    }
    let wrong = [
        // In the wrong order, twice, out of nothing, one too many.
        vec![(0, 1, Put(1, true)), (2, 3, Put(2, true)), (4, 5, Take(Some(2)))],
        vec![(0, 1, Put(1, true)), (2, 5, Take(Some(1))), (3, 4, Take(Some(1)))],
        vec![(0, 1, Take(Some(1))), (2, 3, Put(1, true))],
        vec![(0, 1, Put(1, true)), (2, 3, Put(2, true)), (4, 5, Put(3, true))],
        // Nothing found, and no room, although nobody else was there.
        vec![(0, 1, Put(1, true)), (2, 3, Take(None))],
        vec![(0, 1, Put(1, true)), (2, 3, Put(2, false)), (4, 5, Take(Some(1)))],
        // Each order makes sense for one of the two takers, and none for both.
        vec![
            (0, 3, Put(1, true)),
            (1, 2, Put(2, true)),
            (4, 5, Take(Some(1))),
            (6, 7, Take(Some(1))),
        ],
        // Lost.
        vec![(0, 1, Put(1, true)), (2, 3, Put(2, true)), (4, 5, Take(Some(1))), (6, 7, Take(None))],
    ];
    for history in wrong {
        assert!(!is_linearizable(&written(&history), 2), "{history:?}");
    }
}

/// A queue of items.
trait Items: Clone + Send + 'static {
    /// `None`: it was not told whether there was room.
    fn put(&self, item: u64, waits: bool) -> Option<bool>;
    fn take(&self, waits: bool) -> Option<Option<u64>>;
}

const MOMENT: Duration = Duration::from_micros(200);

fn told<T>(result: Result<T, ChannelError>) -> Option<Option<T>> {
    match result {
        Ok(gain) => Some(Some(gain)),
        Err(ChannelError::Empty | ChannelError::Full) => Some(None),
        // It waited for longer than it may, and did nothing.
        Err(ChannelError::TimedOut) => None,
        Err(other) => panic!("{other}"),
    }
}

impl Items for Queue<u64> {
    fn put(&self, item: u64, waits: bool) -> Option<bool> {
        let sent = if waits { self.send_timeout(item, MOMENT) } else { self.try_send(item) };
        told(sent.map_err(|rejected| rejected.reason)).map(|sent| sent.is_some())
    }
    fn take(&self, waits: bool) -> Option<Option<u64>> {
        told(if waits { self.recv_timeout(MOMENT) } else { self.try_recv() })
    }
}

impl Items for ObjectQueue<u64> {
    fn put(&self, item: u64, waits: bool) -> Option<bool> {
        let sent = if waits { self.send_timeout(&item, MOMENT) } else { self.try_send(&item) };
        told(sent).map(|sent| sent.is_some())
    }
    fn take(&self, waits: bool) -> Option<Option<u64>> {
        told(if waits { self.recv_timeout(MOMENT) } else { self.try_recv() })
    }
}

const PROCESSES: usize = 3;
const ROUNDS: u64 = 300;
/// Operations of each process in a round.
const EACH: u64 = 10;

/// Lets processes loose on a queue, round after round, and judges each round.
fn check(test: &str, queue: &impl Items, capacity: usize) {
    let (clock, barrier) = (AtomicU64::new(0).unwrap(), Barrier::new(PROCESSES as u32).unwrap());
    let mut seeds = Random::seeded(test);
    let children: Vec<_> = (0..PROCESSES)
        .map(|me| {
            let (queue, clock, barrier) = (queue.clone(), clock.clone(), barrier.clone());
            let mut random = Random::of(seeds.number());
            child(move || {
                (0..ROUNDS)
                    .map(|round| {
                        barrier.wait().unwrap();
                        let mut done =
                            work(&queue, &clock, &mut random, round << 8 | (me as u64) << 4);
                        barrier.wait().unwrap();
                        // One takes what is left, to the look that finds nothing.
                        let mut left = me == 0;
                        while left {
                            let last = timed(&clock, || queue.take(false).map(What::Take));
                            left = last.is_some_and(|last| last.what != What::Take(None));
                            done.extend(last);
                        }
                        done
                    })
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let histories: Vec<_> = children.into_iter().map(|child| child.finish()).collect();
    let (mut overlaps, mut failures) = (0, 0);
    for round in 0..ROUNDS as usize {
        let history: Vec<Operation> = histories.iter().flat_map(|h| &h[round]).copied().collect();
        let mut history = history;
        history.sort_by_key(|operation| operation.begin);
        assert!(is_linearizable(&history, capacity), "round {round}:\n{}", print(&history));
        let apart = |o: &Operation| history.iter().filter(|other| o.overlaps(other)).count() == 1;
        overlaps += history.iter().filter(|o| !apart(o)).count();
        failures += history.iter().filter(|o| matches!(o.what, What::Put(_, false))).count();
    }
    // It has seen something.
    assert!(overlaps > 50 && failures > 50, "{overlaps} overlapped, {failures} found no room");
}

fn timed(clock: &AtomicU64, act: impl FnOnce() -> Option<What>) -> Option<Operation> {
    let begin = clock.fetch_add(1, SeqCst);
    let what = act()?;
    Some(Operation { begin, end: clock.fetch_add(1, SeqCst), what })
}

fn work(queue: &impl Items, clock: &AtomicU64, random: &mut Random, first: u64) -> Vec<Operation> {
    let mut done = Vec::new();
    for i in 0..EACH {
        let (puts, waits) = (random.below(2) == 0, random.below(4) == 0);
        done.extend(timed(clock, || {
            if puts {
                queue.put(first | i, waits).map(|sent| What::Put(first | i, sent))
            } else {
                queue.take(waits).map(What::Take)
            }
        }));
        (0..random.below(200)).for_each(|_| std::hint::spin_loop());
    }
    done
}

#[test]
fn a_queue_is_linearizable() {
    let _watchdog = watchdog();
    check("queue", &Queue::<u64>::new(3).unwrap(), 3);
}

#[test]
fn a_queue_whose_messages_come_again_is_linearizable() {
    let _watchdog = watchdog();
    let queue = queue::Builder::new(2).at_least_once(4).build::<u64>().unwrap();
    check("at least once", &queue, 2);
}

#[test]
fn a_queue_of_objects_is_linearizable() {
    let _watchdog = watchdog();
    let queue = objects::Builder::new(1024).limit(2).build::<u64>().unwrap();
    check("objects", &queue, 2);
}
