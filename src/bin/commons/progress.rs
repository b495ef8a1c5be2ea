//! The line that shows how far a transfer is, where somebody is looking.

use crate::output;
use crate::text::{printable, size};
use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often the line is drawn, and how often the other side is looked at.
pub(crate) const TICK: Duration = Duration::from_millis(250);

/// Counts what was transferred and shows it on standard error while that is a terminal. The
/// destructor erases the line.
#[derive(Debug)]
pub(crate) struct Progress {
    name: String,
    is_visible: bool,
    bytes: u64,
    /// When the last tick was, and how many bytes there were then.
    last: (Instant, u64),
    /// Bytes a second in the last tick.
    rate: u64,
}

impl Progress {
    /// `data`: where the bytes come from or go to. A person who types or reads there is not
    /// disturbed by a line that moves.
    pub(crate) fn new(name: &str, data: &impl IsTerminal) -> Self {
        let is_visible = io::stderr().is_terminal() && !data.is_terminal();
        let name = printable(name);
        Progress { name, is_visible, bytes: 0, last: (Instant::now(), 0), rate: 0 }
    }

    pub(crate) fn add(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether a tick has passed since the last time it had.
    pub(crate) fn is_due(&mut self) -> bool {
        let passed = self.last.0.elapsed();
        if passed < TICK {
            return false;
        }
        self.rate = ((self.bytes - self.last.1) as f64 / passed.as_secs_f64()) as u64;
        self.last = (Instant::now(), self.bytes);
        true
    }

    /// Shows how far the transfer is, as fast as it was in the last tick.
    pub(crate) fn draw(&self, note: &str) {
        if self.is_visible {
            let (bytes, rate) = (size(self.bytes), size(self.rate));
            let _ = write!(io::stderr(), "\r{}: {bytes}, {rate}/s{note}\x1b[K", self.name);
        }
    }

    /// Says something in place of the line.
    pub(crate) fn say(&self, what: &impl fmt::Display) {
        self.erase();
        output::complain(what);
    }

    fn erase(&self) {
        if self.is_visible {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.erase();
    }
}
