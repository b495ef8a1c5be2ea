//! The rows, one file per group.

mod cell;
mod mutex;
mod ours_cell;
mod ours_mutex;
mod ours_ring;
mod ring;
mod rwlock;

use crate::harness::Row;

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    [ring::rows(), mutex::rows(), rwlock::rows(), cell::rows()].into_iter().flatten().collect()
}
