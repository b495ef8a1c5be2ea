//! Work that is a type: its processes have its name.
//!
//! `cargo run --example runnable`

use commons::process::{self, Process, Runnable};
use std::error::Error;

struct Worker;

impl Runnable for Worker {
    type Output = ();

    fn run(self) {
        println!("In {}", process::current().name());
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let workers = (0..5).map(|_| Process::run(Worker)).collect::<Result<Vec<_>, _>>()?;
    for worker in workers {
        worker.join()?;
    }
    Ok(())
}
