//! A child sums the numbers that it takes from a queue until it is told to stop, and puts the sum on the
//! same queue.
//!
//! `cargo run --example sum_queue`

use commons::{ObjectQueue, Process};
use serde::{Deserialize, Serialize};
use std::error::Error;

#[derive(Serialize, Deserialize)]
enum Item {
    Number(i64),
    Stop,
}

fn main() -> Result<(), Box<dyn Error>> {
    let queue = ObjectQueue::<Item>::new(4096)?;
    let theirs = queue.clone();
    let child = Process::spawn(move || {
        let mut sum = 0;
        while let Item::Number(number) = theirs.recv().expect("an item") {
            sum += number;
        }
        theirs.send(&Item::Number(sum)).expect("there is room");
    })?;
    for number in 0..5 {
        queue.send(&Item::Number(number))?;
    }
    queue.send(&Item::Stop)?;
    // Both directions in one queue: right only because the parent reads after the child has ended.
    child.join()?;
    if let Item::Number(sum) = queue.recv()? {
        println!("{sum}");
    }
    Ok(())
}
