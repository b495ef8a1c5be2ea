//! `ring/*`: one producer, one consumer.

use super::ours_ring;
use crate::harness::{Contender, Row};
use crate::limits::bare_ring::{self, Slip, Tight};
use crate::limits::{cache_line, futex_pair};
use crate::rivals::{crossbeam, iceoryx2, ipc_channel, pipe, raw_sync, rtrb, seqpacket, shmem_ipc};
use crate::work::{BATCH, BIG_SLOTS};

/// Stands among the rivals, to show what the limit gains by its way of waiting.
const TIGHT: &str = "the limit without its slip";

const NO_SLICES: &str = "has no operation on slices";
const COPIES: &str = "copies through the kernel, nothing is in place";
const MOVES: &str = "moves whole values, nothing is in place";
const ONLY_POLLS: &str = "has no operation that sleeps";

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    vec![stream_u64(), stream_batch(), rtt_poll(), rtt_park(), inplace_64k(), copy_1k()]
}

fn stream_u64() -> Row {
    Row {
        name: "ring/stream_u64",
        work: "one word of a stream, sent one by one",
        bar: Some(1.15),
        asleep: false,
        grain: 8,
        limit: Contender { name: "bare ring", run: bare_ring::stream_u64::<Slip> },
        ours: vec![
            Contender { name: "", run: ours_ring::stream_u64 },
            Contender { name: "fenced", run: ours_ring::stream_u64_fenced },
        ],
        rivals: vec![
            Contender { name: TIGHT, run: bare_ring::stream_u64::<Tight> },
            Contender { name: "iceoryx2", run: iceoryx2::stream_u64 },
            Contender { name: "ipc-channel", run: ipc_channel::stream_u64 },
            Contender { name: "shmem-ipc", run: shmem_ipc::stream_u64 },
            Contender { name: "raw_sync + shared_memory", run: raw_sync::stream_u64 },
            Contender { name: "rtrb (threads)", run: rtrb::stream_u64 },
            Contender { name: "crossbeam queue (threads)", run: crossbeam::queue_stream_u64 },
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_stream_u64 },
            Contender { name: "pipe", run: pipe::stream_u64 },
            Contender { name: "seqpacket socket", run: seqpacket::stream_u64 },
        ],
        absent: &[],
    }
}

fn stream_batch() -> Row {
    Row {
        name: "ring/stream_batch",
        work: "one word of a stream, sent in slices of 64",
        bar: Some(1.15),
        asleep: false,
        grain: BATCH as u64,
        limit: Contender { name: "bare ring, same batches", run: bare_ring::stream_batch::<Slip> },
        ours: vec![Contender { name: "", run: ours_ring::stream_batch }],
        rivals: vec![
            Contender { name: TIGHT, run: bare_ring::stream_batch::<Tight> },
            Contender { name: "iceoryx2", run: iceoryx2::stream_batch },
            Contender { name: "ipc-channel", run: ipc_channel::stream_batch },
            Contender { name: "shmem-ipc", run: shmem_ipc::stream_batch },
            Contender { name: "raw_sync + shared_memory", run: raw_sync::stream_batch },
            Contender { name: "rtrb (threads)", run: rtrb::stream_batch },
            Contender { name: "pipe", run: pipe::stream_batch },
            Contender { name: "seqpacket socket", run: seqpacket::stream_batch },
        ],
        absent: &[("crossbeam queue", NO_SLICES), ("crossbeam channel", NO_SLICES)],
    }
}

fn rtt_poll() -> Row {
    Row {
        name: "ring/rtt_poll",
        work: "8 bytes there and back, polling",
        bar: Some(1.25),
        asleep: false,
        grain: 8,
        limit: Contender { name: "cache-line ping-pong", run: cache_line::round_trip },
        ours: vec![
            Contender { name: "", run: ours_ring::rtt_poll },
            Contender { name: "two_rings", run: ours_ring::rtt_poll_two_rings },
        ],
        rivals: vec![
            Contender { name: "iceoryx2", run: iceoryx2::rtt_poll },
            Contender { name: "ipc-channel", run: ipc_channel::rtt_poll },
            Contender { name: "shmem-ipc", run: shmem_ipc::rtt_poll },
            Contender { name: "raw_sync + shared_memory", run: raw_sync::rtt_poll },
            Contender { name: "rtrb (threads)", run: rtrb::rtt_poll },
            Contender { name: "crossbeam queue (threads)", run: crossbeam::queue_rtt_poll },
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_rtt_poll },
            Contender { name: "pipe", run: pipe::rtt_poll },
            Contender { name: "seqpacket socket", run: seqpacket::rtt_poll },
        ],
        absent: &[],
    }
}

fn rtt_park() -> Row {
    Row {
        name: "ring/rtt_park",
        work: "8 bytes there and back, both sides asleep in between",
        bar: Some(1.10),
        asleep: true,
        grain: 8,
        limit: Contender {
            name: "bare two-word futex_waitv ping-pong",
            run: futex_pair::round_trip,
        },
        ours: vec![Contender { name: "", run: ours_ring::rtt_park }],
        rivals: vec![
            Contender { name: "iceoryx2", run: iceoryx2::rtt_park },
            Contender { name: "ipc-channel", run: ipc_channel::rtt_park },
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_rtt_park },
            Contender { name: "shmem-ipc", run: shmem_ipc::rtt_park },
            Contender { name: "raw_sync + shared_memory", run: raw_sync::rtt_park },
            Contender { name: "pipe", run: pipe::rtt_park },
            Contender { name: "seqpacket socket", run: seqpacket::rtt_park },
        ],
        absent: &[("rtrb", ONLY_POLLS), ("crossbeam queue", ONLY_POLLS)],
    }
}

fn inplace_64k() -> Row {
    Row {
        name: "ring/inplace_64k",
        work: "64 KiB, first and last word written and read in place",
        bar: Some(10.0),
        asleep: false,
        grain: BIG_SLOTS as u64,
        limit: Contender { name: "bare ring stream of u64", run: bare_ring::stream_u64::<Slip> },
        ours: vec![Contender { name: "", run: ours_ring::inplace_64k }],
        rivals: vec![
            Contender { name: "iceoryx2", run: iceoryx2::inplace_64k },
            Contender { name: "ipc-channel", run: ipc_channel::inplace_64k },
            Contender { name: "shmem-ipc", run: shmem_ipc::inplace_64k },
            Contender { name: "raw_sync + shared_memory", run: raw_sync::inplace_64k },
            Contender { name: "rtrb (threads)", run: rtrb::inplace_64k },
        ],
        absent: &[
            ("crossbeam queue", MOVES),
            ("crossbeam channel", MOVES),
            ("pipe", COPIES),
            ("seqpacket socket", COPIES),
        ],
    }
}

fn copy_1k() -> Row {
    Row {
        name: "ring/copy_1k",
        work: "1 KiB copied in and out",
        bar: Some(1.10),
        asleep: false,
        grain: 8,
        limit: Contender { name: "memcpy ring", run: bare_ring::copy_1k::<Slip> },
        ours: vec![Contender { name: "", run: ours_ring::copy_1k }],
        rivals: vec![
            Contender { name: TIGHT, run: bare_ring::copy_1k::<Tight> },
            Contender { name: "iceoryx2", run: iceoryx2::copy_1k },
            Contender { name: "ipc-channel", run: ipc_channel::copy_1k },
            Contender { name: "shmem-ipc", run: shmem_ipc::copy_1k },
            Contender { name: "raw_sync + shared_memory", run: raw_sync::copy_1k },
            Contender { name: "rtrb (threads)", run: rtrb::copy_1k },
            Contender { name: "crossbeam queue (threads)", run: crossbeam::queue_copy_1k },
            Contender { name: "crossbeam channel (threads)", run: crossbeam::channel_copy_1k },
            Contender { name: "pipe", run: pipe::copy_1k },
            Contender { name: "seqpacket socket", run: seqpacket::copy_1k },
        ],
        absent: &[],
    }
}
