//! Rows over a pair of file descriptors, for the pipe and the socket.

use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use crate::peer::{self, Plan};
use crate::work::{BATCH, Checker, Result, Source, bytes, bytes_mut, same, word};

/// A way from one process to another: its reading and its writing end.
pub(super) type Way = (File, File);

/// Words one by one: one call each.
pub(super) fn stream_u64(plan: &Plan, (mut rx, mut tx): Way) -> Result<f64> {
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut item = [0];
        for _ in 0..n {
            rx.read_exact(bytes_mut(&mut item))?;
            checker.take(item[0]);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.write_all(&word(i).to_ne_bytes())?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Words in batches: one call for each batch.
pub(super) fn stream_batch(plan: &Plan, (mut rx, mut tx): Way) -> Result<f64> {
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut batch = [0; BATCH];
        for _ in 0..n / BATCH as u64 {
            rx.read_exact(bytes_mut(&mut batch))?;
            checker.take_all(&batch);
        }
        checker.count()
    };
    let source = Source::<BATCH>::new();
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            tx.write_all(bytes(source.at(i)))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages.
pub(super) fn copy_1k(plan: &Plan, (mut rx, mut tx): Way) -> Result<f64> {
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut message = [0; 128];
        for _ in 0..n {
            rx.read_exact(bytes_mut(&mut message))?;
            checker.take_kib(&message);
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.write_all(bytes(source.at(i)))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back; reading polls.
pub(super) fn rtt_poll(plan: &Plan, there: Way, back: Way) -> Result<f64> {
    for end in [&there.0, &back.0] {
        // SAFETY: the descriptor is open, and the call touches no memory.
        if unsafe { libc::fcntl(end.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) } != 0 {
            return Err(std::io::Error::last_os_error().into());
        }
    }
    rtt(plan, there, back)
}

/// A word there and back; reading sleeps.
pub(super) fn rtt_park(plan: &Plan, there: Way, back: Way) -> Result<f64> {
    rtt(plan, there, back)
}

fn rtt(plan: &Plan, there: Way, back: Way) -> Result<f64> {
    let ((mut rx, mut answer), (mut answers, mut tx)) = ((there.0, back.1), (back.0, there.1));
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            let item = receive(&mut rx)?;
            think.now();
            answer.write_all(&item)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            think.now();
            tx.write_all(&word(i).to_ne_bytes())?;
            same(u64::from_ne_bytes(receive(&mut answers)?), word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}

/// Reads one word, again and again while there is none.
fn receive(rx: &mut File) -> Result<[u8; 8]> {
    let mut item = [0; 8];
    loop {
        match rx.read_exact(&mut item) {
            Ok(()) => return Ok(item),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
}
