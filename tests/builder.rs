//! What a builder gives to forked children. What holds for both kinds is tested in `exec`.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "descriptors and process groups")]

mod common;

use common::{in_child, watchdog};
use commons::Process;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;

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
