//! What a process says of a child before it starts, while it runs, and after its end.
//!
//! What is said after `terminate` is how it is at that moment: the child may have ended by then, or not
//! yet. It would work for a minute, so that it runs until then on a slow machine, too.
//!
//! `cargo run --example terminate`

use commons::process::{Process, active_children};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let builder = Process::builder();
    // There is no child yet that could be asked.
    let is_alive = active_children().iter().any(|child| child.name() == "Process-1");
    println!("BEFORE: {builder} {is_alive}");
    let process = builder.spawn(|| {
        sleep(Duration::from_secs(60));
        println!("Finished working");
    })?;
    println!("DURING: {process} {}", process.is_alive());
    process.terminate()?;
    println!("TERMINATED: {process} {}", process.is_alive());
    process.wait()?;
    println!("JOINED: {process} {}", process.is_alive());
    Ok(())
}
