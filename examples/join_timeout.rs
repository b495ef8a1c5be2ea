//! A program waits for a daemon for a limited time, and ends before it.
//!
//! `cargo run --example join_timeout`

use commons::process::{self, Process};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

fn work(time: Duration) {
    println!("Starting: {}", process::current().name());
    sleep(time);
    println!("Exiting : {}", process::current().name());
}

fn main() -> Result<(), Box<dyn Error>> {
    let long = Duration::from_secs(2);
    let daemon = Process::builder().name("daemon").daemon().spawn(move || work(long))?;
    let other = Process::builder().name("non-daemon").spawn(|| work(Duration::ZERO))?;
    daemon.join_timeout(Duration::from_secs(1))?;
    println!("d.is_alive() {}", daemon.is_alive());
    other.join()?;
    Ok(())
}
