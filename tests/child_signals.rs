//! What signals do in children of a process that handles some.
#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "handles signals")]

mod common;

use common::{in_child, watchdog};
use commons::{Event, ExitStatus, Process, Reset};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

static HANDLED: AtomicU32 = AtomicU32::new(0);

extern "C" fn handle(_: libc::c_int) {
    HANDLED.fetch_add(1, Relaxed);
}

/// Handles SIGTERM, ignores SIGUSR1 and blocks SIGUSR2.
fn set_up() {
    // SAFETY: the handler adds to an atomic.
    unsafe { libc::signal(libc::SIGTERM, handle as *const () as libc::sighandler_t) };
    // SAFETY: no handler.
    unsafe { libc::signal(libc::SIGUSR1, libc::SIG_IGN) };
    // SAFETY: all-zero bytes are a valid set.
    let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is live.
    unsafe { libc::sigaddset(&raw mut set, libc::SIGUSR2) };
    // SAFETY: `set` is live.
    unsafe { libc::sigprocmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut()) };
}

/// A child that sleeps until the event is set, and how it ends after this signal and that.
fn ended_by(default: bool, signal: i32) -> ExitStatus {
    let (there, go) = (Event::new(Reset::Manual).unwrap(), Event::new(Reset::Manual).unwrap());
    let (is_there, goes) = (there.clone(), go.clone());
    let mut builder = Process::builder();
    if default {
        builder = builder.default_signals();
    }
    let child = builder
        .spawn(move || {
            is_there.set().unwrap();
            goes.wait().unwrap();
            HANDLED.load(Relaxed)
        })
        .unwrap();
    there.wait().unwrap();
    child.signal(signal).unwrap();
    go.set().unwrap();
    child.wait().unwrap()
}

#[test]
fn a_child_has_the_handlers_and_the_mask_of_its_parent_or_none() {
    let _watchdog = watchdog();
    in_child(|| {
        set_up();
        for signal in [libc::SIGTERM, libc::SIGUSR1, libc::SIGUSR2] {
            assert_eq!(ended_by(false, signal), ExitStatus::Exited(0), "{signal}");
        }
        for signal in [libc::SIGTERM, libc::SIGUSR2] {
            assert_eq!(ended_by(true, signal), ExitStatus::Signaled(signal));
        }
        // What is ignored stays so, as by exec.
        assert_eq!(ended_by(true, libc::SIGUSR1), ExitStatus::Exited(0));
    });
}
