//! What is sent in every row, and how its receiver checks it.
//!
//! The check is an XOR and an OR per word, so that it costs the same everywhere and little.

use std::array;
use std::error::Error;

use crate::shared::Line;

/// What a measurement may fail with: anything, it ends the run.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Slots of a ring of words.
pub(crate) const WORDS: usize = 1024;
/// Words in a batch.
pub(crate) const BATCH: usize = 64;
/// Slots of a ring of 1 KiB messages.
pub(crate) const KIB_SLOTS: usize = 64;
/// Slots of a ring of 64 KiB messages.
pub(crate) const BIG_SLOTS: usize = 8;

/// Slots of a ring of 64-byte messages.
pub(crate) const LINES: usize = 1024;

/// How many places in memory a polling round trip is measured at, one a turn.
pub(crate) const SPOTS: usize = 16;

/// A small struct, as objects are.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(crate) struct Trade {
    number: u64,
    price: f64,
    buys: bool,
}

impl Trade {
    #[inline(always)]
    pub(crate) fn new(i: u64) -> Self {
        Trade { number: word(i), price: i as f64, buys: i.is_multiple_of(2) }
    }
}

/// A message of 1 KiB.
pub(crate) type Kib = [u64; 128];
/// A message of 64 KiB.
pub(crate) type Big = [u64; 8192];

/// The word number `i` of a stream.
#[inline(always)]
pub(crate) const fn word(i: u64) -> u64 {
    i.wrapping_add(0x5EED_0000_0000_0001)
}

/// How many different batches or messages a stream repeats: no divisor of any capacity, so that an
/// item a lap too early or too late is a wrong one.
const PERIOD: u64 = 17;

/// The batches or messages of a stream, `N` words each, written before anything is timed. A sender
/// that wrote them as it goes would wait for its own store buffer: a wide load of narrow stores has
/// to, and ahead of those stand the stores to the ring.
pub(crate) struct Source<const N: usize>(Box<Line<[[u64; N]; PERIOD as usize]>>);

impl<const N: usize> Source<N> {
    pub(crate) fn new() -> Self {
        let item = |j| array::from_fn(|k| word((j * N + k) as u64));
        Source(Box::new(Line(array::from_fn(item))))
    }

    /// Batch or message number `i`.
    #[inline(always)]
    pub(crate) fn at(&self, i: u64) -> &[u64; N] {
        &self.0.0[(i % PERIOD) as usize]
    }
}

/// The receiver of a stream: takes every word in its order and remembers any difference.
#[derive(Default)]
pub(crate) struct Checker {
    next: u64,
    wrong: u64,
}

impl Checker {
    /// Takes the next word.
    #[inline(always)]
    pub(crate) fn take(&mut self, got: u64) {
        self.wrong |= got ^ word(self.next);
        self.next += 1;
    }

    /// Takes the next words of a stream of batches.
    #[inline(always)]
    pub(crate) fn take_all(&mut self, got: &[u64]) {
        const WORDS: u64 = PERIOD * BATCH as u64;
        let first = self.next % WORDS;
        let (got, wrapped) = got.split_at(got.len().min((WORDS - first) as usize));
        for (part, first) in [(got, first), (wrapped, 0)] {
            for (got, i) in part.iter().zip(first..) {
                self.wrong |= got ^ word(i);
            }
            self.next += part.len() as u64;
        }
    }

    /// Takes the next 1 KiB message: looks at both ends, and between them at a word that moves on
    /// each time.
    #[inline(always)]
    pub(crate) fn take_kib(&mut self, got: &Kib) {
        let first = self.next % PERIOD * 128;
        for k in [0, 1 + self.next % 126, 127] {
            self.wrong |= got[k as usize] ^ word(first + k);
        }
        self.next += 1;
    }

    /// Takes the next message of 64 bytes: looks at both ends.
    #[inline(always)]
    pub(crate) fn take_line(&mut self, got: &[u8]) -> Result<()> {
        let Ok(words) = words_of(got) else {
            return Err(format!("a message of {} bytes", got.len()).into());
        };
        let first = self.next % PERIOD * 8;
        self.wrong |= words[0] ^ word(first) | words[7] ^ word(first + 7);
        self.next += 1;
        Ok(())
    }

    /// Takes the next small struct.
    #[inline(always)]
    pub(crate) fn take_trade(&mut self, got: &Trade) {
        let Trade { price, buys, .. } = Trade::new(self.next);
        self.wrong |= got.price.to_bits() ^ price.to_bits() | u64::from(got.buys != buys);
        self.take(got.number);
    }

    /// Takes the first and the last word of the next 64 KiB message.
    #[inline(always)]
    pub(crate) fn take_big(&mut self, first: u64, last: u64) {
        self.wrong |= last ^ !word(self.next);
        self.take(first);
    }

    /// How many words or messages came, if each was the right one.
    pub(crate) fn count(&self) -> Result<u64> {
        if self.wrong != 0 {
            return Err(format!("wrong data among the first {} messages", self.next).into());
        }
        Ok(self.next)
    }
}

/// The words of a message of 64 bytes.
#[inline(always)]
fn words_of(bytes: &[u8]) -> std::result::Result<[u64; 8], ()> {
    let bytes: &[u8; 64] = bytes.try_into().map_err(|_| ())?;
    // SAFETY: any bytes are words.
    Ok(unsafe { bytes.as_ptr().cast::<[u64; 8]>().read_unaligned() })
}

/// Checks one answer of a round trip.
#[inline(always)]
pub(crate) fn same(got: u64, sent: u64) -> Result<()> {
    if got != sent {
        return Err(format!("sent {sent:#x}, got {got:#x} back").into());
    }
    Ok(())
}

/// The bytes of words.
pub(crate) fn bytes(words: &[u64]) -> &[u8] {
    // SAFETY: every byte of a u64 is initialised, and a byte needs no alignment.
    unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), size_of_val(words)) }
}

/// The bytes of words, to be written.
pub(crate) fn bytes_mut(words: &mut [u64]) -> &mut [u8] {
    // SAFETY: as in `bytes`; any bytes are valid words.
    unsafe { std::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) }
}

/// One side of a crowd: a thread sends `n` words while this one receives `n`, of whomever.
pub(crate) fn both(
    n: u64,
    send: impl Fn(u64) -> Result<()> + Sync,
    recv: impl Fn() -> Result<u64>,
) -> Result<u64> {
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let sent = (0..n).try_for_each(|i| send(word(i)));
            sent.map_err(|error| error.to_string())
        });
        for _ in 0..n {
            recv()?;
        }
        sender.join().map_err(|_| "the sending thread panicked")??;
        Ok(n)
    })
}
