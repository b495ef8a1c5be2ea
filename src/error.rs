//! What can go wrong with a segment, a name or the operating system.

use crate::segment::ObjectInfo;
use std::io;

/// The result of an operation that touches the operating system or a segment.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why an operation on a segment, a name or a process failed.
///
/// Each message says what was found, what was wanted, and what to do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name cannot be used.
    #[error(
        "`{name}` cannot be the name of a segment: {problem}; use 1 to 200 bytes without `/` that are not `.` or `..`"
    )]
    InvalidName {
        /// The name as given.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something of that name exists.
    #[error("the name `{name}` is taken; open it, unlink it first, or choose another")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// Nothing of that name exists.
    #[error(
        "there is no segment named `{name}`; create it first, or wait for the process that does"
    )]
    NotFound {
        /// The name.
        name: String,
    },
    /// The file of that name is not a segment of this crate.
    #[error("`{name}` is not a commons segment ({found}); it was left as it is")]
    NotOurs {
        /// The name.
        name: String,
        /// What is there instead.
        found: String,
    },
    /// The segment was made by another version of the shared layout.
    #[error(
        "`{name}` has layout version {found}, this program has {expected}; use the same version of commons on both sides"
    )]
    Version {
        /// The name.
        name: String,
        /// The version this program knows.
        expected: u32,
        /// The version of the segment.
        found: u32,
    },
    /// The object is of another kind or type.
    #[error("`{name}` holds {found}, wanted {expected}")]
    TypeMismatch {
        /// The name or label.
        name: String,
        /// What the caller asked for.
        expected: Box<ObjectInfo>,
        /// What is there.
        found: Box<ObjectInfo>,
    },
    /// The shared bytes contradict themselves.
    #[error(
        "`{name}` is corrupted: {problem}; no process can rely on it any more, remove it and make it anew"
    )]
    Corrupted {
        /// The name of the segment.
        name: String,
        /// The contradiction.
        problem: &'static str,
    },
    /// There is not enough memory of the kind that segments live in.
    #[error(
        "no space for {asked} bytes in shared memory ({}); free some or ask for less",
        .free.map_or("out of memory".to_owned(), |free| format!("{free} bytes are free"))
    )]
    NoSpace {
        /// Bytes asked for.
        asked: u64,
        /// Bytes still free, where the kernel says.
        free: Option<u64>,
    },
    /// The segment is too small for one more object.
    #[error(
        "no room for {asked} bytes in segment `{segment}`, {free} are left; create it larger, or remove objects that nobody uses"
    )]
    SegmentFull {
        /// The segment.
        segment: String,
        /// Bytes asked for, with the object's own overhead.
        asked: u64,
        /// Bytes left.
        free: u64,
    },
    /// A size or capacity that no memory can hold.
    #[error("{what} of {asked} is too large; at most {limit}")]
    TooLarge {
        /// What has the size.
        what: &'static str,
        /// As given.
        asked: u64,
        /// The largest value.
        limit: u64,
    },
    /// A capacity of nothing.
    #[error("{what} of 0 is of no use; ask for at least 1")]
    Zero {
        /// What has the size.
        what: &'static str,
    },
    /// No more processes can attach.
    #[error("all {capacity} places for participants of `{name}` are taken; let some detach")]
    TableFull {
        /// The segment.
        name: String,
        /// How many can attach.
        capacity: u32,
    },
    /// A living process has this end.
    #[error("the {role} of `{name}` is held by process {pid}; wait until it leaves, or end it")]
    RoleTaken {
        /// The name or label.
        name: String,
        /// `producer` or `consumer`.
        role: &'static str,
        /// Who holds it, as numbered in its own pid namespace.
        pid: u32,
    },
    /// The segment has an object of that label.
    #[error("the label `{label}` is taken in segment `{segment}`; open it, or choose another")]
    LabelTaken {
        /// The segment.
        segment: String,
        /// The label.
        label: String,
    },
    /// The segment has no object of that label.
    #[error("segment `{segment}` has no object labelled `{label}`")]
    LabelNotFound {
        /// The segment.
        segment: String,
        /// The label.
        label: String,
    },
    /// The label cannot be used.
    #[error("`{label}` cannot be a label: use 1 to {limit} bytes without a zero byte")]
    InvalidLabel {
        /// As given.
        label: String,
        /// Bytes a label can have.
        limit: usize,
    },
    /// The handle is a copy that came into this process by a fork and was not handed over to it.
    #[error(
        "this handle belongs to the parent process; move it into the closure of `Process::spawn` to hand it over"
    )]
    Forked,
    /// The handle was closed.
    #[error("this handle of `{name}` was closed; nothing can be done with it any more")]
    Closed {
        /// The name or label.
        name: String,
    },
    /// The calling thread holds locks, which a child would have copies of and could not release.
    #[error("the calling thread holds {locks} locks; release them before a child is started")]
    Holding {
        /// How many.
        locks: u32,
    },
    /// The calling process is a daemon, which is ended without notice and could not end its children.
    #[error(
        "`{name}` is a daemon, and daemons may not start children; start it as another process"
    )]
    Daemon {
        /// The name of the calling process.
        name: String,
    },
    /// Other threads run, and the child was to be forked only where there are none.
    #[error(
        "{others} other threads run, and what they have locked would stay locked in a forked child; start it before them, or by `StartMethod::Exec`"
    )]
    Threads {
        /// How many.
        others: usize,
    },
    /// The segment was made in another pid namespace, where the same id means another thread.
    #[error(
        "`{name}` was made in another pid namespace; locks work between processes of one namespace only"
    )]
    OtherPidNamespace {
        /// The name or label.
        name: String,
    },
    /// The operation is one of events that are reset by hand.
    #[error(
        "`{name}` is an auto-reset event, which lets one waiter through at each set; use `set`"
    )]
    NotManual {
        /// The name or label.
        name: String,
    },
    /// A child could not be started or spoken to.
    #[error("{what} failed: {source}")]
    Process {
        /// What was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The operating system refused.
    #[error("{call} for `{subject}` failed: {source}")]
    Os {
        /// The system call.
        call: &'static str,
        /// What it was called for.
        subject: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Error {
    pub(crate) fn os(
        call: &'static str,
        subject: impl Into<String>,
    ) -> impl FnOnce(io::Error) -> Self {
        let subject = subject.into();
        move |source| Error::Os { call, subject, source }
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::NotFound { .. } | Error::LabelNotFound { .. } => io::ErrorKind::NotFound,
            Error::NameTaken { .. } | Error::LabelTaken { .. } => io::ErrorKind::AlreadyExists,
            Error::InvalidName { .. } | Error::InvalidLabel { .. } => io::ErrorKind::InvalidInput,
            Error::Corrupted { .. } | Error::NotOurs { .. } => io::ErrorKind::InvalidData,
            Error::NoSpace { .. } | Error::SegmentFull { .. } => io::ErrorKind::StorageFull,
            Error::Os { source, .. } | Error::Process { source, .. } => source.kind(),
            _ => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}
