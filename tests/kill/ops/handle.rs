//! A process is killed while it gives or takes an end of a pipe, through another pipe.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end, sys,
};
use commons::pipe::{Connection, Pipe, PipeError, Undelivered};
use commons::{Segment, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

/// Bytes of room each way.
const ROOM: usize = 1024;

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Gives an end to the other process, which sleeps.
    Give,
    /// Takes an end that the other process gives, which sleeps.
    Take,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let operation = |name, act, apart| Box::new(Plan { name, act, apart }) as Box<dyn Operation>;
    vec![
        operation("pipe/give-handle", Act::Give, false),
        operation("pipe/give-handle-apart", Act::Give, true),
        operation("pipe/take-handle", Act::Take, false),
        operation("pipe/take-handle-apart", Act::Take, true),
    ]
}

struct Plan {
    name: &'static str,
    act: Act,
    /// Whether the end is in a segment that its receiver does not take part in yet.
    apart: bool,
}

impl Operation for Plan {
    fn name(&self) -> String {
        self.name.to_owned()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(64 << 10)?;
        let control = Pipe::new_in(&segment, "control", ROOM)?;
        let other = if self.apart { Segment::anonymous(64 << 10)? } else { segment };
        let given = Pipe::new_in(&other, "given", ROOM)?;
        Ok(Box::new(Moving { control, given, act: self.act }))
    }
}

struct Moving {
    /// Through which the end goes.
    control: Pipe,
    /// Of which it is an end.
    given: Pipe,
    act: Act,
}

fn parked(end: commons::Result<Connection>) -> Result<Connection, Complaint> {
    let mut end = end?;
    end.set_wait_strategy(WaitStrategy::Park);
    Ok(end)
}

/// The two ends reach each other.
fn reach(one: &mut Connection, other: &mut Connection) -> Result<(), Complaint> {
    for _ in 0..2 {
        one.send_bytes(b"there")?;
        if other.recv_bytes()? != b"there" {
            return complain(Outcome::Lost, "another message came than was sent");
        }
        other.send_bytes(b"back")?;
        if one.recv_bytes()? != b"back" {
            return complain(Outcome::Lost, "another answer came than was sent");
        }
    }
    Ok(())
}

/// The other end is nobody's any more, and tells so.
fn is_orphan(end: &mut Connection) -> Result<(), Complaint> {
    loop {
        match end.recv_bytes() {
            Ok(_) => {}
            Err(error) if error.is_end_of_file() => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Gives an end, unless the other process dies at it. Says what came back.
fn give(
    control: &mut Connection,
    end: Connection,
    ledger: &Ledger,
) -> Result<Option<Connection>, Complaint> {
    match control.send_handle(end) {
        Ok(()) => {
            ledger.pushed.store(ledger.pushed.load(Relaxed) + 1, Relaxed);
            Ok(None)
        }
        Err(Undelivered { value, reason }) if reason.is_end_of_file() => Ok(Some(value)),
        Err(Undelivered { reason, .. }) => Err(reason.into()),
    }
}

/// Takes an end. `None`: nobody gives one any more.
fn take(control: &mut Connection, ledger: &Ledger) -> Result<Option<Connection>, Complaint> {
    loop {
        match control.recv_handle::<Connection>() {
            Ok(end) => {
                ledger.received.store(ledger.received.load(Relaxed) + 1, Relaxed);
                return Ok(Some(end));
            }
            // The one who gave it is dead.
            Err(PipeError::HandleLost) => {}
            Err(error) if error.is_end_of_file() => return Ok(None),
            Err(error) => return Err(error.into()),
        }
    }
}

impl Moving {
    /// Takes what the victim gives.
    fn taker(&self, control: &mut Connection, ledger: &'static Ledger) -> Result<(), Complaint> {
        let got = take(control, ledger)?;
        let (given, came) = (ledger.pushed.load(Relaxed), ledger.received.load(Relaxed));
        if came < given {
            return complain(Outcome::Lost, "an end that was given has not come");
        }
        // The victim is dead, or has nothing left to give.
        let mut far = parked(self.given.second())?;
        if let Some(mut got) = got {
            reach(&mut got, &mut far)?;
            if take(control, ledger)?.is_some() {
                return complain(Outcome::Twice, "an end came twice");
            }
        }
        is_orphan(&mut far)
    }

    /// Gives what the victim takes.
    fn giver(&self, control: &mut Connection, ledger: &'static Ledger) -> Result<(), Complaint> {
        let (near, mut far) = (parked(self.given.first())?, parked(self.given.second())?);
        if let Some(mut near) = give(control, near, ledger)? {
            if ledger.received.load(Relaxed) > 0 {
                return complain(Outcome::Twice, "an end that was taken came back");
            }
            reach(&mut near, &mut far)?;
        }
        // The victim has it, and is going to die; or nobody has it.
        is_orphan(&mut far)
    }
}

impl Case for Moving {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let mut control = parked(self.control.first())?;
        match self.act {
            Act::Give => {
                let near = parked(self.given.first())?;
                begin();
                give(&mut control, near, ledger)?;
                end();
            }
            Act::Take => {
                begin();
                let got = take(&mut control, ledger)?;
                end();
                drop(got);
            }
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        Entrance::Asleep
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut control = parked(self.control.second())?;
        ledger.be_ready();
        let before = sys::descriptors();
        match self.act {
            Act::Give => self.taker(&mut control, ledger)?,
            Act::Take => self.giver(&mut control, ledger)?,
        }
        // The lock on its place in the other segment stays.
        if self.act == Act::Take && sys::descriptors() > before + 1 {
            return complain(Outcome::Lost, "a descriptor is left");
        }
        Ok(Outcome::Clean)
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        // Successors at all ends do the same, in one process.
        let (mut first, mut second) =
            (parked(self.control.first())?, parked(self.control.second())?);
        let (near, mut far) = (parked(self.given.first())?, parked(self.given.second())?);
        let (came_back, got) = std::thread::scope(|scope| {
            let giving = scope.spawn(|| give(&mut first, near, ledger));
            let got = take(&mut second, ledger);
            (giving.join().expect("it returns"), got)
        });
        match (came_back?, got?) {
            (None, Some(mut got)) => reach(&mut got, &mut far)?,
            _ => return complain(Outcome::Lost, "successors cannot give and take an end"),
        }
        is_orphan(&mut far)?;
        Ok(Outcome::Clean)
    }
}
