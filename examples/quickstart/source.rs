//! What is streamed, and how it is summed up.

use std::error::Error;
use std::ffi::OsStr;
use std::fmt;

/// Bytes that are made up where no file is given, and the seed they grow from.
const MADE_UP: usize = 64 << 20;
const SEED: u64 = 42;

/// The bytes to stream, in memory, so that no disk is measured.
pub(crate) struct Source {
    /// Never freed, so that child processes can use them where they are.
    pub(crate) bytes: &'static [u8],
    from: String,
}

impl Source {
    /// Reads the file, or makes bytes up.
    pub(crate) fn load(file: Option<&OsStr>) -> Result<Self, Box<dyn Error>> {
        let Some(file) = file else {
            let from = format!("made up from seed {SEED}");
            return Ok(Source { bytes: make_up(SEED, MADE_UP).leak(), from });
        };
        let from = file.to_string_lossy().into_owned();
        let bytes = std::fs::read(file).map_err(|e| format!("cannot read `{from}`: {e}"))?;
        Ok(Source { bytes: bytes.leak(), from })
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {}", self.bytes.len(), self.from)
    }
}

/// Random bytes by SplitMix64 (Steele, Lea, Flood 2014).
fn make_up(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bytes.extend_from_slice(&(word ^ (word >> 31)).to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

const LANES: usize = 8;
/// Bytes in a step of the checksum. Parts of a stream are multiples of it, but for the last.
pub(crate) const STEP: usize = LANES * 8;

/// A sum and a sum of sums in each of eight lanes (Fletcher 1982, with words of 64 bits): tells what
/// changed place from what did not, at the speed of memory.
#[derive(Default)]
pub(crate) struct Checksum {
    sums: [u64; LANES],
    sums_of_sums: [u64; LANES],
    bytes: u64,
}

impl Checksum {
    /// Takes the next part of the stream.
    pub(crate) fn take(&mut self, part: &[u8]) {
        let (steps, rest) = part.as_chunks::<STEP>();
        for step in steps {
            self.step(step);
        }
        if !rest.is_empty() {
            let mut last = [0; STEP];
            last[..rest.len()].copy_from_slice(rest);
            self.step(&last);
        }
        self.bytes += part.len() as u64;
    }

    #[inline(always)]
    fn step(&mut self, step: &[u8; STEP]) {
        let (words, _) = step.as_chunks::<8>();
        let lanes = self.sums.iter_mut().zip(&mut self.sums_of_sums);
        for ((sum, sum_of_sums), word) in lanes.zip(words) {
            *sum = sum.wrapping_add(u64::from_le_bytes(*word));
            *sum_of_sums = sum_of_sums.wrapping_add(*sum);
        }
    }

    /// All lanes and the length in one word.
    pub(crate) fn finish(&self) -> u64 {
        let lanes = self.sums.iter().chain(&self.sums_of_sums);
        lanes.fold(self.bytes, |sum, lane| {
            (sum.rotate_left(5) ^ lane).wrapping_mul(0x9E37_79B9_7F4A_7C15)
        })
    }
}
