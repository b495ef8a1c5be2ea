//! Having a role that one process has at a time, as the handle of a side that nobody answers to has it: a
//! word of shared memory says whose it is, and this says whether that is still the process that asks.

use super::role::{claim_role, end_role};
use crate::member::Departure;
use crate::raw::role::Role;
use crate::raw::wait_cell::WaitCell;
use crate::segment::Attachment;
use crate::sync::barrier;
use crate::sync::local::{AtomicU32, Ordering::Relaxed};
use crate::sys::{fork, membarrier};
use crate::{Error, Result};

/// The tenure of a role.
#[derive(Debug)]
pub(crate) struct Tenure {
    /// The word that holds this process's fork epoch, and the epoch in which the role is ours.
    epoch_word: &'static AtomicU32,
    epoch: u32,
    registered: bool,
    predecessor: Option<Departure>,
}

impl Tenure {
    /// Takes a role that nobody alive has. Those who sleep at `news` watch this process from then on.
    pub(crate) fn begin(
        attachment: &Attachment,
        role: &Role,
        name: &'static str,
        news: &WaitCell,
    ) -> Result<Self> {
        let me = attachment.core().membership()?.stamp();
        let predecessor = claim_role(attachment, role, me, name)?;
        attachment.prefault();
        news.wake();
        Ok(Tenure {
            epoch: fork::epoch(),
            epoch_word: fork::epoch_word(),
            registered: membarrier::register(),
            predecessor,
        })
    }

    /// How the last holder had gone when the role was taken; `None`: there was none.
    pub(crate) fn predecessor(&self) -> Option<Departure> {
        self.predecessor
    }

    /// Whether sleepers reach this process with their barrier.
    #[inline(always)]
    pub(crate) fn is_registered(&self) -> bool {
        self.registered
    }

    /// Makes sure that the role is this process's, which it may have been handed to.
    #[inline(always)]
    pub(crate) fn settle(&mut self, attachment: &Attachment, role: &Role) -> Result<()> {
        // Relaxed: the page is this process's own.
        if self.epoch_word.load(Relaxed) != self.epoch {
            self.inherit(attachment, role)?;
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn inherit(&mut self, attachment: &Attachment, role: &Role) -> Result<()> {
        let epoch = fork::epoch();
        if self.epoch == epoch {
            return Ok(());
        }
        let me = attachment.core().membership_if_any().ok_or(Error::Forked)?;
        if !role.is_held_by(me.stamp().pack()) {
            return Err(Error::Forked);
        }
        attachment.settle()?;
        attachment.prefault();
        self.registered = membarrier::register();
        self.epoch = epoch;
        Ok(())
    }

    /// Gives the role up, or hands it to the child for which this process drops what it moved there, and
    /// tells those who sleep at `news`. `finished`: in order.
    pub(crate) fn end(
        &mut self,
        attachment: &Attachment,
        role: &Role,
        news: &WaitCell,
        finished: bool,
    ) {
        if self.inherit(attachment, role).is_err() {
            // A copy in a process that it was not handed to.
            return;
        }
        let core = attachment.core();
        let Some(me) = core.membership_if_any() else { return };
        end_role(attachment, role, me.stamp(), finished);
        let _ = barrier::heavy();
        news.wake();
    }
}
