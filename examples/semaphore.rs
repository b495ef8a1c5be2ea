//! Ten children, at most three of them at work at a time; and five that share two permits.
//!
//! `cargo run --example semaphore`

use commons::{Mutex, PermitPool, Process, Semaphore};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

const WORKERS: usize = 10;

/// Who is at work: a bit for each worker.
struct Active(Mutex<u32>);

impl Active {
    /// Notes that a worker begins or ends, and gives all that are at work.
    fn note(&self, worker: usize, works: bool) -> Vec<usize> {
        let mut active = self.0.lock().expect("nobody dies here");
        if works {
            *active |= 1 << worker;
        } else {
            *active &= !(1 << worker);
        }
        // Printed under the lock: so the lines are in order.
        let names = workers(*active);
        let what = if works { "Activating" } else { "Leaving" };
        println!("{what} {worker} now running {names:?}");
        names
    }
}

fn workers(active: u32) -> Vec<usize> {
    (0..WORKERS).filter(|worker| active & 1 << worker != 0).collect()
}

fn main() -> Result<(), Box<dyn Error>> {
    // Permits with a holder: one that is killed at work gives its permit back.
    let (pool, active) = (PermitPool::new(3)?, Mutex::new(0u32)?);
    let mut children = Vec::new();
    for worker in 0..WORKERS {
        let (pool, active) = (pool.clone(), Active(active.clone()));
        children.push(Process::spawn(move || {
            let _permit = pool.acquire().expect("a permit");
            assert!(active.note(worker, true).len() <= 3);
            sleep(Duration::from_millis(worker as u64 * 37 % 100));
            active.note(worker, false);
        })?);
    }
    for child in children {
        child.join()?;
    }
    println!("Now running {:?}", workers(*active.lock()?));

    // Permits that are counts.
    let semaphore = Semaphore::bounded(2, 2)?;
    let mut children = Vec::new();
    for worker in 1..=5u64 {
        let semaphore = semaphore.clone();
        children.push(Process::spawn(move || {
            semaphore.acquire().expect("a permit");
            println!("process {worker} acquire");
            sleep(Duration::from_millis(worker * 20));
            println!("process {worker} release");
            semaphore.release(1).expect("there were no more");
        })?);
    }
    for child in children {
        child.join()?;
    }
    assert_eq!(semaphore.value(), 2);
    Ok(())
}
