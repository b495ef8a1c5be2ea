//! The asymmetric store-load barrier between a waker and a sleeper.
//!
//! A sleeper announces itself and re-checks; a waker changes the state and looks for sleepers. One
//! of them must see the other, so each needs its store before its load. The waker is on the fast
//! path of every operation and the sleeper is about to spend microseconds in the kernel, so the
//! sleeper pays for both: `membarrier(GLOBAL_EXPEDITED)` runs a full barrier on every processor
//! that runs a registered process, and the waker needs only to keep the compiler from reordering.
//! (Dice, Huang, Yang: "Asymmetric Dekker Synchronization", 2001.)
//!
//! A waker whose process could not register takes the processor's fence instead, so a sleeper need
//! not know which kind its peer is.

#[cfg(not(all(test, loom)))]
pub(crate) use real::{after_exchange, heavy, light};

#[cfg(not(all(test, loom)))]
mod real {
    use crate::sync::atomic::{Ordering, fence};
    use crate::sync::local;
    use crate::sys::membarrier;

    /// The waker's side: between its state change and its look for sleepers.
    ///
    /// `registered` says that [`membarrier::register`] succeeded for this process.
    #[inline(always)]
    pub(crate) fn light(registered: bool) {
        if registered {
            local::compiler_fence(Ordering::SeqCst);
        } else {
            fence(Ordering::SeqCst);
        }
    }

    /// Between a SeqCst exchange and a SeqCst load, which the processor keeps in order.
    #[inline(always)]
    pub(crate) fn after_exchange() {}

    /// The sleeper's side: between its announcement and its re-check.
    ///
    /// Returns whether it reaches wakers that only use [`light`]; if not, the sleeper has to
    /// re-check on a timer.
    #[must_use]
    pub(crate) fn heavy() -> bool {
        fence(Ordering::SeqCst);
        membarrier::global_expedited()
    }
}

/// loom has no membarrier; a fence on both sides is what the pair of them amounts to.
#[cfg(all(test, loom))]
mod model {
    use loom::sync::atomic::{Ordering, fence};

    pub(crate) fn light(_registered: bool) {
        fence(Ordering::SeqCst);
    }

    /// loom takes SeqCst accesses for AcqRel ones.
    pub(crate) fn after_exchange() {
        fence(Ordering::SeqCst);
    }

    #[must_use]
    pub(crate) fn heavy() -> bool {
        fence(Ordering::SeqCst);
        true
    }
}

#[cfg(all(test, loom))]
pub(crate) use model::{after_exchange, heavy, light};
