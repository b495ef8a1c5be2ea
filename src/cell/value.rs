//! One value that anybody reads and replaces.

use super::CellError;
use super::store::{BUFFERS, Store, from_word, is_small, to_word};
use crate::Result;
use crate::member::Claim;
use crate::segment::{Element, Kind, Location, constructors, travels};
use crate::sync::atomic::Ordering::{AcqRel, Acquire, Release};
use std::fmt;
use std::marker::PhantomData;

/// One value in shared memory that any process reads and replaces as a whole.
///
/// A value of up to 8 bytes is one atomic word. A larger one is kept in several versions: a reader
/// copies the newest complete one and never waits, writers take turns.
///
/// Cloning gives another handle to the same value. What a process did before a store is seen by who
/// loads the value that was stored.
///
/// # When a process dies
/// Killed in the middle of a store, it leaves the old value, whole. Readers notice nothing; the next
/// writer takes its turn from the dead one when the kernel says that it is gone.
///
/// # Trust
/// Every operation checks what it copied: whatever bytes a hostile peer writes, it answers with a
/// value that is valid for its type, or [`CellError::Corrupted`].
///
/// # Examples
/// ```
/// use commons::{Process, Value};
///
/// let best = Value::new([0.0f64; 3])?;
/// let child = Process::spawn({
///     let best = best.clone();
///     move || best.store([1.0, 2.0, 3.0]).is_ok()
/// })?;
/// assert!(child.join()?);
/// assert_eq!(best.load()?, [1.0, 2.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Value<T> {
    store: Store,
    element: PhantomData<fn(T) -> T>,
}

impl<T: Element> Value<T> {
    fn make(location: Location<'_>, initial: T) -> Result<Self> {
        let buffers = if is_small::<T>() { 0 } else { BUFFERS };
        let store = Store::make(location, Kind::Value, buffers, &initial)?;
        Ok(Value { store, element: PhantomData })
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Ok(Value { store: Store::find::<T>(location, Kind::Value)?, element: PhantomData })
    }

    /// Makes a value without a name, for clones of the handle in children.
    ///
    /// # Errors
    /// [`TooLarge`](crate::Error::TooLarge), [`NoSpace`](crate::Error::NoSpace).
    pub fn new(initial: T) -> Result<Self> {
        Self::make(Location::Unnamed, initial)
    }

    constructors!("a value", initial: T);

    /// The value.
    ///
    /// Never waits. A value of more than 8 bytes is copied again if it was replaced several times
    /// during the copy.
    ///
    /// # Errors
    /// [`CellError::Corrupted`], [`CellError::Forked`].
    #[inline]
    pub fn load(&self) -> Result<T, CellError> {
        self.store.settle()?;
        if is_small::<T>() {
            // Acquire: what was done before the store of this value.
            return from_word(self.store.current.load(Acquire));
        }
        Ok(self.store.read()?.0)
    }

    /// Replaces the value.
    ///
    /// # Errors
    /// [`CellError::Corrupted`], [`CellError::Forked`], and for values of more than 8 bytes
    /// [`CellError::Refused`] where the process has no place in the segment and gets none.
    ///
    /// # Blocking
    /// Up to 8 bytes: never. Above, while another writer copies its value.
    #[inline]
    pub fn store(&self, value: T) -> Result<(), CellError> {
        self.store.settle()?;
        if is_small::<T>() {
            // Release: what was done before, to who loads this value.
            self.store.current.store(to_word(&value), Release);
            return Ok(());
        }
        let turn = self.turn()?;
        self.store.publish(&value)?;
        drop(turn);
        Ok(())
    }

    /// Replaces the value and gives the one that was there.
    ///
    /// # Errors
    /// As [`Value::store`]. If the old bytes were no value of the type, it is replaced nevertheless
    /// where it has up to 8 bytes.
    ///
    /// # Blocking
    /// As [`Value::store`].
    pub fn swap(&self, value: T) -> Result<T, CellError> {
        self.store.settle()?;
        if is_small::<T>() {
            // AcqRel: both ways, as in `load` and `store`.
            return from_word(self.store.current.swap(to_word(&value), AcqRel));
        }
        let turn = self.turn()?;
        let (old, _) = self.store.read()?;
        self.store.publish(&value)?;
        drop(turn);
        Ok(old)
    }

    /// Replaces the value by what `change` makes of it, and gives the one that was there.
    ///
    /// `change` runs again whenever another process was faster, so it should do nothing else. It
    /// may use this value.
    ///
    /// # Errors
    /// As [`Value::store`].
    ///
    /// # Blocking
    /// As [`Value::store`].
    ///
    /// # Examples
    /// ```
    /// let mean = commons::Value::new((0u64, 0.0f64).1)?;
    /// assert_eq!(mean.update(|m| m + 0.5)?, 0.0);
    /// assert_eq!(mean.load()?, 0.5);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn update(&self, mut change: impl FnMut(T) -> T) -> Result<T, CellError> {
        self.store.settle()?;
        if is_small::<T>() {
            let word = &self.store.current;
            // Acquire: as in `load`.
            let mut seen = word.load(Acquire);
            loop {
                let old = from_word(seen)?;
                let new = to_word(&change(old));
                // AcqRel: as in `swap`.
                match word.compare_exchange_weak(seen, new, AcqRel, Acquire) {
                    Ok(_) => return Ok(old),
                    Err(other) => seen = other,
                }
            }
        }
        loop {
            let (old, version) = self.store.read()?;
            let new = change(old);
            let turn = self.turn()?;
            if self.store.version() == version {
                self.store.publish(&new)?;
                return Ok(old);
            }
            drop(turn);
        }
    }

    /// The right to write, which a dead writer loses.
    fn turn(&self) -> Result<Claim<'_>, CellError> {
        let core = self.store.attachment().core();
        Ok(Claim::take(&self.store.claim, core.table()?, core.membership()?)?)
    }
}

travels!([T: Element] Value<T>, Shared, |this| (this.store.attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<T: Element + fmt::Debug> fmt::Debug for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.store.attachment().name();
        f.debug_struct("Value").field("name", &name).field("value", &self.load()).finish()
    }
}

impl<T: Element> Clone for Value<T> {
    /// Gives another handle to the same value.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its value was gone.
    fn clone(&self) -> Self {
        let store = self.store.again().expect("a handle holds its value");
        Value { store, element: PhantomData }
    }
}
