//! Values and arrays.
//!
//! | id | why there is no test |
//! |---|---|
//! | VAL-03 | a store of another type does not compile; arithmetic is that of the type |
//! | VAL-08 | a lock is part of the type, so nothing else can be given for one |
//! | VAL-16 | there is no collector; a destructor never runs while the same thread has the heap |
//!
//! A value or array with a lock is [`Mutex`] or [`LockedArray`], one without is [`Value`] or [`Array`];
//! a raw one, whose accesses are not ordered either, is the array.

use crate::common::{Random, anonymous_bytes, child, in_child, name, watchdog};
use bytemuck::{CheckedBitPattern, NoUninit};
use commons::{
    Array, CellError, Element, Error, LockError, LockedArray, Mutex, RecursiveMutex, Value, spsc,
};
use std::fmt::Debug;

/// All words are made from the first.
fn whole<const N: usize>(number: u64) -> [u64; N] {
    std::array::from_fn(|i| number.wrapping_mul(2 * i as u64 + 1).rotate_left(i as u32))
}

/// Stores, swaps and updates values made from numbers, here and in a child.
fn keeps<T: Element + PartialEq + Debug + Send>(make: fn(u64) -> T) {
    let name = name("keeps");
    let value = Value::create(&name, make(1)).unwrap();
    assert_eq!(value.load(), Ok(make(1)));
    value.store(make(2)).unwrap();
    assert_eq!(value.swap(make(3)), Ok(make(2)));
    assert_eq!(value.update(|old| if old == make(3) { make(4) } else { old }), Ok(make(3)));
    let found = name.to_string();
    in_child(move || {
        let value = Value::open(&found).unwrap();
        assert_eq!(value.load(), Ok(make(4)));
        for i in 5..100 {
            assert_eq!(value.swap(make(i)), Ok(make(i - 1)));
            assert_eq!(value.load(), Ok(make(i)));
        }
    });
    assert_eq!(value.load(), Ok(make(99)));
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(C)]
struct Order {
    price: f64,
    quantity: u32,
    is_bid: bool,
    side: Side,
    padding: [u8; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern)]
#[repr(u8)]
enum Side {
    Left = 3,
    Right = 5,
}

fn order(i: u64) -> Order {
    let side = if i.is_multiple_of(2) { Side::Left } else { Side::Right };
    Order {
        price: i as f64 / 2.0,
        quantity: i as u32,
        is_bid: i.is_multiple_of(3),
        side,
        padding: [0; 2],
    }
}

#[test]
fn val_01_what_one_process_stores_the_others_load() {
    let _watchdog = watchdog();
    keeps(|i| i);
    keeps(whole::<2>);
    keeps(whole::<33>);
}

#[test]
fn val_02_values_can_be_of_every_kind_and_size() {
    let _watchdog = watchdog();
    keeps(|i| i as u8);
    keeps(|i| i as i16);
    keeps(|i| char::from_u32(0x3b1 + i as u32).unwrap());
    keeps(|i| i as f32);
    keeps(|i| -(i as f64));
    keeps(|i| [i as u8; 3]);
    keeps(|i| [i as u8; 7]);
    keeps(|i| [i as u8; 9]);
    keeps(|i| [i as u8; 257]);
    keeps(|i| u128::from(i) << 64);
    keeps(|_| ());
}

#[test]
fn val_04_structures_of_plain_fields_can_be_shared() {
    let _watchdog = watchdog();
    keeps(order);
    keeps(|i| if i.is_multiple_of(2) { Side::Left } else { Side::Right });
}

#[test]
fn val_13_what_was_loaded_is_independent_of_the_value() {
    let value = Value::new([1u64; 4]).unwrap();
    let copy = value.load().unwrap();
    value.store([2; 4]).unwrap();
    assert_eq!((copy, value.load()), ([1; 4], Ok([2; 4])));
    let array = Array::from_slice(&[1u16, 2, 3]).unwrap();
    let copy = array.to_vec().unwrap();
    array.fill(.., 0).unwrap();
    assert_eq!(copy, [1, 2, 3]);
}

#[test]
fn val_09_an_array_has_what_it_was_made_with_also_where_memory_is_used_again() {
    let _watchdog = watchdog();
    for round in 0..20u64 {
        let zeros = Array::new(1000, 0u64).unwrap();
        assert_eq!(zeros.to_vec().unwrap(), [0; 1000], "round {round}");
        zeros.fill(.., round).unwrap();
        let counted = Array::from_values(0..10_000u32).unwrap();
        assert!(counted.iter().eq(0..10_000));
    }
    let empty = Array::<u64>::new(0, 7).unwrap();
    assert!(empty.is_empty() && empty.iter().next().is_none() && empty.atomics().is_empty());
    assert_eq!(empty.to_vec(), Ok(vec![]));
    assert_eq!(empty.get(0), Err(CellError::OutOfRange { first: 0, end: 1, len: 0 }));
}

#[test]
fn val_10_what_is_out_of_range_is_an_error_and_changes_nothing() {
    let array = Array::from_slice(&[1u32, 2, 3, 4]).unwrap();
    let error = |first, end| CellError::OutOfRange { first, end, len: 4 };
    assert_eq!(array.get(3), Ok(4));
    assert_eq!(array.get(4), Err(error(4, 5)));
    assert_eq!(array.set(usize::MAX, 9), Err(error(usize::MAX, usize::MAX)));
    assert_eq!(array.store_range(2, &[9; 3]), Err(error(2, 5)));
    assert_eq!(array.load_range(5, &mut []), Err(error(5, 5)));
    assert_eq!(array.load_range(4, &mut []), Ok(()));
    assert_eq!(array.fill(3..5, 9), Err(error(3, 5)));
    assert_eq!(array.fill(..=usize::MAX, 9), Err(error(0, usize::MAX)));
    assert!(array.copy_to(0, &array, 2, 3).is_err());
    #[allow(clippy::reversed_empty_ranges, reason = "it is the point")]
    let reversed = array.fill(3..1, 9);
    assert_eq!(reversed, Err(error(3, 1)));
    // SAFETY: nobody else has the array.
    assert_eq!(unsafe { array.slice(2..7) }.err(), Some(error(2, 7)));
    assert_eq!(array.to_vec().unwrap(), [1, 2, 3, 4]);
    array.store_range(1, &[7, 8]).unwrap();
    array.copy_to(0, &array, 1, 3).unwrap();
    assert_eq!(array.to_vec().unwrap(), [1, 1, 7, 8]);
}

#[test]
fn val_11_a_computation_in_place_by_a_child_gives_what_it_gives_here() {
    let _watchdog = watchdog();
    let sieve = |flags: &mut [u8]| {
        for i in 2..flags.len() {
            if flags[i] == 0 {
                (i * i..flags.len()).step_by(i).for_each(|j| flags[j] = 1);
            }
        }
    };
    let array = Array::new(10_000, 0u8).unwrap();
    let theirs = array.clone();
    in_child(move || {
        // SAFETY: the parent looks when this process has ended.
        sieve(unsafe { theirs.slice_mut(..) }.unwrap());
    });
    let mut here = vec![0; 10_000];
    sieve(&mut here);
    assert_eq!(array.to_vec().unwrap(), here);
}

#[test]
fn val_12_text_reads_up_to_the_first_zero_and_must_fit() {
    let text = Array::new(6, 0u8).unwrap();
    text.set_text("sechs!").unwrap();
    assert_eq!(text.text().unwrap(), "sechs!");
    text.set_text("zwei").unwrap();
    assert_eq!(
        (text.text().unwrap().as_str(), text.get(4), text.get(5)),
        ("zwei", Ok(0), Ok(b'!'))
    );
    assert!(matches!(text.set_text("sieben!"), Err(CellError::OutOfRange { .. })));
    assert_eq!(text.text().unwrap(), "zwei");
    text.set(0, 0xff).unwrap();
    assert!(matches!(text.text(), Err(CellError::Corrupted(_))));
}

#[test]
fn val_05_single_accesses_are_atomic_and_read_modify_write_takes_the_lock() {
    let _watchdog = watchdog();
    let (value, array) = (Mutex::new(0u64).unwrap(), LockedArray::new(2, 0u64).unwrap());
    let children: Vec<_> = (0..4)
        .map(|_| {
            let (value, array) = (value.clone(), array.clone());
            child(move || {
                for _ in 0..500 {
                    *value.lock().unwrap() += 1;
                    let mut elements = array.lock().unwrap();
                    let next = elements[0] + 1;
                    elements.fill(next);
                }
            })
        })
        .collect();
    children.into_iter().for_each(|child| child.finish());
    assert_eq!(*value.lock().unwrap(), 2000);
    assert_eq!(*array.lock().unwrap(), [2000, 2000]);
    // Without a lock a single access is whole, and `update` is the one that reads and writes.
    let shared = Value::new(whole::<9>(1)).unwrap();
    let theirs = shared.clone();
    let writer = child(move || (2..3000).for_each(|i| theirs.store(whole(i)).unwrap()));
    while shared.load().map(|v| (v == whole(v[0]), v[0])) != Ok((true, 2999)) {}
    writer.finish();
}

#[test]
fn val_06_the_lock_leads_to_the_object_and_back() {
    let _watchdog = watchdog();
    let (value, array) = (Mutex::new(5i32).unwrap(), LockedArray::new(2, 5i32).unwrap());
    let (one, many) = (value.lock().unwrap(), array.lock().unwrap());
    assert!(value.is_locked() && array.is_locked());
    // It is the very lock: a clone of the handle finds it held.
    assert_eq!(value.clone().lock().unwrap_err(), LockError::Deadlock);
    assert_eq!(array.clone().lock().unwrap_err(), LockError::Deadlock);
    let (_, _): (&i32, &[i32]) = (&one, &many);
}

/// ```compile_fail
/// commons::Value::new(0u64).unwrap().lock();
/// ```
#[test]
fn val_07_what_has_no_lock_is_another_type_and_cannot_be_opened_as_one_that_has() {
    let (value, array) = (name("value"), name("array"));
    let _cells = (Value::create(&value, 0u64).unwrap(), Array::create(&array, 3, 0u64).unwrap());
    assert!(matches!(Mutex::<u64>::open(&value), Err(Error::TypeMismatch { .. })));
    assert!(matches!(LockedArray::<u64>::open(&array), Err(Error::TypeMismatch { .. })));
}

#[test]
fn val_14_who_has_the_lock_uses_the_accessors() {
    let _watchdog = watchdog();
    let value = RecursiveMutex::new(1u64).unwrap();
    let outer = value.lock().unwrap();
    value.lock().unwrap().update(|v| *v += 1);
    assert_eq!((outer.get(), value.lock().unwrap().get()), (2, 2));
    let array = LockedArray::from_slice(&[3u8, 1, 2]).unwrap();
    let mut guard = array.lock().unwrap();
    guard.sort();
    guard[0] += guard[2];
    assert_eq!((guard.len(), guard.iter().sum::<u8>()), (3, 9));
    // Where they could wait for themselves, they say so instead.
    assert_eq!(array.lock().unwrap_err(), LockError::Deadlock);
}

#[test]
fn val_15_memory_of_objects_that_went_is_used_again() {
    let _watchdog = watchdog();
    // In a child, whose memory is its own.
    in_child(|| {
        let mut random = Random::seeded("val_15_memory_of_objects_that_went_is_used_again");
        let lengths: Vec<usize> = (0..40).map(|_| random.below(100_000) as usize).collect();
        let mut held: Vec<Option<Array<u8>>> = vec![None; 40];
        let mut turn = |held: &mut Vec<Option<Array<u8>>>| {
            let i = random.below(40) as usize;
            held[i] = match held[i].take() {
                Some(array) => {
                    assert!(array.iter().all(|e| e == i as u8), "somebody else's memory");
                    None
                }
                None => Some(Array::new(lengths[i], i as u8).unwrap()),
            };
        };
        (0..2000).for_each(|_| turn(&mut held));
        let reserved = anonymous_bytes();
        (0..3000).for_each(|_| turn(&mut held));
        assert!(reserved > 0 && anonymous_bytes() <= reserved + (8 << 20), "it leaks");
    });
    let _ring = spsc::ring::<u8>(1).unwrap();
}
