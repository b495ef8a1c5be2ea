//! Pools of worker processes: [`Pool`].
//!
//! A pool runs functions, and closures that capture nothing, in worker processes. Arguments and results
//! are whatever serde can carry, of any size; numbers are copied as they are.
//!
//! ```
//! use commons::Pool;
//!
//! fn collatz(mut number: u64) -> u32 {
//!     let mut steps = 0;
//!     while number != 1 {
//!         number = if number % 2 == 0 { number / 2 } else { 3 * number + 1 };
//!         steps += 1;
//!     }
//!     steps
//! }
//!
//! let pool = Pool::new(2)?;
//! let steps = pool.map(collatz, 1..1000)?;
//! assert_eq!(steps.iter().max(), Some(&178));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | to | use |
//! |---|---|
//! | run one function, and wait | [`Pool::apply`] |
//! | run one function, and go on | [`Pool::apply_async`], [`Pool::apply_async_then`] |
//! | run it for many arguments | [`Pool::map`], [`Pool::map_chunked`], [`Pool::starmap`], [`Pool::map_async`] |
//! | know what became of each | [`Pool::try_map`] |
//! | take the results one by one, of endless input too | [`Pool::imap`], [`Pool::imap_unordered`] |
//! | work on a shared array in place | [`Pool::for_each_slice_of`], [`Pool::map_slices_of`] |
//! | do all that in threads | [`Pool::threads`] |
//!
//! # Tasks
//! A task runs in another process: it captures nothing, which the compiler checks, and what it needs it
//! is given as its argument, or finds in a static that was there when the pool was made, or in shared
//! memory that it opens by name. What it changes elsewhere, nobody sees.
//!
//! ```compile_fail
//! let factor = 3;
//! let pool = commons::Pool::new(2)?;
//! // A task of a pool captures nothing.
//! pool.map(move |x: i32| x * factor, 0..10)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Errors of the task's own are results: a `Result<R, E>` travels as any value. A panic is a line on
//! standard error and [`TaskError::Panicked`]; its worker goes on.
//!
//! # When a process dies
//! A worker that is killed, at whatever instruction, or that its task ends, fails exactly the chunk that
//! it was running ([`TaskError::WorkerDied`], [`TaskError::WorkerExited`]), or has it run again where
//! [`Builder::retries`] allows that. Another worker takes its place. All other results are right, and
//! nothing waits for the dead.
//!
//! Workers are started by a process of their own, the zygote, which is forked when the pool is made and
//! has one thread; so make pools before threads where you can, and replacements are no concern. If the
//! zygote is killed, the workers that are left go on and are not replaced; when none is left, what is
//! not done fails ([`TaskError::ZygoteDied`]). If the process of the pool ends, in whatever way, zygote
//! and workers are killed by the kernel.
//!
//! Workers are daemons: they cannot start children by [`Process`](crate::Process). They ignore SIGINT,
//! so that Ctrl-C is the affair of the pool's process.
//!
//! # Threads
//! Any thread may use a pool. The thread that waits for a result does the pool's work meanwhile, so a
//! result costs one wake; a thread of the pool's own is started for callbacks, and for tasks beyond
//! [`Builder::queue_length`] that nobody waits for.

mod board;
mod builder;
mod code;
mod codec;
mod engine;
mod error;
mod hall;
mod imap;
mod inner;
mod job;
mod part;
#[allow(clippy::module_inception, reason = "the handle, beside its parts")]
mod pool;
mod pump;
mod result;
mod slices;
mod spread;
mod worker;
mod zygote;

pub use builder::Builder;
pub use codec::Portable;
pub use error::{SlicesError, TaskError};
pub use imap::{Imap, ImapUnordered};
pub use pool::Pool;
pub use result::AsyncResult;
pub use spread::Spread;
