//! The two sides of a ring: what the ends of it differ in.

use crate::channel::ChannelError;
use crate::raw::ring::{Contradiction, Control, ReadCursor, Ring, Span, WriteCursor};
use crate::raw::role::Role;
use crate::raw::wait_cell::WaitCell;

/// One of the two sides of a ring.
pub(in crate::channel) trait Side: Copy {
    const ROLE: &'static str;
    /// What it means that there is nothing to do.
    const NOTHING: ChannelError;

    /// Whether to fall back behind a stream: one side is enough.
    const FALLS_BACK: bool;

    fn at(ring: Ring<'_>) -> Result<Self, Contradiction>;
    /// The first slot that is this side's, if one is known.
    fn one(&self, ring: Ring<'_>) -> Option<u64>;
    /// Whether so many slots are this side's, for who has no cursor.
    fn has(ring: Ring<'_>, wanted: u64) -> bool;
    /// The slots that are this side's; looks further only where fewer than `wanted` are known.
    fn span(&mut self, ring: Ring<'_>, wanted: u64) -> Result<Span, Contradiction>;
    fn role(control: &Control) -> &Role;
    fn peer_role(control: &Control) -> &Role;
    /// Where this side sleeps.
    fn cell(control: &Control) -> &WaitCell;
    /// Where the peer sleeps.
    fn peer_cell(control: &Control) -> &WaitCell;
}

impl Side for WriteCursor {
    const ROLE: &'static str = "producer";
    const NOTHING: ChannelError = ChannelError::Full;
    const FALLS_BACK: bool = false;

    fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        WriteCursor::at(ring)
    }
    #[inline(always)]
    fn one(&self, ring: Ring<'_>) -> Option<u64> {
        WriteCursor::one(self, ring)
    }
    fn has(ring: Ring<'_>, wanted: u64) -> bool {
        ring.capacity - ring.fill() >= wanted
    }
    #[inline(always)]
    fn span(&mut self, ring: Ring<'_>, wanted: u64) -> Result<Span, Contradiction> {
        self.free(ring, wanted)
    }
    fn role(control: &Control) -> &Role {
        &control.producer
    }
    fn peer_role(control: &Control) -> &Role {
        &control.consumer
    }
    fn cell(control: &Control) -> &WaitCell {
        &control.space
    }
    fn peer_cell(control: &Control) -> &WaitCell {
        &control.items
    }
}

impl Side for ReadCursor {
    const ROLE: &'static str = "consumer";
    const NOTHING: ChannelError = ChannelError::Empty;
    const FALLS_BACK: bool = true;

    fn at(ring: Ring<'_>) -> Result<Self, Contradiction> {
        ReadCursor::at(ring)
    }
    #[inline(always)]
    fn one(&self, _: Ring<'_>) -> Option<u64> {
        ReadCursor::one(self)
    }
    fn has(ring: Ring<'_>, wanted: u64) -> bool {
        ring.fill() >= wanted
    }
    #[inline(always)]
    fn span(&mut self, ring: Ring<'_>, wanted: u64) -> Result<Span, Contradiction> {
        self.available(ring, wanted)
    }
    fn role(control: &Control) -> &Role {
        &control.consumer
    }
    fn peer_role(control: &Control) -> &Role {
        &control.producer
    }
    fn cell(control: &Control) -> &WaitCell {
        &control.items
    }
    fn peer_cell(control: &Control) -> &WaitCell {
        &control.space
    }
}
