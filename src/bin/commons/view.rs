//! Segments, their objects and their users in words and as JSON.

use crate::json;
use crate::text::printable;
use commons::inspect::{EndReport, Holder, ObjectReport, ParticipantReport, Report};
use std::time::UNIX_EPOCH;

/// A count of elements: as bytes, if that is what they are.
pub(crate) fn count(object: &ObjectReport, elements: u64) -> String {
    if object.info.type_name == "u8" { crate::text::size(elements) } else { elements.to_string() }
}

/// How full an object is, in percent.
pub(crate) fn percent(object: &ObjectReport, fill: u64) -> u64 {
    // A pair of rings has its capacity twice.
    let rings = (object.ends.len() as u64 / 2).max(1);
    (fill.saturating_mul(100) / object.info.capacity.saturating_mul(rings).max(1)).min(100)
}

/// A process: `4711 cat (alive)`.
pub(crate) fn participant(participant: &ParticipantReport) -> String {
    let ParticipantReport { pid, command, state, .. } = participant;
    match command {
        Some(command) => format!("{pid} {} ({state})", printable(command)),
        None => format!("{pid} ({state})"),
    }
}

/// Who has an end, in words.
pub(crate) fn holder(report: &Report, holder: &Holder) -> String {
    match holder {
        Holder::Nobody => "nobody yet".to_owned(),
        Holder::Closed => "closed".to_owned(),
        Holder::Abandoned => "left unfinished".to_owned(),
        Holder::Free => "free".to_owned(),
        Holder::Process { pid: None, state, .. } => format!("a process ({state})"),
        Holder::Process { pid: Some(pid), state, .. } => {
            let known = report.participants.iter().find(|p| p.pid == *pid && p.state == *state);
            known.map_or_else(|| format!("{pid} ({state})"), participant)
        }
        _ => "unknown".to_owned(),
    }
}

/// The processes that have none of a segment's ends.
pub(crate) fn others(report: &Report) -> impl Iterator<Item = &ParticipantReport> {
    report.participants.iter().filter(|participant| {
        let mut ends = report.objects.iter().flat_map(|object| &object.ends);
        !ends.any(|end| pid(end) == Some(participant.pid))
    })
}

fn pid(end: &EndReport) -> Option<u32> {
    match end.holder {
        Holder::Process { pid, .. } => pid,
        _ => None,
    }
}

/// A segment as JSON.
pub(crate) fn segment(report: &Report) -> String {
    let created = report.created.duration_since(UNIX_EPOCH).unwrap_or_default();
    json::object(&[
        ("name", json::string(&report.name)),
        ("size", report.size.to_string()),
        ("created", created.as_secs().to_string()),
        ("creator", report.creator.to_string()),
        ("in_use", report.is_in_use().to_string()),
        ("objects", json::array(report.objects.iter().map(object))),
        ("processes", json::array(report.participants.iter().map(process))),
    ])
}

fn object(object: &ObjectReport) -> String {
    let info = &object.info;
    json::object(&[
        ("label", json::or_null(info.label.as_deref().map(json::string))),
        ("kind", json::string(&info.kind.to_string())),
        ("type", json::string(&info.type_name)),
        ("element_size", info.element_size.to_string()),
        ("capacity", info.capacity.to_string()),
        ("fill", json::or_null(object.fill.map(|fill| fill.to_string()))),
        ("version", json::or_null(object.version.map(|version| version.to_string()))),
        ("depth", json::or_null(object.depth.map(|depth| depth.to_string()))),
        ("ends", json::array(object.ends.iter().map(end))),
    ])
}

fn end(end: &EndReport) -> String {
    let state = match &end.holder {
        Holder::Nobody => "vacant".to_owned(),
        Holder::Closed => "closed".to_owned(),
        Holder::Abandoned => "abandoned".to_owned(),
        Holder::Free => "free".to_owned(),
        Holder::Process { state, .. } => state.to_string(),
        _ => "unknown".to_owned(),
    };
    json::object(&[
        ("role", json::string(end.role)),
        ("state", json::string(&state)),
        ("pid", json::or_null(pid(end).map(|pid| pid.to_string()))),
    ])
}

fn process(process: &ParticipantReport) -> String {
    json::object(&[
        ("pid", process.pid.to_string()),
        ("command", json::or_null(process.command.as_deref().map(json::string))),
        ("state", json::string(&process.state.to_string())),
    ])
}
