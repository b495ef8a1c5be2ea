//! Where the parts of a broadcast are in its object: control, then the slots.

#![allow(unsafe_code, reason = "refers to shared memory that the attachment keeps mapped")]

use super::Element;
use crate::layout::{LINES, Plan};
use crate::raw::broadcast::{Control, Ring};
use crate::raw::role::Holder;
use crate::segment::{Attachment, Core, Held, Kind, Location, ObjectInfo, Place, Shared};
use crate::sync::atomic::AtomicU64;
use crate::{Error, Result};
use std::ops::Deref;
use std::ptr::NonNull;

// SAFETY: made of atomics.
unsafe impl Shared for Control {}

const WORD: u64 = size_of::<u64>() as u64;
/// The most messages that can be kept.
const LIMIT: u64 = 1 << 40;

struct Layout {
    words: u64,
    /// Words from one slot to the next.
    stride: u64,
    /// One more than messages are kept.
    slots: u64,
    plan: Plan,
}

fn layout(info: &ObjectInfo) -> Result<Layout> {
    if info.capacity > LIMIT {
        return Err(Error::TooLarge { what: "a capacity", asked: info.capacity, limit: LIMIT });
    }
    let mut one = Plan::new();
    one.place::<u64>()?;
    one.place_bytes(info.element_size, 1, 1)?;
    // No slot begins in one line and ends in the next that does not have to.
    let bytes = match one.size() {
        small @ ..=64 => small.next_power_of_two(),
        large => large.next_multiple_of(64),
    };
    let mut plan = Plan::new();
    plan.place::<Control>()?;
    let slots = info.capacity + 1;
    plan.place_bytes(0, LINES, 1)?;
    let words = plan.place_bytes(bytes, WORD, slots)?;
    Ok(Layout { words, stride: bytes / WORD, slots, plan })
}

/// What a broadcast of `T` with this capacity is.
fn describe<T: Element>(capacity: usize) -> Result<ObjectInfo> {
    if capacity == 0 {
        return Err(Error::Zero { what: "a capacity" });
    }
    Ok(ObjectInfo::of::<T>(Kind::Broadcast, capacity as u64))
}

/// What can be seen of a broadcast from outside.
#[derive(Debug)]
pub(crate) struct BroadcastView {
    pub(crate) sent: u64,
    pub(crate) sender: Holder,
}

/// Looks at a broadcast, if the object is one, without taking part.
pub(crate) fn look(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Option<BroadcastView>> {
    if info.kind != Kind::Broadcast {
        return Ok(None);
    }
    let control: &Control = core.mapping().at(place.payload)?;
    Ok(Some(BroadcastView { sent: control.sent(), sender: control.sender.read().0 }))
}

/// An attached broadcast.
#[derive(Debug)]
pub(super) struct Parts {
    held: Held<Control>,
    words: NonNull<[AtomicU64]>,
    stride: usize,
    slots: u64,
}

// SAFETY: the pointer leads into memory that the attachment keeps mapped, made of atomics.
unsafe impl Send for Parts {}
// SAFETY: as above.
unsafe impl Sync for Parts {}

impl Deref for Parts {
    type Target = Control;

    #[inline(always)]
    fn deref(&self) -> &Control {
        &self.held
    }
}

impl Parts {
    /// Makes a broadcast.
    pub(super) fn make<T: Element>(location: Location<'_>, capacity: usize) -> Result<Self> {
        let info = describe::<T>(capacity)?;
        let Layout { words, stride, slots, plan } = layout(&info)?;
        let attachment = location.make(info, plan, |blank| {
            blank.put(0, Control::new());
            // A block may have been a broadcast before, so nothing is zero by itself.
            for i in 0..slots {
                blank.put(words + i * stride * WORD, AtomicU64::new(0));
            }
            Ok(())
        })?;
        Self::over(attachment)
    }

    /// Opens the broadcast there.
    pub(super) fn find<T: Element>(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::Broadcast, 0))?)
    }

    /// Finds and checks the parts.
    fn over(attachment: Attachment) -> Result<Self> {
        let held: Held<Control> = Held::new(attachment)?;
        let attachment = held.attachment();
        let (place, info) = (attachment.place(), attachment.info());
        let mapping = attachment.core().mapping();
        let wrong = || mapping.corrupted("the size of a broadcast is not that of its capacity");
        let Layout { words, stride, slots, plan } = layout(info).map_err(|_| wrong())?;
        if plan.size() != place.payload_size || info.capacity == 0 {
            return Err(wrong());
        }
        let words = mapping.slice::<AtomicU64>(place.payload + words, stride * slots)?;
        let words = NonNull::from(words);
        Ok(Parts { words, stride: stride as usize, slots, held })
    }

    /// Another handle of the same process to the same broadcast.
    pub(super) fn again(&self) -> Result<Self> {
        Self::over(self.held.attachment().again()?)
    }

    pub(super) fn attachment(&self) -> &Attachment {
        self.held.attachment()
    }

    /// Messages that are kept.
    pub(super) fn capacity(&self) -> usize {
        (self.slots - 1) as usize
    }

    #[inline(always)]
    pub(super) fn ring(&self) -> Ring<'_> {
        // SAFETY: found by `over`, and mapped for as long as the attachment.
        let words = unsafe { self.words.as_ref() };
        Ring { control: &self.held, words, stride: self.stride, slots: self.slots }
    }
}
