//! The entries of a queue of objects (`src/raw/objects.rs`): consumers that take messages under a lock,
//! each of which may be killed before any of its steps, and one who sweeps up after the dead at any time.

use super::explorer::{Model, explore};

const ENTRIES: usize = 2;
const MESSAGES: u8 = 3;
/// The sweeper comes behind the consumers.
const CONSUMERS: usize = 3;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Free,
    Held(u8),
    Waiting,
    Again(u8),
}

impl Word {
    fn holder(self) -> Option<u8> {
        match self {
            Word::Held(holder) | Word::Again(holder) => Some(holder),
            Word::Free | Word::Waiting => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Entry {
    word: Word,
    /// The place of the read side before the message, which is its number, too.
    before: u8,
    lost: u8,
}

/// Where a consumer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Idle,
    Repair(u8),
    /// It has seen a claim of the dead.
    Free(u8, Word),
    Choose,
    Note(u8),
    Hold(u8),
    Commit(u8),
    Unlock(Option<u8>),
    Have(u8),
    Dead,
}

/// Where the sweeper is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Sweep {
    Idle,
    /// It has seen the word of a dead one.
    Before(u8, Word),
    /// And which place was noted.
    Place(u8, Word, u8),
    Change(u8, Word),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    /// Messages that were taken out.
    at: u8,
    lock: Option<u8>,
    /// The last owner died inside.
    died: bool,
    entries: [Entry; ENTRIES],
    consumers: [At; CONSUMERS],
    sweep: Sweep,
    received: [u8; MESSAGES as usize],
    kills: u8,
    taken_from_the_living: bool,
}

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The next owner leaves the claim of a dead one.
    NoRepair,
    /// A sweep takes a claim for a message that was taken out.
    BlindSweep,
    /// The entry is claimed when the message is out.
    LateEntry,
}

/// The queue.
#[derive(Clone, Copy, Debug)]
struct Queue {
    kills: u8,
    /// Messages of the dead come again.
    keeps: bool,
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "read in the path that a failure prints")]
enum Step {
    Goes(u8, At),
    Dies(u8),
    Sweeps(Sweep),
}

impl Queue {
    /// What the next step of a consumer leads to.
    fn goes(&self, state: &State, me: u8) -> Option<State> {
        let mut next = state.clone();
        let at = state.consumers[me as usize];
        let free = || state.entries.iter().position(|entry| entry.word == Word::Free);
        next.consumers[me as usize] = match at {
            At::Dead => return None,
            At::Idle => {
                let waits = state.entries.iter().position(|entry| entry.word == Word::Waiting);
                if let Some(i) = waits {
                    next.entries[i].word = Word::Again(me);
                    At::Have(i as u8)
                } else if state.at < MESSAGES
                    && state.lock.is_none()
                    && (free().is_some() || state.died)
                {
                    next.lock = Some(me);
                    if state.died { At::Repair(0) } else { At::Choose }
                } else {
                    return None;
                }
            }
            At::Repair(i) if i as usize == ENTRIES => {
                next.died = false;
                At::Choose
            }
            At::Repair(i) => {
                let entry = state.entries[i as usize];
                let claim = matches!(entry.word, Word::Held(_)) && entry.before == state.at;
                if claim && self.fault != Fault::NoRepair {
                    At::Free(i, entry.word)
                } else {
                    At::Repair(i + 1)
                }
            }
            At::Free(i, word) => {
                if next.entries[i as usize].word == word {
                    next.entries[i as usize].word = Word::Free;
                }
                At::Repair(i + 1)
            }
            At::Choose => match free() {
                Some(i) if state.at < MESSAGES => At::Note(i as u8),
                _ => At::Unlock(None),
            },
            At::Note(i) => {
                next.entries[i as usize].before = state.at;
                if self.fault == Fault::LateEntry { At::Commit(i) } else { At::Hold(i) }
            }
            At::Hold(i) => {
                next.entries[i as usize].word = Word::Held(me);
                if self.fault == Fault::LateEntry { At::Unlock(Some(i)) } else { At::Commit(i) }
            }
            At::Commit(i) => {
                next.at += 1;
                if self.fault == Fault::LateEntry { At::Hold(i) } else { At::Unlock(Some(i)) }
            }
            At::Unlock(taken) => {
                next.lock = None;
                taken.map_or(At::Idle, At::Have)
            }
            At::Have(i) => {
                let entry = &mut next.entries[i as usize];
                next.taken_from_the_living |= entry.word.holder() != Some(me);
                entry.word = Word::Free;
                next.received[entry.before as usize] += 1;
                At::Idle
            }
        };
        Some(next)
    }

    /// What the sweeper's next step leads to, and whether it is more than a look in vain.
    fn sweeps(&self, state: &State, each: &mut dyn FnMut(bool, State)) {
        let mut go = |useful: bool, sweep: Sweep, change: &dyn Fn(&mut State)| {
            let mut next = state.clone();
            next.sweep = sweep;
            change(&mut next);
            each(useful, next);
        };
        match state.sweep {
            Sweep::Idle => {
                for (i, entry) in state.entries.iter().enumerate() {
                    let dead = |holder: u8| state.consumers[holder as usize] == At::Dead;
                    if entry.word.holder().is_some_and(dead) {
                        let there = matches!(entry.word, Word::Held(_)) && entry.before == state.at;
                        go(!there, Sweep::Before(i as u8, entry.word), &|_| {});
                    }
                }
            }
            Sweep::Before(i, word @ Word::Again(_)) => go(true, Sweep::Change(i, word), &|_| {}),
            Sweep::Before(i, word) => {
                let before = state.entries[i as usize].before;
                go(true, Sweep::Place(i, word, before), &|_| {});
            }
            Sweep::Place(i, word, before) => {
                let there = before == state.at && self.fault != Fault::BlindSweep;
                go(true, if there { Sweep::Idle } else { Sweep::Change(i, word) }, &|_| {});
            }
            Sweep::Change(i, word) => go(true, Sweep::Idle, &|next| {
                let entry = &mut next.entries[i as usize];
                if entry.word == word && self.keeps {
                    entry.word = Word::Waiting;
                } else if entry.word == word {
                    entry.word = Word::Free;
                    entry.lost += 1;
                }
            }),
        }
    }
}

impl Model for Queue {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            at: 0,
            lock: None,
            died: false,
            entries: [Entry { word: Word::Free, before: 0, lost: 0 }; ENTRIES],
            consumers: [At::Idle; CONSUMERS],
            sweep: Sweep::Idle,
            received: [0; MESSAGES as usize],
            kills: self.kills,
            taken_from_the_living: false,
        }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        for me in 0..CONSUMERS as u8 {
            let at = state.consumers[me as usize];
            if let Some(next) = self.goes(state, me) {
                each(Step::Goes(me, at), true, next);
            }
            if state.kills > 0 && at != At::Dead {
                let mut next = state.clone();
                next.kills -= 1;
                next.consumers[me as usize] = At::Dead;
                if state.lock == Some(me) {
                    (next.lock, next.died) = (None, true);
                }
                each(Step::Dies(me), false, next);
            }
        }
        self.sweeps(state, &mut |useful, next| each(Step::Sweeps(state.sweep), useful, next));
    }

    fn violation(&self, state: &State) -> Option<String> {
        if state.taken_from_the_living {
            return Some("a message was taken from a living consumer".into());
        }
        let lost: u8 = state.entries.iter().map(|entry| entry.lost).sum();
        let received: u8 = state.received.iter().sum();
        if state.received.iter().any(|&times| times > 1) || received + lost > MESSAGES {
            return Some(format!("{:?} received, {lost} lost", state.received));
        }
        None
    }

    fn stuck(&self, state: &State) -> Option<String> {
        let lost: u8 = state.entries.iter().map(|entry| entry.lost).sum();
        let received: u8 = state.received.iter().sum();
        if received + lost != MESSAGES || self.keeps && lost > 0 {
            return Some(format!("in the end {:?} received, {lost} lost", state.received));
        }
        let left = state.entries.iter().any(|entry| entry.word != Word::Free);
        left.then(|| "in the end an entry is not free".into())
    }
}

fn holds(kills: u8, keeps: bool) {
    let outcome = explore(&Queue { kills, keeps, fault: Fault::None });
    println!("objects, {kills} kills, keeps {keeps}: {} states", outcome.states);
    if let Some((problem, path)) = outcome.failure {
        panic!("{problem}: {path:#?}");
    }
    assert!(outcome.states > if kills > 0 { 1000 } else { 100 });
}

#[test]
fn every_message_is_received_or_lost_exactly_once() {
    for kills in 0..=2 {
        holds(kills, false);
    }
}

#[test]
fn every_message_that_is_kept_is_received_exactly_once() {
    for kills in 1..=2 {
        holds(kills, true);
    }
}

#[test]
fn the_model_notices_what_is_broken() {
    for fault in [Fault::NoRepair, Fault::BlindSweep, Fault::LateEntry] {
        for keeps in [false, true] {
            let outcome = explore(&Queue { kills: 1, keeps, fault });
            assert!(outcome.failure.is_some(), "{fault:?}, keeps {keeps}");
        }
    }
}
