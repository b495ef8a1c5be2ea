//! The slots of `src/raw/queue.rs` step by step, with and without entries in flight.
//!
//! A step is one access to a word that others write. Participants may be killed before each of their
//! steps, and everybody alive may bury or sweep the dead at any time, step by step too, and be killed
//! at that.

use crate::explorer::{Model, Outcome, explore};

const FREE: u8 = 0;
const WRITING: u8 = 1;
const FULL: u8 = 2;
const READING: u8 = 3;
/// The member that moves the messages of the dead.
const SWEEPER: u8 = 9;

/// What a design gets wrong, to see that the model notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The claim and the name of its claimer are two steps: Vyukov's queue with a note beside it.
    NamedLate,
    /// A slot seen *d* laps ahead is taken to mean that the position *d* laps on is finished.
    JumpsTooFar,
    /// A consumer takes a slot that is *d* laps ahead to mean that everything before was taken, though
    /// slots of dead producers are passed over without a consumer.
    ConsumersJumpAsProducers,
    /// A dead reader's slot is freed without asking whether its entry has the message, too.
    SlotAfterEntry,
    /// The hint goes up before the claim.
    HintFirst,
    /// A loss is counted by who frees the slot, after that.
    CountedLate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Word {
    lap: u8,
    state: u8,
    member: u8,
}

const fn word(lap: u8, state: u8, member: u8) -> Word {
    Word { lap, state, member }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Between operations: loads the hint.
    Start,
    /// Looks at the slot of a position.
    Look(u8),
    /// Exchanges the word that it saw.
    Claim(u8, Word),
    /// Stores the hint.
    Hint(u8),
    /// Only `NamedLate`: writes its name.
    Name(u8),
    /// Has the slot of this position: writes or reads the message.
    Work(u8),
    /// Publishes or frees it.
    Commit(u8),
    // With entries in flight.
    /// Looks whether a message waits in an entry.
    Again,
    /// Claims an entry.
    Entry,
    /// Copies the message of this position into its entry, and has it.
    Hold(u8),
    /// Frees the slot of this position.
    Vacate(u8),
    /// Has the message in its entry: acts on it.
    Act,
    /// Frees its entry.
    Release,
    /// Lets the message of its entry come again.
    GiveBack,
    // Ending the work of the dead.
    /// Exchanges a word that a dead one left in this slot.
    Bury(u8, Word),
    /// Counts its message before.
    Count(u8, Word),
    /// Sweeps a dead member's entries and slots, from this one on.
    Sweep(u8, u8),
    /// Within a sweep: frees the slot that the entry's message came from, then lets it wait.
    Unslot(u8, u8),
    Wait(u8, u8),
    /// Within a sweep: moves the message of a slot into this entry.
    Move(u8, u8, u8),
    Moved(u8, u8, u8),
    Swept(u8, u8, u8),
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Part {
    at: At,
    produces: bool,
    /// Messages that a producer has left to send.
    left: u8,
    /// The message in hand; producers: the one to write.
    message: u8,
    /// The entry that is claimed.
    entry: u8,
    /// The hint it began with.
    began: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    slots: Vec<Word>,
    values: Vec<u8>,
    entries: Vec<Word>,
    /// Message and position of each entry.
    held: Vec<(u8, u8)>,
    tail: u8,
    head: u8,
    /// How often the message of each slot's last loss was counted: lap + 1, and the total.
    lost: Vec<(u8, u8)>,
    /// By message: 0 unsent, 1 published.
    published: Vec<bool>,
    delivered: Vec<u8>,
    /// Deliveries that said that they come again.
    again: Vec<u8>,
    /// Readers that died having it.
    died_with: Vec<u8>,
    sweeper: Option<u8>,
    parts: Vec<Part>,
    kills: u8,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "for whoever reads a path")]
enum Step {
    Runs(usize, At),
    Helps(usize, u8),
    Killed(usize, At),
}

struct Queue {
    fault: Fault,
    capacity: u8,
    producers: u8,
    messages: u8,
    consumers: u8,
    entries: u8,
    kills: u8,
    /// Consumers may give a message back, once each.
    returns: bool,
}

impl Queue {
    fn lap(&self, position: u8) -> u8 {
        position / self.capacity
    }
    fn slot(&self, position: u8) -> usize {
        usize::from(position % self.capacity)
    }
    /// Where to look after a slot that is `ahead` laps ahead.
    fn beyond(&self, position: u8, produces: bool, seen: Word, ahead: i8) -> u8 {
        let claimed = if produces || seen.state != FREE { 1 } else { 2 };
        let laps = match self.fault {
            Fault::JumpsTooFar => ahead,
            Fault::ConsumersJumpAsProducers => (ahead - 1).max(0),
            _ => (ahead - claimed).max(0),
        };
        position + laps as u8 * self.capacity + 1
    }

    fn is_dead(state: &State, member: u8) -> bool {
        state.parts.get(usize::from(member)).is_some_and(|part| part.at == At::Dead)
    }

    fn done(state: &mut State, i: usize) {
        let part = &mut state.parts[i];
        part.at = At::Start;
        if part.produces {
            part.left -= 1;
            part.message += 1;
        } else {
            part.message = 0;
        }
    }

    fn deliver(state: &mut State, message: u8, again: bool) {
        let counts = if again { &mut state.again } else { &mut state.delivered };
        counts[usize::from(message)] += 1;
    }

    /// What participant `i` does next by itself.
    fn run(&self, state: &State, i: usize) -> Vec<State> {
        let mut next = state.clone();
        let me = i as u8;
        let Part { at, produces, left, message, entry, .. } = state.parts[i];
        let flight = self.entries > 0;
        match at {
            At::Dead => return vec![],
            At::Start if produces && left == 0 => return vec![],
            At::Start => {
                let hint = if produces { state.tail } else { state.head };
                next.parts[i].began = hint;
                next.parts[i].at = At::Look(hint);
                if flight && !produces {
                    next.parts[i].at = At::Again;
                }
            }
            At::Again => {
                let waits = (0..state.entries.len()).find(|&e| state.entries[e].state == FULL);
                match waits {
                    Some(e) => {
                        next.entries[e] = word(state.entries[e].lap, READING, me);
                        next.parts[i].entry = e as u8;
                        next.parts[i].message = state.held[e].0 | 0x80;
                        next.parts[i].at = At::Act;
                    }
                    None => next.parts[i].at = At::Entry,
                }
            }
            At::Entry => {
                // Only where there is a message: the first look of `take`.
                let full = (0..self.capacity).any(|s| state.slots[usize::from(s)].state == FULL);
                let free = (0..state.entries.len()).find(|&e| state.entries[e].state == FREE);
                match free.filter(|_| full) {
                    Some(e) => {
                        next.entries[e] = word(state.entries[e].lap, WRITING, me);
                        next.parts[i].entry = e as u8;
                        next.parts[i].at = At::Look(state.parts[i].began);
                    }
                    None => next.parts[i].at = At::Start,
                }
            }
            At::Look(position) => {
                let seen = state.slots[self.slot(position)];
                let ahead = seen.lap as i8 - self.lap(position) as i8;
                let wanted = if produces { FREE } else { FULL };
                let nothing = if produces {
                    ahead < 0
                } else {
                    ahead < 0 || ahead == 0 && matches!(seen.state, FREE | WRITING)
                };
                if ahead == 0 && seen.state == wanted {
                    if self.fault == Fault::HintFirst {
                        let hint = if produces { &mut next.tail } else { &mut next.head };
                        *hint = position + 1;
                    }
                    next.parts[i].at = At::Claim(position, seen);
                } else if nothing {
                    if flight && !produces {
                        let e = usize::from(entry);
                        next.entries[e] = word(state.entries[e].lap + 1, FREE, 0);
                    }
                    next.parts[i].at = At::Start;
                } else {
                    next.parts[i].at = At::Look(self.beyond(position, produces, seen, ahead));
                }
            }
            At::Claim(position, seen) => {
                let slot = self.slot(position);
                if state.slots[slot] == seen {
                    let named = if self.fault == Fault::NamedLate { 0xff } else { me };
                    let claimed = if produces { WRITING } else { READING };
                    next.slots[slot] = word(seen.lap, claimed, named);
                    next.parts[i].at = At::Hint(position);
                    if self.fault == Fault::NamedLate {
                        next.parts[i].at = At::Name(position);
                    }
                } else {
                    next.parts[i].at = At::Look(position);
                }
            }
            At::Name(position) => {
                next.slots[self.slot(position)].member = me;
                next.parts[i].at = At::Hint(position);
            }
            At::Hint(position) => {
                if self.fault != Fault::HintFirst {
                    let hint = if produces { &mut next.tail } else { &mut next.head };
                    *hint = position + 1;
                }
                next.parts[i].at = At::Work(position);
            }
            At::Work(position) => {
                let slot = self.slot(position);
                if produces {
                    next.values[slot] = message;
                } else {
                    next.parts[i].message = state.values[slot];
                }
                next.parts[i].at =
                    if flight && !produces { At::Hold(position) } else { At::Commit(position) };
            }
            At::Commit(position) => {
                let (slot, lap) = (self.slot(position), self.lap(position));
                if produces {
                    next.slots[slot] = word(lap, FULL, 0);
                    next.published[usize::from(message)] = true;
                } else {
                    next.slots[slot] = word(lap + 1, FREE, 0);
                    Self::deliver(&mut next, message, false);
                }
                Self::done(&mut next, i);
            }
            At::Hold(position) => {
                let e = usize::from(entry);
                next.held[e] = (message, position);
                next.entries[e] = word(state.entries[e].lap, READING, me);
                next.parts[i].at = At::Vacate(position);
            }
            At::Vacate(position) => {
                next.slots[self.slot(position)] = word(self.lap(position) + 1, FREE, 0);
                next.parts[i].at = At::Act;
            }
            At::Act => {
                let mut others = Vec::new();
                if self.returns && message & 0x80 == 0 {
                    let mut returned = next.clone();
                    returned.parts[i].at = At::GiveBack;
                    others.push(returned);
                }
                next.parts[i].at = At::Release;
                others.push(next);
                return others;
            }
            At::Release => {
                let e = usize::from(entry);
                next.entries[e] = word(state.entries[e].lap + 1, FREE, 0);
                Self::deliver(&mut next, message & 0x7f, message & 0x80 != 0);
                Self::done(&mut next, i);
            }
            At::GiveBack => {
                let e = usize::from(entry);
                next.entries[e] = word(state.entries[e].lap, FULL, 0);
                Self::done(&mut next, i);
            }
            At::Count(slot, seen) => {
                let (s, lost) = (usize::from(slot), state.lost[usize::from(slot)]);
                if state.slots[s] == seen && lost.0 != seen.lap + 1 {
                    next.lost[s] = (seen.lap + 1, lost.1 + 1);
                }
                next.parts[i].at = At::Bury(slot, seen);
            }
            At::Bury(slot, seen) => {
                let s = usize::from(slot);
                if state.slots[s] == seen {
                    next.slots[s] = word(seen.lap + 1, FREE, 0);
                    if self.fault == Fault::CountedLate && seen.state == READING {
                        next.parts[i].at = At::Wait(slot, seen.lap);
                        return vec![next];
                    }
                }
                next.parts[i].at = At::Start;
            }
            At::Wait(slot, lap) if !flight => {
                let s = usize::from(slot);
                next.lost[s] = (lap + 1, state.lost[s].1 + 1);
                next.parts[i].at = At::Start;
            }
            _ => return self.sweep(state, i),
        }
        vec![next]
    }

    /// A sweep of a dead member: first what it had in entries, then its slots, then the rest.
    fn sweep(&self, state: &State, i: usize) -> Vec<State> {
        let mut next = state.clone();
        let (entries, slots) = (self.entries, self.capacity);
        let go = |dead: u8, place: u8| At::Sweep(dead, place);
        match state.parts[i].at {
            At::Sweep(dead, place) if place < entries => {
                let e = usize::from(place);
                let seen = state.entries[e];
                next.parts[i].at = if seen.state == READING && seen.member == dead {
                    if self.fault == Fault::SlotAfterEntry {
                        At::Wait(dead, place)
                    } else {
                        At::Unslot(dead, place)
                    }
                } else {
                    go(dead, place + 1)
                };
            }
            At::Unslot(dead, place) => {
                let (_, position) = state.held[usize::from(place)];
                let slot = self.slot(position);
                let seen = state.slots[slot];
                if seen.state == READING && seen.lap == self.lap(position) {
                    next.slots[slot] = word(seen.lap + 1, FREE, 0);
                }
                next.parts[i].at = At::Wait(dead, place);
            }
            At::Wait(dead, place) => {
                let e = usize::from(place);
                next.entries[e] = word(state.entries[e].lap, FULL, 0);
                next.parts[i].at = go(dead, place + 1);
            }
            At::Sweep(dead, place) if place < entries + slots => {
                let slot = place - entries;
                let seen = state.slots[usize::from(slot)];
                next.parts[i].at = go(dead, place + 1);
                if seen.member == dead && seen.state == WRITING {
                    next.slots[usize::from(slot)] = word(seen.lap + 1, FREE, 0);
                } else if seen.member == dead && seen.state == READING {
                    let own = |&e: &usize| {
                        let entry = state.entries[e];
                        entry.state == WRITING && entry.member == dead
                    };
                    let free = |&e: &usize| state.entries[e].state == FREE;
                    let all = 0..state.entries.len();
                    let Some(e) = all.clone().find(own).or_else(|| all.clone().find(free)) else {
                        return vec![next];
                    };
                    next.entries[e] = word(state.entries[e].lap, WRITING, SWEEPER);
                    next.parts[i].at = At::Move(dead, place, e as u8);
                }
            }
            At::Move(dead, place, entry) => {
                let (slot, e) = (usize::from(place - entries), usize::from(entry));
                let position = state.slots[slot].lap * slots + slot as u8;
                next.held[e] = (state.values[slot], position);
                next.entries[e] = word(state.entries[e].lap, READING, SWEEPER);
                next.parts[i].at = At::Moved(dead, place, entry);
            }
            At::Moved(dead, place, entry) => {
                let slot = usize::from(place - entries);
                next.slots[slot] = word(state.slots[slot].lap + 1, FREE, 0);
                next.parts[i].at = At::Swept(dead, place, entry);
            }
            At::Swept(dead, place, entry) => {
                let e = usize::from(entry);
                next.entries[e] = word(state.entries[e].lap, FULL, 0);
                next.parts[i].at = go(dead, place + 1);
            }
            At::Sweep(dead, place) if place < 2 * entries + slots => {
                let e = usize::from(place - entries - slots);
                let seen = state.entries[e];
                if seen.member == dead && seen.state == WRITING {
                    next.entries[e] = word(seen.lap + 1, FREE, 0);
                }
                next.parts[i].at = go(dead, place + 1);
            }
            At::Sweep(dead, _) => {
                // After what a dead sweeper left comes what it was to sweep.
                let first = state.parts.iter().position(|part| part.at == At::Dead);
                match first.filter(|_| dead == SWEEPER) {
                    Some(_) => {
                        let mut all = Vec::new();
                        for dead in self.unswept(state) {
                            let mut one = next.clone();
                            one.parts[i].at = go(dead, 0);
                            all.push(one);
                        }
                        if all.is_empty() {
                            next.sweeper = None;
                            next.parts[i].at = At::Start;
                            all.push(next);
                        }
                        return all;
                    }
                    None => {
                        next.sweeper = None;
                        next.parts[i].at = At::Start;
                    }
                }
            }
            other => unreachable!("{other:?}"),
        }
        vec![next]
    }

    /// Dead members that something still names.
    fn unswept(&self, state: &State) -> Vec<u8> {
        let named = |member: u8| {
            let names = |w: &Word| w.state & 1 != 0 && w.member == member;
            state.slots.iter().any(names) || state.entries.iter().any(names)
        };
        (0..state.parts.len() as u8).filter(|&m| Self::is_dead(state, m) && named(m)).collect()
    }

    /// What participant `i` can begin to do about the dead.
    fn help(&self, state: &State, i: usize, each: &mut dyn FnMut(Step, bool, State)) {
        let has_entry = !state.parts[i].produces && self.entries > 0;
        match state.parts[i].at {
            At::Start | At::Again | At::Entry => {}
            At::Look(_) if !has_entry => {}
            _ => return,
        }
        if self.entries > 0 {
            let sweeper_died = state.sweeper.is_some_and(|member| Self::is_dead(state, member));
            let free = state.sweeper.is_none() || sweeper_died;
            if free && (sweeper_died || !self.unswept(state).is_empty()) {
                let mut next = state.clone();
                next.sweeper = Some(i as u8);
                next.parts[i].at = At::Sweep(SWEEPER, 0);
                each(Step::Helps(i, SWEEPER), true, next);
            }
            return;
        }
        for (slot, &seen) in state.slots.iter().enumerate() {
            if seen.state & 1 != 0 && Self::is_dead(state, seen.member) {
                let mut next = state.clone();
                let counts = seen.state == READING && self.fault != Fault::CountedLate;
                next.parts[i].at =
                    if counts { At::Count(slot as u8, seen) } else { At::Bury(slot as u8, seen) };
                each(Step::Helps(i, slot as u8), true, next);
            }
        }
    }
}

impl Model for Queue {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut parts = Vec::new();
        for p in 0..self.producers + self.consumers {
            let produces = p < self.producers;
            let (left, message) =
                if produces { (self.messages, p * self.messages) } else { (0, 0) };
            parts.push(Part { at: At::Start, produces, left, message, entry: 0, began: 0 });
        }
        let messages = usize::from(self.producers * self.messages);
        State {
            slots: vec![word(0, FREE, 0); self.capacity.into()],
            values: vec![0xff; self.capacity.into()],
            entries: vec![word(0, FREE, 0); self.entries.into()],
            held: vec![(0xff, 0); self.entries.into()],
            tail: 0,
            head: 0,
            lost: vec![(0, 0); self.capacity.into()],
            published: vec![false; messages],
            delivered: vec![0; messages],
            again: vec![0; messages],
            died_with: vec![0; messages],
            sweeper: None,
            parts,
            kills: self.kills,
        }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        for i in 0..state.parts.len() {
            let at = state.parts[i].at;
            for next in self.run(state, i) {
                // A look that finds nothing is no progress.
                if next != *state {
                    each(Step::Runs(i, at), self.progresses(state, i), next);
                }
            }
            self.help(state, i, each);
            if state.kills > 0 && !matches!(at, At::Dead | At::Start) {
                let mut next = state.clone();
                next.kills -= 1;
                let reads = self.reads(state, i);
                if let Some(message) = reads {
                    next.died_with[usize::from(message)] += 1;
                }
                next.parts[i].at = At::Dead;
                each(Step::Killed(i, at), false, next);
            }
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        for message in 0..state.published.len() {
            let (delivered, again) = (state.delivered[message], state.again[message]);
            if delivered + again > 0 && !state.published[message] {
                return Some(format!("message {message} was delivered and not published"));
            }
            // Who dies having it has not finished it.
            if delivered + again > 1 {
                return Some(format!("message {message} was finished twice"));
            }
        }
        None
    }

    fn stuck(&self, state: &State) -> Option<String> {
        let alive =
            |produces| state.parts.iter().any(|p| p.produces == produces && p.at != At::Dead);
        if !alive(false) {
            return None;
        }
        for (i, part) in state.parts.iter().enumerate() {
            if part.at != At::Dead && part.produces && part.left > 0 {
                return Some(format!("producer {i} is stopped for ever"));
            }
        }
        let mut lost = 0;
        for message in 0..state.published.len() {
            let came = state.delivered[message] + state.again[message];
            let excused = self.entries == 0 && state.died_with[message] > 0;
            if state.published[message] && came == 0 && !excused {
                return Some(format!("message {message} is lost"));
            }
            lost += u32::from(state.published[message] && came == 0);
        }
        let counted: u32 = state.lost.iter().map(|&(_, total)| u32::from(total)).sum();
        if self.entries == 0 && counted != lost {
            return Some(format!("{lost} messages were lost, {counted} were counted"));
        }
        None
    }
}

impl Queue {
    /// Whether a step of this participant is one that it does not only repeat while it waits.
    fn progresses(&self, state: &State, i: usize) -> bool {
        let part = state.parts[i];
        let hint = if part.produces { state.tail } else { state.head };
        let position = match part.at {
            At::Start => hint,
            At::Look(position) => position,
            At::Again | At::Entry => hint,
            _ => return true,
        };
        // It has an entry to give back.
        let has_entry = !part.produces && self.entries > 0 && matches!(part.at, At::Look(_));
        let waits = !part.produces && state.entries.iter().any(|e| e.state == FULL);
        has_entry || waits || self.would_find(state, i, position) || position != hint
    }

    /// Whether a walk from this position finds a slot now.
    fn would_find(&self, state: &State, i: usize, mut position: u8) -> bool {
        let produces = state.parts[i].produces;
        let free = state.entries.iter().any(|e| e.state == FREE);
        if !produces && self.entries > 0 && !free {
            return false;
        }
        for _ in 0..4 * self.capacity + 4 {
            let seen = state.slots[self.slot(position)];
            let ahead = seen.lap as i8 - self.lap(position) as i8;
            let wanted = if produces { FREE } else { FULL };
            if ahead == 0 && seen.state == wanted {
                return true;
            }
            if ahead < 0 || !produces && ahead == 0 && matches!(seen.state, FREE | WRITING) {
                return false;
            }
            position = self.beyond(position, produces, seen, ahead);
        }
        false
    }

    /// The message that dies with this participant.
    fn reads(&self, state: &State, i: usize) -> Option<u8> {
        let part = state.parts[i];
        if part.produces {
            return None;
        }
        match part.at {
            At::Hint(position) | At::Name(position) | At::Work(position) => {
                Some(state.values[self.slot(position)])
            }
            At::Commit(_) | At::Hold(_) | At::Vacate(_) | At::Act | At::Release | At::GiveBack => {
                Some(part.message & 0x7f)
            }
            _ => None,
        }
    }
}

fn check(queue: Queue) -> Outcome<Step> {
    let Queue { fault, capacity, producers, messages, consumers, entries, kills, .. } = queue;
    let outcome = explore(&queue);
    let found = outcome.failure.as_ref().map_or("sound", |(problem, _)| problem);
    println!(
        "{fault:?}, {producers} producers x {messages}, {consumers} consumers, {capacity} slots, \
         {entries} entries, {kills} kills: {} states, {found}",
        outcome.states
    );
    outcome
}

fn plain(capacity: u8, (producers, messages): (u8, u8), consumers: u8, kills: u8) -> Queue {
    let (fault, entries, returns) = (Fault::None, 0, false);
    Queue { fault, capacity, producers, messages, consumers, entries, kills, returns }
}

fn is_sound(queue: Queue) {
    let outcome = check(queue);
    assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unoptimised: ci/models.sh")]
fn no_message_is_passed_over_or_delivered_twice_whoever_is_killed() {
    for queue in [
        plain(1, (2, 2), 1, 2),
        plain(1, (2, 1), 2, 2),
        plain(2, (2, 2), 1, 2),
        plain(2, (1, 3), 2, 2),
        plain(3, (2, 2), 1, 1),
        plain(2, (2, 1), 2, 2),
    ] {
        is_sound(queue);
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unoptimised: ci/models.sh")]
fn messages_of_dead_consumers_come_again() {
    for (queue, entries, returns) in [
        (plain(1, (1, 2), 2, 2), 1, false),
        (plain(1, (1, 2), 2, 1), 2, true),
        (plain(2, (1, 2), 2, 2), 2, false),
        (plain(1, (2, 1), 2, 2), 2, false),
    ] {
        is_sound(Queue { entries, returns, ..queue });
    }
}

#[test]
fn the_model_notices_what_is_wrong() {
    let flight = |queue: Queue| Queue { entries: 2, ..queue };
    for (fault, queue, problem) in [
        (Fault::NamedLate, plain(1, (2, 1), 1, 1), "stopped for ever"),
        (Fault::JumpsTooFar, plain(2, (2, 3), 1, 0), ""),
        (Fault::ConsumersJumpAsProducers, plain(2, (2, 2), 1, 2), "is lost"),
        (Fault::HintFirst, plain(2, (2, 2), 1, 1), ""),
        (Fault::CountedLate, plain(1, (1, 2), 2, 2), "counted"),
        (Fault::SlotAfterEntry, flight(plain(1, (1, 1), 2, 1)), "finished twice"),
    ] {
        let outcome = check(Queue { fault, ..queue });
        let (found, _) = outcome.failure.expect("the model is too weak to tell");
        assert!(found.contains(problem), "{fault:?}: {found}");
    }
}
