//! Descriptors through a pipe: one goes over the socket at which its two ends [meet](super::meeting).

use super::meeting::{Invitation, Matter};
use super::{Connection, PipeError, Reader, Writer};
use crate::channel::spsc::end::{FOREVER, NOW};
use crate::sys::rights::Line;
use crate::sys::time;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// The last word of the receiver.
const TAKEN: [u8; 1] = *b"!";

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
    /// [`TimedOut`](crate::ChannelError::TimedOut), after which a message may be left that leads nowhere;
    /// and as [`Writer::send_fd`].
    pub fn send_fd_timeout(&mut self, fd: impl AsFd, timeout: Duration) -> Result<(), PipeError> {
        self.send_fd_until(fd.as_fd(), time::after(timeout))
    }

    fn send_fd_until(&mut self, fd: BorrowedFd<'_>, deadline: u64) -> Result<(), PipeError> {
        self.meet(Matter::Descriptor, deadline, |writer, line, invitation| {
            let taken = writer.give_fd(line, invitation, fd, deadline)?;
            Ok(taken.then_some(()))
        })
    }

    /// Gives the descriptor to who has come, and says whether it has taken it.
    fn give_fd(
        &mut self,
        line: &Line,
        invitation: &Invitation,
        fd: BorrowedFd<'_>,
        deadline: u64,
    ) -> Result<bool, PipeError> {
        Ok(self.greet(line, invitation, fd, deadline)?
            && self.hear(line, &mut [0], deadline)? == Some(1))
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
    /// [`Empty`](crate::ChannelError::Empty), and as [`Reader::recv_fd`].
    ///
    /// # Blocking
    /// While the one who sent it hands it over, which waits for this already.
    pub fn try_recv_fd(&mut self) -> Result<OwnedFd, PipeError> {
        self.recv_fd_until(NOW)
    }

    /// As [`Reader::recv_fd`], waiting until `timeout` has passed on the monotonic clock.
    ///
    /// # Errors
    /// [`TimedOut`](crate::ChannelError::TimedOut), and as [`Reader::recv_fd`].
    pub fn recv_fd_timeout(&mut self, timeout: Duration) -> Result<OwnedFd, PipeError> {
        self.recv_fd_until(time::after(timeout))
    }

    fn recv_fd_until(&mut self, deadline: u64) -> Result<OwnedFd, PipeError> {
        let (line, fd) = self.come(Matter::Descriptor, deadline)?;
        self.release_next()?;
        // One that does not hear it is told by the message, which is gone.
        let _ = line.say(&TAKEN, None);
        Ok(fd)
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
