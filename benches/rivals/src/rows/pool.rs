//! `pool/*`.

use super::ours_pool;
use crate::harness::{Contender, Row};
use crate::limits::bare_ring::{self, Slip};
use crate::limits::futex_pair;

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    vec![map_chunk1(), map_default(), apply_park(), map_slices()]
}

const PYTHON: &str = "Python's Pool";
const NO_PYTHON: &[(&str, &str)] = &[(PYTHON, "there is no python3 here")];
const PROCSPAWN: (&str, &str) = ("procspawn", "has no arrays in place");

fn rivals(
    others: Vec<Contender>,
    python: fn(&crate::peer::Plan) -> crate::work::Result<f64>,
) -> Vec<Contender> {
    let python = ours_pool::is_there_python().then_some(Contender { name: PYTHON, run: python });
    others.into_iter().chain(python).collect()
}

fn absent() -> &'static [(&'static str, &'static str)] {
    if ours_pool::is_there_python() { &[] } else { NO_PYTHON }
}

fn map_chunk1() -> Row {
    Row {
        name: "pool/map_chunk1",
        work: "a tiny task of 100,000, each a chunk of its own, two workers",
        bar: Some(100.0),
        asleep: false,
        grain: ours_pool::TASKS,
        limit: Contender { name: "bare ring", run: bare_ring::stream_u64::<Slip> },
        ours: vec![Contender { name: "", run: ours_pool::map_chunk1 }],
        rivals: rivals(
            vec![
                Contender { name: "rayon (threads)", run: ours_pool::rayon_chunk1 },
                Contender { name: "procspawn", run: ours_pool::proc_spawn_chunk1 },
            ],
            ours_pool::python_chunk1,
        ),
        absent: absent(),
    }
}

fn map_default() -> Row {
    Row {
        name: "pool/map_default",
        work: "a tiny task of 100,000 in default chunks, two workers",
        bar: Some(5.0),
        asleep: false,
        grain: ours_pool::TASKS,
        limit: Contender { name: "bare ring", run: bare_ring::stream_u64::<Slip> },
        ours: vec![Contender { name: "", run: ours_pool::map_default }],
        rivals: rivals(
            vec![Contender { name: "rayon (threads)", run: ours_pool::rayon_default }],
            ours_pool::python_default,
        ),
        absent: absent(),
    }
}

fn apply_park() -> Row {
    Row {
        name: "pool/apply_park",
        work: "one task there and back, both sides asleep in between",
        bar: Some(1.30),
        asleep: true,
        grain: 8,
        limit: Contender {
            name: "bare two-word futex_waitv ping-pong",
            run: futex_pair::round_trip,
        },
        ours: vec![Contender { name: "", run: ours_pool::apply_park }],
        rivals: rivals(
            vec![Contender { name: "procspawn", run: ours_pool::proc_spawn_apply }],
            ours_pool::python_apply,
        ),
        absent: absent(),
    }
}

fn map_slices() -> Row {
    Row {
        name: "pool/map_slices",
        work: "an element of 100 M f64 changed in place, two workers",
        bar: Some(1.10),
        asleep: false,
        grain: 1,
        limit: Contender { name: "two pinned threads", run: ours_pool::two_threads },
        ours: vec![
            Contender { name: "", run: ours_pool::map_slices },
            Contender { name: "under a lock", run: ours_pool::map_slices_of },
        ],
        rivals: vec![Contender { name: "rayon (threads)", run: ours_pool::rayon_slices }],
        absent: &[PROCSPAWN],
    }
}
