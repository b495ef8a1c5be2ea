//! Five processes with a number each, and five more that print a line when they begin and another
//! when they are done.
//!
//! `cargo run --example worker_args`

use commons::Process;

fn worker(number: u32) {
    println!("Worker: {number}");
}

fn talker(number: u32) {
    println!("Worker process {number} starting");
    println!("Worker process {number} finishing");
}

fn main() -> commons::Result<()> {
    for number in 0..5 {
        Process::spawn(move || worker(number))?;
    }
    for number in 0..5 {
        Process::spawn(move || talker(number))?;
    }
    Ok(())
}
