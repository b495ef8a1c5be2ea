//! Handles of children that travel to a child which is started by exec.
//!
//! Such a handle is a pidfd, which the child inherits, and what is known of whose it is. As with handles of
//! objects, what is written into the argument is the number of a ticket, and all else is in the letter: so
//! nothing that a program serialises or deserialises by itself makes a handle. A ticket is used once;
//! several may be for the same child, whose pidfd goes there once.

use super::child::Child;
use super::identity::Identity;
use crate::segment::noted;
use crate::sys::exec;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use std::cell::RefCell;
use std::os::fd::RawFd;

/// What was collected while an argument was serialised: its descriptors are open as long as this is.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    children: Vec<Child>,
    tickets: Vec<usize>,
}

/// What a letter says of it.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Passed {
    children: Vec<Known>,
    /// For each ticket the number of the child.
    tickets: Vec<usize>,
}

/// What is known of a child.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Known {
    pub(super) pid: u32,
    pub(super) pidfd: RawFd,
    pub(super) identity: Identity,
    pub(super) renamed: Option<String>,
}

thread_local! {
    static OUTGOING: RefCell<Option<Outgoing>> = const { RefCell::new(None) };
    /// What tickets are for, by their numbers.
    static INCOMING: RefCell<Vec<Option<Child>>> = const { RefCell::new(Vec::new()) };
}

/// Collects what is handed over while `serialise` runs.
pub(super) fn collect<R>(serialise: impl FnOnce() -> R) -> (R, Outgoing) {
    /// Puts back what was there, also where the function panics.
    struct Restored(Option<Outgoing>);
    impl Drop for Restored {
        fn drop(&mut self) {
            OUTGOING.set(self.0.take());
        }
    }
    let _restored = Restored(OUTGOING.replace(Some(Outgoing::default())));
    let result = serialise();
    (result, OUTGOING.take().unwrap_or_default())
}

impl Outgoing {
    pub(super) fn in_letter(&self) -> Passed {
        let children = self.children.iter().map(Child::known).collect();
        Passed { children, tickets: self.tickets.clone() }
    }
}

impl Passed {
    /// The descriptors that the child needs for it.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        self.children.iter().map(|known| known.pidfd)
    }

    /// In the child: lets tickets be used.
    pub(super) fn arrive(self) -> Result<(), &'static str> {
        let open = |known: Known| Some(Child::of_another(exec::take(known.pidfd)?, known));
        let children: Option<Vec<Child>> = self.children.into_iter().map(open).collect();
        let children = children.ok_or("the descriptor of a process was not inherited")?;
        INCOMING.set(self.tickets.iter().map(|number| children.get(*number).cloned()).collect());
        Ok(())
    }
}

/// In the child: lets go of what came and was not taken.
pub(super) fn forget_rest() {
    drop(INCOMING.take());
}

/// For arguments of [`Process::call`](super::Process::call) alone; anywhere else it is an error.
impl Serialize for Child {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let ticket = OUTGOING.with_borrow_mut(|outgoing| {
            let Some(Outgoing { children, tickets }) = outgoing else {
                let problem = "process::Child: handles of processes are handed over when a child is \
                               started, and in no other way";
                return Err(problem.to_owned());
            };
            let known = children.iter().position(|known| known.is_same(self));
            tickets.push(known.unwrap_or_else(|| {
                children.push(self.clone());
                children.len() - 1
            }));
            u32::try_from(tickets.len() - 1).map_err(|_| "too many handles".to_owned())
        });
        serializer.serialize_u32(ticket.map_err(noted).map_err(ser::Error::custom)?)
    }
}

/// For arguments of [`Process::call`](super::Process::call) alone; anywhere else it is an error.
impl<'de> Deserialize<'de> for Child {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)? as usize;
        let child = INCOMING.with_borrow_mut(|all| all.get_mut(number).and_then(Option::take));
        child.ok_or_else(|| {
            let problem = "process::Child: no such handle was handed over".to_owned();
            de::Error::custom(noted(problem))
        })
    }
}
