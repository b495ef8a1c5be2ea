//! `commons stat`: one segment in detail.

use crate::failure::{EXIT_CODES, Failure};
use crate::text::{duration, printable, size};
use crate::{output, view};
use clap::Args;
use commons::inspect::{self, ObjectReport, Report};
use std::time::SystemTime;

/// Shows a segment in detail: what it holds, how full it is, who uses it, and whether they live.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The segment.
    name: String,
    /// For programs.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let report = inspect::report(&arguments.name)?;
    if arguments.json {
        return output::print(&(view::segment(&report) + "\n"));
    }
    let mut lines = head(&report);
    for object in &report.objects {
        lines.extend(describe(&report, object));
    }
    lines.push((0, "processes".to_owned(), report.participants.len().to_string()));
    for participant in &report.participants {
        lines.push((1, view::participant(participant), String::new()));
    }
    let mut text = String::new();
    for (depth, title, value) in lines {
        let line = format!("{:indent$}{title:<12}{value}", "", indent = 2 * depth);
        text.extend([line.trim_end(), "\n"]);
    }
    output::print(&text)
}

/// Depth, title and value.
type Line = (usize, String, String);

fn head(report: &Report) -> Vec<Line> {
    let age = SystemTime::now().duration_since(report.created).unwrap_or_default();
    let use_of_it = match report {
        report if report.is_in_use() => "in use",
        report if report.is_left_by_the_dead() => "only the dead use it: `commons gc` removes it",
        _ => "nobody uses it: `commons rm` removes it",
    };
    let line = |title: &str, value: String| (0, title.to_owned(), value);
    vec![
        line("name", printable(&report.name)),
        line("size", format!("{} ({} bytes)", size(report.size), report.size)),
        line("created", format!("{} ago by process {}", duration(age), report.creator)),
        line("state", use_of_it.to_owned()),
    ]
}

fn describe(report: &Report, object: &ObjectReport) -> Vec<Line> {
    let info = &object.info;
    let type_name = printable(&info.type_name);
    let label = info.label.as_deref().map(|label| format!("`{}` ", printable(label)));
    let what = format!("{}of `{type_name}`", label.unwrap_or_default());
    let line = |title: &str, value: String| (1, title.to_owned(), value);
    let mut lines = vec![(0, info.kind.to_string(), what)];
    let (bytes, align) = (info.element_size, info.element_align);
    lines.push(line("element", format!("{bytes} B, aligned to {align}")));
    lines.push(line("capacity", info.capacity.to_string()));
    if let Some(fill) = object.fill {
        lines.push(line("fill", format!("{fill} ({}%)", view::percent(object, fill))));
    }
    if let Some(version) = object.version {
        lines.push(line("version", version.to_string()));
    }
    if let Some(depth) = object.depth.filter(|depth| *depth > 0) {
        lines.push(line("depth", depth.to_string()));
    }
    lines.extend(object.ends.iter().map(|end| line(end.role, view::holder(report, &end.holder))));
    lines
}
