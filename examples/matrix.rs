//! Multiplies two matrices of `f64` with several processes, in place in shared arrays, and compares
//! the product, bit by bit, and the time with those of one process.
//!
//! ```sh
//! cargo run --release --example matrix [SIZE] [PROCESSES]
//! ```
//! SIZE is 1024 unless given, and there is a process for each processor. The exit code is 0 only if
//! both products are the same.

#![allow(unsafe_code, reason = "computes in place: each process has rows of its own")]

use commons::{Array, Process};
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Instant;

/// Columns of the right matrix that are used at a time, so that they stay in the cache.
const STRIP: usize = 256;

/// Rows of the product: those of `left`, times `right`. All are `size` wide.
fn multiply(left: &[f64], right: &[f64], product: &mut [f64], size: usize) {
    product.fill(0.0);
    for strip in (0..size).step_by(STRIP) {
        let columns = strip..size.min(strip + STRIP);
        for (row, result) in left.chunks_exact(size).zip(product.chunks_exact_mut(size)) {
            let result = &mut result[columns.clone()];
            for (&factor, line) in row.iter().zip(right.chunks_exact(size)) {
                for (sum, &value) in result.iter_mut().zip(&line[columns.clone()]) {
                    *sum += factor * value;
                }
            }
        }
    }
}

/// Numbers that look as if they had no order (the generator of Lehmer, with the constants of Park and
/// Miller 1993).
fn numbers(seed: u64, count: usize) -> impl Iterator<Item = f64> {
    let next = |state: &u64| Some(state * 48_271 % 0x7fff_ffff);
    std::iter::successors(Some(seed), next).map(|n| n as f64 / 2_147_483_647.0 - 0.5).take(count)
}

fn run(size: usize, processes: usize) -> Result<bool, Box<dyn Error>> {
    let area = size.checked_mul(size).ok_or("SIZE is too large")?;
    let left = Array::from_values(numbers(1, area))?;
    let right = Array::from_values(numbers(2, area))?;
    let product = Array::new(area, 0.0)?;

    let start = Instant::now();
    let rows = size.div_ceil(processes).max(1);
    let mut children = Vec::new();
    for first in (0..size).step_by(rows) {
        let (left, right, product) = (left.clone(), right.clone(), product.clone());
        let mine = first * size..size.min(first + rows) * size;
        children.push(Process::spawn(move || {
            // SAFETY: nobody writes to the factors any more.
            let left = unsafe { left.slice(mine.clone()) }.map_err(|e| e.to_string())?;
            // SAFETY: as above.
            let right = unsafe { right.slice(..) }.map_err(|e| e.to_string())?;
            // SAFETY: these rows are this process's alone until it has ended.
            let product = unsafe { product.slice_mut(mine) }.map_err(|e| e.to_string())?;
            multiply(left, right, product, size);
            Ok::<(), String>(())
        })?);
    }
    for child in children {
        child.join()??;
    }
    let together = start.elapsed();

    let (left, right) = (left.to_vec()?, right.to_vec()?);
    let mut alone = vec![0.0; area];
    let start = Instant::now();
    multiply(&left, &right, &mut alone, size);
    let sequential = start.elapsed();

    let same = product.iter().map(f64::to_bits).eq(alone.iter().map(|n| n.to_bits()));
    let operations = 2.0 * (size as f64).powi(3) / 1e9;
    let mut out = io::stdout();
    writeln!(out, "{size} x {size} matrices of f64, {processes} processes")?;
    for (who, time) in [("processes", together), ("alone", sequential)] {
        let seconds = time.as_secs_f64();
        writeln!(out, "{who:10} {seconds:8.3} s {:8.2} Gflop/s", operations / seconds)?;
    }
    writeln!(out, "the products are {}", if same { "the same" } else { "DIFFERENT" })?;
    Ok(same)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, default: usize| {
        arguments.get(at).map_or(Some(default), |text| text.parse().ok().filter(|&n| n > 0))
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let (Some(size), Some(processes), true) =
        (number(0, 1024), number(1, processors), arguments.len() <= 2)
    else {
        eprintln!("usage: matrix [SIZE] [PROCESSES]");
        return ExitCode::from(2);
    };
    match run(size, processes) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("matrix: {error}");
            ExitCode::FAILURE
        }
    }
}
