//! The factorials of large numbers, as logarithms and remainders, by one process and by a pool.
//!
//!     factorials [SCALE]
//!
//! Takes the factorials of 100,000 to 500,000 times SCALE (1).

use commons::{Pool, process};
use std::error::Error;
use std::time::Instant;

const PRIME: u64 = (1 << 61) - 1;

/// What there is to say of `n!`, which has millions of digits: how many, and what is left of it by the
/// prime 2^61 - 1.
fn factorial(n: u64) -> (u64, u64) {
    let mut rest = 1u64;
    let mut digits = 0.0;
    for i in 2..=n {
        rest = (u128::from(rest) * u128::from(i) % u128::from(PRIME)) as u64;
        digits += (i as f64).log10();
    }
    (digits as u64 + 1, rest)
}

fn main() -> Result<(), Box<dyn Error>> {
    let scale: u64 = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let numbers = [1, 2, 3, 4, 5].map(|n| n * 100_000 * scale);

    let before = Instant::now();
    let sequential: Vec<_> = numbers.into_iter().map(factorial).collect();
    let alone = before.elapsed();

    let pool = Pool::new(4.min(2 * process::usable_cpu_count()))?;
    let before = Instant::now();
    // The largest ones first, so that none of them is what all wait for in the end.
    let mut results = pool.map(factorial, numbers.into_iter().rev())?;
    let together = before.elapsed();
    results.reverse();

    for (n, (digits, rest)) in numbers.into_iter().zip(&results) {
        println!("{n}! has {digits} digits and leaves {rest}");
    }
    println!("equal to the sequential results: {}", results == sequential);
    println!("one process: {:.3} s", alone.as_secs_f64());
    println!("the pool:    {:.3} s", together.as_secs_f64());
    pool.close();
    pool.join()?;
    Ok(())
}
