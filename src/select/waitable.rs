//! Waiting for any of a list of things of all kinds.

use super::{Readiness, Select};
use crate::Result;
use crate::process::{Child, Process};
use crate::sys::time;
use crate::wait::{NEVER, Readable};
use std::fs::File;
use std::io::{PipeReader, Stdin};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::{ChildStderr, ChildStdout};
use std::time::Duration;

/// What [`wait_any`] can wait for: receiving ends, events, processes, and descriptors as the standard
/// library has them.
pub trait Waitable {
    /// Adds it to a set, and gives its index.
    ///
    /// # Errors
    /// As [`Select::recv`].
    fn add_to<'a>(&'a self, select: &mut Select<'a>) -> Result<usize>;
}

impl<T: Readable> Waitable for T {
    fn add_to<'a>(&'a self, select: &mut Select<'a>) -> Result<usize> {
        select.recv(self)
    }
}

macro_rules! descriptors {
    ($($type:ty),*) => {
        $(impl Waitable for $type {
            fn add_to<'a>(&'a self, select: &mut Select<'a>) -> Result<usize> {
                Ok(select.fd(self))
            }
        })*
    };
}

descriptors!(
    BorrowedFd<'_>,
    OwnedFd,
    File,
    PipeReader,
    Stdin,
    TcpListener,
    TcpStream,
    UdpSocket,
    UnixDatagram,
    UnixListener,
    UnixStream,
    ChildStdout,
    ChildStderr,
    Readiness
);

/// Ready once the child has ended; in any process that has a handle of it.
impl Waitable for Child {
    fn add_to<'a>(&'a self, select: &mut Select<'a>) -> Result<usize> {
        Ok(select.fd(self))
    }
}

/// As its [`Child`].
impl<R> Waitable for Process<R> {
    fn add_to<'a>(&'a self, select: &mut Select<'a>) -> Result<usize> {
        Ok(select.fd(self))
    }
}

/// Waits until at least one of `things` is ready, for at most `timeout` (`None`: without limit), and
/// gives the places in the list of all that are ready, in order. Empty: the time is over.
///
/// What is ready and how it is waited for, [`Select`] says; who waits for the same things again and
/// again is better served by one.
///
/// # Errors
/// [`Error::Closed`](crate::Error::Closed) where one is a handle that was closed, and as
/// [`Select::wait`].
///
/// # Blocking
/// Until something is ready, or the time is over.
///
/// # Examples
/// ```
/// use commons::{Event, Process, Reset, wait_any};
/// use std::time::Duration;
///
/// let event = Event::new(Reset::Manual)?;
/// let child = Process::spawn(|| ())?;
/// assert_eq!(wait_any(&[&event, &child], None)?, [1]);
/// assert_eq!(wait_any(&[&event], Some(Duration::ZERO))?, []);
/// event.set()?;
/// assert_eq!(wait_any(&[&event, &child], None)?, [0, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn wait_any(things: &[&dyn Waitable], timeout: Option<Duration>) -> Result<Vec<usize>> {
    let mut select = Select::new();
    for thing in things {
        thing.add_to(&mut select)?;
    }
    let deadline = timeout.map_or(NEVER, time::after);
    let Some(first) = select.wait_until(deadline)? else { return Ok(Vec::new()) };
    let mut ready = select.ready()?;
    if let Err(place) = ready.binary_search(&first) {
        // An event that was set and reset, or a message that somebody else has taken by now.
        ready.insert(place, first);
    }
    Ok(ready)
}
