//! The same for what has many ends, and for pipes: most of their memory is a table of who is there, so
//! the words that are written to are those of lines that were ever used.

use crate::{Colour, HEAP, Mixed, expect_no_surprise, look, map_again, path, scribble_in};
use commons::pipe::{Pipe, PipeError};
use commons::{JoinableQueue, ObjectQueue, objects, queue};
use memmap2::MmapRaw;
use std::fs;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

const MOMENT: Duration = Duration::from_micros(50);

type Object = (char, String);

fn object(step: &[u8]) -> Object {
    ('x', "y".repeat(usize::from(step[2]) * if step[3].is_multiple_of(8) { 4 } else { 1 }))
}

/// An object under a name, with who writes into it.
struct Live {
    name: &'static str,
    mapping: MmapRaw,
    words: Vec<usize>,
}

impl Live {
    fn new(name: &'static str) -> Self {
        let mapping = map_again(name);
        let word = |at: usize| {
            // SAFETY: `at` is within the mapping.
            let word = unsafe { mapping.as_mut_ptr().add(at) }.cast::<AtomicU64>();
            // SAFETY: mapped, aligned to eight bytes, and any bytes are a value of an atomic.
            unsafe { &*word }.load(Relaxed)
        };
        let line = |at: usize| (at..(at + 64).min(mapping.len())).step_by(8);
        let used = (HEAP..mapping.len()).step_by(64).filter(|&at| line(at).any(|at| word(at) != 0));
        let words = used.flat_map(line).collect();
        Live { name, mapping, words }
    }

    fn scribble(&self, step: &[u8]) {
        scribble_in(&self.mapping, step, |word| self.words[word % self.words.len()]);
    }

    /// Lets the peer write, calls `act` for other steps, and takes the name away.
    fn play(self, script: &[u8], mut act: impl FnMut(&[u8])) {
        for step in script.chunks_exact(4) {
            match step[0] % 16 {
                0..=5 => self.scribble(step),
                15 => look(self.name),
                _ => act(step),
            }
        }
        fs::remove_file(path(self.name)).expect("a name to take away");
    }
}

fn fresh(name: &'static str) -> &'static str {
    let _ = fs::remove_file(path(name));
    name
}

fn check(value: Mixed) {
    assert!(char::from_u32(value.letter as u32).is_some());
    assert!(matches!(value.colour, Colour::Red | Colour::Green | Colour::Blue));
}

pub(crate) fn play_queue(script: &[u8]) {
    let value = Mixed {
        letter: 'x',
        colour: Colour::Blue,
        yes: true,
        rest: [0; 2],
        number: 1.0,
        more: [7; 3],
    };
    let name = fresh("queue");
    let again = script.len() % 2;
    let queue = match again {
        0 => queue::Builder::new(3).create::<Mixed>(name),
        _ => queue::Builder::new(3).at_least_once(2).create::<Mixed>(name),
    };
    let queue = queue.expect("room for a small queue");
    for _ in 0..3 {
        queue.try_send(value).expect("room for three");
        queue.try_recv().expect("one to receive");
    }
    let mut handles = vec![queue];
    Live::new(name).play(script, |step| {
        let Some(queue) = handles.last() else { return };
        match step[0] % 16 {
            6..=9 => expect_no_surprise(match step[1] % 3 {
                0 => queue.try_send(value).map_err(|r| r.reason),
                1 => queue.try_send_slice(&[value; 2]).map(drop),
                _ => queue.send_timeout(value, MOMENT).map_err(|r| r.reason),
            }),
            10..=13 => expect_no_surprise(match step[1] % 3 {
                0 => queue.try_recv().map(check),
                1 => queue.try_loan().map(|loan| _ = (loan.number(), loan.is_redelivered())),
                _ => queue.recv_timeout(MOMENT).map(check),
            }),
            _ if step[1] % 2 == 0 => {
                let _ =
                    (queue.len(), queue.is_full(), queue.lost_in_flight(), queue.lost_numbers());
                drop((queue.sender(), queue.receiver()));
            }
            _ => {
                handles.extend(queue::Queue::open(name));
                handles.swap_remove(0);
            }
        }
    });
}

pub(crate) fn play_objects(script: &[u8]) {
    let name = fresh("objects");
    let queue = objects::Builder::new(256).in_flight(3).create::<Object>(name);
    let queue = queue.expect("room for a small queue");
    for _ in 0..4 {
        queue.try_send(&('x', "y".repeat(60))).expect("room for one");
        queue.try_recv().expect("one to receive");
    }
    let mut handles = vec![queue];
    Live::new(name).play(script, |step| {
        let Some(queue) = handles.last() else { return };
        match step[0] % 16 {
            6..=9 => expect_no_surprise(match step[1] % 2 {
                0 => queue.try_send(&object(step)),
                _ => queue.send_timeout(&object(step), MOMENT),
            }),
            10..=13 => expect_no_surprise(match step[1] % 2 {
                0 => queue.try_recv().map(drop),
                _ => queue.recv_timeout(MOMENT).map(drop),
            }),
            _ if step[1] % 2 == 0 => {
                let _ =
                    (queue.len(), queue.is_full(), queue.lost_in_flight(), queue.lost_numbers());
                drop((queue.sender(), queue.receiver()));
            }
            _ => {
                handles.extend(ObjectQueue::open(name));
                handles.swap_remove(0);
            }
        }
    });
}

pub(crate) fn play_tasks(script: &[u8]) {
    let name = fresh("tasks");
    let queue = objects::Builder::new(256).in_flight(3).redeliver(64);
    let queue = queue.create_joinable::<Object>(name).expect("room for a small queue");
    for _ in 0..4 {
        queue.try_send(&('x', "y".repeat(60))).expect("room for one");
        queue.try_get().expect("one to receive");
        queue.task_done().expect("one to finish");
    }
    let mut handles = vec![queue];
    Live::new(name).play(script, |step| {
        let Some(queue) = handles.last() else { return };
        match step[0] % 16 {
            6..=8 => expect_no_surprise(match step[1] % 2 {
                0 => queue.try_send(&object(step)),
                _ => queue.send_timeout(&object(step), MOMENT),
            }),
            9..=12 => expect_no_surprise(match step[1] % 4 {
                0 => queue.try_recv().map(|task| drop(task.done())),
                1 => queue.try_recv().map(|task| _ = (task.number(), task.is_redelivered())),
                2 => queue.try_get().map(drop),
                _ => queue.recv_timeout(MOMENT).map(|task| drop(task.done())),
            }),
            13 => {
                let _ = (queue.task_done(), queue.join_timeout(MOMENT), queue.unfinished());
                let _ = (queue.failed(), queue.len(), queue.is_full());
            }
            _ => {
                handles.extend(JoinableQueue::open(name));
                handles.swap_remove(0);
            }
        }
    });
}

pub(crate) fn play_pipe(script: &[u8]) {
    let name = fresh("pipe");
    let pipe = Pipe::<Object>::create(name, 256).expect("room for a small pipe");
    let (mut first, mut second) = (pipe.first().ok(), pipe.second().ok());
    Live::new(name).play(script, |step| match step[0] % 16 {
        6..=9 => {
            let Some(end) = &mut first else { return };
            let bytes = vec![step[3]; usize::from(step[2])];
            unsurprising(match step[1] % 4 {
                0 => end.try_send_bytes(&bytes),
                1 => end.send_bytes_timeout(&bytes, MOMENT),
                2 => end.try_send(&object(step)),
                _ => end.send_timeout(&object(step), MOMENT),
            });
        }
        10..=13 => {
            let Some(end) = &mut second else { return };
            unsurprising(match step[1] % 5 {
                0 => end.try_recv_bytes().map(drop),
                1 => end.recv_bytes_timeout(MOMENT).map(drop),
                2 => end.try_recv().map(drop),
                3 => end.recv_timeout(MOMENT).map(drop),
                _ => end.poll(MOMENT).map(drop),
            });
            let _ = end.peer();
        }
        _ if step[1] % 2 == 0 => {
            drop(first.take());
            first = pipe.first().ok();
        }
        _ => {
            drop(second.take());
            second = pipe.second().ok();
        }
    });
}

fn unsurprising(result: Result<(), PipeError>) {
    // An end that found its peer gone, or the pipe damaged, may be closed from then on.
    if let Err(PipeError::Channel(error)) = result {
        expect_no_surprise(Err(error));
    }
}
