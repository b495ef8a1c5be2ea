//! A process under the hand of its tracer: forked, stepped, carried over system calls, killed.

use super::arch;
use super::ledger::{Ledger, Party};
use super::part::{self, Part};
use super::ptrace::{self, Next, Resume};
use super::scenario::END;
use super::sys::{self, Guard, Pid, Status};
use super::verdict::{Complaint, Outcome};
use std::{fs, io};

/// What it means that a system call is over, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Left {
    /// It has returned.
    Returned,
    /// The process sleeps in it.
    Parked,
}

/// Whether to wait for a system call in which the process sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parking {
    /// To its end.
    Wait,
    /// No.
    Stay,
}

/// Why a stopped process stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    Trap,
    Call,
    Event,
}

/// A process that is stopped whenever the harness runs, but where it says otherwise.
#[derive(Debug)]
pub(crate) struct Tracee {
    pid: Pid,
    ended: bool,
    /// Calls in which it could have slept and did not, since it last slept.
    sleepless: u32,
}

/// A victim that waits in slices of time and is stepped too slowly for them never falls asleep: each
/// slice is over before the call. After so many calls it is treated as if it slept.
const SLEEPLESS: u32 = 8;

fn trouble(text: impl Into<String>) -> Complaint {
    Complaint::new(Outcome::Wedged, text)
}

impl Tracee {
    /// Forks a process that plays the victim. It is stopped before its first line.
    pub(crate) fn start(
        ledger: &'static Ledger,
        act: impl FnOnce() -> Result<(), Complaint>,
    ) -> Result<Self, Complaint> {
        let parent = sys::own_pid();
        match sys::fork()? {
            None => {
                sys::die_with(parent);
                if let Err(error) = ptrace::be_traced() {
                    let refused = trouble(format!("ptrace is not allowed here: {error}"));
                    ledger.say(Party::Victim, &Err(refused));
                    sys::exit_now(1);
                }
                sys::stop_here();
                part::play(ledger, Party::Victim, || act().map(|()| Outcome::Clean))
            }
            Some(pid) => {
                let mut tracee = Tracee { pid, ended: false, sleepless: 0 };
                tracee.await_first_stop(ledger)?;
                Ok(tracee)
            }
        }
    }

    fn await_first_stop(&mut self, ledger: &Ledger) -> Result<(), Complaint> {
        match self.wait()? {
            Status::Stopped(..) => Ok(ptrace::set_options(self.pid, false)?),
            _ => Err(self.last_words(ledger)),
        }
    }

    /// What it said before it ended before its time.
    fn last_words(&self, ledger: &Ledger) -> Complaint {
        match ledger.said(Party::Victim) {
            Some(Err(complaint)) => complaint,
            _ => trouble("the victim ended before it was killed"),
        }
    }

    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// The next instruction.
    pub(crate) fn next(&self) -> Result<Next, Complaint> {
        Ok(ptrace::next(self.pid)?)
    }

    fn wait(&mut self) -> Result<Status, Complaint> {
        loop {
            match sys::wait(self.pid, true) {
                Ok(Some((_, status))) => {
                    self.ended = !matches!(status, Status::Stopped(..));
                    return Ok(status);
                }
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => self.check_guard()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn check_guard(&self) -> Result<(), Complaint> {
        if !Guard::rang() {
            return Ok(());
        }
        let call = fs::read_to_string(format!("/proc/{}/syscall", self.pid)).unwrap_or_default();
        Err(trouble(format!("the victim takes too long, in call {}", call.trim_end())))
    }

    /// Sorts a stop; `None`: a signal on its way, with which the process is to go on.
    fn sort(status: Status) -> Result<Result<Stop, i32>, Complaint> {
        const CALL: i32 = sys::SIGTRAP | 0x80;
        match status {
            Status::Stopped(CALL, _) => Ok(Ok(Stop::Call)),
            Status::Stopped(sys::SIGTRAP, 0) => Ok(Ok(Stop::Trap)),
            Status::Stopped(sys::SIGTRAP, _) => Ok(Ok(Stop::Event)),
            Status::Stopped(signal, _) => Ok(Err(signal)),
            ended => Err(trouble(format!("the victim ended by itself: {ended:?}"))),
        }
    }

    fn go(&mut self, how: Resume) -> Result<Stop, Complaint> {
        let mut signal = 0;
        loop {
            ptrace::resume(self.pid, how, signal)?;
            match Self::sort(self.wait()?)? {
                Ok(stop) => return Ok(stop),
                Err(sys::SIGSTOP) => signal = 0,
                Err(other) => signal = other,
            }
        }
    }

    /// Executes one instruction that is no system call.
    pub(crate) fn step(&mut self) -> Result<(), Complaint> {
        match self.go(Resume::Step)? {
            Stop::Trap => Ok(()),
            other => Err(trouble(format!("a step ended in {other:?}"))),
        }
    }

    /// Goes on to an instruction; false: a system call is entered before.
    pub(crate) fn run_to_address(&mut self, address: u64) -> Result<bool, Complaint> {
        let code = ptrace::set_trap(self.pid, address)?;
        let stop = self.go(Resume::ToCall)?;
        ptrace::clear_trap(self.pid, address, code)?;
        Ok(stop == Stop::Trap && ptrace::step_back(self.pid)? == address)
    }

    /// Goes on until the next system call is entered, and says which.
    pub(crate) fn enter(&mut self) -> Result<i64, Complaint> {
        loop {
            if self.go(Resume::ToCall)? == Stop::Call
                && let Some(number) = ptrace::entered(self.pid)?
            {
                return Ok(number);
            }
        }
    }

    /// Carries the process from the entry of a system call to its exit. Where it sleeps on the way,
    /// asks `parked` what to do.
    pub(crate) fn leave(
        &mut self,
        number: i64,
        parked: &mut dyn FnMut() -> Parking,
    ) -> Result<Left, Complaint> {
        if !arch::may_sleep(number) {
            self.go(Resume::ToCall)?;
            return Ok(Left::Returned);
        }
        let mut signal = 0;
        let mut asked = false;
        loop {
            ptrace::resume(self.pid, Resume::ToCall, signal)?;
            let status = loop {
                if let Some((_, status)) = sys::wait(self.pid, false)? {
                    self.ended = !matches!(status, Status::Stopped(..));
                    break status;
                }
                if !asked && (self.sleepless > SLEEPLESS || self.sleeps()) {
                    asked = true;
                    self.sleepless = 0;
                    if parked() == Parking::Stay {
                        return Ok(Left::Parked);
                    }
                }
                self.check_guard()?;
                sys::give_way();
            };
            match Self::sort(status)? {
                Ok(_) => {
                    self.sleepless += u32::from(!asked);
                    return Ok(Left::Returned);
                }
                Err(other) => signal = other,
            }
        }
    }

    fn sleeps(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.starts_with(" S"))
    }

    /// Goes on to the entry of the system call that is a mark, and behind it.
    pub(crate) fn run_to(&mut self, mark: i64, ledger: &Ledger) -> Result<(), Complaint> {
        loop {
            let number = self.enter().map_err(|complaint| match ledger.said(Party::Victim) {
                Some(Err(last_words)) => last_words,
                _ => complaint,
            })?;
            if number == END {
                return Err(trouble("the operation ended before it began"));
            }
            self.leave(number, &mut || Parking::Wait)?;
            if number == mark {
                return Ok(());
            }
        }
    }

    /// Goes on to the next fork and gives the new process, stopped before its first instruction.
    /// This one stays where it is.
    pub(crate) fn follow_fork(&mut self) -> Result<Tracee, Complaint> {
        ptrace::set_options(self.pid, true)?;
        while self.go(Resume::On)? != Stop::Event {}
        let pid = ptrace::event_message(self.pid)?;
        let mut child = Tracee { pid, ended: false, sleepless: 0 };
        match child.wait()? {
            Status::Stopped(..) => ptrace::set_options(child.pid, false)?,
            other => return Err(trouble(format!("the victim's child was born {other:?}"))),
        }
        Ok(child)
    }

    /// Lets it go: it plays on by itself.
    pub(crate) fn release(self) -> Result<Part, Complaint> {
        let pid = self.pid;
        self.let_go()?;
        Part::adopt(Party::Victim, pid)
    }

    /// The same for one that has no part of its own.
    pub(crate) fn let_go(mut self) -> Result<(), Complaint> {
        ptrace::detach(self.pid)?;
        self.ended = true;
        Ok(())
    }

    /// Kills it where it is, and waits until the kernel is done with it.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if !self.ended {
            sys::kill(self.pid, sys::SIGKILL);
        }
        while !self.ended {
            match sys::wait(self.pid, true) {
                Ok(news) => {
                    self.ended = !matches!(news, Some((_, Status::Stopped(..))));
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.ended = true,
            }
        }
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        self.end();
    }
}
