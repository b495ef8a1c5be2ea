//! The squares of some numbers, by a pool that ends with its scope.

use commons::Pool;
use std::error::Error;

fn square(x: u64) -> u64 {
    x * x
}

fn main() -> Result<(), Box<dyn Error>> {
    let squares = {
        let pool = Pool::new(4)?;
        pool.map(square, 1..=5)?
    };
    println!("{squares:?}");
    Ok(())
}
