//! Five processes that are each a new run of this program, and call a function of another module,
//! which is found without having been registered.
//!
//! `cargo run --example entry`

mod worker;

use commons::Process;
use commons::process::{self, StartMethod};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // First of all: in a child, this calls what the child was started for, and does not return.
    process::entry();
    process::set_start_method(StartMethod::Exec)?;
    for _ in 0..5 {
        Process::call(worker::worker, "Worker".to_owned())?;
    }
    Ok(())
}
