//! One handle's hold on one object.

use super::block::Place;
use super::heap::NewObject;
use super::{Core, ObjectInfo, block_at, transfer};
use crate::member::Stamp;
use crate::raw::lending::Lending;
use crate::sync::local::{AtomicBool, AtomicU32, Ordering};
use crate::sys::fork;
use crate::{Error, Result};
use std::ptr::NonNull;
use std::sync::Arc;

/// A role that another process has until it hands it over, which it does once this handle is there.
#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// Who has it.
    giver: Stamp,
    /// Whether it was handed over.
    kept: Arc<AtomicBool>,
}

impl Promise {
    #[cfg(feature = "serde")]
    pub(super) fn new(giver: Stamp, kept: Arc<AtomicBool>) -> Self {
        Promise { giver, kept }
    }
}

/// Keeps an object mapped, and its memory from being used again, for as long as it lives.
///
/// Dropped while a child is being started, it passes the hold on to the child.
#[derive(Debug)]
pub(crate) struct Attachment {
    core: Arc<Core>,
    place: Place,
    info: ObjectInfo,
    /// The fork epoch in which this process holds the object.
    epoch: AtomicU32,
    /// Whether the parent gave this process a role in the object, which comes with this handle.
    with_role: bool,
    /// Where that role is still to come.
    promise: Option<Promise>,
}

impl Attachment {
    fn new(core: Arc<Core>, place: Place, info: ObjectInfo) -> Self {
        core.add_handle();
        let epoch = AtomicU32::new(fork::epoch());
        Attachment { core, place, info, epoch, with_role: false, promise: None }
    }

    /// Makes an object and holds it.
    pub(crate) fn make(
        core: &Arc<Core>,
        new: NewObject<'_>,
        init: impl FnOnce(NonNull<u8>) -> Result<()>,
    ) -> Result<Self> {
        let place = core.make(new, init)?;
        Ok(Self::new(core.clone(), place, new.info.clone()))
    }

    /// Opens an object by its label (`None`: the root of the segment) if it is what is wanted.
    pub(crate) fn open(core: &Arc<Core>, wanted: &ObjectInfo) -> Result<Self> {
        let label = wanted.label.as_deref();
        let Some((place, info)) = core.find_and_hold(label)? else {
            let segment = core.name().to_owned();
            return Err(match label {
                Some(label) => Error::LabelNotFound { segment, label: label.to_owned() },
                None => {
                    Error::NotOurs { name: segment, found: "a segment of labelled objects".into() }
                }
            });
        };
        Self::new(core.clone(), place, info).if_it_is(wanted)
    }

    /// Holds an object that was handed to this process.
    #[cfg(feature = "serde")]
    pub(crate) fn handed(used: &super::Used, wanted: &ObjectInfo) -> Result<Self> {
        let (core, (block, serial)) = (used.core(), used.object()?);
        let (place, info) = block_at(core.mapping(), block)?.read(core.mapping(), block)?;
        let info = info.filter(|_| place.serial == serial).ok_or(Error::Forked)?;
        if !core.hold_again(&place)? {
            return Err(Error::Forked);
        }
        let mut attachment = Self::new(core.clone(), place, info).if_it_is(wanted)?;
        attachment.with_role = used.is_sole();
        attachment.promise = used.promise().filter(|_| used.is_sole());
        Ok(attachment)
    }

    fn if_it_is(self, wanted: &ObjectInfo) -> Result<Self> {
        if self.info.agrees_with(wanted) {
            return Ok(self);
        }
        Err(Error::TypeMismatch {
            name: self.name().to_owned(),
            expected: Box::new(wanted.clone()),
            found: Box::new(self.info.clone()),
        })
    }

    /// Whether a role that this process has in the object came with this handle.
    pub(crate) fn came_with_role(&self) -> bool {
        self.with_role
    }

    /// Who is still to hand over the role that comes with this handle.
    pub(crate) fn promised_by(&self) -> Option<Stamp> {
        // Relaxed: the thread that hears of it sets it, before it lets go of the handle.
        let open = self.promise.as_ref().filter(|promise| !promise.kept.load(Ordering::Relaxed));
        open.map(|promise| promise.giver)
    }

    /// Another handle of the same process to the same object.
    pub(crate) fn again(&self) -> Result<Self> {
        self.settle()?;
        self.core.membership()?.hold(self.place.block)?;
        Ok(Self::new(self.core.clone(), self.place, self.info.clone()))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// Where the object is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Whether the object is lent.
    pub(crate) fn lending(&self) -> Result<&Lending> {
        Ok(block_at(self.core.mapping(), self.place.block)?.lending())
    }

    /// Maps the object's pages now, so that no first touch of one costs a fault.
    pub(crate) fn prefault(&self) {
        self.core.mapping().prefault(self.place.payload, self.place.payload_size);
    }

    /// Has the kernel put the object into huge pages, and gives the bytes of those that it has.
    pub(crate) fn collapse(&self) -> Result<usize> {
        self.core.mapping().collapse(self.place.payload, self.place.payload_size)
    }

    pub(crate) fn info(&self) -> &ObjectInfo {
        &self.info
    }

    /// What messages call the object.
    pub(crate) fn name(&self) -> &str {
        self.info.label.as_deref().unwrap_or(self.core.name())
    }

    /// Makes the hold this process's own, where the handle came into it by a fork.
    ///
    /// # Errors
    /// [`Error::Forked`] where the object is gone by now.
    pub(crate) fn settle(&self) -> Result<()> {
        let epoch = fork::epoch();
        if self.epoch.load(Ordering::Relaxed) == epoch {
            return Ok(());
        }
        if !self.core.hold_again(&self.place)? {
            return Err(Error::Forked);
        }
        self.core.register();
        self.epoch.store(epoch, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the hold is this process's own.
    #[inline]
    pub(crate) fn is_settled(&self) -> bool {
        self.epoch.load(Ordering::Relaxed) == fork::epoch()
    }
}

impl Drop for Attachment {
    fn drop(&mut self) {
        self.core.remove_handle();
        if let Some(child) = transfer::child_stamp(&self.core)
            && let Ok(block) = block_at(self.core.mapping(), self.place.block)
        {
            // While this process holds the object, too, so that it is never nobody's.
            block.hold(child.index);
        }
        // A process that has no place here holds nothing. One that has may have been handed a copy
        // that it never used.
        if let Some(membership) = self.core.membership_if_any()
            && (self.is_settled() || self.settle().is_ok())
        {
            membership.release(self.place.block);
        }
    }
}
