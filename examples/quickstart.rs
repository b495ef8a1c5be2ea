//! Streams a file through a ring in shared memory from one process to another, checks that every
//! byte arrived, and sets throughput and latency beside those of a pipe.
//!
//! ```sh
//! cargo run --release --example quickstart [FILE]
//! ```
//! Without FILE it makes up 64 MiB. The exit code is 0 only if everything arrived.

#[path = "quickstart/latency.rs"]
mod latency;
#[path = "quickstart/os.rs"]
mod os;
#[path = "quickstart/pair.rs"]
mod pair;
#[path = "quickstart/source.rs"]
mod source;
#[path = "quickstart/stream.rs"]
mod stream;

use commons::WaitStrategy::{Park, Spin};
use latency::{Latencies, Way};
use pair::{Clock, Processors};
use source::Source;
use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;
use stream::Stream;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let file = arguments.next();
    if arguments.next().is_some() {
        eprintln!("usage: quickstart [FILE]");
        return ExitCode::from(2);
    }
    match Source::load(file.as_deref()).and_then(|source| run(&source)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("quickstart: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Measures and reports; whether every byte arrived.
fn run(source: &Source) -> Result<bool, Box<dyn Error>> {
    let mut out = io::stdout();
    let processors = Processors::choose();
    writeln!(out, "{source}; {processors}\n")?;

    let streams = stream::compare(source.bytes, processors)?;
    show_streams(&mut out, &streams)?;

    let clock = Clock::start();
    for (way, title) in [(Way::There, "one way, us"), (Way::ThereAndBack, "round trip, us")] {
        let pipe = latency::of_pipe(way, clock, processors)?;
        let mut rows = Vec::new();
        if processors.are_two() {
            rows.push(("ring, polling", latency::of_ring(way, Spin, clock, processors)?));
        }
        rows.push(("ring, parked", latency::of_ring(way, Park, clock, processors)?));
        rows.push(("pipe", pipe));
        show_latencies(&mut out, title, &rows, pipe)?;
    }
    if !processors.are_two() {
        writeln!(out, "polling is left out: on one processor it only keeps the peer from running")?;
    }
    writeln!(out, "each latency includes one reading of the clock, {} ns\n", clock.cost())?;

    let arrived = streams.0.is_whole() && streams.1.is_whole();
    writeln!(out, "{}", if arrived { "every byte arrived" } else { "NOT every byte arrived" })?;
    Ok(arrived)
}

fn show_streams(out: &mut impl Write, (ring, pipe): &(Stream, Stream)) -> io::Result<()> {
    let title = format!("stream through {} KiB", stream::IN_FLIGHT >> 10);
    writeln!(out, "{title:<24}{:>18}{:>18}{:>8}", "ring", "pipe", "gain")?;
    let mut line = |title, cell: &dyn Fn(&Stream) -> String, gain: &str| {
        let line = format!("  {title:<22}{:>18}{:>18}{gain:>8}", cell(ring), cell(pipe));
        writeln!(out, "{}", line.trim_end())
    };
    line("bytes received", &|s| s.received.bytes.to_string(), "")?;
    line("messages received", &|s| s.received.messages.to_string(), "")?;
    line("checksum sent", &|s| format!("{:016x}", s.sent.checksum), "")?;
    line("checksum received", &|s| format!("{:016x}", s.received.checksum), "")?;
    let throughput = |s: &Stream| s.throughput().map_or("too short".into(), |t| format!("{t:.2}"));
    let gain = ring.throughput().zip(pipe.throughput()).map(|(r, p)| format!("{:.1}x", r / p));
    line("throughput, GiB/s", &throughput, &gain.unwrap_or_default())?;
    writeln!(out)
}

fn show_latencies(
    out: &mut impl Write,
    title: &str,
    rows: &[(&str, Latencies)],
    pipe: Latencies,
) -> io::Result<()> {
    let [p50, p99, p999, max] = ["p50", "p99", "p99.9", "max"];
    writeln!(out, "{title:<24}{p50:>9}{p99:>9}{p999:>9}{max:>9}{:>8}", "gain")?;
    for (title, row) in rows {
        write!(out, "  {title:<22}")?;
        for nanoseconds in [row.p50, row.p99, row.p999, row.max] {
            write!(out, "{:>9.2}", nanoseconds as f64 / 1000.0)?;
        }
        writeln!(out, "{:>8}", format!("{:.1}x", pipe.p50 as f64 / row.p50.max(1) as f64))?;
    }
    writeln!(out)
}
