//! Two rings in opposite directions, for requests and replies.

use super::end::End;
use super::parts::{Parts, make};
use super::ring::describe;
use super::{Consumer, Element, Producer};
use crate::Result;
use crate::segment::{Attachment, Kind, Location};
use crate::wait::WaitStrategy;

/// One end of a pair of rings: what one end sends, the other receives.
#[derive(Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = "T: Element"))]
pub struct Duplex<T> {
    /// To the other end.
    pub tx: Producer<T>,
    /// From the other end.
    pub rx: Consumer<T>,
}

impl<T> Duplex<T> {
    /// Sets how blocking operations of this end wait.
    pub fn set_wait_strategy(&mut self, strategy: WaitStrategy) {
        self.tx.set_wait_strategy(strategy);
        self.rx.set_wait_strategy(strategy);
    }
}

/// Makes a pair of rings in opposite directions, each for `capacity` values.
///
/// Made for requests and replies: the positions of both rings share a cache line, so a reply of up
/// to 16 bytes is written into the line that the request has just brought, and a round trip costs
/// what it takes to move one line there and back. For two streams at full speed in both directions
/// at once, two [`ring`](super::ring())s get into each other's way less.
///
/// # When a process dies
/// As with two rings: each direction tells for itself that the other end is gone.
///
/// # Errors
/// As [`ring`](super::ring()).
///
/// # Examples
/// ```
/// let (mut here, mut there) = commons::spsc::duplex::<u64>(16)?;
/// let child = commons::Process::spawn(move || {
///     while let Ok(request) = there.rx.pop() {
///         if there.tx.push(request * 2).is_err() {
///             break;
///         }
///     }
/// })?;
/// here.tx.push(21)?;
/// assert_eq!(here.rx.pop()?, 42);
/// drop(here);
/// child.join()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn duplex<T: Element>(capacity: usize) -> Result<(Duplex<T>, Duplex<T>)> {
    let info = describe::<T>(Kind::Duplex, capacity)?;
    let attachment = make(Location::Unnamed, info)?;
    let (there, back) = (ends(&attachment, 0)?, ends(&attachment, 1)?);
    Ok((Duplex { tx: there.0, rx: back.1 }, Duplex { tx: back.0, rx: there.1 }))
}

fn ends<T: Element>(attachment: &Attachment, which: usize) -> Result<(Producer<T>, Consumer<T>)> {
    let parts = Parts::find(attachment, which)?;
    let producer = Producer::new(End::claim(attachment.again()?, parts)?);
    Ok((producer, Consumer::new(End::claim(attachment.again()?, parts)?)))
}
