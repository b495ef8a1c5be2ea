//! What a sender knows of its receiver.
//!
//! A ring tells its producer that the consumer is gone when there is no space. A sender may have
//! nothing to send for hours, so it also asks, a few times a second.

use crate::meeting::{self, CONSUMER, PRODUCER};
use crate::progress::Progress;
use commons::inspect::Holder;
use commons::spsc::Producer;
use commons::{ChannelError, Departure, Peer};

/// What a look at the receiver says.
pub(crate) enum Sight {
    /// It is here, or may still come.
    Fine,
    /// It went, which ends the transfer.
    Gone(Departure),
    /// None is here, and the name by which one could come was removed.
    Never,
}

/// The receiver of one ring, as its sender sees it.
#[derive(Debug)]
pub(crate) struct Receiver<'a> {
    name: &'a str,
    /// Whether to wait for another one when it goes.
    keep: bool,
    /// How the last one went, if that does not matter: before this sender came, or because another
    /// one is waited for.
    forgiven: Option<Departure>,
    is_here: bool,
}

impl<'a> Receiver<'a> {
    pub(crate) fn of(
        name: &'a str,
        producer: &Producer<u8>,
        keep: bool,
    ) -> Result<Self, ChannelError> {
        let peer = producer.peer()?;
        let is_here = matches!(peer, Peer::Here { .. });
        Ok(Receiver { name, keep, forgiven: departure(peer), is_here })
    }

    /// Looks at it.
    pub(crate) fn look(
        &mut self,
        producer: &Producer<u8>,
        progress: &Progress,
    ) -> Result<Sight, ChannelError> {
        let peer = producer.peer()?;
        self.is_here = matches!(peer, Peer::Here { .. });
        if self.is_here {
            if self.forgiven.take().is_some() && self.keep {
                progress.say(&format!("`{}`: a receiver is here", self.name));
            }
            // It needs no name.
            return Ok(Sight::Fine);
        }
        if let Some(departure) = departure(peer).and_then(|d| self.judge(d, progress)) {
            return Ok(Sight::Gone(departure));
        }
        let is_removed = meeting::is_removed(self.name, PRODUCER);
        Ok(if is_removed { Sight::Never } else { Sight::Fine })
    }

    /// Whether it ends the transfer that the receiver went.
    pub(crate) fn judge(&mut self, departure: Departure, progress: &Progress) -> Option<Departure> {
        self.is_here = false;
        if self.forgiven == Some(departure) {
            return None;
        }
        if self.keep {
            let news = self.news(departure);
            progress.say(&format!("{news}; waiting for another"));
            self.forgiven = Some(departure);
            return None;
        }
        Some(departure)
    }

    /// Whether it has left on purpose, and is not to be followed by another. For a sender that has
    /// left itself.
    pub(crate) fn wants_no_more(&self) -> bool {
        let now = meeting::look(self.name, CONSUMER).ok().flatten();
        !self.keep && now == Some(Holder::Closed) && self.forgiven != Some(Departure::Closed)
    }

    /// What to say of it.
    pub(crate) fn news(&self, departure: Departure) -> String {
        let name = self.name;
        match departure {
            Departure::Died { pid: Some(pid) } => {
                format!("the receiver of `{name}` (process {pid}) died")
            }
            Departure::Died { pid: None } => format!("the receiver of `{name}` died"),
            Departure::Abandoned => format!("the receiver of `{name}` failed"),
            _ => format!("the receiver of `{name}` wants no more"),
        }
    }

    /// For the progress line.
    pub(crate) fn note(&self) -> &'static str {
        if self.is_here { "" } else { ", waiting for a receiver" }
    }
}

/// How it went; `None`: it is there, or nobody has come.
fn departure(peer: Peer) -> Option<Departure> {
    match peer {
        Peer::Gone(departure) => Some(departure),
        _ => None,
    }
}
