//! Lists of a fixed length: arrays of typed records.
//!
//! | id | why there is no test, or what differs |
//! |---|---|
//! | SL-01 | the kind of an element is its type; an element of several kinds is a record that says which |
//! | SL-04 | an element keeps its type, so its kind changes only where the record says it; texts have room for as many bytes as their type |
//! | SL-05 | a record keeps the length of its text, so that zero bytes at its end stay |

use crate::common::{in_child, name, watchdog};
use bytemuck::{CheckedBitPattern, NoUninit, Zeroable};
use commons::{Array, CellError, Error, Kind, Segment};

/// A text of up to 20 bytes, a number, a truth, or nothing.
#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern, Zeroable)]
#[repr(C)]
struct Item {
    number: u64,
    text: [u8; 20],
    length: u8,
    kind: ItemKind,
    padding: [u8; 2],
}

#[derive(Clone, Copy, Debug, PartialEq, NoUninit, CheckedBitPattern, Zeroable)]
#[repr(u8)]
enum ItemKind {
    Nothing = 0,
    Integer,
    Real,
    Truth,
    Text,
}

fn number(kind: ItemKind, number: u64) -> Item {
    Item { number, kind, ..Item::zeroed() }
}

/// `None`: it is too long.
fn text(text: &[u8]) -> Option<Item> {
    let mut item = Item { kind: ItemKind::Text, length: text.len() as u8, ..Item::zeroed() };
    item.text.get_mut(..text.len())?.copy_from_slice(text);
    Some(item)
}

fn items() -> Vec<Item> {
    vec![
        number(ItemKind::Integer, -7i64 as u64),
        number(ItemKind::Real, 1.5f64.to_bits()),
        number(ItemKind::Truth, 1),
        text("größe".as_bytes()).unwrap(),
        text(b"bytes\0\0").unwrap(),
        number(ItemKind::Nothing, 0),
    ]
}

#[test]
fn sl_01_elements_of_every_kind_come_back() {
    let _watchdog = watchdog();
    let list = Array::from_slice(&items()).unwrap();
    let theirs = list.clone();
    in_child(move || assert_eq!(theirs.to_vec().unwrap(), items()));
}

#[test]
fn sl_02_it_has_a_length_and_is_indexed_searched_and_counted() {
    let list = Array::from_slice(&[5i64, 7, 5, -1]).unwrap();
    assert_eq!((list.len(), list.get(1), list.get(list.len() - 1)), (4, Ok(7), Ok(-1)));
    assert_eq!(list.iter().collect::<Vec<_>>(), [5, 7, 5, -1]);
    assert_eq!(list.iter().next_back(), Some(-1));
    assert_eq!(list.iter().filter(|&e| e == 5).count(), 2);
    assert_eq!(list.iter().position(|e| e == 7), Some(1));
    assert_eq!(list.iter().position(|e| e == 8), None);
}

#[test]
fn sl_03_out_of_range_is_an_error_to_read_and_to_write() {
    let list = Array::from_slice(&[1i64, 2]).unwrap();
    for index in [2, 3, usize::MAX] {
        assert!(matches!(list.get(index), Err(CellError::OutOfRange { len: 2, .. })));
        assert!(matches!(list.set(index, 9), Err(CellError::OutOfRange { len: 2, .. })));
    }
    assert_eq!(list.to_vec().unwrap(), [1, 2]);
}

#[test]
fn sl_04_an_element_changes_its_kind_and_what_is_too_long_changes_nothing() {
    let list = Array::from_slice(&items()).unwrap();
    list.set(0, text(b"a number no more").unwrap()).unwrap();
    assert_eq!(list.get(0).unwrap().kind, ItemKind::Text);
    assert_eq!(text(b"exactly twenty bytes").map(|t| t.length), Some(20));
    assert!(text("zwanzig Zeichen größe".as_bytes()).is_none());
    // The same for texts that an array has directly.
    let texts: Vec<_> = (0..3).map(|_| Array::new(8, b'x').unwrap()).collect();
    assert!(matches!(texts[1].set_text("größeres"), Err(CellError::OutOfRange { .. })));
    texts[1].set_text("exactly8").unwrap();
    assert!([0, 2].iter().all(|&i: &usize| texts[i].to_vec().unwrap() == [b'x'; 8]));
    assert_eq!(list.to_vec().unwrap()[1..], items()[1..]);
}

#[test]
fn sl_05_zero_bytes_at_the_end_of_a_text_stay() {
    let list = Array::from_slice(&items()).unwrap();
    let item = list.get(4).unwrap();
    assert_eq!(&item.text[..usize::from(item.length)], b"bytes\0\0");
}

#[test]
fn sl_06_what_the_elements_are_can_be_read() {
    let segment = Segment::anonymous(10_000).unwrap();
    let _list = Array::new_from_in(&segment, "list", &items()).unwrap();
    let info = &segment.objects().unwrap()[0];
    assert_eq!((info.kind, &*info.type_name, info.capacity), (Kind::Array, "Item", 6));
    assert_eq!(info.element_size, size_of::<Item>() as u64);
}

#[test]
fn sl_07_a_second_handle_sees_the_same_and_a_copy_is_independent() {
    let (here, copy) = (name("sl07"), name("sl07-copy"));
    let list = Array::create_from(&here, &items()).unwrap();
    let second = Array::<Item>::open(&here).unwrap();
    second.set(5, number(ItemKind::Truth, 0)).unwrap();
    assert_eq!(list.get(5), Ok(number(ItemKind::Truth, 0)));
    let copied = Array::create_from(&copy, &list.to_vec().unwrap()).unwrap();
    assert_eq!(copied.to_vec(), list.to_vec());
    list.set(0, Item::zeroed()).unwrap();
    assert_eq!(copied.get(0), Ok(items()[0]));
}

#[test]
fn sl_08_an_empty_list_is_one() {
    let name = name("sl08");
    let empty = Array::<i64>::create_from(&name, &[]).unwrap();
    assert!(empty.is_empty() && empty.iter().next().is_none());
    assert_eq!(Array::<i64>::open(&name).unwrap().len(), 0);
}

#[test]
fn sl_09_what_is_sent_of_a_list_is_its_name() {
    let _watchdog = watchdog();
    let (short, long) = (name("sl09-10"), name("sl09-40"));
    let lists = [Array::create(&short, 10, 1i64), Array::create(&long, 400, 1i64)];
    for (list, name) in lists.into_iter().zip([short, long]) {
        let (list, sent) = (list.unwrap(), name.to_string());
        let len = list.len();
        in_child(move || assert_eq!(Array::<i64>::open(&sent).unwrap().len(), len));
        Array::<i64>::unlink(&name).unwrap();
        assert!(matches!(Array::<i64>::open(&name), Err(Error::NotFound { .. })));
    }
}
