//! A process is killed at one end of a pipe, or while it waits for many things.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end,
};
use commons::pipe::{Connection, Pipe};
use commons::{Event, Reset, Segment, Select, WaitStrategy};
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
        Ok(Box::new(Talk { pipe, other, act: self.act, length: self.length }))
    }
}

struct Talk {
    pipe: Pipe,
    /// For doing everything once.
    other: Pipe,
    act: Act,
    length: usize,
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

impl Talk {
    /// What was acknowledged has come, and at most one message more.
    fn check(&self, ledger: &Ledger) -> Result<(), Complaint> {
        let (sent, came) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        if came < sent || came > sent + 1 {
            return complain(Outcome::Lost, format!("{sent} messages acknowledged, {came} came"));
        }
        Ok(())
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
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.act {
            Act::Send | Act::Close => Entrance::Asleep,
            Act::Receive | Act::Claim => Entrance::Nobody,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut end_of_pipe = self.second()?;
        ledger.be_ready();
        while receive(&mut end_of_pipe, self.length, ledger)? {}
        self.check(ledger)?;
        Ok(Outcome::Clean)
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut end_of_pipe = self.second()?;
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
