//! Plain memory: an atomic, a copy, a sum.

use std::hint::black_box;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Release};

use crate::peer::{Plan, alone};
use crate::shared::{Line, Shared};
use crate::work::{Result, word};

/// Loads of a word.
pub(crate) fn load(plan: &Plan) -> Result<f64> {
    // SAFETY: an atomic of 0.
    let cell = unsafe { Shared::<Line<AtomicU64>>::zeroed() }?;
    alone(plan, move |n| {
        let mut wrong = 0;
        for _ in 0..n {
            wrong |= black_box(&cell.0).load(Acquire);
        }
        if wrong == 0 { Ok(n) } else { Err("a wrong word".into()) }
    })
}

/// Stores of a word.
pub(crate) fn store(plan: &Plan) -> Result<f64> {
    // SAFETY: an atomic of 0.
    let cell = unsafe { Shared::<Line<AtomicU64>>::zeroed() }?;
    alone(plan, move |n| {
        for i in 0..n {
            black_box(&cell.0).store(word(i), Release);
        }
        if cell.0.load(Acquire) == word(n - 1) { Ok(n) } else { Err("a wrong word".into()) }
    })
}

/// Copies of 64 bytes.
pub(crate) fn copy_64(plan: &Plan) -> Result<f64> {
    let source = Line([7u64; 8]);
    let mut target = Line([0u64; 8]);
    alone(plan, move |n| {
        for _ in 0..n {
            black_box(&mut target).0 = black_box(&source).0;
        }
        if target.0 == [7; 8] { Ok(n) } else { Err("wrong bytes".into()) }
    })
}

/// How many words the rows `array/*` sum.
pub(crate) const SUMMANDS: usize = 64 << 20;

/// Sums over a private vector.
pub(crate) fn sum(plan: &Plan) -> Result<f64> {
    let values: Vec<u64> = (0..SUMMANDS as u64).collect();
    alone(plan, move |n| sums(n, &values))
}

/// Sums a slice as often as makes `n` words.
pub(crate) fn sums(n: u64, values: &[u64]) -> Result<u64> {
    let count = SUMMANDS as u64;
    for _ in 0..n / count {
        let sum: u64 = black_box(values).iter().sum();
        if sum != count * (count - 1) / 2 {
            return Err(format!("a wrong sum: {sum}").into());
        }
    }
    Ok(n)
}

/// Words of a private vector at random.
pub(crate) fn random(plan: &Plan) -> Result<f64> {
    let values: Vec<u64> = (0..SUMMANDS as u64).collect();
    alone(plan, move |n| walk(n, |i| values[i]))
}

/// Reads `n` words, each at a place that the one before has a part in.
pub(crate) fn walk(n: u64, word_at: impl Fn(usize) -> u64) -> Result<u64> {
    let mut state = 1u64;
    for _ in 0..n {
        // Knuth's MMIX generator, of which the high bits are the random ones.
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let index = (state >> 38) as usize % SUMMANDS;
        let found = word_at(index);
        if found != index as u64 {
            return Err(format!("a wrong word: {found}").into());
        }
        state ^= found;
    }
    Ok(n)
}
