//! `value/*`, `latest/*` and `array/*`: cells.

use super::ours_cell;
use crate::harness::{Contender, Row};
use crate::limits::cells;
use crate::rivals::{newest, std_lock};

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    vec![load(), load_64(), store(), store_64(), update(), read_4k(), sum(), random()]
}

fn row(name: &'static str, work: &'static str, limit: Contender, ours: Vec<Contender>) -> Row {
    Row { name, work, bar: None, asleep: false, grain: 8, limit, ours, rivals: vec![], absent: &[] }
}

fn load() -> Row {
    let limit = Contender { name: "plain atomic", run: cells::load };
    let ours = vec![Contender { name: "", run: ours_cell::load }];
    let rivals = vec![Contender { name: "std RwLock (threads)", run: std_lock::load }];
    Row { rivals, ..row("value/load", "a word loaded", limit, ours) }
}

fn load_64() -> Row {
    let limit = Contender { name: "memcpy", run: cells::copy_64 };
    let ours = vec![Contender { name: "", run: ours_cell::load_64 }];
    row("value/load_64", "64 bytes loaded", limit, ours)
}

fn store() -> Row {
    let limit = Contender { name: "plain atomic", run: cells::store };
    let ours = vec![Contender { name: "", run: ours_cell::store }];
    let rivals = vec![Contender { name: "std RwLock (threads)", run: std_lock::store }];
    Row { rivals, ..row("value/store", "a word stored", limit, ours) }
}

fn store_64() -> Row {
    let limit = Contender { name: "memcpy", run: cells::copy_64 };
    let ours = vec![Contender { name: "", run: ours_cell::store_64 }];
    row("value/store_64", "64 bytes stored", limit, ours)
}

fn update() -> Row {
    let limit = Contender { name: "plain atomic, alone", run: cells::store };
    let ours = vec![Contender { name: "", run: ours_cell::update_contended }];
    row("value/update", "a word updated by each of two processes at once", limit, ours)
}

fn read_4k() -> Row {
    let name = "memcpy beside the same writer, unvalidated";
    let limit = Contender { name, run: ours_cell::read_4k_unvalidated };
    let ours = vec![Contender { name: "", run: ours_cell::read_4k_validated }];
    let rivals = vec![
        Contender { name: "iceoryx2 blackboard", run: newest::blackboard },
        Contender { name: "mmap-sync", run: newest::mmap_sync },
        Contender { name: "std RwLock (threads)", run: std_lock::read_4k },
    ];
    let work = "4 KiB read while another process publishes without a pause";
    Row { bar: Some(1.30), rivals, ..row("latest/read_4k", work, limit, ours) }
}

fn sum() -> Row {
    let limit = Contender { name: "a private Vec", run: cells::sum };
    let mut ours = vec![
        Contender { name: "", run: ours_cell::sum },
        Contender { name: "iter", run: ours_cell::sum_iter },
    ];
    if ours_cell::are_there_huge_pages() {
        ours.push(Contender { name: "huge_pages", run: ours_cell::sum_huge });
    }
    let work = "a word of a sum of 64 Mi words, in place";
    let grain = cells::SUMMANDS as u64;
    Row { bar: Some(1.05), grain, ..row("array/sum", work, limit, ours) }
}

fn random() -> Row {
    let limit = Contender { name: "a private Vec", run: cells::random };
    let mut ours = vec![Contender { name: "", run: ours_cell::random }];
    if ours_cell::are_there_huge_pages() {
        ours.push(Contender { name: "huge_pages", run: ours_cell::random_huge });
    }
    row("array/random", "a word of 64 Mi at random, each found by the one before", limit, ours)
}
