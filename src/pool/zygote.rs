//! The process that starts workers: the zygote.
//!
//! It is forked when the pool is made, has one thread, and does nothing but start workers and wait for
//! their ends. So replacements come from a process in which no other thread can hold a lock, and how a
//! worker ended is known to who can tell it from others of its id. A dead worker's task is ended before
//! the seat goes to the next one, so a seat's number is enough to name its worker.
//!
//! It ends when its workers have ended and there are to be no more. Killed, it leaves workers that go
//! on: the pool then finds their ends itself, by their stamps.

#![allow(unsafe_code, reason = "starts processes")]

use super::board::{BY_SIGNAL, Board, RUNNING, TOO_LONG, UNINITIALISED, UNMANNED};
use super::worker::{Work, initialize, work};
use crate::process::{self, ExitStatus, Started};
use crate::sys::fuse::Fuse;
use crate::sys::process::signals::KILL;
use crate::sys::setup::{self, Processors};
use crate::sys::tether::Collar;
use crate::{Error, Result};
use std::io;
use std::thread;
use std::time::Duration;

/// Deaths before a worker is ready, one after another, that say that none will ever be. One that was not
/// killed from outside says more.
const MOST_STILLBORN: u32 = 99;
/// What such a death counts for.
const BY_ITSELF: u32 = 33;
/// How often a start that the kernel refuses is tried again while there is no worker at all.
const ATTEMPTS: u32 = 100;
/// How long the zygote waits before it does.
const PAUSE: Duration = Duration::from_millis(10);

#[derive(Debug)]
struct Zygote<'a> {
    board: &'a mut Board,
    work: &'a Work,
    collar: &'a Collar,
    /// The process id of who is in each seat.
    children: Vec<Option<u32>>,
}

/// What the zygote does, from its first to its last instruction.
pub(super) fn live(mut board: Board, work: &Work, collar: &Collar) {
    process::be_parent_of_workers();
    let Ok(membership) = board.core().membership() else {
        board.say_started(Err(io::ErrorKind::Other.into()));
        return;
    };
    board.set_zygote(membership.stamp());
    let children = vec![None; board.seats().len()];
    let mut zygote = Zygote { board: &mut board, work, collar, children };
    let started = (0..zygote.children.len()).try_for_each(|seat| zygote.start(seat));
    let count = zygote.children.len() as u32;
    match started {
        Ok(()) => zygote.board.say_started(Ok(count)),
        Err(error) => {
            // The pool ends those that were started.
            zygote.board.say_started(Err(reason(error)));
            zygote.board.terminate();
        }
    }
    zygote.wait();
}

/// The kernel's part of an error.
fn reason(error: Error) -> io::Error {
    match error {
        Error::Process { source, .. } | Error::Os { source, .. } => source,
        other => io::Error::other(other),
    }
}

impl Zygote<'_> {
    /// Waits for the ends of workers, and starts others, until none is left and none is to come.
    fn wait(&mut self) {
        let mut attempts = 0;
        loop {
            let failure = self.fill_seats();
            if self.children.iter().all(Option::is_none) {
                let Some(error) = &failure else { return };
                attempts += 1;
                if attempts == ATTEMPTS {
                    self.board.fail(UNMANNED, &error.to_string());
                    return;
                }
            }
            // While a seat is free, a start is tried again and again.
            match process::wait_for_any(failure.is_none()) {
                Ok(Some((pid, status))) => {
                    attempts = 0;
                    self.bury(pid, status);
                }
                Ok(None) => thread::sleep(PAUSE),
                Err(error) => {
                    self.board.fail(UNMANNED, &error.to_string());
                    return;
                }
            }
        }
    }

    /// Ends what a dead worker left.
    fn bury(&mut self, pid: u32, status: ExitStatus) {
        let Some(index) = self.children.iter().position(|&child| child == Some(pid)) else {
            return;
        };
        self.children[index] = None;
        let seat = &self.board.seats()[index];
        let end = match status {
            ExitStatus::Exited(code) => u64::from(code as u32 & 0xff),
            ExitStatus::Signaled(KILL) if seat.is_late() => TOO_LONG,
            ExitStatus::Signaled(signal) => BY_SIGNAL | signal as u64,
        };
        self.board.raw().bury(index as u16, u64::from(pid), end);
        if seat.pid() == 0 {
            let by_itself = status != ExitStatus::Signaled(KILL);
            let count = self.board.more_stillborn(if by_itself { BY_ITSELF } else { 1 });
            if count >= MOST_STILLBORN {
                let how = match status {
                    ExitStatus::Exited(code) => format!("exited with code {code}"),
                    ExitStatus::Signaled(signal) => format!("were ended by signal {signal}"),
                };
                if self.work.initializer.is_some() {
                    self.board.fail(UNINITIALISED, &format!("workers {how} in it"));
                } else {
                    self.board.fail(UNMANNED, &format!("workers {how} before they were ready"));
                }
            }
        }
        self.board.raw().tell_of_death();
    }

    /// Starts workers in the seats that are nobody's, if there are to be any. What the kernel said if
    /// it refused one.
    fn fill_seats(&mut self) -> Option<io::Error> {
        while self.board.phase() == RUNNING {
            let index = self.children.iter().position(Option::is_none)?;
            if let Err(error) = self.start(index) {
                return Some(reason(error));
            }
        }
        None
    }

    /// Starts a worker in a seat.
    fn start(&mut self, index: usize) -> Result<()> {
        let name = format!("PoolWorker-{}", self.board.next_number());
        let core = self.board.core().clone();
        let seat = &self.board.seats()[index];
        // SAFETY: the zygote has one thread.
        let started =
            unsafe { process::start_worker(&core, name, self.collar, |stamp| seat.give_to(stamp)) };
        match started? {
            Started::Parent { pid } => {
                self.children[index] = Some(pid);
                Ok(())
            }
            Started::Worker => self.be_worker(index as u16),
        }
    }

    /// In a worker: works, and ends.
    fn be_worker(&mut self, seat: u16) -> ! {
        let board = &mut *self.board;
        board.arrive();
        if !self.work.affinity.is_empty() {
            let processor = self.work.affinity[usize::from(seat) % self.work.affinity.len()];
            // Tried when the pool was made; a processor that went off line since then is no reason
            // not to work.
            let _ = setup::set_affinity(&Processors::from_iter([processor]));
        }
        let fuse = self.work.time.and_then(|_| Fuse::new().ok());
        if !initialize(board, self.work) {
            process::end_worker(1);
        }
        board.is_ready();
        board.seats()[usize::from(seat)].be(std::process::id());
        work(board, seat, self.work, fuse.as_ref());
        process::end_worker(0)
    }
}
