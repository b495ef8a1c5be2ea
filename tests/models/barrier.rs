//! The barrier of `src/raw/barrier.rs` step by step.
//!
//! A step is one access to the word, a slot or the event, or one system call. A waiter that sleeps
//! watches the others, so a death wakes it: the kernel's part is one step, which wakes one sleeper
//! of the bell and one of the beacon.

use crate::explorer::{Model, Outcome, explore};

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// The slots of the dead are free before the barrier is broken.
    FreesFirst,
    /// Slots are freed of who died after somebody else's reset.
    ChecksNot,
    /// Who ends a round wakes nobody.
    WakesNobody,
    /// The last to arrive does not look who has died.
    LooksNot,
    /// A party gives its slot back before it has seen how its round ended.
    LeavesEarly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word {
    arrived: u8,
    broken: bool,
    rounds: u8,
    resets: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Outside,
    /// Takes this slot if it is free, or looks at the next.
    Claim(u8),
    /// Found none: sleeps until one is given back.
    NoRoom,
    /// Exchanges the word it has seen.
    Arrive(Word),
    /// The last: looks at the slots.
    Lead,
    /// In its action.
    Act,
    Complete,
    /// Reads the number of sets.
    Wait,
    Look(u8),
    /// Looks whether others are dead.
    Watch(u8),
    Announce(u8),
    Asleep,
    /// Breaks the round.
    Break,
    /// Has ended a round: pulses the event.
    Pulse,
    /// Knows what became of its round, and gives its slot back.
    Leave,
    /// Has got an error: resets it. Broken first.
    Reset,
    /// Reads the word.
    See,
    /// Asks who is dead.
    Find(Word),
    /// Whether it was broken all the time.
    Check(Word, u8),
    Bury(Word, u8),
    MakeWhole(Word),
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Party {
    at: At,
    slot: Option<u8>,
    /// The word as it left it when it arrived.
    turn: Option<Word>,
    /// What it was told of its round.
    passed: Option<bool>,
    left: u8,
    /// Resets it may do.
    resets: u8,
    /// It was dead at a reset.
    mourned: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    word: Word,
    /// Who has which slot.
    slots: Vec<Option<u8>>,
    sets: u8,
    /// Somebody may sleep.
    waiters: bool,
    parties: Vec<Party>,
    kills: u8,
    /// What must not have happened, and has.
    wrong: Option<&'static str>,
    /// Who has arrived in the round that is going on.
    here: Vec<u8>,
    /// The action of the round runs.
    acted: bool,
    /// One of them was dead by the time the last arrived.
    tainted: bool,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "for whoever reads a path")]
enum Step {
    Runs(usize, At),
    TimesOut(usize, At),
    Killed(usize, At),
}

struct Barrier {
    fault: Fault,
    parties: u8,
    callers: usize,
    rounds: u8,
    kills: u8,
    resets: u8,
    timed: bool,
}

impl State {
    fn wake_all(&mut self) {
        for party in &mut self.parties {
            if party.at == At::Asleep {
                party.at = At::Wait;
            }
        }
    }

    fn is_dead(&self, i: u8) -> bool {
        self.parties[usize::from(i)].at == At::Dead
    }

    /// Whether somebody is dead that no reset has forgotten.
    fn unmourned(&self) -> bool {
        self.parties.iter().any(|party| party.at == At::Dead && !party.mourned)
    }

    fn dead(&self) -> u8 {
        (0..self.parties.len() as u8).filter(|&i| self.is_dead(i)).fold(0, |dead, i| dead | 1 << i)
    }

    fn dead_in_slots(&self) -> bool {
        self.slots.iter().flatten().any(|&i| self.is_dead(i))
    }

    /// What became of the round of an arrival.
    fn verdict(&self, turn: Word) -> Option<bool> {
        if self.word.rounds != turn.rounds {
            return Some(true);
        }
        (self.word.broken || self.word.resets != turn.resets).then_some(false)
    }

    fn end_round(&mut self) {
        self.here.clear();
        self.acted = false;
    }

    fn break_it(&mut self) {
        self.word.broken = true;
        self.word.arrived = 0;
        self.end_round();
    }
}

impl Barrier {
    fn after(&self, party: &mut Party, verdict: bool) {
        party.passed = Some(verdict);
        party.at = At::Leave;
    }

    fn run(&self, state: &State, i: usize) -> Option<State> {
        let mut next = state.clone();
        let Party { at, slot, turn, left, resets, .. } = state.parties[i];
        let all = self.parties;
        let go = |next: &mut State, at: At| next.parties[i].at = at;
        match at {
            At::Dead | At::Asleep => return None,
            At::Outside if left == 0 => return None,
            At::Outside if state.word.broken => {
                if resets == 0 {
                    next.parties[i].left = 0;
                } else {
                    next.parties[i].resets -= 1;
                    go(&mut next, At::Reset);
                }
            }
            At::Outside => go(&mut next, At::Claim(0)),
            At::Claim(k) if k == all => {
                go(&mut next, if state.word.broken { At::Outside } else { At::NoRoom });
            }
            At::Claim(k) => match state.slots[usize::from(k)] {
                None => {
                    next.slots[usize::from(k)] = Some(i as u8);
                    next.parties[i].slot = Some(k);
                    go(&mut next, At::Arrive(state.word));
                }
                Some(_) => go(&mut next, At::Claim(k + 1)),
            },
            At::NoRoom => {
                // The slice, or the pulse of who leaves: it looks again where there is news.
                if state.dead_in_slots() && !state.word.broken {
                    next.break_it();
                    next.parties[i].turn = None;
                    go(&mut next, At::Pulse);
                } else if state.word.broken || state.slots.iter().any(Option::is_none) {
                    go(&mut next, At::Claim(0));
                } else {
                    return None;
                }
            }
            At::Arrive(seen) if seen != state.word => go(&mut next, At::Arrive(state.word)),
            At::Arrive(seen) if seen.broken => {
                next.slots[usize::from(slot?)] = None;
                next.parties[i].slot = None;
                go(&mut next, At::Outside);
            }
            At::Arrive(seen) => {
                if seen.arrived >= all {
                    next.wrong = Some("more have arrived than there are parties");
                }
                next.word.arrived += 1;
                next.here.push(i as u8);
                next.parties[i].turn = Some(next.word);
                let last = next.word.arrived == all;
                next.tainted = last && next.here.iter().any(|&i| state.is_dead(i));
                go(&mut next, if last { At::Lead } else { At::Wait });
            }
            At::Lead if self.fault != Fault::LooksNot && state.dead_in_slots() => {
                go(&mut next, At::Break);
            }
            At::Lead => {
                next.acted = true;
                go(&mut next, At::Act);
            }
            At::Act => go(&mut next, At::Complete),
            At::Complete if Some(state.word) == turn => {
                // One who died while it acted was there when all had arrived.
                if state.here.len() != usize::from(all) || !state.acted {
                    next.wrong = Some("a round is complete without a party or its action");
                }
                if state.tainted {
                    next.wrong = Some("a round is complete that counted the dead");
                }
                next.word.rounds += 1;
                next.word.arrived = 0;
                next.end_round();
                go(&mut next, At::Pulse);
            }
            At::Complete => go(&mut next, At::Wait),
            At::Wait => go(&mut next, At::Look(state.sets)),
            At::Look(sets) => match state.verdict(turn?) {
                Some(verdict) => self.after(&mut next.parties[i], verdict),
                None => go(&mut next, At::Watch(sets)),
            },
            // All who are dead had it open.
            At::Watch(sets) => {
                let dead = state.unmourned();
                let matters = if state.word.arrived == all { state.dead_in_slots() } else { dead };
                go(&mut next, if matters { At::Break } else { At::Announce(sets) });
            }
            At::Announce(sets) if sets == state.sets => {
                next.waiters = true;
                if self.fault == Fault::LeavesEarly {
                    next.slots[usize::from(slot?)] = None;
                }
                // A beacon that has changed since the look ends the sleep at once.
                let dead = state.unmourned();
                let matters = dead && (state.word.arrived != all || state.dead_in_slots());
                go(&mut next, if matters { At::Wait } else { At::Asleep });
            }
            At::Announce(_) => go(&mut next, At::Wait),
            At::Break => match turn.and_then(|turn| state.verdict(turn)) {
                Some(_) => go(&mut next, At::Wait),
                None => {
                    next.break_it();
                    go(&mut next, At::Pulse);
                }
            },
            At::Pulse => {
                next.sets = (state.sets + 1) % 64;
                if state.waiters && self.fault != Fault::WakesNobody {
                    next.waiters = false;
                    next.wake_all();
                }
                go(&mut next, if turn.is_some() { At::Wait } else { At::Outside });
            }
            At::Leave => {
                if let Some(slot) = slot
                    && state.slots[usize::from(slot)] == Some(i as u8)
                {
                    next.slots[usize::from(slot)] = None;
                }
                let party = &mut next.parties[i];
                let passed = party.passed == Some(true);
                let left = party.left - u8::from(passed);
                *party =
                    Party { at: At::Outside, slot: None, turn: None, passed: None, left, ..*party };
            }
            At::Reset => {
                if !state.word.broken && self.fault != Fault::FreesFirst {
                    next.break_it();
                }
                go(&mut next, At::See);
            }
            At::See if !state.word.broken && self.fault != Fault::FreesFirst => {
                go(&mut next, At::Pulse);
            }
            At::See => go(&mut next, At::Find(state.word)),
            At::Find(seen) => go(&mut next, At::Check(seen, state.dead())),
            At::Check(seen, dead) => {
                let same = seen == state.word || self.fault == Fault::ChecksNot;
                go(&mut next, if same { At::Bury(seen, dead) } else { At::Pulse });
            }
            At::Bury(seen, dead) => {
                for slot in &mut next.slots {
                    if slot.is_some_and(|i| dead >> i & 1 != 0) {
                        *slot = None;
                    }
                }
                for (i, party) in next.parties.iter_mut().enumerate() {
                    party.mourned |= dead >> i & 1 != 0;
                }
                go(&mut next, At::MakeWhole(seen));
            }
            At::MakeWhole(seen) => {
                if state.word == seen {
                    next.word = Word { broken: false, arrived: 0, resets: seen.resets + 1, ..seen };
                    next.end_round();
                }
                go(&mut next, At::Pulse);
            }
        }
        if next == *state { None } else { Some(next) }
    }
}

impl Model for Barrier {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let party = Party {
            at: At::Outside,
            slot: None,
            turn: None,
            passed: None,
            left: self.rounds,
            resets: self.resets,
            mourned: false,
        };
        State {
            word: Word { arrived: 0, broken: false, rounds: 0, resets: 0 },
            slots: vec![None; usize::from(self.parties)],
            sets: 0,
            waiters: false,
            parties: vec![party; self.callers],
            kills: self.kills,
            wrong: None,
            here: Vec::new(),
            acted: false,
            tainted: false,
        }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        for i in 0..self.callers {
            let at = state.parties[i].at;
            if let Some(next) = self.run(state, i) {
                each(Step::Runs(i, at), true, next);
            }
            if self.timed && at == At::Asleep {
                let mut next = state.clone();
                next.parties[i].at = At::Break;
                each(Step::TimesOut(i, at), false, next);
            }
            if self.resets > 0 && at == At::Outside && state.parties[i].resets > 0 {
                // Anybody resets it at any time.
                let mut next = state.clone();
                next.parties[i].resets -= 1;
                next.parties[i].at = At::Reset;
                each(Step::Runs(i, At::Reset), false, next);
            }
            if state.kills > 0 && at != At::Dead {
                let mut next = state.clone();
                next.kills -= 1;
                next.parties[i].at = At::Dead;
                // Its beacon, which every sleeper watches, and the bell: who is woken passes it on.
                next.wake_all();
                each(Step::Killed(i, at), false, next);
            }
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        if let Some(wrong) = state.wrong {
            return Some(wrong.to_owned());
        }
        // A verdict is the truth: who has passed is of the round before, whose slots are all its own.
        let passed = |party: &&Party| {
            party.at != At::Dead
                && party.turn.is_some_and(|turn| {
                    state.word.rounds > turn.rounds + 1 && party.passed.is_none()
                })
        };
        if let Some(party) = state.parties.iter().find(passed) {
            return Some(format!("two rounds have ended under {party:?}"));
        }
        None
    }

    fn stuck(&self, state: &State) -> Option<String> {
        let asleep = state.parties.iter().filter(|party| party.at == At::Asleep);
        let over = |turn| state.verdict(turn).is_some();
        for party in asleep {
            if party.turn.is_some_and(over) {
                return Some(format!("{party:?} sleeps, though its round is over"));
            }
            if state.unmourned() {
                return Some(format!("{party:?} waits for the dead"));
            }
        }
        None
    }
}

fn check(model: &Barrier) -> Outcome<Step> {
    let outcome = explore(model);
    let found = outcome.failure.as_ref().map_or("sound", |(problem, _)| problem);
    println!(
        "{:?}, {} of {} parties x {}, {} kills, {} resets each, timed {}: {} states, {found}",
        model.fault,
        model.parties,
        model.callers,
        model.rounds,
        model.kills,
        model.resets,
        model.timed,
        outcome.states
    );
    outcome
}

fn shape(parties: u8, callers: usize, rounds: u8, kills: u8, resets: u8) -> Barrier {
    Barrier { fault: Fault::None, parties, callers, rounds, kills, resets, timed: false }
}

fn is_sound(model: &Barrier) {
    let outcome = check(model);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
}

#[test]
fn nobody_waits_for_the_dead_or_sleeps_beyond_its_round() {
    is_sound(&shape(2, 2, 2, 0, 0));
    is_sound(&shape(2, 2, 3, 1, 1));
    is_sound(&shape(3, 3, 1, 1, 0));
    is_sound(&shape(3, 3, 1, 2, 0));
    is_sound(&shape(2, 3, 1, 1, 0));
}

#[test]
fn timeouts_and_resets_come_at_any_time() {
    is_sound(&Barrier { timed: true, ..shape(2, 2, 2, 1, 1) });
    is_sound(&Barrier { timed: true, ..shape(2, 3, 1, 1, 0) });
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    let fails = |fault, model| {
        let outcome = check(&Barrier { fault, ..model });
        assert!(outcome.failure.is_some(), "the model is too weak to tell {fault:?}");
    };
    fails(Fault::LooksNot, shape(2, 2, 1, 1, 0));
    fails(Fault::FreesFirst, shape(2, 3, 1, 1, 1));
    fails(Fault::ChecksNot, shape(2, 2, 1, 1, 1));
    fails(Fault::WakesNobody, shape(2, 2, 1, 0, 0));
    fails(Fault::LeavesEarly, shape(2, 3, 2, 0, 0));
}
