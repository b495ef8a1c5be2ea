//! A daemon that is joined is waited for like any other child.
//!
//! `cargo run --example daemon_join`

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
    sleep(Duration::from_secs(1));
    let other = Process::builder().name("non-daemon").spawn(|| work(Duration::ZERO))?;
    daemon.join()?;
    other.join()?;
    Ok(())
}
