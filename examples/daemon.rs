//! A program does not wait for a daemon, which ends with it; for another child it does.
//!
//! `cargo run --example daemon`

use commons::process::{self, Process};
use std::thread::sleep;
use std::time::Duration;

fn say(what: &str) {
    let own = process::current();
    println!("{what}: {} {}", own.name(), own.pid());
}

fn main() -> commons::Result<()> {
    Process::builder().name("daemon").daemon().spawn(|| {
        say("Starting");
        sleep(Duration::from_secs(2));
        say("Exiting ");
    })?;
    sleep(Duration::from_secs(1));
    Process::builder().name("non-daemon").spawn(|| {
        say("Starting");
        say("Exiting ");
    })?;
    Ok(())
}
