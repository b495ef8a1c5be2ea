//! A child process works on a copy of its parent's memory: what it does there, the parent never
//! sees. (What both should see is made with `commons`: see `array_value`.)
//!
//! ```sh
//! cargo run --example memory_is_not_shared
//! ```

use commons::Process;
use std::error::Error;
use std::io::{self, Write};
use std::sync::Mutex;

static RESULT: Mutex<Vec<u64>> = Mutex::new(Vec::new());

fn square_list(numbers: &[u64]) -> io::Result<()> {
    let mut result = RESULT.lock().expect("one thread");
    result.extend(numbers.iter().map(|number| number * number));
    writeln!(io::stdout(), "Result(in process p1): {result:?}")
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers = [1, 2, 3, 4];
    let p1 = Process::spawn(move || square_list(&numbers).is_ok())?;
    if !p1.join()? {
        return Err("the child could not print".into());
    }
    let result = RESULT.lock().expect("one thread");
    writeln!(io::stdout(), "Result(in main program): {result:?}")?;
    Ok(())
}
