//! What a sender knows of its receiver.
//!
//! A ring tells its producer that the consumer is gone when there is no space. A sender may have
//! nothing to send for hours, so it also looks for itself, a few times a second.

use crate::meeting::{self, CONSUMER};
use crate::progress::Progress;
use commons::inspect::{Holder, State};
use commons::{Departure, Result};

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
    pub(crate) fn of(name: &'a str, keep: bool) -> Result<Self> {
        let holder = meeting::look(name, CONSUMER)?;
        let is_here = holder.as_ref().is_some_and(meeting::is_alive);
        Ok(Receiver { name, keep, forgiven: holder.and_then(departure), is_here })
    }

    /// Looks at it; gives how it went, if that ends the transfer.
    pub(crate) fn look(&mut self, progress: &Progress) -> Result<Option<Departure>> {
        let Some(holder) = meeting::look(self.name, CONSUMER)? else {
            // The name was removed; the ring itself will tell when it is full.
            return Ok(None);
        };
        let is_here = meeting::is_alive(&holder);
        if is_here && self.forgiven.take().is_some() && self.keep {
            progress.say(&format!("`{}`: a receiver is here", self.name));
        }
        self.is_here = is_here;
        Ok(departure(holder).and_then(|departure| self.judge(departure, progress)))
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

    /// Whether it has left on purpose, and is not to be followed by another.
    pub(crate) fn wants_no_more(&self) -> Result<bool> {
        let closed = Some(Departure::Closed);
        let now = meeting::look(self.name, CONSUMER)?.and_then(departure);
        Ok(!self.keep && now == closed && self.forgiven != closed)
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

/// How the holder of an end went; `None`: it is there, or nobody has come.
fn departure(holder: Holder) -> Option<Departure> {
    match holder {
        Holder::Process { pid, state: State::Dead } => Some(Departure::Died { pid }),
        Holder::Closed => Some(Departure::Closed),
        Holder::Abandoned => Some(Departure::Abandoned),
        _ => None,
    }
}
