//! Who is here: which processes take part in a segment, and which of them are alive.
//!
//! Every segment has a table of participants. A process that attaches takes a *place*: an index and
//! a generation, together its [`Stamp`], which no other process ever has in that segment. Whatever
//! a process claims in shared memory it claims by its stamp. That it lives is said by a byte lock
//! that the kernel drops when the process is gone ([`table`]); that it has just died is told at once
//! by its *beacon*, a word that the kernel marks and wakes ([`beacon`]).
//!
//! Nobody is declared dead by a timeout, and a stopped process is alive.

mod beacon;
mod claim;
mod departure;
mod membership;
mod stamp;
mod table;
mod watch;

pub(crate) use beacon::{arm, retire};
pub(crate) use claim::Claim;
pub use departure::{Departure, Peer};
pub(crate) use membership::Membership;
pub(crate) use stamp::Stamp;
pub(crate) use table::{PARTICIPANTS, Participant, PlaceTaken, Table};
pub(crate) use watch::{Doubt, Watch};
