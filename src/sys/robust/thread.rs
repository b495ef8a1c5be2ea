//! What a thread knows of its list, in memory of its own.
//!
//! The memory is a mapping that the kernel wipes in a forked child ([`fork::wiped`]), so a child finds
//! that nothing has begun, and one look at the epoch tells it.

use super::head::{self, Head};
use super::{BESIDE, LOCKS, NODE_OFFSET, WORDS};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::local::AtomicPtr;
use crate::sys::fork;
use crate::sys::per_process::PerProcess;
use std::cell::Cell;
use std::ops::Range;
use std::ptr;

/// That a word is linked by the calling thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) ());

/// In an entry: nodes of libc's may stand between this one and the older one.
///
/// Everybody links at the head, so once two of ours are neighbours nothing comes between them.
pub(super) const APART: u64 = 1;

/// Addresses of nodes, each perhaps with [`APART`]: that of the head, then what is linked, from the
/// oldest to the newest. Entries behind the newest say what was there before. Written by the thread,
/// read by others of the process.
type Entries = [AtomicU64; 1 + WORDS];

/// What a thread knows of its list.
#[repr(C)]
pub(super) struct Thread {
    /// The fork epoch that all this belongs to; 0: nothing has begun.
    pub(super) epoch: Cell<u32>,
    /// Written when it begins, before others can look.
    pub(super) id: Cell<u32>,
    pub(super) process: Cell<u32>,
    /// Words that are linked and are no locks.
    beside: Cell<u32>,
    /// Whether this process has mapped the memory. In a forked child it stays: copies of the guards
    /// of its parent look there, and find that they are copies.
    own: Cell<bool>,
    /// The newest entry. A pointer, for it is what a lock and an unlock wait for. Written by the
    /// thread, read by others.
    top: AtomicPtr<AtomicU64>,
    /// Where `top` is when no more locks may be linked.
    limit: Cell<*mut AtomicU64>,
    entries: Entries,
}

/// What a thread has before it begins. Never written.
struct NotBegun(Thread);

static NOT_BEGUN: NotBegun = NotBegun(Thread {
    epoch: Cell::new(0),
    id: Cell::new(0),
    process: Cell::new(0),
    beside: Cell::new(0),
    own: Cell::new(false),
    top: AtomicPtr::new(ptr::null_mut()),
    limit: Cell::new(ptr::null_mut()),
    entries: [const { AtomicU64::new(0) }; 1 + WORDS],
});

// SAFETY: nobody writes it: every writer has a thread that has begun.
unsafe impl Sync for NotBegun {}

/// Those of the process that have begun.
static THREADS: PerProcess<Vec<Begun>> = PerProcess::new();

/// One of them. Others look at its atomics alone.
struct Begun(*const Thread);

// SAFETY: others look at its atomics, and it is there while it is in the list.
unsafe impl Send for Begun {}

/// Whether a thread of this process has a node in this range of addresses linked, one that nobody
/// links or takes out meanwhile.
pub(super) fn has_linked(range: &Range<u64>) -> bool {
    THREADS.lock().iter().any(|thread| {
        // SAFETY: a thread takes itself out of the list before its memory goes.
        let thread = unsafe { &*thread.0 };
        // What a thread that is gone had linked, the kernel has walked.
        thread.has_linked(range) && thread.lives()
    })
}

thread_local! {
    /// Has no destructor, so that reaching it costs no check.
    static THREAD: Cell<&'static Thread> = const { Cell::new(&NOT_BEGUN.0) };
    /// The thread's destructors have run, or are about to.
    static ENDS: Cell<bool> = const { Cell::new(false) };
    static END: End = const { End };
}

/// Lets the memory go with the thread.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        ENDS.set(true);
        THREAD.get().free_if_done();
    }
}

/// What the calling thread knows, whether it has begun or not.
#[inline(always)]
pub(super) fn known() -> &'static Thread {
    THREAD.get()
}

/// What the calling thread knows; `None`: it has no list in the shape that we share with glibc.
#[inline(always)]
pub(super) fn this() -> Option<&'static Thread> {
    let thread = known();
    if thread.epoch.get() == 0 { begin() } else { Some(thread) }
}

/// Finds the list, in a new thread or a forked child.
#[cold]
#[inline(never)]
fn begin() -> Option<&'static Thread> {
    let found = head::head()?;
    if found.offset != -(NODE_OFFSET as i64) || found.next.load(Ordering::Relaxed) == 0 {
        return None;
    }
    let mut thread = known();
    if ptr::eq(thread, &NOT_BEGUN.0) {
        let memory: *mut Thread = fork::wiped(size_of::<Thread>()).ok()?.cast();
        // SAFETY: a new mapping of that many bytes, and zeros are a thread that has not begun.
        thread = unsafe { &*memory };
        thread.own.set(true);
        THREAD.set(thread);
    }
    // SAFETY: takes nothing.
    thread.id.set(unsafe { libc::syscall(libc::SYS_gettid) } as u32);
    thread.process.set(std::process::id());
    // In a forked child: what its parent's thread was at.
    found.pending.store(0, Ordering::Relaxed);
    let entries = thread.entries.as_ptr().cast_mut();
    thread.entries[0].store(ptr::from_ref(found) as u64, Ordering::Relaxed);
    thread.top.store(entries, Ordering::Relaxed);
    thread.limit.set(entries.wrapping_add(LOCKS));
    if END.try_with(|_| ()).is_err() {
        ENDS.set(true);
    }
    THREADS.lock().push(Begun(thread));
    thread.epoch.set(fork::epoch());
    Some(thread)
}

impl Thread {
    // Relaxed, where it is the thread's own.
    #[inline(always)]
    fn top(&self) -> *mut AtomicU64 {
        self.top.load(Ordering::Relaxed)
    }

    /// Whether one more lock may be linked.
    #[inline(always)]
    pub(super) fn has_room(&self) -> bool {
        self.top() != self.limit.get()
    }

    /// The entry of the word that was linked last, or of the head.
    #[inline(always)]
    pub(super) fn newest(&self) -> u64 {
        // SAFETY: `top` points to an entry.
        unsafe { &*self.top() }.load(Ordering::Relaxed)
    }

    /// Whether it is this node's. False in a thread that has not begun.
    pub(super) fn is_newest(&self, node: u64) -> bool {
        self.epoch.get() != 0 && self.newest() & !APART == node
    }

    /// Where the next word goes; `None`: there is room for no more locks.
    #[inline(always)]
    pub(super) fn place(&self, head: &'static Head) -> Option<Place> {
        let top = self.top();
        (top != self.limit.get()).then(|| self.place_above(head, top))
    }

    /// Where the next word goes. There is room.
    pub(super) fn place_in_room(&self, head: &'static Head) -> Place {
        self.place_above(head, self.top())
    }

    #[inline(always)]
    fn place_above(&self, head: &'static Head, top: *mut AtomicU64) -> Place {
        let first = head.next.load(Ordering::Relaxed);
        // SAFETY: `top` points to an entry.
        let newest = unsafe { &*top }.load(Ordering::Relaxed);
        Place { head, first, newest, entry: top.wrapping_add(1) }
    }

    /// Notes a word that is linked now, at the place that is the next.
    #[inline(always)]
    pub(super) fn push(&self, place: Place, entry: u64) {
        // SAFETY: there was room above the newest.
        unsafe { &*place.entry }.store(entry, Ordering::Relaxed);
        // Release: the entry, to who looks from another thread.
        self.top.store(place.entry, Ordering::Release);
    }

    /// Forgets the newest if it is this node's and no node of libc's is known to be below it; gives
    /// the entry below.
    #[inline(always)]
    pub(super) fn pop(&self, node: u64) -> Option<u64> {
        let top = self.top();
        // SAFETY: `top` points to an entry.
        if unsafe { &*top }.load(Ordering::Relaxed) != node {
            return None;
        }
        let second = top.wrapping_sub(1);
        self.top.store(second, Ordering::Relaxed);
        // SAFETY: no node is the head's, whose entry is the first: so there is one below.
        Some(unsafe { &*second }.load(Ordering::Relaxed))
    }

    /// Makes room for a word that is no lock; false: there are as many as may be.
    pub(super) fn widen(&self) -> bool {
        let beside = self.beside.get();
        if beside as usize == BESIDE {
            return false;
        }
        self.beside.set(beside + 1);
        self.limit.set(self.limit.get().wrapping_add(1));
        true
    }

    /// Takes that room away.
    pub(super) fn narrow(&self) {
        self.beside.set(self.beside.get() - 1);
        self.limit.set(self.limit.get().wrapping_sub(1));
    }

    /// How many words are linked.
    fn linked(&self) -> usize {
        // Acquire: their entries, where another thread asks.
        let top = self.top.load(Ordering::Acquire) as usize;
        (top - self.entries.as_ptr() as usize) / size_of::<AtomicU64>()
    }

    fn has_linked(&self, range: &Range<u64>) -> bool {
        // From the newest on, for `remove` moves entries towards the oldest. Acquire: who finds an
        // entry moved away finds it where it was moved to.
        let linked = &self.entries[1..=self.linked()];
        linked.iter().rev().any(|entry| range.contains(&(entry.load(Ordering::Acquire) & !APART)))
    }

    /// How many locks are linked.
    pub(super) fn locks(&self) -> u32 {
        self.linked() as u32 - self.beside.get()
    }

    /// Whether the thread is there.
    fn lives(&self) -> bool {
        let process = std::process::id().cast_signed();
        // SAFETY: signal 0 is none.
        let found = unsafe { libc::syscall(libc::SYS_tgkill, process, self.id.get(), 0) };
        found == 0
    }

    /// The number of the entry of a node, and those of its neighbours: the older one's, and the newer
    /// one's if there is one.
    pub(super) fn find(&self, node: u64) -> Option<Found> {
        let linked = &self.entries[1..=self.linked()];
        let index =
            1 + linked.iter().rposition(|entry| entry.load(Ordering::Relaxed) & !APART == node)?;
        Some(Found {
            index,
            entry: self.entries[index].load(Ordering::Relaxed),
            older: self.entries[index - 1].load(Ordering::Relaxed),
            newer: linked.get(index).map(|entry| entry.load(Ordering::Relaxed)),
        })
    }

    /// Forgets an entry.
    pub(super) fn remove(&self, Found { index, entry, .. }: Found) {
        let entries = &self.entries[index..=self.linked()];
        // What stood between this one and the older one stands below the newer one.
        let mut apart = entry & APART;
        for pair in entries.windows(2) {
            // Release: to `has_linked`.
            pair[0].store(pair[1].load(Ordering::Relaxed) | apart, Ordering::Release);
            apart = 0;
        }
        // Release: as above.
        self.top.store(self.top().wrapping_sub(1), Ordering::Release);
    }

    /// Frees the memory of a thread that ends with nothing linked. (What is linked stays on record:
    /// the kernel has yet to walk it.)
    pub(super) fn free_if_done(&'static self) {
        if ENDS.get() && self.own.get() && self.linked() == 0 {
            THREAD.set(&NOT_BEGUN.0);
            THREADS.lock().retain(|thread| !ptr::eq(thread.0, self));
            // SAFETY: mapped by `begin` with this size, for this thread, which forgets it here.
            unsafe { fork::unmap(ptr::from_ref(self).cast_mut().cast(), size_of::<Thread>()) };
        }
    }
}

/// Where the next word goes in the list and in the records.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(super) head: &'static Head,
    /// What the head leads to.
    pub(super) first: u64,
    /// The newest entry.
    pub(super) newest: u64,
    /// The one after it.
    entry: *mut AtomicU64,
}

/// Where a word stands.
#[derive(Clone, Copy)]
pub(super) struct Found {
    index: usize,
    pub(super) entry: u64,
    /// The older neighbour's entry, or the head's.
    pub(super) older: u64,
    /// The newer neighbour's entry; `None`: this is the newest.
    pub(super) newer: Option<u64>,
}
