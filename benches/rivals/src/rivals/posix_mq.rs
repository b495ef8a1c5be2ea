//! The message queues of POSIX: many to many, each message a system call at each end.

use std::ffi::CString;
use std::io::{Error, ErrorKind};
use std::mem::{MaybeUninit, size_of};
use std::sync::OnceLock;

use super::message_queue::{self, MessageQueue};
use crate::guard;
use crate::peer::{self, Plan};
use crate::work::{Result, WORDS, bytes_mut, same, word};

/// Why there is nothing of it in a row.
pub(crate) const ABSENT: (&str, &str) =
    ("POSIX message queue", "this system has none for this user");

/// A queue of words. Its name is taken away as soon as it is open.
struct Queue(libc::mqd_t);

impl Queue {
    fn new(flags: libc::c_int) -> std::io::Result<Self> {
        let name = CString::new(format!("/{}", guard::name("mq"))).map_err(Error::other)?;
        // SAFETY: all-zero bytes are a valid mq_attr.
        let mut shape: libc::mq_attr = unsafe { MaybeUninit::zeroed().assume_init() };
        // As many as an unprivileged process may have, up to as many as the others hold.
        let most = std::fs::read_to_string("/proc/sys/fs/mqueue/msg_max").unwrap_or_default();
        shape.mq_maxmsg = most.trim().parse().unwrap_or(10).min(WORDS as libc::c_long);
        shape.mq_msgsize = size_of::<u64>() as libc::c_long;
        let flags = flags | libc::O_RDWR | libc::O_CREAT | libc::O_EXCL | libc::O_CLOEXEC;
        // SAFETY: a name that ends, and a live shape.
        let queue = unsafe { libc::mq_open(name.as_ptr(), flags, 0o600, &raw const shape) };
        if queue < 0 {
            return Err(Error::last_os_error());
        }
        // SAFETY: a name that ends.
        unsafe { libc::mq_unlink(name.as_ptr()) };
        Ok(Queue(queue))
    }
}

impl MessageQueue for Queue {
    fn send(&self, word: u64) -> std::io::Result<()> {
        let bytes = word.to_ne_bytes();
        // SAFETY: as many live bytes as are said.
        let result = unsafe { libc::mq_send(self.0, bytes.as_ptr().cast(), bytes.len(), 0) };
        if result == 0 { Ok(()) } else { Err(Error::last_os_error()) }
    }

    fn recv(&self) -> std::io::Result<u64> {
        let mut word = [0];
        let bytes = bytes_mut(&mut word);
        // SAFETY: as many live bytes as are said, for the kernel to fill in; no priority is asked for.
        let length = unsafe {
            libc::mq_receive(self.0, bytes.as_mut_ptr().cast(), bytes.len(), std::ptr::null_mut())
        };
        if length == 8 { Ok(word[0]) } else { Err(Error::last_os_error()) }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        // SAFETY: opened by `new`, and closed once.
        unsafe { libc::mq_close(self.0) };
    }
}

/// Whether this process can have one.
pub(crate) fn is_here() -> bool {
    static HERE: OnceLock<bool> = OnceLock::new();
    *HERE.get_or_init(|| Queue::new(0).is_ok())
}

/// A word put and got, one process.
pub(crate) fn alone(plan: &Plan) -> Result<f64> {
    message_queue::alone(plan, &Queue::new(0)?)
}

/// Words one by one.
pub(crate) fn stream(plan: &Plan) -> Result<f64> {
    message_queue::stream(plan, &Queue::new(0)?)
}

/// Each of two processes has a thread that sends and one that receives.
pub(crate) fn two_two(plan: &Plan) -> Result<f64> {
    message_queue::two_two(plan, &Queue::new(0)?)
}

/// A word there and back, polling.
pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    rtt(plan, libc::O_NONBLOCK)
}

/// A word there and back, asleep while it travels.
pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
    rtt(plan, 0)
}

fn rtt(plan: &Plan, flags: libc::c_int) -> Result<f64> {
    let (there, back) = (Queue::new(flags)?, Queue::new(flags)?);
    let think = plan.think();
    let receive = |queue: &Queue| loop {
        match queue.recv() {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            other => return other,
        }
    };
    let pong = |n| {
        for _ in 0..n {
            let word = receive(&there)?;
            think.now();
            back.send(word)?;
        }
        Ok(n)
    };
    let ping = |n| {
        for i in 0..n {
            think.now();
            there.send(word(i))?;
            same(receive(&back)?, word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}
