//! What a builder gives to forked children. What holds for both kinds is tested in `exec`.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "descriptors and process groups")]

mod common;

use common::{in_child, watchdog};
use commons::process::{Child, WaitError};
use commons::{Event, ExitStatus, Process, Reset, wait_any};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

fn read(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

/// What is printed here and by a child, while another thread runs or not.
fn printed(with_thread: bool) -> (String, String) {
    let ((own, out), (output, theirs)) = (io::pipe().unwrap(), io::pipe().unwrap());
    in_child(move || {
        // SAFETY: takes integers.
        assert!(unsafe { libc::dup2(out.as_raw_fd(), 1) } >= 0);
        drop(out);
        let (stop, stopped) = std::sync::mpsc::channel::<()>();
        let thread = with_thread.then(|| std::thread::spawn(move || stopped.recv()));
        let _ = write!(io::stdout(), "before;");
        let child =
            Process::builder().stdout(theirs).spawn(|| drop(write!(io::stdout(), "child;")));
        child.unwrap().join().unwrap();
        let _ = write!(io::stdout(), "after");
        drop(stop);
        thread.map(|thread| thread.join());
    });
    (read(own), read(output))
}

#[test]
fn what_was_printed_before_is_not_printed_to_the_output_of_a_child() {
    let _watchdog = watchdog();
    for with_thread in [false, true] {
        assert_eq!(printed(with_thread), ("before;after".to_owned(), "child;".to_owned()));
    }
}

#[test]
fn a_childs_output_may_be_that_of_its_errors() {
    let _watchdog = watchdog();
    let (output, writer) = io::pipe().unwrap();
    let builder = Process::builder().name("it").stdout(writer.try_clone().unwrap()).stderr(writer);
    let child: Process<()> = builder
        .spawn(|| {
            // Not `println`: libtest would keep that to itself.
            writeln!(io::stdout(), "a line").unwrap();
            panic!("no");
        })
        .unwrap();
    let text = read(output);
    assert!(text.starts_with("a line\nit panicked at ") && text.ends_with(": no\n"), "{text}");
    assert!(child.join().is_err());
}

#[test]
fn a_child_is_waited_for_beside_other_things() {
    let _watchdog = watchdog();
    let event = Event::new(Reset::Manual).unwrap();
    let (go, mut goes) = commons::spsc::ring::<()>(1).unwrap();
    let process = Process::spawn(move || drop(goes.pop())).unwrap();
    let child = Child::clone(&process);
    let now = Some(Duration::ZERO);
    assert_eq!(wait_any(&[&child, &event, &process], now).unwrap(), []);
    event.set().unwrap();
    assert_eq!(wait_any(&[&child, &event], None).unwrap(), [1]);
    drop(go);
    child.wait().unwrap();
    assert_eq!(wait_any(&[&child, &event, &process], None).unwrap(), [0, 1, 2]);
    // And by who is not its parent.
    let (go, mut goes) = commons::spsc::ring::<()>(1).unwrap();
    let first = Process::spawn(move || drop(goes.pop())).unwrap();
    let sibling = Child::clone(&first);
    let second = Process::spawn(move || {
        let before = wait_any(&[&sibling], now).unwrap();
        drop(go);
        (before, wait_any(&[&sibling], None).unwrap())
    });
    assert_eq!(second.unwrap().join().unwrap(), (vec![], vec![0]));
    first.join().unwrap();
}

/// What is inside of an error of waiting.
fn wait_error(error: io::Error) -> Option<WaitError> {
    error.downcast().ok()
}

#[test]
fn errors_of_waiting_can_be_told_apart() {
    let _watchdog = watchdog();
    in_child(|| {
        let process = Process::spawn(|| ()).unwrap();
        let sibling = Child::clone(&process);
        let other = Process::spawn(move || {
            let error = sibling.wait().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
            assert_eq!(wait_error(error), Some(WaitError::NotParent));
            let asked = [sibling.exit_status(), sibling.wait_timeout(Duration::ZERO)];
            asked.map(|result| wait_error(result.unwrap_err())) == [Some(WaitError::NotParent); 2]
        });
        assert!(other.unwrap().join().unwrap());
        let pid = process.pid().cast_signed();
        // SAFETY: takes integers, and asks for no status.
        assert_eq!(unsafe { libc::waitpid(pid, std::ptr::null_mut(), 0) }, pid);
        match process.wait() {
            // The kernel remembers.
            Ok(status) => assert_eq!(status, ExitStatus::Exited(0)),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::NotFound);
                assert_eq!(wait_error(error), Some(WaitError::StatusTaken));
            }
        }
    });
}
