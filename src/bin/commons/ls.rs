//! `commons ls`: every segment.

use crate::failure::{EXIT_CODES, Failure};
use crate::text::{printable, size, table};
use crate::{json, output, view};
use clap::Args;
use commons::inspect::{self, ObjectReport, Report};

const HEADING: [&str; 7] = ["NAME", "KIND", "TYPE", "SIZE", "CAPACITY", "FILL", "PROCESSES"];
/// Columns of numbers.
const RIGHT: [usize; 3] = [3, 4, 5];

/// Lists every segment: what it holds, how full it is, and who uses it.
///
/// Files of others are left out, and so is what cannot be read: `commons stat NAME` says why.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// For programs.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let reports = inspect::list()?;
    if arguments.json {
        return output::print(&(json::array(reports.iter().map(view::segment)) + "\n"));
    }
    if reports.is_empty() {
        return Ok(());
    }
    let mut rows = vec![HEADING.map(str::to_owned).to_vec()];
    reports.iter().for_each(|report| add(report, &mut rows));
    output::print(&table(&rows, &RIGHT))
}

/// One line for a segment that is one object; otherwise one for the segment and one for each object.
fn add(report: &Report, rows: &mut Vec<Vec<String>>) {
    let (name, bytes) = (printable(&report.name), size(report.size));
    let others: Vec<_> = view::others(report).map(view::participant).collect();
    if let [object] = &report.objects[..]
        && object.info.label.is_none()
    {
        rows.push(row(report, object, name, bytes, others));
        return;
    }
    let none = || "-".to_owned();
    rows.push(vec![name, "segment".to_owned(), none(), bytes, none(), none(), join(others)]);
    for object in &report.objects {
        let label = object.info.label.as_deref().map_or_else(none, printable);
        rows.push(row(report, object, format!("  {label}"), none(), Vec::new()));
    }
}

fn row(
    report: &Report,
    object: &ObjectReport,
    name: String,
    bytes: String,
    others: Vec<String>,
) -> Vec<String> {
    let info = &object.info;
    let end =
        |end: &inspect::EndReport| format!("{} {}", end.role, view::holder(report, &end.holder));
    let users = object.ends.iter().map(end).chain(others);
    let fill = object.fill.map_or_else(|| "-".to_owned(), |fill| view::count(object, fill));
    vec![
        name,
        info.kind.to_string(),
        printable(&info.type_name),
        bytes,
        view::count(object, info.capacity),
        fill,
        join(users),
    ]
}

fn join(users: impl IntoIterator<Item = String>) -> String {
    let users: Vec<_> = users.into_iter().collect();
    if users.is_empty() { "-".to_owned() } else { users.join(", ") }
}
