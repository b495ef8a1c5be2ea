//! Pipes and connections.
//!
//! | id | why there is no test, or what differs |
//! |---|---|
//! | CONN-02 | the ends of a one-way pipe are two types, so the wrong direction does not compile (below) |
//! | CONN-20 | operations take `&mut self` |
//! | CONN-22 | there is no descriptor to wrap |
//!
//! A negative timeout or offset does not exist.

use crate::common::{child, in_child, name, raw_fork, signal, thread_id, watchdog};
use commons::pipe::{self, Connection, Pipe, PipeError, Reader, Writer};
use commons::{ChannelError, Departure, Error, Event, Readiness, Reset, wait_any};
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(20);

/// Bytes that are not all the same.
fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i * 31 + length) as u8).collect()
}

fn channel(error: ChannelError) -> PipeError {
    error.into()
}

fn pause() {
    crate::common::pause_for_ever();
}

/// Lets SIGUSR1 interrupt whatever the process does.
fn handle_signals() {
    extern "C" fn handler(_: libc::c_int) {}
    // SAFETY: all-zero bytes are a valid sigaction; without SA_RESTART, calls are interrupted.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
    // SAFETY: a live action whose handler does nothing.
    unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
}

/// A child that sends back what it receives.
fn echo(mut end: Connection<Vec<Option<String>>>) -> crate::common::Child<()> {
    child(move || {
        while let Ok(message) = end.recv_bytes() {
            end.send_bytes(&message).unwrap();
        }
    })
}

#[test]
fn conn_01_each_end_reads_what_the_other_wrote_message_by_message() {
    let _watchdog = watchdog();
    let (mut here, there) = pipe::pipe::<Vec<Option<String>>>().unwrap();
    let child = echo(there);
    for length in [1, 2, 11, 12, 13, 100, 4096, 0, 1000, 5] {
        here.send_bytes(&bytes(length)).unwrap();
    }
    for length in [1, 2, 11, 12, 13, 100, 4096, 0, 1000, 5] {
        assert_eq!(here.recv_bytes().unwrap(), bytes(length));
    }
    drop(here);
    child.finish();
}

/// ```compile_fail
/// commons::pipe::simplex::<u8>().unwrap().0.send(&1);
/// ```
/// ```compile_fail
/// commons::pipe::simplex::<u8>().unwrap().1.recv();
/// ```
#[test]
fn conn_02_a_one_way_pipe_has_an_end_of_each_kind() {
    let _watchdog = watchdog();
    let (mut reader, mut writer): (Reader<i32>, Writer<i32>) = pipe::simplex().unwrap();
    let child = child(move || (0..10).for_each(|i| writer.send(&i).unwrap()));
    assert_eq!(reader.iter().collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    child.finish();
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Thing {
    Nothing,
    Number(f64),
    List(Vec<Thing>),
    Map(BTreeMap<String, Thing>),
    Pair { left: i128, right: char },
}

#[test]
fn conn_03_objects_are_sent_whole_and_rebuilt() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<Thing>().unwrap();
    let child = child(move || {
        while let Ok(thing) = there.recv() {
            there.send(&thing).unwrap();
        }
    });
    let list = Thing::List(vec![Thing::Nothing, Thing::Number(-0.5), Thing::List(Vec::new())]);
    let map = Thing::Map([("ä".to_owned(), list.clone()), (String::new(), Thing::Nothing)].into());
    let pair = Thing::Pair { left: i128::MIN, right: 'ß' };
    let long = Thing::List(vec![map.clone(); 10_000]);
    for thing in [Thing::Nothing, Thing::Number(1.0), list, map, pair, long] {
        here.send(&thing).unwrap();
        assert_eq!(here.recv().unwrap(), thing);
    }
    // What is no such object is received, and said to be none.
    let (mut reader, mut writer) = pipe::simplex::<Thing>().unwrap();
    for wrong in [&b"\xff\xff"[..], b"", b"\x00\x00"] {
        writer.send_bytes(wrong).unwrap();
        assert!(matches!(reader.recv(), Err(PipeError::NotDeserialised(_))), "{wrong:?}");
    }
    assert_eq!(reader.try_recv(), Err(channel(ChannelError::Empty)));
    drop(here);
    child.finish();
}

#[test]
fn conn_04_byte_messages_have_any_length_and_empty_ones_count() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::with_capacity::<()>(4096).unwrap();
    there.send_bytes(b"").unwrap();
    assert!(here.poll(Duration::ZERO).unwrap());
    assert_eq!(here.recv_bytes().unwrap(), b"");
    assert!(!here.poll(Duration::ZERO).unwrap());
    let lengths = || (0..600).chain([1000, 2000, 2047, 2048, 2049, 4095, 4096, 4097, 70_000]);
    let child = child(move || {
        for length in lengths() {
            there.send_bytes(&bytes(length)).unwrap();
        }
    });
    for length in lengths() {
        assert_eq!(here.recv_bytes().unwrap(), bytes(length));
    }
    child.finish();
}

#[test]
fn conn_05_a_long_message_passes_while_its_sender_waits() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let child = child(move || {
        let message = there.recv_bytes().unwrap();
        there.send_bytes(&message).unwrap();
    });
    let message = bytes(16 << 20);
    here.send_bytes(&message).unwrap();
    assert!(here.recv_bytes().unwrap() == message);
    child.finish();
}

#[test]
fn conn_06_a_part_of_a_buffer_can_be_sent() {
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    let buffer = b"abcdefghijklmnopqrstuvwxyz";
    let mut sends = |range: (std::ops::Bound<usize>, std::ops::Bound<usize>)| {
        writer.send_bytes_range(buffer, range).map(|()| reader.recv_bytes().unwrap())
    };
    use std::ops::Bound::{Excluded, Included, Unbounded};
    assert_eq!(sends((Unbounded, Unbounded)).unwrap(), buffer);
    assert_eq!(sends((Included(5), Unbounded)).unwrap(), b"fghijklmnopqrstuvwxyz");
    assert_eq!(sends((Included(7), Excluded(15))).unwrap(), b"hijklmno");
    assert_eq!(sends((Included(26), Unbounded)).unwrap(), b"");
    assert_eq!(sends((Included(26), Excluded(26))).unwrap(), b"");
    let out = |range| matches!(range, Err(PipeError::OutOfRange { length: 26, .. }));
    assert!(out(sends((Included(27), Unbounded))));
    assert!(out(sends((Included(22), Excluded(27)))));
    assert!(out(sends((Included(5), Excluded(4)))));
    assert!(out(sends((Excluded(usize::MAX), Included(usize::MAX)))));
    assert!(!reader.poll(Duration::ZERO).unwrap(), "nothing was sent");
}

#[test]
fn conn_07_a_message_is_received_into_a_buffer_at_an_offset() {
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    let mut buffer = *b"0123456789";
    writer.send_bytes(b"abc").unwrap();
    assert_eq!(reader.recv_bytes_into(&mut buffer, 4), Ok(3));
    assert_eq!(&buffer, b"0123abc789");
    writer.send_bytes(b"0123456789").unwrap();
    assert_eq!(reader.recv_bytes_into(&mut buffer, 0), Ok(10));
    assert_eq!(&buffer, b"0123456789");
    writer.send_bytes(b"").unwrap();
    assert_eq!(reader.recv_bytes_into(&mut buffer, 10), Ok(0));
    // An offset beyond the end leaves the message where it is.
    writer.send_bytes(b"x").unwrap();
    let error = PipeError::OutOfRange { start: 11, end: 11, length: 10 };
    assert_eq!(reader.recv_bytes_into(&mut buffer, 11), Err(error));
    assert_eq!(reader.recv_bytes().unwrap(), b"x");
    assert_eq!(&buffer, b"0123456789");
}

#[test]
fn conn_08_a_buffer_that_is_too_short_gives_the_message_in_the_error() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex_with_capacity::<()>(1024).unwrap();
    let child = child(move || {
        for length in [11, 300, 100_000] {
            writer.send_bytes(&bytes(length)).unwrap();
        }
    });
    for length in [11, 300, 100_000] {
        let mut buffer = [7; 10];
        let error = reader.recv_bytes_into(&mut buffer, 0).unwrap_err();
        assert_eq!(error, PipeError::BufferTooShort(bytes(length)));
        assert_eq!(buffer, [7; 10]);
    }
    child.finish();
    assert!(reader.recv_bytes_into(&mut [], 0).unwrap_err().is_end_of_file());
}

#[test]
fn conn_09_a_message_beyond_a_limit_ends_the_reading() {
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    there.send_bytes(b"12345").unwrap();
    there.send_bytes(b"123456").unwrap();
    assert_eq!(here.recv_bytes_limited(5).unwrap(), b"12345");
    let error = PipeError::TooLong { length: 6, limit: 5 };
    assert_eq!(here.recv_bytes_limited(5), Err(error));
    assert_eq!(here.recv_bytes(), Err(channel(ChannelError::Closed)));
    assert_eq!(here.poll(None), Err(channel(ChannelError::Closed)));
    // The other direction goes on.
    here.send_bytes(b"x").unwrap();
    assert_eq!(there.recv_bytes().unwrap(), b"x");
    assert!(!here.is_closed());
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    writer.send_bytes(b"12").unwrap();
    assert!(reader.recv_bytes_limited(1).is_err() && reader.is_closed());
    // And the sender can have a limit, too: nothing is sent then.
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    writer.set_limit(3);
    assert_eq!(writer.send_bytes(b"1234"), Err(PipeError::TooLong { length: 4, limit: 3 }));
    writer.send_bytes(b"123").unwrap();
    assert_eq!(reader.recv_bytes().unwrap(), b"123");
}

#[test]
fn conn_10_poll_waits_as_long_as_it_is_told() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<u8>().unwrap();
    let begin = Instant::now();
    assert!(!here.poll(Duration::ZERO).unwrap());
    assert!(!here.poll(MOMENT).unwrap());
    assert!(begin.elapsed() >= MOMENT);
    let me = thread_id();
    let sender = std::thread::spawn(move || {
        crate::common::wait_until_asleep(me);
        there.send(&1).unwrap();
        there
    });
    assert!(here.poll(Duration::from_secs(1000)).unwrap());
    let mut there = sender.join().unwrap();
    assert_eq!(here.recv(), Ok(1));
    let sender = std::thread::spawn(move || {
        crate::common::wait_until_asleep(me);
        there.send(&2).unwrap();
    });
    assert!(here.poll(None).unwrap());
    assert_eq!(here.recv(), Ok(2));
    sender.join().unwrap();
}

#[test]
fn conn_11_poll_takes_nothing() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::with_capacity::<()>(1024).unwrap();
    there.send_bytes(b"first").unwrap();
    there.send_bytes(b"second").unwrap();
    for _ in 0..5 {
        assert!(here.poll(None).unwrap() && here.poll(Duration::ZERO).unwrap());
    }
    assert_eq!(here.recv_bytes().unwrap(), b"first");
    // Another process polls first.
    let (mut here, child) = {
        let child = child(move || there.send_bytes(&bytes(50_000)).unwrap());
        (here, child)
    };
    assert!(here.poll(None).unwrap());
    assert_eq!(here.recv_bytes().unwrap(), b"second");
    assert!(here.poll(None).unwrap() && here.poll(None).unwrap());
    assert_eq!(here.recv_bytes().unwrap(), bytes(50_000));
    child.finish();
}

#[test]
fn conn_12_at_the_end_poll_is_true_and_receiving_fails_after_what_was_sent() {
    let _watchdog = watchdog();
    for abandons in [false, true] {
        let (mut reader, mut writer) = pipe::simplex::<u32>().unwrap();
        let child = child(move || {
            writer.send(&7).unwrap();
            writer.send(&8).unwrap();
            if abandons {
                signal(std::process::id(), libc::SIGKILL);
            }
        });
        let pid = child.id();
        let _ = child.join();
        assert!(reader.poll(Duration::ZERO).unwrap());
        assert_eq!((reader.recv(), reader.recv()), (Ok(7), Ok(8)));
        assert!(reader.poll(None).unwrap());
        let departure =
            if abandons { Departure::Died { pid: Some(pid) } } else { Departure::Closed };
        let error = reader.recv().unwrap_err();
        assert!(error.is_end_of_file());
        assert_eq!(error, channel(ChannelError::Disconnected(departure)));
        assert_eq!(std::io::Error::from(error).kind(), std::io::ErrorKind::BrokenPipe);
    }
}

#[test]
fn conn_13_no_other_copy_of_an_end_keeps_the_pipe_open() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<u32>().unwrap();
    // A child that has inherited everything and was given nothing.
    let bystander = child(pause);
    let child = child(move || writer.send(&1).unwrap());
    assert_eq!(reader.recv(), Ok(1));
    assert!(reader.recv().unwrap_err().is_end_of_file());
    child.finish();
    bystander.kill();
    // A copy that a fork made is told that it is none.
    let (mut here, _there) = pipe::pipe::<u32>().unwrap();
    let code = raw_fork(|| {
        let forked = channel(ChannelError::Forked);
        i32::from(here.send(&1) != Err(forked.clone()) || here.recv() != Err(forked))
    });
    assert_eq!(code.wait(), 0);
}

#[test]
fn conn_14_sending_to_nobody_is_an_error() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<u32>().unwrap();
    writer.send(&1).unwrap();
    reader.close();
    let closed = channel(ChannelError::Disconnected(Departure::Closed));
    assert_eq!(writer.send(&2), Err(closed));
    let (mut here, mut there) = pipe::pipe::<u32>().unwrap();
    let child = child(move || {
        there.send(&1).unwrap();
        pause()
    });
    assert_eq!(here.recv(), Ok(1));
    let died = channel(ChannelError::Disconnected(Departure::Died { pid: Some(child.id()) }));
    child.kill();
    assert_eq!(here.send(&2), Err(died.clone()));
    assert_eq!(here.try_send_bytes(b"x"), Err(died));
}

#[test]
fn conn_15_the_parent_lets_its_copy_go_at_once() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<u32>().unwrap();
    // The parent's copy is dropped by `spawn` itself.
    let child = child(move || {
        let question = there.recv().unwrap();
        there.send(&(question + 1)).unwrap();
    });
    here.send(&1).unwrap();
    assert_eq!(here.recv(), Ok(2));
    child.finish();
}

#[test]
fn conn_16_closing_is_idempotent_and_ends_every_operation() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<u32>().unwrap();
    assert!(!here.is_closed());
    here.close();
    here.close();
    assert!(here.is_closed());
    let closed = || channel(ChannelError::Closed);
    assert_eq!(here.send(&1), Err(closed()));
    assert_eq!(here.send_bytes(b""), Err(closed()));
    assert_eq!(here.recv(), Err(closed()));
    assert_eq!(here.try_recv_bytes(), Err(closed()));
    assert_eq!(here.recv_bytes_into(&mut [0], 0), Err(closed()));
    assert_eq!(here.poll(None), Err(closed()));
    assert_eq!(here.peer(), Err(closed()));
    assert!(matches!(Readiness::recv(&here), Err(Error::Closed { .. })));
    assert!(there.recv().unwrap_err().is_end_of_file());
    {
        let (_scoped, other) = pipe::pipe::<u32>().unwrap();
        there = other;
    }
    assert!(there.recv().unwrap_err().is_end_of_file());
}

#[test]
fn conn_17_there_is_a_descriptor_for_pollers() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<u32>().unwrap();
    let (readable, writable) = (Readiness::recv(&here).unwrap(), Readiness::send(&here).unwrap());
    assert_eq!(wait_any(&[&readable, &writable], None).unwrap(), [1]);
    there.send(&1).unwrap();
    assert_eq!(wait_any(&[&readable], None).unwrap(), [0]);
    assert_eq!(here.recv(), Ok(1));
    assert!(!readable.reset().unwrap());
    drop(there);
    assert_eq!(wait_any(&[&readable], None).unwrap(), [0]);
}

/// It cannot be serialised if it is odd.
#[derive(Debug, PartialEq, Deserialize)]
struct Picky(u32, Vec<u8>);

impl Serialize for Picky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0 % 2 == 1 {
            return Err(serde::ser::Error::custom("odd"));
        }
        (self.0, &self.1).serialize(serializer)
    }
}

#[test]
fn conn_18_what_cannot_be_serialised_is_not_sent_at_all() {
    let (mut reader, mut writer) = pipe::simplex::<Picky>().unwrap();
    for length in [0, 10_000] {
        let refused = writer.send(&Picky(1, bytes(length)));
        assert!(matches!(refused, Err(PipeError::NotSerialised(_))));
        assert!(!reader.poll(Duration::ZERO).unwrap());
        writer.send(&Picky(2, bytes(length))).unwrap();
        assert_eq!(reader.recv(), Ok(Picky(2, bytes(length))));
    }
}

#[test]
fn conn_19_signals_do_not_disturb() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let (ready, theirs) = {
        let event = Event::new(Reset::Manual).unwrap();
        (event.clone(), event)
    };
    let child = child(move || {
        handle_signals();
        theirs.set().unwrap();
        let mut bytes = there.recv_bytes().unwrap();
        bytes.reverse();
        there.send_bytes(&bytes).unwrap();
    });
    ready.wait().unwrap();
    let pid = child.id();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let disturber = std::thread::spawn(move || {
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            signal(pid, libc::SIGUSR1);
            std::thread::yield_now();
        }
    });
    assert!(!here.poll(MOMENT).unwrap());
    let mut message = bytes(3 << 20);
    here.send_bytes(&message).unwrap();
    message.reverse();
    assert!(here.recv_bytes().unwrap() == message);
    drop(stop);
    disturber.join().unwrap();
    child.finish();
}

#[test]
fn conn_21_who_dies_in_the_middle_of_a_message_leaves_the_end_of_file() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex_with_capacity::<()>(1024).unwrap();
    let child = child(move || {
        writer.send_bytes(b"whole").unwrap();
        // Waits for room for ever: nobody receives.
        writer.send_bytes(&bytes(100_000)).unwrap();
    });
    crate::common::wait_until_asleep(child.id());
    child.kill();
    assert_eq!(reader.recv_bytes().unwrap(), b"whole");
    assert!(reader.recv_bytes().unwrap_err().is_end_of_file());
}

#[test]
fn unrelated_processes_find_a_pipe_by_its_name() {
    let _watchdog = watchdog();
    let name = name("pipe");
    let mut server = Pipe::<(u32, String)>::create(&name, 4096).unwrap().first().unwrap();
    assert!(matches!(Pipe::<u32>::open(&name), Err(Error::TypeMismatch { .. })));
    let pipe = Pipe::<(u32, String)>::open(&name).unwrap();
    assert!(matches!(pipe.first(), Err(Error::RoleTaken { .. })));
    // What is sent waits for who comes.
    server.send(&(1, "early".to_owned())).unwrap();
    for round in 0..2 {
        let found = name.to_string();
        in_child(move || {
            let mut client = Pipe::<(u32, String)>::open(&found).unwrap().second().unwrap();
            let (number, text) = client.recv().unwrap();
            client.send(&(number + 1, text)).unwrap();
        });
        assert_eq!(server.recv(), Ok((round + 2, "early".to_owned())));
        let gone = channel(ChannelError::Disconnected(Departure::Closed));
        assert_eq!(server.send(&(0, String::new())), Err(gone));
        if round == 0 {
            // A successor is sent what the last one did not receive.
            let _successor = pipe.second().unwrap();
            server.send(&(2, "early".to_owned())).unwrap();
        }
    }
}

#[test]
fn conn_23_descriptors_with_numbers_above_256_too_are_used_by_who_got_them() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let child = child(move || {
        for _ in 0..2 {
            File::from(there.recv_fd().unwrap()).write_all(b"child ").unwrap();
        }
    });
    let (mut reader, writer) = std::io::pipe().unwrap();
    // SAFETY: takes integers.
    let high = unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_DUPFD_CLOEXEC, 300) };
    // SAFETY: the system call made this descriptor for us.
    let high = unsafe { OwnedFd::from_raw_fd(high) };
    assert!(high.as_raw_fd() >= 300);
    here.send_fd(high).unwrap();
    here.send_fd(writer).unwrap();
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "child child ");
    child.finish();
}

#[test]
fn conn_24_plain_data_is_no_descriptor() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    writer.send_bytes(b"plain").unwrap();
    assert_eq!(reader.recv_fd().unwrap_err(), PipeError::NotADescriptor);
    assert_eq!(reader.recv_bytes().unwrap(), b"plain");
}

#[test]
fn conn_25_connections_go_through_a_connection_and_keep_their_direction() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let child = child(move || {
        let mut both = there.recv_handle::<Connection<u32>>().unwrap();
        let number = both.recv().unwrap();
        both.send(&(number + 1)).unwrap();
        // An end that only sends is no end that receives, and the other way round: by its type.
        while !there.poll(None).unwrap() {}
        let wrong = there.recv_handle::<Reader<String>>().unwrap_err();
        assert!(matches!(wrong, PipeError::OtherHandle { .. }));
        there.recv_handle::<Writer<String>>().unwrap().send(&"sent".to_owned()).unwrap();
        while !there.poll(None).unwrap() {}
        assert!(there.recv_handle::<Writer<String>>().is_err());
        let mut reader = there.recv_handle::<Reader<String>>().unwrap();
        assert_eq!(reader.recv().unwrap(), "to receive");
        assert!(reader.recv().unwrap_err().is_end_of_file());
    });
    let (mut mine, yours) = pipe::pipe::<u32>().unwrap();
    here.send_handle(yours).unwrap();
    mine.send(&41).unwrap();
    assert_eq!(mine.recv().unwrap(), 42);
    let (mut reader, writer) = pipe::simplex::<String>().unwrap();
    here.send_handle(writer).unwrap();
    assert_eq!(reader.recv().unwrap(), "sent");
    assert!(reader.recv().unwrap_err().is_end_of_file());
    let (reader, mut writer) = pipe::simplex::<String>().unwrap();
    writer.send(&"to receive".to_owned()).unwrap();
    here.send_handle(reader).unwrap();
    drop(writer);
    child.finish();
}

#[test]
fn conn_25_sockets_go_through_a_connection_and_keep_their_direction() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<()>().unwrap();
    let child = child(move || {
        let listener = TcpListener::from(there.recv_fd().unwrap());
        listener.accept().unwrap().0.write_all(b"from the child").unwrap();
        // An end of a one-way pipe can do what it could.
        let mut only_reads = File::from(there.recv_fd().unwrap());
        assert!(only_reads.write_all(b"no").is_err());
        let mut text = String::new();
        only_reads.read_to_string(&mut text).unwrap();
        assert_eq!(text, "from the parent");
    });
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    here.send_fd(listener).unwrap();
    let mut text = String::new();
    TcpStream::connect(address).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "from the child");
    let (reader, mut writer) = std::io::pipe().unwrap();
    here.send_fd(reader).unwrap();
    writer.write_all(b"from the parent").unwrap();
    drop(writer);
    child.finish();
}
