//! The rows, one file per group.

mod cell;
mod mutex;
mod ours_cell;
mod ours_mutex;
mod ours_pipe;
mod ours_pool;
mod ours_queue;
mod ours_record;
mod ours_ring;
mod pipe;
mod pool;
mod queue;
mod record;
mod ring;
mod rwlock;
mod signals;

use crate::harness::Row;

/// Every row, in the order of the table.
pub(crate) fn all() -> Vec<Row> {
    let groups = [
        ring::rows(),
        mutex::rows(),
        rwlock::rows(),
        signals::rows(),
        cell::rows(),
        queue::rows(),
        pipe::rows(),
        record::rows(),
        pool::rows(),
    ];
    groups.into_iter().flatten().collect()
}
