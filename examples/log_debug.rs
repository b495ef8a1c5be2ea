//! The life of a child in the log, on standard error.
//!
//! `cargo run --features log --example log_debug`

use commons::process::{Process, log_to_stderr};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    log_to_stderr(log::LevelFilter::Debug)?;
    let child = Process::spawn(|| println!("Doing some work"))?;
    child.join()?;
    Ok(())
}
