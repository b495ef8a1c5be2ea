//! Handing a descriptor to another process: the two meet at a socket whose name they alone know.
//!
//! The name is in the abstract namespace, so nothing is left of it when its process ends, at whatever
//! instruction. Descriptors of this module are closed in forked children: none of them keeps what is on
//! its way alive beyond its two ends.

#![allow(unsafe_code, reason = "system calls")]

use super::fork::PrivateDescriptor;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// What the names of all doors begin with.
const PREFIX: &[u8; 10] = b"\0commons-d";
/// Room for one descriptor beside a message.
const CONTROL: usize = 24;

/// Random bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: as many live bytes as are said. Up to 256 come whole.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if length == N as isize { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

fn socket() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: takes integers.
    let fd = super::check(unsafe { libc::socket(libc::AF_UNIX, kind, 0) })?;
    // SAFETY: the system call made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The address of a name, and its length.
fn address(name: &[u8; 16]) -> (libc::sockaddr_un, libc::socklen_t) {
    // SAFETY: all-zero bytes are a valid sockaddr_un.
    let mut address: libc::sockaddr_un = unsafe { core::mem::zeroed() };
    address.sun_family = libc::AF_UNIX as libc::sa_family_t;
    // Only what is below 128, so that tools can print it.
    let letters = name.iter().flat_map(|byte| [b'a' + (byte >> 4), b'a' + (byte & 15)]);
    let bytes = PREFIX.iter().copied().chain(letters);
    let mut length = 0;
    for (place, byte) in address.sun_path.iter_mut().zip(bytes) {
        *place = byte as libc::c_char;
        length += 1;
    }
    (address, (size_of::<libc::sa_family_t>() + length) as libc::socklen_t)
}

/// `None` where it would have to wait.
fn unless_empty<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the one who has the descriptor waits for the other.
#[derive(Debug)]
pub(crate) struct Door(PrivateDescriptor);

impl Door {
    /// Opens it under a name.
    pub(crate) fn open(name: &[u8; 16]) -> io::Result<Self> {
        let door = PrivateDescriptor::open(socket)?;
        let (address, length) = address(name);
        let fd = door.as_fd().as_raw_fd();
        // SAFETY: a live address of that length.
        super::check(unsafe { libc::bind(fd, (&raw const address).cast(), length) })?;
        // SAFETY: takes integers.
        super::check(unsafe { libc::listen(fd, 8) })?;
        Ok(Door(door))
    }

    /// Who has come next, if anybody has.
    pub(crate) fn accept(&self) -> io::Result<Option<Line>> {
        let fd = self.0.as_fd().as_raw_fd();
        let accepted = PrivateDescriptor::open(|| {
            let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
            let none = core::ptr::null_mut();
            // SAFETY: no address is asked for.
            let fd =
                super::check(unsafe { libc::accept4(fd, none, core::ptr::null_mut(), flags) })?;
            // SAFETY: the system call made this descriptor for us.
            Ok(unsafe { OwnedFd::from_raw_fd(fd) })
        });
        unless_empty(accepted.map(Line))
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Between the two, once they have met.
#[derive(Debug)]
pub(crate) struct Line(PrivateDescriptor);

impl Line {
    /// Goes to a door. [`io::ErrorKind::ConnectionRefused`]: there is none of this name.
    pub(crate) fn to(name: &[u8; 16]) -> io::Result<Self> {
        let line = PrivateDescriptor::open(socket)?;
        let (address, length) = address(name);
        let fd = line.as_fd().as_raw_fd();
        // SAFETY: a live address of that length.
        super::check(unsafe { libc::connect(fd, (&raw const address).cast(), length) })?;
        Ok(Line(line))
    }

    /// Says something to the other, with a descriptor if there is one.
    pub(crate) fn say(&self, bytes: &[u8], with: Option<BorrowedFd<'_>>) -> io::Result<()> {
        let mut control = Control([0; CONTROL]);
        let mut part =
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        let mut message = control.message(&mut part);
        if let Some(fd) = with {
            let length = size_of::<libc::c_int>() as libc::c_uint;
            // SAFETY: a header with its control bytes, whose length is set.
            let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
            // SAFETY: computes a length.
            let all = unsafe { libc::CMSG_LEN(length) };
            // SAFETY: computes an address.
            let body = unsafe { libc::CMSG_DATA(header) };
            let filled = libc::cmsghdr {
                cmsg_len: all as usize,
                cmsg_level: libc::SOL_SOCKET,
                cmsg_type: libc::SCM_RIGHTS,
            };
            // SAFETY: the control bytes have room for it and are aligned like it.
            unsafe { header.write(filled) };
            // SAFETY: behind the header there is room for a number.
            unsafe { body.cast::<libc::c_int>().write_unaligned(fd.as_raw_fd()) };
        } else {
            message.msg_controllen = 0;
        }
        let flags = libc::MSG_NOSIGNAL;
        // SAFETY: a live message, whose parts are live.
        let sent = unsafe { libc::sendmsg(self.0.as_fd().as_raw_fd(), &raw const message, flags) };
        if sent == bytes.len() as isize { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// What the other has said, if it has said anything: how many bytes, 0 where it is gone, and the
    /// descriptor that came with them.
    pub(crate) fn hear(&self, bytes: &mut [u8]) -> io::Result<Option<(usize, Option<OwnedFd>)>> {
        let mut control = Control([0; CONTROL]);
        let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
        let mut message = control.message(&mut part);
        let flags = libc::MSG_CMSG_CLOEXEC;
        // SAFETY: a live message, whose parts are live and may be written to.
        let length = unsafe { libc::recvmsg(self.0.as_fd().as_raw_fd(), &raw mut message, flags) };
        if length < 0 {
            return unless_empty(Err(io::Error::last_os_error()));
        }
        // SAFETY: a header with its control bytes, as the kernel filled them in.
        let header = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        let mut fd = None;
        if !header.is_null() {
            // SAFETY: within the control bytes, as the kernel filled them in.
            let filled = unsafe { header.read() };
            let kind = (filled.cmsg_level, filled.cmsg_type);
            if kind == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                // SAFETY: computes an address.
                let body = unsafe { libc::CMSG_DATA(header) };
                // SAFETY: the kernel wrote a number there.
                let number = unsafe { body.cast::<libc::c_int>().read_unaligned() };
                // SAFETY: the kernel made this descriptor for us.
                fd = Some(unsafe { OwnedFd::from_raw_fd(number) });
            }
        }
        if message.msg_flags & libc::MSG_CTRUNC != 0 {
            // There was one, and no room for it in this process.
            return Err(io::Error::from_raw_os_error(libc::EMFILE));
        }
        Ok(Some((length as usize, fd)))
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Bytes beside a message, aligned as their header is.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

impl Control {
    fn message(&mut self, part: &mut libc::iovec) -> libc::msghdr {
        // SAFETY: all-zero bytes are a valid msghdr.
        let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
        message.msg_iov = part;
        message.msg_iovlen = 1;
        message.msg_control = self.0.as_mut_ptr().cast();
        message.msg_controllen = CONTROL as _;
        message
    }
}
