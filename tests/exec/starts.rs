//! What a child is that was started by exec, and what it is not.

use crate::common::{
    Random, anonymous_bytes, descriptors, errors_of, in_child, mappings, signal, zombies,
};
use commons::process::{self, Process, StartMethod, active_children};
use commons::{Error, ExitStatus, JoinError, Latest, spsc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

crate::tests! {
    arguments_go_there_and_results_come_back
    a_child_is_who_its_parent_says
    it_begins_with_nothing_of_its_parents_memory
    panics_and_codes_come_back
    what_cannot_be_carried_over_is_an_error
    it_has_the_descriptors_that_it_needs_and_no_others
    a_daemon_dies_with_its_parent
    a_child_of_a_dead_parent_does_nothing
    settings_are_made_or_are_errors
    another_program_is_refused_and_a_copy_is_not
    children_start_children_by_either_method
    other_threads_do_not_matter
    hundreds_leave_nothing
    too_few_descriptors_are_an_error
    killed_at_random_they_leave_nothing
    log_04_the_level_and_the_logger_are_inherited
    what_goes_wrong_is_a_line_on_standard_error
    grandchildren_have_the_environment_the_level_and_the_method
    the_variable_alone_makes_no_child
    it_starts_where_ended_children_are_nobodys
    a_setting_that_cannot_be_made_is_the_error_where_ended_children_are_nobodys
}

pub(crate) fn exec() -> process::Builder {
    StartMethod::Exec.builder()
}

fn reverse(text: String) -> String {
    text.chars().rev().collect()
}

fn same<T>(value: T) -> T {
    value
}

fn arguments_go_there_and_results_come_back() {
    assert_eq!(exec().call(reverse, "abc".to_owned()).unwrap().join().unwrap(), "cba");
    exec().call(same::<()>, ()).unwrap().join().unwrap();
    let map = BTreeMap::from([(1u8, vec![Some('a'), None]), (2, Vec::new())]);
    assert_eq!(exec().call(same, map.clone()).unwrap().join().unwrap(), map);
    let long = vec![0x5au8; 3 << 20];
    assert!(exec().call(same, long.clone()).unwrap().join().unwrap() == long);
    let no_capture: fn(u32) -> u32 = |number| number + 1;
    assert_eq!(exec().call(no_capture, 1).unwrap().join().unwrap(), 2);
}

type Who = (String, u32, bool, Option<(u32, String)>, StartMethod, String);

fn who(_: ()) -> Who {
    let parent = process::parent().map(|parent| (parent.pid(), parent.name().to_owned()));
    let current = process::current();
    let (pid, name) = (current.pid(), current.name().to_owned());
    (name, pid, current.is_daemon(), parent, process::start_method(), current.to_string())
}

fn a_child_is_who_its_parent_says() {
    let parent = Some((std::process::id(), process::current().name().to_owned()));
    for daemon in [false, true] {
        let mut builder = exec();
        if daemon {
            builder = builder.daemon();
        }
        let expected = builder.to_string().split('\'').nth(1).unwrap().to_owned();
        let child = builder.call(who, ()).unwrap();
        let (pid, name) = (child.pid(), child.name());
        assert_eq!((name.clone(), child.is_daemon()), (expected, daemon));
        let text = format!(
            "<Process name='{name}' parent={} started{}>",
            std::process::id(),
            if daemon { " daemon" } else { "" }
        );
        let expected = (name, pid, daemon, parent.clone(), StartMethod::Exec, text);
        assert_eq!(child.join().unwrap(), expected);
    }
    let named = exec().name("a name").call(who, ()).unwrap().join().unwrap();
    assert_eq!(named.0, "a name");
    let comm = exec().call(|(): ()| fs::read_to_string("/proc/self/comm").unwrap(), ()).unwrap();
    assert_eq!(comm.join().unwrap(), fs::read_to_string("/proc/self/comm").unwrap());
}

static CHANGED: AtomicU32 = AtomicU32::new(1);

fn it_begins_with_nothing_of_its_parents_memory() {
    CHANGED.store(2, Relaxed);
    let read: fn(()) -> u32 = |()| CHANGED.load(Relaxed);
    assert_eq!(exec().call(read, ()).unwrap().join().unwrap(), 1);
    let fork = StartMethod::Fork.builder();
    assert_eq!(fork.call(read, ()).unwrap().join().unwrap(), 2);
    let own: fn(()) -> Vec<String> = |()| std::env::args().collect();
    let arguments = exec().call(own, ()).unwrap().join().unwrap();
    assert_eq!(arguments, std::env::args().collect::<Vec<_>>());
    let given = exec().command_line(["one", "two"]).call(own, ()).unwrap().join().unwrap();
    assert_eq!(given, ["one", "two"]);
}

fn panics(what: String) -> u8 {
    panic!("{what}!")
}

fn panics_and_codes_come_back() {
    match exec().call(panics, "no".to_owned()).unwrap().join() {
        Err(JoinError::Panicked { message, location, backtrace }) => {
            assert_eq!(message, "no!");
            assert!(location.starts_with(file!()), "{location}");
            assert!(backtrace.contains("panics"), "{backtrace}");
        }
        other => panic!("{other:?}"),
    }
    let child = exec().call(|code: i32| -> () { process::exit(code) }, 300).unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(44));
    let child = exec().call(|code: i32| -> () { std::process::exit(code) }, 7).unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(7));
    let child = exec().call(|(): ()| -> () { std::process::abort() }, ()).unwrap();
    let joined = child.join();
    assert!(matches!(joined, Err(JoinError::Signaled { signal: libc::SIGABRT })), "{joined:?}");
}

/// Fails on its way there.
struct There;
/// Fails when it has come.
struct Back;

impl Serialize for There {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("no way there"))
    }
}
impl<'de> Deserialize<'de> for There {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(There)
    }
}
impl Serialize for Back {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_unit()
    }
}
impl<'de> Deserialize<'de> for Back {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("no way back"))
    }
}

fn what_cannot_be_carried_over_is_an_error() {
    let refused = exec().call(|_: There| (), There);
    match refused {
        Err(Error::Process { what: "serialising the argument", .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(active_children().is_empty());
    let child = exec().call(|_: Back| (), Back).unwrap();
    assert_eq!(child.wait().unwrap(), ExitStatus::Exited(1));
    let joined = child.join();
    assert!(matches!(&joined, Err(JoinError::Argument { .. })), "{joined:?}");
}

/// What descriptors this process has, by what they are.
fn open_files(_: ()) -> Vec<(i32, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap() {
        let entry = entry.unwrap();
        let number = entry.file_name().to_str().unwrap().parse().unwrap();
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        files.push((number, target.to_string_lossy().into_owned()));
    }
    files
}

fn it_has_the_descriptors_that_it_needs_and_no_others() {
    let socket = std::os::unix::net::UnixDatagram::unbound().unwrap();
    // SAFETY: duplicates a descriptor, to one that exec does not close.
    let high = unsafe { libc::fcntl(socket.as_raw_fd(), libc::F_DUPFD, 300) };
    assert!(high >= 300);
    let siblings: Vec<_> = (0..10)
        .map(|_| {
            exec().call(|mut end: spsc::Consumer<u8>| drop(end.pop()), spsc::ring(1).unwrap().1)
        })
        .collect::<Result<_, _>>()
        .unwrap();
    let count = |files: &[(i32, String)]| {
        files.iter().filter(|(number, target)| *number > 2 && !target.starts_with("/proc/")).count()
    };
    let first = exec().call(open_files, ()).unwrap().join().unwrap();
    assert!(first.iter().all(|(_, target)| !target.starts_with("socket")), "{first:?}");
    // The segment of the start and its locks, and where the result goes.
    assert!(count(&first) <= 5, "{first:?}");
    assert_eq!(first.iter().find(|(number, _)| *number == 0).unwrap().1, "/dev/null");
    let daemon = exec().daemon().call(open_files, ()).unwrap().join().unwrap();
    assert_eq!(count(&daemon), count(&first) + 1, "{daemon:?}");
    // SAFETY: nobody else knows it.
    unsafe { libc::close(high) };
    drop(siblings);
}

fn pid_of(path: &str) -> Option<u32> {
    fs::read_to_string(path).ok()?.parse().ok()
}

fn says_its_pid_and_stays(path: String) {
    fs::write(&path, std::process::id().to_string()).unwrap();
    loop {
        thread::park();
    }
}

/// Starts a daemon by exec and stays.
fn has_a_daemon(path: String) {
    exec().daemon().call(says_its_pid_and_stays, path).unwrap();
    loop {
        thread::park();
    }
}

fn is_gone(pid: u32) -> bool {
    // SAFETY: takes integers.
    unsafe { libc::kill(pid as i32, 0) != 0 }
}

fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        thread::yield_now();
    }
}

fn a_daemon_dies_with_its_parent() {
    let path = crate::common::name("pid");
    let file = path.path().to_string_lossy().into_owned();
    let parent = exec().call(has_a_daemon, file.clone()).unwrap();
    wait_until(|| pid_of(&file).is_some());
    let daemon = pid_of(&file).unwrap();
    assert!(!is_gone(daemon));
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_until(|| is_gone(daemon));
    let orphan = exec().call(|(): ()| exec().daemon().call(|(): ()| (), ()).is_err(), ());
    assert!(!orphan.unwrap().join().unwrap(), "no daemon may start children");
}

/// Kills itself while it starts children.
fn starts_many(directory: String) {
    thread::spawn(|| {
        thread::sleep(Duration::from_millis(30));
        signal(std::process::id(), libc::SIGKILL);
    });
    loop {
        let _ = exec().call(
            |directory: String| {
                let path = PathBuf::from(directory).join(std::process::id().to_string());
                // Called with its parent alive: as it was when the gate was opened.
                fs::write(path, "").unwrap();
            },
            directory.clone(),
        );
    }
}

fn a_child_of_a_dead_parent_does_nothing() {
    let directory = crate::common::name("directory");
    fs::create_dir(directory.path()).unwrap();
    let text = directory.path().to_string_lossy().into_owned();
    for _ in 0..3 {
        let parent = exec().call(starts_many, text.clone()).unwrap();
        assert_eq!(parent.wait().unwrap(), ExitStatus::Signaled(libc::SIGKILL));
    }
    // No run of this program is left that took itself for the first: it would go through all tests.
    let own = fs::read_link("/proc/self/exe").unwrap();
    let others = || {
        fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            let same = fs::read_link(entry.path().join("exe")).ok()? == own;
            (same && pid != std::process::id()).then_some(pid)
        })
    };
    wait_until(|| others().count() == 0);
}

fn surroundings(_: ()) -> (PathBuf, Option<String>, Option<String>, i32) {
    let variable = |name| std::env::var(name).ok();
    // SAFETY: takes integers.
    let niceness = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
    (
        std::env::current_dir().unwrap(),
        variable("COMMONS_TEST"),
        variable("COMMONS_CHILD"),
        niceness,
    )
}

fn settings_are_made_or_are_errors() {
    let builder = exec().current_dir("/").env("COMMONS_TEST", "here").niceness(19);
    let found = builder.call(surroundings, ()).unwrap().join().unwrap();
    assert_eq!(found, (PathBuf::from("/"), Some("here".to_owned()), None, 19));
    let mut file = tempfile();
    file.write_all(b"text").unwrap();
    io::Seek::rewind(&mut file).unwrap();
    let read: fn(()) -> String = |()| io::read_to_string(io::stdin()).unwrap();
    assert_eq!(exec().stdin(file).call(read, ()).unwrap().join().unwrap(), "text");
    assert_eq!(exec().call(read, ()).unwrap().join().unwrap(), "");
    let before = descriptors();
    let refused = [
        (exec().current_dir("/nowhere"), "setting the child's directory"),
        (exec().affinity([]), "setting the child's affinity"),
        (exec().executable("/nowhere"), "fork and exec"),
        (exec().env("A=B", ""), "setting the child's environment"),
    ];
    for (builder, expected) in refused {
        match builder.call(surroundings, ()) {
            Err(Error::Process { what, .. }) => assert_eq!(what, expected),
            other => panic!("{other:?}"),
        }
    }
    assert!(active_children().is_empty());
    assert_eq!(descriptors(), before);
}

fn tempfile() -> fs::File {
    let name = crate::common::name("file");
    fs::File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(name.path())
        .unwrap()
}

/// Where in a program the name is that its linker gave it, if it gave it one of the usual length.
fn name_of_build(program: &[u8]) -> Option<usize> {
    let head = [4u32, 20, 3].map(u32::to_ne_bytes);
    let head = [head.as_flattened(), b"GNU\0"].concat();
    program.windows(head.len()).position(|window| window == head).map(|at| at + head.len())
}

fn another_program_is_refused_and_a_copy_is_not() {
    let copy = crate::common::name("copy");
    fs::copy("/proc/self/exe", copy.path()).unwrap();
    let run = |text: &str| exec().executable(copy.path()).call(reverse, text.to_owned());
    let mut program = fs::read(copy.path()).unwrap();
    let joined = run("ab").unwrap().join();
    match name_of_build(&program) {
        Some(at) => {
            assert_eq!(joined.unwrap(), "ba");
            // The same to the last byte, but for its name.
            program[at] ^= 1;
            fs::write(copy.path(), &program).unwrap();
            let path = copy.path();
            let errors = in_child(move || {
                errors_of(|| {
                    let joined = exec().executable(path).call(reverse, String::new());
                    let joined = joined.unwrap().join();
                    assert!(matches!(joined, Err(JoinError::Exited { code: 1 })), "{joined:?}");
                })
            });
            assert!(errors.contains("it runs another program than its parent"), "{errors}");
        }
        // A copy is another program then.
        None => assert!(matches!(joined, Err(JoinError::Exited { code: 1 })), "{joined:?}"),
    }
    let child = exec().executable("/bin/true").call(reverse, String::new()).unwrap();
    let joined = child.join();
    assert!(matches!(joined, Err(JoinError::Exited { code: 0 })), "{joined:?}");
}

fn what_goes_wrong_is_a_line_on_standard_error() {
    let errors = in_child(|| {
        errors_of(|| {
            let panics = exec().name("first").call(panics, "a\nb".to_owned()).unwrap();
            assert_eq!(panics.wait().unwrap(), ExitStatus::Exited(1));
            let fails = exec().name("second").call(|_: Back| (), Back).unwrap();
            assert_eq!(fails.wait().unwrap(), ExitStatus::Exited(1));
        })
    });
    let [panicked, failed] = errors.lines().collect::<Vec<_>>()[..] else { panic!("{errors}") };
    assert!(panicked.starts_with(&format!("first panicked at {}:", file!())), "{panicked}");
    assert!(panicked.ends_with(": a\\nb!"), "{panicked}");
    assert!(
        failed.starts_with("second: its argument could not be made of what came: "),
        "{failed}"
    );
}

/// The variable of the test, the level of messages and the method of the process, `depth` further down.
fn inherited(depth: u32) -> (Option<String>, usize, StartMethod) {
    if depth > 0 {
        return Process::call(inherited, depth - 1).unwrap().join().unwrap();
    }
    #[cfg(feature = "log")]
    let level = log::max_level() as usize;
    #[cfg(not(feature = "log"))]
    let level = 0;
    (std::env::var("COMMONS_TEST").ok(), level, process::start_method())
}

fn grandchildren_have_the_environment_the_level_and_the_method() {
    #[cfg(feature = "log")]
    process::log_to_stderr(log::LevelFilter::Error).unwrap();
    let level = if cfg!(feature = "log") { 1 } else { 0 };
    for (method, builder) in [
        (StartMethod::Exec, exec()),
        // A child of one that was forked is forked.
        (StartMethod::Fork, StartMethod::Fork.builder()),
    ] {
        let found = builder.env("COMMONS_TEST", "handed on").call(inherited, 2).unwrap();
        assert_eq!(found.join().unwrap(), (Some("handed on".to_owned()), level, method));
    }
    #[cfg(feature = "log")]
    process::log_to_stderr(log::LevelFilter::Off).unwrap();
}

fn nested(depth: u32) -> u32 {
    if depth == 0 {
        return 0;
    }
    // By the method by which this one was started, and by the other.
    let next = Process::call(nested, depth - 1).unwrap().join().unwrap();
    let forked = Process::spawn(process::start_method).unwrap().join().unwrap();
    assert_eq!(forked, StartMethod::Fork);
    1 + next
}

fn children_start_children_by_either_method() {
    assert_eq!(exec().call(nested, 3).unwrap().join().unwrap(), 3);
    let by_fork = Process::spawn(|| exec().call(nested, 2).unwrap().join().unwrap());
    assert_eq!(by_fork.unwrap().join().unwrap(), 2);
}

fn other_threads_do_not_matter() {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        // One holds what no fork could do without.
        scope.spawn(|| {
            let _out = io::stdout().lock();
            let _err = io::stderr().lock();
            wait_until(|| done.load(Relaxed));
        });
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Relaxed) {
                    drop(std::backtrace::Backtrace::force_capture());
                    drop(vec![0u8; 1000]);
                }
            });
        }
        for i in 0..20 {
            let child = exec().refuse_threads().call(reverse, i.to_string()).unwrap();
            assert!(child.join().is_ok());
        }
        done.store(true, Relaxed);
    });
}

fn hundreds_leave_nothing() {
    let run = |count: u32| {
        for i in 0..count {
            let cell = Latest::new(&i).unwrap();
            let child = exec().call(
                |mut r: commons::latest::Reader<u32>| r.read().unwrap(),
                cell.reader().unwrap(),
            );
            let child = child.unwrap();
            if i % 3 == 0 {
                child.kill().unwrap();
                let _ = child.wait();
            } else {
                assert_eq!(child.join().unwrap(), i);
            }
        }
        assert_eq!(zombies(), []);
        (descriptors(), mappings(), anonymous_bytes())
    };
    let before = run(20);
    assert_eq!(run(60), before);
    assert!(active_children().is_empty());
}

fn too_few_descriptors_are_an_error() {
    let child = Process::spawn(|| {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: `limit` is live for the kernel to fill in.
        assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) }, 0);
        let set = |count: u64| {
            let limit = libc::rlimit { rlim_cur: count, ..limit };
            // SAFETY: `limit` is live for the kernel to read.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) }, 0);
        };
        exec().call(reverse, String::new()).unwrap().join().unwrap();
        let before = descriptors();
        let mut refused = 0;
        for count in 3..40 {
            set(count);
            let started = exec().daemon().call(reverse, String::new());
            set(limit.rlim_cur);
            match started {
                // It had as few, and may have met with its own end.
                Ok(child) => drop(child.wait().unwrap()),
                Err(Error::Process { .. } | Error::Os { .. }) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
            assert_eq!(descriptors(), before);
        }
        assert!(refused > 0 && active_children().is_empty());
        exec().call(reverse, String::new()).unwrap().join().unwrap();
    });
    child.unwrap().join().unwrap();
}

/// How many children the storm starts.
fn many() -> u32 {
    std::env::var("COMMONS_STORM").map_or(1000, |text| text.parse().expect("a number"))
}

fn killed_at_random_they_leave_nothing() {
    let mut random = Random::seeded("killed_at_random_they_leave_nothing");
    let push: fn(spsc::Producer<u32>) -> bool = |mut end| end.push(7).is_ok();
    let (mut done, mut killed) = (0, 0);
    let mut storm = |count: u32| {
        for _ in 0..count {
            let (producer, mut consumer) = spsc::ring(1).unwrap();
            let child = exec().call(push, producer).unwrap();
            // Anywhere between its first instruction and its end.
            random.pause(6000);
            child.kill().unwrap();
            match child.join() {
                Ok(sent) => {
                    assert!(sent && consumer.pop().is_ok());
                    done += 1;
                }
                Err(JoinError::Signaled { signal: libc::SIGKILL }) => killed += 1,
                other => panic!("{other:?}"),
            }
            while consumer.pop().is_ok() {}
        }
        assert_eq!(zombies(), []);
        (descriptors(), mappings(), anonymous_bytes())
    };
    let before = storm(10);
    assert_eq!(storm(many()), before);
    assert!(active_children().is_empty());
    assert!(killed > 0 && done > 0, "{killed} were killed, {done} were not");
}

fn log_04_the_level_and_the_logger_are_inherited() {
    #[cfg(feature = "log")]
    {
        use log::LevelFilter;
        let state: fn(()) -> (usize, bool) =
            |()| (log::max_level() as usize, log::log_enabled!(log::Level::Error));
        let found = exec().call(state, ()).unwrap().join().unwrap();
        assert_eq!(found, (log::max_level() as usize, false));
        for level in [LevelFilter::Error, LevelFilter::Warn] {
            process::log_to_stderr(level).unwrap();
            let found = exec().call(state, ()).unwrap().join().unwrap();
            assert_eq!(found, (level as usize, true));
        }
        process::log_to_stderr(LevelFilter::Off).unwrap();
    }
}

fn the_variable_alone_makes_no_child() {
    for text in ["", "3", "0", "99999", "-1", "x"] {
        let mut command = std::process::Command::new("/proc/self/exe");
        let output = command.arg("no test has this name").env("COMMONS_CHILD", text).output();
        let output = output.unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{text}: {output:?}");
    }
}

/// Runs `f` in a process of its own, in which children that end are waited for by the kernel, or by a
/// thread that waits for all of them.
fn where_ended_children_are_nobodys(f: fn()) {
    let ignoring = Process::spawn(move || {
        // SAFETY: takes integers.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        f();
    });
    ignoring.unwrap().join().unwrap();
    let waiting = Process::spawn(move || {
        thread::spawn(|| {
            let mut status = 0;
            loop {
                // SAFETY: `status` is live for the kernel to fill in.
                unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
                thread::yield_now();
            }
        });
        f();
    });
    waiting.unwrap().join().unwrap();
}

fn it_starts_where_ended_children_are_nobodys() {
    where_ended_children_are_nobodys(|| {
        for _ in 0..20 {
            let child = exec().call(reverse, "abc".to_owned()).unwrap();
            assert_eq!(child.join().unwrap(), "cba");
            let killed = exec().call(pauses, ()).unwrap();
            assert!(killed.is_alive());
            killed.kill().unwrap();
            match killed.join() {
                Err(JoinError::Signaled { signal: libc::SIGKILL }) => {}
                Err(JoinError::Os(error)) => assert!(error.to_string().contains("another wait")),
                other => panic!("{other:?}"),
            }
        }
    });
}

fn pauses(_: ()) {
    crate::common::die_after(300);
    crate::common::pause_for_ever();
}

fn a_setting_that_cannot_be_made_is_the_error_where_ended_children_are_nobodys() {
    where_ended_children_are_nobodys(|| {
        for _ in 0..20 {
            match exec().current_dir("/nowhere").call(reverse, String::new()) {
                Err(Error::Process { what: "setting the child's directory", .. }) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}
