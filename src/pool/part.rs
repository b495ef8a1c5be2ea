//! What a worker is told of some elements of an array, and how it comes by them.
//!
//! A worker may be older than the array, so that it has no mapping of it. It opens the array's file
//! through the descriptor of the pool's process, which `/proc` shows to processes of the same user, and
//! keeps it mapped for the next time.

#![allow(unsafe_code, reason = "refers to elements in shared memory")]

use super::code::OwnError;
use crate::lock::Terms;
use crate::sys::fork::PrivateDescriptor;
use crate::sys::{file, map::Map, ofd};
use serde::{Deserialize, Serialize};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::rc::Rc;

/// Files that a worker keeps mapped.
const KEPT: usize = 16;

/// Some elements of an array, as a task is told of them.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) struct Part {
    /// The file: its descriptor in a process, and what tells it from others.
    pid: u32,
    descriptor: i32,
    device: u64,
    inode: u64,
    /// Where the array's elements begin, in bytes.
    offset: u64,
    pub(super) first: usize,
    pub(super) count: usize,
    /// The loan, where it is one.
    terms: Option<Terms>,
}

/// A file that is mapped.
#[derive(Debug)]
struct Kept {
    device: u64,
    inode: u64,
    file: PrivateDescriptor,
    map: Map,
    /// Ranges whose pages are mapped, too, or were.
    populated: RefCell<Vec<(usize, usize)>>,
}

/// Ranges of a file that are remembered.
const RANGES: usize = 1024;

thread_local! {
    static MAPPED: RefCell<VecDeque<Rc<Kept>>> = const { RefCell::new(VecDeque::new()) };
}

/// What keeps elements reachable. Dropped, it gives back what was borrowed.
#[derive(Debug)]
pub(super) struct Reached {
    kept: Rc<Kept>,
    byte: Option<u64>,
}

impl Drop for Reached {
    fn drop(&mut self) {
        if let Some(byte) = self.byte {
            // Fails on no lock that was got.
            let _ = ofd::unlock(self.kept.file.as_fd(), byte);
        }
    }
}

fn because(error: impl ToString) -> OwnError {
    OwnError(error.to_string())
}

impl Part {
    /// The elements of a whole array, in so many parts at most.
    pub(super) fn all(
        file: BorrowedFd<'_>,
        offset: u64,
        terms: Option<Terms>,
        length: usize,
        parts: usize,
    ) -> io::Result<Vec<Self>> {
        let status = file::status(file)?;
        let each = length.div_ceil(parts).max(1);
        let part = |first: usize| Part {
            pid: std::process::id(),
            descriptor: file.as_raw_fd(),
            device: status.device,
            inode: status.inode,
            offset,
            first,
            count: each.min(length - first),
            terms,
        };
        Ok((0..length).step_by(each).map(part).collect())
    }

    /// Which elements they are.
    pub(super) fn range(&self) -> Range<usize> {
        self.first..self.first + self.count
    }

    fn map(&self) -> io::Result<Rc<Kept>> {
        let (device, inode) = (self.device, self.inode);
        let known = MAPPED.with_borrow(|kept| {
            let same = |kept: &&Rc<Kept>| (kept.device, kept.inode) == (device, inode);
            kept.iter().find(same).cloned()
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let file = PrivateDescriptor::open(|| file::open_of(self.pid, self.descriptor))?;
        let status = file::status(file.as_fd())?;
        if (status.device, status.inode) != (device, inode) {
            return Err(io::Error::other("its descriptor stands for another file by now"));
        }
        let length = usize::try_from(status.size).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let map = Map::new(file.as_fd(), length)?;
        let new = Rc::new(Kept { device, inode, file, map, populated: RefCell::default() });
        MAPPED.with_borrow_mut(|kept| {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back(new.clone());
        });
        Ok(new)
    }

    /// The elements. Where they are lent, they are the caller's until it drops what keeps them.
    pub(super) fn reach<T>(&self) -> Result<(Reached, *mut T), OwnError> {
        let mut reached = Reached { kept: self.map().map_err(because)?, byte: None };
        if let Some(terms) = self.terms {
            if !ofd::try_lock_shared(reached.kept.file.as_fd(), terms.byte).map_err(because)? {
                return Err(because("somebody has it alone"));
            }
            reached.byte = Some(terms.byte);
            let lending = reached.kept.at(terms.offset, 0, 1)?;
            // SAFETY: in the mapping, where the terms say.
            if !unsafe { terms.stand(lending) } {
                return Err(because("the call that it was for is over"));
            }
        }
        let first = reached.kept.at::<T>(self.offset, self.first, self.count)?;
        reached.kept.populate(first.addr(), self.count * size_of::<T>());
        Ok((reached, first))
    }
}

impl Kept {
    /// The address of the element number `first` of those that begin at this offset, of which `count`
    /// follow.
    fn at<T>(&self, offset: u64, first: usize, count: usize) -> Result<*mut T, OwnError> {
        let bytes = |count: usize| count.checked_mul(size_of::<T>());
        let range = usize::try_from(offset).ok().zip(bytes(first)).zip(bytes(count));
        let range = range.and_then(|((offset, first), length)| {
            let start = offset.checked_add(first)?;
            Some((start, start.checked_add(length)?))
        });
        let Some((start, _)) = range.filter(|(_, end)| *end <= self.map.len()) else {
            return Err(because("its elements are not in its file"));
        };
        let first = self.map.address().as_ptr().wrapping_add(start).cast::<T>();
        if !first.is_aligned() {
            return Err(because("its elements are not aligned"));
        }
        Ok(first)
    }

    /// Maps pages in advance: a fault for each would take longer than many a task. Once, since to look
    /// whether they are takes its time, too.
    fn populate(&self, address: usize, bytes: usize) {
        let start = address - self.map.address().addr().get();
        let range = (start, start + bytes);
        let mut populated = self.populated.borrow_mut();
        if range.0 < range.1 && !populated.contains(&range) {
            let _ = self.map.populate(range.0..range.1);
            if populated.len() < RANGES {
                populated.push(range);
            }
        }
    }
}
