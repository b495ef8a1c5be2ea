//! `queue/*`: messages of one word, to any of several consumers.

use super::ours_queue;
use crate::harness::{Contender, Row};
use crate::limits::vyukov;
use crate::rivals::crossbeam;

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    let array_queue = |run| Contender { name: "crossbeam ArrayQueue between threads", run };
    let alone = Row {
        name: "queue/alone",
        work: "a word put and got; one process",
        bar: Some(1.40),
        asleep: false,
        grain: 8,
        limit: Contender { name: "plain Vyukov queue", run: vyukov::alone },
        ours: vec![
            Contender { name: "", run: ours_queue::alone },
            Contender { name: "at_least_once", run: ours_queue::alone_at_least_once },
        ],
        rivals: vec![
            Contender { name: "crossbeam queue (threads)", run: crossbeam::queue_alone },
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_alone },
        ],
        absent: &[],
    };
    let stream = Row {
        name: "queue/stream",
        work: "words one by one, one producer, one consumer",
        bar: Some(1.10),
        limit: array_queue(crossbeam::queue_stream_u64),
        ours: vec![Contender { name: "", run: ours_queue::stream }],
        rivals: vec![Contender {
            name: "crossbeam channel (threads)",
            run: crossbeam::channel_stream_u64,
        }],
        ..alone
    };
    let two_two = Row {
        name: "queue/two_two",
        work: "words one by one, two producers, two consumers",
        bar: None,
        limit: array_queue(crossbeam::queue_two_two),
        ours: vec![Contender { name: "", run: ours_queue::two_two }],
        rivals: vec![],
        ..stream
    };
    vec![alone, stream, two_two]
}
