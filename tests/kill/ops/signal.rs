//! Somebody is killed who signals, or waits for a signal: events, semaphores, permits, condvars.

use super::stream::complain;
use crate::harness::{
    Case, Complaint, Entrance, GO, Judgement, Ledger, OVER, Operation, Outcome, begin, end,
};
use commons::{
    Condvar, Event, LockError, Mutex, PermitPool, Reset, Segment, Semaphore, WaitStrategy,
};
use std::sync::atomic::Ordering::Relaxed;

/// What the parties share.
struct Scene {
    manual: Event,
    auto: Event,
    semaphore: Semaphore,
    pool: PermitPool,
    condvar: Condvar,
    number: Mutex<u64>,
}

type Done = Result<(), Complaint>;

/// Something to signal with, and to wait for.
#[derive(Clone, Copy)]
struct Sort {
    name: &'static str,
    /// Signals once.
    signal: fn(&Scene) -> Done,
    /// Waits for one signal and takes it.
    wait: fn(&Scene) -> Done,
    /// Signals that are there and that nobody has taken. Repairs what has to be.
    left: fn(&Scene) -> Result<u64, Complaint>,
    /// A signal stays there for others.
    lasts: bool,
}

/// Whom the operation is killed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    /// It signals, and nobody waits.
    Signals,
    /// It signals, and somebody sleeps.
    Wakes,
    /// It takes a signal that is there.
    Takes,
    /// It sleeps until somebody signals.
    Parks,
}

const SORTS: [Sort; 5] = [
    Sort {
        name: "event-manual",
        signal: |scene| Ok(scene.manual.set()?),
        wait: |scene| Ok(scene.manual.wait()?),
        left: |scene| Ok(u64::from(scene.manual.is_set())),
        lasts: true,
    },
    Sort {
        name: "event-auto",
        signal: |scene| Ok(scene.auto.set()?),
        wait: |scene| Ok(scene.auto.wait()?),
        left: |scene| Ok(u64::from(scene.auto.is_set())),
        lasts: false,
    },
    Sort {
        name: "semaphore",
        signal: |scene| Ok(scene.semaphore.release(1)?),
        wait: |scene| Ok(scene.semaphore.acquire()?),
        left: |scene| Ok(u64::from(scene.semaphore.value())),
        lasts: false,
    },
    Sort {
        name: "condvar-one",
        signal: |scene| {
            *lock(scene)? += 1;
            Ok(scene.condvar.notify_one()?)
        },
        wait: take_number,
        left: |scene| Ok(*lock(scene)?),
        lasts: false,
    },
    Sort {
        name: "condvar-all",
        signal: |scene| {
            *lock(scene)? += 1;
            Ok(scene.condvar.notify_all()?)
        },
        wait: take_number,
        left: |scene| Ok(*lock(scene)?),
        lasts: false,
    },
];

fn lock(scene: &Scene) -> Result<commons::MutexGuard<'_, u64>, Complaint> {
    Ok(scene.number.lock_or_repair(|_| ())?)
}

fn take_number(scene: &Scene) -> Done {
    loop {
        match scene.condvar.wait_while(lock(scene)?, |number| *number == 0) {
            Ok(mut number) => {
                *number -= 1;
                return Ok(());
            }
            Err(LockError::OwnerDied { .. }) => {}
            Err(other) => return Err(other.into()),
        }
    }
}

/// The operations of this file.
pub(crate) fn operations() -> Vec<Box<dyn Operation>> {
    let mut all: Vec<Box<dyn Operation>> = Vec::new();
    for sort in SORTS {
        for role in [Role::Signals, Role::Wakes, Role::Takes, Role::Parks] {
            all.push(Box::new(Signalling { sort, role }));
        }
    }
    for role in [Role::Takes, Role::Parks, Role::Signals, Role::Wakes] {
        all.push(Box::new(Permitting(role)));
    }
    all
}

fn scene() -> Result<Scene, Complaint> {
    let segment = Segment::anonymous(32 << 10)?;
    let mut scene = Scene {
        manual: Event::new_in(&segment, "manual", Reset::Manual)?,
        auto: Event::new_in(&segment, "auto", Reset::Auto)?,
        semaphore: Semaphore::new_in(&segment, "semaphore", 0, 9)?,
        pool: PermitPool::new_in(&segment, "pool", 1)?,
        condvar: Condvar::new_in(&segment, "condvar")?,
        number: Mutex::new_in(&segment, "number", 0)?,
    };
    scene.manual.set_wait_strategy(WaitStrategy::Park);
    scene.auto.set_wait_strategy(WaitStrategy::Park);
    scene.semaphore.set_wait_strategy(WaitStrategy::Park);
    scene.pool.set_wait_strategy(WaitStrategy::Park);
    scene.condvar.set_wait_strategy(WaitStrategy::Park);
    Ok(scene)
}

struct Signalling {
    sort: Sort,
    role: Role,
}

impl Operation for Signalling {
    fn name(&self) -> String {
        format!("{}/{:?}", self.sort.name, self.role).to_lowercase()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        let scene = scene()?;
        if self.role == Role::Takes {
            (self.sort.signal)(&scene)?;
        }
        Ok(Box::new(Signal { scene, sort: self.sort, role: self.role }))
    }
}

struct Signal {
    scene: Scene,
    sort: Sort,
    role: Role,
}

/// In the ledger's notes: the companion has taken its signal, or sent it.
const TAKEN: usize = 0;

impl Case for Signal {
    fn victim(&mut self, ledger: &'static Ledger) -> Done {
        let Signal { scene, sort, role } = self;
        // Nothing is done for the first time later.
        (sort.left)(scene)?;
        scene.manual.try_wait()?;
        if scene.semaphore.try_acquire()? {
            scene.semaphore.release(1)?;
        }
        scene.auto.reset()?;
        scene.condvar.notify_one()?;
        if *role == Role::Takes && sort.name == "event-auto" {
            scene.auto.set()?;
        }
        begin();
        match role {
            Role::Signals | Role::Wakes => (sort.signal)(scene)?,
            Role::Takes | Role::Parks => (sort.wait)(scene)?,
        }
        ledger.pushed.store(1, Relaxed);
        end();
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.role {
            Role::Signals | Role::Takes => Entrance::Nobody,
            Role::Wakes => Entrance::Asleep,
            Role::Parks => Entrance::Ready,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        ledger.be_ready();
        if self.role == Role::Parks {
            ledger.wait_cue(GO);
            (self.sort.signal)(&self.scene)?;
            ledger.notes[TAKEN].store(1, Relaxed);
            ledger.wait_cue(OVER);
        } else {
            (self.sort.wait)(&self.scene)?;
            ledger.notes[TAKEN].store(1, Relaxed);
        }
        Ok(Outcome::Clean)
    }

    fn together(&self) -> bool {
        self.role == Role::Wakes
    }

    fn judge(&mut self, ledger: &'static Ledger) -> Judgement {
        let Signal { scene, sort, role } = self;
        let acknowledged = ledger.pushed.load(Relaxed);
        let mut left = (sort.left)(scene)?;
        match role {
            Role::Signals if left < acknowledged || left > 1 => {
                return complain(Outcome::Lost, format!("{left} of the signal that was sent"));
            }
            Role::Takes if !sort.lasts && left + acknowledged > 1 => {
                return complain(Outcome::Twice, "the signal that was taken is there");
            }
            Role::Wakes => {
                // A signal that is there needs no help to reach who sleeps. (If it was not sent, or
                // has just been taken, one more is sent.)
                let mut sent = 0;
                if acknowledged == 0 {
                    // It may have died after the change and before it notified: nobody owes that.
                    scene.condvar.notify_all()?;
                }
                if left == 0 && ledger.notes[TAKEN].load(Relaxed) == 0 {
                    (sort.signal)(scene)?;
                    sent = 1;
                }
                while ledger.notes[TAKEN].load(Relaxed) == 0 {
                    std::thread::yield_now();
                }
                left = (sort.left)(scene)?;
                if !sort.lasts && sent + acknowledged > left + 1 && sort.name != "event-auto" {
                    return complain(Outcome::Lost, format!("{left} left of {sent} more"));
                }
                if !sort.lasts && left > sent {
                    return complain(Outcome::Twice, format!("{left} left of {sent} more"));
                }
            }
            _ => {}
        }
        // And it goes on as if nothing had been.
        for _ in 0..2 {
            (sort.signal)(scene)?;
            (sort.wait)(scene)?;
        }
        Ok(Outcome::Clean)
    }
}

/// Permits that are taken and given back: the same roles, with the permit as the signal.
struct Permitting(Role);

impl Operation for Permitting {
    fn name(&self) -> String {
        format!("permit/{:?}", self.0).to_lowercase()
    }

    fn stage(&self, _: u32, _: &'static Ledger) -> Result<Box<dyn Case>, Complaint> {
        Ok(Box::new(Permitted { scene: scene()?, role: self.0 }))
    }
}

struct Permitted {
    scene: Scene,
    role: Role,
}

impl Case for Permitted {
    fn victim(&mut self, ledger: &'static Ledger) -> Done {
        let pool = &self.scene.pool;
        // Nothing is done for the first time later; the permit may be the companion's.
        drop(pool.try_acquire());
        drop(lock(&self.scene)?);
        match self.role {
            Role::Takes | Role::Parks => {
                begin();
                let permit = pool.acquire()?;
                ledger.pushed.store(1, Relaxed);
                end();
                drop(permit);
            }
            Role::Signals | Role::Wakes => {
                let permit = pool.acquire()?;
                self.scene.semaphore.release(1)?;
                begin();
                drop(permit);
                ledger.pushed.store(1, Relaxed);
                end();
            }
        }
        Ok(())
    }

    fn entrance(&self) -> Entrance {
        match self.role {
            Role::Takes | Role::Signals => Entrance::Nobody,
            Role::Parks => Entrance::Ready,
            // It cannot sleep before the victim has begun.
            Role::Wakes => Entrance::Ready,
        }
    }

    fn companion(&mut self, ledger: &'static Ledger) -> Judgement {
        let Scene { pool, semaphore, .. } = &self.scene;
        if self.role == Role::Parks {
            let permit = pool.acquire()?;
            ledger.be_ready();
            ledger.wait_cue(GO);
            drop(permit);
            ledger.wait_cue(OVER);
        } else {
            ledger.be_ready();
            semaphore.acquire()?;
            drop(pool.acquire()?);
        }
        Ok(Outcome::Clean)
    }

    fn together(&self) -> bool {
        self.role == Role::Wakes
    }

    fn judge(&mut self, _: &'static Ledger) -> Judgement {
        let Scene { pool, semaphore, .. } = &self.scene;
        // The victim may have died before it came so far.
        semaphore.release(1)?;
        for _ in 0..2 {
            drop(pool.acquire()?);
        }
        if self.role != Role::Wakes && pool.available() != 1 {
            return complain(Outcome::Lost, "the permit of the dead has not come back");
        }
        Ok(Outcome::Clean)
    }
}
