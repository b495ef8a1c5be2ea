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
use crate::rivals::{boost, posix_mq, python};
use std::sync::OnceLock;

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
    static LEFT_OUT: OnceLock<Vec<(&str, &str)>> = OnceLock::new();
    LEFT_OUT.get_or_init(|| {
        let all = [
            (boost::is_here(), boost::ABSENT),
            (python::is_here(), python::ABSENT),
            (posix_mq::is_here(), posix_mq::ABSENT),
        ];
        all.into_iter().filter(|(is_here, _)| !is_here).map(|(_, absent)| absent).collect()
    })
}
