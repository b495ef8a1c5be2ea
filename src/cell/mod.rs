//! Cells: values in shared memory that processes read and write in place, without queueing.
//!
//! | to share | use |
//! |---|---|
//! | a number or flag, with the operations of `std::sync::atomic` | [`AtomicU64`] and its like |
//! | one value of any fixed-size type, read and replaced as a whole by anybody | [`Value`] |
//! | many values in a row | [`Array`] |
//! | the same under a lock, as a `&mut [T]` | [`LockedArray`](crate::LockedArray) |
//! | the newest state of one process, which others read or wait for | [`Latest`] |
//!
//! Nothing here blocks a reader, whatever a writer does or dies of.

mod array;
mod atomic;
mod error;
mod in_place;
mod iter;
pub mod latest;
pub(crate) mod row;
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
pub(crate) use store::{any_bytes_are_a_value, look};
pub use value::Value;
