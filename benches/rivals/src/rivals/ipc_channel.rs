//! ipc-channel: messages through sockets, large ones through memory that travels with them.

use ipc_channel::TryRecvError;
use ipc_channel::ipc::{self, IpcReceiver, IpcSharedMemory};

use crate::peer::{self, Plan};
use crate::work::{BATCH, Big, Checker, Result, Source, Trade, bytes, bytes_mut, same, word};

/// Words one by one.
pub(crate) fn stream_u64(plan: &Plan) -> Result<f64> {
    let (tx, rx) = ipc::channel::<u64>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take(rx.recv()?);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.send(word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Small structs.
pub(crate) fn objects(plan: &Plan) -> Result<f64> {
    let (tx, rx) = ipc::channel::<Trade>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            checker.take_trade(&rx.recv()?);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            tx.send(Trade::new(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// Words in batches, as bytes: the lighter of its two channels.
pub(crate) fn stream_batch(plan: &Plan) -> Result<f64> {
    let (tx, rx) = ipc::bytes_channel()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut batch = [0; BATCH];
        for _ in 0..n / BATCH as u64 {
            bytes_mut(&mut batch).copy_from_slice(&rx.recv()?);
            checker.take_all(&batch);
        }
        checker.count()
    };
    let source = Source::<BATCH>::new();
    let produce = move |n| {
        for i in 0..n / BATCH as u64 {
            tx.send(bytes(source.at(i)))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// A word there and back, polling.
pub(crate) fn rtt_poll(plan: &Plan) -> Result<f64> {
    rtt(plan, |rx| {
        loop {
            match rx.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Empty) => {}
                Err(error) => return Err(error.into()),
            }
        }
    })
}

/// A word there and back, asleep while it travels.
pub(crate) fn rtt_park(plan: &Plan) -> Result<f64> {
    rtt(plan, |rx| Ok(rx.recv()?))
}

fn rtt(plan: &Plan, receive: impl Fn(&IpcReceiver<u64>) -> Result<u64> + Copy) -> Result<f64> {
    let (tx, rx) = ipc::channel::<u64>()?;
    let (answer, answers) = ipc::channel::<u64>()?;
    let think = plan.think();
    let pong = move |n| {
        for _ in 0..n {
            let item = receive(&rx)?;
            think.now();
            answer.send(item)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        for i in 0..n {
            think.now();
            tx.send(word(i))?;
            same(receive(&answers)?, word(i))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(pong), || Ok(ping))
}

/// 64 KiB in memory of their own that travels with the message.
pub(crate) fn inplace_64k(plan: &Plan) -> Result<f64> {
    const LAST: usize = size_of::<Big>() - 8;
    let (tx, rx) = ipc::channel::<IpcSharedMemory>()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        for _ in 0..n {
            let message = rx.recv()?;
            let first = u64::from_ne_bytes(message[..8].try_into()?);
            let last = u64::from_ne_bytes(message[LAST..].try_into()?);
            checker.take_big(first, last);
        }
        checker.count()
    };
    let produce = move |n| {
        for i in 0..n {
            let mut message = IpcSharedMemory::from_byte(0, size_of::<Big>());
            // SAFETY: nobody else has this memory yet.
            let bytes = unsafe { message.deref_mut() };
            bytes[..8].copy_from_slice(&word(i).to_ne_bytes());
            bytes[LAST..].copy_from_slice(&(!word(i)).to_ne_bytes());
            tx.send(message)?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}

/// 1 KiB messages, as bytes.
pub(crate) fn copy_1k(plan: &Plan) -> Result<f64> {
    let (tx, rx) = ipc::bytes_channel()?;
    let consume = move |n| {
        let mut checker = Checker::default();
        let mut message = [0; 128];
        for _ in 0..n {
            bytes_mut(&mut message).copy_from_slice(&rx.recv()?);
            checker.take_kib(&message);
        }
        checker.count()
    };
    let source = Source::<128>::new();
    let produce = move |n| {
        for i in 0..n {
            tx.send(bytes(source.at(i)))?;
        }
        Ok(n)
    };
    peer::forked(plan, || Ok(consume), || Ok(produce))
}
