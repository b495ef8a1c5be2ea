//! A child process fills an array with squares and a value with their sum; the parent sees both.
//!
//! ```sh
//! cargo run --example array_value
//! ```

use commons::{Array, Process, Value};
use std::error::Error;
use std::io::{self, Write};

fn square_list(
    numbers: &[i32],
    result: &Array<i32>,
    square_sum: &Value<i32>,
) -> Result<(), Box<dyn Error>> {
    for (index, number) in numbers.iter().enumerate() {
        result.set(index, number * number)?;
    }
    square_sum.store(result.iter().sum())?;
    show("process p1", result, square_sum)
}

fn show(place: &str, result: &Array<i32>, square_sum: &Value<i32>) -> Result<(), Box<dyn Error>> {
    let mut out = io::stdout();
    writeln!(out, "Result(in {place}): {:?}", result.to_vec()?)?;
    writeln!(out, "Sum of squares(in {place}): {}", square_sum.load()?)?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let numbers = [1, 2, 3, 4];
    let result = Array::new(numbers.len(), 0)?;
    let square_sum = Value::new(0)?;

    let p1 = Process::spawn({
        let (result, square_sum) = (result.clone(), square_sum.clone());
        move || square_list(&numbers, &result, &square_sum).map_err(|error| error.to_string())
    })?;
    p1.join()??;
    show("main program", &result, &square_sum)
}
