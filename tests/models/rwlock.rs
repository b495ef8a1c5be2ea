//! The readers-writer lock of `src/raw/rwlock` and `src/raw/phase.rs` step by step.
//!
//! A step is one access to a shared word, or one system call. A sleeper that sleeps on two words is
//! in two queues, and woken from one of them it is in the other until it runs. The kernel's part at a
//! death is a step for each word and each wake.

use crate::explorer::{Model, Outcome, explore};

/// Somebody may sleep.
const W: u8 = 0x80;
/// The owner died; beside the door's owner: `W` is in doubt; beside a reader: it yields.
const D: u8 = 0x40;
const OWNER: u8 = 0x3f;
/// In the phase: somebody may sleep on it.
const S: u8 = 0x80;

/// What may be wrong with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Ours,
    /// Who slept on the door and does not want it keeps a wake for itself.
    KeepsWakes,
    /// The mark of sleepers goes with the change of the number.
    DropsMark,
    /// A reader that yields does not wake the writer.
    YieldsInSilence,
    /// A writer that has marked a slot does not look at its note again.
    LooksOnce,
    /// A reader that has waited looks at nothing, and a writer waits for none that yields.
    NotCounted,
}

/// What goes on after the end of a phase was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Then {
    /// A writer begins its own.
    Begin,
    /// A writer unlocks the door.
    Unlock,
    /// A reader that ended a dead writer's phase leaves the door, and waits for the end of this one.
    Leave(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Outside,
    // The door, as in the mutex.
    TryDoor,
    Look,
    Take(u8),
    Announce(u8),
    Confirm(u8),
    Sleep(u8),
    // A writer.
    Settle,
    Begin,
    Drain(u8),
    DrainMark(u8, u8),
    DrainSleep(u8, u8),
    Inside,
    Finish,
    // The end of a phase.
    Tell(u8, Then),
    TellWake(u8, Then),
    TellClear(u8, Then),
    // The door again.
    Unlock(Then),
    Doubt(Then),
    WakeAll(Then),
    Undoubted(Then),
    Free(Then),
    WakeOne(Then),
    // A reader.
    Claim,
    LookPhase,
    Note(u8),
    Yield(u8),
    YieldWake(u8),
    Await(u8),
    LookDoor(u8),
    Pass(u8),
    PassSettle(u8),
    MarkPhase(u8, u8),
    MarkDoor(u8, u8),
    SleepBoth(u8, u8),
    LeaveDoor(u8),
    PassOn(u8),
    ClearYield(u8),
    LookAgain(u8),
    Reading,
    Release,
    ReleaseSwap,
    ReleaseWake,
    /// In the queues that have it; then goes on there.
    Asleep(Awake),
    /// Woken from one queue.
    Woken(Awake),
    /// Killed, with that pending; the kernel walks its words.
    KernelSlot {
        door: bool,
        slot: bool,
    },
    KernelWakesSlot {
        door: bool,
    },
    KernelDoor {
        door: bool,
    },
    KernelWakesDoor,
    Dead,
}

/// Where a sleeper goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Awake {
    Look,
    Drain(u8),
    Await(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Thread {
    at: At,
    left: u8,
    announced: u8,
    slept: bool,
    gives_up: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    door: u8,
    phase: u8,
    slots: Vec<u8>,
    notes: Vec<u8>,
    on_door: Vec<u8>,
    on_phase: Vec<u8>,
    on_slot: Vec<Vec<u8>>,
    threads: Vec<Thread>,
    kills: u8,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "for whoever reads a path")]
enum Step {
    Runs(usize, At),
    RunsOtherwise(usize, At),
    TimesOut(usize, At),
    Killed(usize, At),
}

struct RwLock {
    protocol: Protocol,
    /// Threads below this read, each with a slot of its own; the others write.
    readers: usize,
    writers: usize,
    operations: u8,
    kills: u8,
    timed: bool,
    /// Numbers of phases come round after so many.
    numbers: u8,
}

fn name(thread: usize) -> u8 {
    thread as u8 + 1
}

impl State {
    fn rouse(&mut self, thread: u8) {
        let at = &mut self.threads[usize::from(thread)].at;
        if let At::Asleep(awake) = *at {
            *at = At::Woken(awake);
        }
    }

    fn wake_door(&mut self, count: usize) {
        let count = count.min(self.on_door.len());
        let woken: Vec<u8> = self.on_door.drain(..count).collect();
        woken.into_iter().for_each(|thread| self.rouse(thread));
    }

    fn wake_phase(&mut self) {
        std::mem::take(&mut self.on_phase).into_iter().for_each(|thread| self.rouse(thread));
    }

    fn wake_slot(&mut self, slot: usize) {
        if !self.on_slot[slot].is_empty() {
            let thread = self.on_slot[slot].remove(0);
            self.rouse(thread);
        }
    }

    fn leave_queues(&mut self, i: usize) {
        let others = |thread: &u8| usize::from(*thread) != i;
        self.on_door.retain(others);
        self.on_phase.retain(others);
        self.on_slot.iter_mut().for_each(|queue| queue.retain(others));
    }

    fn done(&mut self, i: usize) {
        let left = self.threads[i].left - 1;
        let (announced, slept, gives_up) = (0, false, false);
        self.threads[i] = Thread { at: At::Outside, left, announced, slept, gives_up };
    }
}

impl RwLock {
    fn next_number(&self, number: u8) -> u8 {
        (number + 1) % self.numbers
    }

    fn run(&self, state: &State, i: usize, doubts: bool) -> Option<State> {
        let mut next = state.clone();
        let Thread { at, left, announced, slept, gives_up } = state.threads[i];
        let me = name(i);
        let number = state.phase & !S;
        let go = |next: &mut State, at: At| next.threads[i].at = at;
        let even = |number: u8| if number % 2 == 1 { self.next_number(number) } else { number };
        match at {
            At::Outside if left == 0 => return None,
            At::Dead | At::Asleep(_) => return None,
            At::Outside => go(&mut next, if i < self.readers { At::Claim } else { At::TryDoor }),
            At::Woken(awake) => {
                next.leave_queues(i);
                next.threads[i].slept = true;
                go(
                    &mut next,
                    match awake {
                        Awake::Look => At::Look,
                        Awake::Drain(slot) => At::Drain(slot),
                        Awake::Await(p) => At::Await(p),
                    },
                );
            }

            At::TryDoor if state.door == 0 => {
                next.door = me;
                go(&mut next, At::Settle);
            }
            At::TryDoor => go(&mut next, At::Look),
            At::Look => {
                let seen = state.door;
                go(
                    &mut next,
                    match seen {
                        _ if seen & OWNER == 0 => At::Take(seen),
                        _ if seen & D != 0 => At::Confirm(seen),
                        _ if seen & W != 0 => At::Sleep(seen),
                        _ => At::Announce(seen),
                    },
                );
                if next.threads[i].at == At::Sleep(seen) {
                    next.threads[i].announced = W;
                }
            }
            At::Take(seen) if state.door == seen => {
                next.door = me | seen & W | announced;
                next.threads[i].announced = 0;
                go(&mut next, At::Settle);
            }
            At::Announce(seen) | At::Confirm(seen) if state.door == seen => {
                let asleep = (seen | W) & !D;
                next.door = asleep;
                next.threads[i].announced = W;
                go(&mut next, At::Sleep(asleep));
            }
            At::Take(_) | At::Announce(_) | At::Confirm(_) => go(&mut next, At::Look),
            At::Sleep(seen) if state.door == seen => {
                next.on_door.push(i as u8);
                go(&mut next, At::Asleep(Awake::Look));
            }
            At::Sleep(_) => go(&mut next, At::Look),

            At::Settle if state.phase & S != 0 || number % 2 == 1 => {
                go(&mut next, At::Tell(even(number), Then::Begin));
            }
            At::Settle => go(&mut next, At::Begin),
            At::Begin => {
                next.phase = self.next_number(number);
                go(&mut next, At::Drain(0));
            }
            At::Drain(slot) if usize::from(slot) == self.readers => go(&mut next, At::Inside),
            At::Drain(slot) => {
                // The note is read after the word, and is not written while the word says `D`.
                let word = state.slots[usize::from(slot)];
                let yields = word & D != 0
                    && (state.notes[usize::from(slot)] == number
                        || self.protocol == Protocol::NotCounted);
                let waits = word & OWNER != 0 && !yields;
                let there = match (waits, gives_up) {
                    (false, _) => At::Drain(slot + 1),
                    (true, true) => At::Finish,
                    (true, false) if word & W != 0 => At::DrainSleep(slot, word),
                    (true, false) => At::DrainMark(slot, word),
                };
                go(&mut next, there);
            }
            At::DrainMark(slot, seen) if state.slots[usize::from(slot)] == seen => {
                next.slots[usize::from(slot)] = seen | W;
                let there = match self.protocol {
                    Protocol::LooksOnce => At::DrainSleep(slot, seen | W),
                    _ => At::Drain(slot),
                };
                go(&mut next, there);
            }
            At::DrainSleep(slot, seen) if !gives_up && state.slots[usize::from(slot)] == seen => {
                next.on_slot[usize::from(slot)].push(i as u8);
                go(&mut next, At::Asleep(Awake::Drain(slot)));
            }
            At::DrainMark(slot, _) | At::DrainSleep(slot, _) => go(&mut next, At::Drain(slot)),
            At::Inside => go(&mut next, At::Finish),
            At::Finish if state.phase & S == 0 => {
                next.phase = self.next_number(number);
                go(&mut next, At::Unlock(Then::Unlock));
            }
            At::Finish => go(&mut next, At::Tell(self.next_number(number), Then::Unlock)),

            At::Tell(to, then) => {
                next.phase = if self.protocol == Protocol::DropsMark { to } else { to | S };
                go(&mut next, At::TellWake(to, then));
            }
            At::TellWake(to, then) => {
                next.wake_phase();
                go(&mut next, At::TellClear(to, then));
            }
            At::TellClear(to, then) => {
                next.phase = to;
                go(
                    &mut next,
                    match then {
                        Then::Begin => At::Begin,
                        then => At::Unlock(then),
                    },
                );
            }

            At::Unlock(Then::Unlock) if state.door == me => {
                next.door = 0;
                next.done(i);
            }
            At::Unlock(then) => {
                go(&mut next, if doubts { At::Doubt(then) } else { At::Free(then) })
            }
            At::Doubt(then) if state.door == me | W => {
                next.door = me | W | D;
                go(&mut next, At::WakeAll(then));
            }
            At::Doubt(then) => go(&mut next, At::Free(then)),
            At::WakeAll(then) => {
                next.wake_door(usize::MAX);
                go(&mut next, At::Undoubted(then));
            }
            At::Undoubted(then) if state.door == me | W | D => {
                next.door = 0;
                self.leaves_door(&mut next, i, then);
            }
            At::Undoubted(then) => go(&mut next, At::Free(then)),
            At::Free(then) => {
                next.door = W;
                go(&mut next, At::WakeOne(then));
            }
            At::WakeOne(then) => {
                next.wake_door(1);
                self.leaves_door(&mut next, i, then);
            }

            At::Claim => {
                next.slots[i] = me;
                go(&mut next, At::LookPhase);
            }
            At::LookPhase if number.is_multiple_of(2) => go(&mut next, At::Reading),
            At::LookPhase => go(&mut next, At::Note(number)),
            At::Note(p) => {
                next.notes[i] = p;
                go(&mut next, At::Yield(p));
            }
            At::Yield(p) => {
                next.slots[i] |= D;
                let wakes = state.slots[i] & W != 0 && self.protocol != Protocol::YieldsInSilence;
                go(&mut next, if wakes { At::YieldWake(p) } else { At::Await(p) });
            }
            At::YieldWake(p) => {
                next.wake_slot(i);
                go(&mut next, At::Await(p));
            }
            At::Await(p) if number != p => {
                go(&mut next, if slept { At::LeaveDoor(p) } else { At::ClearYield(p) });
            }
            At::Await(p) => go(&mut next, At::LookDoor(p)),
            At::LookDoor(p) if state.door & OWNER == 0 => go(&mut next, At::Pass(p)),
            At::LookDoor(p) if gives_up => {
                go(&mut next, if slept { At::LeaveDoor(p) } else { At::ReleaseSwap });
            }
            At::LookDoor(p) => go(&mut next, At::MarkPhase(p, state.door & OWNER)),
            At::Pass(p) if state.door & OWNER == 0 => {
                next.door = me | W;
                go(&mut next, At::PassSettle(p));
            }
            At::PassSettle(p) if state.phase & S != 0 || number % 2 == 1 => {
                go(&mut next, At::Tell(even(number), Then::Leave(p)));
            }
            At::PassSettle(p) => go(&mut next, At::Unlock(Then::Leave(p))),
            At::MarkPhase(p, owner) if number == p => {
                next.phase |= S;
                go(&mut next, At::MarkDoor(p, owner));
            }
            At::MarkDoor(p, owner) if state.door & OWNER == owner => {
                let asleep = (state.door | W) & !D;
                next.door = asleep;
                go(&mut next, At::SleepBoth(p, asleep));
            }
            At::SleepBoth(p, door) if !gives_up && state.door == door && state.phase == p | S => {
                next.on_door.push(i as u8);
                next.on_phase.push(i as u8);
                go(&mut next, At::Asleep(Awake::Await(p)));
            }
            At::SleepBoth(p, _) => {
                next.threads[i].slept = true;
                go(&mut next, At::Await(p));
            }
            At::Pass(p) | At::MarkPhase(p, _) | At::MarkDoor(p, _) => go(&mut next, At::Await(p)),
            At::LeaveDoor(p) => {
                let free = state.door & OWNER == 0 && state.door & W != 0;
                let passes = free && self.protocol != Protocol::KeepsWakes;
                go(
                    &mut next,
                    match (passes, number != p) {
                        (true, _) => At::PassOn(p),
                        (false, true) => At::ClearYield(p),
                        (false, false) => At::ReleaseSwap,
                    },
                );
            }
            At::PassOn(p) => {
                next.wake_door(1);
                go(&mut next, if gives_up { At::ReleaseSwap } else { At::ClearYield(p) });
            }
            At::ClearYield(p) => {
                next.threads[i].slept = false;
                next.slots[i] &= !D;
                go(&mut next, At::LookAgain(p));
            }
            At::LookAgain(p) if number != p => go(&mut next, At::Reading),
            At::LookAgain(p) => go(&mut next, At::Note(p)),
            At::Reading => go(&mut next, At::Release),
            At::Release if state.slots[i] == me => {
                next.slots[i] = 0;
                next.done(i);
            }
            At::Release => go(&mut next, At::ReleaseSwap),
            At::ReleaseSwap => {
                next.slots[i] = 0;
                if state.slots[i] & W != 0 {
                    go(&mut next, At::ReleaseWake);
                } else {
                    next.done(i);
                }
            }
            At::ReleaseWake => {
                next.wake_slot(i);
                next.done(i);
            }

            At::KernelSlot { door, slot } => {
                let word = if i < self.readers { state.slots[i] } else { OWNER };
                let mut wakes = false;
                if word & OWNER == me {
                    next.slots[i] = word & W | D;
                    wakes = word & W != 0;
                } else if word & OWNER == 0 && slot {
                    wakes = true;
                }
                let there =
                    if wakes { At::KernelWakesSlot { door } } else { At::KernelDoor { door } };
                go(&mut next, there);
            }
            At::KernelWakesSlot { door } => {
                next.wake_slot(i);
                go(&mut next, At::KernelDoor { door });
            }
            At::KernelDoor { door } => {
                let owner = state.door & OWNER;
                let mut wakes = owner == 0 && door;
                if owner == me {
                    next.door = state.door & W | D;
                    wakes = state.door & W != 0;
                }
                go(&mut next, if wakes { At::KernelWakesDoor } else { At::Dead });
            }
            At::KernelWakesDoor => {
                next.wake_door(1);
                go(&mut next, At::Dead);
            }
        }
        Some(next)
    }

    fn leaves_door(&self, next: &mut State, i: usize, then: Then) {
        match then {
            Then::Leave(p) => next.threads[i].at = At::Await(p),
            _ => next.done(i),
        }
    }

    fn kill(&self, state: &State, i: usize) -> State {
        let mut next = state.clone();
        next.kills -= 1;
        next.leave_queues(i);
        let at = state.threads[i].at;
        // A writer has the door pending, a reader its slot or, while it waits, the door.
        let slot = matches!(at, At::Claim | At::Release | At::ReleaseSwap | At::ReleaseWake);
        let none = [At::LookPhase, At::Reading].contains(&at)
            || matches!(at, At::Note(_) | At::Yield(_) | At::YieldWake(_))
            || matches!(at, At::ClearYield(_) | At::LookAgain(_));
        let at = At::KernelSlot { door: !slot && !none, slot };
        next.threads[i] = Thread { at, left: 0, announced: 0, slept: false, gives_up: false };
        next
    }
}

impl Model for RwLock {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let left = self.operations;
        let (announced, slept, gives_up) = (0, false, false);
        let thread = Thread { at: At::Outside, left, announced, slept, gives_up };
        State {
            door: 0,
            phase: 0,
            slots: vec![0; self.readers],
            notes: vec![0; self.readers],
            on_door: Vec::new(),
            on_phase: Vec::new(),
            on_slot: vec![Vec::new(); self.readers],
            threads: vec![thread; self.readers + self.writers],
            kills: self.kills,
        }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        for i in 0..state.threads.len() {
            let Thread { at, gives_up, .. } = state.threads[i];
            if let Some(next) = self.run(state, i, false) {
                each(Step::Runs(i, at), true, next);
            }
            let contended = match at {
                At::Unlock(Then::Unlock) => state.door != name(i),
                At::Unlock(_) => true,
                _ => false,
            };
            if contended {
                let next = self.run(state, i, true).expect("it can go on");
                each(Step::RunsOtherwise(i, at), true, next);
            }
            let waits = matches!(
                at,
                At::SleepBoth(..)
                    | At::DrainSleep(..)
                    | At::Asleep(Awake::Drain(_) | Awake::Await(_))
            );
            if self.timed && !gives_up && waits {
                let mut next = state.clone();
                let asleep = matches!(at, At::Asleep(_));
                if asleep {
                    next.rouse(i as u8);
                }
                next.threads[i].gives_up = true;
                // A sleeper whose time is its only hope is a sleeper that was forgotten.
                each(Step::TimesOut(i, at), !asleep, next);
            }
            let dying = matches!(
                at,
                At::KernelSlot { .. }
                    | At::KernelWakesSlot { .. }
                    | At::KernelDoor { .. }
                    | At::KernelWakesDoor
            );
            if state.kills > 0 && !dying && !matches!(at, At::Outside | At::Dead) {
                each(Step::Killed(i, at), false, self.kill(state, i));
            }
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        let inside = |at: At| state.threads.iter().filter(|thread| thread.at == at).count();
        let (writers, readers) = (inside(At::Inside), inside(At::Reading));
        if writers > 1 || writers == 1 && readers > 0 {
            return Some(format!("{writers} write and {readers} read"));
        }
        // Numbers that come round make a reader wait once more, and no more than that.
        let passed_over = |i: usize| {
            let waits = matches!(
                state.threads[i].at,
                At::Await(_) | At::Woken(Awake::Await(_)) | At::Asleep(Awake::Await(_))
            );
            waits && state.notes[i] != state.phase & !S
        };
        (writers == 1 && self.numbers > 8 && (0..self.readers).any(passed_over))
            .then(|| "a second writer goes before a reader".to_owned())
    }

    fn stuck(&self, state: &State) -> Option<String> {
        let asleep: Vec<usize> = (0..state.threads.len())
            .filter(|&i| matches!(state.threads[i].at, At::Asleep(_)))
            .collect();
        (!asleep.is_empty()).then(|| format!("{asleep:?} sleep for ever"))
    }
}

fn check(protocol: Protocol, shape: (usize, usize, u8), kills: u8, timed: bool) -> Outcome<Step> {
    let (readers, writers, operations) = shape;
    // Four come round within a few operations.
    let numbers = if timed { 4 } else { 16 };
    let model = RwLock { protocol, readers, writers, operations, kills, timed, numbers };
    let outcome = explore(&model);
    let found = outcome.failure.as_ref().map_or("sound", |(problem, _)| problem);
    println!(
        "{protocol:?}, {readers} readers and {writers} writers x {operations}, {kills} kills, timed \
         {timed}: {} states, {found}",
        outcome.states
    );
    outcome
}

fn is_sound(shapes: &[((usize, usize, u8), u8)], timed: bool) {
    for &(shape, kills) in shapes {
        let outcome = check(Protocol::Ours, shape, kills, timed);
        assert!(outcome.failure.is_none(), "{:?}", outcome.failure);
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unoptimised: ci/models.sh")]
fn readers_and_writers_exclude_each_other_and_nobody_sleeps_for_ever_whoever_is_killed() {
    is_sound(&[((1, 1, 2), 1), ((2, 1, 1), 1), ((1, 2, 1), 2)], false);
}

#[test]
#[ignore = "eight million states take minutes and gigabytes"]
fn two_readers_and_two_writers_with_a_kill() {
    is_sound(&[((2, 1, 1), 2), ((2, 2, 1), 1)], false);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unoptimised: ci/models.sh")]
fn the_same_where_waiters_lose_patience_and_numbers_come_round() {
    is_sound(&[((1, 1, 3), 1), ((1, 2, 1), 1), ((2, 1, 1), 1)], true);
}

#[test]
fn what_is_broken_on_purpose_is_found() {
    for (protocol, shape, kills) in [
        (Protocol::KeepsWakes, (1, 2, 1), 1),
        (Protocol::DropsMark, (1, 2, 1), 1),
        (Protocol::YieldsInSilence, (1, 1, 1), 0),
        (Protocol::LooksOnce, (1, 1, 2), 0),
        (Protocol::NotCounted, (1, 2, 1), 0),
    ] {
        let (problem, path) = check(protocol, shape, kills, false).failure.unwrap_or_else(|| {
            panic!("{protocol:?}: the model is too weak to tell");
        });
        println!("{problem}: {path:?}");
    }
}
