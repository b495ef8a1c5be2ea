//! A task whose result is fetched later, and one whose result is given to a callback.

use commons::Pool;
use std::error::Error;

fn square(x: u64) -> u64 {
    x * x
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = Pool::new(4)?;
    let result = pool.apply_async(square, 10)?;
    println!("{}", result.get()?);

    pool.apply_async_then(square, 10, |result| match result {
        Ok(square) => println!("Result: {square}"),
        Err(error) => eprintln!("Error: {error}"),
    })?;
    pool.close();
    pool.join()?; // callbacks have run
    Ok(())
}
