//! This process's place in the table of one segment.

use super::claim::pause;
use super::{PlaceTaken, Stamp, Table};
use crate::Result;
use crate::segment::{Geometry, Mapping, block_at};
use crate::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use crate::sync::local::AtomicU32;
use crate::sys::fork::{self, PrivateDescriptor};
use crate::sys::{process, time};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A place in the table that this process has, for as long as this value lives.
///
/// In a forked child the copy of its parent's membership is inert: it belongs to another
/// [epoch](fork).
#[derive(Debug)]
pub(crate) struct Membership {
    mapping: Arc<Mapping>,
    geometry: Geometry,
    stamp: Stamp,
    epoch: u32,
    /// Closing it ends the membership.
    _lock: PrivateDescriptor,
    /// 1: some thread has the beacon in its list.
    pub(super) armed: AtomicU32,
    /// 1: nobody needs this place any more, but a thread still has the beacon in its list.
    pub(super) retired: AtomicU32,
    books: Mutex<Books>,
    /// 1: a thread of this process has its turn.
    turn: AtomicU32,
}

/// The turn of one thread of this process, for as long as this value lives.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    word: &'a AtomicU32,
}

impl Drop for Turn<'_> {
    #[inline]
    fn drop(&mut self) {
        // Release: what was done in it, to the Acquire of the next thread.
        self.word.store(0, Release);
    }
}

/// How often a thread yields before it sleeps between two looks at whose turn it is.
const LONG_TURN: u32 = 1000;

/// What this process holds in the segment.
#[derive(Debug, Default)]
struct Books {
    /// Handles by block.
    held: HashMap<u64, usize>,
    /// Blocks whose last handle in this process went, and which may be free to use again.
    let_go: Vec<u64>,
}

impl Membership {
    /// Takes a place.
    pub(crate) fn join(mapping: &Arc<Mapping>, geometry: &Geometry) -> Result<Self> {
        let place = Table::of(mapping, geometry)?.take_place(geometry)?;
        Ok(Self::settle(mapping, geometry, place))
    }

    /// Makes a place that was taken for this process its own.
    pub(crate) fn settle(mapping: &Arc<Mapping>, geometry: &Geometry, place: PlaceTaken) -> Self {
        let membership = Membership {
            mapping: mapping.clone(),
            geometry: *geometry,
            stamp: place.stamp,
            epoch: fork::epoch(),
            _lock: place.lock,
            armed: AtomicU32::new(0),
            retired: AtomicU32::new(0),
            books: Mutex::default(),
            turn: AtomicU32::new(0),
        };
        let pid = std::process::id();
        let entry = membership.entry();
        entry.namespace.store(process::pid_namespace(), Relaxed);
        entry.ran_at.store(time::ticks(), Relaxed);
        // Release: who reads the id finds what goes with it.
        entry.pid.store(pid, Release);
        membership
    }

    pub(crate) fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// The fork epoch in which this process took the place.
    pub(crate) fn epoch(&self) -> u32 {
        self.epoch
    }

    pub(super) fn is_current(&self) -> bool {
        self.epoch == fork::epoch()
    }

    pub(super) fn entry(&self) -> &super::Participant {
        let table = Table::of(&self.mapping, &self.geometry);
        let entry = table.ok().and_then(|table| table.entry(self.stamp.index));
        entry.expect("the table was there when the place was taken, and mappings do not shrink")
    }

    /// The turn of one thread of this process among the others.
    #[inline]
    pub(crate) fn turn(&self) -> Turn<'_> {
        let mut rounds = 0u32;
        // Acquire: pairs with the Release of the thread before.
        while self.turn.compare_exchange(0, 1, Acquire, Relaxed).is_err() {
            rounds += 1;
            if rounds < LONG_TURN { process::yield_now() } else { pause() }
        }
        Turn { word: &self.turn }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes one more handle to the object in a block. The caller has the heap's claim, or knows
    /// that the block is held for it.
    pub(crate) fn hold(&self, block: u64) -> Result<()> {
        let mut books = self.books();
        let count = books.held.entry(block).or_default();
        if *count == 0 {
            block_at(&self.mapping, block)?.hold(self.stamp.index);
        }
        *count += 1;
        Ok(())
    }

    /// Notes one handle less.
    pub(crate) fn release(&self, block: u64) {
        let mut books = self.books();
        let left = books.held.get_mut(&block).map(|count| {
            *count -= 1;
            *count
        });
        if left.is_none_or(|left| left == 0) {
            books.held.remove(&block);
            if let Ok(head) = block_at(&self.mapping, block) {
                head.release(self.stamp.index);
                books.let_go.push(block);
            }
        }
    }

    /// The blocks that this process let go since the last call.
    pub(crate) fn take_let_go(&self) -> Vec<u64> {
        std::mem::take(&mut self.books().let_go)
    }

    /// Puts back what [`Membership::take_let_go`] gave and was of no use yet.
    pub(crate) fn put_let_go(&self, blocks: impl IntoIterator<Item = u64>) {
        self.books().let_go.extend(blocks);
    }
}

impl Membership {
    /// Leaves the place in order, at the end of a process that runs no destructors, unless it still
    /// has something in the segment: that is then what a dead one has.
    pub(crate) fn leave_if_idle(&self) {
        if self.is_current() && self.books().held.is_empty() {
            self.entry().pid.store(0, Release);
        }
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if self.is_current() {
            self.entry().pid.store(0, Release);
        }
    }
}
