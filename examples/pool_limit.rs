//! As `pool_map`, with workers that are replaced after two tasks each.

use commons::{Pool, process};
use std::error::Error;
use std::io::{self, Write};
use std::num::{NonZeroU32, NonZeroUsize};

/// Gives the process, too, that did it.
fn do_calculation(data: u32) -> (u32, u32) {
    (data * 2, std::process::id())
}

fn start_process() {
    let name = process::current().name().to_owned();
    let _ = io::stdout().write_all(format!("Starting {name}\n").as_bytes());
}

fn main() -> Result<(), Box<dyn Error>> {
    let inputs: Vec<u32> = (0..10).collect();
    println!("Input     : {inputs:?}");

    let built_in: Vec<u32> = inputs.iter().map(|data| data * 2).collect();
    println!("Built-in  : {built_in:?}");

    let pool = Pool::builder()
        .workers(2 * process::cpu_count())
        .initializer(start_process)
        .max_tasks_per_child(NonZeroU32::new(2).ok_or("not 0")?)
        .build()?;
    let outputs = pool.map_chunked(do_calculation, inputs, NonZeroUsize::MIN)?;
    pool.close();
    pool.join()?;

    let (outputs, pids): (Vec<u32>, Vec<u32>) = outputs.into_iter().unzip();
    println!("Pool      : {outputs:?}");
    let most = pids.iter().map(|pid| pids.iter().filter(|other| *other == pid).count()).max();
    println!("No worker did more than {} tasks.", most.unwrap_or(0));
    Ok(())
}
