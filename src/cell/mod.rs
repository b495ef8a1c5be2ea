//! Cells: values in shared memory that processes read and write in place, without queueing.
//!
//! | to share | use |
//! |---|---|
//! | a number or flag, with the operations of `std::sync::atomic` | [`AtomicU64`] and its like |
//! | one value of any fixed-size type, read and replaced as a whole by anybody | [`Value`] |
//! | many values in a row | [`Array`] |
//! | the newest state of one process, which others read or wait for | [`Latest`] |
//!
//! Nothing here blocks a reader, whatever a writer does or dies of.

mod array;
mod atomic;
mod error;
mod in_place;
mod iter;
pub mod latest;
mod store;
mod value;

pub use array::Array;
pub use atomic::{
    Atomic, AtomicBool, AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8,
    AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Bool, Integer, Primitive,
};
pub use error::CellError;
pub use iter::Iter;
pub use latest::Latest;
pub use value::Value;

/// The ways to make and find a cell other than `new`, which are the same for all of them. The type
/// has `make(Location, arguments)` and `find(Location)`.
macro_rules! places {
    ($what:literal, $($argument:ident: $type:ty),*) => {
        #[doc = concat!("Makes ", $what, " and gives it a name.")]
        ///
        /// # Errors
        /// [`Error::NameTaken`], [`Error::InvalidName`], [`Error::TooLarge`], [`Error::NoSpace`].
        pub fn create(name: &str, $($argument: $type),*) -> Result<Self, Error> {
            Self::make(Location::Named(name), $($argument),*)
        }

        #[doc = concat!("Opens ", $what, " by its name.")]
        ///
        /// # Errors
        /// [`Error::NotFound`]; [`Error::TypeMismatch`] where it is another object or has another
        /// type; [`Error::NotOurs`], [`Error::Version`], [`Error::Corrupted`].
        pub fn open(name: &str) -> Result<Self, Error> {
            Self::find(Location::Named(name))
        }

        #[doc = concat!("Opens ", $what, " by its name, or makes it. One that was there keeps")]
        /// what it has.
        ///
        /// # Errors
        /// As `open` and `create`, without `NotFound` and `NameTaken`.
        pub fn open_or_create(name: &str, $($argument: $type),*) -> Result<(Self, Origin), Error> {
            open_or_create(|| Self::open(name), || Self::create(name, $($argument),*))
        }

        #[doc = concat!("Makes ", $what, " in a segment, under a label.")]
        ///
        /// # Errors
        /// [`Error::LabelTaken`], [`Error::InvalidLabel`], [`Error::SegmentFull`],
        /// [`Error::TooLarge`].
        pub fn new_in(segment: &Segment, label: &str, $($argument: $type),*) -> Result<Self, Error> {
            Self::make(Location::In(segment, label), $($argument),*)
        }

        #[doc = concat!("Opens ", $what, " in a segment by its label.")]
        ///
        /// # Errors
        /// [`Error::LabelNotFound`], [`Error::TypeMismatch`], [`Error::Corrupted`].
        pub fn open_in(segment: &Segment, label: &str) -> Result<Self, Error> {
            Self::find(Location::In(segment, label))
        }

        #[doc = concat!("Opens ", $what, " in a segment by its label, or makes it.")]
        ///
        /// # Errors
        /// As `open_in` and `new_in`, without `LabelNotFound` and `LabelTaken`.
        pub fn open_or_create_in(
            segment: &Segment,
            label: &str,
            $($argument: $type),*
        ) -> Result<(Self, Origin), Error> {
            open_or_create(
                || Self::open_in(segment, label),
                || Self::new_in(segment, label, $($argument),*),
            )
        }

        /// Takes a name away. Who has it open keeps it.
        ///
        /// # Errors
        /// [`Error::NotFound`], [`Error::InvalidName`].
        pub fn unlink(name: &str) -> Result<(), Error> {
            Segment::unlink(name)
        }
    };
}
use places;
