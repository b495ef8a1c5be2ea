//! `commons gc`: removes what only the dead use.

use crate::failure::{EXIT_CODES, Failure};
use crate::output;
use crate::text::{printable, size};
use clap::Args;
use commons::inspect::{self, Report};

/// Removes the segments that only the dead use, and lists them.
///
/// What everybody left in order stays, such as bytes that wait for a receiver: `commons rm` removes
/// it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// List them, and leave them as they are.
    #[arg(long)]
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let reports = inspect::list()?;
    let text: String = if arguments.dry_run {
        let left = reports.iter().filter(|report| report.is_left_by_the_dead());
        left.map(|report| line("would remove", &report.name, Some(report))).collect()
    } else {
        let known = |name: &str| reports.iter().find(|report| report.name == name);
        inspect::collect()?.iter().map(|name| line("removed", name, known(name))).collect()
    };
    output::print(&text)
}

fn line(verb: &str, name: &str, report: Option<&Report>) -> String {
    let mut line = format!("{verb} {}", printable(name));
    if let Some(report) = report {
        let dead: Vec<_> = report.participants.iter().map(|p| p.pid.to_string()).collect();
        line += &format!(" ({}, of {})", size(report.size), dead.join(", "));
    }
    line + "\n"
}
