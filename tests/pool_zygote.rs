//! The process that starts a pool's workers is killed at every state of its life that somebody could
//! tell from the one before: at the entry and the exit of each of its system calls, and before and
//! after each change of shared memory. Nothing else is in this program, since pools of one family
//! share their memory.
//!
//! By default a sample of the system calls, and no more than some thousand instructions in a row;
//! `COMMONS_LONG=1` takes all.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "ptrace")]

mod common;

use common::{Gate, Random, child, signal, watchdog_of};
use commons::{Array, Error, Pool, TaskError, WaitStrategy, process};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

/// The workers of the pool.
const WORKERS: usize = 2;
/// The task that ends its worker.
const FATAL: u64 = 3;

// ---- what the pool's process does ----

/// How a pool ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Join,
    Terminate,
}

/// Something that can be checked.
fn work(x: u64) -> u64 {
    if x == FATAL {
        signal(std::process::id(), libc::SIGKILL);
    }
    x.rotate_left(3) ^ 5
}

/// How many tasks that go on for ever have begun.
static BEGUN: OnceLock<Array<u32>> = OnceLock::new();

fn begun() -> &'static AtomicU32 {
    &BEGUN.get_or_init(|| Array::new(1, 0).unwrap()).atomics()[0]
}

fn for_ever(_: u64) -> u64 {
    begun().fetch_add(1, SeqCst);
    common::pause_for_ever()
}

fn is_there() -> bool {
    !process::active_children().is_empty()
}

/// Living processes of this process group beside the caller.
fn others_of_the_group() -> Vec<String> {
    let own = std::process::id().to_string();
    let is_other = |stat: &String| {
        let (before, after) = stat.rsplit_once(')').unwrap();
        let mut fields = after.split_ascii_whitespace();
        let (state, group) = (fields.next().unwrap(), fields.nth(1).unwrap());
        // Past its last instruction (`PF_EXITING`) it is gone, whatever the kernel still does.
        let flags: u32 = fields.nth(3).unwrap().parse().unwrap();
        let is_alive = !matches!(state, "Z" | "X") && flags & 4 == 0;
        group == own && is_alive && !before.starts_with(&format!("{own} "))
    };
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let stats = pids.filter_map(|pid| fs::read_to_string(pid.path().join("stat")).ok());
    stats.filter(is_other).collect()
}

/// Makes a pool, uses it, has it replace a worker, and ends it; everything is checked. Says whether it
/// was made.
fn own(end: End) -> bool {
    // SAFETY: takes integers.
    unsafe { libc::setpgid(0, 0) };
    assert_eq!(begun().load(SeqCst), 0);
    let before = (common::open_descriptors(), common::mappings());
    let length = NonZeroUsize::new(4).unwrap();
    let builder = Pool::builder().workers(WORKERS).queue_length(length);
    let made = match builder.wait_strategy(WaitStrategy::Park).build() {
        Ok(pool) => {
            make_use_of(&pool, end);
            true
        }
        Err(Error::Process { .. }) => false,
        Err(other) => panic!("{other}"),
    };
    assert!(!is_there());
    assert_eq!(others_of_the_group(), [""; 0]);
    assert_eq!((common::open_descriptors(), common::mappings()), before);
    made
}

fn make_use_of(pool: &Pool, end: End) {
    // One of two workers ends, and the other one does the rest, whoever lives or not beside them.
    let mut dead = 0;
    for (x, result) in (0..).zip(pool.try_map(work, 0..8).unwrap()) {
        match result {
            Ok(value) => assert!(x != FATAL && value == work(x), "task {x}"),
            Err(TaskError::WorkerDied { pid, signal }) if x == FATAL => {
                dead = pid;
                // Who alone knew by which signal may be dead, or be dying.
                while signal.is_none() && is_there() {
                    std::thread::yield_now();
                }
                assert!(matches!(signal, None | Some(libc::SIGKILL)), "{signal:?}");
            }
            Err(error) => panic!("task {x}: {error}"),
        }
    }
    // The pool keeps its size while there is somebody who sees to it.
    let is_full = || {
        let pids = pool.worker_pids();
        pids.len() == WORKERS && !pids.contains(&dead)
    };
    while !is_full() && is_there() {
        std::thread::yield_now();
    }
    assert_eq!(pool.apply(work, 9), Ok(work(9)));
    if !is_there() {
        // A worker that was just being started is one more.
        let mut left = 0..=WORKERS;
        let error = left.find_map(|_| match pool.apply(work, FATAL) {
            Err(TaskError::WorkerDied { signal: None, .. }) => None,
            other => Some(other),
        });
        assert_eq!(error, Some(Err(TaskError::ZygoteDied)));
        assert_eq!(pool.apply(work, 9), Err(TaskError::ZygoteDied));
    }
    match end {
        End::Join => {
            pool.close();
            pool.join().unwrap();
        }
        End::Terminate => {
            let result = pool.map_async(for_ever, 0..8).unwrap();
            while begun().load(SeqCst) < WORKERS as u32 && !result.ready() && is_there() {
                std::thread::yield_now();
            }
            pool.terminate();
            let error = result.get().unwrap_err();
            assert!(
                matches!(error, TaskError::Terminated | TaskError::ZygoteDied),
                "after terminate: {error}"
            );
        }
    }
    assert!(!is_there());
    assert_eq!(others_of_the_group(), [""; 0]);
}

// ---- who steps the zygote ----

/// How far the zygote gets: so many stops at system calls, and then so many instructions.
type Point = (usize, usize);

/// A process that stops whenever the test looks. Ends with the test.
#[derive(Clone, Copy)]
struct Traced(u32);

#[derive(Debug, PartialEq, Eq)]
enum Stopped {
    /// After an instruction, or at a system call.
    There,
    /// It has forked this process.
    Forked(u32),
    Ended,
}

impl Traced {
    fn request(self, request: libc::c_uint, address: usize, data: usize) -> libc::c_long {
        // SAFETY: requests whose memory is live, or that have none.
        let result = unsafe { libc::ptrace(request, self.0, address, data) };
        let error = io::Error::last_os_error();
        assert!(result != -1 || request == libc::PTRACE_PEEKTEXT, "ptrace {request}: {error}");
        result
    }

    /// Waits for its next stop, or its end. Signals are for it, and no stops.
    fn wait(self, how: libc::c_uint) -> Stopped {
        loop {
            let mut status = 0;
            // SAFETY: `status` is live for the kernel to fill in.
            let found =
                unsafe { libc::waitpid(self.0.cast_signed(), &raw mut status, libc::__WALL) };
            assert_eq!(found, self.0.cast_signed(), "waitpid: {}", io::Error::last_os_error());
            if !libc::WIFSTOPPED(status) {
                return Stopped::Ended;
            }
            match (libc::WSTOPSIG(status), status >> 16) {
                (_, libc::PTRACE_EVENT_FORK) => {
                    let mut pid: libc::c_ulong = 0;
                    let place = (&raw mut pid).expose_provenance();
                    self.request(libc::PTRACE_GETEVENTMSG, 0, place);
                    return Stopped::Forked(pid as u32);
                }
                (libc::SIGTRAP, _) => return Stopped::There,
                (stop, 0) if stop == libc::SIGTRAP | 0x80 => return Stopped::There,
                (signal, _) => {
                    self.request(how, 0, signal as usize);
                }
            }
        }
    }

    fn go(self, how: libc::c_uint) -> Stopped {
        self.request(how, 0, 0);
        self.wait(how)
    }

    fn kill(self) {
        signal(self.0, libc::SIGKILL);
        // Its parent is told when its tracer has seen it.
        while self.wait(libc::PTRACE_CONT) != Stopped::Ended {}
    }

    fn state(self) -> libc::ptrace_syscall_info {
        // SAFETY: all-zero bytes are a valid one.
        let mut info: libc::ptrace_syscall_info = unsafe { std::mem::zeroed() };
        let place = (&raw mut info).expose_provenance();
        self.request(libc::PTRACE_GET_SYSCALL_INFO, size_of_val(&info), place);
        info
    }

    /// The number of the system call that it enters.
    fn is_at(self) -> Option<i64> {
        let info = self.state();
        // SAFETY: any bytes are a number, which is one of an entry where the kernel says so.
        let number = unsafe { info.u.entry.nr };
        (info.op == libc::PTRACE_SYSCALL_INFO_ENTRY).then_some(number.cast_signed())
    }

    /// Whether its next instruction enters the kernel.
    fn is_about_to_call(self) -> bool {
        let at = self.state().instruction_pointer as usize;
        let code = self.request(libc::PTRACE_PEEKTEXT, at, 0);
        #[cfg(target_arch = "x86_64")]
        return code & 0xffff == 0x050f;
        #[cfg(target_arch = "aarch64")]
        return code & 0xffff_ffff == 0xd400_0001;
    }
}

/// The memory that this process has in common with its children.
struct Common {
    first: *const u8,
    /// What it was.
    before: Vec<u8>,
    /// Pages of it that have changed in this life.
    changed: BTreeSet<usize>,
}

impl Common {
    /// Bytes at its beginning, which are all that some small pools have.
    const LENGTH: usize = 256 << 10;
    const PAGE: usize = 4096;

    fn find() -> Self {
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let is_ours =
            |line: &&str| line.contains("memfd:commons (deleted)") && line.contains("rw-s");
        let mut ours = maps.lines().filter(is_ours);
        let (first, _) = ours.next().unwrap().split_once('-').unwrap();
        assert!(ours.next().is_none(), "{maps}");
        let first = usize::from_str_radix(first, 16).unwrap() as *const u8;
        Common { first, before: vec![0; Self::LENGTH], changed: BTreeSet::new() }
    }

    /// Whether it is another than it was, which it is then no more.
    fn changes(&mut self) -> bool {
        let pages: Vec<_> =
            (0..Self::LENGTH / Self::PAGE).filter(|&page| self.page_changes(page)).collect();
        self.changed.extend(&pages);
        !pages.is_empty()
    }

    /// The same of what has changed in this life before.
    fn changes_again(&mut self) -> bool {
        let pages: Vec<_> = self.changed.iter().copied().collect();
        pages.into_iter().filter(|&page| self.page_changes(page)).count() > 0
    }

    fn page_changes(&mut self, page: usize) -> bool {
        let before = &mut self.before[page * Self::PAGE..][..Self::PAGE];
        let place: *mut u8 = before.as_mut_ptr();
        let now = self.first.wrapping_add(page * Self::PAGE);
        // SAFETY: both are mapped; who writes meanwhile does so in another process.
        let changes = unsafe { libc::memcmp(place.cast(), now.cast(), Self::PAGE) } != 0;
        // SAFETY: as above.
        unsafe { std::ptr::copy_nonoverlapping(now, place, Self::PAGE) };
        changes
    }

    fn begin_a_life(&mut self) {
        self.changes();
        self.changed.clear();
    }
}

/// What a life had in it.
#[derive(Default)]
struct Life {
    /// Stops before the instructions that change shared memory.
    changing: Vec<usize>,
    /// Stops at system calls, with what was called where it is entered.
    stops: Vec<Option<i64>>,
}

impl Life {
    /// The stop at which the pool has everything and is about to end.
    fn last_sleep(&self) -> usize {
        let waits = [libc::SYS_wait4, libc::SYS_waitid].map(Some);
        let sleeps = (0..self.stops.len()).filter(|&at| waits.contains(&self.stops[at]));
        let sleeps: Vec<_> = sleeps.collect();
        sleeps[sleeps.len() - WORKERS]
    }
}

/// Has a process make, use and end a pool. `lead` leads its zygote. Says whether the pool was made.
fn with_zygote(end: End, lead: impl FnOnce(Traced)) -> Result<bool, String> {
    let directory = common::name("zygote");
    fs::create_dir(directory.path()).unwrap();
    let (gate, ready, path) = (Gate::new(), Gate::new(), directory.path());
    let (mut entrance, mut begins) = (gate.entrance(), ready.entrance());
    let owner = child(move || {
        common::live_in(&path);
        // A process keeps what a child had for the next one.
        child(|| ()).finish();
        ready.open_for(1);
        entrance.pass();
        own(end)
    });
    begins.pass();
    let traced = Traced(owner.id());
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACEFORK;
    traced.request(libc::PTRACE_SEIZE, 0, options as usize);
    gate.open_for(1);
    let Stopped::Forked(pid) = traced.wait(libc::PTRACE_CONT) else { panic!("no zygote") };
    let zygote = Traced(pid);
    assert_eq!(zygote.wait(libc::PTRACE_CONT), Stopped::There);
    let options = libc::PTRACE_O_EXITKILL | libc::PTRACE_O_TRACESYSGOOD;
    zygote.request(libc::PTRACE_SETOPTIONS, 0, options as usize);
    traced.request(libc::PTRACE_DETACH, 0, 0);
    lead(zygote);
    let made = owner.join().map_err(|error| error.to_string());
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().flatten().collect();
    assert!(left.is_empty(), "{left:?}");
    made
}

/// Looks on: what is called, and between which calls memory changes.
fn look_at_a_life(end: End, common: &mut Common) -> Life {
    let mut life = Life::default();
    let made = with_zygote(end, |zygote| {
        common.changes();
        while zygote.go(libc::PTRACE_SYSCALL) == Stopped::There {
            let call = zygote.is_at();
            if common.changes() && call.is_some() {
                life.changing.push(life.stops.len());
            }
            life.stops.push(call);
        }
    });
    assert_eq!(made, Ok(true));
    life
}

/// Looks at the instructions from these stops to the next ones, as far as they are not more than `most`:
/// after which of them memory is another.
fn look_closely(end: End, stops: &[usize], most: usize, common: &mut Common) -> Vec<Point> {
    let mut points = Vec::new();
    common.begin_a_life();
    let made = with_zygote(end, |zygote| {
        for stop in 0.. {
            common.changes();
            let mut steps = 0;
            while stops.contains(&stop) && steps < most && !zygote.is_about_to_call() {
                common.changes_again();
                zygote.go(libc::PTRACE_SINGLESTEP);
                steps += 1;
                if common.changes_again() {
                    points.push((stop, steps));
                }
            }
            if zygote.go(libc::PTRACE_SYSCALL) == Stopped::Ended {
                return;
            }
        }
    });
    assert_eq!(made, Ok(true));
    points
}

/// Kills the zygote there. Whether it got there, and whether its pool was made.
fn kill_at(end: End, (stops, steps): Point) -> (bool, bool) {
    let mut was_killed = false;
    let made = with_zygote(end, |zygote| {
        let calls = std::iter::repeat_n(libc::PTRACE_SYSCALL, stops);
        let mut way = calls.chain(std::iter::repeat_n(libc::PTRACE_SINGLESTEP, steps));
        was_killed = way.all(|how| zygote.go(how) == Stopped::There);
        if was_killed {
            zygote.kill();
        }
    });
    let told =
        |error| panic!("{end:?}, killed after {stops} stops and {steps} instructions: {error}");
    (was_killed, made.unwrap_or_else(told))
}

/// Has this thread and its children run on one processor, so that a stop takes no time.
fn stay_on_one_processor() {
    // SAFETY: all-zero bytes are a valid set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let size = size_of_val(&set);
    // SAFETY: `set` is live for the kernel to fill in.
    assert_eq!(unsafe { libc::sched_getaffinity(0, size, &raw mut set) }, 0);
    // SAFETY: within the set.
    let first = (0..size * 8).find(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).unwrap();
    // SAFETY: as above.
    unsafe { libc::CPU_ZERO(&mut set) };
    // SAFETY: as above.
    unsafe { libc::CPU_SET(first, &mut set) };
    // SAFETY: `set` is live.
    assert_eq!(unsafe { libc::sched_setaffinity(0, size, &raw const set) }, 0);
}

#[test]
fn the_zygote_is_killed_at_every_state_of_its_life() {
    let _watchdog = watchdog_of(3600);
    let is_long = std::env::var_os("COMMONS_LONG").is_some();
    let (every, most) = if is_long { (1, usize::MAX) } else { (16, 2500) };
    stay_on_one_processor();
    // The memory that children will have in common is there before them.
    let _first = Array::new(1, 0u8).unwrap();
    let mut common = Common::find();
    let mut random = Random::seeded("the zygote");
    let mut points: BTreeSet<(End, Point)> = BTreeSet::new();
    for end in [End::Join, End::Terminate] {
        let life = look_at_a_life(end, &mut common);
        // Until the pool has everything, one is like the other.
        let begin = if end == End::Join { 0 } else { life.last_sleep() };
        let changing: Vec<_> = life.changing.into_iter().filter(|&stop| stop >= begin).collect();
        // In another life the workers may be at something else, and a call more or less is made.
        let mut lives = (0..10).map(|_| look_closely(end, &changing, most, &mut common));
        let changes = lives.find(|changes| changes.len() >= WORKERS).expect("changes of memory");
        let first = begin + random.below(every) as usize;
        let calls = (first..life.stops.len()).step_by(every as usize).map(|stop| (stop, 0));
        let around = changing.iter().flat_map(|&stop| [(stop, 0), (stop + 1, 0)]);
        let within = changes.iter().copied();
        points.extend(calls.chain(around).chain(within).map(|point| (end, point)));
        println!(
            "{end:?}: {} stops at system calls, {} changes of memory that were seen",
            life.stops.len() - begin,
            changes.len()
        );
    }
    let mut outcomes: BTreeMap<_, usize> = BTreeMap::new();
    points.into_iter().for_each(|(end, at)| *outcomes.entry(kill_at(end, at)).or_default() += 1);
    println!("(it was killed, its pool was made): {outcomes:?}");
    assert!(outcomes[&(true, true)] > 8 && outcomes[&(true, false)] > 8);
}
