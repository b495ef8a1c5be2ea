//! `event/*`, `semaphore/*`, `condvar/*`.

use std::cell::UnsafeCell;
use std::hint::black_box;
use std::mem::MaybeUninit;

use commons::{Condvar, Event, Mutex, Reset, Semaphore, WaitStrategy};

use crate::harness::{Contender, Row};
use crate::limits::futex_pair;
use crate::ours::spawned;
use crate::peer::{self, Plan};
use crate::shared::Shared;
use crate::work::{Result, same};

const PING_PONG: Contender =
    Contender { name: "bare two-word futex_waitv ping-pong", run: futex_pair::round_trip };

/// The rows of this group.
pub(crate) fn rows() -> Vec<Row> {
    vec![
        Row {
            name: "event/park",
            work: "set and wait, there and back, both sides asleep in between",
            bar: Some(1.10),
            asleep: true,
            grain: 8,
            limit: PING_PONG,
            ours: vec![Contender { name: "", run: event_park }],
            rivals: vec![Contender { name: "sem_t as an event", run: sem_t_park }],
            absent: &[],
        },
        Row {
            name: "semaphore/alone",
            work: "acquire and release, one process",
            bar: Some(1.15),
            asleep: false,
            grain: 8,
            limit: Contender { name: "sem_t", run: sem_t_alone },
            ours: vec![Contender { name: "", run: semaphore_alone }],
            rivals: vec![],
            absent: &[],
        },
        Row {
            name: "condvar/park",
            work: "a value handed over, there and back, both sides asleep in between",
            bar: Some(1.3),
            asleep: true,
            grain: 8,
            limit: PING_PONG,
            ours: vec![Contender { name: "", run: condvar_park }],
            rivals: vec![],
            absent: &[],
        },
    ]
}

/// An auto-reset event for each direction.
fn event_park(plan: &Plan) -> Result<f64> {
    let (mut there, mut back) = (Event::new(Reset::Auto)?, Event::new(Reset::Auto)?);
    there.set_wait_strategy(WaitStrategy::Park);
    back.set_wait_strategy(WaitStrategy::Park);
    let (their_there, their_back) = (there.clone(), back.clone());
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            their_there.wait()?;
            think.now();
            their_back.set()?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for _ in 0..n {
            think.now();
            there.set()?;
            back.wait()?;
        }
        same(u64::from(there.is_set() || back.is_set()), 0)?;
        Ok(n)
    };
    spawned(plan, || Ok(pong), || Ok(ping))
}

/// One number that both sides count up, each in its turn: odd there, even back.
fn condvar_park(plan: &Plan) -> Result<f64> {
    let (mut there, mut back) = (Condvar::new()?, Condvar::new()?);
    there.set_wait_strategy(WaitStrategy::Park);
    back.set_wait_strategy(WaitStrategy::Park);
    let number = Mutex::new(0u64)?;
    let (their_there, their_back, theirs) = (there.clone(), back.clone(), number.clone());
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            let number = theirs.lock()?;
            drop(their_there.wait_while(number, |number| *number % 2 == 0)?);
            think.now();
            *theirs.lock()? += 1;
            their_back.notify_one()?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for _ in 0..n {
            think.now();
            let mut guard = number.lock()?;
            let before = *guard;
            *guard += 1;
            drop(guard);
            there.notify_one()?;
            let guard = back.wait_while(number.lock()?, |number| *number % 2 != 0)?;
            same(*guard, before + 2)?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(pong), || Ok(ping))
}

fn semaphore_alone(plan: &Plan) -> Result<f64> {
    let semaphore = Semaphore::new(1)?;
    alone(plan, move |n| {
        for _ in 0..n {
            black_box(&semaphore).acquire()?;
            black_box(&semaphore).release(1)?;
        }
        same(u64::from(semaphore.value()), 1)
    })
}

/// Measures without a peer: one does nothing beside it.
fn alone(plan: &Plan, mut body: impl FnMut(u64) -> Result<()>) -> Result<f64> {
    let main = move |n| body(n).map(|()| n);
    peer::forked(plan, || Ok(Ok), || Ok(main))
}

/// glibc's semaphore, process-shared.
struct SemT(UnsafeCell<MaybeUninit<libc::sem_t>>);

// SAFETY: a semaphore is there for threads to share.
unsafe impl Send for SemT {}
// SAFETY: as above.
unsafe impl Sync for SemT {}

impl SemT {
    fn init(&self, value: u32) {
        // SAFETY: room for a semaphore that nobody uses yet.
        unsafe { libc::sem_init(self.0.get().cast(), 1, value) };
    }

    #[inline(always)]
    fn wait(&self) {
        // SAFETY: initialised.
        while unsafe { libc::sem_wait(self.0.get().cast()) } != 0 {}
    }

    #[inline(always)]
    fn post(&self) {
        // SAFETY: initialised.
        unsafe { libc::sem_post(self.0.get().cast()) };
    }
}

fn sem_t_alone(plan: &Plan) -> Result<f64> {
    // SAFETY: room for a semaphore, of any bytes.
    let semaphore = unsafe { Shared::<SemT>::zeroed() }?;
    semaphore.init(1);
    alone(plan, move |n| {
        for _ in 0..n {
            black_box(&*semaphore).wait();
            black_box(&*semaphore).post();
        }
        Ok(())
    })
}

fn sem_t_park(plan: &Plan) -> Result<f64> {
    // SAFETY: room for semaphores, of any bytes.
    let pair = unsafe { Shared::<[SemT; 2]>::zeroed() }?;
    pair.iter().for_each(|semaphore| semaphore.init(0));
    let theirs = pair.clone();
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            theirs[0].wait();
            think.now();
            theirs[1].post();
        }
        Ok(n)
    };
    let ping = move |n| {
        for _ in 0..n {
            think.now();
            pair[0].post();
            pair[1].wait();
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}
