//! The handle of a child process and its result.

use super::builder::{Builder, Runnable};
use super::child::Child;
use super::outcome::{ExitStatus, JoinError, Outcome};
use crate::Result;
use std::fmt;
use std::io;
use std::marker::PhantomData;
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A child process that runs a closure and may return a value.
///
/// What it is and how it is, and signals to it, are the methods of [`Child`], which it dereferences
/// to; a clone of that is for other threads. Dropping the handle leaves the child running. One that ended
/// before is reaped then, and one that ends later at the next start of a child, when somebody asks for
/// [`active_children`](super::active_children), or at the end of this process: so there are never more
/// zombies than there were children at a time.
///
/// # Examples
/// ```
/// let child = commons::Process::spawn(|| 6 * 7)?;
/// assert_eq!(child.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Process<R> {
    child: Child,
    result: PhantomData<fn() -> R>,
}

impl Process<()> {
    /// What a child is to be, to be started by [`Builder::spawn`].
    pub fn builder() -> Builder {
        Builder::new()
    }
}

impl<R: Outcome> Process<R> {
    /// Starts a child process that runs `f`, by fork.
    ///
    /// What `f` captures becomes the child's: an end of a channel moved into it is the child's alone,
    /// with no moment in which it is nobody's. The parent's copy is dropped without closing anything.
    /// Values of other crates are copied and dropped in both processes.
    ///
    /// The child ends when `f` returns, with code 0, or panics, with code 1; where `f` gives a `Result`,
    /// an `Err` comes back as any other value does, and the code is 1. It runs no destructors
    /// of the parent's other values and no exit handlers. (If `f` calls [`std::process::exit`] instead of
    /// [`exit`](super::exit), libc runs those that the parent had registered.) A panic is a line on standard
    /// error, and comes back in the [`JoinError`]; panic hooks that the parent had before its first start do
    /// not run, and one that it sets later takes the place of this crate's. Then, and at any other orderly end (a return
    /// from `main`, [`exit`](super::exit), [`std::process::exit`]), a process waits for the children it
    /// has left, unless they are [daemons](Builder::daemon).
    ///
    /// # Threads
    /// The child has only the calling thread. If other threads of the parent held a lock at that
    /// instant, in a library or of your own, it stays locked in the child for ever: that of another
    /// allocator than libc's, too, and that of standard input while a thread reads. Locks of this
    /// crate, of libc's allocator, of standard output and error, of the environment and of backtraces are
    /// taken care of; but beside threads that take backtraces nearly all the time, a child may hang at one
    /// that it takes itself. Start children before threads where you can, or use [`Process::call`] by exec.
    ///
    /// # Signals
    /// The child has the signal handlers and the mask of the calling thread. A handler that writes to a pipe
    /// or a socket, as those of asynchronous runtimes do, reaches the parent from there, and not the child:
    /// give the child [the default actions](Builder::default_signals).
    ///
    /// # What does not compile
    /// Each of these has a twin that does, and differs in the one thing. A guard
    /// is its thread's, and a child would have a copy that guards nothing:
    /// ```compile_fail,E0277
    /// let mutex = commons::Mutex::new(0u64).unwrap();
    /// let mut guard = Box::leak(Box::new(mutex)).lock().unwrap();
    /// commons::Process::spawn(move || *guard += 1);
    /// ```
    /// ```
    /// let mut number = Box::new(0u64); // No guard.
    /// commons::Process::spawn(move || *number += 1);
    /// ```
    /// What is borrowed through a guard would be there twice, without the lock:
    /// ```compile_fail,E0597
    /// let mutex = commons::Mutex::new(0u64).unwrap();
    /// let mut guard = Box::leak(Box::new(mutex)).lock().unwrap();
    /// let value = &mut *guard;
    /// commons::Process::spawn(move || *value += 1);
    /// ```
    /// ```
    /// # let mutex = commons::Mutex::new(0u64).unwrap();
    /// # let mut guard = Box::leak(Box::new(mutex)).lock().unwrap();
    /// let mut value = *guard; // Copied.
    /// # drop(guard);
    /// commons::Process::spawn(move || value += 1);
    /// ```
    /// So would a loan of items in place, though all that it borrows is there for ever:
    /// ```compile_fail,E0277
    /// let (mut producer, consumer) = commons::spsc::ring::<u64>(4).unwrap();
    /// producer.push(7).unwrap();
    /// let loan = Box::leak(Box::new(consumer)).peek(1).unwrap();
    /// commons::Process::spawn(move || loan[0]);
    /// ```
    /// ```
    /// # let (mut producer, consumer) = commons::spsc::ring::<u64>(4).unwrap();
    /// # producer.push(7).unwrap();
    /// let loan = Box::leak(Box::new(consumer)).peek(1).unwrap().to_vec(); // Copied.
    /// commons::Process::spawn(move || loan[0]);
    /// ```
    /// And a child outlives whatever its parent's stack has ([`Process::spawn_borrowing`]):
    /// ```compile_fail,E0373
    /// let word = "word".to_owned();
    /// commons::Process::spawn(|| word.len());
    /// ```
    /// ```
    /// let word = "word".to_owned();
    /// commons::Process::spawn(move || word.len()); // Moved.
    /// ```
    /// What types cannot prevent, such as an end in a `static`, is an error at run time:
    /// [`Error::Forked`](crate::Error::Forked).
    ///
    /// # Errors
    /// [`Error::Process`](crate::Error::Process) where the kernel refuses another process, or what
    /// the builder asks for;
    /// [`Error::Holding`](crate::Error::Holding) while the calling thread holds a lock of this crate;
    /// [`Error::Daemon`](crate::Error::Daemon) in a daemon;
    /// [`Error::NoSpace`](crate::Error::NoSpace), [`Error::TableFull`](crate::Error::TableFull),
    /// [`Error::Os`](crate::Error::Os). Nothing is started then.
    pub fn spawn<F>(f: F) -> Result<Self>
    where
        F: FnOnce() -> R + Send + 'static,
    {
        Builder::new().spawn(f)
    }

    /// Starts a child process that runs `f`, which may borrow.
    ///
    /// # Safety
    /// Memory of this process's own is copied by the fork, so borrowing it is harmless. What `f`
    /// refers to in *shared* memory, through a guard, a loan or a slice in place, exists once for both.
    /// The caller sees to it that nothing there that `f` refers to is referred to exclusively by either
    /// process, and that the handles through which it is reached outlive the child.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    ///
    /// # Examples
    /// ```
    /// use commons::Process;
    ///
    /// let words = vec!["a".to_owned(), "b".to_owned()];
    /// // SAFETY: it borrows memory of this process's own alone.
    /// let child = unsafe { Process::spawn_borrowing(|| words.concat()) }?;
    /// assert_eq!(child.join()?, "ab");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[allow(unsafe_code, reason = "what is borrowed may be shared")]
    pub unsafe fn spawn_borrowing<F>(f: F) -> Result<Self>
    where
        F: FnOnce() -> R + Send,
    {
        // SAFETY: as the caller's.
        unsafe { Builder::new().spawn_borrowing(f) }
    }

    /// Starts a child process that calls `f` with `argument`, by the
    /// [start method](super::start_method) of this process: by fork, or by exec, as a new run of this
    /// program.
    ///
    /// Everything but the start is the same with both: names, daemons, results, panics, exit codes, and
    /// what a child has of shared memory. Handles of this crate's objects, in whatever `argument` is made
    /// of, go to the child: those that can be cloned are shared, and ends that there is one of are the
    /// child's from then on. So do handles of other children, as [`Child`]. (Elsewhere, serialising a
    /// handle is an error.) By exec, settings of a handle, such as how it waits, are those of a new one.
    ///
    /// # Exec
    /// The program calls [`entry`](super::entry()) first in its `main`. The child has its own memory from
    /// the beginning: statics are as in any new run, a logger of another library has to be installed anew.
    /// Of the parent's descriptors it has standard input, output and error, and those of the memory
    /// and of the processes that it is given.
    ///
    /// # What does not compile
    /// A function has nothing with it:
    /// ```compile_fail,E0308
    /// let more = 1;
    /// commons::Process::call(|number: u64| number + more, 1);
    /// ```
    /// ```
    /// commons::Process::call(|number: u64| number + 1, 1);
    /// ```
    ///
    /// # Errors
    /// As [`Process::spawn`]. By exec: where the program has not called [`entry`](super::entry()), where the
    /// argument cannot be serialised, where `f` is part of a shared library.
    ///
    /// # Examples
    /// ```
    /// use commons::process::{self, Process, StartMethod};
    /// use commons::spsc;
    ///
    /// fn sum((mut numbers, more): (spsc::Consumer<u64>, u64)) -> u64 {
    ///     std::iter::from_fn(|| numbers.pop().ok()).sum::<u64>() + more
    /// }
    ///
    /// fn main() -> Result<(), Box<dyn std::error::Error>> {
    ///     process::entry();
    ///     let (mut producer, consumer) = spsc::ring(8)?;
    ///     let builder = Process::builder().start_method(StartMethod::Exec);
    ///     let child = builder.call(sum, (consumer, 10))?;
    ///     for number in 0..5 {
    ///         producer.push(number)?;
    ///     }
    ///     drop(producer);
    ///     assert_eq!(child.join()?, 20);
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "serde")]
    pub fn call<A>(f: fn(A) -> R, argument: A) -> Result<Self>
    where
        A: serde::Serialize + serde::de::DeserializeOwned + Send + 'static,
    {
        Builder::new().call(f, argument)
    }

    /// Starts a child process that runs `work`, and has its type's name where another is called
    /// `Process`.
    ///
    /// # Errors
    /// As [`Process::spawn`].
    pub fn run<W: Runnable<Output = R>>(work: W) -> Result<Self> {
        Builder::new().run(work)
    }

    /// Waits for the child to end and gives what its closure returned.
    ///
    /// A result that was complete before a signal ended the child is given, too.
    ///
    /// # Errors
    /// [`JoinError`] says how it ended instead.
    ///
    /// # Blocking
    /// Until the child has ended.
    pub fn join(self) -> Result<R, JoinError> {
        self.result(self.child.wait())
    }

    /// Waits for the child to end, for at most `timeout`, and gives what its closure returned;
    /// `None`: it still runs. May be asked again, also after the end.
    ///
    /// # Errors
    /// As [`Process::join`].
    pub fn join_timeout(&self, timeout: Duration) -> Result<Option<R>, JoinError> {
        match self.child.wait_timeout(timeout).transpose() {
            None => Ok(None),
            Some(ended) => self.result(ended).map(Some),
        }
    }

    /// What came of a child that has ended like this.
    fn result(&self, ended: io::Result<ExitStatus>) -> Result<R, JoinError> {
        let ended = match ended {
            Err(error) if !self.child.is_ours() || self.child.is_alive() => {
                return Err(error.into());
            }
            ended => ended,
        };
        match self.child.report().read()? {
            Some(outcome) => outcome.and_then(|bytes| {
                R::decode(bytes).map_err(|problem| JoinError::Result { problem })
            }),
            None => Err(match ended? {
                ExitStatus::Exited(code) => JoinError::Exited { code },
                ExitStatus::Signaled(signal) => JoinError::Signaled { signal },
            }),
        }
    }
}

impl<R> Process<R> {
    pub(super) fn new(child: Child) -> Self {
        Process { child, result: PhantomData }
    }
}

impl<R> Deref for Process<R> {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl<R> AsFd for Process<R> {
    /// The pidfd, which is readable once the child has ended.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }
}

impl<R> fmt::Display for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.child.fmt(f)
    }
}

impl<R> fmt::Debug for Process<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.child.fmt(f)
    }
}

impl<R> Drop for Process<R> {
    fn drop(&mut self) {
        self.child.forget_outcome();
    }
}
