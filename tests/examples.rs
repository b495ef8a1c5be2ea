//! The example programs of queues, run, and what they print.

#![cfg(feature = "serde")]

mod common;

use common::watchdog;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The program of an example. It is there where all tests are built; built here where only these are.
fn program(example: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let built = own.parent().and_then(|deps| deps.parent()).unwrap();
    let program = built.join("examples").join(example);
    if !program.exists() {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--example", example]);
        cargo.env("CARGO_TARGET_DIR", built.parent().unwrap());
        assert!(cargo.status().unwrap().success(), "{example} cannot be built");
    }
    program
}

/// The lines that an example prints.
fn output(example: &str) -> Vec<String> {
    let run = Command::new(program(example)).stderr(Stdio::inherit()).output().unwrap();
    assert!(run.status.success(), "{example}: {}", run.status);
    String::from_utf8(run.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn ex13_objects_go_to_workers() {
    let _watchdog = watchdog();
    let lines = output("queue_object");
    assert_eq!(lines[0], "Doing something fancy in Process-1 for Fancy Dan!");
    let parts = lines[1..].iter().map(|line| line.split_once(" for ").unwrap());
    let (workers, objects): (BTreeSet<_>, BTreeSet<_>) = parts.unzip();
    let worker = |i| format!("Doing something fancy in Process-{i}");
    assert!(workers.into_iter().eq((1..=3).map(worker)));
    assert!(objects.into_iter().eq((0..3).map(|i| format!("Fancy Dan {i}"))));
}

#[test]
fn ex14_consumers_work_off_tasks_until_their_pills() {
    let _watchdog = watchdog();
    let lines = output("task_queue");
    assert_eq!(lines[0], "Creating 4 consumers");
    let tasks = lines.iter().filter(|line| line.starts_with("Consumer-") && line.contains('*'));
    let tasks: BTreeSet<_> = tasks.map(|line| line.split_once(": ").unwrap().1).collect();
    assert!(tasks.into_iter().eq((0..10).map(|i| format!("{i} * {i}"))));
    for i in 1..=4 {
        let exit = format!("Consumer-{i}: Exiting");
        assert_eq!(lines.iter().filter(|line| **line == exit).count(), 1);
    }
    let results: BTreeSet<_> = lines.iter().filter(|line| line.starts_with("Result")).collect();
    let expected: BTreeSet<_> = (0..10).map(|i| format!("Result: {i} * {i} = {}", i * i)).collect();
    assert!(results.into_iter().eq(&expected));
    // Side by side: ten tasks of 0.1 s take four consumers 0.3 s, and one 1 s.
    let workers = lines.iter().filter(|line| line.contains('*') && line.starts_with("Consumer"));
    let workers: BTreeSet<_> = workers.map(|line| line.split_once(": ").unwrap().0).collect();
    assert!(workers.len() > 1, "one consumer did everything");
    let took = lines.last().unwrap().strip_prefix("10 tasks of 0.1 s took ").unwrap();
    let seconds: f64 = took.strip_suffix(" s").unwrap().parse().unwrap();
    assert!(seconds >= 0.3, "{seconds}");
}

#[test]
fn ex25_a_sum_comes_back_over_the_same_queue() {
    let _watchdog = watchdog();
    assert_eq!(output("sum_queue"), ["10"]);
}

#[test]
fn ex26_items_are_consumed_until_none() {
    let _watchdog = watchdog();
    assert!(output("consume").into_iter().eq((0..5).map(|i| format!("Processing {i}"))));
}

#[test]
fn ex30_a_queue_is_first_in_first_out_and_closes() {
    let _watchdog = watchdog();
    let expected = [
        "size: 3",
        "first: Number(42)",
        "size: 2",
        "put after close: this handle was closed",
        "second: Text(\"hello\")",
        "third: List([1, 2, 3])",
    ];
    assert_eq!(output("queue_tour"), expected);
}

#[test]
fn ex36_squares_outlive_their_producer() {
    let _watchdog = watchdog();
    let expected = ["Queue elements:", "1", "4", "9", "16", "Queue is now empty!"];
    assert_eq!(output("queue_squares"), expected);
}
