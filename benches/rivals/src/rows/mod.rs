//! The rows, one file per group.

mod ours_ring;
mod ring;
mod signals;

use crate::harness::Row;

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = ring::rows();
    rows.extend(signals::rows());
    rows
}
