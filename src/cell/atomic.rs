//! Shared atomics: the ones of the standard library, in shared memory.

#![allow(unsafe_code, reason = "marks types made of atomics")]

use crate::Result;
use crate::layout::Plan;
use crate::segment::{Element, Held, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::all::{self, Ordering};
use std::fmt;
use std::ops::Deref;

mod sealed {
    /// May be referred to in shared memory. Implemented here alone.
    #[allow(unnameable_types, private_bounds, reason = "seals the traits of this module")]
    pub trait InPlace: crate::segment::Shared {}
}

/// The atomics that can be shared: those of `std::sync::atomic` for integers, and [`Bool`].
pub trait Primitive: sealed::InPlace + fmt::Debug + 'static {
    /// What it holds.
    type Value: Element;

    /// One that holds `value`.
    fn with(value: Self::Value) -> Self;
}

/// Integers that have an atomic of their own, so that an [`Array`](crate::Array) of them can be used
/// in place, as atomics.
pub trait Integer: Element + bytemuck::AnyBitPattern {
    /// The atomic of `std::sync::atomic`.
    type Atomic: Primitive<Value = Self>;
}

/// An atomic in shared memory.
///
/// It dereferences to the atomic of `std::sync::atomic` (for `bool`, to [`Bool`], which has the same
/// methods), so `load`, `store`, `fetch_add`, `compare_exchange` and all the others are there, with
/// the orderings of threads: they hold between processes, too.
///
/// Cloning gives another handle to the same atomic. To share it with a child, move a clone into the
/// child's closure.
///
/// # When a process dies
/// Each operation has happened or has not.
///
/// # Examples
/// ```
/// use commons::{AtomicU64, Process};
/// use std::sync::atomic::Ordering::Relaxed;
///
/// let hits = AtomicU64::new(0)?;
/// let children = (0..4).map(|_| {
///     let hits = hits.clone();
///     Process::spawn(move || {
///         for _ in 0..1000 {
///             hits.fetch_add(1, Relaxed);
///         }
///     })
/// });
/// for child in children.collect::<Result<Vec<_>, _>>()? {
///     child.join()?;
/// }
/// assert_eq!(hits.load(Relaxed), 4000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Atomic<A: Primitive> {
    held: Held<A>,
}

impl<A: Primitive> Atomic<A> {
    fn make(location: Location<'_>, value: A::Value) -> Result<Self> {
        let mut plan = Plan::new();
        plan.place::<A>()?;
        let attachment =
            location.make(ObjectInfo::of::<A::Value>(Kind::Atomic, 1), plan, |blank| {
                blank.put(0, A::with(value));
                Ok(())
            })?;
        Ok(Atomic { held: Held::new(attachment)? })
    }

    fn find(location: Location<'_>) -> Result<Self> {
        let attachment = location.open(ObjectInfo::of::<A::Value>(Kind::Atomic, 1))?;
        Ok(Atomic { held: Held::new(attachment)? })
    }

    /// Makes an atomic without a name, for clones of the handle in children.
    ///
    /// # Errors
    /// [`NoSpace`](crate::Error::NoSpace).
    pub fn new(value: A::Value) -> Result<Self> {
        Self::make(Location::Unnamed, value)
    }

    constructors!("an atomic", value: A::Value);
}

impl<A: Primitive> Deref for Atomic<A> {
    type Target = A;

    #[inline(always)]
    fn deref(&self) -> &A {
        &self.held
    }
}

travels!([A: Primitive] Atomic<A>, Shared, |this| (this.held.attachment(), 0), |used| Self::find(Location::Handed(used)));

impl<A: Primitive> fmt::Debug for Atomic<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl<A: Primitive> Clone for Atomic<A> {
    /// Gives another handle to the same atomic.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its atomic was gone.
    fn clone(&self) -> Self {
        Atomic { held: self.held.again().expect("a handle holds its atomic") }
    }
}

macro_rules! integers {
    ($($name:ident, $integer:ident;)*) => {$(
        impl sealed::InPlace for all::$name {}
        impl Primitive for all::$name {
            type Value = $integer;

            fn with(value: $integer) -> Self {
                Self::new(value)
            }
        }
        impl Integer for $integer {
            type Atomic = all::$name;
        }
        #[doc = concat!("A `", stringify!($name), "` of the standard library in shared memory.")]
        pub type $name = Atomic<all::$name>;
    )*};
}

integers! {
    AtomicI8, i8;
    AtomicI16, i16;
    AtomicI32, i32;
    AtomicI64, i64;
    AtomicIsize, isize;
    AtomicU8, u8;
    AtomicU16, u16;
    AtomicU32, u32;
    AtomicU64, u64;
    AtomicUsize, usize;
}

macro_rules! shared {
    ($($name:ident)*) => {$(
        // SAFETY: an atomic, of which any bytes are a value.
        unsafe impl Shared for all::$name {}
    )*};
}

// The other two are marked where the segments are.
shared!(AtomicI8 AtomicI16 AtomicI32 AtomicI64 AtomicIsize AtomicU8 AtomicU16 AtomicUsize);

/// An atomic flag, with the methods of `std::sync::atomic::AtomicBool`.
///
/// # Differences from `std::sync::atomic::AtomicBool`
/// Whatever byte another process writes, it is a value: everything but 0 is true.
#[repr(transparent)]
pub struct Bool {
    byte: all::AtomicU8,
}

// SAFETY: an atomic, of which any byte is a value.
unsafe impl Shared for Bool {}
impl sealed::InPlace for Bool {}

/// An `AtomicBool` in shared memory.
pub type AtomicBool = Atomic<Bool>;

impl Primitive for Bool {
    type Value = bool;

    fn with(value: bool) -> Self {
        Bool { byte: all::AtomicU8::new(u8::from(value)) }
    }
}

impl Bool {
    /// The flag.
    ///
    /// # Panics
    /// If `order` is `Release` or `AcqRel`.
    #[inline]
    pub fn load(&self, order: Ordering) -> bool {
        self.byte.load(order) != 0
    }

    /// Sets the flag.
    ///
    /// # Panics
    /// If `order` is `Acquire` or `AcqRel`.
    #[inline]
    pub fn store(&self, value: bool, order: Ordering) {
        self.byte.store(u8::from(value), order);
    }

    /// Sets the flag and gives the one that was there.
    #[inline]
    pub fn swap(&self, value: bool, order: Ordering) -> bool {
        self.byte.swap(u8::from(value), order) != 0
    }

    /// Sets the flag to `new` if it is `current`, and gives what was there: `Ok` if it was set.
    ///
    /// # Panics
    /// If `failure` is `Release` or `AcqRel`.
    #[inline]
    pub fn compare_exchange(
        &self,
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        let exchanged =
            self.byte.compare_exchange(u8::from(current), u8::from(new), success, failure);
        exchanged.map(|old| old != 0).map_err(|old| old != 0)
    }

    /// As [`Bool::compare_exchange`], and may fail without a reason.
    ///
    /// # Panics
    /// If `failure` is `Release` or `AcqRel`.
    #[inline]
    pub fn compare_exchange_weak(
        &self,
        current: bool,
        new: bool,
        success: Ordering,
        failure: Ordering,
    ) -> Result<bool, bool> {
        let exchanged =
            self.byte.compare_exchange_weak(u8::from(current), u8::from(new), success, failure);
        exchanged.map(|old| old != 0).map_err(|old| old != 0)
    }

    /// Sets the flag to its `and` with `value` and gives the one that was there.
    #[inline]
    pub fn fetch_and(&self, value: bool, order: Ordering) -> bool {
        if value { self.byte.fetch_or(0, order) != 0 } else { self.swap(false, order) }
    }

    /// Sets the flag to the opposite of its `and` with `value` and gives the one that was there.
    #[inline]
    pub fn fetch_nand(&self, value: bool, order: Ordering) -> bool {
        if value { self.fetch_not(order) } else { self.swap(true, order) }
    }

    /// Sets the flag to its `or` with `value` and gives the one that was there.
    #[inline]
    pub fn fetch_or(&self, value: bool, order: Ordering) -> bool {
        self.byte.fetch_or(u8::from(value), order) != 0
    }

    /// Sets the flag to its exclusive `or` with `value` and gives the one that was there.
    #[inline]
    pub fn fetch_xor(&self, value: bool, order: Ordering) -> bool {
        self.byte.fetch_xor(u8::from(value), order) != 0
    }

    /// Turns the flag over and gives the one that was there.
    #[inline]
    pub fn fetch_not(&self, order: Ordering) -> bool {
        self.fetch_xor(true, order)
    }
}

impl fmt::Debug for Bool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.load(Ordering::Relaxed), f)
    }
}
