//! Who takes part in a barrier, and whether all of them live.
//!
//! Two sorts of processes: those that are in a slot, which the round counts, and the *members*, which
//! have the barrier open and may still arrive. The death of either ends a wait, once: what was found
//! dead by the time of a reset is written down as mourned, and breaks nothing any more.

use crate::member::{Doubt, Stamp, Table};
use crate::raw::barrier::{RawBarrier, Turn, Verdict};
use crate::segment::{Attachment, block_at};
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Acquire, Release},
};
use crate::sync::crash::{Point, point};
use crate::sync::futex::{self, WORDS};
use crate::sys::time;
use crate::wait::{Sleeper, WaitStrategy};
use crate::{Error, Result};

/// Nanoseconds between two looks where there are more beacons than one sleep can watch.
const CROWDED: u64 = 20_000_000;
/// Polls between two looks of those who never sleep, about 1 ms.
const POLLS_PER_LOOK: u32 = 1 << 16;
/// Looks, of those, until the beacons alone are not believed.
const LOOKS_PER_ASK: u32 = 64;

/// The parties and members of one barrier, as one of them sees them.
#[derive(Clone, Copy)]
pub(super) struct Crew<'a> {
    pub(super) raw: RawBarrier<'a>,
    pub(super) attachment: &'a Attachment,
    /// By place in the table: the last tenant whose death was answered for.
    pub(super) mourned: &'a [AtomicU32],
    pub(super) me: Stamp,
}

impl<'a> Crew<'a> {
    fn table(&self) -> Result<Table<'a>> {
        self.attachment.core().table()
    }

    fn stamp(&self, packed: u64) -> Result<Stamp> {
        let mapping = self.attachment.core().mapping();
        Stamp::unpack(packed).ok_or_else(|| mapping.corrupted("a slot is held by nobody"))
    }

    /// Calls `each` with the others who have the barrier open and were not mourned.
    fn members(&self, table: Table<'a>, mut each: impl FnMut(Stamp) -> Result<bool>) -> Result<()> {
        let block = block_at(self.attachment.core().mapping(), self.attachment.place().block)?;
        for index in block.holders() {
            let (Some(entry), Some(mourned)) =
                (table.entry(index), self.mourned.get(usize::from(index)))
            else {
                continue;
            };
            let generation = entry.generation.load(Acquire);
            let stamp = Stamp { index, generation };
            // Held by this tenant, and not by the one before.
            let holds = block.is_held_by(index) && entry.generation.load(Acquire) == generation;
            if holds && stamp != self.me && mourned.load(Acquire) != generation && !each(stamp)? {
                break;
            }
        }
        Ok(())
    }

    /// Whether one of those who are in a slot has died: its process id, 0 if that is not known.
    pub(super) fn dead_party(&self) -> Result<Option<u32>> {
        let table = self.table()?;
        for (_, packed) in self.raw.taken() {
            let stamp = self.stamp(packed)?;
            if stamp != self.me && table.is_suspect(stamp) {
                let pid = table.pid(stamp);
                if table.runs_no_more(stamp)? {
                    return Ok(Some(pid.unwrap_or(0)));
                }
            }
        }
        Ok(None)
    }

    /// All who are dead and not mourned yet.
    pub(super) fn find_the_dead(&self) -> Result<Dead> {
        let table = self.table()?;
        let mut dead = Dead::default();
        for (slot, packed) in self.raw.taken() {
            // A stamp of nobody, which no party wrote, goes too.
            let gone = match Stamp::unpack(packed) {
                Some(stamp) => stamp != self.me && table.runs_no_more(stamp)?,
                None => true,
            };
            if gone {
                dead.slots.push((slot, packed));
            }
        }
        self.members(table, |stamp| {
            if table.runs_no_more(stamp)? {
                dead.members.push(stamp);
            }
            Ok(true)
        })?;
        Ok(dead)
    }

    /// Frees their slots, and mourns them.
    pub(super) fn bury(&self, dead: &Dead) {
        for &(slot, packed) in &dead.slots {
            self.raw.bury(slot, packed);
        }
        for stamp in &dead.members {
            // Release: with the exchange that makes it whole.
            self.mourned[usize::from(stamp.index)].store(stamp.generation, Release);
        }
    }
}

/// Who was found dead.
#[derive(Default)]
pub(super) struct Dead {
    slots: Vec<(usize, u64)>,
    members: Vec<Stamp>,
}

/// Words to sleep on, and for how long.
struct Watched<'a> {
    words: [(&'a AtomicU32, u32); WORDS],
    count: usize,
    slice: u64,
    /// Places that are watched.
    places: [u64; 16],
}

/// A party that has arrived and waits for the others.
pub(super) struct Waiter<'a> {
    pub(super) crew: Crew<'a>,
    pub(super) turn: Turn,
    strategy: WaitStrategy,
    /// Time has passed: the beacons alone are not to be believed.
    ask: bool,
    /// The last whose beacon said that it died while the kernel did not.
    suspect: Option<(Stamp, Doubt)>,
    polls: u32,
    /// What went wrong while it looked.
    error: Option<Error>,
}

impl<'a> Waiter<'a> {
    pub(super) fn new(crew: Crew<'a>, turn: Turn, strategy: WaitStrategy) -> Self {
        Waiter { crew, turn, strategy, ask: false, suspect: None, polls: 0, error: None }
    }

    /// Looks after everybody whom this party depends on, and breaks the round if one of them is dead.
    /// False: there is no reason to sleep.
    fn look(&mut self, watched: &mut Watched<'a>) -> Result<bool> {
        let Crew { raw, me, .. } = self.crew;
        let table = self.crew.table()?;
        // Before the look at the slots: whoever comes between the two is in none that is seen, and
        // is a member.
        let all_arrived = raw.arrived() as usize == raw.slots.len();
        for (_, packed) in raw.taken() {
            let stamp = self.crew.stamp(packed)?;
            if stamp != me && !self.watch(table, stamp, watched)? {
                return Ok(false);
            }
        }
        // Once all have arrived, it is no matter who else is there.
        let mut all_live = true;
        if !all_arrived {
            let crew = self.crew;
            crew.members(table, |stamp| {
                all_live = self.watch(table, stamp, watched)?;
                Ok(all_live)
            })?;
        }
        Ok(all_live)
    }

    fn watch(&mut self, table: Table<'a>, stamp: Stamp, watched: &mut Watched<'a>) -> Result<bool> {
        let Some(entry) = table.entry(stamp.index) else {
            let mapping = self.crew.attachment.core().mapping();
            return Err(mapping.corrupted("a slot is held by nobody"));
        };
        let (place, bit) = (usize::from(stamp.index / 64), 1 << (stamp.index % 64));
        // A process is in as many slots as it has threads that wait.
        if watched.places[place] & bit != 0 && entry.generation.load(Acquire) == stamp.generation {
            return Ok(true);
        }
        watched.places[place] |= bit;
        let pid = table.pid(stamp).unwrap_or(0);
        let mut doubt = match self.suspect {
            Some((suspect, doubt)) if suspect == stamp => doubt,
            _ => Doubt::default(),
        };
        let Some(watch) = table.watch(stamp, self.ask, &mut doubt)? else {
            self.crew.raw.break_round(&self.turn, Some(pid));
            table.pass_on(stamp);
            return Ok(false);
        };
        watched.slice = watched.slice.min(watch.slice);
        match watch.beacon {
            // One is left for the bell.
            Some(beacon) if watched.count < WORDS - 1 => {
                watched.words[watched.count] = beacon;
                watched.count += 1;
            }
            Some(_) => watched.slice = watched.slice.min(CROWDED),
            None => self.suspect = Some((stamp, doubt)),
        }
        Ok(true)
    }

    fn try_sleep(&mut self, until: u64) -> Result<()> {
        let raw = self.crew.raw;
        let (ended, bell) = (raw.ended(), raw.ended().bell());
        let sets = ended.sets_before_a_look();
        let mut watched =
            Watched { words: [(bell, 0); WORDS], count: 1, slice: u64::MAX, places: [0; 16] };
        if raw.verdict(&self.turn).is_some() || !self.look(&mut watched)? {
            return Ok(());
        }
        let Some(word) = ended.announce(sets) else { return Ok(()) };
        watched.words[0] = word;
        point(Point::SignalAnnounced);
        // The bell, for which the entries stand that nobody has, last.
        let until = until.min(time::now().saturating_add(watched.slice));
        let woken = futex::wait_any(&watched.words[..=watched.count], Some(until));
        point(Point::SignalWoken);
        if woken == Some(watched.count) {
            futex::wake(word.0, u32::MAX);
        }
        self.ask = woken.is_none() && time::now() >= until;
        Ok(())
    }

    /// The part of a sleep that those need who never do.
    fn look_now_and_then(&mut self) {
        self.polls = self.polls.wrapping_add(1);
        if self.polls.is_multiple_of(POLLS_PER_LOOK) {
            let bell = self.crew.raw.ended().bell();
            let mut watched =
                Watched { words: [(bell, 0); WORDS], count: 1, slice: 0, places: [0; 16] };
            self.ask = (self.polls / POLLS_PER_LOOK).is_multiple_of(LOOKS_PER_ASK);
            self.error = self.look(&mut watched).err();
        }
    }
}

impl Sleeper for Waiter<'_> {
    type Output = Result<Verdict>;

    fn poll(&mut self) -> Option<Result<Verdict>> {
        if let Some(verdict) = self.crew.raw.verdict(&self.turn) {
            return Some(Ok(verdict));
        }
        if self.strategy == WaitStrategy::Spin {
            self.look_now_and_then();
        }
        self.error.take().map(Err)
    }

    fn sleep(&mut self, until: u64) {
        self.error = self.try_sleep(until).err();
    }
}
