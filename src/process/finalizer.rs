//! Work that is done once: when somebody says so, when its owner goes, or at the end of the process.

use super::end::wait_at_exit;
use crate::sys::fork;
use crate::sys::per_process::PerProcess;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, PoisonError};

/// What is to be done at the end of this process, in the order in which it was made.
static PENDING: PerProcess<Vec<Arc<Entry>>> = PerProcess::new();

type Work = Box<dyn FnOnce() + Send>;

struct Entry {
    priority: Option<i32>,
    work: Mutex<Option<Work>>,
}

impl Entry {
    fn take(&self) -> Option<Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Work that is done once: by [`Finalizer::run`], when this is dropped, or, with a
/// [priority](Finalizer::with_priority), at an orderly end of the process, whichever comes first.
///
/// It is done by the process that made it alone: a forked child's copy does nothing, and what such a
/// copy has is not dropped there.
///
/// # When a process dies
/// Nothing is done where the process is ended by a signal or by `_exit`.
///
/// # Examples
/// ```
/// use commons::process::Finalizer;
/// use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
///
/// static DONE: AtomicU32 = AtomicU32::new(0);
/// let finalizer = Finalizer::new(|| drop(DONE.fetch_add(1, Relaxed)));
/// assert!(finalizer.run());
/// assert!(!finalizer.run());
/// drop(finalizer);
/// assert_eq!(DONE.load(Relaxed), 1);
/// ```
#[must_use = "a finalizer that is dropped does its work at once"]
pub struct Finalizer {
    entry: Option<Arc<Entry>>,
    epoch: u32,
}

impl Finalizer {
    /// Work that is done when this is dropped, and not at the end of the process where it is not.
    pub fn new(work: impl FnOnce() + Send + 'static) -> Self {
        Self::make(None, Box::new(work))
    }

    /// Work that is done at an orderly end of the process (a return from `main`,
    /// [`exit`](super::exit), [`std::process::exit`], the end of a child's function) if not before.
    ///
    /// The highest priority comes first, and of the same the one that was made last. What has a
    /// priority of 0 or above is done before this process ends its daemons and waits for its children,
    /// the rest after that.
    pub fn with_priority(priority: i32, work: impl FnOnce() + Send + 'static) -> Self {
        let finalizer = Self::make(Some(priority), Box::new(work));
        if let Some(entry) = &finalizer.entry {
            PENDING.lock().push(Arc::clone(entry));
        }
        wait_at_exit();
        finalizer
    }

    fn make(priority: Option<i32>, work: Work) -> Self {
        let entry = Some(Arc::new(Entry { priority, work: Mutex::new(Some(work)) }));
        Finalizer { entry, epoch: fork::epoch() }
    }

    /// Does the work now, if it is this process's and not done; says whether it was.
    pub fn run(&self) -> bool {
        self.take().map(|work| work()).is_some()
    }

    /// Drops the work undone; says whether it was pending.
    pub fn cancel(&self) -> bool {
        self.take().is_some()
    }

    /// Whether the work is still to be done, by this process.
    pub fn is_pending(&self) -> bool {
        let is_some = |entry: &Arc<Entry>| {
            entry.work.lock().unwrap_or_else(PoisonError::into_inner).is_some()
        };
        self.own().is_some_and(is_some)
    }

    fn own(&self) -> Option<&Arc<Entry>> {
        self.entry.as_ref().filter(|_| self.epoch == fork::epoch())
    }

    fn take(&self) -> Option<Work> {
        let entry = self.own()?;
        let work = entry.take()?;
        if entry.priority.is_some() {
            PENDING.lock().retain(|pending| !Arc::ptr_eq(pending, entry));
        }
        Some(work)
    }
}

impl Drop for Finalizer {
    fn drop(&mut self) {
        if self.epoch == fork::epoch() {
            self.run();
        } else {
            // The work and what it has are the parent's.
            std::mem::forget(self.entry.take());
        }
    }
}

impl fmt::Debug for Finalizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let priority = self.entry.as_ref().and_then(|entry| entry.priority);
        f.debug_struct("Finalizer")
            .field("priority", &priority)
            .field("pending", &self.is_pending())
            .finish_non_exhaustive()
    }
}

/// In a child that was just forked: nothing is to be done at its end yet.
#[inline]
pub(super) fn begin_without_finalizers() {
    PENDING.begin_with_none();
}

/// At the end of the process: does what is pending of at least this priority.
#[inline(always)]
pub(super) fn run_pending(least: i32) {
    if !PENDING.is_new() {
        run_all(least);
    }
}

fn run_all(least: i32) {
    loop {
        // Under no lock: what is done may make and run others.
        let next = {
            let Some(mut pending) = PENDING.lock_if_any() else { return };
            let order = |i: &usize| pending[*i].priority;
            // Of several, `max_by_key` gives the last.
            let next = (0..pending.len()).filter(|i| order(i) >= Some(least)).max_by_key(order);
            next.map(|i| pending.remove(i))
        };
        let Some(entry) = next else { return };
        if let Some(work) = entry.take() {
            // The panic was told of; the others are to have their turn.
            let _ = catch_unwind(AssertUnwindSafe(work));
        }
    }
}
