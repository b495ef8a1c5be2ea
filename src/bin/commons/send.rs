//! `commons send`: standard input into a ring of bytes.

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::meeting;
use crate::os;
use crate::progress::{Progress, TICK};
use crate::receiver::{Receiver, Sight};
use crate::text::{parse_size, size};
use clap::Args;
use commons::spsc::{Producer, Ring};
use commons::{ChannelError, Departure};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::thread;
use std::time::Duration;

/// Bytes that are read at once, into the ring.
const CHUNK: usize = 128 << 10;
/// Between two looks for another receiver.
const PAUSE: Duration = Duration::from_millis(20);

/// Sends standard input to the receiver of the same name.
///
/// The two may be started in either order. Without a receiver, up to a capacity of bytes is sent
/// ahead; they stay under the name, also when this command has ended, until somebody receives them
/// or removes the name with `commons rm`. A sender that comes before a receiver has ended adds to
/// what an earlier one sent; but not if that one was killed or gave up (code 3).
///
/// When the receiver is killed, the sender ends with code 3, and what the receiver had not written
/// stays for a new `commons recv`. When the receiver's reader wants no more, as with `head`, the
/// sender ends with code 3 and removes the name. When standard input cannot be read to its end, the
/// receiver is told that the stream is unfinished.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Where both sides meet.
    name: String,
    /// Bytes that fit between the two, with K, M or G. A ring that is there keeps what it has.
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = parse_size)]
    capacity: usize,
    /// When the receiver dies or leaves, wait for another one.
    #[arg(long)]
    keep: bool,
}

/// Why a transfer ended before the end of the input.
enum Stop {
    Receiver(Departure),
    Input(io::Error),
    Ring(ChannelError),
    /// The name was removed before a receiver came.
    Removed,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let (ring, mut producer) = meeting::sender(name, arguments.capacity)?;
    let mut receiver = Receiver::of(name, &producer, arguments.keep)
        .map_err(|error| Failure::of_channel(name, &error))?;
    let mut progress = Progress::new(name, &io::stdin());
    let Err(stop) = pump(&mut producer, &mut receiver, &mut progress) else {
        // Closed first, then looked: of two that leave at once, one sees the other gone.
        drop(producer);
        return finish(name, &ring, &receiver);
    };
    producer.abandon();
    let sent = size(progress.bytes());
    Err(match stop {
        Stop::Receiver(departure) => {
            let news = receiver.news(departure);
            let left = ring.len();
            let rest = if departure == Departure::Closed || left == 0 {
                meeting::put_away_unused(name, &ring, Departure::Abandoned, left)?;
                String::new()
            } else {
                format!("; `commons recv {name}` gets the {} that it left", size(left as u64))
            };
            Failure::new(Code::Unfinished, format!("{news} after {sent} were sent{rest}"))
        }
        Stop::Input(error) => {
            Failure::new(Code::Failed, format!("standard input, after {sent}: {error}"))
        }
        Stop::Ring(error) => Failure::of_channel(name, &error),
        Stop::Removed => meeting::removed(name, "receiver"),
    })
}

/// Sends until the input ends.
fn pump(
    producer: &mut Producer<u8>,
    receiver: &mut Receiver<'_>,
    progress: &mut Progress,
) -> Result<(), Stop> {
    let mut input =
        io::stdin().as_fd().try_clone_to_owned().map(File::from).map_err(Stop::Input)?;
    loop {
        if progress.is_due() {
            match receiver.look(producer, progress).map_err(Stop::Ring)? {
                Sight::Fine => {}
                Sight::Gone(departure) => return Err(Stop::Receiver(departure)),
                Sight::Never => return Err(Stop::Removed),
            }
            progress.draw(receiver.note());
        }
        if !os::wait_readable(&input, TICK).map_err(Stop::Input)? {
            continue;
        }
        let mut grant = match producer.reserve_timeout(CHUNK, TICK) {
            Ok(grant) => grant,
            Err(ChannelError::TimedOut) => continue,
            Err(ChannelError::Disconnected(departure)) => {
                if let Some(departure) = receiver.judge(departure, progress) {
                    return Err(Stop::Receiver(departure));
                }
                // Another one gives no sign to who has already been told that one is gone.
                thread::sleep(PAUSE);
                continue;
            }
            Err(error) => return Err(Stop::Ring(error)),
        };
        match input.read(&mut grant) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                grant.commit(count);
                progress.add(count);
            }
            Err(error) if is_passing(&error) => {}
            Err(error) => return Err(Stop::Input(error)),
        }
    }
}

fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock)
}

/// Everything is in the ring, which is closed: clears up after a receiver that left before.
fn finish(name: &str, ring: &Ring<u8>, receiver: &Receiver<'_>) -> Result<(), Failure> {
    if !receiver.wants_no_more() {
        return Ok(());
    }
    let left = ring.len();
    meeting::put_away_unused(name, ring, Departure::Closed, left)?;
    if left == 0 {
        return Ok(());
    }
    let (news, left) = (receiver.news(Departure::Closed), size(left as u64));
    Err(Failure::new(Code::Unfinished, format!("{news} with {left} still to come")))
}
