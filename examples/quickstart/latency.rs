//! How long one word takes to the other process, and there and back.

use crate::pair::{self, Clock, Processors, Told, told};
use commons::spsc::{Duplex, duplex};
use commons::{ChannelError, Departure, WaitStrategy};
use hdrhistogram::Histogram;
use std::error::Error;
use std::io::{self, PipeReader, PipeWriter, Read, Write};

/// Trips that are measured, unless the time is over before.
const TRIPS: u64 = 500_000;
const TIME: u64 = 400_000_000;
/// Trips before them, which are not.
const WARM_UP: u64 = 1000;

/// What is measured.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Way {
    /// From just before one process sends to just after the other has received.
    There,
    /// Until the answer has come back.
    ThereAndBack,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy)]
pub(crate) struct Latencies {
    pub(crate) p50: u64,
    pub(crate) p99: u64,
    pub(crate) p999: u64,
    pub(crate) max: u64,
}

/// One end of a connection.
trait Wire: Send + 'static {
    fn send(&mut self, word: u64) -> Told<()>;
    /// `None`: the other end was closed.
    fn receive(&mut self) -> Told<Option<u64>>;
}

impl Wire for Duplex<u64> {
    #[inline]
    fn send(&mut self, word: u64) -> Told<()> {
        self.tx.push(word).map_err(told)
    }

    #[inline]
    fn receive(&mut self) -> Told<Option<u64>> {
        match self.rx.pop() {
            Ok(word) => Ok(Some(word)),
            Err(ChannelError::Disconnected(Departure::Closed)) => Ok(None),
            Err(error) => Err(told(error)),
        }
    }
}

struct Pipes {
    tx: PipeWriter,
    rx: PipeReader,
}

impl Wire for Pipes {
    fn send(&mut self, word: u64) -> Told<()> {
        self.tx.write_all(&word.to_ne_bytes()).map_err(told)
    }

    fn receive(&mut self) -> Told<Option<u64>> {
        let mut word = [0; 8];
        match self.rx.read_exact(&mut word) {
            Ok(()) => Ok(Some(u64::from_ne_bytes(word))),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(told(error)),
        }
    }
}

pub(crate) fn of_ring(
    way: Way,
    strategy: WaitStrategy,
    clock: Clock,
    processors: Processors,
) -> Result<Latencies, Box<dyn Error>> {
    let (mut here, mut there) = duplex::<u64>(16)?;
    here.set_wait_strategy(strategy);
    there.set_wait_strategy(strategy);
    measure(way, here, there, clock, processors)
}

pub(crate) fn of_pipe(
    way: Way,
    clock: Clock,
    processors: Processors,
) -> Result<Latencies, Box<dyn Error>> {
    let ((rx_there, tx_here), (rx_here, tx_there)) = (io::pipe()?, io::pipe()?);
    let (here, there) = (Pipes { tx: tx_here, rx: rx_here }, Pipes { tx: tx_there, rx: rx_there });
    measure(way, here, there, clock, processors)
}

/// One side sends the time and waits for an answer, again and again; the other answers. Who
/// measures depends on the way.
fn measure(
    way: Way,
    mut here: impl Wire,
    mut there: impl Wire,
    clock: Clock,
    processors: Processors,
) -> Result<Latencies, Box<dyn Error>> {
    let ask = move || {
        let mut sample = Sample::new();
        let end = clock.now() + TIME;
        for _ in 0..WARM_UP + TRIPS {
            let sent = clock.now();
            here.send(sent)?;
            here.receive()?.ok_or("the other process left early")?;
            if way == Way::ThereAndBack {
                sample.take(clock.now() - sent);
            }
            if sent > end {
                break;
            }
        }
        Ok(sample.percentiles())
    };
    let answer = move || {
        let mut sample = Sample::new();
        while let Some(sent) = there.receive()? {
            if way == Way::There {
                sample.take(clock.now() - sent);
            }
            there.send(sent)?;
        }
        Ok(sample.percentiles())
    };
    let (here, there) = pair::run(processors, ask, answer)?;
    let (p50, p99, p999, max) = if way == Way::There { there } else { here };
    Ok(Latencies { p50, p99, p999, max })
}

/// Measured trips.
struct Sample {
    trips: u64,
    histogram: Histogram<u64>,
}

impl Sample {
    fn new() -> Self {
        let histogram = Histogram::new_with_bounds(1, 60_000_000_000, 3);
        Sample { trips: 0, histogram: histogram.expect("the bounds are in order") }
    }

    #[inline]
    fn take(&mut self, nanoseconds: u64) {
        self.trips += 1;
        if self.trips > WARM_UP {
            self.histogram.saturating_record(nanoseconds);
        }
    }

    fn percentiles(&self) -> (u64, u64, u64, u64) {
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        (at(0.5), at(0.99), at(0.999), self.histogram.max())
    }
}
