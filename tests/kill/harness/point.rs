//! Instructions of an operation: which there are, and which to kill at.
//!
//! A place is found again by the number of system calls since the beginning, by its landmark (the
//! last instruction before it that was executed for the first time since the last of these calls),
//! and by the number of instructions since that. This is quick, and robust where the number of
//! instructions is not always the same: a clock that is read while it ticks, a number printed.

use super::eye::Eye;
use super::rng::Rng;
use super::scenario::END;
use super::settings::Settings;
use super::tracee::{Left, Parking, Tracee};
use super::verdict::{Complaint, Outcome};
use std::collections::HashSet;
use std::fmt;

/// How a victim is when it is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Posture {
    /// Before an instruction.
    Before,
    /// In the kernel, at the entry of the system call that the instruction is.
    Entering,
    /// Asleep in that system call.
    Parked,
}

/// Where a victim is killed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Point {
    /// System calls since the beginning.
    calls: usize,
    /// Instructions since the last of them.
    steps: usize,
    pc: u64,
    landmark: Landmark,
    posture: Posture,
}

/// An instruction that was not executed before, since the last system call.
#[derive(Clone, Copy, Debug, Default)]
struct Landmark {
    steps: usize,
    pc: u64,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Point { calls, steps, pc, posture, .. } = self;
        let pc = pc.wrapping_sub(base());
        write!(f, "{calls} calls and {steps} instructions on, {posture:?} image+{pc:#x}")
    }
}

/// Where this program is loaded; a failure is found in its symbols by the distance from there.
fn base() -> u64 {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let first = maps.split('-').next().and_then(|from| u64::from_str_radix(from, 16).ok());
    first.unwrap_or(0)
}

/// Whether the victim was where it was meant to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    There,
    /// Its run took another way than the recorded one.
    Elsewhere,
    /// Its run was over before.
    Finished,
}

#[derive(Clone, Copy, Debug)]
struct Moment {
    point: Point,
    /// A survivor can tell it from the one before, or the kernel is about to be entered or was just
    /// left.
    is_state: bool,
    calls_kernel: bool,
    parks: bool,
}

/// One run of an operation, instruction by instruction.
#[derive(Debug, Default)]
pub(crate) struct Recording {
    moments: Vec<Moment>,
}

/// More instructions than any operation has.
const TOO_MANY: usize = 5_000_000;

impl Recording {
    /// Steps an operation from its beginning to its end. `rouse` is called when it sleeps.
    pub(crate) fn make(
        victim: &mut Tracee,
        eye: &mut Eye,
        rouse: &mut dyn FnMut(),
    ) -> Result<Self, Complaint> {
        let mut moments = Vec::new();
        let (mut calls, mut steps) = (0, 0);
        let mut known = HashSet::new();
        let mut landmark = Landmark::default();
        loop {
            let next = victim.next()?;
            if known.insert(next.pc) {
                landmark = Landmark { steps, pc: next.pc };
            }
            let point = Point { calls, steps, pc: next.pc, landmark, posture: Posture::Before };
            let is_state = eye.changed() || next.call.is_some() || steps == 0;
            let calls_kernel = next.call.is_some_and(|number| number != END);
            moments.push(Moment { point, is_state, calls_kernel, parks: false });
            match next.call {
                Some(END) => return Ok(Recording { moments }),
                Some(_) => {
                    let number = victim.enter()?;
                    let mut parks = false;
                    victim.leave(number, &mut || {
                        parks = true;
                        rouse();
                        Parking::Wait
                    })?;
                    moments.last_mut().expect("just pushed").parks = parks;
                    (calls, steps) = (calls + 1, 0);
                    known.clear();
                    eye.refresh();
                }
                None => {
                    victim.step()?;
                    steps += 1;
                }
            }
            if moments.len() > TOO_MANY {
                return Err(Complaint::new(Outcome::Wedged, "the operation does not end"));
            }
        }
    }

    pub(crate) fn instructions(&self) -> usize {
        self.moments.len()
    }

    /// Moments that a survivor can tell apart, sleeping in the kernel among them.
    pub(crate) fn states(&self) -> usize {
        let parked = self.moments.iter().filter(|m| m.parks).count();
        parked + self.moments.iter().filter(|m| m.is_state).count()
    }

    /// Where to kill: at every state, and at a sample of the other instructions or all of them.
    pub(crate) fn points(&self, settings: &Settings, rng: &mut Rng) -> Vec<Point> {
        let mut points = Vec::new();
        let mut others = Vec::new();
        for moment in &self.moments {
            let point = moment.point;
            if moment.is_state { &mut points } else { &mut others }.push(point);
            if moment.calls_kernel {
                points.push(Point { posture: Posture::Entering, ..point });
            }
            if moment.parks {
                points.push(Point { posture: Posture::Parked, ..point });
            }
        }
        let count = if settings.every { others.len() } else { settings.sample };
        points.extend(rng.sample(others, count));
        points
    }
}

impl Point {
    /// Brings a victim here from the beginning of its operation. `rouse` is called when it sleeps
    /// on the way.
    pub(crate) fn reach(
        &self,
        victim: &mut Tracee,
        rouse: &mut dyn FnMut(),
    ) -> Result<Arrival, Complaint> {
        let mut wait = || {
            rouse();
            Parking::Wait
        };
        for _ in 0..self.calls {
            let number = victim.enter()?;
            if number == END {
                return Ok(Arrival::Finished);
            }
            victim.leave(number, &mut wait)?;
        }
        if self.landmark.steps > 0 && !victim.run_to_address(self.landmark.pc)? {
            return Ok(Arrival::Elsewhere);
        }
        for _ in self.landmark.steps..self.steps {
            match victim.next()?.call {
                Some(END) => return Ok(Arrival::Finished),
                Some(_) => return Ok(Arrival::Elsewhere),
                None => victim.step()?,
            }
        }
        let there = |is: bool| Ok(if is { Arrival::There } else { Arrival::Elsewhere });
        if victim.next()?.pc != self.pc {
            return there(false);
        }
        if self.posture == Posture::Before {
            return there(true);
        }
        let number = victim.enter()?;
        if self.posture == Posture::Entering {
            return there(true);
        }
        there(victim.leave(number, &mut || Parking::Stay)? == Left::Parked)
    }
}
