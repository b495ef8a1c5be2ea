//! The table of participants: taking a place, giving it back, and asking whether a stamp lives.
//!
//! For every stamp there is one byte far beyond the end of the segment's file. A participant locks
//! the byte of its stamp through an open file description that only it has, so the kernel drops the
//! lock when it is gone, whatever ended it, in whichever pid namespace it lived, and before its id
//! can be used again. The lock falls after the address space is freed (`exit_files` follows
//! `exit_mm`), so who finds it fallen knows that nothing the dead process wrote is still to come.
//!
//! To take a place: read its generation *g*; if the byte of *g* is free, lock the byte of *g* + 1,
//! read the generation again (it changed: somebody was faster, try elsewhere), sweep what the old
//! tenant left, store *g* + 1. Killed anywhere on the way, the lock falls and the next one repeats
//! it.

#![allow(unsafe_code, reason = "marks a type made of atomics")]

use super::Stamp;
use crate::segment::{Geometry, Header, Mapping, Shared, for_each_block};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sys::fork::PrivateDescriptor;
use crate::sys::{self, file, ofd, robust::RobustWord};
use crate::{Error, Result};
use std::os::fd::AsFd;

/// How many processes can be attached to a segment at the same time.
pub(crate) const PARTICIPANTS: u32 = 1024;

/// One place.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Participant {
    /// The current or last tenant. Written by who takes the place.
    pub(crate) generation: AtomicU32,
    /// The tenant's process id; 0: it left in order, or has not said yet. Written by the tenant.
    pub(crate) pid: AtomicU32,
    /// The pid namespace that the id is counted in. Written by the tenant.
    pub(crate) namespace: AtomicU64,
    /// A moment at which it ran already, in clock ticks since boot: who has its id and started later is
    /// another. Written by the tenant.
    pub(crate) ran_at: AtomicU64,
    /// The tenant's beacon: see [`super::beacon`].
    pub(crate) beacon: RobustWord,
}

// SAFETY: made of atomics.
unsafe impl Shared for Participant {}

/// The byte of a stamp: beyond the end of any file that fits into memory.
fn byte(stamp: Stamp) -> u64 {
    (1 << 60) + (u64::from(stamp.index) << 32 | u64::from(stamp.generation))
}

/// A place that is taken: its lock lives as long as the description behind `lock`.
#[derive(Debug)]
pub(crate) struct PlaceTaken {
    pub(crate) stamp: Stamp,
    pub(crate) lock: PrivateDescriptor,
}

/// The table of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Table<'a> {
    mapping: &'a Mapping,
    entries: &'a [Participant],
}

impl<'a> Table<'a> {
    pub(crate) fn of(mapping: &'a Mapping, geometry: &Geometry) -> Result<Self> {
        let entries = mapping.slice(geometry.table, u64::from(PARTICIPANTS))?;
        Ok(Table { mapping, entries })
    }

    /// The place of a stamp. A stamp read from shared memory may lead nowhere.
    pub(crate) fn entry(&self, index: u16) -> Option<&'a Participant> {
        self.entries.get(usize::from(index))
    }

    /// The stamp of every place that was ever taken.
    pub(crate) fn stamps(&self) -> impl Iterator<Item = (Stamp, &'a Participant)> {
        (0u16..).zip(self.entries).filter_map(|(index, entry)| {
            let generation = entry.generation.load(Acquire);
            (generation != 0).then_some((Stamp { index, generation }, entry))
        })
    }

    /// Takes a place for the caller's process, or for a child it is about to fork.
    pub(crate) fn take_place(&self, geometry: &Geometry) -> Result<PlaceTaken> {
        let name = self.mapping.name();
        let lock = PrivateDescriptor::open(|| file::reopen(self.mapping.file()));
        let lock = lock.map_err(Error::os("open", name))?;
        let header: &Header = self.mapping.at(0)?;
        // Relaxed: a hint that spreads the tenants.
        let first = header.next_place.fetch_add(1, Relaxed) % u64::from(PARTICIPANTS);
        for i in 0..u64::from(PARTICIPANTS) {
            let index = ((first + i) % u64::from(PARTICIPANTS)) as u16;
            let entry = &self.entries[usize::from(index)];
            let old = entry.generation.load(Acquire);
            let Some(generation) = old.checked_add(1) else { continue };
            if self.holds_lock(Stamp { index, generation: old })? {
                continue;
            }
            let stamp = Stamp { index, generation };
            let locked = ofd::try_lock(lock.as_fd(), byte(stamp));
            if !locked.map_err(Error::os("fcntl(F_OFD_SETLK)", name))? {
                continue;
            }
            if entry.generation.load(Acquire) != old {
                ofd::unlock(lock.as_fd(), byte(stamp)).map_err(Error::os("fcntl", name))?;
                continue;
            }
            for_each_block(self.mapping, geometry, |block, _, _| {
                block.release(index);
                true
            })?;
            entry.pid.store(0, Relaxed);
            entry.namespace.store(0, Relaxed);
            entry.ran_at.store(0, Relaxed);
            entry.beacon.word.store(0, Relaxed);
            // Release: the swept place, to the Acquire of whoever meets the new stamp.
            entry.generation.store(generation, Release);
            return Ok(PlaceTaken { stamp, lock });
        }
        Err(Error::TableFull { name: name.to_owned(), capacity: PARTICIPANTS })
    }

    /// Whether a process other than the caller's holds the byte of a stamp. (The caller's own reads
    /// as held too: questions go through a description that holds no locks.)
    pub(crate) fn holds_lock(&self, stamp: Stamp) -> Result<bool> {
        ofd::is_locked(self.mapping.file(), byte(stamp))
            .map_err(Error::os("fcntl(F_OFD_GETLK)", self.mapping.name()))
    }

    /// Whether the process of a stamp is gone for good: exact, and the base of every takeover.
    pub(crate) fn is_gone(&self, stamp: Stamp) -> Result<bool> {
        let Some(entry) = self.entry(stamp.index) else {
            return Err(self.mapping.corrupted("a stamp names no place in the table"));
        };
        Ok(entry.generation.load(Acquire) != stamp.generation || !self.holds_lock(stamp)?)
    }

    /// Whether the process of a stamp runs no more user code: told sooner than [`Table::is_gone`]
    /// while the kernel still frees its memory.
    pub(crate) fn runs_no_more(&self, stamp: Stamp) -> Result<bool> {
        if self.is_gone(stamp)? {
            return Ok(true);
        }
        let Some(entry) = self.entry(stamp.index) else { return Ok(true) };
        let pid = entry.pid.load(Relaxed);
        Ok(pid != 0
            && entry.namespace.load(Relaxed) == sys::process::pid_namespace()
            && sys::task::runs_no_more(pid, entry.ran_at.load(Relaxed)))
    }

    /// The process id of a stamp as its own pid namespace counts; `None`: unknown by now.
    pub(crate) fn pid(&self, stamp: Stamp) -> Option<u32> {
        let entry = self.entry(stamp.index)?;
        let pid = entry.pid.load(Relaxed);
        (pid != 0 && entry.generation.load(Acquire) == stamp.generation).then_some(pid)
    }
}
