//! Handing what this process holds to a child it starts.
//!
//! The parent takes a place for the child in the table of every segment in which it has handles,
//! before the fork: so the child has a stamp, held by the kernel,
//! from its first instruction. After the fork the parent drops its copy of the child's closure in
//! *transfer mode*: each handle in it, instead of giving its claim back, writes the child's stamp
//! where its own was. Only then is the child let go.
//!
//! A child makes its places its own before it runs anything, but for those in segments without a name
//! where it was handed nothing: these it has, and makes its own with its first use of the segment
//! ([`settle_put_off`]). Most children are handed nothing, and have better things to do.
//!
//! To a process that runs already, handles go the other way round: it makes them first, with a hold and
//! a count of its own, and then the giver drops its own, of which only the roles are handed over.

#![allow(unsafe_code, reason = "places that were put off are behind an atomic pointer")]

use super::{Core, for_each_block};
use crate::member::{PARTICIPANTS, PlaceTaken, Stamp};
use crate::sync::local::{AtomicPtr, AtomicU32, Ordering};
use crate::sys::fork::{self, PrivateDescriptor};
use crate::sys::per_process::PerProcess;
use crate::{Error, Result};
use std::cell::{Cell, RefCell};
#[cfg(feature = "serde")]
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

/// The segments in which this process may have handles.
static KNOWN: PerProcess<Vec<Weak<Core>>> = PerProcess::new();

/// The places of this process that it has not made its own yet, and the epoch that they are of.
static PUT_OFF: AtomicPtr<Prepared> = AtomicPtr::new(core::ptr::null_mut());
static PUT_OFF_IN: AtomicU32 = AtomicU32::new(0);
/// Held by the thread that makes them so.
static SETTLING: PerProcess<()> = PerProcess::new();

/// Makes places that were put off this process's own.
pub(super) fn settle_put_off() {
    // Acquire: pairs with the Release below, after which the places are there.
    let is_none = || PUT_OFF.load(Ordering::Acquire).is_null();
    // Relaxed: written by the first thread of a process, before it has others.
    if is_none() || PUT_OFF_IN.load(Ordering::Relaxed) != fork::epoch() {
        return;
    }
    let _settling = SETTLING.lock();
    if !is_none() {
        // SAFETY: leaked by `settle_where_seen`, in this process, and reached under the lock alone.
        let places = unsafe { &mut *PUT_OFF.load(Ordering::Relaxed) };
        places.settle();
        // Only now: who finds none put off takes a place of its own.
        PUT_OFF.store(core::ptr::null_mut(), Ordering::Release);
    }
}

/// Notes a segment in which this process has handles.
pub(super) fn register(core: &Arc<Core>) {
    let mut cores = KNOWN.lock();
    cores.retain(|known| known.upgrade().is_some_and(|known| !Arc::ptr_eq(&known, core)));
    cores.push(Arc::downgrade(core));
}

/// At the end of a child that runs no destructors: leaves the segments in which it has nothing.
#[inline(always)]
pub(crate) fn leave_all() {
    if !KNOWN.is_new() {
        leave_known();
    }
}

fn leave_known() {
    let Some(known) = KNOWN.lock_if_any() else { return };
    for core in known.iter().filter_map(Weak::upgrade) {
        if let Some(membership) = core.membership_if_any() {
            membership.leave_if_idle();
        }
    }
}

/// The places that are taken for a child.
#[derive(Debug)]
pub(crate) struct Prepared {
    cores: Vec<(Arc<Core>, Stamp)>,
    /// Those in which there was no place.
    full: Vec<Arc<Core>>,
    locks: Vec<PrivateDescriptor>,
    /// The child's epoch, where it is forked.
    epoch: u32,
}

impl Prepared {
    fn none() -> Self {
        let (cores, full, locks) = (Vec::new(), Vec::new(), Vec::new());
        Prepared { cores, full, locks, epoch: fork::epoch_of_child() }
    }

    /// Takes a place for one child in every segment with a name in which this process has handles, and,
    /// if the child may be given a handle, in every other one in which it has any.
    pub(crate) fn new(may_be_given: bool) -> Result<Self> {
        Self::none().and_where_used(may_be_given)
    }

    /// Takes a place for one child in `always` and in every segment in which this process has handles.
    #[cfg(feature = "serde")]
    pub(crate) fn with(always: &Arc<Core>) -> Result<Self> {
        let mut prepared = Prepared::none();
        prepared.add(always.clone())?;
        prepared.and_where_used(true)
    }

    fn and_where_used(mut self, everywhere: bool) -> Result<Self> {
        let first = self.cores.first().map(|(core, _)| core.clone());
        let is_first = |core: &Arc<Core>| first.as_ref().is_some_and(|f| Arc::ptr_eq(f, core));
        let used = |core: &Arc<Core>| core.has_handles() && (everywhere || core.is_named());
        for core in known().into_iter().filter(|core| used(core) && !is_first(core)) {
            match self.add(core.clone()) {
                // It matters if the child is given anything there.
                Err(Error::TableFull { .. }) => self.full.push(core),
                other => other?,
            }
        }
        Ok(self)
    }

    /// Takes a place for one child in each of these segments, and in no other.
    #[cfg(feature = "serde")]
    pub(crate) fn among(cores: Vec<Arc<Core>>) -> Result<Self> {
        let mut prepared = Prepared::none();
        cores.into_iter().try_for_each(|core| prepared.add(core))?;
        Ok(prepared)
    }

    fn add(&mut self, core: Arc<Core>) -> Result<()> {
        let PlaceTaken { stamp, lock } = core.table()?.take_place(core.geometry())?;
        self.cores.push((core, stamp));
        self.locks.push(lock);
        Ok(())
    }

    /// The segments, and the child's stamp in each.
    #[cfg(feature = "serde")]
    pub(crate) fn cores(&self) -> &[(Arc<Core>, Stamp)] {
        &self.cores
    }

    /// In a child that inherited nothing but descriptors: the places that its parent took for it, each
    /// with the descriptor that locks it.
    #[cfg(feature = "serde")]
    pub(crate) fn inherited(places: Vec<(Arc<Core>, Stamp, OwnedFd)>) -> Result<Self> {
        let mut prepared = Prepared::none();
        for (core, stamp, lock) in places {
            let lock = PrivateDescriptor::open(|| Ok(lock));
            prepared.locks.push(lock.map_err(Error::os("dup", core.name()))?);
            prepared.cores.push((core, stamp));
        }
        Ok(prepared)
    }

    /// The child's stamp in the segment that a place is always taken in.
    #[cfg(feature = "serde")]
    pub(crate) fn stamp(&self) -> Stamp {
        self.cores[0].1
    }

    /// The descriptors that the child keeps.
    pub(crate) fn locks(&self) -> &[PrivateDescriptor] {
        &self.locks
    }

    /// In the child: makes the places its own.
    pub(crate) fn settle(&mut self) {
        for ((core, stamp), mut lock) in self.cores.iter().zip(self.locks.drain(..)) {
            lock.adopt();
            core.register();
            core.settle(PlaceTaken { stamp: *stamp, lock });
        }
    }

    /// In a child that was handed something: makes all places its own.
    pub(crate) fn settle_down(mut self) {
        self.settle();
        self.prefault();
    }

    /// In a child that was handed nothing, before it has a second thread: makes the places in segments
    /// with a name its own, for others see who is there, and puts off the rest.
    #[inline]
    pub(crate) fn settle_where_seen(self) {
        KNOWN.begin_with_none();
        if self.cores.is_empty() {
            // There is nothing to free, and so no code to come to.
            std::mem::forget(self);
        } else {
            self.settle_or_put_off();
        }
    }

    fn settle_or_put_off(mut self) {
        let is_seen = |(core, _): &(Arc<Core>, Stamp)| core.is_named();
        while let Some(seen) = self.cores.iter().position(is_seen) {
            let places = vec![self.cores.swap_remove(seen)];
            let locks = vec![self.locks.swap_remove(seen)];
            Prepared { cores: places, full: Vec::new(), locks, epoch: self.epoch }.settle();
        }
        PUT_OFF_IN.store(self.epoch, Ordering::Relaxed);
        // Release: to the Acquire in `settle_put_off`. What was there is the parent's.
        PUT_OFF.store(Box::into_raw(Box::new(self)), Ordering::Release);
    }

    /// In the child, once it has been handed what it gets: maps the memory of that, which a fork
    /// leaves unmapped, so that no first use pays for it.
    pub(crate) fn prefault(self) {
        for (core, stamp) in self.cores {
            let (mapping, geometry) = (core.mapping(), core.geometry());
            // A damaged chain is found by who uses it.
            let _ = for_each_block(mapping, geometry, |block, place, _| {
                if block.is_held_by(stamp.index) {
                    mapping.prefault(place.payload, place.payload_size);
                }
                true
            });
        }
    }
}

/// To whom the calling thread is handing over.
struct Heirs {
    /// The segments, and the stamp of the one that gets it in each.
    stamps: Vec<(*const Core, Stamp)>,
    /// The segments in which it could have been given nothing.
    full: Vec<*const Core>,
    /// Whether holds and counts are handed over, too: to a child, which has none yet.
    everything: bool,
}

impl Heirs {
    const NONE: Heirs = Heirs { stamps: Vec::new(), full: Vec::new(), everything: false };
}

thread_local! {
    static HEIRS: RefCell<Heirs> = const { RefCell::new(Heirs::NONE) };
    /// Whether anything was handed over, and whether anything could not be.
    static HANDED: Cell<(bool, bool)> = const { Cell::new((false, false)) };
}

/// In the parent: drops `gift` so that what it holds becomes the child's, and says whether it held
/// anything. A panic of a destructor is given back.
///
/// # Errors
/// [`Error::TableFull`] where it held something in a segment in which there was no place for the child.
pub(crate) fn hand_over<G>(
    prepared: &Prepared,
    gift: G,
) -> (Result<bool>, std::thread::Result<()>) {
    let full = prepared.full.iter().map(Arc::as_ptr).collect();
    let ((handed, refused), result) = drop_for(&prepared.cores, full, true, gift);
    let refused = prepared.full.first().filter(|_| refused);
    let handed = refused.map_or(Ok(handed), |core| {
        Err(Error::TableFull { name: core.name().to_owned(), capacity: PARTICIPANTS })
    });
    (handed, result)
}

/// Drops `gift` so that the roles that it has become those of a process that has handles of its own to
/// the same objects already. A panic of a destructor is given back.
#[cfg(feature = "serde")]
pub(crate) fn hand_roles_over<G>(to: &[(Arc<Core>, Stamp)], gift: G) -> std::thread::Result<()> {
    drop_for(to, Vec::new(), false, gift).1
}

/// Says, too, whether there was anything to hand over, and whether anything could not be.
fn drop_for<G>(
    to: &[(Arc<Core>, Stamp)],
    full: Vec<*const Core>,
    everything: bool,
    gift: G,
) -> ((bool, bool), std::thread::Result<()>) {
    // A destructor of the caller's that panics must not leave this thread handing over.
    let drop = || std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(gift)));
    if to.is_empty() && full.is_empty() {
        return ((false, false), drop());
    }
    let stamps = to.iter().map(|(core, stamp)| (Arc::as_ptr(core), *stamp)).collect();
    let heirs = Heirs { stamps, full, everything };
    let outer = (HEIRS.replace(heirs), HANDED.replace((false, false)));
    let result = drop();
    HEIRS.set(outer.0);
    (HANDED.replace(outer.1), result)
}

/// The stamp of the child to which the calling thread is handing over, in this segment.
pub(crate) fn child_stamp(core: &Arc<Core>) -> Option<Stamp> {
    heir_of(core, |heirs| heirs.everything)
}

/// The stamp of whoever gets the roles that the calling thread gives up in this segment.
pub(crate) fn heir(core: &Arc<Core>) -> Option<Stamp> {
    heir_of(core, |_| true)
}

fn heir_of(core: &Arc<Core>, gets: impl FnOnce(&Heirs) -> bool) -> Option<Stamp> {
    // A thread that drops its handles among its last thread-local values hands nothing over.
    let stamp = HEIRS.try_with(|heirs| {
        let heirs = heirs.borrow();
        let (handed, refused) = HANDED.get();
        if heirs.full.contains(&Arc::as_ptr(core)) {
            HANDED.set((handed, true));
        }
        let found = heirs.stamps.iter().find(|(known, _)| *known == Arc::as_ptr(core));
        found.filter(|_| gets(&heirs)).map(|(_, stamp)| {
            HANDED.set((true, refused));
            *stamp
        })
    });
    stamp.ok().flatten()
}

/// The segments in which this process may have handles.
pub(super) fn known() -> Vec<Arc<Core>> {
    KNOWN.lock().iter().filter_map(Weak::upgrade).collect()
}
