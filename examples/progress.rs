//! Shows how far a pool has come, with a bar of the crate `indicatif` around its results.

use commons::Pool;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressIterator};
use std::error::Error;
use std::io::IsTerminal;
use std::time::Duration;

const TASKS: u64 = 40;

/// Takes its time.
fn work(n: u64) -> u64 {
    std::thread::sleep(Duration::from_millis(5));
    n * n
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::new(4)?;
    let bar = ProgressBar::new(TASKS);
    if !std::io::stderr().is_terminal() {
        bar.set_draw_target(ProgressDrawTarget::hidden());
    }
    let results = pool.imap_unordered(work, 0..TASKS).progress_with(bar.clone());
    let sum = results.sum::<Result<u64, _>>()?;
    println!("the sum of {} squares is {sum}", bar.position());
    Ok(())
}
