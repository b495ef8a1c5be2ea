//! A process is killed at one end of a pipe, or while it waits for many things.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end, sys,
};
use commons::pipe::{Connection, Pipe, PipeError};
use commons::{Event, Reset, Segment, Select, WaitStrategy};
use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of room each way.
const ROOM: usize = 1024;

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Sends a message while the other end sleeps.
    Send,
    /// Gives its end up while the other end sleeps.
    Close,
    /// Receives a message of two.
    Receive,
    /// Takes an end.
    Claim,
    /// Gives a descriptor to the other end, which sleeps.
    Give,
    /// Takes a descriptor that the other end gives.
    Take,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    vec![
        Box::new(Talking { act: Act::Send, length: 8 }),
        Box::new(Talking { act: Act::Send, length: 300 }),
        // In pieces.
        Box::new(Talking { act: Act::Send, length: 3000 }),
        Box::new(Talking { act: Act::Receive, length: 8 }),
        Box::new(Talking { act: Act::Receive, length: 300 }),
        Box::new(Talking { act: Act::Close, length: 8 }),
        Box::new(Talking { act: Act::Claim, length: 8 }),
        Box::new(Talking { act: Act::Give, length: 48 }),
        Box::new(Talking { act: Act::Take, length: 48 }),
        Box::new(Watching),
    ]
}

struct Talking {
    act: Act,
    /// Bytes of the victim's message.
    length: usize,
}

impl Operation for Talking {
    fn name(&self) -> String {
        format!("pipe/{}-{}", format!("{:?}", self.act).to_lowercase(), self.length)
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(64 << 10)?;
        let pipe = Pipe::new_in(&segment, "pipe", ROOM)?;
        let other = Pipe::new_in(&segment, "other", ROOM)?;
        let given = sys::unnamed_file()?;
        Ok(Box::new(Talk { pipe, other, act: self.act, length: self.length, given }))
    }
}

struct Talk {
    pipe: Pipe,
    /// For doing everything once.
    other: Pipe,
    act: Act,
    length: usize,
    /// What is given and taken.
    given: File,
}

/// Message number `number`.
fn message(number: u64, length: usize) -> Vec<u8> {
    (0..length).map(|i| (number as usize * 37 + i * 11) as u8).collect()
}

fn send(end: &mut Connection, length: usize, ledger: &Ledger) -> Result<(), Complaint> {
    let number = ledger.pushed.load(Relaxed);
    end.send_bytes(&message(number, length))?;
    ledger.pushed.store(number + 1, Relaxed);
    Ok(())
}

/// Receives the next message, of this length, and writes it down.
fn receive(end: &mut Connection, length: usize, ledger: &Ledger) -> Result<bool, Complaint> {
    let number = ledger.received.load(Relaxed);
    match end.recv_bytes() {
        Ok(bytes) if bytes == message(number, length) => {
            ledger.received.store(number + 1, Relaxed);
            Ok(true)
        }
        Ok(bytes) => {
            complain(Outcome::Lost, format!("message {number} is another of {} bytes", bytes.len()))
        }
        Err(error) if error.is_end_of_file() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes a descriptor, which is the one of this file. Says whether there was one; none is where the end
/// of file is.
fn take(end: &mut Connection, file: &File, ledger: &Ledger) -> Result<Option<bool>, Complaint> {
    match end.recv_fd() {
        Ok(fd) => {
            let (got, given) = (File::from(fd).metadata()?, file.metadata()?);
            if (got.dev(), got.ino()) != (given.dev(), given.ino()) {
                return complain(Outcome::Lost, "another descriptor came than was given");
            }
            ledger.received.store(ledger.received.load(Relaxed) + 1, Relaxed);
            Ok(Some(true))
        }
        // The one who gave it is dead.
        Err(PipeError::DescriptorLost) => Ok(Some(false)),
        Err(error) if error.is_end_of_file() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Gives a descriptor, unless the other end dies at it.
fn give(end: &mut Connection, file: &File, ledger: &Ledger) -> Result<bool, Complaint> {
    match end.send_fd(file) {
        Ok(()) => {
            ledger.pushed.store(ledger.pushed.load(Relaxed) + 1, Relaxed);
            Ok(true)
        }
        Err(error) if error.is_end_of_file() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

impl Talk {
    /// What was acknowledged has come, and at most one message more.
    fn check(&self, ledger: &Ledger) -> Result<(), Complaint> {
        let (sent, came) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        if came < sent || came > sent + 1 {
            return complain(Outcome::Lost, format!("{sent} messages acknowledged, {came} came"));
        }
        Ok(())
    }

    /// Successors at both ends give and take, whatever is left of a dead one's.
    fn judge_descriptors(&self, mut second: Connection, ledger: &Ledger) -> Judgement {
        let mut first = self.first()?;
        let (there, back) = std::thread::scope(|scope| {
            let giving = scope.spawn(|| {
                let given = give(&mut first, &self.given, ledger);
                // What the other side left to the end that died.
                let taken = loop {
                    match take(&mut first, &self.given, ledger) {
                        Ok(Some(false)) => {}
                        other => break other,
                    }
                };
                (given, taken)
            });
            let taken = loop {
                match take(&mut second, &self.given, ledger) {
                    Ok(Some(false)) => {}
                    other => break other,
                }
            };
            let given = give(&mut second, &self.given, ledger);
            (giving.join().expect("it returns"), (given, taken))
        });
        match (there.0?, there.1?, back.0?, back.1?) {
            (true, Some(true), true, Some(true)) => Ok(Outcome::Clean),
            _ => complain(Outcome::Lost, "successors cannot give and take"),
        }
    }

    fn first(&self) -> Result<Connection, Complaint> {
        let mut end = self.pipe.first()?;
        end.set_wait_strategy(WaitStrategy::Park);
        Ok(end)
    }

    fn second(&self) -> Result<Connection, Complaint> {
        let mut end = self.pipe.second()?;
        end.set_wait_strategy(WaitStrategy::Park);
        Ok(end)
    }
}

impl Case for Talk {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let (mut other, mut there) = (self.other.first()?, self.other.second()?);
        other.send_bytes(&message(0, self.length.min(500)))?;
        there.recv_bytes()?;
        drop((other, there));
        match self.act {
            Act::Send => {
                let mut end_of_pipe = self.first()?;
                begin();
                send(&mut end_of_pipe, self.length, ledger)?;
                end();
            }
            Act::Close => {
                let mut end_of_pipe = self.first()?;
                begin();
                end_of_pipe.close();
                end();
            }
            Act::Receive => {
                // Its own messages, so that there is nobody else.
                let mut sender = self.first()?;
                send(&mut sender, self.length, ledger)?;
                send(&mut sender, self.length, ledger)?;
                let mut receiver = self.second()?;
                begin();
                receive(&mut receiver, self.length, ledger)?;
                end();
            }
            Act::Claim => {
                begin();
                std::mem::forget(self.pipe.first()?);
                end();
            }
            Act::Give => {
                let mut end_of_pipe = self.first()?;
                begin();
                give(&mut end_of_pipe, &self.given, ledger)?;
                end();
            }
            Act::Take => {
                let mut end_of_pipe = self.first()?;
                begin();
                take(&mut end_of_pipe, &self.given, ledger)?;
                end();
            }
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.act {
            Act::Send | Act::Close | Act::Give | Act::Take => Entrance::Asleep,
            Act::Receive | Act::Claim => Entrance::Nobody,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut end_of_pipe = self.second()?;
        ledger.be_ready();
        if matches!(self.act, Act::Give | Act::Take) {
            let before = sys::descriptors();
            if self.act == Act::Give {
                while take(&mut end_of_pipe, &self.given, ledger)?.is_some() {}
                self.check(ledger)?;
            } else {
                give(&mut end_of_pipe, &self.given, ledger)?;
            }
            if sys::descriptors() != before {
                return complain(Outcome::Lost, "a descriptor is left");
            }
            return Ok(Outcome::Clean);
        }
        while receive(&mut end_of_pipe, self.length, ledger)? {}
        self.check(ledger)?;
        Ok(Outcome::Clean)
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut end_of_pipe = self.second()?;
        if matches!(self.act, Act::Give | Act::Take) {
            return self.judge_descriptors(end_of_pipe, ledger);
        }
        if self.act == Act::Receive && ledger.received.load(Relaxed) == 0 {
            // It may have received the first message and not come to say so: that one died with it.
            let bytes = end_of_pipe.recv_bytes()?;
            let number = u64::from(bytes != message(0, self.length));
            if bytes != message(number, self.length) {
                return complain(Outcome::Lost, "neither the first message nor the second");
            }
            ledger.received.store(number + 1, Relaxed);
        }
        if self.act != Act::Claim {
            while receive(&mut end_of_pipe, self.length, ledger)? {}
            self.check(ledger)?;
        }
        // Successors at both ends go on.
        let mut sender = self.first()?;
        let (sent, came) = (&ledger.pushed, &ledger.received);
        sent.store(came.load(Relaxed), Relaxed);
        for length in [0, 8, 12, 13, 200, 500] {
            send(&mut sender, length, ledger)?;
            if !receive(&mut end_of_pipe, length, ledger)? {
                return complain(Outcome::Lost, "the end of file, though there is a successor");
            }
            end_of_pipe.send_bytes(b"back")?;
            sender.recv_bytes()?;
        }
        drop(sender);
        match end_of_pipe.recv_bytes() {
            Err(error) if error.is_end_of_file() => Ok(Outcome::Clean),
            Ok(_) => complain(Outcome::Twice, "there is a message that nobody sent"),
            Err(error) => Err(error.into()),
        }
    }
}

/// Who watches an event that lets one through is killed: who waits for it is let through all the same.
struct Watching;

impl Operation for Watching {
    fn name(&self) -> String {
        "select/watch".to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(16 << 10)?;
        let event = Event::new_in(&segment, "event", Reset::Auto)?;
        let other = Event::new_in(&segment, "other", Reset::Manual)?;
        Ok(Box::new(Watched { event, other }))
    }
}

struct Watched {
    event: Event,
    other: Event,
}

impl Case for Watched {
    fn victim(&mut self, _: &'static Ledger) -> Result<(), Complaint> {
        let mut select = Select::new();
        select.set_wait_strategy(WaitStrategy::Park);
        select.event(&self.event)?;
        select.event(&self.other)?;
        let moment = std::time::Duration::from_micros(50);
        select.wait_timeout(moment)?;
        begin();
        // Announces itself, sleeps, and finds nothing.
        select.wait_timeout(moment)?;
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        Entrance::Asleep
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        ledger.be_ready();
        let mut event = self.event.clone();
        event.set_wait_strategy(WaitStrategy::Park);
        event.wait()?;
        Ok(Outcome::Clean)
    }

    fn together(&self) -> bool {
        true
    }

    fn judge(&mut self, _: &'static Ledger) -> Judgement {
        self.event.set()?;
        Ok(Outcome::Clean)
    }
}
