//! The ledger: plain shared memory in which all parties of a case write down what they did, so that
//! what the objects under test say can be held against it.

use super::verdict::{Complaint, Judgement, Outcome};
use super::{rng, sys};
use std::sync::atomic::{
    AtomicU8, AtomicU32, AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};
use std::time::{Duration, Instant};

/// What the harness asks of a companion: to rouse the victim.
pub(crate) const GO: u32 = 1;
/// What the harness tells a companion: the victim is dead.
pub(crate) const OVER: u32 = 2;

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    Victim,
    Companion,
    Judge,
}

const TEXT: usize = 480;

/// Room for one judgement.
#[repr(C)]
#[derive(Debug)]
struct Say {
    /// 0: nothing yet; 1: an outcome; 2: a complaint.
    kind: AtomicU32,
    outcome: AtomicU32,
    length: AtomicU32,
    text: [AtomicU8; TEXT],
}

/// The ledger of one case. Streams of items are counted from 0.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Ledger {
    /// Items whose push returned.
    pub(crate) pushed: AtomicU64,
    /// Items that a consumer took and has in its hands.
    pub(crate) received: AtomicU64,
    /// Items that a consumer has looked at in place.
    pub(crate) seen: AtomicU64,
    /// What an operation makes of them.
    pub(crate) notes: [AtomicU64; 8],
    /// Counts the performances, so that a harness that hangs is found.
    beats: AtomicU64,
    cue: AtomicU32,
    ready: AtomicU32,
    /// How often the victim of a paced case has fallen asleep.
    naps: AtomicU32,
    /// How many of these the companion has dealt with.
    paces: AtomicU32,
    says: [Say; 3],
}

impl Ledger {
    /// A ledger that forked processes share.
    pub(crate) fn share() -> &'static Ledger {
        sys::share(size_of::<Ledger>())
    }

    /// How often [`Ledger::clear`] or [`Ledger::beat`] was called.
    pub(crate) fn beats(&self) -> u64 {
        self.beats.load(Relaxed)
    }

    /// Says that the harness is at work.
    pub(crate) fn beat(&self) {
        self.beats.fetch_add(1, Relaxed);
    }

    /// Turns to a new page.
    pub(crate) fn clear(&self) {
        self.beat();
        for word in [&self.pushed, &self.received, &self.seen].into_iter().chain(&self.notes) {
            word.store(0, Relaxed);
        }
        self.cue.store(0, Relaxed);
        self.ready.store(0, Relaxed);
        self.naps.store(0, Relaxed);
        self.paces.store(0, Relaxed);
        for say in &self.says {
            say.kind.store(0, Relaxed);
        }
    }

    /// What a survivor or a verdict can read: the words up to the cue.
    pub(crate) fn digest(&self) -> u64 {
        let words = [&self.pushed, &self.received, &self.seen].into_iter().chain(&self.notes);
        words.fold(0, |digest, word| rng::mix(digest ^ word.load(Relaxed)))
    }

    /// The companion says that it has done what comes before the victim's operation.
    pub(crate) fn be_ready(&self) {
        self.ready.store(1, Release);
        sys::futex_wake(&self.ready);
    }

    /// Waits for the companion; false: it takes too long.
    pub(crate) fn wait_ready(&self, deadline: Instant) -> bool {
        Self::wait(&self.ready, 1, Some(deadline))
    }

    /// Tells the companion to go on.
    pub(crate) fn give_cue(&self, cue: u32) {
        self.cue.store(cue, Release);
        sys::futex_wake(&self.cue);
    }

    /// Waits, as the companion, for a cue or a later one.
    pub(crate) fn wait_cue(&self, cue: u32) {
        Self::wait(&self.cue, cue, None);
    }

    /// Tells the companion of a paced case that the victim has fallen asleep, and waits until it has done
    /// what it does then. The victim stays where it is, though it is woken.
    pub(crate) fn pace(&self, deadline: Instant) {
        let naps = self.naps.load(Relaxed) + 1;
        self.naps.store(naps, Release);
        sys::futex_wake(&self.naps);
        Self::wait(&self.paces, naps, Some(deadline));
    }

    /// Waits, as the companion, until the victim has fallen asleep so often; false: it is dead.
    pub(crate) fn wait_nap(&self, nap: u32) -> bool {
        let pause = Duration::from_millis(1);
        while !Self::wait(&self.naps, nap, Some(Instant::now() + pause)) {
            if self.has_cue(OVER) {
                return false;
            }
        }
        true
    }

    /// Says that the companion has dealt with so many naps.
    pub(crate) fn keep_pace(&self, naps: u32) {
        self.paces.store(naps, Release);
        sys::futex_wake(&self.paces);
    }

    /// Whether a cue, or a later one, was given.
    pub(crate) fn has_cue(&self, cue: u32) -> bool {
        self.cue.load(Acquire) >= cue
    }

    fn wait(word: &AtomicU32, wanted: u32, deadline: Option<Instant>) -> bool {
        loop {
            let value = word.load(Acquire);
            if value >= wanted {
                return true;
            }
            let left = deadline.map(|d| d.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return false;
            }
            sys::futex_wait(word, value, left);
        }
    }

    /// Writes down what a party says. The last word counts.
    pub(crate) fn say(&self, party: Party, judgement: &Judgement) {
        let say = &self.says[party as usize];
        let (kind, outcome, text) = match judgement {
            Ok(outcome) => (1, outcome, ""),
            Err(complaint) => (2, &complaint.outcome, complaint.text.as_str()),
        };
        let length = text.len().min(TEXT);
        for (place, byte) in say.text.iter().zip(text.bytes()) {
            place.store(byte, Relaxed);
        }
        say.length.store(length as u32, Relaxed);
        say.outcome.store(outcome.code(), Relaxed);
        say.kind.store(kind, Release);
    }

    /// What a party said.
    pub(crate) fn said(&self, party: Party) -> Option<Judgement> {
        let say = &self.says[party as usize];
        let kind = say.kind.load(Acquire);
        let outcome = Outcome::from_code(say.outcome.load(Relaxed)).unwrap_or(Outcome::Wedged);
        let length = (say.length.load(Relaxed) as usize).min(TEXT);
        let text: Vec<u8> = say.text[..length].iter().map(|byte| byte.load(Relaxed)).collect();
        match kind {
            0 => None,
            1 => Some(Ok(outcome)),
            _ => Some(Err(Complaint::new(outcome, String::from_utf8_lossy(&text)))),
        }
    }
}
