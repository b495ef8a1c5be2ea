//! Who has which ends of a queue, counted for each participant, and what the dead had begun.
//!
//! A count for all could not be repaired after a death. So each participant has its own, and those of
//! the dead do not count. The number by which a participant claims slots is its place in the table of
//! participants; who follows a dead one there first ends what that had begun.

use super::FACTS;
use crate::Result;
use crate::member::{Departure, Stamp, Table};
use crate::raw::queue::{Queue, SWEEPER};
use crate::sync::atomic::{
    AtomicU32, AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release, SeqCst},
};
use crate::sync::const_fn;

pub(in crate::channel) const MEMBERS: usize = crate::member::PARTICIPANTS as usize;
pub(in crate::channel) const PRESENT: usize = MEMBERS / 64;

/// Which ends a handle has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) struct Ends(u64);

impl Ends {
    pub(in crate::channel) const SENDER: Ends = Ends(1);
    pub(in crate::channel) const RECEIVER: Ends = Ends(1 << 16);
    pub(in crate::channel) const BOTH: Ends = Ends(1 | 1 << 16);
    /// Of a handle that only looks.
    pub(in crate::channel) const NONE: Ends = Ends(0);
    /// Counts of ends that were handed over and not used yet are this far above the counts of all.
    const HANDED: u32 = 32;
    /// Handles that a process can have.
    const LIMIT: u64 = 60_000;

    /// How many such ends the counts say. For one side.
    const fn count(self, counts: u64) -> u64 {
        counts >> self.0.trailing_zeros() & 0xffff
    }

    const fn bits(self, sender: u32, receiver: u32) -> u32 {
        let (sends, receives) = (self.0 & 1 != 0, self.0 >> 16 != 0);
        (if sends { sender } else { 0 }) | if receives { receiver } else { 0 }
    }

    /// The fact that there was such an end.
    pub(in crate::channel) const fn came(self) -> u32 {
        self.bits(FACTS.senders_came, FACTS.receivers_came)
    }

    /// The fact that such an end was left by a panic.
    pub(in crate::channel) const fn abandoned(self) -> u32 {
        self.bits(FACTS.senders_abandoned, FACTS.receivers_abandoned)
    }
}

/// One participant in the queue.
#[repr(C)]
#[derive(Debug)]
pub(in crate::channel) struct Member {
    /// Whose place it is: the generation of its stamp. Written by the participant, or its parent.
    generation: AtomicU32,
    /// The last generation that died and whose work is ended. By whoever did.
    swept: AtomicU32,
    /// Senders, receivers, senders and receivers that were handed over: 16 bits each. By the
    /// participant, or its parent.
    counts: AtomicU64,
}

impl Member {
    const_fn! {
        pub(in crate::channel) const fn new() -> Self {
            Member {
                generation: AtomicU32::new(0),
                swept: AtomicU32::new(0),
                counts: AtomicU64::new(0),
            }
        }
    }
}

/// Who has the ends of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::channel) enum Presence {
    /// At least this one.
    Here(Stamp),
    /// Nobody has come yet.
    Nobody,
    Gone(Departure),
}

/// All participants.
#[derive(Clone, Copy, Debug)]
pub(in crate::channel) struct Members<'a> {
    /// A bit for each place that was ever used.
    pub(in crate::channel) present: &'a [AtomicU64],
    pub(in crate::channel) members: &'a [Member],
}

impl<'a> Members<'a> {
    /// The participants that ever were.
    fn each(self) -> impl Iterator<Item = (Stamp, &'a Member)> {
        let words = self.present.iter().enumerate();
        let indices = words.flat_map(|(i, word)| {
            let mut bits = word.load(Acquire);
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(i * 64 + bit as usize)
            })
        });
        indices.filter_map(move |index| {
            let member = &self.members[index];
            let generation = member.generation.load(Acquire);
            (generation != 0).then_some((Stamp { index: index as u16, generation }, member))
        })
    }

    /// Who claims by this number; `None`: nobody can.
    pub(in crate::channel) fn stamp(&self, number: u64) -> Option<Stamp> {
        let member = self.members.get(number as usize)?;
        // Acquire: whoever claimed by this number was here before.
        let generation = member.generation.load(Acquire);
        (generation != 0).then_some(Stamp { index: number as u16, generation })
    }

    fn of(&self, stamp: Stamp) -> Option<&'a Member> {
        let member = self.members.get(usize::from(stamp.index))?;
        (member.generation.load(Acquire) == stamp.generation).then_some(member)
    }

    /// Counts one more handle of a participant that is here.
    pub(in crate::channel) fn add(&self, stamp: Stamp, ends: Ends, handed: bool) -> Option<()> {
        let more = ends.0 + if handed { ends.0 << Ends::HANDED } else { 0 };
        // SeqCst, like all changes of counts: in one order with `changes`.
        let added = self.of(stamp)?.counts.fetch_update(SeqCst, SeqCst, |counts| {
            let full = Ends::SENDER.count(counts).max(Ends::RECEIVER.count(counts)) >= Ends::LIMIT;
            (!full).then_some(counts + more)
        });
        added.ok().map(drop)
    }

    /// Counts one less.
    pub(in crate::channel) fn remove(&self, stamp: Stamp, ends: Ends) {
        if let Some(member) = self.of(stamp) {
            // A count that somebody has damaged stays what it is.
            let _ = member.counts.fetch_update(SeqCst, SeqCst, |counts| counts.checked_sub(ends.0));
        }
    }

    /// In a child: whether one such handle was handed to it, that it has not used yet.
    pub(in crate::channel) fn take_handed(&self, stamp: Stamp, ends: Ends) -> bool {
        let Some(member) = self.of(stamp) else { return false };
        let taken = member.counts.fetch_update(SeqCst, SeqCst, |counts| {
            let handed = counts >> Ends::HANDED;
            let has = |side: Ends| ends.0 & side.0 == 0 || side.count(handed) > 0;
            (has(Ends::SENDER) && has(Ends::RECEIVER)).then(|| counts - (ends.0 << Ends::HANDED))
        });
        taken.is_ok()
    }

    /// Gives a participant its place, once what its predecessor had begun is ended.
    /// `sweep` ends it, and says whether it could.
    pub(in crate::channel) fn admit(&self, stamp: Stamp, sweep: impl FnOnce() -> bool) -> bool {
        let Some(member) = self.members.get(usize::from(stamp.index)) else { return false };
        let before = member.generation.load(Acquire);
        if before == stamp.generation {
            return true;
        }
        if before != 0 && member.swept.load(Acquire) != before && !sweep() {
            return false;
        }
        member.counts.store(0, Relaxed);
        let (word, bit) = (usize::from(stamp.index) / 64, stamp.index % 64);
        self.present[word].fetch_or(1 << bit, AcqRel);
        // Release: the place as it was made, to who reads whose it is.
        member.generation.store(stamp.generation, Release);
        true
    }

    /// Whether anybody but this participant ever had an end.
    #[cfg(feature = "serde")]
    pub(in crate::channel) fn had_others(&self, but: u16) -> bool {
        self.each().any(|(stamp, _)| stamp.index != but)
    }

    /// How many ends of one side a participant has.
    #[cfg(feature = "serde")]
    pub(in crate::channel) fn count(&self, stamp: Stamp, side: Ends) -> u64 {
        self.of(stamp).map_or(0, |member| side.count(member.counts.load(SeqCst)))
    }

    /// Who has ends of one side, but for the participant `except`. `ask`: not to believe beacons.
    pub(in crate::channel) fn look(
        &self,
        (changes, facts): (&AtomicU32, &AtomicU32),
        table: Table<'_>,
        side: Ends,
        except: Option<u16>,
        ask: bool,
    ) -> Result<Presence> {
        loop {
            let before = changes.load(SeqCst);
            let mut died = None;
            for (stamp, member) in self.each() {
                if side.count(member.counts.load(SeqCst)) == 0 || Some(stamp.index) == except {
                    continue;
                }
                if (ask || table.is_suspect(stamp)) && table.runs_no_more(stamp)? {
                    died = Some(Departure::Died { pid: table.pid(stamp) });
                    table.pass_on(stamp);
                    continue;
                }
                return Ok(Presence::Here(stamp));
            }
            // An end that went from one process to another may have been seen with neither.
            if changes.load(SeqCst) != before {
                continue;
            }
            let facts = facts.load(SeqCst);
            if facts & side.came() == 0 {
                return Ok(Presence::Nobody);
            }
            let abandoned = (facts & side.abandoned() != 0).then_some(Departure::Abandoned);
            return Ok(Presence::Gone(died.or(abandoned).unwrap_or(Departure::Closed)));
        }
    }

    /// Ends what all those had begun that are gone. Says whether there was anybody.
    pub(in crate::channel) fn recover(
        &self,
        queue: &Queue<'_>,
        table: Table<'_>,
        me: Stamp,
        ask: bool,
        mut copy: impl FnMut(usize, usize),
    ) -> Result<bool> {
        let mut found = false;
        for (stamp, member) in self.each() {
            if member.swept.load(Acquire) == stamp.generation || stamp == me {
                continue;
            }
            if !(ask || table.is_suspect(stamp)) || !table.is_gone(stamp)? {
                continue;
            }
            if self.end_work(queue, table, me, stamp, &mut copy)? {
                // Release: what was ended, to who takes the place.
                member.swept.store(stamp.generation, Release);
            }
            found = true;
        }
        Ok(found)
    }

    /// Ends what a participant had begun that is gone. Says whether nothing is left.
    pub(in crate::channel) fn end_work(
        &self,
        queue: &Queue<'_>,
        table: Table<'_>,
        me: Stamp,
        dead: Stamp,
        copy: &mut impl FnMut(usize, usize),
    ) -> Result<bool> {
        let number = u64::from(dead.index);
        let is_dead = || self.stamp(number) == Some(dead);
        if queue.entries.count == 0 {
            return Ok(queue.sweep(number, is_dead, copy));
        }
        let Some(_sweeper) = Sweeper::take(queue, table, me)? else { return Ok(false) };
        // What a dead sweeper had begun.
        queue.sweep(SWEEPER, || true, &mut *copy);
        Ok(queue.sweep(number, is_dead, copy))
    }
}

/// The right to move messages of the dead.
struct Sweeper<'a>(&'a AtomicU64);

impl<'a> Sweeper<'a> {
    /// Takes it unless somebody alive has it.
    fn take(queue: &Queue<'a>, table: Table<'_>, me: Stamp) -> Result<Option<Self>> {
        let word = &queue.control.sweeper;
        let mine = me.pack();
        // Acquire: what the last one did; a dead one's accesses are all done.
        let holder = match word.compare_exchange(0, mine, Acquire, Relaxed) {
            Ok(_) => return Ok(Some(Sweeper(word))),
            // Another thread.
            Err(holder) if holder == mine => return Ok(None),
            Err(holder) => holder,
        };
        let dead = match Stamp::unpack(holder) {
            Some(stamp) => table.is_gone(stamp)?,
            None => true,
        };
        let taken = dead && word.compare_exchange(holder, mine, Acquire, Relaxed).is_ok();
        Ok(taken.then_some(Sweeper(word)))
    }
}

impl Drop for Sweeper<'_> {
    fn drop(&mut self) {
        // Release: what was moved, to the next one.
        self.0.store(0, Release);
    }
}
