//! A value that is put in once.

#![allow(unsafe_code, reason = "refers to the value in shared memory")]

use super::LockError;
use super::handle::Handle;
use super::once::{begin, wait};
use crate::Result;
use crate::layout::Plan;
use crate::raw::once::RawOnce;
use crate::segment::{Attachment, Kind, Location, ObjectInfo, constructors, travels};
use crate::sys::time;
use crate::wait::NEVER;
use bytemuck::{CheckedBitPattern, NoUninit};
use std::convert::Infallible;
use std::fmt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// A value that one of all processes puts in, once, and that stays as it is.
///
/// Once it is there, it is a load away. `T` is as with [`Mutex`](crate::Mutex).
///
/// # When a process dies
/// If who is making the value dies, or panics, there is none, and the next one makes it: one that
/// waits for its turn is woken at once.
///
/// # Fork
/// As with [`Mutex`](crate::Mutex).
///
/// # Trust
/// Who shares the memory is trusted not to change the value.
///
/// # Examples
/// ```
/// let seed = commons::OnceCell::<u64>::new()?;
/// assert_eq!(seed.get()?, None);
/// assert_eq!(*seed.get_or_init(|| 7)?, 7);
/// assert_eq!(*seed.get_or_init(|| unreachable!())?, 7);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct OnceCell<T> {
    handle: Handle<RawOnce>,
    value: NonNull<T>,
}

// SAFETY: the value is written before it is published, and read as `&T` by everybody after that.
unsafe impl<T: Send> Send for OnceCell<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for OnceCell<T> {}

fn plan<T>() -> Result<(Plan, u64)> {
    let mut plan = Plan::new();
    plan.place::<RawOnce>()?;
    let value = plan.place::<T>()?;
    Ok((plan, value))
}

impl<T: NoUninit + CheckedBitPattern> OnceCell<T> {
    fn over(attachment: Attachment) -> Result<Self> {
        let handle = Handle::<RawOnce>::new(attachment)?;
        let offset = plan::<T>()?.1;
        let value = handle.held().at(offset, size_of::<T>() as u64, align_of::<T>() as u64)?;
        Ok(OnceCell { handle, value: value.cast() })
    }

    fn make(location: Location<'_>) -> Result<Self> {
        let plan = plan::<T>()?.0;
        Self::over(location.make(ObjectInfo::of::<T>(Kind::OnceCell, 1), plan, |blank| {
            blank.put(0, RawOnce::new());
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::OnceCell, 1))?)
    }

    /// Makes one without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`](crate::Error::NoSpace), [`Error::TooLarge`](crate::Error::TooLarge).
    pub fn new() -> Result<Self> {
        Self::make(Location::Unnamed)
    }

    constructors!("a once cell",);

    /// The value; `None`: there is none yet.
    ///
    /// # Errors
    /// [`LockError::Corrupted`] where the bytes are no value; [`LockError::Forked`],
    /// [`LockError::OtherPidNamespace`], [`LockError::NoRobustList`].
    #[inline]
    pub fn get(&self) -> Result<Option<&T>, LockError> {
        // In a forked child: that it holds the object.
        self.handle.list()?;
        if !self.handle.is_done() {
            return Ok(None);
        }
        self.made().map(Some)
    }

    /// The value, once it is there.
    #[inline]
    fn made(&self) -> Result<&T, LockError> {
        // SAFETY: the object's place for a `T`, which nobody writes any more; its bits are valid for
        // `Bits`, which has the same layout.
        if !T::is_valid_bit_pattern(unsafe { self.value.cast::<T::Bits>().as_ref() }) {
            return Err(LockError::Corrupted("the bytes are no value of its type"));
        }
        // SAFETY: as above, and a value. The handle keeps it mapped for as long as it is borrowed.
        Ok(unsafe { self.value.as_ref() })
    }

    /// Puts the value in, if there is none. Gives it back otherwise.
    ///
    /// # Errors
    /// As [`OnceCell::get_or_init`].
    ///
    /// # Blocking
    /// While somebody is making one.
    pub fn set(&self, value: T) -> Result<std::result::Result<(), T>, LockError> {
        let mut value = Some(value);
        self.get_or_init(|| value.take().expect("runs once"))?;
        Ok(value.map_or(Ok(()), Err))
    }

    /// The value; `make` makes it if there is none.
    ///
    /// # Errors
    /// [`LockError::Deadlock`] within `make`; [`LockError::TooManyLocks`]; otherwise as
    /// [`OnceCell::get`].
    ///
    /// # Blocking
    /// While somebody else is making it.
    #[inline]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> Result<&T, LockError> {
        let made = self.get_or_try_init(|| Ok::<T, Infallible>(make()))?;
        let Ok(value) = made;
        Ok(value)
    }

    /// The value; `make` makes it if there is none, or says why it cannot, and then there is none.
    ///
    /// # Errors
    /// As [`OnceCell::get_or_init`]; within, what `make` says.
    ///
    /// # Blocking
    /// As [`OnceCell::get_or_init`].
    ///
    /// # Examples
    /// ```
    /// let cell = commons::OnceCell::<u16>::new()?;
    /// assert!(cell.get_or_try_init(|| "x".parse())?.is_err());
    /// assert_eq!(cell.get_or_try_init(|| "12".parse())?, Ok(&12));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn get_or_try_init<E>(
        &self,
        make: impl FnOnce() -> std::result::Result<T, E>,
    ) -> Result<std::result::Result<&T, E>, LockError> {
        if let Some(value) = self.get()? {
            return Ok(Ok(value));
        }
        if let Some(turn) = begin(&self.handle, NEVER).map_err(LockError::of)?? {
            match make() {
                // SAFETY: the object's place for a `T`, which is this thread's for its turn.
                Ok(value) => unsafe { self.value.write(value) },
                Err(error) => return Ok(Err(error)),
            }
            turn.complete();
        }
        self.made().map(Ok)
    }

    /// Waits until there is a value.
    ///
    /// # Errors
    /// As [`OnceCell::get`], and [`LockError::Deadlock`] within the closure that makes it.
    ///
    /// # Blocking
    /// Until somebody has put one in, however many die over it.
    pub fn wait(&self) -> Result<&T, LockError> {
        wait(&self.handle, NEVER)?;
        self.handle.list()?;
        self.made()
    }

    /// Waits until there is a value, for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`OnceCell::wait`].
    ///
    /// # Blocking
    /// As [`OnceCell::wait`], until the time is over. A timeout of zero does not wait.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<&T, LockError> {
        wait(&self.handle, time::after(timeout))?;
        self.handle.list()?;
        self.made()
    }

    /// Waits until there is a value, until `deadline` at most.
    ///
    /// # Errors
    /// As [`OnceCell::wait_timeout`].
    ///
    /// # Blocking
    /// As [`OnceCell::wait_timeout`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<&T, LockError> {
        wait(&self.handle, time::at(deadline))?;
        self.handle.list()?;
        self.made()
    }
}

travels!([T: NoUninit + CheckedBitPattern] OnceCell<T>, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T: NoUninit + CheckedBitPattern + fmt::Debug> fmt::Debug for OnceCell<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnceCell")
            .field("name", &self.handle.held().attachment().name())
            .field("value", &self.get().ok().flatten())
            .field("thread_at_it", &self.handle.worker())
            .finish_non_exhaustive()
    }
}

impl<T: NoUninit + CheckedBitPattern> Clone for OnceCell<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its object was gone.
    fn clone(&self) -> Self {
        let handle = self.handle.again().expect("a handle holds its object");
        OnceCell { handle, value: self.value }
    }
}
