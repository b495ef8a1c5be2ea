//! Sleeping on a word of shared memory: the kernel's futex, or loom's model of it.
//!
//! A caller re-checks its condition after every return: a return says nothing about why.

#[cfg(not(all(test, loom)))]
pub(crate) use crate::sys::futex::{WORDS, wait_any, wait_either, wake};

#[cfg(all(test, loom))]
pub(crate) use model::{WORDS, wait_any, wait_either, wake};

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
        /// The last of its words that was woken.
        woken: Option<usize>,
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

    pub(crate) const WORDS: usize = 128;

    /// Sleeps while both words hold what is expected of them; a deadline never comes.
    pub(crate) fn wait_either(
        word: (&AtomicU32, u32),
        other: Option<(&AtomicU32, u32)>,
        deadline: Option<u64>,
    ) {
        let words: Vec<_> = std::iter::once(word).chain(other).collect();
        wait_any(&words, deadline);
    }

    /// Sleeps while all words hold what is expected of them; a deadline never comes.
    pub(crate) fn wait_any(words: &[(&AtomicU32, u32)], _deadline: Option<u64>) -> Option<usize> {
        if MODE.with(Cell::get) == Mode::Spurious {
            loom::thread::yield_now();
            return None;
        }
        let mut kernel = KERNEL.lock().unwrap();
        if words.iter().any(|(word, expected)| word.load(Ordering::Relaxed) != *expected) {
            return None;
        }
        let ticket = kernel.next_ticket;
        kernel.next_ticket += 1;
        let words = words.iter().map(|(word, _)| address(word)).collect();
        kernel.asleep.push(Sleeper { ticket, words, woken: None });
        loop {
            let index = kernel.asleep.iter().position(|s| s.ticket == ticket)?;
            if kernel.asleep[index].woken.is_some() {
                return kernel.asleep.remove(index).woken;
            }
            kernel = WOKEN.wait(kernel).unwrap();
        }
    }

    pub(crate) fn wake(word: &AtomicU32, count: u32) -> u32 {
        if MODE.with(Cell::get) == Mode::Spurious {
            return 0;
        }
        let mut kernel = KERNEL.lock().unwrap();
        let mut woken = 0;
        // A sleeper that was woken by another of its words is in line until it runs, and a second
        // wake can go to it.
        for sleeper in &mut kernel.asleep {
            let index = sleeper.words.iter().position(|&w| w == address(word));
            if woken < count && index.is_some() && index > sleeper.woken {
                sleeper.woken = index;
                woken += 1;
            }
        }
        WOKEN.notify_all();
        woken
    }
}
