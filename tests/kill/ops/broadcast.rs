//! A process is killed while it sends to many, or receives as one of many.

use super::item::{Author, Item, Large, Small};
use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, begin, end,
};
use commons::broadcast::{Broadcast, Receiver, Sender};
use commons::{ChannelError, Departure, Segment, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

/// Messages that are kept.
const KEPT: usize = 4;
/// Messages that were sent before: so that slots are used again.
const BEFORE: u64 = 7;
/// Messages that the victim sends.
const BATCH: u64 = 2;

/// What the victim does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Sends, for nobody.
    Send,
    /// Sends while a receiver sleeps.
    Wake,
    /// Sends several.
    SendAll,
    /// Takes the sending side.
    Claim,
    /// Gives the sending side up while a receiver sleeps.
    Close,
    /// Receives.
    Receive,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let all = [Act::Send, Act::Wake, Act::SendAll, Act::Claim, Act::Close, Act::Receive];
    let mut operations: Vec<Box<dyn Operation>> = Vec::new();
    for act in all {
        operations.push(Box::new(Speaking::<Small> { act, what: "", make: Small::new }));
    }
    for act in [Act::Send, Act::Wake, Act::Receive] {
        operations.push(Box::new(Speaking::<Large> { act, what: "-large", make: Large::new }));
    }
    operations
}

struct Speaking<T> {
    act: Act,
    what: &'static str,
    make: fn(u64, Author) -> T,
}

impl<T: Item> Operation for Speaking<T> {
    fn name(&self) -> String {
        format!("broadcast/{}{}", format!("{:?}", self.act).to_lowercase(), self.what)
    }

    fn stage(&self, _: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let segment = Segment::anonymous(32 << 10)?;
        let broadcast = Broadcast::new_in(&segment, "news", KEPT)?;
        let other = Broadcast::new_in(&segment, "other", KEPT)?;
        let mut sender = broadcast.sender()?;
        for number in 0..BEFORE {
            send(&mut sender, (self.make)(number, Author::Scene), ledger)?;
        }
        drop(sender);
        Ok(Box::new(Spoken { broadcast, other, act: self.act, make: self.make }))
    }
}

struct Spoken<T> {
    broadcast: Broadcast<T>,
    /// For doing everything once.
    other: Broadcast<T>,
    act: Act,
    make: fn(u64, Author) -> T,
}

fn send<T: Item>(sender: &mut Sender<T>, item: T, ledger: &Ledger) -> Result<(), Complaint> {
    sender.send(item).map_err(|rejected| rejected.reason)?;
    ledger.pushed.store(ledger.pushed.load(Relaxed) + 1, Relaxed);
    Ok(())
}

/// Receives everything: each message is whole and the one of its number. Says how the sender went.
fn drain<T: Item>(receiver: &mut Receiver<T>) -> Result<Departure, Complaint> {
    receiver.set_wait_strategy(WaitStrategy::Park);
    loop {
        let expected = receiver.position();
        match receiver.recv() {
            Ok(item) => match item.read() {
                Some((number, _)) if number == expected => {}
                found => {
                    let text = format!("message {expected} was to come, not {found:?}");
                    return complain(Outcome::Lost, text);
                }
            },
            Err(ChannelError::Disconnected(departure)) => return Ok(departure),
            Err(other) => return Err(other.into()),
        }
    }
}

/// What was acknowledged is there, and no more than was sent.
fn check<T: Item>(receiver: &Receiver<T>, ledger: &Ledger) -> Result<(), Complaint> {
    let (sent, came) = (ledger.pushed.load(Relaxed), receiver.position());
    if came < sent || came > sent + BATCH {
        return complain(Outcome::Lost, format!("{sent} messages acknowledged, {came} came"));
    }
    Ok(())
}

impl<T: Item> Spoken<T> {
    fn sender(&self) -> Result<Sender<T>, Complaint> {
        Ok(self.broadcast.sender()?)
    }
}

impl<T: Item> Case for Spoken<T> {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        let items: Vec<T> =
            (BEFORE..BEFORE + BATCH).map(|n| (self.make)(n, Author::Victim)).collect();
        let mut other = self.other.sender()?;
        other.send_all(&items)?;
        drop(other);
        let mut receiver = self.other.receiver_from_oldest()?;
        receiver.recv()?;
        match self.act {
            Act::Send | Act::Wake => {
                let mut sender = self.sender()?;
                begin();
                send(&mut sender, items[0], ledger)?;
                end();
            }
            Act::SendAll => {
                let mut sender = self.sender()?;
                begin();
                sender.send_all(&items)?;
                ledger.pushed.store(BEFORE + BATCH, Relaxed);
                end();
            }
            Act::Claim => {
                begin();
                std::mem::forget(self.broadcast.sender()?);
                end();
            }
            Act::Close => {
                let sender = self.sender()?;
                begin();
                drop(sender);
                end();
            }
            Act::Receive => {
                let mut receiver = self.broadcast.receiver_from_oldest()?;
                begin();
                receiver.recv()?;
                end();
            }
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.act {
            Act::Wake | Act::Close => Entrance::Asleep,
            Act::Send | Act::SendAll | Act::Claim | Act::Receive => Entrance::Nobody,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut receiver = self.broadcast.receiver_from_oldest()?;
        // What the scene left, whose sender is gone; then whatever the victim sends.
        while receiver.position() < BEFORE {
            receiver.recv()?;
        }
        receiver.set_wait_strategy(WaitStrategy::Park);
        ledger.be_ready();
        let departure = drain(&mut receiver)?;
        check(&receiver, ledger)?;
        Ok(if departure == Departure::Closed { Outcome::Clean } else { Outcome::OwnerDied })
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut receiver = self.broadcast.receiver_from_oldest()?;
        let departure = drain(&mut receiver)?;
        check(&receiver, ledger)?;
        // A successor goes on with the next number.
        let mut sender = self.sender()?;
        if sender.sent() != receiver.position() {
            return complain(Outcome::Lost, "the successor has another number than comes next");
        }
        for number in sender.sent()..sender.sent() + 12 {
            sender.send((self.make)(number, Author::Judge)).map_err(|r| r.reason)?;
            match receiver.recv()?.read() {
                Some((found, _)) if found == number => {}
                found => return complain(Outcome::Lost, format!("sent {number}, came {found:?}")),
            }
        }
        drop(sender);
        match (receiver.recv(), departure) {
            (Err(ChannelError::Disconnected(Departure::Closed)), Departure::Closed) => {
                Ok(Outcome::Clean)
            }
            (Err(ChannelError::Disconnected(Departure::Closed)), _) => Ok(Outcome::OwnerDied),
            (Ok(_), _) => complain(Outcome::Twice, "there is a message that nobody sent"),
            (Err(other), _) => Err(other.into()),
        }
    }
}
