//! Waiting for many things at once.
//!
//! | id | what differs |
//! |---|---|
//! | WAIT-05 | a negative timeout does not exist; a timeout of zero only looks |

use crate::common::{child, signal, watchdog};
use commons::pipe::{self, Reader};
use commons::{Error, Event, Queue, Reset, Select, Waitable, wait_any};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(20);

#[test]
fn wait_01_all_that_are_ready_are_returned_or_none_when_the_time_is_over() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<u32>().unwrap();
    let (mut here, there) = UnixStream::pair().unwrap();
    let event = Event::new(Reset::Manual).unwrap();
    let mut stopped = child(|| signal(std::process::id(), libc::SIGSTOP));
    let begin = Instant::now();
    {
        let all: [&dyn Waitable; 4] = [&reader, &there, &event, stopped.process()];
        assert_eq!(wait_any(&all, Some(MOMENT)).unwrap(), []);
        assert!(begin.elapsed() >= MOMENT);
        here.write_all(b"x").unwrap();
        assert_eq!(wait_any(&all, None).unwrap(), [1]);
        writer.send(&1).unwrap();
        assert_eq!(wait_any(&all, None).unwrap(), [0, 1]);
        event.set().unwrap();
        assert_eq!(wait_any(&all, Some(Duration::from_secs(1000))).unwrap(), [0, 1, 2]);
    }
    reader.recv().unwrap();
    signal(stopped.id(), libc::SIGKILL);
    assert_eq!(wait_any(&[stopped.process()], None).unwrap(), [0]);
    let all: [&dyn Waitable; 4] = [&reader, &there, &event, stopped.process()];
    assert_eq!(wait_any(&all, None).unwrap(), [1, 2, 3]);
}

#[test]
fn wait_02_what_is_ready_stays_so_until_it_is_taken() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<u32>().unwrap();
    writer.send(&1).unwrap();
    writer.send(&2).unwrap();
    for expected in [1, 2] {
        for _ in 0..3 {
            assert_eq!(wait_any(&[&reader], None).unwrap(), [0]);
        }
        assert_eq!(reader.recv(), Ok(expected));
    }
    assert_eq!(wait_any(&[&reader], Some(Duration::ZERO)).unwrap(), []);
    // At the end of file.
    drop(writer);
    for _ in 0..3 {
        assert_eq!(wait_any(&[&reader], None).unwrap(), [0]);
    }
    assert!(reader.recv().unwrap_err().is_end_of_file());
    // And a process that has ended.
    let mut ended = child(|| ());
    for _ in 0..3 {
        assert_eq!(wait_any(&[ended.process()], None).unwrap(), [0]);
    }
    ended.finish();
}

/// Receives from all until each is at its end: what came, by writer.
fn receive_all(mut readers: Vec<Option<Reader<(usize, u32)>>>) -> Vec<Vec<u32>> {
    let mut came = vec![Vec::new(); readers.len()];
    while readers.iter().any(Option::is_some) {
        let open: Vec<usize> = (0..readers.len()).filter(|&i| readers[i].is_some()).collect();
        let ready = {
            let all: Vec<&dyn Waitable> =
                open.iter().map(|&i| readers[i].as_ref().unwrap() as &dyn Waitable).collect();
            wait_any(&all, None).unwrap()
        };
        for i in ready.into_iter().map(|i| open[i]) {
            match readers[i].as_mut().unwrap().try_recv() {
                Ok((writer, number)) => {
                    assert_eq!(writer, i);
                    came[i].push(number);
                }
                Err(error) => {
                    assert!(error.is_end_of_file(), "{error}");
                    readers[i] = None;
                }
            }
        }
    }
    came
}

#[test]
fn wait_03_every_message_of_four_writers_comes_once_and_then_each_ends() {
    let _watchdog = watchdog();
    for pauses in [0, 2000] {
        let (readers, children): (Vec<_>, Vec<_>) = (0..4)
            .map(|i| {
                let (reader, mut writer) = pipe::simplex::<(usize, u32)>().unwrap();
                let child = child(move || {
                    for number in 0..10 {
                        for _ in 0..pauses * (1 + i as u32) {
                            std::hint::spin_loop();
                        }
                        writer.send(&(i, number)).unwrap();
                    }
                });
                (Some(reader), child)
            })
            .unzip();
        assert_eq!(receive_all(readers), vec![(0..10).collect::<Vec<_>>(); 4]);
        children.into_iter().for_each(|child| child.finish());
    }
    // The same with sockets.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let writers: Vec<_> = (0..4u8)
        .map(|i| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                (0..10).for_each(|_| stream.write_all(&[i]).unwrap());
            })
        })
        .collect();
    let mut streams: Vec<_> = (0..4).map(|_| Some(listener.accept().unwrap().0)).collect();
    let mut counts = [0; 4];
    while streams.iter().any(Option::is_some) {
        let open: Vec<usize> = (0..4).filter(|&i| streams[i].is_some()).collect();
        let ready = {
            let all: Vec<&dyn Waitable> =
                open.iter().map(|&i| streams[i].as_ref().unwrap() as &dyn Waitable).collect();
            wait_any(&all, None).unwrap()
        };
        for i in ready.into_iter().map(|i| open[i]) {
            let mut byte = [0];
            match streams[i].as_mut().unwrap().read(&mut byte).unwrap() {
                0 => streams[i] = None,
                _ => counts[usize::from(byte[0])] += 1,
            }
        }
    }
    assert_eq!(counts, [10; 4]);
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn wait_04_a_timeout_with_nothing_ready_gives_nothing_after_it() {
    let _watchdog = watchdog();
    let (reader, _writer) = pipe::simplex::<u32>().unwrap();
    let (_here, there) = UnixStream::pair().unwrap();
    let both: [&dyn Waitable; 2] = [&reader, &there];
    for list in [&both[..1], &both[1..], &both[..]] {
        let begin = Instant::now();
        assert_eq!(wait_any(list, Some(Duration::from_millis(150))).unwrap(), []);
        assert!(begin.elapsed() >= Duration::from_millis(150));
    }
}

#[test]
fn wait_05_a_timeout_of_zero_only_looks() {
    let _watchdog = watchdog();
    let (reader, _writer) = pipe::simplex::<u32>().unwrap();
    assert_eq!(wait_any(&[&reader], Some(Duration::ZERO)).unwrap(), []);
    let mut select = Select::new();
    select.recv(&reader).unwrap();
    assert_eq!(select.try_wait().unwrap(), None);
}

#[test]
fn wait_06_a_process_that_ends_during_the_wait_ends_it() {
    let _watchdog = watchdog();
    let (reader, _writer) = pipe::simplex::<u32>().unwrap();
    let go = Event::new(Reset::Manual).unwrap();
    let gone = go.clone();
    let mut ends = child(move || gone.wait().unwrap());
    let setter = std::thread::spawn(move || go.set().unwrap());
    assert_eq!(wait_any(&[&reader, ends.process()], None).unwrap(), [1]);
    setter.join().unwrap();
    ends.finish();
}

#[test]
fn wait_07_a_closed_handle_in_the_list_is_an_error() {
    let (mut reader, _writer) = pipe::simplex::<u32>().unwrap();
    let event = Event::new(Reset::Manual).unwrap();
    event.set().unwrap();
    reader.close();
    assert!(matches!(wait_any(&[&event, &reader], None), Err(Error::Closed { .. })));
    let queue = Queue::<u8>::new(1).unwrap();
    queue.close();
    assert!(matches!(wait_any(&[&queue, &event], None), Err(Error::Closed { .. })));
}
