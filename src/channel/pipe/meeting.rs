//! Where the two ends of a pipe meet to hand over what shared memory cannot hold.
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

use super::{PipeError, Reader, Writer};
use crate::channel::ChannelError;
use crate::channel::spsc::end::{FOREVER, NOW};
use crate::sys::descriptor::{Until, poll};
use crate::sys::rights::{Door, Line, random};
use crate::sys::time;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const LENGTH: usize = 48;
/// How often to look whether the other end is there at all, in nanoseconds.
const SLICE: u64 = 10_000_000;
/// How long who has come to a door may be silent, in nanoseconds: it may be a stranger.
const SILENCE: u64 = 1_000_000_000;

/// What the two meet for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Matter {
    /// A descriptor.
    Descriptor,
    /// A handle, of which the first descriptor says what it is.
    #[cfg(feature = "serde")]
    Handle,
}

impl Matter {
    /// What the message begins with: bytes that no text has.
    const fn mark(self) -> [u8; 8] {
        let letter = match self {
            Matter::Descriptor => b'f',
            #[cfg(feature = "serde")]
            Matter::Handle => b'h',
        };
        [0xff, 0xfe, letter, b'd', 0xc1, 0x9d, 0x00, 0x8e]
    }

    /// The next message is another one.
    fn other(self) -> PipeError {
        match self {
            Matter::Descriptor => PipeError::NotADescriptor,
            #[cfg(feature = "serde")]
            Matter::Handle => PipeError::NotAHandle,
        }
    }

    /// The message leads nowhere.
    pub(super) fn lost(self) -> PipeError {
        match self {
            Matter::Descriptor => PipeError::DescriptorLost,
            #[cfg(feature = "serde")]
            Matter::Handle => PipeError::HandleLost,
        }
    }

    /// The message was received by one who did not come.
    fn refused(self) -> PipeError {
        match self {
            Matter::Descriptor => PipeError::DescriptorRefused,
            #[cfg(feature = "serde")]
            Matter::Handle => {
                let reason = "it received bytes, or is in another network namespace";
                PipeError::HandleRefused(reason.to_owned())
            }
        }
    }
}

pub(super) fn os(call: &'static str) -> impl FnOnce(io::Error) -> PipeError {
    move |error| PipeError::Os { call, errno: error.raw_os_error().unwrap_or(0) }
}

/// A message that names a door.
#[derive(Clone, Copy)]
pub(super) struct Invitation([u8; LENGTH]);

impl Invitation {
    fn new(matter: Matter) -> Result<Self, PipeError> {
        let mut bytes: [u8; LENGTH] = random().map_err(os("getrandom"))?;
        bytes[..8].copy_from_slice(&matter.mark());
        Ok(Invitation(bytes))
    }

    fn read(message: &[u8], matter: Matter) -> Option<Self> {
        let bytes: [u8; LENGTH] = message.try_into().ok()?;
        bytes.starts_with(&matter.mark()).then_some(Invitation(bytes))
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
    /// Invites the other end, and serves whoever comes until that comes to something.
    pub(super) fn meet<R>(
        &mut self,
        matter: Matter,
        deadline: u64,
        mut serve: impl FnMut(&mut Self, &Line, &Invitation) -> Result<Option<R>, PipeError>,
    ) -> Result<R, PipeError> {
        let invitation = Invitation::new(matter)?;
        let door = Door::open(invitation.name()).map_err(os("bind"))?;
        self.send_invitation(&invitation.0, deadline)?;
        loop {
            // Before the look whether somebody has come: who takes the message comes first.
            let taken = self.is_drained()?;
            if let Some(line) = door.accept().map_err(os("accept"))? {
                if let Some(result) = serve(self, &line, &invitation)? {
                    return Ok(result);
                }
            } else if let Some(departure) = self.departed()? {
                return Err(ChannelError::Disconnected(departure).into());
            } else if taken {
                return Err(matter.refused());
            } else if time::now() >= deadline {
                return Err(ChannelError::TimedOut.into());
            } else {
                wait(door.as_fd(), deadline)?;
            }
        }
    }

    /// Gives the first descriptor to who has come, and says whether that is the one who was invited.
    pub(super) fn greet(
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
        Ok(line.say(invitation.answer(), Some(fd)).is_ok())
    }

    /// How many bytes are said at the other end of a line; 0 at its end. `None`: nothing until `deadline`.
    pub(super) fn hear(
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
    /// Goes to where the next message invites to, waiting for it until `deadline`, and takes the first
    /// descriptor. The message stays; once it leads nowhere, it is received.
    pub(super) fn come(
        &mut self,
        matter: Matter,
        deadline: u64,
    ) -> Result<(Line, OwnedFd), PipeError> {
        let message = self.look_at_next(deadline, |bytes| Invitation::read(bytes, matter))?;
        let invitation = message.ok_or_else(|| matter.other())?;
        let deadline = once_there(deadline);
        loop {
            let line = match Line::to(invitation.name()) {
                Ok(line) => line,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    self.release_next()?;
                    return Err(matter.lost());
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
            let mut answer = [0; 16];
            let heard = self.listen(&line, &mut answer, deadline, true)?;
            match heard {
                Some((16, Some(fd))) if answer == invitation.answer() => return Ok((line, fd)),
                None if self.has_no_sender()? => {
                    self.release_next()?;
                    return Err(matter.lost());
                }
                // The sender did not know whom it had before it.
                _ => {}
            }
        }
    }

    /// What the sender says over a line, with the descriptor that came with it. `None`: it says nothing
    /// more. `look`: neither does one who is known to be gone.
    pub(super) fn listen(
        &mut self,
        line: &Line,
        bytes: &mut [u8],
        deadline: u64,
        look: bool,
    ) -> Result<Option<(usize, Option<OwnedFd>)>, PipeError> {
        loop {
            match line.hear(bytes) {
                Ok(Some((0, _))) => return Ok(None),
                Ok(Some(heard)) => return Ok(Some(heard)),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
                Err(error) => return Err(os("recvmsg")(error)),
                Ok(None) => {}
            }
            if look && self.has_no_sender()? {
                return Ok(None);
            }
            if time::now() >= deadline {
                return Err(ChannelError::TimedOut.into());
            }
            wait(line.as_fd(), deadline)?;
        }
    }
}

/// Until when the receiver waits for what the sender, who has said that it is there, says next.
pub(super) fn once_there(deadline: u64) -> u64 {
    if deadline == NOW { FOREVER } else { deadline }
}
