//! Queues of tasks: who has one, who waits until all are finished, and what becomes of the tasks of the
//! dead.

#![cfg(feature = "serde")]

mod common;

use common::{
    Child, Random, child, falls_asleep, in_child, name, pause_for_ever, raw_fork,
    wait_until_asleep, watchdog,
};
use commons::objects::Builder;
use commons::{ChannelError, Departure, JoinableQueue, ObjectQueue, Segment};
use std::time::{Duration, Instant};

const SHORT: Duration = Duration::from_millis(30);

fn failed(count: u64) -> Result<(), ChannelError> {
    Err(ChannelError::TasksFailed { count })
}

#[test]
fn a_join_waits_until_every_task_is_finished() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u64>::new(4096).unwrap();
    tasks.join().unwrap();
    for i in 0..5 {
        tasks.send(&i).unwrap();
        assert_eq!(tasks.unfinished(), i + 1);
    }
    let begun = Instant::now();
    assert_eq!(tasks.join_timeout(SHORT), Err(ChannelError::TimedOut));
    assert_eq!(tasks.join_deadline(begun + 2 * SHORT), Err(ChannelError::TimedOut));
    assert!(begun.elapsed() >= 2 * SHORT);
    let theirs = tasks.clone();
    let mut joining = child(move || theirs.join().unwrap());
    assert!(falls_asleep(&mut joining));
    for i in 0..5 {
        let task = tasks.recv().unwrap();
        assert_eq!((*task, task.number(), task.is_redelivered()), (i, i, false));
        assert_eq!((tasks.len() as u64, tasks.unfinished()), (4 - i, 5 - i));
        assert!(joining.process().is_alive());
        assert_eq!(task.done(), i);
    }
    joining.finish();
    assert_eq!((tasks.unfinished(), tasks.join()), (0, Ok(())));
}

#[test]
fn a_join_sees_the_tasks_that_a_task_sends() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u32>::new(1 << 16).unwrap();
    let results = ObjectQueue::<u32>::new(1 << 16).unwrap();
    let workers: Vec<Child<()>> = (0..3)
        .map(|_| {
            let (tasks, results) = (tasks.clone(), results.clone());
            child(move || {
                loop {
                    let task = tasks.recv().unwrap();
                    // A tree of them.
                    for _ in 0..2 {
                        if *task > 0 {
                            tasks.send(&(*task - 1)).unwrap();
                        }
                    }
                    results.send(&1).unwrap();
                    task.done();
                }
            })
        })
        .collect();
    for _ in 0..5 {
        tasks.send(&6).unwrap();
        tasks.join().unwrap();
        assert_eq!((results.len(), results.try_iter().sum::<u32>()), (127, 127));
    }
    workers.into_iter().for_each(Child::kill);
}

#[test]
fn tasks_are_finished_by_whichever_thread_and_handle_of_their_process() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    (0..4).for_each(|i| tasks.send(&i).unwrap());
    assert_eq!(tasks.task_done(), Err(ChannelError::NoTask));
    let guarded = tasks.recv().unwrap();
    assert_eq!(tasks.task_done(), Err(ChannelError::NoTask));
    assert_eq!((tasks.get(), tasks.try_get()), (Ok(1), Ok(2)));
    assert_eq!(tasks.get_timeout(SHORT), Ok(3));
    assert_eq!(tasks.try_get(), Err(ChannelError::Empty));
    let theirs = tasks.clone();
    in_child(move || assert_eq!(theirs.task_done(), Err(ChannelError::NoTask)));
    let other = tasks.clone();
    std::thread::spawn(move || other.task_done().unwrap()).join().unwrap();
    tasks.task_done().unwrap();
    tasks.task_done().unwrap();
    assert_eq!((tasks.task_done(), tasks.unfinished()), (Err(ChannelError::NoTask), 1));
    guarded.done();
    tasks.join().unwrap();
}

#[test]
fn the_tasks_of_a_dead_worker_fail_and_a_join_ends_and_says_so() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    (0..3).for_each(|i| tasks.send(&i).unwrap());
    let theirs = tasks.clone();
    let worker: Child<()> = child(move || {
        theirs.get().unwrap();
        let _task = theirs.recv().unwrap();
        theirs.send(&9).unwrap();
        pause_for_ever();
    });
    while tasks.len() != 2 {
        std::thread::yield_now();
    }
    let theirs = tasks.clone();
    let mut joining =
        child(move || (theirs.join().unwrap_err().to_string(), theirs.join().is_ok()));
    assert!(falls_asleep(&mut joining));
    assert_eq!((tasks.get(), tasks.get()), (Ok(2), Ok(9)));
    tasks.task_done().unwrap();
    tasks.task_done().unwrap();
    assert!(joining.process().is_alive());
    worker.kill();
    let (error, again) = joining.finish();
    assert!(error.starts_with("2 tasks were not finished") && again, "{error}");
    assert_eq!((tasks.failed(), tasks.unfinished()), (Ok(2), 0));
    assert_eq!((tasks.join(), tasks.join()), (failed(2), Ok(())));
    assert_eq!(tasks.clone().join(), Ok(()));
}

#[test]
fn the_tasks_of_a_process_without_a_handle_fail() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    (0..2).for_each(|i| tasks.send(&i).unwrap());
    let theirs = tasks.clone();
    let worker: Child<()> = child(move || {
        let other = theirs.clone();
        theirs.get().unwrap();
        drop(theirs);
        other.get().unwrap();
        other.task_done().unwrap();
        drop(other);
        pause_for_ever();
    });
    assert_eq!(tasks.join(), failed(1));
    worker.kill();
    assert_eq!(tasks.failed(), Ok(1));
}

#[test]
fn a_task_that_is_dropped_has_failed_and_one_in_a_copy_has_not() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    (0..3).for_each(|i| tasks.send(&i).unwrap());
    drop(tasks.recv().unwrap());
    assert_eq!((tasks.failed(), tasks.unfinished()), (Ok(1), 2));
    let theirs = tasks.clone();
    let panicking = child::<(), _>(move || {
        let _task = theirs.recv().unwrap();
        panic!("on the way");
    });
    assert!(panicking.join().is_err());
    assert_eq!((tasks.failed(), tasks.unfinished()), (Ok(2), 1));
    let task = tasks.recv().unwrap();
    #[allow(unsafe_code, reason = "forks as a library would that knows nothing of this crate")]
    let copy = raw_fork(move || {
        drop(task);
        0
    });
    assert_eq!(copy.wait(), 0);
    assert_eq!((tasks.failed(), tasks.unfinished()), (Ok(3), 0), "the closure was dropped here");
    assert_eq!(tasks.join(), failed(3));
}

#[test]
fn tasks_come_again_where_the_queue_is_built_so() {
    let _watchdog = watchdog();
    let tasks = Builder::new(512).redeliver(20).build_joinable::<Vec<u8>>().unwrap();
    for length in [3, 19, 20, 100] {
        tasks.send(&vec![length as u8; length]).unwrap();
    }
    let theirs = tasks.clone();
    let worker: Child<()> = child(move || {
        let _tasks: Vec<_> = (0..4).map(|_| theirs.recv().unwrap()).collect();
        theirs.send(&vec![]).unwrap();
        pause_for_ever();
    });
    while tasks.unfinished() != 5 {
        std::thread::yield_now();
    }
    let theirs = tasks.clone();
    let mut joining = child(move || theirs.join().unwrap_err().to_string());
    assert!(falls_asleep(&mut joining));
    worker.kill();
    // Two were kept, and two are too long for that.
    assert_eq!(tasks.failed(), Ok(2));
    let mut lengths = Vec::new();
    for _ in 0..3 {
        let task = tasks.recv().unwrap();
        assert_eq!(task.is_redelivered(), !task.is_empty());
        lengths.push((task.len(), task.number()));
        assert!(task.iter().all(|&byte| usize::from(byte) == task.len()));
        task.done();
    }
    lengths.sort_unstable();
    assert_eq!(lengths, [(0, 4), (3, 0), (19, 1)]);
    assert!(joining.finish().starts_with("2 tasks"));

    // Dropped, it comes again at once.
    tasks.send(&vec![7; 7]).unwrap();
    for turn in 0..3 {
        let task = tasks.recv().unwrap();
        assert_eq!((task.is_redelivered(), &*task), (turn > 0, &vec![7; 7]));
    }
    tasks.recv().unwrap().done();
    assert_eq!((tasks.unfinished(), tasks.failed()), (0, Ok(2)));
}

#[test]
fn who_sleeps_for_a_task_gets_that_of_a_dead_worker() {
    let _watchdog = watchdog();
    let tasks = Builder::new(512).redeliver(64).build_joinable::<String>().unwrap();
    tasks.send(&"work".to_owned()).unwrap();
    let theirs = tasks.clone();
    let first: Child<()> = child(move || {
        let _task = theirs.recv().unwrap();
        pause_for_ever();
    });
    while !tasks.is_empty() {
        std::thread::yield_now();
    }
    let theirs = tasks.clone();
    let mut second = child(move || theirs.recv().unwrap().done());
    assert!(falls_asleep(&mut second));
    first.kill();
    assert_eq!(second.finish(), "work");
    tasks.join().unwrap();
}

#[test]
fn a_worker_with_all_tasks_in_flight_blocks_no_producer_and_other_workers_wait() {
    let _watchdog = watchdog();
    let tasks = Builder::new(512).in_flight(3).build_joinable::<u8>().unwrap();
    (0..32).for_each(|i| tasks.send(&i).unwrap());
    let held: Vec<_> = (0..3).map(|_| tasks.recv().unwrap()).collect();
    (0..3).for_each(|i| tasks.try_send(&i).unwrap());
    assert_eq!(tasks.try_recv().map(|_| ()), Err(ChannelError::Empty));
    assert_eq!(tasks.recv_timeout(SHORT).map(|_| ()), Err(ChannelError::TimedOut));
    let theirs = tasks.clone();
    let mut waiting = child(move || theirs.recv().unwrap().done());
    assert!(falls_asleep(&mut waiting));
    let mut held = held.into_iter();
    held.next().unwrap().done();
    assert_eq!(waiting.finish(), 3);
    for task in held {
        task.done();
    }
    // Of a dead one's, too.
    let theirs = tasks.clone();
    let hoarder: Child<()> = child(move || {
        let _tasks: Vec<_> = (0..3).map(|_| theirs.recv().unwrap()).collect();
        pause_for_ever();
    });
    while tasks.len() != 28 {
        std::thread::yield_now();
    }
    let theirs = tasks.clone();
    let mut waiting = child(move || theirs.recv().unwrap().done());
    assert!(falls_asleep(&mut waiting));
    hoarder.kill();
    assert_eq!((waiting.finish(), tasks.failed()), (7, Ok(3)));
}

#[test]
fn a_join_ends_when_everybody_who_could_work_is_gone() {
    let _watchdog = watchdog();
    for killed in [false, true] {
        let tasks = JoinableQueue::<u8>::new(256).unwrap();
        let theirs = tasks.clone();
        let worker: Child<()> = child(move || {
            theirs.get().unwrap();
            if killed {
                pause_for_ever();
            }
        });
        (0..3).for_each(|i| tasks.send(&i).unwrap());
        let mut joining = child(move || match tasks.join() {
            Err(ChannelError::Disconnected(departure)) => {
                (tasks.unfinished(), departure.to_string())
            }
            other => panic!("{other:?}"),
        });
        if killed {
            assert!(falls_asleep(&mut joining));
            worker.kill();
        } else {
            worker.finish();
        }
        assert_eq!(joining.finish().0, 2);
    }
    // Threads of this process may be at work.
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    tasks.send(&1).unwrap();
    std::thread::scope(|scope| {
        let joining = scope.spawn(|| tasks.join());
        std::thread::sleep(SHORT);
        tasks.recv().unwrap().done();
        joining.join().unwrap().unwrap();
    });
}

#[test]
fn queues_of_tasks_are_found_by_name_and_are_no_queues_of_objects() {
    let name = name("tasks");
    let tasks = Builder::new(512).limit(1).create_joinable::<u8>(&name).unwrap();
    tasks.send(&1).unwrap();
    assert_eq!(tasks.try_send(&2), Err(ChannelError::Full));
    let again = JoinableQueue::<u8>::open(&name).unwrap();
    assert_eq!((again.limit(), again.get()), (1, Ok(1)));
    assert_eq!(tasks.unfinished(), 1);
    again.task_done().unwrap();
    assert!(matches!(ObjectQueue::<u8>::open(&name), Err(commons::Error::TypeMismatch { .. })));
    JoinableQueue::<u8>::unlink(&name).unwrap();
    let segment = Segment::anonymous(512 << 10).unwrap();
    let made = JoinableQueue::<u8>::new_in(&segment, "tasks", 256).unwrap();
    made.send(&1).unwrap();
    let found = JoinableQueue::<u8>::open_in(&segment, "tasks").unwrap();
    found.recv().unwrap().done();
    made.join().unwrap();
    made.close();
    assert_eq!(made.join(), Err(ChannelError::Closed));
    assert_eq!(made.recv().map(|_| ()), Err(ChannelError::Closed));
    assert!(matches!(made.task_done(), Err(ChannelError::Closed)));
}

/// Workers killed at any moment and replaced: every task is done, or failed and counted, and where
/// tasks come again every one is done.
#[test]
fn whoever_is_killed_a_join_ends_with_every_task_done_or_counted() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("whoever_is_killed_a_join_ends");
    for keep in [0, 64] {
        let builder = Builder::new(512).in_flight(16);
        let builder = if keep > 0 { builder.redeliver(keep) } else { builder };
        let tasks = builder.build_joinable::<u64>().unwrap();
        let done = Builder::new(1 << 20).build::<u64>().unwrap();
        let work = || {
            let (tasks, done) = (tasks.clone(), done.clone());
            child(move || {
                loop {
                    let task = tasks.recv().unwrap();
                    done.send(&task).unwrap();
                    task.done();
                }
            })
        };
        let mut workers: Vec<Child<()>> = (0..3).map(|_| work()).collect();
        let theirs = tasks.clone();
        let count = 12_000;
        let mut sender = child(move || (0..count).for_each(|i| theirs.send(&i).unwrap()));
        let mut deaths = 0;
        while sender.process().is_alive() {
            std::thread::sleep(Duration::from_micros(random.below(500)));
            let index = random.below(3) as usize;
            std::mem::replace(&mut workers[index], work()).kill();
            deaths += 1;
        }
        sender.finish();
        let joined = tasks.join();
        let failures = tasks.failed().unwrap();
        let mut all: Vec<u64> = done.try_iter().collect();
        let came = all.len();
        all.sort_unstable();
        all.dedup();
        println!(
            "{came} done, {} of them different, {failures} failed, {deaths} deaths",
            all.len()
        );
        assert_eq!(joined, if failures == 0 { Ok(()) } else { failed(failures) });
        if keep > 0 {
            assert!(failures == 0 && all.into_iter().eq(0..count));
            assert!(came as u64 <= count + deaths);
        } else {
            // One that failed may have said before that it did its task.
            assert!(came == all.len() && all.len() as u64 + failures >= count);
            assert!(failures <= deaths);
        }
        assert_eq!(tasks.unfinished(), 0);
        workers.into_iter().for_each(Child::kill);
    }
}

#[test]
fn a_worker_learns_that_nobody_sends_any_more() {
    let _watchdog = watchdog();
    let tasks = Builder::new(256).ends_alone().build_joinable::<u8>().unwrap();
    let theirs = tasks.clone();
    let worker = child(move || match theirs.recv() {
        Err(ChannelError::Disconnected(Departure::Closed)) => theirs.join().is_ok(),
        other => panic!("{other:?}"),
    });
    wait_until_asleep(worker.id());
    drop(tasks);
    assert!(worker.finish());
}
