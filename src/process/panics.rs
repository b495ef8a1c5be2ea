//! Panics of children: a line on standard error, and what the parent is told.
//!
//! The hook that sees them is installed in the parent, before the first start, since the library's
//! own lock of hooks could be held by a thread that a child does not have. For that reason, too, no
//! child is forked while a thread prints a panic ([`hold`]), and children print theirs without the
//! hook that was there before, which may have locks of its own.

use super::identity;
use super::launch::IN_CHILD;
use super::locks;
use crate::sync::local::{AtomicBool, Ordering::Relaxed};
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::panic::{self, PanicHookInfo};
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::thread;

/// Held by a thread that prints a panic or looks where it came from, and during a fork.
static PRINTING: Mutex<()> = Mutex::new(());

thread_local! {
    /// Whether this thread has `PRINTING`.
    static PRINTS: Cell<bool> = const { Cell::new(false) };
    /// The last panic of this thread, in a child.
    static LAST: RefCell<Option<Panic>> = const { RefCell::new(None) };
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
        let _printing = PRINTING.lock();
        PRINTS.set(true);
        // Relaxed: set before anything else ran in this process.
        if IN_CHILD.load(Relaxed) {
            notice(info)
        } else {
            previous(info)
        }
        PRINTS.set(false);
    }));
}

/// Keeps other threads from printing a panic; `None`: one does.
pub(super) fn hold() -> Option<Option<MutexGuard<'static, ()>>> {
    if PRINTS.get() {
        return Some(None);
    }
    match PRINTING.try_lock() {
        Ok(guard) => Some(Some(guard)),
        Err(TryLockError::Poisoned(guard)) => Some(Some(guard.into_inner())),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// In a child: says it, and keeps it for [`what_was`].
fn notice(info: &PanicHookInfo<'_>) {
    let message = message(info.payload());
    let location = info.location().map(ToString::to_string).unwrap_or_default();
    let panic = Panic { message, location, backtrace: locks::backtrace() };
    panic.print();
    let _ = LAST.try_with(|last| last.replace(Some(panic)));
}

/// In a child: the panic with this payload, which was caught in this thread.
pub(super) fn what_was(payload: &(dyn Any + Send)) -> Panic {
    let message = message(payload);
    // A hook of the user's may have taken the place of ours; and one panic may hide another.
    let last = LAST.take().filter(|last| last.message == message);
    last.unwrap_or_else(|| {
        let panic = Panic { message, ..Panic::default() };
        panic.print();
        panic
    })
}

pub(super) fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a value that is not text".to_owned())
}

impl Panic {
    /// One line, in one piece.
    fn print(&self) {
        let name = identity::current().name().to_owned();
        let at = if self.location.is_empty() { "" } else { " at " };
        let message = self.message.replace('\n', "\\n");
        let line = format!("{name} panicked{at}{}: {message}\n", self.location);
        let _ = io::stderr().write_all(line.as_bytes());
    }

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
