//! `commons recv`: a ring of bytes to standard output.

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::meeting::{self, CONSUMER, PRODUCER};
use crate::os;
use crate::progress::{Progress, TICK};
use crate::text::{parse_size, size};
use clap::Args;
use commons::inspect::Holder;
use commons::spsc::{Consumer, Ring};
use commons::{ChannelError, Departure, Peer};
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// Bytes that are written at once, out of the ring.
const CHUNK: usize = 128 << 10;

/// Writes to standard output what the sender of the same name sends.
///
/// The two may be started in either order. When the sender has ended and everything is written, the
/// receiver removes the name and ends with code 0.
///
/// When the sender is killed, or could not read its input to the end, the receiver writes what was
/// sent, says so, removes the name and ends with code 3. What a killed receiver had not written
/// stays under the name, and a new one goes on there; a part that the dead one had just written may
/// come again. When the reader of standard output wants no more, as with `head`, the receiver ends
/// with code 0.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Where both sides meet.
    name: String,
    /// Bytes that fit between the two, with K, M or G. A ring that is there keeps what it has.
    #[arg(long, value_name = "BYTES", default_value = "1M", value_parser = parse_size)]
    capacity: usize,
}

/// Why there is no more to write.
enum End {
    /// The sender went.
    Sender(Departure),
    /// Nobody reads the output.
    Unread,
    Output(io::Error),
    Ring(ChannelError),
    /// The name was removed before a sender came.
    Removed,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let (ring, mut consumer) = meeting::receiver(name, arguments.capacity)?;
    let mut progress = Progress::new(name, &io::stdout());
    loop {
        match pump(name, &mut consumer, &mut progress) {
            End::Sender(departure) => {
                let again = meeting::put_away(name, &ring, consumer, departure, 0)?;
                match (departure, again) {
                    (Departure::Closed, None) => return Ok(()),
                    // Another sender has come, and may have gone.
                    (Departure::Closed, Some(again)) => consumer = again,
                    (_, again) => {
                        if let Some(again) = again {
                            again.abandon();
                        }
                        return Err(unfinished(name, departure, progress.bytes()));
                    }
                }
            }
            End::Unread => {
                let unread = consumer.len();
                drop(consumer);
                return finish(name, &ring, unread);
            }
            End::Output(error) => {
                consumer.abandon();
                let written = size(progress.bytes());
                let message = format!("standard output, after {written}: {error}");
                return Err(Failure::new(Code::Failed, message));
            }
            End::Ring(error) => {
                consumer.abandon();
                return Err(Failure::of_channel(name, &error));
            }
            End::Removed => return Err(meeting::removed(name, "sender")),
        }
    }
}

/// Nobody wants what is left: clears up after a sender that left before. One that is there does so
/// itself.
fn finish(name: &str, ring: &Ring<u8>, unread: usize) -> Result<(), Failure> {
    let departure = match meeting::look(name, PRODUCER)? {
        None => return Ok(()),
        Some(sender) if meeting::is_alive(&sender) => return Ok(()),
        Some(Holder::Closed | Holder::Nobody) => Departure::Closed,
        Some(_) => Departure::Abandoned,
    };
    meeting::put_away_unused(name, ring, departure, unread)
}

fn unfinished(name: &str, departure: Departure, bytes: u64) -> Failure {
    let what = match departure {
        Departure::Died { pid: Some(pid) } => {
            format!("the sender of `{name}` (process {pid}) died")
        }
        Departure::Died { pid: None } => format!("the sender of `{name}` died"),
        _ => format!("the sender of `{name}` gave up"),
    };
    Failure::new(
        Code::Unfinished,
        format!("{what}; the stream ends unfinished after {}", size(bytes)),
    )
}

/// Writes until there is no more.
fn pump(name: &str, consumer: &mut Consumer<u8>, progress: &mut Progress) -> End {
    let mut output = match io::stdout().as_fd().try_clone_to_owned() {
        Ok(output) => File::from(output),
        Err(error) => return End::Output(error),
    };
    loop {
        if progress.is_due() {
            let is_idle = consumer.is_empty();
            if is_idle && os::is_broken(&output) {
                return End::Unread;
            }
            match consumer.peer() {
                // One that has come needs no name.
                Ok(Peer::Nobody) if is_idle && meeting::is_removed(name, CONSUMER) => {
                    return End::Removed;
                }
                Ok(_) => {}
                Err(error) => return End::Ring(error),
            }
            progress.draw(if is_idle { ", waiting for the sender" } else { "" });
        }
        let loan = match consumer.peek_timeout(CHUNK, TICK) {
            Ok(loan) => loan,
            Err(ChannelError::TimedOut) => continue,
            Err(ChannelError::Disconnected(departure)) => return End::Sender(departure),
            Err(error) => return End::Ring(error),
        };
        match output.write(&loan) {
            Ok(0) => return End::Output(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                // Not before it is written: if this process dies, it comes again.
                loan.release(count);
                progress.add(count);
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return End::Unread,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                if let Err(error) = os::wait_writable(&output, TICK) {
                    return End::Output(error);
                }
            }
            Err(error) => return End::Output(error),
        }
    }
}
