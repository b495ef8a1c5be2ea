//! Five processes, each of which prints one word. The program ends when all have ended, though it
//! does not say so.
//!
//! `cargo run --example workers`

use commons::Process;

fn worker() {
    println!("Worker");
}

fn main() -> commons::Result<()> {
    for _ in 0..5 {
        Process::spawn(worker)?;
    }
    Ok(())
}
