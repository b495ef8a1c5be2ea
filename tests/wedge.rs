//! The schedule on which glibc's robust mutex forgets a sleeper (`tests/models/mutex.rs` finds it),
//! step by step, on that mutex and on ours.
//!
//! A sleeps. B has the lock, gives it up, and is stopped before it wakes anybody. C takes the lock,
//! which is free. B is killed: the kernel finds the lock with a living owner and wakes nobody. C
//! gives the lock up: does it know that A sleeps?

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "libc's own mutex, and ptrace")]

mod common;

use common::{RawChild, raw_fork, signal, watchdog};
use commons::Mutex;
use std::fs;
use std::mem::{MaybeUninit, zeroed};
use std::ptr::null_mut;
use std::thread;

/// A mutex as the schedule uses it.
trait Lock {
    /// Locks, runs `inside`, unlocks.
    fn turn(&self, inside: impl FnOnce());
}

/// A robust mutex of libc's in shared memory.
struct Libc(*mut libc::pthread_mutex_t);

impl Libc {
    fn new() -> Self {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: asks for a new mapping wherever the kernel likes.
        let page = unsafe { libc::mmap(null_mut(), 4096, protection, flags, -1, 0) };
        assert_ne!(page, libc::MAP_FAILED);
        // SAFETY: all-zero bytes are an attribute object to initialise.
        let mut attributes: libc::pthread_mutexattr_t = unsafe { zeroed() };
        let shared = libc::PTHREAD_PROCESS_SHARED;
        // SAFETY: live.
        unsafe { libc::pthread_mutexattr_init(&raw mut attributes) };
        // SAFETY: initialised.
        unsafe {
            libc::pthread_mutexattr_setrobust(&raw mut attributes, libc::PTHREAD_MUTEX_ROBUST)
        };
        // SAFETY: initialised.
        unsafe { libc::pthread_mutexattr_setpshared(&raw mut attributes, shared) };
        let mutex = page.cast();
        // SAFETY: the page is large enough, aligned and nobody else's.
        unsafe { libc::pthread_mutex_init(mutex, &raw const attributes) };
        Libc(mutex)
    }
}

impl Lock for Libc {
    fn turn(&self, inside: impl FnOnce()) {
        // SAFETY: initialised.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0) }, 0);
        inside();
        // SAFETY: initialised.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(self.0) }, 0);
    }
}

impl Lock for Mutex<()> {
    fn turn(&self, inside: impl FnOnce()) {
        let _guard = self.lock().unwrap();
        inside();
    }
}

/// Waits until a traced child stops, and gives the signal that stopped it.
fn stop_of(child: &RawChild) -> i32 {
    let mut status = 0;
    // SAFETY: `status` is live for the kernel to fill in.
    let pid = unsafe { libc::waitpid(child.id() as i32, &raw mut status, 0) };
    assert_eq!(pid, child.id() as i32);
    assert!(libc::WIFSTOPPED(status), "it ended: {status:#x}");
    libc::WSTOPSIG(status)
}

fn ptrace(request: libc::c_uint, child: &RawChild, address: usize, data: usize) {
    // SAFETY: the callers pass what the request takes.
    let result = unsafe { libc::ptrace(request, child.id() as libc::pid_t, address, data) };
    assert!(result >= 0, "ptrace: {}", std::io::Error::last_os_error());
}

/// Lets a stopped child run until it is about to wake sleepers of a word.
fn run_to_its_wake(child: &RawChild) {
    ptrace(libc::PTRACE_SETOPTIONS, child, 0, libc::PTRACE_O_TRACESYSGOOD as usize);
    loop {
        ptrace(libc::PTRACE_SYSCALL, child, 0, 0);
        assert_eq!(stop_of(child), libc::SIGTRAP | 0x80, "a system call");
        let mut info = MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
        let size = size_of::<libc::ptrace_syscall_info>();
        ptrace(libc::PTRACE_GET_SYSCALL_INFO, child, size, info.as_mut_ptr() as usize);
        // SAFETY: zeroed, and filled in by the kernel.
        let info = unsafe { info.assume_init() };
        if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
            continue;
        }
        // SAFETY: what the kernel fills in at the entry of a call.
        let entry = unsafe { info.u.entry };
        let wakes = entry.args[1] as i32 & 0x7f == libc::FUTEX_WAKE;
        if entry.nr as i64 == libc::SYS_futex && wakes {
            return;
        }
    }
}

fn is_asleep(child: &RawChild) -> bool {
    let call = fs::read_to_string(format!("/proc/{}/syscall", child.id())).unwrap();
    let mut words = call.split_ascii_whitespace();
    words.next().is_some_and(|word| word.parse() == Ok(libc::SYS_futex))
}

/// Whether A gets the lock in the end.
fn sleeper_gets_it(lock: &impl Lock) -> bool {
    let b = raw_fork(|| {
        lock.turn(|| {
            // SAFETY: takes no pointers that are used.
            unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) };
            // SAFETY: takes an integer.
            unsafe { libc::raise(libc::SIGSTOP) };
        });
        0
    });
    assert_eq!(stop_of(&b), libc::SIGSTOP);
    let a = raw_fork(|| {
        lock.turn(|| ());
        7
    });
    while !is_asleep(&a) {
        thread::yield_now();
    }
    run_to_its_wake(&b);
    lock.turn(|| {
        signal(b.id(), libc::SIGKILL);
        assert_eq!(b.wait(), -libc::SIGKILL);
    });
    // It is free: whoever asks gets it.
    lock.turn(|| ());
    if is_forgotten(&a) {
        return false;
    }
    a.wait() == 7
}

/// Whether a child sleeps on and on. (It may be on its way: then it is not found asleep for long. A
/// machine so slow that it is would make the first test fail, and the second one pass by nothing but
/// its own assertion that A comes through.)
fn is_forgotten(child: &RawChild) -> bool {
    (0..2000).all(|_| {
        thread::sleep(std::time::Duration::from_micros(500));
        is_asleep(child)
    })
}

#[test]
fn the_mutex_of_glibc_forgets_its_sleeper() {
    let _watchdog = watchdog();
    assert!(!sleeper_gets_it(&Libc::new()), "glibc has become better; so can the documentation");
}

#[test]
fn ours_does_not() {
    let _watchdog = watchdog();
    assert!(sleeper_gets_it(&Mutex::new(()).unwrap()));
}
