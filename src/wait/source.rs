//! What many things can be waited for at once by: each says where to sleep for its sake, and what it
//! means that somebody is gone.

use super::block::{Asleep, give_way};
use super::{SLICE, WaitStrategy};
use crate::Result;
use crate::member::Doubt;
use crate::sync::atomic::AtomicU32;
use crate::sync::{barrier, clock, futex};
use std::fmt;

/// The most sources that one sleep can watch, with two words each and one of the sleeper's own.
pub(crate) const AT_ONCE: usize = (futex::WORDS - 1) / 2;
/// Longest sleep, in nanoseconds, where the barrier does not reach the wakers.
const SLICE_WITHOUT_BARRIER: u64 = 5_000_000;

/// Something that can be waited for beside others. It keeps what it looks at mapped, and changes
/// nothing by being looked at.
pub(crate) trait Source: Send + Sync + fmt::Debug {
    /// A wait begins.
    fn begin(&self) {}

    /// Whether there is something, by the state alone.
    fn has(&self) -> bool;

    /// Whether there is something, or nobody who could bring it: an operation would not wait.
    fn is_ready(&self) -> bool;

    /// Says that the caller is about to sleep, and gives the word to sleep on with its value; `None`:
    /// it has changed just now.
    fn announce(&self) -> Option<(&AtomicU32, u32)>;

    /// After that and a heavy barrier, where there is nothing: how to sleep besides; `None`: who could
    /// bring something is gone.
    fn peer(&self, timed_out: bool, doubt: &mut Doubt) -> Option<Asleep<'_>>;

    /// The sleeper was woken on this source's word, or (`other`) on the one besides: perhaps in place of
    /// somebody who would use what there is. Where two words were woken at the same time, one of them is
    /// not told of; so who is woken on the word alone must not pass on what is of no use, or two such
    /// sleepers would wake each other for ever.
    fn pass_on(&self, other: bool) {
        let _ = other;
    }
}

/// One sleeper's sources, and what it remembers of each.
#[derive(Debug)]
pub(crate) struct Round<'a> {
    sources: Vec<(&'a dyn Source, Doubt)>,
    timed_out: bool,
}

impl<'a> Round<'a> {
    /// A wait for any of these begins.
    pub(crate) fn new(sources: impl IntoIterator<Item = &'a dyn Source>) -> Self {
        let sources = sources.into_iter().map(|source| (source, Doubt::default())).collect();
        Round { sources, timed_out: false }
    }

    /// Sleeps until there may be something, or `own` is woken, or `deadline`: once. Calls `ready` with
    /// the number of each source that is ready, and does not sleep if there is one.
    ///
    /// # Panics
    /// With more than [`AT_ONCE`] sources, or with nothing to sleep on.
    pub(crate) fn sleep(
        &mut self,
        own: Option<(&AtomicU32, u32)>,
        deadline: u64,
        mut ready: impl FnMut(usize),
    ) {
        let announced: Vec<_> = self.sources.iter().map(|(source, _)| source.announce()).collect();
        let reached = barrier::heavy();
        let mut slice = if reached { SLICE } else { SLICE_WITHOUT_BARRIER };
        let mut words: Vec<_> = own.into_iter().collect();
        // Behind which words those of each source are.
        let mut firsts = Vec::with_capacity(self.sources.len());
        let mut again = false;
        for (i, ((source, doubt), announced)) in self.sources.iter_mut().zip(announced).enumerate()
        {
            firsts.push(words.len());
            let source = *source;
            let asleep = if source.has() { None } else { source.peer(self.timed_out, doubt) };
            match (asleep, announced) {
                (None, _) => {
                    ready(i);
                    again = true;
                }
                (Some(_), None) => again = true,
                (Some(asleep), Some(word)) => {
                    words.push(word);
                    words.extend(asleep.other);
                    slice = slice.min(asleep.slice);
                }
            }
        }
        self.timed_out = false;
        if again {
            return;
        }
        let now = clock::now();
        let until = if self.sources.is_empty() { u64::MAX } else { now.saturating_add(slice) };
        let woken = futex::wait_any(&words, Some(until.min(deadline)));
        if let Some(woken) = woken
            && let Some(i) = firsts.iter().rposition(|&first| first <= woken)
        {
            self.sources[i].0.pass_on(woken > firsts[i]);
        }
        self.timed_out = clock::now() >= until;
    }
}

/// Waits until one of the sources is ready, at most [`AT_ONCE`], and says for each whether it is.
/// `None`: `deadline` passed first.
pub(crate) fn wait_for_any(
    sources: &[&dyn Source],
    strategy: WaitStrategy,
    deadline: u64,
) -> Option<Vec<bool>> {
    let look = || {
        let first = sources.iter().position(|source| source.has())?;
        let rest = sources[first + 1..].iter().map(|source| source.has());
        Some(std::iter::repeat_n(false, first).chain([true]).chain(rest).collect())
    };
    if strategy != WaitStrategy::Park
        && let Some(ready) = give_way(look, deadline)
    {
        return Some(ready);
    }
    let mut round = Round::new(sources.iter().copied());
    loop {
        let mut ready = vec![false; sources.len()];
        round.sleep(None, deadline, |i| ready[i] = true);
        if ready.contains(&true) {
            return Some(ready);
        }
        if clock::now() >= deadline {
            return look();
        }
    }
}

/// What is not part of the public interface of [`Readable`].
pub(crate) trait ReadSource {
    /// How to wait for something to receive. Does not count as an end.
    fn read_source(&self) -> Result<Box<dyn Source>>;
}

/// What is not part of the public interface of [`Writable`].
pub(crate) trait WriteSource {
    /// How to wait for space to send. Does not count as an end.
    fn write_source(&self) -> Result<Box<dyn Source>>;
}

/// Handles that something is received by, or waited for at: receiving ends of channels, and events.
///
/// Ready is one whose operation would not wait: there is a message, or the other end is gone. The
/// trait is implemented by the types of this crate alone.
#[allow(private_bounds, reason = "only the crate implements it")]
pub trait Readable: ReadSource {}

/// Handles that something is sent by.
///
/// Ready is one whose operation would not wait: there is space, or the other end is gone. The trait is
/// implemented by the types of this crate alone.
#[allow(private_bounds, reason = "only the crate implements it")]
pub trait Writable: WriteSource {}

impl<T: ReadSource> Readable for T {}
impl<T: WriteSource> Writable for T {}
