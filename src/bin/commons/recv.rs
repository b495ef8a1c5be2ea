//! `commons recv`: a ring of bytes to standard output.

use crate::failure::{Code, EXIT_CODES, Failure};
use crate::meeting::{self, PRODUCER};
use crate::os;
use crate::progress::{Progress, TICK};
use crate::text::{parse_size, size};
use clap::Args;
use commons::spsc::Consumer;
use commons::{ChannelError, Departure};
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
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let name = &arguments.name;
    let (ring, mut consumer) = meeting::receiver(name, arguments.capacity)?;
    let mut progress = Progress::new(name, &io::stdout());
    loop {
        match pump(&mut consumer, &mut progress) {
            End::Sender(Departure::Closed) => match meeting::put_away(name, &ring, consumer, 0)? {
                None => return Ok(()),
                // Another sender has come, and may have gone.
                Some(again) => consumer = again,
            },
            End::Sender(departure) => {
                if let Some(consumer) = meeting::put_away(name, &ring, consumer, 0)? {
                    consumer.abandon();
                }
                return Err(unfinished(name, departure, progress.bytes()));
            }
            End::Unread => {
                let unread = consumer.len();
                drop(consumer);
                // A sender that is there sees to the name itself.
                if meeting::look(name, PRODUCER)?.is_some_and(|sender| !meeting::is_alive(&sender))
                {
                    meeting::put_away_unused(name, &ring, unread)?;
                }
                return Ok(());
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
        }
    }
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
fn pump(consumer: &mut Consumer<u8>, progress: &mut Progress) -> End {
    let mut output = match io::stdout().as_fd().try_clone_to_owned() {
        Ok(output) => File::from(output),
        Err(error) => return End::Output(error),
    };
    loop {
        let is_idle = consumer.is_empty();
        let note = if is_idle { ", waiting for the sender" } else { "" };
        if progress.is_due(note) && is_idle && os::is_broken(&output) {
            return End::Unread;
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
