//! Numbers that a seed gives again (SplitMix64: Steele, Lea, Flood 2014).

/// A sequence of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

/// Spreads the bits of a number.
pub(crate) fn mix(value: u64) -> u64 {
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

impl Rng {
    /// The sequence of a seed for one purpose.
    pub(crate) fn new(seed: u64, purpose: &str) -> Self {
        Rng(purpose.bytes().fold(seed, |state, byte| mix(state ^ u64::from(byte))))
    }

    /// A seed that nobody chose.
    pub(crate) fn fresh_seed() -> u64 {
        let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
        mix(since.as_nanos() as u64) >> 32
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    /// `count` of `items`, each at most once.
    pub(crate) fn sample<T>(&mut self, mut items: Vec<T>, count: usize) -> Vec<T> {
        let count = count.min(items.len());
        for i in 0..count {
            let other = i + self.below((items.len() - i) as u64) as usize;
            items.swap(i, other);
        }
        items.truncate(count);
        items
    }
}
