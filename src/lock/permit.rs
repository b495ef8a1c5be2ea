//! Permits that have a holder, and return when it dies.

#![allow(unsafe_code, reason = "acquires raw permits in shared memory")]

use super::LockError;
use super::handle::Handle;
use crate::layout::Plan;
use crate::raw::permits::{MOST, RawPermits};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::atomic::AtomicU32;
use crate::sync::local::{self, Ordering::Relaxed};
use crate::sync::robust::{List, RobustWord, Slot};
use crate::sys::time;
use crate::wait::{NEVER, WaitStrategy};
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

/// The state in front of the permits.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PoolState {
    bell: AtomicU32,
    reserved: AtomicU32,
}

// SAFETY: made of atomics.
unsafe impl Shared for PoolState {}
// SAFETY: made of atomics.
unsafe impl Shared for RobustWord {}

/// A number of permits, each of which has a holder, and returns when that dies.
///
/// A [`Permit`] is given back when it is dropped. At most [`PermitPool::MAX_PERMITS`] in a pool: a
/// waiter watches all of them at once. For more, or for permits that one process takes and another
/// gives back, there is [`Semaphore`](super::Semaphore).
///
/// # When a process dies
/// The kernel returns the permits of a dying thread, and wakes a waiter at once. That goes for a
/// thread that ends with a permit it leaked, too. A death while a permit is taken, given back or
/// waited for wedges nobody. What the permit stood for is as the dead left it: where that matters,
/// take a [`Mutex`](super::Mutex), which tells.
///
/// Before Linux 5.16 a waiter looks every 5 ms instead of being woken by another permit than the
/// first.
///
/// # Fork
/// A permit belongs to the thread that acquired it; a forked child's copy does nothing.
///
/// # Examples
/// ```
/// use commons::{PermitPool, Process};
///
/// let pool = PermitPool::new(1)?;
/// let in_child = pool.clone();
/// let child = Process::<()>::spawn(move || {
///     let _permit = in_child.acquire().expect("it is free");
///     std::process::abort()
/// })?;
/// assert!(child.join().is_err());
/// let permit = pool.acquire()?;
/// assert_eq!(pool.available(), 0);
/// drop(permit);
/// assert_eq!(pool.available(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct PermitPool {
    handle: ManuallyDrop<Handle<PoolState>>,
    words: NonNull<RobustWord>,
    count: usize,
    strategy: WaitStrategy,
    /// Permits that threads of this process have by this handle: their number in the lower half, and
    /// the fork epoch in which they were acquired.
    out: local::AtomicU64,
}

// SAFETY: the words are atomics, mapped for as long as the handle.
unsafe impl Send for PermitPool {}
// SAFETY: as above.
unsafe impl Sync for PermitPool {}

fn plan(count: u64) -> Result<(Plan, u64)> {
    if count == 0 {
        return Err(Error::Zero { what: "a number of permits" });
    }
    if count > MOST as u64 {
        let limit = MOST as u64;
        return Err(Error::TooLarge { what: "a number of permits", asked: count, limit });
    }
    let mut plan = Plan::new();
    plan.place::<PoolState>()?;
    let words = plan.place_slice::<RobustWord>(count)?;
    Ok((plan, words))
}

impl PermitPool {
    /// The most permits that a pool can have.
    pub const MAX_PERMITS: u32 = MOST as u32;

    fn over(attachment: Attachment) -> Result<Self> {
        let count = attachment.info().capacity;
        let handle = Handle::<PoolState>::new(attachment)?;
        let Ok((_, offset)) = plan(count) else {
            let name = handle.held().attachment().name().to_owned();
            return Err(Error::Corrupted { name, problem: "a number of permits of no pool" });
        };
        let size = count * size_of::<RobustWord>() as u64;
        let words = handle.held().at(offset, size, align_of::<RobustWord>() as u64)?;
        Ok(Self::with(handle, words.cast(), count as usize, WaitStrategy::default()))
    }

    fn with(
        handle: Handle<PoolState>,
        words: NonNull<RobustWord>,
        count: usize,
        strategy: WaitStrategy,
    ) -> Self {
        let (handle, out) = (ManuallyDrop::new(handle), local::AtomicU64::new(0));
        PermitPool { handle, words, count, strategy, out }
    }

    fn make(location: Location<'_>, permits: u32) -> Result<Self> {
        let (plan, offset) = plan(u64::from(permits))?;
        let info = ObjectInfo::of::<()>(Kind::PermitPool, u64::from(permits));
        Self::over(location.make(info, plan, |blank| {
            blank.put(0, PoolState { bell: AtomicU32::new(0), reserved: AtomicU32::new(0) });
            for index in 0..u64::from(permits) {
                blank.put(offset + index * size_of::<RobustWord>() as u64, RobustWord::new());
            }
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<()>(Kind::PermitPool, 1))?)
    }

    /// Makes a pool without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::Zero`], [`Error::TooLarge`], [`Error::NoSpace`].
    pub fn new(permits: u32) -> Result<Self> {
        Self::make(Location::Unnamed, permits)
    }

    constructors!("a pool", permits: u32);

    /// Takes a permit.
    ///
    /// # Errors
    /// [`LockError::TooManyLocks`], [`LockError::Forked`], [`LockError::OtherPidNamespace`],
    /// [`LockError::NoRobustList`].
    ///
    /// # Blocking
    /// Until one is given back or its holder dies, as the [`WaitStrategy`] of the handle says. A
    /// thread that has all of them waits for itself.
    pub fn acquire(&self) -> Result<Permit<'_>, LockError> {
        self.acquire_until(NEVER)
    }

    /// Takes a permit if one is free.
    ///
    /// # Errors
    /// [`LockError::WouldBlock`]; otherwise as [`PermitPool::acquire`].
    pub fn try_acquire(&self) -> Result<Permit<'_>, LockError> {
        self.acquire_until(0).map_err(|error| match error {
            LockError::TimedOut => LockError::WouldBlock,
            other => other,
        })
    }

    /// Takes a permit, waiting for at most `timeout`.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`PermitPool::acquire`].
    ///
    /// # Blocking
    /// As [`PermitPool::acquire`], until the time is over.
    pub fn acquire_timeout(&self, timeout: Duration) -> Result<Permit<'_>, LockError> {
        self.acquire_until(time::after(timeout))
    }

    /// Takes a permit, waiting until `deadline` at most.
    ///
    /// # Errors
    /// [`LockError::TimedOut`]; otherwise as [`PermitPool::acquire`].
    ///
    /// # Blocking
    /// As [`PermitPool::acquire_timeout`].
    pub fn acquire_deadline(&self, deadline: Instant) -> Result<Permit<'_>, LockError> {
        self.acquire_until(time::at(deadline))
    }

    fn acquire_until(&self, deadline: u64) -> Result<Permit<'_>, LockError> {
        let list = self.handle.list()?;
        if !list.has_room() {
            return Err(LockError::TooManyLocks);
        }
        // Threads begin at different permits, so as not to meet at the first. A look without a
        // deadline neither waits nor sleeps.
        let first = list.id() as usize % self.count;
        let strategy = if deadline == 0 { WaitStrategy::Park } else { self.strategy };
        self.add_out(list.epoch());
        // SAFETY: this thread's list, with room; the handle keeps the words mapped, and does so for
        // good if it is dropped before `sub_out`.
        match unsafe { self.raw().acquire(list, first, strategy, deadline) } {
            Some((index, slot)) => {
                Ok(Permit { pool: self, index, slot, epoch: list.epoch(), thread: PhantomData })
            }
            None => {
                self.sub_out();
                Err(LockError::TimedOut)
            }
        }
    }

    fn raw(&self) -> RawPermits<'_> {
        // SAFETY: found by `over`, atomics, and mapped for as long as the handle.
        let words = unsafe { std::slice::from_raw_parts(self.words.as_ptr(), self.count) };
        RawPermits { words, bell: &self.handle.bell }
    }

    fn add_out(&self, epoch: u32) {
        let one_more = |out: u64| {
            // What a forked child finds of another epoch is its parent's.
            let mine = out >> 32 == u64::from(epoch);
            Some(if mine { out + 1 } else { u64::from(epoch) << 32 | 1 })
        };
        // Relaxed: whoever drops the handle has been handed it.
        let _ = self.out.fetch_update(Relaxed, Relaxed, one_more);
    }

    fn sub_out(&self) {
        self.out.fetch_sub(1, Relaxed);
    }

    /// How many permits are free. Stale by the time the caller looks at it.
    pub fn available(&self) -> usize {
        self.raw().available()
    }

    /// How many permits there are, free and taken.
    pub fn permits(&self) -> usize {
        self.count
    }

    /// What this handle does while it waits.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.strategy
    }

    /// Sets what this handle does while it waits, and the handles cloned from it.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }
}

impl Drop for PermitPool {
    fn drop(&mut self) {
        let out = *self.out.get_mut();
        // With a permit that was leaked, its word is in a thread's list.
        if out as u32 == 0 || out >> 32 != u64::from(crate::sys::fork::epoch()) {
            // SAFETY: dropped once, here.
            unsafe { ManuallyDrop::drop(&mut self.handle) };
        }
    }
}

impl Clone for PermitPool {
    /// # Panics
    /// In a forked process that inherited the handle after its pool was gone.
    fn clone(&self) -> Self {
        let handle = self.handle.again().expect("a handle holds its pool");
        Self::with(handle, self.words, self.count, self.strategy)
    }
}

travels!([] PermitPool, Shared, |this| (this.handle.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for PermitPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PermitPool")
            .field("name", &self.handle.held().attachment().name())
            .field("available", &self.available())
            .field("permits", &self.count)
            .finish_non_exhaustive()
    }
}

/// One permit of a [`PermitPool`], given back when it is dropped.
///
/// ```compile_fail,E0277
/// fn is_send<T: Send>(_: T) {}
/// let pool = commons::PermitPool::new(1).unwrap();
/// is_send(pool.acquire().unwrap());
/// ```
#[must_use = "the permit is given back when this is dropped"]
pub struct Permit<'a> {
    pool: &'a PermitPool,
    index: usize,
    slot: Slot,
    epoch: u32,
    thread: PhantomData<*mut ()>,
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let Some(list) = List::of_this_thread().filter(|list| list.epoch() == self.epoch) else {
            return;
        };
        // SAFETY: acquired by this thread, which a permit does not leave, in this process.
        if unsafe { self.pool.raw().release(list, self.index, self.slot) } {
            self.pool.sub_out();
        }
    }
}

impl fmt::Debug for Permit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("index", &self.index).finish_non_exhaustive()
    }
}
