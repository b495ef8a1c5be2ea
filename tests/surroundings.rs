//! Child processes of a program that does other things at the same time: threads that have locks, waits
//! that take what is not theirs, tracers, exit handlers.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "signals, tracers and variables of the environment")]

mod common;

use common::{Random, child, children, in_child, pause_for_ever, watchdog, watchdog_of};
use commons::process;
use commons::spsc::ring;
use commons::{Error, ExitStatus, JoinError, Process};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

/// Stops threads, also where an assertion fails.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

// ---- threads ----

/// What one line of the test's output is: who printed it, and which of theirs it is.
fn line(who: &str, number: u64) -> String {
    let text = format!("{who} {number} ");
    let length = 20 + number as usize * 37 % 300;
    let rest: String = text.chars().cycle().take(length).collect();
    format!("<{text}{rest}>\n")
}

/// How often each line is in `text`, which has nothing but whole lines.
#[track_caller]
fn whole_lines(text: &str) -> BTreeMap<(String, u64), u32> {
    let mut lines = BTreeMap::new();
    for found in text.split_inclusive('\n') {
        let mut words = found.trim_start_matches('<').split(' ');
        let who = words.next().unwrap_or_default();
        let number = words.next().and_then(|word| word.parse().ok());
        let number = number.unwrap_or_else(|| panic!("no line of anybody: {found:?}"));
        assert_eq!(found, line(who, number), "a torn line");
        *lines.entry((who.to_owned(), number)).or_default() += 1;
    }
    lines
}

/// Allocates all sizes from 16 bytes to 1 MiB, some of them at a time, and uses them.
fn allocate(random: &mut Random) {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for _ in 0..20 {
        let bytes = 16usize << random.below(17);
        held.push(vec![bytes.trailing_zeros() as u8; bytes]);
        if random.below(2) == 0 {
            held.swap_remove(random.below(held.len() as u64) as usize);
        }
    }
    for bytes in held {
        let last = bytes.len() - 1;
        assert_eq!(bytes[last], bytes.len().trailing_zeros() as u8);
    }
}

/// A frame that a backtrace has to name.
#[inline(never)]
fn in_a_backtrace() -> String {
    std::hint::black_box(std::backtrace::Backtrace::force_capture().to_string())
}

/// What a child of a busy parent says: the sum of the numbers up to its own, and what it found in the
/// environment.
type Said = (u64, usize, String);

/// What such a child does: everything that could meet with a lock of a thread that it has not.
fn do_everything(number: u64) -> Said {
    io::stdout().write_all(line("child", number).as_bytes()).unwrap();
    io::stderr().write_all(line("child", number).as_bytes()).unwrap();
    allocate(&mut Random::of(number));
    let variables = std::env::vars().filter(|(key, _)| key.starts_with("COMMONS_TEST_")).count();
    let constant = std::env::var("COMMONS_TEST_CONSTANT").unwrap_or_default();
    let sum = thread::spawn(move || (0..=number).sum()).join().unwrap();
    (sum, variables, constant)
}

/// Ends a child of a busy parent with a backtrace, and what it says.
#[inline(never)]
fn panic_with(said: Said) -> Said {
    panic!("{said:?}")
}

#[test]
fn children_start_while_other_threads_do_everything_that_takes_a_lock() {
    const CHILDREN: u64 = 200;
    let _watchdog = watchdog_of(300);
    let outputs = ["out", "err"].map(common::name);
    let paths = [outputs[0].path(), outputs[1].path()];
    let seed = Random::seeded("a busy parent").number() >> 1;
    let (printed, untraced) = in_child({
        let paths = paths.clone();
        move || {
            for (path, output) in paths.iter().zip([1, 2]) {
                let file = File::options().append(true).create(true).open(path).unwrap();
                // SAFETY: takes integers.
                assert!(unsafe { libc::dup2(file.as_raw_fd(), output) } >= 0);
            }
            // SAFETY: this process has one thread.
            unsafe { std::env::set_var("COMMONS_TEST_CONSTANT", "the same") };
            busy_parent(seed, CHILDREN)
        }
    });
    let [out, err] = paths.map(|path| fs::read_to_string(path).unwrap());
    let of_panic = |line: &&str| line.contains(" panicked at tests/surroundings.rs:");
    let (panics, err): (Vec<_>, Vec<_>) = err.split_inclusive('\n').partition(of_panic);
    assert_eq!(panics.len() as u64, CHILDREN / 2);
    let whole = |line: &&str| line.starts_with("Process-") && line.ends_with("\"the same\")\n");
    assert!(panics.iter().all(whole), "{panics:?}");
    let (out, err) = (whole_lines(&out), whole_lines(&err.concat()));
    for (of, lines) in [("out", &out), ("err", &err)] {
        let twice: Vec<_> = lines.iter().filter(|(_, count)| **count != 1).collect();
        assert!(twice.is_empty(), "std{of}: {twice:?}");
        let of_child = lines.keys().filter(|(who, _)| who == "child").count() as u64;
        assert_eq!(of_child, CHILDREN, "std{of}");
    }
    for (lines, printed) in [(&out, printed[0]), (&err, printed[1])] {
        let of_threads = lines.keys().filter(|(who, _)| who != "child").count() as u64;
        assert_eq!(of_threads, printed);
        assert!(printed > CHILDREN, "the threads have hardly printed: {printed}");
    }
    println!("{printed:?} lines, {untraced} children without a backtrace");
}

/// Starts children beside threads, and says how many lines those printed to either output, and how many
/// children had to do without backtraces.
fn busy_parent(seed: u64, count: u64) -> ([u64; 2], u64) {
    let stop = AtomicBool::new(false);
    let printed = [AtomicU64::new(0), AtomicU64::new(0)];
    let mutex = commons::Mutex::new(0u64).unwrap();
    let mut untraced = 0;
    let beside = |work: &mut dyn FnMut()| {
        while !stop.load(Relaxed) {
            work();
            // A program that has its locks all the time is another test's.
            thread::yield_now();
        }
    };
    thread::scope(|scope| {
        let stops = Stop(&stop);
        for (i, name) in ["first", "second"].into_iter().enumerate() {
            let (beside, printed, mut random) = (&beside, &printed, Random::of(seed + i as u64));
            scope.spawn(move || {
                beside(&mut || {
                    let number = printed[i].load(Relaxed);
                    if i == 0 {
                        io::stdout().write_all(line(name, number).as_bytes()).unwrap();
                    } else {
                        io::stderr().write_all(line(name, number).as_bytes()).unwrap();
                    }
                    printed[i].fetch_add(1, Relaxed);
                    random.pause(50);
                });
            });
        }
        for i in 2..4 {
            let (beside, mut random) = (&beside, Random::of(seed + i));
            scope.spawn(move || beside(&mut || allocate(&mut random)));
        }
        scope.spawn(|| {
            let mut random = Random::of(seed + 4);
            beside(&mut || {
                let name = format!("COMMONS_TEST_{}", random.below(50));
                let value = "v".repeat(random.below(100) as usize);
                // SAFETY: nobody in this process reads the environment but through `std`.
                unsafe { std::env::set_var(&name, &value) };
                assert_eq!(std::env::var(&name).unwrap(), value);
                if random.below(2) == 0 {
                    // SAFETY: as above.
                    unsafe { std::env::remove_var(&name) };
                }
                random.pause(50);
            });
        });
        scope.spawn(|| {
            let mut random = Random::of(seed + 5);
            beside(&mut || {
                drop(std::hint::black_box(in_a_backtrace()));
                random.pause(20_000);
            });
        });
        scope.spawn(|| {
            let mut random = Random::of(seed + 6);
            beside(&mut || {
                *mutex.lock().unwrap() += 1;
                let (mut producer, mut consumer) = ring::<u64>(2).unwrap();
                producer.push(1).unwrap();
                assert_eq!(consumer.pop(), Ok(1));
                drop(commons::process::active_children());
                random.pause(50);
            });
        });
        let parent = std::process::id();
        for number in 0..count {
            let theirs = mutex.clone();
            let child = Process::spawn(move || {
                common::end_with(parent);
                *theirs.lock().unwrap() += 1;
                let said = do_everything(number);
                if number % 2 == 0 { said } else { panic_with(said) }
            });
            let text = match child.unwrap().join() {
                Ok(said) if number % 2 == 0 => format!("{said:?}"),
                Err(JoinError::Panicked { message, backtrace, .. }) if number % 2 == 1 => {
                    let without = backtrace.starts_with("no backtrace: other threads");
                    assert!(without || backtrace.contains("panic_with"), "{backtrace}");
                    untraced += u64::from(without);
                    message
                }
                other => panic!("{other:?}"),
            };
            let sum = number * (number + 1) / 2;
            let is_right =
                |variables: &usize| text == format!("({sum}, {variables}, \"the same\")");
            assert!((1..=51).any(|variables| is_right(&variables)), "{number}: {text}");
        }
        drop(stops);
    });
    io::stdout().flush().unwrap();
    assert!(*mutex.lock().unwrap() > count);
    assert!(untraced < count / 2, "not one has a backtrace");
    assert_eq!(children(), []);
    (printed.map(AtomicU64::into_inner), untraced)
}

// ---- who waits for children ----

/// In a process that has no other children: all that a start may be, whoever takes the status of children.
fn starts_whoever_waits() {
    for i in 0..40u64 {
        assert_eq!(Process::spawn(move || i).unwrap().join().unwrap(), i);
        let waited = Process::builder().daemon().niceness(1).spawn(move || i).unwrap();
        match waited.wait() {
            Ok(status) => assert_eq!(status, ExitStatus::Exited(0)),
            Err(error) => assert!(error.to_string().contains("another wait"), "{error}"),
        }
        assert!(!waited.is_alive() && waited.to_string().contains("stopped"), "{waited}");
        assert_eq!(waited.join().unwrap(), i);
        let code = Process::spawn(|| -> u8 { process::exit(3) }).unwrap();
        match code.join() {
            Err(JoinError::Exited { code: 3 }) => {}
            Err(JoinError::Os(error)) => {
                assert!(error.to_string().contains("another wait"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        let killed = Process::spawn(pause).unwrap();
        assert!(killed.is_alive() && killed.wait_timeout(Duration::ZERO).unwrap().is_none());
        killed.kill().unwrap();
        match killed.join() {
            Err(JoinError::Signaled { signal: libc::SIGKILL }) => {}
            Err(JoinError::Os(error)) => {
                assert!(error.to_string().contains("another wait"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        // Signals to who is gone reach nobody, whoever has its number by now.
        let gone = Process::spawn(|| ()).unwrap();
        while gone.is_alive() {
            thread::yield_now();
        }
        gone.kill().unwrap();
        gone.join().unwrap();
    }
    while !process::active_children().is_empty() {
        thread::yield_now();
    }
}

/// For a child that is killed.
fn pause() {
    common::die_after(300);
    pause_for_ever();
}

/// What a start fails with where a setting cannot be made.
fn refused() -> Vec<String> {
    let refused =
        (0..100).map(|_| match Process::builder().current_dir("/nowhere/at/all").spawn(|| ()) {
            Err(error @ Error::Process { what: "setting the child's directory", .. }) => {
                error.to_string()
            }
            other => format!("{other:?}"),
        });
    let mut refused: Vec<_> = refused.collect();
    refused.sort();
    refused.dedup();
    refused
}

#[test]
fn children_start_and_are_joined_where_the_program_ignores_their_ends() {
    let _watchdog = watchdog();
    in_child(|| {
        // SAFETY: takes integers.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        starts_whoever_waits();
        assert_eq!(children(), []);
    });
}

/// Runs `f` beside a thread that waits for whatever child there is, all the time.
fn beside_a_wait<R>(f: impl FnOnce() -> R) -> R {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let _stops = Stop(&stop);
        scope.spawn(|| {
            let mut status = 0;
            while !stop.load(Relaxed) {
                // SAFETY: `status` is live for the kernel to fill in.
                if unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } <= 0 {
                    thread::yield_now();
                }
            }
        });
        f()
    })
}

#[test]
fn children_start_and_are_joined_where_another_thread_waits_for_all() {
    let _watchdog = watchdog();
    in_child(|| beside_a_wait(starts_whoever_waits));
}

#[test]
fn a_setting_that_cannot_be_made_is_the_error_whoever_waits() {
    let _watchdog = watchdog();
    let problems = in_child(|| beside_a_wait(refused));
    assert_eq!(problems.len(), 1, "{problems:?}");
    let problems = in_child(|| {
        // SAFETY: takes integers.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        refused()
    });
    assert_eq!(problems.len(), 1, "{problems:?}");
}

#[test]
fn no_process_is_signalled_by_its_number() {
    let _watchdog = watchdog();
    for ignored in [false, true] {
        in_child(move || {
            common::filter::die_at_a_signal_by_number();
            if ignored {
                // SAFETY: takes integers.
                unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
            }
            beside_a_wait(refused);
            beside_a_wait(starts_whoever_waits);
        });
    }
}

// ---- tracers ----

/// A process that traces another one and does not look at it, so that what that one's end leaves is the
/// tracer's to see first.
fn tracer_of(pid: u32) -> common::Child<()> {
    let (mut begins, mut begun) = io::pipe().unwrap();
    let tracer = child(move || {
        let nothing = std::ptr::null_mut::<()>();
        // SAFETY: takes integers.
        let traced = unsafe { libc::ptrace(libc::PTRACE_SEIZE, pid, nothing, nothing) };
        let error = io::Error::last_os_error().raw_os_error().unwrap_or(0);
        let error = if traced == 0 { 0 } else { error as u8 };
        begun.write_all(&[error]).unwrap();
        pause_for_ever();
    });
    let mut error = [0];
    begins.read_exact(&mut error).unwrap();
    assert_eq!(error, [0], "PTRACE_SEIZE: {}", io::Error::from_raw_os_error(error[0].into()));
    tracer
}

#[test]
fn nobody_but_a_wait_waits_for_a_tracer() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut go, mut goes) = ring::<()>(1).unwrap();
        let process = Process::spawn(move || {
            // SAFETY: takes integers; where tracers are restricted, it lets itself be traced.
            unsafe { libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY) };
            goes.pop().unwrap();
            3u8
        });
        let process = process.unwrap();
        let tracer = tracer_of(process.pid());
        go.push(()).unwrap();
        // It has ended, and the kernel tells its parent when it has told the tracer.
        while !common::zombies().iter().any(|zombie| zombie.pid == process.pid()) {
            thread::yield_now();
        }
        for _ in 0..3 {
            assert!(process.is_alive());
            assert_eq!(process.wait_timeout(Duration::ZERO).unwrap(), None);
            assert_eq!(process.wait_timeout(Duration::from_millis(5)).unwrap(), None);
            assert_eq!(process.join_timeout(Duration::from_millis(5)).unwrap(), None);
            assert_eq!(process.exit_code(), None);
            assert!(process.to_string().ends_with(" started>"), "{process}");
            assert!(process::active_children().iter().any(|child| child.pid() == process.pid()));
            process.kill().unwrap();
            // Nor does a start.
            assert_eq!(Process::spawn(|| 5).unwrap().join().unwrap(), 5);
        }
        let waiting = AtomicU32::new(0);
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                waiting.store(common::thread_id(), Relaxed);
                process.wait().unwrap()
            });
            while waiting.load(Relaxed) == 0 || !sleeps(waiting.load(Relaxed)) {
                thread::yield_now();
            }
            // Beside one that waits, the others do not, either.
            assert!(process.is_alive() && process.exit_code().is_none());
            assert_eq!(process.wait_timeout(Duration::from_millis(5)).unwrap(), None);
            assert!(process.to_string().ends_with(" started>"), "{process}");
            assert!(!waits.is_finished());
            tracer.kill();
            assert_eq!(waits.join().unwrap(), ExitStatus::Exited(0));
        });
        assert!(!process.is_alive());
        assert_eq!(process.join().unwrap(), 3);
        assert_eq!(children(), []);
    });
}

/// Whether a thread of this process sleeps.
fn sleeps(thread: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
    stat.rsplit(')').next().unwrap().starts_with(" S")
}

// ---- the end ----

/// Where the exit handler of a process says that it runs, and of which process it is.
static TOLD: [AtomicU32; 2] = [AtomicU32::new(0), AtomicU32::new(0)];

extern "C" fn tells() {
    let [output, of] = [TOLD[0].load(Relaxed), TOLD[1].load(Relaxed)];
    let text = if std::process::id() == of { b"own;" } else { b"BAD;" };
    // SAFETY: live bytes.
    unsafe { libc::write(output as i32, text.as_ptr().cast(), text.len()) };
}

#[test]
fn a_child_runs_no_exit_handler_of_its_parent() {
    let _watchdog = watchdog();
    let (mut reader, writer) = io::pipe().unwrap();
    let parent = child(move || -> () {
        TOLD[0].store(writer.as_raw_fd() as u32, Relaxed);
        TOLD[1].store(std::process::id(), Relaxed);
        // One from before the crate's own, and one from after it.
        // SAFETY: a function of this program.
        assert_eq!(unsafe { libc::atexit(tells) }, 0);
        Process::spawn(|| ()).unwrap().join().unwrap();
        // SAFETY: as above.
        assert_eq!(unsafe { libc::atexit(tells) }, 0);
        Process::spawn(|| ()).unwrap().join().unwrap();
        let ends = Process::spawn(|| -> () { process::exit(3) }).unwrap();
        assert_eq!(ends.wait().unwrap(), ExitStatus::Exited(3));
        let panics = Process::spawn(|| -> () { panic!("on purpose") }).unwrap();
        assert_eq!(panics.wait().unwrap(), ExitStatus::Exited(1));
        let fails = Process::spawn(|| Err::<(), _>(1u8)).unwrap();
        assert_eq!(fails.wait().unwrap(), ExitStatus::Exited(1));
        let nested = Process::builder().daemon().spawn(|| 1u8).unwrap();
        assert_eq!(nested.join().unwrap(), 1);
        let nested = Process::spawn(|| Process::spawn(|| 1u8).unwrap().join().unwrap());
        assert_eq!(nested.unwrap().join().unwrap(), 1);
        let _ = (&writer).write_all(b"end;");
        // The handlers are there: they run at the end of whose they are.
        std::process::exit(0)
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert!(matches!(parent.join(), Err(JoinError::Exited { code: 0 })));
    assert_eq!(text, "end;own;own;");
}

/// Starts children that run `f`, beside threads that do `work` all the time.
fn beside_threads(work: fn(), f: fn()) {
    in_child(move || {
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let _stops = Stop(&stop);
            for _ in 0..2 {
                scope.spawn(|| {
                    while !stop.load(Relaxed) {
                        work();
                    }
                });
            }
            let parent = std::process::id();
            for _ in 0..50 {
                let child = Process::spawn(move || {
                    common::end_with(parent);
                    f();
                });
                child.unwrap().join().unwrap();
            }
        });
    });
}

#[test]
fn a_child_changes_its_environment_though_threads_of_its_parent_read_theirs() {
    let _watchdog = watchdog_of(30);
    beside_threads(
        || drop(std::env::var("PATH")),
        // SAFETY: the child has one thread.
        || unsafe { std::env::set_var("COMMONS_TEST_CHILD", "set") },
    );
}

#[test]
fn a_child_takes_a_backtrace_though_threads_of_its_parent_take_theirs() {
    let _watchdog = watchdog_of(30);
    beside_threads(|| drop(in_a_backtrace()), || drop(in_a_backtrace()));
}
