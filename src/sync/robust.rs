//! The thread's robust list: the kernel's, or a model of it.

#[cfg(not(all(test, loom)))]
pub(crate) use crate::sys::robust::{
    List, OWNER, OWNER_DIED, RobustWord, Slot, WAITERS, has_linked,
};

#[cfg(all(test, loom))]
pub(crate) use model::{List, OWNER, OWNER_DIED, RobustWord, Slot, WAITERS};

#[cfg(all(test, loom))]
pub(crate) mod model {
    //! What `exit_robust_list` does, without the links: those are private to their thread, and no
    //! interleaving reaches them.

    #![allow(unsafe_code, reason = "has the contracts of the real one")]

    use crate::sync::atomic::{
        AtomicU32,
        Ordering::{AcqRel, Relaxed},
    };
    use crate::sync::futex;
    use std::cell::{Cell, RefCell};

    pub(crate) const WAITERS: u32 = 1 << 31;
    pub(crate) const OWNER_DIED: u32 = 1 << 30;
    pub(crate) const OWNER: u32 = OWNER_DIED - 1;

    #[derive(Debug)]
    pub(crate) struct RobustWord {
        pub(crate) word: AtomicU32,
        pub(crate) notes: [AtomicU32; 5],
    }

    impl RobustWord {
        pub(crate) fn new() -> Self {
            RobustWord {
                word: AtomicU32::new(0),
                notes: std::array::from_fn(|_| AtomicU32::new(0)),
            }
        }
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Slot(*const RobustWord);

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Place(());

    #[derive(Debug, Default)]
    struct Thread {
        id: u32,
        linked: RefCell<Vec<*const RobustWord>>,
        pending: Cell<Option<*const RobustWord>>,
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct List {
        thread: &'static Thread,
    }

    impl List {
        /// The list of a new thread with this id.
        pub(crate) fn of_thread(id: u32) -> Self {
            List { thread: Box::leak(Box::new(Thread { id, ..Thread::default() })) }
        }

        pub(crate) fn id(self) -> u32 {
            self.thread.id
        }

        pub(crate) fn process(self) -> u32 {
            self.thread.id
        }

        pub(crate) fn has_room(self) -> bool {
            true
        }

        pub(crate) fn pending(self, word: &RobustWord) {
            self.thread.pending.set(Some(word));
        }

        pub(crate) fn settled(self) {
            self.thread.pending.set(None);
        }

        pub(crate) fn place(self) -> Option<Place> {
            Some(Place(()))
        }

        pub(crate) unsafe fn insert_at(self, word: &RobustWord, _: Place) -> Slot {
            // SAFETY: as the caller's.
            unsafe { self.insert(word) }
        }

        pub(crate) unsafe fn insert(self, word: &RobustWord) -> Slot {
            assert!(self.thread.pending.get().is_some(), "linked without being pending");
            self.thread.linked.borrow_mut().push(word);
            Slot(word)
        }

        pub(crate) unsafe fn remove_first(self, _: &RobustWord, _: Slot) -> bool {
            false
        }

        pub(crate) unsafe fn remove(self, word: &RobustWord, slot: Slot) -> bool {
            assert!(self.thread.pending.get().is_some(), "unlinked without being pending");
            assert!(std::ptr::eq(slot.0, word), "another word's slot");
            self.thread.linked.borrow_mut().retain(|&linked| !std::ptr::eq(linked, word));
            true
        }

        pub(crate) fn find(self, word: &RobustWord) -> Option<Slot> {
            let linked = self.thread.linked.borrow();
            linked.iter().any(|&other| std::ptr::eq(other, word)).then_some(Slot(word))
        }

        /// The kernel's part at the death of the thread.
        pub(crate) fn die(self) {
            let pending = self.thread.pending.take();
            for word in self.thread.linked.take() {
                if pending != Some(word) {
                    // SAFETY: the caller's scenario holds the word.
                    self.visit(unsafe { &*word }, false);
                }
            }
            if let Some(word) = pending {
                // SAFETY: as above.
                self.visit(unsafe { &*word }, true);
            }
        }

        /// `handle_futex_death`.
        fn visit(self, robust: &RobustWord, pending: bool) {
            let word = &robust.word;
            let mut seen = word.load(Relaxed);
            loop {
                if pending && seen & OWNER == 0 {
                    futex::wake(word, 1);
                    return;
                }
                if seen & OWNER != self.id() {
                    return;
                }
                let dead = seen & WAITERS | OWNER_DIED;
                // AcqRel: the kernel's exchange is a full barrier.
                match word.compare_exchange(seen, dead, AcqRel, Relaxed) {
                    Ok(_) => break,
                    Err(other) => seen = other,
                }
            }
            if seen & WAITERS != 0 {
                futex::wake(word, 1);
            }
        }
    }
}
