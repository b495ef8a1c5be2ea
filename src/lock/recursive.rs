//! A mutex that its owner can acquire again.

#![allow(unsafe_code, reason = "acquires the raw lock")]

use super::LockError;
use super::handle::Handle;
use super::mutex::{NO_VALUE, plan, show};
use super::wait_guard::{Paused, WaitGuard};
use crate::raw::mutex::{Condition, RawMutex, Refusal};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, constructors, travels};
use crate::sync::local::Ordering::Relaxed;
use crate::sync::robust::List;
use crate::sys::time;
use crate::wait::NEVER;
use crate::{Error, Result};
use bytemuck::{CheckedBitPattern, NoUninit};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::ptr::NonNull;
use std::thread::panicking;
use std::time::{Duration, Instant};

/// A value that one thread of all processes has at a time, and that it may acquire again while it
/// has it. Free when as many guards are dropped, in any order.
///
/// Since several guards of one thread lead to the value at the same time, it is copied out and in.
/// Everything else is as with [`Mutex`](crate::Mutex), deaths included.
///
/// The owner acquires it again by the same handle or a clone of it. By a handle that was opened
/// apart, even in the same process, it is [`LockError::Deadlock`].
///
/// # Examples
/// ```
/// let account = commons::RecursiveMutex::new(100i64)?;
/// let withdraw = |amount| account.lock().map(|balance| balance.set(balance.get() - amount));
/// let outer = account.lock()?;
/// withdraw(30)?; // acquires it again
/// assert_eq!(outer.get(), 70);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RecursiveMutex<T> {
    handle: Handle<RawMutex>,
    value: NonNull<T>,
}

// SAFETY: the value is reached under the lock alone, and is the object's for as long as the handle.
unsafe impl<T: Send> Send for RecursiveMutex<T> {}
// SAFETY: as above: the lock gives it to one thread at a time.
unsafe impl<T: Send> Sync for RecursiveMutex<T> {}

impl<T: NoUninit + CheckedBitPattern> RecursiveMutex<T> {
    fn over(attachment: Attachment) -> Result<Self, Error> {
        let handle = Handle::<RawMutex>::new(attachment)?;
        let offset = plan::<T>()?.1;
        let value = handle.held().at(offset, size_of::<T>() as u64, align_of::<T>() as u64)?;
        Ok(RecursiveMutex { value: value.cast(), handle })
    }

    fn make(location: Location<'_>, value: T) -> Result<Self> {
        let (plan, offset) = plan::<T>()?;
        let info = ObjectInfo::of::<T>(Kind::RecursiveMutex, 1);
        Self::over(location.make(info, plan, |blank| {
            blank.put(0, RawMutex::new());
            blank.put_bytes(offset, bytemuck::bytes_of(&value));
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::RecursiveMutex, 1))?)
    }

    /// Makes one without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::TooLarge`].
    pub fn new(value: T) -> Result<Self> {
        Self::make(Location::Unnamed, value)
    }

    constructors!("a recursive mutex", value: T);

    /// Acquires the lock, or acquires it again.
    ///
    /// # Errors
    /// As [`Mutex::lock`](crate::Mutex::lock).
    ///
    /// # Blocking
    /// As [`Mutex::lock`](crate::Mutex::lock).
    pub fn lock(&self) -> Result<RecursiveMutexGuard<'_, T>, LockError> {
        self.acquire(NEVER, LockError::of, None::<fn(Option<T>) -> T>)
    }

    /// Acquires the lock if it is free or the caller's.
    ///
    /// # Errors
    /// As [`Mutex::try_lock`](crate::Mutex::try_lock).
    pub fn try_lock(&self) -> Result<RecursiveMutexGuard<'_, T>, LockError> {
        self.acquire(0, LockError::of_try, None::<fn(Option<T>) -> T>)
    }

    /// Acquires the lock, waiting for at most `timeout`.
    ///
    /// # Errors
    /// As [`Mutex::lock_timeout`](crate::Mutex::lock_timeout).
    ///
    /// # Blocking
    /// As [`Mutex::lock_timeout`](crate::Mutex::lock_timeout).
    pub fn lock_timeout(&self, timeout: Duration) -> Result<RecursiveMutexGuard<'_, T>, LockError> {
        self.acquire(time::after(timeout), LockError::of, None::<fn(Option<T>) -> T>)
    }

    /// Acquires the lock, waiting until `deadline` at most.
    ///
    /// # Errors
    /// As [`RecursiveMutex::lock_timeout`].
    ///
    /// # Blocking
    /// As [`RecursiveMutex::lock_timeout`].
    pub fn lock_deadline(
        &self,
        deadline: Instant,
    ) -> Result<RecursiveMutexGuard<'_, T>, LockError> {
        self.acquire(time::at(deadline), LockError::of, None::<fn(Option<T>) -> T>)
    }

    /// Acquires the lock, and has `repair` look at the value first if its last owner died or
    /// panicked inside. `repair` gets what is there, if that is a value, and gives what is to be
    /// there. If it panics, or dies, nothing is repaired.
    ///
    /// # Errors
    /// As [`RecursiveMutex::lock`], without `OwnerDied`, `Poisoned` and `Corrupted`.
    ///
    /// # Blocking
    /// As [`RecursiveMutex::lock`].
    pub fn lock_or_repair(
        &self,
        repair: impl FnOnce(Option<T>) -> T,
    ) -> Result<RecursiveMutexGuard<'_, T>, LockError> {
        self.acquire(NEVER, LockError::of, Some(repair))
    }

    fn acquire(
        &self,
        deadline: u64,
        refused: fn(Refusal) -> LockError,
        repair: Option<impl FnOnce(Option<T>) -> T>,
    ) -> Result<RecursiveMutexGuard<'_, T>, LockError> {
        let list = self.handle.list()?;
        let depth = self.handle.depth();
        // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
        // lock is linked, for as long as that.
        match unsafe { self.handle.lock(list, deadline) } {
            Ok(_) => {
                depth.store(1, Relaxed);
            }
            Err(Refusal::Own) if self.handle.slot(list).is_some() => {
                let deeper = depth.load(Relaxed).checked_add(1).ok_or(LockError::TooManyLocks)?;
                depth.store(deeper, Relaxed);
                return Ok(RecursiveMutexGuard::new(self, list));
            }
            Err(Refusal::Own) => return Err(LockError::Deadlock),
            Err(refusal) => return Err(refused(refusal)),
        }
        let found = self.handle.enter(list);
        let valid = self.is_valid();
        if found == Condition::Clean && valid {
            return Ok(RecursiveMutexGuard::new(self, list));
        }
        let before = match found {
            Condition::Clean => 0,
            _ => self.handle.begin_repair(list),
        };
        // Puts back what was found, unless it is repaired.
        let mut unrepaired = Unrepaired { mutex: self, list, before: Some(before) };
        let Some(repair) = repair else {
            let error = LockError::of_condition(found);
            return Err(error.unwrap_or(LockError::Corrupted(NO_VALUE)));
        };
        // SAFETY: the object's place for a `T`, which is the owner's, and holds one.
        let value = repair(valid.then(|| unsafe { self.value.read() }));
        // SAFETY: the object's place for a `T`, which is the owner's.
        unsafe { self.value.write(value) };
        self.handle.end_repair(list);
        unrepaired.before = None;
        Ok(RecursiveMutexGuard::new(self, list))
    }

    fn is_valid(&self) -> bool {
        // SAFETY: the object's place for a `T`, which is the owner's; its bits are valid for `Bits`,
        // which has the same layout.
        T::is_valid_bit_pattern(unsafe { self.value.cast::<T::Bits>().as_ref() })
    }
}

/// A lock whose owner has not repaired it yet.
struct Unrepaired<'a, T> {
    mutex: &'a RecursiveMutex<T>,
    list: List,
    before: Option<u32>,
}

impl<T> Drop for Unrepaired<'_, T> {
    fn drop(&mut self) {
        if let Some(before) = self.before {
            self.mutex.handle.relinquish(before);
            self.mutex.release(self.list);
        }
    }
}

impl<T> RecursiveMutex<T> {
    /// Whether a thread holds it. Stale by the time the caller looks at it.
    pub fn is_locked(&self) -> bool {
        self.handle.owner_thread().is_some()
    }

    /// Releases the lock altogether.
    fn release(&self, list: List) {
        self.handle.depth().store(0, Relaxed);
        if let Some(slot) = self.handle.slot(list) {
            // SAFETY: the slot of this word in this thread's records. Where it stays linked it stays
            // mapped: the handle sees to it.
            let _ = unsafe { self.handle.unlock(list, slot) };
        }
    }
}

travels!([T: NoUninit + CheckedBitPattern] RecursiveMutex<T>, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for RecursiveMutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("RecursiveMutex");
        show(&mut shown, &self.handle);
        shown.field("depth", &self.handle.depth().load(Relaxed)).finish_non_exhaustive()
    }
}

impl<T: NoUninit + CheckedBitPattern> Clone for RecursiveMutex<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its mutex was gone.
    fn clone(&self) -> Self {
        let handle = self.handle.again().expect("a handle holds its mutex");
        RecursiveMutex { handle, value: self.value }
    }
}

/// One of the rights of a thread to the value of a [`RecursiveMutex`]; when the last is dropped, the
/// lock is released. Belongs to the thread that acquired it.
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// let mutex = commons::RecursiveMutex::new(0u64).unwrap();
/// is_send(mutex.lock().unwrap());
/// ```
#[must_use = "the lock is released when the guard is dropped"]
pub struct RecursiveMutexGuard<'a, T> {
    mutex: &'a RecursiveMutex<T>,
    /// The fork epoch in which it was acquired.
    epoch: u32,
    /// The thread was panicking when it acquired the lock: then that it does says nothing.
    panicking: bool,
    thread: PhantomData<*mut ()>,
}

impl<'a, T> RecursiveMutexGuard<'a, T> {
    fn new(mutex: &'a RecursiveMutex<T>, list: List) -> Self {
        let (epoch, panicking) = (list.epoch(), panicking());
        RecursiveMutexGuard { mutex, epoch, panicking, thread: PhantomData }
    }
}

impl<T: Copy> RecursiveMutexGuard<'_, T> {
    /// A copy of the value.
    pub fn get(&self) -> T {
        // SAFETY: a value, as was seen when it was acquired, which is the owner's; no reference to
        // it is ever given out.
        unsafe { self.mutex.value.read() }
    }

    /// Puts a value in.
    pub fn set(&self, value: T) {
        // SAFETY: as in `get`.
        unsafe { self.mutex.value.write(value) };
    }

    /// Changes a copy of the value and puts it in.
    pub fn update(&self, change: impl FnOnce(&mut T)) {
        let mut value = self.get();
        change(&mut value);
        self.set(value);
    }
}

impl<T> Drop for RecursiveMutexGuard<'_, T> {
    fn drop(&mut self) {
        let (mutex, handle) = (self.mutex, &self.mutex.handle);
        let Some(list) = List::of_epoch(self.epoch) else { return };
        if !self.panicking && panicking() {
            handle.poison(list);
        }
        let left = handle.depth().load(Relaxed).saturating_sub(1);
        if left == 0 {
            handle.leave_as_it_is();
            mutex.release(list);
            return;
        }
        handle.depth().store(left, Relaxed);
    }
}

/// What is left of a guard while the lock is let go altogether.
pub(super) struct Rest<'a, T> {
    mutex: &'a RecursiveMutex<T>,
    /// How often it was acquired.
    depth: u32,
    /// The value as it was.
    value: T,
}

impl<'a, T: NoUninit + CheckedBitPattern> Paused for RecursiveMutexGuard<'a, T> {
    type Rest = Rest<'a, T>;

    fn pause(self) -> Result<Self::Rest, LockError> {
        let mutex = self.mutex;
        let list = List::of_epoch(self.epoch).ok_or(LockError::Forked)?;
        let depth = mutex.handle.depth().load(Relaxed);
        let rest = Rest { mutex, depth, value: self.get() };
        mem::forget(self);
        mutex.handle.leave_as_it_is();
        mutex.release(list);
        Ok(rest)
    }

    /// Where the value was left inconsistent, the other guards of the caller still have the lock.
    fn resume(Rest { mutex, depth, value }: Self::Rest) -> Result<Self, LockError> {
        let handle = &mutex.handle;
        let list = handle.list()?;
        // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
        // lock is linked, for as long as that.
        unsafe { handle.lock(list, NEVER) }.map_err(LockError::of)?;
        let found = handle.enter(list);
        let valid = mutex.is_valid();
        if found == Condition::Clean && valid {
            handle.depth().store(depth, Relaxed);
            return Ok(RecursiveMutexGuard::new(mutex, list));
        }
        let error = LockError::of_condition(found).unwrap_or(LockError::Corrupted(NO_VALUE));
        let before = match found {
            Condition::Clean => 0,
            _ => handle.begin_repair(list),
        };
        if depth == 1 {
            handle.relinquish(before);
            mutex.release(list);
        } else {
            if !valid {
                // SAFETY: the object's place for a `T`, which is the owner's.
                unsafe { mutex.value.write(value) };
            }
            handle.poison(list);
            handle.depth().store(depth - 1, Relaxed);
        }
        Err(error)
    }
}

impl<T: NoUninit + CheckedBitPattern> WaitGuard for RecursiveMutexGuard<'_, T> {
    type Value = T;

    fn look<R>(&mut self, look: impl FnOnce(&mut T) -> R) -> R {
        let mut value = self.get();
        let result = look(&mut value);
        self.set(value);
        result
    }
}

impl<T: Copy + fmt::Debug> fmt::Debug for RecursiveMutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
