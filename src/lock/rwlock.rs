//! A readers-writer lock around a value in shared memory.

#![allow(unsafe_code, reason = "acquires the raw lock")]

use super::handle::Handle;
use super::mutex::NO_VALUE;
use super::{LockError, RwLockReadGuard, RwLockRecoveryGuard, RwLockWriteGuard};
use crate::layout::Plan;
use crate::raw::mutex::{Condition, Refusal};
use crate::raw::rwlock::{RawRwLock, Share};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::robust::{List, Slot};
use crate::sys::time;
use crate::wait::NEVER;
use crate::{Error, Result};
use bytemuck::{CheckedBitPattern, NoUninit};
use std::fmt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

// SAFETY: made of atomics.
unsafe impl Shared for RawRwLock {}

/// A value that many threads of all processes read at a time, or one changes.
///
/// A read lock is one compare-and-swap on a cache line that the reader has for itself and one look at
/// a line that only writers write, so readers on several processors do not slow each other down. A
/// write lock looks at the lines of all threads that ever read. No system call, no allocation, unless
/// somebody has to wait. The lock takes 4,160 bytes, a handle as many.
///
/// `T` is as with [`Mutex`](crate::Mutex).
///
/// # Who goes first
/// Readers and writers take turns. A reader that comes while a writer is inside or waits lets that
/// one writer go first, and goes before the next one, however many there are. A writer waits for the
/// readers that came before it, and for those that the writer before it kept waiting; readers that
/// come later wait. So neither starves the other. Writers among themselves are in no order.
///
/// A thread that reads may read again: it gets a second guard at once, whoever waits. (By a handle
/// that was opened apart, even in the same process, it is [`LockError::Deadlock`] while a writer
/// waits.)
///
/// Up to 64 threads read at a time. Beyond, threads read one by one, in turn with writers.
///
/// # When a process dies
/// The kernel gives back the share of a reader that dies, and wakes the writer that waits for it at
/// once. A reader changes nothing, so its death is nobody's concern. A writer that dies inside is
/// told of as [`LockError::OwnerDied`], to readers and writers, until somebody has looked at the
/// value and said that it is consistent: [`RwLock::write_or_repair`], or [`RwLock::recover`]. If the
/// repairer dies, too, its death is told in turn. Killed at any instruction, inside or waiting,
/// nobody leaves others asleep.
///
/// A thread that ends while it holds a lock (by a leaked guard) is like a process that dies.
///
/// # Fork
/// As with [`Mutex`](crate::Mutex).
///
/// # Differences from `std::sync::RwLock`
/// - To write while the calling thread reads, or to lock while it writes, is
///   [`LockError::Deadlock`], not a hang.
/// - A panic while reading does not poison; one while writing does, for readers, too.
/// - A thread can hold 1,024 locks at a time, then [`LockError::TooManyLocks`].
/// - A leaked guard keeps its lock in memory for as long as the process lives.
/// - Not for signal handlers.
///
/// # Trust
/// As with [`Mutex`](crate::Mutex): who shares the memory keeps to the protocol, in one pid namespace.
///
/// # Examples
/// ```
/// use commons::{Process, RwLock};
///
/// let table = RwLock::new([0u64; 4])?;
/// let in_child = table.clone();
/// let child = Process::spawn(move || {
///     for i in 0..4 {
///         in_child.write().expect("nobody dies here")[i] = 7;
///     }
/// })?;
/// let first = table.read()?; // with as many others as like to
/// assert!(first.is_sorted_by(|a, b| a >= b));
/// drop(first);
/// child.join()?;
/// assert_eq!(*table.read()?, [7; 4]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RwLock<T> {
    pub(super) handle: Handle<RawRwLock>,
    pub(super) value: NonNull<T>,
}

// SAFETY: the value is reached under the lock alone, by several threads as `&T`, by one as `&mut T`,
// and is the object's for as long as the handle.
unsafe impl<T: Send> Send for RwLock<T> {}
// SAFETY: as above.
unsafe impl<T: Send + Sync> Sync for RwLock<T> {}

/// Where the lock and the value are in the object.
fn plan<T>() -> Result<(Plan, u64)> {
    let mut plan = Plan::new();
    plan.place::<RawRwLock>()?;
    let value = plan.place::<T>()?;
    Ok((plan, value))
}

impl<T: NoUninit + CheckedBitPattern> RwLock<T> {
    fn over(attachment: Attachment) -> Result<Self, Error> {
        let handle = Handle::<RawRwLock>::new(attachment)?;
        let offset = plan::<T>()?.1;
        let value = handle.held().at(offset, size_of::<T>() as u64, align_of::<T>() as u64)?;
        Ok(Self::by(handle, value.cast()))
    }

    fn by(handle: Handle<RawRwLock>, value: NonNull<T>) -> Self {
        RwLock { handle, value }
    }

    fn make(location: Location<'_>, value: T) -> Result<Self> {
        let (plan, offset) = plan::<T>()?;
        Self::over(location.make(ObjectInfo::of::<T>(Kind::RwLock, 1), plan, |blank| {
            blank.put(0, RawRwLock::new());
            blank.put_bytes(offset, bytemuck::bytes_of(&value));
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<T>(Kind::RwLock, 1))?)
    }

    /// Makes a lock without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`], [`Error::TooLarge`].
    pub fn new(value: T) -> Result<Self> {
        Self::make(Location::Unnamed, value)
    }

    constructors!("a lock", value: T);

    /// Acquires a share of the lock, to read.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] and [`LockError::Poisoned`] until the value was repaired;
    /// [`LockError::Deadlock`] where the calling thread writes; [`LockError::TooManyLocks`],
    /// [`LockError::Forked`], [`LockError::OtherPidNamespace`], [`LockError::NoRobustList`],
    /// [`LockError::Corrupted`].
    ///
    /// # Blocking
    /// Until the one writer that is inside or waits is done, or dies. Spins for about 13 us, then
    /// sleeps.
    #[inline]
    pub fn read(&self) -> Result<RwLockReadGuard<'_, T>, LockError> {
        self.read_until(NEVER, LockError::of)
    }

    /// Acquires a share of the lock if no writer is inside or waits.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] where one does, the calling thread, too; otherwise as
    /// [`RwLock::read`], without `Deadlock`.
    #[inline]
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, LockError> {
        self.read_until(0, LockError::of_try)
    }

    /// Acquires a share of the lock, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`RwLock::read`].
    ///
    /// # Blocking
    /// As [`RwLock::read`], until the time is over. A timeout of zero does not wait.
    pub fn read_timeout(&self, timeout: Duration) -> Result<RwLockReadGuard<'_, T>, LockError> {
        self.read_until(time::after(timeout), LockError::of)
    }

    /// Acquires a share of the lock, waiting until `deadline` at most.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`RwLock::read`].
    ///
    /// # Blocking
    /// As [`RwLock::read_timeout`].
    pub fn read_deadline(&self, deadline: Instant) -> Result<RwLockReadGuard<'_, T>, LockError> {
        self.read_until(time::at(deadline), LockError::of)
    }

    /// Acquires the lock for the calling thread alone.
    ///
    /// # Errors
    /// [`LockError::OwnerDied`] and [`LockError::Poisoned`] until the value was repaired;
    /// [`LockError::Deadlock`] where the calling thread reads or writes; otherwise as
    /// [`RwLock::read`].
    ///
    /// # Blocking
    /// Until the writers and readers before it are done, or die. Spins for about 13 us, then sleeps.
    #[inline]
    pub fn write(&self) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.write_until(NEVER, LockError::of)
    }

    /// Acquires the lock for the calling thread alone, if nobody has it or waits to read.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`] where somebody does, the calling thread, too; otherwise as
    /// [`RwLock::write`], without `Deadlock`.
    #[inline]
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.write_until(0, LockError::of_try)
    }

    /// Acquires the lock for the calling thread alone, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`RwLock::write`].
    ///
    /// # Blocking
    /// As [`RwLock::write`], until the time is over. A timeout of zero does not wait. Readers that
    /// came meanwhile have waited for it.
    pub fn write_timeout(&self, timeout: Duration) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.write_until(time::after(timeout), LockError::of)
    }

    /// Acquires the lock for the calling thread alone, waiting until `deadline` at most.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`RwLock::write`].
    ///
    /// # Blocking
    /// As [`RwLock::write_timeout`].
    pub fn write_deadline(&self, deadline: Instant) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        self.write_until(time::at(deadline), LockError::of)
    }

    /// Acquires the lock for the calling thread alone, and has `repair` look at the value first if
    /// the last writer died or panicked inside. When `repair` returns, the value is consistent again;
    /// if it panics, or dies, it is not.
    ///
    /// # Errors
    /// As [`RwLock::write`], without `OwnerDied` and `Poisoned`.
    ///
    /// # Blocking
    /// As [`RwLock::write`].
    ///
    /// # Examples
    /// ```
    /// use commons::{LockError, Process, RwLock};
    ///
    /// let pair = RwLock::new([1u64, 1])?;
    /// let in_child = pair.clone();
    /// let child = Process::<()>::spawn(move || {
    ///     let mut pair = in_child.write().expect("it is free");
    ///     pair[0] = 7;
    ///     std::process::abort(); // before the other half is written
    /// })?;
    /// assert!(child.join().is_err());
    /// assert!(matches!(pair.read(), Err(LockError::OwnerDied { .. })));
    /// drop(pair.write_or_repair(|pair| pair[1] = pair[0])?);
    /// assert_eq!(*pair.read()?, [7, 7]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_or_repair(
        &self,
        repair: impl FnOnce(&mut T),
    ) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        match self.write() {
            Err(LockError::OwnerDied { .. } | LockError::Poisoned) => {}
            other => return other,
        }
        let mut guard = self.recover()?;
        // Somebody may have been faster.
        if guard.is_damaged() {
            repair(&mut guard);
        }
        Ok(guard.mark_consistent())
    }

    /// Acquires the lock for the calling thread alone whatever the last writer left, to look at it.
    /// Until [`RwLockRecoveryGuard::mark_consistent`] it stays as it was found for everybody else.
    ///
    /// # Errors
    /// As [`RwLock::write`], without `OwnerDied` and `Poisoned`.
    ///
    /// # Blocking
    /// As [`RwLock::write`].
    pub fn recover(&self) -> Result<RwLockRecoveryGuard<'_, T>, LockError> {
        let (list, slot) = self.acquire(NEVER).map_err(LockError::of)??;
        if !self.is_valid() {
            self.stop_writing(list, slot);
            return Err(LockError::Corrupted(NO_VALUE));
        }
        Ok(RwLockRecoveryGuard::new(self, list, slot))
    }

    /// Acquires the lock for the calling thread alone and puts a new value in, whatever was there:
    /// also where it was [`LockError::Corrupted`] because it is no value of the type.
    ///
    /// # Errors
    /// As [`RwLock::recover`].
    ///
    /// # Blocking
    /// As [`RwLock::write`].
    pub fn reset(&self, value: T) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        let (list, slot) = self.acquire(NEVER).map_err(LockError::of)??;
        self.raw().door().begin_repair(list);
        // SAFETY: the object's place for a `T`, which is the writer's.
        unsafe { self.value.write(value) };
        self.raw().door().end_repair(list);
        Ok(RwLockWriteGuard::new(self, list, slot))
    }

    /// Says that a value is consistent although a thread panicked over it. (Not if one died.)
    ///
    /// # Errors
    /// As [`RwLock::recover`].
    ///
    /// # Blocking
    /// As [`RwLock::write`].
    pub fn clear_poison(&self) -> Result<(), LockError> {
        let (list, slot) = self.acquire(NEVER).map_err(LockError::of)??;
        self.raw().door().clear_poison();
        self.stop_writing(list, slot);
        Ok(())
    }

    #[inline(always)]
    fn read_until(
        &self,
        deadline: u64,
        explain: fn(Refusal) -> LockError,
    ) -> Result<RwLockReadGuard<'_, T>, LockError> {
        let list = self.handle.list()?;
        // SAFETY: this thread's list; the handle keeps the lock mapped, and does so for good if it is
        // dropped while the share is noted.
        let share = match unsafe { self.handle.read(list, deadline) } {
            Ok(share) => share,
            Err(refusal) => return Err(self.refused(refusal, explain)),
        };
        if self.raw().door().condition() == Condition::Clean && self.is_valid() {
            return Ok(RwLockReadGuard::new(self, list, share));
        }
        Err(self.refuse_share(list, share))
    }

    #[cold]
    #[inline(never)]
    fn refuse_share(&self, list: List, share: Share) -> LockError {
        let found = self.raw().door().condition();
        self.stop_reading(list, share);
        LockError::of_condition(found).unwrap_or(LockError::Corrupted(NO_VALUE))
    }

    #[inline(always)]
    fn write_until(
        &self,
        deadline: u64,
        explain: fn(Refusal) -> LockError,
    ) -> Result<RwLockWriteGuard<'_, T>, LockError> {
        let (list, slot) = self.acquire(deadline).map_err(explain)??;
        let found = self.raw().door().enter(list);
        if found == Condition::Clean {
            if self.is_valid() {
                return Ok(RwLockWriteGuard::new(self, list, slot));
            }
            self.raw().door().leave();
        }
        self.stop_writing(list, slot);
        Err(LockError::of_condition(found).unwrap_or(LockError::Corrupted(NO_VALUE)))
    }

    /// As a writer, whatever it finds.
    #[inline(always)]
    fn acquire(&self, deadline: u64) -> Result<Result<(List, Slot), LockError>, Refusal> {
        let list = match self.handle.list() {
            Ok(list) => list,
            Err(error) => return Ok(Err(error)),
        };
        // SAFETY: this thread's list; the handle keeps the lock mapped, and if it is dropped while the
        // lock is linked, for as long as that.
        let slot = unsafe { self.handle.write(list, deadline) }?;
        Ok(Ok((list, slot)))
    }

    #[cold]
    #[inline(never)]
    fn refused(&self, refusal: Refusal, explain: fn(Refusal) -> LockError) -> LockError {
        explain(refusal)
    }

    /// Whether the bytes are a value. Nothing to do for most types.
    #[inline(always)]
    fn is_valid(&self) -> bool {
        // SAFETY: the object's place for a `T`, which nobody writes while the caller has a share or
        // the lock; its bits are valid for `Bits`, which has the same layout.
        T::is_valid_bit_pattern(unsafe { self.value.cast::<T::Bits>().as_ref() })
    }
}

travels!([T: NoUninit + CheckedBitPattern] RwLock<T>, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let raw = self.raw();
        let (door, (readers, waiting)) = (raw.door(), raw.readers());
        let writer = door.owner_thread().filter(|_| raw.is_writing());
        let mut shown = f.debug_struct("RwLock");
        shown.field("name", &self.handle.held().attachment().name());
        shown.field("readers", &readers).field("waiting_readers", &waiting);
        match (writer, door.condition()) {
            (Some(thread), Condition::OwnerDied { pid }) => {
                shown.field("writer", &format_args!("process {pid}, thread {thread}"))
            }
            (Some(thread), _) => shown.field("writer", &format_args!("thread {thread}")),
            (None, Condition::Clean) => shown.field("writer", &None::<u32>),
            (None, Condition::Poisoned) => shown.field("writer", &format_args!("none, poisoned")),
            (None, Condition::OwnerDied { pid }) => {
                shown.field("writer", &format_args!("none, process {pid} died inside"))
            }
        };
        shown.finish_non_exhaustive()
    }
}

impl<T: NoUninit + CheckedBitPattern> Clone for RwLock<T> {
    /// # Panics
    /// In a forked process that inherited the handle after its lock was gone.
    fn clone(&self) -> Self {
        let handle = self.handle.again().expect("a handle holds its lock");
        Self::by(handle, self.value)
    }
}
