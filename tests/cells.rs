//! Cells between processes: values are never torn, writers that are killed leave the old one, what
//! is out of range is an error, and who waits for the dead is told.

#![cfg(feature = "serde")]
#![allow(
    unsafe_code,
    reason = "elements in place, and forks of a library that knows nothing of us"
)]

mod common;

use bytemuck::{CheckedBitPattern, NoUninit};
use common::{Child, Random, child, falls_asleep, name, raw_fork, signal, watchdog, watchdog_of};
use commons::{
    Array, AtomicBool, AtomicI8, AtomicU64, AtomicUsize, CellError, Departure, Error, Kind, Latest,
    Origin, Segment, Value, WaitStrategy,
};
use proptest::prelude::*;
use std::sync::Mutex;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release, SeqCst};
use std::time::{Duration, Instant};

const MOMENT: Duration = Duration::from_millis(1);

/// All words are made from the first, so that a torn one is found.
fn whole<const N: usize>(number: u64) -> [u64; N] {
    std::array::from_fn(|i| number.wrapping_mul(2 * i as u64 + 1).rotate_left(i as u32))
}

/// The number of a value that is whole.
#[track_caller]
fn number<const N: usize>(words: &[u64; N]) -> u64 {
    assert_eq!(*words, whole::<N>(words[0]), "a torn value");
    words[0]
}

// ---- values ----

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Side {
    Left = 3,
    Right = 5,
}

#[test]
fn alignment_beyond_the_page_matters_only_in_place() {
    #[derive(Clone, Copy, Debug, PartialEq)]
    #[repr(C, align(8192))]
    struct Strict([u64; 1024]);
    // SAFETY: no padding, any bytes are a value.
    unsafe impl bytemuck::Zeroable for Strict {}
    // SAFETY: as above.
    unsafe impl bytemuck::Pod for Strict {}
    let value = Value::new(Strict([1; 1024])).unwrap();
    value.store(Strict([2; 1024])).unwrap();
    assert_eq!(value.load(), Ok(Strict([2; 1024])));
    let array = Array::new(2, Strict([1; 1024]));
    assert!(matches!(array, Err(Error::TooLarge { what: "an alignment", .. })), "{array:?}");
}

#[test]
fn updates_by_many_processes_are_all_counted() {
    let _watchdog = watchdog();
    let small = Value::new(0u32).unwrap();
    let large = Value::new(whole::<9>(0)).unwrap();
    let children: Vec<Child<()>> = (0..4)
        .map(|_| {
            let (small, large) = (small.clone(), large.clone());
            child(move || {
                for _ in 0..2000 {
                    small.update(|n| n + 1).unwrap();
                    large.update(|words| whole(number(&words) + 1)).unwrap();
                }
            })
        })
        .collect();
    children.into_iter().for_each(Child::finish);
    assert_eq!(small.load(), Ok(8000));
    assert_eq!(number(&large.load().unwrap()), 8000);
}

#[test]
fn threads_and_processes_read_nothing_torn() {
    let _watchdog = watchdog();
    let value = Value::new(whole::<40>(0)).unwrap();
    let stop = AtomicBool::new(false).unwrap();
    let writers: Vec<Child<()>> = (1..=2u64)
        .map(|writer| {
            let (value, stop) = (value.clone(), stop.clone());
            child(move || {
                for i in 0.. {
                    value.store(whole(writer << 32 | i)).unwrap();
                    if stop.load(Relaxed) {
                        break;
                    }
                }
            })
        })
        .collect();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                let mut last = [0; 3];
                for _ in 0..20_000 {
                    let number = number(&value.load().unwrap());
                    let (writer, i) = ((number >> 32) as usize, number & 0xffff_ffff);
                    assert!(i >= last[writer], "an older value came back");
                    last[writer] = i;
                }
            });
        }
    });
    stop.store(true, Relaxed);
    writers.into_iter().for_each(Child::finish);
}

#[test]
fn a_killed_writer_leaves_a_whole_value_and_the_next_one_writes() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("a_killed_writer_leaves_a_whole_value_and_the_next_one_writes");
    let name = name("killed");
    let value = Value::create(&name, whole::<64>(0)).unwrap();
    for life in 1..=40u64 {
        let found = name.to_string();
        let writer: Child<()> = child(move || {
            let value = Value::<[u64; 64]>::open(&found).unwrap();
            for i in 0.. {
                value.store(whole(life << 32 | i)).unwrap();
            }
        });
        let enough = 1 + random.below(300);
        while number(&value.load().unwrap()) < life << 32 | enough {}
        writer.kill();
        let left = number(&value.load().unwrap());
        assert_eq!(left >> 32, life);
        assert_eq!(value.swap(whole(life << 32 | 0xffff_ffff)), Ok(whole(left)));
    }
}

#[test]
fn a_stopped_writer_holds_up_writers_and_no_readers() {
    let _watchdog = watchdog();
    let name = name("stopped");
    let value = Value::create(&name, whole::<512>(0)).unwrap();
    let found = name.to_string();
    let writer: Child<()> = child(move || {
        let value = Value::<[u64; 512]>::open(&found).unwrap();
        for i in 1.. {
            value.store(whole(i)).unwrap();
        }
    });
    while number(&value.load().unwrap()) == 0 {}
    for _ in 0..50 {
        writer.stop();
        let first = number(&value.load().unwrap());
        assert_eq!(number(&value.load().unwrap()), first);
        writer.go_on();
        while number(&value.load().unwrap()) == first {}
    }
}

#[test]
fn opening_something_else_names_both_types() {
    let name = name("types");
    let _value = Value::create(&name, 0u64).unwrap();
    for error in [
        Value::<i64>::open(&name).unwrap_err(),
        Value::<[u64; 2]>::open(&name).unwrap_err(),
        Array::<u64>::open(&name).unwrap_err(),
        Latest::<u64>::open(&name).unwrap_err(),
        AtomicU64::open(&name).unwrap_err(),
    ] {
        let text = error.to_string();
        let Error::TypeMismatch { expected, found, .. } = error else { panic!("{text}") };
        assert_eq!((found.kind, found.type_name.as_str()), (Kind::Value, "u64"));
        for part in [expected.to_string(), found.to_string()] {
            assert!(text.contains(&part), "{text}");
        }
    }
}

#[test]
fn every_cell_is_found_by_name_and_by_label() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(64 << 10).unwrap();
    let value = Value::new_in(&segment, "value", 1u8).unwrap();
    let array = Array::new_in(&segment, "array", 3, 'x').unwrap();
    let latest = Latest::new_in(&segment, "latest", &5u64).unwrap();
    let atomic = AtomicI8::new_in(&segment, "atomic", -3).unwrap();
    assert_eq!(Value::<u8>::open_in(&segment, "value").unwrap().load(), value.load());
    assert_eq!(Array::<char>::open_in(&segment, "array").unwrap().to_vec(), array.to_vec());
    let opened = Latest::<u64>::open_or_create_in(&segment, "latest", &9).unwrap();
    assert_eq!((opened.1, opened.0.reader().unwrap().read()), (Origin::Opened, Ok(5)));
    assert_eq!(latest.version(), 0);
    assert_eq!(AtomicI8::open_in(&segment, "atomic").unwrap().load(SeqCst), atomic.load(SeqCst));
    let kinds: Vec<_> = segment.objects().unwrap().iter().map(|o| o.kind).collect();
    assert_eq!(kinds, [Kind::Value, Kind::Array, Kind::Latest, Kind::Atomic]);
    assert!(matches!(Value::<u8>::new_in(&segment, "value", 1), Err(Error::LabelTaken { .. })));
    assert!(matches!(Value::<u8>::open_in(&segment, "none"), Err(Error::LabelNotFound { .. })));

    let name = name("found");
    assert!(matches!(Value::<u8>::open(&name), Err(Error::NotFound { .. })));
    let (first, origin) = Value::open_or_create(&name, 7u8).unwrap();
    assert_eq!(origin, Origin::Created);
    assert!(matches!(Value::create(&name, 7u8), Err(Error::NameTaken { .. })));
    let (second, origin) = Value::open_or_create(&name, 8u8).unwrap();
    assert_eq!((origin, second.load()), (Origin::Opened, Ok(7)));
    Value::<u8>::unlink(&name).unwrap();
    assert!(matches!(Value::<u8>::unlink(&name), Err(Error::NotFound { .. })));
    first.store(9).unwrap();
    assert_eq!(second.load(), Ok(9));
}

// ---- atomics ----

#[test]
fn atomics_have_the_methods_of_std_between_processes() {
    let _watchdog = watchdog();
    let count = AtomicUsize::new(0).unwrap();
    let flag = AtomicBool::new(false).unwrap();
    let children: Vec<Child<()>> = (0..3)
        .map(|_| {
            let (count, flag) = (count.clone(), flag.clone());
            child(move || {
                while !flag.load(Acquire) {}
                for _ in 0..10_000 {
                    count.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    flag.store(true, Release);
    children.into_iter().for_each(Child::finish);
    assert_eq!(count.load(Relaxed), 30_000);
    assert_eq!(count.compare_exchange(30_000, 1, SeqCst, SeqCst), Ok(30_000));
    assert_eq!(count.fetch_max(5, SeqCst), 1);
    assert_eq!(count.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(6)), Err(5));
}

#[test]
fn flags_do_what_those_of_std_do() {
    use std::sync::atomic::AtomicBool as Std;
    for old in [false, true] {
        for value in [false, true] {
            let (ours, std) = (AtomicBool::new(old).unwrap(), Std::new(old));
            macro_rules! agree {
                ($($method:ident($($argument:expr),*);)*) => {$(
                    ours.store(old, SeqCst);
                    std.store(old, SeqCst);
                    let name = stringify!($method);
                    assert_eq!(ours.$method($($argument),*), std.$method($($argument),*), "{name}");
                    assert_eq!(ours.load(SeqCst), std.load(SeqCst), "{name} {old} {value}");
                )*};
            }
            agree! {
                swap(value, SeqCst);
                fetch_and(value, SeqCst);
                fetch_nand(value, SeqCst);
                fetch_or(value, SeqCst);
                fetch_xor(value, SeqCst);
                fetch_not(SeqCst);
                compare_exchange(value, !old, SeqCst, Relaxed);
            }
        }
    }
}

// ---- arrays ----

#[test]
fn arrays_of_impossible_size_are_an_error() {
    for len in [usize::MAX, usize::MAX / 8, isize::MAX as usize, 1 << 60] {
        let array = Array::new(len, 0u64);
        let refused = matches!(array, Err(Error::TooLarge { .. } | Error::NoSpace { .. }));
        assert!(refused, "{len}: {array:?}");
    }
    let nothing = Array::new(usize::MAX / 2, ()).unwrap();
    assert_eq!((nothing.len(), nothing.get(1 << 40)), (usize::MAX / 2, Ok(())));
    let one = Array::from_slice(&[[(); 0]; 3]);
    assert_eq!(one.map(|a| a.len()).ok(), Some(3));
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(C)]
struct Checked {
    flag: bool,
    rest: [u8; 99],
}

const CHECKED: Checked = Checked { flag: true, rest: [1; 99] };

#[test]
fn bytes_that_are_no_value_are_an_error_wherever_they_are_met() {
    let _watchdog = watchdog();
    let name = name("bad");
    let segment = Segment::create(&name, 64 << 10).unwrap();
    let small = Value::new_in(&segment, "small", Side::Left).unwrap();
    let large = Value::new_in(&segment, "large", CHECKED).unwrap();
    let array = Array::new_in(&segment, "array", 100, true).unwrap();
    let latest = Latest::new_in(&segment, "latest", &CHECKED).unwrap();
    let mut reader = latest.reader().unwrap();
    // Every byte of ones becomes a byte of twos.
    let path = name.path();
    let mut bytes = std::fs::read(&path).unwrap();
    let heap = 256 + 65536;
    let mut ones = 0;
    for i in heap..bytes.len() - 100 {
        if bytes[i..i + 100] == [1; 100] {
            bytes[i..i + 100].fill(2);
            ones += 1;
        }
    }
    assert_eq!(ones, 3);
    let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    use std::os::unix::fs::FileExt;
    file.write_all_at(&bytes[heap..], heap as u64).unwrap();
    small.store(Side::Right).unwrap();
    assert_eq!(small.load(), Ok(Side::Right));
    for bad in [
        large.load().err(),
        large.update(|v| v).err(),
        array.get(99).err(),
        array.to_vec().err(),
        array.load_range(0, &mut [true]).err(),
        reader.read().err(),
        reader.read_into(&mut { CHECKED }).err(),
    ] {
        assert!(matches!(bad, Some(CellError::Corrupted(_))), "{bad:?}");
    }
    large.store(CHECKED).unwrap();
    assert_eq!(large.load(), Ok(CHECKED));
}

proptest! {
    #[test]
    fn arrays_do_what_vectors_do(
        len in 0usize..600,
        operations in prop::collection::vec((0u8..5, 0usize..700, 0usize..700, any::<u16>()), 0..40),
    ) {
        let array = Array::new(len, 0u16).unwrap();
        let mut model = vec![0u16; len];
        for (what, first, count, value) in operations {
            let range = first..first.saturating_add(count);
            let there = range.end <= len;
            match what {
                0 => prop_assert_eq!(array.set(first, value).is_ok(), first < len),
                1 => prop_assert_eq!(array.store_range(first, &vec![value; count]).is_ok(), there),
                2 => prop_assert_eq!(array.fill(range.clone(), value).is_ok(), there),
                3 => {
                    let mut values = vec![1; count];
                    prop_assert_eq!(array.load_range(first, &mut values).is_ok(), there);
                    if there {
                        prop_assert_eq!(&values, &model[range.clone()]);
                    }
                }
                _ => {
                    let to = usize::from(value) % 700;
                    let fits = there && to + count <= len;
                    prop_assert_eq!(array.copy_to(first, &array, to, count).is_ok(), fits);
                    if fits {
                        model.copy_within(range.clone(), to);
                    }
                }
            }
            match what {
                0 if first < len => model[first] = value,
                1 | 2 if there => model[range].fill(value),
                _ => {}
            }
            prop_assert_eq!(array.to_vec().unwrap(), &model[..]);
            prop_assert!(array.iter().rev().eq(model.iter().rev().copied()));
        }
    }
}

#[test]
fn long_overlapping_copies_keep_their_order() {
    let count = 20_000;
    for (from, to) in [(0, 3), (3, 0), (0, 4096), (5000, 100), (7, 7)] {
        let array = Array::from_values(0..count as u32 + 10_000).unwrap();
        let mut model = array.to_vec().unwrap();
        array.copy_to(from, &array, to, count).unwrap();
        model.copy_within(from..from + count, to);
        assert_eq!(array.to_vec().unwrap(), model, "{from} to {to}");
    }
}

#[test]
fn elements_of_an_array_are_not_torn() {
    let _watchdog = watchdog();
    let array = Array::new(257, 0u64).unwrap();
    let theirs = array.clone();
    let writer: Child<()> = child(move || {
        for i in 0u32.. {
            let value = u64::from(i % 0xffff) * 0x0001_0001_0001_0001;
            theirs.store_range(1, &[value; 255]).unwrap();
        }
    });
    let mut values = [0u64; 255];
    for _ in 0..20_000 {
        array.load_range(1, &mut values).unwrap();
        for value in values {
            assert_eq!(value, (value & 0xffff) * 0x0001_0001_0001_0001, "torn");
        }
    }
    assert_eq!((array.get(0), array.get(256)), (Ok(0), Ok(0)), "written beside the range");
    writer.kill();
}

// ---- the newest value ----

#[test]
fn readers_in_other_processes_get_whole_values_that_never_go_back() {
    let _watchdog = watchdog_of(300);
    for buffers in [2, 3, 4, 15] {
        let latest = Latest::with_buffers(buffers, &whole::<300>(0)).unwrap();
        assert_eq!(latest.buffers(), buffers);
        let mut publisher = latest.publisher().unwrap();
        let readers: Vec<Child<u64>> = (0..3)
            .map(|_| {
                let mut reader = latest.reader().unwrap();
                child(move || {
                    let (mut last, mut read, mut into) = (0, 0, [0; 300]);
                    while last < 20_000 {
                        let version = reader.read_into(&mut into).unwrap();
                        assert_eq!(version, number(&into), "another version's value");
                        assert!(version >= last, "an older value came back");
                        last = version;
                        read += 1;
                    }
                    read
                })
            })
            .collect();
        for i in 1..=20_000 {
            assert_eq!(publisher.publish(&whole(i)), Ok(i));
        }
        for reader in readers {
            assert!(reader.finish() > 0);
        }
    }
}

#[test]
fn values_of_megabytes_are_read_whole() {
    let _watchdog = watchdog_of(300);
    type Frame = [u64; 1 << 18];
    // Never on the stack, which is too small for it.
    let zeroed = || -> Box<Frame> { vec![0; 1 << 18].into_boxed_slice().try_into().unwrap() };
    let latest = Latest::<Frame>::new(&zeroed()).unwrap();
    let mut reader = latest.reader().unwrap();
    let mut publisher = latest.publisher().unwrap();
    let writer: Child<()> = child(move || {
        let mut frame = zeroed();
        for i in 1..=60 {
            frame.fill(i);
            publisher.publish(&frame).unwrap();
        }
    });
    let mut frame = zeroed();
    while reader.seen() < 60 {
        let version = reader.read_into(&mut frame).unwrap();
        assert!(frame.iter().all(|&word| word == version), "torn");
    }
    writer.finish();
}

#[test]
fn a_reader_waits_for_something_newer() {
    let _watchdog = watchdog();
    let latest = Latest::new(&0u64).unwrap();
    for strategy in [WaitStrategy::Spin, WaitStrategy::SpinThenPark, WaitStrategy::Park] {
        let mut publisher = latest.publisher().unwrap();
        let first = latest.version();
        let mut reader = latest.reader().unwrap();
        let mut echo = child(move || {
            reader.set_wait_strategy(strategy);
            reader.read().unwrap();
            let mut seen = reader.seen();
            while let Ok(version) = reader.wait_newer() {
                assert!(version > seen);
                seen = reader.read().unwrap();
                assert_eq!(seen, reader.seen());
            }
            seen
        });
        if strategy != WaitStrategy::Spin {
            assert!(falls_asleep(&mut echo));
        }
        for i in 1..=500 {
            publisher.publish(&(first + i)).unwrap();
        }
        drop(publisher);
        assert_eq!(echo.finish(), first + 500);
    }
}

#[test]
fn waiting_ends_at_the_deadline_and_no_sooner() {
    let _watchdog = watchdog();
    let latest = Latest::new(&0u64).unwrap();
    let mut publisher = latest.publisher().unwrap();
    let mut reader = latest.reader().unwrap();
    let begin = Instant::now();
    assert_eq!(reader.wait_newer_timeout(20 * MOMENT), Err(CellError::TimedOut));
    assert!(begin.elapsed() >= 20 * MOMENT);
    let past = Instant::now() - MOMENT;
    assert_eq!(reader.wait_newer_deadline(past), Err(CellError::TimedOut));
    publisher.publish(&1).unwrap();
    assert!(reader.has_newer());
    assert_eq!(reader.wait_newer_deadline(past), Ok(1));
    assert_eq!(reader.read(), Ok(1));
    assert!(!reader.has_newer());
    assert_eq!(reader.clone().wait_newer_timeout(MOMENT), Err(CellError::TimedOut));
}

#[test]
fn readers_are_told_how_the_publisher_went() {
    let _watchdog = watchdog();
    let latest = Latest::new(&0u64).unwrap();
    let reader = latest.reader().unwrap();
    let publisher = latest.publisher().unwrap();
    drop(publisher);
    assert_eq!(reader.wait_newer(), Err(CellError::Gone(Departure::Closed)));
    let mut publisher = latest.publisher().unwrap();
    let panics: Child<()> = child(move || {
        publisher.publish(&1).unwrap();
        panic!("with the publisher");
    });
    assert_eq!(reader.wait_newer(), Ok(1));
    assert!(panics.join().is_err());
    let mut reader = latest.reader().unwrap();
    assert_eq!(reader.read(), Ok(1));
    assert_eq!(reader.wait_newer(), Err(CellError::Gone(Departure::Abandoned)));
}

#[test]
fn sleeping_readers_are_told_of_a_publishers_death() {
    let _watchdog = watchdog();
    let latest = Latest::new(&0u64).unwrap();
    let publisher = latest.publisher().unwrap();
    let holder: Child<()> = child(move || {
        let _publisher = publisher;
        common::pause_for_ever()
    });
    let pid = holder.id();
    let mut readers: Vec<Child<bool>> = (0..3)
        .map(|_| {
            let mut reader = latest.reader().unwrap();
            child(move || {
                reader.set_wait_strategy(WaitStrategy::Park);
                reader.wait_newer() == Err(CellError::Gone(Departure::Died { pid: Some(pid) }))
            })
        })
        .collect();
    assert!(readers.iter_mut().all(falls_asleep));
    signal(pid, libc::SIGKILL);
    for reader in readers {
        assert!(reader.finish());
    }
    drop(holder);
}

#[test]
fn killed_publishers_leave_whole_values_and_successors_go_on() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("killed_publishers_leave_whole_values_and_successors_go_on");
    let name = name("heirs");
    let latest = Latest::create(&name, &whole::<100>(0)).unwrap();
    let mut reader = latest.reader().unwrap();
    let mut last = 0;
    for _ in 0..40 {
        let found = name.to_string();
        let publisher: Child<()> = child(move || {
            let latest = Latest::<[u64; 100]>::open(&found).unwrap();
            let mut publisher = latest.publisher().unwrap();
            loop {
                publisher.publish(&whole(publisher.version() + 1)).unwrap();
            }
        });
        let enough = last + 1 + random.below(3000);
        while last < enough {
            let value = number(&reader.read().unwrap());
            assert_eq!(value, reader.seen());
            assert!(value >= last);
            last = value;
        }
        publisher.kill();
        last = number(&reader.read().unwrap());
    }
    let mut publisher = latest.publisher().unwrap();
    assert_eq!(publisher.publish(&whole(last + 1)), Ok(last + 1));
}

#[test]
fn there_is_one_publisher() {
    let _watchdog = watchdog();
    let latest = Latest::new(&0u64).unwrap();
    let publisher = latest.publisher().unwrap();
    let taken = latest.publisher().unwrap_err();
    assert!(
        matches!(taken, Error::RoleTaken { role: "publisher", pid, .. } if pid == std::process::id())
    );
    drop(publisher);
    latest.publisher().unwrap();
}

static LEFT_BEHIND: Mutex<Option<commons::latest::Publisher<u64>>> = Mutex::new(None);

#[test]
fn a_copy_that_a_fork_made_of_a_publisher_is_of_no_use() {
    let _watchdog = watchdog();
    let latest = Latest::new(&0u64).unwrap();
    *LEFT_BEHIND.lock().unwrap() = Some(latest.publisher().unwrap());
    let child = raw_fork(|| {
        let mut publisher = LEFT_BEHIND.lock().unwrap().take().unwrap();
        i32::from(publisher.publish(&1) != Err(CellError::Forked))
    });
    assert_eq!(child.wait(), 0);
    let mut publisher = LEFT_BEHIND.lock().unwrap().take().unwrap();
    assert_eq!(publisher.publish(&7), Ok(1));
}

#[test]
fn inherited_handles_of_values_and_arrays_serve_in_every_child() {
    let _watchdog = watchdog();
    let (small, large) = (Value::new(1u64).unwrap(), Value::new(whole::<5>(1)).unwrap());
    let array = Array::from_slice(&[1u8; 10]).unwrap();
    let child = raw_fork(|| {
        let good = small.load() == Ok(1)
            && large.swap(whole(2)) == Ok(whole(1))
            && array.set(9, 4).is_ok()
            && small.store(2).is_ok();
        i32::from(!good)
    });
    assert_eq!(child.wait(), 0);
    assert_eq!((small.load(), large.load(), array.get(9)), (Ok(2), Ok(whole(2)), Ok(4)));
}

#[test]
fn numbers_of_buffers_out_of_range_are_an_error() {
    for buffers in [0, 1, 16, usize::MAX] {
        let made = Latest::with_buffers(buffers, &0u64);
        let refused = matches!(made, Err(Error::Zero { .. } | Error::TooLarge { .. }));
        assert!(refused, "{buffers}: {made:?}");
    }
}
