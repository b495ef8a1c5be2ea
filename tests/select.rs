//! Waiting for many things at once, and descriptors that say that an end is ready.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "forks as another library would")]

mod common;

use common::{assert_died, child, in_child, raw_fork, thread_id, wait_until_asleep, watchdog};
use commons::{
    ChannelError, Departure, Error, Event, JoinableQueue, ObjectQueue, Queue, Readable, Readiness,
    Reset, Select, WaitStrategy, Waitable, broadcast, objects, queue, spsc, wait_any,
};
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(20);

/// Whether the descriptor is readable.
fn is_readable(fd: &impl AsFd) -> bool {
    let mut select = Select::new();
    select.fd(fd);
    select.try_wait().unwrap().is_some()
}

/// Waits until a thread sleeps, on words of shared memory or in the kernel's poll.
fn wait_until_asleep_or_polling(thread: u32) {
    let polls = || {
        let line = fs::read_to_string(format!("/proc/{thread}/syscall")).unwrap_or_default();
        let call = line.split_ascii_whitespace().next().and_then(|w| w.parse::<i64>().ok());
        matches!(call, Some(libc::SYS_ppoll | libc::SYS_futex_waitv))
    };
    while !polls() {
        thread::yield_now();
    }
}

#[test]
fn a_wait_finds_whatever_is_ready() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = spsc::ring::<u64>(2).unwrap();
    let (sender, receiver) = queue::bounded::<u64>(2).unwrap();
    let both = Queue::<u64>::new(1).unwrap();
    let (mut speaker, mut listener) = broadcast::channel::<u64>(2).unwrap();
    let events = [Event::new(Reset::Manual).unwrap(), Event::new(Reset::Auto).unwrap()];
    let (mut here, there) = UnixStream::pair().unwrap();
    for with_descriptor in [false, true] {
        let mut select = Select::new();
        assert_eq!(select.recv(&consumer).unwrap(), 0);
        assert_eq!(select.recv(&receiver).unwrap(), 1);
        assert_eq!(select.recv(&listener).unwrap(), 2);
        assert_eq!(select.recv(&both).unwrap(), 3);
        assert_eq!(select.event(&events[0]).unwrap(), 4);
        assert_eq!(select.event(&events[1]).unwrap(), 5);
        if with_descriptor {
            assert_eq!(select.fd(&there), 6);
        }
        assert_eq!(select.try_wait().unwrap(), None);
        assert_eq!(select.wait_timeout(MOMENT).unwrap(), None);
        assert_eq!(select.wait_deadline(Instant::now()).unwrap(), None);
        for round in 0..3 {
            producer.push(round).unwrap();
            assert_eq!((select.wait().unwrap(), select.ready().unwrap()), (0, vec![0]));
            assert_eq!(consumer.try_pop(), Ok(round));
            sender.send(round).unwrap();
            assert_eq!((select.wait().unwrap(), select.ready().unwrap()), (1, vec![1]));
            assert_eq!(receiver.try_recv(), Ok(round));
            speaker.send(round).unwrap();
            assert_eq!((select.wait().unwrap(), select.ready().unwrap()), (2, vec![2]));
            assert_eq!(listener.try_recv(), Ok(round));
            both.send(round).unwrap();
            assert_eq!((select.wait().unwrap(), select.ready().unwrap()), (3, vec![3]));
            assert_eq!(both.try_recv(), Ok(round));
            for (i, event) in events.iter().enumerate() {
                event.set().unwrap();
                assert_eq!((select.wait().unwrap(), select.ready().unwrap()), (4 + i, vec![4 + i]));
                event.reset().unwrap();
            }
            if with_descriptor {
                here.write_all(&[1]).unwrap();
                assert_eq!((select.wait().unwrap(), select.ready().unwrap()), (6, vec![6]));
                std::io::Read::read_exact(&mut &there, &mut [0]).unwrap();
            }
            assert_eq!(select.ready().unwrap(), []);
        }
    }
}

/// Something to wait for: puts it into a set and keeps it.
type Thing = Box<dyn FnOnce(&mut Select<'_>) -> Box<dyn std::any::Any> + Send>;
/// What makes it ready.
type Act = Box<dyn FnOnce() + Send>;

fn to_receive<T: Readable + Send + 'static>(end: T) -> Thing {
    Box::new(move |select| {
        select.recv(&end).unwrap();
        Box::new(end)
    })
}

fn to_send<T: commons::Writable + Send + 'static>(end: T) -> Thing {
    Box::new(move |select| {
        select.send(&end).unwrap();
        Box::new(end)
    })
}

/// Everything that can be waited for, and everything that makes it ready, in this process.
fn things() -> Vec<(&'static str, Thing, Act)> {
    let mut things: Vec<(&'static str, Thing, Act)> = Vec::new();
    let (mut producer, consumer) = spsc::ring::<u64>(1).unwrap();
    let act = move || {
        producer.push(1).unwrap();
        std::mem::forget(producer);
    };
    things.push(("push", to_receive(consumer), Box::new(act)));
    let (producer, consumer) = spsc::ring::<u64>(1).unwrap();
    things.push(("no producer", to_receive(consumer), Box::new(|| drop(producer))));
    let (mut producer, mut consumer) = spsc::ring::<u64>(1).unwrap();
    producer.push(1).unwrap();
    let act = move || {
        consumer.pop().unwrap();
        std::mem::forget(consumer);
    };
    things.push(("pop", to_send(producer), Box::new(act)));
    let (mut producer, consumer) = spsc::ring::<u64>(1).unwrap();
    producer.push(1).unwrap();
    things.push(("no consumer", to_send(producer), Box::new(|| drop(consumer))));
    let (sender, receiver) = queue::bounded::<u64>(1).unwrap();
    let act = move || {
        sender.send(1).unwrap();
        std::mem::forget(sender);
    };
    things.push(("send", to_receive(receiver), Box::new(act)));
    let (sender, receiver) = queue::bounded::<u64>(1).unwrap();
    things.push(("no sender", to_receive(receiver), Box::new(|| drop(sender))));
    let (sender, receiver) = queue::bounded::<u64>(1).unwrap();
    sender.send(1).unwrap();
    let act = move || {
        receiver.recv().unwrap();
        std::mem::forget(receiver);
    };
    things.push(("recv", to_send(sender), Box::new(act)));
    let (sender, receiver) = queue::bounded::<u64>(1).unwrap();
    sender.send(1).unwrap();
    things.push(("no receiver", to_send(sender), Box::new(|| drop(receiver))));
    let queue = queue::Builder::new(2).at_least_once(1).build::<u64>().unwrap();
    let other = queue.clone();
    things.push(("queue", to_receive(other), Box::new(move || queue.send(2).unwrap())));
    let (mut sender, receiver) = broadcast::channel::<u64>(1).unwrap();
    let act = move || {
        sender.send(1).unwrap();
        std::mem::forget(sender);
    };
    things.push(("news", to_receive(receiver), Box::new(act)));
    things.extend(things_of_objects());
    let (sender, receiver) = broadcast::channel::<u64>(1).unwrap();
    things.push(("no news", to_receive(receiver), Box::new(|| drop(sender))));
    for reset in [Reset::Manual, Reset::Auto] {
        let event = Event::new(reset).unwrap();
        let waited = event.clone();
        things.push(("set", to_receive(waited), Box::new(move || event.set().unwrap())));
    }
    // Who waits is let through by a set, however soon a reset follows.
    let event = Event::new(Reset::Manual).unwrap();
    let waited = event.clone();
    things.push(("pulse", to_receive(waited), Box::new(move || event.pulse().unwrap())));
    things
}

/// The same of queues of objects.
fn things_of_objects() -> Vec<(&'static str, Thing, Act)> {
    let mut things: Vec<(&'static str, Thing, Act)> = Vec::new();
    let (sender, receiver) = objects::bounded::<u64>(128).unwrap();
    let act = move || {
        sender.send(&1).unwrap();
        std::mem::forget(sender);
    };
    things.push(("object", to_receive(receiver), Box::new(act)));
    let (sender, receiver) = objects::bounded::<u64>(128).unwrap();
    things.push(("no sender of objects", to_receive(receiver), Box::new(|| drop(sender))));
    let queue = objects::Builder::new(128).limit(1).build::<u64>().unwrap();
    queue.send(&1).unwrap();
    let other = queue.clone();
    let act = move || {
        queue.recv().unwrap();
        std::mem::forget(queue);
    };
    things.push(("room", to_send(other), Box::new(act)));
    let (sender, receiver) = objects::Builder::new(128).limit(1).ends::<u64>().unwrap();
    sender.send(&1).unwrap();
    things.push(("no receiver of objects", to_send(sender), Box::new(|| drop(receiver))));
    // What was refused needs more than the first object that goes leaves.
    let queue = ObjectQueue::<Vec<u8>>::new(128).unwrap();
    (0..7).for_each(|_| queue.send(&vec![3; 10]).unwrap());
    let other = queue.clone();
    assert_eq!(other.try_send(&vec![4; 40]), Err(ChannelError::Full));
    let act = move || {
        // The row that it needs does not begin in the last grain.
        (0..4).for_each(|_| drop(queue.recv().unwrap()));
        std::mem::forget(queue);
    };
    things.push(("room for what was refused", to_send(other), Box::new(act)));
    let tasks = JoinableQueue::<u64>::new(128).unwrap();
    let other = tasks.clone();
    things.push(("task", to_receive(other), Box::new(move || tasks.send(&1).unwrap())));
    // One task is there, and cannot be taken before another is finished.
    let tasks = objects::Builder::new(128).in_flight(1).build_joinable::<u64>().unwrap();
    tasks.send(&1).unwrap();
    tasks.send(&2).unwrap();
    assert_eq!(tasks.get(), Ok(1));
    let other = tasks.clone();
    things.push((
        "task that may be taken",
        to_receive(other),
        Box::new(move || {
            tasks.task_done().unwrap();
            std::mem::forget(tasks);
        }),
    ));
    // One that comes again.
    let tasks =
        objects::Builder::new(128).in_flight(1).redeliver(16).build_joinable::<u64>().unwrap();
    tasks.send(&1).unwrap();
    let (taken, other) = (tasks.clone(), tasks.clone());
    let (began, begins) = mpsc::channel();
    let (ends, end) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        let task = taken.recv().unwrap();
        began.send(()).unwrap();
        end.recv().unwrap_err();
        drop(task);
    });
    begins.recv().unwrap();
    things.push((
        "task that comes again",
        to_receive(other),
        Box::new(move || {
            drop(ends);
            worker.join().unwrap();
            std::mem::forget(tasks);
        }),
    ));
    things
}

#[test]
fn a_sleeping_wait_is_ended_by_whatever_becomes_ready() {
    let _watchdog = watchdog();
    for with_descriptor in [false, true] {
        for (what, thing, act) in things() {
            let (sender, receiver) = mpsc::channel();
            let waiter = thread::spawn(move || {
                let never = Event::new(Reset::Manual).unwrap();
                let (_here, there) = UnixStream::pair().unwrap();
                let mut select = Select::new();
                select.event(&never).unwrap();
                if with_descriptor {
                    select.fd(&there);
                }
                let _thing = thing(&mut select);
                assert_eq!(select.try_wait().unwrap(), None, "{what}");
                sender.send(thread_id()).unwrap();
                assert_eq!(select.wait().unwrap(), select.len() - 1, "{what}");
            });
            wait_until_asleep_or_polling(receiver.recv().unwrap());
            act();
            waiter.join().unwrap();
        }
    }
}

#[test]
fn a_sleeping_wait_is_ended_by_the_death_of_who_could_bring_something() {
    let _watchdog = watchdog();
    for with_descriptor in [false, true] {
        let (producer, mut consumer) = spsc::ring::<u64>(4).unwrap();
        let (sender, receiver) = queue::bounded::<u64>(4).unwrap();
        let (speaker, mut listener) = broadcast::channel::<u64>(4).unwrap();
        let mut filled = spsc::ring::<u64>(1).unwrap();
        filled.0.push(1).unwrap();
        let (mut full, drained) = filled;
        let children = [
            child(move || held(producer)),
            child(move || held(sender)),
            child(move || held(speaker)),
            child(move || held(drained)),
        ];
        let (_here, there) = UnixStream::pair().unwrap();
        for (i, child) in children.into_iter().enumerate() {
            let pid = child.id();
            let mut select = Select::new();
            if i == 0 {
                select.recv(&consumer).unwrap();
            }
            if i <= 1 {
                select.recv(&receiver).unwrap();
            }
            if i <= 2 {
                select.recv(&listener).unwrap();
            }
            select.send(&full).unwrap();
            if with_descriptor {
                select.fd(&there);
            }
            let me = thread_id();
            let killer = thread::spawn(move || {
                wait_until_asleep_or_polling(me);
                child.kill();
            });
            // Those before it are gone.
            assert_eq!(select.wait().unwrap(), 0);
            killer.join().unwrap();
            let told = match i {
                0 => consumer.try_pop().map(drop),
                1 => receiver.try_recv().map(drop),
                2 => listener.try_recv().map(drop),
                _ => full.try_push(2).map_err(|rejected| rejected.reason),
            };
            assert_died(&told, pid);
        }
    }
}

#[test]
fn a_wait_at_objects_is_ended_by_a_death() {
    let _watchdog = watchdog();
    for with_descriptor in [false, true] {
        let (sender, receiver) = objects::bounded::<u64>(128).unwrap();
        let (full, drained) = objects::Builder::new(128).limit(1).ends::<u64>().unwrap();
        full.send(&1).unwrap();
        let redelivers = objects::Builder::new(128).redeliver(16);
        let tasks = redelivers.build_joinable::<u64>().unwrap();
        tasks.send(&7).unwrap();
        let theirs = tasks.clone();
        let children = [
            child(move || held(sender)),
            child(move || held(drained)),
            child(move || held(theirs.recv().map(std::mem::forget))),
        ];
        while !tasks.is_empty() {
            thread::yield_now();
        }
        let (_here, there) = UnixStream::pair().unwrap();
        for (i, child) in children.into_iter().enumerate() {
            let pid = child.id();
            let mut select = Select::new();
            match i {
                0 => select.recv(&receiver),
                1 => select.send(&full),
                _ => select.recv(&tasks),
            }
            .unwrap();
            if with_descriptor {
                select.fd(&there);
            }
            let me = thread_id();
            let killer = thread::spawn(move || {
                wait_until_asleep_or_polling(me);
                child.kill();
            });
            assert_eq!(select.wait().unwrap(), 0);
            killer.join().unwrap();
            let told = match i {
                0 => receiver.try_recv().map(drop),
                1 => full.try_send(&2),
                _ => {
                    let task = tasks.try_recv().unwrap();
                    assert!(*task == 7 && task.is_redelivered());
                    task.done();
                    continue;
                }
            };
            assert_died(&told, pid);
        }
    }
}

/// A wait for its turn behind a long message is one sleep and not many looks.
#[test]
fn who_waits_behind_a_long_object_sleeps_until_it_is_through() {
    let _watchdog = watchdog();
    let queue = ObjectQueue::<Vec<u8>>::new(1024).unwrap();
    let theirs = queue.clone();
    let sending = child(move || theirs.send(&vec![9; 10_000]).unwrap());
    while queue.try_send(&vec![]) != Err(ChannelError::Full) {
        queue.try_recv().unwrap();
    }
    // There is room by and by, but not for others.
    let to_send = Readiness::send(&queue).unwrap();
    assert!(!to_send.is_ready() && !is_readable(&to_send));
    let to_recv = Readiness::recv(&queue).unwrap();
    assert!(to_recv.is_ready());
    let theirs = queue.clone();
    let receiving = thread::spawn(move || {
        loop {
            let received = theirs.recv().unwrap();
            if !received.is_empty() {
                return received;
            }
        }
    });
    assert_eq!(wait_any(&[&to_send], None).unwrap(), [0]);
    sending.finish();
    assert_eq!(receiving.join().unwrap(), [9; 10_000]);
    assert_eq!(queue.try_send(&vec![]), Ok(()));
    // One that dies in the middle of its message lets the others go on.
    let queue = ObjectQueue::<Vec<u8>>::new(1024).unwrap();
    let theirs = queue.clone();
    let sending = child(move || {
        theirs.send(&vec![9; 10_000]).unwrap();
    });
    let to_send = Readiness::send(&queue).unwrap();
    // It writes as much as there is room for.
    while queue.try_send(&vec![]) != Err(ChannelError::Full) || !queue.is_full() {}
    while to_send.reset().unwrap() {}
    sending.kill();
    let theirs = queue.clone();
    let receiving = thread::spawn(move || while theirs.recv_timeout(MOMENT).is_ok() {});
    assert_eq!(wait_any(&[&to_send], None).unwrap(), [0]);
    receiving.join().unwrap();
    assert_eq!(queue.send(&vec![]), Ok(()));
}

/// In a child: has it until it is killed.
fn held<T>(_end: T) {
    common::pause_for_ever();
}

#[test]
fn nothing_that_is_ready_is_starved() {
    let _watchdog = watchdog();
    let events: Vec<_> = (0..5).map(|_| Event::new(Reset::Manual).unwrap()).collect();
    let (mut here, there) = UnixStream::pair().unwrap();
    let mut select = Select::new();
    for event in &events {
        select.event(event).unwrap();
        event.set().unwrap();
    }
    select.fd(&there);
    here.write_all(&[1]).unwrap();
    let found: Vec<_> = (0..12).map(|_| select.wait().unwrap()).collect();
    assert_eq!(found, [0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
}

#[test]
fn more_things_than_one_sleep_can_watch() {
    let _watchdog = watchdog();
    let events: Vec<_> = (0..150).map(|_| Event::new(Reset::Auto).unwrap()).collect();
    let theirs = events.clone();
    let mut select = Select::new();
    for event in &events {
        select.event(event).unwrap();
    }
    let me = thread_id();
    let setter = thread::spawn(move || {
        for i in [0, 149, 63, 64, 126] {
            wait_until_asleep_or_polling(me);
            theirs[i].set().unwrap();
            while theirs[i].is_set() {
                thread::yield_now();
            }
        }
    });
    for i in [0, 149, 63, 64, 126] {
        assert_eq!(select.wait().unwrap(), i);
        assert!(events[i].try_wait().unwrap());
    }
    setter.join().unwrap();
}

#[test]
fn who_only_watches_takes_no_wake_from_who_waits() {
    let _watchdog = watchdog();
    let event = Event::new(Reset::Auto).unwrap();
    let watched = event.clone();
    let stop = Event::new(Reset::Manual).unwrap();
    let stopped = stop.clone();
    let watcher = thread::spawn(move || {
        let mut select = Select::new();
        select.set_wait_strategy(WaitStrategy::Park);
        select.event(&watched).unwrap();
        let stop = select.event(&stopped).unwrap();
        while select.wait().unwrap() != stop {}
    });
    let mut waited = event.clone();
    waited.set_wait_strategy(WaitStrategy::Park);
    for _ in 0..50 {
        let (sender, receiver) = mpsc::channel();
        let waited = waited.clone();
        let waiter = thread::spawn(move || {
            sender.send(thread_id()).unwrap();
            waited.wait().unwrap();
        });
        wait_until_asleep(receiver.recv().unwrap());
        event.set().unwrap();
        waiter.join().unwrap();
    }
    stop.set().unwrap();
    watcher.join().unwrap();
}

#[test]
fn those_who_only_watch_do_not_keep_each_other_awake() {
    let _watchdog = watchdog();
    let events = [Event::new(Reset::Auto).unwrap(), Event::new(Reset::Auto).unwrap()];
    let stop = Event::new(Reset::Manual).unwrap();
    let waits = || {
        let usage = fs::read_to_string("/proc/thread-self/status").unwrap();
        let line = usage.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        line.split_ascii_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let (sender, receiver) = mpsc::channel();
    let watchers: Vec<_> = [[0, 1], [1, 0]]
        .into_iter()
        .map(|order| {
            let (events, stop, sender) = (events.clone(), stop.clone(), sender.clone());
            thread::spawn(move || {
                let mut select = Select::new();
                select.set_wait_strategy(WaitStrategy::Park);
                for i in order {
                    select.event(&events[i]).unwrap();
                }
                let stop = select.event(&stop).unwrap();
                sender.send(thread_id()).unwrap();
                let before = waits();
                while select.wait().unwrap() != stop {}
                waits() - before
            })
        })
        .collect();
    for _ in 0..2 {
        wait_until_asleep(receiver.recv().unwrap());
    }
    // Each is woken, and finds nothing: somebody else was faster.
    for event in events.iter().cycle().take(20) {
        event.set().unwrap();
        let _ = event.try_wait().unwrap();
    }
    let begin = Instant::now();
    thread::sleep(Duration::from_millis(100));
    stop.set().unwrap();
    let woken: u64 = watchers.into_iter().map(|watcher| watcher.join().unwrap()).sum();
    // One for each set and each slice, and some for those who were faster than the other thread.
    let expected = 200 + begin.elapsed().as_millis() as u64 / 10;
    assert!(woken < expected, "{woken} of {expected}");
}

#[test]
fn four_writers_and_one_that_waits_for_all() {
    let _watchdog = watchdog();
    let (ends, children): (Vec<_>, Vec<_>) = (0..4u64)
        .map(|i| {
            let (mut producer, consumer) = spsc::ring::<u64>(3).unwrap();
            let child = child(move || (0..200).for_each(|n| producer.push(1000 * i + n).unwrap()));
            (consumer, child)
        })
        .unzip();
    let mut ends: Vec<_> = ends.into_iter().map(Some).collect();
    let mut next = [0; 4];
    while ends.iter().any(Option::is_some) {
        let mut select = Select::new();
        let open: Vec<usize> = (0..4).filter(|&i| ends[i].is_some()).collect();
        for &i in &open {
            select.recv(ends[i].as_ref().unwrap()).unwrap();
        }
        let i = open[select.wait().unwrap()];
        match ends[i].as_mut().unwrap().try_pop() {
            Ok(n) => {
                assert_eq!(n, 1000 * i as u64 + next[i]);
                next[i] += 1;
            }
            Err(ChannelError::Disconnected(Departure::Closed)) => ends[i] = None,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(next, [200; 4]);
    children.into_iter().for_each(|child| child.finish());
}

#[test]
fn readiness_is_a_descriptor_that_is_readable_while_there_may_be_something() {
    let _watchdog = watchdog();
    let (mut producer, mut consumer) = spsc::ring::<u64>(2).unwrap();
    let (to_pop, to_push) =
        (Readiness::recv(&consumer).unwrap(), Readiness::send(&producer).unwrap());
    assert!(!is_readable(&to_pop) && is_readable(&to_push));
    for round in 0..50 {
        producer.push(round).unwrap();
        assert_eq!(wait_any(&[&to_pop], None).unwrap(), [0]);
        assert!(to_pop.is_ready() && to_pop.reset().unwrap() && is_readable(&to_pop));
        assert_eq!(consumer.pop(), Ok(round));
        assert!(!to_pop.reset().unwrap() && !is_readable(&to_pop));
    }
    producer.push(1).unwrap();
    producer.push(2).unwrap();
    assert!(!to_push.reset().unwrap() && !is_readable(&to_push));
    consumer.pop().unwrap();
    assert_eq!(wait_any(&[&to_push], None).unwrap(), [0]);
    drop(producer);
    consumer.pop().unwrap();
    assert_eq!(wait_any(&[&to_pop], None).unwrap(), [0]);
    assert!(to_pop.reset().unwrap());
    assert_eq!(consumer.try_pop(), Err(ChannelError::Disconnected(Departure::Closed)));
}

#[test]
fn readiness_tells_of_messages_of_other_processes_and_of_their_death() {
    let _watchdog = watchdog();
    let (sender, receiver) = queue::bounded::<u64>(4).unwrap();
    let readiness = Readiness::recv(&receiver).unwrap();
    let child = child(move || {
        for i in 0..300 {
            sender.send(i).unwrap();
        }
        held(sender);
    });
    let mut next = 0;
    while next < 300 {
        assert_eq!(wait_any(&[&readiness], None).unwrap(), [0]);
        while let Ok(found) = receiver.try_recv() {
            assert_eq!(found, next);
            next += 1;
        }
        readiness.reset().unwrap();
    }
    assert!(!readiness.reset().unwrap());
    let pid = child.id();
    child.kill();
    assert_eq!(wait_any(&[&readiness], None).unwrap(), [0]);
    assert_died(&receiver.try_recv(), pid);
}

#[test]
fn one_thread_watches_for_all_and_a_forked_child_starts_its_own() {
    let _watchdog = watchdog();
    in_child(|| {
        // Beside the only one of a child.
        let threads = || fs::read_dir("/proc/self/task").unwrap().count() - 1;
        assert_eq!(threads(), 0);
        let (mut producer, consumer) = spsc::ring::<u64>(2).unwrap();
        let all: Vec<_> = (0..63).map(|_| Readiness::recv(&consumer).unwrap()).collect();
        assert_eq!(threads(), 1);
        let one_more = Readiness::recv(&consumer).unwrap();
        assert_eq!(threads(), 2);
        // None is there in a child, whose copies say so.
        let code = raw_fork(|| {
            let refused = matches!(all[0].reset(), Err(Error::Forked));
            let event = Event::new(Reset::Manual).unwrap();
            let own = Readiness::recv(&event).unwrap();
            let began = !is_readable(&own) && threads() == 1;
            event.set().unwrap();
            let rings = wait_any(&[&own], None).unwrap() == [0];
            let copied = matches!(Readiness::recv(&consumer), Err(Error::Forked));
            i32::from(!(refused && began && rings && copied))
        });
        assert_eq!(code.wait(), 0);
        producer.push(1).unwrap();
        let all: Vec<&dyn Waitable> =
            all.iter().chain([&one_more]).map(|r| r as &dyn Waitable).collect();
        for readiness in &all {
            assert_eq!(wait_any(&[*readiness], None).unwrap(), [0]);
        }
        assert_eq!(wait_any(&all, None).unwrap(), (0..64).collect::<Vec<_>>());
    });
}

#[test]
fn mistakes_are_errors() {
    let _watchdog = watchdog();
    assert!(matches!(Select::new().wait(), Err(Error::Zero { .. })));
    assert!(matches!(wait_any(&[], Some(MOMENT)), Err(Error::Zero { .. })));
    let queue = Queue::<u8>::new(1).unwrap();
    queue.close();
    assert!(matches!(Select::new().recv(&queue), Err(Error::Closed { .. })));
    assert!(matches!(Select::new().send(&queue), Err(Error::Closed { .. })));
    assert!(matches!(Readiness::recv(&queue), Err(Error::Closed { .. })));
    let event = Event::new(Reset::Manual).unwrap();
    let mut select = Select::new();
    select.event(&event).unwrap();
    let code = raw_fork(|| i32::from(!matches!(select.wait(), Err(Error::Forked))));
    assert_eq!(code.wait(), 0);
}
