//! Child processes: what comes back from them, how they end, and that nothing of them is left.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "limits, ids and signals of children")]

mod common;

use common::{
    child, children, descriptors, end_with, in_child, mappings, pause_for_ever, signal,
    wait_until_asleep, watchdog, watchdog_of, zombies,
};
use commons::process::{self, Builder, Resource, StartMethod};
use commons::spsc::{Consumer, Ring, duplex, ring};
use commons::{Error, ExitStatus, JoinError, Process, Segment};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Whether a descriptor is readable before `timeout` has passed.
fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> bool {
    let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: `poll` is one live entry.
    let count = unsafe { libc::poll(&raw mut poll, 1, timeout.as_millis() as i32) };
    assert!(count >= 0, "poll: {}", io::Error::last_os_error());
    count == 1
}

// ---- what comes back ----

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Answer {
    Nothing,
    Some { number: f64, map: BTreeMap<String, Vec<Option<char>>> },
}

#[test]
fn results_of_any_size_come_back() {
    let _watchdog = watchdog();
    child(|| ()).finish();
    assert_eq!(child(|| 42u64).finish(), 42);
    assert_eq!(child(|| "text".repeat(3)).finish(), "texttexttext");
    assert_eq!(child(|| (true, 'ß', -1i8)).finish(), (true, 'ß', -1));
    assert_eq!(child(|| Answer::Nothing).finish(), Answer::Nothing);
    let map = BTreeMap::from([("key".to_owned(), vec![Some('a'), None])]);
    let answer = Answer::Some { number: 0.5, map };
    let expected = answer.clone();
    assert_eq!(child(move || answer).finish(), expected);
    let long = child(|| (0..1u32 << 20).map(|i| i as u8).collect::<Vec<_>>()).finish();
    assert!(long.iter().copied().eq((0..1u32 << 20).map(|i| i as u8)));
    let failed: Result<u8, String> = child(|| Err("no".to_owned())).finish();
    assert_eq!(failed, Err("no".to_owned()));
}

#[test]
fn what_a_closure_captures_goes_with_it() {
    let _watchdog = watchdog();
    let text = String::from("captured");
    let numbers: Box<[u64]> = (0..1000).collect();
    let sum = child(move || (text.len(), numbers.iter().sum::<u64>())).finish();
    assert_eq!(sum, (8, 499_500));
}

/// Bytes of anonymous segments that this process has mapped and can touch without a fault.
fn mapped() -> u64 {
    let maps = fs::read_to_string("/proc/self/smaps").expect("/proc");
    let mut is_ours = false;
    let mut kilobytes = 0;
    for line in maps.lines() {
        if let Some(resident) = line.strip_prefix("Rss:") {
            let resident = resident.trim().trim_end_matches(" kB").parse::<u64>();
            kilobytes += if is_ours { resident.expect("a number") } else { 0 };
        } else if !line.split_whitespace().next().is_some_and(|word| word.ends_with(':')) {
            is_ours = line.contains("/memfd:commons");
        }
    }
    kilobytes * 1024
}

#[test]
fn what_a_child_is_handed_is_mapped_when_it_starts_and_nothing_else_is() {
    const MIB: u64 = 1 << 20;
    let _watchdog = watchdog();
    in_child(|| {
        let segment = Segment::anonymous(6 << 20).unwrap();
        let end = |label: &str, bytes: u64| {
            let ring = Ring::<u64>::new_in(&segment, label, bytes as usize / 8).unwrap();
            ring.producer().unwrap()
        };
        let (producer, _kept) = (end("given", MIB), end("kept", 4 * MIB));
        if mapped() < 5 * MIB {
            return; // A kernel that does not map ahead.
        }
        let mapped = in_child(move || {
            let mapped = mapped();
            drop(producer);
            mapped
        });
        assert!((MIB..3 * MIB).contains(&mapped), "{mapped} bytes are mapped");
    });
}

#[test]
fn a_child_is_another_process_with_memory_of_its_own() {
    let _watchdog = watchdog();
    static COUNT: AtomicU32 = AtomicU32::new(5);
    let child = child(|| (std::process::id(), COUNT.fetch_add(1, Relaxed)));
    let id = child.id();
    assert_ne!(id, std::process::id());
    assert_eq!(child.finish(), (id, 5));
    assert_eq!(COUNT.load(Relaxed), 5);
}

struct Refuses;

impl Serialize for Refuses {
    fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("refused"))
    }
}

impl<'de> Deserialize<'de> for Refuses {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("refused"))
    }
}

#[derive(Debug, Serialize)]
struct OneWay;

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("only there, not back"))
    }
}

#[test]
fn a_result_that_cannot_be_carried_over_is_an_error() {
    let _watchdog = watchdog();
    assert!(matches!(child(|| Refuses).join(), Err(JoinError::Result { .. })));
    assert!(matches!(child(|| OneWay).join(), Err(JoinError::Result { .. })));
}

// ---- how they end ----

/// Panics when it is written, and when it is dropped.
struct Panics(bool);

impl Serialize for Panics {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        assert!(!self.0, "in the middle of a value");
        serializer.serialize_unit()
    }
}
impl<'de> Deserialize<'de> for Panics {
    fn deserialize<D: serde::Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Panics(true))
    }
}
impl Drop for Panics {
    fn drop(&mut self) {
        assert!(self.0 || std::thread::panicking(), "at the end of a value");
    }
}

#[test]
fn a_panic_of_a_result_is_the_childs_and_does_not_unwind_into_its_parents_code() {
    let _watchdog = watchdog();
    for (early, expected) in [(true, "in the middle of a value"), (false, "at the end of a value")]
    {
        let process = Process::spawn(move || Panics(early)).unwrap();
        assert_eq!(process.wait().unwrap(), ExitStatus::Exited(1));
        match process.join() {
            Err(JoinError::Panicked { message, .. }) => assert_eq!(message, expected),
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("a result"),
        }
    }
}

#[test]
fn a_panic_comes_back_with_its_message() {
    let _watchdog = watchdog();
    let message = |error: JoinError| match error {
        JoinError::Panicked { message, .. } => message,
        other => panic!("{other}"),
    };
    let plain = child(|| -> u8 { panic!("plain") });
    assert_eq!(message(plain.join().unwrap_err()), "plain");
    let formatted = child(|| -> u8 { panic!("number {}", 7) });
    assert_eq!(message(formatted.join().unwrap_err()), "number 7");
    let other = child(|| -> u8 { std::panic::panic_any(5u8) });
    assert_eq!(message(other.join().unwrap_err()), "a value that is not text");
    let caught = child(|| {
        let _ = std::panic::catch_unwind(|| panic!("caught"));
        std::panic::resume_unwind(Box::new("raised"))
    });
    let caught: common::Child<()> = caught;
    assert_eq!(message(caught.join().unwrap_err()), "raised");
    let mut panicked = child(|| -> u8 { panic!("on purpose") });
    let status = panicked.process().wait_timeout(Duration::MAX).unwrap();
    assert_eq!(status, Some(ExitStatus::Exited(1)));
}

#[test]
fn a_panic_says_where_it_was_in_one_line_and_to_the_parent() {
    let _watchdog = watchdog();
    #[inline(never)]
    fn this_one_panics(what: &str) {
        panic!("the {what}\nof two lines");
    }
    let (mut reader, writer) = io::pipe().unwrap();
    let writes = move || {
        // SAFETY: takes integers.
        assert!(unsafe { libc::dup2(writer.as_raw_fd(), 2) } >= 0);
        drop(writer);
        let child = Process::builder().name("worker 7").spawn(|| this_one_panics("message"));
        let error = child.unwrap().join().unwrap_err();
        let text = error.to_string();
        let JoinError::Panicked { message, location, backtrace } = error else { panic!("{error}") };
        (message, location, backtrace, text)
    };
    let (message, location, backtrace, text) = in_child(writes);
    assert_eq!(message, "the message\nof two lines");
    assert!(location.starts_with("tests/process.rs:"), "{location}");
    assert!(backtrace.contains("this_one_panics"), "{backtrace}");
    assert_eq!(text, format!("the child panicked at {location}: {message}"));
    let mut line = String::new();
    reader.read_to_string(&mut line).unwrap();
    let expected = format!("worker 7 panicked at {location}: the message\\nof two lines\n");
    assert_eq!(line, expected);
}

#[test]
fn children_start_while_other_threads_panic() {
    let _watchdog = watchdog_of(300);
    let (mut reader, writer) = io::pipe().unwrap();
    let panics = child(move || {
        // SAFETY: takes integers.
        assert!(unsafe { libc::dup2(writer.as_raw_fd(), 2) } >= 0);
        drop(writer);
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Relaxed) {
                    let _ = std::panic::catch_unwind(|| panic!("a thread"));
                    let _ = std::panic::catch_unwind(|| {
                        let _held = io::stderr().lock();
                        panic!("a thread with the lock")
                    });
                }
            });
            for _ in 0..12 {
                let error = Process::spawn(|| panic!("a child") as ()).unwrap().join();
                assert!(
                    matches!(error, Err(JoinError::Panicked { message, .. }) if message == "a child")
                );
            }
            stop.store(true, Relaxed);
        });
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    panics.finish();
    let whole = text.lines().filter(|line| line.ends_with(": a child")).count();
    assert_eq!(whole, 12);
    assert!(text.lines().all(|line| line.contains(" panicked at ")), "{text}");
}

#[test]
fn exit_codes_and_signals_come_back() {
    let _watchdog = watchdog();
    for code in [0, 1, 77, 255] {
        let exited = child(move || -> u8 { std::process::exit(code) }).join();
        assert!(matches!(exited, Err(JoinError::Exited { code: c }) if c == code), "{exited:?}");
    }
    for number in [libc::SIGKILL, libc::SIGTERM, libc::SIGABRT, libc::SIGUSR1] {
        let ended = child(move || signal(std::process::id(), number)).join();
        assert!(
            matches!(ended, Err(JoinError::Signaled { signal }) if signal == number),
            "{ended:?}"
        );
    }
}

#[test]
fn the_values_of_a_closure_go_before_its_result_counts() {
    let _watchdog = watchdog();
    struct Killer;
    impl Drop for Killer {
        fn drop(&mut self) {
            signal(std::process::id(), libc::SIGKILL);
        }
    }
    let dropped = child(|| {
        let _killer = Killer;
        5
    });
    assert!(matches!(dropped.join(), Err(JoinError::Signaled { .. })));
}

#[test]
fn kill_and_terminate_end_a_child() {
    let _watchdog = watchdog();
    let mut killed = child(|| pause_for_ever() as ());
    assert!(killed.process().is_alive());
    killed.process().kill().unwrap();
    assert!(matches!(killed.join(), Err(JoinError::Signaled { signal: libc::SIGKILL })));

    let mut terminated = child(|| pause_for_ever() as ());
    terminated.process().terminate().unwrap();
    let status = terminated.process().wait_timeout(Duration::MAX).unwrap();
    assert_eq!(status, Some(ExitStatus::Signaled(libc::SIGTERM)));
    // Signals to who has ended are no error, and reach nobody else.
    terminated.process().kill().unwrap();
    terminated.process().terminate().unwrap();
    assert!(matches!(terminated.join(), Err(JoinError::Signaled { signal: libc::SIGTERM })));

    let mut done = child(|| 3);
    while !readable(done.process().as_fd(), Duration::from_secs(1)) {}
    done.process().kill().unwrap();
    assert_eq!(done.finish(), 3);
}

#[test]
fn a_stopped_child_is_alive_and_can_be_killed() {
    let _watchdog = watchdog();
    let mut stopped = child(|| pause_for_ever() as ());
    stopped.stop();
    assert!(stopped.process().is_alive());
    assert_eq!(stopped.process().wait_timeout(Duration::from_millis(20)).unwrap(), None);
    stopped.process().kill().unwrap();
    assert!(matches!(stopped.join(), Err(JoinError::Signaled { signal: libc::SIGKILL })));
}

#[test]
fn waiting_with_a_limit_says_whether_it_has_ended() {
    let _watchdog = watchdog();
    let (mut go, mut goes) = ring::<()>(1).unwrap();
    let mut waiting = child(move || goes.pop().is_ok());
    assert!(waiting.process().is_alive());
    assert_eq!(waiting.process().exit_status().unwrap(), None);
    assert_eq!(waiting.process().wait_timeout(Duration::ZERO).unwrap(), None);
    let limit = Duration::from_millis(30);
    let since = Instant::now();
    assert_eq!(waiting.process().wait_timeout(limit).unwrap(), None);
    assert_eq!(waiting.process().wait_deadline(since + 2 * limit).unwrap(), None);
    assert!(since.elapsed() >= 2 * limit, "it came back early");
    assert!(!readable(waiting.process().as_fd(), Duration::ZERO));
    go.push(()).unwrap();
    let ended = Some(ExitStatus::Exited(0));
    assert_eq!(waiting.process().wait_timeout(Duration::MAX).unwrap(), ended);
    assert_eq!(waiting.process().wait_timeout(Duration::ZERO).unwrap(), ended);
    assert_eq!(waiting.process().wait_deadline(since).unwrap(), ended);
    assert_eq!(waiting.process().exit_status().unwrap(), ended);
    assert!(!waiting.process().is_alive());
    assert!(waiting.finish());
}

#[test]
fn its_descriptor_is_readable_when_a_child_has_ended() {
    let _watchdog = watchdog();
    let (mut go, mut goes) = ring::<()>(1).unwrap();
    let mut waiting = child(move || goes.pop().is_ok());
    let flags = |fd: BorrowedFd<'_>| {
        // SAFETY: takes integers.
        unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) }
    };
    assert_ne!(flags(waiting.process().as_fd()) & libc::FD_CLOEXEC, 0);
    assert!(!readable(waiting.process().as_fd(), Duration::ZERO));
    go.push(()).unwrap();
    while !readable(waiting.process().as_fd(), Duration::from_secs(1)) {}
    assert!(!waiting.process().is_alive());
    assert!(waiting.finish());
}

#[test]
fn somebody_elses_wait_does_not_lose_the_result() {
    let _watchdog = watchdog();
    in_child(|| {
        let process = Process::spawn(|| 9u8).unwrap();
        let mut status = 0;
        // SAFETY: `status` is live for the kernel to fill in.
        let reaped = unsafe { libc::waitpid(-1, &raw mut status, 0) };
        assert_eq!(reaped as u32, process.pid());
        // The kernel may remember how it ended; if not, that is an error, and no hang.
        assert!(!process.is_alive());
        if let Ok(status) = process.wait() {
            assert_eq!(status, ExitStatus::Exited(0));
        }
        assert_eq!(process.join().unwrap(), 9);
    });
}

// ---- nothing is left ----

#[test]
fn children_that_nobody_joins_are_reaped_by_and_by() {
    let _watchdog = watchdog();
    in_child(|| {
        let mut pipes = Vec::new();
        for _ in 0..20 {
            let (reader, writer) = io::pipe().unwrap();
            let process = Process::spawn(move || {
                let _writer = writer;
            });
            drop(process.unwrap());
            pipes.push(reader);
        }
        for mut pipe in pipes {
            // The end of the pipe: the child has closed it or is gone.
            pipe.read_to_end(&mut Vec::new()).unwrap();
        }
        // The last of them may be on its way out still.
        while !children().is_empty() {
            Process::spawn(|| ()).unwrap().join().unwrap();
        }
        // One that has ended when its handle goes is reaped there and then.
        let process = Process::spawn(|| ()).unwrap();
        while !readable(process.as_fd(), Duration::from_secs(1)) {}
        assert_eq!(zombies().len(), 1);
        drop(process);
        assert!(children().is_empty());
    });
}

#[test]
fn a_dropped_handle_leaves_its_child_running() {
    let _watchdog = watchdog();
    let (mut here, mut there) = duplex::<u32>(1).unwrap();
    let owner = std::process::id();
    let process = Process::spawn(move || {
        end_with(owner);
        let _ = there.tx.push(std::process::id());
        let _ = there.rx.pop().and_then(|value| Ok(there.tx.push(value + 1)?));
    });
    drop(process.unwrap());
    let _stray = common::Stray(here.rx.pop().unwrap());
    here.tx.push(1).unwrap();
    assert_eq!(here.rx.pop(), Ok(2));
}

#[test]
fn hundreds_of_children_leave_no_descriptor_and_no_mapping() {
    let _watchdog = watchdog_of(300);
    in_child(|| {
        let rounds = |count: u64| {
            for i in 0..count {
                let (mut producer, mut consumer) = ring::<u64>(1).unwrap();
                let process = Process::spawn(move || consumer.pop().unwrap()).unwrap();
                producer.push(i).unwrap();
                assert_eq!(process.join().unwrap(), i);
            }
        };
        rounds(20);
        let before = (descriptors(), mappings(), common::anonymous_bytes());
        rounds(300);
        assert_eq!((descriptors(), mappings(), common::anonymous_bytes()), before);
        assert!(children().is_empty());
    });
}

#[test]
fn hundreds_of_children_at_once_are_all_joined() {
    let _watchdog = watchdog_of(300);
    in_child(|| {
        let before = descriptors();
        let processes: Vec<_> = (0..300u32).map(|i| Process::spawn(move || i).unwrap()).collect();
        for (i, process) in processes.into_iter().enumerate() {
            assert_eq!(process.join().unwrap(), i as u32);
        }
        // Those of the arena, and none a child.
        assert!(descriptors() <= before + 6, "{} descriptors more", descriptors() - before);
    });
}

#[test]
fn a_child_that_cannot_be_started_is_an_error_and_leaves_nothing() {
    let _watchdog = watchdog();
    let outcome = in_child(|| {
        Process::spawn(|| ()).unwrap().join().unwrap();
        // Limits of processes do not bind root, so be somebody else.
        // SAFETY: takes integers; this process has one thread.
        if unsafe { libc::geteuid() } == 0 && unsafe { libc::setuid(64_321) } != 0 {
            return "skipped: this process may not be somebody else".to_owned();
        }
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `none` is live for the kernel to read.
        if unsafe { libc::setrlimit(libc::RLIMIT_NPROC, &raw const none) } != 0 {
            return "skipped: this process may not limit itself".to_owned();
        }
        let (producer, mut consumer) = ring::<u8>(2).unwrap();
        let before = descriptors();
        let error = Process::spawn(move || drop(producer)).unwrap_err();
        assert!(matches!(error, Error::Process { what: "fork", .. }), "{error}");
        assert_eq!(descriptors(), before);
        // What was to go with it is dropped, as with a thread that does not start.
        assert!(matches!(consumer.try_pop(), Err(commons::ChannelError::Disconnected(_))));
        for _ in 0..50 {
            let _ = Process::spawn(|| ()).unwrap_err();
        }
        assert_eq!(descriptors(), before);
        "an error".to_owned()
    });
    println!("{outcome}");
}

/// Runs `f` under a limit of this process's own.
fn limited<R>(resource: libc::__rlimit_resource_t, limit: u64, f: impl FnOnce() -> R) -> R {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `before` is live for the kernel to fill in.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut before) }, 0);
    let under = libc::rlimit { rlim_cur: limit, ..before };
    // SAFETY: `under` is live for the kernel to read.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const under) }, 0);
    let result = f();
    // SAFETY: `before` is live for the kernel to read.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const before) }, 0);
    result
}

#[test]
fn too_few_descriptors_are_an_error_and_no_panic() {
    let _watchdog = watchdog();
    let [started, refused] = in_child(|| {
        Process::spawn(|| ()).unwrap().join().unwrap();
        let before = descriptors();
        let mut counts = [0, 0];
        for (spare, keeps) in (0..12).flat_map(|spare| [(spare, false), (spare, true)]) {
            // One that nobody has waited for keeps what the next would have had.
            let kept = keeps.then(|| Process::spawn(|| ()).unwrap());
            let started = limited(libc::RLIMIT_NOFILE, 64, || {
                // Those in use are not all low: the limit is on the number of the next.
                let open = |_: ()| fs::File::open("/dev/null").ok();
                let mut fillers: Vec<_> = std::iter::repeat(()).map_while(open).collect();
                fillers.truncate(fillers.len() - spare);
                Process::builder().daemon().spawn(|| 1u8)
            });
            match started {
                Ok(process) => {
                    assert_eq!(process.join().unwrap(), 1);
                    counts[0] += 1;
                }
                Err(Error::Os { source, .. } | Error::Process { source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(libc::EMFILE), "{source}");
                    counts[1] += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
            kept.map(Process::join).transpose().unwrap();
            assert_eq!(children(), []);
        }
        Process::spawn(|| ()).unwrap().join().unwrap();
        assert!(descriptors() <= before + 2, "{} after {before}", descriptors());
        counts
    });
    assert!(started > 0 && refused > 0, "{started} started, {refused} refused");
}

#[test]
fn too_little_memory_is_an_error_that_says_so_and_leaves_nothing() {
    let _watchdog = watchdog();
    let held = || (descriptors(), mappings(), common::anonymous_bytes());
    // Each in a process that has not yet taken what some hundred children at a time need.
    let round = |spare: u64| {
        in_child(move || {
            let before = held();
            let sizes = fs::read_to_string("/proc/self/statm").unwrap();
            let pages: u64 = sizes.split(' ').next().unwrap().parse().unwrap();
            let mut started = Vec::with_capacity(600);
            let mut error = None;
            limited(libc::RLIMIT_AS, (pages + spare) * 4096, || {
                while error.is_none() && started.len() < 600 {
                    match Process::builder().daemon().spawn(|| 1u8) {
                        Ok(process) => started.push(process),
                        Err(other) => error = Some(other),
                    }
                }
            });
            let count = started.len();
            for process in started {
                assert_eq!(process.join().unwrap(), 1);
            }
            assert_eq!(children(), []);
            match error {
                None => assert_eq!(count, 600),
                Some(Error::Os { source, .. } | Error::Process { source, .. }) => {
                    assert_eq!(source.raw_os_error(), Some(libc::ENOMEM), "{source}");
                    assert!(count > 0 && held() == before, "{count}: {:?}, {before:?}", held());
                }
                Some(other) => panic!("{other:?}"),
            }
            count
        })
    };
    let counts = [0, 1, 15, 16, 17, 40, 1000].map(round);
    assert!(counts[0] < 600 && counts[6] == 600, "{counts:?}");
    println!("{counts:?}");
}

// ---- starting ----

#[test]
fn a_program_that_does_not_say_its_entry_starts_nothing_by_exec() {
    let _watchdog = watchdog();
    let refused = StartMethod::Exec.builder().call(|(): ()| (), ());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("commons::process::entry()"), "{error}");
    // And needs to say nothing for the other method.
    let child = StartMethod::Fork.builder().call(|n: u32| n + 1, 1).unwrap();
    assert_eq!(child.join().unwrap(), 2);
}

#[test]
fn children_that_nobody_asks_for_do_not_meddle_with_later_ones() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut go, mut goes) = ring::<()>(1).unwrap();
        // Its handle goes at once, and with it what only its parent had of the start.
        let first = (*Process::spawn(move || drop(goes.pop())).unwrap()).clone();
        let others: Vec<_> = (0..20).map(|_| child(|| -> () { pause_for_ever() })).collect();
        go.push(()).unwrap();
        assert_eq!(first.wait().unwrap(), ExitStatus::Exited(0));
        for mut other in others {
            assert!(other.process().is_alive());
            other.process().kill().unwrap();
            let joined = other.join();
            assert!(matches!(joined, Err(JoinError::Signaled { .. })), "{joined:?}");
        }
    });
}

#[test]
fn children_start_children() {
    let _watchdog = watchdog();
    fn depth(left: u32) -> u32 {
        if left == 0 { 0 } else { 1 + child(move || depth(left - 1)).finish() }
    }
    assert_eq!(depth(8), 8);
    // And several each.
    fn tree(left: u32) -> u32 {
        if left == 0 {
            return 1;
        }
        let children: Vec<_> = (0..3).map(|_| child(move || tree(left - 1))).collect();
        1 + children.into_iter().map(common::Child::finish).sum::<u32>()
    }
    assert_eq!(tree(3), 1 + 3 + 9 + 27);
}

#[test]
fn children_start_while_other_threads_print_and_allocate() {
    let _watchdog = watchdog_of(300);
    /// Stops the others also where an assertion fails.
    struct Stop<'a>(&'a AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, Relaxed);
        }
    }
    // Each in a process of its own, whose output goes nowhere.
    let beside = |threads: [fn(); 2], children: u64| {
        in_child(move || {
            let nowhere = fs::OpenOptions::new().write(true).open("/dev/null").unwrap();
            for output in [1, 2] {
                // SAFETY: takes integers.
                assert!(unsafe { libc::dup2(nowhere.as_raw_fd(), output) } >= 0);
            }
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let stops = Stop(&stop);
                for thread in threads {
                    let stop = &stop;
                    scope.spawn(move || {
                        while !stop.load(Relaxed) {
                            thread();
                        }
                    });
                }
                for i in 0..children {
                    let process = Process::spawn(move || {
                        let _ = writeln!(io::stdout(), "a child {}", "prints ".repeat(100));
                        let _ = writeln!(io::stderr(), "a child {}", "prints ".repeat(100));
                        assert!(i != 5, "a child panics");
                        i
                    });
                    match process.unwrap().join() {
                        Ok(result) => assert_eq!(result, i),
                        Err(JoinError::Panicked { message, .. }) if i == 5 => {
                            assert_eq!(message, "a child panics");
                        }
                        Err(other) => panic!("{other:?}"),
                    }
                }
                drop(stops);
            });
        });
    };
    let print: fn() = || {
        let _ = writeln!(io::stdout(), "out {:?}", vec![1; 100]);
        let _ = writeln!(io::stderr(), "err {:?}", vec![1; 100]);
    };
    let errors_first: fn() = || {
        let mut errors = io::stderr().lock();
        let _ = writeln!(io::stdout(), "out {:?}", vec![1; 10]);
        let _ = writeln!(errors, "err {:?}", vec![1; 10]);
    };
    let output_first: fn() = || {
        let mut output = io::stdout().lock();
        let _ = writeln!(io::stderr(), "err {:?}", vec![1; 10]);
        let _ = writeln!(output, "out {:?}", vec![1; 10]);
    };
    let backtraces: fn() = || drop(std::backtrace::Backtrace::force_capture());
    for threads in [[print, print], [errors_first; 2], [output_first; 2], [backtraces; 2]] {
        beside(threads, 10);
    }
}

#[test]
fn a_child_is_not_tried_for_ever_where_a_lock_is_kept() {
    let _watchdog = watchdog();
    in_child(|| {
        let (kept, is_kept) = std::sync::mpsc::channel();
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            let _errors = io::stderr().lock();
            kept.send(()).unwrap();
            let _ = goes.recv();
        });
        is_kept.recv().unwrap();
        match Process::spawn(|| ()) {
            Err(Error::Process { what: "fork", source }) => {
                assert_eq!(source.kind(), io::ErrorKind::WouldBlock);
                assert!(source.to_string().contains("standard error"), "{source}");
            }
            other => panic!("{other:?}"),
        }
        assert!(children().is_empty());
        drop(go);
        thread.join().unwrap();
        Process::spawn(|| ()).unwrap().join().unwrap();
    });
}

#[test]
fn a_closed_standard_input_is_nobody_elses() {
    let _watchdog = watchdog();
    in_child(|| {
        for closed in [[0].as_slice(), &[0, 1, 2]] {
            for fd in closed {
                // SAFETY: takes integers.
                unsafe { libc::close(*fd) };
            }
            // What is made from now on would be there.
            let (mut producer, mut consumer) = ring::<u8>(1).unwrap();
            let segment = Segment::anonymous(1 << 12).unwrap();
            let child = Process::builder().daemon().spawn(move || {
                assert_eq!(Ring::<u8>::new_in(&segment, "r", 1).unwrap().capacity(), 1);
                let mut text = String::new();
                let read = io::stdin().read_to_string(&mut text);
                (consumer.pop().unwrap(), read.is_ok() && text.is_empty())
            });
            producer.push(7).unwrap();
            assert_eq!(child.unwrap().join().unwrap(), (7, true));
        }
    });
}

/// How many children a storm starts: `default`, or the environment's number.
fn many(default: u32) -> u32 {
    std::env::var("COMMONS_STORM").map_or(default, |text| text.parse().expect("a number"))
}

/// Numbers that look random, from a seed that is printed.
fn random(test: &str) -> impl FnMut(u32) -> u32 + use<> {
    let mut random = common::Random::seeded(test);
    move |limit| random.below(u64::from(limit)) as u32
}

/// Kills children of a process at random, those that it is about to start among them, until this is
/// dropped. It is a child of that process, too.
fn killer(seed: u64) -> common::Child<()> {
    let victims = std::process::id();
    let mut random = common::Random::of(seed);
    child(move || {
        let own = std::process::id();
        loop {
            let lists =
                fs::read_dir(format!("/proc/{victims}/task")).into_iter().flatten().flatten();
            let lists =
                lists.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
            let lists: String = lists.collect();
            let all = lists.split_ascii_whitespace().filter_map(|pid| pid.parse().ok());
            let all: Vec<u32> = all.filter(|pid| *pid != own).collect();
            if !all.is_empty() {
                kill_child(all[random.below(all.len() as u64) as usize], victims);
            }
            random.pause(400);
        }
    })
}

/// Kills a process if it is a child of `parent`, and nobody that has its number by now.
fn kill_child(pid: u32, parent: u32) {
    // SAFETY: takes integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) } as i32;
    if fd < 0 {
        return;
    }
    // SAFETY: just opened.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let of = stat.rsplit(')').next().and_then(|rest| rest.split_ascii_whitespace().nth(1));
    if of == Some(&parent.to_string()) {
        let (nothing, call) = (std::ptr::null::<libc::siginfo_t>(), libc::SYS_pidfd_send_signal);
        // SAFETY: no information asks for that of a plain signal.
        unsafe { libc::syscall(call, fd.as_raw_fd(), libc::SIGKILL, nothing, 0) };
    }
}

#[test]
fn children_that_are_killed_at_random_leave_nothing() {
    let _watchdog = watchdog_of(600);
    let (many, mut random) = (many(1000), random("killed children"));
    let said = in_child(move || {
        let (mut refused, mut killed) = (0, 0);
        let mut end = |(process, mut consumer): (Process<Result<(), ()>>, Consumer<u32>)| {
            match process.join() {
                Ok(sent) => assert!(sent.is_ok() && consumer.pop().is_ok()),
                Err(JoinError::Signaled { signal: libc::SIGKILL }) => killed += 1,
                other => panic!("{other:?}"),
            }
            // It is told of the end, whatever it was.
            while consumer.pop().is_ok() {}
        };
        let mut storm = |count: u32| {
            let killer = killer(u64::from(random(u32::MAX)));
            let mut running = Vec::new();
            for i in 0..count {
                let (mut end_of_child, consumer) = ring::<u32>(2).unwrap();
                let mut builder = Process::builder();
                if random(3) == 0 {
                    builder = builder.daemon();
                }
                if random(3) == 0 {
                    builder = builder.niceness(1).current_dir("/");
                }
                let started = builder.spawn(move || end_of_child.push(i).map_err(|_| ()));
                let process = match started {
                    Ok(process) => process,
                    Err(Error::Process { what: "setting up the child", .. }) => {
                        refused += 1;
                        continue;
                    }
                    Err(other) => panic!("{other:?}"),
                };
                for _ in 0..random(2000) {
                    std::hint::spin_loop();
                }
                if random(4) == 0 {
                    process.kill().unwrap();
                }
                running.push((process, consumer));
                let at = random(running.len() as u32) as usize;
                match random(4) {
                    0 => drop(running.swap_remove(at)),
                    1 | 2 if running.len() > 20 => end(running.swap_remove(at)),
                    _ => {}
                }
            }
            running.into_iter().for_each(&mut end);
            drop(killer);
            for child in commons::process::active_children() {
                child.wait().unwrap();
            }
            // Not one, whoever has lost sight of it.
            assert_eq!(children(), []);
            (descriptors(), mappings(), common::anonymous_bytes())
        };
        let before = storm(50);
        let after = storm(many);
        assert_eq!(after, before);
        (refused, killed)
    });
    println!("(refused, killed): {said:?}");
    assert!(said.1 > many / 8, "{said:?}");
}

#[test]
fn parents_that_are_killed_while_they_start_children_leave_none_that_hangs() {
    let _watchdog = watchdog_of(600);
    let (many, mut random) = (many(1000).div_ceil(4), random("killed parents"));
    in_child(move || {
        // Whoever is left has the writing end.
        let (mut reader, writer) = io::pipe().unwrap();
        for _ in 0..many {
            let held = writer.try_clone().unwrap();
            let (producer, mut consumer) = ring::<u8>(1).unwrap();
            let parent = Process::spawn(move || -> () {
                let mut end = Some(producer);
                let _held = held;
                loop {
                    let end = end.take();
                    let child = Process::builder().niceness(1).spawn(move || drop(end));
                    drop(child);
                    let _ = Process::builder().daemon().spawn(|| -> () { pause_for_ever() });
                }
            });
            let parent = parent.unwrap();
            for _ in 0..random(200_000) {
                std::hint::spin_loop();
            }
            parent.kill().unwrap();
            assert_eq!(parent.wait().unwrap(), ExitStatus::Signaled(libc::SIGKILL));
            // The end was the parent's, or a child's, and is nobody's by now, or soon.
            assert!(consumer.pop().is_err());
        }
        drop(writer);
        // The end of the file: daemons and half started children are gone.
        assert_eq!(reader.read(&mut [0]).unwrap(), 0);
        assert_eq!(children(), []);
    });
}

#[test]
fn what_was_printed_before_is_printed_once() {
    let _watchdog = watchdog();
    let (mut reader, writer) = io::pipe().unwrap();
    let printer = child(move || {
        // SAFETY: takes integers.
        assert!(unsafe { libc::dup2(writer.as_raw_fd(), 1) } >= 0);
        drop(writer);
        // No line end: it stays in the buffer.
        let _ = write!(io::stdout(), "before;");
        Process::spawn(|| drop(write!(io::stdout(), "child;"))).unwrap().join().unwrap();
        let _ = write!(io::stdout(), "after");
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    printer.finish();
    assert_eq!(text, "before;child;after");
}

#[test]
fn children_start_from_several_threads_at_once() {
    let _watchdog = watchdog();
    in_child(|| {
        std::thread::scope(|scope| {
            for thread in 0..4u64 {
                scope.spawn(move || {
                    for i in 0..50 {
                        let (mut producer, mut consumer) = ring::<u64>(1).unwrap();
                        let process = Process::spawn(move || {
                            producer.push(thread << 32 | i).unwrap();
                            i
                        });
                        assert_eq!(consumer.pop(), Ok(thread << 32 | i));
                        assert_eq!(process.unwrap().join().unwrap(), i);
                    }
                });
            }
        });
    });
}

#[test]
fn a_child_runs_no_exit_handlers_and_no_destructors_of_its_parent() {
    let _watchdog = watchdog();
    let (mut reader, writer) = io::pipe().unwrap();
    struct Tells(io::PipeWriter, u32);
    impl Drop for Tells {
        fn drop(&mut self) {
            if std::process::id() != self.1 {
                let _ = self.0.write_all(b"a destructor ran in the child");
            }
        }
    }
    let tells = Tells(writer, std::process::id());
    child(|| ()).finish();
    drop(tells);
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
}

#[test]
fn a_handle_that_a_child_is_given_is_of_no_use_there() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut go, mut goes) = ring::<()>(1).unwrap();
        let first = Process::spawn(move || goes.pop().is_ok()).unwrap();
        let second = Process::spawn(move || {
            // Not its child: it cannot wait for it, and says so.
            (first.wait_timeout(Duration::ZERO).is_err(), first.join().is_err())
        });
        assert_eq!(second.unwrap().join().unwrap(), (true, true));
        go.push(()).unwrap();
    });
}

#[test]
fn a_child_that_waits_for_its_parent_is_told_when_that_dies() {
    let _watchdog = watchdog();
    let (mut told, mut tells) = ring::<u32>(4).unwrap();
    let parent: common::Child<()> = child(move || {
        let (_here, mut there) = duplex::<u32>(1).unwrap();
        let grandchild: Process<()> = Process::spawn(move || {
            common::die_after(300);
            told.push(std::process::id()).unwrap();
            let _ = there.rx.pop();
            told.push(0).unwrap();
        })
        .unwrap();
        std::mem::forget(grandchild);
        pause_for_ever()
    });
    let grandchild = common::Stray(tells.pop().unwrap());
    wait_until_asleep(grandchild.0);
    parent.kill();
    assert_eq!(tells.pop(), Ok(0));
}

#[test]
fn a_child_that_was_given_nothing_leaves_no_dead_participant() {
    let _watchdog = watchdog();
    // In a child: the children of other tests take places here, too, and are killed.
    common::in_child(|| {
        let name = common::name("orderly");
        let ring = commons::spsc::Ring::<u64>::create(&name, 4).unwrap();
        for _ in 0..3 {
            child(|| ()).join().unwrap();
        }
        let report = commons::inspect::report(&name).unwrap();
        assert_eq!(report.participants.len(), 1, "{report:?}");
        drop(ring);
        // Nobody died: so nobody takes it away, either.
        assert!(!commons::inspect::collect().unwrap().contains(&name.to_string()));
        commons::Segment::unlink(&name).unwrap();
    });
}

// ---- what a builder sets ----

/// What children reach without being handed it.
static SHARED: OnceLock<commons::Mutex<u64>> = OnceLock::new();

#[test]
fn a_child_that_was_handed_nothing_takes_part_once_it_uses_what_it_finds() {
    let _watchdog = watchdog();
    in_child(|| {
        let mutex = SHARED.get_or_init(|| commons::Mutex::new(0).unwrap());
        // Its threads come to it at the same time, and it hands on what it makes.
        let child = Process::spawn(|| {
            let mutex = SHARED.get().unwrap();
            std::thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| *mutex.lock().unwrap() += 1);
                }
            });
            let (mut producer, mut consumer) = ring::<u64>(1).unwrap();
            let grandchild = Process::spawn(move || {
                *SHARED.get().unwrap().lock().unwrap() += 1;
                producer.push(5).is_ok()
            });
            assert!(grandchild.unwrap().join().unwrap());
            consumer.pop().unwrap()
        });
        assert_eq!(child.unwrap().join().unwrap(), 5);
        assert_eq!(*mutex.lock().unwrap(), 5);
        // What it holds is found with a dead one.
        let child = Process::spawn(|| {
            let _guard = SHARED.get().unwrap().lock().unwrap();
            // SAFETY: takes an integer.
            unsafe { libc::raise(libc::SIGKILL) };
        });
        assert!(matches!(child.unwrap().join(), Err(JoinError::Signaled { signal: 9 })));
        assert!(mutex.lock().is_err(), "its owner died");
    });
}

#[test]
fn a_copy_that_a_closure_makes_of_its_child_says_nothing_for_it() {
    let _watchdog = watchdog();
    in_child(|| {
        let child = Process::spawn(|| {
            // SAFETY: one thread.
            let copy = unsafe { libc::fork() };
            if copy == 0 {
                return 1;
            }
            let mut status = 0;
            // SAFETY: `status` is live for the kernel to fill in.
            assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
            assert_eq!(status, 0);
            // SAFETY: takes an integer.
            unsafe { libc::raise(libc::SIGKILL) };
            2
        });
        let joined = child.unwrap().join();
        assert!(matches!(joined, Err(JoinError::Signaled { signal: 9 })), "{joined:?}");
    });
}

#[test]
fn the_next_child_has_nothing_of_the_result_of_the_one_before() {
    let _watchdog = watchdog();
    in_child(|| {
        for bytes in [1 << 20, 129, 128, 1, 0, 200, 5 << 20, 130] {
            let child = Process::spawn(move || vec![bytes as u8 | 1; bytes]).unwrap();
            assert_eq!(child.join().unwrap(), vec![bytes as u8 | 1; bytes]);
            // One that says nothing has no result, and certainly no older one.
            let child: Process<Vec<u8>> = Process::spawn(|| process::exit(3)).unwrap();
            assert!(matches!(child.join(), Err(JoinError::Exited { code: 3 })));
        }
    });
}

#[test]
fn a_builder_sets_directory_environment_priority_and_limits() {
    let _watchdog = watchdog();
    in_child(|| {
        // SAFETY: this process has one thread.
        unsafe { std::env::set_var("COMMONS_TEST_KEPT", "kept") };
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
        let first = allowed.unwrap().trim().split([',', '-']).next().unwrap().parse().unwrap();
        let builder = Process::builder().current_dir("/proc").niceness(19).affinity([first]);
        let builder = builder.env("COMMONS_TEST_SET", "1").env("COMMONS_TEST_SET", "=2");
        let builder = builder.limit(Resource::OpenFiles, 77).limit(Resource::CoreFile, 0);
        let process = builder.spawn(|| {
            let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: `limit` is live for the kernel to fill in.
            unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
            // SAFETY: takes integers.
            let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
            let directory = std::env::current_dir().unwrap();
            let variables = ["COMMONS_TEST_SET", "COMMONS_TEST_KEPT"].map(std::env::var);
            let numbers =
                (limit.rlim_cur, limit.rlim_max, niceness, commons::process::usable_cpu_count());
            (directory, variables.map(Result::ok), numbers)
        });
        let (directory, variables, numbers) = process.unwrap().join().unwrap();
        assert_eq!(directory.to_str(), Some("/proc"));
        assert_eq!(variables, [Some("=2".to_owned()), Some("kept".to_owned())]);
        assert_eq!(numbers, (77, 77, 19, 1));

        let all = || std::env::vars().collect::<Vec<_>>();
        let cleared = Process::builder().env("A", "1").env_clear().env("B", "2").spawn(all);
        assert_eq!(cleared.unwrap().join().unwrap(), [("B".to_owned(), "2".to_owned())]);
        let removed = Process::builder().env_remove("COMMONS_TEST_KEPT").spawn(|| {
            // Its own changes work, too.
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("COMMONS_TEST_OWN", "own") };
            let own = std::env::var("COMMONS_TEST_OWN").unwrap();
            (std::env::var_os("COMMONS_TEST_KEPT").is_none(), std::env::vars().count() > 1, own)
        });
        assert_eq!(removed.unwrap().join().unwrap(), (true, true, "own".to_owned()));
        assert_eq!(std::env::var("COMMONS_TEST_KEPT").as_deref(), Ok("kept"));
    });
}

#[test]
fn what_a_builder_cannot_set_is_an_error_and_starts_nothing() {
    let _watchdog = watchdog();
    in_child(|| {
        Process::spawn(|| ()).unwrap().join().unwrap();
        let before = descriptors();
        type Change = fn(Builder) -> Builder;
        let wrong: [(&str, Change); 5] = [
            ("directory", |builder| builder.current_dir("/nowhere/at/all")),
            ("affinity", |builder| builder.affinity([])),
            ("affinity", |builder| builder.affinity([8000])),
            ("environment", |builder| builder.env("A=B", "C")),
            ("environment", |builder| builder.env("A", "C\0D")),
        ];
        for (what, change) in wrong {
            let (kept, mut other) = ring::<u8>(2).unwrap();
            let builder = change(Process::builder());
            let error = builder.spawn(move || drop(kept)).unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
            assert!(matches!(error, Error::Process { .. }), "{error:?}");
            // What was to go with it is dropped.
            assert!(matches!(other.try_pop(), Err(commons::ChannelError::Disconnected(_))));
            assert!(children().is_empty());
        }
        assert_eq!(descriptors(), before);
    });
}
