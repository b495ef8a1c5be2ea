//! Memory that parent and child share: one anonymous, populated mapping per object.

use std::io;
use std::ops::Deref;
use std::ptr::{self, NonNull};
use std::sync::Arc;

/// A value on two cache lines of its own: adjacent lines are prefetched in pairs.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

/// One `T` in memory that a fork shares instead of copying; unmapped with the last `Arc`.
pub(crate) struct Shared<T> {
    at: NonNull<T>,
}

// SAFETY: a `Shared` is an owner of one `T`, as a `Box` is.
unsafe impl<T: Send> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// Maps a `T` of zero bytes.
    ///
    /// # Safety
    /// Zero bytes must be a valid `T`.
    pub(crate) unsafe fn zeroed() -> io::Result<Arc<Self>> {
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).expect("a mapping at address 0");
        Ok(Arc::new(Self { at }))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped and valid since `zeroed`, until `drop`.
        unsafe { self.at.as_ref() }
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `zeroed`; nobody can use it after this.
        unsafe { libc::munmap(self.at.as_ptr().cast(), size_of::<T>()) };
    }
}
