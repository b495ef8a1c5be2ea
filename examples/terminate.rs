//! What a process says of a child before it starts, while it runs, and after its end.
//!
//! `cargo run --example terminate`

use commons::process::{Process, active_children};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Process::builder();
    println!("BEFORE: {builder} {}", !active_children().is_empty());
    let process = builder.spawn(|| {
        sleep(Duration::from_secs(60));
        println!("Finished working");
    })?;
    println!("DURING: {process} {}", process.is_alive());
    process.terminate()?;
    // It may have ended by now, or not yet.
    println!("TERMINATED: {process}");
    process.wait()?;
    println!("JOINED: {process} {}", process.is_alive());
    Ok(())
}
