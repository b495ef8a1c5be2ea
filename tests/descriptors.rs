//! Descriptors through pipes.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "limits, and descriptors by their numbers")]

mod common;

use common::{child, descriptors, in_child, name, pause_for_ever, watchdog};
use commons::pipe::{self, Pipe, PipeError};
use commons::{ChannelError, Departure};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

const MOMENT: Duration = Duration::from_millis(20);

fn duplicate(fd: &impl AsFd, at: i32) -> OwnedFd {
    // SAFETY: takes integers.
    let number = unsafe { libc::fcntl(fd.as_fd().as_raw_fd(), libc::F_DUPFD_CLOEXEC, at) };
    assert!(number >= at, "{}", std::io::Error::last_os_error());
    // SAFETY: the system call made this descriptor for us.
    unsafe { OwnedFd::from_raw_fd(number) }
}

/// A file without a name, with this text.
fn file(text: &str) -> File {
    // SAFETY: a name that ends.
    let fd = unsafe { libc::memfd_create(c"text".as_ptr(), libc::MFD_CLOEXEC) };
    assert!(fd >= 0);
    // SAFETY: the system call made this descriptor for us.
    let mut file = unsafe { File::from_raw_fd(fd) };
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn text(fd: OwnedFd) -> String {
    let (mut file, mut text) = (File::from(fd), String::new());
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

#[test]
fn files_pipes_and_sockets_are_used_by_the_one_who_got_them() {
    let _watchdog = watchdog();
    let (mut here, mut there) = pipe::pipe::<String>().unwrap();
    let child = child(move || {
        File::from(there.recv_fd().unwrap()).write_all(b"child").unwrap();
        let mut stream = UnixStream::from(there.recv_fd().unwrap());
        stream.write_all(b"child").unwrap();
        drop(stream);
        assert_eq!(there.recv().unwrap(), "between");
        let listener = TcpListener::from(there.recv_fd().unwrap());
        listener.accept().unwrap().0.write_all(b"child").unwrap();
        // And the other way, also by a number above 256.
        let high = duplicate(&file("from a child"), 300);
        there.send_fd(&high).unwrap();
    });
    let mut shared = file("parent and ");
    here.send_fd(&shared).unwrap();
    let (mut near, far) = UnixStream::pair().unwrap();
    here.send_fd(far).unwrap();
    here.send(&"between".to_owned()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    here.send_fd(duplicate(&listener, 400)).unwrap();
    drop(listener);
    let mut said = [String::new(), String::new(), String::new()];
    near.read_to_string(&mut said[0]).unwrap();
    TcpStream::connect(address).unwrap().read_to_string(&mut said[1]).unwrap();
    let got = here.recv_fd().unwrap();
    // SAFETY: takes integers.
    let flags = unsafe { libc::fcntl(got.as_raw_fd(), libc::F_GETFD) };
    assert_eq!(flags, libc::FD_CLOEXEC);
    assert_eq!(text(got), "from a child");
    shared.rewind().unwrap();
    shared.read_to_string(&mut said[2]).unwrap();
    assert_eq!(said, ["child", "child", "parent and child"]);
    child.finish();
}

#[test]
fn data_is_no_descriptor_and_stays() {
    let _watchdog = watchdog();
    let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
    assert!(matches!(reader.try_recv_fd(), Err(PipeError::Channel(ChannelError::Empty))));
    let timed_out = reader.recv_fd_timeout(MOMENT);
    assert!(matches!(timed_out, Err(PipeError::Channel(ChannelError::TimedOut))));
    for data in [&[][..], &[7; 48], b"plain"] {
        writer.send_bytes(data).unwrap();
        assert!(matches!(reader.recv_fd(), Err(PipeError::NotADescriptor)));
        assert_eq!(reader.recv_bytes().unwrap(), data);
    }
}

#[test]
fn who_sends_is_told_what_became_of_it() {
    let _watchdog = watchdog();
    // Alone, so that nobody else opens descriptors.
    in_child(|| {
        let before = descriptors();
        let given = file("given");
        // Received as bytes.
        let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
        let receiving = std::thread::spawn(move || {
            assert_eq!(reader.recv_bytes().unwrap().len(), 48);
            reader
        });
        assert!(matches!(writer.send_fd(&given), Err(PipeError::DescriptorRefused)));
        let mut reader = receiving.join().unwrap();
        // Not taken in time: then the message leads nowhere.
        let timed_out = writer.send_fd_timeout(&given, MOMENT);
        assert!(matches!(timed_out, Err(PipeError::Channel(ChannelError::TimedOut))));
        assert!(matches!(reader.recv_fd(), Err(PipeError::DescriptorLost)));
        // A message that only looks like one.
        writer
            .send_bytes(&[&[0xff, 0xfe, b'f', b'd', 0xc1, 0x9d, 0, 0x8e][..], &[1; 40]].concat())
            .unwrap();
        assert!(matches!(reader.recv_fd(), Err(PipeError::DescriptorLost)));
        // The next one is taken by who is told of the last one's end.
        let taking = std::thread::spawn(move || (text(reader.recv_fd().unwrap()), reader));
        writer.send_fd(&given).unwrap();
        let (got, reader) = taking.join().unwrap();
        assert_eq!(got, "given");
        // Nobody is there.
        drop(reader);
        let gone = writer.send_fd(&given);
        let closed = ChannelError::Disconnected(Departure::Closed);
        assert!(matches!(gone, Err(PipeError::Channel(error)) if error == closed));
        drop((writer, given));
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn the_death_of_either_side_is_told_to_the_other() {
    let _watchdog = watchdog();
    // Alone, so that nobody else opens descriptors.
    in_child(|| {
        let given = file("given");
        for round in 0..4 {
            let (mut here, mut there) = pipe::pipe::<()>().unwrap();
            let before = descriptors();
            if round % 2 == 0 {
                // The receiver, before it takes it.
                let child = child(move || {
                    there.send_bytes(b"here").unwrap();
                    let _there = there;
                    pause_for_ever();
                    #[allow(unreachable_code, reason = "the child returns nothing")]
                    ()
                });
                here.recv_bytes().unwrap();
                let killer = std::thread::spawn(move || {
                    std::thread::sleep(MOMENT / 4);
                    child.kill();
                });
                let told = here.send_fd(&given);
                let Err(PipeError::Channel(ChannelError::Disconnected(died))) = told else {
                    panic!("{told:?}");
                };
                assert!(matches!(died, Departure::Died { .. }), "{died:?}");
                killer.join().unwrap();
            } else {
                // The sender, while it waits.
                let theirs = given.try_clone().unwrap();
                let child = child(move || {
                    there.send_fd(&theirs).unwrap();
                });
                while !here.poll(None).unwrap() {}
                child.kill();
                assert!(matches!(here.recv_fd(), Err(PipeError::DescriptorLost)));
                assert!(here.recv_fd().unwrap_err().is_end_of_file());
            }
            drop(here);
            assert_eq!(descriptors(), before);
        }
    });
}

#[test]
fn a_process_without_room_for_a_descriptor_takes_it_later() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut reader, mut writer) = pipe::simplex::<()>().unwrap();
        let child = child(move || {
            let set = |most: u64| {
                let limit = libc::rlimit { rlim_cur: most, rlim_max: 4096 };
                // SAFETY: a live limit.
                assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
            };
            while !reader.poll(None).unwrap() {}
            // One for the socket, and none for what comes.
            let mut filled = Vec::new();
            set(64);
            while let Ok(file) = File::open("/dev/null") {
                filled.push(file);
            }
            filled.pop();
            let refused = reader.recv_fd();
            assert!(
                matches!(&refused, Err(PipeError::Os { errno: libc::EMFILE, .. })),
                "{refused:?}"
            );
            filled.clear();
            assert_eq!(text(reader.recv_fd().unwrap()), "given");
        });
        writer.send_fd(file("given")).unwrap();
        child.finish();
    });
}

#[test]
fn a_pipe_with_a_name_takes_descriptors_between_strangers() {
    let _watchdog = watchdog();
    let name = name("fd");
    let pipe = Pipe::<()>::create(&name, 128).unwrap();
    let mut first = pipe.first().unwrap();
    let theirs = name.to_string();
    let child = child(move || {
        let mut second = Pipe::<()>::open(&theirs).unwrap().second().unwrap();
        for i in 0..20 {
            let got = second.recv_fd().unwrap();
            assert_eq!(text(got), format!("text {i}"));
            second.send_fd(file(&format!("answer {i}"))).unwrap();
        }
    });
    for i in 0..20 {
        first.send_fd(file(&format!("text {i}"))).unwrap();
        assert_eq!(text(first.recv_fd().unwrap()), format!("answer {i}"));
    }
    child.finish();
}
