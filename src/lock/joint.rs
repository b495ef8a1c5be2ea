//! A handle to an object without an owner: whoever has one changes it and waits at it.

use crate::segment::{Attachment, Held, Shared};
use crate::sync::local::{AtomicU32, Ordering::Relaxed};
use crate::sys::fork;
use crate::wait::WaitStrategy;
use crate::{Error, Result};

/// A handle to an object whose state is a `P`.
pub(super) struct Joint<P: Shared> {
    held: Held<P>,
    /// The fork epoch in which this process is known to hold the object.
    settled: AtomicU32,
    /// How this handle waits.
    pub(super) strategy: WaitStrategy,
}

impl<P: Shared> Joint<P> {
    /// # Errors
    /// [`Error::Corrupted`], where `is_sound` of what is there says no, too.
    pub(super) fn new(attachment: Attachment, is_sound: impl FnOnce(&P) -> bool) -> Result<Self> {
        let held = Held::<P>::new(attachment)?;
        if !is_sound(&held) {
            let name = held.attachment().name().to_owned();
            return Err(Error::Corrupted { name, problem: "a word of it is none it can have" });
        }
        Ok(Joint { held, settled: AtomicU32::new(0), strategy: WaitStrategy::default() })
    }

    /// Another handle of the same process to the same object, which waits in the same way.
    ///
    /// # Panics
    /// In a forked process that inherited the handle after its object was gone.
    pub(super) fn again(&self) -> Self {
        let held = self.held.again().expect("a handle holds its object");
        Joint { held, settled: AtomicU32::new(0), strategy: self.strategy }
    }

    /// The hold on the object.
    pub(super) fn held(&self) -> &Held<P> {
        &self.held
    }

    /// What messages call the object.
    pub(super) fn name(&self) -> &str {
        self.held.attachment().name()
    }

    /// The state, whoever holds it: to look at.
    #[inline(always)]
    pub(super) fn state(&self) -> &P {
        &self.held
    }

    /// The state, once it is sure that this process holds the object.
    #[inline(always)]
    pub(super) fn settled(&self) -> Result<&P> {
        // Relaxed: the number carries no data. A child that was told nothing yet reads 0: then both
        // are, if this handle was not used before.
        let epoch = fork::epoch_word().load(Relaxed);
        if epoch == 0 || self.settled.load(Relaxed) != epoch {
            self.settle()?;
        }
        Ok(&self.held)
    }

    #[cold]
    #[inline(never)]
    fn settle(&self) -> Result<()> {
        self.held.attachment().settle()?;
        self.settled.store(fork::epoch(), Relaxed);
        Ok(())
    }
}
