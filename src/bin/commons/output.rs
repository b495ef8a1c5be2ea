//! What is said to the user.

use crate::failure::{Code, Failure};
use std::fmt;
use std::io::{self, Write};

/// Writes to standard output. A reader that wants no more is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Code::Failed, format!("standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Says something on standard error, where it can be said.
pub(crate) fn complain(what: &impl fmt::Display) {
    let _ = writeln!(io::stderr(), "commons: {what}");
}
