//! Heat spreads over a plate: a grid of two dimensions in shared memory, seen as an `ndarray` by
//! processes that each own a band of rows.
//!
//! ```sh
//! cargo run --release --example grid
//! ```

#![allow(unsafe_code, reason = "a band of rows in place, which one process alone writes to")]

use commons::{Array, Process};
use ndarray::{Array2, ArrayView2, ArrayViewMut2, s};
use std::error::Error;
use std::io::{self, Write};

const ROWS: usize = 96;
const COLUMNS: usize = 128;
const WORKERS: usize = 4;
const STEPS: usize = 50;

/// One step of the rows from `first` on: each inner cell becomes the mean of its neighbours.
fn step(old: ArrayView2<'_, f64>, mut new: ArrayViewMut2<'_, f64>, first: usize) {
    for ((row, column), cell) in new.indexed_iter_mut() {
        let row = first + row;
        let inner = (1..ROWS - 1).contains(&row) && (1..COLUMNS - 1).contains(&column);
        *cell = if inner {
            let around = old.slice(s![row - 1..=row + 1, column - 1..=column + 1]);
            (around[[0, 1]] + around[[2, 1]] + around[[1, 0]] + around[[1, 2]]) / 4.0
        } else {
            old[[row, column]]
        };
    }
}

/// The rows of one worker.
fn band(worker: usize) -> std::ops::Range<usize> {
    worker * ROWS / WORKERS..(worker + 1) * ROWS / WORKERS
}

fn view(grid: &Array<f64>) -> Result<ArrayView2<'_, f64>, Box<dyn Error>> {
    // SAFETY: nobody writes to this grid in this step.
    let cells = unsafe { grid.slice(..)? };
    Ok(ArrayView2::from_shape((ROWS, COLUMNS), cells)?)
}

fn work(worker: usize, old: &Array<f64>, new: &Array<f64>) -> Result<(), Box<dyn Error>> {
    let rows = band(worker);
    // SAFETY: these rows are this worker's in this step.
    let cells = unsafe { new.slice_mut(rows.start * COLUMNS..rows.end * COLUMNS)? };
    let mine = ArrayViewMut2::from_shape((rows.len(), COLUMNS), cells)?;
    step(view(old)?, mine, rows.start);
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let start =
        Array2::from_shape_fn((ROWS, COLUMNS), |(row, _)| if row == 0 { 100.0 } else { 0.0 });
    let cells = start.as_slice().ok_or("a new array is in rows")?;
    let mut grids = (Array::from_slice(cells)?, Array::from_slice(cells)?);

    for _ in 0..STEPS {
        let workers: Vec<_> = (0..WORKERS)
            .map(|worker| {
                let (old, new) = (grids.0.clone(), grids.1.clone());
                Process::spawn(move || work(worker, &old, &new).map_err(|error| error.to_string()))
            })
            .collect::<Result<_, _>>()?;
        // Who has joined all has seen all they wrote.
        for worker in workers {
            worker.join()??;
        }
        grids = (grids.1, grids.0);
    }

    let (mut old, mut new) = (start.clone(), start);
    for _ in 0..STEPS {
        step(old.view(), new.view_mut(), 0);
        (old, new) = (new, old);
    }
    let shared = view(&grids.0)?;
    if shared != old {
        return Err("the processes computed something else than this one".into());
    }
    let (mean, below) = (shared.mean().unwrap_or(0.0), shared[[1, COLUMNS / 2]]);
    writeln!(
        io::stdout(),
        "{ROWS} x {COLUMNS} cells, {STEPS} steps by {WORKERS} processes: mean {mean:.4}, {below:.4} \
         below the edge, the same as in one process"
    )?;
    Ok(())
}
