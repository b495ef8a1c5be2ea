//! A child handles every item that it takes from a queue, until it gets none.
//!
//! `cargo run --example consume`

use commons::{ObjectQueue, Process};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let queue = ObjectQueue::<Option<u32>>::new(4096)?;
    let theirs = queue.clone();
    let consumer = Process::spawn(move || {
        while let Some(item) = theirs.recv().expect("an item, or none") {
            println!("Processing {item}");
        }
    })?;
    for item in 0..5 {
        queue.send(&Some(item))?;
    }
    queue.send(&None)?;
    consumer.join()?;
    Ok(())
}
