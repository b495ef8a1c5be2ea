//! Handles through a pipe: ends of pipes and other channels, locks, cells.
//!
//! The two [meet](super::meeting) as for a descriptor, and the first one is that of a *letter*: what type
//! the handle has, its bytes, and the tickets of what is in it (`segment/handed.rs`). Then
//!
//! 1. the receiver compares the type, asks for the descriptor of each segment, takes part in those that
//!    it does not have yet, and makes the handle: it holds the objects then, and of a role, which one
//!    process has at a time, it has a promise;
//! 2. it says that it is ready, and its stamp in each segment;
//! 3. the sender drops the handle in transfer mode: a role is the receiver's by one store;
//! 4. it says so, and the promises are kept.
//!
//! Before step 3 either one may refuse or be killed, and the sender has what it had. In it, each role is
//! the sender's or the receiver's, so the death of that one is told to who is at the other end; a receiver
//! whose sender has died without having spoken gives up what it had been given by then. After it all is
//! the receiver's.

#![cfg(feature = "serde")]

use super::meeting::{Matter, once_there, os};
use super::{Connection, PipeError, Reader, Undelivered, Writer};
use crate::Result;
use crate::channel::ChannelError;
use crate::channel::spsc::end::{FOREVER, NOW};
use crate::member::Stamp;
use crate::segment::{self, Core, Outgoing, Promises, Ticket};
use crate::sys::rights::Line;
use crate::sys::{file, time};
use serde::{Serialize, de::DeserializeOwned};
use std::any::type_name;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

/// What the two say, by the first byte. To the sender: which segment's descriptor is wanted, as four
/// bytes.
const SEGMENT: u8 = 1;
/// To the sender: the handle is made; the stamps, six bytes each.
const READY: u8 = 2;
/// To the sender: why it is not.
const FAILED: u8 = 3;
/// To the receiver: the handle is its own.
const YOURS: u8 = 4;
/// Bytes of a stamp.
const STAMP: usize = 6;
/// Bytes of a reason at most.
const REASON: usize = 500;

/// What a handle is.
#[derive(serde::Serialize, serde::Deserialize)]
struct Letter {
    handle: String,
    segments: Vec<Place>,
    tickets: Vec<Ticket>,
    bytes: Vec<u8>,
}

/// A segment.
#[derive(serde::Serialize, serde::Deserialize)]
struct Place {
    name: String,
    named: bool,
    /// The stamp of the sender.
    giver: (u16, u32),
}

/// The segments of a handle, and the stamp of the receiver in each.
type Heirs = Vec<(Arc<Core>, Stamp)>;

fn refused(reason: impl ToString) -> PipeError {
    PipeError::HandleRefused(reason.to_string())
}

impl Letter {
    fn of<H: Serialize>(handle: &H) -> Result<(Self, Vec<Arc<Core>>), PipeError> {
        let (bytes, Outgoing { cores, tickets }) = segment::collect(|| postcard::to_stdvec(handle));
        let not = |error| PipeError::NotSerialised(segment::problem(error));
        let bytes = bytes.map_err(not)?;
        let place = |core: &Arc<Core>| {
            let Stamp { index, generation } = core.membership()?.stamp();
            let (name, named) = (core.name().to_owned(), core.is_named());
            Ok(Place { name, named, giver: (index, generation) })
        };
        let segments = cores.iter().map(place).collect::<Result<_>>();
        let segments = segments.map_err(|error| PipeError::NotSerialised(error.to_string()))?;
        let handle = type_name::<H>().to_owned();
        Ok((Letter { handle, segments, tickets, bytes }, cores))
    }

    fn write(&self) -> Result<File, PipeError> {
        let error = |error: postcard::Error| PipeError::NotSerialised(error.to_string());
        let bytes = postcard::to_stdvec(self).map_err(error)?;
        let file = File::from(file::memory(c"commons handle").map_err(os("memfd_create"))?);
        file.write_all_at(&bytes, 0).map_err(os("pwrite"))?;
        Ok(file)
    }

    fn read(fd: &OwnedFd) -> Result<Self, String> {
        let size = file::status(fd.as_fd()).map_err(|error| error.to_string())?.size;
        let bytes = file::read(fd.as_fd(), size).map_err(|error| error.to_string())?;
        postcard::from_bytes(&bytes).map_err(|error| error.to_string())
    }

    /// The stamps of the sender.
    fn givers(&self) -> Vec<Stamp> {
        let giver = |place: &Place| Stamp { index: place.giver.0, generation: place.giver.1 };
        self.segments.iter().map(giver).collect()
    }
}

/// The stamps in what a receiver says that is ready, one for each segment.
fn stamps(bytes: &[u8], cores: &[Arc<Core>]) -> Option<Heirs> {
    let (stamps, []) = bytes.as_chunks::<STAMP>() else { return None };
    let stamps = stamps.iter().map(|&[a, b, c, d, e, f]| Stamp {
        index: u16::from_le_bytes([a, b]),
        generation: u32::from_le_bytes([c, d, e, f]),
    });
    (stamps.len() == cores.len()).then(|| cores.iter().cloned().zip(stamps).collect())
}

impl<T> Writer<T> {
    /// Gives the other end a handle of this crate: an end of a pipe, a queue or a ring, a lock, a cell, a
    /// segment; or several, in a tuple or any other value of a serde type. The other end takes it by
    /// [`Reader::recv_handle`], as a value of the same type. What may be the argument of
    /// [`Process::call`](crate::Process::call) may be given so. (Sockets and files are given by
    /// [`Writer::send_fd`].)
    ///
    /// When this returns, the handle is the other process's. An end of which there is one has moved: who
    /// is at its other end goes on with the new process, and sees no end of file in between. What can be
    /// shared has another handle there. A [`Writer`] stays one that sends, and a [`Reader`] one that
    /// receives.
    ///
    /// Both processes are in one network namespace, as for [`Writer::send_fd`]; both have the permission
    /// to open the shared memory behind the handle.
    ///
    /// # Errors
    /// The handle comes back in each of them. [`PipeError::NotSerialised`] where it is no longer this process's
    /// own, for one: nothing was sent. [`PipeError::HandleRefused`] where the other end received the
    /// message in another way, or could not make the handle of what came. [`PipeError::Os`] where the
    /// system has no room for a socket; and as [`Writer::send_bytes`].
    ///
    /// # Blocking
    /// Until the other end has taken it, as [`Writer::send_fd`].
    ///
    /// # When a process dies
    /// Killed at whatever instruction, the sender or the receiver has the handle; if that is the dead one,
    /// who is at the other end of it is told so like of every death. A receiver that is killed before it
    /// was ready leaves it to the sender, who gets it back. A sender that is killed takes with it what it
    /// had not handed over, and the receiver is told that the message leads nowhere.
    ///
    /// # Examples
    /// ```
    /// use commons::pipe::{Connection, pipe, simplex};
    ///
    /// // A worker that is told later whom to talk to.
    /// let (mut control, mut orders) = pipe::<()>()?;
    /// let worker = commons::Process::spawn(move || {
    ///     while let Ok(mut client) = orders.recv_handle::<Connection<u32>>() {
    ///         let number = client.recv().expect("the client asks");
    ///         client.send(&(number + 1)).expect("the client waits");
    ///     }
    /// })?;
    /// let (mut here, there) = pipe::<u32>()?;
    /// control.send_handle(there)?;
    /// here.send(&41)?;
    /// assert_eq!(here.recv()?, 42);
    /// assert!(here.recv().unwrap_err().is_end_of_file());
    /// drop(control);
    /// worker.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_handle<H: Serialize>(&mut self, handle: H) -> Result<(), Undelivered<H>> {
        self.send_handle_until(handle, FOREVER)
    }

    /// As [`Writer::send_handle`], waiting until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], after which a message may be left that leads nowhere;
    /// and as [`Writer::send_handle`].
    pub fn send_handle_timeout<H: Serialize>(
        &mut self,
        handle: H,
        timeout: Duration,
    ) -> Result<(), Undelivered<H>> {
        self.send_handle_until(handle, time::after(timeout))
    }

    fn send_handle_until<H: Serialize>(
        &mut self,
        handle: H,
        deadline: u64,
    ) -> Result<(), Undelivered<H>> {
        let mut handle = Some(handle);
        let handed = self.meet_for(&mut handle, deadline);
        match (handed, handle) {
            (Err(reason), Some(value)) => Err(Undelivered { value, reason }),
            (Ok(Err(panic)), _) => std::panic::resume_unwind(panic),
            _ => Ok(()),
        }
    }

    /// Gives what is in `handle`, or leaves it there; and tells of a panic of a destructor in it.
    fn meet_for<H: Serialize>(
        &mut self,
        handle: &mut Option<H>,
        deadline: u64,
    ) -> Result<std::thread::Result<()>, PipeError> {
        let Some(content) = &*handle else { return Ok(Ok(())) };
        let (letter, cores) = Letter::of(content)?;
        let letter = letter.write()?;
        self.meet(Matter::Handle, deadline, |writer, line, invitation| {
            if !writer.greet(line, invitation, letter.as_fd(), deadline)? {
                return Ok(None);
            }
            let Some(heirs) = writer.prepare(line, &cores, deadline)? else { return Ok(None) };
            let handed = segment::hand_roles_over(&heirs, handle.take());
            // One that does not hear it is gone, and has what it has like all the dead.
            let _ = line.say(&[YOURS], None);
            Ok(Some(handed))
        })
    }

    /// Gives the descriptors that the receiver asks for, until it is ready: then, its stamps. `None`: it
    /// went away.
    fn prepare(
        &mut self,
        line: &Line,
        cores: &[Arc<Core>],
        deadline: u64,
    ) -> Result<Option<Heirs>, PipeError> {
        let mut bytes = vec![0; (1 + STAMP * cores.len()).max(1 + REASON)];
        loop {
            let Some(length) = self.hear(line, &mut bytes, deadline)? else {
                return Err(ChannelError::TimedOut.into());
            };
            match bytes[..length] {
                [SEGMENT, a, b, c, d] => {
                    let number = u32::from_le_bytes([a, b, c, d]);
                    let Some(core) = cores.get(number as usize) else { return Ok(None) };
                    if line.say(&[SEGMENT], Some(core.mapping().file())).is_err() {
                        return Ok(None);
                    }
                }
                [READY, ref said @ ..] => return Ok(stamps(said, cores)),
                [FAILED, ref reason @ ..] => return Err(refused(String::from_utf8_lossy(reason))),
                _ => return Ok(None),
            }
        }
    }
}

impl<T> Reader<T> {
    /// Takes the handle that [`Writer::send_handle`] gives at the other end, waiting for it.
    ///
    /// # Errors
    /// [`PipeError::NotAHandle`] where the next message is another one, and [`PipeError::OtherHandle`]
    /// where it is a handle of another type: the message stays, to be received as what it is.
    /// [`PipeError::HandleLost`] where the one who sent it has died or given up since, or is in another
    /// network namespace; the message is received then. [`PipeError::NotDeserialised`] where it cannot
    /// be made here, which the sender is told, who keeps it; the message is received. [`PipeError::Os`] where
    /// this process can have no more descriptors, for one; and as [`Reader::recv_bytes`].
    ///
    /// # Blocking
    /// While there is no message, and, whatever the timeout, while the sender lets go of the handle, when
    /// everything is made. Ends when the other end goes.
    ///
    /// # When a process dies
    /// As [`Writer::send_handle`].
    pub fn recv_handle<H: DeserializeOwned>(&mut self) -> Result<H, PipeError> {
        self.recv_handle_until(FOREVER)
    }

    /// As [`Reader::recv_handle`], if there is a message.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Reader::recv_handle`].
    ///
    /// # Blocking
    /// While the one who sent it hands it over, which waits for this already.
    pub fn try_recv_handle<H: DeserializeOwned>(&mut self) -> Result<H, PipeError> {
        self.recv_handle_until(NOW)
    }

    /// As [`Reader::recv_handle`], waiting until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Reader::recv_handle`].
    pub fn recv_handle_timeout<H: DeserializeOwned>(
        &mut self,
        timeout: Duration,
    ) -> Result<H, PipeError> {
        self.recv_handle_until(time::after(timeout))
    }

    fn recv_handle_until<H: DeserializeOwned>(&mut self, deadline: u64) -> Result<H, PipeError> {
        let (line, fd) = self.come(Matter::Handle, deadline)?;
        let deadline = once_there(deadline);
        let letter = match Letter::read(&fd) {
            Ok(letter) => letter,
            Err(problem) => return self.fail(&line, problem),
        };
        drop(fd);
        let wanted = type_name::<H>();
        if letter.handle != wanted {
            return Err(PipeError::OtherHandle { found: letter.handle, wanted });
        }
        let cores = match self.segments(&line, &letter.segments, deadline) {
            Ok(cores) => cores,
            Err(PipeError::HandleRefused(problem)) => return self.fail(&line, problem),
            Err(error) => {
                if error == PipeError::HandleLost {
                    self.release_next()?;
                }
                return Err(error);
            }
        };
        let mut ready = vec![READY];
        for core in &cores {
            let stamp = match core.membership() {
                Ok(membership) => membership.stamp(),
                Err(error) => return self.fail(&line, error.to_string()),
            };
            ready.extend(stamp.index.to_le_bytes());
            ready.extend(stamp.generation.to_le_bytes());
        }
        let promises = Promises::new(letter.givers());
        let Letter { tickets, bytes, .. } = letter;
        let made = segment::unpack(cores, tickets, Some(promises.clone()), || {
            postcard::from_bytes(&bytes)
        });
        let handle: H = match made {
            Ok(handle) => handle,
            Err(error) => return self.fail(&line, segment::problem(error)),
        };
        // The line's end says whether it was heard. From here on the sender may have handed everything
        // over, and may be gone: the line alone tells whether it has said so.
        let _ = line.say(&ready, None);
        let mut word = [0];
        let heard = self.listen(&line, &mut word, FOREVER, false)?;
        self.release_next()?;
        if heard.is_none() || word != [YOURS] {
            return Err(Matter::Handle.lost());
        }
        promises.are_kept();
        Ok(handle)
    }

    /// The segments that the sender has, of which this process takes part.
    fn segments(
        &mut self,
        line: &Line,
        places: &[Place],
        deadline: u64,
    ) -> Result<Vec<Arc<Core>>, PipeError> {
        let mut cores = Vec::new();
        for (number, Place { name, named, .. }) in (0u32..).zip(places) {
            let [a, b, c, d] = number.to_le_bytes();
            let _ = line.say(&[SEGMENT, a, b, c, d], None);
            let heard = self.listen(line, &mut [0], deadline, true)?;
            let Some((1, Some(fd))) = heard else { return Err(Matter::Handle.lost()) };
            cores.push(Core::received(fd, name, *named, &cores).map_err(refused)?);
        }
        Ok(cores)
    }

    /// Tells the sender why there will be no handle, and receives the message.
    fn fail<H>(&mut self, line: &Line, problem: String) -> Result<H, PipeError> {
        let reason = problem.bytes().take(REASON);
        let _ = line.say(&[FAILED].into_iter().chain(reason).collect::<Vec<u8>>(), None);
        self.release_next()?;
        Err(PipeError::NotDeserialised(problem))
    }
}

impl<T> Connection<T> {
    /// As [`Writer::send_handle`].
    ///
    /// # Errors
    /// As it.
    pub fn send_handle<H: Serialize>(&mut self, handle: H) -> Result<(), Undelivered<H>> {
        self.writer.send_handle(handle)
    }

    /// As [`Writer::send_handle_timeout`].
    ///
    /// # Errors
    /// As it.
    pub fn send_handle_timeout<H: Serialize>(
        &mut self,
        handle: H,
        timeout: Duration,
    ) -> Result<(), Undelivered<H>> {
        self.writer.send_handle_timeout(handle, timeout)
    }

    /// As [`Reader::recv_handle`].
    ///
    /// # Errors
    /// As it.
    pub fn recv_handle<H: DeserializeOwned>(&mut self) -> Result<H, PipeError> {
        self.reader.recv_handle()
    }

    /// As [`Reader::try_recv_handle`].
    ///
    /// # Errors
    /// As it.
    pub fn try_recv_handle<H: DeserializeOwned>(&mut self) -> Result<H, PipeError> {
        self.reader.try_recv_handle()
    }

    /// As [`Reader::recv_handle_timeout`].
    ///
    /// # Errors
    /// As it.
    pub fn recv_handle_timeout<H: DeserializeOwned>(
        &mut self,
        timeout: Duration,
    ) -> Result<H, PipeError> {
        self.reader.recv_handle_timeout(timeout)
    }
}
