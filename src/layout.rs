//! The shared layout: offsets computed from sizes, its version, and the sizes pinned.
//!
//! A segment is: the header, the table of participants, and the heap, a chain of blocks each of
//! which holds one object. Everything is addressed by its offset from the start of the segment.

use crate::{Error, Result};

/// The version of everything that two processes must agree on. Raised with every change of a size,
/// an offset or the meaning of a word.
pub(crate) const ABI_VERSION: u32 = 1;

/// Memory is mapped and reserved in multiples of this on every platform we support.
pub(crate) const PAGE: u64 = 4096;

/// Two cache lines: what x86-64 prefetches together, and one line of some aarch64 processors.
pub(crate) const LINES: u64 = 128;

/// `value` rounded up to a multiple of `align`, a power of two; `None` beyond 64 bits.
pub(crate) const fn align_up(value: u64, align: u64) -> Option<u64> {
    match value.checked_add(align - 1) {
        Some(sum) => Some(sum & !(align - 1)),
        None => None,
    }
}

/// Lays out one thing behind another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    end: u64,
    align: u64,
}

impl Plan {
    /// Nothing yet.
    pub(crate) const fn new() -> Self {
        Plan { end: 0, align: 1 }
    }

    /// Appends a `T` and returns its offset.
    pub(crate) fn place<T>(&mut self) -> Result<u64> {
        self.place_slice::<T>(1)
    }

    /// Appends `count` of `T` in a row and returns the offset of the first.
    pub(crate) fn place_slice<T>(&mut self, count: u64) -> Result<u64> {
        self.place_bytes(size_of::<T>() as u64, align_of::<T>() as u64, count)
    }

    /// Appends `count` things of this size and alignment and returns the offset of the first.
    pub(crate) fn place_bytes(&mut self, size: u64, align: u64, count: u64) -> Result<u64> {
        if align > PAGE {
            return Err(Error::TooLarge { what: "an alignment", asked: align, limit: PAGE });
        }
        let limit = i64::MAX as u64 / size.max(1);
        let too_large = || Error::TooLarge { what: "a capacity", asked: count, limit };
        let offset = align_up(self.end, align).ok_or_else(too_large)?;
        let bytes = size.checked_mul(count).ok_or_else(too_large)?;
        let end = offset.checked_add(bytes).filter(|&end| end <= i64::MAX as u64);
        self.end = end.ok_or_else(too_large)?;
        self.align = self.align.max(align);
        Ok(offset)
    }

    /// Bytes in all.
    pub(crate) const fn size(self) -> u64 {
        self.end
    }

    /// The strictest alignment of what was placed.
    pub(crate) const fn align(self) -> u64 {
        self.align
    }
}

const _: () = {
    use crate::member::Participant;
    use crate::raw::barrier;
    use crate::raw::broadcast;
    use crate::raw::condvar::RawCondvar;
    use crate::raw::event::RawEvent;
    use crate::raw::latest;
    use crate::raw::mutex::RawMutex;
    use crate::raw::queue;
    use crate::raw::ring::{Control, Head, Lane};
    use crate::raw::rwlock::RawRwLock;
    use crate::raw::semaphore::RawSemaphore;
    use crate::segment::{Block, Header};
    assert!(cfg!(target_endian = "little"));
    assert!(size_of::<Header>() == 256 && align_of::<Header>() == 128);
    assert!(size_of::<Participant>() == 64);
    assert!(size_of::<RawMutex>() == 40 && align_of::<RawMutex>() == 8);
    assert!(size_of::<RawEvent>() == 8 && size_of::<RawSemaphore>() == 8);
    assert!(size_of::<RawCondvar>() == 8 && align_of::<RawCondvar>() == 4);
    assert!(size_of::<RawRwLock>() == 65 * 64 && align_of::<RawRwLock>() == 64);
    assert!(size_of::<barrier::Control>() == 32 && align_of::<barrier::Control>() == 8);
    assert!(size_of::<Block>() == 512 && align_of::<Block>() == 128);
    assert!(size_of::<latest::Control>() == 256 && size_of::<latest::Announcement>() == 128);
    assert!(size_of::<broadcast::Control>() == 256 && align_of::<broadcast::Control>() == 128);
    assert!(size_of::<queue::Control>() == 384 && align_of::<queue::Control>() == 128);
    #[cfg(feature = "serde")]
    {
        use crate::raw::{board, objects};
        assert!(size_of::<board::Slot>() == 128 && size_of::<board::Control>() == 512);
        assert!(size_of::<objects::Shared>() == 384 && align_of::<objects::Shared>() == 128);
        assert!(size_of::<objects::Entry>() == 64);
    }
    assert!(size_of::<Lane>() == 32 && size_of::<Head>() == 128 && size_of::<Control>() == 128);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn things_are_placed_in_order_and_aligned() -> Result<()> {
        let mut plan = Plan::new();
        assert_eq!(plan.place::<u8>()?, 0);
        assert_eq!(plan.place::<u64>()?, 8);
        assert_eq!(plan.place_slice::<u16>(3)?, 16);
        assert_eq!(plan.place::<u32>()?, 24);
        assert_eq!((plan.size(), plan.align()), (28, 8));
        Ok(())
    }

    #[test]
    fn an_alignment_beyond_the_page_is_an_error() {
        let placed = Plan::new().place_bytes(1, 8192, 1);
        assert!(matches!(placed, Err(Error::TooLarge { asked: 8192, limit: PAGE, .. })));
    }

    #[test]
    fn a_size_that_overflows_is_an_error() {
        for count in [u64::MAX, u64::MAX / 8, i64::MAX as u64] {
            assert!(matches!(
                Plan::new().place_slice::<u64>(count),
                Err(Error::TooLarge { asked, .. }) if asked == count
            ));
        }
    }
}
