//! Waiting for many things at once: channels, events, processes, descriptors.

mod readiness;
mod waitable;

pub use readiness::Readiness;
pub use waitable::{Waitable, wait_any};

use crate::lock::Event;
use crate::sys::descriptor::{self, Bell, Until};
use crate::sys::{fork, time};
use crate::wait::{
    AT_ONCE, NEVER, Readable, Source, WaitStrategy, Watched, Writable, wait_for_any,
};
use crate::{Error, Result};
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A set of things, of which one wait finds one that is ready.
///
/// *Ready* is a thing whose operation would not wait: a receiving end with a message or whose other
/// ends are gone, a sending end with space or whose other ends are gone, an event that is set or was
/// set while it was waited for, a process that has ended, a descriptor that is readable or at its end.
/// A wait takes nothing: do the operation, in its `try_` form where others could be faster. What is
/// ready stays so until somebody has taken it.
///
/// The set borrows descriptors and processes, and nothing else: ends may be used between two waits
/// while they are in it. It can be used again and again. Of several things that are ready, the next in
/// turn behind the last one found comes first, so none can starve the others.
///
/// # How it waits
/// Up to 63 channels and events are one sleep of the calling thread on their words
/// (`futex_waitv`). With a descriptor or a process among them, or more of them, they are watched by a
/// thread of the crate that is started then (see [`Readiness`]), and the caller sleeps in `poll`.
///
/// # When a process dies
/// A channel whose other end was the dead one's is ready: its operation tells. Where nobody is
/// expected to come, as at an event, nothing ends the wait but a deadline.
///
/// # Forks
/// A set in a forked child is a copy that answers [`Error::Forked`]; make another.
///
/// # Examples
/// ```
/// use commons::{Event, Process, Reset, Select, queue, spsc};
///
/// let (mut producer, mut consumer) = spsc::ring::<u64>(8)?;
/// let (sender, receiver) = queue::bounded::<u64>(8)?;
/// let stop = Event::new(Reset::Manual)?;
/// let theirs = stop.clone();
/// let child = Process::spawn(move || {
///     producer.push(1).expect("the parent receives");
///     sender.send(2).expect("the parent receives");
///     theirs.set().expect("nothing forks");
/// })?;
///
/// let mut select = Select::new();
/// let ring = select.recv(&consumer)?;
/// let queue = select.recv(&receiver)?;
/// let stopped = select.event(&stop)?;
/// let mut sum = 0;
/// while sum < 3 {
///     let ready = select.wait()?;
///     if ready == ring {
///         sum += consumer.try_pop().unwrap_or(0);
///     } else if ready == queue {
///         sum += receiver.try_recv().unwrap_or(0);
///     } else {
///         assert_eq!(ready, stopped);
///     }
/// }
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Select<'a> {
    entries: Vec<Entry<'a>>,
    /// Where the next look begins.
    next: usize,
    strategy: WaitStrategy,
    /// What rings when a source is ready, once that was needed.
    bell: Option<Arc<Bell>>,
    epoch: u32,
}

/// One thing.
enum Entry<'a> {
    Source(Box<dyn Source>),
    /// The same, registered with the thread that watches.
    Watched(Watched),
    Fd(BorrowedFd<'a>, Until),
}

impl Entry<'_> {
    fn source(&self) -> Option<&dyn Source> {
        match self {
            Entry::Source(source) => Some(&**source),
            Entry::Watched(watched) => Some(watched.source()),
            Entry::Fd(..) => None,
        }
    }
}

impl fmt::Debug for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Source(source) => source.fmt(f),
            Entry::Watched(watched) => watched.source().fmt(f),
            Entry::Fd(fd, until) => f.debug_tuple("Fd").field(fd).field(until).finish(),
        }
    }
}

impl Default for Select<'_> {
    fn default() -> Self {
        Select::new()
    }
}

impl<'a> Select<'a> {
    /// Nothing yet.
    pub fn new() -> Self {
        Select {
            entries: Vec::new(),
            next: 0,
            strategy: WaitStrategy::default(),
            bell: None,
            epoch: fork::epoch(),
        }
    }

    /// Adds a receiving end, to be ready when there is a message or nobody who could send one, and
    /// gives its index.
    ///
    /// # Errors
    /// [`Error::Closed`] of a handle that was closed; [`Error::Forked`]; [`Error::Corrupted`].
    pub fn recv(&mut self, end: &(impl Readable + ?Sized)) -> Result<usize> {
        let source = end.read_source()?;
        Ok(self.add(Entry::Source(source)))
    }

    /// Adds a sending end, to be ready when there is space or nobody who would receive, and gives its
    /// index.
    ///
    /// # Errors
    /// As [`Select::recv`].
    pub fn send(&mut self, end: &(impl Writable + ?Sized)) -> Result<usize> {
        let source = end.write_source()?;
        Ok(self.add(Entry::Source(source)))
    }

    /// Adds an event, to be ready when it is set, and gives its index.
    ///
    /// # Errors
    /// [`Error::Forked`].
    pub fn event(&mut self, event: &Event) -> Result<usize> {
        self.recv(event)
    }

    /// Adds a descriptor, to be ready when it is readable or at its end, and gives its index: a
    /// socket, a pipe, or a [`Process`](crate::Process), which is ready when it has ended.
    pub fn fd(&mut self, fd: &'a (impl AsFd + ?Sized)) -> usize {
        self.add(Entry::Fd(fd.as_fd(), Until::Readable))
    }

    /// Adds a descriptor, to be ready when it is writable or broken, and gives its index.
    pub fn fd_writable(&mut self, fd: &'a (impl AsFd + ?Sized)) -> usize {
        self.add(Entry::Fd(fd.as_fd(), Until::Writable))
    }

    fn add(&mut self, entry: Entry<'a>) -> usize {
        self.entries.push(entry);
        self.entries.len() - 1
    }

    /// How many things are in it.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How its waits wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.strategy
    }

    /// Sets how its waits wait. [`WaitStrategy::Spin`] waits as [`WaitStrategy::SpinThenPark`] does.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }

    /// Waits until one thing is ready, and gives its index.
    ///
    /// # Errors
    /// [`Error::Zero`] where nothing is in the set; [`Error::Forked`]; [`Error::Os`] for a descriptor
    /// that is not open; [`Error::Process`] where the thread that watches cannot be started.
    ///
    /// # Blocking
    /// Until something is ready.
    pub fn wait(&mut self) -> Result<usize> {
        loop {
            if let Some(index) = self.wait_until(NEVER)? {
                return Ok(index);
            }
        }
    }

    /// The same for at most `timeout`. `None`: nothing was ready.
    ///
    /// # Errors
    /// As [`Select::wait`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<usize>> {
        self.wait_until(time::after(timeout))
    }

    /// The same until `deadline` at most. `None`: nothing was ready.
    ///
    /// # Errors
    /// As [`Select::wait`].
    pub fn wait_deadline(&mut self, deadline: Instant) -> Result<Option<usize>> {
        self.wait_until(time::at(deadline))
    }

    /// The next thing in turn that is ready, if there is one. Never waits.
    ///
    /// # Errors
    /// As [`Select::wait`].
    pub fn try_wait(&mut self) -> Result<Option<usize>> {
        self.check()?;
        let ready = self.look()?;
        Ok(self.take_turn(&ready))
    }

    /// All things that are ready, in the order in which they were added. Never waits.
    ///
    /// # Errors
    /// As [`Select::wait`].
    pub fn ready(&mut self) -> Result<Vec<usize>> {
        self.check()?;
        let ready = self.look()?;
        Ok((0..ready.len()).filter(|&i| ready[i]).collect())
    }

    fn check(&self) -> Result<()> {
        if self.epoch != fork::epoch() {
            return Err(Error::Forked);
        }
        if self.is_empty() {
            return Err(Error::Zero { what: "a number of things to wait for" });
        }
        Ok(())
    }

    fn sources(&self) -> impl Iterator<Item = &dyn Source> {
        self.entries.iter().filter_map(Entry::source)
    }

    /// For each thing whether it is ready.
    fn look(&self) -> Result<Vec<bool>> {
        let fds = self.fds();
        let mut polled = poll(&fds, 0)?.into_iter();
        let ready = self.entries.iter().map(|entry| match entry.source() {
            Some(source) => source.is_ready(),
            None => polled.next().unwrap_or(false),
        });
        Ok(ready.collect())
    }

    fn fds(&self) -> Vec<(BorrowedFd<'_>, Until)> {
        let fds = self.entries.iter().filter_map(|entry| match entry {
            Entry::Fd(fd, until) => Some((*fd, *until)),
            _ => None,
        });
        fds.collect()
    }

    /// The next in turn that is ready.
    fn take_turn(&mut self, ready: &[bool]) -> Option<usize> {
        let count = ready.len();
        let found = (0..count).map(|i| (self.next + i) % count).find(|&i| ready[i])?;
        self.next = found + 1;
        Some(found)
    }

    fn wait_until(&mut self, deadline: u64) -> Result<Option<usize>> {
        self.check()?;
        self.sources().for_each(|source| source.begin());
        loop {
            let ready = self.look()?;
            if let Some(index) = self.take_turn(&ready) {
                return Ok(Some(index));
            }
            if time::now() >= deadline {
                return Ok(None);
            }
            let fds = self.entries.iter().filter(|entry| matches!(entry, Entry::Fd(..))).count();
            if fds == 0 && self.len() <= AT_ONCE {
                let sources: Vec<_> = self.sources().collect();
                let ready = wait_for_any(&sources, self.strategy, deadline);
                return Ok(ready.and_then(|ready| self.take_turn(&ready)));
            } else if let Some(index) = self.poll_with_sources(deadline)? {
                return Ok(Some(index));
            }
        }
    }

    /// One sleep in `poll`, for whatever rings first.
    fn poll_with_sources(&mut self, deadline: u64) -> Result<Option<usize>> {
        let bell = self.watched()?;
        bell.still();
        for entry in &self.entries {
            if let Entry::Watched(watched) = entry {
                watched.arm();
            }
        }
        let mut fds = self.fds();
        fds.push((bell.as_fd(), Until::Readable));
        let polled = poll(&fds, deadline);
        drop(fds);
        let mut polled = polled?.into_iter();
        let ready: Vec<_> = self
            .entries
            .iter()
            .map(|entry| match entry {
                Entry::Watched(watched) => watched.disarm() || watched.source().has(),
                _ => polled.next().unwrap_or(false),
            })
            .collect();
        Ok(self.take_turn(&ready))
    }

    /// Registers all sources with the thread that watches, and gives what it rings.
    fn watched(&mut self) -> Result<Arc<Bell>> {
        let bell = match &self.bell {
            Some(bell) => bell.clone(),
            None => Arc::new(Bell::new().map_err(Error::os("eventfd", "a wait"))?),
        };
        self.bell = Some(bell.clone());
        let entries = std::mem::take(&mut self.entries);
        let mut failure = None;
        for entry in entries {
            self.entries.push(match entry {
                Entry::Source(source) if failure.is_none() => {
                    match Watched::new(source, bell.clone()) {
                        Ok(watched) => Entry::Watched(watched),
                        Err((source, error)) => {
                            failure = Some(error);
                            Entry::Source(source)
                        }
                    }
                }
                other => other,
            });
        }
        failure.map_or(Ok(bell), Err)
    }
}

fn poll(fds: &[(BorrowedFd<'_>, Until)], deadline: u64) -> Result<Vec<bool>> {
    if fds.is_empty() {
        return Ok(Vec::new());
    }
    descriptor::poll(fds, deadline).map_err(Error::os("poll", "the descriptors of a wait"))
}
