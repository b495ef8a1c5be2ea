//! What the examples of the locks print.

#![cfg(feature = "serde")]

mod common;

use common::watchdog;
use std::path::PathBuf;
use std::process::Command;

/// Where cargo puts an example: beside the directory of this test.
fn executable(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("a path");
    let profile = this.ancestors().nth(2).expect("the directory of the profile");
    let path = profile.join("examples").join(name);
    // `cargo test` builds them, but not where it is asked for this test alone.
    assert!(path.exists(), "not built: run `cargo build --examples --all-features` first");
    path
}

/// The lines that an example prints.
fn lines(name: &str, arguments: &[&str]) -> Vec<String> {
    let output = Command::new(executable(name)).args(arguments).output().expect("the example");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text").lines().map(str::to_owned).collect()
}

/// Where a line is.
fn place(lines: &[String], line: &str) -> usize {
    lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no `{line}` in {lines:?}"))
}

#[test]
fn ex15_event_prints_a_timeout_before_the_set_and_a_wait_that_ends_after_it() {
    let _watchdog = watchdog();
    let lines = lines("event", &["0.6"]);
    let (late, set) = ("wait_for_event_timeout: is set: false", "main: the event is set");
    let through = "wait_for_event: is set: true";
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(place(&lines, late) < place(&lines, set), "{lines:?}");
    // The waiter may print before who has let it through.
    assert!(place(&lines, late) < place(&lines, through), "{lines:?}");
}

#[test]
fn ex16_lock_prints_both_lines_whole() {
    let _watchdog = watchdog();
    let mut lines = lines("lock", &[]);
    lines.sort();
    assert_eq!(lines, ["Lock acquired directly", "Lock acquired via scope"]);
}

#[test]
fn ex17_condition_prints_both_second_stages_after_the_first() {
    let _watchdog = watchdog();
    let lines = lines("condition", &[]);
    assert_eq!(lines.len(), 6, "{lines:?}");
    let ready = place(&lines, "s1 done and ready for stage 2");
    for name in ["stage_2[1]", "stage_2[2]"] {
        assert!(place(&lines, &format!("Starting {name}")) < ready, "{lines:?}");
        assert!(place(&lines, &format!("{name} running")) > ready, "{lines:?}");
    }
}

#[test]
fn ex18_and_19_semaphore_never_prints_more_at_work_than_there_are_permits() {
    let _watchdog = watchdog();
    let lines = lines("semaphore", &[]);
    let end = place(&lines, "Now running []");
    let (first, second) = (&lines[..end], &lines[end + 1..]);
    assert_eq!(first.len(), 20);
    for worker in 0..10 {
        for what in ["Activating", "Leaving"] {
            let begins = format!("{what} {worker} now running [");
            assert_eq!(first.iter().filter(|l| l.starts_with(&begins)).count(), 1, "{lines:?}");
        }
    }
    for line in first {
        let names = line.split_once('[').expect("a list").1.trim_end_matches(']');
        assert!(names.split(", ").filter(|name| !name.is_empty()).count() <= 3, "{line}");
    }
    assert!(first[19].ends_with("[]"));
    let count = |what| second.iter().filter(|l| l.ends_with(what)).count();
    assert_eq!((second.len(), count("acquire"), count("release")), (10, 5, 5));
    let mut holders = 0;
    for line in second {
        holders += if line.ends_with("acquire") { 1 } else { -1 };
        assert!((0..=2).contains(&holders), "{second:?}");
    }
}

#[test]
fn ex27_counter_prints_4000() {
    let _watchdog = watchdog();
    assert_eq!(lines("counter", &[]), ["Final count: 4000"]);
}
