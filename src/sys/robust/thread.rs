//! What a thread knows of its list, in memory of its own.

use super::{Head, NODE_OFFSET, WORDS};
use crate::sync::atomic::Ordering;
use crate::sys::fork;
use std::cell::Cell;
use std::ptr;

/// Where in a thread's records a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) u32);

/// No slot.
pub(super) const NONE: u32 = u32::MAX;

/// One linked word.
#[derive(Clone, Copy)]
pub(super) struct Record {
    /// Address of its node.
    pub(super) node: u64,
    /// The slot of the word that was linked next and is still linked.
    pub(super) newer: u32,
    /// The slot of the one linked before; of the next free slot where this one is free.
    pub(super) older: u32,
}

/// What a thread knows of its list. Has no destructor, so that reaching it costs no check.
pub(super) struct Thread {
    /// The fork epoch that all this belongs to; [`NONE`]: not begun.
    pub(super) epoch: Cell<u32>,
    pub(super) id: Cell<u32>,
    pub(super) process: Cell<u32>,
    /// Locks among the linked words.
    pub(super) locks: Cell<u32>,
    pub(super) head: Cell<*const Head>,
    /// `capacity` records, leaked from a `Vec`.
    records: Cell<*mut Record>,
    capacity: Cell<u32>,
    /// The first free slot.
    pub(super) free: Cell<u32>,
    /// The slot of the word that was linked last.
    pub(super) newest: Cell<u32>,
    /// The thread's destructors have run, or are about to.
    ends: Cell<bool>,
}

thread_local! {
    pub(super) static THREAD: Thread = const {
        Thread {
            epoch: Cell::new(NONE),
            id: Cell::new(0),
            process: Cell::new(0),
            locks: Cell::new(0),
            head: Cell::new(ptr::null()),
            records: Cell::new(ptr::null_mut()),
            capacity: Cell::new(0),
            free: Cell::new(NONE),
            newest: Cell::new(NONE),
            ends: Cell::new(false),
        }
    };
    static END: End = const { End };
}

/// Lets the records go with the thread.
struct End;

impl Drop for End {
    fn drop(&mut self) {
        THREAD.with(|thread| {
            thread.ends.set(true);
            thread.free_if_done();
        });
    }
}

impl Thread {
    #[inline(always)]
    pub(super) fn head(&self) -> &Head {
        // SAFETY: set by `begin`, which is before any use of it, and libc's for as long as the
        // thread lives.
        unsafe { &*self.head.get() }
    }

    #[inline(always)]
    fn record(&self, slot: u32) -> *mut Record {
        debug_assert!(slot < self.capacity.get());
        self.records.get().wrapping_add(slot as usize)
    }

    #[inline(always)]
    pub(super) fn read(&self, slot: u32) -> Record {
        // SAFETY: slots in use are below the capacity, and only this thread touches its records.
        unsafe { self.record(slot).read() }
    }

    #[inline(always)]
    pub(super) fn write(&self, slot: u32, record: Record) {
        // SAFETY: as in `read`.
        unsafe { self.record(slot).write(record) };
    }

    /// Finds the list and begins the records, in a new thread or a forked child.
    #[cold]
    #[inline(never)]
    pub(super) fn begin(&'static self) -> Option<&'static Thread> {
        let epoch = fork::epoch();
        let mut head: *const Head = ptr::null();
        let mut length = 0usize;
        // SAFETY: both arguments are live places for the kernel to write to; 0 is this thread.
        let result =
            unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
        if result != 0 || head.is_null() || length != size_of::<Head>() {
            return None;
        }
        // SAFETY: libc registered this head in memory that lives as long as the thread.
        let found = unsafe { &*head };
        if found.offset != -(NODE_OFFSET as i64) || found.next.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // SAFETY: takes nothing.
        self.id.set(unsafe { libc::syscall(libc::SYS_gettid) } as u32);
        self.process.set(std::process::id());
        self.head.set(head);
        self.locks.set(0);
        self.newest.set(NONE);
        self.free.set(NONE);
        // What a forked child finds are its parent's.
        for slot in (0..self.capacity.get()).rev() {
            self.discard(slot);
        }
        if END.try_with(|_| ()).is_err() {
            self.ends.set(true);
        }
        self.epoch.set(epoch);
        Some(self)
    }

    #[inline(always)]
    pub(super) fn discard(&self, slot: u32) {
        self.write(slot, Record { node: 0, newer: NONE, older: self.free.get() });
        self.free.set(slot);
    }

    /// Makes room for more records; false: there are as many as may be.
    #[cold]
    #[inline(never)]
    pub(super) fn grow(&self) -> bool {
        let old = self.capacity.get();
        let new = (2 * old).clamp(32, WORDS);
        if new == old {
            return false;
        }
        let mut records = self.take_records();
        records.resize(new as usize, Record { node: 0, newer: NONE, older: NONE });
        let records = records.into_boxed_slice();
        self.records.set(Box::into_raw(records).cast());
        self.capacity.set(new);
        for slot in (old..new).rev() {
            self.discard(slot);
        }
        true
    }

    fn take_records(&self) -> Vec<Record> {
        let (records, length) = (self.records.get(), self.capacity.get() as usize);
        if records.is_null() {
            return Vec::new();
        }
        self.records.set(ptr::null_mut());
        self.capacity.set(0);
        // SAFETY: leaked by `grow` as a boxed slice of this length, and taken back once.
        unsafe { Vec::from_raw_parts(records, length, length) }
    }

    /// Frees the records of a thread that ends with nothing linked. (What is linked stays on record:
    /// the kernel has yet to walk it.)
    pub(super) fn free_if_done(&self) {
        if self.ends.get() && self.newest.get() == NONE {
            self.epoch.set(NONE);
            self.free.set(NONE);
            drop(self.take_records());
        }
    }
}
