//! The example programs of processes and queues, run, and what they print.

#![cfg(feature = "serde")]

mod common;

use common::example::{output, output_and_errors, position};
use common::watchdog;
use std::collections::BTreeSet;
use std::path::PathBuf;

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn ex01_five_workers_are_waited_for() {
    let _watchdog = watchdog();
    assert_eq!(output("workers"), ["Worker"; 5]);
}

#[test]
fn ex02_workers_have_arguments() {
    let _watchdog = watchdog();
    let lines = output("worker_args");
    assert_eq!(lines.len(), 10);
    for number in 0..5 {
        let line = |what| position(&lines, &format!("Worker process {number} {what}"));
        assert!(line("starting") < line("finishing"));
    }
}

#[test]
fn ex03_a_function_of_another_module_is_run_by_a_new_program() {
    let _watchdog = watchdog();
    assert_eq!(output("entry"), ["Worker"; 5]);
}

#[test]
fn ex04_processes_have_names() {
    let _watchdog = watchdog();
    let lines = output("names");
    assert_eq!(lines.len(), 7);
    for name in ["my_service", "worker 1", "Process-3"] {
        let line = |what| position(&lines, &format!("{name} {what}"));
        assert!(line("Starting") < line("Exiting"));
    }
    assert_eq!(lines[5], "my_service Exiting");
    let seconds = lines[6].strip_prefix("after ").and_then(|line| line.strip_suffix(" s")).unwrap();
    assert!(seconds.parse::<f64>().unwrap() >= 0.6);
}

#[test]
fn ex05_a_daemon_is_not_waited_for() {
    let _watchdog = watchdog();
    let lines = output("daemon");
    let pid = lines.iter().find_map(|line| line.strip_prefix("The daemon is ")).unwrap();
    assert!(!PathBuf::from(format!("/proc/{pid}")).exists());
    let own = |line: &&String| !line.starts_with("The daemon is");
    let said: Vec<_> =
        lines.iter().filter(own).map(|line| line.rsplit_once(' ').unwrap()).collect();
    assert_eq!(said[0], ("Starting: daemon", pid));
    let said: Vec<_> = said.into_iter().map(|(what, _)| what).collect();
    assert_eq!(said, ["Starting: daemon", "Starting: non-daemon", "Exiting : non-daemon"]);
}

#[test]
fn ex06_a_daemon_can_be_joined() {
    let _watchdog = watchdog();
    let expected =
        ["Starting: daemon", "Starting: non-daemon", "Exiting : non-daemon", "Exiting : daemon"];
    assert_eq!(output("daemon_join"), expected);
}

#[test]
fn ex07_a_join_has_a_limit() {
    let _watchdog = watchdog();
    let expected = [
        "Exiting : non-daemon",
        "Starting: daemon",
        "Starting: non-daemon",
        "the daemon is alive: true",
    ];
    assert_eq!(sorted(output("join_timeout")), expected);
}

#[test]
fn ex08_a_process_has_states() {
    let _watchdog = watchdog();
    let lines = output("terminate");
    let parts = [
        ("BEFORE: <Process name='Process-1' parent=", " initial> false"),
        ("DURING: <Process name='Process-1' pid=", " started> true"),
        ("TERMINATED: <Process name='Process-1' pid=", ">"),
        ("JOINED: <Process name='Process-1' pid=", " stopped exitcode=-SIGTERM> false"),
    ];
    assert_eq!(lines.len(), parts.len(), "{lines:?}");
    for (line, (start, end)) in lines.iter().zip(parts) {
        assert!(line.starts_with(start) && line.ends_with(end), "{line}");
    }
}

#[test]
fn ex09_exit_codes_say_how_it_went() {
    let _watchdog = watchdog();
    let (lines, errors) = output_and_errors("exit_codes");
    let codes = [
        ("exit_error", 1),
        ("exit_ok", 0),
        ("return_value", 0),
        ("raises", 1),
        ("terminated", -15),
    ];
    let expected = codes.map(|(name, code)| format!("{name:>15}.exitcode = {code}"));
    assert_eq!(lines, expected);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].starts_with("raises panicked at examples/exit_codes.rs:"), "{errors:?}");
    assert!(errors[0].ends_with(": There was an error!"), "{errors:?}");
}

/// What is on standard error when one child has done its work, without what is at debug level.
#[cfg(feature = "log")]
const LIFE: [&str; 4] = [
    "[INFO/Process-1] child process runs its closure",
    "[INFO/Process-1] process shuts down",
    "[INFO/Process-1] process exits with exit code 0",
    "[INFO/MainProcess] process shuts down",
];

#[test]
#[cfg(feature = "log")]
fn ex10_the_log_tells_the_life_of_a_child() {
    let _watchdog = watchdog();
    let (lines, log) = output_and_errors("log_debug");
    assert_eq!(lines, ["Doing some work"]);
    let (details, life): (Vec<_>, Vec<_>) =
        log.into_iter().partition(|line| line.starts_with("[DEBUG/"));
    assert_eq!(life, LIFE);
    let of = |name: &str| details.iter().filter(|line| line.starts_with(name)).count();
    assert!(of("[DEBUG/Process-1] ") == 3 && of("[DEBUG/MainProcess] ") == 4, "{details:?}");
}

#[test]
#[cfg(feature = "log")]
fn ex11_a_child_logs_at_the_level_of_its_parent() {
    let _watchdog = watchdog();
    let (lines, log) = output_and_errors("log_info");
    assert_eq!((lines, log), (vec!["Doing some work".to_owned()], LIFE.map(str::to_owned).into()));
}

#[test]
#[cfg(feature = "log")]
fn what_is_logged_reaches_tracing() {
    let _watchdog = watchdog();
    let (lines, log) = output_and_errors("tracing");
    let expected = [
        " INFO commons: child process runs its closure",
        " INFO child{name=\"worker\"}: tracing: at work answer=42",
        " INFO commons: process shuts down",
        " INFO commons: process exits with exit code 0",
        " INFO commons: process shuts down",
    ];
    assert_eq!((lines.len(), log), (0, expected.map(str::to_owned).into()));
}

#[test]
fn ex12_work_that_is_a_type_names_its_processes() {
    let _watchdog = watchdog();
    let expected = [1, 2, 3, 4, 5].map(|number| format!("In Worker-{number}"));
    assert_eq!(sorted(output("runnable")), expected);
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
