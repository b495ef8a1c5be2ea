//! Children take objects from a queue and call a method of theirs: one, and then three for three.
//!
//! `cargo run --example queue_object`

use commons::{ObjectQueue, Process};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Serialize, Deserialize)]
struct Fancy {
    name: String,
}

impl Fancy {
    fn do_something(&self, process: &str) {
        println!("Doing something fancy in {process} for {}", self.name);
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let queue = ObjectQueue::<Fancy>::new(4096)?;
    let theirs = queue.clone();
    let worker = Process::spawn(move || {
        theirs.recv().expect("an object").do_something("Process-1");
    })?;
    queue.send(&Fancy { name: "Fancy Dan!".to_owned() })?;
    // What was sent is in shared memory: nothing is to be flushed.
    queue.close();
    worker.join()?;

    let queue = ObjectQueue::<Fancy>::new(4096)?;
    let mut workers = Vec::new();
    for i in 1..=3 {
        let queue = queue.clone();
        workers.push(Process::spawn(move || {
            queue.recv().expect("an object").do_something(&format!("Process-{i}"));
        })?);
    }
    for i in 0..3 {
        queue.send(&Fancy { name: format!("Fancy Dan {i}") })?;
    }
    for worker in workers {
        worker.join()?;
    }
    Ok(())
}
