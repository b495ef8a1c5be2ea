//! What goes through the rings: items that say which they are, who sent them, and whether they are
//! whole.

use crate::harness::mix;
use commons::spsc::Element;

/// Who sent an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Author {
    /// The harness, when it set the scene.
    Scene,
    Victim,
    Companion,
    Judge,
}

/// An item.
pub(crate) trait Item: Element + bytemuck::AnyBitPattern {
    /// The words that it is made of, the first of which says everything.
    fn of(word: impl Fn(u64) -> u64) -> Self;
    /// Word number `i`, of [`Item::WORDS`].
    fn word(&self, i: u64) -> u64;
    const WORDS: u64;

    /// Item number `number` of a stream.
    fn new(number: u64, author: Author) -> Self {
        let first = number << 8 | author as u64;
        Self::of(|i| if i == 0 { first } else { mix(first + i) })
    }

    /// Its number and its author's; `None`: it is torn.
    fn read(&self) -> Option<(u64, u8)> {
        let first = self.word(0);
        let whole = (1..Self::WORDS).all(|i| self.word(i) == mix(first + i));
        whole.then_some((first >> 8, first as u8))
    }
}

/// Small enough for the express copy, and of two words, so that it could be torn.
pub(crate) type Small = [u64; 2];
/// Too large for it.
pub(crate) type Large = [u8; 256];

impl Item for Small {
    const WORDS: u64 = 2;

    fn of(word: impl Fn(u64) -> u64) -> Self {
        [word(0), word(1)]
    }

    fn word(&self, i: u64) -> u64 {
        self[i as usize]
    }
}

impl Item for Large {
    const WORDS: u64 = 32;

    fn of(word: impl Fn(u64) -> u64) -> Self {
        let mut bytes = [0; 256];
        for (i, place) in (0..).zip(bytes.chunks_exact_mut(8)) {
            place.copy_from_slice(&word(i).to_le_bytes());
        }
        bytes
    }

    fn word(&self, i: u64) -> u64 {
        let at = i as usize * 8;
        u64::from_le_bytes(self[at..at + 8].try_into().expect("eight bytes"))
    }
}
