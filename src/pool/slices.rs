//! Arrays that workers work on in place.
//!
//! A worker may be older than the array, so that it has no mapping of it. It opens the array's file
//! through the descriptor of the pool's process, which `/proc` shows to processes of the same user, and
//! keeps it mapped for the next time.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::code::{self, OwnError};
use super::codec::Portable;
use super::error::TaskError;
use super::job::{Arguments, Job};
use super::pool::Pool;
use crate::cell::Array;
use crate::segment::Element;
use crate::sys::{file, map::Map};
use bytemuck::AnyBitPattern;
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsFd, AsRawFd};
use std::rc::Rc;

/// Files that a worker keeps mapped.
const KEPT: usize = 16;

/// Some elements of an array, as a task is told of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Part {
    /// The file: its descriptor in a process, and what tells it from others.
    pid: u32,
    descriptor: i32,
    device: u64,
    inode: u64,
    /// Where the array's elements begin, in bytes.
    offset: u64,
    first: usize,
    count: usize,
}

/// A file that is mapped.
#[derive(Debug)]
struct Kept {
    device: u64,
    inode: u64,
    map: Map,
    /// Ranges whose pages are mapped, too, or were.
    populated: RefCell<Vec<(usize, usize)>>,
}

/// Ranges of a file that are remembered.
const RANGES: usize = 1024;

thread_local! {
    static MAPPED: RefCell<VecDeque<Rc<Kept>>> = const { RefCell::new(VecDeque::new()) };
}

impl Part {
    fn map(&self) -> io::Result<Rc<Kept>> {
        let (device, inode) = (self.device, self.inode);
        let known = MAPPED.with_borrow(|kept| {
            let same = |kept: &&Rc<Kept>| (kept.device, kept.inode) == (device, inode);
            kept.iter().find(same).cloned()
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let file = file::open_of(self.pid, self.descriptor)?;
        let status = file::status(file.as_fd())?;
        if (status.device, status.inode) != (device, inode) {
            return Err(io::Error::other("its descriptor stands for another file by now"));
        }
        let length = usize::try_from(status.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let map = Map::new(file.as_fd(), length)?;
        let new = Rc::new(Kept { device, inode, map, populated: RefCell::default() });
        MAPPED.with_borrow_mut(|kept| {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(new.clone());
        });
        Ok(new)
    }

    /// The elements.
    fn reach<T>(&self) -> Result<(Rc<Kept>, *mut T), OwnError> {
        let kept = self.map().map_err(|error| OwnError(error.to_string()))?;
        let map = &kept.map;
        let bytes = |count: usize| count.checked_mul(size_of::<T>());
        let range = usize::try_from(self.offset).ok().zip(bytes(self.first)).zip(bytes(self.count));
        let range = range.and_then(|((offset, first), length)| {
            let start = offset.checked_add(first)?;
            Some((start, start.checked_add(length)?))
        });
        let Some((start, _)) = range.filter(|(_, end)| *end <= map.len()) else {
            return Err(OwnError("its elements are not in its file".to_owned()));
        };
        let first = map.address().as_ptr().wrapping_add(start).cast::<T>();
        if !first.is_aligned() {
            return Err(OwnError("its elements are not aligned".to_owned()));
        }
        // Pages are mapped in advance: a fault for each would take longer than many a task. Once, since
        // to look whether they are takes its time, too.
        let range = (start, start + self.count * size_of::<T>());
        let mut populated = kept.populated.borrow_mut();
        if range.0 < range.1 && !populated.contains(&range) {
            let _ = map.populate(range.0..range.1);
            if populated.len() < RANGES {
                populated.push(range);
            }
        }
        drop(populated);
        Ok((kept, first))
    }
}

impl Pool {
    /// Has workers change all elements of an array in place, a slice at a time: `f` is given the index of
    /// the first element and the elements. Nothing is copied. There are four slices for each worker.
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
    /// Until this returns, no process and no thread reads or writes the array in any other way.
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
    pub unsafe fn for_each_slice<T, F>(&self, array: &Array<T>, f: F) -> Result<(), TaskError>
    where
        T: Element + AnyBitPattern,
        F: Fn(usize, &mut [T]) + Copy + Send + 'static,
    {
        let work = move |part: Part| {
            let (_kept, first) = part.reach::<T>()?;
            // SAFETY: in the mapping, aligned, any bytes are a value; nobody else has these elements,
            // says the caller of `for_each_slice`, and each slice is one task's.
            f(part.first, unsafe { core::slice::from_raw_parts_mut(first, part.count) });
            Ok(())
        };
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
    /// Until this returns, no process and no thread writes to the array.
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
    pub unsafe fn map_slices<T, R, F>(&self, array: &Array<T>, f: F) -> Result<Vec<R>, TaskError>
    where
        T: Element + AnyBitPattern,
        R: Portable,
        F: Fn(usize, &[T]) -> R + Copy + Send + 'static,
    {
        let work = move |part: Part| {
            let (_kept, first) = part.reach::<T>()?;
            // SAFETY: as above; nobody writes, says the caller of `map_slices`.
            Ok(f(part.first, unsafe { core::slice::from_raw_parts(first, part.count) }))
        };
        self.over_parts(array, code::own_address(work), Job::all)
    }

    fn over_parts<T: Element, C>(
        &self,
        array: &Array<T>,
        code: u64,
        read: fn(&Job) -> Result<C, TaskError>,
    ) -> Result<C, TaskError> {
        let unreachable =
            |error: &dyn ToString| TaskError::Unreachable { problem: error.to_string() };
        let (file, offset) = array.in_file().map_err(|error| unreachable(&error))?;
        let status = file::status(file).map_err(|error| unreachable(&error))?;
        let parts = 4 * self.inner().workers;
        let length = array.len().div_ceil(parts).max(1);
        let part = |first: usize| Part {
            pid: std::process::id(),
            descriptor: file.as_raw_fd(),
            device: status.device,
            inode: status.inode,
            offset,
            first,
            count: length.min(array.len() - first),
        };
        let parts: Vec<_> = (0..array.len()).step_by(length).map(part).collect();
        let job = Job::new(code, Arguments::many(&parts, NonZeroUsize::MIN)?, None, None);
        self.run(&job)?;
        read(&job)
    }
}
