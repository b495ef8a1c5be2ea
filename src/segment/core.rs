//! One mapped segment as this process has it: the memory, its layout, and the membership.

#![allow(unsafe_code, reason = "the membership is behind an atomic pointer")]

use super::header::{Geometry, OVERHEAD};
use super::mapping::{self, Mapping};
use super::name::{Name, attach_by_name};
use super::transfer;
use crate::member::{self, Membership, PlaceTaken};
use crate::sync::local::{AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use crate::sys::{file, fork};
use crate::{Error, Result};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A mapped segment. Everything that lives in it holds one of these.
#[derive(Debug)]
pub(crate) struct Core {
    pub(super) mapping: Arc<Mapping>,
    pub(super) geometry: Geometry,
    named: bool,
    /// The membership of this process, once it has one. Belongs to the epoch it was made in: a
    /// forked child finds its parent's here, leaves it alone and makes its own.
    membership: AtomicPtr<Arc<Membership>>,
    /// Handles of this process to objects in the segment.
    handles: AtomicUsize,
    /// The epoch in which the registry of transfers has heard of this segment.
    registered: AtomicU32,
}

impl Core {
    pub(super) fn over(mapping: Mapping, geometry: Geometry, named: bool) -> Self {
        Core {
            mapping: Arc::new(mapping),
            geometry,
            named,
            membership: AtomicPtr::default(),
            handles: AtomicUsize::new(0),
            registered: AtomicU32::new(0),
        }
    }

    /// Makes a segment without a name, all of whose space is reserved.
    pub(crate) fn anonymous(heap: u64) -> Result<Self> {
        let geometry = Geometry::with_room_for(heap)?;
        Self::sealed(geometry, geometry.length)
    }

    /// Makes a segment without a name that reserves its space as it is used.
    pub(crate) fn growing(heap: u64) -> Result<Self> {
        let geometry = Geometry::with_room_for(heap)?;
        Self::sealed(geometry, OVERHEAD)
    }

    fn sealed(geometry: Geometry, reserved: u64) -> Result<Self> {
        let name = "anonymous segment";
        let file = file::memory(c"commons").map_err(Error::os("memfd_create", name))?;
        let fd = file.as_fd();
        file::set_size(fd, geometry.length).map_err(Error::os("ftruncate", name))?;
        mapping::reserve(fd, name, 0, reserved)?;
        file::seal_size(fd).map_err(Error::os("fcntl(F_ADD_SEALS)", name))?;
        let mapping = Mapping::new(file, name.to_owned())?;
        geometry.write(&mapping, reserved)?;
        Ok(Self::over(mapping, geometry, false))
    }

    /// Makes a segment that is to have this name, all of whose space is reserved. Nobody else sees it
    /// before [`Core::publish`].
    pub(crate) fn unpublished(name: &Name, heap: u64) -> Result<Self> {
        let geometry = Geometry::with_room_for(heap)?;
        let file = name.unnamed_file()?;
        mapping::reserve(file.as_fd(), name.as_str(), 0, geometry.length)?;
        let mapping = Mapping::new(file, name.as_str().to_owned())?;
        geometry.write(&mapping, geometry.length)?;
        Ok(Self::over(mapping, geometry, true))
    }

    /// Gives a complete segment its name.
    pub(crate) fn publish(&self, name: &Name) -> Result<()> {
        name.publish(self.mapping.file())
    }

    /// Opens a named segment and takes part in it.
    pub(crate) fn open(name: &Name) -> Result<Self> {
        loop {
            let file = name.open()?;
            let core = Self::look(name, file)?;
            let joined = attach_by_name(core.mapping.file(), name, || core.membership().map(drop))?;
            if joined.is_some() {
                return Ok(core);
            }
            // The name went while we attached: whoever has it by now is meant.
        }
    }

    /// Maps the file behind a name without taking part.
    pub(crate) fn look(name: &Name, file: OwnedFd) -> Result<Self> {
        let os = |e| Error::os("fstat", name.as_str())(e);
        let status = file::status(file.as_fd()).map_err(os)?;
        let begins = file::first_bytes(file.as_fd()).map_err(os)?;
        Geometry::recognise(name.as_str(), status.size, begins)?;
        if status.reserved < status.size {
            // Somebody made holes in it, or copied it so: touching one could be a fault.
            mapping::reserve(file.as_fd(), name.as_str(), 0, status.size)?;
        }
        let mapping = Mapping::new(file, name.as_str().to_owned())?;
        let geometry = Geometry::read(&mapping)?;
        Ok(Self::over(mapping, geometry, true))
    }

    /// Makes a segment of a whole file that others may see, and that is nothing yet. What was made
    /// before is found.
    #[cfg(feature = "shared_memory")]
    pub(super) fn adopt(name: &Name, file: OwnedFd) -> Result<Self> {
        let os = |e| Error::os("fstat", name.as_str())(e);
        let size = file::status(file.as_fd()).map_err(os)?.size;
        if file::first_bytes(file.as_fd()).map_err(os)? != [0; 16] {
            return Self::look(name, file);
        }
        let geometry = Geometry::of_length(name.as_str(), size)?;
        mapping::reserve(file.as_fd(), name.as_str(), 0, size)?;
        let mapping = Mapping::new(file, name.as_str().to_owned())?;
        geometry.write(&mapping, size)?;
        Ok(Self::over(mapping, geometry, true))
    }

    pub(crate) fn mapping(&self) -> &Arc<Mapping> {
        &self.mapping
    }

    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn name(&self) -> &str {
        self.mapping.name()
    }

    pub(crate) fn is_named(&self) -> bool {
        self.named
    }

    /// The membership of this process, if it has one in this epoch.
    pub(crate) fn membership_if_any(&self) -> Option<&Arc<Membership>> {
        // Acquire: pairs with the exchange in `install`.
        let installed = self.membership.load(Ordering::Acquire);
        // SAFETY: null, or a box that `install` leaked and only `drop` takes back.
        let installed = unsafe { installed.as_ref() };
        installed.filter(|m| m.epoch() == fork::epoch())
    }

    /// The membership of this process; it joins if it has not yet.
    pub(crate) fn membership(&self) -> Result<&Arc<Membership>> {
        let membership = match self.membership_if_any() {
            Some(membership) => membership,
            None => {
                transfer::settle_put_off();
                match self.membership_if_any() {
                    Some(membership) => membership,
                    None => self.install(Membership::join(&self.mapping, &self.geometry)?),
                }
            }
        };
        member::arm(membership);
        Ok(membership)
    }

    /// Makes a place that the parent took for this process its membership.
    pub(super) fn settle(&self, place: PlaceTaken) {
        member::arm(self.install(Membership::settle(&self.mapping, &self.geometry, place)));
    }

    fn install(&self, membership: Membership) -> &Arc<Membership> {
        let new = Box::into_raw(Box::new(Arc::new(membership)));
        let mut old = self.membership.load(Ordering::Acquire);
        loop {
            // SAFETY: null, or a box that is taken back by `drop` alone.
            let current = unsafe { old.as_ref() }.filter(|m| m.epoch() == fork::epoch());
            if let Some(current) = current {
                // SAFETY: ours, and nobody has seen it.
                drop(unsafe { Box::from_raw(new) });
                return current;
            }
            // What belongs to another epoch is left to itself: it is a copy of the parent's.
            let exchange = (Ordering::AcqRel, Ordering::Acquire);
            match self.membership.compare_exchange(old, new, exchange.0, exchange.1) {
                // SAFETY: just leaked into `self.membership`.
                Ok(_) => return unsafe { &*new },
                Err(other) => old = other,
            }
        }
    }

    /// Counts a handle.
    pub(super) fn add_handle(self: &Arc<Self>) {
        self.handles.fetch_add(1, Ordering::Relaxed);
        self.register();
    }

    /// Lets children of this process that are started from now on have a place in the segment.
    pub(super) fn register(self: &Arc<Self>) {
        let epoch = fork::epoch();
        if self.registered.swap(epoch, Ordering::Relaxed) != epoch {
            transfer::register(self);
        }
    }

    /// Counts one less.
    pub(super) fn remove_handle(&self) {
        self.handles.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn has_handles(&self) -> bool {
        self.handles.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        if self.membership_if_any().is_some() {
            let installed = self.membership.swap(core::ptr::null_mut(), Ordering::AcqRel);
            // SAFETY: leaked by `install` in this epoch, and nobody borrows from a dropped core.
            member::retire(*unsafe { Box::from_raw(installed) });
        }
    }
}
