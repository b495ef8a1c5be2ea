//! Telling by a descriptor what is told by words of shared memory.
//!
//! A descriptor belongs to the table of one process, so who changes a channel cannot ring the
//! descriptors of those who wait at it: it would have to be given each of them, and would have to
//! find a thing in the file system instead where it is no relative. It would pay a system call for
//! every change, and one that was killed before its call would leave a poller asleep. So the process
//! that *asks* for a descriptor does the work: a thread of its own sleeps on the words, as any
//! blocked operation does, with the same announcement in shared memory that costs wakers nothing where
//! nobody asks, and with the beacons of those who could die; and rings the descriptor of its own
//! process.
//!
//! The thread is started by the first who asks, and another one for every [`AT_ONCE`] things that are
//! watched at the same time. It sleeps while nothing is armed, handles no signals, and goes with its
//! process: killed together, they leave nothing but announcements, which the next wake takes down. A
//! forked child has no such thread, and none of these registrations: it asks for its own.
//!
//! A thing that is watched is *armed*, then *rung* once, and then left alone until it is armed again.

use super::source::{AT_ONCE, Round, Source};
use crate::sync::atomic::{AtomicU32, Ordering::SeqCst};
use crate::sync::futex;
use crate::sys::descriptor::{Bell, without_signals};
use crate::sys::fork;
use crate::sys::per_process::PerProcess;
use crate::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// The threads of this process that watch.
static SHARDS: PerProcess<Vec<Arc<Shard>>> = PerProcess::new();

const IDLE: u32 = 0;
const ARMED: u32 = 1;
const RUNG: u32 = 2;

/// Something that is watched.
#[derive(Debug)]
struct Entry {
    source: Box<dyn Source>,
    bell: Arc<Bell>,
    state: AtomicU32,
}

impl Entry {
    fn ring(&self) {
        if self.state.compare_exchange(ARMED, RUNG, SeqCst, SeqCst).is_ok() {
            self.bell.ring();
        }
    }
}

/// What one thread watches.
#[derive(Debug, Default)]
struct Shard {
    entries: Mutex<Vec<Arc<Entry>>>,
    /// Counts the changes of what is armed. The thread sleeps on it, too.
    changes: AtomicU32,
}

impl Shard {
    fn entries(&self) -> MutexGuard<'_, Vec<Arc<Entry>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.fetch_add(1, SeqCst);
        futex::wake(&self.changes, 1);
    }

    fn start() -> Result<Arc<Self>> {
        let shard = Arc::new(Shard::default());
        let theirs = shard.clone();
        let started = without_signals(|| {
            thread::Builder::new().name("commons-watch".to_owned()).spawn(move || theirs.watch())
        });
        started.map_err(|source| Error::Process { what: "the start of a thread", source })?;
        Ok(shard)
    }

    /// The thread: for ever.
    fn watch(&self) {
        loop {
            let token = self.changes.load(SeqCst);
            let armed: Vec<_> = self.armed();
            let mut round = Round::new(armed.iter().map(|entry| &*entry.source));
            while self.changes.load(SeqCst) == token {
                let mut rung = false;
                round.sleep(Some((&self.changes, token)), u64::MAX, |i| {
                    armed[i].ring();
                    rung = true;
                });
                if rung {
                    break;
                }
            }
        }
    }

    fn armed(&self) -> Vec<Arc<Entry>> {
        let entries = self.entries();
        entries.iter().filter(|entry| entry.state.load(SeqCst) == ARMED).cloned().collect()
    }
}

/// A registration of one thing. Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Watched {
    entry: Arc<Entry>,
    shard: Arc<Shard>,
    epoch: u32,
}

impl Watched {
    /// Registers a thing whose readiness is to ring `bell`. Not armed yet.
    ///
    /// # Errors
    /// [`Error::Process`] where no thread can be started, with the thing.
    pub(crate) fn new(
        source: Box<dyn Source>,
        bell: Arc<Bell>,
    ) -> std::result::Result<Self, (Box<dyn Source>, Error)> {
        let mut shards = SHARDS.lock();
        let shard = match shards.iter().find(|shard| shard.entries().len() < AT_ONCE) {
            Some(shard) => shard.clone(),
            None => match Shard::start() {
                Ok(shard) => {
                    shards.push(shard.clone());
                    shard
                }
                Err(error) => return Err((source, error)),
            },
        };
        let entry = Arc::new(Entry { source, bell, state: AtomicU32::new(IDLE) });
        // Nobody else adds while this has the list of shards.
        shard.entries().push(entry.clone());
        Ok(Watched { entry, shard, epoch: fork::epoch() })
    }

    pub(crate) fn source(&self) -> &dyn Source {
        &*self.entry.source
    }

    /// Whether this process registered it.
    pub(crate) fn is_ours(&self) -> bool {
        self.epoch == fork::epoch()
    }

    /// From now on its bell is rung once when the thing is ready.
    pub(crate) fn arm(&self) {
        if self.entry.state.swap(ARMED, SeqCst) != ARMED {
            self.shard.changed();
        }
    }

    /// The bell is not rung for it any more, but where that is just being done. Says whether it was.
    pub(crate) fn disarm(&self) -> bool {
        self.entry.state.swap(IDLE, SeqCst) == RUNG
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // The parent's thread, and its lock, are not this process's.
        if self.is_ours() {
            self.shard.entries().retain(|entry| !Arc::ptr_eq(entry, &self.entry));
            self.shard.changed();
        }
    }
}
