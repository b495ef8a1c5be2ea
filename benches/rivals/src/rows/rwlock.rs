//! `rwlock/*`: a share alone, two at once, and the lock for oneself.

use commons::RwLock;
use std::hint::black_box;
use std::sync::Arc;

use crate::harness::{Contender, Row};
use crate::ours::spawned;
use crate::peer::{self, Plan};
use crate::work::Result;

const VALUE: u64 = 7;

/// What reads a value `n` times, and says how often it was the one that is there.
fn reader(mut read: impl FnMut() -> Result<u64>) -> impl FnMut(u64) -> Result<u64> {
    move |n| {
        let mut found = 0;
        for _ in 0..n {
            found += u64::from(black_box(&mut read)()? == VALUE);
        }
        Ok(found)
    }
}

/// What writes a value `n` times, and says how much it has become.
fn writer(mut add: impl FnMut() -> Result<u64>) -> impl FnMut(u64) -> Result<u64> {
    let mut before = 0;
    move |n| {
        let mut now = before;
        for _ in 0..n {
            now = black_box(&mut add)()?;
        }
        Ok(now - std::mem::replace(&mut before, now))
    }
}

fn ours_read(lock: RwLock<u64>) -> impl FnMut(u64) -> Result<u64> {
    reader(move || Ok(*lock.read()?))
}

fn std_read(lock: Arc<std::sync::RwLock<u64>>) -> impl FnMut(u64) -> Result<u64> {
    reader(move || Ok(*lock.read().map_err(|_| "poisoned")?))
}

fn ours_alone(plan: &Plan) -> Result<f64> {
    peer::alone(plan, ours_read(RwLock::new(VALUE)?))
}

fn ours_two(plan: &Plan) -> Result<f64> {
    let ours = RwLock::new(VALUE)?;
    let theirs = ours.clone();
    spawned(plan, move || Ok(ours_read(theirs)), || Ok(ours_read(ours)))
}

fn ours_write(plan: &Plan) -> Result<f64> {
    let lock = RwLock::new(0u64)?;
    let add = move || {
        let mut guard = lock.write()?;
        *guard += 1;
        Ok(*guard)
    };
    peer::alone(plan, writer(add))
}

fn std_alone(plan: &Plan) -> Result<f64> {
    peer::alone(plan, std_read(Arc::new(std::sync::RwLock::new(VALUE))))
}

fn std_two(plan: &Plan) -> Result<f64> {
    let ours = Arc::new(std::sync::RwLock::new(VALUE));
    let theirs = ours.clone();
    peer::threaded(plan, || Ok(std_read(theirs)), || Ok(std_read(ours)))
}

fn std_write(plan: &Plan) -> Result<f64> {
    let lock = std::sync::RwLock::new(0u64);
    let add = move || {
        let mut guard = lock.write().map_err(|_| "poisoned")?;
        *guard += 1;
        Ok(*guard)
    };
    peer::alone(plan, writer(add))
}

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    let std = |run| Contender { name: "std::sync::RwLock (threads)", run };
    let ours = |run| vec![Contender { name: "", run }];
    let alone = Row {
        name: "rwlock/read_alone",
        work: "read lock, read, unlock; one process",
        bar: None,
        asleep: false,
        grain: 8,
        limit: std(std_alone),
        ours: ours(ours_alone),
        rivals: vec![],
        absent: &[],
    };
    let two = Row {
        name: "rwlock/read_two",
        work: "read lock, read, unlock; two processes at once",
        limit: std(std_two),
        ours: ours(ours_two),
        rivals: vec![],
        ..alone
    };
    let write = Row {
        name: "rwlock/write_alone",
        work: "write lock, add one, unlock; one process",
        limit: std(std_write),
        ours: ours(ours_write),
        rivals: vec![],
        ..two
    };
    vec![alone, two, write]
}
