//! Three processes, two of them with names of their own, say who they are.
//!
//! `cargo run --example names`

use commons::process::{self, Process};
use std::thread::sleep;
use std::time::{Duration, Instant};

fn work(tenths: u64) {
    let own = process::current();
    println!("{} Starting", own.name());
    sleep(Duration::from_millis(100 * tenths));
    println!("{} Exiting", own.name());
}

fn main() -> commons::Result<()> {
    let since = Instant::now();
    let service = Process::builder().name("my_service").spawn(|| work(6))?;
    Process::builder().name("worker 1").spawn(|| work(2))?;
    Process::spawn(|| work(2))?;
    if service.wait().is_ok() {
        println!("after {:.1} s", since.elapsed().as_secs_f64());
    }
    Ok(())
}
