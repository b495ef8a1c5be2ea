//! The versions of a value, in an attached object.
//!
//! Control, announcements, buffers, each on lines of their own. A value of up to 8 bytes has the
//! control alone, whose first word it is.

#![allow(unsafe_code, reason = "refers to shared memory that the attachment keeps mapped")]

use super::CellError;
use super::error::NOT_A_VALUE;
use crate::layout::{LINES, Plan};
use crate::raw::latest::{
    Announcement, Contradiction, Control, HEAD_WORDS, MAX_BUFFERS, MIN_BUFFERS, Versions,
    announcements,
};
use crate::raw::role::Holder;
use crate::segment::{Attachment, Core, Element, Held, Kind, Location, ObjectInfo, Place, Shared};
use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::sync::local::AtomicU32;
use crate::{Error, Result};
use core::mem::MaybeUninit;
use core::ops::Deref;
use core::ptr::NonNull;

// SAFETY: made of atomics.
unsafe impl Shared for Control {}
// SAFETY: made of atomics.
unsafe impl Shared for Announcement {}

/// Buffers of a value unless somebody asks for more: with the current one and the one being written
/// two readers can take their time.
pub(super) const BUFFERS: usize = 4;

/// Reads that are announced from the start after one that lost a copy.
const WARY: u32 = 64;

/// Whether a value fits into one atomic word.
pub(super) const fn is_small<T>() -> bool {
    size_of::<T>() <= size_of::<u64>()
}

/// Where the parts of an object with this element are, from its start on.
#[derive(Clone, Copy, Debug)]
struct Layout {
    announcements: u64,
    words: u64,
    /// Words from one buffer to the next.
    stride: u64,
    plan: Plan,
}

fn layout(element_size: u64, buffers: usize) -> Result<Layout> {
    let mut plan = Plan::new();
    plan.place::<Control>()?;
    let announcements = plan.place_slice::<Announcement>(announcements(buffers) as u64)?;
    let mut one = Plan::new();
    one.place_slice::<u64>(HEAD_WORDS as u64)?;
    one.place_bytes(element_size, 1, 1)?;
    let bytes = one.size().next_multiple_of(LINES);
    let words = plan.place_bytes(bytes, LINES, buffers as u64)?;
    Ok(Layout { announcements, words, stride: bytes / size_of::<u64>() as u64, plan })
}

/// What can be seen of a value with versions by who takes no part in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct VersionsView {
    pub(crate) version: u64,
    /// Who publishes, where one process does.
    pub(crate) publisher: Option<Holder>,
}

/// Looks at the versions of an object, if it has any.
pub(crate) fn look(core: &Core, place: &Place, info: &ObjectInfo) -> Result<Option<VersionsView>> {
    let is_latest = info.kind == Kind::Latest;
    if !is_latest && (info.kind != Kind::Value || info.element_size <= 8) {
        return Ok(None);
    }
    let control: &Control = core.mapping().at(place.payload)?;
    let publisher = is_latest.then(|| control.publisher.read().0);
    Ok(Some(VersionsView { version: control.version(), publisher }))
}

/// A handle to the versions of one value.
#[derive(Debug)]
pub(super) struct Store {
    held: Held<Control>,
    announcements: NonNull<[Announcement]>,
    words: NonNull<[AtomicU64]>,
    stride: usize,
    buffers: usize,
    /// Which announcement this handle makes.
    reader: usize,
    /// How many reads are still to be announced from the start.
    wary: AtomicU32,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped, made of atomics.
unsafe impl Send for Store {}
// SAFETY: as above.
unsafe impl Sync for Store {}

impl Deref for Store {
    type Target = Control;

    #[inline(always)]
    fn deref(&self) -> &Control {
        &self.held
    }
}

impl Store {
    /// Makes a value, in one word if it is small.
    pub(super) fn make<T: Element>(
        location: Location<'_>,
        kind: Kind,
        buffers: usize,
        initial: &T,
    ) -> Result<Self> {
        let info = ObjectInfo::of::<T>(kind, 1);
        if buffers == 0 {
            let mut plan = Plan::new();
            plan.place::<Control>()?;
            let word = to_word(initial);
            let attachment = location.make(info, plan, |blank| {
                blank.put(0, Control::new(word, 0));
                Ok(())
            })?;
            return Self::over(attachment);
        }
        if !(MIN_BUFFERS..=MAX_BUFFERS).contains(&buffers) {
            let (what, limit) = ("a number of buffers", MAX_BUFFERS as u64);
            return Err(Error::TooLarge { what, asked: buffers as u64, limit });
        }
        let layout = layout(info.element_size, buffers)?;
        let attachment = location.make(info, layout.plan, |blank| {
            blank.put(0, Control::new(0, buffers as u64));
            for i in 0..announcements(buffers) as u64 {
                let offset = layout.announcements + i * size_of::<Announcement>() as u64;
                blank.put(offset, Announcement::new());
            }
            for i in 0..(buffers * HEAD_WORDS) as u64 {
                let (buffer, word) = (i / HEAD_WORDS as u64, i % HEAD_WORDS as u64);
                let words = layout.words + (buffer * layout.stride + word) * 8;
                blank.put(words, AtomicU64::new(0));
            }
            let first = layout.words + (HEAD_WORDS * size_of::<u64>()) as u64;
            blank.put_bytes(first, bytemuck::bytes_of(initial));
            Ok(())
        })?;
        Self::over(attachment)
    }

    /// Opens the value there.
    pub(super) fn find<T: Element>(location: Location<'_>, kind: Kind) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(kind, 1))?)
    }

    /// Finds and checks the parts.
    fn over(attachment: Attachment) -> Result<Self> {
        let held: Held<Control> = Held::new(attachment)?;
        let attachment = held.attachment();
        let (place, info) = (attachment.place(), attachment.info());
        let mapping = attachment.core().mapping();
        let in_one_word = info.kind == Kind::Value && info.element_size <= 8;
        let buffers = held.buffers.load(Relaxed) as usize;
        let expected = if in_one_word { 0..=0 } else { MIN_BUFFERS..=MAX_BUFFERS };
        if !expected.contains(&buffers) {
            return Err(mapping.corrupted("a value has an impossible number of buffers"));
        }
        let layout = layout(info.element_size, buffers)?;
        if buffers > 0 && layout.plan.size() != place.payload_size {
            return Err(mapping.corrupted("the size of a value is not that of its buffers"));
        }
        let base = place.payload;
        let count = announcements(buffers) as u64;
        let announced = mapping.slice::<Announcement>(base + layout.announcements, count)?;
        let words = layout.stride * buffers as u64;
        let words = mapping.slice::<AtomicU64>(base + layout.words, words)?;
        // Relaxed: a ticket. Readers with the same announcement only protect each other less.
        let ticket = held.readers.fetch_add(1, Relaxed);
        Ok(Store {
            announcements: NonNull::from(announced),
            words: NonNull::from(words),
            stride: layout.stride as usize,
            buffers,
            reader: ticket.checked_rem(count).unwrap_or(0) as usize,
            wary: AtomicU32::new(0),
            held,
        })
    }

    /// Another handle of the same process to the same value.
    pub(super) fn again(&self) -> Result<Self> {
        Self::over(self.held.attachment().again()?)
    }

    pub(super) fn attachment(&self) -> &Attachment {
        self.held.attachment()
    }

    pub(super) fn buffers(&self) -> usize {
        self.buffers
    }

    /// Makes an inherited handle this process's own.
    #[inline(always)]
    pub(super) fn settle(&self) -> Result<(), CellError> {
        settle(self.held.attachment())
    }

    #[inline(always)]
    pub(super) fn versions(&self) -> Versions<'_> {
        // SAFETY: found by `over`, and mapped for as long as the attachment.
        let announcements = unsafe { self.announcements.as_ref() };
        // SAFETY: as above.
        let words = unsafe { self.words.as_ref() };
        let control: &Control = &self.held;
        Versions { control, announcements, words, stride: self.stride, buffers: self.buffers }
    }

    /// The newest value and its number.
    #[inline]
    pub(super) fn read<T: Element>(&self) -> Result<(T, u64), CellError> {
        let mut bits = MaybeUninit::<T::Bits>::uninit();
        let version = self.read_bytes(bits.as_bytes_mut_of())?;
        // SAFETY: every byte was written, and any bytes are a `Bits`.
        let bits = unsafe { bits.assume_init() };
        if !T::is_valid_bit_pattern(&bits) {
            return Err(NOT_A_VALUE);
        }
        // SAFETY: `Bits` has the layout of `T`, and these are a value of it.
        let value = unsafe { (&raw const bits).cast::<T>().read() };
        Ok((value, version))
    }

    /// The newest value, into `to`, and its number. On an error `to` is some value of its type.
    pub(super) fn read_into<T: Element>(&self, to: &mut T) -> Result<u64, CellError> {
        if any_bytes_are_a_value::<T>() {
            let to: *mut T = to;
            // SAFETY: the bytes of a value that takes any.
            let bytes = unsafe { core::slice::from_raw_parts_mut(to.cast(), size_of::<T>()) };
            return self.read_bytes(bytes);
        }
        self.read_checked_into(to)
    }

    /// As [`Store::read_into`]. Apart, because the value is on the stack here.
    #[inline(never)]
    fn read_checked_into<T: Element>(&self, to: &mut T) -> Result<u64, CellError> {
        let (value, version) = self.read()?;
        *to = value;
        Ok(version)
    }

    #[inline]
    fn read_bytes(&self, to: &mut [MaybeUninit<u8>]) -> Result<u64, CellError> {
        // Relaxed: private to the process; a count that another thread has overtaken does no harm.
        let wary = self.wary.load(Relaxed);
        let read = self.versions().read(self.reader, wary > 0, to).map_err(contradiction)?;
        if wary > 0 || read.lost {
            self.note(wary, read.lost);
        }
        Ok(read.number)
    }

    /// Notes whether a copy was lost, and so whether the next reads are to be announced.
    #[cold]
    fn note(&self, wary: u32, lost: bool) {
        let wary = if lost { WARY } else { wary - 1 };
        // Relaxed: as in `read_bytes`.
        self.wary.store(wary, Relaxed);
        if wary == 0 {
            self.versions().withdraw(self.reader);
        }
    }

    /// Publishes a value. The caller has the right to.
    #[inline]
    pub(super) fn publish<T: Element>(&self, value: &T) -> Result<u64, CellError> {
        self.versions().publish(bytemuck::bytes_of(value)).map_err(contradiction)
    }
}

/// Makes an inherited handle this process's own.
#[inline(always)]
pub(super) fn settle(attachment: &Attachment) -> Result<(), CellError> {
    if attachment.is_settled() {
        return Ok(());
    }
    settle_slow(attachment)
}

#[cold]
#[inline(never)]
fn settle_slow(attachment: &Attachment) -> Result<(), CellError> {
    Ok(attachment.settle()?)
}

#[cold]
fn contradiction(_: Contradiction) -> CellError {
    CellError::Corrupted("the versions of a value contradict each other")
}

/// Whether there are no bytes that are not a `T`.
pub(crate) fn any_bytes_are_a_value<T: Element>() -> bool {
    // The types for which every pattern is good are their own `Bits`, and only those can be.
    core::any::TypeId::of::<T>() == core::any::TypeId::of::<T::Bits>()
}

/// The bytes of memory that is not initialised yet.
trait BytesOf {
    fn as_bytes_mut_of(&mut self) -> &mut [MaybeUninit<u8>];
}

impl<B> BytesOf for MaybeUninit<B> {
    #[inline(always)]
    fn as_bytes_mut_of(&mut self) -> &mut [MaybeUninit<u8>] {
        // SAFETY: its own bytes, which may be uninitialised in both views.
        unsafe { core::slice::from_raw_parts_mut(self.as_mut_ptr().cast(), size_of::<B>()) }
    }
}

/// A small value as the word it is kept in.
#[inline(always)]
pub(super) fn to_word<T: Element>(value: &T) -> u64 {
    let mut bytes = [0; size_of::<u64>()];
    let own = bytemuck::bytes_of(value);
    bytes[..own.len()].copy_from_slice(own);
    u64::from_le_bytes(bytes)
}

/// The small value in a word.
#[inline(always)]
pub(super) fn from_word<T: Element>(word: u64) -> Result<T, CellError> {
    let bytes = &word.to_le_bytes()[..size_of::<T>()];
    bytemuck::checked::try_pod_read_unaligned(bytes).map_err(|_| NOT_A_VALUE)
}
