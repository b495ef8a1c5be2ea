//! A storm over a broadcast: one sends, two receive, and are killed at it. A message has the number that
//! its sender gave it and says who that was: so it shows where two were sent under one number, where one
//! was torn, and where a receiver was not told of one that it missed.

use super::crew::{Work, count};
use super::roles::{claim, linger, strategy};
use crate::harness::{Complaint, Judgement, Outcome, Rng, sys};
use crate::ops::{Author, Item, Large, complain};
use commons::broadcast::{Broadcast, Receiver};
use commons::{ChannelError, Departure, Segment};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release, SeqCst},
};
use std::time::Duration;

/// Messages that are kept: few, so that receivers are left behind.
const KEPT: usize = 4;
/// Messages of the largest batch.
const BATCH: u64 = 3;
/// How many messages are remembered by who sent them.
const REMEMBERED: usize = 1 << 12;
/// Bits of a life.
const LIFE: u32 = 20;
const MOMENT: Duration = Duration::from_micros(300);

/// What the parties write down.
#[repr(C)]
struct Log {
    /// Messages that were sent, and acknowledged.
    sent: AtomicU64,
    received: AtomicU64,
    stop: AtomicU64,
    /// Number and life of messages that were received.
    seen: [AtomicU64; REMEMBERED],
}

/// The scene.
pub(super) struct News {
    broadcast: Broadcast<Large>,
    log: &'static Log,
}

impl News {
    pub(super) fn new() -> Result<Self, Complaint> {
        let segment = Segment::anonymous(64 << 10)?;
        let broadcast = Broadcast::new_in(&segment, "news", KEPT)?;
        Ok(News { broadcast, log: sys::share(size_of::<Log>()) })
    }

    fn speak(&self, life: u64, rng: &mut Rng) -> Judgement {
        let mut sender = claim(|| self.broadcast.sender())?;
        let acknowledged = self.log.sent.load(Acquire);
        if sender.sent() < acknowledged {
            let text = format!("{acknowledged} were acknowledged, {} are known", sender.sent());
            return complain(Outcome::Lost, text);
        }
        while self.log.stop.load(SeqCst) == 0 {
            let first = sender.sent();
            let items: Vec<Large> = (first..first + 1 + rng.below(BATCH))
                .map(|number| Large::new(number << LIFE | life, Author::Victim))
                .collect();
            sender.send_all(&items)?;
            self.log.sent.store(sender.sent(), Release);
            // Now and then receivers catch up, and sleep.
            linger(rng);
            if rng.below(4) == 0 {
                sys::give_way();
            }
        }
        Ok(Outcome::Clean)
    }

    fn listen(&self, rng: &mut Rng) -> Judgement {
        let mut receiver = match rng.below(2) {
            0 => self.broadcast.receiver()?,
            _ => self.broadcast.receiver_from_oldest()?,
        };
        receiver.set_wait_strategy(strategy(rng));
        loop {
            let before = (receiver.position(), receiver.missed());
            let received = match rng.below(3) {
                0 => receiver.try_recv(),
                1 => receiver.recv_timeout(MOMENT),
                _ => receiver.recv(),
            };
            match received {
                Ok(item) if (receiver.position() - 1, receiver.missed()) == before => {
                    self.check(&receiver, item)?;
                }
                Ok(_) => {
                    return complain(Outcome::Lost, "messages were missed, and nobody was told");
                }
                Err(ChannelError::Empty | ChannelError::TimedOut) => sys::give_way(),
                Err(ChannelError::Lagged(messages)) => {
                    let after = (receiver.position(), receiver.missed());
                    if after != (before.0 + messages, before.1 + messages) {
                        let text =
                            format!("{messages} were missed between {before:?} and {after:?}");
                        return complain(Outcome::Lost, text);
                    }
                }
                Err(ChannelError::Disconnected(departure)) => {
                    if departure == Departure::Closed && self.log.stop.load(SeqCst) != 0 {
                        return self.check_end(&receiver);
                    }
                    sys::give_way();
                }
                Err(other) => return Err(other.into()),
            }
            linger(rng);
        }
    }

    fn check(&self, receiver: &Receiver<Large>, item: Large) -> Result<(), Complaint> {
        let position = receiver.position();
        let Some((word, _)) = item.read() else {
            return complain(Outcome::Lost, format!("the message before {position} is torn"));
        };
        let number = word >> LIFE;
        if number + 1 != position {
            let text = format!("{number} came, and then {position} was to come");
            return complain(Outcome::Lost, text);
        }
        let seen = &self.log.seen[number as usize % REMEMBERED];
        let mut known = seen.load(Relaxed);
        while known >> LIFE <= number {
            if known >> LIFE == number && known != word && known != 0 {
                let text = format!("message {number} was sent by two: {word:#x}, {known:#x}");
                return complain(Outcome::Twice, text);
            }
            match seen.compare_exchange(known, word, Relaxed, Relaxed) {
                Ok(_) => break,
                Err(other) => known = other,
            }
        }
        count(&self.log.received);
        Ok(())
    }

    /// The last sender has closed: everything that it sent has come, or was missed.
    fn check_end(&self, receiver: &Receiver<Large>) -> Judgement {
        let (sent, position) = (self.log.sent.load(Acquire), receiver.position());
        if sent != position {
            return complain(Outcome::Lost, format!("{sent} were sent, and {position} came"));
        }
        Ok(Outcome::Clean)
    }
}

impl Work for News {
    fn act(&self, place: usize, life: u64, rng: &mut Rng) -> Judgement {
        if place == 0 { self.speak(life, rng) } else { self.listen(rng) }
    }

    fn done(&self) -> u64 {
        self.log.received.load(Relaxed)
    }

    fn stop(&self) {
        self.log.stop.store(1, SeqCst);
    }

    fn judge(&self, _: u64, _: Duration) -> Result<(), Complaint> {
        let mut receiver = self.broadcast.receiver_from_oldest()?;
        let before = self.broadcast.sent() - KEPT as u64;
        while let Ok(item) = receiver.try_recv() {
            self.check(&receiver, item)?;
        }
        if receiver.position() != before + KEPT as u64 || receiver.missed() != 0 {
            return complain(Outcome::Lost, "the last messages are not there any more");
        }
        Ok(())
    }
}
