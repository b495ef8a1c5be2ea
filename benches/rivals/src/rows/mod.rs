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
mod process;
mod queue;
mod record;
mod ring;
mod rwlock;
mod signals;

use crate::harness::{Contender, Row};
use crate::rivals::{posix_mq, python};

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
        process::rows(),
        pool::rows(),
    ];
    groups.into_iter().flatten().collect()
}

/// Rivals that are not everywhere.
fn where_it_is(is_here: bool, rivals: Vec<Contender>) -> Vec<Contender> {
    if is_here { rivals } else { Vec::new() }
}

/// Who is left out on this machine, and in every row that has queues.
fn left_out() -> &'static [(&'static str, &'static str)] {
    const BOOST: (&str, &str) = (
        "Boost message_queue",
        "a library of C++ headers, which are no dependency of this package",
    );
    match (python::is_here(), posix_mq::is_here()) {
        (true, true) => &[BOOST],
        (false, true) => &[BOOST, python::ABSENT],
        (true, false) => &[BOOST, posix_mq::ABSENT],
        (false, false) => &[BOOST, python::ABSENT, posix_mq::ABSENT],
    }
}
