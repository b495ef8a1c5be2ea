//! The limits: the leanest code that does the work of a row, with no safety at all.

pub(crate) mod bare_ring;
pub(crate) mod cache_line;
pub(crate) mod cells;
pub(crate) mod futex_pair;
pub(crate) mod pthread;
pub(crate) mod vyukov;
