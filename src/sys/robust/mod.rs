//! The thread's robust list: words that the kernel marks when the thread dies.
//!
//! Every thread has one list head, which libc registered and uses for its own robust mutexes. We
//! link our words into that same list, in the node shape libc uses, and never register a head of our
//! own, so both keep working. At the death of the thread, before its memory is freed, the kernel
//! walks the list; in each word that still names the thread it sets [`OWNER_DIED`], and wakes one
//! sleeper if [`WAITERS`] is set. (Ingo Molnar, `Documentation/locking/robust-futex-ABI.rst`.)
//!
//! Beside the list there is one *pending* slot, for the word that is entering or leaving the list.
//! The kernel treats it as linked, and if the word is nobody's it wakes one sleeper of it and does
//! nothing else: that is the *death bell* ([`bell`]).
//!
//! # Trust
//! The links lie in shared memory and are private to their thread. So the thread keeps records of
//! what it linked and in which order, in memory of its own, and takes a word out by what the records
//! say of its neighbours, after it has seen that they agree. Where a mutex of libc's stands between
//! two of ours the records cannot know it: then the links themselves are followed, each read by a
//! system call that cannot fault, and only if they lead back. What is damaged beyond that stays in
//! the list, and the caller is told. (A peer that forges a whole neighbour in memory it can write is
//! trusted not to: it could as well write anything else there.)
//!
//! # Forks
//! A child has an empty list and one thread, and finds its records wiped.

#![allow(unsafe_code, reason = "shares a list with libc and the kernel")]

pub(crate) mod bell;
mod head;
mod thread;

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::local::compiler_fence;
use head::Head;
use std::ops::Range;
use std::ptr;
use thread::{APART, Thread};

pub(crate) use thread::{Place, Slot};

/// Somebody may sleep on the word.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The thread that the word named has died.
pub(crate) const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
/// The bits that hold the owner's thread id; 0: nobody's.
pub(crate) const OWNER: u32 = libc::FUTEX_TID_MASK;

/// Locks that a thread can hold.
pub(crate) const LOCKS: usize = 1024;
/// Other words that a thread can have in its list.
const BESIDE: usize = 512;
/// Both. The kernel walks 2,048, and libc's own are in the list, too.
const WORDS: usize = LOCKS + BESIDE;

/// A word that can be linked, with its links where glibc's 64-bit robust mutexes have theirs.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RobustWord {
    /// [`OWNER`] | [`WAITERS`] | [`OWNER_DIED`]. Written by the owner, sleepers and the kernel.
    pub(crate) word: AtomicU32,
    /// Free for the structure that holds this one.
    pub(crate) notes: [AtomicU32; 5],
    /// Address of the previous node. Written by the owner's thread alone.
    previous: AtomicU64,
    /// Address of the next node: what the kernel follows. Written by the owner's thread alone.
    next: AtomicU64,
}

/// From a word to its node, as the head says it for this libc.
const NODE_OFFSET: u64 = core::mem::offset_of!(RobustWord, next) as u64;

impl RobustWord {
    /// Nobody's.
    pub(crate) const fn new() -> Self {
        RobustWord {
            word: AtomicU32::new(0),
            notes: [const { AtomicU32::new(0) }; 5],
            previous: AtomicU64::new(0),
            next: AtomicU64::new(0),
        }
    }

    #[inline(always)]
    fn node(&self) -> u64 {
        ptr::from_ref(&self.next) as u64
    }
}

/// Locks that the calling thread holds in this process.
pub(crate) fn locks_held() -> u32 {
    List::of_this_thread().map_or(0, |list| list.thread.locks())
}

/// Whether a thread of this process has a word linked that begins in this range of addresses, and
/// that nobody links or takes out meanwhile.
pub(crate) fn has_linked(range: &Range<u64>) -> bool {
    thread::has_linked(&(range.start + NODE_OFFSET..range.end + NODE_OFFSET))
}

/// The calling thread's list. Never leaves the thread. No larger than two words, which are passed in
/// registers.
#[derive(Clone, Copy)]
pub(crate) struct List {
    thread: &'static Thread,
    /// The thread's. Here, and not by way of `thread`, since a lock waits for what it loads after
    /// another.
    head: *const Head,
}

impl List {
    /// The calling thread's list; `None` where there is none in the shape we share with glibc.
    #[inline(always)]
    pub(crate) fn of_this_thread() -> Option<List> {
        thread::this().map(|thread| List { thread, head: head::known() })
    }

    /// The thread's id, as words of its list name it.
    #[inline(always)]
    pub(crate) fn id(self) -> u32 {
        self.thread.id.get()
    }

    /// The process's id.
    #[inline(always)]
    pub(crate) fn process(self) -> u32 {
        self.thread.process.get()
    }

    /// The fork epoch of the process.
    #[inline(always)]
    pub(crate) fn epoch(self) -> u32 {
        self.thread.epoch.get()
    }

    /// The list of a thread in which something was locked in this epoch; `None`: the calling thread
    /// is a copy of it in a forked child.
    #[inline(always)]
    pub(crate) fn of_epoch(epoch: u32) -> Option<List> {
        let thread = thread::known();
        (thread.epoch.get() == epoch).then_some(List { thread, head: head::known() })
    }

    /// The same by a list that the thread had: one load less to wait for.
    #[inline(always)]
    pub(crate) fn in_epoch(self, epoch: u32) -> Option<List> {
        (self.thread.epoch.get() == epoch).then_some(self)
    }

    #[inline(always)]
    fn head(self) -> &'static Head {
        // SAFETY: of a thread that has begun, and so found it; it is libc's for as long as the thread.
        unsafe { &*self.head }
    }

    /// Whether the thread may hold one more lock.
    #[inline(always)]
    pub(crate) fn has_room(self) -> bool {
        self.thread.has_room()
    }

    /// Announces that `word` is about to enter or leave the list: should the thread die now, the
    /// kernel looks at the word although it may not be linked.
    #[inline(always)]
    pub(crate) fn pending(self, word: &RobustWord) {
        self.head().pending.store(word.node(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    /// Takes back [`List::pending`].
    #[inline(always)]
    pub(crate) fn settled(self) {
        compiler_fence(Ordering::SeqCst);
        self.head().pending.store(0, Ordering::Relaxed);
    }

    /// Where a word is in the records; `None`: it is not linked by this thread.
    pub(crate) fn find(self, word: &RobustWord) -> Option<Slot> {
        self.thread.find(word.node()).map(|_| Slot(()))
    }

    /// Where the thread's next lock goes; `None`: it may not hold one more. To be asked before the
    /// lock is acquired, so that only stores are left to do when it is.
    #[inline(always)]
    pub(crate) fn place(self) -> Option<Place> {
        self.thread.place(self.head())
    }

    /// Links a lock that the thread has just acquired. It is [pending](List::pending), and
    /// [`List::has_room`] has said yes.
    ///
    /// # Safety
    /// The word is in no list, nobody else links it, and it stays mapped until [`List::remove`] of
    /// it has returned true or the thread has ended.
    #[inline(always)]
    pub(crate) unsafe fn insert(self, word: &RobustWord) -> Slot {
        // SAFETY: as the caller's.
        unsafe { self.enlist(word, self.thread.place_in_room(self.head())) }
    }

    /// The same at the place that [`List::place`] has found.
    ///
    /// # Safety
    /// As [`List::insert`]; the thread has linked and taken out nothing since.
    #[inline(always)]
    pub(crate) unsafe fn insert_at(self, word: &RobustWord, place: Place) -> Slot {
        // SAFETY: as the caller's.
        unsafe { self.enlist(word, place) }
    }

    /// Takes a lock out that the thread is about to release, if it is the first of the list and the
    /// records know the next; it is [pending](List::pending). False: it is for [`List::remove`].
    ///
    /// # Safety
    /// [`List::insert`] of this word in this thread and process gave `slot`, the word is still
    /// mapped, and it has not been removed since.
    #[inline(always)]
    pub(crate) unsafe fn remove_first(self, word: &RobustWord, _: Slot) -> bool {
        // SAFETY: as the caller's.
        unsafe { self.delist_first(word) }
    }

    /// Takes a lock out that the thread is about to release; it is [pending](List::pending). False:
    /// the links are damaged, and the word has to stay mapped for as long as the thread lives.
    ///
    /// # Safety
    /// As [`List::remove_first`].
    #[cold]
    #[inline(never)]
    pub(crate) unsafe fn remove(self, word: &RobustWord, _: Slot) -> bool {
        // SAFETY: as the caller's.
        unsafe { self.delist(word) }
    }

    /// Makes `word` name this thread and links it, beside the locks. `None`: there is no room.
    ///
    /// # Safety
    /// As [`List::insert`], until [`List::unlink`] has returned true.
    pub(crate) unsafe fn link(self, word: &RobustWord) -> Option<Slot> {
        if !self.thread.widen() {
            return None;
        }
        self.pending(word);
        word.word.store(self.id(), Ordering::Release);
        // For whoever looks from outside: the records say it, and libc writes it where it needs it.
        let head = ptr::from_ref(self.head()) as u64;
        word.previous.store(head, Ordering::Relaxed);
        // SAFETY: as the caller's; there is room.
        let slot = unsafe { self.enlist(word, self.thread.place_in_room(self.head())) };
        self.settled();
        Some(slot)
    }

    /// Takes `word` out of this thread's list, makes it nobody's and wakes who sleeps on it. False:
    /// the links are damaged, and the word has to stay mapped for as long as the thread lives.
    ///
    /// # Safety
    /// As [`List::remove_first`], after [`List::link`].
    pub(crate) unsafe fn unlink(self, word: &RobustWord, _: Slot) -> bool {
        self.pending(word);
        // SAFETY: as the caller's.
        let sound = unsafe { self.delist(word) };
        let old = word.word.swap(0, Ordering::AcqRel);
        if old & WAITERS != 0 {
            super::futex::wake(&word.word, u32::MAX);
        }
        self.settled();
        if sound {
            self.thread.narrow();
        }
        self.thread.free_if_done();
        sound
    }

    /// # Safety
    /// As [`List::insert`]; the place is the next, and the word is pending.
    #[inline(always)]
    unsafe fn enlist(self, word: &RobustWord, place: Place) -> Slot {
        let node = word.node();
        word.next.store(place.first, Ordering::Relaxed);
        let mut entry = node;
        if place.first != place.newest {
            // SAFETY: what the head leads to.
            entry |= unsafe { self.above(place.first, node) };
        }
        self.thread.push(place, entry);
        compiler_fence(Ordering::SeqCst);
        place.head.next.store(node, Ordering::Relaxed);
        Slot(())
    }

    /// Links a node above one that may be libc's, and says whether it is.
    ///
    /// # Safety
    /// The head leads to `first`.
    #[cold]
    #[inline(never)]
    unsafe fn above(self, first: u64, node: u64) -> u64 {
        if first == self.thread.newest() & !APART {
            return 0;
        }
        // Bit 0 of a link is the kernel's flag for priority inheritance, not part of the address.
        // SAFETY: a node of libc's, which has its `previous` just before it and stays mapped while it
        // is linked.
        unsafe { write((first & !1) - 8, node) };
        APART
    }

    /// # Safety
    /// As [`List::remove_first`]; the word is pending.
    #[inline(always)]
    unsafe fn delist_first(self, word: &RobustWord) -> bool {
        let (thread, head, node) = (self.thread, self.head(), word.node());
        if head.next.load(Ordering::Relaxed) != node {
            return false;
        }
        let Some(next) = thread.pop(node) else { return false };
        head.next.store(next & !APART, Ordering::Relaxed);
        true
    }

    /// # Safety
    /// As [`List::remove_first`]; the word is pending.
    unsafe fn delist(self, word: &RobustWord) -> bool {
        let (thread, head, node) = (self.thread, self.head(), word.node());
        let end = ptr::from_ref(head) as u64;
        let Some(found) = thread.find(node) else { return false };
        // Whom the records know to be the neighbours.
        let previous = match found.newer {
            None => (head.next.load(Ordering::Relaxed) & !1 == node).then_some(end),
            Some(newer) => (newer & APART == 0).then_some(newer),
        };
        let next = (found.entry & APART == 0).then_some(found.older & !APART);
        match (previous, next) {
            // SAFETY: the head, or a node that is on record, and so linked and mapped.
            (Some(previous), Some(next)) => unsafe { write(previous, next) },
            (previous, next) => {
                if !delist_by_links(word, end, previous, next) {
                    return false;
                }
            }
        }
        thread.remove(found);
        true
    }
}

/// Takes a word out where the records do not know both of its neighbours: by its own links, if they
/// lead to neighbours that lead back.
fn delist_by_links(word: &RobustWord, end: u64, previous: Option<u64>, next: Option<u64>) -> bool {
    let node = word.node();
    let next_is_known = next.is_some();
    let next = next.unwrap_or_else(|| word.next.load(Ordering::Relaxed));
    let previous = previous.unwrap_or_else(|| word.previous.load(Ordering::Relaxed) & !1);
    let next_node = next & !1;
    // A node that leads to itself would seem to be its own neighbour.
    let sound = ![previous, next_node].contains(&node)
        && probe(previous).is_some_and(|link| link & !1 == node)
        && (next_is_known
            || next_node == end
            || probe(next_node.wrapping_sub(8)).map(|link| link & !1) == Some(node));
    if sound {
        if next_node != end {
            // SAFETY: a node that is on record, or one just read: mapped, with its link back to this
            // one.
            unsafe { write(next_node - 8, previous) };
        }
        // SAFETY: just read: mapped, and the link of a neighbour (or the head) to this node.
        unsafe { write(previous, next) };
    }
    sound
}

/// # Safety
/// Eight aligned bytes are mapped there, which are a link or a head's first.
#[inline(always)]
unsafe fn write(address: u64, value: u64) {
    // SAFETY: as the caller's.
    let link = unsafe { AtomicU64::from_ptr(ptr::with_exposed_provenance_mut(address as usize)) };
    link.store(value, Ordering::Relaxed);
}

/// Reads eight bytes of this process's memory that may not be there.
fn probe(address: u64) -> Option<u64> {
    let mut value = 0u64;
    let length = size_of::<u64>();
    let local = libc::iovec { iov_base: (&raw mut value).cast(), iov_len: length };
    let base = ptr::without_provenance_mut(address as usize);
    let remote = libc::iovec { iov_base: base, iov_len: length };
    // SAFETY: `local` describes a live u64; the kernel checks `remote` and fails where it is not
    // readable.
    let read = unsafe {
        libc::process_vm_readv(std::process::id().cast_signed(), &local, 1, &remote, 1, 0)
    };
    (read == length as isize && address.is_multiple_of(8)).then_some(value)
}
