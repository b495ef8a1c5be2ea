//! Children that are started by exec, and their parents, killed at each system call of the start.
//!
//! A tracer carries the one that is to die from call to call: from the fork over the exec to its end, or
//! from the beginning of the start to the result. What is changed between two calls is memory that the
//! fork start changes in the same way, which `tests/kill` kills at each instruction of.

use crate::common::{descriptors, mappings};
use crate::starts::exec;
use commons::process::{Process, active_children};
use commons::spsc::{self, Consumer, Producer};
use commons::{Error, JoinError};
use libc::{c_int, pid_t};
use std::collections::BTreeSet;
use std::ptr::{null_mut, without_provenance_mut};
use std::{fs, io};

crate::tests! {
    a_child_that_is_killed_at_any_call_of_its_start_leaves_nothing
    a_parent_that_is_killed_at_any_call_of_a_start_leaves_nothing
}

/// What the child has to do.
fn push(mut end: Producer<u32>) -> bool {
    end.push(7).is_ok()
}

fn ptrace(request: libc::c_uint, pid: pid_t, data: usize) -> i64 {
    // SAFETY: takes integers; no request that is used here has an address.
    unsafe { libc::ptrace(request, pid, null_mut::<()>(), without_provenance_mut::<()>(data)) }
}

/// Has the calling process traced by its parent, and stops it.
fn be_traced() {
    assert_eq!(ptrace(libc::PTRACE_TRACEME, 0, 0), 0, "{}", io::Error::last_os_error());
    // SAFETY: takes an integer.
    unsafe { libc::raise(libc::SIGSTOP) };
}

/// A process that is stopped whenever the tracer runs.
struct Traced(pid_t);

impl Traced {
    /// Waits for it to stop and says by which signal and event; `None`: it has ended, and its status is
    /// there still.
    fn stop(&self) -> Option<(c_int, c_int)> {
        let wait = |flags| {
            // SAFETY: all-zero bytes are a valid siginfo_t.
            let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
            let flags = flags | libc::__WALL;
            // SAFETY: `info` is live for the kernel to fill in.
            let done = unsafe { libc::waitid(libc::P_PID, self.0 as u32, &raw mut info, flags) };
            assert_eq!(done, 0, "{}", io::Error::last_os_error());
            info
        };
        let info = wait(libc::WEXITED | libc::WSTOPPED | libc::WNOWAIT);
        if !matches!(info.si_code, libc::CLD_TRAPPED | libc::CLD_STOPPED) {
            return None;
        }
        wait(libc::WSTOPPED);
        // SAFETY: waitid filled in a SIGCHLD siginfo.
        let status = unsafe { info.si_status() };
        Some((status & 0xff, status >> 8))
    }

    /// Lets it go on, as `request` says, to the next stop that is not for a signal.
    fn go(&self, request: libc::c_uint) -> Option<(c_int, c_int)> {
        let mut signal = 0;
        loop {
            ptrace(request, self.0, signal);
            match self.stop()? {
                // Where a program begins, and where a child does.
                (libc::SIGTRAP | libc::SIGSTOP, 0) => signal = 0,
                (other, 0) if other & 0x80 == 0 => signal = other as usize,
                stop => return Some(stop),
            }
        }
    }

    /// Carries it to the entry of its next call but `count`; false: it ended before.
    fn carry(&self, count: u32) -> bool {
        ptrace(libc::PTRACE_SETOPTIONS, self.0, libc::PTRACE_O_TRACESYSGOOD as usize);
        // One stop at the entry and one at the exit.
        (0..2 * count + 1).all(|_| self.go(libc::PTRACE_SYSCALL).is_some())
    }

    /// Lets it run to its next fork and go on by itself, and gives the new process.
    fn fork(&self) -> Traced {
        ptrace(libc::PTRACE_SETOPTIONS, self.0, libc::PTRACE_O_TRACEFORK as usize);
        assert_eq!(self.go(libc::PTRACE_CONT), Some((libc::SIGTRAP, libc::PTRACE_EVENT_FORK)));
        let mut child: libc::c_ulong = 0;
        // SAFETY: the number is live for the kernel to fill in.
        let told = unsafe {
            let place = &raw mut child;
            libc::ptrace(libc::PTRACE_GETEVENTMSG, self.0, null_mut::<()>(), place)
        };
        assert_eq!(told, 0);
        let child = Traced(child as pid_t);
        assert!(child.stop().is_some(), "it is born stopped");
        ptrace(libc::PTRACE_DETACH, self.0, 0);
        child
    }

    fn kill(&self) {
        // SAFETY: takes integers.
        unsafe { libc::kill(self.0, libc::SIGKILL) };
    }
}

/// All children of this process, adopted ones among them.
fn children() -> BTreeSet<pid_t> {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let lists = tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")));
    lists.flatten().flat_map(|list| pids(&list)).collect()
}

fn pids(list: &str) -> Vec<pid_t> {
    list.split_ascii_whitespace().map(|pid| pid.parse().unwrap()).collect()
}

/// Waits until all children have ended but these.
fn see_all_end(but: &BTreeSet<pid_t>) {
    while let Some(child) = children().difference(but).next() {
        // SAFETY: takes integers. Whether somebody else has waited for it does not matter.
        unsafe { libc::waitpid(*child, null_mut(), 0) };
    }
}

/// All that was sent, once everybody who could send has ended.
fn sent(mut consumer: Consumer<u32>) -> usize {
    std::iter::from_fn(|| consumer.pop().ok()).inspect(|item| assert_eq!(*item, 7)).count()
}

/// Kills at one call after another, until there is none left, and compares what there is then with what
/// there was after the first. `round` says whether there was a call.
fn at_each_call(round: impl Fn(u32) -> bool) {
    let others = children();
    assert!(!others.is_empty(), "the janitor is one");
    let round = |call| {
        let there = round(call);
        see_all_end(&others);
        there
    };
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) };
    assert!(round(0));
    let before = (descriptors(), mappings());
    let calls = (1..).take_while(|call| round(*call)).count();
    // An exec alone takes more.
    assert!(calls > 20, "{calls} calls");
    assert_eq!((descriptors(), mappings()), before);
    assert!(active_children().is_empty());
    // SAFETY: takes integers.
    unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 0) };
}

fn a_child_that_is_killed_at_any_call_of_its_start_leaves_nothing() {
    at_each_call(|call| {
        let (producer, consumer) = spsc::ring(1).unwrap();
        let starter = Process::spawn(move || {
            drop(Process::spawn(|| ()).unwrap().join());
            let before = descriptors();
            be_traced();
            let started = exec().daemon().current_dir("/").call(push, producer);
            let joined = match started {
                Ok(child) => child.join(),
                // Ended while it set itself up: nothing was started.
                Err(Error::Process { .. }) => Err(JoinError::Signaled { signal: libc::SIGKILL }),
                Err(other) => panic!("{other:?}"),
            };
            assert!(active_children().is_empty());
            assert_eq!(descriptors(), before);
            match joined {
                Ok(pushed) => Some(pushed),
                Err(JoinError::Signaled { signal: libc::SIGKILL }) => None,
                Err(other) => panic!("{other:?}"),
            }
        });
        let starter = starter.unwrap();
        let traced = Traced(starter.pid() as pid_t);
        assert!(traced.stop().is_some());
        let child = traced.fork();
        let there = child.carry(call);
        child.kill();
        // SAFETY: takes integers. The tracer hears of it first.
        unsafe { libc::waitpid(child.0, null_mut(), libc::__WALL) };
        let joined = starter.join().unwrap();
        let sent = sent(consumer);
        assert!(joined.is_none_or(|pushed| pushed == (sent == 1)), "{joined:?}, {sent} sent");
        assert!(sent <= 1 && (there || joined.is_some()));
        there
    });
}

fn a_parent_that_is_killed_at_any_call_of_a_start_leaves_nothing() {
    for daemon in [false, true] {
        at_each_call(|call| {
            let (producer, consumer) = spsc::ring(1).unwrap();
            let starter = Process::spawn(move || {
                be_traced();
                let builder = if daemon { exec().daemon() } else { exec() };
                builder.call(push, producer).unwrap().join().unwrap()
            });
            let starter = starter.unwrap();
            let traced = Traced(starter.pid() as pid_t);
            assert!(traced.stop().is_some());
            let there = traced.carry(call);
            traced.kill();
            match starter.join() {
                Ok(true) => {}
                Err(JoinError::Signaled { signal: libc::SIGKILL }) if there => {}
                other => panic!("{other:?}"),
            }
            // Its child may be on its way: it does all of its work, or none, and ends.
            assert!(sent(consumer) <= 1);
            there
        });
    }
}
