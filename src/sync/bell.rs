//! The death bell of the calling thread: the kernel's, or a model of it.

#[cfg(not(all(test, loom)))]
pub(crate) use crate::sys::robust::bell::{arm, arm_again, disarm};

#[cfg(all(test, loom))]
pub(crate) use model::{arm, arm_again, disarm, ring};

#[cfg(all(test, loom))]
mod model {
    use crate::sync::atomic::AtomicU32;
    use crate::sync::futex;
    use std::cell::Cell;

    loom::thread_local! {
        static ARMED: Cell<Option<*const AtomicU32>> = Cell::new(None);
    }

    pub(crate) struct Armed(bool);

    pub(crate) fn arm(bell: &AtomicU32) -> Armed {
        Armed(ARMED.with(|armed| armed.replace(Some(bell)).is_none()))
    }

    pub(crate) fn arm_again(bell: &AtomicU32) {
        ARMED.with(|armed| armed.set(Some(bell)));
    }

    pub(crate) fn disarm(Armed(armed): Armed) {
        if armed {
            ARMED.with(|armed| armed.set(None));
        }
    }

    /// The kernel's part at the death of the calling thread.
    #[allow(unsafe_code, reason = "the model's words outlive its threads")]
    pub(crate) fn ring() {
        if let Some(bell) = ARMED.with(Cell::take) {
            // SAFETY: the caller's scenario holds the word.
            futex::wake(unsafe { &*bell }, 1);
        }
    }
}
