//! Channels and events in a tokio runtime.

#![cfg(all(feature = "serde", feature = "tokio"))]

mod common;

use common::{assert_died, child, watchdog};
use commons::tokio::Async;
use commons::{
    ChannelError, Departure, Event, JoinableQueue, ObjectQueue, Queue, Rejected, Reset, broadcast,
    objects, queue, spsc,
};
use std::future::Future;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};
use tokio::time::timeout;

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Long enough that it is a mistake to wait for, short for a test.
const MOMENT: Duration = Duration::from_millis(20);

async fn waits<T>(future: impl Future<Output = T>) -> bool {
    timeout(MOMENT, future).await.is_err()
}

#[test]
fn items_go_there_and_back_through_a_child() {
    let _watchdog = watchdog();
    let (producer, mut theirs) = spsc::ring::<u64>(3).unwrap();
    let (mut answers, consumer) = spsc::ring::<u64>(3).unwrap();
    let child = child(move || {
        while let Ok(i) = theirs.pop() {
            answers.push(i * i).unwrap();
        }
    });
    let squares = runtime().block_on(async move {
        let sending = tokio::spawn(async move {
            let mut producer = Async::new(producer).unwrap();
            for i in 0..500 {
                producer.push(i).await.unwrap();
            }
        });
        let mut consumer = Async::new(consumer).unwrap();
        let mut squares = Vec::new();
        loop {
            match consumer.pop().await {
                Ok(i) => squares.push(i),
                Err(end) => {
                    assert_eq!(end, ChannelError::Disconnected(Departure::Closed));
                    sending.await.unwrap();
                    return squares;
                }
            }
        }
    });
    assert_eq!(squares, (0..500).map(|i| i * i).collect::<Vec<u64>>());
    child.finish();
}

#[test]
fn many_tasks_share_a_queue() {
    let _watchdog = watchdog();
    let (sender, receiver) = queue::bounded::<u64>(2).unwrap();
    let total = runtime().block_on(async move {
        let senders: Vec<_> = (0..4)
            .map(|part| {
                let sender = Async::new(sender.clone()).unwrap();
                tokio::spawn(async move {
                    for i in 0..100 {
                        sender.send(100 * part + i).await.unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let receiver = Async::new(receiver.clone()).unwrap();
                tokio::spawn(async move {
                    let mut sum = 0;
                    while let Ok(i) = receiver.recv().await {
                        sum += i;
                    }
                    sum
                })
            })
            .collect();
        for sender in senders {
            sender.await.unwrap();
        }
        let mut total = 0;
        for receiver in receivers {
            total += receiver.await.unwrap();
        }
        total
    });
    assert_eq!(total, 399 * 400 / 2);
}

#[test]
fn the_death_of_the_other_side_ends_a_future() {
    let _watchdog = watchdog();
    let (sender, receiver) = queue::bounded::<u64>(2).unwrap();
    let (mut speaker, listener) = broadcast::channel::<u64>(2).unwrap();
    let (drained, producer) = {
        let (producer, consumer) = spsc::ring::<u64>(1).unwrap();
        (consumer, producer)
    };
    let child = child(move || {
        sender.send(1).unwrap();
        speaker.send(2).unwrap();
        let _held = (sender, speaker, drained);
        common::pause_for_ever();
        #[allow(unreachable_code, reason = "the child returns nothing")]
        ()
    });
    runtime().block_on(async move {
        let receiver = Async::new(receiver).unwrap();
        let mut listener = Async::new(listener).unwrap();
        let mut producer = Async::new(producer).unwrap();
        assert_eq!((receiver.recv().await, listener.recv().await), (Ok(1), Ok(2)));
        producer.push(3).await.unwrap();
        assert!(waits(receiver.recv()).await);
        assert!(waits(listener.recv()).await);
        assert!(waits(producer.push(4)).await);
        let pid = child.id();
        let killer = std::thread::spawn(move || child.kill());
        assert_died(&receiver.recv().await, pid);
        assert_died(&listener.recv().await, pid);
        let Err(Rejected { value: 4, reason }) = producer.push(4).await else { panic!() };
        assert_died(&Err::<(), _>(reason), pid);
        killer.join().unwrap();
    });
}

#[test]
fn a_future_that_is_dropped_has_taken_and_given_nothing() {
    let _watchdog = watchdog();
    runtime().block_on(async {
        let queue = Async::new(Queue::<u64>::new(1).unwrap()).unwrap();
        assert!(waits(queue.recv()).await);
        queue.send(1).await.unwrap();
        assert!(waits(queue.send(2)).await);
        assert_eq!(queue.recv().await, Ok(1));
        assert!(waits(queue.recv()).await);
        assert_eq!(queue.get_ref().len(), 0);
        assert!(queue.into_inner().is_empty());
    });
}

#[test]
fn objects_go_through_a_pipe_also_where_it_is_nearly_full() {
    let _watchdog = watchdog();
    let (here, mut there) = commons::pipe::with_capacity::<Vec<u32>>(2048).unwrap();
    let child = child(move || {
        while let Ok(mut numbers) = there.recv() {
            numbers.reverse();
            there.send(&numbers).unwrap();
        }
    });
    runtime().block_on(async move {
        let (writer, reader) = here.split();
        let sending = tokio::spawn(async move {
            let mut writer = Async::new(writer).unwrap();
            for i in 0..300u32 {
                writer.send(&(0..i % 90).collect()).await.unwrap();
            }
            let huge = vec![0; 1 << 20];
            let refused = writer.send(&huge).await.unwrap_err();
            assert!(matches!(
                refused,
                commons::pipe::PipeError::Channel(ChannelError::TooLarge { .. })
            ));
        });
        let mut reader = Async::new(reader).unwrap();
        for i in 0..300u32 {
            let expected: Vec<u32> = (0..i % 90).rev().collect();
            assert_eq!(reader.recv().await.unwrap(), expected);
        }
        sending.await.unwrap();
        assert!(reader.recv().await.unwrap_err().is_end_of_file());
    });
    child.finish();
}

#[test]
fn objects_of_all_sizes_go_from_many_tasks_and_processes_to_many() {
    let _watchdog = watchdog();
    const EACH: usize = 60;
    // Long ones are more than half of the queue, so they are sent in pieces.
    let length = |i: usize| if i % 7 == 3 { 1500 } else { 37 * i % 700 };
    let (sender, receiver) = objects::bounded::<(usize, Vec<u8>)>(2048).unwrap();
    let (theirs, answers) = objects::bounded::<usize>(1024).unwrap();
    let children: Vec<_> = (0..2)
        .map(|_| {
            let (receiver, theirs) = (receiver.clone(), theirs.clone());
            child(move || {
                while let Ok((i, bytes)) = receiver.recv() {
                    assert_eq!(bytes, vec![i as u8; length(i)]);
                    theirs.send(&i).unwrap();
                }
            })
        })
        .collect();
    drop((receiver, theirs));
    let mut received = runtime().block_on(async move {
        let senders: Vec<_> = (0..3)
            .map(|_| {
                let sender = Async::new(sender.clone()).unwrap();
                tokio::spawn(async move {
                    for i in 0..EACH {
                        sender.send(&(i, vec![i as u8; length(i)])).await.unwrap();
                    }
                })
            })
            .collect();
        let answers = Async::new(answers).unwrap();
        // The last of them goes with its task, and the children with that.
        drop(sender);
        let mut received = Vec::new();
        let end = loop {
            match answers.recv().await {
                Ok(i) => received.push(i),
                Err(end) => break end,
            }
        };
        assert_eq!(end, ChannelError::Disconnected(Departure::Closed));
        for sender in senders {
            sender.await.unwrap();
        }
        received
    });
    received.sort_unstable();
    assert_eq!(received, (0..3 * EACH).map(|i| i / 3).collect::<Vec<_>>());
    children.into_iter().for_each(|child| child.finish());
}

#[test]
fn long_objects_that_are_received_by_many_tasks() {
    let _watchdog = watchdog();
    let (sender, receiver) = objects::bounded::<Vec<u8>>(1024).unwrap();
    let child = child(move || {
        for i in 0..30u8 {
            sender.send(&vec![i; if i % 3 == 0 { 20_000 } else { 20 }]).unwrap();
        }
    });
    let mut received = runtime().block_on(async move {
        let receivers: Vec<_> = (0..3)
            .map(|_| {
                let receiver = Async::new(receiver.clone()).unwrap();
                tokio::spawn(async move {
                    let mut received = Vec::new();
                    while let Ok(bytes) = receiver.recv().await {
                        received.push((bytes[0], bytes.len()));
                    }
                    received
                })
            })
            .collect();
        let mut all = Vec::new();
        for receiver in receivers {
            all.extend(receiver.await.unwrap());
        }
        all
    });
    received.sort_unstable();
    let expected = (0..30).map(|i| (i, if i % 3 == 0 { 20_000 } else { 20 }));
    assert_eq!(received, expected.collect::<Vec<_>>());
    child.finish();
}

#[test]
fn tasks_are_taken_finished_and_waited_for() {
    let _watchdog = watchdog();
    let tasks = JoinableQueue::<String>::new(4096).unwrap();
    let theirs = tasks.clone();
    let worker = child(move || {
        for _ in 0..20 {
            theirs.recv().unwrap().done();
        }
        // Taken, and never finished.
        let _task = theirs.recv().unwrap();
        common::pause_for_ever();
        #[allow(unreachable_code, reason = "the child returns nothing")]
        ()
    });
    runtime().block_on(async move {
        let tasks = Async::new(tasks).unwrap();
        assert_eq!(tasks.join().await, Ok(()));
        assert!(waits(tasks.recv()).await);
        for i in 0..20 {
            tasks.send(&format!("task {i}")).await.unwrap();
        }
        tasks.join().await.unwrap();
        tasks.send(&"the last".to_owned()).await.unwrap();
        while !tasks.get_ref().is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(waits(tasks.join()).await);
        let killer = std::thread::spawn(move || worker.kill());
        assert_eq!(tasks.join().await, Err(ChannelError::TasksFailed { count: 1 }));
        killer.join().unwrap();
        tasks.send(&"mine".to_owned()).await.unwrap();
        let task = tasks.recv().await.unwrap();
        assert!(waits(tasks.join()).await);
        assert_eq!(task.done(), "mine");
        tasks.join().await.unwrap();
    });
}

#[test]
fn a_future_of_objects_that_is_dropped_has_taken_and_given_nothing() {
    let _watchdog = watchdog();
    runtime().block_on(async {
        let queue = ObjectQueue::<Vec<u8>>::new(256).unwrap();
        let queue = Async::new(queue).unwrap();
        assert!(waits(queue.recv()).await);
        queue.send(&vec![1; 100]).await.unwrap();
        assert!(waits(queue.send(&vec![2; 130])).await);
        let too_long = queue.send(&vec![3; 300]).await;
        assert!(matches!(too_long, Err(ChannelError::TooLarge { .. })));
        assert_eq!(queue.recv().await, Ok(vec![1; 100]));
        assert!(waits(queue.recv()).await);
        assert!(queue.into_inner().is_empty());
    });
}

#[test]
fn an_event_wakes_its_tasks() {
    let _watchdog = watchdog();
    for reset in [Reset::Manual, Reset::Auto] {
        let event = Event::new(reset).unwrap();
        let theirs = event.clone();
        let child = child(move || {
            for _ in 0..20 {
                theirs.set().unwrap();
                while theirs.is_set() {
                    std::thread::yield_now();
                }
            }
        });
        runtime().block_on(async {
            let waiter = Async::new(event.clone()).unwrap();
            for _ in 0..20 {
                waiter.wait().await.unwrap();
                // The other kind has been reset by the wait, and may be set again by now.
                if reset == Reset::Manual {
                    event.reset().unwrap();
                }
            }
        });
        child.finish();
    }
}
