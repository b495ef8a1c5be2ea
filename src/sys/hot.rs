//! One page for what is written in the course of a fork.
//!
//! After a fork, the first write to a page is a fault, in the parent as in the child, and most of what
//! starting a child costs are faults. So what either of them writes then lies together. The page is the
//! heap's, for a mapping of its own would make each fork slower.

#![allow(unsafe_code, reason = "places values in memory that is never given back")]

use crate::sync::local::{AtomicPtr, AtomicUsize, Ordering};
use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ops::Deref;
use std::ptr::{self, NonNull};

/// Bytes of the page.
const PAGE: usize = size_of::<Memory>();

static MEMORY: AtomicPtr<Memory> = AtomicPtr::new(ptr::null_mut());

/// The page, and its beginning.
#[repr(C, align(4096))]
struct Memory {
    /// Bytes that are given away, with these.
    used: AtomicUsize,
}

/// Zeroed memory for a static, on the page as long as there is room, and behind it elsewhere.
fn place(layout: Layout) -> NonNull<u8> {
    // SAFETY: the layouts are those of types that are not empty, and of a page.
    let zeroed = |layout| unsafe { alloc_zeroed(layout) };
    let or_end =
        |memory, layout| NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout));
    let whole = Layout::new::<Memory>();
    // Acquire: pairs with the exchange that published it.
    let mut memory = MEMORY.load(Ordering::Acquire);
    if memory.is_null() {
        let new = or_end(zeroed(whole), whole).as_ptr().cast();
        let (done, lost) = (Ordering::AcqRel, Ordering::Acquire);
        memory = match MEMORY.compare_exchange(memory, new, done, lost) {
            Ok(_) => new,
            // Another thread's will do. Ours is lost, once.
            Err(other) => other,
        };
    }
    // SAFETY: memory that is never given back, and that begins with an atomic.
    let used = unsafe { &(*memory).used };
    let begin = |used: usize| used.max(size_of::<usize>()).next_multiple_of(layout.align());
    let end = |used| Some(begin(used) + layout.size()).filter(|end| *end <= PAGE);
    // Relaxed: no data.
    match used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, end) {
        Ok(used) => or_end(memory.cast::<u8>().wrapping_add(begin(used)), layout),
        Err(_) => or_end(zeroed(layout), layout),
    }
}

/// A `T` for a static, on the page. It begins with zeros.
pub(crate) struct Hot<T: 'static>(AtomicPtr<T>);

impl<T: Sync> Hot<T> {
    /// # Safety
    /// Zeros are a `T`.
    pub(crate) const unsafe fn new() -> Self {
        Hot(AtomicPtr::new(ptr::null_mut()))
    }

    /// The value, if it was ever asked for.
    #[inline(always)]
    pub(crate) fn if_placed(&self) -> Option<&'static T> {
        // Acquire: pairs with the exchange that published it.
        // SAFETY: null, or a `T` that is never taken away.
        unsafe { self.0.load(Ordering::Acquire).as_ref() }
    }

    #[inline(always)]
    pub(crate) fn placed(&self) -> &'static T {
        self.if_placed().unwrap_or_else(|| self.place())
    }

    #[cold]
    fn place(&self) -> &'static T {
        let new = place(Layout::new::<T>()).as_ptr().cast();
        let (done, lost) = (Ordering::AcqRel, Ordering::Acquire);
        let placed = match self.0.compare_exchange(ptr::null_mut(), new, done, lost) {
            Ok(_) => new,
            Err(other) => other,
        };
        // SAFETY: zeros, which are a `T` as `new` was told, and never taken away.
        unsafe { &*placed }
    }
}

impl<T: Sync> Deref for Hot<T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.placed()
    }
}
