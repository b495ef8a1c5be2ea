//! Rings of records: bytes of any length from one process to another.
//!
//! A record is what one call sends and one call receives: 0 bytes or 100 MB, always whole. One process
//! has the [`Producer`], one the [`Consumer`]; both can work in place. A record of up to 12 bytes
//! takes 16 bytes of the ring and travels at the speed of a small item of [`spsc`](crate::spsc). A
//! longer one takes its length, rounded up to a multiple of 16, and 16 bytes more, in a row; the bytes
//! begin at a multiple of 16.
//!
//! | to get | call |
//! |---|---|
//! | both ends, to move one into a child process | [`ring()`] |
//! | a pair of rings for requests and replies | [`duplex()`] |
//! | a ring that unrelated processes find by name, or in a [`Segment`](crate::Segment) | [`Ring`] |
//!
//! # Long records
//! A record that takes more than half of the ring goes through it in pieces and is put together in the
//! consumer's own memory. The consumer sees it whole or not at all: one that its producer left
//! unfinished is discarded, and counted ([`Consumer::discarded`]). Make the ring a few times as long
//! as most records, and let the rare long ones take the slower way.
//!
//! # When a process dies
//! As with [`spsc`](crate::spsc): a record is published at one instant and released at one instant.
//! Killed at any instruction, a producer leaves everything that it published, complete; a consumer
//! leaves everything that it had not released. A long record is published with its last piece; what is
//! there of one whose producer died is discarded, and a consumer that dies in the middle of one takes
//! what it had of it with it. A blocked survivor learns of the death at once.
//!
//! # Trust
//! [`Consumer::recv`] copies before it looks, and checks every length that it reads: whatever a hostile
//! peer writes, it gives some bytes or [`ChannelError::Corrupted`](crate::ChannelError).
//! [`Producer::reserve`] and [`Consumer::peek`] give references into shared memory and trust the peer
//! to leave what is lent alone.
//!
//! # Examples
//! ```
//! let (mut producer, mut consumer) = commons::records::ring(4096)?;
//! let child = commons::Process::spawn(move || {
//!     for word in ["a", "few", "words of different length"] {
//!         producer.send(word.as_bytes()).expect("the parent receives");
//!     }
//! })?;
//! let mut record = Vec::new();
//! let mut lengths = Vec::new();
//! while consumer.recv(&mut record).is_ok() {
//!     lengths.push(record.len());
//! }
//! assert_eq!(lengths, [1, 3, 25]);
//! child.join()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod consumer;
mod producer;
mod ring;

pub use consumer::{Consumer, Loan};
pub use producer::{Grant, Producer};
pub use ring::{Duplex, Ring, duplex, ring};
pub(super) use ring::{FEWEST, describe};

/// What both ends can do.
macro_rules! both_ends {
    ($end:ident, $other:literal) => {
        #[cfg(feature = "serde")]
        impl $end {
            /// What is handed over, or why it cannot be.
            pub(in crate::channel) fn given(
                &self,
            ) -> Result<(&crate::segment::Attachment, u64), &'static str> {
                self.whole().map(|()| self.end.given())
            }

            /// Makes an end of what was handed over.
            pub(in crate::channel) fn handed(
                used: &crate::segment::Used,
                wanted: impl FnOnce(crate::segment::Kind) -> Option<crate::segment::ObjectInfo>,
            ) -> crate::Result<Self> {
                End::handed(used, wanted).map(Self::new)
            }
        }

        crate::segment::travels!([] $end, Sole,
            |this| this.given().map_err(serde::ser::Error::custom)?,
            |used| Self::handed(used, |kind| {
                let carried = matches!(kind, crate::segment::Kind::Records | crate::segment::Kind::RecordDuplex);
                let of = crate::segment::ObjectInfo::of::<crate::raw::record::Grain>;
                carried.then(|| of(kind, 0))
            })
        );

        impl $end {
            /// Bytes of the ring.
            pub fn capacity(&self) -> usize {
                self.end.ring().capacity as usize * crate::raw::record::GRAIN
            }

            /// Bytes of the ring that are taken by what is published and not released, headers
            /// included. Stale by the time the caller looks at it.
            pub fn used(&self) -> usize {
                self.end.ring().fill() as usize * crate::raw::record::GRAIN
            }

            /// Whether nothing is published and not released. Stale by the time the caller looks at
            /// it.
            pub fn is_empty(&self) -> bool {
                self.end.ring().fill() == 0
            }

            /// The most bytes that a record can have that goes through the ring in a row, and that
            /// can be written in place.
            pub fn longest_in_place(&self) -> usize {
                super::longest_in_place(self.end.ring().capacity)
            }

            /// How the last holder of this end had gone when it was taken; `None`: there was none. A
            /// child that the end was handed to is told the same.
            pub fn predecessor(&self) -> Option<crate::channel::Departure> {
                self.end.predecessor()
            }

            #[doc = concat!("How the ", $other, " is. Stale by the time the caller looks at it, unless")]
            /// it is [`Peer::Gone`](crate::Peer) and no successor can come.
            ///
            /// A slow look: some system calls and files of `/proc`, microseconds. A blocking
            /// operation needs no such look.
            ///
            /// # Errors
            /// [`Corrupted`](crate::ChannelError::Corrupted) where the ring contradicts itself, or
            /// the operating system does not tell who is alive.
            ///
            /// # Blocking
            /// Never.
            pub fn peer(&self) -> Result<crate::channel::Peer, crate::channel::ChannelError> {
                Ok(self.end.peer()?)
            }

            /// How blocking operations of this end wait.
            pub fn wait_strategy(&self) -> crate::wait::WaitStrategy {
                self.end.strategy()
            }

            /// Sets how blocking operations of this end wait.
            pub fn set_wait_strategy(&mut self, strategy: crate::wait::WaitStrategy) {
                self.end.set_strategy(strategy);
            }

            /// Leaves without having finished: the other end sees
            /// [`Departure::Abandoned`](crate::Departure).
            pub fn abandon(mut self) {
                self.end.abandon();
            }
        }
    };
}
use both_ends;

/// Grains that a record has at most which goes through a ring of `capacity` grains in a row: there is
/// room for it behind what is left of a lap, if the ring is empty.
pub(super) const fn longest_row(capacity: u64) -> u64 {
    use crate::raw::record::{LONGEST_PIECE, grains};
    let half = capacity / 2;
    if half < grains(LONGEST_PIECE) { half } else { grains(LONGEST_PIECE) }
}

const fn longest_in_place(capacity: u64) -> usize {
    (longest_row(capacity) as usize - 1) * crate::raw::record::GRAIN
}
