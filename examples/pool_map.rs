//! Twice the numbers from 0 to 9, one after another and by a pool whose workers say that they start.

use commons::{Pool, process};
use std::error::Error;
use std::io::{self, Write};

fn do_calculation(data: u32) -> u32 {
    data * 2
}

/// Runs in each worker before its first task.
fn start_process() {
    let name = process::current().name().to_owned();
    // In one piece: several workers write at the same time.
    let _ = io::stdout().write_all(format!("Starting {name}\n").as_bytes());
}

fn main() -> Result<(), Box<dyn Error>> {
    let inputs: Vec<u32> = (0..10).collect();
    println!("Input     : {inputs:?}");

    let built_in: Vec<u32> = inputs.iter().copied().map(do_calculation).collect();
    println!("Built-in  : {built_in:?}");

    let workers = 2 * process::cpu_count();
    let pool = Pool::builder().workers(workers).initializer(start_process).build()?;
    let outputs = pool.map(do_calculation, inputs)?;
    pool.close(); // no more tasks
    pool.join()?; // all workers have ended

    println!("Pool      : {outputs:?}");
    Ok(())
}
