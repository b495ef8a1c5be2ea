//! The rows, one file per group.

mod cell;
mod mutex;
mod ours_cell;
mod ours_mutex;
mod ours_queue;
mod ours_ring;
mod queue;
mod ring;

use crate::harness::Row;

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    [ring::rows(), mutex::rows(), cell::rows(), queue::rows()].into_iter().flatten().collect()
}
