//! The name of a participant.

/// Which place in the table, and the how-manieth tenant of it.
///
/// Packed into 48 bits: generation in the lower 32, index plus one above, so that 0 is nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    /// Place in the table.
    pub(crate) index: u16,
    /// Its tenant: from 1 on. A place whose generations are used up is never taken again, so a
    /// stamp names one process for the life of the segment.
    pub(crate) generation: u32,
}

impl Stamp {
    /// Bits of a packed stamp.
    pub(crate) const MASK: u64 = (1 << 48) - 1;

    pub(crate) const fn pack(self) -> u64 {
        (self.index as u64 + 1) << 32 | self.generation as u64
    }

    /// The stamp in the lower 48 bits of `word`; `None` for nobody.
    pub(crate) const fn unpack(word: u64) -> Option<Stamp> {
        match ((word & Self::MASK) >> 32) as u16 {
            0 => None,
            above => Some(Stamp { index: above - 1, generation: word as u32 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_survive_packing_and_nobody_is_zero() {
        for stamp in [
            Stamp { index: 0, generation: 1 },
            Stamp { index: 1023, generation: u32::MAX },
            Stamp { index: u16::MAX - 1, generation: 0 },
        ] {
            assert_eq!(Stamp::unpack(stamp.pack() | 0xff << 56), Some(stamp));
        }
        assert_eq!(Stamp::unpack(0), None);
        assert_eq!(Stamp::unpack(7), None);
    }
}
