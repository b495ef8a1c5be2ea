//! Processes that play a part: forked from the harness, bound to end with it, and given up on when
//! they take too long.

use super::ledger::{Ledger, Party};
use super::sys::{self, Pid, Status};
use super::verdict::{Complaint, Judgement, Outcome};
use std::any::Any;
use std::fs;
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// A process that plays a part.
#[derive(Debug)]
pub(crate) struct Part {
    party: Party,
    pid: Pid,
    descriptor: OwnedFd,
    reaped: bool,
}

/// Runs what a party does, in its own process, and ends that.
pub(crate) fn play(ledger: &Ledger, party: Party, act: impl FnOnce() -> Judgement) -> ! {
    std::panic::set_hook(Box::new(|_| {}));
    let judgement = catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        Err(Complaint::new(Outcome::Wedged, format!("{party:?} panicked: {}", words(&*panic))))
    });
    ledger.say(party, &judgement);
    sys::exit_now(0)
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

impl Part {
    /// Starts it.
    pub(crate) fn start(
        ledger: &'static Ledger,
        party: Party,
        act: impl FnOnce() -> Judgement,
    ) -> Result<Self, Complaint> {
        let parent = sys::own_pid();
        match sys::fork()? {
            None => {
                sys::die_with(parent);
                play(ledger, party, act)
            }
            Some(pid) => Self::adopt(party, pid),
        }
    }

    /// Takes a child of this process as one that plays a part.
    pub(crate) fn adopt(party: Party, pid: Pid) -> Result<Self, Complaint> {
        Ok(Part { party, pid, descriptor: sys::open_process(pid)?, reaped: false })
    }

    /// Waits until it sleeps; or has ended, or the deadline has come.
    pub(crate) fn wait_asleep(&self, deadline: Instant) {
        while !is_asleep(self.pid) && Instant::now() < deadline {
            if sys::wait_readable(&self.descriptor, Instant::now()) {
                return;
            }
            sys::give_way();
        }
    }

    /// Waits for its judgement; a process that takes longer is wedged, and killed.
    pub(crate) fn finish(mut self, ledger: &Ledger, deadline: Instant) -> Judgement {
        let in_time = sys::wait_readable(&self.descriptor, deadline);
        let status = self.reap();
        let party = self.party;
        let complain = |text| Err(Complaint::new(Outcome::Wedged, text));
        match (in_time, ledger.said(party)) {
            (true, Some(judgement)) => judgement,
            (true, None) => complain(format!("{party:?} ended without a word: {status:?}")),
            (false, _) => complain(format!("{party:?} hung")),
        }
    }

    /// Kills it, without waiting for its end.
    pub(crate) fn kill(&self) {
        sys::kill(self.pid, sys::SIGKILL);
    }

    fn reap(&mut self) -> Option<Status> {
        if std::mem::replace(&mut self.reaped, true) {
            return None;
        }
        sys::kill(self.pid, sys::SIGKILL);
        loop {
            match sys::wait(self.pid, true) {
                Ok(news) => return news.map(|(_, status)| status),
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.reap();
    }
}

/// Longer than one performance takes, with every party as slow as it may be.
const HANGS: Duration = Duration::from_secs(180);

/// Runs something in a process of its own, so that it meets no remains of what ran before, and says
/// whether it was good. What hangs, because the harness itself met what a victim left, is ended.
pub(crate) fn apart(ledger: &Ledger, act: impl FnOnce() -> bool) -> Result<bool, Complaint> {
    let parent = sys::own_pid();
    let Some(pid) = sys::fork()? else {
        sys::die_with(parent);
        sys::adopt_orphans();
        let good = catch_unwind(AssertUnwindSafe(act)).unwrap_or(false);
        sys::exit_now(i32::from(!good))
    };
    let descriptor = sys::open_process(pid)?;
    let mut beats = ledger.beats();
    while !sys::wait_readable(&descriptor, Instant::now() + HANGS) {
        if std::mem::replace(&mut beats, ledger.beats()) == ledger.beats() {
            sys::kill(pid, sys::SIGKILL);
            break;
        }
    }
    match sys::wait(pid, true)? {
        Some((_, Status::Exited(code))) => Ok(code == 0),
        other => {
            let text = format!("the harness itself hung, or was ended: {other:?}");
            Err(Complaint::new(Outcome::Wedged, text))
        }
    }
}

/// Runs something in a process that then dies with whatever it holds.
pub(crate) fn die_after(act: impl FnOnce() -> Result<(), Complaint>) -> Result<(), Complaint> {
    let Some(pid) = sys::fork()? else {
        let done = catch_unwind(AssertUnwindSafe(act)).is_ok_and(|done| done.is_ok());
        sys::exit_now(i32::from(!done))
    };
    match sys::wait(pid, true)? {
        Some((_, Status::Exited(0))) => Ok(()),
        other => {
            Err(Complaint::new(Outcome::Wedged, format!("could not set the scene: {other:?}")))
        }
    }
}

/// Whether a process, or a thread, sleeps in a futex, or at a descriptor.
pub(crate) fn is_asleep(pid: Pid) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    let number = call.split(' ').next().and_then(|number| number.parse().ok());
    let sleeps = [libc::SYS_futex, libc::SYS_futex_waitv, libc::SYS_ppoll];
    number.is_some_and(|n: libc::c_long| sleeps.contains(&n))
}

/// Waits for the orphans that this process has adopted, and ends those that take longer than
/// `deadline`.
pub(crate) fn await_orphans(deadline: Instant) -> Judgement {
    let mut judgement = Ok(Outcome::Clean);
    loop {
        match sys::wait(-1, false) {
            Ok(Some(_)) => {}
            Ok(None) => {
                for pid in children() {
                    let Ok(descriptor) = sys::open_process(pid) else { continue };
                    if !sys::wait_readable(&descriptor, deadline) {
                        sys::kill(pid, sys::SIGKILL);
                        let text = format!("process {pid}, which the victim started, hung");
                        judgement = Err(Complaint::new(Outcome::Wedged, text));
                        sys::wait_readable(&descriptor, Instant::now() + super::run::REAPING);
                    }
                }
            }
            Err(_) => return judgement,
        }
    }
}

/// The children of this process.
pub(crate) fn children() -> Vec<Pid> {
    let me = sys::own_pid().to_string();
    let is_mine = |pid: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // After the command in parentheses: state, parent.
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.split(' ').nth(2) == Some(&me))
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|e| e.file_name().to_str()?.parse().ok()).filter(is_mine).collect()
}
