//! Segments: names that are complete or absent, refusals that say what was found, objects under
//! labels, memory that comes back, and bytes that make no sense.

#![cfg(feature = "serde")]
#![allow(unsafe_code, reason = "mounts, seals and other system calls")]

mod common;

use common::{
    Child, Gate, Name, Random, anonymous_bytes, child, descriptors, falls_asleep, in_child,
    in_private_directory, live_in, mappings, name, watchdog, watchdog_of,
};
use commons::inspect::{self, Holder, State};
use commons::spsc::{Ring, duplex, ring};
use commons::{Array, Error, Kind, Origin, Process, Segment};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::panic::{AssertUnwindSafe, catch_unwind};

// ---- names ----

#[test]
fn what_is_created_is_found_by_its_name_until_that_is_taken_away() {
    let _watchdog = watchdog();
    let name = name("found");
    let made = Segment::create(&name, 5000).unwrap();
    assert_eq!(made.name(), Some(&*name));
    assert!(made.size() >= 5000);
    assert_eq!(fs::metadata(name.path()).unwrap().len(), made.size() as u64);
    let ring = Ring::<u64>::new_in(&made, "inside", 8).unwrap();
    ring.producer().unwrap().push(7).unwrap();

    let found = name.to_string();
    in_child(move || {
        let opened = Segment::open(&found).unwrap();
        let ring = Ring::<u64>::open_in(&opened, "inside").unwrap();
        assert_eq!(ring.consumer().unwrap().pop().unwrap(), 7);
        ring.producer().unwrap().push(8).unwrap();
    });

    Segment::unlink(&name).unwrap();
    assert!(matches!(Segment::open(&name), Err(Error::NotFound { .. })));
    assert!(matches!(Segment::unlink(&name), Err(Error::NotFound { .. })));
    // Who has it open keeps it.
    assert_eq!(ring.consumer().unwrap().pop().unwrap(), 8);
    // The name is free, and a segment of it is another one.
    let again = Segment::create(&name, 5000).unwrap();
    assert!(again.objects().unwrap().is_empty());
    assert_eq!(made.objects().unwrap().len(), 1);
}

#[test]
fn a_segment_without_a_name_has_none() {
    let segment = Segment::anonymous(100).unwrap();
    assert_eq!(segment.name(), None);
    assert!(segment.size() >= 100);
    assert_eq!(segment.clone().size(), segment.size());
}

#[test]
fn open_or_create_says_which_happened() {
    let _watchdog = watchdog();
    let name = name("either");
    let (made, origin) = Segment::open_or_create(&name, 9000).unwrap();
    assert_eq!(origin, Origin::Created);
    let (found, origin) = Segment::open_or_create(&name, 1 << 20).unwrap();
    assert_eq!((origin, found.size()), (Origin::Opened, made.size()));

    let in_it = |capacity| Ring::<u8>::open_or_create_in(&made, "either", capacity).unwrap();
    assert_eq!(in_it(3).1, Origin::Created);
    let (ring, origin) = in_it(5);
    assert_eq!((origin, ring.capacity()), (Origin::Opened, 3));
}

#[test]
fn a_named_segment_is_its_owners_alone_whatever_the_umask() {
    let _watchdog = watchdog();
    let name = name("private");
    let path = name.path();
    let found = name.to_string();
    let mode = in_child(move || {
        // SAFETY: takes an integer; this process has one thread.
        unsafe { libc::umask(0) };
        Ring::<u8>::create(&found, 1).unwrap();
        fs::metadata(path).unwrap().permissions().mode()
    });
    assert_eq!(mode & 0o7777, 0o600);
}

#[test]
fn all_space_of_a_named_segment_is_reserved_when_it_appears() {
    let _watchdog = watchdog();
    let name = name("reserved");
    let segment = Segment::create(&name, 3 << 20).unwrap();
    let metadata = fs::metadata(name.path()).unwrap();
    assert!(metadata.blocks() * 512 >= segment.size() as u64, "{} blocks", metadata.blocks());
}

#[test]
fn a_taken_name_is_refused_and_left_as_it_is() {
    let _watchdog = watchdog();
    let name = name("taken");
    let ring = Ring::<u64>::create(&name, 4).unwrap();
    ring.producer().unwrap().push(1).unwrap();
    for error in [
        Segment::create(&name, 100).unwrap_err(),
        Ring::<u64>::create(&name, 4).unwrap_err(),
        Ring::<u8>::create(&name, 4).unwrap_err(),
    ] {
        assert!(matches!(&error, Error::NameTaken { name: taken } if **taken == *name), "{error}");
    }
    assert_eq!(Ring::<u64>::open(&name).unwrap().len(), 1);
}

#[test]
fn unusable_names_are_refused_before_anything_is_made() {
    for bad in ["", ".", "..", "a/b", "/a", "a\0b", &"x".repeat(201)] {
        assert!(matches!(Segment::create(bad, 1), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(Segment::open(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(Segment::unlink(bad), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(Ring::<u8>::create(bad, 1), Err(Error::InvalidName { .. })), "{bad:?}");
        assert!(matches!(inspect::report(bad), Err(Error::InvalidName { .. })), "{bad:?}");
    }
}

#[test]
fn names_of_every_legal_byte_work() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        for name in ["a b", "größe", "-rf", ".hidden", "\n", "%s", &"y".repeat(200)] {
            Ring::<u8>::create(name, 1).unwrap().producer().unwrap().push(1).unwrap();
            assert_eq!(Ring::<u8>::open(name).unwrap().len(), 1);
            assert_eq!(inspect::report(name).unwrap().name, name);
            Ring::<u8>::unlink(name).unwrap();
        }
    });
}

#[test]
fn of_several_processes_at_once_exactly_one_creates() {
    let _watchdog = watchdog();
    for round in 0..30 {
        let name = name("race");
        let gate = Gate::new();
        let racers: Vec<Child<(bool, usize, u64)>> = (0..5)
            .map(|_| {
                let (found, mut entrance) = (name.to_string(), gate.entrance());
                child(move || {
                    entrance.pass();
                    let (ring, origin) = Ring::<u64>::open_or_create(&found, 16).unwrap();
                    // A half-made ring would have no capacity, or no ends.
                    let pushed = ring.producer().map(|mut p| p.push(1).unwrap()).is_ok();
                    (origin == Origin::Created, ring.capacity(), u64::from(pushed))
                })
            })
            .collect();
        gate.open_for(racers.len());
        let outcomes: Vec<_> = racers.into_iter().map(Child::finish).collect();
        assert_eq!(outcomes.iter().filter(|o| o.0).count(), 1, "round {round}: {outcomes:?}");
        assert!(outcomes.iter().all(|o| o.1 == 16));
        let pushed: u64 = outcomes.iter().map(|o| o.2).sum();
        assert_eq!(Ring::<u64>::open(&name).unwrap().len() as u64, pushed.min(16));
    }
}

#[test]
fn who_opens_a_name_that_comes_and_goes_finds_all_of_it_or_nothing() {
    let _watchdog = watchdog();
    let name = name("flicker");
    let found = name.to_string();
    let maker = child(move || {
        for _ in 0..2_000 {
            let ring = Ring::<u64>::create(&found, 100).unwrap();
            ring.producer().unwrap().push(5).unwrap();
            Segment::unlink(&found).unwrap();
        }
    });
    let mut maker = maker;
    let (mut complete, mut absent) = (0, 0);
    while maker.process().is_alive() {
        match Ring::<u64>::open(&name) {
            Ok(ring) => {
                assert_eq!(ring.capacity(), 100);
                complete += 1;
            }
            Err(Error::NotFound { .. }) => absent += 1,
            Err(other) => panic!("{other}"),
        }
        match inspect::report(&name) {
            Ok(report) => assert_eq!(report.objects.len(), 1),
            Err(Error::NotFound { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
    maker.finish();
    println!("{complete} complete, {absent} absent");
}

#[test]
fn a_creator_that_is_killed_leaves_no_name_or_a_whole_one() {
    let _watchdog = watchdog();
    let mut random = Random::seeded("a_creator_that_is_killed_leaves_no_name_or_a_whole_one");
    for _ in 0..60 {
        let name = name("killed-creator");
        let found = name.to_string();
        let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
        let creator: Child<()> = child(move || {
            ready.push(()).unwrap();
            loop {
                Ring::<u64>::create(&found, 1000).unwrap();
                Segment::unlink(&found).unwrap();
            }
        });
        is_ready.pop().unwrap();
        for _ in 0..random.below(3_000) {
            std::hint::spin_loop();
        }
        creator.kill();
        match Ring::<u64>::open(&name) {
            Ok(ring) => assert_eq!(ring.capacity(), 1000),
            Err(Error::NotFound { .. }) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

// ---- refusals ----

mod other {
    use bytemuck::{Pod, Zeroable};

    /// Of the same name, size and alignment as the one outside, and of another size and alignment.
    #[derive(Clone, Copy, Pod, Zeroable)]
    #[repr(C)]
    pub(crate) struct Item(pub(crate) [u64; 2]);

    pub(crate) mod aligned {
        use bytemuck::{Pod, Zeroable};

        #[derive(Clone, Copy, Pod, Zeroable)]
        #[repr(C, align(16))]
        pub(crate) struct Item(pub(crate) [u64; 2]);
    }

    pub(crate) mod larger {
        use bytemuck::{Pod, Zeroable};

        #[derive(Clone, Copy, Pod, Zeroable)]
        #[repr(C)]
        pub(crate) struct Item(pub(crate) [u64; 3]);
    }
}

fn mismatch<R>(result: Result<R, Error>) -> (commons::ObjectInfo, commons::ObjectInfo) {
    match result {
        Err(error @ Error::TypeMismatch { .. }) => {
            let text = error.to_string();
            let Error::TypeMismatch { expected, found, .. } = error else { unreachable!() };
            for info in [&expected, &found] {
                assert!(text.contains(&info.to_string()), "`{text}` does not say `{info}`");
            }
            (*expected, *found)
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was opened"),
    }
}

#[test]
fn a_ring_of_another_type_is_refused_with_both_named() {
    let _watchdog = watchdog();
    let name = name("types");
    Ring::<other::Item>::create(&name, 4).unwrap();
    Ring::<other::Item>::open(&name).unwrap();

    let (expected, found) = mismatch(Ring::<u64>::open(&name));
    assert_eq!((&*expected.type_name, &*found.type_name), ("u64", "Item"));
    let (expected, found) = mismatch(Ring::<other::larger::Item>::open(&name));
    assert_eq!((expected.element_size, found.element_size), (24, 16));
    let (expected, found) = mismatch(Ring::<other::aligned::Item>::open(&name));
    assert_eq!((expected.element_align, found.element_align), (16, 8));
    let (expected, found) = mismatch(Ring::<[u64; 2]>::open_or_create(&name, 4));
    assert_eq!((&*expected.type_name, &*found.type_name), ("[u64; 2]", "Item"));
    // Same bits, other meaning.
    let segment = Segment::anonymous(1 << 16).unwrap();
    Ring::<i64>::new_in(&segment, "signed", 4).unwrap();
    mismatch(Ring::<u64>::open_in(&segment, "signed"));
    mismatch(Ring::<f64>::open_or_create_in(&segment, "signed", 4));
}

#[test]
fn an_object_of_another_kind_is_refused_with_both_named() {
    let _watchdog = watchdog();
    let name = name("kinds");
    Ring::<u64>::create(&name, 4).unwrap();
    let mut bytes = fs::read(name.path()).unwrap();
    put(&mut bytes, BLOCK + KIND, &2u32.to_le_bytes());
    fs::write(name.path(), bytes).unwrap();
    let (expected, found) = mismatch(Ring::<u64>::open(&name));
    assert_eq!((expected.kind, found.kind), (Kind::Ring, Kind::Duplex));
}

#[test]
fn a_segment_of_labelled_objects_is_no_ring_and_a_ring_no_such_segment() {
    let _watchdog = watchdog();
    let (labelled, single) = (name("labelled"), name("single"));
    let segment = Segment::create(&labelled, 1 << 14).unwrap();
    assert!(matches!(Ring::<u8>::open(&labelled), Err(Error::NotOurs { .. })));
    Ring::<u8>::new_in(&segment, "one", 4).unwrap();
    assert!(matches!(Ring::<u8>::open(&labelled), Err(Error::NotOurs { .. })));

    Ring::<u8>::create(&single, 4).unwrap();
    let segment = Segment::open(&single).unwrap();
    assert_eq!(segment.objects().unwrap()[0].label, None);
    assert!(matches!(Ring::<u8>::open_in(&segment, "one"), Err(Error::LabelNotFound { .. })));
}

fn not_ours(name: &Name) -> String {
    let found = |error: Error| match error {
        Error::NotOurs { found, .. } => found,
        other => panic!("{other}"),
    };
    let text = found(Segment::open(name).unwrap_err());
    assert_eq!(found(Ring::<u8>::open(name).unwrap_err()), text);
    assert_eq!(found(Ring::<u8>::open_or_create(name, 4).unwrap_err()), text);
    assert_eq!(found(Segment::open_or_create(name, 4).unwrap_err()), text);
    assert_eq!(found(inspect::report(name).unwrap_err()), text);
    assert_eq!(found(Segment::unlink(name).unwrap_err()), text);
    assert_eq!(found(Ring::<u8>::unlink(name).unwrap_err()), text);
    assert!(matches!(Segment::create(name, 1), Err(Error::NameTaken { .. })));
    assert!(inspect::list().unwrap().iter().all(|report| report.name != **name));
    text
}

#[test]
fn files_of_others_are_not_ours_and_left_as_they_are() {
    let _watchdog = watchdog();
    for content in [&b""[..], b"short", &[b'x'; 200_000], &[0; 200_000]] {
        let name = name("foreign");
        fs::write(name.path(), content).unwrap();
        not_ours(&name);
        assert!(fs::read(name.path()).unwrap() == content, "it was changed");
    }
}

#[test]
fn what_is_no_file_is_not_ours() {
    let _watchdog = watchdog();
    let directory = name("a-directory");
    fs::create_dir(directory.path()).unwrap();
    not_ours(&directory);
    assert!(directory.path().is_dir());

    let target = name("a-target");
    Segment::create(&target, 100).unwrap();
    for target in [target.path(), "/nowhere/at/all".into()] {
        let link = name("a-link");
        std::os::unix::fs::symlink(target, link.path()).unwrap();
        not_ours(&link);
        assert!(link.path().is_symlink());
    }

    let pipe = name("a-pipe");
    let path = std::ffi::CString::new(pipe.path().to_str().unwrap()).unwrap();
    // SAFETY: the path is a live C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
    not_ours(&pipe);
    assert!(fs::metadata(pipe.path()).unwrap().file_type().is_fifo());

    let socket = name("a-socket");
    let _listener = std::os::unix::net::UnixListener::bind(socket.path()).unwrap();
    not_ours(&socket);
}

#[test]
fn what_is_damaged_or_of_another_version_can_be_removed() {
    let _watchdog = watchdog();
    let name = name("old");
    let damages: [fn(&mut Vec<u8>); 4] = [
        |bytes| put(bytes, 8, &77u32.to_le_bytes()),
        |bytes| bytes[16..HEADER].fill(0xff),
        |bytes| bytes.truncate(8),
        |bytes| bytes.extend([0; 4096]),
    ];
    for damage in damages {
        Segment::create(&name, 100).unwrap();
        let mut bytes = fs::read(name.path()).unwrap();
        damage(&mut bytes);
        fs::write(name.path(), bytes).unwrap();
        assert!(Segment::open(&name).is_err());
        Segment::unlink(&name).unwrap();
        assert!(!name.path().exists());
    }
}

#[test]
fn removers_at_once_take_the_name_from_a_segment_and_from_nothing_else() {
    let _watchdog = watchdog();
    let name = name("swapped");
    let (found, gate) = (name.to_string(), Gate::new());
    let mut entrance = gate.entrance();
    let mut remover: Child<()> = child(move || {
        entrance.pass();
        loop {
            let result = Segment::unlink(&found);
            let fine =
                matches!(result, Ok(()) | Err(Error::NotFound { .. } | Error::NotOurs { .. }));
            assert!(fine, "{result:?}");
        }
    });
    gate.open_for(1);
    for round in 0..1000 {
        Segment::create(&name, 100).unwrap();
        let result = Segment::unlink(&name);
        assert!(matches!(result, Ok(()) | Err(Error::NotFound { .. })), "{result:?}");
        let foreign = fs::File::create_new(name.path()).unwrap();
        for _ in 0..round % 10 {
            std::thread::yield_now();
        }
        assert_eq!(foreign.metadata().unwrap().nlink(), 1, "round {round}: it was removed");
        fs::remove_file(name.path()).unwrap();
    }
    assert!(remover.process().is_alive());
}

#[test]
fn a_name_is_taken_away_although_somebody_is_stopped_at_its_door() {
    let _watchdog = watchdog();
    let name = name("blocked");
    Segment::create(&name, 100).unwrap();
    // As somebody who attaches has it locked.
    let file = fs::OpenOptions::new().read(true).open(name.path()).unwrap();
    // SAFETY: all-zero bytes are a valid flock.
    let mut door: libc::flock = unsafe { std::mem::zeroed() };
    door.l_type = libc::F_RDLCK as libc::c_short;
    (door.l_start, door.l_len) = (1 << 59, 1);
    // SAFETY: `door` is live for the kernel to read.
    let locked = unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &raw const door) };
    assert_eq!(locked, 0);
    Segment::unlink(&name).unwrap();
    assert!(!name.path().exists());
}

#[test]
fn another_layout_version_is_refused_with_both_numbers() {
    let _watchdog = watchdog();
    let name = name("version");
    Segment::create(&name, 100).unwrap();
    let mut bytes = fs::read(name.path()).unwrap();
    put(&mut bytes, 8, &77u32.to_le_bytes());
    fs::write(name.path(), bytes).unwrap();
    let error = Segment::open(&name).unwrap_err();
    assert!(matches!(error, Error::Version { found: 77, expected: 1, .. }), "{error}");
}

#[test]
fn a_file_cut_short_or_grown_is_corrupted() {
    let _watchdog = watchdog();
    let name = name("cut");
    let segment = Segment::create(&name, 100_000).unwrap();
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    // Nothing of ours touches the part that goes: `segment` is not used any more.
    let size = segment.size() as u64;
    drop(segment);
    for length in [size - 4096, size + 4096, size - 1] {
        file.set_len(length).unwrap();
        let error = Segment::open(&name).unwrap_err();
        assert!(matches!(error, Error::Corrupted { .. }), "{length} bytes: {error}");
    }
    for (length, is_ours) in [(1000, true), (8, true), (6, false), (0, false)] {
        file.set_len(length).unwrap();
        let error = Segment::open(&name).unwrap_err();
        assert_eq!(matches!(error, Error::Corrupted { .. }), is_ours, "{length} bytes: {error}");
        assert_eq!(matches!(error, Error::NotOurs { .. }), !is_ours, "{length} bytes: {error}");
    }
}

// ---- sizes ----

#[test]
fn sizes_beyond_all_memory_are_errors() {
    let _watchdog = watchdog();
    let name = name("sizes");
    let refused = |error: Error| {
        assert!(
            matches!(
                error,
                Error::TooLarge { .. } | Error::NoSpace { .. } | Error::SegmentFull { .. }
            ),
            "{error}"
        );
    };
    for bytes in [usize::MAX, usize::MAX - 4096, i64::MAX as usize, i64::MAX as usize - 100_000] {
        refused(Segment::create(&name, bytes).unwrap_err());
    }
    for bytes in [usize::MAX, i64::MAX as usize] {
        refused(Segment::anonymous(bytes).unwrap_err());
    }
    let segment = Segment::anonymous(1 << 16).unwrap();
    for capacity in [usize::MAX, usize::MAX / 8, usize::MAX / 8 + 1, i64::MAX as usize / 8] {
        refused(Ring::<u64>::create(&name, capacity).unwrap_err());
        refused(Ring::<u64>::new_in(&segment, "huge", capacity).unwrap_err());
        refused(Ring::<[u64; 64]>::create(&name, capacity).unwrap_err());
        refused(ring::<[u64; 64]>(capacity).unwrap_err());
        refused(duplex::<[u64; 64]>(capacity).unwrap_err());
    }
    refused(ring::<()>(usize::MAX).unwrap_err());
    assert!(!name.path().exists(), "a refused creation left a name");
}

#[test]
fn a_capacity_of_nothing_is_refused() {
    let name = name("nothing");
    let segment = Segment::anonymous(1 << 16).unwrap();
    assert!(matches!(ring::<u8>(0), Err(Error::Zero { .. })));
    assert!(matches!(duplex::<u8>(0), Err(Error::Zero { .. })));
    assert!(matches!(Ring::<u8>::create(&name, 0), Err(Error::Zero { .. })));
    assert!(matches!(Ring::<u8>::new_in(&segment, "nothing", 0), Err(Error::Zero { .. })));
    // Units take no space, however many.
    let (mut producer, mut consumer) = ring::<()>(1 << 60).unwrap();
    producer.push_all(&[(); 1000]).unwrap();
    assert_eq!((consumer.len(), consumer.try_pop_slice(&mut [(); 2000])), (1000, Ok(1000)));
}

#[test]
fn an_empty_segment_holds_nothing_and_says_so() {
    let segment = Segment::anonymous(1).unwrap();
    let error = Ring::<u8>::new_in(&segment, "too much", 4096).unwrap_err();
    let Error::SegmentFull { asked, free, .. } = error else { panic!("{error}") };
    assert!(asked > free, "{asked} bytes were asked for and {free} are free");
}

/// Mounts a small file system of memory for a child and runs `f` with its segments there; false:
/// this process may not mount.
fn on_a_small_file_system(kib: u32, f: impl FnOnce() + Send + 'static) -> bool {
    let directory = name("small");
    fs::create_dir(directory.path()).unwrap();
    let path = directory.path();
    in_child(move || {
        // SAFETY: takes an integer; this process has one thread.
        if unsafe { libc::unshare(libc::CLONE_NEWNS) } != 0 {
            return false;
        }
        let private = libc::MS_REC | libc::MS_PRIVATE;
        let null = std::ptr::null();
        // SAFETY: live C strings, and no options.
        let alone = unsafe {
            libc::mount(c"none".as_ptr(), c"/".as_ptr(), null, private, std::ptr::null())
        };
        let target = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
        let options = std::ffi::CString::new(format!("size={kib}k")).unwrap();
        // SAFETY: live C strings.
        let mounted = unsafe {
            libc::mount(
                c"none".as_ptr(),
                target.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        if alone != 0 || mounted != 0 {
            return false;
        }
        live_in(&path);
        f();
        true
    })
}

#[test]
fn a_full_file_system_is_an_error_with_what_is_free_and_never_a_fault() {
    let _watchdog = watchdog();
    let ran = on_a_small_file_system(1024, || {
        let asked = |error: Error| match error {
            Error::NoSpace { asked, free: Some(free) } => (asked, free),
            other => panic!("{other}"),
        };
        let (much, free) = asked(Segment::create("huge", 1 << 40).unwrap_err());
        assert!(much >= 1 << 40);
        assert_eq!(free, 1 << 20);
        let (much, free) = asked(Ring::<u64>::create("big", 1 << 18).unwrap_err());
        assert!(much > 8 << 18 && free <= 1 << 20, "{much} {free}");

        // Fill it with rings, each of which works to the last slot.
        let mut rings = Vec::new();
        let last = loop {
            match Ring::<u64>::create(&format!("ring{}", rings.len()), 1000) {
                Ok(ring) => rings.push(ring),
                Err(error) => break error,
            }
        };
        let (much, free) = asked(last);
        assert!(much > free, "{much} bytes were asked for and {free} are free");
        assert!(rings.len() >= 5, "{} rings of some 80 KB in 1 MB", rings.len());
        assert!(matches!(Segment::open_or_create("one more", 1 << 20), Err(Error::NoSpace { .. })));
        // And with other things, to the last page.
        let mut page = 0;
        while fs::write(format!("{}/page{page}", common::directory().display()), [1; 4096]).is_ok()
        {
            page += 1;
        }
        for ring in &rings {
            let mut producer = ring.producer().unwrap();
            producer.push_all(&(0..1000).collect::<Vec<u64>>()).unwrap();
            drop(producer);
            assert!(ring.consumer().unwrap().iter().eq(0..1000));
        }
        for i in 0..rings.len() {
            Ring::<u64>::open(&format!("ring{i}")).unwrap();
        }
        assert_eq!(inspect::list().unwrap().len(), rings.len());
        // A refusal left nothing behind: what is removed is free again.
        Segment::unlink("ring0").unwrap();
        rings.clear();
        Ring::<u64>::create("again", 1000).unwrap();
    });
    if !ran {
        println!("skipped: this process may not mount a file system");
    }
}

#[test]
fn a_file_with_holes_on_a_full_file_system_is_no_fault_either() {
    let _watchdog = watchdog();
    let ran = on_a_small_file_system(256, || {
        // As programs leave it that only set a size.
        let path = common::directory().join("sparse");
        fs::File::create(&path).unwrap().set_len(200_000).unwrap();
        let mut page = 0;
        while fs::write(common::directory().join(format!("page{page}")), [1; 4096]).is_ok() {
            page += 1;
        }
        let _ = Segment::open("sparse").unwrap_err();
        let _ = inspect::report("sparse").unwrap_err();
        assert!(inspect::list().unwrap().is_empty());
        assert!(inspect::collect().unwrap().is_empty());
    });
    if !ran {
        println!("skipped: this process may not mount a file system");
    }
}

#[test]
fn a_segment_beyond_the_memory_of_the_machine_is_refused_before_any_is_taken() {
    let _watchdog = watchdog();
    // Where the limit is not kept, the kernel kills whoever it likes: so let it be this child.
    let group = name("group");
    let path = std::path::Path::new("/sys/fs/cgroup/memory").join(&*group);
    let limited = fs::create_dir(&path).is_ok()
        && fs::write(path.join("memory.limit_in_bytes"), "256M").is_ok();
    if !limited {
        let _ = fs::remove_dir(&path);
        println!("skipped: this process may not limit its memory");
        return;
    }
    let tasks = path.join("cgroup.procs");
    let asking = child(move || {
        fs::write(tasks, "0").unwrap();
        let refused = |error: Error| {
            assert!(matches!(error, Error::NoSpace { .. } | Error::TooLarge { .. }), "{error}");
        };
        refused(Segment::anonymous(1 << 44).unwrap_err());
        refused(ring::<u64>(1 << 41).unwrap_err());
    });
    let outcome = asking.join();
    let _ = fs::remove_dir(&path);
    outcome.expect("an answer");
}

#[test]
fn the_size_of_a_segment_without_a_name_is_sealed() {
    let _watchdog = watchdog();
    in_child(|| {
        let segment = Segment::anonymous(10_000).unwrap();
        let (_producer, _consumer) = ring::<u8>(4).unwrap();
        let files = memory_files();
        assert!(files.len() >= 2, "{files:?}");
        for (fd, size) in files {
            for length in [0, 4096, size - 4096, size + 4096] {
                // SAFETY: takes integers.
                let result = unsafe { libc::ftruncate(fd, length as libc::off_t) };
                let error = io::Error::last_os_error();
                assert_eq!((result, error.raw_os_error()), (-1, Some(libc::EPERM)), "{length}");
            }
            // SAFETY: takes integers.
            let seals = unsafe { libc::fcntl(fd, libc::F_GET_SEALS) };
            let wanted = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
            assert_eq!(seals & wanted, wanted);
        }
        Ring::<u8>::new_in(&segment, "still works", 4).unwrap();
    });
}

/// Descriptors and sizes of this process's segments without names.
fn memory_files() -> Vec<(RawFd, u64)> {
    let mut files = Vec::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        let link = fs::read_link(entry.path()).unwrap_or_default();
        if link.to_string_lossy().starts_with("/memfd:commons (") {
            let fd = entry.file_name().to_str().unwrap().parse().unwrap();
            files.push((fd, fs::metadata(entry.path()).unwrap().len()));
        }
    }
    files
}

// ---- labels ----

#[test]
fn many_objects_live_in_one_segment() {
    let _watchdog = watchdog();
    let name = name("many");
    let segment = Segment::create(&name, 1 << 20).unwrap();
    for i in 0..100u64 {
        let ring = Ring::<u64>::new_in(&segment, &format!("ring {i}"), 1 + i as usize).unwrap();
        ring.producer().unwrap().push(i).unwrap();
    }
    let found = name.to_string();
    in_child(move || {
        let segment = Segment::open(&found).unwrap();
        let objects = segment.objects().unwrap();
        assert_eq!(objects.len(), 100);
        for (i, object) in objects.iter().enumerate() {
            assert_eq!(object.label.as_deref(), Some(&*format!("ring {i}")));
            assert_eq!((object.kind, object.capacity), (Kind::Ring, 1 + i as u64));
        }
        for i in (0..100).rev() {
            let ring = Ring::<u64>::open_in(&segment, &format!("ring {i}")).unwrap();
            assert_eq!(ring.consumer().unwrap().pop().unwrap(), i);
        }
        for i in (0..100).step_by(2) {
            segment.remove(&format!("ring {i}")).unwrap();
        }
    });
    assert_eq!(segment.objects().unwrap().len(), 50);
    for i in 0..100 {
        let opened = Ring::<u64>::open_in(&segment, &format!("ring {i}"));
        assert_eq!(opened.is_ok(), i % 2 == 1, "{i}");
    }
}

#[test]
fn labels_are_taken_missing_or_unusable_and_the_error_says_so() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(1 << 16).unwrap();
    let make = |label: &str| Ring::<u8>::new_in(&segment, label, 4);
    make("a").unwrap();
    let error = make("a").unwrap_err();
    assert!(matches!(&error, Error::LabelTaken { label, .. } if label == "a"), "{error}");
    let error = segment.remove("b").unwrap_err();
    assert!(matches!(&error, Error::LabelNotFound { label, .. } if label == "b"), "{error}");
    assert!(matches!(Ring::<u8>::open_in(&segment, "b"), Err(Error::LabelNotFound { .. })));
    for bad in ["", "a\0b", &"x".repeat(65)] {
        assert!(matches!(make(bad), Err(Error::InvalidLabel { .. })), "{bad:?}");
        let opened = Ring::<u8>::open_in(&segment, bad);
        assert!(matches!(opened, Err(Error::InvalidLabel { .. })), "{bad:?}");
    }
    for good in [&"x".repeat(64), "ü/..\n", &"y".repeat(8), &"z".repeat(9)] {
        make(good).unwrap();
        Ring::<u8>::open_in(&segment, good).unwrap();
    }
    assert_eq!(segment.objects().unwrap().len(), 5);
}

#[test]
fn a_label_is_free_again_and_who_had_the_object_keeps_it() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(1 << 16).unwrap();
    let old = Ring::<u64>::new_in(&segment, "label", 4).unwrap();
    old.producer().unwrap().push(1).unwrap();
    segment.remove("label").unwrap();
    assert!(segment.objects().unwrap().is_empty());
    let new = Ring::<u64>::new_in(&segment, "label", 4).unwrap();
    assert_eq!((old.len(), new.len()), (1, 0));
    new.producer().unwrap().push_all(&[2, 3]).unwrap();
    assert_eq!(old.consumer().unwrap().pop().unwrap(), 1);
    assert_eq!(Ring::<u64>::open_in(&segment, "label").unwrap().len(), 2);
}

#[test]
fn of_several_processes_at_once_exactly_one_makes_the_object() {
    let _watchdog = watchdog();
    let name = name("label-race");
    let segment = Segment::create(&name, 1 << 20).unwrap();
    for round in 0..20 {
        let gate = Gate::new();
        let racers: Vec<Child<bool>> = (0..4)
            .map(|_| {
                let (found, mut entrance) = (name.to_string(), gate.entrance());
                child(move || {
                    let segment = Segment::open(&found).unwrap();
                    entrance.pass();
                    let label = format!("round {round}");
                    let (ring, origin) =
                        Ring::<u32>::open_or_create_in(&segment, &label, 8).unwrap();
                    assert_eq!(ring.capacity(), 8);
                    origin == Origin::Created
                })
            })
            .collect();
        gate.open_for(racers.len());
        let created = racers.into_iter().map(Child::finish).filter(|&c| c).count();
        assert_eq!(created, 1);
    }
    assert_eq!(segment.objects().unwrap().len(), 20);
}

/// Fills a segment with rings of one description and gives how many there are.
fn fill(segment: &Segment) -> usize {
    for i in 0.. {
        match Ring::<u64>::new_in(segment, &i.to_string(), 64) {
            Ok(_) => {}
            Err(Error::SegmentFull { asked, free, .. }) => {
                assert!(asked > free, "{asked} bytes were asked for and {free} are free");
                return i;
            }
            Err(other) => panic!("{other}"),
        }
    }
    unreachable!()
}

#[test]
fn memory_of_a_removed_object_serves_again_when_nobody_alive_has_it() {
    let _watchdog = watchdog();
    let name = name("reuse");
    let segment = Segment::create(&name, 10_000).unwrap();
    let count = fill(&segment);
    assert!(count >= 3, "{count}");
    let full =
        || matches!(Ring::<u64>::new_in(&segment, "new", 64), Err(Error::SegmentFull { .. }));

    // A handle of this process.
    let held = Ring::<u64>::open_in(&segment, "0").unwrap();
    held.producer().unwrap().push(5).unwrap();
    segment.remove("0").unwrap();
    assert!(full());
    assert_eq!(held.consumer().unwrap().pop().unwrap(), 5);
    let copy = held.clone();
    drop(held);
    assert!(full(), "a copy of the handle is left");
    let end = copy.producer().unwrap();
    drop(copy);
    assert!(full(), "an end is left");
    drop(end);
    Ring::<u64>::new_in(&segment, "new", 64).unwrap();
    assert!(matches!(Ring::<u64>::new_in(&segment, "newer", 64), Err(Error::SegmentFull { .. })));
    segment.remove("new").unwrap();
    // Another description does not fit.
    let other = Ring::<u64>::new_in(&segment, "other", 65);
    assert!(matches!(other, Err(Error::SegmentFull { .. })));
    let other = Ring::<i64>::new_in(&segment, "other", 64);
    assert!(matches!(other, Err(Error::SegmentFull { .. })));
    Ring::<u64>::new_in(&segment, "new", 64).unwrap();
    segment.remove("new").unwrap();
    Ring::<u64>::new_in(&segment, "0", 64).unwrap();

    // A handle of another process, which goes in order, and of one that dies.
    for in_order in [true, false] {
        let found = name.to_string();
        let (mut here, mut there) = duplex::<()>(1).unwrap();
        let holder = child(move || {
            let segment = Segment::open(&found).unwrap();
            let held = Ring::<u64>::open_in(&segment, "0").unwrap();
            there.tx.push(()).unwrap();
            there.rx.pop().unwrap();
            held.producer().unwrap().push(6).unwrap();
            assert_eq!(held.consumer().unwrap().pop().unwrap(), 6);
            drop(held);
            there.tx.push(()).unwrap();
            let _ = there.rx.pop();
        });
        here.rx.pop().unwrap();
        segment.remove("0").unwrap();
        assert!(full());
        if in_order {
            here.tx.push(()).unwrap();
            here.rx.pop().unwrap();
            drop(here);
            holder.finish();
        } else {
            holder.kill();
        }
        Ring::<u64>::new_in(&segment, "new", 64).unwrap();
        segment.remove("new").unwrap();
        Ring::<u64>::new_in(&segment, "0", 64).unwrap();
    }
    assert_eq!(segment.objects().unwrap().len(), count);
}

#[test]
fn an_object_that_a_child_inherited_is_not_used_again_under_it() {
    let _watchdog = watchdog();
    let segment = Segment::anonymous(10_000).unwrap();
    fill(&segment);
    let held = Ring::<u64>::open_in(&segment, "0").unwrap();
    let (mut here, mut there) = duplex::<()>(1).unwrap();
    let holder = child(move || {
        there.tx.push(()).unwrap();
        let _ = there.rx.pop();
        held.capacity()
    });
    here.rx.pop().unwrap();
    segment.remove("0").unwrap();
    let full = Ring::<u64>::new_in(&segment, "new", 64);
    assert!(matches!(full, Err(Error::SegmentFull { .. })), "{full:?}");
    drop(here);
    assert_eq!(holder.finish(), 64);
    Ring::<u64>::new_in(&segment, "new", 64).unwrap();
}

#[test]
fn a_removal_that_was_cut_short_counts_as_done() {
    let _watchdog = watchdog();
    let name = name("half-removed");
    let segment = Segment::create(&name, 10_000).unwrap();
    Ring::<u64>::new_in(&segment, "label", 4).unwrap();
    // Its remover died after the first of its two stores.
    let mut bytes = fs::read(name.path()).unwrap();
    put(&mut bytes, BLOCK + KEPT, &0u32.to_le_bytes());
    let after = common::name("half-removed");
    fs::write(after.path(), bytes).unwrap();
    let segment = Segment::open(&after).unwrap();
    assert!(segment.objects().unwrap().is_empty());
    let opened = Ring::<u64>::open_in(&segment, "label");
    assert!(matches!(opened, Err(Error::LabelNotFound { .. })), "it is not listed, but opened");
    Ring::<u64>::new_in(&segment, "label", 4).unwrap();
    assert_eq!(segment.objects().unwrap().len(), 1);
}

#[test]
fn processes_killed_while_they_make_and_remove_leave_the_segment_whole() {
    let _watchdog = watchdog();
    let test = "processes_killed_while_they_make_and_remove_leave_the_segment_whole";
    let mut random = Random::seeded(test);
    let name = name("storm");
    let segment = Segment::create(&name, 1 << 18).unwrap();
    Ring::<u64>::new_in(&segment, "stays", 4).unwrap().producer().unwrap().push(1).unwrap();
    for round in 0..40 {
        let found = name.to_string();
        let (mut ready, mut is_ready) = ring::<()>(1).unwrap();
        let dying: Child<()> = child(move || {
            let segment = Segment::open(&found).unwrap();
            ready.push(()).unwrap();
            loop {
                for label in ["a", "b", "c"] {
                    let _ = Ring::<u64>::new_in(&segment, label, 64);
                }
                for label in ["b", "c", "a"] {
                    let _ = segment.remove(label);
                }
            }
        });
        is_ready.pop().unwrap();
        for _ in 0..random.below(20_000) {
            std::hint::spin_loop();
        }
        dying.kill();
        for label in ["a", "b", "c"] {
            let listed =
                segment.objects().unwrap().iter().any(|o| o.label.as_deref() == Some(label));
            let opened = Ring::<u64>::open_in(&segment, label).is_ok();
            assert_eq!(listed, opened, "round {round}, `{label}`");
            let _ = segment.remove(label);
            Ring::<u64>::new_in(&segment, label, 64).unwrap();
            segment.remove(label).unwrap();
        }
        assert_eq!(segment.objects().unwrap().len(), 1);
    }
    assert_eq!(Ring::<u64>::open_in(&segment, "stays").unwrap().len(), 1);
}

// ---- what comes back ----

/// Descriptors, mappings, and bytes of segments without names.
fn belongings() -> (usize, usize, u64) {
    (descriptors(), mappings(), anonymous_bytes())
}

#[test]
fn making_and_dropping_again_and_again_costs_nothing() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        let cycle = |times: usize| {
            for i in 0..times {
                let ring = Ring::<u64>::create("cycle", 16).unwrap();
                let opened = Ring::<u64>::open("cycle").unwrap();
                let (mut producer, mut consumer) =
                    (ring.producer().unwrap(), opened.consumer().unwrap());
                producer.push(i as u64).unwrap();
                assert_eq!(consumer.pop().unwrap(), i as u64);
                Ring::<u64>::unlink("cycle").unwrap();

                let (mut producer, mut consumer) = commons::spsc::ring::<u64>(100).unwrap();
                producer.push(1).unwrap();
                assert_eq!(consumer.pop().unwrap(), 1);
                drop(duplex::<[u8; 40]>(10).unwrap());

                let segment = Segment::anonymous(1 << 14).unwrap();
                for label in ["a", "b"] {
                    Ring::<u8>::new_in(&segment, label, 4).unwrap().producer().unwrap();
                }
                segment.remove("a").unwrap();
                let _ = Segment::open("missing").unwrap_err();
                let _ = inspect::list().unwrap();
                if i % 20 == 0 {
                    let (mut producer, consumer) = commons::spsc::ring::<u64>(100).unwrap();
                    let child = Process::spawn(move || consumer.len()).unwrap();
                    let _ = producer.push(1);
                    assert!(child.join().unwrap() <= 1);
                }
            }
        };
        cycle(60);
        let before = belongings();
        cycle(400);
        assert_eq!(belongings(), before, "descriptors, mappings, bytes without a name");
        std::thread::scope(|scope| {
            scope.spawn(|| cycle(100)).join().unwrap();
        });
        assert_eq!(descriptors(), before.0, "after a thread did it");
        assert_eq!(anonymous_bytes(), before.2, "after a thread did it");
    });
}

#[test]
fn a_segment_dropped_by_another_thread_than_opened_it_goes_when_that_ends() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        let segment = Segment::create("here", 1 << 14).unwrap();
        Ring::<u64>::new_in(&segment, "ring", 16).unwrap();
        drop(segment);
        let before = belongings();
        for _ in 0..20 {
            std::thread::scope(|scope| {
                let (give, take) = std::sync::mpsc::channel();
                let (done, is_done) = std::sync::mpsc::channel::<()>();
                let opener = scope.spawn(move || {
                    let segment = Segment::open("here").unwrap();
                    give.send(Ring::<u64>::open_in(&segment, "ring").unwrap()).unwrap();
                    drop(segment);
                    is_done.recv().unwrap();
                });
                drop(take.recv().unwrap());
                done.send(()).unwrap();
                // The scope alone does not wait for the thread's destructors.
                opener.join().unwrap();
            });
        }
        assert_eq!(descriptors(), before.0);
        let places = inspect::report("here").unwrap().participants;
        assert!(places.is_empty(), "{places:?}");
    });
}

#[test]
fn more_segments_than_a_thread_has_beacons_for_are_still_segments() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        Segment::create("many", 1 << 14).unwrap();
        drop(Segment::open("many").unwrap());
        let before = descriptors();
        let handles: Vec<Segment> = (0..600).map(|_| Segment::open("many").unwrap()).collect();
        assert_eq!(inspect::report("many").unwrap().participants.len(), 600);
        for (i, segment) in handles.iter().enumerate().step_by(100) {
            Ring::<u64>::new_in(segment, &i.to_string(), 4).unwrap();
        }
        drop(handles);
        assert_eq!(descriptors(), before);
        assert!(inspect::report("many").unwrap().participants.is_empty());
    });
}

#[test]
fn ten_thousand_small_objects_cost_no_descriptors() {
    let _watchdog = watchdog();
    in_child(|| {
        let _first = ring::<u64>(4).unwrap();
        let before = descriptors();
        let rings: Vec<_> = (0..10_000).map(|_| ring::<u64>(4).unwrap()).collect();
        assert!(descriptors() - before <= 4, "{} descriptors", descriptors() - before);
        drop(rings);
    });
}

// ---- inspection ----

#[test]
fn a_report_says_what_is_there_and_who_has_it() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        let ring = Ring::<u32>::create("reported", 8).unwrap();
        let mut producer = ring.producer().unwrap();
        producer.push_all(&[1, 2, 3]).unwrap();
        let (mut here, mut there) = duplex::<()>(1).unwrap();
        let holder = child(move || {
            let consumer = Ring::<u32>::open("reported").unwrap().consumer().unwrap();
            there.tx.push(()).unwrap();
            let _ = there.rx.pop();
            consumer.abandon();
        });
        here.rx.pop().unwrap();

        let holder_of = |role: &str| {
            let report = inspect::report("reported").unwrap();
            assert_eq!(report.objects.len(), 1);
            let ends = report.objects[0].ends.iter();
            ends.clone().find(|end| end.role == role).unwrap().holder.clone()
        };
        let report = inspect::report("reported").unwrap();
        assert_eq!((report.name.as_str(), report.creator), ("reported", std::process::id()));
        assert_eq!(report.size, fs::metadata(common::directory().join("reported")).unwrap().len());
        assert!(report.created <= std::time::SystemTime::now());
        let object = &report.objects[0];
        assert_eq!((object.info.kind, object.info.capacity), (Kind::Ring, 8));
        assert_eq!((&*object.info.type_name, object.fill), ("u32", Some(3)));
        let mut pids: Vec<u32> = report.participants.iter().map(|p| p.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        assert!(pids.contains(&std::process::id()) && pids.contains(&holder.id()), "{pids:?}");
        assert!(report.is_in_use() && !report.is_left_by_the_dead());

        let alive = |pid| Holder::Process { pid: Some(pid), state: State::Alive };
        assert_eq!(holder_of("producer"), alive(std::process::id()));
        assert_eq!(holder_of("consumer"), alive(holder.id()));
        holder.stop();
        let stopped = Holder::Process { pid: Some(holder.id()), state: State::Stopped };
        assert_eq!(holder_of("consumer"), stopped);
        holder.go_on();
        drop(here);
        holder.finish();
        assert_eq!(holder_of("consumer"), Holder::Abandoned);
        drop(producer);
        assert_eq!(holder_of("producer"), Holder::Closed);

        Ring::<u32>::create("untouched", 8).unwrap();
        let report = inspect::report("untouched").unwrap();
        assert!(report.objects[0].ends.iter().all(|end| end.holder == Holder::Nobody));
        let names: Vec<String> = inspect::list().unwrap().into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["reported", "untouched"]);
    });
}

#[test]
fn only_what_the_dead_alone_use_is_collected() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        let used = Ring::<u8>::create("used", 4).unwrap();
        drop(Ring::<u8>::create("left in order", 4).unwrap());
        fs::write(common::directory().join("foreign"), [7; 100_000]).unwrap();
        for name in ["dead's", "used"] {
            let dying: Child<()> = child(move || {
                let (ring, _) = Ring::<u8>::open_or_create(name, 4).unwrap();
                let _producer = ring.producer().unwrap();
                std::process::abort();
            });
            assert!(dying.join().is_err());
        }
        let report = inspect::report("dead's").unwrap();
        assert!(report.is_left_by_the_dead());
        assert!(matches!(
            report.objects[0].ends[0].holder,
            Holder::Process { state: State::Dead, .. }
        ));
        assert_eq!(inspect::collect().unwrap(), ["dead's"]);
        assert!(inspect::collect().unwrap().is_empty());
        let names: Vec<String> = inspect::list().unwrap().into_iter().map(|r| r.name).collect();
        assert_eq!(names, ["left in order", "used"]);
        assert!(common::directory().join("foreign").exists());
        drop(used);
    });
}

#[test]
fn a_collector_takes_nothing_from_those_who_are_just_coming() {
    let _watchdog = watchdog();
    in_private_directory(|| {
        for _ in 0..30 {
            let dying: Child<()> = child(|| {
                let ring = Ring::<u8>::create("contested", 4).unwrap();
                let _producer = ring.producer().unwrap();
                std::process::abort();
            });
            assert!(dying.join().is_err());
            let gate = Gate::new();
            let (mut first, mut second) = (gate.entrance(), gate.entrance());
            let (mut here, mut there) = duplex::<()>(1).unwrap();
            let coming = child(move || {
                first.pass();
                let opened = Ring::<u8>::open("contested");
                let come = match &opened {
                    // While it is open, its name is not taken away.
                    Ok(_) => (true, Ring::<u8>::open("contested").is_ok()),
                    Err(Error::NotFound { .. }) => (false, false),
                    Err(other) => panic!("{other}"),
                };
                there.tx.push(()).unwrap();
                let _ = there.rx.pop();
                come
            });
            let collecting = child(move || {
                second.pass();
                inspect::collect().unwrap().len()
            });
            gate.open_for(2);
            here.rx.pop().unwrap();
            let collected = collecting.finish();
            drop(here);
            let (opened, stayed) = coming.finish();
            assert_eq!((opened, stayed), (collected == 0, collected == 0));
            let _ = Segment::unlink("contested");
        }
    });
}

// ---- bytes that make no sense ----

const HEADER: usize = 256;
const PARTICIPANT: usize = 64;
const BLOCK: usize = HEADER + 1024 * PARTICIPANT;
const KIND: usize = 32;
const KEPT: usize = 36;
const HEAP_CLAIM: usize = 128;
const NEXT_PLACE: usize = 152;

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

fn get(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap())
}

/// Uses what a name leads to in every way that does not wait; what comes of it is of no interest.
fn use_everything(name: &str) {
    let _ = inspect::report(name);
    let _ = inspect::list();
    if let Ok(segment) = Segment::open(name) {
        let _ = segment.objects();
        let labelled = Ring::<u64>::open_in(&segment, "label");
        use_ring(labelled);
        use_ring(Ring::<u64>::new_in(&segment, "new", 4));
        let _ = segment.remove("label");
        let _ = segment.objects();
    }
    use_ring(Ring::<u64>::open(name));
    let _ = Ring::<u8>::open(name);
}

fn use_ring(ring: Result<Ring<u64>, Error>) {
    let Ok(ring) = ring else { return };
    let _ = (ring.len(), ring.capacity());
    let (producer, consumer) = (ring.producer(), ring.consumer());
    if let Ok(mut producer) = producer {
        for i in 0..3 {
            let _ = producer.try_push(i);
        }
        let _ = producer.try_push_slice(&[1; 20]);
        let _ = (producer.len(), producer.slots(), producer.is_full());
        let _ = producer.try_reserve(5).map(|grant| grant.commit(0));
    }
    if let Ok(mut consumer) = consumer {
        for _ in 0..3 {
            let _ = consumer.try_pop();
        }
        let _ = consumer.try_pop_slice(&mut [0; 20]);
        let _ = consumer.try_peek(5).map(|loan| loan.release(0));
        let _ = consumer.len();
    }
}

#[test]
fn no_single_altered_field_makes_anything_panic() {
    let _watchdog = watchdog_of(300);
    let faults: Vec<String> = in_private_directory(|| {
        let ring = Ring::<u64>::create("single", 8).unwrap();
        ring.producer().unwrap().push_all(&[1, 2, 3]).unwrap();
        drop(ring);
        let segment = Segment::create("labelled", 8000).unwrap();
        Ring::<u64>::new_in(&segment, "label", 8).unwrap();
        drop(segment);
        let mut faults = Vec::new();
        for original in ["single", "labelled"] {
            let bytes = fs::read(common::directory().join(original)).unwrap();
            let fields = (0..HEADER).chain(HEADER..HEADER + 2 * PARTICIPANT);
            let fields = fields.chain(BLOCK..BLOCK + 1024).step_by(4);
            for offset in fields {
                let was = get(&bytes, offset);
                let nearby = [1, 63, 64, 128, 512, 4096].map(|d| was.wrapping_add(d));
                let below = [1, 128, 512].map(|d| was.wrapping_sub(d));
                let far = [0, 1, 2, 1 << 31, 1 << 32, 1 << 60, 1 << 62 | 1, 1 << 63, u64::MAX];
                let ring = [u64::MAX - 1, u64::MAX - 8, (1 << 60) | (2000 << 32), 1 << 60 | 7];
                let values = nearby.into_iter().chain(below).chain(far).chain(ring);
                for (i, value) in values.enumerate() {
                    // Half of a word and a whole one, in turns.
                    let width = if (offset / 8 + i).is_multiple_of(2) { 4 } else { 8 };
                    let mut altered = bytes.clone();
                    put(&mut altered, offset, &value.to_le_bytes()[..width]);
                    fs::write(common::directory().join("altered"), &altered).unwrap();
                    let used = catch_unwind(AssertUnwindSafe(|| use_everything("altered")));
                    if let Err(panic) = used {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text =
                            text.or_else(|| panic.downcast_ref().map(|s: &&str| s.to_string()));
                        let fault = format!(
                            "{original}: {width} bytes at {offset} = {value:#x}: {}",
                            text.unwrap_or_default()
                        );
                        faults.push(fault);
                    }
                }
            }
        }
        faults
    });
    assert!(faults.is_empty(), "{} panics:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_chain_claimed_by_a_stamp_that_only_the_opener_could_have_is_no_endless_wait() {
    let _watchdog = watchdog();
    let name = name("claimed");
    drop(Ring::<u64>::create(&name, 4).unwrap());
    let mut bytes = fs::read(name.path()).unwrap();
    // The next participant gets this place, in the generation after the one it has.
    let place = get(&bytes, NEXT_PLACE) % 1024;
    let generation = get(&bytes, HEADER + place as usize * PARTICIPANT) as u32 + 1;
    let stamp = (place + 1) << 32 | u64::from(generation);
    put(&mut bytes, HEAP_CLAIM, &stamp.to_le_bytes());
    let claimed = common::name("claimed");
    fs::write(claimed.path(), bytes).unwrap();
    let found = claimed.to_string();
    let mut opener = child(move || {
        let _ = Ring::<u64>::open(&found);
    });
    assert!(!falls_asleep(&mut opener), "it waits for itself");
}

/// Two ends at work while another process writes what it likes into the ring.
#[test]
fn positions_altered_under_an_end_at_work_are_errors() {
    let _watchdog = watchdog();
    let faults: Vec<String> = in_private_directory(|| {
        let mut faults = Vec::new();
        let ring = BLOCK + 512;
        let (tail, head) = (ring, ring + 128);
        for (what, offset) in [("tail", tail), ("head", head)] {
            for distance in -9i64..=9 {
                let created = Ring::<u64>::create("altered", 8).unwrap();
                let mut producer = created.producer().unwrap();
                let mut consumer = created.consumer().unwrap();
                producer.push_all(&[1, 2, 3]).unwrap();
                let path = common::directory().join("altered");
                let used = catch_unwind(AssertUnwindSafe(|| {
                    use std::os::unix::fs::FileExt;
                    let file = fs::OpenOptions::new().write(true).open(&path).unwrap();
                    file.write_all_at(&distance.to_le_bytes(), offset as u64).unwrap();
                    for i in 0..10 {
                        let _ = producer.try_push_slice(&[i; 8]);
                        let _ = producer.try_push(i);
                        let _ = consumer.try_pop();
                        let _ = consumer.try_pop_slice(&mut [0; 8]);
                        let _ = (producer.len(), consumer.len(), producer.slots());
                    }
                }));
                if used.is_err() {
                    faults.push(format!("{what} = {distance}"));
                }
                drop((producer, consumer, created));
                Ring::<u64>::unlink("altered").unwrap();
            }
        }
        faults
    });
    assert!(faults.is_empty(), "panics: {faults:?}");
}

#[test]
fn an_invalid_value_is_an_error_and_the_next_one_arrives() {
    use std::os::unix::fs::FileExt;
    let _watchdog = watchdog();
    let name = name("invalid");
    let ring = Ring::<bool>::create(&name, 8).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    let slots = BLOCK as u64 + 512 + 384;
    producer.push_all(&[true, true, false]).unwrap();
    file.write_all_at(&[2], slots).unwrap();
    assert!(matches!(consumer.pop(), Err(commons::ChannelError::Corrupted(_))));
    assert_eq!((consumer.pop(), consumer.pop()), (Ok(true), Ok(false)));

    // One at a time values travel beside their slot as well.
    producer.push(true).unwrap();
    file.write_all_at(&[9; 16], BLOCK as u64 + 512 + 16).unwrap();
    assert!(matches!(consumer.pop(), Err(commons::ChannelError::Corrupted(_))));
}

#[test]
fn an_invalid_value_in_a_slice_is_told_and_what_follows_it_arrives() {
    use std::os::unix::fs::FileExt;
    let _watchdog = watchdog();
    let name = name("invalid-slice");
    let ring = Ring::<bool>::create(&name, 8).unwrap();
    let (mut producer, mut consumer) = (ring.producer().unwrap(), ring.consumer().unwrap());
    let file = fs::OpenOptions::new().write(true).open(name.path()).unwrap();
    let slots = BLOCK as u64 + 512 + 384;
    producer.push_all(&[true, true, false, true]).unwrap();
    file.write_all_at(&[0xff], slots + 2).unwrap();
    let mut values = [false; 8];
    assert_eq!(consumer.try_pop_slice(&mut values), Ok(2), "as many as are valid");
    assert_eq!(values[..2], [true, true]);
    assert!(matches!(
        consumer.try_pop_slice(&mut values),
        Err(commons::ChannelError::Corrupted(_))
    ));
    assert_eq!(consumer.try_pop_slice(&mut values), Ok(1));
    assert!(values[0]);
}

/// What a peer makes of the links of a process's beacon, previous and next node, given the address
/// of the beacon's own node and the links as they are.
type Damage = fn(u64, (u64, u64)) -> (u64, u64);

#[test]
fn damaged_links_of_a_beacon_are_found_and_not_followed() {
    let _watchdog = watchdog();
    let damages: [(&str, Damage); 5] = [
        ("nothing", |_, links| links),
        ("zeros", |_, _| (0, 0)),
        ("nowhere", |_, links| (links.0, 0x10_0000)),
        ("swapped", |_, links| (links.1, links.0)),
        ("a loop", |node, _| (node, node)),
    ];
    let ends = damages.map(|(what, damage)| (what, child(move || in_list(damage)).join()));
    let faults: Vec<_> = ends.iter().filter(|(_, end)| end.is_err()).collect();
    assert!(faults.is_empty(), "{faults:?}");

    fn in_list(damage: Damage) {
        let name = common::name("links");
        drop(Segment::create(&name, 1 << 14).unwrap());
        // The second place of the table.
        let segment = Segment::open(&name).unwrap();
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with(&*name)).unwrap();
        let base = u64::from_str_radix(line.split('-').next().unwrap(), 16).unwrap();
        let file = fs::File::options().read(true).write(true).open(name.path()).unwrap();
        let write = |offset: usize, value: u64| {
            use std::os::unix::fs::FileExt;
            file.write_all_at(&value.to_le_bytes(), offset as u64).unwrap();
        };
        let mine = HEADER + PARTICIPANT + 48;
        let bytes = fs::read(name.path()).unwrap();
        let links = (get(&bytes, mine), get(&bytes, mine + 8));
        assert_ne!(links, (0, 0), "it is in a list");
        let (previous, next) = damage(base + mine as u64 + 8, links);
        write(mine, previous);
        write(mine + 8, next);
        drop(segment);
        let maps = fs::read_to_string("/proc/self/maps").unwrap();
        let is_mapped = maps.lines().any(|line| line.contains(&*name));
        let dangling = list().iter().any(|node| (base..base + bytes.len() as u64).contains(node));
        assert!(is_mapped || !dangling, "the list leads where nothing is");
        // The list is used again, and walked at the thread's end.
        for _ in 0..3 {
            let (mut producer, mut consumer) = ring::<u64>(4).unwrap();
            producer.push(1).unwrap();
            assert_eq!(consumer.pop(), Ok(1));
            drop(Segment::anonymous(1 << 12).map(|s| Ring::<u8>::new_in(&s, "a", 1).unwrap()));
        }
    }
    /// The nodes of this thread's robust list, up to the first that is damaged or gone.
    fn list() -> Vec<u64> {
        let (mut head, mut length) = (0u64, 0usize);
        // SAFETY: both arguments are live places for the kernel to write to; 0 is this thread.
        let result =
            unsafe { libc::syscall(libc::SYS_get_robust_list, 0, &raw mut head, &raw mut length) };
        assert_eq!(result, 0);
        let memory = fs::File::open("/proc/self/mem").unwrap();
        let (mut nodes, mut at) = (Vec::new(), head);
        loop {
            use std::os::unix::fs::FileExt;
            let mut next = [0; 8];
            if memory.read_exact_at(&mut next, at).is_err() {
                return nodes;
            }
            at = u64::from_le_bytes(next) & !1;
            if at == head || nodes.contains(&at) {
                return nodes;
            }
            nodes.push(at);
        }
    }
}

// ---- making large objects, and handles that outlive what hands them over ----

#[test]
fn who_fills_a_large_object_holds_up_no_other_maker() {
    use std::os::unix::fs::FileExt;
    let _watchdog = watchdog_of(300);
    const BYTES: usize = 64 << 20;
    let mut stopped_within = 0;
    for _ in 0..20 {
        let name = name("large");
        let segment = Segment::create(&name, BYTES + (1 << 20)).unwrap();
        // Behind the header and the table lies the head of the block, and then the array.
        let file = fs::File::open(name.path()).unwrap();
        let first = segment.size() as u64 - (BYTES as u64 + (1 << 20));
        let is_filled = |offset: u64| {
            let mut byte = [0];
            file.read_exact_at(&mut byte, offset).unwrap();
            byte == [7]
        };
        let found = name.to_string();
        let maker = child(move || {
            let segment = Segment::open(&found).unwrap();
            Array::new_in(&segment, "large", BYTES, 7u8).unwrap().get(BYTES - 1).unwrap()
        });
        while !is_filled(first + 4096) {
            std::thread::yield_now();
        }
        maker.stop();
        if !is_filled(first + BYTES as u64 - 4096) {
            stopped_within += 1;
            assert!(matches!(
                Array::<u8>::open_in(&segment, "large"),
                Err(Error::LabelNotFound { .. })
            ));
            // Would wait for the stopped one for ever.
            let other = Array::new_in(&segment, "other", 10, 3u8).unwrap();
            assert_eq!(other.to_vec().unwrap(), [3; 10]);
            assert_eq!(segment.objects().unwrap().len(), 1);
        }
        maker.go_on();
        assert_eq!(maker.finish(), 7);
        let large = Array::<u8>::open_in(&segment, "large").unwrap();
        assert_eq!((large.len(), large.get(0), large.get(BYTES / 2)), (BYTES, Ok(7), Ok(7)));
        if stopped_within == 3 {
            return;
        }
    }
    assert!(stopped_within > 0, "the maker was never stopped in the middle");
}

#[test]
fn of_two_large_objects_of_one_label_one_is_made() {
    let _watchdog = watchdog();
    let name = name("two");
    let segment = Segment::create(&name, 16 << 20).unwrap();
    for round in 0..5 {
        let gate = Gate::new();
        let makers: Vec<Child<bool>> = (0..3u8)
            .map(|maker| {
                let (found, label) = (name.to_string(), format!("label {round}"));
                let mut entrance = gate.entrance();
                child(move || {
                    let segment = Segment::open(&found).unwrap();
                    entrance.pass();
                    match Array::new_in(&segment, &label, 1 << 20, maker) {
                        Ok(_) => true,
                        Err(Error::LabelTaken { .. }) => false,
                        Err(other) => panic!("{other}"),
                    }
                })
            })
            .collect();
        gate.open_for(3);
        let made = makers.into_iter().map(Child::finish).filter(|&made| made).count();
        assert_eq!(made, 1);
        let labels = segment.objects().unwrap().into_iter().filter_map(|o| o.label);
        assert_eq!(labels.filter(|l| *l == format!("label {round}")).count(), 1);
        segment.remove(&format!("label {round}")).unwrap();
    }
}

#[test]
fn a_killed_maker_of_a_large_object_leaves_its_label_and_its_place() {
    let _watchdog = watchdog_of(300);
    const BYTES: usize = 1 << 20;
    let mut random =
        Random::seeded("a_killed_maker_of_a_large_object_leaves_its_label_and_its_place");
    let name = name("maker");
    // Room for one.
    let segment = Segment::create(&name, BYTES + 4096).unwrap();
    for _ in 0..30 {
        let found = name.to_string();
        let maker: Child<()> = child(move || {
            let segment = Segment::open(&found).unwrap();
            let _ = Array::new_in(&segment, "large", BYTES, 7u8);
            common::pause_for_ever()
        });
        (0..random.below(100_000)).for_each(|_| std::hint::spin_loop());
        maker.kill();
        let (array, origin) = Array::open_or_create_in(&segment, "large", BYTES, 8u8).unwrap();
        let fill = if origin == Origin::Opened { 7 } else { 8 };
        assert!(array.iter().all(|element| element == fill));
        drop(array);
        segment.remove("large").unwrap();
    }
}

#[test]
fn memory_moves_into_huge_pages_under_its_users() {
    let _watchdog = watchdog();
    let name = name("huge");
    let array = Array::create(&name, 1 << 20, 7u64).unwrap();
    array.set(1 << 19, 8).unwrap();
    let theirs = array.clone();
    let (told, mut tells) = commons::spsc::ring::<u64>(1).unwrap();
    let reader: Child<u64> = child(move || {
        let mut told = told;
        let mut sum = 0;
        for round in 0..20 {
            sum = theirs.iter().sum();
            assert_eq!(sum, (7 << 20) + 1);
            if round == 0 {
                told.push(1).unwrap();
            }
        }
        sum
    });
    tells.pop().unwrap();
    match array.use_huge_pages() {
        // Whole ones within 8 MiB, wherever they begin, minus those that the kernel had none for.
        Ok(bytes) => assert!(bytes.is_multiple_of(2 << 20) && bytes <= 8 << 20, "{bytes}"),
        Err(error) => assert!(matches!(error, Error::Os { .. }), "{error}"),
    }
    assert_eq!(reader.finish(), (7 << 20) + 1);
    assert_eq!(array.iter().sum::<u64>(), (7 << 20) + 1);
    let small = Array::new(100, 0u8).unwrap();
    assert_eq!(small.use_huge_pages().unwrap(), 0);
    assert_eq!(Segment::anonymous(100).unwrap().use_huge_pages().unwrap(), 0);
    Array::<u64>::unlink(&name).unwrap();
}

#[test]
fn large_objects_without_a_name_give_their_memory_back() {
    let _watchdog = watchdog();
    // In a child: what it has is its own doing alone.
    in_child(|| {
        let _first = Array::new(10, 0u8).unwrap();
        let (files, maps) = (descriptors(), mappings());
        for _ in 0..10 {
            let large = Array::new(32 << 20, 1u8).unwrap();
            let theirs = large.clone();
            assert!(in_child(move || theirs.set(0, 2).is_ok()));
            assert_eq!((large.get(0), large.get(1)), (Ok(2), Ok(1)));
            assert!(descriptors() > files && mappings() > maps);
        }
        assert_eq!((descriptors(), mappings()), (files, maps));
    });
}

#[test]
fn handles_can_be_dropped_among_the_last_things_of_a_thread() {
    use std::cell::RefCell;
    thread_local! {
        static LAST: RefCell<Option<Array<u8>>> = const { RefCell::new(None) };
    }
    let _watchdog = watchdog();
    // In a child: a panic there ends the process.
    in_child(|| {
        let array = Array::new(10, 5u8).unwrap();
        let handle = array.clone();
        let thread = std::thread::spawn(move || {
            // Destructors run from the last that was made to the first: this one outlives what
            // dropping a handle makes.
            LAST.set(None);
            drop(handle.clone());
            LAST.set(Some(handle));
        });
        thread.join().unwrap();
        assert_eq!(array.get(9), Ok(5));
    });
}
