//! Messages that consumers have and have not finished.

use super::*;

impl Queue<'_> {
    /// Claims a free entry to fill it.
    fn claim_entry(&self, me: u64) -> Option<Claim> {
        let count = self.entries.count;
        // Relaxed: a hint.
        let first = self.control.next_entry.load(Relaxed) as usize;
        for i in 0..count {
            let index = (first + i) % count;
            let entry = self.entries.word(index);
            let seen = Word(entry.load(Relaxed));
            let mine = Word::pack(seen.lap(), WRITING, me);
            // Acquire: the last holder's accesses are done.
            if seen.state() == FREE
                && entry.compare_exchange(seen.0, mine.0, Acquire, Relaxed).is_ok()
            {
                self.control.next_entry.store((index + 1) as u32, Relaxed);
                return Some(Claim::of(&self.entries, index, seen.lap()));
            }
        }
        None
    }

    /// Frees an entry: its message is done with, or it got none.
    pub(crate) fn free_entry(&self, claim: Claim) {
        // Release: the holder's accesses, to the next claim.
        let freed = Word::pack(claim.lap, FREE, 0).freed();
        claim.word(self).store(freed.0, Release);
    }

    /// The number of the message in an entry that the caller has.
    pub(crate) fn number_in(&self, entry: Claim) -> u64 {
        let origin = self.entries.second(entry.index).load(Relaxed);
        self.number_of(self.at(origin))
    }

    /// Lets the message of an entry come again.
    pub(crate) fn give_back(&self, claim: Claim) {
        // Release: the message.
        claim.word(self).store(Word::pack(claim.lap, FULL, 0).0, Release);
        point(Point::Published);
        // Release: after the entry. Who dies before it is swept, which looks at every entry.
        self.control.waiting.store(1, Release);
    }

    /// Takes a message into an entry: one that was given back, then one of a slot, which `copy` copies
    /// from slot to entry. Says whether it was given back.
    pub(crate) fn take(
        &self,
        me: u64,
        copy: impl FnOnce(usize, usize),
    ) -> Result<(Claim, bool), Blocked> {
        // Acquire: the entries that wait.
        if self.control.waiting.load(Acquire) != 0
            && let Some(entry) = self.take_waiting(me)
        {
            return Ok((entry, true));
        }
        if self.len_of_slots() == 0 {
            // Who writes the next message may be dead.
            return match self.next_message() {
                Some(blocked) => Err(blocked),
                None => Err(Blocked::Nothing),
            };
        }
        let Some(entry) = self.claim_entry(me) else { return Err(Blocked::Nothing) };
        point(Point::Claimed);
        match self.claim_read(me) {
            Ok(slot) => {
                copy(slot.index, entry.index);
                self.moved(slot, entry, me);
                Ok((entry, false))
            }
            Err(blocked) => {
                self.free_entry(entry);
                Err(blocked)
            }
        }
    }

    fn len_of_slots(&self) -> usize {
        match self.next_message() {
            None => 1,
            Some(_) => 0,
        }
    }

    /// Why there is no message in a slot; `None`: there is one.
    pub(super) fn next_message(&self) -> Option<Blocked> {
        let mut at = match self.start(&self.control.head) {
            Ok(at) => at,
            Err(blocked) => return Some(blocked),
        };
        for _ in 0..STEPS + 4 * self.slots.count {
            // Acquire: as in `claim_read`.
            let seen = Word(self.slots.word(at.index).load(Acquire));
            let ahead = seen.laps_from(at.lap);
            match seen.state() {
                FULL if ahead == 0 => return None,
                WRITING if ahead == 0 => return Some(Blocked::By { index: at.index, word: seen }),
                FREE if ahead == 0 => return Some(Blocked::Nothing),
                _ if ahead < 0 => return Some(Blocked::Nothing),
                _ => at = self.unfinished(at, seen, ahead),
            }
        }
        Some(Blocked::Contradiction)
    }

    /// The message of a slot is in an entry: the entry has it from now on.
    fn moved(&self, slot: Claim, entry: Claim, me: u64) {
        let origin = self.position(At { lap: slot.lap, index: slot.index });
        // Relaxed: published by the store that follows.
        self.entries.second(entry.index).store(origin, Relaxed);
        point(Point::Written);
        // Release: the message and where it comes from, to who sweeps or takes it.
        entry.word(self).store(Word::pack(entry.lap, READING, me).0, Release);
        point(Point::Published);
        self.free(slot);
    }

    fn take_waiting(&self, me: u64) -> Option<Claim> {
        // AcqRel: the entries that wait by now are seen; who lets one wait later says so again.
        self.control.waiting.swap(0, AcqRel);
        for index in 0..self.entries.count {
            let entry = self.entries.word(index);
            let seen = Word(entry.load(Acquire));
            let mine = Word::pack(seen.lap(), READING, me);
            // AcqRel: the message.
            if seen.state() == FULL
                && entry.compare_exchange(seen.0, mine.0, AcqRel, Relaxed).is_ok()
            {
                // There may be more.
                self.control.waiting.store(1, Release);
                return Some(Claim::of(&self.entries, index, seen.lap()));
            }
        }
        None
    }

    /// Ends everything that a dead member had begun. In a queue with entries the caller has
    /// [`Control::sweeper`], and `copy` copies from a slot to an entry. `is_dead` says that the
    /// member's number still is the dead one's. Says whether nothing is left.
    pub(crate) fn sweep(
        &self,
        dead: u64,
        is_dead: impl Fn() -> bool,
        mut copy: impl FnMut(usize, usize),
    ) -> bool {
        let mut done = true;
        for index in 0..self.entries.count {
            self.release_held(index, dead, &is_dead);
        }
        for index in 0..self.slots.count {
            let slot = self.slots.word(index);
            // Acquire: before the look at who has the number.
            let seen = Word(slot.load(Acquire));
            if !seen.is_claimed_by(dead) || !is_dead() {
                continue;
            }
            if seen.state() == WRITING || self.entries.count == 0 {
                self.bury(index, seen);
                continue;
            }
            let Some(entry) = self.entry_for(dead, &is_dead) else {
                done = false;
                continue;
            };
            copy(index, entry.index);
            // Only the sweeper ends the claim of a dead reader, so the slot is as it was.
            self.moved(Claim::of(&self.slots, index, seen.lap()), entry, SWEEPER);
            self.give_back(entry);
        }
        for index in 0..self.entries.count {
            let entry = self.entries.word(index);
            let seen = Word(entry.load(Acquire));
            if seen.is_claimed_by(dead) && seen.state() == WRITING && is_dead() {
                // AcqRel: the dead one's accesses are done.
                let _ = entry.compare_exchange(seen.0, seen.freed().0, AcqRel, Relaxed);
            }
        }
        if self.entries.count > 0 {
            self.control.waiting.store(1, Release);
        }
        done
    }

    /// Lets a message that a dead member had come again.
    fn release_held(&self, index: usize, dead: u64, is_dead: &impl Fn() -> bool) {
        let entry = self.entries.word(index);
        let seen = Word(entry.load(Acquire));
        if !seen.is_claimed_by(dead) || seen.state() != READING || !is_dead() {
            return;
        }
        // The slot first: else its message would come twice.
        let origin = self.entries.second(index).load(Relaxed);
        let from = self.at(origin).index;
        if from < self.slots.count {
            let slot = self.slots.word(from);
            let word = Word(slot.load(Acquire));
            let position = self.position(At { lap: word.lap(), index: from });
            if word.state() == READING && position == origin {
                // AcqRel: as in `bury`.
                let _ = slot.compare_exchange(word.0, word.freed().0, AcqRel, Relaxed);
            }
        }
        // AcqRel: the message, to who takes it.
        let waits = Word::pack(seen.lap(), FULL, 0);
        let _ = entry.compare_exchange(seen.0, waits.0, AcqRel, Relaxed);
    }

    /// An entry for a message that a dead member was about to move: the one that it had claimed, or
    /// any.
    fn entry_for(&self, dead: u64, is_dead: &impl Fn() -> bool) -> Option<Claim> {
        for index in 0..self.entries.count {
            let entry = self.entries.word(index);
            let seen = Word(entry.load(Acquire));
            let ours = Word::pack(seen.lap(), WRITING, SWEEPER);
            // AcqRel: the dead one's accesses are done.
            if seen.is_claimed_by(dead)
                && seen.state() == WRITING
                && is_dead()
                && entry.compare_exchange(seen.0, ours.0, AcqRel, Relaxed).is_ok()
            {
                return Some(Claim::of(&self.entries, index, seen.lap()));
            }
        }
        self.claim_entry(SWEEPER)
    }
}
