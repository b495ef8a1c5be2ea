//! What a survivor can tell apart: the bytes of the shared memory, the victim's robust list, and
//! what the parties wrote down.

#![allow(unsafe_code, reason = "reads memory that other processes write")]

use super::ledger::Ledger;
use super::ptrace;
use super::sys::Pid;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Mappings up to this size are looked at as a whole, larger ones where they have pages.
const SMALL: usize = 1 << 20;
const PAGE: usize = 4096;

/// Watches one victim.
#[derive(Debug)]
pub(crate) struct Eye {
    pid: Pid,
    /// Address of the victim's robust list head.
    list: Option<u64>,
    ledger: &'static Ledger,
    /// Address and bytes, in this process's memory.
    ranges: Vec<(usize, usize)>,
    /// What was there last.
    last: Vec<u64>,
}

impl Eye {
    /// Opens the eye. What it sees first is new.
    pub(crate) fn new(pid: Pid, ledger: &'static Ledger) -> Self {
        let list = ptrace::robust_list(pid);
        let mut eye = Eye { pid, list, ledger, ranges: Vec::new(), last: Vec::new() };
        eye.refresh();
        eye
    }

    /// Looks anew for memory that has come to be used.
    pub(crate) fn refresh(&mut self) {
        let ranges: Vec<_> =
            mappings().into_iter().flat_map(|(at, bytes)| resident(at, bytes)).collect();
        if ranges != self.ranges {
            self.ranges = ranges;
            self.last.clear();
        }
    }

    /// Whether anything is different from what it was at the last look.
    pub(crate) fn changed(&mut self) -> bool {
        let list = self.list.and_then(|head| ptrace::read::<3>(self.pid, head).ok());
        let list = list.unwrap_or_default();
        let words = [self.ledger.digest(), list[0], list[2]].into_iter();
        let shared = self.ranges.iter().flat_map(|&(at, bytes)| words_at(at, bytes));
        let words = words.chain(shared.map(|word| word.load(Relaxed)));
        if self.last.is_empty() {
            self.last = words.collect();
            return true;
        }
        let mut changed = 0;
        for (old, new) in self.last.iter_mut().zip(words) {
            changed |= *old ^ new;
            *old = new;
        }
        changed != 0
    }
}

/// The shared memory of the objects under test, as this process has it mapped.
fn mappings() -> Vec<(usize, usize)> {
    let directory = std::env::var("COMMONS_SHM_DIR").unwrap_or_else(|_| "/dev/shm".to_owned());
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let ours = maps.lines().filter(|line| {
        let path = line.find('/').map_or("", |i| &line[i..]);
        path.starts_with("/memfd:commons") || path.starts_with(&directory)
    });
    let range = |line: &str| {
        let (from, to) = line.split(' ').next()?.split_once('-')?;
        let from = usize::from_str_radix(from, 16).ok()?;
        Some((from, usize::from_str_radix(to, 16).ok()? - from))
    };
    ours.filter_map(range).collect()
}

/// The parts of a mapping that have pages.
fn resident(at: usize, bytes: usize) -> Vec<(usize, usize)> {
    if bytes <= SMALL {
        return vec![(at, bytes)];
    }
    let mut pages = vec![0u8; bytes.div_ceil(PAGE)];
    let start = core::ptr::with_exposed_provenance_mut(at);
    // SAFETY: the range is mapped, by what maps says, and there is a byte for each page.
    let failed = unsafe { libc::mincore(start, bytes, pages.as_mut_ptr()) } != 0;
    let mut ranges: Vec<(usize, usize)> = Vec::new();
    for (i, page) in pages.into_iter().enumerate() {
        let from = at + i * PAGE;
        match ranges.last_mut() {
            _ if page & 1 == 0 && !failed => {}
            Some((last, length)) if *last + *length == from => *length += PAGE,
            _ => ranges.push((from, PAGE)),
        }
    }
    ranges
}

/// The words of a mapping.
fn words_at(at: usize, bytes: usize) -> &'static [AtomicU64] {
    let start = core::ptr::with_exposed_provenance::<AtomicU64>(at);
    // SAFETY: a whole number of pages, mapped for as long as the case lasts, in which the eye is
    // used; others write them, which atomics allow.
    unsafe { core::slice::from_raw_parts(start, bytes / size_of::<AtomicU64>()) }
}
