//! What the thread that leads does: posts tasks, collects outcomes, and looks after the workers where
//! the zygote does no more.

use super::board::{Board, MIXED, Shape, UNKNOWN_END, WHOLE, end_of_worker};
use super::error::TaskError;
use super::inner::Inner;
use super::job::{Job, locked};
use crate::raw::board::Fate;
use std::sync::Arc;

/// Bytes of regions that are kept because they would be needed again at once.
const KEPT: u64 = 16 << 20;
/// Tasks that are posted at a time.
const BATCH: u32 = 32;

/// Chunks that are to be posted.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) job: Arc<Job>,
    pub(super) next: u32,
    pub(super) end: u32,
    /// How often workers died with it.
    pub(super) deaths: u32,
}

/// A chunk that is posted.
#[derive(Debug)]
struct Flight {
    ticket: u64,
    job: Arc<Job>,
    chunk: u32,
    deaths: u32,
    region: u16,
    /// Bytes of the argument in the file.
    long: u64,
}

/// The state of the owner's side of the board.
#[derive(Debug)]
pub(super) struct Pump {
    /// What is posted and not collected, by tickets.
    flights: Vec<Flight>,
    /// Whether a slot has one.
    busy: Vec<bool>,
    next: u64,
    posted: u64,
    /// Regions of the file that nobody uses, and the bytes that each still has memory for.
    regions: Vec<u16>,
    kept: Vec<u64>,
    kept_in_all: u64,
    buffer: Vec<u8>,
    /// The zygote is dead.
    pub(super) orphaned: bool,
    /// Seats whose dead have been buried since then.
    buried: Vec<bool>,
}

impl Pump {
    pub(super) fn new(slots: usize, seats: usize) -> Self {
        Pump {
            flights: Vec::new(),
            busy: vec![false; slots],
            next: 0,
            posted: 0,
            regions: (0..slots as u16).rev().collect(),
            kept: vec![0; slots],
            kept_in_all: 0,
            buffer: Vec::new(),
            orphaned: false,
            buried: vec![false; seats],
        }
    }

    /// Posts what there is to post, as far as there is room.
    pub(super) fn fill(&mut self, inner: &Inner) {
        let board = &inner.board;
        let mut queue = locked(&inner.queue);
        let mut called = 0;
        while self.flights.len() < self.busy.len()
            && let Some(front) = queue.front_mut()
        {
            while self.busy[self.slot(self.next)] && board.raw().may_pass(self.next) {
                self.next += 1;
            }
            if self.busy[self.slot(self.next)] {
                // Workers have enough to do, and tell when they have done it.
                break;
            }
            let (job, chunk, deaths) = (front.job.clone(), front.next, front.deaths);
            front.next += 1;
            if front.next == front.end {
                queue.pop_front();
            }
            let ticket = self.next;
            let Some(&region) = self.regions.last() else { break };
            let code = job.code;
            let (written, long) = job.with_chunk(chunk, |bytes, count| {
                let shape = Shape { count, region, kind: 0 };
                let long = if Board::is_long(bytes.len()) { bytes.len() as u64 } else { 0 };
                (board.write_task(ticket, code, shape, bytes), long)
            });
            if let Err(error) = written {
                self.release(board, region, None);
                let problem = error.to_string();
                inner.settle(&job, job.fail(chunk, TaskError::Argument { problem }));
                continue;
            }
            self.regions.pop();
            board.raw().fill(ticket);
            let slot = self.slot(ticket);
            self.busy[slot] = true;
            self.flights.push(Flight { ticket, job, chunk, deaths, region, long });
            self.next += 1;
            called += 1;
            if called == BATCH {
                self.post(board, called);
                called = 0;
            }
        }
        if self.posted != self.next {
            self.post(board, called);
        }
    }

    fn slot(&self, ticket: u64) -> usize {
        (ticket % self.busy.len() as u64) as usize
    }

    fn post(&mut self, board: &Board, tasks: u32) {
        board.raw().post(self.next);
        self.posted = self.next;
        // Where the last tickets were passed over, there may be nothing to do.
        board.raw().call(tasks.max(1), board.is_registered());
    }

    /// Collects what is done.
    pub(super) fn collect(&mut self, inner: &Inner) {
        let mut flights = std::mem::take(&mut self.flights);
        let board = &inner.board;
        flights.retain(|flight| {
            let fate = board.raw().fate(flight.ticket);
            match fate {
                Fate::Open => return true,
                Fate::Done => self.arrive(inner, flight),
                Fate::Died => self.bereave(inner, flight),
            }
            let slot = self.slot(flight.ticket);
            self.busy[slot] = false;
            self.regions.push(flight.region);
            false
        });
        self.flights = flights;
    }

    /// An outcome has come.
    fn arrive(&mut self, inner: &Inner, flight: &Flight) {
        let board = &inner.board;
        let (shape, read) = board.read_outcome(flight.ticket, &mut self.buffer);
        let length = self.buffer.len();
        let last = match read {
            Ok(()) => flight.job.arrive(flight.chunk, shape.kind, &mut self.buffer),
            Err(error) => {
                let problem = error.to_string();
                flight.job.fail(flight.chunk, TaskError::Outcome { problem })
            }
        };
        let long = Board::is_long(length) && matches!(shape.kind, WHOLE | MIXED);
        let long = if long { length as u64 } else { 0 };
        if long.max(flight.long) > 0 {
            self.release(board, flight.region, Some(long.max(flight.long)));
        }
        inner.settle(&flight.job, last);
    }

    /// A worker died with a task.
    fn bereave(&mut self, inner: &Inner, flight: &Flight) {
        let (pid, end) = inner.board.read_end(flight.ticket);
        // How much it had written, nobody knows.
        self.release(&inner.board, flight.region, None);
        let Flight { job, chunk, deaths, .. } = flight;
        if *deaths < inner.retries {
            let (next, end, deaths) = (*chunk, chunk + 1, deaths + 1);
            locked(&inner.queue).push_front(Queued { job: job.clone(), next, end, deaths });
            return;
        }
        inner.settle(job, job.fail(*chunk, end_of_worker(pid, end)));
    }

    /// Gives the memory of a region back, unless it is little.
    fn release(&mut self, board: &Board, region: u16, used: Option<u64>) {
        let kept = &mut self.kept[usize::from(region)];
        match used {
            Some(used) if self.kept_in_all - *kept + used.max(*kept) <= KEPT => {
                self.kept_in_all += used.saturating_sub(*kept);
                *kept = used.max(*kept);
            }
            _ => {
                self.kept_in_all -= *kept;
                board.give_back(region, used.map(|used| used.max(*kept)));
                *kept = 0;
            }
        }
    }

    /// From which ticket on the end of a task is news, for who waits for `job`; 0: each is.
    pub(super) fn wanted(&self, inner: &Inner, job: Option<&Arc<Job>>) -> u64 {
        let Some(job) = job.filter(|_| inner.hall.following() == 0) else { return 0 };
        let own = || self.flights.iter().filter(|flight| Arc::ptr_eq(&flight.job, job));
        let (count, workers) = (own().count(), inner.workers);
        let waiting = locked(&inner.queue).iter().any(|queued| Arc::ptr_eq(&queued.job, job));
        let from = if waiting {
            // While the other half is done, there is time to post more.
            count / 2
        } else {
            count.checked_sub(workers).filter(|_| count > 2 * workers).unwrap_or(0)
        };
        own().nth(from).map_or(0, |flight| flight.ticket)
    }

    /// Whether there is something to collect that is news.
    pub(super) fn has_news(&self, board: &Board, wanted: u64) -> bool {
        let raw = board.raw();
        let done = |flight: &Flight| raw.fate(flight.ticket) != Fate::Open;
        let first = self.flights.partition_point(|flight| flight.ticket < wanted);
        let (before, news) = self.flights.split_at(first);
        news.iter().any(done) || !before.is_empty() && raw.is_dry() && before.iter().any(done)
    }

    /// Ends everything that is posted or to be posted with this error. No worker is left, or nothing will
    /// be posted any more.
    pub(super) fn fail_all(&mut self, inner: &Inner, error: &TaskError) {
        for flight in std::mem::take(&mut self.flights) {
            let slot = self.slot(flight.ticket);
            self.busy[slot] = false;
            self.regions.push(flight.region);
            inner.settle(&flight.job, flight.job.fail(flight.chunk, error.clone()));
        }
        loop {
            let Some(queued) = locked(&inner.queue).pop_front() else { return };
            for chunk in queued.next..queued.end {
                inner.settle(&queued.job, queued.job.fail(chunk, error.clone()));
            }
        }
    }

    /// Where the zygote is dead: ends the tasks of dead workers. False: no worker is left.
    pub(super) fn look_after_workers(&mut self, board: &Board) -> bool {
        let Ok(table) = board.core().table() else { return false };
        let mut alive = false;
        for (index, seat) in board.seats().iter().enumerate() {
            let Some(stamp) = seat.stamp() else { continue };
            // Where the kernel does not say, it may still be there.
            if !table.is_gone(stamp).unwrap_or(false) {
                alive = true;
            } else if !std::mem::replace(&mut self.buried[index], true) {
                board.raw().bury(index as u16, u64::from(seat.pid()), UNKNOWN_END);
            }
        }
        alive
    }
}
