//! Descriptors through a pipe.
//!
//! A descriptor is nothing that shared memory could hold: the kernel has to give it to the other
//! process, over a socket. A pair of sockets beside each pipe could not be there for pipes with a name,
//! and would leave a copy in every child that is forked meanwhile; taking it from the sender
//! (`pidfd_getfd`) is what debuggers may do, and a child may not do to its parent where the kernel guards
//! against it. So the two meet for each descriptor. The sender opens a door under a random name, sends
//! the name as a message, and waits; the receiver goes to the door that its next message names. So a
//! descriptor is paired with its message by the message itself, nothing is under way when neither is in
//! such a call, and all of it goes with the one that dies.
//!
//! Names can be seen by everybody (`/proc/net/unix`). So the message has two more numbers: by one the
//! receiver shows the sender that it has read it, by the other the sender shows the receiver that it has
//! written it.

use super::{Connection, PipeError, Reader, Writer};
use crate::channel::ChannelError;
use crate::channel::spsc::end::{FOREVER, NOW};
use crate::sys::descriptor::{Until, poll};
use crate::sys::rights::{Door, Line, random};
use crate::sys::time;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What the message of a descriptor begins with: bytes that no text has.
const MARK: [u8; 8] = [0xff, 0xfe, b'f', b'd', 0xc1, 0x9d, 0x00, 0x8e];
const LENGTH: usize = 48;
/// How often to look whether the other end is there at all, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// How long who has come to a door may be silent, in nanoseconds: it may be a stranger.
const SILENCE: u64 = 1_000_000_000;
/// The last word of the receiver.
const TAKEN: [u8; 1] = *b"!";

fn os(call: &'static str) -> impl FnOnce(io::Error) -> PipeError {
    move |error| PipeError::Os { call, errno: error.raw_os_error().unwrap_or(0) }
}

/// A message that names a door.
#[derive(Clone, Copy)]
struct Invitation([u8; LENGTH]);

impl Invitation {
    fn new() -> Result<Self, PipeError> {
        let mut bytes: [u8; LENGTH] = random().map_err(os("getrandom"))?;
        bytes[..8].copy_from_slice(&MARK);
        Ok(Invitation(bytes))
    }

    fn read(message: &[u8]) -> Option<Self> {
        let bytes: [u8; LENGTH] = message.try_into().ok()?;
        bytes.starts_with(&MARK).then_some(Invitation(bytes))
    }

    /// The name of the door.
    fn name(&self) -> &[u8; 16] {
        self.0[8..].first_chunk().unwrap_or(&[0; 16])
    }

    /// By what the receiver shows that it is meant.
    fn question(&self) -> &[u8] {
        &self.0[24..32]
    }

    /// By what the sender does.
    fn answer(&self) -> &[u8] {
        &self.0[32..]
    }
}

/// Waits a moment for a descriptor to be readable.
fn wait(fd: BorrowedFd<'_>, deadline: u64) -> Result<(), PipeError> {
    let slice = time::now().saturating_add(SLICE);
    poll(&[(fd, Until::Readable)], slice.min(deadline)).map(drop).map_err(os("poll"))
}

impl<T> Writer<T> {
    /// Gives the other end a copy of a descriptor: a file, a socket, whatever it is of. The other end
    /// takes it by [`Reader::recv_fd`]. When this returns, it has it, under a number of its own, and the
    /// caller's may be closed.
    ///
    /// Both processes are in one network namespace, for it goes over a socket. Memory of an element type
    /// or a process handle is better shared by the types of this crate.
    ///
    /// # Errors
    /// [`PipeError::DescriptorRefused`] where the other end received the message in another way, or did
    /// not get it from there; [`PipeError::Os`] where the system has no room for a socket; and as
    /// [`Writer::send_bytes`]. The other end has not got it then, unless it died just after it had.
    ///
    /// # Blocking
    /// Until the other end has taken it. So two that give each other one at the same time wait for ever,
    /// and so does a thread that is to take it itself. Ends when the other end goes, 10 ms later at most.
    ///
    /// # When a process dies
    /// Killed at whatever instruction, either one takes with it what was under way. The message of a
    /// dead sender stays, and the receiver is told that it leads nowhere.
    ///
    /// # Examples
    /// ```
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let (mut reader, mut writer) = commons::pipe::simplex::<()>()?;
    /// let child = commons::Process::spawn(move || {
    ///     let fd = reader.recv_fd().expect("the parent gives one");
    ///     UnixStream::from(fd).write_all(b"from the child").is_ok()
    /// })?;
    /// let (mut here, there) = UnixStream::pair()?;
    /// writer.send_fd(&there)?;
    /// drop(there);
    /// let mut text = String::new();
    /// here.read_to_string(&mut text)?;
    /// assert_eq!(text, "from the child");
    /// assert!(child.join()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn send_fd(&mut self, fd: impl AsFd) -> Result<(), PipeError> {
        self.send_fd_until(fd.as_fd(), FOREVER)
    }

    /// As [`Writer::send_fd`], waiting until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], after which a message may be left that leads nowhere; and as
    /// [`Writer::send_fd`].
    pub fn send_fd_timeout(&mut self, fd: impl AsFd, timeout: Duration) -> Result<(), PipeError> {
        self.send_fd_until(fd.as_fd(), time::after(timeout))
    }

    fn send_fd_until(&mut self, fd: BorrowedFd<'_>, deadline: u64) -> Result<(), PipeError> {
        let invitation = Invitation::new()?;
        let door = Door::open(invitation.name()).map_err(os("bind"))?;
        self.send_invitation(&invitation.0, deadline)?;
        loop {
            // Before the look whether somebody has come: who takes the message comes first.
            let taken = self.is_drained()?;
            if let Some(line) = door.accept().map_err(os("accept"))? {
                if self.serve(&line, &invitation, fd, deadline)? {
                    return Ok(());
                }
            } else if let Some(departure) = self.departed()? {
                return Err(ChannelError::Disconnected(departure).into());
            } else if taken {
                return Err(PipeError::DescriptorRefused);
            } else if time::now() >= deadline {
                return Err(ChannelError::TimedOut.into());
            } else {
                wait(door.as_fd(), deadline)?;
            }
        }
    }

    /// Gives the descriptor to who has come, and says whether it has taken it.
    fn serve(
        &mut self,
        line: &Line,
        invitation: &Invitation,
        fd: BorrowedFd<'_>,
        deadline: u64,
    ) -> Result<bool, PipeError> {
        let mut question = [0; 8];
        let silence = time::now().saturating_add(SILENCE).min(deadline);
        match self.hear(line, &mut question, silence)? {
            Some(8) if question == invitation.question() => {}
            _ => return Ok(false),
        }
        if line.say(invitation.answer(), Some(fd)).is_err() {
            return Ok(false);
        }
        Ok(self.hear(line, &mut [0], deadline)? == Some(1))
    }

    /// What is said at the other end of a line. `None`: nothing until `deadline`.
    fn hear(
        &mut self,
        line: &Line,
        bytes: &mut [u8],
        deadline: u64,
    ) -> Result<Option<usize>, PipeError> {
        loop {
            match line.hear(bytes) {
                Ok(Some((length, _))) => return Ok(Some(length)),
                Ok(None) => {}
                // It went away in the middle.
                Err(_) => return Ok(Some(0)),
            }
            if let Some(departure) = self.departed()? {
                return Err(ChannelError::Disconnected(departure).into());
            }
            if time::now() >= deadline {
                return Ok(None);
            }
            wait(line.as_fd(), deadline)?;
        }
    }
}

impl<T> Reader<T> {
    /// Takes the descriptor that [`Writer::send_fd`] gives at the other end, waiting for it.
    ///
    /// It has a number of this process's own, and is closed by `exec`.
    ///
    /// # Errors
    /// [`PipeError::NotADescriptor`] where the next message is another one: that stays, to be received
    /// as what it is. [`PipeError::DescriptorLost`] where the one who sent it has died or given up since,
    /// or is in another network namespace; the message is received then. [`PipeError::Os`] where this
    /// process can have no more descriptors, for one; and as [`Reader::recv_bytes`].
    ///
    /// # Blocking
    /// While there is no message. Ends at once when the other end goes.
    pub fn recv_fd(&mut self) -> Result<OwnedFd, PipeError> {
        self.recv_fd_until(FOREVER)
    }

    /// As [`Reader::recv_fd`], if there is a message.
    ///
    /// # Errors
    /// [`ChannelError::Empty`], and as [`Reader::recv_fd`].
    ///
    /// # Blocking
    /// While the one who sent it hands it over, which waits for this already.
    pub fn try_recv_fd(&mut self) -> Result<OwnedFd, PipeError> {
        self.recv_fd_until(NOW)
    }

    /// As [`Reader::recv_fd`], waiting until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`ChannelError::TimedOut`], and as [`Reader::recv_fd`].
    pub fn recv_fd_timeout(&mut self, timeout: Duration) -> Result<OwnedFd, PipeError> {
        self.recv_fd_until(time::after(timeout))
    }

    fn recv_fd_until(&mut self, deadline: u64) -> Result<OwnedFd, PipeError> {
        let message = self.look_at_next(deadline, Invitation::read)?;
        let invitation = message.ok_or(PipeError::NotADescriptor)?;
        let deadline = if deadline == NOW { FOREVER } else { deadline };
        loop {
            let line = match Line::to(invitation.name()) {
                Ok(line) => line,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.release_next()?;
                    return Err(PipeError::DescriptorLost);
                }
                // Strangers stand in line.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                    continue;
                }
                Err(error) => return Err(os("connect")(error)),
            };
            // What comes of it, the answer says.
            let _ = line.say(invitation.question(), None);
            let Some(fd) = self.take_from(&line, &invitation, deadline)? else { continue };
            self.release_next()?;
            let _ = line.say(&TAKEN, None);
            return Ok(fd);
        }
    }

    /// Takes what comes over a line. `None`: the sender did not know whom it had before it.
    fn take_from(
        &mut self,
        line: &Line,
        invitation: &Invitation,
        deadline: u64,
    ) -> Result<Option<OwnedFd>, PipeError> {
        let mut answer = [0; 16];
        loop {
            match line.hear(&mut answer) {
                Ok(Some((16, Some(fd)))) if answer == invitation.answer() => return Ok(Some(fd)),
                Ok(Some(_)) => return Ok(None),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(os("recvmsg")(error)),
                Ok(None) => {}
            }
            if self.has_no_sender()? {
                self.release_next()?;
                return Err(PipeError::DescriptorLost);
            }
            if time::now() >= deadline {
                return Err(ChannelError::TimedOut.into());
            }
            wait(line.as_fd(), deadline)?;
        }
    }
}

impl<T> Connection<T> {
    /// As [`Writer::send_fd`].
    ///
    /// # Errors
    /// As it.
    pub fn send_fd(&mut self, fd: impl AsFd) -> Result<(), PipeError> {
        self.writer.send_fd(fd)
    }

    /// As [`Writer::send_fd_timeout`].
    ///
    /// # Errors
    /// As it.
    pub fn send_fd_timeout(&mut self, fd: impl AsFd, timeout: Duration) -> Result<(), PipeError> {
        self.writer.send_fd_timeout(fd, timeout)
    }

    /// As [`Reader::recv_fd`].
    ///
    /// # Errors
    /// As it.
    pub fn recv_fd(&mut self) -> Result<OwnedFd, PipeError> {
        self.reader.recv_fd()
    }

    /// As [`Reader::try_recv_fd`].
    ///
    /// # Errors
    /// As it.
    pub fn try_recv_fd(&mut self) -> Result<OwnedFd, PipeError> {
        self.reader.try_recv_fd()
    }

    /// As [`Reader::recv_fd_timeout`].
    ///
    /// # Errors
    /// As it.
    pub fn recv_fd_timeout(&mut self, timeout: Duration) -> Result<OwnedFd, PipeError> {
        self.reader.recv_fd_timeout(timeout)
    }
}
