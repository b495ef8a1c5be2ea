//! The thread's robust list: words that the kernel marks when the thread dies.
//!
//! Every thread has one list head, which libc registered and uses for its own robust mutexes. We
//! link our words into that same list, in the node shape libc uses, and never register a head of our
//! own, so both keep working. At the death of the thread, before its memory is freed, the kernel
//! walks the list; in each word that still names the thread it sets [`OWNER_DIED`], and wakes one
//! sleeper if [`WAITERS`] is set. (Ingo Molnar, `Documentation/locking/robust-futex-ABI.rst`.)
//!
//! The links live in shared memory and are private to their thread. A peer that scribbles on them
//! can make [`List::unlink`] give up, which leaves the word in the list, but does not lead it astray: each
//! neighbour is read by a system call that cannot fault and must point back. (A peer that forges such
//! a neighbour in memory it can write is trusted not to: it could as well write anything else there.)

#![allow(unsafe_code, reason = "walks a list that is shared with libc and the kernel")]

use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sync::local::compiler_fence;
use std::ptr;

/// Somebody may sleep on the word.
pub(crate) const WAITERS: u32 = libc::FUTEX_WAITERS;
/// The thread that the word named has died.
pub(crate) const OWNER_DIED: u32 = libc::FUTEX_OWNER_DIED;
/// The bits that hold the owner's thread id; 0: nobody's.
pub(crate) const OWNER: u32 = libc::FUTEX_TID_MASK;

/// A word that can be linked, with its links where glibc's 64-bit robust mutexes have theirs.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct RobustWord {
    /// [`OWNER`] | [`WAITERS`] | [`OWNER_DIED`]. Written by the owner, sleepers and the kernel.
    pub(crate) word: AtomicU32,
    /// Free for the structure that holds this one.
    pub(crate) unused: [AtomicU32; 5],
    /// Address of the previous node. Written by the owner's thread alone.
    previous: AtomicU64,
    /// Address of the next node: what the kernel follows. Written by the owner's thread alone.
    next: AtomicU64,
}

/// From a word to its node, as the head says it for this libc.
const NODE_OFFSET: u64 = core::mem::offset_of!(RobustWord, next) as u64;

impl RobustWord {
    fn node(&self) -> u64 {
        ptr::from_ref(&self.next) as u64
    }
}

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct Head {
    next: AtomicU64,
    offset: i64,
    pending: AtomicU64,
}

/// The calling thread's list.
#[derive(Clone, Copy)]
pub(crate) struct List {
    head: &'static Head,
    thread: u32,
}

impl List {
    /// The calling thread's list; `None` where there is none in the shape we share with glibc.
    pub(crate) fn of_this_thread() -> Option<List> {
        let mut head: *const Head = ptr::null();
        let mut length = 0usize;
        // SAFETY: both arguments are live places for the kernel to write to; 0 is this thread.
        let result =
            unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
        if result != 0 || head.is_null() || length != size_of::<Head>() {
            return None;
        }
        // SAFETY: libc registered this head in memory that lives as long as the thread, and the
        // copy of it in a `List` never leaves the thread.
        let head = unsafe { &*head };
        if head.offset != -(NODE_OFFSET as i64) || head.next.load(Ordering::Relaxed) == 0 {
            return None;
        }
        // SAFETY: takes nothing.
        let thread = unsafe { libc::syscall(libc::SYS_gettid) } as u32;
        Some(List { head, thread })
    }

    fn address(self) -> u64 {
        ptr::from_ref(self.head) as u64
    }

    /// Announces that `word` is about to enter or leave the list: should the thread die now, the
    /// kernel looks at the word although it may not be linked.
    fn begin(self, word: &RobustWord) {
        self.head.pending.store(word.node(), Ordering::Relaxed);
        compiler_fence(Ordering::SeqCst);
    }

    fn end(self) {
        compiler_fence(Ordering::SeqCst);
        self.head.pending.store(0, Ordering::Relaxed);
    }

    /// Makes `word` name this thread and links it.
    ///
    /// # Safety
    /// The word is in no list, nobody else links it, and it stays mapped until [`List::unlink`] of
    /// it has returned true or the thread has ended.
    pub(crate) unsafe fn link(self, word: &RobustWord) {
        self.begin(word);
        word.word.store(self.thread, Ordering::Release);
        let first = self.head.next.load(Ordering::Relaxed);
        word.next.store(first, Ordering::Relaxed);
        word.previous.store(self.address(), Ordering::Relaxed);
        // Bit 0 of a link is the kernel's flag for priority inheritance, not part of the address.
        let first_node = first & !1;
        if first_node != self.address() {
            let previous = ptr::with_exposed_provenance_mut::<u64>(first_node as usize - 8);
            // SAFETY: a linked node has its `previous` just before it, in our shape and in libc's,
            // and stays mapped while it is linked.
            unsafe { previous.write(word.node()) };
        }
        compiler_fence(Ordering::SeqCst);
        self.head.next.store(word.node(), Ordering::Relaxed);
        self.end();
    }

    /// Takes `word` out of this thread's list, makes it nobody's and wakes who sleeps on it. False:
    /// the links are damaged, and the word has to stay mapped for as long as the thread lives.
    ///
    /// # Safety
    /// This thread linked the word, in this process, and it is still mapped.
    pub(crate) unsafe fn unlink(self, word: &RobustWord) -> bool {
        let node = word.node();
        let next = word.next.load(Ordering::Relaxed);
        let previous = word.previous.load(Ordering::Relaxed) & !1;
        let (head, next_node) = (self.address(), next & !1);
        // A node that leads to itself would seem to be its own neighbour.
        let sound = ![previous, next_node].contains(&node)
            && read(previous).is_some_and(|link| link & !1 == node)
            && (next_node == head || read(next_node.wrapping_sub(8)) == Some(node));
        if sound {
            self.begin(word);
            if next_node != head {
                let back = ptr::with_exposed_provenance_mut::<u64>(next_node as usize - 8);
                // SAFETY: just read: mapped, and the link of a neighbour back to this node.
                unsafe { back.write(previous) };
            }
            let forward = ptr::with_exposed_provenance_mut::<u64>(previous as usize);
            // SAFETY: just read: mapped, and the link of a neighbour (or the head) to this node.
            unsafe { forward.write(next) };
        }
        let old = word.word.swap(0, Ordering::AcqRel);
        if old & WAITERS != 0 {
            super::futex::wake(&word.word, u32::MAX);
        }
        if sound {
            self.end();
        }
        sound
    }
}

/// Reads eight bytes of this process's memory that may not be there.
fn read(address: u64) -> Option<u64> {
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
    (read == length as isize).then_some(value)
}
