//! The example programs of pools, run, and what they print.

#![cfg(feature = "serde")]

mod common;

use common::example::{output, output_with, run_to_its_end};
use common::{name, watchdog};
use commons::process::cpu_count;
use std::collections::BTreeSet;
use std::fs;

const DOUBLED: &str = "[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]";

fn starting(lines: &[String]) -> BTreeSet<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("Starting ")).collect()
}

#[test]
fn ex23_a_pool_doubles_and_each_worker_says_that_it_starts() {
    let _watchdog = watchdog();
    let lines = output("pool_map");
    assert_eq!(lines[0], "Input     : [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]");
    assert_eq!(lines[1], format!("Built-in  : {DOUBLED}"));
    assert_eq!(lines.last().unwrap(), &format!("Pool      : {DOUBLED}"));
    let expected: Vec<_> = (1..=2 * cpu_count()).map(|i| format!("PoolWorker-{i}")).collect();
    assert_eq!(starting(&lines), expected.iter().map(String::as_str).collect());
    assert_eq!(lines.len(), 3 + expected.len());
}

#[test]
fn ex24_workers_are_replaced_after_two_tasks() {
    let _watchdog = watchdog();
    let lines = output("pool_limit");
    let results = format!("Pool      : {DOUBLED}");
    assert!(lines.contains(&results), "{lines:?}");
    // Ten tasks, two a worker.
    assert!(starting(&lines).len() >= 5, "{lines:?}");
    let most = lines.last().unwrap();
    let allowed = ["1", "2"].map(|n| format!("No worker did more than {n} tasks."));
    assert!(allowed.contains(most), "{most}");
}

#[test]
fn ex28_squares_in_a_scope() {
    let _watchdog = watchdog();
    assert_eq!(output("pool_squares"), ["[1, 4, 9, 16, 25]"]);
}

#[test]
fn ex29_a_result_later_and_a_callback() {
    let _watchdog = watchdog();
    assert_eq!(output("pool_async"), ["100", "Result: 100"]);
}

#[test]
fn ex31_the_commonest_words_of_files() {
    let _watchdog = watchdog();
    let (code, lines, errors) = run_to_its_end("word_count", &[]);
    assert_eq!((code, lines.len()), (1, 0));
    assert_eq!(errors, ["usage: word_count FILE..."]);

    let files = ["one", "two"].map(name);
    fs::write(files[0].path(), "The cat and the dog.\nDon't: a 'cat' is a CAT; öl").unwrap();
    fs::write(files[1].path(), [b"the end \xff of the ".as_slice(), b"cat"].concat()).unwrap();
    let paths = files.each_ref().map(|file| file.path().display().to_string());
    let lines = output_with("word_count", &[&paths[0], &paths[1]]);
    let words: Vec<_> = lines.iter().map(|line| line.trim()).take(10).collect();
    let rest = ["1 and", "1 dog", "1 don't", "1 end", "1 is", "1 of", "1 öl"];
    let expected: Vec<_> = ["4 cat", "4 the", "2 a"].into_iter().chain(rest).collect();
    assert_eq!(words, expected);
    assert!(lines[10].starts_with("pool: ") && lines[11].starts_with("sequential: "), "{lines:?}");
    assert_eq!(lines.len(), 12);

    let missing = format!("{}-not-there", paths[0]);
    let (code, lines, errors) = run_to_its_end("word_count", &[&paths[0], &missing, &paths[1]]);
    assert_eq!((code, lines[0].trim()), (1, "4 cat"));
    assert!(errors.len() == 1 && errors[0].starts_with(&missing), "{errors:?}");
}

#[test]
fn ex32_factorials_in_order() {
    let _watchdog = watchdog();
    // Unscaled it takes a second without optimisation; what the numbers are is known.
    let lines = output_with("factorials", &["1"]);
    let digits = [456_574, 973_351, 1_512_852, 2_067_110, 2_632_342];
    for (line, (n, digits)) in lines.iter().zip((1..).zip(digits)) {
        assert!(line.starts_with(&format!("{n}00000! has {digits} digits and leaves ")), "{line}");
    }
    assert_eq!(lines[5], "equal to the sequential results: true");
    assert!(lines[6].starts_with("one process: ") && lines[7].starts_with("the pool: "));
}

#[test]
fn a_bar_counts_the_results_of_a_pool() {
    let _watchdog = watchdog();
    let sum: u64 = (0..40).map(|n| n * n).sum();
    assert_eq!(output("progress"), [format!("the sum of 40 squares is {sum}")]);
}
