//! raw_sync and shared_memory: memory with a name, locks and events to put into it. Neither has a
//! queue, so the streams are a ring with its positions under the lock, and the round trips are a
//! word beside an event each way.

use std::hint::black_box;
use std::ptr;
use std::slice;
use std::sync::atomic::Ordering::{Acquire, Release};
use std::sync::atomic::fence;

use raw_sync::Timeout;
use raw_sync::events::{BusyEvent, Event, EventImpl, EventInit, EventState};
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use shared_memory::{Shmem, ShmemConf};

use crate::guard;
use crate::peer::{self, Plan};
use crate::shared::Line;
use crate::work::{
    BATCH, BIG_SLOTS, Big, Checker, KIB_SLOTS, Kib, Result, Source, WORDS, same, word,
};

/// Where the ring begins, behind its lock.
const RING: usize = 256;

/// What the lock guards.
#[repr(C)]
struct Positions {
    tail: usize,
    head: usize,
}

/// One end of a ring of `N` items in named memory.
struct End<T, const N: usize> {
    lock: Box<dyn LockImpl>,
    slots: *mut T,
    _memory: Shmem,
}

impl<T: Copy, const N: usize> End<T, N> {
    const SIZE: usize = RING + size_of::<Positions>() + N * size_of::<T>();

    fn create(name: &str) -> Result<Self> {
        let memory = ShmemConf::new().os_id(guard::name(name)).size(Self::SIZE).create()?;
        let base = memory.as_ptr();
        // SAFETY: a lock fits before `RING`, and the memory is zeroed.
        let (lock, _) = unsafe { Mutex::new(base, base.add(RING)) }?;
        Ok(Self::new(memory, lock))
    }

    fn open(name: &str) -> Result<Self> {
        let memory = ShmemConf::new().os_id(guard::name(name)).open()?;
        let base = memory.as_ptr();
        // SAFETY: `create` put a lock there.
        let (lock, _) = unsafe { Mutex::from_existing(base, base.add(RING)) }?;
        Ok(Self::new(memory, lock))
    }

    fn new(memory: Shmem, lock: Box<dyn LockImpl>) -> Self {
        // SAFETY: the memory is `SIZE` bytes long.
        let slots = unsafe { memory.as_ptr().add(RING + size_of::<Positions>()) };
        Self { lock, slots: slots.cast(), _memory: memory }
    }

    /// Runs `f` on the positions, under the lock.
    fn locked<R>(&self, f: impl FnOnce(&mut Positions) -> R) -> Result<R> {
        let guard = self.lock.lock()?;
        // SAFETY: the lock guards the positions, which it points to.
        Ok(f(unsafe { &mut *guard.cast::<Positions>() }))
    }

    /// Puts as many items as fit without a wrap and returns how many.
    fn put(&self, items: &[T]) -> Result<usize> {
        self.locked(|at| {
            let slot = at.tail % N;
            let count = items.len().min(N - (at.tail - at.head)).min(N - slot);
            // SAFETY: `count` slots from here are free, and as many items are there.
            unsafe { ptr::copy_nonoverlapping(items.as_ptr(), self.slots.add(slot), count) };
            at.tail += count;
            count
        })
    }

    /// Takes as many items as there are without a wrap and returns how many.
    fn take(&self, items: &mut [T]) -> Result<usize> {
        self.locked(|at| {
            let slot = at.head % N;
            let count = items.len().min(at.tail - at.head).min(N - slot);
            // SAFETY: `count` slots from here are full, and as many items are there.
            unsafe { ptr::copy_nonoverlapping(self.slots.add(slot), items.as_mut_ptr(), count) };
            at.head += count;
            count
        })
    }

    fn put_all(&self, mut items: &[T]) -> Result<()> {
        while !items.is_empty() {
            items = &items[self.put(items)?..];
        }
        Ok(())
    }

    /// Waits for at least one item.
    fn take_some(&self, items: &mut [T]) -> Result<usize> {
        loop {
            let count = self.take(items)?;
            if count > 0 {
                return Ok(count);
            }
        }
    }
}

/// Words one by one.
pub(crate) fn stream_u64(plan: &Plan) -> Result<f64> {
    let tx = End::<u64, WORDS>::create("words")?;
    let rx = End::<u64, WORDS>::open("words")?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut item = [0];
        for _ in 0..n {
            rx.take_some(&mut item)?;
            checker.take(item[0]);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.put_all(&[word(i)])?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Words in batches.
pub(crate) fn stream_batch(plan: &Plan) -> Result<f64> {
    let tx = End::<u64, WORDS>::create("words")?;
    let rx = End::<u64, WORDS>::open("words")?;
    let source = Source::<BATCH>::new();
    let consume = move |n| {
        let mut checker = Checker::default();
        let batch = &mut Line([0; BATCH]).0;
        let mut taken = 0;
        while taken < n {
            let some = rx.take_some(batch)?;
            checker.take_all(black_box(&batch[..some]));
            taken += some as u64;
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            tx.put_all(source.at(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// 64 KiB slots written and read in place, outside of the lock. Every turn begins at slot 0: its
/// length is a multiple of the capacity.
pub(crate) fn inplace_64k(plan: &Plan) -> Result<f64> {
    let tx = End::<Big, BIG_SLOTS>::create("big")?;
    let rx = End::<Big, BIG_SLOTS>::open("big")?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for i in 0..n as usize {
            while rx.locked(|at| at.tail == at.head)? {}
            // SAFETY: the slot of the head is full until the head moves.
            let words = unsafe { rx.slots.add(i % BIG_SLOTS) }.cast::<u64>();
            // SAFETY: as above.
            let first = unsafe { words.read() };
            // SAFETY: as above.
            checker.take_big(first, unsafe { words.add(8191).read() });
            rx.locked(|at| at.head += 1)?;
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n as usize {
            while tx.locked(|at| at.tail - at.head == BIG_SLOTS)? {}
            // SAFETY: the slot of the tail is free until the tail moves.
            let words = unsafe { tx.slots.add(i % BIG_SLOTS) }.cast::<u64>();
            // SAFETY: as above.
            unsafe { words.write(word(i as u64)) };
            // SAFETY: as above.
            unsafe { words.add(8191).write(!word(i as u64)) };
            tx.locked(|at| at.tail += 1)?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages copied in and out.
pub(crate) fn copy_1k(plan: &Plan) -> Result<f64> {
    let tx = End::<Kib, KIB_SLOTS>::create("kib")?;
    let rx = End::<Kib, KIB_SLOTS>::open("kib")?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let message = &mut Line([[0; 128]]).0;
        for _ in 0..n {
            rx.take_some(message)?;
            checker.take_kib(&black_box(&*message)[0]);
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.put_all(slice::from_ref(source.at(i)))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back between events that spin.
pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    rtt::<BusyEvent>(plan)
}

/// A word there and back between events that sleep.
pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
    rtt::<Event>(plan)
}

/// Where the two ways begin, each on lines of its own: an event, then a word.
const WAYS: [usize; 2] = [0, 512];
/// Where the word of a way is, from its beginning.
const WORD: usize = 256;

/// One way: an event that resets itself, and the word it announces.
struct Way {
    event: Box<dyn EventImpl>,
    word: *mut u64,
}

impl Way {
    fn send(&self, item: u64) -> Result<()> {
        // SAFETY: the receiver is done with the last word: it has answered it.
        unsafe { self.word.write_volatile(item) };
        fence(Release); // the spinning event has none of its own
        self.event.set(EventState::Signaled)
    }

    fn receive(&self) -> Result<u64> {
        self.event.wait(Timeout::Infinite)?;
        fence(Acquire);
        // SAFETY: the sender waits for our answer.
        Ok(unsafe { self.word.read_volatile() })
    }
}

fn rtt<E: EventInit>(plan: &Plan) -> Result<f64> {
    let ours = ShmemConf::new().os_id(guard::name("ways")).size(1024).create()?;
    let theirs = ShmemConf::new().os_id(guard::name("ways")).open()?;
    let way = |memory: &Shmem, offset: usize, create: bool| -> Result<Way> {
        // SAFETY: both ways lie within the memory.
        let base = unsafe { memory.as_ptr().add(offset) };
        // SAFETY: an event fits before its word; the ways are created before they are opened.
        let (event, _) = unsafe {
            match create {
                true => E::new(base, true),
                false => E::from_existing(base),
            }
        }?;
        // SAFETY: as above.
        let word = unsafe { base.add(WORD) }.cast();
        Ok(Way { event, word })
    };
    let (there, back) = (way(&ours, WAYS[0], true)?, way(&ours, WAYS[1], true)?);
    let (incoming, answer) = (way(&theirs, WAYS[0], false)?, way(&theirs, WAYS[1], false)?);
    let think = plan.think();
    let pong = move |n| {
        let _memory = &theirs;
        for _ in 0..n {
            let item = incoming.receive()?;
            think.now();
            answer.send(item)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        let _memory = &ours;
        for i in 0..n {
            think.now();
            there.send(word(i))?;
            same(back.receive()?, word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}
