//! A flag that is waited for.

#![allow(unsafe_code, reason = "says which state is made of atomics")]

use super::joint::Joint;
use crate::Result;
use crate::layout::Plan;
use crate::raw::event::RawEvent;
use crate::raw::semaphore::RawSemaphore;
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::atomic::{AtomicU32, Ordering::Relaxed};
use crate::sys::time;
use crate::wait::{NEVER, WaitStrategy};
use std::fmt;
use std::time::{Duration, Instant};

/// How an [`Event`] becomes unset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reset {
    /// By [`Event::reset`]. Until then it lets everybody through.
    Manual,
    /// By the one waiter that it lets through.
    Auto,
}

const MANUAL: u32 = 1;
const AUTO: u32 = 2;

/// The state in shared memory.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct EventState {
    /// Used where it is [`MANUAL`].
    pub(super) manual: RawEvent,
    /// Used where it is [`AUTO`]: a permit that is there or not.
    pub(super) auto: RawSemaphore,
    /// [`MANUAL`] or [`AUTO`]. Written once.
    reset: AtomicU32,
    reserved: [AtomicU32; 3],
}

// SAFETY: made of atomics.
unsafe impl Shared for EventState {}

impl EventState {
    fn new(reset: Reset) -> Self {
        let reset = match reset {
            Reset::Manual => MANUAL,
            Reset::Auto => AUTO,
        };
        EventState {
            manual: RawEvent::new(),
            auto: RawSemaphore::new(0),
            reset: AtomicU32::new(reset),
            reserved: [const { AtomicU32::new(0) }; 3],
        }
    }

    fn reset(&self) -> Option<Reset> {
        match self.reset.load(Relaxed) {
            MANUAL => Some(Reset::Manual),
            AUTO => Some(Reset::Auto),
            _ => None,
        }
    }

    fn is_sound(&self) -> bool {
        self.reset().is_some() && self.manual.is_sound() && self.auto.is_sound(1)
    }
}

/// A flag that processes set and wait for.
///
/// A [`Reset::Manual`] one lets everybody through from the set until [`Event::reset`], and everybody
/// who waited at the moment of the set, however soon the reset follows. A [`Reset::Auto`] one lets
/// one waiter through for each set, and keeps one set for a waiter that is still to come; sets of an
/// event that is set are one.
///
/// What was written before a set is seen by whoever it lets through. A set that nobody waits for is
/// one compare-and-swap; only one that may have to wake somebody makes a system call.
///
/// # When a process dies
/// It has set the event or not, and been let through or not: there is nothing in between. Nobody's
/// death keeps a set from returning. A setter that is killed before it has woken the waiters, and a
/// waiter that is killed with the wake of an auto-reset event that another could use, leave it to
/// the kernel to wake somebody who goes on with it; where the kernel cannot, all waiters look again
/// within 100 ms. An auto-reset event that a process was let through by is used up, also if the
/// process dies at once.
///
/// Nobody in particular is expected to set an event, so a wait for it does not end because somebody
/// has died: give it a deadline where that matters.
///
/// # Signal handlers
/// [`Event::set`], [`Event::pulse`], [`Event::reset`] and [`Event::is_set`] are async-signal-safe: no
/// locks, no allocation, one system call at most to wake and one to learn of the thread. (In a
/// forked child, from the first use of the handle outside of one.)
///
/// # Fork
/// A copy of the handle in a forked child is a handle. [`Error::Forked`](crate::Error::Forked) from
/// one that was not moved into [`Process::spawn`](crate::Process::spawn), if by the first use in the
/// child nobody had the event any more.
///
/// # Examples
/// ```
/// use commons::{Event, Process, Reset};
///
/// let ready = Event::new(Reset::Manual)?;
/// let in_child = ready.clone();
/// let child = Process::spawn(move || in_child.wait().is_ok())?;
/// ready.set()?;
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Event {
    joint: Joint<EventState>,
    reset: Reset,
}

impl Event {
    fn over(attachment: Attachment) -> Result<Self> {
        let joint = Joint::new(attachment, EventState::is_sound)?;
        // Sound, so it is one of both.
        let reset = joint.state().reset().unwrap_or(Reset::Manual);
        Ok(Event { joint, reset })
    }

    fn make(location: Location<'_>, reset: Reset) -> Result<Self> {
        let mut plan = Plan::new();
        let offset = plan.place::<EventState>()?;
        Self::over(location.make(ObjectInfo::of::<()>(Kind::Event, 1), plan, |blank| {
            blank.put(offset, EventState::new(reset));
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<()>(Kind::Event, 1))?)
    }

    /// Makes an event without a name, not set, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::NoSpace`](crate::Error::NoSpace).
    pub fn new(reset: Reset) -> Result<Self> {
        Self::make(Location::Unnamed, reset)
    }

    constructors!("an event", reset: Reset);

    pub(super) fn parts(&self) -> (&Joint<EventState>, Reset) {
        (&self.joint, self.reset)
    }

    /// Sets it, and wakes whom that lets through.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[inline]
    pub fn set(&self) -> Result<()> {
        let state = self.joint.settled()?;
        match self.reset {
            Reset::Manual => state.manual.set(),
            Reset::Auto => state.auto.set(),
        }
        Ok(())
    }

    /// Makes it not set. Who was let through stays so.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    #[inline]
    pub fn reset(&self) -> Result<()> {
        let state = self.joint.settled()?;
        match self.reset {
            Reset::Manual => state.manual.reset(),
            Reset::Auto => state.auto.drain(),
        }
        Ok(())
    }

    /// Lets everybody through who waits, and leaves it not set for those who come later. Nothing if
    /// it is set.
    ///
    /// # Errors
    /// [`Error::NotManual`](crate::Error::NotManual) of an auto-reset event, where a set lets one
    /// through anyway; [`Error::Forked`](crate::Error::Forked).
    pub fn pulse(&self) -> Result<()> {
        let state = self.joint.settled()?;
        match self.reset {
            Reset::Manual => state.manual.pulse(),
            Reset::Auto => {
                return Err(crate::Error::NotManual { name: self.joint.name().to_owned() });
            }
        }
        Ok(())
    }

    /// Whether it is set. Stale by the time the caller looks at it.
    pub fn is_set(&self) -> bool {
        let state = self.joint.state();
        match self.reset {
            Reset::Manual => state.manual.is_set(),
            Reset::Auto => state.auto.value() != 0,
        }
    }

    /// Waits until it is set, or was since the call.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    ///
    /// # Blocking
    /// Until somebody sets it, as the [`WaitStrategy`] of the handle says.
    #[inline]
    pub fn wait(&self) -> Result<()> {
        self.wait_until(NEVER).map(|_| ())
    }

    /// Goes through if it is set; says whether it was. An auto-reset event is not set any more then.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    pub fn try_wait(&self) -> Result<bool> {
        let state = self.joint.settled()?;
        Ok(match self.reset {
            Reset::Manual => state.manual.is_set(),
            Reset::Auto => state.auto.try_acquire(),
        })
    }

    /// Waits for at most `timeout`; says whether it was let through.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    ///
    /// # Blocking
    /// As [`Event::wait`], until the time is over.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<bool> {
        self.wait_until(time::after(timeout))
    }

    /// Waits until `deadline` at most; says whether it was let through.
    ///
    /// # Errors
    /// [`Error::Forked`](crate::Error::Forked).
    ///
    /// # Blocking
    /// As [`Event::wait_timeout`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<bool> {
        self.wait_until(time::at(deadline))
    }

    #[inline(always)]
    fn wait_until(&self, deadline: u64) -> Result<bool> {
        let state = self.joint.settled()?;
        Ok(match self.reset {
            Reset::Manual => state.manual.wait(self.joint.strategy, deadline),
            Reset::Auto => state.auto.acquire(self.joint.strategy, deadline),
        })
    }

    /// How it becomes unset.
    pub fn reset_mode(&self) -> Reset {
        self.reset
    }

    /// What this handle does while it waits.
    pub fn wait_strategy(&self) -> WaitStrategy {
        self.joint.strategy
    }

    /// Sets what this handle does while it waits, and the handles cloned from it.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.joint.strategy = strategy;
    }
}

impl Clone for Event {
    /// # Panics
    /// In a forked process that inherited the handle after its event was gone.
    fn clone(&self) -> Self {
        Event { joint: self.joint.again(), reset: self.reset }
    }
}

travels!([] Event, Shared, |this| (this.joint.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.joint.state();
        let awaited = match self.reset {
            Reset::Manual => state.manual.is_awaited(),
            Reset::Auto => state.auto.is_awaited(),
        };
        f.debug_struct("Event")
            .field("name", &self.joint.name())
            .field("reset", &self.reset)
            .field("set", &self.is_set())
            .field("may_be_awaited", &awaited)
            .finish_non_exhaustive()
    }
}
