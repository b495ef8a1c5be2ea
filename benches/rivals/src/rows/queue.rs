//! `queue/*`: messages of one word, to any of several consumers.

use super::{left_out, ours_queue, where_it_is};
use crate::harness::{Contender, Row};
use crate::limits::vyukov;
use crate::rivals::{boost, crossbeam, ipc_channel, pipe, posix_mq, python};

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    let mq = |run| {
        where_it_is(posix_mq::is_here(), vec![Contender { name: "POSIX message queue", run }])
    };
    let boosts =
        |run| where_it_is(boost::is_here(), vec![Contender { name: "Boost message_queue", run }]);
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
        rivals: [
            Contender { name: "crossbeam queue (threads)", run: crossbeam::queue_alone },
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_alone },
        ]
        .into_iter()
        .chain(boosts(boost::alone))
        .chain(mq(posix_mq::alone))
        .collect(),
        absent: &[],
    };
    let pythons = vec![
        Contender { name: "Python's Queue", run: python::queue_stream },
        Contender { name: "Python's SimpleQueue", run: python::simple_queue_stream },
    ];
    let stream = Row {
        name: "queue/stream",
        work: "words one by one, one producer, one consumer",
        bar: Some(1.10),
        limit: array_queue(crossbeam::queue_stream_u64),
        ours: vec![Contender { name: "", run: ours_queue::stream }],
        rivals: [
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_stream_u64 },
            Contender { name: "ipc-channel", run: ipc_channel::stream_u64 },
            Contender { name: "pipe", run: pipe::stream_u64 },
        ]
        .into_iter()
        .chain(boosts(boost::stream))
        .chain(mq(posix_mq::stream))
        .chain(where_it_is(python::is_here(), pythons))
        .collect(),
        absent: left_out(),
        ..alone
    };
    let two_two = Row {
        name: "queue/two_two",
        work: "words one by one, two producers, two consumers",
        bar: None,
        limit: array_queue(crossbeam::queue_two_two),
        ours: vec![Contender { name: "", run: ours_queue::two_two }],
        rivals: boosts(boost::two_two).into_iter().chain(mq(posix_mq::two_two)).collect(),
        absent: &[],
        ..stream
    };
    vec![alone, stream, two_two]
}
