//! The exit codes of children that end in different ways.
//!
//! `cargo run --example exit_codes`

use commons::process::{Process, exit};
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

fn main() -> Result<(), Box<dyn Error>> {
    let named = |name: &str| Process::builder().name(name);
    let exits = named("exit_error").spawn(|| exit(1) as ())?;
    let returns = named("exit_ok").spawn(|| ())?;
    let value = named("return_value").spawn(|| 1)?;
    let panics = named("raises").spawn(|| panic!("There was an error!") as ())?;
    let terminated = named("terminated").spawn(|| sleep(Duration::from_secs(60)))?;
    terminated.terminate()?;
    for child in [&*exits, &*returns, &*value, &*panics, &*terminated] {
        println!("{:>15}.exitcode = {}", child.name(), child.wait()?.code());
    }
    Ok(())
}
