//! Two children write to one output, one with the lock held for a scope and one that lets go of it by
//! hand.
//!
//! `cargo run --example lock`

use commons::{Mutex, Process};
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let output = Mutex::new(())?;
    let (one, other) = (output.clone(), output);
    let scoped = Process::spawn(move || {
        let _guard = one.lock().expect("nobody dies here");
        println!("Lock acquired via scope");
    })?;
    let direct = Process::spawn(move || {
        let guard = other.lock().expect("nobody dies here");
        println!("Lock acquired directly");
        drop(guard);
    })?;
    scoped.join()?;
    direct.join()?;
    Ok(())
}
