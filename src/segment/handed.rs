//! Handles that travel to a child that begins with nothing of its parent's memory, or to a process that
//! runs already.
//!
//! While what goes there is serialised, each handle in it leaves a *ticket*: the segment,
//! the block and its serial number, and what kind of handle it was. The tickets go to the child beside
//! the argument, with a descriptor of each segment, and what is written into the argument is their
//! numbers alone. So nothing that a program serialises or deserialises by itself can make a handle: a
//! ticket is used once, for the type that left it. What the handle stands for is handed over as to a
//! forked child, when the giver drops it in transfer mode: to a child before it uses its tickets, and to
//! a process that runs already after it has, so that either of the two can still refuse or die, and
//! everything is whose it was. Until then an end that was made of a ticket has a [`Promise`] of its role.

use super::attachment::Promise;
use super::{Attachment, Core, Geometry, Mapping, mapping, transfer};
use crate::member::Stamp;
use crate::sync::local::{AtomicBool, Ordering::Relaxed};
use crate::sys::file;
use crate::{Error, Result};
use serde::{Deserialize, Deserializer, Serializer, de, ser};
use std::cell::RefCell;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// Whether several handles to the same thing may travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sharing {
    /// There is one in all processes.
    Sole,
    Shared,
}

/// What a handle leaves.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct Ticket {
    /// The number of the segment among those of the child.
    segment: usize,
    /// The block of the object and its serial number; `None`: the segment itself.
    object: Option<(u64, u32)>,
    /// The type of the handle.
    handle: String,
    sole: bool,
    /// What the type has to know besides.
    detail: u64,
}

/// What was collected while an argument was serialised.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) cores: Vec<Arc<Core>>,
    pub(crate) tickets: Vec<Ticket>,
}

/// A ticket that is being used.
#[derive(Debug)]
pub(crate) struct Used {
    core: Arc<Core>,
    ticket: Ticket,
    promise: Option<Promise>,
}

/// Where what came came from.
#[derive(Debug)]
struct Incoming {
    cores: Vec<Arc<Core>>,
    tickets: Vec<Option<Ticket>>,
    promises: Option<Promises>,
}

/// By whom the roles of what came are still to be handed over.
#[derive(Clone, Debug)]
pub(crate) struct Promises {
    /// The giver's stamp in each of the segments.
    givers: Vec<Stamp>,
    kept: Arc<AtomicBool>,
}

impl Promises {
    pub(crate) fn new(givers: Vec<Stamp>) -> Self {
        Promises { givers, kept: Arc::default() }
    }

    /// Says that all of them were handed over.
    pub(crate) fn are_kept(self) {
        // Relaxed: the handles go to others after this, if at all.
        self.kept.store(true, Relaxed);
    }

    fn of(&self, segment: usize) -> Option<Promise> {
        self.givers.get(segment).map(|giver| Promise::new(*giver, self.kept.clone()))
    }
}

thread_local! {
    static OUTGOING: RefCell<Option<Outgoing>> = const { RefCell::new(None) };
    static INCOMING: RefCell<Option<Incoming>> = const { RefCell::new(None) };
    /// What was wrong with a handle last: formats without text lose what they are told.
    static PROBLEM: RefCell<String> = const { RefCell::new(String::new()) };
}

/// What was wrong with a handle since this was last asked, if anything; otherwise `error`.
pub(crate) fn problem(error: impl ToString) -> String {
    let problem = PROBLEM.take();
    if problem.is_empty() { error.to_string() } else { problem }
}

/// Notes what is wrong with a handle.
pub(crate) fn noted(problem: String) -> String {
    PROBLEM.set(problem.clone());
    problem
}

/// Takes a cell's content away at the end, also where the function between panics.
struct Cleared<T: 'static>(&'static std::thread::LocalKey<RefCell<Option<T>>>, Option<T>);

impl<T> Drop for Cleared<T> {
    fn drop(&mut self) {
        self.0.set(self.1.take());
    }
}

/// Collects what is handed over while `serialise` runs.
pub(crate) fn collect<R>(serialise: impl FnOnce() -> R) -> (R, Outgoing) {
    collect_in(Vec::new(), serialise)
}

/// The same, with a segment in any case, which is the first.
pub(crate) fn collect_with<R>(first: Arc<Core>, serialise: impl FnOnce() -> R) -> (R, Outgoing) {
    collect_in(vec![first], serialise)
}

fn collect_in<R>(cores: Vec<Arc<Core>>, serialise: impl FnOnce() -> R) -> (R, Outgoing) {
    let outgoing = Outgoing { cores, tickets: Vec::new() };
    let _cleared = Cleared(&OUTGOING, OUTGOING.replace(Some(outgoing)));
    let result = serialise();
    (result, OUTGOING.take().unwrap_or_default())
}

fn leave(
    core: &Arc<Core>,
    attachment: Option<&Attachment>,
    detail: u64,
    handle: &str,
    sharing: Sharing,
) -> Result<u32, String> {
    let object = attachment.map(|a| (a.place().block, a.place().serial));
    OUTGOING.with_borrow_mut(|outgoing| {
        let Some(Outgoing { cores, tickets }) = outgoing else {
            return Err(format!(
                "{handle}: handles are handed over when a child is started, or by `send_handle` of a pipe, \
                 and in no other way"
            ));
        };
        let known = cores.iter().position(|known| Arc::ptr_eq(known, core));
        let segment = known.unwrap_or_else(|| {
            cores.push(core.clone());
            cores.len() - 1
        });
        let (sole, handle) = (sharing == Sharing::Sole, handle.to_owned());
        let ticket = Ticket { segment, object, handle, sole, detail };
        if sole && tickets.contains(&ticket) {
            return Err(format!(
                "{}: there is one, and it was to be handed over twice",
                ticket.handle
            ));
        }
        tickets.push(ticket);
        u32::try_from(tickets.len() - 1).map_err(|_| "too many handles".to_owned())
    })
}

/// Serialises a handle to an object.
pub(crate) fn give<S: Serializer>(
    serializer: S,
    (attachment, detail): (&Attachment, u64),
    handle: &str,
    sharing: Sharing,
) -> Result<S::Ok, S::Error> {
    let settled = attachment.settle().map_err(|error| error.to_string());
    let ticket =
        settled.and_then(|()| leave(attachment.core(), Some(attachment), detail, handle, sharing));
    serializer.serialize_u32(ticket.map_err(noted).map_err(ser::Error::custom)?)
}

/// Serialises a handle to a segment.
pub(crate) fn give_segment<S: Serializer>(
    serializer: S,
    core: &Arc<Core>,
    handle: &str,
) -> Result<S::Ok, S::Error> {
    let ticket = leave(core, None, 0, handle, Sharing::Shared);
    serializer.serialize_u32(ticket.map_err(noted).map_err(ser::Error::custom)?)
}

/// Deserialises a handle: uses its ticket.
pub(crate) fn receive<'de, D: Deserializer<'de>, H>(
    deserializer: D,
    handle: &str,
    make: impl FnOnce(&Used) -> Result<H>,
) -> Result<H, D::Error> {
    let number = u32::deserialize(deserializer)?;
    let used = take(number, handle).map_err(noted).map_err(de::Error::custom)?;
    make(&used).map_err(|error| de::Error::custom(noted(format!("{handle}: {error}"))))
}

fn take(number: u32, handle: &str) -> Result<Used, String> {
    INCOMING.with_borrow_mut(|incoming| {
        let Some(Incoming { cores, tickets, promises }) = incoming else {
            return Err(format!(
                "{handle}: handles come as the argument of a child's function, or by `recv_handle` of a \
                 pipe, and in no other way"
            ));
        };
        let place = tickets.get_mut(number as usize);
        let found = place.and_then(|ticket| ticket.take_if(|ticket| ticket.handle == handle));
        let ticket = found.ok_or_else(|| format!("{handle}: no such handle was handed over"))?;
        let core = cores.get(ticket.segment).cloned();
        let core = core.ok_or_else(|| format!("{handle}: its segment was not handed over"))?;
        let promise = promises.as_ref().map(|promises| promises.of(ticket.segment));
        let promise = promise.map(|it| it.ok_or_else(|| format!("{handle}: nobody gives it")));
        Ok(Used { core, ticket, promise: promise.transpose()? })
    })
}

/// Makes what came known while `deserialise` runs. `promises`: roles are still to come.
pub(crate) fn unpack<R>(
    cores: Vec<Arc<Core>>,
    tickets: Vec<Ticket>,
    promises: Option<Promises>,
    deserialise: impl FnOnce() -> R,
) -> R {
    let incoming = Incoming { cores, tickets: tickets.into_iter().map(Some).collect(), promises };
    let _cleared = Cleared(&INCOMING, INCOMING.replace(Some(incoming)));
    deserialise()
}

/// In the child: lets go of what came and was not taken.
pub(crate) fn forget_rest() {
    drop(INCOMING.take());
}

impl Used {
    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.core
    }

    /// The block of the object and its serial number.
    pub(super) fn object(&self) -> Result<(u64, u32)> {
        self.ticket.object.ok_or(Error::Forked)
    }

    pub(super) fn is_sole(&self) -> bool {
        self.ticket.sole
    }

    /// By whom the role is still to be handed over, if the handle has one.
    pub(super) fn promise(&self) -> Option<Promise> {
        self.promise.clone()
    }

    /// What the type had to know.
    pub(crate) fn detail(&self) -> u64 {
        self.ticket.detail
    }
}

impl Core {
    /// In a child: a segment whose descriptor it inherited.
    pub(crate) fn inherited(file: OwnedFd, name: String, named: bool) -> Result<Self> {
        let mapping = Mapping::new(file, name)?;
        let geometry = Geometry::read(&mapping)?;
        Ok(Self::over(mapping, geometry, named))
    }

    /// The segment behind a descriptor that another process sent, of which this process takes part: one
    /// that it has mapped already, or that is among `received`, or else a new one.
    pub(crate) fn received(
        file: OwnedFd,
        name: &str,
        named: bool,
        received: &[Arc<Core>],
    ) -> Result<Arc<Core>> {
        let os = |error| Error::os("fstat", name)(error);
        let status = file::status(file.as_fd()).map_err(os)?;
        let is_it = |core: &Arc<Core>| {
            file::status(core.mapping().file()).is_ok_and(|known| status.is_same_file(&known))
        };
        let known = received.iter().cloned().chain(transfer::known()).find(is_it);
        let core = match known {
            Some(core) => core,
            None => {
                let begins = file::first_bytes(file.as_fd()).map_err(os)?;
                Geometry::recognise(name, status.size, begins)?;
                if !named && !file::has_sealed_size(file.as_fd()).map_err(os)? {
                    let problem = "its size can be changed";
                    return Err(Error::Corrupted { name: name.to_owned(), problem });
                }
                if named && status.reserved < status.size {
                    // As where it is opened by its name.
                    mapping::reserve(file.as_fd(), name, 0, status.size)?;
                }
                Arc::new(Self::inherited(file, name.to_owned(), named)?)
            }
        };
        core.membership()?;
        Ok(core)
    }
}
