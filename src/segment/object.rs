//! What an object in a segment is: kind, type, capacity, label.

use crate::sync::atomic::{AtomicU64, Ordering::Relaxed};
use crate::{Error, Result};
use std::fmt;

/// Bytes of a type's name that are kept and compared.
pub(crate) const TYPE_NAME_BYTES: usize = 48;
/// Bytes a label can have.
pub(crate) const LABEL_BYTES: usize = 64;

/// The kinds of objects that can live in a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// A single-producer single-consumer ring, [`crate::spsc`].
    Ring,
    /// Two rings, one for each direction, [`crate::spsc::duplex`].
    Duplex,
    /// What a parent and a child process know of each other, [`crate::Process`].
    Process,
    /// A value that one thread has at a time, [`crate::Mutex`].
    Mutex,
    /// The same for owners that acquire it again and again, [`crate::RecursiveMutex`].
    RecursiveMutex,
    /// A flag to wait for, [`crate::Event`].
    Event,
    /// Permits that are counted, [`crate::Semaphore`].
    Semaphore,
    /// Permits that have a holder, [`crate::PermitPool`].
    PermitPool,
    /// Where holders of a mutex wait for a change, [`crate::Condvar`].
    Condvar,
    /// A value that many threads read or one changes, [`crate::RwLock`].
    RwLock,
    /// Something that is done once, [`crate::Once`].
    Once,
    /// A value that is put in once, [`crate::OnceCell`].
    OnceCell,
    /// Where a number of parties wait for each other, [`crate::Barrier`].
    Barrier,
    /// One atomic, [`crate::Atomic`].
    Atomic,
    /// One value, [`crate::Value`].
    Value,
    /// Many values in a row, [`crate::Array`].
    Array,
    /// The newest of the values that one process publishes, [`crate::Latest`].
    Latest,
    /// Many values in a row that one thread has at a time, [`crate::LockedArray`].
    LockedArray,
    /// A queue of many producers and many consumers, [`crate::queue`].
    Queue,
    /// Messages of one process to any number of others, [`crate::broadcast`].
    Broadcast,
    /// Two ends that send each other objects, [`pipe`](mod@crate::pipe).
    Pipe,
    /// A ring of records, [`crate::records`].
    Records,
    /// Two rings of records, one for each direction, [`crate::records::duplex`].
    RecordDuplex,
    /// A queue of objects of any size, [`crate::ObjectQueue`].
    ObjectQueue,
    /// The same with tasks that are finished, [`crate::JoinableQueue`].
    JoinableQueue,
    /// What a pool and its workers know of each other, [`crate::Pool`].
    Pool,
}

impl Kind {
    pub(crate) const fn code(self) -> u32 {
        match self {
            Kind::Ring => 1,
            Kind::Duplex => 2,
            Kind::Process => 3,
            Kind::Mutex => 4,
            Kind::RecursiveMutex => 5,
            Kind::Event => 6,
            Kind::Semaphore => 7,
            Kind::PermitPool => 8,
            Kind::Condvar => 9,
            Kind::RwLock => 12,
            Kind::Once => 13,
            Kind::OnceCell => 14,
            Kind::Barrier => 11,
            Kind::Atomic => 16,
            Kind::Value => 17,
            Kind::Array => 18,
            Kind::Latest => 19,
            Kind::LockedArray => 20,
            Kind::Queue => 32,
            Kind::Broadcast => 40,
            Kind::Pipe => 41,
            Kind::Records => 33,
            Kind::RecordDuplex => 34,
            Kind::ObjectQueue => 35,
            Kind::JoinableQueue => 36,
            Kind::Pool => 48,
        }
    }

    pub(crate) const fn from_code(code: u32) -> Option<Self> {
        match code {
            1 => Some(Kind::Ring),
            2 => Some(Kind::Duplex),
            3 => Some(Kind::Process),
            4 => Some(Kind::Mutex),
            5 => Some(Kind::RecursiveMutex),
            6 => Some(Kind::Event),
            7 => Some(Kind::Semaphore),
            8 => Some(Kind::PermitPool),
            9 => Some(Kind::Condvar),
            12 => Some(Kind::RwLock),
            13 => Some(Kind::Once),
            14 => Some(Kind::OnceCell),
            11 => Some(Kind::Barrier),
            16 => Some(Kind::Atomic),
            17 => Some(Kind::Value),
            18 => Some(Kind::Array),
            19 => Some(Kind::Latest),
            20 => Some(Kind::LockedArray),
            32 => Some(Kind::Queue),
            40 => Some(Kind::Broadcast),
            41 => Some(Kind::Pipe),
            33 => Some(Kind::Records),
            34 => Some(Kind::RecordDuplex),
            35 => Some(Kind::ObjectQueue),
            36 => Some(Kind::JoinableQueue),
            48 => Some(Kind::Pool),
            _ => None,
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Kind::Ring => "ring",
            Kind::Duplex => "duplex",
            Kind::Process => "process",
            Kind::Mutex => "mutex",
            Kind::RecursiveMutex => "recursive mutex",
            Kind::Event => "event",
            Kind::Semaphore => "semaphore",
            Kind::PermitPool => "permit pool",
            Kind::Condvar => "condvar",
            Kind::RwLock => "rwlock",
            Kind::Once => "once",
            Kind::OnceCell => "once cell",
            Kind::Barrier => "barrier",
            Kind::Atomic => "atomic",
            Kind::Value => "value",
            Kind::Array => "array",
            Kind::Latest => "latest",
            Kind::LockedArray => "locked array",
            Kind::Queue => "queue",
            Kind::Broadcast => "broadcast",
            Kind::Pipe => "pipe",
            Kind::Records => "record ring",
            Kind::RecordDuplex => "record duplex",
            Kind::ObjectQueue => "object queue",
            Kind::JoinableQueue => "joinable queue",
            Kind::Pool => "pool",
        })
    }
}

/// What an object is; two processes that share one must agree on all of it but the capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ObjectInfo {
    /// What it does.
    pub kind: Kind,
    /// The element type without its module path, cut to 48 bytes.
    pub type_name: String,
    /// Bytes of an element.
    pub element_size: u64,
    /// Alignment of an element in bytes.
    pub element_align: u64,
    /// How many elements it holds.
    pub capacity: u64,
    /// Its label, where the segment has several objects.
    pub label: Option<String>,
}

impl ObjectInfo {
    pub(crate) fn of<T>(kind: Kind, capacity: u64) -> Self {
        ObjectInfo {
            kind,
            type_name: cut(&short_name(core::any::type_name::<T>()), TYPE_NAME_BYTES).to_owned(),
            element_size: size_of::<T>() as u64,
            element_align: align_of::<T>() as u64,
            capacity,
            label: None,
        }
    }

    /// The same, said to be of `T`: of what is carried by elements of another type.
    pub(crate) fn carrying<T: ?Sized>(self) -> Self {
        let name = short_name(core::any::type_name::<T>());
        ObjectInfo { type_name: cut(&name, TYPE_NAME_BYTES).to_owned(), ..self }
    }

    /// The same under a label.
    pub(crate) fn labelled(self, label: &str) -> Result<Self> {
        if label.is_empty() || label.len() > LABEL_BYTES || label.contains('\0') {
            return Err(Error::InvalidLabel { label: label.to_owned(), limit: LABEL_BYTES });
        }
        Ok(ObjectInfo { label: Some(label.to_owned()), ..self })
    }

    /// Whether an object that is `self` can be used as one that is `other`.
    pub(crate) fn agrees_with(&self, other: &ObjectInfo) -> bool {
        self.kind == other.kind
            && self.type_name == other.type_name
            && self.element_size == other.element_size
            && self.element_align == other.element_align
    }
}

impl fmt::Display for ObjectInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ObjectInfo { kind, type_name, element_size, element_align, .. } = self;
        write!(f, "a {kind} of `{type_name}` ({element_size} bytes, aligned to {element_align})")
    }
}

/// A type's name without the paths of modules: `Option<a::b::C>` as `Option<C>`.
fn short_name(full: &str) -> String {
    let mut short = String::new();
    let mut word = String::new();
    for c in full.chars() {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
        } else {
            // The second colon finds the word already dropped.
            if c != ':' {
                short.push_str(&word);
                short.push(c);
            }
            word.clear();
        }
    }
    short + &word
}

/// The longest prefix of at most `bytes` that ends between characters.
fn cut(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Writes a text into words that nobody else reads yet, padded with zeros.
pub(crate) fn write_text(words: &[AtomicU64], text: &str) {
    let mut bytes = text.as_bytes().chunks(8);
    for word in words {
        let mut eight = [0; 8];
        let part = bytes.next().unwrap_or(&[]);
        eight[..part.len()].copy_from_slice(part);
        word.store(u64::from_le_bytes(eight), Relaxed);
    }
}

/// Reads a text that was padded with zeros; what is not UTF-8 comes out as replacement characters.
pub(crate) fn read_text(words: &[AtomicU64]) -> String {
    let bytes: Vec<u8> = words.iter().flat_map(|w| w.load(Relaxed).to_le_bytes()).collect();
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lose_their_paths_and_keep_their_parameters() {
        for (full, short) in [
            ("u64", "u64"),
            ("a::b::C", "C"),
            ("core::option::Option<a::b::C>", "Option<C>"),
            ("[a::B; 8]", "[B; 8]"),
            ("(a::B, c::D<e::F, 3>)", "(B, D<F, 3>)"),
        ] {
            assert_eq!(short_name(full), short);
        }
    }

    #[test]
    fn texts_survive_their_words() {
        let words: [AtomicU64; 2] = [const { AtomicU64::new(u64::MAX) }; 2];
        for text in ["", "a", "twelve bytes", "exactly sixteen!"] {
            write_text(&words, text);
            assert_eq!(read_text(&words), text);
        }
        assert_eq!(cut("größe", 3), "gr");
    }
}
