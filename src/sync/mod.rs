//! The seam: the only module that names core atomics, cells or loom.
//!
//! The algorithms of [`crate::raw`] are written once against these names. In the published crate
//! they are the core types; under `--cfg loom` (tests only) they are loom's, so the very source
//! that runs in shared memory is the source that is model-checked.
//!
//! [`local`] holds the atomics of process-private statics, which are never modelled.

pub(crate) mod barrier;
pub(crate) mod bell;
pub(crate) mod copy;
pub(crate) mod crash;
pub(crate) mod futex;
pub(crate) mod robust;

#[cfg(not(all(test, loom)))]
mod imp {
    pub(crate) mod atomic {
        pub(crate) use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

        /// Keeps the compiler from moving memory accesses across.
        #[inline(always)]
        pub(crate) fn compiler_fence() {
            core::sync::atomic::compiler_fence(Ordering::SeqCst);
        }
    }
    pub(crate) mod hint {
        pub(crate) use crate::sys::process::yield_now;
        pub(crate) use core::hint::spin_loop;
    }
    pub(crate) mod clock {
        pub(crate) use crate::sys::time::now;
    }
}

#[cfg(all(test, loom))]
mod imp {
    pub(crate) mod atomic {
        pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

        /// loom reorders nothing within a thread.
        pub(crate) fn compiler_fence() {}
    }
    pub(crate) mod hint {
        /// Gives way to the other threads of the model: a spin that could go on for ever is cut by
        /// loom, one that yields is not.
        pub(crate) fn spin_loop() {
            loom::thread::yield_now();
        }
        pub(crate) use spin_loop as yield_now;
    }
    pub(crate) mod clock {
        /// Time stands still: no deadline and no slice comes to a sleeper's rescue.
        pub(crate) fn now() -> u64 {
            0
        }
    }
}

pub(crate) use imp::*;

/// Atomics for state that is private to a process and is no part of a model.
#[cfg(not(all(test, loom)))]
pub(crate) mod local {
    pub(crate) use core::sync::atomic::{
        AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
        compiler_fence,
    };
}

/// Every atomic, for cells that are one and are no part of a model.
#[cfg(not(all(test, loom)))]
pub(crate) mod all {
    pub(crate) use core::sync::atomic::{
        AtomicI8, AtomicI16, AtomicI32, AtomicI64, AtomicIsize, AtomicU8, AtomicU16, AtomicU32,
        AtomicU64, AtomicUsize, Ordering,
    };
}

/// `const fn` in the published crate, plain `fn` under loom, whose atomics have no const `new`.
macro_rules! const_fn {
    ($(#[$meta:meta])* $vis:vis const fn $($rest:tt)*) => {
        #[cfg(not(all(test, loom)))]
        $(#[$meta])* $vis const fn $($rest)*
        #[cfg(all(test, loom))]
        $(#[$meta])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;
