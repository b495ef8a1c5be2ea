//! `pipe/*` and `broadcast/*`.

use super::{ours_pipe, where_it_is};
use crate::harness::{Contender, Row};
use crate::limits::bare_ring::{self, Slip};
use crate::limits::{cache_line, futex_pair};
use crate::rivals::{boost, ipc_channel, pipe, posix_mq, python, seqpacket};

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    vec![rtt_poll(), rtt_park(), stream()]
}

fn rtt_poll() -> Row {
    let boosts = Contender { name: "Boost message_queue", run: boost::rtt_poll };
    let mq = Contender { name: "POSIX message queues", run: posix_mq::rtt_poll };
    let pythons = Contender { name: "Python's Pipe", run: python::pipe_rtt_poll };
    Row {
        name: "pipe/rtt_poll",
        work: "a message of 8 bytes there and back, polling",
        bar: Some(1.5),
        asleep: false,
        grain: 8,
        limit: Contender { name: "cache-line ping-pong", run: cache_line::round_trip },
        ours: vec![
            Contender { name: "", run: ours_pipe::rtt_poll },
            Contender { name: "objects", run: ours_pipe::rtt_poll_objects },
        ],
        rivals: [
            Contender { name: "ipc-channel", run: ipc_channel::rtt_poll },
            Contender { name: "pipe", run: pipe::rtt_poll },
            Contender { name: "seqpacket socket", run: seqpacket::rtt_poll },
        ]
        .into_iter()
        .chain(where_it_is(boost::is_here(), vec![boosts]))
        .chain(where_it_is(posix_mq::is_here(), vec![mq]))
        .chain(where_it_is(python::is_here(), vec![pythons]))
        .collect(),
        absent: &[],
    }
}

fn rtt_park() -> Row {
    let boosts = Contender { name: "Boost message_queue", run: boost::rtt_park };
    let mq = Contender { name: "POSIX message queues", run: posix_mq::rtt_park };
    let pythons = Contender { name: "Python's Pipe", run: python::pipe_rtt_park };
    Row {
        name: "pipe/rtt_park",
        work: "a message of 8 bytes there and back, both sides asleep in between",
        bar: Some(1.15),
        asleep: true,
        grain: 8,
        limit: Contender {
            name: "bare two-word futex_waitv ping-pong",
            run: futex_pair::round_trip,
        },
        ours: vec![Contender { name: "", run: ours_pipe::rtt_park }],
        rivals: [
            Contender { name: "ipc-channel", run: ipc_channel::rtt_park },
            Contender { name: "pipe", run: pipe::rtt_park },
            Contender { name: "seqpacket socket", run: seqpacket::rtt_park },
        ]
        .into_iter()
        .chain(where_it_is(boost::is_here(), vec![boosts]))
        .chain(where_it_is(posix_mq::is_here(), vec![mq]))
        .chain(where_it_is(python::is_here(), vec![pythons]))
        .collect(),
        absent: &[],
    }
}

fn stream() -> Row {
    Row {
        name: "broadcast/stream",
        work: "one word of a stream to two receivers, which count what they miss",
        bar: None,
        asleep: false,
        grain: 8,
        limit: Contender { name: "bare ring", run: bare_ring::stream_u64::<Slip> },
        ours: vec![Contender { name: "", run: ours_pipe::broadcast }],
        rivals: vec![],
        absent: &[],
    }
}
