//! `commons` in the rows `value/*`, `latest/*` and `array/*`, and the limit that reads its memory.

use std::fs::File;
use std::hint::black_box;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use commons::{Array, Latest, Value};

use crate::limits::cells;
use crate::ours::spawned;
use crate::peer::{Plan, alone};
use crate::shared::{Line, Shared};
use crate::work::{Result, word};

/// Loads of a word.
pub(super) fn load(plan: &Plan) -> Result<f64> {
    let value = Value::new(0u64)?;
    alone(plan, move |n| {
        let mut wrong = 0;
        for _ in 0..n {
            wrong |= black_box(&value).load()?;
        }
        if wrong == 0 { Ok(n) } else { Err("a wrong word".into()) }
    })
}

/// Stores of a word.
pub(super) fn store(plan: &Plan) -> Result<f64> {
    let value = Value::new(0u64)?;
    alone(plan, move |n| {
        for i in 0..n {
            black_box(&value).store(word(i))?;
        }
        if value.load()? == word(n - 1) { Ok(n) } else { Err("a wrong word".into()) }
    })
}

/// Loads of 64 bytes.
pub(super) fn load_64(plan: &Plan) -> Result<f64> {
    let value = Value::new([7u64; 8])?;
    alone(plan, move |n| {
        for _ in 0..n {
            black_box(black_box(&value).load()?);
        }
        if value.load()? == [7; 8] { Ok(n) } else { Err("wrong bytes".into()) }
    })
}

/// Stores of 64 bytes.
pub(super) fn store_64(plan: &Plan) -> Result<f64> {
    let value = Value::new([0u64; 8])?;
    alone(plan, move |n| {
        for i in 0..n {
            black_box(&value).store([i; 8])?;
        }
        if value.load()? == [n - 1; 8] { Ok(n) } else { Err("wrong bytes".into()) }
    })
}

/// Two processes add to a word.
pub(super) fn update_contended(plan: &Plan) -> Result<f64> {
    let value = Value::new(0u64)?;
    let adding = |value: Value<u64>| {
        move |n| {
            for _ in 0..n {
                value.update(|old| old + 1)?;
            }
            Ok(n)
        }
    };
    let (theirs, ours) = (adding(value.clone()), adding(value));
    spawned(plan, || Ok(theirs), || Ok(ours))
}

/// What is published in `latest/read_4k`.
type Page = [u64; 512];
/// Bytes before the control of the only object of a named segment: header, table, head of a block.
const OBJECT: usize = 256 + 1024 * 64 + 512;
/// Bytes from there to the first page: the control, two announcements, and the head of a buffer.
const BUFFERS: usize = 256 + 2 * 128 + 16;
/// Bytes from one buffer to the next.
const STRIDE: usize = 4096 + 128;

/// Where a page is copied from or to. How far two copies are apart modulo 4096 makes a difference, so
/// all contenders have that alike.
#[repr(align(4096))]
struct Private(Page);

/// A named segment mapped by hand.
struct Mapped {
    at: *const u8,
    length: usize,
}

impl Mapped {
    fn open(name: &str) -> Result<Self> {
        let file = File::open(format!("/dev/shm/{name}"))?;
        let length = file.metadata()?.len() as usize;
        let (kind, protection) = (libc::MAP_SHARED | libc::MAP_POPULATE, libc::PROT_READ);
        // SAFETY: a new mapping at an address of the kernel's choice.
        let at =
            unsafe { libc::mmap(ptr::null_mut(), length, protection, kind, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error().into());
        }
        Ok(Mapped { at: at.cast(), length })
    }

    /// Copies the current buffer, whatever is done to it meanwhile.
    #[inline(always)]
    fn copy_current(&self, to: &mut Page) {
        // SAFETY: within the mapping.
        let current = unsafe { &*self.at.add(OBJECT).cast::<AtomicU64>() };
        let index = (current.load(Acquire) & 3) as usize;
        // SAFETY: as above: there are four buffers.
        let buffer = unsafe { self.at.add(OBJECT + BUFFERS + index * STRIDE) };
        // SAFETY: as above. That it races is the point of the limit.
        unsafe { ptr::copy_nonoverlapping(buffer.cast(), to, 1) };
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `open`.
        unsafe { libc::munmap(self.at.cast_mut().cast(), self.length) };
    }
}

/// Reads beside a writer that publishes all the time, in another process.
fn read_4k<R>(plan: &Plan, reader: impl FnOnce(&str, &Latest<Page>) -> Result<R>) -> Result<f64>
where
    R: FnMut(&mut Page) -> Result<()>,
{
    let name = format!("commons-bench-latest-{}", std::process::id());
    let latest = Latest::create(&name, &[0; 512])?;
    let read = reader(&name, &latest);
    Latest::<Page>::unlink(&name)?;
    let mut read = read?;
    let mut publisher = latest.publisher()?;
    // SAFETY: an atomic of 0.
    let over: Arc<Shared<Line<AtomicU64>>> = unsafe { Shared::zeroed() }?;
    let theirs = over.clone();
    let mut turn = 0;
    let write = move |n| {
        turn += 1;
        let mut page = Private([0; 512]);
        let mut i = publisher.version();
        while theirs.0.load(Relaxed) < turn {
            i += 1;
            page.0[0] = i;
            page.0[511] = i;
            publisher.publish(&page.0)?;
        }
        Ok(n)
    };
    let body = move |n| {
        let mut page = Private([0; 512]);
        for _ in 0..n {
            read(black_box(&mut page.0))?;
        }
        over.0.store(over.0.load(Relaxed) + 1, Release);
        Ok(n)
    };
    spawned(plan, || Ok(write), || Ok(body))
}

/// Reads of 4 KiB.
pub(super) fn read_4k_validated(plan: &Plan) -> Result<f64> {
    read_4k(plan, |_, latest| {
        let mut reader = latest.reader()?;
        Ok(move |page: &mut Page| {
            let version = reader.read_into(page)?;
            if page[0] != version || page[511] != version {
                return Err("a torn page".into());
            }
            Ok(())
        })
    })
}

/// The same copy of the same lines, without a look at whether it is whole.
pub(super) fn read_4k_unvalidated(plan: &Plan) -> Result<f64> {
    read_4k(plan, |name, _| {
        let mapped = Mapped::open(name)?;
        Ok(move |page: &mut Page| {
            mapped.copy_current(page);
            black_box((page[0], page[511]));
            Ok(())
        })
    })
}

/// Sums in place.
pub(super) fn sum(plan: &Plan) -> Result<f64> {
    sum_of(plan, numbers()?)
}

/// The same in huge pages.
pub(super) fn sum_huge(plan: &Plan) -> Result<f64> {
    sum_of(plan, in_huge_pages(numbers()?)?)
}

fn sum_of(plan: &Plan, array: Array<u64>) -> Result<f64> {
    alone(plan, move |n| {
        // SAFETY: nobody writes any more.
        cells::sums(n, unsafe { array.slice(..) }?)
    })
}

/// Words at random, in place.
pub(super) fn random(plan: &Plan) -> Result<f64> {
    random_of(plan, numbers()?)
}

/// The same in huge pages.
pub(super) fn random_huge(plan: &Plan) -> Result<f64> {
    random_of(plan, in_huge_pages(numbers()?)?)
}

fn random_of(plan: &Plan, array: Array<u64>) -> Result<f64> {
    alone(plan, move |n| {
        // SAFETY: nobody writes any more.
        let values = unsafe { array.slice(..) }?;
        cells::walk(n, |i| values[i])
    })
}

/// An array in which each word is its index.
fn numbers() -> Result<Array<u64>> {
    let array = Array::new(cells::SUMMANDS, 0u64)?;
    // SAFETY: nobody else has the array.
    for (i, value) in (0..).zip(unsafe { array.slice_mut(..) }?) {
        *value = i;
    }
    Ok(array)
}

/// Whether this kernel moves memory into huge pages.
pub(super) fn are_there_huge_pages() -> bool {
    Array::new(1 << 20, 0u64).is_ok_and(|array| array.use_huge_pages().is_ok_and(|n| n > 0))
}

fn in_huge_pages(array: Array<u64>) -> Result<Array<u64>> {
    let bytes = array.use_huge_pages()?;
    if bytes < cells::SUMMANDS * size_of::<u64>() / 2 {
        return Err(format!("only {bytes} bytes are in huge pages").into());
    }
    Ok(array)
}

/// Sums element by element, as atomics.
pub(super) fn sum_iter(plan: &Plan) -> Result<f64> {
    let array = numbers()?;
    let count = cells::SUMMANDS as u64;
    alone(plan, move |n| {
        for _ in 0..n / count {
            if array.iter().sum::<u64>() != count * (count - 1) / 2 {
                return Err("a wrong sum".into());
            }
        }
        Ok(n)
    })
}
