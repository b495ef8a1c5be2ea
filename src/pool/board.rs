//! What a pool, the process that starts its workers, and the workers know of each other, in shared
//! memory: the [board](raw) of tasks, the seats of workers, and a file for what does not fit into a
//! slot.
//!
//! The file has a region for each slot, of which half is for the argument and half for the outcome, at
//! offsets so far apart that they are of any size; memory is taken for what is written alone. The
//! owner gives it back, but for some that it keeps because it would need it again at once. Reading and
//! writing are system calls, so a lack of memory is an error and no SIGBUS.

#![allow(unsafe_code, reason = "refers to shared memory that the attachment keeps mapped")]

use super::error::TaskError;
use crate::layout::Plan;
use crate::member::Stamp;
use crate::raw::board::{self as raw, Board as Raw, Control, Phase, Slot};
use crate::segment::{Core, Held, Kind, Location, ObjectInfo, Shared};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use crate::sync::futex;
use crate::sys::{file, membarrier, setup, time};
use crate::{Error, Result};
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::Arc;

// SAFETY: made of atomics.
unsafe impl Shared for Slot {}
// SAFETY: made of atomics.
unsafe impl Shared for Seat {}
// SAFETY: made of atomics.
unsafe impl Shared for Head {}

/// Bytes that a slot holds itself.
const IN_PLACE: usize = raw::BODY * size_of::<u64>();
/// Bytes of a region of the file, where files may be so large: half of it is for one argument.
const REGION: u64 = 1 << 37;

/// Tasks are taken and run.
pub(super) const RUNNING: u32 = 0;
/// No more tasks come, and none is left: workers are to end.
pub(super) const FINISHED: u32 = 1;
/// Everything is to end at once.
pub(super) const TERMINATED: u32 = 2;
/// The initializer failed, and the file says why, behind the regions.
pub(super) const UNINITIALISED: u32 = 3;
/// No worker can be started and none is left. The file says why.
pub(super) const UNMANNED: u32 = 4;

#[repr(C)]
#[derive(Debug)]
pub(super) struct Head {
    control: Control,
    /// One of the constants above. Written by the owner, and by who finds that it cannot go on.
    phase: Phase,
    /// Workers that were started at the beginning, or [`NOT_STARTED`]. Written by the zygote.
    started: AtomicU32,
    /// The kernel's reason why not. Written by the zygote.
    reason: AtomicU32,
    /// What the deaths of workers that were not ready count for. Written by the zygote, and reset by
    /// workers.
    stillborn: AtomicU32,
    /// Bytes of why the pool cannot go on. Written by who says it.
    said: AtomicU64,
    /// The stamp of the zygote. Written by it.
    zygote: AtomicU64,
    /// How many workers there were. Written by the zygote.
    workers: AtomicU64,
}

const NOT_STARTED: u32 = u32::MAX;

/// The place of one worker after another. Written by the zygote but where said.
#[repr(C)]
#[derive(Debug)]
pub(super) struct Seat {
    /// Who has it, from before it is there; 0: nobody yet.
    stamp: AtomicU64,
    /// Its process id, when it is ready. Written by the worker.
    pid: AtomicU32,
    /// When its time for a task is over, if that is limited; 0: it has none. Written by the worker.
    until: AtomicU64,
}

/// How an outcome or an argument is to be read: `shape` of a slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Tasks in the chunk.
    pub(super) count: u32,
    /// The region of the file.
    pub(super) region: u16,
    /// See the constants.
    pub(super) kind: u8,
}

/// All tasks have a result.
pub(super) const WHOLE: u8 = 1;
/// Some failed.
pub(super) const MIXED: u8 = 2;
/// The outcome could not be written; it says why.
pub(super) const NOT_WRITTEN: u8 = 3;
/// The code is not known to the worker.
pub(super) const UNKNOWN_CODE: u8 = 4;
/// The argument could not be read; it says why.
pub(super) const NOT_READ: u8 = 5;

impl Shape {
    fn pack(self) -> u64 {
        u64::from(self.count) | u64::from(self.region) << 32 | u64::from(self.kind) << 48
    }

    fn unpack(word: u64) -> Self {
        Shape { count: word as u32, region: (word >> 32) as u16, kind: (word >> 48) as u8 }
    }
}

/// How a worker ended, as a word: the exit code, or [`BY_SIGNAL`] and the signal.
pub(super) const BY_SIGNAL: u64 = 1 << 32;
/// Nobody knows how it ended.
pub(super) const UNKNOWN_END: u64 = 1 << 33;
/// By the pool's own limit of time.
pub(super) const TOO_LONG: u64 = 1 << 34;

/// The board as a process of the pool sees it.
#[derive(Debug)]
pub(super) struct Board {
    held: Held<Head>,
    slots: NonNull<[Slot]>,
    seats: NonNull<[Seat]>,
    file: File,
    region: u64,
    registered: bool,
}

// SAFETY: the pointers lead into memory that the attachment keeps mapped, made of atomics.
unsafe impl Send for Board {}
// SAFETY: as above.
unsafe impl Sync for Board {}

impl Board {
    pub(super) fn new(slots: usize, seats: usize) -> Result<Self> {
        let info = ObjectInfo::of::<Slot>(Kind::Pool, slots as u64);
        let mut plan = Plan::new();
        let head = plan.place::<Head>()?;
        let first_slot = plan.place_slice::<Slot>(slots as u64)?;
        let first_seat = plan.place_slice::<Seat>(seats as u64)?;
        let held = Held::<Head>::new(Location::Unnamed.make(info, plan, |blank| {
            let [started, reason, stillborn] = [const { AtomicU32::new(0) }; 3];
            let [said, zygote, workers] = [const { AtomicU64::new(0) }; 3];
            let (control, phase) = (Control::new(), Phase::new());
            blank.put(
                head,
                Head { control, phase, started, reason, stillborn, said, zygote, workers },
            );
            for i in 0..slots as u64 {
                blank.put(first_slot + i * size_of::<Slot>() as u64, Slot::new());
            }
            for i in 0..seats as u64 {
                let pid = AtomicU32::new(0);
                let [stamp, until] = [const { AtomicU64::new(0) }; 2];
                let seat = Seat { stamp, pid, until };
                blank.put(first_seat + i * size_of::<Seat>() as u64, seat);
            }
            Ok(())
        })?)?;
        let file = file::memory(c"commons pool").map_err(Error::os("memfd_create", "pool"))?;
        // Beyond the limit of a file's size a write would end the process.
        let most = setup::file_size_limit().map_or(REGION, |limit| limit / (slots as u64 + 1));
        let region = REGION.min(most) & !8191;
        if region == 0 {
            let (what, asked) = ("the limit of file sizes, for a pool,", slots as u64);
            return Err(Error::TooLarge { what, asked, limit: most });
        }
        let size = (size_of::<Slot>() * slots) as u64;
        let slots = slice(held.at(first_slot, size, 128)?, slots);
        let size = (size_of::<Seat>() * seats) as u64;
        let seats = slice(held.at(first_seat, size, 8)?, seats);
        let registered = membarrier::register();
        Ok(Board { held, slots, seats, file: File::from(file), region, registered })
    }

    /// The same board, for a process that is about to be forked or a thread of this one.
    pub(super) fn again(&self) -> Result<Self> {
        let file = self.file.try_clone().map_err(Error::os("dup", "pool"))?;
        let (held, slots, seats) = (self.held.again()?, self.slots, self.seats);
        Ok(Board { held, slots, seats, file, region: self.region, registered: self.registered })
    }

    /// In a process just forked: what its own waits need.
    pub(super) fn arrive(&mut self) {
        self.registered = membarrier::register();
        self.held.attachment().prefault();
    }

    pub(super) fn core(&self) -> &Arc<Core> {
        self.held.attachment().core()
    }

    #[inline(always)]
    pub(super) fn raw(&self) -> Raw<'_> {
        // SAFETY: found by `new`, and mapped for as long as the attachment.
        let slots = unsafe { self.slots.as_ref() };
        Raw { control: &self.held.control, slots }
    }

    pub(super) fn control(&self) -> &Control {
        &self.held.control
    }

    pub(super) fn seats(&self) -> &[Seat] {
        // SAFETY: as in `raw`.
        unsafe { self.seats.as_ref() }
    }

    pub(super) fn is_registered(&self) -> bool {
        self.registered
    }

    pub(super) fn phase(&self) -> u32 {
        self.held.phase.get()
    }

    /// Goes to the next phase, unless it is no longer [`RUNNING`], and wakes everybody.
    pub(super) fn end(&self, phase: u32) -> bool {
        let ended = self.held.phase.advance(RUNNING, phase);
        self.wake_all();
        ended
    }

    /// Ends everything, whatever the phase is.
    pub(super) fn terminate(&self) {
        self.held.phase.set(TERMINATED);
        self.wake_all();
    }

    fn wake_all(&self) {
        crate::sync::barrier::light(self.registered);
        self.held.control.work().wake();
        self.held.control.news().wake();
    }

    // ---- the beginning, the zygote and the seats ----

    /// In the zygote: says how many workers were started, or why not all of them.
    pub(super) fn say_started(&self, result: Result<u32, io::Error>) {
        let count = result.unwrap_or_else(|error| {
            let reason = error.raw_os_error().unwrap_or(0);
            self.held.reason.store(reason.cast_unsigned(), Relaxed);
            NOT_STARTED
        });
        // Release: the reason.
        self.held.started.store(count, Release);
        futex::wake(&self.held.started, u32::MAX);
    }

    /// Whether the workers were started; sleeps until `until` at most.
    pub(super) fn were_started(&self, until: u64) -> Option<Result<(), io::Error>> {
        // Acquire: the reason.
        match self.held.started.load(Acquire) {
            0 => {
                futex::wait_either((&self.held.started, 0), None, Some(until));
                None
            }
            NOT_STARTED => {
                let reason = self.held.reason.load(Relaxed).cast_signed();
                Some(Err(io::Error::from_raw_os_error(reason)))
            }
            _ => Some(Ok(())),
        }
    }

    pub(super) fn set_zygote(&self, stamp: Stamp) {
        self.held.zygote.store(stamp.pack(), Release);
    }

    pub(super) fn zygote(&self) -> Option<Stamp> {
        Stamp::unpack(self.held.zygote.load(Acquire))
    }

    /// The number of the next worker, from 1 on.
    pub(super) fn next_number(&self) -> u64 {
        self.held.workers.fetch_add(1, Relaxed) + 1
    }

    /// A worker died before it was ready, which counts for so much; gives the sum since one was.
    pub(super) fn more_stillborn(&self, count: u32) -> u32 {
        self.held.stillborn.fetch_add(count, Relaxed) + count
    }

    /// A worker is ready.
    pub(super) fn is_ready(&self) {
        self.held.stillborn.store(0, Relaxed);
    }

    /// Says why the pool cannot go on, and goes to that phase.
    pub(super) fn fail(&self, phase: u32, message: &str) {
        let at = self.region * self.slots.len() as u64;
        let said = &message.as_bytes()[..message.len().min(4096)];
        if self.file.write_all_at(said, at).is_ok() {
            self.held.said.store(said.len() as u64, Relaxed);
        }
        self.end(phase);
    }

    /// Why it cannot.
    pub(super) fn said(&self) -> String {
        let length = self.held.said.load(Relaxed).min(4096);
        let mut bytes = vec![0; length as usize];
        let at = self.region * self.slots.len() as u64;
        let read = self.file.read_exact_at(&mut bytes, at);
        read.map_or_else(|e| e.to_string(), |()| String::from_utf8_lossy(&bytes).into_owned())
    }

    // ---- tasks and outcomes ----

    /// The owner writes a task into the slot of a ticket that is its own.
    pub(super) fn write_task(
        &self,
        ticket: u64,
        code: u64,
        shape: Shape,
        argument: &[u8],
    ) -> io::Result<()> {
        let slot = self.raw().slot(ticket);
        slot.code.store(code, Relaxed);
        self.write(slot, shape, argument, 0)
    }

    /// The worker writes the outcome of a task that it has taken.
    pub(super) fn write_outcome(&self, ticket: u64, shape: Shape, outcome: &[u8]) {
        let slot = self.raw().slot(ticket);
        if let Err(error) = self.write(slot, shape, outcome, self.region / 2) {
            let shape = Shape { kind: NOT_WRITTEN, ..shape };
            let why = error.to_string();
            // What fits in needs no memory.
            let _ = self.write(slot, shape, &why.as_bytes()[..why.len().min(IN_PLACE)], 0);
        }
    }

    /// The code of a task, its shape, and its argument.
    pub(super) fn read_task(&self, ticket: u64, to: &mut Vec<u8>) -> (u64, Shape, io::Result<()>) {
        let slot = self.raw().slot(ticket);
        let (shape, read) = self.read(slot, to, 0);
        (slot.code.load(Relaxed), shape, read)
    }

    /// The shape of an outcome, and the outcome.
    pub(super) fn read_outcome(&self, ticket: u64, to: &mut Vec<u8>) -> (Shape, io::Result<()>) {
        self.read(self.raw().slot(ticket), to, self.region / 2)
    }

    /// Of a dead worker with this task: its process id, and how it ended.
    pub(super) fn read_end(&self, ticket: u64) -> (u32, u64) {
        let slot = self.raw().slot(ticket);
        (slot.length.load(Relaxed) as u32, slot.shape.load(Relaxed))
    }

    #[inline]
    fn write(&self, slot: &Slot, shape: Shape, bytes: &[u8], half: u64) -> io::Result<()> {
        slot.length.store(bytes.len() as u64, Relaxed);
        slot.shape.store(shape.pack(), Relaxed);
        if bytes.len() > IN_PLACE {
            if bytes.len() as u64 > self.region / 2 {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            return self.file.write_all_at(bytes, u64::from(shape.region) * self.region + half);
        }
        for (word, bytes) in slot.body.iter().zip(bytes.chunks(8)) {
            let mut eight = [0; 8];
            eight[..bytes.len()].copy_from_slice(bytes);
            word.store(u64::from_ne_bytes(eight), Relaxed);
        }
        Ok(())
    }

    #[inline]
    fn read(&self, slot: &Slot, to: &mut Vec<u8>, half: u64) -> (Shape, io::Result<()>) {
        let length = slot.length.load(Relaxed);
        let shape = Shape::unpack(slot.shape.load(Relaxed));
        to.clear();
        if length > IN_PLACE as u64 {
            return (shape, self.read_region(shape.region, half, length, to));
        }
        for word in &slot.body[..(length as usize).div_ceil(8)] {
            to.extend_from_slice(&word.load(Relaxed).to_ne_bytes());
        }
        to.truncate(length as usize);
        (shape, Ok(()))
    }

    #[cold]
    fn read_region(&self, region: u16, half: u64, length: u64, to: &mut Vec<u8>) -> io::Result<()> {
        let at = u64::from(region) * self.region + half;
        // A damaged length is not believed beyond what the file has.
        if length > self.region / 2 || at.saturating_add(length) > self.file.metadata()?.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = length as usize;
        to.try_reserve_exact(length).map_err(|_| io::ErrorKind::OutOfMemory)?;
        to.resize(length, 0);
        self.file.read_exact_at(to, at)
    }

    /// Gives back the memory of a region, of which so many bytes may be in use at the beginning of each
    /// half; `None`: any number.
    pub(super) fn give_back(&self, region: u16, used: Option<u64>) {
        let (half, at) = (self.region / 2, u64::from(region) * self.region);
        let used = used.map_or(half, |used| used.next_multiple_of(4096).min(half));
        for at in [at, at + half] {
            let _ = file::give_back(self.file.as_fd(), at, used);
        }
    }

    /// Whether what is so long lies in the file.
    pub(super) const fn is_long(length: usize) -> bool {
        length > IN_PLACE
    }
}

impl Seat {
    /// Who has it.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        Stamp::unpack(self.stamp.load(Acquire))
    }

    /// In the zygote: gives it to a worker that is about to be started.
    pub(super) fn give_to(&self, stamp: Stamp) {
        self.pid.store(0, Relaxed);
        self.until.store(0, Relaxed);
        self.stamp.store(stamp.pack(), Release);
    }

    /// In the worker: says until when it has time for a task; 0: it has none.
    pub(super) fn set_limit(&self, until: u64) {
        self.until.store(until, Relaxed);
    }

    /// Whether its worker had a task when the time for that was over.
    pub(super) fn is_late(&self) -> bool {
        let until = self.until.load(Relaxed);
        until != 0 && time::now() >= until
    }

    /// In the worker: says who it is.
    pub(super) fn be(&self, pid: u32) {
        self.pid.store(pid, Release);
    }

    pub(super) fn pid(&self) -> u32 {
        self.pid.load(Acquire)
    }
}

fn slice<T>(first: NonNull<u8>, count: usize) -> NonNull<[T]> {
    NonNull::slice_from_raw_parts(first.cast(), count)
}

/// What the end of a worker means for its task.
pub(super) fn end_of_worker(pid: u32, end: u64) -> TaskError {
    match end {
        TOO_LONG => TaskError::TookTooLong { pid },
        UNKNOWN_END => TaskError::WorkerDied { pid, signal: None },
        _ if end & BY_SIGNAL != 0 => TaskError::WorkerDied { pid, signal: Some(end as i32) },
        code => TaskError::WorkerExited { pid, code: code as i32 },
    }
}
