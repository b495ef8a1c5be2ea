//! `commons rm`: removes names.

use crate::failure::{EXIT_CODES, Failure};
use crate::output;
use clap::Args;
use commons::Segment;

/// Removes segments by name, whoever uses them.
///
/// Processes that have a segment open keep it, as with any file; newcomers do not find it. What is
/// not a segment of commons is not removed; what is damaged, or of another version, is.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The segments.
    #[arg(required = true)]
    names: Vec<String>,
}

/// Removes what it can. The last failure gives the exit code.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let remove = |name: &String| Segment::unlink(name).err().map(Failure::from);
    let mut failures: Vec<_> = arguments.names.iter().filter_map(remove).collect();
    let Some(last) = failures.pop() else { return Ok(()) };
    failures.iter().for_each(output::complain);
    Err(last)
}
