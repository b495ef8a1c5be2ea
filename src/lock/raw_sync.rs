//! [`Mutex`] and [`Event`] behind the traits of the `raw_sync` crate, for programs that are written
//! to those.
//!
//! Of its traits, `LockInit` and `EventInit` are not implemented: they build a lock into any memory,
//! and ours needs to know whose that is and how long it stays.

#![allow(unsafe_code, reason = "the traits are made of pointers")]

use super::{Event, LockError, Mutex};
use ::raw_sync::Timeout;
use ::raw_sync::events::{EventImpl, EventState};
use ::raw_sync::locks::{LockGuard, LockImpl};
use bytemuck::{CheckedBitPattern, NoUninit};
use std::cell::UnsafeCell;
use std::ffi::c_void;
use std::{fmt, io, mem};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// A [`Mutex`] as a lock of the `raw_sync` crate. Feature `raw_sync`.
///
/// It keeps the promises of a [`Mutex`]: above all, `lock` fails with
/// [`LockError::OwnerDied`] where its last owner died, until somebody repairs it by
/// [`RawSyncMutex::mutex`]. (`raw_sync`'s own lock is a process-shared mutex of libc's, on which
/// everybody then waits for ever.)
///
/// # Differences from `raw_sync::locks::Mutex`
/// - It is made from a [`Mutex`] and not in memory that the caller provides.
/// - The pointer that a guard gives is to the value of the mutex.
/// - `lock` by the thread that has the lock is an error and no deadlock; `release` by any other, too.
///
/// # Examples
/// ```
/// use commons::{Mutex, RawSyncMutex};
/// use raw_sync::locks::LockImpl;
///
/// let lock: Box<dyn LockImpl> = Box::new(RawSyncMutex::new(Mutex::new(7u64)?));
/// let guard = lock.lock()?;
/// let value: *mut u64 = guard.cast();
/// // SAFETY: the guard has the lock, and the mutex holds a `u64`.
/// assert_eq!(unsafe { *value }, 7);
/// # drop(guard);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RawSyncMutex<T> {
    mutex: Mutex<T>,
    /// What a guard leads to. Callers can overwrite it; nothing here reads it.
    data: UnsafeCell<*mut u8>,
}

impl<T> RawSyncMutex<T> {
    /// That mutex.
    pub fn new(mutex: Mutex<T>) -> Self {
        let data = UnsafeCell::new(mutex.value().as_ptr().cast());
        RawSyncMutex { mutex, data }
    }

    /// The mutex itself: to repair what a dead owner left, for example.
    pub fn mutex(&self) -> &Mutex<T> {
        &self.mutex
    }
}

impl<T: NoUninit + CheckedBitPattern> RawSyncMutex<T> {
    fn guard<'a>(
        &'a self,
        acquired: std::result::Result<super::MutexGuard<'a, T>, LockError>,
    ) -> Result<LockGuard<'a>> {
        mem::forget(acquired?);
        let lock: &'a dyn LockImpl = self;
        const { assert!(size_of::<LockGuard<'_>>() == size_of::<&dyn LockImpl>()) };
        // SAFETY: in the one version that this crate can be built with (0.1.5) a guard has one field,
        // `lock: &dyn LockImpl`, and no function to make one from outside. It is as large as that
        // field, so it is that field. Dropped, it calls `release` of it once.
        Ok(unsafe { mem::transmute::<&'a dyn LockImpl, LockGuard<'a>>(lock) })
    }
}

impl<T: NoUninit + CheckedBitPattern> LockImpl for RawSyncMutex<T> {
    fn as_raw(&self) -> *mut c_void {
        self.mutex.value().as_ptr().cast()
    }

    fn lock(&self) -> Result<LockGuard<'_>> {
        self.guard(self.mutex.lock())
    }

    fn try_lock(&self, timeout: Timeout) -> Result<LockGuard<'_>> {
        match timeout {
            Timeout::Infinite => self.lock(),
            Timeout::Val(timeout) => self.guard(self.mutex.lock_timeout(timeout)),
        }
    }

    fn release(&self) -> Result<()> {
        match self.mutex.release_forgotten()? {
            true => Ok(()),
            false => Err("the calling thread does not have the lock".into()),
        }
    }

    unsafe fn get_inner(&self) -> &mut *mut u8 {
        // SAFETY: the caller has the lock, and nobody else has a reference to this place, which is
        // the wrapper's own and, by `UnsafeCell`, one thread's.
        let data = unsafe { &mut *self.data.get() };
        *data = self.mutex.value().as_ptr().cast();
        data
    }
}

impl<T> fmt::Debug for RawSyncMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RawSyncMutex").field(&self.mutex).finish()
    }
}

/// An event as one of the `raw_sync` crate; feature `raw_sync`. A wait that times out is an
/// [`io::Error`] of the kind `TimedOut`.
impl EventImpl for Event {
    fn wait(&self, timeout: Timeout) -> Result<()> {
        match timeout {
            Timeout::Infinite => Ok(Event::wait(self)?),
            Timeout::Val(timeout) if self.wait_timeout(timeout)? => Ok(()),
            Timeout::Val(_) => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
        }
    }

    fn set(&self, state: EventState) -> Result<()> {
        match state {
            EventState::Signaled => Event::set(self)?,
            EventState::Clear => self.reset()?,
        }
        Ok(())
    }
}
