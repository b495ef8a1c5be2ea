//! Inter-process primitives in shared memory that survive the death of any process.
//!
//! Processes on one Linux host share typed data through named or inherited memory, at the speed of
//! the processor's caches. Any of them may be killed at any instruction: nobody else hangs, nothing
//! published is lost, nothing is delivered twice but what its receiver died holding, and who waits for
//! the dead is told at once.
//!
//! | to | use |
//! |---|---|
//! | send values from one process to another | [`spsc`] |
//! | send bytes of any length from one process to another | [`records`] |
//! | send objects and bytes to one other process, and receive some | [`pipe`](mod@pipe) |
//! | send values from any number of processes to any number of others | [`Queue`], [`queue`] |
//! | send any objects from any number of processes to any number of others | `ObjectQueue`, `JoinableQueue` |
//! | send values from one process to any number of others, each of which gets all | [`broadcast`] |
//! | share a value that anybody reads and replaces | [`Value`], [`AtomicU64`] and its like |
//! | share many values in a row | [`Array`] |
//! | show others the newest state of a process | [`Latest`] |
//! | keep many objects in one named piece of memory | [`Segment`] |
//! | share a value that one has at a time | [`Mutex`], [`RecursiveMutex`] |
//! | wait for a sign, wait for a turn | [`Event`], [`Semaphore`], [`PermitPool`], [`Condvar`] |
//! | share a value that many read at a time | [`RwLock`] |
//! | do something once, or make a value once | [`Once`], [`OnceCell`] |
//! | wait until all have come | [`Barrier`] |
//! | run a closure in a child process | [`Process`] |
//! | run functions in worker processes, a parallel map | `Pool` |
//! | wait for many things at once, or with a poller of one's own | [`Select`], [`wait_any`], [`Readiness`] |
//! | see what is there, and clean up | [`inspect`] |
//!
//! # Examples
//! ```
//! let (mut producer, mut consumer) = commons::spsc::ring::<u64>(64)?;
//! let child = commons::Process::spawn(move || (0..100).map_while(|_| consumer.pop().ok()).sum())?;
//! for i in 0..100u64 {
//!     producer.push(i)?;
//! }
//! let sum: u64 = child.join()?;
//! assert_eq!(sum, 4950);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("commons works on 64-bit Linux on x86-64 and aarch64");

// A loom build holds the layers that are modelled, and nothing that talks to the kernel.
#[cfg(not(all(test, loom)))]
mod cell;
#[cfg(not(all(test, loom)))]
mod channel;
#[cfg(not(all(test, loom)))]
mod error;
#[cfg(not(all(test, loom)))]
pub mod inspect;
#[cfg(not(all(test, loom)))]
mod layout;
#[cfg(not(all(test, loom)))]
mod lock;
#[cfg(not(all(test, loom)))]
mod member;
#[cfg(all(feature = "serde", not(all(test, loom))))]
pub mod pool;
#[cfg(not(all(test, loom)))]
pub mod process;
mod raw;
#[cfg(not(all(test, loom)))]
mod segment;
#[cfg(not(all(test, loom)))]
mod select;
mod sync;
#[cfg(not(all(test, loom)))]
mod sys;
#[cfg(all(feature = "tokio", not(all(test, loom))))]
pub mod tokio;
mod wait;

#[cfg(not(all(test, loom)))]
pub use cell::{
    Array, Atomic, AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8,
    AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Bool, CellError, Integer, Iter, Latest,
    Primitive, Value, latest,
};
#[cfg(all(feature = "serde", not(all(test, loom))))]
pub use channel::objects::{self, JoinableQueue, ObjectQueue};
#[cfg(not(all(test, loom)))]
pub use channel::queue::Queue;
#[cfg(not(all(test, loom)))]
pub use channel::{
    ChannelError, Departure, Partial, Peer, Rejected, broadcast, pipe, pipe::pipe, queue, records,
    spsc,
};
#[cfg(not(all(test, loom)))]
pub use error::{Error, Result};
#[cfg(all(feature = "raw_sync", not(all(test, loom))))]
pub use lock::RawSyncMutex;
#[cfg(not(all(test, loom)))]
pub use lock::{
    ArrayGuard, ArrayRecoveryGuard, Barrier, BarrierError, BarrierWaitResult, Condvar, Event,
    LockError, LockedArray, Mutex, MutexGuard, Once, OnceCell, Permit, PermitPool, RecoveryGuard,
    RecursiveMutex, RecursiveMutexGuard, Reset, RwLock, RwLockReadGuard, RwLockRecoveryGuard,
    RwLockWriteGuard, Semaphore, WaitGuard, WaitTimeoutResult,
};
#[cfg(all(feature = "serde", not(all(test, loom))))]
pub use pool::{AsyncResult, Pool, SlicesError, TaskError};
#[cfg(not(all(test, loom)))]
pub use process::{ExitStatus, JoinError, Outcome, Process};
#[cfg(not(all(test, loom)))]
pub use segment::{Element, Kind, ObjectInfo, Origin, Segment};
#[cfg(not(all(test, loom)))]
pub use select::{Readiness, Select, Waitable, wait_any};
pub use wait::WaitStrategy;
#[cfg(not(all(test, loom)))]
pub use wait::{Readable, Writable};

/// The examples of the README, as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
