//! What a builder gives to children of either kind, and what their handles do elsewhere.

use crate::common::{descriptors, name, open_descriptors};
use commons::process::{self, Builder, Child, Resource, Runnable, StartMethod, WaitError};
use commons::{Error, ExitStatus, JoinError, Process, pipe, spsc, wait_any};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs;
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::time::Duration;

crate::tests! {
    output_goes_where_it_is_sent
    a_stream_is_not_overwritten_by_another
    a_stream_that_cannot_be_set_is_an_error
    a_child_has_the_group_and_session_that_it_is_given
    a_daemon_in_a_session_of_its_own_dies_with_its_parent
    limits_are_soft_or_both
    files_are_made_with_the_umask
    work_that_is_a_type_is_started_by_either_method
    handles_of_processes_travel
    a_child_inherits_what_its_handles_need
    handles_of_processes_travel_in_no_other_way
}

/// A builder of each kind.
fn builders() -> impl Iterator<Item = Builder> {
    StartMethod::ALL.into_iter().map(StartMethod::builder)
}

fn says(text: String) -> bool {
    // The last line has no end: it is printed when the child ends.
    write!(io::stderr(), "error: {text}").is_ok() && write!(io::stdout(), "{text}\n...").is_ok()
}

fn read(mut from: impl Read) -> String {
    let mut text = String::new();
    from.read_to_string(&mut text).unwrap();
    text
}

fn panics(message: String) {
    panic!("{message}");
}

fn streams(_: ()) -> Vec<String> {
    let target = |number: i32| fs::read_link(format!("/proc/self/fd/{number}"));
    (0..3).map(|number| target(number).unwrap().display().to_string()).collect()
}

fn closes_its_output(mut go: spsc::Consumer<()>) {
    // SAFETY: takes integers.
    assert_eq!(unsafe { libc::close(1) }, 0);
    let _ = go.pop();
}

fn output_goes_where_it_is_sent() {
    let before = descriptors();
    for builder in builders() {
        let ((output, out), (errors, err)) = (io::pipe().unwrap(), io::pipe().unwrap());
        let child = builder.stdout(out).stderr(err).call(says, "text".to_owned()).unwrap();
        assert_eq!(
            (read(output), read(errors)),
            ("text\n...".to_owned(), "error: text".to_owned())
        );
        assert!(child.join().unwrap());
    }
    for builder in builders() {
        let (errors, err) = io::pipe().unwrap();
        let child = builder.name("one").stderr(err).call(panics, "no".to_owned()).unwrap();
        let line = read(errors);
        assert!(line.starts_with("one panicked at ") && line.ends_with(": no\n"), "{line}");
        assert!(
            matches!(child.join(), Err(JoinError::Panicked { message, .. }) if message == "no")
        );
    }
    for builder in builders() {
        let child = builder.null_stdout().null_stderr().call(streams, ()).unwrap();
        assert_eq!(child.join().unwrap(), ["/dev/null"; 3]);
    }
    for builder in builders() {
        let own = streams(());
        assert_eq!(builder.call(streams, ()).unwrap().join().unwrap()[1..], own[1..]);
    }
    for builder in builders() {
        // The child has it once.
        let (output, out) = io::pipe().unwrap();
        let (go, goes) = spsc::ring(1).unwrap();
        let child = builder.stdout(out).call(closes_its_output, goes).unwrap();
        assert_eq!(read(output), "");
        drop(go);
        child.join().unwrap();
    }
    assert_eq!(descriptors(), before);
}

fn a_stream_is_not_overwritten_by_another() {
    let path = name("output");
    let text = path.path();
    let child = Process::spawn(move || {
        for builder in builders() {
            // SAFETY: takes integers.
            unsafe { libc::close(0) };
            let file = fs::File::create(&text).unwrap();
            assert_eq!(file.as_raw_fd(), 0);
            let child = builder.stdout(file).call(streams, ()).unwrap();
            let found = child.join().unwrap();
            assert_eq!(found[..2], ["/dev/null".to_owned(), text.display().to_string()]);
        }
    });
    child.unwrap().join().unwrap();
    fs::remove_file(path.path()).unwrap();
}

/// Runs `f` in a child that sees no devices, where the kernel lets this user do that.
fn without_devices(f: fn()) {
    let directory = name("nothing");
    fs::create_dir(directory.path()).unwrap();
    let path = std::ffi::CString::new(directory.path().into_os_string().into_encoded_bytes());
    let path = path.unwrap();
    let child = Process::spawn(move || {
        // A user namespace gives the right to make others.
        let done = [libc::CLONE_NEWNS, libc::CLONE_NEWUSER | libc::CLONE_NEWNS]
            .into_iter()
            // SAFETY: takes flags.
            .any(|flags| unsafe { libc::unshare(flags) == 0 });
        let mount = |from: *const libc::c_char, to: &std::ffi::CStr, flags| {
            let none = std::ptr::null();
            // SAFETY: live strings, or none where none is looked at.
            unsafe { libc::mount(from, to.as_ptr(), none, flags, none.cast()) == 0 }
        };
        // First of all, what is mounted from now on is not seen by others.
        let done = done
            && mount(std::ptr::null(), c"/", libc::MS_REC | libc::MS_PRIVATE)
            && mount(path.as_ptr(), c"/dev", libc::MS_BIND);
        if !done {
            return eprintln!("not tested: the kernel refuses a mount namespace");
        }
        f();
    });
    child.unwrap().join().unwrap();
    fs::remove_dir(directory.path()).unwrap();
}

fn a_stream_that_cannot_be_set_is_an_error() {
    without_devices(|| {
        for method in StartMethod::ALL {
            let refused = [
                (method.builder().null_stdout(), "setting the child's standard output"),
                (method.builder().null_stderr(), "setting the child's standard error"),
            ];
            for (builder, expected) in refused {
                match builder.call(streams, ()) {
                    Err(Error::Process { what, source }) => {
                        assert_eq!((what, source.kind()), (expected, io::ErrorKind::NotFound));
                    }
                    other => panic!("{other:?}"),
                }
                assert!(process::active_children().is_empty());
            }
        }
    });
}

/// The process's id, and those of its group and session.
fn ids(_: ()) -> [i32; 3] {
    // SAFETY: takes integers.
    let group = unsafe { libc::getpgid(0) };
    // SAFETY: as above.
    let session = unsafe { libc::getsid(0) };
    [std::process::id().cast_signed(), group, session]
}

fn waits(mut go: spsc::Consumer<()>) {
    let _ = go.pop();
}

fn a_child_has_the_group_and_session_that_it_is_given() {
    let [_, group, session] = ids(());
    let of_child = |builder: Builder| builder.call(ids, ()).unwrap().join().unwrap();
    for method in StartMethod::ALL {
        let builder = || method.builder();
        assert_eq!(of_child(builder())[1..], [group, session]);
        let [pid, own, kept] = of_child(builder().process_group(0));
        assert_eq!((own, kept), (pid, session));
        let [pid, own, new] = of_child(builder().process_group(0).new_session());
        assert_eq!((own, new), (pid, pid));

        let (go, goes) = spsc::ring(1).unwrap();
        let first = builder().process_group(0).call(waits, goes).unwrap();
        let [_, joined, _] = of_child(builder().new_session().process_group(first.pid()));
        assert_eq!(joined.cast_unsigned(), first.pid());
        drop(go);
        first.join().unwrap();

        let before = descriptors();
        for nobodys in [u32::MAX, 1 << 30] {
            match builder().process_group(nobodys).call(ids, ()) {
                Err(Error::Process { what, .. }) => {
                    assert_eq!(what, "setting the child's process group");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(descriptors(), before);
    }
}

fn a_daemon_in_a_session_of_its_own_dies_with_its_parent() {
    for method in StartMethod::ALL {
        let (output, out) = io::pipe().unwrap();
        let parent: Process<()> = Process::spawn(move || {
            let (_go, goes) = spsc::ring(1).unwrap();
            let builder = method.builder().daemon().new_session().stdout(out);
            let _daemon = builder.call(waits, goes).unwrap();
            std::process::abort();
        })
        .unwrap();
        // The end of the file: the daemon is gone, too.
        assert_eq!(read(output), "");
        assert!(matches!(parent.join(), Err(JoinError::Signaled { signal: libc::SIGABRT })));
    }
}

/// The soft limit and the hard one.
fn limits(_: ()) -> [u64; 2] {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is live for the kernel to fill in.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    [limit.rlim_cur, limit.rlim_max]
}

fn limits_are_soft_or_both() {
    let [_, hard] = limits(());
    for method in StartMethod::ALL {
        let builder = || method.builder();
        let of_child = |builder: Builder| builder.call(limits, ()).unwrap().join().unwrap();
        assert_eq!(of_child(builder().limit(Resource::OpenFiles, 77)), [77, 77]);
        assert_eq!(of_child(builder().limit_soft(Resource::OpenFiles, 77)), [77, hard]);
        let both = builder().limit(Resource::OpenFiles, 88).limit_soft(Resource::OpenFiles, 77);
        assert_eq!(of_child(both), [77, 88]);
        let both = builder().limit(Resource::OpenFiles, 88).limit_soft(Resource::OpenFiles, 89);
        match both.call(limits, ()) {
            Err(Error::Process { what, source }) => {
                assert_eq!(what, "limiting the child's resources");
                assert_eq!(source.kind(), io::ErrorKind::InvalidInput);
            }
            other => panic!("{other:?}"),
        }
    }
}

fn files_are_made_with_the_umask() {
    // SAFETY: takes an integer.
    let umask: fn(()) -> u32 = |()| unsafe { libc::umask(0) };
    for builder in builders() {
        assert_eq!(builder.umask(0o137).call(umask, ()).unwrap().join().unwrap(), 0o137);
    }
    for builder in builders() {
        // SAFETY: as above.
        let own = unsafe { libc::umask(0o22) };
        // SAFETY: as above.
        unsafe { libc::umask(own) };
        assert_eq!(builder.call(umask, ()).unwrap().join().unwrap(), own);
    }
}

fn stops_when_it_runs((child, siblings): (Child, Vec<Child>)) -> Result<String, String> {
    let error = child.wait().unwrap_err();
    let told = error.downcast::<WaitError>().map_err(|error| error.to_string())?;
    assert_eq!(told, WaitError::NotParent);
    assert!(child.is_alive() && siblings.iter().all(|sibling| sibling.pid() == child.pid()));
    assert_eq!(wait_any(&[&child], Some(Duration::ZERO)).unwrap(), []);
    let text = child.to_string();
    child.kill().unwrap();
    assert_eq!(wait_any(&[&child], None).unwrap(), [0]);
    assert!(!child.is_alive());
    child.kill().unwrap();
    Ok(text)
}

/// Gives what it was given to a child of its own.
fn passes_on((method, child): (StartMethod, Child)) -> Result<String, String> {
    let given = (child.clone(), vec![child.clone(), child]);
    method.builder().call(stops_when_it_runs, given).unwrap().join().unwrap()
}

fn handles_of_processes_travel() {
    let before = descriptors();
    for (method, next, daemon) in [
        (StartMethod::Exec, StartMethod::Exec, false),
        (StartMethod::Exec, StartMethod::Fork, true),
        (StartMethod::Fork, StartMethod::Exec, false),
        (StartMethod::Fork, StartMethod::Fork, true),
    ] {
        let (go, goes) = spsc::ring(1).unwrap();
        let builder = if daemon { method.builder().daemon() } else { method.builder() };
        let worker = builder.call(waits, goes).unwrap();
        worker.set_name("another name");
        let text = worker.to_string().replace("started", "unknown");
        let child = method.builder().call(passes_on, (next, Child::clone(&worker))).unwrap();
        assert_eq!(child.join().unwrap().as_deref(), Ok(&*text));
        assert_eq!(worker.wait().unwrap(), ExitStatus::Signaled(libc::SIGKILL));
        drop(go);
    }
    assert_eq!(descriptors(), before);
}

fn a_child_inherits_what_its_handles_need() {
    let (go, goes) = spsc::ring(1).unwrap();
    let worker = StartMethod::Exec.builder().call(waits, goes).unwrap();
    let handle = || Child::clone(&worker);
    fn counts(handles: Vec<Child>) -> (usize, usize) {
        (handles.len(), open_descriptors())
    }
    let count = |handles: Vec<Child>| {
        StartMethod::Exec.builder().call(counts, handles).unwrap().join().unwrap()
    };
    let (_, none) = count(vec![]);
    assert_eq!(count(vec![handle()]), (1, none + 1));
    assert_eq!(count(vec![handle(), handle(), handle()]), (3, none + 1));
    // One that is not taken is not left open.
    fn takes_none(_: Untaken) -> usize {
        open_descriptors()
    }
    let child = StartMethod::Exec.builder().call(takes_none, Untaken(Some(handle()))).unwrap();
    assert_eq!(child.join().unwrap(), none);
    drop(go);
    worker.join().unwrap();
}

/// Deserialises nothing of what was serialised.
struct Untaken(Option<Child>);

impl Serialize for Untaken {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Untaken {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Ok(Untaken(None))
    }
}

fn handles_of_processes_travel_in_no_other_way() {
    let (go, goes) = spsc::ring(1).unwrap();
    let worker = StartMethod::Exec.builder().call(waits, goes).unwrap();
    let expected = "handles of processes are handed over when a child is started";
    let (_reader, mut writer) = pipe::simplex::<()>().unwrap();
    let refused = writer.send_handle(Child::clone(&worker)).unwrap_err();
    assert!(format!("{refused:?}").contains(expected), "{refused:?}");
    // What was made up.
    for number in [0u32, 1, u32::MAX] {
        let forged: fn(Forged) = |_| ();
        let child = StartMethod::Exec.builder().call(forged, Forged(number)).unwrap();
        match child.join() {
            Err(JoinError::Argument { problem }) => {
                assert_eq!(problem, "process::Child: no such handle was handed over");
            }
            other => panic!("{other:?}"),
        }
    }
    drop(go);
    worker.join().unwrap();
}

struct Forged(u32);

impl Serialize for Forged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
impl<'de> Deserialize<'de> for Forged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Child::deserialize(deserializer).map(|_| Forged(0))
    }
}

#[derive(Serialize, Deserialize)]
struct Worker<T> {
    number: T,
    from: spsc::Consumer<u64>,
}

impl Runnable for Worker<u64> {
    type Output = (String, u64);

    fn run(mut self) -> (String, u64) {
        (process::current().name().to_owned(), self.number + self.from.pop().unwrap_or(0))
    }
}

fn work_that_is_a_type_is_started_by_either_method() {
    for method in StartMethod::ALL {
        let worker = || {
            let (mut producer, from) = spsc::ring(1).unwrap();
            producer.push(2).unwrap();
            Worker { number: 5, from }
        };
        let numbered = |builder: Builder, kind: &str| {
            let name = builder.to_string().split('\'').nth(1).unwrap().to_owned();
            (builder, name.replace("Process", kind))
        };
        let (builder, expected) = numbered(method.builder(), "Worker");
        let child = builder.call_runnable(worker()).unwrap();
        assert_eq!(child.name(), expected);
        assert_eq!(child.join().unwrap(), (expected, 7));
        let child = method.builder().name("a name").call_runnable(worker()).unwrap();
        assert_eq!(child.join().unwrap(), ("a name".to_owned(), 7));
        let (builder, expected) = numbered(method.builder(), "Process");
        let child = builder.call(Worker::run, worker()).unwrap();
        assert_eq!(child.join().unwrap(), (expected, 7));
    }
}
