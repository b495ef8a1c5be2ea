//! Looking whether there is something to claim, without claiming it.

use super::*;

impl Queue<'_> {
    /// Why [`Queue::claim_read`] or [`Queue::take`] would find nothing; `None`: it would find a message.
    pub(crate) fn why_no_message(&self) -> Option<Blocked> {
        if self.entries.count == 0 {
            return self.next_message();
        }
        let state = |i| Word(self.entries.word(i).load(Acquire)).state();
        let mut room = false;
        for i in 0..self.entries.count {
            match state(i) {
                FULL => return None,
                FREE => room = true,
                _ => {}
            }
        }
        // Without room in flight nothing is taken, whatever is published.
        self.next_message().or((!room).then_some(Blocked::Nothing))
    }

    /// Why [`Queue::claim_write`] would find nothing; `None`: it would find space.
    pub(crate) fn why_no_space(&self) -> Option<Blocked> {
        let mut at = match self.start(&self.control.tail) {
            Ok(at) => at,
            Err(blocked) => return Some(blocked),
        };
        for _ in 0..STEPS + 4 * self.slots.count {
            // Acquire: as in `claim_write`.
            let seen = Word(self.slots.word(at.index).load(Acquire));
            let ahead = seen.laps_from(at.lap);
            if ahead == 0 && seen.state() == FREE {
                return None;
            }
            if ahead < 0 {
                return Some(match seen.state() {
                    FULL => Blocked::Nothing,
                    FREE => Blocked::Contradiction,
                    _ => Blocked::By { index: at.index, word: seen },
                });
            }
            at = self.unclaimed(at, ahead);
        }
        Some(Blocked::Contradiction)
    }
}
