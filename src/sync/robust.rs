//! The thread's robust list: the kernel's, or a model of it.

#[cfg(not(all(test, loom)))]
pub(crate) use crate::sys::robust::{
    List, OWNER, OWNER_DIED, RobustWord, Slot, WAITERS, has_linked,
};

#[cfg(all(test, loom))]
pub(crate) use model::{List, OWNER, OWNER_DIED, RobustWord, Slot, WAITERS};

#[cfg(all(test, loom))]
pub(crate) use model::{arm, arm_again, disarm, ring};

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

    #[derive(Debug)]
    struct Thread {
        id: u32,
        linked: RefCell<Vec<*const RobustWord>>,
    }

    impl Thread {
        fn has_linked(&self, word: *const RobustWord) -> bool {
            self.linked.borrow().iter().any(|&linked| std::ptr::eq(linked, word))
        }
    }

    /// What the pending slot of a thread points to: there is one, for locks and the bell.
    #[derive(Clone, Copy, Debug)]
    enum Pending {
        Nothing,
        Lock(*const RobustWord, &'static Thread),
        Bell(*const AtomicU32),
    }

    loom::thread_local! {
        static PENDING: Cell<Pending> = Cell::new(Pending::Nothing);
    }

    fn swap_pending(pending: Pending) -> Pending {
        PENDING.with(|slot| slot.replace(pending))
    }

    /// What was pending before; `None`: it is not armed.
    pub(crate) struct Armed(Option<Pending>);

    /// Where the slot is free or holds what is linked, too.
    pub(crate) fn arm(bell: &AtomicU32) -> Armed {
        let before = PENDING.with(Cell::get);
        let is_free = match before {
            Pending::Nothing => true,
            Pending::Lock(word, thread) => thread.has_linked(word),
            Pending::Bell(_) => false,
        };
        if is_free {
            swap_pending(Pending::Bell(bell));
        }
        Armed(is_free.then_some(before))
    }

    pub(crate) fn arm_again(bell: &AtomicU32) {
        swap_pending(Pending::Bell(bell));
    }

    pub(crate) fn disarm(Armed(before): Armed) {
        if let Some(before) = before {
            swap_pending(before);
        }
    }

    /// The kernel's part at the death of the calling thread, if it has no list.
    pub(crate) fn ring() {
        if let Pending::Bell(bell) = swap_pending(Pending::Nothing) {
            // SAFETY: the caller's scenario holds the word.
            futex::wake(unsafe { &*bell }, 1);
        }
    }

    #[derive(Clone, Copy, Debug)]
    pub(crate) struct List {
        thread: &'static Thread,
    }

    impl List {
        /// The list of a new thread with this id.
        pub(crate) fn of_thread(id: u32) -> Self {
            List { thread: Box::leak(Box::new(Thread { id, linked: RefCell::default() })) }
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
            swap_pending(Pending::Lock(word, self.thread));
        }

        pub(crate) fn settled(self) {
            swap_pending(Pending::Nothing);
        }

        fn is_pending(self, word: &RobustWord) -> bool {
            let pending = PENDING.with(Cell::get);
            matches!(pending, Pending::Lock(other, _) if std::ptr::eq(other, word))
        }

        pub(crate) fn place(self) -> Option<Place> {
            Some(Place(()))
        }

        pub(crate) unsafe fn insert_at(self, word: &RobustWord, _: Place) -> Slot {
            // SAFETY: as the caller's.
            unsafe { self.insert(word) }
        }

        pub(crate) unsafe fn insert(self, word: &RobustWord) -> Slot {
            assert!(self.is_pending(word), "linked without being pending");
            self.thread.linked.borrow_mut().push(word);
            Slot(word)
        }

        pub(crate) unsafe fn remove_first(self, _: &RobustWord, _: Slot) -> bool {
            false
        }

        pub(crate) unsafe fn remove(self, word: &RobustWord, slot: Slot) -> bool {
            assert!(self.is_pending(word), "unlinked without being pending");
            assert!(std::ptr::eq(slot.0, word), "another word's slot");
            self.thread.linked.borrow_mut().retain(|&linked| !std::ptr::eq(linked, word));
            true
        }

        pub(crate) fn find(self, word: &RobustWord) -> Option<Slot> {
            self.thread.has_linked(word).then_some(Slot(word))
        }

        /// The kernel's part at the death of the thread.
        pub(crate) fn die(self) {
            let pending = swap_pending(Pending::Nothing);
            for word in self.thread.linked.take() {
                if !matches!(pending, Pending::Lock(other, _) if other == word) {
                    // SAFETY: the caller's scenario holds the word.
                    self.visit(unsafe { &*word }, false);
                }
            }
            match pending {
                Pending::Nothing => {}
                // SAFETY: as above.
                Pending::Lock(word, _) => self.visit(unsafe { &*word }, true),
                Pending::Bell(bell) => {
                    // SAFETY: as above.
                    futex::wake(unsafe { &*bell }, 1);
                }
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
