//! The owner of a lock lends the elements to a worker. One of them is killed: the owner, while the worker
//! is in the middle of an element and goes on for as long as it lives; or the worker.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, GO, Judgement, Ledger, OVER, Operation, Outcome, Subject, begin, end, sys,
};
use commons::{
    ArrayGuard, LockError, LockedArray, Pool, Segment, SlicesError, TaskError, WaitStrategy, spsc,
};
use std::hint::black_box;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::Ordering::Relaxed;

/// Two halves, written one after the other.
type Pair = [u64; 2];

const OLD: Pair = [1; 2];
const NEW: Pair = [2; 2];
/// What a worker writes whose owner is dead.
const WILD: Pair = [3; 2];
/// What the next owner writes.
const NEXT: Pair = [4; 2];

/// Where the ledger says that it is in earnest.
const EARNEST: usize = 0;
/// Where it says that a dead worker left something in doubt.
const TOLD: usize = 1;
/// Turns that are given to whoever else may have something to do.
const TURNS: usize = 20;

/// What happens to a loan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Its owner is killed.
    Lends,
    /// The same, and before that the worker may have died.
    LendsInVain,
    /// The worker is killed.
    Borrows,
    /// The same, and another one is given what it had.
    BorrowsAgain,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let acts = [Act::Lends, Act::LendsInVain, Act::Borrows, Act::BorrowsAgain];
    acts.into_iter().map(|act| Box::new(act) as Box<dyn Operation>).collect()
}

impl Act {
    fn subject(self) -> Subject {
        match self {
            Act::Lends | Act::LendsInVain => Subject::Itself,
            Act::Borrows | Act::BorrowsAgain => Subject::ItsGrandchild,
        }
    }
}

impl Operation for Act {
    fn name(&self) -> String {
        match self {
            Act::Lends => "loan/lend",
            Act::LendsInVain => "loan/lend-in-vain",
            Act::Borrows => "loan/borrow",
            Act::BorrowsAgain => "loan/borrow-again",
        }
        .to_owned()
    }

    fn stage(&self, _: u32, ledger: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        LEDGER.get_or_init(|| ledger);
        if self.subject() == Subject::ItsGrandchild {
            // What a family shares is the harness's before anybody forks, so the worker's tasks are seen,
            // too. Not those of an owner: the steps would take so long that the worker, whose sleeps come in
            // slices, is awake by the time that it is to be woken.
            drop(spsc::ring::<u64>(1)?);
        }
        let segment = Segment::anonymous(16 << 10)?;
        // So many slices. With one of them, an owner that is stepped goes the same way each time.
        let length = if self.subject() == Subject::Itself { 1 } else { 4 };
        let array = LockedArray::new_in(&segment, "array", length, OLD)?;
        let other = LockedArray::new_in(&segment, "other", length, OLD)?;
        Ok(Box::new(Lent { act: *self, array, other }))
    }
}

struct Lent {
    act: Act,
    array: LockedArray<Pair>,
    /// For doing everything once.
    other: LockedArray<Pair>,
}

/// What workers, which are given no more than a function, know of the case.
static LEDGER: OnceLock<&'static Ledger> = OnceLock::new();

fn write(slice: &mut [Pair], value: Pair) {
    for pair in slice {
        for (half, value) in pair.iter_mut().zip(value) {
            *black_box(half) = value;
        }
    }
}

fn all_are(elements: &[Pair], value: Pair) -> bool {
    elements.iter().all(|pair| *pair == value)
}

fn give_turns() {
    (0..TURNS).for_each(|_| sys::give_way());
}

/// What a worker does whose owner is killed: one half of its element, and the rest when the owner sleeps.
fn outlive<const DIES: bool>(_: usize, slice: &mut [Pair]) {
    let ledger = LEDGER.get().expect("the stage sets it");
    if ledger.notes[EARNEST].load(Relaxed) > 0 {
        *black_box(&mut slice[0][0]) = NEW[0];
        ledger.wait_cue(GO);
        while ledger.has_cue(OVER) {
            write(slice, WILD);
        }
        if DIES {
            sys::kill(sys::own_pid(), sys::SIGKILL);
        }
    }
    write(slice, NEW);
}

/// What a worker does that is killed: it is stepped from the end of the first slice on, over all of the
/// second, into the third.
fn die(first: usize, slice: &mut [Pair]) {
    let ledger = LEDGER.get().expect("the stage sets it");
    let earnest = ledger.notes[EARNEST].load(Relaxed) > 0;
    if earnest && first == 0 {
        // Everything is posted by then.
        give_turns();
        begin();
    }
    write(slice, NEW);
    if earnest && first == 2 {
        end();
    }
}

/// Lends all elements, and gives those that are in doubt then. All others are new.
fn lend(
    pool: &Pool,
    guard: &mut ArrayGuard<'_, Pair>,
    work: impl Fn(usize, &mut [Pair]) + Copy + Send + 'static,
) -> Result<Vec<Range<usize>>, Complaint> {
    let in_doubt = match pool.for_each_slice_of(guard, work) {
        Ok(()) => Vec::new(),
        Err(SlicesError { error, in_doubt, untouched, .. }) => {
            let died = matches!(*error, TaskError::WorkerDied { signal: Some(sys::SIGKILL), .. });
            if !died || in_doubt.len() > 1 || !untouched.is_empty() {
                let text = format!("{error}, {in_doubt:?} in doubt, {untouched:?} untouched");
                return complain(Outcome::Lost, text);
            }
            in_doubt
        }
    };
    let is_told = |i| in_doubt.iter().any(|range| range.contains(&i));
    if guard.iter().enumerate().any(|(i, pair)| *pair != NEW && !is_told(i)) {
        return complain(Outcome::Lost, format!("{guard:?}, of which {in_doubt:?} are in doubt"));
    }
    if guard.is_in_doubt() == in_doubt.is_empty() {
        return complain(Outcome::Lost, format!("{in_doubt:?} are in doubt, and not the guard"));
    }
    Ok(in_doubt)
}

/// Sees that nobody else has the elements.
fn have_alone(elements: &mut [Pair]) -> Result<(), Complaint> {
    write(elements, NEXT);
    give_turns();
    if !all_are(elements, NEXT) {
        return complain(Outcome::Lost, format!("somebody else has them: {elements:?}"));
    }
    Ok(())
}

fn pool(retries: u32) -> Result<Pool, Complaint> {
    let builder = Pool::builder().workers(1).retries(retries);
    Ok(builder.wait_strategy(WaitStrategy::Park).build()?)
}

impl Case for Lent {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        match self.act {
            Act::Lends => self.die_lending(ledger, outlive::<false>),
            Act::LendsInVain => self.die_lending(ledger, outlive::<true>),
            Act::Borrows => self.outlive_a_worker(ledger, 0),
            Act::BorrowsAgain => self.outlive_a_worker(ledger, 1),
        }
    }

    fn subject(&self) -> Subject {
        self.act.subject()
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let done = ledger.pushed.load(Relaxed) > 0;
        let outcome = match (self.act, self.array.lock()) {
            (_, Ok(guard)) if !done && all_are(&guard, OLD) => Outcome::Clean,
            (Act::LendsInVain, Err(LockError::Poisoned)) => self.take_over()?,
            (Act::Lends, Ok(guard)) if all_are(&guard, NEW) => Outcome::Clean,
            (Act::Lends | Act::LendsInVain, Err(LockError::OwnerDied { .. })) if !done => {
                self.take_over()?
            }
            (Act::Borrows | Act::BorrowsAgain, Ok(guard)) if all_are(&guard, NEW) && done => {
                let told = ledger.notes[TOLD].load(Relaxed) > 0;
                if told { Outcome::OwnerDied } else { Outcome::Clean }
            }
            (_, other) => {
                let text = format!("acknowledged: {done}, and then {other:?}");
                return complain(Outcome::Lost, text);
            }
        };
        let pool = pool(0)?;
        for _ in 0..2 {
            let mut guard = self.array.lock()?;
            have_alone(&mut guard)?;
            if !lend(&pool, &mut guard, |_, slice| write(slice, NEW))?.is_empty() {
                return complain(Outcome::Lost, "the next owner's worker died");
            }
        }
        Ok(outcome)
    }
}

impl Lent {
    /// The owner that is killed.
    fn die_lending(
        &self,
        ledger: &'static Ledger,
        work: impl Fn(usize, &mut [Pair]) + Copy + Send + 'static,
    ) -> Result<(), Complaint> {
        let pool = pool(0)?;
        lend(&pool, &mut self.other.lock()?, work)?;
        ledger.notes[EARNEST].store(1, Relaxed);
        // The worker sleeps by then.
        give_turns();
        begin();
        let mut guard = self.array.lock()?;
        lend(&pool, &mut guard, work)?;
        drop(guard);
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    /// The owner whose worker is killed.
    fn outlive_a_worker(&self, ledger: &'static Ledger, retries: u32) -> Result<(), Complaint> {
        begin();
        let pool = pool(retries)?;
        lend(&pool, &mut self.other.lock()?, die)?;
        ledger.notes[EARNEST].store(1, Relaxed);
        let mut guard = self.array.lock()?;
        let in_doubt = lend(&pool, &mut guard, die)?;
        if retries > 0 && !in_doubt.is_empty() {
            return complain(Outcome::Lost, format!("{in_doubt:?} are in doubt"));
        }
        ledger.notes[TOLD].store(in_doubt.len() as u64, Relaxed);
        ledger.notes[EARNEST].store(0, Relaxed);
        guard.mark_consistent();
        have_alone(&mut guard)?;
        lend(&pool, &mut guard, die)?;
        drop(guard);
        ledger.pushed.store(1, Relaxed);
        Ok(())
    }

    /// The next owner is told, and has the elements alone.
    fn take_over(&self) -> Judgement {
        let mut left = self.array.recover()?;
        let halves = [OLD[0], NEW[0], WILD[0]];
        if left.as_flattened().iter().any(|half| !halves.contains(half)) {
            return complain(Outcome::Lost, format!("{left:?} was left"));
        }
        have_alone(&mut left)?;
        drop(left.mark_consistent());
        Ok(Outcome::OwnerDied)
    }
}
