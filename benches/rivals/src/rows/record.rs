//! `records/*` and `object/*`: bytes and objects of any length.

use super::{ours_record, where_it_is};
use crate::harness::{Contender, Row};
use crate::limits::bare_ring::{self, Slip};
use crate::rivals::{ipc_channel, python};

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    let stream_64 = Row {
        name: "records/stream_64",
        work: "64 bytes copied in and out, of a kind that could have any length",
        bar: Some(1.5),
        asleep: false,
        grain: 8,
        limit: Contender { name: "memcpy ring, 64 bytes", run: bare_ring::copy_64::<Slip> },
        ours: vec![
            Contender { name: "", run: ours_record::stream_64 },
            Contender { name: "in place", run: ours_record::stream_64_in_place },
            Contender { name: "as values of a ring", run: ours_record::ring_64 },
        ],
        rivals: vec![],
        absent: &[],
    };
    let pythons = vec![
        Contender { name: "Python's Queue", run: python::queue_objects },
        Contender { name: "Python's SimpleQueue", run: python::simple_queue_objects },
    ];
    let objects = Row {
        name: "object/stream",
        work: "a small struct, serialised and made a value again",
        bar: Some(40.0),
        limit: Contender { name: "bare ring stream of u64", run: bare_ring::stream_u64::<Slip> },
        ours: vec![Contender { name: "", run: ours_record::objects }],
        rivals: [Contender { name: "ipc-channel", run: ipc_channel::objects }]
            .into_iter()
            .chain(where_it_is(python::is_here(), pythons))
            .collect(),
        ..stream_64
    };
    vec![stream_64, objects]
}
