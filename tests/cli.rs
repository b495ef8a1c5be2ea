//! The `commons` command, run as its users run it: in processes of its own, in a directory of its
//! own, and killed where it hurts.

#![cfg(feature = "cli")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything here may take before the test fails.
const WATCHDOG: Duration = Duration::from_secs(60);
const SEED: u64 = 7;
const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// A directory for segments, in memory, removed with all that is in it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("commons-cli-test-{}-{count}", std::process::id());
        let directory = PathBuf::from("/dev/shm").join(name);
        fs::create_dir(&directory).expect("a new directory in /dev/shm");
        Place(directory)
    }

    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(arguments).env("COMMONS_SHM_DIR", &self.0).stdin(Stdio::null());
        command
    }

    /// Starts the command with pipes at all ends.
    fn start(&self, arguments: &[&str]) -> Running {
        let mut command = self.command(env!("CARGO_BIN_EXE_commons"), arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().expect("the command starts"))
    }

    /// Starts `recv` with its output in a file beside the segments.
    fn receive_into(&self, file: &str, arguments: &[&str]) -> Running {
        let output = File::create(self.0.join(file)).expect("a file for the output");
        let mut command = self.command(env!("CARGO_BIN_EXE_commons"), arguments);
        command.stdout(output).stderr(Stdio::piped());
        Running(command.spawn().expect("the command starts"))
    }

    /// Runs the command to its end.
    fn run(&self, arguments: &[&str]) -> Finished {
        self.start(arguments).finish()
    }

    fn file(&self, file: &str) -> Vec<u8> {
        fs::read(self.0.join(file)).expect("the output")
    }

    fn length(&self, file: &str) -> usize {
        fs::metadata(self.0.join(file)).map_or(0, |file| file.len() as usize)
    }

    fn has(&self, name: &str) -> bool {
        self.0.join(name).exists()
    }

    /// Waits until `commons stat --json` shows all of this.
    #[track_caller]
    fn until_stat(&self, name: &str, wanted: &[&str]) {
        until(|| {
            let shown = self.run(&["stat", name, "--json"]);
            wanted.iter().all(|wanted| shown.stdout().contains(wanted))
        });
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed if the test fails.
struct Running(Child);

/// What a process left behind.
#[derive(Debug)]
struct Finished {
    status: ExitStatus,
    output: Vec<u8>,
    error: String,
}

impl Running {
    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn kill(&mut self) {
        self.0.kill().expect("a child can be killed");
    }

    /// Feeds bytes from a thread, and closes the input, or gives it back through the thread.
    fn feed(&mut self, bytes: &[u8]) -> thread::JoinHandle<Option<ChildStdin>> {
        let mut input = self.0.stdin.take().expect("the input is a pipe");
        let bytes = bytes.to_vec();
        // None: the process was killed, or had enough.
        thread::spawn(move || input.write_all(&bytes).ok().map(|()| input))
    }

    /// Gathers what it says on standard error while it runs.
    fn listen(&mut self) -> Arc<Mutex<String>> {
        let error = BufReader::new(self.0.stderr.take().expect("the messages are a pipe"));
        let said = Arc::new(Mutex::new(String::new()));
        let hearer = said.clone();
        thread::spawn(move || {
            error.lines().map_while(Result::ok).for_each(|l| *hearer.lock().unwrap() += &l)
        });
        said
    }

    fn has_ended(&mut self) -> bool {
        self.0.try_wait().expect("a child can be waited for").is_some()
    }

    fn finish(mut self) -> Finished {
        drop(self.0.stdin.take());
        // Read while it runs: it may have more to say than fits into a pipe.
        let output = self.0.stdout.take().map(collect);
        let error = self.0.stderr.take().map(collect);
        until(|| self.has_ended());
        let bytes = |thread: Option<thread::JoinHandle<Vec<u8>>>| {
            thread.map(|thread| thread.join().expect("the reader")).unwrap_or_default()
        };
        let status = self.0.wait().expect("it has ended");
        let error = String::from_utf8(bytes(error)).expect("messages are text");
        Finished { status, output: bytes(output), error }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Finished {
    #[track_caller]
    fn ends_with(&self, code: i32, words: &[&str]) {
        assert_eq!(self.status.code(), Some(code), "{self:?}");
        for word in words {
            assert!(self.error.contains(word), "`{word}` is missing in: {}", self.error);
        }
        if code == 0 {
            assert_eq!(self.error, "");
        }
    }

    fn stdout(&self) -> String {
        String::from_utf8(self.output.clone()).expect("text")
    }
}

fn collect(mut from: impl Read + Send + 'static) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

#[track_caller]
fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + WATCHDOG;
    while !condition() {
        assert!(Instant::now() < deadline, "nothing happened for {WATCHDOG:?}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Seeded bytes, no eight of which come twice.
fn data(length: usize) -> Vec<u8> {
    let mut state = SEED;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB)
    });
    words.flat_map(u64::to_le_bytes).take(length).collect()
}

/// Whether `first` and then `second` hold the beginning of `sent`: `second` may begin with a part of
/// what `first` ends with. Gives how much they cover.
#[track_caller]
fn joined(sent: &[u8], first: &[u8], second: &[u8]) -> usize {
    assert!(sent.starts_with(first), "the first part is not the beginning");
    let mark = &second[..second.len().min(64)];
    let start = (0..=first.len()).find(|&start| sent[start..].starts_with(mark));
    let start = start.expect("the second part goes on where the first one stopped, or before");
    assert!(sent[start..].starts_with(second), "the second part is not in order");
    first.len().max(start + second.len())
}

#[test]
fn data_arrives_whole_when_the_sender_comes_first() {
    let place = Place::new();
    let sent = data(9 * MIB + 13);
    let mut sender = place.start(&["send", "x"]);
    let feeding = sender.feed(&sent);
    place.until_stat("x", &["\"fill\":1048576", "vacant"]);
    let receiver = place.receive_into("out", &["recv", "x"]);
    drop(feeding.join());
    sender.finish().ends_with(0, &[]);
    receiver.finish().ends_with(0, &[]);
    assert!(place.file("out") == sent);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn data_arrives_whole_when_the_receiver_comes_first() {
    let place = Place::new();
    let sent = data(9 * MIB + 13);
    let receiver = place.receive_into("out", &["recv", "x", "--capacity", "3000"]);
    place.until_stat("x", &["\"capacity\":3000", "vacant"]);
    let mut sender = place.start(&["send", "x", "--capacity", "1G"]);
    drop(sender.feed(&sent).join());
    sender.finish().ends_with(0, &[]);
    receiver.finish().ends_with(0, &[]);
    assert!(place.file("out") == sent);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn what_several_senders_left_comes_in_order_and_nothing_is_a_stream_too() {
    let place = Place::new();
    for words in ["one ", "two ", "", "three"] {
        let mut sender = place.start(&["send", "x"]);
        drop(sender.feed(words.as_bytes()).join());
        sender.finish().ends_with(0, &[]);
    }
    let received = place.run(&["recv", "x"]);
    received.ends_with(0, &[]);
    assert_eq!(received.stdout(), "one two three");

    place.run(&["send", "nothing"]).ends_with(0, &[]);
    let received = place.run(&["recv", "nothing"]);
    received.ends_with(0, &[]);
    assert_eq!(received.stdout(), "");
    assert!(!place.has("x") && !place.has("nothing"), "a name stayed");
}

#[test]
fn a_killed_sender_leaves_a_prefix_and_is_named() {
    let place = Place::new();
    let sent = data(64 * MIB);
    let receiver = place.receive_into("out", &["recv", "x"]);
    let mut sender = place.start(&["send", "x", "--capacity", "64K"]);
    let feeding = sender.feed(&sent);
    until(|| place.length("out") >= MIB);
    sender.kill();
    let name = format!("process {}", sender.pid());
    receiver.finish().ends_with(3, &["sender of `x`", &name, "died", "unfinished"]);
    drop(feeding.join());
    let received = place.file("out");
    assert!(received.len() >= MIB && sent.starts_with(&received), "{} bytes", received.len());
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn a_receiver_gets_all_that_was_published_before_its_sender_was_killed() {
    let place = Place::new();
    let sent = data(300 * KIB);
    let mut sender = place.start(&["send", "x"]);
    let input = sender.feed(&sent).join();
    place.until_stat("x", &["\"fill\":307200"]);
    sender.kill();
    sender.finish();
    drop(input);
    let receiver = place.receive_into("out", &["recv", "x"]);
    receiver.finish().ends_with(3, &["died", "unfinished after 300.0 KiB"]);
    assert!(place.file("out") == sent);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn nobody_appends_to_the_stream_of_a_killed_sender() {
    let place = Place::new();
    let mut sender = place.start(&["send", "x"]);
    let input = sender.feed(b"half a").join();
    place.until_stat("x", &["\"fill\":6"]);
    sender.kill();
    let name = format!("process {}", sender.pid());
    sender.finish();
    drop(input);
    place.run(&["send", "x"]).ends_with(3, &["6 bytes", "unfinished", &name, "commons rm x"]);
    place.run(&["rm", "x"]).ends_with(0, &[]);
    place.run(&["send", "x"]).ends_with(0, &[]);
    place.run(&["recv", "x"]).ends_with(0, &[]);
}

/// A receiver whose output nobody reads, and a sender that waits for space.
fn stuck(place: &Place, sent: &[u8], arguments: &[&str]) -> (Running, Running) {
    let receiver = place.start(&["recv", "x", "--capacity", "64K"]);
    place.until_stat("x", &["\"fill\":0"]);
    let mut sender = place.start(arguments);
    // The thread ends with the sender.
    drop(sender.feed(sent));
    place.until_stat("x", &["\"fill\":65536"]);
    (sender, receiver)
}

#[test]
fn a_sender_ends_when_its_receiver_is_killed_and_a_new_one_gets_the_rest() {
    let place = Place::new();
    let sent = data(9 * MIB);
    let (sender, mut receiver) = stuck(&place, &sent, &["send", "x"]);
    receiver.kill();
    let name = format!("process {}", receiver.pid());
    let words = ["receiver of `x`", &name, "died", "commons recv x", "64.0 KiB"];
    sender.finish().ends_with(3, &words);
    let first = receiver.finish().output;
    place.until_stat("x", &["\"fill\":65536", "abandoned", "dead"]);

    let successor = place.run(&["recv", "x"]);
    successor.ends_with(3, &["gave up", "unfinished after 64.0 KiB"]);
    assert!(joined(&sent, &first, &successor.output) >= 64 * KIB);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn a_sender_that_keeps_waits_for_a_new_receiver() {
    let place = Place::new();
    let sent = data(9 * MIB);
    let (mut sender, mut receiver) = stuck(&place, &sent, &["send", "x", "--keep"]);
    let said = sender.listen();
    receiver.kill();
    let first = receiver.finish().output;
    until(|| said.lock().unwrap().contains("died; waiting for another"));
    assert!(!sender.has_ended());

    let successor = place.receive_into("out", &["recv", "x"]);
    assert_eq!(sender.finish().status.code(), Some(0), "{said:?}");
    successor.finish().ends_with(0, &[]);
    assert_eq!(joined(&sent, &first, &place.file("out")), sent.len());
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn a_sender_with_nothing_to_send_notices_that_its_receiver_died() {
    for has_name in [true, false] {
        let place = Place::new();
        let mut receiver = place.receive_into("out", &["recv", "x"]);
        let mut sender = place.start(&["send", "x"]);
        let input = sender.feed(b"word").join();
        until(|| place.length("out") == 4);
        place.until_stat("x", &["\"fill\":0"]);
        if !has_name {
            place.run(&["rm", "x"]).ends_with(0, &[]);
        }
        receiver.kill();
        let name = format!("process {}", receiver.pid());
        until(|| sender.has_ended());
        sender.finish().ends_with(3, &["receiver of `x`", &name, "died"]);
        drop(input);
        assert!(!place.has("x"), "a name stayed with nothing under it");
    }
}

#[test]
fn a_receiver_that_died_before_a_sender_came_is_none_to_it() {
    let place = Place::new();
    let mut gone = place.receive_into("out", &["recv", "x", "--capacity", "4K"]);
    place.until_stat("x", &["alive"]);
    gone.kill();
    gone.finish();
    let sent = data(MIB);
    let mut sender = place.start(&["send", "x"]);
    drop(sender.feed(&sent));
    place.until_stat("x", &["\"fill\":4096", "dead"]);
    let receiver = place.receive_into("out", &["recv", "x"]);
    sender.finish().ends_with(0, &[]);
    receiver.finish().ends_with(0, &[]);
    assert!(place.file("out") == sent);
}

#[test]
fn a_reader_that_has_enough_ends_both_sides() {
    let place = Place::new();
    let (sender, mut receiver) = stuck(&place, &data(MIB), &["send", "x"]);
    drop(receiver.0.stdout.take());
    receiver.finish().ends_with(0, &[]);
    sender.finish().ends_with(3, &["wants no more"]);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn what_a_receiver_could_not_write_stays_for_the_next() {
    let place = Place::new();
    let sent = data(300 * KIB);
    let mut sender = place.start(&["send", "x"]);
    drop(sender.feed(&sent).join());
    sender.finish().ends_with(0, &[]);
    let mut command = place.command(env!("CARGO_BIN_EXE_commons"), &["recv", "x"]);
    command.stdout(File::create("/dev/full").expect("a full disk")).stderr(Stdio::piped());
    let receiver = Running(command.spawn().expect("the command starts"));
    receiver.finish().ends_with(1, &["standard output"]);
    let received = place.run(&["recv", "x"]);
    received.ends_with(0, &[]);
    assert!(received.output == sent);
}

#[test]
fn a_receiver_with_nothing_to_write_notices_that_nobody_reads() {
    let place = Place::new();
    let mut receiver = place.start(&["recv", "x"]);
    place.until_stat("x", &["alive"]);
    drop(receiver.0.stdout.take());
    receiver.finish().ends_with(0, &[]);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn who_waits_under_a_name_that_is_removed_waits_no_longer() {
    let place = Place::new();
    for (verb, role) in [("send", "producer"), ("recv", "consumer")] {
        let mut waiting = place.start(&[verb, "x"]);
        let alive = format!("\"role\":\"{role}\",\"state\":\"alive\"");
        place.until_stat("x", &[&alive]);
        until(|| {
            // Again, if it was not settled yet and made the ring anew.
            place.run(&["rm", "x"]);
            waiting.has_ended()
        });
        waiting.finish().ends_with(5, &["`x` was removed before a"]);
    }
}

#[test]
fn two_that_met_need_no_name() {
    let place = Place::new();
    let sent = data(MIB);
    let (first, second) = sent.split_at(1000);
    let receiver = place.receive_into("out", &["recv", "x"]);
    place.until_stat("x", &["\"role\":\"consumer\",\"state\":\"alive\""]);
    let mut sender = place.start(&["send", "x"]);
    let input = sender.feed(first).join();
    until(|| place.length("out") == first.len());
    place.run(&["rm", "x"]).ends_with(0, &[]);
    let mut input = input.unwrap().expect("the sender reads");
    input.write_all(second).expect("the sender reads");
    drop(input);
    sender.finish().ends_with(0, &[]);
    receiver.finish().ends_with(0, &[]);
    assert!(place.file("out") == sent);
}

#[test]
fn a_sender_that_cannot_read_says_so_to_its_receiver() {
    let place = Place::new();
    let receiver = place.start(&["recv", "x"]);
    let mut command = place.command(env!("CARGO_BIN_EXE_commons"), &["send", "x"]);
    command.stdin(File::open("/").expect("a directory")).stderr(Stdio::piped());
    let sender = Running(command.spawn().expect("the command starts"));
    sender.finish().ends_with(1, &["standard input"]);
    receiver.finish().ends_with(3, &["gave up", "unfinished"]);
    assert!(!place.has("x"), "the name stayed");
}

#[test]
fn each_end_is_one_process_s() {
    let place = Place::new();
    let receiver = place.receive_into("out", &["recv", "x"]);
    let mut sender = place.start(&["send", "x"]);
    let ends = [(&sender, "send", "producer"), (&receiver, "recv", "consumer")];
    place.until_stat("x", &["\"role\":\"consumer\",\"state\":\"alive\""]);
    place.until_stat("x", &["\"role\":\"producer\",\"state\":\"alive\""]);
    for (holder, verb, role) in ends {
        let held = format!("{role} of `x` is held by process {}", holder.pid());
        place.run(&[verb, "x"]).ends_with(4, &[&held]);
    }
    drop(sender.feed(b"unharmed").join());
    sender.finish().ends_with(0, &[]);
    receiver.finish().ends_with(0, &[]);
    assert_eq!(place.file("out"), b"unharmed");
}

/// Makes what another program would have made, in a process with the right environment.
#[test]
#[ignore = "a helper of what_is_of_another_type_is_refused"]
fn make_a_ring_of_u64() {
    if let Ok(name) = std::env::var("COMMONS_TEST_RING") {
        commons::spsc::Ring::<u64>::create(&name, 100).expect("a ring");
    }
}

#[test]
fn what_is_of_another_type_is_refused() {
    let place = Place::new();
    let tests = std::env::current_exe().expect("this program");
    let arguments = ["--ignored", "--exact", "make_a_ring_of_u64"];
    let mut command = place.command(tests.to_str().expect("a path"), &arguments);
    command.env("COMMONS_TEST_RING", "numbers").stdout(Stdio::null());
    assert!(Running(command.spawn().expect("the helper starts")).finish().status.success());
    for verb in ["send", "recv"] {
        place.run(&[verb, "numbers"]).ends_with(6, &["`numbers` holds", "`u64`", "`u8`"]);
    }
    let listed = place.run(&["ls"]).stdout();
    let line = listed.lines().nth(1).expect("one segment");
    for word in ["numbers", "ring", "u64", "100", "nobody yet"] {
        assert!(line.contains(word), "`{word}` is missing in: {line}");
    }
}

#[test]
fn what_is_not_ours_is_refused_and_left_alone() {
    let place = Place::new();
    fs::write(place.0.join("letter"), "Dear all, ".repeat(100_000)).expect("a file");
    for verb in ["send", "recv", "stat", "rm"] {
        place.run(&[verb, "letter"]).ends_with(6, &["`letter` is not a commons segment"]);
    }
    let listed = place.run(&["ls"]);
    listed.ends_with(0, &[]);
    assert_eq!(listed.stdout(), "");
    place.run(&["gc"]).ends_with(0, &[]);
    assert_eq!(place.length("letter"), 1_000_000);
}

#[test]
fn what_is_damaged_or_of_another_version_is_refused_and_can_be_removed() {
    let place = Place::new();
    for damage in ["version", "length"] {
        place.run(&["send", "x"]).ends_with(0, &[]);
        let mut bytes = place.file("x");
        match damage {
            "version" => bytes[8] ^= 0xff,
            _ => bytes.truncate(100),
        }
        fs::write(place.0.join("x"), bytes).expect("a file");
        place.run(&["stat", "x"]).ends_with(6, &["`x`"]);
        place.run(&["rm", "x"]).ends_with(0, &[]);
        assert!(!place.has("x"));
    }
}

#[test]
fn what_is_missing_or_misnamed_has_a_code_of_its_own() {
    let place = Place::new();
    for verb in ["stat", "rm"] {
        place.run(&[verb, "x"]).ends_with(5, &["no segment named `x`"]);
    }
    for verb in ["send", "recv", "stat", "rm"] {
        place.run(&[verb, "a/b"]).ends_with(2, &["cannot be the name"]);
        place.run(&[verb]).ends_with(2, &["Usage"]);
    }
    place.run(&["send", "x", "--capacity", "12Q"]).ends_with(2, &["is no unit"]);
    assert!(place.run(&["--help"]).stdout().contains("Exit codes:"));
}

#[allow(unsafe_code, reason = "the standard library sends no SIGSTOP")]
fn stop(process: &Running) {
    let pid = i32::try_from(process.pid()).expect("a process id");
    // SAFETY: touches no memory; the process is a child of this one that was not waited for.
    let sent = unsafe { libc::kill(pid, libc::SIGSTOP) };
    assert_eq!(sent, 0);
}

#[test]
fn ls_and_stat_show_who_lives_is_stopped_and_is_dead() {
    let place = Place::new();
    let receiver = place.receive_into("out", &["recv", "x"]);
    let mut sender = place.start(&["send", "x"]);
    place.until_stat("x", &["\"role\":\"consumer\",\"state\":\"alive\""]);
    place.until_stat("x", &["\"role\":\"producer\",\"state\":\"alive\""]);
    stop(&receiver);
    place.until_stat("x", &["\"role\":\"consumer\",\"state\":\"stopped\""]);
    let input = sender.feed(&data(512 * KIB)).join();
    place.until_stat("x", &["\"fill\":524288"]);
    let (sending, receiving) =
        (format!("producer {} commons (alive)", sender.pid()), format!("{}", receiver.pid()));
    let listed = place.run(&["ls"]).stdout();
    for word in ["NAME", "x ", "ring", "u8", "1.0 MiB", "512.0 KiB", &sending, "(stopped)"] {
        assert!(listed.contains(word), "`{word}` is missing in:\n{listed}");
    }
    let shown = place.run(&["stat", "x"]).stdout();
    for word in ["524288 (50%)", "1048576", "in use", &receiving, "(stopped)"] {
        assert!(shown.contains(word), "`{word}` is missing in:\n{shown}");
    }
    let json = place.run(&["ls", "--json"]).stdout();
    assert!(json.starts_with("[{\"name\":\"x\",") && json.ends_with("}]\n"), "{json}");

    sender.kill();
    sender.finish();
    drop(input);
    place.until_stat("x", &["\"role\":\"producer\",\"state\":\"dead\""]);
    // One of the two lives, even if it is stopped.
    assert_eq!(place.run(&["gc"]).stdout(), "");
    assert!(place.has("x"));
}

#[test]
fn gc_removes_what_only_the_dead_use_and_rm_the_rest() {
    let place = Place::new();
    place.run(&["send", "left"]).ends_with(0, &[]);
    let mut dead = place.start(&["recv", "dead"]);
    let living = place.start(&["recv", "living"]);
    place.until_stat("dead", &["alive"]);
    place.until_stat("living", &["alive"]);
    dead.kill();
    let pid = dead.pid().to_string();
    dead.finish();
    place.until_stat("dead", &["\"in_use\":false"]);

    let planned = place.run(&["gc", "--dry-run"]).stdout();
    assert!(planned.starts_with("would remove dead (") && planned.contains(&pid), "{planned}");
    assert_eq!(planned.lines().count(), 1);
    assert!(place.has("dead"));
    let removed = place.run(&["gc"]).stdout();
    assert!(removed.starts_with("removed dead ("), "{removed}");
    assert!(!place.has("dead") && place.has("left") && place.has("living"));
    assert_eq!(place.run(&["gc"]).stdout(), "");

    place.run(&["rm", "left", "nothing", "living"]).ends_with(5, &["`nothing`"]);
    assert!(!place.has("left") && !place.has("living"));
    drop(living);
}

/// Holds what is to be seen, until its input ends.
#[test]
#[ignore = "a helper of stat_shows_who_owns_a_lock_and_who_publishes_what_version"]
fn hold_locks_and_publish() {
    let name = std::env::var("COMMONS_CLI_TEST_HOLDS").expect("a name");
    let segment = commons::Segment::open(&name).unwrap();
    let mutex = commons::Mutex::<u64>::open_in(&segment, "mutex").unwrap();
    let recursive = commons::RecursiveMutex::<u64>::open_in(&segment, "recursive").unwrap();
    let locked = commons::LockedArray::<u32>::open_in(&segment, "elements").unwrap();
    let latest = commons::Latest::<[u64; 4]>::open_in(&segment, "latest").unwrap();
    let _guards = (mutex.lock().unwrap(), recursive.lock().unwrap(), locked.lock().unwrap());
    let _deeper = recursive.lock().unwrap();
    let mut publisher = latest.publisher().unwrap();
    for i in 1..=3 {
        publisher.publish(&[i; 4]).unwrap();
    }
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
    std::process::abort();
}

#[test]
fn stat_shows_who_owns_a_lock_and_who_publishes_what_version() {
    // The library finds its directory by the environment, which is this process's: a name of its own
    // in the common directory, and the command looks there, too.
    let name = format!("commons-cli-test-holds-{}", std::process::id());
    struct Unlink(String);
    impl Drop for Unlink {
        fn drop(&mut self) {
            let _ = commons::Segment::unlink(&self.0);
        }
    }
    let segment = commons::Segment::create(&name, 64 << 10).unwrap();
    let _unlink = Unlink(name.clone());
    let mutex = commons::Mutex::new_in(&segment, "mutex", 0u64).unwrap();
    let _recursive = commons::RecursiveMutex::new_in(&segment, "recursive", 0u64).unwrap();
    let _locked = commons::LockedArray::new_in(&segment, "elements", 3, 0u32).unwrap();
    let _latest = commons::Latest::new_in(&segment, "latest", &[0u64; 4]).unwrap();
    let value = commons::Value::new_in(&segment, "value", [0u64; 4]).unwrap();
    value.store([1; 4]).unwrap();
    let stat = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_commons"));
        command.args(["stat", &name]).args(arguments).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running(command.spawn().unwrap()).finish().stdout()
    };
    let free = stat(&["--json"]);
    assert_eq!(
        free.matches("{\"role\":\"owner\",\"state\":\"free\",\"pid\":null}").count(),
        3,
        "{free}"
    );
    assert_eq!(free.matches("\"depth\":0,").count(), 1, "{free}");
    assert!(free.contains("{\"role\":\"publisher\",\"state\":\"vacant\",\"pid\":null}"), "{free}");
    assert!(free.contains("\"kind\":\"value\"") && free.contains("\"version\":1,"), "{free}");

    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "hold_locks_and_publish", "--ignored"]);
    command.env("COMMONS_CLI_TEST_HOLDS", &name).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut holder = Running(command.spawn().unwrap());
    let pid = holder.pid();
    let owner = |state: &str| format!("{{\"role\":\"owner\",\"state\":\"{state}\",\"pid\":{pid}}}");
    until(|| stat(&["--json"]).contains("\"version\":3,"));
    let held = stat(&["--json"]);
    assert_eq!(held.matches(&owner("alive")).count(), 3, "{held}");
    assert_eq!(held.matches("\"depth\":2,").count(), 1, "{held}");
    let shown = stat(&[]);
    for word in ["depth       2\n", "version", "owner", "publisher", &format!("{pid} "), "(alive)"]
    {
        assert!(shown.contains(word), "`{word}` is missing in:\n{shown}");
    }
    assert!(mutex.is_locked());
    stop(&holder);
    until(|| stat(&["--json"]).matches(&owner("stopped")).count() == 3);
    holder.kill();
    holder.finish();
    until(|| stat(&["--json"]).matches(&owner("dead")).count() == 3);
    assert_eq!(stat(&["--json"]).matches("\"depth\":0,").count(), 1, "nobody has it");
    drop(mutex.lock_or_repair(|_| ()).unwrap());
    let repaired = stat(&["--json"]);
    assert_eq!(repaired.matches(&owner("dead")).count(), 2, "{repaired}");
    assert_eq!(repaired.matches("\"state\":\"free\"").count(), 1, "{repaired}");
    assert!(repaired.contains("\"role\":\"publisher\",\"state\":\"dead\""), "{repaired}");
}
