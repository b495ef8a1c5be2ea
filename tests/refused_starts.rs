//! Starts of children that cannot be, and what becomes of what they were to have.
#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "sends signals, and looks at processes")]

mod common;

use common::{in_child, live_in, name, watchdog};
use commons::process::{self, Process};
use commons::spsc::{self, Ring};
use commons::{Departure, Error, JoinError};
use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;

/// Starts a thread that takes a stream with `take` and keeps it while `body` runs.
fn while_kept<L: 'static>(take: fn() -> L, body: impl FnOnce()) {
    let (kept, is_kept) = mpsc::channel();
    let (go, goes) = mpsc::channel::<()>();
    let thread = thread::spawn(move || {
        let _lock = take();
        kept.send(()).unwrap();
        let _ = goes.recv();
    });
    is_kept.recv().unwrap();
    body();
    drop(go);
    thread.join().unwrap();
}

fn is_refused(stream: &str) {
    // Twice: the second one finds that somebody waits for the stream already.
    for _ in 0..2 {
        match Process::spawn(|| ()) {
            Err(Error::Process { what: "fork", source }) => {
                assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
                assert!(source.to_string().contains(stream), "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert!(process::active_children().is_empty());
    }
}

#[test]
fn a_stream_that_another_thread_keeps_is_an_error_and_no_hang() {
    let _watchdog = watchdog();
    in_child(|| {
        while_kept(|| io::stdout().lock(), || is_refused("standard output"));
        Process::spawn(|| ()).unwrap().join().unwrap();
        while_kept(|| io::stderr().lock(), || is_refused("standard error"));
        Process::spawn(|| ()).unwrap().join().unwrap();
    });
}

#[test]
fn a_child_that_hangs_and_that_no_descriptor_is_left_for_is_an_error_and_no_hang() {
    let _watchdog = watchdog();
    in_child(|| {
        Process::spawn(|| ()).unwrap().join().unwrap();
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is live for the kernel to fill in.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
        limit.rlim_cur = 64;
        let mut without = 0;
        while_kept(
            || io::stderr().lock(),
            || {
                // SAFETY: `limit` is live for the kernel to read.
                unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) };
                let mut fillers = Vec::new();
                while let Ok(file) = std::fs::File::open("/dev/null") {
                    fillers.push(file);
                }
                for _ in 0..8 {
                    let Err(Error::Process { what, .. } | Error::Os { call: what, .. }) =
                        Process::spawn(|| ())
                    else {
                        panic!("it has everything");
                    };
                    without += u32::from(what == "pidfd_open");
                    fillers.pop();
                }
            },
        );
        assert!(without > 0, "there always was a descriptor");
        assert!(process::active_children().is_empty());
        Process::spawn(|| ()).unwrap().join().unwrap();
    });
}

#[test]
fn what_a_parent_with_threads_has_printed_is_printed_once() {
    let _watchdog = watchdog();
    let (mut reader, writer) = io::pipe().unwrap();
    in_child(move || {
        // SAFETY: takes integers.
        unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&writer), 1) };
        drop(writer);
        let (go, goes) = mpsc::channel::<()>();
        let thread = thread::spawn(move || goes.recv());
        for round in 0..5 {
            // No line: it stays in the buffer.
            write!(io::stdout(), "<{round}").unwrap();
            let print = move || write!(io::stdout(), "[{round}]").unwrap();
            Process::spawn(print).unwrap().join().unwrap();
            write!(io::stdout(), ">").unwrap();
        }
        drop(go);
        thread.join().unwrap().unwrap_err();
        io::stdout().flush().unwrap();
    });
    let mut text = String::new();
    io::Read::read_to_string(&mut reader, &mut text).unwrap();
    for round in 0..5 {
        let parts = [format!("<{round}"), format!("[{round}]")];
        assert!(parts.iter().all(|part| text.matches(part).count() == 1), "{text}");
    }
    assert_eq!(text.matches('>').count(), 5, "{text}");
}

#[test]
fn an_end_for_which_there_is_no_place_is_an_error_of_the_start() {
    let _watchdog = watchdog();
    let directory = name("full");
    std::fs::create_dir(directory.path()).unwrap();
    let path = directory.path();
    in_child(move || {
        live_in(&path);
        let ring = Ring::<u32>::create("ring", 8).unwrap();
        let (producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
        let crowd = common::crowd("ring");
        let (mut told, mut tells) = spsc::ring::<u32>(1).unwrap();
        let refused = Process::spawn(move || {
            let _ = told.push(1);
            drop(producer);
        });
        assert!(matches!(refused, Err(Error::TableFull { capacity: 1024, .. })), "{refused:?}");
        assert!(process::active_children().is_empty());
        // What it was to have is gone, as with a thread that does not start, and it ran nothing.
        let gone = consumer.pop().unwrap_err();
        assert!(matches!(gone, commons::ChannelError::Disconnected(Departure::Closed)), "{gone}");
        let gone = tells.pop().unwrap_err();
        assert!(matches!(gone, commons::ChannelError::Disconnected(_)), "{gone}");
        // Who is to have nothing there starts.
        assert_eq!(Process::spawn(|| 7).unwrap().join().unwrap(), 7);
        drop(crowd);
        Ring::<u32>::unlink("ring").unwrap();
    });
    std::fs::remove_dir_all(directory.path()).unwrap();
}

#[test]
fn a_builder_starts_children_of_the_process_that_made_it_alone() {
    let _watchdog = watchdog();
    let builder = Process::builder();
    let child = Process::spawn(move || matches!(builder.spawn(|| ()), Err(Error::Forked)));
    assert!(child.unwrap().join().unwrap());
}

#[test]
fn a_parent_is_told_of_by_descendants_when_it_is_gone() {
    let _watchdog = watchdog();
    in_child(|| {
        // A grandchild has what its parent knows of its own parent, which is this process.
        let child = Process::spawn(|| {
            let grandparent = process::parent().unwrap();
            let grandchild = Process::spawn(move || {
                let alive = grandparent.is_alive();
                let waited = grandparent.join_timeout(std::time::Duration::ZERO);
                (alive, waited.ok())
            });
            grandchild.unwrap().join().unwrap()
        });
        assert_eq!(child.unwrap().join().unwrap(), (true, Some(false)));
        // No descriptors are left to ask with.
        let child = Process::spawn(|| {
            let parent = process::parent().unwrap();
            let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: `none` is live for the kernel to read.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const none) }, 0);
            (parent.is_alive(), parent.join_timeout(std::time::Duration::ZERO).is_err())
        });
        assert_eq!(child.unwrap().join().unwrap(), (true, true));
    });
}

#[test]
fn a_child_that_cannot_set_itself_up_says_so_where_nobody_is_to_wait_for_it() {
    let _watchdog = watchdog();
    in_child(|| {
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        for _ in 0..50 {
            let refused = Process::builder().current_dir("/nowhere/at/all").spawn(|| ());
            match refused {
                Err(Error::Process { what, source }) => {
                    assert!(what.contains("directory"), "{what}: {source}");
                    assert_eq!(source.kind(), io::ErrorKind::NotFound);
                }
                other => panic!("{other:?}"),
            }
            let child = Process::spawn(|| 5u8).unwrap();
            assert_eq!(child.join().unwrap(), 5);
            let died: Result<(), _> = Process::spawn(|| -> () { process::exit(3) }).unwrap().join();
            assert!(matches!(died, Err(JoinError::Exited { code: 3 } | JoinError::Os(_))));
        }
    });
}
