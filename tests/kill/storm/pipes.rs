//! A storm over a pipe: both ends send and receive messages of all lengths, those that go in pieces
//! among them, and are killed at it. Each way has a ledger as a ring has.

use super::crew::Work;
use super::log::{Log, Reader};
use super::roles::{claim, strategy};
use crate::harness::{Complaint, Judgement, Outcome, Rng, mix, sys};
use crate::ops::{Item, Small, complain};
use commons::pipe::{self, Pipe, PipeError};
use commons::{ChannelError, Departure, Segment};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Bytes of room each way.
const ROOM: usize = 1024;
/// How long an operation waits at most: both ends may want to send at the same time.
const MOMENT: Duration = Duration::from_micros(300);
/// Bytes of an item, with which each message begins.
const HEAD: usize = size_of::<Small>();

/// The scene.
pub(super) struct Talk {
    pipe: Pipe,
    /// The ledgers of what the first end sends, and the second.
    ways: [&'static Log; 2],
    /// One above the last life.
    lives: &'static AtomicU64,
}

impl Talk {
    pub(super) fn new() -> Result<Self, Complaint> {
        let segment = Segment::anonymous(64 << 10)?;
        let pipe = Pipe::new_in(&segment, "pipe", ROOM)?;
        Ok(Talk { pipe, ways: [Log::share(), Log::share()], lives: sys::share(size_of::<u64>()) })
    }
}

/// The message of an item: of a length that says nothing of the next one.
fn message(item: &Small) -> Vec<u8> {
    let random = mix(item[0]);
    let behind = match random % 8 {
        0 => 0,
        1..=4 => random >> 8 & 0x3f,
        5 | 6 => random >> 8 & 0x1ff,
        _ => 1000 + (random >> 8 & 0x7ff),
    };
    let behind = (0..behind).map(|i| (random as u8).wrapping_add(i as u8));
    bytemuck::bytes_of(item).iter().copied().chain(behind).collect()
}

/// What an operation gave; nothing, where the other end is gone, or there is nothing, or no room.
fn go_on<R>(result: Result<R, PipeError>) -> Result<Option<R>, Complaint> {
    match result {
        Ok(gain) => Ok(Some(gain)),
        Err(PipeError::Channel(
            ChannelError::Disconnected(_)
            | ChannelError::Full
            | ChannelError::Empty
            | ChannelError::TimedOut
            | ChannelError::TooLarge { .. },
        )) => {
            sys::give_way();
            Ok(None)
        }
        Err(other) => Err(other.into()),
    }
}

fn send(writer: &mut pipe::Writer, out: &Log, life: u64, rng: &mut Rng) -> Result<(), Complaint> {
    let message = message(&out.item::<Small>(life, 0));
    let sent = match rng.below(3) {
        0 => writer.try_send_bytes(&message),
        _ => writer.send_bytes_timeout(&message, MOMENT),
    };
    if go_on(sent)?.is_some() {
        out.acknowledge(life, 1);
    }
    Ok(())
}

/// Checks a message and writes down that it is received.
fn receive(bytes: &[u8], reader: &mut Reader<'_>) -> Result<(), Complaint> {
    let item = bytes.get(..HEAD).map(bytemuck::pod_read_unaligned::<Small>);
    match item {
        Some(item) if item.read().is_some() && bytes == message(&item) => reader.receive(&[item]),
        _ => complain(Outcome::Lost, format!("a torn message of {} bytes", bytes.len())),
    }
}

impl Work for Talk {
    fn places(&self) -> usize {
        2
    }

    fn act(&self, place: usize, life: u64, rng: &mut Rng) -> Judgement {
        self.lives.fetch_max(life + 1, Relaxed);
        let end = claim(|| if place == 0 { self.pipe.first() } else { self.pipe.second() })?;
        let (mut writer, mut reader) = end.split();
        writer.set_wait_strategy(strategy(rng));
        reader.set_wait_strategy(strategy(rng));
        let (out, mut received) = (self.ways[place], self.ways[1 - place].reader());
        while !out.is_stopping() {
            if rng.below(2) == 0 {
                send(&mut writer, out, life, rng)?;
                continue;
            }
            received.reach_for(1);
            let bytes = match rng.below(3) {
                0 => go_on(reader.try_recv_bytes())?,
                1 => go_on(reader.recv_bytes_timeout(MOMENT))?,
                _ => match go_on(reader.poll(MOMENT))? {
                    // Not without end: of a long one, the sender may have given up the rest.
                    Some(true) => go_on(reader.recv_bytes_timeout(MOMENT))?,
                    _ => None,
                },
            };
            bytes.map_or(Ok(()), |bytes| receive(&bytes, &mut received))?;
        }
        drop(writer);
        loop {
            received.reach_for(1);
            match reader.recv_bytes() {
                Err(PipeError::Channel(ChannelError::Disconnected(Departure::Closed))) => break,
                other => {
                    go_on(other)?.map_or(Ok(()), |bytes| receive(&bytes, &mut received))?;
                }
            }
        }
        received.check_end(self.lives.load(Relaxed))?;
        Ok(Outcome::Clean)
    }

    /// What has come the way on which less has.
    fn done(&self) -> u64 {
        self.ways.iter().map(|way| way.received.load(Relaxed)).min().unwrap_or(0)
    }

    fn stop(&self) {
        self.ways.iter().for_each(|way| way.stop());
    }

    fn judge(&self, _: u64, _: Duration) -> Result<(), Complaint> {
        // Both ends have said that they have everything; successors go on.
        let (mut first, mut second) = (self.pipe.first()?, self.pipe.second()?);
        first.send_bytes(b"there")?;
        second.send_bytes(b"back")?;
        match (second.recv_bytes()?.as_slice(), first.recv_bytes()?.as_slice()) {
            (b"there", b"back") => Ok(()),
            other => complain(Outcome::Twice, format!("messages that nobody sent: {other:?}")),
        }
    }
}
