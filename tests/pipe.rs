//! Pipes under load and under fire; their statements are in `conformance/connection.rs`.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "signals")]

mod common;

use common::{Random, child, name, signal, watchdog};
use commons::pipe::{self, Connection, Pipe};
use commons::{
    ChannelError, Departure, Kind, Peer, Segment, Select, WaitStrategy, inspect, wait_any,
};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Message number `number` of a conversation: of any length, mostly short, and whole or not that one.
fn message(seed: u64, number: u64) -> Vec<u8> {
    let mut random = Random::of(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let length = match random.below(10) {
        0..=4 => random.below(13),
        5..=7 => random.below(200),
        8 => random.below(3000),
        _ => random.below(40_000),
    };
    let mut bytes = vec![random.number() as u8; length as usize];
    for (i, byte) in bytes.iter_mut().enumerate().step_by(13) {
        *byte = (i as u64 + number) as u8;
    }
    bytes
}

#[test]
fn messages_of_all_lengths_in_both_directions_at_once() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("messages_of_all_lengths_in_both_directions_at_once");
    for strategy in [WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let (seed, room) = (random.number(), 128 << random.below(9));
        let (mut here, mut there) = pipe::with_capacity::<()>(room as usize).unwrap();
        here.set_wait_strategy(strategy);
        there.set_wait_strategy(strategy);
        let talk = |end: Connection<()>, ours: u64, theirs: u64| {
            move || {
                let (mut writer, mut reader) = end.split();
                std::thread::scope(|scope| {
                    scope.spawn(move || {
                        for number in 0..400 {
                            writer.send_bytes(&message(ours, number)).unwrap();
                        }
                    });
                    for number in 0..400 {
                        assert!(reader.recv_bytes().unwrap() == message(theirs, number));
                    }
                    assert!(reader.recv_bytes().unwrap_err().is_end_of_file());
                });
            }
        };
        let child = child(talk(there, !seed, seed));
        talk(here, seed, !seed)();
        child.finish();
    }
}

/// A word that children see, too.
fn shared_word() -> &'static AtomicU64 {
    let (protection, flags) =
        (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
    // SAFETY: asks for a new mapping wherever the kernel likes.
    let page = unsafe { libc::mmap(std::ptr::null_mut(), 4096, protection, flags, -1, 0) };
    assert_ne!(page, libc::MAP_FAILED);
    // SAFETY: mapped for the rest of the process, zeroed, and aligned.
    unsafe { &*page.cast() }
}

#[test]
fn senders_killed_at_any_moment_leave_whole_messages_and_the_end_of_file() {
    let _watchdog = watchdog();
    let mut random =
        Random::seeded("senders_killed_at_any_moment_leave_whole_messages_and_the_end_of_file");
    let acknowledged = shared_word();
    for _ in 0..40 {
        // Not before the first message: who is killed as it starts has not said its number yet.
        let (seed, kill_at) = (random.number(), 1 + random.below(60));
        let pause = random.below(3000);
        acknowledged.store(0, Relaxed);
        let (mut reader, mut writer) = pipe::simplex_with_capacity::<()>(4096).unwrap();
        let child = child(move || {
            for number in 0.. {
                writer.send_bytes(&message(seed, number)).unwrap();
                acknowledged.store(number + 1, Relaxed);
            }
        });
        let pid = child.id();
        let mut received = 0;
        let end = loop {
            if received == kill_at {
                for _ in 0..pause {
                    std::hint::spin_loop();
                }
                signal(pid, libc::SIGKILL);
            }
            match reader.recv_bytes() {
                Ok(bytes) => assert!(bytes == message(seed, received), "message {received}"),
                Err(end) => break end,
            }
            received += 1;
        };
        let died = ChannelError::Disconnected(Departure::Died { pid: Some(pid) });
        assert_eq!(end, died.into());
        let sent = acknowledged.load(Relaxed);
        assert!((sent..=sent + 1).contains(&received), "{sent} sent, {received} received");
    }
}

#[test]
fn who_serves_many_learns_of_each_that_dies() {
    let _watchdog = watchdog();
    let (mut ends, children): (Vec<_>, Vec<_>) = (0..6u32)
        .map(|i| {
            let (here, mut there) = pipe::pipe::<u32>().unwrap();
            let child = child(move || {
                for n in 0..50 {
                    there.send(&(100 * i + n)).unwrap();
                    assert_eq!(there.recv(), Ok(100 * i + n));
                }
                // Every other one is killed, the rest leave.
                if i % 2 == 0 {
                    signal(std::process::id(), libc::SIGKILL);
                }
            });
            (Some(here), child)
        })
        .unzip();
    let mut served = [0; 6];
    while ends.iter().any(Option::is_some) {
        let open: Vec<usize> = (0..6).filter(|&i| ends[i].is_some()).collect();
        let mut select = Select::new();
        for &i in &open {
            select.recv(ends[i].as_ref().unwrap()).unwrap();
        }
        let i = open[select.wait().unwrap()];
        let end = ends[i].as_mut().unwrap();
        match end.try_recv() {
            Ok(number) => {
                assert_eq!(number, 100 * i as u32 + served[i]);
                served[i] += 1;
                // It may have been killed meanwhile, but only after the last.
                end.send(&number).unwrap();
            }
            Err(error) => {
                assert!(error.is_end_of_file());
                let Ok(Peer::Gone(departure)) = end.peer() else { panic!("{:?}", end.peer()) };
                assert_eq!(matches!(departure, Departure::Died { .. }), i.is_multiple_of(2));
                ends[i] = None;
            }
        }
    }
    assert_eq!(served, [50; 6]);
    for child in children {
        let _ = child.join();
    }
}

#[test]
fn timed_and_impatient_forms_say_what_they_found() {
    let _watchdog = watchdog();
    let moment = Duration::from_millis(10);
    let (mut reader, mut writer) = pipe::simplex_with_capacity::<Vec<u8>>(256).unwrap();
    let (empty, full) = (ChannelError::Empty, ChannelError::Full);
    assert_eq!(reader.try_recv(), Err(empty.clone().into()));
    assert_eq!(reader.try_recv_bytes(), Err(empty.into()));
    assert_eq!(reader.recv_timeout(moment), Err(ChannelError::TimedOut.into()));
    let long = vec![7; 100];
    while writer.try_send(&long).is_ok() {}
    assert_eq!(writer.try_send(&long), Err(full.clone().into()));
    assert_eq!(writer.try_send_bytes(&long), Err(full.into()));
    assert_eq!(writer.send_timeout(&long, moment), Err(ChannelError::TimedOut.into()));
    assert_eq!(writer.send_bytes_timeout(&long, moment), Err(ChannelError::TimedOut.into()));
    assert_eq!(wait_any(&[&reader], None).unwrap(), [0]);
    assert_eq!(reader.recv_timeout(moment), Ok(long));
}

#[test]
fn a_pipe_in_a_segment_is_seen_from_outside() {
    let _watchdog = watchdog();
    let name = name("segment");
    let segment = Segment::create(&name, 64 << 10).unwrap();
    let pipe = Pipe::<String>::new_in(&segment, "talk", 1000).unwrap();
    let mut first = pipe.first().unwrap();
    first.send(&"x".repeat(40)).unwrap();
    let report = inspect::report(&name).unwrap();
    let object = &report.objects[0];
    assert_eq!((object.info.kind, object.info.type_name.as_str()), (Kind::Pipe, "String"));
    assert_eq!((object.ends.len(), object.fill), (4, Some(4)));
    let mut second = Pipe::<String>::open_in(&segment, "talk").unwrap().second().unwrap();
    assert_eq!(second.recv().unwrap().len(), 40);
}
