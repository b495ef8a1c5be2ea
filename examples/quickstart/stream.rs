//! The same bytes through a ring and through a pipe.

use crate::os;
use crate::pair::{self, Clock, Processors, Told, told};
use crate::source::Checksum;
use commons::{ChannelError, Departure, spsc};
use std::error::Error;
use std::io::{self, Read, Write};

/// Bytes of the stream in one message.
const PART: usize = 32 << 10;
/// Messages that the ring holds: together they fit into a processor's own cache.
const SLOTS: usize = 8;
/// Bytes of the stream that are on their way at most, in the ring as in the pipe.
pub(crate) const IN_FLIGHT: usize = SLOTS * PART;
/// How often the stream is repeated while that takes little time; the median counts.
const PASSES: usize = 5;
const LARGE: usize = 512 << 20;
/// Fewer bytes are over before their speed says anything.
const SHORT: u64 = 4 << 20;

/// One message, written and read where it lies in the ring.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Message {
    number: u64,
    length: u64,
    unused: [u64; 6],
    bytes: [u8; PART],
}

/// What one side counted.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Count {
    pub(crate) bytes: u64,
    pub(crate) messages: u64,
    pub(crate) checksum: u64,
}

/// One pass of the stream as both sides saw it.
#[derive(Clone, Copy)]
pub(crate) struct Stream {
    pub(crate) sent: Count,
    pub(crate) received: Count,
    /// From the first byte that the producer touched to the last that the consumer summed up.
    nanoseconds: u64,
}

impl Stream {
    pub(crate) fn is_whole(&self) -> bool {
        self.sent == self.received
    }

    /// In GiB/s; `None`: the stream was too short.
    pub(crate) fn throughput(&self) -> Option<f64> {
        let (bytes, seconds) = (self.received.bytes as f64, self.nanoseconds as f64 / 1e9);
        (self.received.bytes >= SHORT).then_some(bytes / seconds / (1u64 << 30) as f64)
    }
}

/// The median passes through a ring and through a pipe.
pub(crate) fn compare(
    bytes: &'static [u8],
    processors: Processors,
) -> Result<(Stream, Stream), Box<dyn Error>> {
    let (mut ring, mut pipe) = (Vec::new(), Vec::new());
    for _ in 0..if bytes.len() < LARGE { PASSES } else { 1 } {
        ring.push(through_ring(bytes, processors)?);
        pipe.push(through_pipe(bytes, processors)?);
    }
    Ok((median(ring), median(pipe)))
}

/// The median; or a pass in which something got lost.
fn median(mut passes: Vec<Stream>) -> Stream {
    passes.sort_by_key(|pass| (pass.is_whole(), pass.nanoseconds));
    if passes[0].is_whole() { passes[passes.len() / 2] } else { passes[0] }
}

/// What the consumer has received.
#[derive(Default)]
struct Receipt {
    checksum: Checksum,
    bytes: u64,
    messages: u64,
}

impl Receipt {
    fn take(&mut self, part: &[u8]) {
        self.checksum.take(part);
        self.bytes += part.len() as u64;
        self.messages += 1;
    }

    fn told(self, clock: Clock) -> (u64, u64, u64, u64) {
        (self.bytes, self.messages, self.checksum.finish(), clock.now())
    }
}

/// Runs a producer, which gives how many messages it sent, and a consumer under one clock.
fn pass(
    bytes: &'static [u8],
    processors: Processors,
    produce: impl FnOnce() -> Told<u64> + Send + 'static,
    consume: impl FnOnce(&mut Receipt) -> Told<()> + Send + 'static,
) -> Result<Stream, Box<dyn Error>> {
    let clock = Clock::start();
    let (mut ready, mut is_ready) = spsc::ring::<u8>(1)?;
    let producer = move || {
        let mut checksum = Checksum::default();
        bytes.chunks(PART).for_each(|part| checksum.take(part));
        is_ready.pop().map_err(told)?;
        let started = clock.now();
        Ok((bytes.len() as u64, produce()?, checksum.finish(), started))
    };
    let consumer = move || {
        ready.push(1).map_err(told)?;
        let mut receipt = Receipt::default();
        consume(&mut receipt)?;
        Ok(receipt.told(clock))
    };
    let (sent, received) = pair::run(processors, producer, consumer)?;
    let count = |(bytes, messages, checksum, _)| Count { bytes, messages, checksum };
    let nanoseconds = received.3 - sent.3;
    Ok(Stream { sent: count(sent), received: count(received), nanoseconds })
}

fn through_ring(bytes: &'static [u8], processors: Processors) -> Result<Stream, Box<dyn Error>> {
    let (mut producer, mut consumer) = spsc::ring::<Message>(SLOTS)?;
    let produce = move || {
        let mut number = 0;
        for part in bytes.chunks(PART) {
            let mut grant = producer.reserve(1).map_err(told)?;
            let message = &mut grant[0];
            (message.number, message.length) = (number, part.len() as u64);
            message.bytes[..part.len()].copy_from_slice(part);
            grant.commit(1);
            number += 1;
        }
        Ok(number)
    };
    let consume = move |receipt: &mut Receipt| {
        loop {
            let loan = match consumer.peek(1) {
                Ok(loan) => loan,
                Err(ChannelError::Disconnected(Departure::Closed)) => return Ok(()),
                Err(error) => return Err(told(error)),
            };
            let message = &loan[0];
            if message.number != receipt.messages {
                return Err(format!("message {} came as {}", message.number, receipt.messages));
            }
            let part = message.bytes.get(..message.length as usize);
            receipt.take(part.ok_or("a message is longer than it can be")?);
            loan.release(1);
        }
    };
    pass(bytes, processors, produce, consume)
}

fn through_pipe(bytes: &'static [u8], processors: Processors) -> Result<Stream, Box<dyn Error>> {
    let (mut reader, mut writer) = io::pipe()?;
    os::enlarge(&writer, IN_FLIGHT);
    let produce = move || {
        let mut number = 0;
        for part in bytes.chunks(PART) {
            writer.write_all(part).map_err(told)?;
            number += 1;
        }
        Ok(number)
    };
    let consume = move |receipt: &mut Receipt| {
        let mut part = vec![0; PART];
        loop {
            let mut length = 0;
            while length < PART {
                match reader.read(&mut part[length..]) {
                    Ok(0) => break,
                    Ok(more) => length += more,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(told(error)),
                }
            }
            if length == 0 {
                return Ok(());
            }
            receipt.take(&part[..length]);
        }
    };
    pass(bytes, processors, produce, consume)
}
