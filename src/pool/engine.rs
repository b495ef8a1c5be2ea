//! Who runs the tasks: processes, or threads of this one.

use super::board::Board;
use super::worker::{self, Work, initialize};
use super::zygote;
use crate::process::Process;
use crate::sys::tether::{Tether, tether};
use crate::sys::time;
use crate::{Error, Result};
use std::fmt;
use std::io;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// How long a zygote has to see the ends of workers that are killed, before it is killed itself: it
/// may be stopped.
const PATIENCE: Duration = Duration::from_secs(2);
/// How soon, in nanoseconds, it is looked whether a zygote still lives that has not started the workers
/// yet; longer and longer, up to the second.
const LOOK: [u64; 2] = [500_000, 20_000_000];

pub(super) enum Engine {
    Processes {
        zygote: Process<()>,
        /// What ends the workers.
        tether: Option<Tether>,
    },
    Threads(Vec<JoinHandle<()>>),
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Engine::Processes { zygote, .. } => zygote.fmt(f),
            Engine::Threads(threads) => write!(f, "{} threads", threads.len()),
        }
    }
}

impl Engine {
    /// Starts worker processes, and waits until all are there.
    pub(super) fn processes(board: &Board, work: Work) -> Result<Self> {
        let theirs = board.again()?;
        let (tether, collar) = tether().map_err(Error::os("pipe2", "pool"))?;
        let zygote = Process::builder().name("PoolZygote").daemon();
        let zygote = zygote.spawn(move || {
            let mut board = theirs;
            board.arrive();
            zygote::live(board, &work, &collar);
        })?;
        let mut engine = Engine::Processes { zygote, tether: Some(tether) };
        let failed = |source| Error::Process { what: "starting the workers of a pool", source };
        let [mut look, longest] = LOOK;
        loop {
            if let Some(started) = board.were_started(time::now() + look) {
                if let Err(source) = started {
                    engine.see_end(board, true);
                    return Err(failed(source));
                }
                return Ok(engine);
            }
            if let Engine::Processes { zygote, .. } = &engine
                && !zygote.is_alive()
                && board.were_started(0).is_none()
            {
                engine.see_end(board, true);
                return Err(failed(io::Error::other("the zygote was ended from outside")));
            }
            look = (2 * look).min(longest);
        }
    }

    /// Starts threads that work.
    pub(super) fn threads(board: &Board, work: &Work) -> Result<Self> {
        let mut threads = Vec::new();
        for seat in 0..board.seats().len() as u16 {
            let (theirs, work) = (board.again()?, work.clone());
            let name = format!("PoolWorker-{}", board.next_number());
            let thread = thread::Builder::new().name(name).spawn(move || {
                theirs.seats()[usize::from(seat)].be(std::process::id());
                while initialize(&theirs, &work) && worker::work(&theirs, seat, &work, None) {}
            });
            match thread {
                Ok(thread) => threads.push(thread),
                Err(source) => {
                    board.terminate();
                    Engine::Threads(threads).see_end(board, true);
                    return Err(Error::Process { what: "starting the threads of a pool", source });
                }
            }
        }
        Ok(Engine::Threads(threads))
    }

    /// Waits until all workers have ended, which the board tells them to; `kills`: whatever they do.
    pub(super) fn see_end(&mut self, board: &Board, kills: bool) {
        let (zygote, tether) = match self {
            Engine::Threads(threads) => {
                // A task that terminates its own pool does not wait for itself.
                let own = thread::current().id();
                let others = threads.drain(..).filter(|thread| thread.thread().id() != own);
                others.for_each(|thread| drop(thread.join()));
                return;
            }
            Engine::Processes { zygote, tether } => (zygote, tether),
        };
        if kills {
            *tether = None;
            if !matches!(zygote.wait_timeout(PATIENCE), Ok(Some(_))) {
                let _ = zygote.kill();
            }
        }
        let _ = zygote.wait();
        // Without a zygote the kernel says when a worker has ended.
        let mut pause = Duration::from_micros(50);
        let Ok(table) = board.core().table() else { return };
        let stamps = || board.seats().iter().filter_map(|seat| seat.stamp());
        while stamps().any(|stamp| !table.is_gone(stamp).unwrap_or(true)) {
            thread::sleep(pause);
            pause = (2 * pause).min(Duration::from_millis(5));
        }
    }
}
