//! A barrier between processes.

#![allow(unsafe_code, reason = "refers to shared memory that the handle keeps mapped")]

use super::BarrierError;
use super::crew::{Crew, Waiter};
use super::joint::Joint;
use crate::layout::Plan;
use crate::member::PARTICIPANTS;
use crate::raw::barrier::{Cause, Control, MOST, RawBarrier, Refusal, Turn, Verdict};
use crate::segment::{Attachment, Kind, Location, ObjectInfo, Shared, constructors, travels};
use crate::sync::atomic::{AtomicU32, AtomicU64};
use crate::sys::time;
use crate::wait::{NEVER, WaitStrategy, block_shared};
use crate::{Error, Result};
use std::fmt;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

// SAFETY: made of atomics.
unsafe impl Shared for Control {}

/// Nanoseconds that who finds no slot waits for one, before it looks whether their owners live.
const PATIENCE: u64 = 20_000_000;

/// Where a number of parties wait until all of them have come, round after round.
///
/// A party is a call of [`Barrier::wait`] by any thread of any process. The last to arrive is the
/// *leader* of the round: its action, if it has one, runs before the others go on. What each party
/// did before its wait is seen by all of them after it.
///
/// Nobody leaves a round before everybody has left the one before. With more callers than parties,
/// those who are too many wait for the next round.
///
/// # Broken
/// A barrier that can not do any more what its waiters wait for is *broken*: all waits, and all that
/// come later, end with an error until somebody calls [`Barrier::reset`]. What breaks it: a wait
/// that times out, an action that fails or panics, [`Barrier::abort`], a death.
///
/// # When a process dies
/// Killed at any instruction, it leaves the barrier as it was before or after its step. The barrier
/// breaks, with [`BarrierError::MemberDied`], if while somebody waits
/// - a process is dead that had arrived in the round, or ran its action;
/// - or a process is dead that had the barrier open and had not arrived: the round might wait for it
///   for ever. Also one that died before the wait began, unless the barrier was reset since.
///
/// The kernel tells the waiters at once. (They watch up to 126 processes; if there are more, or the
/// kernel is older than 5.16, they look every 20 ms.) A process that ends without dropping its
/// handle is like one that was killed; who drops it leaves in order, and breaks nothing. A process
/// that is stopped is not dead, and is waited for.
///
/// # Fork
/// As for an [`Event`](super::Event).
///
/// # Differences from `std::sync::Barrier`
/// - It can be broken, so that nobody waits for what cannot come.
/// - The leader is the last to arrive.
///
/// # Examples
/// ```
/// use commons::{Barrier, Process};
///
/// let barrier = Barrier::new(2)?;
/// let in_child = barrier.clone();
/// let child = Process::spawn(move || (0..10).all(|_| in_child.wait().is_ok()))?;
/// for _ in 0..10 {
///     barrier.wait()?;
/// }
/// assert!(child.join()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Barrier {
    joint: Joint<Control>,
    slots: NonNull<AtomicU64>,
    mourned: NonNull<AtomicU32>,
    parties: u32,
    timeout: Option<Duration>,
}

// SAFETY: atomics, mapped for as long as the handle.
unsafe impl Send for Barrier {}
// SAFETY: as above.
unsafe impl Sync for Barrier {}

/// What a wait tells a party when all have arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BarrierWaitResult {
    index: u32,
    leader: bool,
}

impl BarrierWaitResult {
    /// How many had arrived before in this round: each party has another, from 0 on.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Whether it was the last to arrive: one in each round.
    pub fn is_leader(&self) -> bool {
        self.leader
    }
}

/// Where the parts are: the control words, the slots, and who was mourned.
fn plan(parties: u64) -> Result<(Plan, u64, u64)> {
    if parties == 0 {
        return Err(Error::Zero { what: "a number of parties" });
    }
    if parties > u64::from(MOST) {
        let limit = u64::from(MOST);
        return Err(Error::TooLarge { what: "a number of parties", asked: parties, limit });
    }
    let mut plan = Plan::new();
    plan.place::<Control>()?;
    let slots = plan.place_slice::<AtomicU64>(parties)?;
    let mourned = plan.place_slice::<AtomicU32>(u64::from(PARTICIPANTS))?;
    Ok((plan, slots, mourned))
}

/// A slot, given back when this is dropped.
struct Slot<'a> {
    raw: RawBarrier<'a>,
    index: usize,
    stamp: u64,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        self.raw.leave(self.index, self.stamp);
    }
}

/// Breaks the round of a party when it is dropped, unless it is over.
struct Arrival<'a> {
    raw: RawBarrier<'a>,
    turn: Turn,
}

impl Drop for Arrival<'_> {
    fn drop(&mut self) {
        if self.raw.verdict(&self.turn).is_none() {
            self.raw.break_round(&self.turn, None);
        }
    }
}

impl Barrier {
    /// The most parties that a barrier can have.
    pub const MAX_PARTIES: u32 = MOST;

    fn over(attachment: Attachment) -> Result<Self> {
        let parties = attachment.info().capacity;
        let name = attachment.name().to_owned();
        let Ok((_, slots_at, mourned_at)) = plan(parties) else {
            return Err(Error::Corrupted { name, problem: "a number of parties of no barrier" });
        };
        let parties = parties as u32;
        let joint = Joint::<Control>::new(attachment, |control| control.is_sound(parties))?;
        let slots = joint.held().at(
            slots_at,
            u64::from(parties) * size_of::<AtomicU64>() as u64,
            align_of::<AtomicU64>() as u64,
        )?;
        let mourned = joint.held().at(
            mourned_at,
            u64::from(PARTICIPANTS) * size_of::<AtomicU32>() as u64,
            align_of::<AtomicU32>() as u64,
        )?;
        let (slots, mourned) = (slots.cast(), mourned.cast());
        Ok(Barrier { joint, slots, mourned, parties, timeout: None })
    }

    fn make(location: Location<'_>, parties: u32) -> Result<Self> {
        let (plan, slots, mourned) = plan(u64::from(parties))?;
        let info = ObjectInfo::of::<()>(Kind::Barrier, u64::from(parties));
        Self::over(location.make(info, plan, |blank| {
            blank.put(0, Control::new());
            for index in 0..u64::from(parties) {
                blank.put(slots + index * size_of::<AtomicU64>() as u64, AtomicU64::new(0));
            }
            for index in 0..u64::from(PARTICIPANTS) {
                blank.put(mourned + index * size_of::<AtomicU32>() as u64, AtomicU32::new(0));
            }
            Ok(())
        })?)
    }

    fn find(location: Location<'_>) -> Result<Self> {
        Self::over(location.open(ObjectInfo::of::<()>(Kind::Barrier, 1))?)
    }

    /// Makes a barrier for that many parties, without a name, that goes with its last handle.
    ///
    /// # Errors
    /// [`Error::Zero`]; [`Error::TooLarge`] for more than [`Barrier::MAX_PARTIES`];
    /// [`Error::NoSpace`].
    pub fn new(parties: u32) -> Result<Self> {
        Self::make(Location::Unnamed, parties)
    }

    constructors!("a barrier", parties: u32);

    fn raw(&self) -> RawBarrier<'_> {
        // SAFETY: found by `over`, atomics, and mapped for as long as the handle.
        let slots =
            unsafe { std::slice::from_raw_parts(self.slots.as_ptr(), self.parties as usize) };
        RawBarrier { control: self.joint.state(), slots }
    }

    fn crew(&self) -> Result<Crew<'_>> {
        self.joint.settled()?;
        let (count, attachment) = (PARTICIPANTS as usize, self.joint.held().attachment());
        // SAFETY: as in `raw`.
        let mourned = unsafe { std::slice::from_raw_parts(self.mourned.as_ptr(), count) };
        let me = attachment.core().membership()?.stamp();
        Ok(Crew { raw: self.raw(), attachment, mourned, me })
    }

    /// Waits until all parties have arrived.
    ///
    /// # Errors
    /// [`BarrierError::Broken`], [`BarrierError::MemberDied`]; [`BarrierError::TimedOut`] where the
    /// handle has a [timeout](Barrier::set_timeout); [`BarrierError::Forked`],
    /// [`BarrierError::Corrupted`].
    ///
    /// # Blocking
    /// Until the last party has arrived and done its action, or the barrier is broken, as the
    /// [`WaitStrategy`] of the handle says. With one party, never.
    pub fn wait(&self) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(self.deadline(), || Ok(()))
    }

    /// [`Barrier::wait`], and if this is the last party to arrive, runs `action` before anybody goes
    /// on. If it fails or panics, the barrier is broken, and the error is the caller's alone. The
    /// action must not wait at the barrier itself.
    ///
    /// # Errors
    /// That of the action; otherwise as [`Barrier::wait`].
    ///
    /// # Blocking
    /// As [`Barrier::wait`].
    ///
    /// # Examples
    /// ```
    /// use commons::{Barrier, BarrierError};
    ///
    /// let barrier = Barrier::new(1)?;
    /// let mut rounds = 0;
    /// barrier.wait_then(|| {
    ///     rounds += 1;
    ///     Ok::<_, BarrierError>(())
    /// })?;
    /// assert_eq!(rounds, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait_then<E: From<BarrierError>>(
        &self,
        action: impl FnOnce() -> Result<(), E>,
    ) -> Result<BarrierWaitResult, E> {
        self.wait_until(self.deadline(), action)
    }

    /// [`Barrier::wait`] for at most `timeout`. If not all have arrived by then, the barrier is
    /// broken for all of them.
    ///
    /// # Errors
    /// [`BarrierError::TimedOut`]; otherwise as [`Barrier::wait`].
    ///
    /// # Blocking
    /// As [`Barrier::wait`], until the time is over.
    pub fn wait_timeout(&self, timeout: Duration) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(time::after(timeout), || Ok(()))
    }

    /// [`Barrier::wait_timeout`], until `deadline` at most.
    ///
    /// # Errors
    /// As [`Barrier::wait_timeout`].
    ///
    /// # Blocking
    /// As [`Barrier::wait_timeout`].
    pub fn wait_deadline(&self, deadline: Instant) -> Result<BarrierWaitResult, BarrierError> {
        self.wait_until(time::at(deadline), || Ok(()))
    }

    fn deadline(&self) -> u64 {
        self.timeout.map_or(NEVER, time::after)
    }

    fn wait_until<E: From<BarrierError>>(
        &self,
        deadline: u64,
        action: impl FnOnce() -> Result<(), E>,
    ) -> Result<BarrierWaitResult, E> {
        let crew = self.crew().map_err(BarrierError::from)?;
        // Given back last: after the arrival is over.
        let _slot = self.enter(crew, deadline)?;
        let turn = crew.raw.arrive().map_err(|refusal| match refusal {
            Refusal::Broken(cause) => self.broken_by(cause),
            Refusal::Damaged => BarrierError::Corrupted("more parties have arrived than there are"),
        })?;
        let arrival = Arrival { raw: crew.raw, turn };
        let leader = crew.raw.is_last(&turn);
        let verdict = if leader {
            self.lead(&arrival, crew, action)?
        } else {
            self.follow(&arrival, crew, deadline)?
        };
        match verdict {
            Verdict::Complete => Ok(BarrierWaitResult { index: turn.index, leader }),
            Verdict::Broken(cause) => Err(self.broken_by(cause).into()),
        }
    }

    /// Takes a slot.
    fn enter<'a>(&self, crew: Crew<'a>, deadline: u64) -> Result<Slot<'a>, BarrierError> {
        let (raw, stamp) = (crew.raw, crew.me.pack());
        loop {
            let given_back = raw.room().sets_before_a_look();
            if let Some(cause) = raw.broken() {
                return Err(self.broken_by(cause));
            }
            if let Some(index) = raw.claim(stamp) {
                return Ok(Slot { raw, index, stamp });
            }
            if let Some(pid) = crew.dead_party()? {
                raw.report(pid);
                continue;
            }
            let now = time::now();
            if now >= deadline {
                raw.abort();
                return Err(BarrierError::TimedOut);
            }
            let until = deadline.min(now.saturating_add(PATIENCE));
            raw.room().wait_since(given_back, self.joint.strategy, until);
        }
    }

    /// The part of the last to arrive.
    fn lead<E: From<BarrierError>>(
        &self,
        arrival: &Arrival<'_>,
        crew: Crew<'_>,
        action: impl FnOnce() -> Result<(), E>,
    ) -> Result<Verdict, E> {
        let Arrival { raw, turn } = arrival;
        match crew.dead_party().map_err(BarrierError::from)? {
            Some(pid) => {
                raw.break_round(turn, Some(pid));
            }
            None => {
                action()?;
                if raw.complete(turn) {
                    return Ok(Verdict::Complete);
                }
            }
        }
        Ok(raw.verdict(turn).unwrap_or(Verdict::Broken(Cause::Abort)))
    }

    /// The part of the others.
    fn follow(
        &self,
        arrival: &Arrival<'_>,
        crew: Crew<'_>,
        deadline: u64,
    ) -> Result<Verdict, BarrierError> {
        let Arrival { raw, turn } = arrival;
        let mut waiter = Waiter::new(crew, *turn, self.joint.strategy);
        match block_shared(&mut waiter, raw.ended().bell(), self.joint.strategy, deadline) {
            Some(verdict) => Ok(verdict?),
            None if raw.break_round(turn, None) => Err(BarrierError::TimedOut),
            None => Ok(raw.verdict(turn).unwrap_or(Verdict::Broken(Cause::Abort))),
        }
    }

    fn broken_by(&self, cause: Cause) -> BarrierError {
        match cause {
            Cause::Abort => BarrierError::Broken,
            Cause::Death => {
                let pid = self.raw().culprit();
                BarrierError::MemberDied { pid: (pid != 0).then_some(pid) }
            }
        }
    }

    /// Breaks the barrier: whoever waits, or comes before it is reset, gets
    /// [`BarrierError::Broken`].
    ///
    /// # Errors
    /// [`BarrierError::Forked`].
    pub fn abort(&self) -> Result<(), BarrierError> {
        self.joint.settled()?;
        self.raw().abort();
        Ok(())
    }

    /// Makes it whole, with nobody waiting: whoever waits gets [`BarrierError::Broken`]. Those who
    /// are dead by now are forgotten, and break it no more.
    ///
    /// A process that is killed in here may leave the barrier broken.
    ///
    /// # Errors
    /// [`BarrierError::Forked`]; [`BarrierError::Os`] where the kernel does not say who is dead; then
    /// it stays broken.
    pub fn reset(&self) -> Result<(), BarrierError> {
        let crew = self.crew()?;
        Ok(crew.raw.reset(|| crew.find_the_dead(), |dead| crew.bury(&dead))?)
    }

    /// Whether it is broken. Stale by the time the caller looks at it.
    pub fn is_broken(&self) -> bool {
        self.raw().broken().is_some()
    }

    /// How many parties a round has.
    pub fn parties(&self) -> u32 {
        self.parties
    }

    /// How many have arrived in this round; 0 once they are let go. Stale by the time the caller
    /// looks at it.
    pub fn waiting(&self) -> u32 {
        self.raw().arrived()
    }

    /// How long a wait without a time of its own lasts at most; `None`: for ever.
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Sets that for this handle, and the handles cloned from it.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
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

impl Clone for Barrier {
    /// # Panics
    /// In a forked process that inherited the handle after its barrier was gone.
    fn clone(&self) -> Self {
        Barrier { joint: self.joint.again(), ..*self }
    }
}

travels!([] Barrier, Shared, |this| (this.joint.held().attachment(), 0), |used| Self::find(Location::Handed(used)));

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("name", &self.joint.name())
            .field("parties", &self.parties)
            .field("waiting", &self.waiting())
            .field("broken", &self.is_broken())
            .finish_non_exhaustive()
    }
}
