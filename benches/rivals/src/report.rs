//! The comparison as a Markdown table, row by row as they are measured, and as JSON lines.

use std::io::Write;

use serde::Serialize;

use crate::harness::{CONCLUSIVE, Figure, Outcome, Row};
use crate::work::Result;

/// The verdict on who did not sleep where the row wants it.
const AWAKE: &str = "did not sleep";

/// One line of the JSON file.
#[derive(Serialize)]
struct Line<'a> {
    name: String,
    ns: f64,
    limit: &'a str,
    limit_ns: f64,
    ratio: f64,
    rounds: usize,
    /// How far the limit is from itself.
    aa: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bar: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verdict: Option<&'static str>,
}

/// What stands above the table.
pub(crate) fn head(rounds: usize) -> String {
    format!(
        "\
Medians of {rounds} rounds, in nanoseconds for one operation. In each round the limit, ours, the
limit again and the rivals run one after another, pinned to the same two CPUs; a ratio is the
median of the ratios to the mean of the two limits of the same round. A/A is how far those two
are apart: above {:.0} % the row says nothing.

| row | who | ns | x limit | bar | A/A | verdict |
|---|---|---:|---:|---:|---:|---|",
        CONCLUSIVE * 100.0
    )
}

/// The lines of a row in the table.
pub(crate) fn lines(row: &Row, outcome: &Outcome) -> String {
    let mut lines = format!(
        "| **{}** | **{}** | | | | | |\n| | limit: {} | {} | 1.00 | | {:.1} % | |\n",
        row.name,
        row.work,
        row.limit.name,
        nanoseconds(outcome.limit_ns),
        outcome.spread * 100.0,
    );
    for (i, figure) in outcome.ours.iter().enumerate() {
        let bar = row.bar.filter(|_| i == 0);
        lines += &format!(
            "| {} | **commons** | **{}** | **{:.2}** | {} | | {} |\n",
            if i == 0 { String::new() } else { full_name(row.name, figure.name) },
            nanoseconds(figure.ns),
            figure.ratio,
            bar.map_or("-".into(), |bar| format!("{bar:.2}")),
            verdict(bar, figure, outcome.spread),
        );
    }
    for figure in &outcome.rivals {
        let (ns, ratio) = (nanoseconds(figure.ns), figure.ratio);
        let note = if figure.asleep { "" } else { AWAKE };
        lines += &format!("| | {} | {ns} | {ratio:.2} | | | {note} |\n", figure.name);
    }
    lines
}

/// Who is not in the table, and why.
pub(crate) fn absent(rows: &[Row]) -> String {
    let mut lines = String::new();
    for row in rows {
        for (rival, reason) in row.absent {
            lines += &format!("- {}: {rival}: {reason}\n", row.name);
        }
    }
    lines
}

/// Writes the figures of a row as JSON, one object a line.
pub(crate) fn write_json(
    file: &mut impl Write,
    row: &Row,
    outcome: &Outcome,
    rounds: usize,
) -> Result<()> {
    let ours = outcome.ours.iter().enumerate().map(|(i, figure)| (i == 0, true, figure));
    let rivals = outcome.rivals.iter().map(|figure| (false, false, figure));
    for (judged, own, figure) in ours.chain(rivals) {
        let bar = row.bar.filter(|_| judged);
        let line = Line {
            name: full_name(row.name, figure.name),
            ns: round(figure.ns),
            limit: row.limit.name,
            limit_ns: round(outcome.limit_ns),
            ratio: round(figure.ratio),
            rounds,
            aa: round(outcome.spread),
            bar,
            verdict: own.then(|| verdict(bar, figure, outcome.spread)),
        };
        writeln!(file, "{}", serde_json::to_string(&line)?)?;
    }
    file.flush()?;
    Ok(())
}

fn full_name(row: &str, figure: &str) -> String {
    if figure.is_empty() { row.to_owned() } else { format!("{row}/{figure}") }
}

fn verdict(bar: Option<f64>, figure: &Figure, spread: f64) -> &'static str {
    match bar {
        _ if !figure.asleep => AWAKE,
        _ if spread > CONCLUSIVE => "inconclusive",
        None => "report",
        Some(bar) if figure.ratio <= bar => "met",
        Some(_) => "missed",
    }
}

/// Four significant digits after the point are more than the clock knows.
fn round(figure: f64) -> f64 {
    (figure * 1e4).round() / 1e4
}

/// `4.31`, `431`, `43,100`.
fn nanoseconds(ns: f64) -> String {
    if ns < 100.0 {
        return format!("{ns:.2}");
    }
    let digits = format!("{ns:.0}");
    let mut grouped = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
