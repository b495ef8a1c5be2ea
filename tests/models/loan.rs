//! The loans of `src/lock/loan.rs` step by step: owners of a lock, who lend what it guards and use it
//! themselves; borrowers, who may be as late as they like; and makers, who use the memory again when
//! nobody holds it.
//!
//! A step is one access to the number or to the lock, one system call, or a use of the elements. The lock
//! itself is the business of `mutex.rs`: here it is free as soon as its owner is dead. The byte of a dead
//! borrower falls later, in a step of the kernel.

use super::explorer::{Model, Outcome, explore};

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Nothing.
    None,
    /// A borrower looks at the number before it locks the byte.
    LooksFirst,
    /// A borrower that is refused keeps the byte.
    KeepsByte,
    /// Who ends a loan waits before it takes the number away.
    WaitsFirst,
    /// The number goes back to what it was before the loan.
    GoesBack,
    /// A loan whose borrowers are not known to have done with it is ended as if they were.
    TrustsBorrowers,
    /// The next owner leaves the loan of a dead one as it is.
    LeavesLoan,
    /// The next owner waits only where it has a number to take away.
    WaitsForStanding,
    /// The next owner says that all is well before it has waited.
    RepairsFirst,
    /// Memory is used again although somebody has its byte.
    IgnoresByte,
    /// Memory is used again while the number of a dead owner's loan stands.
    LeavesNumber,
    /// The numbers of each object begin anew.
    BeginsAnew,
}

/// What a number has where it is one of a loan.
const LENT: u8 = 1;

/// Why a loan is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum End {
    /// All borrowers are known to have done with it.
    Done,
    /// They are not.
    Failed,
    /// Its owner died.
    Inherited,
}

/// Where an owner is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Owner {
    /// A maker that has not begun: looks whether somebody alive holds the object.
    Survey,
    /// Nobody does: takes the number away.
    Dissolve,
    LookAtByte,
    Fill,
    /// Before the lock. It holds the object as long as it has rounds left.
    Outside,
    /// Found all well: is about to say that it is inside.
    Enter,
    /// Uses the elements, and lends them then.
    Uses,
    Lend,
    /// Gives the number to all borrowers that have no work.
    Post,
    /// Waits for these.
    Lent(u8),
    TakeAway(End),
    Wait(End),
    /// Says that it is inside, in the place of who died there.
    Repair,
    /// Has ended its loan, and uses the elements again.
    UsesAgain,
    Leave,
    Unlock,
    Dead,
}

/// What a borrower is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Terms {
    number: u8,
    /// Which of all loans it is.
    loan: u8,
}

/// Where a borrower is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Borrower {
    Idle,
    Told(Terms),
    /// Has the byte, and not looked yet.
    Locked(Terms),
    /// Only `LooksFirst`: has looked, and has not the byte yet.
    Looked,
    Uses,
    /// Has done with the elements, and has the byte.
    Done,
    /// Has the byte in vain.
    Refused,
    /// Killed with the byte, which is to fall.
    Dying,
    Dead,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    number: u8,
    lock: Option<u8>,
    /// Somebody is inside, or died there.
    inside: bool,
    /// Who makes an object.
    maker: Option<u8>,
    /// Where they are, and the rounds that they have left.
    owners: Vec<(Owner, u8)>,
    borrowers: Vec<Borrower>,
    kills: u8,
    /// Loans so far.
    loans: u8,
    /// The loan that has not been ended.
    stands: Option<u8>,
    /// Somebody was let in by the number of another loan.
    stale: bool,
}

#[derive(Clone, Copy, Debug)]
#[allow(dead_code, reason = "for whoever reads a path")]
enum Step {
    Owner(usize, Owner),
    /// The call is over before its borrowers are known to have done with it.
    Fails(usize),
    Borrower(usize, Borrower),
    OwnerDies(usize, Owner),
    BorrowerDies(usize, Borrower),
}

#[derive(Clone, Copy, Debug)]
struct Loans {
    fault: Fault,
    owners: usize,
    makers: usize,
    /// How often each owner locks and lends.
    rounds: u8,
    borrowers: usize,
    kills: u8,
}

impl State {
    fn is_borrowed(&self) -> bool {
        use Borrower::{Done, Dying, Locked, Refused, Uses};
        self.borrowers.iter().any(|at| matches!(at, Locked(_) | Uses | Done | Refused | Dying))
    }

    /// Whether nobody alive holds the object.
    fn is_let_go(&self) -> bool {
        self.owners.iter().all(|&(at, left)| match at {
            Owner::Outside => left == 0,
            at => matches!(at, Owner::Survey | Owner::Dead),
        })
    }

    /// How the work of these borrowers ended; `None`: not yet.
    fn outcome(&self, posted: u8) -> Option<End> {
        let mut asked = self.borrowers.iter().enumerate().filter(|(i, _)| posted >> i & 1 != 0);
        asked.try_fold(End::Done, |end, (_, at)| match at {
            Borrower::Idle => Some(end),
            Borrower::Dead => Some(End::Failed),
            _ => None,
        })
    }

    fn take_away(&mut self, fault: Fault) {
        if self.number & LENT != 0 {
            let back = fault == Fault::GoesBack;
            self.number = if back { self.number - 1 } else { self.number + 1 };
        }
        self.stands = None;
    }
}

impl Loans {
    /// The first step of an end.
    fn end(&self, end: End) -> Owner {
        let waits_first = self.fault == Fault::WaitsFirst && end != End::Done;
        if waits_first { Owner::Wait(end) } else { Owner::TakeAway(end) }
    }

    /// What follows when the number is away and nobody has the byte.
    fn ended(end: End) -> Owner {
        if end == End::Inherited { Owner::Repair } else { Owner::UsesAgain }
    }

    fn owner(&self, state: &State, i: usize) -> Option<State> {
        let fault = self.fault;
        let me = Some(i as u8);
        let mut next = state.clone();
        let (at, left) = state.owners[i];
        next.owners[i].0 = match at {
            Owner::Survey if state.maker.is_some() || !state.is_let_go() => return None,
            Owner::Survey => {
                next.maker = me;
                let leaves = fault == Fault::LeavesNumber;
                if leaves { Owner::LookAtByte } else { Owner::Dissolve }
            }
            Owner::Dissolve => {
                next.take_away(fault);
                Owner::LookAtByte
            }
            Owner::LookAtByte if state.is_borrowed() && fault != Fault::IgnoresByte => {
                // It makes its object elsewhere.
                next.maker = None;
                next.owners[i].1 = 0;
                Owner::Outside
            }
            Owner::LookAtByte => Owner::Fill,
            Owner::Fill => {
                if fault == Fault::BeginsAnew {
                    next.number = 0;
                }
                (next.inside, next.maker) = (false, None);
                Owner::Outside
            }
            Owner::Outside if left == 0 || state.lock.is_some() => return None,
            Owner::Outside => {
                next.lock = me;
                next.inside &= fault != Fault::RepairsFirst;
                match state.inside {
                    false => Owner::Enter,
                    true if fault == Fault::LeavesLoan => Owner::Repair,
                    true => self.end(End::Inherited),
                }
            }
            Owner::Enter | Owner::Repair => {
                next.inside = true;
                Owner::Uses
            }
            Owner::Uses => Owner::Lend,
            Owner::Lend => {
                next.number = (state.number + 1) | LENT;
                next.loans += 1;
                next.stands = Some(next.loans);
                Owner::Post
            }
            Owner::Post => {
                let terms = Terms { number: state.number, loan: state.loans };
                let mut posted = 0;
                for (i, at) in next.borrowers.iter_mut().enumerate() {
                    if *at == Borrower::Idle {
                        *at = Borrower::Told(terms);
                        posted |= 1 << i;
                    }
                }
                Owner::Lent(posted)
            }
            Owner::Lent(posted) => self.end(state.outcome(posted)?),
            Owner::TakeAway(end) => {
                next.take_away(fault);
                let waits = match end {
                    End::Done => false,
                    End::Failed => fault != Fault::TrustsBorrowers,
                    End::Inherited => fault != Fault::WaitsForStanding || state.number & LENT != 0,
                };
                let waits = waits && fault != Fault::WaitsFirst;
                if waits { Owner::Wait(end) } else { Self::ended(end) }
            }
            Owner::Wait(_) if state.is_borrowed() => return None,
            Owner::Wait(end) if fault == Fault::WaitsFirst => Owner::TakeAway(end),
            Owner::Wait(end) => Self::ended(end),
            Owner::UsesAgain => Owner::Leave,
            Owner::Leave => {
                next.inside = false;
                Owner::Unlock
            }
            Owner::Unlock => {
                next.lock = None;
                next.owners[i].1 -= 1;
                Owner::Outside
            }
            Owner::Dead => return None,
        };
        Some(next)
    }

    fn borrower(&self, state: &State, i: usize) -> Option<State> {
        let mut next = state.clone();
        let mut looks = |terms: Terms| {
            let enters = state.number == terms.number;
            next.stale |= enters && state.stands != Some(terms.loan);
            enters
        };
        let looks_first = self.fault == Fault::LooksFirst;
        next.borrowers[i] = match state.borrowers[i] {
            Borrower::Told(terms) if looks_first => {
                if looks(terms) {
                    Borrower::Looked
                } else {
                    Borrower::Idle
                }
            }
            Borrower::Told(terms) => Borrower::Locked(terms),
            Borrower::Locked(terms) if looks(terms) => Borrower::Uses,
            Borrower::Locked(_) => Borrower::Refused,
            Borrower::Looked => Borrower::Uses,
            Borrower::Uses => Borrower::Done,
            Borrower::Refused if self.fault == Fault::KeepsByte => return None,
            Borrower::Done | Borrower::Refused => Borrower::Idle,
            Borrower::Dying => Borrower::Dead,
            Borrower::Idle | Borrower::Dead => return None,
        };
        Some(next)
    }

    /// SIGKILL: the kernel gives the lock back, and the claim is nobody's.
    fn kill_owner(state: &State, i: usize) -> State {
        let mut next = state.clone();
        next.kills -= 1;
        next.owners[i].0 = Owner::Dead;
        let me = i as u8;
        next.lock = state.lock.filter(|&owner| owner != me);
        next.maker = state.maker.filter(|&maker| maker != me);
        next
    }

    fn kill_borrower(state: &State, i: usize) -> State {
        use Borrower::{Idle, Looked, Told};
        let mut next = state.clone();
        next.kills -= 1;
        let without = matches!(state.borrowers[i], Idle | Told(_) | Looked);
        next.borrowers[i] = if without { Borrower::Dead } else { Borrower::Dying };
        next
    }
}

impl Model for Loans {
    type State = State;
    type Step = Step;

    fn start(&self) -> State {
        let mut owners = vec![(Owner::Outside, self.rounds); self.owners];
        owners.resize(self.owners + self.makers, (Owner::Survey, self.rounds));
        State {
            number: 0,
            lock: None,
            inside: false,
            maker: None,
            owners,
            borrowers: vec![Borrower::Idle; self.borrowers],
            kills: self.kills,
            loans: 0,
            stands: None,
            stale: false,
        }
    }

    fn next(&self, state: &State, each: &mut dyn FnMut(Step, bool, State)) {
        for (i, &(at, left)) in state.owners.iter().enumerate() {
            if let Some(next) = self.owner(state, i) {
                each(Step::Owner(i, at), true, next);
            }
            if matches!(at, Owner::Lent(_)) {
                let mut next = state.clone();
                next.owners[i].0 = self.end(End::Failed);
                each(Step::Fails(i), false, next);
            }
            let is_over = left == 0 || matches!(at, Owner::Survey | Owner::Dead);
            if state.kills > 0 && !is_over {
                each(Step::OwnerDies(i, at), false, Self::kill_owner(state, i));
            }
        }
        for (i, &at) in state.borrowers.iter().enumerate() {
            if let Some(next) = self.borrower(state, i) {
                each(Step::Borrower(i, at), true, next);
            }
            if state.kills > 0 && !matches!(at, Borrower::Dying | Borrower::Dead) {
                each(Step::BorrowerDies(i, at), false, Self::kill_borrower(state, i));
            }
        }
    }

    fn violation(&self, state: &State) -> Option<String> {
        let alone =
            |&(at, _): &(Owner, u8)| matches!(at, Owner::Uses | Owner::UsesAgain | Owner::Fill);
        let alone = state.owners.iter().filter(|owner| alone(owner)).count();
        let borrowed = state.borrowers.contains(&Borrower::Uses);
        if alone > 1 || alone > 0 && borrowed {
            return Some("somebody uses what another one has alone".into());
        }
        state.stale.then(|| "the number of a loan that is over lets a borrower in".into())
    }

    fn stuck(&self, state: &State) -> Option<String> {
        let waits =
            |&(at, left): &(Owner, u8)| left > 0 && !matches!(at, Owner::Survey | Owner::Dead);
        let waits = state.owners.iter().position(waits);
        waits.map(|i| format!("owner {i} waits for ever: {:?}", state.owners[i]))
    }
}

fn shape(owners: usize, makers: usize, rounds: u8, borrowers: usize, kills: u8) -> Loans {
    Loans { fault: Fault::None, owners, makers, rounds, borrowers, kills }
}

fn check(model: Loans) -> Outcome<Step> {
    let outcome = explore(&model);
    let found = outcome.failure.as_ref().map_or("sound", |(problem, _)| problem);
    println!("{model:?}: {} states, {found}", outcome.states);
    outcome
}

#[test]
fn nobody_has_what_a_borrower_uses() {
    let shapes = [
        shape(2, 0, 2, 2, 0),
        shape(1, 0, 3, 2, 2),
        shape(2, 0, 2, 2, 2),
        shape(3, 0, 1, 2, 3),
        shape(1, 1, 2, 2, 2),
        shape(2, 1, 2, 2, 2),
        shape(2, 2, 1, 2, 3),
    ];
    for model in shapes {
        let outcome = check(model);
        assert!(outcome.failure.is_none(), "{:#?}", outcome.failure);
    }
}

#[test]
fn the_model_of_loans_notices_what_is_broken() {
    let faults = [
        Fault::LooksFirst,
        Fault::KeepsByte,
        Fault::WaitsFirst,
        Fault::GoesBack,
        Fault::TrustsBorrowers,
        Fault::LeavesLoan,
        Fault::WaitsForStanding,
        Fault::RepairsFirst,
        Fault::IgnoresByte,
        Fault::LeavesNumber,
        Fault::BeginsAnew,
    ];
    for fault in faults {
        let memory = matches!(fault, Fault::IgnoresByte | Fault::LeavesNumber | Fault::BeginsAnew);
        let model = if memory { shape(1, 1, 1, 2, 1) } else { shape(3, 0, 1, 2, 2) };
        let outcome = check(Loans { fault, ..model });
        assert!(outcome.failure.is_some(), "{fault:?}");
    }
}
