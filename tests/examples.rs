//! The example programs of processes and queues, run, and what they print.

#![cfg(feature = "serde")]

mod common;

#[cfg(feature = "log")]
use common::example::output_among_errors;
use common::example::{Held, Run, is_a_fork, output, output_and_errors, position, run};
use common::watchdog;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

#[test]
fn ex01_five_workers_are_waited_for() {
    let _watchdog = watchdog();
    let mut program = Held::start("workers");
    program.awaited_children(5);
    assert_eq!(program.let_go(), ["Worker"; 5]);
}

#[test]
fn ex02_workers_have_arguments() {
    let _watchdog = watchdog();
    let mut program = Held::start("worker_args");
    program.awaited_children(10);
    let lines = program.let_go();
    for number in 0..5 {
        let line = |what| position(&lines, &format!("Worker process {number} {what}"));
        assert!(line("starting") < line("finishing"), "{lines:?}");
    }
    let expected = (0..5).flat_map(|number| {
        let two = ["starting", "finishing"].map(|what| format!("Worker process {number} {what}"));
        [format!("Worker: {number}")].into_iter().chain(two)
    });
    assert_eq!(sorted(lines), sorted(expected.collect()));
}

#[test]
fn ex03_a_function_of_another_module_is_run_by_a_new_program() {
    let _watchdog = watchdog();
    let mut program = Held::start("entry");
    let children = program.awaited_children(5);
    assert!(!children.into_iter().any(is_a_fork));
    assert_eq!(program.let_go(), ["Worker"; 5]);
}

#[test]
fn ex04_processes_have_names() {
    let _watchdog = watchdog();
    let Run { lines, took, .. } = run("names");
    assert_eq!(lines.len(), 6, "{lines:?}");
    for name in ["my_service", "worker 1", "Process-3"] {
        let line = |what| position(&lines, &format!("{name} {what}"));
        assert!(line("Starting") < line("Exiting"), "{lines:?}");
    }
    assert_eq!(lines[5], "my_service Exiting");
    assert!(took >= Duration::from_secs(3), "{took:?}");
}

#[test]
fn ex05_a_daemon_is_not_waited_for() {
    let _watchdog = watchdog();
    let Run { lines, took, .. } = run("daemon");
    let said = lines.iter().map(|line| line.rsplit_once(' ').expect("an id"));
    let (said, ids): (Vec<_>, Vec<_>) = said.unzip();
    assert_eq!(said, ["Starting: daemon", "Starting: non-daemon", "Exiting : non-daemon"]);
    assert!(ids[0] != ids[1] && ids[1] == ids[2], "{lines:?}");
    // It has said nothing of an end, for it was ended.
    assert!(!PathBuf::from(format!("/proc/{}", ids[0])).exists());
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn ex06_a_daemon_can_be_joined() {
    let _watchdog = watchdog();
    let expected =
        ["Starting: daemon", "Starting: non-daemon", "Exiting : non-daemon", "Exiting : daemon"];
    let Run { lines, took, .. } = run("daemon_join");
    assert_eq!(lines, expected);
    assert!(took >= Duration::from_secs(2), "{took:?}");
}

#[test]
fn ex07_a_join_has_a_limit() {
    let _watchdog = watchdog();
    let Run { lines, took, .. } = run("join_timeout");
    let line = |line| position(&lines, line);
    assert!(line("Starting: non-daemon") < line("Exiting : non-daemon"), "{lines:?}");
    // The daemon has not come to its end when the join gives it up, nor after that.
    assert!(line("Starting: daemon") < line("d.is_alive() true"), "{lines:?}");
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(took >= Duration::from_secs(1), "{took:?}");
}

#[test]
fn ex08_a_process_has_states() {
    let _watchdog = watchdog();
    let Run { lines, pid: parent, .. } = run("terminate");
    let before = format!("BEFORE: <Process name='Process-1' parent={parent} initial> false");
    assert_eq!((lines.len(), &lines[0]), (4, &before), "{lines:?}");
    let (rest, _) = lines[1].split_once(" parent").expect("a child of the example");
    let (_, pid) = rest.split_once(" pid=").expect("a child");
    let child = format!("<Process name='Process-1' pid={pid} parent={parent}");
    let (started, stopped) = ("started>", "stopped exitcode=-SIGTERM>");
    assert_eq!(lines[1], format!("DURING: {child} {started} true"));
    // It is on its way: it may end before it is looked at, and between the two looks.
    let allowed = [(started, true), (started, false), (stopped, false)];
    let allowed = allowed.map(|(state, alive)| format!("TERMINATED: {child} {state} {alive}"));
    assert!(allowed.contains(&lines[2]), "{lines:?}");
    assert_eq!(lines[3], format!("JOINED: {child} {stopped} false"));
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

/// What is printed and logged when one child does its work and is joined, but for its start.
#[cfg(feature = "log")]
const LIFE: [&str; 11] = [
    "[INFO/Process-1] child process runs its closure",
    "Doing some work",
    "[INFO/Process-1] process shuts down",
    "[DEBUG/Process-1] runs finalizers of priority 0 and above",
    "[DEBUG/Process-1] ends 0 daemons and waits for 0 children",
    "[DEBUG/Process-1] runs the remaining finalizers",
    "[INFO/Process-1] process exits with exit code 0",
    "[INFO/MainProcess] process shuts down",
    "[DEBUG/MainProcess] runs finalizers of priority 0 and above",
    "[DEBUG/MainProcess] ends 0 daemons and waits for 0 children",
    "[DEBUG/MainProcess] runs the remaining finalizers",
];

#[test]
#[cfg(feature = "log")]
fn ex10_the_log_tells_the_life_of_a_child() {
    let _watchdog = watchdog();
    let (starts, life): (Vec<_>, Vec<_>) =
        output_among_errors("log_debug").into_iter().partition(|line| line.contains("] started <"));
    assert_eq!(life, LIFE);
    // The parent says so while the child begins, before this or after that.
    assert_eq!(starts.len(), 1, "{starts:?}");
    assert!(starts[0].starts_with("[DEBUG/MainProcess] started <Process name='Process-1' "));
}

#[test]
#[cfg(feature = "log")]
fn ex11_a_child_logs_at_the_level_of_its_parent() {
    let _watchdog = watchdog();
    let expected: Vec<_> = LIFE.into_iter().filter(|line| !line.contains("DEBUG")).collect();
    assert_eq!(output_among_errors("log_info"), expected);
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
