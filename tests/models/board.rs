//! The board of tasks of a pool (`src/raw/board.rs`): an owner that posts and collects, workers that may
//! be killed before any of their steps, and the zygote that buries and replaces them, which may be
//! killed, too.

use super::explorer::{Model, explore};

/// The most of them.
const SLOTS: usize = 3;
const TASKS: u8 = 5;
const WORKERS: usize = 2;
/// Tickets that can be posted or passed over before the model ends.
const TICKETS: u8 = 9;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Word {
    Free,
    Full(u8),
    Taken(u8, u8),
    Done(u8),
    Died(u8),
}

/// Where a worker is. `posted` and the hint are as it has read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Worker {
    Idle,
    Hint(u8),
    Scan { at: u8, posted: u8 },
    Took(u8),
    Runs(u8),
    Dead,
}

/// What the zygote is doing about a seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Zygote {
    Waits,
    /// It looks at this slot for what the dead one in this seat left.
    Buries(u8, u8),
    Replaces(u8),
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    slots: [Word; SLOTS],
    posted: u8,
    hint: u8,
    /// The owner: tasks submitted, the next ticket, and whether one is written and not posted.
    submitted: u8,
    next: u8,
    filled: bool,
    /// Which task each ticket is, and which tickets are not collected.
    task_of: [u8; TICKETS as usize],
    busy: [Option<u8>; SLOTS],
    workers: [Worker; WORKERS],
    zygote: Zygote,
    kills: u8,
    done: [u8; TASKS as usize],
    died: [u8; TASKS as usize],
    begun: [u8; TASKS as usize],
    wrong: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// The seat is given away before its last worker's task is ended.
    EarlySeat,
    /// The hint goes to the end of what is posted.
    HintAhead,
    /// A ticket is posted before its slot is written.
    PostedFirst,
    /// A task is taken by a look and a store.
    NoExchange,
    /// Nobody ends the tasks of the dead.
    NoBurial,
    /// A slot whose task still waits is passed over.
    PassesWaiting,
}

#[derive(Clone, Copy, Debug)]
struct Board {
    slots: usize,
    tasks: u8,
    kills: u8,
    fault: Fault,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "read in the path that a failure prints")]
enum Step {
    Owner,
    Collects(u8),
    Buries(u8),
    GivesUp,
    Works(u8, Worker),
    Dies(u8),
    Zygote(Zygote),
    ZygoteDies,
}

impl Board {
    fn slot(&self, ticket: u8) -> usize {
        usize::from(ticket) % self.slots
    }

    /// The owner posts the next task, or passes a busy slot over.
    fn posts(&self, state: &State) -> Option<State> {
        let mut next = state.clone();
        let first = self.fault == Fault::PostedFirst;
        if state.filled {
            if first {
                next.slots[self.slot(state.next - 1)] = Word::Full(state.next - 1);
            } else {
                next.posted = state.next;
            }
            next.filled = false;
            return Some(next);
        }
        let free = state.busy[..self.slots].iter().any(Option::is_none);
        if state.submitted == self.tasks || !free || state.next == TICKETS {
            return None;
        }
        let ticket = state.next;
        let waits = matches!(state.slots[self.slot(ticket)], Word::Full(_));
        if waits && self.fault != Fault::PassesWaiting {
            return None;
        }
        next.next += 1;
        if state.busy[self.slot(ticket)].is_some() {
            next.posted = next.next;
            return Some(next);
        }
        next.task_of[usize::from(ticket)] = state.submitted;
        next.submitted += 1;
        next.busy[self.slot(ticket)] = Some(ticket);
        next.filled = true;
        if first {
            next.posted = next.next;
        } else {
            next.slots[self.slot(ticket)] = Word::Full(ticket);
        }
        Some(next)
    }

    /// The owner collects what is in a slot.
    fn collects(state: &State, index: usize) -> Option<State> {
        let ticket = state.busy[index]?;
        let task = usize::from(state.task_of[usize::from(ticket)]);
        let mut next = state.clone();
        match state.slots[index] {
            Word::Done(t) if t == ticket => next.done[task] += 1,
            Word::Died(t) if t == ticket => next.died[task] += 1,
            _ => return None,
        }
        next.busy[index] = None;
        Some(next)
    }

    fn works(&self, state: &State, me: u8) -> Option<State> {
        let mut next = state.clone();
        next.workers[usize::from(me)] = match state.workers[usize::from(me)] {
            Worker::Dead => return None,
            Worker::Idle if state.hint == state.posted => return None,
            Worker::Idle => Worker::Hint(state.hint),
            Worker::Hint(hint) => {
                let oldest = state.posted.saturating_sub(self.slots as u8);
                Worker::Scan { at: hint.max(oldest), posted: state.posted }
            }
            Worker::Scan { at, posted } if at >= posted => {
                // It looks whether more was posted, and else leaves the hint at the end.
                if state.posted == posted {
                    next.hint = posted;
                    Worker::Idle
                } else {
                    Worker::Scan { at, posted: state.posted }
                }
            }
            Worker::Scan { at, posted } => {
                let word = &mut next.slots[self.slot(at)];
                if *word == Word::Full(at) {
                    if self.fault == Fault::NoExchange {
                        return Some(self.looks(state, me, at));
                    }
                    *word = Word::Taken(at, me);
                    Worker::Took(at)
                } else {
                    Worker::Scan { at: at + 1, posted }
                }
            }
            Worker::Took(ticket) => {
                if self.fault == Fault::NoExchange {
                    next.slots[self.slot(ticket)] = Word::Taken(ticket, me);
                }
                let ahead = self.fault == Fault::HintAhead;
                next.hint = if ahead { state.posted } else { ticket + 1 };
                next.begun[usize::from(state.task_of[usize::from(ticket)])] += 1;
                Worker::Runs(ticket)
            }
            Worker::Runs(ticket) => {
                let word = &mut next.slots[self.slot(ticket)];
                next.wrong |= *word != Word::Taken(ticket, me);
                *word = Word::Done(ticket);
                Worker::Idle
            }
        };
        Some(next)
    }

    /// Broken: it has seen the task, and takes it with its next step.
    fn looks(&self, state: &State, me: u8, at: u8) -> State {
        let mut next = state.clone();
        next.workers[usize::from(me)] = Worker::Took(at);
        next
    }

    fn buries(&self, next: &mut State, seat: u8, index: usize) {
        if let Word::Taken(ticket, taker) = next.slots[index]
            && taker == seat
            && self.fault != Fault::NoBurial
        {
            next.slots[index] = Word::Died(ticket);
        }
    }

    fn zygote(&self, state: &State, each: &mut dyn FnMut(State)) {
        let mut next = state.clone();
        match state.zygote {
            Zygote::Dead => {}
            Zygote::Waits => {
                for seat in 0..WORKERS as u8 {
                    if state.workers[usize::from(seat)] == Worker::Dead {
                        let mut next = state.clone();
                        if self.fault == Fault::EarlySeat {
                            next.workers[usize::from(seat)] = Worker::Idle;
                        }
                        next.zygote = Zygote::Buries(seat, 0);
                        each(next);
                    }
                }
            }
            Zygote::Buries(seat, index) => {
                self.buries(&mut next, seat, usize::from(index));
                let last = usize::from(index) + 1 == self.slots;
                next.zygote =
                    if last { Zygote::Replaces(seat) } else { Zygote::Buries(seat, index + 1) };
                each(next);
            }
            Zygote::Replaces(seat) => {
                if self.fault != Fault::EarlySeat {
                    next.workers[usize::from(seat)] = Worker::Idle;
                }
                next.zygote = Zygote::Waits;
                each(next);
            }
        }
    }

    /// Tasks that are neither done nor failed.
    fn open(&self, state: &State) -> bool {
        (0..usize::from(self.tasks)).any(|task| state.done[task] + state.died[task] == 0)
    }
}

impl Model for Board {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        State {
            slots: [Word::Free; SLOTS],
            posted: 0,
            hint: 0,
            submitted: 0,
            next: 0,
            filled: false,
            task_of: [0; TICKETS as usize],
            busy: [None; SLOTS],
            workers: [Worker::Idle; WORKERS],
            zygote: Zygote::Waits,
            kills: self.kills,
            done: [0; TASKS as usize],
            died: [0; TASKS as usize],
            begun: [0; TASKS as usize],
            wrong: false,
        }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        if let Some(next) = self.posts(state) {
            each(Step::Owner, true, next);
        }
        for index in 0..SLOTS {
            if let Some(next) = Self::collects(state, index) {
                each(Step::Collects(index as u8), true, next);
            }
        }
        for me in 0..WORKERS as u8 {
            let at = state.workers[usize::from(me)];
            if let Some(next) = self.works(state, me) {
                each(Step::Works(me, at), true, next);
            }
            if state.kills > 0 && at != Worker::Dead {
                let mut next = state.clone();
                next.kills -= 1;
                next.workers[usize::from(me)] = Worker::Dead;
                each(Step::Dies(me), false, next);
            }
        }
        self.zygote(state, &mut |next| each(Step::Zygote(state.zygote), true, next));
        if state.zygote == Zygote::Dead {
            // The owner does what is left of its work.
            for seat in 0..WORKERS as u8 {
                if state.workers[usize::from(seat)] == Worker::Dead {
                    let mut next = state.clone();
                    (0..SLOTS).for_each(|index| self.buries(&mut next, seat, index));
                    if next != *state {
                        each(Step::Buries(seat), true, next);
                    }
                }
            }
            let nobody = state.workers.iter().all(|worker| *worker == Worker::Dead);
            let taken = state.slots.iter().any(|word| matches!(word, Word::Taken(..)));
            if nobody && !taken && self.open(state) {
                let mut next = state.clone();
                for task in 0..usize::from(self.tasks) {
                    let collected = state.done[task] + state.died[task] > 0;
                    next.died[task] += u8::from(!collected);
                }
                next.busy = [None; SLOTS];
                (next.submitted, next.filled) = (self.tasks, false);
                each(Step::GivesUp, true, next);
            }
        } else if state.kills > 0 {
            let mut next = state.clone();
            next.kills -= 1;
            next.zygote = Zygote::Dead;
            each(Step::ZygoteDies, false, next);
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        if state.wrong {
            return Some("a worker finished what was not its own".into());
        }
        for task in 0..TASKS as usize {
            let (done, died) = (state.done[task], state.died[task]);
            if done + died > 1 || state.begun[task] > 1 {
                return Some(format!(
                    "task {task}: begun {}, done {done}, died {died}",
                    state.begun[task]
                ));
            }
        }
        None
    }

    fn stuck(&self, state: &State) -> Option<String> {
        // The tickets of the model are limited; those of the board are not.
        let out_of_tickets = state.next == TICKETS && state.submitted < self.tasks;
        let lost = (0..usize::from(state.submitted)).any(|t| state.done[t] + state.died[t] == 0);
        (lost || self.open(state) && !out_of_tickets).then(|| "a task is never done".into())
    }
}

#[test]
fn every_task_of_a_board_is_done_or_fails_exactly_once() {
    for (slots, tasks, kills) in [(2, 3, 0), (2, 3, 1), (2, 3, 2), (3, 5, 0)] {
        let outcome = explore(&Board { slots, tasks, kills, fault: Fault::None });
        println!("board of {slots}, {tasks} tasks, {kills} kills: {} states", outcome.states);
        if let Some((problem, path)) = outcome.failure {
            panic!("{problem}: {path:#?}");
        }
        assert!(outcome.states > if kills > 0 { 10_000 } else { 500 });
    }
}

#[test]
fn the_model_of_the_board_notices_what_is_broken() {
    let faults = [
        Fault::EarlySeat,
        Fault::HintAhead,
        Fault::PostedFirst,
        Fault::NoExchange,
        Fault::NoBurial,
        Fault::PassesWaiting,
    ];
    for fault in faults {
        let passes = fault == Fault::PassesWaiting;
        let (slots, tasks, kills) = if passes { (3, 5, 0) } else { (2, 3, 2) };
        let outcome = explore(&Board { slots, tasks, kills, fault });
        assert!(outcome.failure.is_some(), "{fault:?}");
    }
}
