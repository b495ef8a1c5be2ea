//! The head of the thread's list, which libc registered.

use crate::sync::atomic::AtomicU64;
use std::cell::Cell;
use std::ptr;

/// The kernel's `struct robust_list_head`.
#[repr(C)]
pub(super) struct Head {
    pub(super) next: AtomicU64,
    pub(super) offset: i64,
    pub(super) pending: AtomicU64,
}

thread_local! {
    /// Null until it is known. A forked child's one thread has it where its parent's had.
    static HEAD: Cell<*const Head> = const { Cell::new(ptr::null()) };
}

/// The calling thread's; `None`: libc has registered none, or one of another size.
#[inline]
pub(super) fn head() -> Option<&'static Head> {
    let head = HEAD.get();
    let head = if head.is_null() { find() } else { head };
    // SAFETY: null, or the head that libc registered in memory that lives as long as the thread,
    // which the reference does not leave.
    unsafe { head.as_ref() }
}

/// The same, which is null where [`head`] has not found it.
#[inline(always)]
pub(super) fn known() -> *const Head {
    HEAD.get()
}

#[cold]
fn find() -> *const Head {
    let mut head: *const Head = ptr::null();
    let mut length = 0usize;
    // SAFETY: both arguments are live places for the kernel to write to; 0 is this thread.
    let result =
        unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
    if result != 0 || length != size_of::<Head>() {
        return ptr::null();
    }
    HEAD.set(head);
    head
}
