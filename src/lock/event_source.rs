//! Waiting for an event beside other things.

use super::event::{EventState, Reset};
use super::{Event, joint::Joint};
use crate::Result;
use crate::member::Doubt;
use crate::sync::atomic::AtomicU32;
use crate::sync::local::{self, Ordering::Relaxed};
use crate::wait::{Asleep, ReadSource, SLICE, Source};
use std::fmt;

/// What a waiter waits for: the set of an event.
struct Set {
    joint: Joint<EventState>,
    reset: Reset,
    /// How often it was set when the wait began. (Relaxed: private to who waits.)
    sets: local::AtomicU32,
}

impl fmt::Debug for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Set").field("event", &self.joint.name()).finish_non_exhaustive()
    }
}

impl Source for Set {
    fn begin(&self) {
        self.sets.store(self.joint.state().manual.sets(), Relaxed);
    }

    fn has(&self) -> bool {
        let state = self.joint.state();
        match self.reset {
            // A set lets those through who waited, however soon the reset follows.
            Reset::Manual => {
                state.manual.is_set()
                    || state.manual.sets_before_a_look() != self.sets.load(Relaxed)
            }
            Reset::Auto => state.auto.value() != 0,
        }
    }

    fn is_ready(&self) -> bool {
        let state = self.joint.state();
        match self.reset {
            Reset::Manual => state.manual.is_set(),
            Reset::Auto => state.auto.value() != 0,
        }
    }

    fn announce(&self) -> Option<(&AtomicU32, u32)> {
        let state = self.joint.state();
        match self.reset {
            Reset::Manual => state.manual.announce(self.sets.load(Relaxed)),
            Reset::Auto => state.auto.announce(),
        }
    }

    fn peer(&self, _: bool, _: &mut Doubt) -> Option<Asleep<'_>> {
        // Nobody in particular is expected to set it.
        let state = self.joint.state();
        let bell = match self.reset {
            Reset::Manual => state.manual.bell(),
            Reset::Auto => state.auto.bell(),
        };
        Some(Asleep { other: Some((bell, 0)), slice: SLICE })
    }

    fn pass_on(&self, rung: bool) {
        let state = self.joint.state();
        match self.reset {
            // Whoever the bell rings for wakes the others.
            Reset::Manual if rung => state.manual.pass_on(),
            Reset::Auto if rung || state.auto.value() != 0 => state.auto.pass_on(),
            _ => {}
        }
    }
}

impl ReadSource for Event {
    fn read_source(&self) -> Result<Box<dyn Source>> {
        let (joint, reset) = self.parts();
        joint.settled()?;
        let set = Set { joint: joint.again(), reset, sets: local::AtomicU32::new(0) };
        set.begin();
        Ok(Box::new(set))
    }
}
