//! Somebody is killed at a barrier.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, GO, Judgement, Ledger, OVER, Operation, Outcome, begin, end,
};
use commons::{Barrier, BarrierError, WaitStrategy};
use std::sync::atomic::Ordering::Relaxed;

/// Whom the operation is killed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It arrives last, and the other sleeps.
    Leads,
    /// It sleeps until the other arrives.
    Parks,
    /// It resets the barrier, and the other sleeps.
    Resets,
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let operation = |role| -> Box<dyn Operation> { Box::new(Meeting(role)) };
    [Role::Leads, Role::Parks, Role::Resets].map(operation).into()
}

struct Meeting(Role);

impl Operation for Meeting {
    fn name(&self) -> String {
        format!("barrier/{:?}", self.0).to_lowercase()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let mut barrier = Barrier::new(2)?;
        barrier.set_wait_strategy(WaitStrategy::Park);
        Ok(Box::new(Met { barrier, role: self.0 }))
    }
}

struct Met {
    barrier: Barrier,
    role: Role,
}

impl Case for Met {
    fn victim(&mut self, ledger: &'static Ledger) -> Result<(), Complaint> {
        // It is a member before it begins, so that its death is everybody's.
        drop(self.barrier.clone());
        begin();
        match self.role {
            Role::Leads | Role::Parks => {
                self.barrier.wait()?;
            }
            Role::Resets => self.barrier.reset()?,
        }
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        if self.role == Role::Parks { Entrance::Ready } else { Entrance::Asleep }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        ledger.be_ready();
        if self.role == Role::Parks {
            ledger.wait_cue(GO);
        }
        let result = self.barrier.wait();
        if self.role == Role::Parks {
            ledger.wait_cue(OVER);
        }
        let passed = ledger.pushed.load(Relaxed) == 1;
        match (result, self.role) {
            (Ok(_), Role::Leads | Role::Parks) => Ok(Outcome::Clean),
            (Err(BarrierError::MemberDied { .. }), Role::Leads | Role::Parks) if !passed => {
                Ok(Outcome::Clean)
            }
            (Err(BarrierError::Broken | BarrierError::MemberDied { .. }), Role::Resets) => {
                Ok(Outcome::Clean)
            }
            (other, role) => complain(Outcome::Lost, format!("{role:?}: {other:?}")),
        }
    }

    fn judge(&mut self, _: &'static Ledger) -> Judgement {
        let barrier = &self.barrier;
        barrier.reset()?;
        if barrier.is_broken() || barrier.waiting() != 0 {
            return complain(Outcome::Lost, format!("after a reset: {barrier:?}"));
        }
        // And it goes on as if nothing had been.
        let both = std::thread::scope(|scope| {
            let other = scope.spawn(|| (0..2).try_for_each(|_| barrier.wait().map(|_| ())));
            (0..2).try_for_each(|_| barrier.wait().map(|_| ())).and(other.join().unwrap())
        });
        both?;
        Ok(Outcome::Clean)
    }
}
