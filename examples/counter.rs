//! Four children add to one number under its lock.
//!
//! `cargo run --example counter`

use commons::{Mutex, Process};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let count = Mutex::new(0u64)?;
    let mut children = Vec::new();
    for _ in 0..4 {
        let count = count.clone();
        children.push(Process::spawn(move || {
            for _ in 0..1000 {
                *count.lock().expect("nobody dies here") += 1;
            }
        })?);
    }
    for child in children {
        child.join()?;
    }
    println!("Final count: {}", *count.lock()?);
    Ok(())
}
