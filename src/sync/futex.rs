//! Sleeping on a word of shared memory: the kernel's futex, or loom's model of it.
//!
//! A caller re-checks its condition after every return: a return says nothing about why.

#[cfg(not(all(test, loom)))]
pub(crate) use crate::sys::futex::{wait_either, wake};

#[cfg(all(test, loom))]
pub(crate) use model::{wait_either, wake};

#[cfg(all(test, loom))]
pub(crate) mod model {
    //! Two models, because each hides what the other finds.

    use crate::sync::atomic::{AtomicU32, Ordering};
    use loom::sync::{Condvar, Mutex};
    use std::cell::Cell;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) enum Mode {
        /// A wait sleeps until a wake: a lost wake is a deadlock, which loom reports. The lock of
        /// this model orders memory as a futex does not, so it can hide a weak ordering.
        Sleeps,
        /// A wait returns at once, as after a signal, and orders nothing, so every ordering must
        /// come from the algorithm. It cannot see a lost wake.
        Spurious,
    }

    // loom runs the threads of one model on the test's own thread, so this is one model's.
    std::thread_local! {
        static MODE: Cell<Mode> = const { Cell::new(Mode::Sleeps) };
    }

    pub(crate) fn set_mode(mode: Mode) {
        MODE.with(|m| m.set(mode));
    }

    struct Sleeper {
        ticket: u64,
        words: Vec<usize>,
    }

    #[derive(Default)]
    struct Kernel {
        next_ticket: u64,
        asleep: Vec<Sleeper>,
    }

    loom::lazy_static! {
        static ref KERNEL: Mutex<Kernel> = Mutex::new(Kernel::default());
        static ref WOKEN: Condvar = Condvar::new();
    }

    fn address(word: &AtomicU32) -> usize {
        std::ptr::from_ref(word) as usize
    }

    /// Sleeps while both words hold what is expected of them; a deadline never comes.
    pub(crate) fn wait_either(
        word: (&AtomicU32, u32),
        other: Option<(&AtomicU32, u32)>,
        _deadline: Option<u64>,
    ) {
        if MODE.with(Cell::get) == Mode::Spurious {
            loom::thread::yield_now();
            return;
        }
        let mut kernel = KERNEL.lock().unwrap();
        let mut words = Vec::new();
        for (word, expected) in std::iter::once(word).chain(other) {
            if word.load(Ordering::Relaxed) != expected {
                return;
            }
            words.push(address(word));
        }
        let ticket = kernel.next_ticket;
        kernel.next_ticket += 1;
        kernel.asleep.push(Sleeper { ticket, words });
        while kernel.asleep.iter().any(|s| s.ticket == ticket) {
            kernel = WOKEN.wait(kernel).unwrap();
        }
    }

    pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
        if MODE.with(Cell::get) == Mode::Spurious {
            return 0;
        }
        let mut kernel = KERNEL.lock().unwrap();
        let mut woken = 0;
        kernel.asleep.retain(|sleeper| {
            let hit = woken < count && sleeper.words.contains(&address(word));
            woken += u32::from(hit);
            !hit
        });
        WOKEN.notify_all();
        woken
    }
}
