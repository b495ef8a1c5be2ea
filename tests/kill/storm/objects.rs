//! A storm over a queue of objects: three processes send and receive messages of all lengths, those that
//! go in pieces among them, and are killed at it. Each message has a number of its own, under which the
//! ledger says whether it was acknowledged and how often it was received.

use super::crew::{Work, count};
use super::roles::{linger, strategy};
use crate::harness::{Complaint, Judgement, Outcome, Rng, mix, sys};
use crate::ops::complain;
use commons::{ChannelError, ObjectQueue, Segment};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};
use std::time::Duration;

/// Bytes of the queue: few, so that many wait for their turn.
const ROOM: usize = 512;
/// Messages of a storm at most.
const MOST: usize = 1 << 24;
/// How long an operation waits at most: all may want to send at the same time.
const MOMENT: Duration = Duration::from_micros(1000);

const ACKNOWLEDGED: u8 = 1;
const RECEIVED: u8 = 2;

type Message = (u64, Vec<u8>);

/// What the parties write down.
#[repr(C)]
struct Log {
    /// The next number.
    next: AtomicU64,
    received: AtomicU64,
    stop: AtomicU64,
    messages: [AtomicU8; MOST],
}

/// The scene.
pub(super) struct Tasks {
    queue: ObjectQueue<Message>,
    log: &'static Log,
}

fn message(number: u64) -> Message {
    let random = mix(number);
    let length = match random % 8 {
        0..=3 => random >> 8 & 0x1f,
        4..=6 => random >> 8 & 0x1ff,
        _ => 1000 + (random >> 8 & 0xfff),
    };
    (number, (0..length).map(|i| (random as u8).wrapping_add(i as u8)).collect())
}

impl Tasks {
    pub(super) fn new() -> Result<Self, Complaint> {
        let segment = Segment::anonymous(128 << 10)?;
        let queue = ObjectQueue::new_in(&segment, "queue", ROOM)?;
        Ok(Tasks { queue, log: sys::share(size_of::<Log>()) })
    }

    fn send(&self, queue: &ObjectQueue<Message>, rng: &mut Rng) -> Result<(), Complaint> {
        let number = self.log.next.fetch_add(1, Relaxed);
        assert!(number < MOST as u64, "a storm has at most {MOST} messages");
        let message = message(number);
        let sent = match rng.below(3) {
            0 => queue.try_send(&message),
            _ => queue.send_timeout(&message, MOMENT),
        };
        match sent {
            Ok(()) => {
                self.log.messages[number as usize].fetch_or(ACKNOWLEDGED, Relaxed);
                Ok(())
            }
            Err(ChannelError::Full | ChannelError::TimedOut | ChannelError::TooLarge { .. }) => {
                Ok(())
            }
            Err(other) => Err(other.into()),
        }
    }

    /// Says whether there was a message.
    fn receive(&self, received: Result<Message, ChannelError>) -> Result<bool, Complaint> {
        let found = match received {
            Ok(found) => found,
            Err(ChannelError::Empty | ChannelError::TimedOut) => return Ok(false),
            Err(other) => return Err(other.into()),
        };
        if found != message(found.0) {
            return complain(Outcome::Lost, format!("message {} is torn", found.0));
        }
        let before = self.log.messages[found.0 as usize].fetch_add(RECEIVED, SeqCst);
        if before >= RECEIVED {
            return complain(Outcome::Twice, format!("message {} came twice", found.0));
        }
        count(&self.log.received);
        Ok(true)
    }
}

impl Work for Tasks {
    fn act(&self, _: usize, _: u64, rng: &mut Rng) -> Judgement {
        let mut queue = self.queue.clone();
        queue.set_wait_strategy(strategy(rng));
        while self.log.stop.load(SeqCst) == 0 {
            match rng.below(5) {
                0 | 1 => self.send(&queue, rng)?,
                2 => drop(self.receive(queue.try_recv())?),
                _ => drop(self.receive(queue.recv_timeout(MOMENT))?),
            }
            linger(rng);
        }
        Ok(Outcome::Clean)
    }

    fn done(&self) -> u64 {
        self.log.received.load(Relaxed)
    }

    fn stop(&self) {
        self.log.stop.store(1, SeqCst);
    }

    fn judge(&self, kills: u64, patience: Duration) -> Result<(), Complaint> {
        while self.receive(self.queue.try_recv())? {}
        // What came out of a dead one's hands is one message a kill.
        let sent = &self.log.messages[..self.log.next.load(SeqCst) as usize];
        let missing = sent.iter().filter(|m| m.load(SeqCst) == ACKNOWLEDGED).count() as u64;
        let lost = self.queue.lost_in_flight()?;
        if missing > kills || lost > kills {
            let text = format!("{kills} kills, {missing} messages missing, {lost} counted");
            return complain(Outcome::Lost, text);
        }
        self.queue.send_timeout(&message(0), patience)?;
        if self.queue.recv_timeout(patience)? != message(0) {
            return complain(Outcome::Twice, "there is a message that nobody sent");
        }
        Ok(())
    }
}
