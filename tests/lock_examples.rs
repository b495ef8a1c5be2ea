//! What the examples of the locks print.

#![cfg(feature = "serde")]

mod common;

use common::example::{output, output_with, position};
use common::watchdog;

#[test]
fn ex15_event_prints_a_timeout_before_the_set_and_a_wait_that_ends_after_it() {
    let _watchdog = watchdog();
    let lines = output_with("event", &["0.6"]);
    let (late, set) = ("wait_for_event_timeout: is set: false", "main: the event is set");
    let through = "wait_for_event: is set: true";
    assert_eq!(lines.len(), 6, "{lines:?}");
    assert!(position(&lines, late) < position(&lines, set), "{lines:?}");
    // The waiter may print before who has let it through.
    assert!(position(&lines, late) < position(&lines, through), "{lines:?}");
}

#[test]
fn ex16_lock_prints_both_lines_whole() {
    let _watchdog = watchdog();
    let mut lines = output("lock");
    lines.sort();
    assert_eq!(lines, ["Lock acquired directly", "Lock acquired via scope"]);
}

#[test]
fn ex17_condition_prints_both_second_stages_after_the_first() {
    let _watchdog = watchdog();
    let lines = output("condition");
    assert_eq!(lines.len(), 6, "{lines:?}");
    let ready = position(&lines, "s1 done and ready for stage 2");
    for name in ["stage_2[1]", "stage_2[2]"] {
        assert!(position(&lines, &format!("Starting {name}")) < ready, "{lines:?}");
        assert!(position(&lines, &format!("{name} running")) > ready, "{lines:?}");
    }
}

#[test]
fn ex18_and_19_semaphore_never_prints_more_at_work_than_there_are_permits() {
    let _watchdog = watchdog();
    let lines = output("semaphore");
    let end = position(&lines, "Now running []");
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
    assert_eq!(output("counter"), ["Final count: 4000"]);
}
