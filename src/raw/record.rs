//! How records of any length lie in a ring of grains.
//!
//! A grain is 16 bytes. The first grain of a record has its header: what it is and how many bytes it
//! has. A record of up to 12 bytes is in that grain, and so travels as an express copy like any small
//! item ([`super::ring`]). A longer one lies in the grains behind it, in a row, so that it can be
//! written and read in place and is aligned like a grain. Where the row would go past the end of the
//! ring, one grain says that the rest of the lap is unused, and both are published together. (Aeron's
//! ring buffers pad so; here the header is no commitment, for the position of the ring is.)
//!
//! A record that is too long for a row goes in pieces, each published by itself: `First`, any number
//! of `Next`, `Last`. The pieces of one record follow each other without anything in between, and each
//! says how many bytes of its record came before it. So a reader can tell a record that was left
//! unfinished: by what follows it, or by the end of its writer.
//!
//! Nothing that is read here is believed: a header whose record is not within what was published is a
//! contradiction.

use super::ring::{EXPRESS_WORDS, Span};

/// Bytes of a grain.
pub(crate) const GRAIN: usize = 16;
/// The longest record that is in its first grain.
pub(crate) const SMALL: usize = 12;
/// The most bytes behind one header.
pub(crate) const LONGEST_PIECE: u64 = 1 << 28;

const KIND_SHIFT: u32 = 29;
const LENGTH: u32 = (1 << KIND_SHIFT) - 1;

/// What a grain with a header begins. Zeros are none of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A record in this grain.
    Small = 1,
    /// A record in the grains behind this one.
    Whole = 2,
    /// Nothing, to the end of the lap.
    Pad = 3,
    /// The first bytes of a record; more follow.
    First = 4,
    /// More bytes of it; more follow.
    Next = 5,
    /// The last bytes of it.
    Last = 6,
}

/// A header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Bytes in this grain, or behind it.
    pub(crate) length: usize,
    /// Of a `First`: bytes of the whole record. Of what follows it: bytes that came before.
    pub(crate) extent: u64,
}

/// 16 bytes of a ring.
#[repr(C, align(16))]
#[derive(Clone, Copy, Debug, PartialEq, Eq, bytemuck::Zeroable, bytemuck::Pod)]
pub(crate) struct Grain([u64; EXPRESS_WORDS]);

impl Grain {
    /// A header alone. `length` is at most [`LONGEST_PIECE`].
    #[inline(always)]
    pub(crate) fn header(kind: Kind, length: usize, extent: u64) -> Self {
        Grain([u64::from((kind as u32) << KIND_SHIFT | length as u32), extent])
    }

    /// A record of at most [`SMALL`] bytes.
    #[inline(always)]
    pub(crate) fn small(record: &[u8]) -> Self {
        // In registers: narrow stores that a wide load follows would be waited for.
        let header = (Kind::Small as u32) << KIND_SHIFT | record.len() as u32;
        let words = u128::from(header) | gather(record) << 32;
        Grain([words as u64, (words >> 64) as u64])
    }

    /// Copies the first bytes of what is in this grain, as many as `to` has: at most [`SMALL`].
    #[inline(always)]
    pub(crate) fn copy_to(&self, to: &mut [u8]) {
        let words = u128::from(self.0[0]) | u128::from(self.0[1]) << 64;
        let bytes = words >> 32;
        match to.len() {
            8 => to.copy_from_slice(&(bytes as u64).to_le_bytes()),
            4 => to.copy_from_slice(&(bytes as u32).to_le_bytes()),
            length => to.copy_from_slice(&bytes.to_le_bytes()[..length]),
        }
    }

    /// The words, for an express copy.
    #[inline(always)]
    pub(crate) const fn words(self) -> [u64; EXPRESS_WORDS] {
        self.0
    }

    #[inline(always)]
    pub(crate) const fn of_words(words: [u64; EXPRESS_WORDS]) -> Self {
        Grain(words)
    }

    /// What is in this grain, of which `length` bytes are a record.
    #[inline(always)]
    pub(crate) fn bytes(&self, length: usize) -> &[u8] {
        &bytemuck::bytes_of(self)[GRAIN - SMALL..][..length.min(SMALL)]
    }

    /// The header, if it is one.
    #[inline(always)]
    pub(crate) const fn read(self) -> Option<Header> {
        let word = self.0[0] as u32;
        let length = (word & LENGTH) as usize;
        let kind = match word >> KIND_SHIFT {
            1 if length <= SMALL => Kind::Small,
            2 => Kind::Whole,
            3 => Kind::Pad,
            4 => Kind::First,
            5 => Kind::Next,
            6 => Kind::Last,
            _ => return None,
        };
        Some(Header { kind, length, extent: self.0[1] })
    }
}

/// At most [`SMALL`] bytes as a number.
#[inline(always)]
fn gather(bytes: &[u8]) -> u128 {
    let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let half = |bytes: &[u8]| u32::from_le_bytes(bytes.try_into().expect("four bytes"));
    match bytes.len() {
        8 => u128::from(word(bytes)),
        // The first and the last, which may have some in common.
        9.. => {
            let last = bytes.len() - 8;
            u128::from(word(&bytes[..8])) | u128::from(word(&bytes[last..])) << (8 * last)
        }
        4.. => {
            let last = bytes.len() - 4;
            u128::from(half(&bytes[..4])) | u128::from(half(&bytes[last..])) << (8 * last)
        }
        _ => bytes.iter().rev().fold(0, |sum, &byte| sum << 8 | u128::from(byte)),
    }
}

/// Grains that so many bytes take with their header, if they are behind it.
#[inline(always)]
pub(crate) const fn grains(length: u64) -> u64 {
    1 + length.div_ceil(GRAIN as u64)
}

/// Where something of so many grains goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Grains that are left unused before it.
    pub(crate) pad: u64,
    /// Its first grain.
    pub(crate) slot: u64,
}

/// Where something of so many grains goes whose turn is at `slot`, in a ring of `capacity`.
#[inline(always)]
pub(crate) const fn spot(slot: u64, capacity: u64, grains: u64) -> Spot {
    let in_a_row = capacity - slot;
    if grains <= in_a_row { Spot { pad: 0, slot } } else { Spot { pad: in_a_row, slot: 0 } }
}

/// What a header says that is not so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense;

/// What lies where a reader is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) header: Header,
    /// The first grain of the record.
    pub(crate) slot: u64,
    /// Grains until the next record, unused ones included.
    pub(crate) grains: u64,
}

/// What lies at the first of the published grains, of a ring of `capacity`. `read` reads a grain that
/// was published.
#[inline(always)]
pub(crate) fn find(
    published: Span,
    capacity: u64,
    mut read: impl FnMut(u64) -> Grain,
) -> Result<Found, Nonsense> {
    let Span { slot, count } = published;
    let header = read(slot).read().ok_or(Nonsense)?;
    if header.kind != Kind::Pad {
        return fit(header, slot, 0, count, capacity);
    }
    let pad = capacity - slot;
    if slot == 0 || count <= pad {
        return Err(Nonsense);
    }
    let header = read(0).read().filter(|header| header.kind != Kind::Pad).ok_or(Nonsense)?;
    fit(header, 0, pad, count, capacity)
}

#[inline(always)]
fn fit(header: Header, slot: u64, pad: u64, count: u64, capacity: u64) -> Result<Found, Nonsense> {
    let taken = if header.kind == Kind::Small { 1 } else { grains(header.length as u64) };
    if taken > count - pad || taken > capacity - slot {
        return Err(Nonsense);
    }
    Ok(Found { header, slot, grains: pad + taken })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn headers_survive_their_grain() {
        let kinds = [Kind::Whole, Kind::Pad, Kind::First, Kind::Next, Kind::Last];
        for kind in kinds {
            for length in [0, 1, 13, 1 << 20, LONGEST_PIECE as usize] {
                let header = Header { kind, length, extent: u64::MAX - 3 };
                assert_eq!(Grain::header(kind, length, header.extent).read(), Some(header));
            }
        }
        for length in 0..=SMALL {
            let record = &b"abcdefghijkl"[..length];
            let grain = Grain::of_words(Grain::small(record).words());
            let header = grain.read().unwrap();
            assert_eq!((header.kind, grain.bytes(header.length)), (Kind::Small, record));
        }
        assert_eq!(Grain::of_words([0, 0]).read(), None);
        assert_eq!(Grain::header(Kind::Small, SMALL + 1, 0).read(), None);
        assert_eq!(Grain::of_words([u64::from(7u32 << KIND_SHIFT), 0]).read(), None);
    }

    #[test]
    fn what_does_not_fit_in_a_row_begins_the_next_lap() {
        assert_eq!(spot(5, 8, 3), Spot { pad: 0, slot: 5 });
        assert_eq!(spot(5, 8, 4), Spot { pad: 3, slot: 0 });
        assert_eq!([0, 1, 16, 17].map(grains), [1, 2, 2, 3]);
    }

    /// Whatever a grain says, what is found lies within what was published.
    #[test]
    fn nothing_that_a_header_says_leads_out_of_what_was_published() {
        let capacity = 8;
        let mut sound = 0;
        for slot in 0..capacity {
            for count in 1..=capacity {
                for first in 0..8u32 {
                    for second in 0..8u32 {
                        for length in [0, 1, 12, 13, 16, 48, 112, 113, LENGTH] {
                            let grain = |kind: u32| {
                                Grain::of_words([u64::from(kind << KIND_SHIFT | length), 0])
                            };
                            let mut reads = 0;
                            let found = find(Span { slot, count }, capacity, |at| {
                                reads += 1;
                                assert!(at == slot || count > capacity - slot && at == 0);
                                grain(if reads == 1 { first } else { second })
                            });
                            let Ok(found) = found else { continue };
                            sound += 1;
                            let own = match found.header.kind {
                                Kind::Small => 1,
                                _ => grains(found.header.length as u64),
                            };
                            assert!(found.slot + own <= capacity && found.grains <= count);
                            assert!((found.slot, found.grains) == (slot, own) || found.slot == 0);
                        }
                    }
                }
            }
        }
        assert!(sound > 1000);
    }
}
