//! Models of the board of tasks: see [`super::models`] for how they run.

use super::board::{Board, Control, Fate, Slot};
use super::models::{Beacon, check_under, mortal};
use crate::sync::atomic::{
    AtomicU32,
    Ordering::{Relaxed, SeqCst},
};
use crate::sync::crash::Point;
use crate::sync::futex::model::Mode;
use crate::wait::{Asleep, NEVER, Wait, WaitStrategy, block_on};
use loom::sync::Arc;
use loom::thread;

/// A board, and what else its processes know of each other.
struct Shared {
    control: Control,
    slots: Vec<Slot>,
    /// 1: there will be no more tasks.
    closed: AtomicU32,
    beacon: Beacon,
}

impl Shared {
    fn new(slots: usize) -> Arc<Self> {
        let slots = (0..slots).map(|_| Slot::new()).collect();
        let closed = AtomicU32::new(0);
        Arc::new(Shared { control: Control::new(), slots, closed, beacon: Beacon::new() })
    }

    fn board(&self) -> Board<'_> {
        Board { control: &self.control, slots: &self.slots }
    }

    /// The owner writes the task of this ticket.
    fn fill(&self, ticket: u64) {
        let slot = self.board().slot(ticket);
        slot.code.store(ticket + 10, Relaxed);
        slot.length.store(0, Relaxed);
        self.board().fill(ticket);
    }

    /// The owner posts the task of this ticket, and all before it.
    fn post(&self, ticket: u64) {
        self.fill(ticket);
        self.board().post(ticket + 1);
        self.board().call(1, true);
    }

    /// The owner passes a ticket over.
    fn pass_over(&self, ticket: u64) {
        self.board().post(ticket + 1);
    }

    /// The owner waits until a ticket is done, wanting to know of those from `wanted` on.
    fn collect(&self, ticket: u64, wanted: u64) -> Fate {
        self.board().want(wanted);
        let mut waiting = ForFate { shared: self, ticket, wanted };
        let news = self.control.news();
        let fate = block_on(&mut waiting, news, WaitStrategy::Park, NEVER).expect("no deadline");
        if fate == Fate::Done {
            assert_eq!(self.board().slot(ticket).length.load(Relaxed), ticket + 20, "the outcome");
        }
        fate
    }

    /// A worker takes tasks until there are no more.
    fn work(&self, seat: u16) {
        loop {
            let board = self.board();
            let mut ticket = board.take(seat);
            if ticket.is_none() {
                board.tell_in_any_case(true);
                let work = self.control.work();
                let mut waiting = ForTask { shared: self, seat };
                let found = block_on(&mut waiting, work, WaitStrategy::Park, NEVER);
                ticket = found.expect("no deadline");
            }
            let Some(ticket) = ticket else { return };
            run(board, ticket);
            board.tell(ticket, true);
        }
    }

    /// The owner says that there are no more tasks.
    fn close(&self) {
        self.closed.store(1, SeqCst);
        crate::sync::barrier::light(true);
        self.control.work().wake();
    }

    fn worker(shared: &Arc<Self>, seat: u16) -> thread::JoinHandle<()> {
        let shared = shared.clone();
        thread::spawn(move || shared.work(seat))
    }
}

struct ForTask<'a> {
    shared: &'a Shared,
    seat: u16,
}

impl<'a> Wait<'a> for ForTask<'a> {
    type Output = Option<u64>;

    fn poll(&mut self) -> Option<Option<u64>> {
        match self.shared.board().take(self.seat) {
            Some(ticket) => Some(Some(ticket)),
            None => (self.shared.closed.load(SeqCst) == 1).then_some(None),
        }
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, Option<u64>> {
        Ok(Asleep { other: None, slice: NEVER })
    }
}

struct ForFate<'a> {
    shared: &'a Shared,
    ticket: u64,
    wanted: u64,
}

impl<'a> Wait<'a> for ForFate<'a> {
    type Output = Fate;

    fn poll(&mut self) -> Option<Fate> {
        let board = self.shared.board();
        let fate = board.fate(self.ticket);
        let told = self.ticket >= self.wanted || fate == Fate::Died || board.is_dry();
        (fate != Fate::Open && told).then_some(fate)
    }

    fn peer(&mut self, _: bool) -> Result<Asleep<'a>, Fate> {
        Ok(Asleep { other: None, slice: NEVER })
    }
}

/// As [`super::models::check`], with fewer preemptions: there are many words here.
fn check(preemptions: usize, name: &str, scenario: impl Fn() + Copy + Send + Sync + 'static) {
    check_under(&[Mode::Sleeps, Mode::Spurious], preemptions, name, scenario);
}

/// Does what a worker does with a task that it has taken.
fn run(board: Board<'_>, ticket: u64) {
    let slot = board.slot(ticket);
    assert_eq!(slot.code.load(Relaxed), ticket + 10, "the task");
    assert_eq!(slot.length.load(Relaxed), 0, "it was taken twice");
    slot.length.store(ticket + 20, Relaxed);
    board.finish(ticket);
}

#[test]
fn every_task_is_taken_once() {
    check(2, "board of 2, two workers that take what there is", || {
        let shared = Shared::new(2);
        let take_all = |seat| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut taken = 0;
                while let Some(ticket) = shared.board().take(seat) {
                    run(shared.board(), ticket);
                    taken += 1;
                }
                taken
            })
        };
        shared.fill(0);
        let workers = [take_all(0), take_all(1)];
        shared.board().post(1);
        shared.fill(1);
        shared.board().post(2);
        let mut taken: u64 = workers.into_iter().map(|worker| worker.join().unwrap()).sum();
        // What they came too early for is still there.
        while let Some(ticket) = shared.board().take(2) {
            run(shared.board(), ticket);
            taken += 1;
        }
        assert_eq!(taken, 2);
        assert!([0, 1].iter().all(|&ticket| shared.board().fate(ticket) == Fate::Done));
        assert!(!shared.board().is_taken());
    });
}

#[test]
fn owner_and_worker_wake_each_other() {
    for slots in [1, 2] {
        check(2, &format!("board of {slots}, 2 tasks, one worker"), move || {
            let shared = Shared::new(slots);
            let worker = Shared::worker(&shared, 0);
            shared.post(0);
            if slots == 2 {
                shared.post(1);
            }
            assert_eq!(shared.collect(0, 0), Fate::Done);
            if slots == 1 {
                shared.post(1);
            }
            assert_eq!(shared.collect(1, 0), Fate::Done);
            shared.close();
            worker.join().unwrap();
        });
    }
}

#[test]
fn a_ticket_that_is_passed_over_delays_nobody() {
    check(2, "board of 2, the slot of ticket 0 busy", || {
        let shared = Shared::new(2);
        shared.post(0);
        assert_eq!(shared.board().take(9), Some(0));
        let worker = Shared::worker(&shared, 0);
        shared.post(1);
        assert_eq!(shared.collect(1, 0), Fate::Done);
        shared.pass_over(2);
        shared.post(3);
        assert_eq!(shared.collect(3, 0), Fate::Done);
        shared.close();
        worker.join().unwrap();
    });
}

#[test]
fn who_wants_to_know_of_the_last_is_told_when_all_is_done() {
    // Of ticket 1 it is told as wanted; of ticket 0, when the worker finds nothing more.
    check(2, "board of 2, one worker, the last wanted", || {
        let shared = Shared::new(2);
        shared.post(0);
        shared.post(1);
        let worker = Shared::worker(&shared, 0);
        assert_eq!(shared.collect(1, 1), Fate::Done);
        assert_eq!(shared.collect(0, 2), Fate::Done);
        shared.close();
        worker.join().unwrap();
    });
}

#[test]
fn two_sleepers_are_woken_for_two_tasks() {
    // Each of them does one task, so that the other one is needed.
    let name = "board of 2, two sleepers, tasks one by one";
    check_under(&[Mode::Sleeps], 2, name, || {
        let shared = Shared::new(2);
        let workers = [0, 1].map(|seat| {
            let shared = shared.clone();
            thread::spawn(move || {
                let mut waiting = ForTask { shared: &shared, seat };
                let work = shared.control.work();
                let found = block_on(&mut waiting, work, WaitStrategy::Park, NEVER);
                run(shared.board(), found.flatten().expect("a task"));
            })
        });
        shared.post(0);
        shared.post(1);
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        assert!([0, 1].iter().all(|&ticket| shared.board().fate(ticket) == Fate::Done));
    });
}

#[test]
fn the_task_of_a_dead_worker_is_found() {
    for point in [Point::Claimed, Point::Written, Point::Published, Point::FlagTaken] {
        check(2, &format!("board of 1, a worker killed at {point:?}"), move || {
            let shared = Shared::new(1);
            // The process that starts workers: it learns of the death, ends the dead one's task, and
            // starts another.
            let zygote = thread::spawn({
                let shared = shared.clone();
                move || {
                    mortal(&shared.beacon, Some(point), || shared.work(0));
                    shared.board().bury(0, 7, 9);
                    shared.board().tell_of_death();
                    shared.work(0);
                }
            });
            shared.post(0);
            let fate = shared.collect(0, 0);
            let died = matches!(point, Point::Claimed | Point::Written);
            if fate == Fate::Died {
                assert!(died);
                let slot = shared.board().slot(0);
                assert_eq!((slot.length.load(Relaxed), slot.shape.load(Relaxed)), (7, 9));
            }
            assert!(fate == Fate::Died || !died);
            shared.post(1);
            assert_eq!(shared.collect(1, 0), Fate::Done);
            shared.close();
            zygote.join().unwrap();
        });
    }
}
