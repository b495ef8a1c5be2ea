//! A process is killed while it starts a child, or while it starts as one.

use super::item::{Author, Item, Small};
use super::named::Named;
use super::stream::{
    Style, carry_on, check_published, complain, consumer, drain, outcome_of, producer, send,
};
use crate::harness::{
    Case, Complaint, Entrance, Judgement, Ledger, Operation, Outcome, Party, Subject, begin, end,
};
use commons::spsc::{self, Ring};
use commons::{Error, JoinError, Process};
use std::sync::atomic::Ordering::Relaxed;

/// Items that the child sends.
const ITEMS: u64 = 3;
/// Items that wait for the child, which takes one.
const REQUESTS: u64 = 2;
/// Where the ledger says that the child ran.
const RAN: usize = 0;
/// Where it says that the child took the item it was sent.
const TAKEN: usize = 1;

/// Starting a child that is handed one end of a ring whose other end a third process has, and the
/// other end of one in another segment; or a daemon with settings.
struct Spawning {
    subject: Subject,
    daemon: bool,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let of = |subject, daemon| Box::new(Spawning { subject, daemon }) as Box<dyn Operation>;
    let plain = |subject| Box::new(Plain { subject }) as Box<dyn Operation>;
    let all = |subject| [of(subject, false), of(subject, true), plain(subject)];
    [all(Subject::Itself), all(Subject::ItsChild)].into_iter().flatten().collect()
}

fn who(subject: Subject) -> &'static str {
    if subject == Subject::Itself { "parent" } else { "child" }
}

impl Operation for Spawning {
    fn name(&self) -> String {
        format!(
            "process/spawn-{}{}",
            who(self.subject),
            if self.daemon { "-of-daemon" } else { "" }
        )
    }

    /// The parent found the rings by name, or inherited them itself.
    fn variants(&self) -> u32 {
        2
    }

    fn stage(&self, variant: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        // What a family shares is the harness's before anybody forks.
        drop(spsc::ring::<Small>(1)?);
        let names = [Named("ring"), Named("requests")];
        let ring = Ring::create(names[0].0, 4)?;
        let requests = Ring::create(names[1].0, 4)?;
        for number in 0..REQUESTS {
            let item = Item::new(number, Author::Scene);
            requests.producer()?.push(item).map_err(|rejected| rejected.reason)?;
        }
        let Spawning { subject, daemon } = *self;
        let inherited = variant == 1;
        Ok(Box::new(Spawn { subject, daemon, inherited, ring, requests, names }))
    }
}

struct Spawn {
    subject: Subject,
    /// It ends with its parent, and has settings.
    daemon: bool,
    inherited: bool,
    ring: Ring<Small>,
    requests: Ring<Small>,
    names: [Named; 2],
}

impl Case for Spawn {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        if !self.inherited {
            self.ring = Ring::open(self.names[0].0)?;
            self.requests = Ring::open(self.names[1].0)?;
        }
        let mut producer = producer(&self.ring)?;
        let mut requests = consumer(&self.requests)?;
        Process::spawn(|| ())?.join()?;
        let subject = self.subject;
        let mut builder = Process::builder();
        if self.daemon {
            builder = builder.daemon().current_dir("/").niceness(1).inherit_stdin();
        }
        begin();
        let started = builder.spawn(move || {
            ledger.notes[RAN].store(1, Relaxed);
            let mut work = || -> Judgement {
                requests.pop()?;
                ledger.notes[TAKEN].store(1, Relaxed);
                for _ in 0..ITEMS {
                    send(&mut producer, Author::Victim, ledger)?;
                }
                Ok(Outcome::Clean)
            };
            let judgement = work();
            if judgement.is_err() {
                ledger.say(Party::Victim, &judgement);
            } else if subject == Subject::ItsChild {
                end();
            }
        });
        let child = match started {
            // Killed while it set itself up: nothing was started, and nothing handed over.
            Err(Error::Process { what: "setting up the child", .. }) => return Ok(()),
            other => other?,
        };
        if subject == Subject::Itself {
            end();
        }
        match child.join() {
            Err(JoinError::Signaled { signal: 9 }) => Ok(()),
            other => complain(Outcome::Lost, format!("a killed child is said to be {other:?}")),
        }
    }

    fn subject(&self) -> Subject {
        self.subject
    }

    fn entrance(&self) -> Entrance {
        Entrance::Asleep
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut consumer = consumer(&self.ring)?;
        ledger.be_ready();
        Ok(outcome_of(drain(&mut consumer, ledger)?))
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let mut consumer = consumer(&self.ring)?;
        drain(&mut consumer, ledger)?;
        if let Some(Err(Complaint { outcome, text })) = ledger.said(Party::Victim) {
            return complain(outcome, format!("the child: {text}"));
        }
        let pushed = ledger.pushed.load(Relaxed);
        let ran = ledger.notes[RAN].load(Relaxed) != 0;
        let batch = match self.subject {
            // The child ends with its parent, wherever it is.
            Subject::Itself if self.daemon => 1,
            // The child lives: it does all of its work, or was never let go.
            Subject::Itself if pushed != if ran { ITEMS } else { 0 } => {
                return complain(Outcome::Lost, format!("the child sent {pushed} items"));
            }
            Subject::Itself => 0,
            Subject::ItsChild | Subject::ItsGrandchild => 1,
        };
        check_published(ledger, batch)?;
        self.check_requests(ledger)?;
        carry_on(&self.ring, consumer, ledger, Style::Push)?;
        Ok(Outcome::Clean)
    }
}

impl Spawn {
    /// The other end that the child was handed is free to take, and has what the child did not take.
    fn check_requests(&self, ledger: &Ledger) -> Result<(), Complaint> {
        // A child that was handed this end and is never let go, or is just done, has it for another
        // moment. If it kept it, this would never end, and count as wedged.
        let mut requests = loop {
            match self.requests.consumer() {
                Err(commons::Error::RoleTaken { .. }) => std::thread::yield_now(),
                other => break other?,
            }
        };
        let mut left = 0;
        while requests.try_pop().is_ok() {
            left += 1;
        }
        let taken = ledger.notes[TAKEN].load(Relaxed);
        let in_flight = ledger.notes[RAN].load(Relaxed) - taken;
        if left + taken > REQUESTS || left + taken + in_flight < REQUESTS {
            return complain(Outcome::Lost, format!("{left} requests left, {taken} taken"));
        }
        Ok(())
    }
}

/// Starting a child that is handed nothing, and has a result.
#[derive(Clone, Copy)]
struct Plain {
    subject: Subject,
}

/// What children give.
const RESULTS: [u64; 2] = [7_000_000_007, 8_000_000_008];
/// Where the ledger says that the child came to its end.
const DONE: usize = 1;

impl Operation for Plain {
    fn name(&self) -> String {
        format!("process/spawn-plain-{}", who(self.subject))
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        // What a family shares is the harness's before anybody forks.
        drop(spsc::ring::<Small>(1)?);
        Ok(Box::new(*self))
    }
}

impl Case for Plain {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        Process::spawn(|| ())?.join()?;
        let subject = self.subject;
        begin();
        let child = Process::spawn(move || {
            ledger.notes[RAN].store(1, Relaxed);
            if subject == Subject::ItsChild {
                end();
            }
            ledger.notes[DONE].store(1, Relaxed);
            RESULTS[0]
        })?;
        if subject == Subject::Itself {
            end();
        }
        match child.join() {
            Ok(result) if result == RESULTS[0] => {}
            Err(JoinError::Signaled { signal: 9 }) if subject == Subject::ItsChild => {}
            other => return complain(Outcome::Lost, format!("the child gave {other:?}")),
        }
        // The next one has what this one had, and nothing that it said.
        match Process::spawn(|| RESULTS[1])?.join()? {
            result if result == RESULTS[1] => Ok(()),
            other => complain(Outcome::Twice, format!("the next child gave {other}")),
        }
    }

    fn subject(&self) -> Subject {
        self.subject
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        // A child that was let go does its work, though its parent is gone.
        let ran = || ledger.notes[RAN].load(Relaxed) != 0;
        while self.subject == Subject::Itself && ran() && ledger.notes[DONE].load(Relaxed) == 0 {
            std::thread::yield_now();
        }
        match Process::spawn(|| RESULTS[1])?.join()? {
            result if result == RESULTS[1] => Ok(Outcome::Clean),
            other => complain(Outcome::Twice, format!("the next child gave {other}")),
        }
    }
}
