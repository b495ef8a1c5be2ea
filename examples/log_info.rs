//! The life of a child in the log without details. The child has the level of its parent.
//!
//! `cargo run --features log --example log_info`

use commons::process::{Process, log_to_stderr};
use log::LevelFilter;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    log_to_stderr(LevelFilter::Warn)?;
    // The level is the one of the `log` crate, and may be set there.
    log::set_max_level(LevelFilter::Info);
    let child = Process::spawn(|| {
        log::debug!("not to be seen");
        println!("Doing some work");
    })?;
    child.join()?;
    Ok(())
}
