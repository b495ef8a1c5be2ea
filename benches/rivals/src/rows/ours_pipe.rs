//! `commons` in the rows `pipe/*` and `broadcast/*`.

use std::hint::spin_loop;

use commons::pipe::{self, Connection};
use commons::{ChannelError, WaitStrategy, broadcast};

use crate::ours::spawned;
use crate::peer::Plan;
use crate::work::{Result, SPOTS, WORDS, same, word};

/// Bytes of room each way.
const ROOM: usize = 16 << 10;

/// One turn of one end: receives and sends, or the other way round.
type Sends = fn(&mut Connection<u64>, u64) -> Result<()>;
type Receives = fn(&mut Connection<u64>) -> Result<u64>;

fn send_bytes(end: &mut Connection<u64>, word: u64) -> Result<()> {
    Ok(end.send_bytes(&word.to_le_bytes())?)
}

fn recv_bytes(end: &mut Connection<u64>) -> Result<u64> {
    let mut bytes = [0; 8];
    end.recv_bytes_into(&mut bytes, 0)?;
    Ok(u64::from_le_bytes(bytes))
}

/// Eight bytes there and back, polling: each turn through another pipe, as the limit takes another
/// line.
pub(super) fn rtt_poll(plan: &Plan) -> Result<f64> {
    round_trip(plan, WaitStrategy::Spin, SPOTS, send_bytes, recv_bytes)
}

/// The same as objects.
pub(super) fn rtt_poll_objects(plan: &Plan) -> Result<f64> {
    let (send, recv): (Sends, Receives) = (|end, word| Ok(end.send(&word)?), |end| Ok(end.recv()?));
    round_trip(plan, WaitStrategy::Spin, SPOTS, send, recv)
}

/// Eight bytes there and back, asleep while they travel.
pub(super) fn rtt_park(plan: &Plan) -> Result<f64> {
    round_trip(plan, WaitStrategy::Park, 1, send_bytes, recv_bytes)
}

fn round_trip(
    plan: &Plan,
    strategy: WaitStrategy,
    count: usize,
    send: impl Fn(&mut Connection<u64>, u64) -> Result<()> + Copy + Send + 'static,
    recv: impl Fn(&mut Connection<u64>) -> Result<u64> + Copy + Send + 'static,
) -> Result<f64> {
    let mut pipes = Vec::new();
    for _ in 0..count {
        pipes.push(pipe::with_capacity::<u64>(ROOM)?);
    }
    let (mut here, mut there): (Vec<_>, Vec<_>) = pipes.into_iter().unzip();
    for end in here.iter_mut().chain(&mut there) {
        end.set_wait_strategy(strategy);
    }
    let think = plan.think();
    let mut spots = (0..count).cycle();
    let mut their_spots = spots.clone();
    let pong = move |n| {
        let end = &mut there[their_spots.next().unwrap_or_default()];
        for _ in 0..n {
            let word = recv(end)?;
            think.now();
            send(end, word)?;
        }
        Ok(n)
    };
    let ping = move |n| {
        let end = &mut here[spots.next().unwrap_or_default()];
        for i in 0..n {
            think.now();
            send(end, word(i))?;
            same(recv(end)?, word(i))?;
        }
        Ok(n)
    };
    spawned(plan, || Ok(pong), || Ok(ping))
}

/// Words one by one to two receivers. Each takes what it comes in time for, and what it misses is
/// told: together that is every word.
pub(super) fn broadcast(plan: &Plan) -> Result<f64> {
    let (mut sender, receiver) = broadcast::channel::<u64>(WORDS)?;
    let mut receivers = [receiver.clone(), receiver];
    let mut done = 0;
    let consume = move |n| {
        done += n;
        while receivers.iter().any(|receiver| receiver.position() < done) {
            for receiver in &mut receivers {
                let number = receiver.position();
                if number == done {
                    continue;
                }
                match receiver.try_recv() {
                    Ok(found) => same(found, word(number))?,
                    Err(ChannelError::Lagged(_)) => {}
                    Err(ChannelError::Empty) => spin_loop(),
                    Err(other) => return Err(other.into()),
                }
            }
        }
        Ok(n)
    };
    let mut next = 0;
    let produce = move |n| {
        for _ in 0..n {
            sender.send(word(next))?;
            next += 1;
        }
        Ok(n)
    };
    spawned(plan, || Ok(consume), || Ok(produce))
}
