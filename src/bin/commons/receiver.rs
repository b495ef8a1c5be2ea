//! What a sender knows of its receiver.
//!
//! A ring tells its producer that the consumer is gone when there is no space. A sender may have
//! nothing to send for hours, so it also looks for itself, a few times a second.

use crate::meeting::{self, CONSUMER, PRODUCER};
use crate::progress::Progress;
use commons::Departure;
use commons::inspect::{Holder, State};

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
    pub(crate) fn of(name: &'a str, keep: bool) -> Self {
        let holder = meeting::look_across(name, PRODUCER).ok().flatten();
        let is_here = holder.as_ref().is_some_and(meeting::is_alive);
        Receiver { name, keep, forgiven: holder.and_then(departure), is_here }
    }

    /// Looks at it.
    pub(crate) fn look(&mut self, progress: &Progress) -> Sight {
        let holder = match meeting::look_across(self.name, PRODUCER) {
            Ok(Some(holder)) => holder,
            Ok(None) if !self.is_here => return Sight::Never,
            // A receiver that is here needs no name. The ring tells, when it is full, how it is.
            _ => return Sight::Fine,
        };
        let is_here = meeting::is_alive(&holder);
        if is_here && self.forgiven.take().is_some() && self.keep {
            progress.say(&format!("`{}`: a receiver is here", self.name));
        }
        self.is_here = is_here;
        departure(holder)
            .and_then(|departure| self.judge(departure, progress))
            .map_or(Sight::Fine, Sight::Gone)
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
        let closed = Some(Departure::Closed);
        let now = meeting::look(self.name, CONSUMER).ok().flatten().and_then(departure);
        !self.keep && now == closed && self.forgiven != closed
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
