//! Queues of tasks. (JQ-07 speaks of a semaphore that overflows; nothing is counted here.)

use crate::common::{Child, child, falls_asleep, pause_for_ever, watchdog};
use commons::objects::Builder;
use commons::{ChannelError, JoinableQueue};
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(50);

#[test]
fn jq_01_every_put_raises_the_unfinished_and_every_task_done_lowers_them() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<String>::new(4096).unwrap();
    for i in 0..4 {
        assert_eq!(tasks.unfinished(), i);
        tasks.send(&"task".to_owned()).unwrap();
    }
    for i in 0..4 {
        tasks.get().unwrap();
        assert_eq!(tasks.unfinished(), 4 - i, "get changes nothing");
        tasks.task_done().unwrap();
        assert_eq!(tasks.unfinished(), 3 - i);
    }
}

#[test]
fn jq_02_join_returns_at_once_or_waits_until_nothing_is_unfinished() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    tasks.join().unwrap();
    tasks.send(&1).unwrap();
    assert_eq!(tasks.join_timeout(SHORT), Err(ChannelError::TimedOut));
    let theirs = tasks.clone();
    let mut joining = child(move || theirs.join().unwrap());
    assert!(falls_asleep(&mut joining));
    tasks.get().unwrap();
    // Wherever it is called from, as long as it is in the process that has the task.
    let other = tasks.clone();
    std::thread::spawn(move || other.task_done().unwrap()).join().unwrap();
    joining.finish();
}

#[test]
fn jq_03_more_calls_than_tasks_are_an_error_and_change_nothing() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    assert_eq!(tasks.task_done(), Err(ChannelError::NoTask));
    tasks.send(&1).unwrap();
    tasks.get().unwrap();
    tasks.task_done().unwrap();
    assert_eq!((tasks.task_done(), tasks.unfinished()), (Err(ChannelError::NoTask), 0));
    tasks.join().unwrap();
}

#[test]
fn jq_04_a_closed_handle_is_closed_for_everything() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<u8>::new(256).unwrap();
    tasks.close();
    assert_eq!(tasks.send(&1), Err(ChannelError::Closed));
    assert_eq!(tasks.get(), Err(ChannelError::Closed));
    assert_eq!(tasks.recv().map(|task| task.done()), Err(ChannelError::Closed));
    assert_eq!(tasks.task_done(), Err(ChannelError::Closed));
    assert_eq!(tasks.join(), Err(ChannelError::Closed));
    tasks.clone().join().unwrap();
}

#[test]
fn jq_05_poison_pills_are_tasks() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<Option<u8>>::new(4096).unwrap();
    let workers: Vec<_> = (0..3)
        .map(|_| {
            let tasks = tasks.clone();
            child(move || {
                while tasks.get().unwrap().is_some() {
                    tasks.task_done().unwrap();
                }
                tasks.task_done().unwrap();
            })
        })
        .collect();
    (0..10).for_each(|i| tasks.send(&Some(i)).unwrap());
    (0..3).for_each(|_| tasks.send(&None).unwrap());
    tasks.join().unwrap();
    assert_eq!((tasks.unfinished(), tasks.is_empty()), (0, true));
    workers.into_iter().for_each(Child::finish);
}

#[test]
fn jq_06_the_task_of_a_dead_worker_fails_or_comes_again() {
    let _watchdog = watchdog();
    for again in [false, true] {
        let builder = Builder::new(256);
        let builder = if again { builder.redeliver(16) } else { builder };
        let tasks = builder.build_joinable::<u8>().unwrap();
        tasks.send(&5).unwrap();
        let theirs = tasks.clone();
        let worker: Child<()> = child(move || {
            theirs.get().unwrap();
            pause_for_ever();
        });
        while !tasks.is_empty() {
            std::thread::yield_now();
        }
        let theirs = tasks.clone();
        let mut joining = child(move || theirs.join().map_err(|error| error.to_string()));
        assert!(falls_asleep(&mut joining));
        worker.kill();
        if again {
            let task = tasks.recv().unwrap();
            assert!(task.is_redelivered());
            assert_eq!(task.done(), 5);
            joining.finish().unwrap();
        } else {
            assert!(joining.finish().unwrap_err().starts_with("1 tasks were not finished"));
        }
    }
}
