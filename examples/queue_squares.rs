//! One child puts squares on a queue and ends; another prints what is there.
//!
//! `cargo run --example queue_squares`

use commons::{ObjectQueue, Process};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let queue = ObjectQueue::<u64>::new(4096)?;
    let theirs = queue.clone();
    let producer = Process::spawn(move || {
        for number in 1..=4u64 {
            theirs.send(&(number * number)).expect("there is room");
        }
    })?;
    producer.join()?;

    let printer = Process::spawn(move || {
        println!("Queue elements:");
        while !queue.is_empty() {
            println!("{}", queue.recv().expect("there is one"));
        }
        println!("Queue is now empty!");
    })?;
    printer.join()?;
    Ok(())
}
