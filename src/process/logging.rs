//! Messages of this crate through the `log` facade, and a logger that names the process.

use super::identity;
use crate::sync::local::{AtomicBool, Ordering::Relaxed};
use log::{Level, LevelFilter, Log, Metadata, Record};
use std::io::{self, Write};

/// What [`log_to_stderr`] installs. It has no state and no lock of its own, so no fork can find it
/// in the middle of something.
struct ToStandardError;

static LOGGER: ToStandardError = ToStandardError;
static INSTALLED: AtomicBool = AtomicBool::new(false);

impl Log for ToStandardError {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let level = match record.level() {
            Level::Warn => "WARNING",
            level => level.as_str(),
        };
        // In one piece. Nobody is left to tell when standard error is gone.
        let line = format!("[{level}/{}] {}\n", identity::current().name(), record.args());
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// Prints what is logged through the `log` facade, by this crate and others, on standard error, as
/// `[LEVEL/name of the process] message`, from now on and in children that are started later.
///
/// Asked again, it changes the level. This crate logs the life of processes: starts and ends at
/// `Info`, what belongs to an end at `Debug`. Without a logger it is silent.
///
/// A program that uses another logger, or `tracing` with its `log` bridge, gets the same messages
/// there; one with locks may keep a child waiting that was forked while another thread logged.
///
/// # Errors
/// Where another logger is installed.
///
/// # Examples
/// ```
/// use commons::process::{Process, log_to_stderr};
///
/// log_to_stderr(log::LevelFilter::Info)?;
/// Process::spawn(|| log::info!("at work"))?.join()?; // [INFO/Process-1] at work
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn log_to_stderr(level: LevelFilter) -> Result<(), log::SetLoggerError> {
    // Relaxed: no data.
    if !INSTALLED.load(Relaxed) {
        log::set_logger(&LOGGER)?;
        INSTALLED.store(true, Relaxed);
    }
    log::set_max_level(level);
    Ok(())
}

/// What a child that inherits no memory is told: the level, and whether messages are printed.
#[cfg(feature = "serde")]
pub(super) fn state() -> (usize, bool) {
    (log::max_level() as usize, INSTALLED.load(Relaxed))
}

/// In the child: does as its parent, unless it has its own logger by now.
#[cfg(feature = "serde")]
pub(super) fn assume((level, printed): (usize, bool)) {
    let level = LevelFilter::iter().nth(level).unwrap_or(LevelFilter::Off);
    if !printed || log_to_stderr(level).is_err() {
        log::set_max_level(level);
    }
}
