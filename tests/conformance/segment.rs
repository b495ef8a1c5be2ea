//! Shared memory: segments, and arrays of bytes in them.
//!
//! | id | why there is no test |
//! |---|---|
//! | SHM-02 | no name is generated: what needs none has none and is found by nobody |
//! | SHM-07 | elements in place borrow their handle, so a handle that is lent cannot be dropped |
//!
//! SHM-14 is that of memory without a name, which the kernel frees with its last process. A name
//! stays until it is taken away, by its users or by `commons gc`.

use crate::common::{Child, child, in_child, name, pause_for_ever, raw_fork, watchdog};
use commons::spsc::Ring;
use commons::{Array, CellError, Error, Origin, Segment, inspect};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn shm_01_a_new_segment_is_of_the_size_asked_for_and_says_its_name() {
    let name = name("shm01");
    let segment = Segment::create(&name, 5000).unwrap();
    assert!(segment.size() >= 5000);
    assert_eq!(segment.name(), Some(&*name));
    assert!(format!("{segment:?}").contains(&*name), "{segment:?}");
    let report = inspect::report(&name).unwrap();
    assert_eq!((&*report.name, report.size), (&*name, segment.size() as u64));
    assert_eq!(Segment::open(&name).unwrap().size(), segment.size());
    let zeros = Array::new_in(&segment, "buffer", 4000, 0u8).unwrap();
    assert_eq!(zeros.to_vec().unwrap(), [0; 4000]);
}

#[test]
fn shm_03_a_name_that_exists_is_taken() {
    let name = name("shm03");
    let _first = Array::create(&name, 10, 1u8).unwrap();
    assert!(matches!(Array::create(&name, 10, 2u8), Err(Error::NameTaken { .. })));
    assert!(matches!(Segment::create(&name, 10), Err(Error::NameTaken { .. })));
    assert_eq!(Array::<u8>::open(&name).unwrap().get(0), Ok(1));
}

#[test]
fn shm_04_a_name_leads_to_the_same_bytes_both_ways() {
    let _watchdog = watchdog();
    let name = name("shm04");
    assert!(matches!(Array::<u8>::open(&name), Err(Error::NotFound { .. })));
    let here = Array::create(&name, 100, 0u8).unwrap();
    here.set(3, 7).unwrap();
    let found = name.to_string();
    in_child(move || {
        let there = Array::<u8>::open(&found).unwrap();
        assert_eq!((there.len(), there.get(3)), (100, Ok(7)));
        there.set(4, 8).unwrap();
    });
    assert_eq!(here.get(4), Ok(8));
}

#[test]
fn shm_05_a_segment_has_a_size_and_is_opened_by_a_name() {
    let name = name("shm05");
    assert!(matches!(Segment::create(&name, 0), Err(Error::Zero { .. })));
    assert!(matches!(Segment::anonymous(0), Err(Error::Zero { .. })));
    assert!(matches!(
        Segment::create(&name, usize::MAX),
        Err(Error::TooLarge { .. } | Error::NoSpace { .. })
    ));
    assert!(matches!(Segment::open(""), Err(Error::InvalidName { .. })));
    assert!(!fs::exists(name.path()).unwrap());
}

#[test]
fn shm_06_dropping_a_handle_leaves_the_segment_and_the_other_handles() {
    let name = name("shm06");
    let segment = Segment::create(&name, 10_000).unwrap();
    let array = Array::new_in(&segment, "a", 3, 1u8).unwrap();
    let other = array.clone();
    drop(segment);
    drop(array);
    assert_eq!(other.set(0, 5), Ok(()));
    drop(other);
    let again = Segment::open(&name).unwrap();
    assert_eq!(Array::<u8>::open_in(&again, "a").unwrap().to_vec().unwrap(), [5, 1, 1]);
}

#[test]
fn shm_08_without_its_name_nobody_comes_and_who_is_there_stays() {
    let _watchdog = watchdog();
    let name = name("shm08");
    let here = Array::create(&name, 3, 1u8).unwrap();
    let there = Array::<u8>::open(&name).unwrap();
    Segment::unlink(&name).unwrap();
    assert!(matches!(Array::<u8>::open(&name), Err(Error::NotFound { .. })));
    here.set(1, 9).unwrap();
    drop(here);
    assert_eq!(there.get(1), Ok(9));
    // The other way round.
    let closed = Array::create(&name, 3, 2u8).unwrap();
    drop(closed);
    Segment::unlink(&name).unwrap();
    assert!(matches!(Array::<u8>::open(&name), Err(Error::NotFound { .. })));
}

#[test]
fn shm_09_a_name_is_taken_away_once() {
    let _watchdog = watchdog();
    let name = name("shm09");
    let _array = Array::create(&name, 3, 1u8).unwrap();
    let found = name.to_string();
    in_child(move || Segment::unlink(&found).unwrap());
    assert!(matches!(Segment::unlink(&name), Err(Error::NotFound { .. })));
    assert!(matches!(Array::<u8>::unlink(&name), Err(Error::NotFound { .. })));
}

#[test]
fn shm_10_what_is_there_is_opened_and_keeps_its_size() {
    let name = name("shm10");
    let (first, origin) = Segment::open_or_create(&name, 10_000).unwrap();
    assert_eq!(origin, Origin::Created);
    let (second, origin) = Segment::open_or_create(&name, 1 << 20).unwrap();
    assert_eq!((origin, second.size()), (Origin::Opened, first.size()));
}

#[test]
fn shm_11_a_name_that_is_sent_leads_to_the_segment_or_is_not_found() {
    let _watchdog = watchdog();
    let (here, gone) = (name("shm11"), name("shm11-gone"));
    let array = Array::create(&here, 3, 1u8).unwrap();
    let ring = Ring::<[u8; 64]>::create(&name("shm11-ring"), 2).unwrap();
    let mut consumer = ring.consumer().unwrap();
    let receiver = child(move || {
        let mut receive = || {
            let bytes = consumer.pop().unwrap();
            let end = bytes.iter().position(|&b| b == 0).unwrap();
            String::from_utf8(bytes[..end].to_vec()).unwrap()
        };
        let array = Array::<u8>::open(&receive()).unwrap();
        array.set(2, 4).unwrap();
        matches!(Array::<u8>::open(&receive()), Err(Error::NotFound { .. }))
    });
    let mut producer = ring.producer().unwrap();
    for name in [&here, &gone] {
        let mut bytes = [0; 64];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        producer.push(bytes).unwrap();
    }
    assert!(receiver.finish());
    assert_eq!(array.get(2), Ok(4));
}

#[test]
fn shm_12_children_get_it_as_a_handle_or_by_its_name() {
    let _watchdog = watchdog();
    let name = name("shm12");
    let array = Array::create(&name, 2, 0u8).unwrap();
    let (handle, found) = (array.clone(), name.to_string());
    in_child(move || handle.set(0, 1).unwrap());
    in_child(move || Array::<u8>::open(&found).unwrap().set(1, 2).unwrap());
    assert_eq!(array.to_vec().unwrap(), [1, 2]);
}

#[test]
fn shm_13_out_of_range_other_users_and_impossible_names_are_kept_out() {
    let name = name("shm13");
    let array = Array::create(&name, 10, 0u8).unwrap();
    assert_eq!(array.get(10), Err(CellError::OutOfRange { first: 10, end: 11, len: 10 }));
    assert!(array.store_range(9, &[1, 1]).is_err() && array.get(9) == Ok(0));
    let mode = fs::metadata(name.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for bad in ["a/b", "/", "a\0b", ".", ".."] {
        assert!(matches!(Segment::create(bad, 10), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(Segment::open(bad), Err(Error::InvalidName { .. })), "{bad:?}");
    }
}

#[test]
fn shm_14_memory_without_a_name_goes_with_its_family_and_names_of_the_dead_are_collected() {
    let _watchdog = watchdog();
    let name = name("shm14");
    let found = name.to_string();
    let parent: Child<()> = child(move || {
        let named = Array::create(&found, 3, 1u8).unwrap();
        let nameless = Array::new(16 << 20, 1u8).unwrap();
        let theirs = (named.clone(), nameless.clone());
        let _child: Child<()> = child(move || {
            theirs.1.set(1, 2).unwrap();
            theirs.0.set(0, 2).unwrap();
            pause_for_ever()
        });
        while nameless.get(1) != Ok(2) {}
        named.set(1, 2).unwrap();
        pause_for_ever()
    });
    let complete = || Array::<u8>::open(&name).is_ok_and(|a| a.to_vec() == Ok(vec![2, 2, 1]));
    while !complete() {
        std::thread::yield_now();
    }
    let memory = format!("/proc/{}/fd", parent.id());
    assert!(fs::read_dir(&memory).unwrap().flatten().any(|fd| {
        fs::read_link(fd.path()).is_ok_and(|to| to.to_string_lossy().contains("memfd:commons"))
    }));
    parent.kill();
    // The child dies with its parent; nobody is left who maps the nameless memory.
    // (Another test may collect it then.)
    while inspect::report(&name).is_ok_and(|report| report.is_in_use()) {
        std::thread::yield_now();
    }
    inspect::collect().unwrap();
    assert!(matches!(Array::<u8>::open(&name), Err(Error::NotFound { .. })));
}

#[test]
fn shm_15_who_comes_and_leaves_removes_nothing() {
    let _watchdog = watchdog();
    let name = name("shm15");
    let array = Array::create(&name, 3, 1u8).unwrap();
    for _ in 0..3 {
        // A process that knows the name alone.
        let stranger = raw_fork(|| i32::from(Array::<u8>::open(&name).unwrap().get(0) != Ok(1)));
        assert_eq!(stranger.wait(), 0);
    }
    drop(array);
    assert!(!inspect::collect().unwrap().contains(&name.to_string()));
    assert_eq!(Array::<u8>::open(&name).unwrap().to_vec().unwrap(), [1; 3]);
}
