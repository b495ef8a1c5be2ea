//! What a thread knows of its list, in memory of its own.

use super::{Head, LOCKS, NODE_OFFSET, WORDS};
use crate::sync::atomic::Ordering;
use crate::sys::fork;
use std::cell::Cell;
use std::ptr;

/// Where in a thread's records a word stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot(pub(super) *mut Record);

/// No epoch.
const NONE: u32 = u32::MAX;

/// In [`Record::node`]: nodes of libc's may stand between this one and the older one.
///
/// Everybody links at the head, so once two of ours are neighbours nothing comes between them.
pub(super) const APART: u64 = 1;

/// One linked word, or room for one.
///
/// The records are one chain: what is linked, from the oldest to the newest, and behind it what is
/// free. So linking a word and taking the newest out moves the border between the two, and nothing
/// else. The first record of the chain stands for the head of the list.
#[derive(Clone, Copy)]
pub(crate) struct Record {
    /// Address of its node, and [`APART`].
    pub(super) node: u64,
    /// The record of the word of ours that was linked before; null for the head's.
    pub(super) older: *mut Record,
    /// The record of the one that was linked next, or is free.
    pub(super) newer: *mut Record,
    /// It counts as a lock.
    is_lock: bool,
}

/// What a thread knows of its list. Has no destructor, so that reaching it costs no check.
pub(super) struct Thread {
    /// The fork epoch that all this belongs to; [`NONE`]: not begun.
    pub(super) epoch: Cell<u32>,
    pub(super) id: Cell<u32>,
    pub(super) head: Cell<*const Head>,
    /// The record of the word that was linked last.
    pub(super) newest: Cell<*mut Record>,
    pub(super) process: Cell<u32>,
    /// Records for locks that the chain has.
    room: Cell<u32>,
    /// Records that were made; those of words that are no locks leave the chain when they are free.
    made: Cell<u32>,
    spare: Cell<*mut Record>,
    /// Room for [`WORDS`] records and the head's, leaked from a `Vec`.
    records: Cell<*mut Record>,
    /// The thread's destructors have run, or are about to.
    ends: Cell<bool>,
}

thread_local! {
    pub(super) static THREAD: Thread = const {
        Thread {
            epoch: Cell::new(NONE),
            id: Cell::new(0),
            head: Cell::new(ptr::null()),
            newest: Cell::new(ptr::null_mut()),
            process: Cell::new(0),
            room: Cell::new(0),
            made: Cell::new(0),
            spare: Cell::new(ptr::null_mut()),
            records: Cell::new(ptr::null_mut()),
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

    /// The record of the word that was linked last, or of the head.
    #[inline(always)]
    pub(super) fn newest(&self) -> *mut Record {
        self.newest.get()
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
        // In a forked child: what its parent's thread was at.
        found.pending.store(0, Ordering::Relaxed);
        // What a forked child finds are its parent's.
        self.room.set(0);
        self.made.set(0);
        self.spare.set(ptr::null_mut());
        if self.records.get().is_null() {
            let records: Vec<Record> = Vec::with_capacity(1 + WORDS as usize);
            self.records.set(std::mem::ManuallyDrop::new(records).as_mut_ptr());
        }
        let (node, none) = (head as u64, ptr::null_mut());
        // SAFETY: there is room for it.
        unsafe {
            self.records.get().write(Record { node, older: none, newer: none, is_lock: false })
        };
        self.newest.set(self.records.get());
        if END.try_with(|_| ()).is_err() {
            self.ends.set(true);
        }
        self.epoch.set(epoch);
        Some(self)
    }

    /// Puts one more free record for a lock into the chain; false: there are as many as may be.
    #[cold]
    #[inline(never)]
    pub(super) fn more(&self) -> bool {
        if self.room.get() == LOCKS {
            return false;
        }
        self.room.set(self.room.get() + 1);
        self.put_in_chain(true)
    }

    /// Puts a free record for something else into the chain, as the next to be used.
    pub(super) fn more_beside(&self) -> bool {
        self.put_in_chain(false)
    }

    fn put_in_chain(&self, is_lock: bool) -> bool {
        let newest = self.newest();
        // SAFETY: in the chain.
        let newer = unsafe { read(newest) }.newer;
        let mut record = self.spare.get();
        if record.is_null() {
            let made = self.made.get() + 1;
            if made > WORDS {
                return false;
            }
            self.made.set(made);
            record = self.records.get().wrapping_add(made as usize);
        } else {
            // SAFETY: was made.
            self.spare.set(unsafe { read(record) }.newer);
        }
        // SAFETY: there is room for it, and it is in no chain.
        unsafe { record.write(Record { node: 0, older: newest, newer, is_lock }) };
        // SAFETY: both are in the chain.
        unsafe { join(newest, record) };
        if !newer.is_null() {
            // SAFETY: as above.
            unsafe { join(record, newer) };
        }
        true
    }

    /// Makes a record free that is not the newest; or says so of the newest.
    ///
    /// # Safety
    /// It is in the chain, and in use.
    pub(super) unsafe fn free(&self, record: *mut Record) {
        // SAFETY: as the caller's.
        let Record { older, newer, .. } = unsafe { read(record) };
        if record == self.newest() {
            self.newest.set(older);
            return;
        }
        // SAFETY: neighbours in the chain: the newest is behind it.
        unsafe { join(older, newer) };
        let newest = self.newest();
        // SAFETY: in the chain.
        let behind = unsafe { read(newest) }.newer;
        // SAFETY: both were made, and the first is in the chain.
        unsafe { join(newest, record) };
        if behind.is_null() {
            // SAFETY: was made.
            unsafe { (*record).newer = behind };
        } else {
            // SAFETY: both are in the chain.
            unsafe { join(record, behind) };
        }
    }

    /// Takes a free record that is no lock's out of the chain.
    ///
    /// # Safety
    /// It is in the chain, and free.
    pub(super) unsafe fn take_from_chain(&self, record: *mut Record) {
        // SAFETY: as the caller's.
        let Record { older, newer, .. } = unsafe { read(record) };
        if newer.is_null() {
            // SAFETY: in the chain.
            unsafe { (*older).newer = newer };
        } else {
            // SAFETY: both are in the chain.
            unsafe { join(older, newer) };
        }
        // SAFETY: as the caller's.
        unsafe { (*record).newer = self.spare.get() };
        self.spare.set(record);
    }

    /// What is linked, from the newest on.
    fn linked(&self) -> impl Iterator<Item = (*mut Record, Record)> {
        let mut at = self.newest();
        std::iter::from_fn(move || {
            // SAFETY: in the chain.
            let (here, record) = (at, unsafe { read(at) });
            at = record.older;
            (!at.is_null()).then_some((here, record))
        })
    }

    /// How many locks are linked.
    pub(super) fn locks(&self) -> u32 {
        self.linked().filter(|(_, record)| record.is_lock).count() as u32
    }

    /// The slot of a node.
    pub(super) fn find(&self, node: u64) -> Option<Slot> {
        let mut linked = self.linked();
        linked.find(|(_, record)| record.node & !APART == node).map(|(slot, _)| Slot(slot))
    }

    /// Frees the records of a thread that ends with nothing linked. (What is linked stays on record:
    /// the kernel has yet to walk it.)
    pub(super) fn free_if_done(&self) {
        let records = self.records.get();
        if self.ends.get() && self.newest() == records && !records.is_null() {
            self.epoch.set(NONE);
            self.newest.set(ptr::null_mut());
            self.records.set(ptr::null_mut());
            // SAFETY: leaked by `begin` with this capacity, and taken back once.
            drop(unsafe { Vec::from_raw_parts(records, 0, 1 + WORDS as usize) });
        }
    }
}

/// # Safety
/// The record was made, by this thread.
#[inline(always)]
pub(super) unsafe fn read(record: *mut Record) -> Record {
    // SAFETY: as the caller's.
    unsafe { record.read() }
}

/// # Safety
/// Both records were made, by this thread.
unsafe fn join(older: *mut Record, newer: *mut Record) {
    // SAFETY: as the caller's.
    unsafe { (*older).newer = newer };
    // SAFETY: as the caller's.
    unsafe { (*newer).older = older };
}
