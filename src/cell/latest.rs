//! The newest state of one process, which any number of others read or wait for.
//!
//! One process has the [`Publisher`]; everybody else may have a [`Reader`]. A reader gets the newest
//! complete value and never waits for the publisher, nor the publisher for a reader: what was not
//! read before the next value came is not read at all. Values may be of any size, up to megabytes.
//!
//! # When a process dies
//! A publisher killed in the middle leaves the last value it had completed. Readers that wait for a
//! newer one are told at once. A successor takes over with [`Latest::publisher`]. A reader that dies
//! leaves nothing behind.
//!
//! # Trust
//! Every operation checks what it copied: whatever bytes a hostile peer writes, it answers with a
//! value that is valid for its type, or [`CellError::Corrupted`].
//!
//! # Examples
//! ```
//! use commons::{Latest, Process};
//!
//! let position = Latest::new(&[0.0f64; 3])?;
//! let mut reader = position.reader()?;
//! let mut publisher = position.publisher()?;
//! let child = Process::spawn(move || {
//!     for step in 1..=1000 {
//!         publisher.publish(&[f64::from(step); 3]).expect("nobody else publishes");
//!     }
//! })?;
//! while reader.wait_newer().is_ok() {
//!     let [x, y, z] = reader.read()?;
//!     assert!(x == y && y == z);
//! }
//! child.join()?;
//! assert_eq!(reader.read()?, [1000.0; 3]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::CellError;
use super::store::{BUFFERS, Store};
use crate::member::Doubt;
use crate::segment::{Element, Kind, Location, constructors, travels};
use crate::sys::time;
use crate::wait::{Asleep, NEVER, Tenure, Wait, WaitStrategy, block_on, watch_holder};
use crate::{Error, Result};
use std::fmt;
use std::marker::PhantomData;
use std::time::{Duration, Instant};

/// The newest of the values that one process publishes.
///
/// This is the cell and neither of its sides: take one with [`Latest::publisher`] or
/// [`Latest::reader`]. Cloning gives another handle to the same cell.
pub struct Latest<T> {
    store: Store,
    element: PhantomData<fn(T) -> T>,
}

impl<T: Element> Latest<T> {
    fn over(store: Store) -> Self {
        Latest { store, element: PhantomData }
    }

    fn make(location: Location<'_>, initial: &T) -> Result<Self> {
        Ok(Self::over(Store::make(location, Kind::Latest, BUFFERS, initial)?))
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Ok(Self::over(Store::find::<T>(location, Kind::Latest)?))
    }

    /// Makes a cell without a name, for sides that are moved to children. Until something is
    /// published, readers get `initial`, which is version 0.
    ///
    /// # Errors
    /// [`Error::TooLarge`], [`Error::NoSpace`].
    pub fn new(initial: &T) -> Result<Self> {
        Self::make(Location::Unnamed, initial)
    }

    constructors!("a cell", initial: &T);

    /// Makes a cell without a name with `buffers` buffers instead of 4, from 2 to 15.
    ///
    /// The publisher keeps away from the buffers that readers are copying as long as these are at
    /// most two fewer than there are. With more readers at the same time, one whose buffer is
    /// written to begins again.
    ///
    /// # Errors
    /// As [`Latest::new`]; [`Error::Zero`] and [`Error::TooLarge`] for another number.
    pub fn with_buffers(buffers: usize, initial: &T) -> Result<Self> {
        let location = Location::Unnamed;
        if buffers < 2 {
            return Err(Error::Zero { what: "a number of spare buffers" });
        }
        Ok(Self::over(Store::make(location, Kind::Latest, buffers, initial)?))
    }

    /// Makes a cell with `buffers` buffers and gives it a name; see [`Latest::with_buffers`].
    ///
    /// # Errors
    /// As [`Latest::create`] and [`Latest::with_buffers`].
    pub fn create_with_buffers(name: &str, buffers: usize, initial: &T) -> Result<Self> {
        if buffers < 2 {
            return Err(Error::Zero { what: "a number of spare buffers" });
        }
        Ok(Self::over(Store::make(Location::Named(name), Kind::Latest, buffers, initial)?))
    }

    /// Takes the publishing side: the first one, or that of a publisher that left or died.
    ///
    /// # Errors
    /// [`Error::RoleTaken`] while a living process has it, this one included; [`Error::Corrupted`].
    pub fn publisher(&self) -> Result<Publisher<T>> {
        Publisher::claim(self.store.again()?)
    }

    /// Takes a reading side; there can be any number.
    ///
    /// # Errors
    /// [`Error::Corrupted`]; [`Error::Forked`] in a process that inherited the handle after its cell
    /// was gone.
    pub fn reader(&self) -> Result<Reader<T>> {
        Ok(Reader::over(self.store.again()?))
    }
}

impl<T> Latest<T> {
    /// How many values were published so far. Stale by the time the caller looks at it.
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// How many buffers it has.
    pub fn buffers(&self) -> usize {
        self.store.buffers()
    }
}

travels!([T: Element] Latest<T>, Shared, |this| (this.store.attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest")
            .field("name", &self.store.attachment().name())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl<T: Element> Clone for Latest<T> {
    /// Gives another handle to the same cell.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its cell was gone.
    fn clone(&self) -> Self {
        Self::over(self.store.again().expect("a handle holds its cell"))
    }
}

/// The side that publishes.
///
/// There is one in all processes. Move it into the closure of [`Process::spawn`](crate::Process) to
/// hand it to a child; a copy that came into a process any other way answers [`CellError::Forked`].
///
/// Dropping it tells readers that wait that nothing newer comes
/// ([`Departure::Closed`](crate::Departure), or `Abandoned` if a panic dropped it).
pub struct Publisher<T> {
    tenure: Tenure,
    store: Store,
    element: PhantomData<fn(T)>,
}

impl<T: Element> Publisher<T> {
    fn claim(store: Store) -> Result<Self> {
        let (attachment, role) = (store.attachment(), &store.publisher);
        let tenure = Tenure::begin(attachment, role, "publisher", &store.news)?;
        Ok(Publisher { tenure, store, element: PhantomData })
    }

    /// Publishes a value and gives its version. Never waits.
    ///
    /// # Errors
    /// [`CellError::Forked`], [`CellError::Corrupted`]: nothing was published.
    #[inline]
    pub fn publish(&mut self, value: &T) -> Result<u64, CellError> {
        self.tenure.settle(self.store.attachment(), &self.store.publisher)?;
        let version = self.store.publish(value)?;
        self.store.versions().notify(self.tenure.is_registered());
        Ok(version)
    }
}

impl<T> Publisher<T> {
    /// The version of the last value that was published, by this publisher or one before it.
    pub fn version(&self) -> u64 {
        self.store.version()
    }
}

impl<T> Drop for Publisher<T> {
    fn drop(&mut self) {
        let Publisher { tenure, store, .. } = self;
        let finished = !std::thread::panicking();
        tenure.end(store.attachment(), &store.publisher, &store.news, finished);
    }
}

travels!([T: Element] Publisher<T>, Sole, |this| (this.store.attachment(), 0),
    |used| Self::claim(Store::find::<T>(Location::Handed(used), Kind::Latest)?));

impl<T> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("name", &self.store.attachment().name())
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

/// A side that reads.
///
/// Cloning gives another one of the same process, which has seen what this one has.
pub struct Reader<T> {
    store: Store,
    /// The version of the last value that was read.
    seen: u64,
    strategy: WaitStrategy,
    element: PhantomData<fn() -> T>,
}

impl<T: Element> Reader<T> {
    fn over(store: Store) -> Self {
        Reader { store, seen: 0, strategy: WaitStrategy::default(), element: PhantomData }
    }

    /// The newest value. Never waits, and works whether there is a publisher or not.
    ///
    /// # Errors
    /// [`CellError::Corrupted`], [`CellError::Forked`].
    #[inline]
    pub fn read(&mut self) -> Result<T, CellError> {
        self.store.settle()?;
        let (value, version) = self.store.read()?;
        self.seen = version;
        Ok(value)
    }

    /// Copies the newest value into `to` and gives its version: for values that are too large for
    /// the stack.
    ///
    /// # Errors
    /// As [`Reader::read`]. `to` has some value of its type then.
    ///
    /// # Examples
    /// ```
    /// let frame = commons::Latest::new(&[0u8; 65536])?;
    /// let mut reader = frame.reader()?;
    /// frame.publisher()?.publish(&[7; 65536])?;
    /// let mut mine = Box::new([0; 65536]);
    /// assert_eq!(reader.read_into(&mut mine)?, 1);
    /// assert_eq!(mine[65535], 7);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn read_into(&mut self, to: &mut T) -> Result<u64, CellError> {
        self.store.settle()?;
        self.seen = self.store.read_into(to)?;
        Ok(self.seen)
    }
}

impl<T> Reader<T> {
    /// How many values were published so far. Stale by the time the caller looks at it.
    #[inline]
    pub fn version(&self) -> u64 {
        self.store.version()
    }

    /// The version of the last value that this reader has read; 0 before the first.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether there is a value that this reader has not read.
    #[inline]
    pub fn has_newer(&self) -> bool {
        self.version() != self.seen
    }

    /// Waits until there is a value that this reader has not read, and gives its version.
    ///
    /// # Errors
    /// [`CellError::Gone`] where there is nothing newer and the publisher left or died;
    /// [`CellError::Forked`], [`CellError::Refused`], [`CellError::Corrupted`].
    ///
    /// # Blocking
    /// While there is nothing newer, as the [`WaitStrategy`] says. Ends at once when the publisher
    /// dies; one that has not come yet is waited for.
    pub fn wait_newer(&self) -> Result<u64, CellError> {
        self.wait_until(NEVER)
    }

    /// The same until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`CellError::TimedOut`], and as [`Reader::wait_newer`].
    pub fn wait_newer_timeout(&self, timeout: Duration) -> Result<u64, CellError> {
        self.wait_until(time::after(timeout))
    }

    /// The same until `deadline`.
    ///
    /// # Errors
    /// [`CellError::TimedOut`], and as [`Reader::wait_newer`].
    pub fn wait_newer_deadline(&self, deadline: Instant) -> Result<u64, CellError> {
        self.wait_until(time::at(deadline))
    }

    fn wait_until(&self, deadline: u64) -> Result<u64, CellError> {
        self.store.settle()?;
        let mut waiting = Waiting { store: &self.store, seen: self.seen, doubt: Doubt::default() };
        block_on(&mut waiting, &self.store.news, self.strategy, deadline)
            .unwrap_or(Err(CellError::TimedOut))
    }

    /// How waiting operations of this reader wait.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.strategy
    }

    /// Sets how waiting operations of this reader wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.strategy = strategy;
    }
}

travels!([T: Element] Reader<T>, Shared, |this| (this.store.attachment(), this.seen), |used| {
    let store = Store::find::<T>(Location::Handed(used), Kind::Latest)?;
    Ok(Reader { seen: used.detail(), ..Self::over(store) })
});

impl<T> fmt::Debug for Reader<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("name", &self.store.attachment().name())
            .field("seen", &self.seen)
            .finish_non_exhaustive()
    }
}

impl<T: Element> Clone for Reader<T> {
    /// Gives another reader of the same cell.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its cell was gone.
    fn clone(&self) -> Self {
        let store = self.store.again().expect("a handle holds its cell");
        Reader { store, seen: self.seen, strategy: self.strategy, element: PhantomData }
    }
}

/// A wait for a version that was not seen.
struct Waiting<'a> {
    store: &'a Store,
    seen: u64,
    doubt: Doubt,
}

impl<'a> Wait<'a> for Waiting<'a> {
    type Output = Result<u64, CellError>;

    #[inline(always)]
    fn poll(&mut self) -> Option<Self::Output> {
        let version = self.store.version();
        (version != self.seen).then_some(Ok(version))
    }

    fn peer(&mut self, timed_out: bool) -> Result<Asleep<'a>, Self::Output> {
        let core = self.store.attachment().core();
        match watch_holder(core, &self.store.publisher, timed_out, &mut self.doubt) {
            Ok(Ok(watch)) => Ok(Asleep { other: watch.beacon, slice: watch.slice }),
            Ok(Err(departure)) => Err(Err(CellError::Gone(departure))),
            Err(error) => Err(Err(error.into())),
        }
    }
}
