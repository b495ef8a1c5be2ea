//! `commons` measured beside the bare hardware and its rivals.
//!
//! See README.md for how to read what this prints and how to add a row.

#![deny(missing_docs)]

mod guard;
mod harness;
mod limits;
mod locking;
mod os;
mod ours;
mod peer;
mod report;
mod rivals;
mod rows;
mod shared;
mod stats;
mod work;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;

use crate::peer::Plan;
use crate::work::Result;

/// Measures commons beside the bare hardware and its rivals
#[derive(Parser)]
#[command(version)]
struct Options {
    /// Measure only the rows whose name begins with this
    #[arg(long, value_name = "PREFIX", default_value = "")]
    only: String,
    /// Rounds of each row
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    rounds: u16,
    /// Write one JSON object per figure to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure for a moment only: shows that every row works, the figures mean little
    #[arg(long)]
    quick: bool,
}

fn main() {
    commons::process::entry();
    procspawn::init();
    let options = Options::parse();
    os::cpus(); // asked before anything is pinned
    let code = guard::supervise(|| match run(&options) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{error}");
            1
        }
    });
    std::process::exit(code);
}

fn run(options: &Options) -> Result<()> {
    let (turn, whole) = if options.quick { (100, 1_000) } else { (500, 50_000) };
    let (turn, whole) = (Duration::from_micros(turn), Duration::from_micros(whole));
    let plan = Plan { asleep: false, grain: 1, turn, whole };
    let rounds = usize::from(options.rounds);
    let mut rows = rows::all();
    rows.retain(|row| row.name.starts_with(&options.only));
    if rows.is_empty() {
        return Err(format!("no row begins with {:?}", options.only).into());
    }
    if os::cpus()[0] == os::cpus()[1] {
        eprintln!("only one CPU: both sides share it, and what polls is slow");
    }
    let mut json = options.json.as_ref().map(File::create).transpose()?;
    println!("{}", report::head(rounds));
    for row in &rows {
        eprintln!("{} ...", row.name);
        let outcome = row.measure(rounds, &plan)?;
        print!("{}", report::lines(row, &outcome));
        if let Some(json) = &mut json {
            report::write_json(json, row, &outcome, rounds)?;
        }
    }
    let absent = report::absent(&rows);
    if !absent.is_empty() {
        print!("\nLeft out:\n{absent}");
    }
    Ok(())
}
