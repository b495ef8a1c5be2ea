//! Panics of children: a line on standard error, and what the parent is told.
//!
//! The hook that sees them is installed in the parent, before the first start, since the library's
//! own lock of hooks could be held by a thread that a child does not have. For that reason, too, children
//! print theirs without the hook that was there before, which may have locks of its own.

use super::identity;
use super::launch::{self, IN_CHILD};
use super::locks;
use crate::sync::local::{AtomicBool, Ordering::Relaxed};
use std::any::Any;
use std::backtrace::Backtrace;
use std::cell::RefCell;
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::thread;

/// A panic of this thread, in a child. What it came by is put into words only if it is told of: that takes
/// a thousand times as long as to note it.
struct Seen {
    message: String,
    location: String,
    backtrace: Option<Backtrace>,
}

thread_local! {
    /// The last one.
    static LAST: RefCell<Option<Seen>> = const { RefCell::new(None) };
}

/// A panic, in words.
#[derive(Debug, Default)]
pub(super) struct Panic {
    pub(super) message: String,
    /// The file, line and column.
    pub(super) location: String,
    pub(super) backtrace: String,
}

/// In a parent: has the panics of children seen.
pub(super) fn watch() {
    static WATCHED: AtomicBool = AtomicBool::new(false);
    // Relaxed: called by one thread at a time. A thread that panics may not change hooks.
    if WATCHED.load(Relaxed) || thread::panicking() || WATCHED.swap(true, Relaxed) {
        return;
    }
    let previous = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        // A panic in what follows ends the process.
        // Relaxed: set before anything else ran in this process.
        if IN_CHILD.load(Relaxed) { notice(info) } else { previous(info) }
    }));
}

/// In a child: says it, and keeps it for [`what_was`].
fn notice(info: &PanicHookInfo<'_>) {
    let message = message(info.payload());
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    print(&message, &location);
    let seen = Seen { message, location, backtrace: locks::backtrace() };
    if cfg!(panic = "abort") {
        // Nobody comes to ask.
        launch::say_last_words(&seen.in_words());
    } else {
        let _ = LAST.try_with(|last| last.replace(Some(seen)));
    }
}

/// In a child: the panic with this payload, which was caught in this thread.
pub(super) fn what_was(payload: &(dyn Any + Send)) -> Panic {
    let message = message(payload);
    // A hook of the user's may have taken the place of ours; and one panic may hide another.
    match LAST.take().filter(|last| last.message == message) {
        Some(seen) => seen.in_words(),
        None => {
            print(&message, "");
            Panic { message, ..Panic::default() }
        }
    }
}

impl Seen {
    fn in_words(self) -> Panic {
        let Seen { message, location, backtrace } = self;
        let none = || {
            "no backtrace: other threads of the parent were taking some when this process was forked"
                .to_owned()
        };
        let backtrace = backtrace.map_or_else(none, |backtrace| backtrace.to_string());
        Panic { message, location, backtrace }
    }
}

/// One line, in one piece.
fn print(message: &str, location: &str) {
    let name = identity::current().name().to_owned();
    let at = if location.is_empty() { "" } else { " at " };
    let message = message.replace('\n', "\\n");
    let line = format!("{name} panicked{at}{location}: {message}\n");
    let _ = io::stderr().write_all(line.as_bytes());
}

pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

impl Panic {
    /// The three texts, each after its length.
    pub(super) fn encode(&self) -> Vec<u8> {
        let texts = [&self.message, &self.location, &self.backtrace];
        let parts =
            texts.map(|text| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat());
        parts.concat()
    }

    /// What [`Panic::encode`] gave; what is missing is empty.
    pub(super) fn decode(mut bytes: &[u8]) -> Self {
        let mut text = || {
            let (length, rest) = bytes.split_first_chunk().unwrap_or((&[0; 8], &[]));
            let length = u64::from_le_bytes(*length).min(rest.len() as u64) as usize;
            let (text, rest) = rest.split_at(length);
            bytes = rest;
            String::from_utf8_lossy(text).into_owned()
        };
        Panic { message: text(), location: text(), backtrace: text() }
    }
}

#[cfg(test)]
mod tests {
    use super::Panic;

    #[test]
    fn a_panic_is_read_as_it_was_written_and_a_damaged_one_in_part() {
        let texts = ["a\nmessage", "file.rs:1:2", ""].map(str::to_owned);
        let [message, location, backtrace] = texts.clone();
        let bytes = Panic { message, location, backtrace }.encode();
        let read = |bytes: &[u8]| {
            let Panic { message, location, backtrace } = Panic::decode(bytes);
            [message, location, backtrace]
        };
        assert_eq!(read(&bytes), texts);
        for length in 0..bytes.len() {
            assert!(texts[0].starts_with(&read(&bytes[..length])[0]));
        }
        assert_eq!(read(&[0xff; 40])[1], "");
    }
}
