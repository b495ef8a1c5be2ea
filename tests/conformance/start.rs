//! START-*, LOG-*, FIN-*, and the rest of PROC-*. Starts by exec, which take a
//! program with a `main` of its own, are in `tests/exec`.
//!
//! | id | why there is no test, or what differs |
//! |---|---|
//! | START-03 | a builder is a context: `StartMethod::builder`; shared objects need none |
//! | START-05, START-06, START-07, START-15 | `tests/exec`: `every_kind_of_object_is_shared`, `objects_are_passed_on`, `what_cannot_be_carried_over_is_an_error`, `what_goes_wrong_is_a_line_on_standard_error`, `it_begins_with_nothing_of_its_parents_memory` |
//! | START-09, START-10, START-14, START-16 | of Python alone |
//! | START-11 | there is no fork server |
//! | START-12 | `tests/process.rs`: `children_start_while_other_threads_print_and_allocate`; `tests/surroundings.rs`: `children_start_while_other_threads_do_everything_that_takes_a_lock` |
//! | START-13 | `process/*` of `benches/rivals` |
//! | FIN-04 | of Python alone |
//! | LOG-05 | levels are those of `log`; there are none between them |
//! | LOG-07 | managers and feeders are not part of this crate |

use crate::common::{errors_of, in_child, watchdog};
use commons::process::{
    self, Finalizer, Process, StartMethod, StartMethodError, force_start_method, set_start_method,
    start_method,
};
use commons::{Error, ExitStatus, Mutex, spsc};
use std::io;
use std::thread;

#[test]
fn proc_12_an_err_is_code_1_and_comes_back() {
    let _watchdog = watchdog();
    in_child(|| {
        let fails = || -> Result<u8, String> { Err("no".to_owned()) };
        let process = Process::spawn(fails).unwrap();
        assert_eq!(process.wait().unwrap(), ExitStatus::Exited(1));
        assert_eq!(process.join().unwrap(), Err("no".to_owned()));
        let process = Process::spawn(|| Ok::<_, String>(3)).unwrap();
        assert_eq!(process.wait().unwrap(), ExitStatus::Exited(0));
        assert_eq!(process.join().unwrap(), Ok(3));
        let process = Process::spawn(|| vec![Err::<u8, _>(1u8)]).unwrap();
        assert_eq!(process.wait().unwrap(), ExitStatus::Exited(0));
    });
}

#[test]
fn proc_19_an_end_by_signal_is_that_of_one_process() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut tells, mut told) = spsc::ring::<u32>(1).unwrap();
        let (mut go, mut goes) = spsc::ring::<u8>(1).unwrap();
        let parent = Process::spawn(move || {
            // Its own child: tells of itself, and once more when it is let.
            let child = Process::spawn(move || {
                tells.push(std::process::id()).unwrap();
                goes.pop().unwrap();
                tells.push(0).unwrap();
            });
            std::mem::forget(Finalizer::with_priority(0, || panic!("nothing of this runs")));
            child.unwrap().wait().unwrap();
        });
        let parent = parent.unwrap();
        assert_ne!(told.pop().unwrap(), 0);
        parent.terminate().unwrap();
        assert_eq!(parent.wait().unwrap(), ExitStatus::Signaled(libc::SIGTERM));
        go.push(1).unwrap();
        assert_eq!(told.pop().unwrap(), 0);
    });
}

#[test]
fn proc_23_the_parent_drops_what_the_child_was_given_when_it_has_started() {
    let _watchdog = watchdog();
    in_child(|| {
        let (mut go, mut goes) = spsc::ring::<u8>(1).unwrap();
        let holds = std::sync::Arc::new(());
        let theirs = holds.clone();
        let child = Process::spawn(move || {
            goes.pop().unwrap();
            std::sync::Arc::strong_count(&theirs)
        });
        // The child still waits, and has its copy.
        assert_eq!(std::sync::Arc::strong_count(&holds), 1);
        go.push(1).unwrap();
        assert_eq!(child.unwrap().join().unwrap(), 2);
    });
}

#[test]
fn proc_40_a_child_without_standard_streams_ends_well() {
    let _watchdog = watchdog();
    for closed in [[1, 1], [2, 2], [1, 2]] {
        let code = in_child(move || {
            for fd in closed {
                // SAFETY: takes integers.
                unsafe { libc::close(fd) };
            }
            let child = Process::spawn(|| {
                println!("to nobody");
                eprintln!("to nobody");
            });
            child.unwrap().wait().unwrap().code()
        });
        assert_eq!(code, 0);
    }
}

#[test]
fn proc_42_50_a_child_has_queues_and_children_and_memory_of_its_own() {
    let _watchdog = watchdog();
    static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(1);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    let sum = in_child(move || {
        let queue = commons::Queue::<u32>::new(4).unwrap();
        let children: Vec<_> = (0..4)
            .map(|i| {
                let queue = queue.clone();
                Process::spawn(move || queue.send(NUMBER.fetch_add(i, relaxed) + i).unwrap())
            })
            .collect::<Result<_, _>>()
            .unwrap();
        children.into_iter().for_each(|child| child.join().unwrap());
        (0..4).map(|_| queue.recv().unwrap()).sum::<u32>()
    });
    assert_eq!((sum, NUMBER.load(relaxed)), (10, 1));
}

#[test]
fn start_01_02_03_methods_are_listed_and_chosen_once() {
    let _watchdog = watchdog();
    assert_eq!(StartMethod::ALL[0], StartMethod::default());
    in_child(|| {
        force_start_method(None);
        assert_eq!(start_method(), StartMethod::ALL[0]);
        set_start_method(StartMethod::Exec).unwrap();
        assert_eq!(start_method(), StartMethod::Exec);
        let chosen = StartMethod::Exec;
        assert_eq!(set_start_method(chosen), Err(StartMethodError::Chosen { chosen }));
        // The method of one builder is its own.
        let method: fn(()) -> StartMethod = |()| start_method();
        let child = StartMethod::Fork.builder().call(method, ()).unwrap();
        assert_eq!(child.join().unwrap(), StartMethod::Fork);
        force_start_method(StartMethod::Fork);
        assert_eq!(start_method(), StartMethod::Fork);
        force_start_method(None);
        set_start_method(StartMethod::Fork).unwrap();
    });
    for method in StartMethod::ALL {
        assert_eq!(method.to_string().parse(), Ok(method));
    }
    let unknown = "forkserver".parse::<StartMethod>().unwrap_err();
    assert_eq!(unknown, StartMethodError::Unknown { name: "forkserver".to_owned() });
}

#[test]
fn start_04_a_child_goes_on_by_its_own_method() {
    let _watchdog = watchdog();
    let method: fn(()) -> StartMethod = |()| start_method();
    assert_eq!(Process::call(method, ()).unwrap().join().unwrap(), StartMethod::Fork);
}

#[test]
fn start_08_handles_are_handed_over_at_the_start_or_sent_as_handles() {
    let _watchdog = watchdog();
    let (mut there, mut back) = commons::pipe::pipe::<Mutex<u8>>().unwrap();
    let mutex = Mutex::new(1).unwrap();
    let refused = there.send(&mutex).unwrap_err().to_string();
    assert!(refused.contains("send_handle"), "{refused}");
    let child = Process::spawn(move || {
        *back.recv_handle::<Mutex<u8>>().unwrap().lock().unwrap() += 1;
    });
    there.send_handle(mutex.clone()).unwrap();
    child.unwrap().join().unwrap();
    assert_eq!(*mutex.lock().unwrap(), 2);
    // As the argument of a forked child it is moved, and need not be serialised.
    let (producer, mut consumer) = spsc::ring(1).unwrap();
    let push: fn(spsc::Producer<u8>) = |mut producer| producer.push(1).unwrap();
    StartMethod::Fork.builder().call(push, producer).unwrap().join().unwrap();
    assert_eq!(consumer.pop().unwrap(), 1);
}

#[test]
fn start_12_a_fork_beside_threads_can_be_refused() {
    let _watchdog = watchdog();
    in_child(|| {
        let alone = || Process::builder().refuse_threads();
        alone().spawn(|| ()).unwrap().join().unwrap();
        let (go, goes) = std::sync::mpsc::channel::<()>();
        let thread = thread::spawn(move || assert!(goes.recv().is_err()));
        match alone().spawn(|| ()) {
            Err(Error::Threads { others: 1 }) => {}
            other => panic!("{other:?}"),
        }
        assert!(process::active_children().is_empty());
        Process::spawn(|| ()).unwrap().join().unwrap();
        drop(go);
        thread.join().unwrap();
    });
}

#[cfg(feature = "log")]
mod logging {
    use super::*;
    use log::LevelFilter;

    fn lines(f: impl FnOnce()) -> Vec<String> {
        errors_of(f).lines().map(str::to_owned).collect()
    }

    #[test]
    fn log_01_without_a_logger_all_is_silent() {
        let _watchdog = watchdog();
        in_child(|| {
            assert_eq!(errors_of(|| Process::spawn(|| ()).unwrap().join().unwrap()), "");
        });
    }

    #[test]
    fn log_02_03_lines_name_the_level_and_the_process_once() {
        let _watchdog = watchdog();
        in_child(|| {
            let text = lines(|| {
                for _ in 0..2 {
                    process::log_to_stderr(LevelFilter::Warn).unwrap();
                }
                process::rename("someone");
                log::warn!("a {}", "word");
                log::error!("b");
                log::info!("c");
            });
            assert_eq!(text, ["[WARNING/someone] a word", "[ERROR/someone] b"]);
        });
    }

    #[test]
    fn log_04_06_children_log_their_life_at_the_level_of_their_parent() {
        let _watchdog = watchdog();
        in_child(|| {
            let life = |level| {
                lines(move || {
                    process::log_to_stderr(level).unwrap();
                    let builder = Process::builder().name("child");
                    builder
                        .spawn(|| process::exit(3))
                        .map(|p: Process<()>| p.wait())
                        .unwrap()
                        .unwrap();
                    process::log_to_stderr(LevelFilter::Off).unwrap();
                })
            };
            let info = [
                "[INFO/child] child process runs its closure",
                "[INFO/child] process shuts down",
                "[INFO/child] process exits with exit code 3",
            ];
            assert_eq!(life(LevelFilter::Info), info);
            let mut debug = life(LevelFilter::Debug);
            let finalizers = [
                "[DEBUG/child] runs finalizers of priority 0 and above",
                "[DEBUG/child] runs the remaining finalizers",
            ];
            let place = |line: &str| debug.iter().position(|l| l == line).unwrap();
            assert!(place(info[1]) < place(finalizers[0]));
            assert!(place(finalizers[0]) < place(finalizers[1]));
            assert!(place(finalizers[1]) < place(info[2]));
            debug.retain(|line| !line.starts_with("[DEBUG/"));
            assert_eq!(debug, info);
            assert_eq!(life(LevelFilter::Warn), [""; 0]);
        });
    }

    #[test]
    fn log_07_the_end_names_daemons_and_children() {
        let _watchdog = watchdog();
        in_child(|| {
            let text = lines(|| {
                process::log_to_stderr(LevelFilter::Info).unwrap();
                let parent = Process::builder().name("parent").spawn(|| {
                    let (end, mut other) = spsc::ring::<()>(1).unwrap();
                    let daemon = move || {
                        let _held = end;
                        loop {
                            thread::park();
                        }
                    };
                    let daemon = Process::builder().name("a").daemon().spawn(daemon);
                    daemon.map(|_: Process<()>| ()).unwrap();
                    // It ends when the daemon has, which is asked to before it is waited for.
                    let child = move || assert!(other.pop().is_err());
                    drop(Process::builder().name("b").spawn(child).unwrap());
                });
                parent.unwrap().join().unwrap();
                process::log_to_stderr(LevelFilter::Off).unwrap();
            });
            let of_parent: Vec<_> =
                text.iter().filter_map(|line| line.strip_prefix("[INFO/parent] ")).collect();
            let expected = [
                "child process runs its closure",
                "process shuts down",
                "terminates daemon a",
                "joins child b",
                "process exits with exit code 0",
            ];
            assert_eq!(of_parent, expected, "{text:?}");
        });
    }

    #[test]
    fn a_fork_beside_threads_is_told_once() {
        let _watchdog = watchdog();
        in_child(|| {
            let (go, goes) = std::sync::mpsc::channel::<()>();
            let thread = thread::spawn(move || assert!(goes.recv().is_err()));
            let text = lines(|| {
                process::log_to_stderr(LevelFilter::Warn).unwrap();
                for _ in 0..3 {
                    Process::spawn(|| ()).unwrap().join().unwrap();
                }
            });
            assert_eq!(text.len(), 1, "{text:?}");
            assert!(text[0].contains("1 other threads run"), "{text:?}");
            drop(go);
            thread.join().unwrap();
        });
    }
}

/// What finalizers say, one after another.
fn said(f: impl FnOnce(&dyn Fn(&'static str) -> Box<dyn FnOnce() + Send>)) -> Vec<String> {
    let text = errors_of(|| {
        f(&|word| {
            Box::new(move || {
                drop(io::Write::write_all(&mut io::stderr(), format!("{word}\n").as_bytes()))
            })
        });
    });
    text.lines().map(str::to_owned).collect()
}

#[test]
fn fin_01_a_finalizer_runs_once() {
    let _watchdog = watchdog();
    in_child(|| {
        let words = said(|say| {
            let called = Finalizer::new(say("called"));
            assert!(called.is_pending());
            assert!(called.run() && !called.run() && !called.is_pending());
            drop(called);
            drop(Finalizer::with_priority(1, say("dropped")));
            let cancelled = Finalizer::new(say("cancelled"));
            assert!(cancelled.cancel() && !cancelled.run());
            Process::spawn({
                let say = say("at the end");
                move || std::mem::forget(Finalizer::with_priority(0, say))
            })
            .unwrap()
            .join()
            .unwrap();
        });
        assert_eq!(words, ["called", "dropped", "at the end"]);
    });
}

#[test]
fn fin_02_proc_53_at_the_end_they_run_by_priority_around_the_end_of_children() {
    let _watchdog = watchdog();
    in_child(|| {
        let words = said(|say| {
            let all = [
                (Some(0), "f"),
                (Some(10), "b"),
                (Some(-1), "h"),
                (None, "never"),
                (Some(10), "a"),
                (Some(1), "d"),
                (Some(i32::MIN), "i"),
            ];
            let all = all.map(|(priority, word)| (priority, say(word)));
            let child = say("g");
            let process = Process::spawn(move || {
                // It is waited for after those of 0 and above have run: this is the last of them.
                let (mut go, mut goes) = spsc::ring::<u8>(1).unwrap();
                Process::spawn(move || {
                    goes.pop().unwrap();
                    child();
                })
                .unwrap();
                std::mem::forget(Finalizer::with_priority(0, move || {
                    go.push(1).unwrap();
                    std::mem::forget(go);
                }));
                for (priority, say) in all {
                    std::mem::forget(match priority {
                        Some(priority) => Finalizer::with_priority(priority, say),
                        None => Finalizer::new(say),
                    });
                }
                // One that panics keeps nobody from running.
                std::mem::forget(Finalizer::with_priority(2, || {
                    std::panic::resume_unwind(Box::new(()))
                }));
            });
            process.unwrap().join().unwrap();
        });
        assert_eq!(words, ["a", "b", "d", "f", "g", "h", "i"]);
    });
}

#[test]
fn fin_03_a_forked_copy_does_nothing() {
    let _watchdog = watchdog();
    in_child(|| {
        let words = said(|say| {
            let finalizer = Finalizer::with_priority(1, say("once"));
            let _stays = Finalizer::with_priority(1, say("and this"));
            let child = Process::spawn(move || {
                assert!(!finalizer.is_pending() && !finalizer.run() && !finalizer.cancel());
                drop(finalizer);
            });
            child.unwrap().join().unwrap();
        });
        // What was moved to the child was dropped here, which runs it.
        assert_eq!(words, ["once", "and this"]);
    });
}

#[test]
fn proc_52_finalizers_of_a_child_run_and_inherited_ones_do_not() {
    let _watchdog = watchdog();
    in_child(|| {
        let words = said(|say| {
            let parents = Finalizer::with_priority(0, say("the parent's"));
            let own = say("the child's");
            Process::spawn(move || std::mem::forget(Finalizer::with_priority(0, own)))
                .unwrap()
                .join()
                .unwrap();
            assert!(parents.cancel());
        });
        assert_eq!(words, ["the child's"]);
    });
}
