//! Python's queues and pipes between two processes of Python's: what a program that moves from there
//! leaves behind. `python.py` measures them, turn by turn as we do; both its sides are on the same
//! processors as ours.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::os;
use crate::peer::{self, Plan};
use crate::work::Result;

const SCRIPT: &str = include_str!("python.py");
/// Why there is nothing of it in a row.
pub(crate) const ABSENT: (&str, &str) =
    ("Python", "no python3 with multiprocessing on this machine");

/// Whether there is a Python.
pub(crate) fn is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| {
        let mut look = Command::new("python3");
        look.args(["-c", "import multiprocessing.synchronize"]).stderr(Stdio::null());
        look.status().is_ok_and(|status| status.success())
    })
}

/// Words through a `Queue`.
pub(crate) fn queue_stream(plan: &Plan) -> Result<f64> {
    run(plan, "queue", "words")
}

/// Words through a `SimpleQueue`.
pub(crate) fn simple_queue_stream(plan: &Plan) -> Result<f64> {
    run(plan, "simple", "words")
}

/// Small objects through a `Queue`.
pub(crate) fn queue_objects(plan: &Plan) -> Result<f64> {
    run(plan, "queue", "objects")
}

/// Small objects through a `SimpleQueue`.
pub(crate) fn simple_queue_objects(plan: &Plan) -> Result<f64> {
    run(plan, "simple", "objects")
}

/// Eight bytes there and back through a `Pipe`, polling.
pub(crate) fn pipe_rtt_poll(plan: &Plan) -> Result<f64> {
    run(plan, "pipe", "poll")
}

/// Eight bytes there and back through a `Pipe`, asleep while they travel.
pub(crate) fn pipe_rtt_park(plan: &Plan) -> Result<f64> {
    run(plan, "pipe", "park")
}

fn run(plan: &Plan, what: &str, how: &str) -> Result<f64> {
    let [here, there] = os::cpus();
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT, what, how]);
    python.args([here, there].map(|cpu| cpu.to_string()));
    python.args([plan.turn, plan.whole].map(|time| time.as_secs_f64().to_string()));
    python.stderr(Stdio::inherit());
    let parent = std::process::id() as i32;
    // SAFETY: between fork and exec it makes system calls only.
    unsafe {
        python.pre_exec(move || {
            os::die_with(parent);
            Ok(())
        });
    }
    let output = python.output()?;
    if !output.status.success() {
        return Err(format!("python3 ended with {}", output.status).into());
    }
    let text = String::from_utf8(output.stdout)?;
    let mut words = text.split_ascii_whitespace().map(str::parse::<f64>);
    let (Some(Ok(ns)), Some(Ok(asleep))) = (words.next(), words.next()) else {
        return Err(format!("python3 said {text:?}").into());
    };
    peer::note_asleep(asleep);
    Ok(ns)
}
