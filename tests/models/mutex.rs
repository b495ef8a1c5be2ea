//! The mutex of `src/raw/mutex.rs` step by step, beside the protocol of glibc and others.
//!
//! A step is one access to the word, or one system call. The kernel's part at a death is two steps,
//! since others run between its change of the word and its wake.

use crate::explorer::{Model, Outcome, explore};

/// Somebody may sleep.
const W: u8 = 0x80;
/// The owner died; beside a living owner: `W` is in doubt.
const D: u8 = 0x40;
const OWNER: u8 = 0x3f;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// Unlock stores 0 and wakes one: glibc, musl, Drepper.
    Classic,
    /// `W` outlives the unlock; who woke nobody drops it.
    Hasty,
    /// `W` outlives the unlock; only an owner drops it, after it was put in doubt: ours.
    Ours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    /// Before the lock; dead or done if it has no operation left.
    Outside,
    /// Fast path of lock.
    TryFree,
    Look,
    /// Exchanges what it has seen for its own name.
    Take(u8),
    /// Exchanges what it has seen for the same with `W`.
    Announce(u8),
    /// Exchanges what it has seen for the same without `D`.
    Confirm(u8),
    /// Calls the kernel to sleep while the word is this.
    Sleep(u8),
    Asleep,
    /// Its time is over: takes a last look.
    GivesUp,
    Inside,
    /// Fast path of unlock.
    Unlock,
    /// Exchanges its name with `W` for the same with `D`.
    Doubt,
    WakeAll,
    /// Exchanges that for 0.
    Undoubted,
    Free,
    WakeOne,
    /// Only `Hasty`: exchanges `W` for 0.
    Drop,
    /// Killed; the kernel has changed the word and wakes one.
    KernelWakes,
    Dead,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Thread {
    at: At,
    /// `W` once it may have slept, within one lock.
    announced: u8,
    /// Operations that are left.
    left: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    word: u8,
    /// First in, first out, as the kernel has it.
    asleep: Vec<u8>,
    threads: Vec<Thread>,
    kills: u8,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "for whoever reads a path")]
enum Step {
    Runs(usize, At),
    /// Takes the slow path though it need not: the hint that chooses is not modelled.
    RunsOtherwise(usize, At),
    TimesOut(usize, At),
    Killed(usize, At),
}

struct Mutex {
    protocol: Protocol,
    threads: usize,
    operations: u8,
    kills: u8,
    /// Waiters may lose patience.
    timed: bool,
}

fn name(thread: usize) -> u8 {
    thread as u8 + 1
}

impl State {
    fn wake(&mut self, count: usize) -> usize {
        let count = count.min(self.asleep.len());
        for sleeper in self.asleep.drain(..count) {
            self.threads[usize::from(sleeper)].at = At::Look;
        }
        count
    }

    /// One exchange: goes on at `then` if the word was `expected`, else at `otherwise`.
    fn exchange(&mut self, i: usize, expected: u8, new: u8, then: At, otherwise: At) {
        if self.word == expected {
            self.word = new;
            self.threads[i].at = then;
        } else {
            self.threads[i].at = otherwise;
        }
    }

    fn done(&mut self, i: usize) {
        let thread = &mut self.threads[i];
        *thread = Thread { at: At::Outside, announced: 0, left: thread.left - 1 };
    }
}

impl Mutex {
    fn run(&self, state: &State, i: usize, doubts: bool) -> Option<State> {
        let mut next = state.clone();
        let Thread { at, announced, left } = state.threads[i];
        let me = name(i);
        let ours = self.protocol == Protocol::Ours;
        match at {
            At::Outside if left == 0 => return None,
            At::Dead | At::Asleep => return None,
            At::Outside => next.threads[i].at = At::TryFree,
            At::TryFree => next.exchange(i, 0, me, At::Inside, At::Look),
            At::Look => {
                let seen = state.word;
                if seen & OWNER != 0 && seen & W != 0 && (!ours || seen & D == 0) {
                    next.threads[i].announced = W;
                }
                next.threads[i].at = match seen {
                    _ if seen & OWNER == 0 => At::Take(seen),
                    _ if ours && seen & D != 0 => At::Confirm(seen),
                    _ if seen & W != 0 => At::Sleep(seen),
                    _ => At::Announce(seen),
                };
            }
            At::Take(seen) => {
                next.exchange(i, seen, me | seen & W | announced, At::Inside, At::Look);
                if next.threads[i].at == At::Inside {
                    next.threads[i].announced = 0;
                }
            }
            At::Announce(seen) | At::Confirm(seen) => {
                let asleep = (seen | W) & !D;
                next.exchange(i, seen, asleep, At::Sleep(asleep), At::Look);
                if next.threads[i].at != At::Look {
                    next.threads[i].announced = W;
                }
            }
            At::Sleep(seen) if state.word == seen => {
                next.asleep.push(i as u8);
                next.threads[i].at = At::Asleep;
            }
            At::Sleep(_) => next.threads[i].at = At::Look,
            At::GivesUp if state.word & OWNER == 0 => next.threads[i].at = At::Look,
            At::GivesUp => next.done(i),
            At::Inside => next.threads[i].at = At::Unlock,
            At::Unlock if state.word == me => {
                next.word = 0;
                next.done(i);
            }
            At::Unlock => next.threads[i].at = if doubts { At::Doubt } else { At::Free },
            At::Doubt => next.exchange(i, me | W, me | W | D, At::WakeAll, At::Free),
            At::WakeAll => {
                next.wake(usize::MAX);
                next.threads[i].at = At::Undoubted;
            }
            At::Undoubted if state.word == me | W | D => {
                next.word = 0;
                next.done(i);
            }
            At::Undoubted => next.threads[i].at = At::Free,
            At::Free => {
                next.word = if self.protocol == Protocol::Classic { 0 } else { W };
                next.threads[i].at = At::WakeOne;
            }
            At::WakeOne => {
                if next.wake(1) == 0 && self.protocol == Protocol::Hasty {
                    next.threads[i].at = At::Drop;
                } else {
                    next.done(i);
                }
            }
            At::Drop => {
                if state.word == W {
                    next.word = 0;
                }
                next.done(i);
            }
            At::KernelWakes => {
                next.wake(1);
                next.threads[i].at = At::Dead;
            }
        }
        Some(next)
    }

    /// SIGKILL, and the kernel's change of the word.
    fn kill(&self, state: &State, i: usize) -> State {
        let mut next = state.clone();
        next.kills -= 1;
        next.asleep.retain(|&sleeper| usize::from(sleeper) != i);
        // Pending from the first look until it is linked, and from before it is unlinked to the end.
        let pending = state.threads[i].at != At::Inside;
        let wakes = if state.word & OWNER == name(i) {
            next.word = state.word & W | D;
            state.word & W != 0
        } else {
            pending && state.word & OWNER == 0
        };
        let at = if wakes { At::KernelWakes } else { At::Dead };
        next.threads[i] = Thread { at, announced: 0, left: 0 };
        next
    }
}

impl Model for Mutex {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let thread = Thread { at: At::Outside, announced: 0, left: self.operations };
        let threads = vec![thread; self.threads];
        State { word: 0, asleep: Vec::new(), threads, kills: self.kills }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        for i in 0..self.threads {
            let at = state.threads[i].at;
            if let Some(next) = self.run(state, i, false) {
                each(Step::Runs(i, at), true, next);
            }
            if at == At::Unlock && self.protocol == Protocol::Ours && state.word != name(i) {
                let next = self.run(state, i, true).expect("it can go on");
                each(Step::RunsOtherwise(i, at), true, next);
            }
            if self.timed && matches!(at, At::Sleep(_) | At::Asleep) {
                let mut next = state.clone();
                next.asleep.retain(|&sleeper| usize::from(sleeper) != i);
                next.threads[i].at = At::GivesUp;
                // A sleeper whose time is its only hope is a sleeper that was forgotten.
                each(Step::TimesOut(i, at), at != At::Asleep, next);
            }
            if state.kills > 0 && !matches!(at, At::Outside | At::Dead | At::KernelWakes) {
                each(Step::Killed(i, at), false, self.kill(state, i));
            }
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        let owns = |at| {
            matches!(
                at,
                At::Inside | At::Unlock | At::Doubt | At::WakeAll | At::Undoubted | At::Free
            )
        };
        let owners = state.threads.iter().enumerate().filter(|(_, thread)| owns(thread.at));
        let mut wrong = owners.filter(|(i, _)| state.word & OWNER != name(*i));
        wrong.next().map(|(i, _)| format!("thread {i} is inside, the word is {:#x}", state.word))
    }

    fn stuck(&self, state: &State) -> Option<String> {
        if state.asleep.is_empty() {
            return None;
        }
        Some(format!("{:?} sleep for ever, the word is {:#x}", state.asleep, state.word))
    }
}

fn check(protocol: Protocol, shape: (usize, u8), kills: u8, timed: bool) -> Outcome<Step> {
    let (threads, operations) = shape;
    let outcome = explore(&Mutex { protocol, threads, operations, kills, timed });
    let found = outcome.failure.as_ref().map_or("sound", |(problem, _)| problem);
    println!(
        "{protocol:?}, {threads} threads x {operations}, {kills} kills, timed {timed}: \
         {} states, {found}",
        outcome.states
    );
    outcome
}

fn is_sound(shapes: &[((usize, u8), u8)], timed: bool) {
    for &(shape, kills) in shapes {
        let outcome = check(Protocol::Ours, shape, kills, timed);
        assert!(outcome.failure.is_none(), "{:#?}", outcome.failure);
    }
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unoptimised: ci/models.sh")]
fn nobody_sleeps_for_ever_whoever_is_killed() {
    is_sound(&[((3, 3), 1), ((3, 2), 2), ((4, 1), 2), ((4, 1), 3), ((3, 2), 0)], false);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "takes long unoptimised: ci/models.sh")]
fn nobody_sleeps_for_ever_where_waiters_lose_patience() {
    is_sound(&[((3, 2), 1), ((3, 2), 2), ((4, 1), 2)], true);
}

#[test]
fn the_classic_protocol_forgets_a_sleeper_after_one_kill() {
    let outcome = check(Protocol::Classic, (3, 2), 1, false);
    let (problem, path) = outcome.failure.expect("it is known to");
    println!("{path:?}");
    assert!(problem.contains("sleep for ever"), "{problem}");
    assert_eq!(path.iter().filter(|step| matches!(step, Step::Killed(..))).count(), 1);
    // Without a kill it is sound.
    assert!(check(Protocol::Classic, (3, 3), 0, false).failure.is_none());
}

#[test]
fn the_obvious_way_to_drop_the_mark_forgets_a_sleeper_too() {
    let outcome = check(Protocol::Hasty, (3, 2), 1, false);
    assert!(outcome.failure.is_some(), "the model is too weak to tell");
}
