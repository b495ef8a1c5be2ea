//! Arrays that workers work on in place, a slice at a time.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::code::{self, OwnError};
use super::codec::Portable;
use super::error::{SlicesError, TaskError};
use super::job::{Arguments, Job};
use super::part::Part;
use super::pool::Pool;
use crate::cell::Array;
use crate::lock::{ArrayGuard, Loan};
use crate::segment::Element;
use bytemuck::AnyBitPattern;
use std::num::NonZeroUsize;
use std::result::Result as Either;
use std::sync::Arc;

fn unreachable(error: impl ToString) -> TaskError {
    TaskError::Unreachable { problem: error.to_string() }
}

/// A task that changes a slice.
///
/// # Safety
/// Nobody else has the elements of a part while the task has it.
unsafe fn changing<T, F>(f: F) -> impl Fn(Part) -> Either<(), OwnError> + Copy + Send + 'static
where
    T: Element + AnyBitPattern,
    F: Fn(usize, &mut [T]) + Copy + Send + 'static,
{
    move |part| {
        let (_reached, first) = part.reach::<T>()?;
        // SAFETY: in the mapping, aligned, any bytes are a value; and the task's alone, says the caller.
        f(part.first, unsafe { core::slice::from_raw_parts_mut(first, part.count) });
        Ok(())
    }
}

/// A task that looks at a slice.
///
/// # Safety
/// The elements of a part are values, and nobody writes them while the task has it.
unsafe fn looking<T, R, F>(f: F) -> impl Fn(Part) -> Either<R, OwnError> + Copy + Send + 'static
where
    T: Element,
    R: Portable,
    F: Fn(usize, &[T]) -> R + Copy + Send + 'static,
{
    move |part| {
        let (_reached, first) = part.reach::<T>()?;
        // SAFETY: in the mapping, aligned; values that nobody writes, says the caller.
        Ok(f(part.first, unsafe { core::slice::from_raw_parts(first, part.count) }))
    }
}

impl Pool {
    /// Has workers change all elements of a [`LockedArray`](crate::LockedArray) in place, a slice at a
    /// time: `f` is given the index of the first element and the elements. Nothing is copied. There are
    /// four slices for each worker.
    ///
    /// The guard says that nobody else has the elements, and lends each of them to one worker. When this
    /// returns, in whatever way, no worker has any.
    ///
    /// # Errors
    /// [`SlicesError`] names the elements that are not as they should be, and why:
    /// [`TaskError::Unreachable`] where a worker cannot open the array's memory, which takes `/proc` and
    /// the permission to read the descriptors of this process; otherwise as [`Pool::map`].
    ///
    /// # Blocking
    /// Until all slices are done, or have failed and their workers do no more.
    ///
    /// # When a process dies
    /// Of the slice that a worker died or panicked with, some elements are new, some old, and one that it was
    /// writing may be half of each: [`SlicesError::in_doubt`]. The guard is in doubt then: who sees to
    /// these elements says so by [`ArrayGuard::mark_consistent`]; dropped before, the guard leaves the
    /// lock [poisoned](crate::LockError::Poisoned), as a panic does. With
    /// [`retries`](super::Builder::retries), `f` is run again for what a dead worker left.
    ///
    /// If the process of the caller dies, the next owner is told ([`crate::LockError::OwnerDied`]). Its
    /// workers are killed, too, and nobody gets at the elements
    /// ([`recover`](crate::LockedArray::recover)) before the last of them is gone.
    ///
    /// # Examples
    /// ```
    /// use commons::{LockedArray, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let numbers: Vec<_> = (0..1000).map(f64::from).collect();
    /// let array = LockedArray::from_slice(&numbers)?;
    /// let mut numbers = array.lock()?;
    /// pool.for_each_slice_of(&mut numbers, |_, slice| slice.iter_mut().for_each(|x| *x *= 2.0))?;
    /// assert_eq!(numbers[999], 1998.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn for_each_slice_of<T, F>(
        &self,
        guard: &mut ArrayGuard<'_, T>,
        f: F,
    ) -> Either<(), SlicesError>
    where
        T: Element + AnyBitPattern,
        F: Fn(usize, &mut [T]) + Copy + Send + 'static,
    {
        // SAFETY: the owner of the lock lent these elements to the task alone, and ends the loan after it.
        let work = unsafe { changing(f) };
        let nothing_done = |error| SlicesError::before_all(error, guard.len());
        let loan = guard.lend().map_err(unreachable).map_err(nothing_done)?;
        let begun = self.lent_parts(guard, &loan).and_then(|parts| {
            let job = self.run_parts(code::own_address(work), &parts)?;
            Ok((parts, job))
        });
        let (parts, job) = begun.map_err(nothing_done)?;
        let results = job.list::<()>();
        let failed = parts.iter().zip(results).filter_map(|(part, result)| {
            let error = result.err()?;
            Some((part.range(), error))
        });
        let Some(error) = SlicesError::of(failed, self.inner().retries > 0) else {
            loan.end_done();
            return Ok(());
        };
        drop(loan);
        if !error.in_doubt.is_empty() {
            guard.put_in_doubt();
        }
        Err(error)
    }

    /// Has workers look at all elements of a [`LockedArray`](crate::LockedArray) in place, a slice at a
    /// time, and gives what `f` made of each slice, in their order: `f` is given the index of the first
    /// element and the elements. When this returns, in whatever way, no worker looks any more.
    ///
    /// # Errors
    /// As [`Pool::map`]; [`TaskError::Unreachable`] as with [`Pool::for_each_slice_of`].
    ///
    /// # Blocking
    /// As [`Pool::for_each_slice_of`].
    ///
    /// # Examples
    /// ```
    /// use commons::{LockedArray, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let array = LockedArray::new(1000, 3u64)?;
    /// let sums = pool.map_slices_of(&array.lock()?, |_, slice| slice.iter().sum::<u64>())?;
    /// assert_eq!(sums.iter().sum::<u64>(), 3000);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_slices_of<T, R, F>(
        &self,
        guard: &ArrayGuard<'_, T>,
        f: F,
    ) -> Either<Vec<R>, TaskError>
    where
        T: Element,
        R: Portable,
        F: Fn(usize, &[T]) -> R + Copy + Send + 'static,
    {
        // SAFETY: values, as was seen when the lock was acquired, whose owner lent them and writes nothing
        // meanwhile.
        let work = unsafe { looking(f) };
        let loan = guard.lend().map_err(unreachable)?;
        let parts = self.lent_parts(guard, &loan)?;
        let results = self.run_parts(code::own_address(work), &parts)?.all()?;
        loan.end_done();
        Ok(results)
    }

    /// Has workers change all elements of an array in place, a slice at a time, as
    /// [`Pool::for_each_slice_of`] does: that is the safe form, for arrays under a lock.
    ///
    /// # Errors
    /// As [`Pool::map`]; [`TaskError::Unreachable`] where a worker cannot open the array's memory,
    /// which takes `/proc` and the permission to read the descriptors of this process.
    ///
    /// # Blocking
    /// Until all slices are done.
    ///
    /// # When a process dies
    /// The elements of the slice that a worker died with are some new, some old, and one that it was
    /// writing may be half of each; the slice fails as any task does.
    ///
    /// # Safety
    /// Until this returns, no process and no thread reads or writes the array in any other way. If it
    /// returns because the pool is terminated or cannot go on, until its workers have ended.
    ///
    /// # Examples
    /// ```
    /// use commons::{Array, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let array = Array::from_values((0..1000).map(f64::from))?;
    /// // SAFETY: nobody else has it.
    /// unsafe { pool.for_each_slice(&array, |_, slice| slice.iter_mut().for_each(|x| *x *= 2.0))? };
    /// assert_eq!(array.get(999)?, 1998.0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn for_each_slice<T, F>(&self, array: &Array<T>, f: F) -> Either<(), TaskError>
    where
        T: Element + AnyBitPattern,
        F: Fn(usize, &mut [T]) + Copy + Send + 'static,
    {
        // SAFETY: nobody else has these elements, says the caller, and each slice is one task's.
        let work = unsafe { changing(f) };
        self.over_parts(array, code::own_address(work), Job::all::<()>).map(drop)
    }

    /// Has workers look at all elements of an array in place, a slice at a time, and gives what `f` made
    /// of each slice, in their order: `f` is given the index of the first element and the elements.
    ///
    /// # Errors
    /// As [`Pool::for_each_slice`].
    ///
    /// # Blocking
    /// Until all slices are done.
    ///
    /// # Safety
    /// Until this returns, no process and no thread writes to the array. If it returns because the pool
    /// is terminated or cannot go on, until its workers have ended.
    ///
    /// # Examples
    /// ```
    /// use commons::{Array, Pool};
    ///
    /// let pool = Pool::new(2)?;
    /// let array = Array::from_values(1..=1000u64)?;
    /// // SAFETY: nobody else has it.
    /// let sums = unsafe { pool.map_slices(&array, |_, slice| slice.iter().sum::<u64>())? };
    /// assert_eq!(sums.iter().sum::<u64>(), 500_500);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub unsafe fn map_slices<T, R, F>(&self, array: &Array<T>, f: F) -> Either<Vec<R>, TaskError>
    where
        T: Element + AnyBitPattern,
        R: Portable,
        F: Fn(usize, &[T]) -> R + Copy + Send + 'static,
    {
        // SAFETY: any bytes are a value; nobody writes, says the caller.
        let work = unsafe { looking(f) };
        self.over_parts(array, code::own_address(work), Job::all)
    }

    fn over_parts<T: Element, C>(
        &self,
        array: &Array<T>,
        code: u64,
        read: fn(&Job) -> Either<C, TaskError>,
    ) -> Either<C, TaskError> {
        let (file, offset) = array.in_file().map_err(unreachable)?;
        let parts = Part::all(file, offset, None, array.len(), self.slices());
        read(&*self.run_parts(code, &parts.map_err(unreachable)?)?)
    }

    /// The elements that a guard lends.
    fn lent_parts<T: Element>(
        &self,
        guard: &ArrayGuard<'_, T>,
        loan: &Loan<'_>,
    ) -> Either<Vec<Part>, TaskError> {
        let offset = guard.offset().map_err(unreachable)?;
        let terms = Some(loan.terms());
        Part::all(loan.file(), offset, terms, guard.len(), self.slices()).map_err(unreachable)
    }

    /// How many slices there are to be.
    fn slices(&self) -> usize {
        4 * self.inner().workers
    }

    /// Runs a task for each part.
    fn run_parts(&self, code: u64, parts: &[Part]) -> Either<Arc<Job>, TaskError> {
        let job = Job::new(code, Arguments::many(parts, NonZeroUsize::MIN)?, None, None);
        self.run(&job)?;
        Ok(job)
    }
}
