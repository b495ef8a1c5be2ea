//! How a participant went.

use std::fmt;

/// How the process at the other end of an object went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Departure {
    /// It was dropped or closed: what it had to say is said.
    Closed,
    /// It was abandoned, or dropped by a panic: it had more to say.
    Abandoned,
    /// Its process died.
    Died {
        /// The process id, in its own pid namespace, where it is still known.
        pid: Option<u32>,
    },
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Departure::Closed => write!(f, "it was closed"),
            Departure::Abandoned => write!(f, "it was abandoned before it was finished"),
            Departure::Died { pid: Some(pid) } => write!(f, "its process {pid} died"),
            Departure::Died { pid: None } => write!(f, "its process died"),
        }
    }
}

/// How another end, or another party, is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Peer {
    /// Nobody has had it yet.
    Nobody,
    /// A process has it that lives, though it may be stopped.
    Here {
        /// The process id, in its own pid namespace, where it is known.
        pid: Option<u32>,
    },
    /// Its last holder went, and nobody has followed.
    Gone(Departure),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Nobody => write!(f, "nobody has come yet"),
            Peer::Here { pid: Some(pid) } => write!(f, "process {pid} has it"),
            Peer::Here { pid: None } => write!(f, "a process has it"),
            Peer::Gone(departure) => departure.fmt(f),
        }
    }
}
