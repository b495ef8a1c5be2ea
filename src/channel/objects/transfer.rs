//! Messages as bytes: into the ring and out of it.

#![allow(unsafe_code, reason = "copies messages in shared memory")]

use super::end::{End, NOW};
use super::parts::Parts;
use super::turn::Send;
use super::wait::{Message, NextPiece, Piece, needed, until};
use crate::channel::ChannelError;
use crate::channel::records::longest_row;
use crate::raw::objects::{Exchange, NOT_KEPT};
use crate::raw::record::{
    Found, GRAIN, Grain, Kind, LONGEST_PIECE, Nonsense, SMALL, Spot, find, grains, spot,
};
use crate::raw::ring::{Contradiction, Span};
use crate::sync::atomic::Ordering::{Relaxed, Release};
use crate::wait::NEVER;

/// A message that was taken out of the queue.
#[derive(Clone, Copy, Debug)]
pub(super) struct Taken {
    /// Where it is noted until it is finished.
    pub(super) entry: usize,
    /// By whom it is noted.
    pub(super) stamp: u64,
    pub(super) again: bool,
}

/// The next message cannot be taken before an entry is free.
struct NoEntry;

#[cold]
fn contradiction(_: Contradiction) -> ChannelError {
    ChannelError::Corrupted("the places of a queue are more than a capacity apart")
}

#[cold]
fn nonsense(_: Nonsense) -> ChannelError {
    ChannelError::Corrupted("what should be the header of a message is none")
}

impl Parts {
    /// Writes a grain that is the caller's.
    fn put(&self, slot: u64, grain: Grain) {
        // SAFETY: within the ring, and free: the lock's owner's alone.
        unsafe { self.grain(slot).write(grain) };
    }

    /// Writes a header, and a piece behind it, into grains that are the caller's.
    fn put_piece(&self, slot: u64, kind: Kind, piece: &[u8], extent: u64) {
        let to = self.behind(slot, piece.len()).as_ptr();
        // SAFETY: within the ring, and free: the lock's owner's alone.
        unsafe { to.copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
        self.put(slot, Grain::header(kind, piece.len(), extent));
    }

    /// Reads a grain that was published.
    fn read(&self, slot: u64) -> Grain {
        // SAFETY: within the ring, and published: the lock's owner's alone. Any bytes are a grain.
        unsafe { self.grain(slot).read() }
    }

    /// Appends a message, or a piece of one, that was found.
    fn append(&self, found: &Found, to: &mut Vec<u8>) {
        let length = found.header.length;
        if found.header.kind == Kind::Small {
            to.extend_from_slice(self.read(found.slot).bytes(length));
            return;
        }
        let from = self.behind(found.slot, length).as_ptr();
        // SAFETY: within the ring, and published: the lock's owner's alone.
        to.extend_from_slice(unsafe { core::slice::from_raw_parts(from, length) });
    }

    /// Keeps a message in the caller's entry if there is room, and gives what to note of it.
    fn keep(&self, entry: usize, message: &[u8]) -> u64 {
        if self.keep == 0 || message.len() > self.keep {
            return NOT_KEPT;
        }
        let to = self.kept(entry).as_ptr();
        // SAFETY: room for `keep` bytes, which are those of who has the entry.
        unsafe { to.copy_from_nonoverlapping(message.as_ptr(), message.len()) };
        message.len() as u64
    }
}

// ---- sending ----

/// Sends a message of these bytes.
pub(super) fn send(end: &End, bytes: &[u8], deadline: u64) -> Result<(), ChannelError> {
    let stamp = end.me()?;
    let exchange = end.exchange();
    let (length, limit) = (bytes.len() as u64, end.parts.longest);
    if length > limit {
        return Err(ChannelError::TooLarge { bytes: length, limit });
    }
    let small = bytes.len() <= SMALL;
    let size = if small { 1 } else { grains(length) };
    if size > longest_row(exchange.capacity) {
        return send_long(end, bytes, stamp, deadline);
    }
    let mut send = Send::new(end);
    loop {
        let Some(lock) = end.lock_write(deadline)? else { return Err(busy(deadline, true)) };
        let slot = exchange.free(size).map_err(contradiction)?.slot;
        let needed = needed(slot, exchange.capacity, size);
        let free = exchange.free(needed).map_err(contradiction)?;
        if free.count >= needed && !send.gives_way() {
            let Spot { pad, slot } = spot(free.slot, exchange.capacity, size);
            if pad > 0 {
                end.parts.put(free.slot, Grain::header(Kind::Pad, 0, 0));
            }
            if small {
                end.parts.put(slot, Grain::small(bytes));
            } else {
                end.parts.put_piece(slot, Kind::Whole, bytes, 0);
            }
            exchange.publish(needed, 1);
            drop(lock);
            Exchange::notify(&exchange.shared.items, end.is_registered());
            return Ok(());
        }
        let discarded = free.count < needed && discard(end)?;
        drop(lock);
        if !discarded {
            until(end, send.wants(stamp, size), deadline)?;
        }
    }
}

/// The owner of the write lock, who finds no room, discards the pieces of a message whose sender died in
/// the middle, where there is nothing else: a receiver would, but nobody may be about to receive from a
/// queue without messages. Says whether there were any.
#[cold]
fn discard(end: &End) -> Result<bool, ChannelError> {
    let exchange = end.exchange();
    // Whose sender lives is published by who has the lock, and that is the caller.
    let is_abandoned = || matches!(exchange.fill(), (1.., 0));
    if !is_abandoned() {
        return Ok(false);
    }
    // A receiver that has it discards them itself.
    let Some(lock) = end.lock_read(NOW)? else { return Ok(false) };
    let mut discarded = false;
    while is_abandoned() {
        let count = exchange.available().map_err(contradiction)?.count;
        exchange.release(count, 0);
        discarded = true;
    }
    drop(lock);
    Exchange::notify(&exchange.shared.space, end.is_registered());
    Ok(discarded)
}

/// Somebody had the lock for too long.
#[cold]
fn busy(deadline: u64, sends: bool) -> ChannelError {
    match (deadline, sends) {
        (NOW, true) => ChannelError::Full,
        (NOW, false) => ChannelError::Empty,
        _ => ChannelError::TimedOut,
    }
}

/// Says who is in the middle of a long message, for as long as it lives.
struct Writing<'a>(&'a End);

impl<'a> Writing<'a> {
    fn begin(end: &'a End, stamp: u64) -> Self {
        // Relaxed: released by the first piece.
        end.shared().writer.store(stamp, Relaxed);
        Writing(end)
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        let shared = self.0.shared();
        // Release: all that was published, to who waits for more.
        shared.writer.store(0, Release);
        Exchange::notify(&shared.items, self.0.is_registered());
        // Those who wait for their turn without waiting at the lock.
        Exchange::notify(&shared.space, self.0.is_registered());
    }
}

/// Says who puts a long message together, for as long as it lives.
struct Assembling<'a>(&'a End);

impl<'a> Assembling<'a> {
    fn begin(end: &'a End, stamp: u64) -> Self {
        // Relaxed: says where to look, and nothing of the message.
        end.shared().reader.store(stamp, Relaxed);
        Assembling(end)
    }
}

impl Drop for Assembling<'_> {
    fn drop(&mut self) {
        self.0.shared().reader.store(0, Relaxed);
        // As at the end of `Writing`.
        Exchange::notify(&self.0.shared().items, self.0.is_registered());
    }
}

/// Sends a message in pieces, of which each waits for its room. Nobody else sends meanwhile.
#[cold]
fn send_long(end: &End, bytes: &[u8], stamp: u64, deadline: u64) -> Result<(), ChannelError> {
    let exchange = end.exchange();
    let (length, capacity) = (bytes.len() as u64, exchange.capacity);
    // As in a ring of records.
    let headers = 1 + length / LONGEST_PIECE;
    let all = grains(length) + headers;
    if deadline == NOW && all > capacity {
        let limit = capacity.saturating_sub(1 + headers) * GRAIN as u64;
        return Err(ChannelError::TooLarge { bytes: length, limit });
    }
    let first = if deadline == NOW { all } else { capacity / 4 };
    let mut send = Send::new(end);
    let lock = loop {
        let Some(lock) = end.lock_write(deadline)? else { return Err(busy(deadline, true)) };
        let free = exchange.free(first).map_err(contradiction)?;
        if free.count >= first && !send.gives_way() {
            break lock;
        }
        let discarded = free.count < first && discard(end)?;
        drop(lock);
        if !discarded {
            until(end, send.wants(stamp, first), deadline)?;
        }
    };
    // From here on it has the lock.
    drop(send);
    let writing = Writing::begin(end, stamp);
    let (mut sent, mut begun) = (0, false);
    loop {
        let slot = exchange.free(1).map_err(contradiction)?.slot;
        let rest = grains((bytes.len() - sent) as u64);
        let most = rest.min(capacity - slot).min(grains(LONGEST_PIECE));
        let fewest = most.min(capacity / 4);
        until(end, Piece { grains: fewest }, deadline)?;
        let free = exchange.free(fewest).map_err(contradiction)?;
        let taken = most.min(free.count);
        if taken == 0 {
            continue;
        }
        let room = (taken as usize - 1) * GRAIN;
        let piece = &bytes[sent..][..room.min(bytes.len() - sent)];
        let ends = sent + piece.len() == bytes.len();
        let (kind, extent) = match (begun, ends) {
            (false, true) => (Kind::Whole, 0),
            (false, false) => (Kind::First, length),
            (true, false) => (Kind::Next, sent as u64),
            (true, true) => (Kind::Last, sent as u64),
        };
        end.parts.put_piece(free.slot, kind, piece, extent);
        exchange.publish(grains(piece.len() as u64), u64::from(ends));
        Exchange::notify(&exchange.shared.items, end.is_registered());
        if ends {
            drop(writing);
            drop(lock);
            return Ok(());
        }
        (sent, begun) = (sent + piece.len(), true);
    }
}

// ---- receiving ----

/// Takes a message out of the queue, into `buffer`.
pub(super) fn take(end: &End, buffer: &mut Vec<u8>, deadline: u64) -> Result<Taken, ChannelError> {
    let stamp = end.me()?;
    let exchange = end.exchange();
    let mut goal = Message { lacks_entry: false };
    end.look_around();
    loop {
        until(end, goal, deadline)?;
        if let Some(entry) = exchange.take_again(stamp) {
            return take_kept(end, buffer, entry, stamp);
        }
        let Some(lock) = end.lock_read(deadline)? else { return Err(busy(deadline, false)) };
        let taken = take_next(end, buffer, stamp);
        drop(lock);
        match taken? {
            Ok(Some(entry)) => {
                Exchange::notify(&exchange.shared.space, end.is_registered());
                return Ok(Taken { entry, stamp, again: false });
            }
            // What there was is gone, or was no whole message.
            Ok(None) => {
                Exchange::notify(&exchange.shared.space, end.is_registered());
                finished(end);
                goal.lacks_entry = false;
            }
            Err(NoEntry) => {
                if !end.recover(true)? {
                    goal.lacks_entry = true;
                }
            }
        }
    }
}

/// A message that comes again, from its entry.
fn take_kept(
    end: &End,
    buffer: &mut Vec<u8>,
    entry: usize,
    stamp: u64,
) -> Result<Taken, ChannelError> {
    let length = end.exchange().entries[entry].length.load(Relaxed);
    if length > end.parts.keep as u64 {
        end.exchange().finish(entry);
        return Err(ChannelError::Corrupted("more is kept of a message than there is room for"));
    }
    buffer.clear();
    let from = end.parts.kept(entry).as_ptr();
    // SAFETY: room for `keep` bytes, which are those of who has the entry.
    buffer.extend_from_slice(unsafe { core::slice::from_raw_parts(from, length as usize) });
    Ok(Taken { entry, stamp, again: true })
}

/// The owner of the lock takes the next message if there is one; gives its entry.
fn take_next(
    end: &End,
    buffer: &mut Vec<u8>,
    stamp: u64,
) -> Result<Result<Option<usize>, NoEntry>, ChannelError> {
    let (exchange, parts) = (end.exchange(), &end.parts);
    while let Some(found) = next(end)? {
        let header = found.header;
        if header.kind == Kind::Next {
            // The first piece of it went with its consumer.
            exchange.release(found.grains, 0);
            continue;
        }
        // Relaxed: a hint.
        let Some(entry) = exchange.free_entry(end.entry.load(Relaxed) as usize) else {
            return Ok(Err(NoEntry));
        };
        end.entry.store(entry as u32, Relaxed);
        match header.kind {
            Kind::First => {
                exchange.reserve(entry, stamp);
                let assembling = Assembling::begin(end, stamp);
                let complete = assemble(end, buffer, found);
                drop(assembling);
                match complete {
                    Ok(Some(last)) => {
                        exchange.hold(entry, stamp, parts.keep(entry, buffer));
                        exchange.release(last.grains, 1);
                        return Ok(Ok(Some(entry)));
                    }
                    // What follows it may be a message.
                    Ok(None) => exchange.unreserve(entry, stamp),
                    Err(error) => {
                        exchange.unreserve(entry, stamp);
                        return Err(error);
                    }
                }
            }
            Kind::Last => {
                exchange.hold(entry, stamp, NOT_KEPT);
                exchange.release(found.grains, 1);
                exchange.give_up(entry, stamp);
            }
            _ => {
                buffer.clear();
                parts.append(&found, buffer);
                exchange.hold(entry, stamp, parts.keep(entry, buffer));
                exchange.release(found.grains, 1);
                return Ok(Ok(Some(entry)));
            }
        }
    }
    Ok(Ok(None))
}

/// What lies where the readers are, if there is anything.
#[inline(always)]
fn next(end: &End) -> Result<Option<Found>, ChannelError> {
    let published = end.exchange().available().map_err(contradiction)?;
    if published.count == 0 {
        return Ok(None);
    }
    let Span { slot, count } = published;
    let capacity = end.exchange().capacity;
    let found = find(Span { slot, count }, capacity, |slot| end.parts.read(slot));
    found.map(Some).map_err(nonsense)
}

/// Puts a long message together, of which `first` is the first piece. Gives the last piece, which is
/// not released yet; `None`: its producer left it unfinished.
fn assemble(end: &End, buffer: &mut Vec<u8>, first: Found) -> Result<Option<Found>, ChannelError> {
    let exchange = end.exchange();
    buffer.clear();
    let mut piece = first;
    loop {
        end.parts.append(&piece, buffer);
        if piece.header.kind == Kind::Last {
            return Ok(Some(piece));
        }
        exchange.release(piece.grains, 0);
        Exchange::notify(&exchange.shared.space, end.is_registered());
        match until(end, NextPiece, NEVER) {
            Err(ChannelError::Disconnected(_)) => return Ok(None),
            other => other?,
        }
        let Some(found) = next(end)? else { continue };
        if !matches!(found.header.kind, Kind::Next | Kind::Last) {
            return Ok(None);
        }
        if found.header.extent != buffer.len() as u64 {
            return Err(ChannelError::Corrupted("a piece of a long message is not its next"));
        }
        piece = found;
    }
}

/// Is done with a message.
pub(super) fn finish(end: &End, taken: Taken) {
    end.exchange().finish(taken.entry);
    finished(end);
}

/// Tells those who wait for an entry, or until all is done.
pub(super) fn finished(end: &End) {
    Exchange::notify(&end.shared().freed, end.is_registered());
    Exchange::notify(&end.shared().idle, end.is_registered());
}

/// Does without a message.
pub(super) fn give_up(end: &End, taken: Taken) {
    end.exchange().give_up(taken.entry, taken.stamp);
    Exchange::notify(&end.shared().items, end.is_registered());
    finished(end);
}
