//! Runs the example programs and gives what they print.

use std::path::PathBuf;
use std::process::{Command, Stdio};

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
pub(crate) fn output(name: &str) -> Vec<String> {
    output_with(name, &[])
}

/// The lines that an example prints that was given these arguments.
pub(crate) fn output_with(name: &str, arguments: &[&str]) -> Vec<String> {
    run(name, arguments, Stdio::inherit()).0
}

/// The lines that an example prints, and those on standard error.
pub(crate) fn output_and_errors(name: &str) -> (Vec<String>, Vec<String>) {
    run(name, &[], Stdio::piped())
}

fn run(name: &str, arguments: &[&str], errors: Stdio) -> (Vec<String>, Vec<String>) {
    let mut example = Command::new(executable(name));
    let run = example.args(arguments).stderr(errors).output().expect("the example");
    assert!(run.status.success(), "{name}: {}", run.status);
    (lines(run.stdout), lines(run.stderr))
}

/// The exit code of an example that was given these arguments, its lines, and those on standard error.
pub(crate) fn run_to_its_end(name: &str, arguments: &[&str]) -> (i32, Vec<String>, Vec<String>) {
    let run = Command::new(executable(name)).args(arguments).output().expect("the example");
    let code = run.status.code().expect("an exit code");
    (code, lines(run.stdout), lines(run.stderr))
}

fn lines(bytes: Vec<u8>) -> Vec<String> {
    String::from_utf8(bytes).expect("text").lines().map(str::to_owned).collect()
}

/// Where a line is among others.
pub(crate) fn position(lines: &[String], line: &str) -> usize {
    lines.iter().position(|l| l == line).unwrap_or_else(|| panic!("no `{line}` in {lines:?}"))
}
