//! The ten commonest words of text files, each counted by a task of a pool.
//!
//!     word_count FILE...

use commons::{Pool, process};
use std::collections::HashMap;
use std::fs;
use std::process::ExitCode;
use std::time::Instant;

type Counts = HashMap<String, u64>;

/// Counts the words of a file: letters and digits in a row, in lower case.
fn count(path: String) -> Result<Counts, String> {
    let bytes = fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let text = String::from_utf8_lossy(&bytes);
    let mut counts = Counts::new();
    let no_word = |c: char| !c.is_alphanumeric() && c != '\'';
    for word in text.split(no_word).map(|word| word.trim_matches('\'')) {
        if !word.is_empty() {
            *counts.entry(word.to_lowercase()).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Puts the counts of all files together.
fn merge(parts: Vec<Result<Counts, String>>) -> (Counts, Vec<String>) {
    let (mut counts, mut errors) = (Counts::new(), Vec::new());
    for part in parts {
        match part {
            Ok(part) => {
                part.into_iter().for_each(|(word, n)| *counts.entry(word).or_default() += n)
            }
            Err(error) => errors.push(error),
        }
    }
    (counts, errors)
}

/// The commonest words; of equally common ones, the first of the alphabet.
fn commonest(counts: &Counts) -> Vec<(&str, u64)> {
    let mut words: Vec<_> = counts.iter().map(|(word, n)| (word.as_str(), *n)).collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
    words.truncate(10);
    words
}

fn main() -> ExitCode {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    if paths.is_empty() {
        eprintln!("usage: word_count FILE...");
        return ExitCode::FAILURE;
    }
    let pool = match Pool::new(process::usable_cpu_count()) {
        Ok(pool) => pool,
        Err(error) => {
            eprintln!("no pool: {error}");
            return ExitCode::FAILURE;
        }
    };
    let before = Instant::now();
    // One file is one task, whose own errors are results. A task that panics is another matter.
    let parts = match pool.try_map(count, paths.iter().cloned()) {
        Ok(parts) => parts.into_iter().zip(&paths),
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let parts = parts.map(|(part, path)| part.unwrap_or_else(|e| Err(format!("{path}: {e}"))));
    let (counts, errors) = merge(parts.collect());
    let together = before.elapsed();

    let before = Instant::now();
    let (expected, _) = merge(paths.into_iter().map(count).collect());
    let alone = before.elapsed();

    for (word, n) in commonest(&counts) {
        println!("{n:>8} {word}");
    }
    if commonest(&counts) != commonest(&expected) {
        eprintln!("the files changed meanwhile: the sequential count is another one");
    }
    println!("pool:       {:.4} s", together.as_secs_f64());
    println!("sequential: {:.4} s", alone.as_secs_f64());
    for error in &errors {
        eprintln!("{error}");
    }
    if errors.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
