//! Three processes, two of them with names of their own, say who they are. The third is called by its
//! number.
//!
//! `cargo run --example names`

use commons::process::{self, Process};
use std::thread::sleep;
use std::time::Duration;

fn work(seconds: u64) {
    let own = process::current();
    println!("{} Starting", own.name());
    sleep(Duration::from_secs(seconds));
    println!("{} Exiting", own.name());
}

fn main() -> commons::Result<()> {
    Process::builder().name("my_service").spawn(|| work(3))?;
    Process::builder().name("worker 1").spawn(|| work(2))?;
    Process::spawn(|| work(2))?;
    Ok(())
}
