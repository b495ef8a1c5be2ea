//! `mutex/*`: a lock alone and between two.

use super::ours_mutex;
use crate::harness::{Contender, Row};
use crate::limits::pthread;
use crate::rivals::{process_sync, raw_sync_lock, threads};

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    let alone = || vec![Contender { name: "", run: ours_mutex::lock_alone }];
    let robust = |run| Contender { name: "glibc robust, process-shared", run };
    let row = Row {
        name: "mutex/alone",
        work: "lock, add one, unlock; one process",
        bar: Some(0.60),
        asleep: false,
        grain: 8,
        limit: robust(pthread::lock_alone),
        ours: alone(),
        rivals: vec![
            Contender { name: "std (threads)", run: threads::std_alone },
            Contender { name: "parking_lot (threads)", run: threads::parking_lot_alone },
            Contender { name: "raw_sync", run: raw_sync_lock::lock_alone },
            Contender { name: "process-sync", run: process_sync::lock_alone },
        ],
        absent: &[],
    };
    let std = Row {
        name: "mutex/alone_std",
        bar: Some(1.35),
        limit: Contender { name: "std::sync::Mutex", run: threads::std_alone },
        ours: alone(),
        rivals: vec![],
        ..row
    };
    let contended = Row {
        name: "mutex/contended",
        work: "lock, add one, unlock; two processes at once",
        bar: Some(0.70),
        limit: robust(pthread::lock_contended),
        ours: vec![Contender { name: "", run: ours_mutex::lock_contended }],
        rivals: vec![
            Contender { name: "std (threads)", run: threads::std_contended },
            Contender { name: "parking_lot (threads)", run: threads::parking_lot_contended },
            Contender { name: "raw_sync", run: raw_sync_lock::lock_contended },
            Contender { name: "process-sync", run: process_sync::lock_contended },
        ],
        ..std
    };
    vec![row, std, contended]
}
