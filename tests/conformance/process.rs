//! PROC-*; more of them are in `start.rs`.
//!
//! | id | why there is no test, or what differs |
//! |---|---|
//! | PROC-07 | a negative timeout does not exist |
//! | PROC-09 | what is started is another type than what starts it |
//! | PROC-15, PROC-45 | of Python alone |
//! | PROC-13, PROC-39 | `tests/process.rs`: `a_panic_says_where_it_was_in_one_line_and_to_the_parent`; `tests/exec`: `what_goes_wrong_is_a_line_on_standard_error`; `tests/process.rs`: `what_was_printed_before_is_printed_once` |
//! | PROC-21 | `tests/process.rs`: `its_descriptor_is_readable_when_a_child_has_ended`; what was not started has none, by its type |
//! | PROC-35 | keys belong to connections between programs, of which there are none |
//! | PROC-03, PROC-43, PROC-44, PROC-48 | `tests/exec`: `arguments_go_there_and_results_come_back`, `it_has_the_descriptors_that_it_needs_and_no_others`, `another_program_is_refused_and_a_copy_is_not`; `tests/process.rs`: `a_program_that_does_not_say_its_entry_starts_nothing_by_exec` |
//! | PROC-47 | START-04, LOG-04, and `tests/exec`: `grandchildren_have_the_environment_the_level_and_the_method` |
//! | PROC-22 | a handle that is dropped leaves its child running; nothing else closes one |
//! | PROC-38 | threads end with their process, as everywhere in Rust |

use crate::common::{
    Child, anonymous_bytes, child, children, descriptors, in_child, mappings, open_descriptors,
    pause_for_ever, signal, watchdog, zombies,
};
use commons::process::{self, Process, Runnable, active_children};
use commons::{ExitStatus, JoinError, spsc};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

const SHORT: Duration = Duration::from_millis(20);

fn pause() {
    pause_for_ever();
}

/// The pids of the children that are said to be active.
fn active() -> BTreeSet<u32> {
    active_children().iter().map(process::Child::pid).collect()
}

/// Kills the child with the calling test.
fn held(process: &Process<()>) -> Killed {
    Killed((**process).clone())
}

struct Killed(process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn proc_01_a_builder_starts_nothing() {
    let _watchdog = watchdog();
    in_child(|| {
        let builder = Process::builder().name("later");
        assert!(active().is_empty());
        let text = builder.to_string();
        let own = std::process::id();
        assert_eq!(text, format!("<Process name='later' parent={own} initial>"));
    });
}

#[test]
fn proc_02_05_17_a_child_is_active_until_it_has_ended() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut go, mut goes) = spsc::ring::<()>(1).unwrap();
        let process = Process::spawn(move || goes.pop().unwrap()).unwrap();
        assert_ne!(process.pid(), 0);
        assert!(process.is_alive());
        assert_eq!((process.exit_code(), process.exit_status().unwrap()), (None, None));
        assert_eq!(active(), BTreeSet::from([process.pid()]));
        go.push(()).unwrap();
        assert_eq!(process.wait().unwrap(), ExitStatus::Exited(0));
        assert_eq!(process.exit_code(), Some(0));
        assert!(!process.is_alive());
        assert!(active().is_empty());
        process.join().unwrap();
    });
}

#[test]
fn proc_04_parent_and_child_agree_on_pid_and_name() {
    let _watchdog = watchdog();
    in_child(|| {
        let own = || (process::current().pid(), process::current().name().to_owned());
        let process = Process::builder().name("worker 1").spawn(own).unwrap();
        let expected = (process.pid(), process.name());
        assert_eq!(process.join().unwrap(), expected);
        assert_eq!(expected.1, "worker 1");
    });
}

#[test]
fn proc_06_07_08_a_join_with_a_timeout_may_be_repeated() {
    let _watchdog = watchdog();
    in_child(|| {
        let process = Process::spawn(pause).unwrap();
        let _killed = held(&process);
        for timeout in [Duration::ZERO, SHORT] {
            assert!(matches!(process.join_timeout(timeout), Ok(None)));
            assert_eq!(process.wait_timeout(timeout).unwrap(), None);
        }
        assert!(process.is_alive());
        process.kill().unwrap();
        for _ in 0..3 {
            assert_eq!(process.wait().unwrap(), ExitStatus::Signaled(libc::SIGKILL));
            let joined = process.join_timeout(Duration::MAX);
            assert!(matches!(joined, Err(JoinError::Signaled { signal: libc::SIGKILL })));
        }
        let result = Process::spawn(|| "again".to_owned()).unwrap();
        for _ in 0..3 {
            assert_eq!(result.join_timeout(Duration::MAX).unwrap().as_deref(), Some("again"));
        }
    });
}

#[test]
fn proc_10_only_the_parent_waits() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut go, mut goes) = spsc::ring::<()>(1).unwrap();
        let first = Process::spawn(move || goes.pop().unwrap()).unwrap();
        let mine = (*first).clone();
        let second = Process::spawn(move || {
            let text = first.to_string();
            let refused = first.wait_timeout(SHORT).is_err() && first.exit_status().is_err();
            (refused && first.exit_code().is_none(), first.is_alive(), text, first.join().is_err())
        });
        let (refused, alive, text, unjoined) = second.unwrap().join().unwrap();
        assert!(refused && alive && unjoined);
        assert!(text.contains(" unknown"), "{text}");
        go.push(()).unwrap();
        assert_eq!(mine.wait().unwrap(), ExitStatus::Exited(0));
    });
}

/// Whether a child has ended and was not reaped.
fn is_zombie(pid: u32) -> bool {
    zombies().iter().any(|child| child.pid == pid)
}

#[test]
fn proc_11_whoever_asks_reaps() {
    let _watchdog = watchdog();
    in_child(|| {
        let asks: [fn(&Process<()>); 5] = [
            |process| drop(process.wait()),
            |process| assert!(!process.is_alive()),
            |process| assert_eq!(process.exit_code(), Some(0)),
            |_| assert!(active().is_empty()),
            |_| Process::spawn(|| ()).unwrap().join().unwrap(),
        ];
        for ask in asks {
            let process = Process::spawn(|| ()).unwrap();
            while !is_zombie(process.pid()) {
                thread::yield_now();
            }
            ask(&process);
            assert!(!is_zombie(process.pid()));
            // Nor does a handle matter that nobody drops.
            std::mem::forget(process);
        }
    });
}

#[test]
fn proc_12_14_16_codes_of_returns_exits_and_signals() {
    let _watchdog = watchdog();
    in_child(|| {
        assert_eq!(Process::spawn(|| 1u8).unwrap().wait().unwrap().code(), 0);
        for (code, seen) in [(0, 0), (1, 1), (77, 77), (300, 44), (-1, 255)] {
            let process = Process::spawn(move || -> () { process::exit(code) }).unwrap();
            assert_eq!(process.wait().unwrap().code(), seen);
            assert!(matches!(process.join(), Err(JoinError::Exited { code }) if code == seen));
        }
        for number in [libc::SIGTERM, libc::SIGKILL, libc::SIGABRT] {
            let process = Process::spawn(pause).unwrap();
            process.signal(number).unwrap();
            assert_eq!(process.wait().unwrap(), ExitStatus::Signaled(number));
            assert_eq!(process.exit_code(), Some(-number));
        }
    });
}

#[test]
fn proc_18_signals_do_not_wait_and_leave_the_ended_alone() {
    let _watchdog = watchdog();
    in_child(|| {
        let sends: [fn(&process::Child) -> std::io::Result<()>; 3] =
            [process::Child::terminate, process::Child::kill, process::Child::interrupt];
        for (send, number) in sends.iter().zip([libc::SIGTERM, libc::SIGKILL, libc::SIGINT]) {
            let process = Process::spawn(pause).unwrap();
            send(&process).unwrap();
            assert_eq!(process.wait().unwrap(), ExitStatus::Signaled(number));
            for send in sends {
                send(&process).unwrap();
            }
            assert_eq!(process.exit_code(), Some(-number));
        }
        let process = Process::spawn(pause).unwrap();
        let _killed = held(&process);
        assert!(process.signal(4711).is_err(), "no such signal");
        assert!(process.is_alive());
    });
}

#[test]
fn proc_20_a_hundred_children_are_collected_with_their_codes() {
    let _watchdog = watchdog();
    in_child(|| {
        let returning: Vec<_> = (0..50).map(|_| Process::spawn(|| ()).unwrap()).collect();
        let ending: Vec<_> = (0..50).map(|_| Process::spawn(pause).unwrap()).collect();
        for process in &ending {
            process.terminate().unwrap();
        }
        assert!(returning.iter().all(|process| process.wait().unwrap().code() == 0));
        assert!(ending.iter().all(|process| process.wait().unwrap().code() == -libc::SIGTERM));
        assert!(active().is_empty());
    });
}

#[test]
fn proc_24_25_26_names_count_what_was_built_and_go_on_in_children() {
    let _watchdog = watchdog();
    let (names, expected) = in_child(|| {
        let named = Process::builder().name("my_service");
        drop(Process::builder());
        let third = Process::builder().spawn(|| {
            let inner = || Process::spawn(|| process::current().name().to_owned()).unwrap();
            vec![inner().join().unwrap(), inner().join().unwrap()]
        });
        let third = third.unwrap();
        let mut names = vec![named.spawn(|| ()).unwrap().name(), third.name()];
        names.extend(third.join().unwrap());
        let renamed = Process::spawn(|| process::current().name().to_owned()).unwrap();
        renamed.set_name("my_service");
        names.extend([renamed.name(), renamed.join().unwrap()]);
        let [third, fourth] = [3, 4].map(|number| format!("Process-{}", path(number)));
        let children = [format!("{third}:1"), format!("{third}:2")];
        let service = || "my_service".to_owned();
        let [first, second] = children;
        (names, vec![service(), third, first, second, service(), fourth])
    });
    assert_eq!(names, expected);
}

/// Runs `f` where nothing was built yet, in the first process of a family.
fn first_of_a_family(f: impl FnOnce() -> Vec<String>) -> Vec<String> {
    use std::io::{Read, Write};
    let (mut reader, writer) = std::io::pipe().unwrap();
    let family = crate::common::raw_fork(move || {
        let names = f().join("\n");
        i32::from((&writer).write_all(names.as_bytes()).is_err())
    });
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(family.wait(), 0);
    text.lines().map(str::to_owned).collect()
}

struct Worker {
    number: u32,
    answer: spsc::Producer<u32>,
}

impl Runnable for Worker {
    type Output = String;

    fn run(mut self) -> String {
        self.answer.push(self.number).unwrap();
        process::current().name().to_owned()
    }
}

#[test]
fn proc_27_a_runnable_has_its_state_and_the_name_of_its_type() {
    let _watchdog = watchdog();
    in_child(|| {
        for number in 1..=3 {
            let (answer, mut answers) = spsc::ring(1).unwrap();
            let process = Process::run(Worker { number, answer }).unwrap();
            assert_eq!(process.name(), format!("Worker-{}", path(number)));
            let name = process.name();
            assert_eq!(process.join().unwrap(), name);
            assert_eq!(answers.pop(), Ok(number));
        }
    });
}

/// The number of the calling process's child, after its own.
fn path(number: u32) -> String {
    let own = process::current().name().to_owned();
    match own.split_once('-') {
        Some((_, numbers)) => format!("{numbers}:{number}"),
        None => number.to_string(),
    }
}

#[test]
fn proc_32_33_a_child_sees_its_parent_end() {
    let _watchdog = watchdog();
    let (mut told, mut tells) = spsc::ring::<u32>(4).unwrap();
    let (mut done, mut dones) = spsc::ring::<bool>(4).unwrap();
    let parent: Child<()> = child(move || {
        let own = std::process::id();
        process::rename("the parent");
        let grandchild = Process::spawn(move || {
            crate::common::die_after(300);
            let parent = process::parent().unwrap();
            assert_eq!((parent.pid(), parent.name()), (own, "the parent"));
            assert!(parent.is_alive() && !parent.join_timeout(SHORT).unwrap());
            told.push(std::process::id()).unwrap();
            parent.join().unwrap();
            let gone = parent.join_timeout(Duration::ZERO).unwrap() && !parent.is_alive();
            done.push(gone).unwrap();
        });
        grandchild.unwrap().wait().unwrap();
    });
    let _stray = match tells.pop() {
        Ok(pid) => crate::common::Stray(pid),
        Err(error) => panic!("{error}: {:?}", parent.join()),
    };
    signal(parent.id(), libc::SIGKILL);
    assert_eq!(dones.pop(), Ok(true));
}

#[test]
fn proc_32_34_the_first_process_of_a_family() {
    let _watchdog = watchdog();
    let texts = first_of_a_family(|| {
        let current = process::current();
        assert_eq!(current.pid(), std::process::id());
        assert!(process::parent().is_none());
        process::rename("another");
        vec![current.name().to_owned(), process::current().to_string()]
    });
    assert_eq!(texts, ["MainProcess", "<Process name='another' started>"]);
}

#[test]
fn proc_36_processors_are_counted_with_and_without_the_mask() {
    let _watchdog = watchdog();
    let (all, usable) = in_child(|| {
        // SAFETY: all-zero bytes are an empty set.
        let mut one: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        let first = (0..1024).find(|&cpu| {
            // SAFETY: a live set.
            unsafe { libc::CPU_SET(cpu, &mut one) };
            let size = size_of::<libc::cpu_set_t>();
            // SAFETY: a live set of the size that is said.
            unsafe { libc::sched_setaffinity(0, size, &raw const one) == 0 }
        });
        assert!(first.is_some());
        (process::cpu_count(), process::usable_cpu_count())
    });
    assert_eq!((all, usable), (process::cpu_count(), 1));
    assert!(all >= 1 && (1..=all).contains(&process::usable_cpu_count()));
}

#[test]
fn proc_37_children_have_children_to_any_depth() {
    fn below(depth: u32) -> Vec<u32> {
        let deeper = |_| Process::spawn(move || below(depth - 1)).unwrap().join().unwrap();
        let mut all = vec![depth];
        if depth > 0 {
            all.extend((0..2).flat_map(deeper));
        }
        all
    }
    let _watchdog = watchdog();
    assert_eq!(in_child(|| below(2)), [2, 1, 0, 0, 1, 0, 0]);
}

#[test]
fn proc_46_a_signal_does_not_end_a_join() {
    static HANDLED: AtomicU32 = AtomicU32::new(0);
    extern "C" fn handler(_: libc::c_int) {
        HANDLED.fetch_add(1, Relaxed);
    }
    let _watchdog = watchdog();
    in_child(|| {
        // SAFETY: all-zero bytes are a valid sigaction; without SA_RESTART, calls are interrupted.
        let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
        action.sa_sigaction = handler as extern "C" fn(libc::c_int) as libc::sighandler_t;
        // SAFETY: a live action whose handler does nothing but count.
        unsafe { libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut()) };
        let (mut told, mut tells) = spsc::ring::<u32>(1).unwrap();
        let (parent, before) = (std::process::id(), HANDLED.load(Relaxed));
        let process = Process::spawn(move || {
            tells.pop().unwrap();
            for _ in 0..10 {
                signal(parent, libc::SIGUSR1);
                thread::sleep(Duration::from_millis(1));
            }
            5u8
        });
        told.push(0).unwrap();
        assert_eq!(process.unwrap().join().unwrap(), 5);
        assert!(HANDLED.load(Relaxed) > before);
    });
}

#[test]
fn proc_49_nested_children_know_nothing_of_their_parents() {
    type Counts = (usize, usize, u64);
    fn below(depth: u32) -> Vec<Counts> {
        assert!(active().is_empty() && children().is_empty());
        if depth == 0 {
            return Vec::new();
        }
        let mut all = Process::spawn(move || below(depth - 1)).unwrap().join().unwrap();
        assert!(active().is_empty() && children().is_empty());
        all.push((open_descriptors(), mappings(), anonymous_bytes()));
        all
    }
    let _watchdog = watchdog();
    let counts = in_child(|| below(12));
    // A fork inherits what its parent and its siblings tell each other through: two descriptors and a
    // mapping of each generation, and no more of a later one than of an earlier one.
    for pair in counts.windows(2) {
        let [below, above] = [pair[0], pair[1]];
        assert!(below.0 <= above.0 + 2 && below.1 <= above.1 + 1, "{counts:?}");
        assert_eq!(below.2, above.2, "{counts:?}");
    }
}

#[test]
fn proc_51_the_text_says_the_state() {
    let _watchdog = watchdog();
    in_child(|| {
        let process = Process::builder().name("it").spawn(pause).unwrap();
        let _killed = held(&process);
        let ids = format!("<Process name='it' pid={} parent={}", process.pid(), std::process::id());
        assert_eq!(process.to_string(), format!("{ids} started>"));
        process.terminate().unwrap();
        process.wait().unwrap();
        assert_eq!(process.to_string(), format!("{ids} stopped exitcode=-SIGTERM>"));
        assert_eq!(format!("{process:?}"), process.to_string());
        let other = Process::spawn(|| -> () { process::exit(3) }).unwrap();
        other.wait().unwrap();
        assert!(other.to_string().ends_with(" stopped exitcode=3>"), "{other}");
    });
}

#[test]
fn proc_54_threads_that_wait_at_once_agree() {
    let _watchdog = watchdog();
    in_child(|| {
        let before = descriptors();
        for round in 0..40u8 {
            let process = Process::spawn(move || -> () { process::exit(round.into()) }).unwrap();
            let expected = ExitStatus::Exited(round.into());
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        assert_eq!(process.wait().unwrap(), expected);
                        assert!(!process.is_alive());
                        assert_eq!(process.exit_code(), Some(round.into()));
                    });
                }
            });
        }
        assert!(descriptors() <= before + 4, "descriptors are left");
    });
}

/// Whether a process is there and not a zombie.
fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(')').next().unwrap().starts_with(" Z"))
}

fn wait_until_gone(pid: u32) {
    while runs(pid) {
        thread::yield_now();
    }
}

#[test]
fn proc_28_the_daemon_flag_is_set_before_the_start() {
    let _watchdog = watchdog();
    in_child(|| {
        assert!(!process::current().is_daemon());
        let own = || process::current().is_daemon();
        let other = Process::spawn(own).unwrap();
        assert!(!other.is_daemon());
        assert!(!other.join().unwrap());
        let daemon = Process::builder().daemon().spawn(own).unwrap();
        assert!(daemon.is_daemon() && daemon.to_string().ends_with(" daemon>"));
        assert!(daemon.join().unwrap());
    });
}

#[test]
fn proc_29_53_an_orderly_end_ends_daemons_and_waits_for_the_others() {
    let _watchdog = watchdog();
    for ends in [|| (), || process::exit(0), || std::process::exit(0)] {
        let (mut told, mut tells) = spsc::ring::<u32>(2).unwrap();
        let (mut go, mut goes) = spsc::ring::<()>(1).unwrap();
        let (mut done, mut dones) = spsc::ring::<u32>(1).unwrap();
        let mut parent = child(move || {
            let daemon = Process::builder().daemon().spawn(pause).unwrap();
            told.push(daemon.pid()).unwrap();
            let other = Process::spawn(move || {
                goes.pop().unwrap();
                done.push(7).unwrap();
            });
            std::mem::forget((daemon, other));
            ends();
        });
        let daemon = tells.pop().unwrap();
        wait_until_gone(daemon);
        assert!(parent.process().is_alive(), "it does not wait for its child");
        go.push(()).unwrap();
        assert_eq!(parent.process().wait().unwrap(), ExitStatus::Exited(0));
        assert_eq!(dones.try_pop(), Ok(7));
        assert!(!std::path::Path::new(&format!("/proc/{daemon}")).exists());
    }
}

#[test]
fn proc_29_a_daemon_that_does_not_want_to_end_is_killed() {
    let _watchdog = watchdog();
    let (mut told, mut tells) = spsc::ring::<u32>(1).unwrap();
    let mut parent = child(move || {
        let daemon = Process::builder().daemon().spawn(move || {
            // SAFETY: takes integers.
            unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
            told.push(std::process::id()).unwrap();
            pause();
        });
        drop(daemon.unwrap());
        while tells.try_pop().is_err() {
            thread::yield_now();
        }
    });
    assert_eq!(parent.process().wait().unwrap(), ExitStatus::Exited(0));
}

#[test]
fn proc_30_a_daemon_starts_no_children() {
    let _watchdog = watchdog();
    in_child(|| {
        let starts = || Process::spawn(|| ()).unwrap_err().to_string();
        let daemon = Process::builder().name("it").daemon().spawn(starts).unwrap();
        let error = daemon.join().unwrap();
        assert!(error.starts_with("`it` is a daemon"), "{error}");
    });
}

#[test]
fn proc_31_a_daemon_dies_with_a_parent_that_is_killed_and_outlives_a_thread() {
    let _watchdog = watchdog();
    let (mut told, mut tells) = spsc::ring::<u32>(2).unwrap();
    let (mut there, mut other) = spsc::ring::<u32>(2).unwrap();
    let parent: Child<()> = child(move || {
        let start = move || Process::builder().daemon().spawn(pause).unwrap();
        // The thread that started it has ended.
        let daemon = thread::spawn(start).join().unwrap();
        // And another child has copies of whatever is not private.
        let sibling = Process::spawn(move || {
            there.push(std::process::id()).unwrap();
            pause();
        });
        // A foreign fork has, too.
        let foreign = crate::common::raw_fork(|| pause_for_ever());
        thread::sleep(SHORT);
        assert!(daemon.is_alive(), "the end of a thread ended it");
        told.push(daemon.pid()).unwrap();
        told.push(foreign.id()).unwrap();
        std::mem::forget((daemon, sibling, foreign));
        pause();
    });
    let daemon = tells.pop().unwrap();
    let foreign = crate::common::Stray(tells.pop().unwrap());
    let sibling = crate::common::Stray(other.pop().unwrap());
    assert!(runs(daemon));
    parent.kill();
    wait_until_gone(daemon);
    assert!(sibling.is_alive());
    drop(foreign);
}

#[test]
fn proc_41_standard_input_is_the_null_device_or_what_is_given() {
    let _watchdog = watchdog();
    let read = || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::io::stdin(), &mut text).unwrap();
        (text, std::fs::read_link("/proc/self/fd/0").unwrap())
    };
    in_child(move || {
        let null = Process::spawn(read).unwrap().join().unwrap();
        assert_eq!((null.0.as_str(), null.1.to_str().unwrap()), ("", "/dev/null"));
        let (reader, mut writer) = std::io::pipe().unwrap();
        std::io::Write::write_all(&mut writer, b"from a pipe").unwrap();
        drop(writer);
        let given = Process::builder().stdin(reader.try_clone().unwrap()).spawn(read).unwrap();
        assert_eq!(given.join().unwrap().0, "from a pipe");
        // SAFETY: takes integers.
        assert_eq!(unsafe { libc::dup2(std::os::fd::AsRawFd::as_raw_fd(&reader), 0) }, 0);
        let link = std::fs::read_link("/proc/self/fd/0").unwrap();
        let inherited = Process::builder().inherit_stdin().spawn(read).unwrap().join().unwrap();
        assert_eq!(inherited, (String::new(), link));
    });
}
